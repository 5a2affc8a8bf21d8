"""Weights of members: learned on events kept out of their training, and corrected by how the members fare right now.

Log odds of the members are added up, each times a weight that depends on threshold and lead time. The weights are
fitted on forecasts for events that the members had not seen (stacking, Wolpert 1992). Then, at the issue time, the last
hour's forecasts are made again from what was known then (hindcasts), and a small correction is fitted to what came of
them: by how much to trust each member more or less, and how far all of them are too wet or too dry. A ridge holds it at
zero, so that little evidence changes little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from hybridcast.core.interpolation import interpolate_leads
from hybridcast.core.types import Array
from hybridcast.learned.logistic import MAX_LOG_ODDS, fit_logistic


class Scored(NamedTuple):
    """What members said, and what came, at one lead time."""

    lead: float
    """min"""
    scores: Array
    """Log odds, shape ``(member, threshold, row)``."""
    observed: Array
    """Rain rate, mm h-1, shape ``(row,)``."""
    weight: Array
    """Shape ``(row,)``."""


@dataclass(frozen=True)
class HindcastSettings:
    """How far hindcasts may change the weights."""

    rows: int = 3000
    """Cells that a hindcast is scored at."""
    leads: tuple[int, ...] = (30, 60)
    """Lead times of hindcasts, min."""
    evidence: float = 100.0
    """Neighbouring cells tell the same: a hindcast counts as so many independent observations, at most."""
    strength: float = 30.0
    """Of the ridge, as so many observations."""


@dataclass(frozen=True)
class Blend:
    """Weights of members by lead time and threshold."""

    members: tuple[str, ...]
    thresholds: tuple[float, ...]
    leads: tuple[float, ...]
    """min, increasing."""
    weights: Array
    """Shape ``(lead, threshold, member + 1)``, the constant last."""

    def at(self, lead: float) -> Array:
        """Weights at a lead time (min), shape ``(threshold, member + 1)``."""
        return interpolate_leads(self.weights, self.leads, lead)

    def scores(self, scores: Array, lead: float) -> Array:
        """Blend log odds ``(member, threshold, row)`` into ``(threshold, row)``."""
        weights = self.at(lead)
        mixed: Array = np.einsum("tm,mtr->tr", weights[:, :-1], scores) + weights[:, -1:]
        return mixed


def fit_blend(
    members: Sequence[str], thresholds: Sequence[float], scored: Sequence[Scored], strength: float = 50.0
) -> Blend:
    """Fit weights on forecasts for events that the members were not trained on.

    No weight is below zero; without evidence all members weigh the same.

    Parameters
    ----------
    scored
        One for each lead time.
    """
    count = len(members)
    equal = np.append(np.full(count, 1.0 / count), 0.0)
    lowest = np.append(np.zeros(count), -np.inf)
    weights = np.empty((len(scored), len(thresholds), count + 1), np.float32)
    for i, one in enumerate(scored):
        for j, threshold in enumerate(thresholds):
            happened = one.observed >= np.float32(threshold)
            weights[i, j] = fit_logistic(
                one.scores[:, j].T, happened, one.weight, centre=equal, strength=strength, lowest=lowest
            )
    leads = tuple(one.lead for one in scored)
    return Blend(tuple(members), tuple(thresholds), leads, smoothed(weights, leads))


def smoothed(weights: Array, leads: Sequence[float]) -> Array:
    """Hold weights to a straight line along the lead times, none below zero: what jumps between them is chance."""
    if len(leads) < 3:
        return weights
    times = np.asarray(leads) - np.mean(leads)
    slope = np.tensordot(times, weights, axes=1) / (times @ times)
    line = weights.mean(axis=0) + times[:, None, None] * slope
    line[..., :-1] = np.maximum(line[..., :-1], 0.0)
    return np.asarray(line, np.float32)


def corrected(blend: Blend, hindcasts: Sequence[Scored], settings: HindcastSettings) -> Blend:
    """Correct the weights by hindcasts of this very event.

    For each threshold a correction is fitted to all hindcasts together: the blend stretched, each member's difference
    from it added, and a constant. It holds for all lead times.
    """
    hindcasts = [h for h in hindcasts if h.observed.size]
    if not hindcasts:
        return blend
    weights = blend.weights.copy()
    for j, threshold in enumerate(blend.thresholds):
        stretch, shares, constant = _correction(blend, hindcasts, j, threshold, settings)
        kept = np.float32(1 + stretch - shares.sum())
        weights[:, j] *= kept
        weights[:, j, :-1] += shares
        weights[:, j, -1] += np.float32(constant)
    return replace(blend, weights=weights)


def _correction(
    blend: Blend, hindcasts: Sequence[Scored], j: int, threshold: float, settings: HindcastSettings
) -> tuple[float, Array, float]:
    """Return how much to stretch the blend, the shares of the members' differences from it, and the constant."""
    inputs, offsets, happened, weight = [], [], [], []
    for one in hindcasts:
        mixed = blend.scores(one.scores, one.lead)[j]
        inputs.append(np.column_stack([mixed, (one.scores[:, j] - mixed).T]))
        offsets.append(mixed)
        happened.append(one.observed >= np.float32(threshold))
        weight.append(one.weight * (settings.evidence / max(one.weight.sum(), settings.evidence)))
    found = fit_logistic(
        np.concatenate(inputs),
        np.concatenate(happened),
        np.concatenate(weight),
        offset=np.concatenate(offsets),
        strength=settings.strength,
    )
    return float(found[0]), found[1:-1].astype(np.float32), float(found[-1])


def probability(scores: Array) -> Array:
    """Probability from log odds; NaN stays."""
    return np.float32(1) / (np.float32(1) + np.exp(-np.clip(scores, -MAX_LOG_ODDS, MAX_LOG_ODDS)))
