"""Correction of the probabilities of heavy rain by the coverage of the latest frame.

How much of the rain of an event is heavy differs more between events, seasons and networks than the predictors of the
members tell: where the training had convection, members expect heavy rain from any strong echo. The share of the latest
frame that reaches a threshold tells it. So the log odds of each threshold are shifted such that their mean moves from
the expected coverage towards that of the frame, by a weight that grows with the threshold and decays with lead time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.special import logit

from hybridcast.core.interpolation import interpolate_leads
from hybridcast.core.types import Array, Doubles
from hybridcast.fusion.probability_matching import exceedance_fraction
from hybridcast.learned.boosting import enforce_decreasing
from hybridcast.learned.logistic import probability

#: Weight of the coverage of the frame at lead times (min) and thresholds (mm h-1), fitted on events that the models had
#: not seen; between them it is interpolated, in the logarithm of the threshold.
LEADS = (30.0, 60.0, 90.0)
RATES = (0.5, 1.0, 2.0, 5.0, 10.0)
WEIGHTS = ((0.0, 0.1, 0.4, 0.7, 0.9), (0.0, 0.0, 0.15, 0.4, 0.7), (0.0, 0.05, 0.2, 0.3, 0.5))

#: Probabilities are held between this and one minus it.
LEAST = np.float32(1e-7)


def correct_coverage(
    probabilities: Array, frame: xr.DataArray, thresholds: Sequence[float], lead_minutes: Doubles
) -> Array:
    """Return probabilities whose mean lies between the expected coverage and that of the latest frame.

    Parameters
    ----------
    probabilities
        Exceedance probabilities of the air of the latest frame, ``(threshold, lead, row)``.
    frame
        Latest frame on the cells that the members were trained on, mm h-1, dims ``("y", "x")``.
    thresholds
        mm h-1, increasing.
    lead_minutes
        Lead times, min.
    """
    known = int(np.isfinite(frame.values).sum())
    if not known or not probabilities.shape[2]:
        return probabilities
    covered = exceedance_fraction(frame.values, thresholds)[:, None]
    expected = probabilities.mean(axis=2)
    least = np.float32(1 / known)  # a coverage of none and one of a single cell are hardly different
    shift = _weights(thresholds, lead_minutes) * np.log((covered + least) / (expected + least))
    corrected = np.empty_like(probabilities)
    for lead, of_lead in enumerate(probabilities.swapaxes(0, 1)):
        shifted: Array = logit(np.clip(of_lead, LEAST, 1 - LEAST)) + shift[:, [lead]].astype(np.float32)
        corrected[:, lead] = probability(enforce_decreasing(shifted))
    return corrected


def _weights(thresholds: Sequence[float], lead_minutes: Doubles) -> Doubles:
    """Return the weight of the coverage of the frame, ``(threshold, lead)``."""
    at_leads = interpolate_leads(np.array(WEIGHTS), LEADS, lead_minutes)
    return np.array([np.interp(np.log(thresholds), np.log(RATES), row) for row in at_leads]).T
