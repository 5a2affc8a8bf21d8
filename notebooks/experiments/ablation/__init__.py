"""Ablation studies: the contribution of each source, measured by forecasts with and without it."""
