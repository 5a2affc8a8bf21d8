"""Predictors of the learned stage, from radar, model fields, terrain and stations."""
