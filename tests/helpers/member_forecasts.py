"""Forecasts of two members, one that knows the odds and one that guesses, and a blend of both."""

from __future__ import annotations

import numpy as np

from hybridcast.learned.blend import Blend, MemberForecasts

THRESHOLDS = (0.5, 1.0)


def draw_forecasts(rows=4000, lead=30.0, seed=0, good=1.0, weight=1.0):
    """Return log odds of a member that knows the odds (times `good`) and of one that guesses, and observations."""
    generator = np.random.default_rng(seed)
    odds = (2 * generator.standard_normal(rows)).astype(np.float32)
    observed = 2.0 * (generator.random(rows) < 1 / (1 + np.exp(-odds)))
    guessed = (2 * generator.standard_normal(rows)).astype(np.float32)
    log_odds = {"knows": np.stack([np.float32(good) * odds] * 2), "guesses": np.stack([guessed] * 2)}
    return MemberForecasts(lead, log_odds, observed.astype(np.float32), np.full(rows, weight, np.float32))


def equal_blend(members=("knows", "guesses")):
    """Return a blend of members of equal weight."""
    weights = np.zeros((2, 2, len(members) + 1), np.float32)
    weights[..., :-1] = 1 / len(members)
    return Blend(members, THRESHOLDS, (30.0, 60.0), weights)
