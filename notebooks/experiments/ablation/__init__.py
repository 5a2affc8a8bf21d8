"""Ablation: what each source adds, by forecasts with it and without it."""
