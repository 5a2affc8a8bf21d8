"""Verification: additive sums per case first, scores from sums last."""
