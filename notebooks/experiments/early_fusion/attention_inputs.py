"""Inputs of early fusion: rows and tokens, finite, of order one, with a flag beside values that may be missing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from early_fusion.tokens import OFFSETS, Tokens
from hybridcast.core.types import Array, Mask
from hybridcast.learned.logistic import transform_predictors
from hybridcast.predictors.registry import (
    ALL_PREDICTORS,
    NWP_PREDICTORS,
    RADAR_PREDICTORS,
    get_transforms,
    select_columns,
)

#: Typical sizes of the channels of tokens.
_STATION_SIZE = np.array([5, 10, 5, 30, 20, 20, 20], np.float32)
_RAIN_SIZE, _OFFSET_SIZE = np.float32(10), np.float32(20)
#: Standardised inputs are limited to this absolute value.
_LIMIT = 5.0
#: Predictors used: those of the radar form the query, those of NWP a token.
PREDICTORS = (*RADAR_PREDICTORS, *NWP_PREDICTORS)


class AttentionInputs(NamedTuple):
    """Inputs of the network."""

    query: Array
    """Predictors of the radar, each with a flag, shape ``(row, 2 * predictor)``."""
    station: Array
    """Tokens of stations, shape ``(row, token, channel)``."""
    nwp: Array
    """Tokens of NWP with their positions, shape ``(row, token, channel)``."""
    summary: Array
    """Predictors of NWP, each with a flag, shape ``(row, 2 * predictor)``."""
    has_station: Mask
    """Tokens of stations that are not missing, shape ``(row, token)``."""
    has_nwp: Mask
    """Tokens of NWP that are not missing, the last being the summary, shape ``(row, token + 1)``."""


def fit_scaling(rows: Array, weight: Array) -> Array:
    """Return weighted mean and standard deviation of each predictor where it is known, shape ``(2, predictor)``."""
    values, missing = _select_predictors(rows)
    counts = np.where(missing, 0, weight[:, None]).astype(np.float64)
    total = np.maximum(counts.sum(axis=0), 1e-9)
    mean = (counts * values).sum(axis=0) / total
    spread = np.sqrt((counts * (values - mean) ** 2).sum(axis=0) / total)
    return np.stack([mean, np.maximum(spread, 1e-3)]).astype(np.float32)


def _select_predictors(rows: Array) -> tuple[Array, Mask]:
    """Return transformed `PREDICTORS`, 0 where missing, and the mask of missing ones."""
    if rows.shape[1] < len(ALL_PREDICTORS):
        rows = np.pad(rows, [(0, 0), (0, len(ALL_PREDICTORS) - rows.shape[1])], constant_values=np.nan)
    missing = ~np.isfinite(select_columns(rows, PREDICTORS))
    return transform_predictors(rows, PREDICTORS, get_transforms(PREDICTORS)), missing


def prepare_inputs(rows: Array, tokens: Tokens, scaling: Array) -> AttentionInputs:
    """Standardise rows and tokens, and flag missing values."""
    values, missing = _select_predictors(rows)
    scaled = np.clip((values - scaling[0]) / scaling[1], -_LIMIT, _LIMIT)
    scaled[missing] = 0
    radar, nwp = np.split(np.arange(len(PREDICTORS)), [len(RADAR_PREDICTORS)])
    nwp_tokens = _flag_missing(tokens.nwp / _RAIN_SIZE)
    positions = np.broadcast_to(OFFSETS / _OFFSET_SIZE, (*nwp_tokens.shape[:2], 2))
    has_summary = np.asarray((~missing[:, nwp]).any(axis=1, keepdims=True))
    return AttentionInputs(
        query=_append_flags(scaled[:, radar], missing[:, radar]),
        station=_flag_missing(tokens.stations / _STATION_SIZE),
        nwp=np.concatenate([nwp_tokens, positions], axis=-1),
        summary=_append_flags(scaled[:, nwp], missing[:, nwp]),
        has_station=np.isfinite(tokens.stations[..., -1]),
        has_nwp=np.concatenate([np.isfinite(tokens.nwp[..., :2]).any(axis=-1), has_summary], axis=1),
    )


def _flag_missing(values: Array) -> Array:
    missing = ~np.isfinite(values)
    return _append_flags(np.where(missing, np.float32(0), np.clip(values, -_LIMIT, _LIMIT)), missing)


def _append_flags(values: Array, missing: Mask) -> Array:
    return np.concatenate([values, missing.astype(np.float32)], axis=-1).astype(np.float32)
