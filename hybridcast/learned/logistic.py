"""Logistic regression: members of one or a few predictors, and the fit that weights of members are found with too.

A member has coefficients for each threshold and for the lead times of its training, interpolated between these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits

from hybridcast.core.interpolation import interpolate_leads
from hybridcast.core.types import Array, Doubles
from hybridcast.learned.member import MemberInputs, StoredParts
from hybridcast.predictors.predictor import Transform
from hybridcast.predictors.radar import WET, WIDTHS
from hybridcast.predictors.registry import get_transforms, index_of

if TYPE_CHECKING:
    from hybridcast.learned.training.event_samples import TrainingData

#: Log odds are held between this and minus this: nothing is more certain.
MAX_LOG_ODDS = 9.0

#: Predictors of the neighbourhood of the advected field: calibrated, the simple and strong baseline for probabilities.
NEIGHBOURHOOD = tuple(f"wet_{wet:g}_{width}" for wet in WET for width in WIDTHS)
#: Predictors of the scale filter.
SCALE_FILTER = ("filter", "filter_8")
#: Predictors of NWP rain.
NWP_RAIN = (
    *("nwp_wet_0.1_32", "nwp_wet_1_8", "nwp_wet_1_32", "nwp_mean_8", "nwp_mean_32", "nwp_max_16"),
    *("nwp_ensemble", "nwp_shifted"),
)


def probability(log_odds: Array) -> Array:
    """Return probabilities from log odds, which are held within `MAX_LOG_ODDS`; NaN stays."""
    return np.float32(1) / (np.float32(1) + np.exp(-np.clip(log_odds, -MAX_LOG_ODDS, MAX_LOG_ODDS)))


def fit_logistic(
    inputs: NDArray[np.floating],
    event: NDArray[np.bool_] | NDArray[np.floating],
    weight: NDArray[np.floating],
    *,
    offset: NDArray[np.floating] | float = 0.0,
    centre: Doubles | None = None,
    ridge: float | Doubles = 1.0,
) -> Doubles:
    """Fit log odds that are linear in the inputs, held near given coefficients by a ridge.

    Parameters
    ----------
    inputs
        Shape ``(row, input)``, finite.
    event
        Whether the event occurred, or the fraction of the observations of the row in which it did, shape ``(row,)``.
    weight
        Number of observations each row stands for, shape ``(row,)``.
    offset
        Added to the log odds, shape ``(row,)``.
    centre
        Coefficients without any data, the constant last, shape ``(input + 1,)``; zero by default.
    ridge
        Strength of the ridge, as a number of observations with inputs of size one that support `centre`; one for all
        coefficients, or one for each, shape ``(input + 1,)``.

    Returns
    -------
    ndarray
        Coefficients, the constant last, shape ``(input + 1,)``.
    """
    design = np.column_stack([inputs, np.ones(len(inputs))])
    middle = np.zeros(design.shape[1]) if centre is None else centre
    loss = log_loss(design, event, weight, offset=offset, centre=middle, ridge=ridge)
    with threadpool_limits(1):  # the products are small, and threads that wait for one another would take all the time
        result: Doubles = minimize(loss, middle, jac=True, method="L-BFGS-B").x
    return result


def log_loss(
    design: NDArray[np.floating],
    event: NDArray[np.bool_] | NDArray[np.floating],
    weight: NDArray[np.floating],
    *,
    offset: NDArray[np.floating] | float = 0.0,
    centre: Doubles,
    ridge: float | Doubles,
) -> Callable[[Doubles], tuple[float, Doubles]]:
    """Return the function from coefficients of a design ``(row, input)`` to their loss with its ridge, and its slope.

    The other parameters are as in `fit_logistic`.
    """
    inputs, target, counts = (np.asarray(part, np.float64) for part in (design, event, weight))

    def loss(coefficients: Doubles) -> tuple[float, Doubles]:
        log_odds = inputs @ coefficients + offset
        away = coefficients - centre
        # log(1 + e^x) - y x, written so that it does not overflow
        value = counts @ (np.logaddexp(0.0, log_odds) - target * log_odds) + 0.5 * ridge * away @ away
        slope = inputs.T @ (counts * (expit(log_odds) - target)) + ridge * away
        return float(value), slope

    return loss


# --- members --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogisticMember:
    """Log odds of each threshold that are linear in some of the predictors."""

    name: str
    predictors: tuple[str, ...]
    """Names of its predictors."""
    transforms: tuple[Transform, ...]
    """Transform of each predictor that the coefficients were fitted with."""
    thresholds: tuple[float, ...]
    """mm h-1, increasing."""
    leads: tuple[float, ...]
    """Lead times of the coefficients, min, increasing."""
    coefficients: Array
    """Shape ``(lead, threshold, predictor + 1)``, the constant last."""

    def log_odds(self, inputs: MemberInputs, lead_minutes: float) -> Array:
        """Return the log odds that each threshold is reached, shape ``(threshold, row)``."""
        at = interpolate_leads(self.coefficients, self.leads, lead_minutes)
        transformed = transform_predictors(inputs.predictors, self.predictors, self.transforms)
        found: Array = at[:, :-1] @ transformed.T + at[:, -1:]
        return np.clip(found, -MAX_LOG_ODDS, MAX_LOG_ODDS)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return the entry in the manifest of a model and the parts, see `hybridcast.learned.member.Member`."""
        tensors = {"coefficients": np.ascontiguousarray(self.coefficients)}
        entry = {"kind": "logistic", "leads_min": list(self.leads), "transforms": list(self.transforms)}
        return entry, {f"{self.name}.safetensors": save_tensors(tensors)}

    @classmethod
    def from_parts(cls, entry: Mapping[str, Any], stored: StoredParts) -> LogisticMember:
        """Return the member of an entry in the manifest."""
        name, predictors, leads = entry["name"], tuple(entry["predictors"]), tuple(entry["leads_min"])
        coefficients = stored.tensors(entry["parts"][0])["coefficients"]
        expected = len(leads), len(stored.thresholds), len(predictors) + 1
        stored.check_shape(f"coefficients of {name}", coefficients.shape, expected)
        transforms = tuple(entry["transforms"])
        stored.check_shape(f"transforms of {name}", (len(transforms),), (len(predictors),))
        return cls(name, predictors, transforms, stored.thresholds, leads, coefficients)


def transform_predictors(rows: Array, predictors: Sequence[str], transforms: Sequence[Transform]) -> Array:
    """Return the inputs of a logistic member, ``(row, input)``: transformed predictors, 0 where missing.

    The logit is that of fractions, 0 and 1 included: ``log((fraction + 0.01) / (1.01 - fraction))``.
    """
    inputs = rows[:, [index_of(name) for name in predictors]]
    for k, transform in enumerate(transforms):
        if transform == "logit":
            fraction = np.clip(inputs[:, k], 0, 1)
            inputs[:, k] = np.log((fraction + np.float32(0.01)) / (np.float32(1.01) - fraction))
    return np.nan_to_num(inputs)


@dataclass(frozen=True)
class LogisticBuilder:
    """Training of a logistic member."""

    name: str
    predictors: tuple[str, ...]
    optional: bool = False

    def train(self, data: TrainingData) -> LogisticMember:
        """Train the member on samples."""
        samples = data.samples
        return fit_logistic_member(
            self.name,
            self.predictors,
            samples.predictors,
            samples.observed,
            data.weight,
            samples.lead,
            data.settings.thresholds,
        )


def fit_logistic_member(
    name: str,
    predictors: tuple[str, ...],
    rows: Array,
    observed: Array,
    weight: Array,
    lead: Array,
    thresholds: Sequence[float],
    ridge: float = 20.0,
) -> LogisticMember:
    """Fit a member at each lead time that occurs, with the transforms that its predictors are declared with.

    Parameters
    ----------
    name
        Name of the member.
    predictors
        Names of the predictors that it uses.
    rows
        Values of all predictors, shape ``(row, predictor)``.
    observed, weight, lead
        Observed rate (mm h-1), number of observations it stands for, and lead time (min), shape ``(row,)``.
    thresholds
        mm h-1, increasing.
    ridge
        See `fit_logistic`.
    """
    leads = np.unique(lead)
    transforms = get_transforms(predictors)
    inputs = transform_predictors(rows, predictors, transforms)
    found = np.empty((leads.size, len(thresholds), len(predictors) + 1), np.float32)
    for i, minutes in enumerate(leads):
        at = lead == minutes
        for j, threshold in enumerate(thresholds):
            event = observed[at] >= np.float32(threshold)
            found[i, j] = fit_logistic(inputs[at], event, weight[at], ridge=ridge)
    return LogisticMember(name, predictors, transforms, tuple(map(float, thresholds)), tuple(map(float, leads)), found)
