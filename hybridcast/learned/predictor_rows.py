"""Sources of rows of predictors: where radar and NWP know the rain, how much of it, and the NWP rain rate."""

from __future__ import annotations

import numpy as np

from hybridcast.core.types import Array, Mask
from hybridcast.predictors.registry import index_of

_RATE, _NWP_RATE, _KNOWN = index_of("rate"), index_of("nwp_rate"), index_of("known_64")


def has_radar(predictors: Array) -> Mask:
    """Return for which rows ``(row, predictor)`` the radar knows the air."""
    known: Mask = np.isfinite(predictors[:, _RATE])
    return known


def known_fraction(predictors: Array) -> Array:
    """Return the fraction of known cells within 64 km of the origin of the air, for rows ``(row, predictor)``."""
    return np.nan_to_num(predictors[:, _KNOWN])


def has_nwp(predictors: Array) -> Mask:
    """Return for which rows ``(row, predictor)`` NWP rain is known; for none if there are radar predictors only."""
    if predictors.shape[1] <= _NWP_RATE:
        return np.zeros(len(predictors), bool)
    known: Mask = np.isfinite(predictors[:, _NWP_RATE])
    return known


def nwp_rain_rate(predictors: Array) -> Array:
    """Return the NWP rain rate of rows ``(row, predictor)``, mm h-1; rates below 0.1 mm/h are 0, unknown ones NaN."""
    if predictors.shape[1] <= _NWP_RATE:
        return np.full(len(predictors), np.nan, np.float32)
    level = predictors[:, _NWP_RATE]
    rate: Array = np.where(level > 0, np.float32(0.1) * np.float32(10) ** (level / np.float32(10)), np.float32(0))
    return np.where(np.isnan(level), level, rate)
