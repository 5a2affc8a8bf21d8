"""Logistic regressions: members of one or a few predictors, and the weights of members in a blend.

All of them hold for a threshold and a lead time; between the lead times they were fitted at they are interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits

from hybridcast.core.interpolation import interpolate_leads
from hybridcast.core.types import Array, Doubles
from hybridcast.predictors.predictor import Transform
from hybridcast.predictors.radar import WET, WIDTHS
from hybridcast.predictors.registry import get_transforms, index_of

#: Log odds beyond this are certainty enough; what is surer is held here.
MAX_LOG_ODDS = 9.0


def fit_logistic(
    inputs: NDArray[np.floating],
    happened: NDArray[np.bool_],
    weight: NDArray[np.floating],
    *,
    offset: NDArray[np.floating] | float = 0.0,
    centre: Doubles | None = None,
    strength: float = 1.0,
    lowest: Doubles | None = None,
) -> Doubles:
    """Fit log odds that are linear in the inputs, held near given coefficients by a ridge.

    Parameters
    ----------
    inputs
        Shape ``(row, input)``, finite.
    happened
        Shape ``(row,)``.
    weight
        How many observations each row stands for, shape ``(row,)``.
    offset
        Added to the log odds, shape ``(row,)``.
    centre
        The coefficients without evidence, the constant last, shape ``(input + 1,)``; zero by default.
    strength
        Of the ridge: as if that many observations, with inputs of size one, spoke for `centre`.
    lowest
        Coefficients are not below these, shape ``(input + 1,)``.

    Returns
    -------
    ndarray
        Coefficients, the constant last, shape ``(input + 1,)``.
    """
    design = np.column_stack([inputs, np.ones(len(inputs))]).astype(np.float64)
    target, counts = happened.astype(np.float64), np.asarray(weight, np.float64)
    middle = np.zeros(design.shape[1]) if centre is None else centre

    def loss(coefficients: Doubles) -> tuple[float, Doubles]:
        odds = design @ coefficients + offset
        away = coefficients - middle
        # log(1 + e^x) - y x, written so that it does not overflow
        value = counts @ (np.logaddexp(0.0, odds) - target * odds) + 0.5 * strength * away @ away
        slope = design.T @ (counts * (expit(odds) - target)) + strength * away
        return float(value), slope

    bounds = None if lowest is None else [(low, None) for low in lowest]
    with threadpool_limits(1):  # the products are small, and threads that wait for one another would take all the time
        result: Doubles = minimize(loss, middle, jac=True, method="L-BFGS-B", bounds=bounds).x
    return result


@dataclass(frozen=True)
class LogisticMember:
    """Log odds of each threshold, linear in some of the predictors."""

    name: str
    columns: tuple[str, ...]
    """Names of its predictors."""
    transforms: tuple[Transform, ...]
    """Transform of each predictor that the coefficients were fitted with."""
    leads: tuple[float, ...]
    """min, increasing."""
    coefficients: Array
    """Shape ``(lead, threshold, input + 1)``, the constant last."""

    def scores(self, rows: Array, lead: float) -> Array:
        """Return log odds at one lead time (min), shape ``(threshold, row)``."""
        at = interpolate_leads(self.coefficients, self.leads, lead)
        inputs = transform_predictors(rows, self.columns, self.transforms)
        scores: Array = at[:, :-1] @ inputs.T + at[:, -1:]
        return np.clip(scores, -MAX_LOG_ODDS, MAX_LOG_ODDS)


def transform_predictors(rows: Array, columns: Sequence[str], transforms: Sequence[Transform]) -> Array:
    """Return the inputs of a linear member, ``(row, input)``: transformed predictors, 0 where missing.

    The logit is that of fractions, 0 and 1 included: ``log((fraction + 0.01) / (1.01 - fraction))``.
    """
    inputs = rows[:, [index_of(name) for name in columns]]
    for k, transform in enumerate(transforms):
        if transform == "logit":
            fraction = np.clip(inputs[:, k], 0, 1)
            inputs[:, k] = np.log((fraction + np.float32(0.01)) / (np.float32(1.01) - fraction))
    return np.nan_to_num(inputs)


#: The neighbourhood of the advected field, calibrated: the strong cheap baseline of probabilities.
NEIGHBOURHOOD = tuple(f"wet_{wet:g}_{width}" for wet in WET for width in WIDTHS)
#: The scale filter as a probability.
SCALES = ("filter", "filter_8")

#: What a model says alone, calibrated.
NWP = (
    *("nwp_wet_0.1_32", "nwp_wet_1_8", "nwp_wet_1_32", "nwp_mean_8", "nwp_mean_32", "nwp_max_16"),
    *("nwp_ensemble", "nwp_shifted"),
)


def fit_logistic_member(
    name: str,
    columns: tuple[str, ...],
    rows: Array,
    observed: Array,
    weight: Array,
    lead: Array,
    thresholds: Sequence[float],
    strength: float = 20.0,
) -> LogisticMember:
    """Fit a member at each lead time that occurs, with the transforms that its predictors are declared with.

    Parameters
    ----------
    rows
        Predictors, shape ``(row, predictor)``.
    observed, weight, lead
        Rate (mm h-1), number of observations it stands for, and lead time (min), shape ``(row,)``.
    strength
        See `fit_logistic`.
    """
    leads = np.unique(lead)
    transforms = get_transforms(columns)
    inputs = transform_predictors(rows, columns, transforms)
    found = np.empty((leads.size, len(thresholds), len(columns) + 1), np.float32)
    for i, minutes in enumerate(leads):
        at = lead == minutes
        for j, threshold in enumerate(thresholds):
            happened = observed[at] >= np.float32(threshold)
            found[i, j] = fit_logistic(inputs[at], happened, weight[at], strength=strength)
    return LogisticMember(name, columns, transforms, tuple(map(float, leads)), found)
