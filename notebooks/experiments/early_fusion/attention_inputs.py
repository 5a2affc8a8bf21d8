"""What early fusion takes in: rows and tokens, finite, of order one, with a flag beside what may be missing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from early_fusion.tokens import OFFSETS, Tokens
from hybridcast.core.types import Array
from hybridcast.learned.logistic import transform_predictors
from hybridcast.predictors.registry import (
    ALL_PREDICTORS,
    NWP_PREDICTORS,
    RADAR_PREDICTORS,
    get_transforms,
    select_columns,
)

#: Typical sizes of what tokens hold.
_STATION_SIZE = np.array([5, 10, 5, 30, 20, 20, 20], np.float32)
_LEVEL_SIZE, _OFFSET_SIZE = np.float32(10), np.float32(20)
#: Predictors are cut at so many standard deviations.
_FARTHEST = 5.0
#: Predictors that are looked at: those of the radar make the query, those of the model a token.
PREDICTORS = (*RADAR_PREDICTORS, *NWP_PREDICTORS)


class Prepared(NamedTuple):
    """Rows as the network takes them: finite, of order one, with a flag beside each value that may be missing."""

    query: Array
    """Shape ``(row, 2 * predictor)``."""
    station: Array
    """Shape ``(row, token, channel)``."""
    nwp: Array
    summary: Array
    """Shape ``(row, 2 * predictor)``."""
    station_there: NDArray[np.bool_]
    """Shape ``(row, token)``."""
    nwp_there: NDArray[np.bool_]
    """Shape ``(row, token + 1)``, the last that of the summary."""


def scaling_of(rows: Array, weight: Array) -> Array:
    """Find mean and spread of each predictor where it is known, shape ``(2, predictor)``."""
    values, missing = _values(rows)
    counts = np.where(missing, 0, weight[:, None]).astype(np.float64)
    total = np.maximum(counts.sum(axis=0), 1e-9)
    mean = (counts * values).sum(axis=0) / total
    spread = np.sqrt((counts * (values - mean) ** 2).sum(axis=0) / total)
    return np.stack([mean, np.maximum(spread, 1e-3)]).astype(np.float32)


def _values(rows: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return the predictors looked at, 0 where missing, and which are; shares as the logarithm of their odds."""
    if rows.shape[1] < len(ALL_PREDICTORS):
        rows = np.pad(rows, [(0, 0), (0, len(ALL_PREDICTORS) - rows.shape[1])], constant_values=np.nan)
    missing = ~np.isfinite(select_columns(rows, PREDICTORS))
    return transform_predictors(rows, PREDICTORS, get_transforms(PREDICTORS)), missing


def prepared(rows: Array, tokens: Tokens, scaling: Array) -> Prepared:
    """Make rows and tokens what the network takes."""
    values, missing = _values(rows)
    scaled = np.clip((values - scaling[0]) / scaling[1], -_FARTHEST, _FARTHEST)
    scaled[missing] = 0
    own = slice(None, len(RADAR_PREDICTORS))
    nwp = slice(len(RADAR_PREDICTORS), None)
    station, nwp_tokens = _flagged(tokens.stations / _STATION_SIZE), _flagged(tokens.nwp / _LEVEL_SIZE)
    places = np.broadcast_to(OFFSETS / _OFFSET_SIZE, (*nwp_tokens.shape[:2], 2))
    told = np.asarray((~missing[:, nwp]).any(axis=1))
    return Prepared(
        query=_beside(scaled[:, own], missing[:, own]),
        station=station,
        nwp=np.concatenate([nwp_tokens, places], axis=-1),
        summary=_beside(scaled[:, nwp], missing[:, nwp]),
        station_there=np.isfinite(tokens.stations[..., -1]),
        nwp_there=np.concatenate([np.isfinite(tokens.nwp[..., :2]).any(axis=-1), told[:, None]], axis=1),
    )


def _flagged(values: Array) -> Array:
    missing = ~np.isfinite(values)
    return _beside(np.where(missing, np.float32(0), np.clip(values, -_FARTHEST, _FARTHEST)), missing)


def _beside(values: Array, missing: NDArray[np.bool_]) -> Array:
    return np.concatenate([values, missing.astype(np.float32)], axis=-1).astype(np.float32)
