"""Tokens: what early fusion attends to beside the predictors of the radar, for a cell and a lead time.

Late fusion looks at planes, in which stations and model fields are condensed already. Tokens leave them apart: the
nearest stations one by one, as they lie to where the air comes from, and means of the model's rain around the place
where it will be, beside the model's and the radar's around where it is at the issue time, so that a displacement can be
seen. Directions are along and across the track: nothing tells where north is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.grid import cell_kilometres, decibels, known_mean, window_mean
from hybridcast.core.types import Array
from hybridcast.nowcasters.base import latest_frame
from hybridcast.nwp.regrid import regrid_to_radar
from hybridcast.nwp.schema import RATE
from hybridcast.predictors.registry import SOURCE_PREDICTORS
from hybridcast.predictors.sources import Sources
from hybridcast.predictors.state import PredictorState
from hybridcast.predictors.stations import RecentReports, recent_reports
from hybridcast.stations.collocation import positions_in_kilometres
from hybridcast.stations.interpolation import find_nearest
from hybridcast_kernels.trajectories import sample

#: So many stations, at most so far from where the air comes from, km.
NEAREST, RADIUS = 6, 60.0
#: What a station's token holds: dB, dB of mm h-1, dB per 10 min, min, km, km, km.
STATION = ("residual", "rate", "tendency", "age", "along", "across", "distance")
#: What a model's token holds: its rain at the valid time around the cell; its rain, and the radar's, at the issue time
#: around where the air comes from; dB above 0.1 mm/h.
NWP = ("valid", "issue", "radar")
#: Model tokens lie on a square of so many, so far apart (km), each a mean within half of that.
SIDE, APART = 5, 16.0
HALF = APART / 2


def _offsets() -> Array:
    steps = (np.arange(SIDE) - SIDE // 2) * np.float32(APART)
    return np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)


#: Where model tokens lie, km along and across the track, shape ``(SIDE * SIDE, 2)``.
OFFSETS = _offsets()


class Tokens(NamedTuple):
    """Tokens of rows; NaN is not there."""

    stations: Array
    """Shape ``(row, NEAREST, len(STATION))``, the nearest first."""
    nwp: Array
    """Shape ``(row, SIDE * SIDE, len(NWP))``."""


class Heard(NamedTuple):
    """What the tokens of an issue time are taken from."""

    recent: xr.DataArray
    state: PredictorState
    at_issue: Array
    """Means within `HALF` of the model's rain and the radar's at the latest frame, dB, shape ``(y, x, 2)``."""
    spoken: RecentReports | None


def heard_of(recent: xr.DataArray, state: PredictorState, sources: Sources) -> Heard:
    """Take from the sources of an issue time what tokens are made of.

    Parameters
    ----------
    recent
        Precipitation field up to the issue time.
    state
        What `hybridcast.predictors.state.build_predictor_state` made of it and of the same sources.
    sources
        On the cells of `recent`.
    """
    latest, _ = latest_frame(recent)
    nothing = np.full(latest.shape, np.nan, np.float32)
    model = nothing
    if sources.nwp is not None and sources.has_rain:
        runs = regrid_to_radar(sources.nwp, recent, [latest["time"].values])[RATE].transpose(..., "y", "x")
        model = next((run for run in runs.values[:, 0] if np.isfinite(run).any()), nothing)
    cell = cell_kilometres(recent)
    at_issue = np.stack([_mean_around(rate, cell) for rate in (model, latest.values)], axis=-1)
    spoken = None if sources.stations is None else recent_reports(sources.stations, recent)
    return Heard(recent, state, at_issue, spoken)


def _mean_around(rate: Array, cell: tuple[float, float]) -> Array:
    """Mean of the known decibels within `HALF`; NaN where hardly any is known."""
    known = np.isfinite(rate)
    share = window_mean(known.astype(np.float32), HALF, cell)
    mean = known_mean(np.where(known, decibels(rate), np.float32(0)), share, HALF, cell)
    return np.where(share < 1e-2, np.float32(np.nan), mean)


def tokens_at(heard: Heard, lead: int, places: Array, cells: NDArray[np.int32]) -> Tokens:
    """Return the tokens of some cells at one lead time.

    Parameters
    ----------
    lead
        Number of the lead time in the state.
    places
        Row and column of where the air comes from, shape ``(cell, 2)``.
    cells
        Row and column of where it will be, shape ``(cell, 2)``.
    """
    ahead = _ahead(heard.state, places)
    return Tokens(_of_stations(heard, places, ahead), _of_nwp(heard, lead, places, cells, ahead))


def _ahead(state: PredictorState, places: Array) -> Array:
    """Unit vectors along the track, down the rows and along the columns, ``(place, 2)``; along columns if it stands."""
    flow = sample(np.ascontiguousarray(np.moveaxis(state.flow, 0, -1)), places)
    way = flow[:, ::-1] * np.array(state.cell, np.float32)
    speed = np.hypot(way[:, 0], way[:, 1])[:, None]
    there = np.where(speed > 1e-6, way, np.array([0, 1], np.float32))
    return np.asarray(there / np.where(speed > 1e-6, speed, np.float32(1)), np.float32)


def _across(ahead: Array) -> Array:
    return np.stack([ahead[:, 1], -ahead[:, 0]], axis=1)


def _of_stations(heard: Heard, places: Array, ahead: Array) -> Array:
    out = np.full((len(places), NEAREST, len(STATION)), np.nan, np.float32)
    spoken = heard.spoken
    if spoken is None:
        return out
    here = positions_in_kilometres(places, heard.recent)
    near = find_nearest(spoken.at, here, NEAREST, RADIUS)
    away = spoken.at[near.point] - here[:, None]
    along, across = (np.einsum("pka,pa->pk", away, way) for way in (ahead, _across(ahead)))
    told = [values[near.point] for values in (spoken.residual, spoken.rate, spoken.tendency, spoken.age)]
    tokens = np.stack([*told, along, across, near.distance], axis=-1)
    tokens[~np.isfinite(near.distance)] = np.nan
    out[:, : tokens.shape[1]] = tokens
    return out


def _of_nwp(heard: Heard, lead: int, places: Array, cells: NDArray[np.int32], ahead: Array) -> Array:
    state = heard.state
    out = np.full((len(places), len(OFFSETS), len(NWP)), np.nan, np.float32)
    if state.sources is None:
        return out
    plane = SOURCE_PREDICTORS.index("nwp_mean_8")
    valid = np.ascontiguousarray(state.sources[lead][..., plane : plane + 1])
    if not np.isfinite(valid).any() and not np.isfinite(heard.at_issue[..., 0]).any():
        return out
    shift = OFFSETS[:, :1] * ahead[:, None] + OFFSETS[:, 1:] * _across(ahead)[:, None]
    shift /= np.array(state.cell, np.float32)
    out[..., :1] = _inside(valid, cells[:, None].astype(np.float32) + shift)
    out[..., 1:] = _inside(heard.at_issue, places[:, None] + shift)
    return out


def _inside(planes: Array, places: Array) -> Array:
    """Sample planes at places ``(row, token, 2)``; NaN beyond the grid."""
    edge = np.array(planes.shape[:2], np.float32) - 1
    inside = np.asarray(((places >= 0) & (places <= edge)).all(axis=-1))
    found = sample(planes, np.ascontiguousarray(places.reshape(-1, 2))).reshape(*places.shape[:2], -1)
    return np.where(inside[..., None], found, np.float32(np.nan))


def joined_tokens(parts: list[Tokens]) -> Tokens:
    """Put tokens one after the other."""
    return Tokens(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def without(tokens: Tokens, *, stations: bool = False, nwp: bool = False) -> Tokens:
    """Take sources away.

    Examples
    --------
    >>> tokens = Tokens(np.ones((1, NEAREST, len(STATION)), np.float32), np.ones((1, SIDE**2, len(NWP)), np.float32))
    >>> left = without(tokens, stations=True)
    >>> bool(np.isnan(left.stations).all()), float(left.nwp[0, 0, 0])
    (True, 1.0)
    """
    gone = np.float32(np.nan)
    return Tokens(
        np.full_like(tokens.stations, gone) if stations else tokens.stations,
        np.full_like(tokens.nwp, gone) if nwp else tokens.nwp,
    )
