"""The blend of members: weights by lead time and threshold, fitted on events kept out of the training of the members.

The log odds of the members are added up, each times a weight that depends on threshold and lead time (stacking, Wolpert
1992). At the issue time the weights are adapted by hindcasts, see `hybridcast.fusion.hindcasts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, minimize
from threadpoolctl import threadpool_limits

from hybridcast.core.interpolation import interpolate_leads
from hybridcast.core.types import Array, Doubles, Mask
from hybridcast.learned.logistic import log_loss
from hybridcast.learned.member import StoredParts

#: Options of the minimisation: the loss is a mean, and its differences are small.
_PRECISE = {"ftol": 1e-10, "maxiter": 100}


class MemberForecasts(NamedTuple):
    """Log odds of members for some cells at one lead time, and the observations they are compared with."""

    lead_minutes: float
    """Lead time, min."""
    log_odds: Mapping[str, Array]
    """Log odds by the name of the member, shape ``(threshold, row)``."""
    observed: Array
    """Rain rate, mm h-1, shape ``(row,)``."""
    weight: Array
    """Weight of each row, shape ``(row,)``."""

    def select(self, rows: NDArray[Any]) -> MemberForecasts:
        """Return the forecasts for some rows, given by their numbers or a mask."""
        log_odds = {name: values[:, rows] for name, values in self.log_odds.items()}
        return MemberForecasts(self.lead_minutes, log_odds, self.observed[rows], self.weight[rows])


def concatenate_forecasts(parts: Sequence[Sequence[MemberForecasts]]) -> list[MemberForecasts]:
    """Put the rows of several lists of forecasts together, one for each lead time; of members that all of them have."""
    found = []
    for lead in sorted({one.lead_minutes for part in parts for one in part}):
        same = [one for part in parts for one in part if one.lead_minutes == lead]
        names = [name for name in same[0].log_odds if all(name in one.log_odds for one in same)]
        log_odds = {name: np.concatenate([one.log_odds[name] for one in same], axis=1) for name in names}
        observed, weight = (np.concatenate([getattr(one, key) for one in same]) for key in ("observed", "weight"))
        found.append(MemberForecasts(lead, log_odds, observed, weight))
    return found


@dataclass(frozen=True)
class Blend:
    """Weights of members by lead time and threshold."""

    members: tuple[str, ...]
    """Names of the members."""
    thresholds: tuple[float, ...]
    """mm h-1, increasing."""
    leads: tuple[float, ...]
    """Lead times of the weights, min, increasing."""
    weights: Array
    """Shape ``(lead, threshold, member + 1)``, the constant last."""

    def weights_at(self, lead_minutes: float) -> Array:
        """Return the weights at a lead time, shape ``(threshold, member + 1)``."""
        return interpolate_leads(self.weights, self.leads, lead_minutes)

    def log_odds(self, member_log_odds: Mapping[str, Array], lead_minutes: float) -> Array:
        """Blend log odds of the members, ``(threshold, row)`` by name, into ``(threshold, row)``."""
        weights = self.weights_at(lead_minutes)
        stacked = np.stack([member_log_odds[name] for name in self.members])
        mixed: Array = np.einsum("tm,mtr->tr", weights[:, :-1], stacked) + weights[:, -1:]
        return mixed

    def entry(self) -> dict[str, Any]:
        """Return its entry in the manifest of a model, without the weights."""
        return {"members": list(self.members), "leads_min": list(self.leads)}

    @classmethod
    def equal(cls, members: tuple[str, ...], thresholds: tuple[float, ...]) -> Blend:
        """Return the blend in which all members have the same weight at every lead time."""
        weights = np.full((1, len(thresholds), len(members) + 1), 1.0 / len(members), np.float32)
        weights[..., -1] = 0.0
        return cls(members, thresholds, (60.0,), weights)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any], weights: Array, stored: StoredParts) -> Blend:
        """Return the blend of an entry in the manifest."""
        members, leads = tuple(entry["members"]), tuple(entry["leads_min"])
        expected = len(leads), len(stored.thresholds), len(members) + 1
        stored.check_shape(f"weights of the blend of {len(members)} members", weights.shape, expected)
        return cls(members, stored.thresholds, leads, weights)


def fit_blend(
    members: Sequence[str], thresholds: Sequence[float], forecasts: Sequence[MemberForecasts], ridge: float = 50.0
) -> Blend:
    """Fit weights on forecasts for events that the members were not trained on.

    Weights are not below zero and sum to one, without a constant: the blend lies between its members, and is never more
    certain of rain, or of none, than all of them. Each member is calibrated by its own training, and weights that are
    free as well, a constant among them, carry over worse to networks that are left out (`notebooks/decisions.md`).
    Without data all members have the same weight.

    Parameters
    ----------
    members
        Names of the members to blend.
    thresholds
        mm h-1, increasing.
    forecasts
        Forecasts of these members, one for each lead time.
    ridge
        Strength of the ridge that holds the weights equal, as a number of observations with differences of log odds of
        size one.
    """
    weights = np.zeros((len(forecasts), len(thresholds), len(members) + 1), np.float32)
    for i, one in enumerate(forecasts):
        for j, threshold in enumerate(thresholds):
            log_odds = np.stack([one.log_odds[name][j] for name in members], axis=1)
            weights[i, j, :-1] = _fit_shares(log_odds, one.observed >= np.float32(threshold), one.weight, ridge)
    leads = tuple(one.lead_minutes for one in forecasts)
    return Blend(tuple(members), tuple(thresholds), leads, smooth_weights(weights, leads))


def _fit_shares(log_odds: Array, event: Mask, weight: Array, ridge: float) -> Doubles:
    """Return weights of members that sum to one, ``(member,)``, from log odds ``(row, member)``: the least log loss."""
    equal = np.full(log_odds.shape[1], 1.0 / log_odds.shape[1])
    loss = log_loss(log_odds, event, weight, centre=equal, ridge=ridge)
    total = float(weight.sum(dtype=np.float64)) + ridge

    def mean_loss(shares: Doubles) -> tuple[float, Doubles]:
        value, slope = loss(shares)
        return value / total, slope / total

    sum_is_one = LinearConstraint(np.ones(equal.size), 1.0, 1.0)
    with threadpool_limits(1):
        found: Doubles = minimize(
            mean_loss,
            equal,
            jac=True,
            method="SLSQP",
            bounds=Bounds(0.0, 1.0),
            constraints=sum_is_one,
            options=_PRECISE,
        ).x
    return found


def smooth_weights(weights: Array, leads: Sequence[float]) -> Array:
    """Replace weights by their straight line along the lead times, not below zero: jumps between these are chance.

    The sum over the members, the last of which is the constant, stays.
    """
    if len(leads) < 3:
        return weights
    times = np.asarray(leads) - np.mean(leads)
    slope = np.tensordot(times, weights, axes=1) / (times @ times)
    line = np.maximum(weights.mean(axis=0) + times[:, None, None] * slope, 0.0)
    return np.asarray(line / line.sum(axis=-1, keepdims=True) * weights.sum(axis=-1, keepdims=True), np.float32)
