"""Tokens: inputs of early fusion beside the predictors of the radar, for a cell and a lead time.

Late fusion uses predictor fields, in which stations and NWP are summarised. Tokens keep them separate: the nearest
stations one by one, relative to the departure point; and means of NWP rain around the cell at the valid time, with
those of NWP and radar around the departure point at the issue time, so that a displacement can be recognised.
Directions are along and across the track, because north is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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

#: Number of stations, and their maximum distance from the departure point, km.
NEAREST, RADIUS = 6, 60.0
#: Channels of the token of a station: dB, dB of mm h-1, dB per 10 min, min, km, km, km.
STATION = ("residual", "rate", "tendency", "age", "along", "across", "distance")
#: Channels of an NWP token: its rain at the valid time around the cell; its rain and the radar's at the issue time
#: around the departure point; dB above 0.1 mm/h.
NWP = ("valid", "issue", "radar")
#: NWP tokens lie on a square grid: points along each side, and their spacing (km). Each is a mean within half of that.
SIDE, SPACING = 5, 16.0
HALF = SPACING / 2


def _offsets() -> Array:
    steps = (np.arange(SIDE) - SIDE // 2) * np.float32(SPACING)
    return np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)


#: Positions of NWP tokens, km along and across the track, shape ``(SIDE * SIDE, 2)``.
OFFSETS = _offsets()


class Tokens(NamedTuple):
    """Tokens of rows; missing ones are NaN."""

    stations: Array
    """Tokens of the nearest stations, nearest first, shape ``(row, NEAREST, len(STATION))``."""
    nwp: Array
    """Tokens of NWP, shape ``(row, SIDE * SIDE, len(NWP))``."""


class TokenSources(NamedTuple):
    """Data of an issue time from which tokens are taken."""

    recent: xr.DataArray
    """Precipitation field up to the issue time."""
    state: PredictorState
    """Predictor fields."""
    at_issue: Array
    """Means within `HALF` of NWP rain and of radar at the latest frame, dB, shape ``(y, x, 2)``."""
    reports: RecentReports | None
    """Recent reports of the stations."""


def build_token_sources(recent: xr.DataArray, state: PredictorState, sources: Sources) -> TokenSources:
    """Prepare the data from which the tokens of an issue time are taken.

    Parameters
    ----------
    recent
        Precipitation field up to the issue time.
    state
        Result of `hybridcast.predictors.state.build_predictor_state` for the same field and sources.
    sources
        NWP and stations, on the cells of `recent`.
    """
    latest, _ = latest_frame(recent)
    nwp = unknown = np.full(latest.shape, np.nan, np.float32)
    if sources.nwp is not None and sources.has_rain:
        runs = regrid_to_radar(sources.nwp, recent, [latest["time"].values])[RATE].transpose(..., "y", "x")
        nwp = next((run for run in runs.values[:, 0] if np.isfinite(run).any()), unknown)
    cell = cell_kilometres(recent)
    at_issue = np.stack([_mean_around(rate, cell) for rate in (nwp, latest.values)], axis=-1)
    reports = None if sources.stations is None else recent_reports(sources.stations, recent)
    return TokenSources(recent, state, at_issue, reports)


def _mean_around(rate: Array, cell: tuple[float, float]) -> Array:
    """Return the mean of the known decibels within `HALF`; NaN where less than 1 % is known."""
    known = np.isfinite(rate)
    fraction = window_mean(known.astype(np.float32), HALF, cell)
    mean = known_mean(np.where(known, decibels(rate), np.float32(0)), fraction, HALF, cell)
    return np.where(fraction < 1e-2, np.float32(np.nan), mean)


def build_tokens(sources: TokenSources, lead: int, departures: Array, cells: NDArray[np.int32]) -> Tokens:
    """Return the tokens of some cells at one lead time.

    Parameters
    ----------
    sources
        Data of the issue time.
    lead
        Number of the lead time in the state.
    departures
        Row and column of the departure points, shape ``(cell, 2)``.
    cells
        Row and column of the cells, shape ``(cell, 2)``.
    """
    along = _track_direction(sources.state, departures)
    return Tokens(_station_tokens(sources, departures, along), _nwp_tokens(sources, lead, departures, cells, along))


def _track_direction(state: PredictorState, points: Array) -> Array:
    """Return unit vectors along the track as rows and columns, ``(point, 2)``; along the columns without motion."""
    flow = sample(np.ascontiguousarray(np.moveaxis(state.flow, 0, -1)), points)
    motion = flow[:, ::-1] * np.array(state.cell, np.float32)
    speed = np.hypot(motion[:, 0], motion[:, 1])[:, None]
    moving = speed > 1e-6
    direction = np.where(moving, motion, np.array([0, 1], np.float32))
    return np.asarray(direction / np.where(moving, speed, np.float32(1)), np.float32)


def _across(along: Array) -> Array:
    return np.stack([along[:, 1], -along[:, 0]], axis=1)


def _station_tokens(sources: TokenSources, departures: Array, along: Array) -> Array:
    out = np.full((len(departures), NEAREST, len(STATION)), np.nan, np.float32)
    reports = sources.reports
    if reports is None:
        return out
    here = positions_in_kilometres(departures, sources.recent)
    near = find_nearest(reports.at, here, NEAREST, RADIUS)
    away = reports.at[near.point] - here[:, None]
    positions = [np.einsum("pka,pa->pk", away, direction) for direction in (along, _across(along))]
    values = [field[near.point] for field in (reports.residual, reports.rate, reports.tendency, reports.age)]
    tokens = np.stack([*values, *positions, near.distance], axis=-1)
    tokens[~np.isfinite(near.distance)] = np.nan
    out[:, : tokens.shape[1]] = tokens
    return out


def _nwp_tokens(sources: TokenSources, lead: int, departures: Array, cells: NDArray[np.int32], along: Array) -> Array:
    state = sources.state
    out = np.full((len(departures), len(OFFSETS), len(NWP)), np.nan, np.float32)
    if state.sources is None:
        return out
    plane = SOURCE_PREDICTORS.index("nwp_mean_8")
    valid = np.ascontiguousarray(state.sources[lead][..., plane : plane + 1])
    if not np.isfinite(valid).any() and not np.isfinite(sources.at_issue[..., 0]).any():
        return out
    shift = OFFSETS[:, :1] * along[:, None] + OFFSETS[:, 1:] * _across(along)[:, None]
    shift /= np.array(state.cell, np.float32)
    out[..., :1] = _sample_inside(valid, cells[:, None].astype(np.float32) + shift)
    out[..., 1:] = _sample_inside(sources.at_issue, departures[:, None] + shift)
    return out


def _sample_inside(planes: Array, points: Array) -> Array:
    """Sample planes at points ``(row, token, 2)``; NaN beyond the grid."""
    edge = np.array(planes.shape[:2], np.float32) - 1
    inside = np.asarray(((points >= 0) & (points <= edge)).all(axis=-1))
    found = sample(planes, np.ascontiguousarray(points.reshape(-1, 2))).reshape(*points.shape[:2], -1)
    return np.where(inside[..., None], found, np.float32(np.nan))


def concatenate_tokens(parts: Sequence[Tokens]) -> Tokens:
    """Concatenate tokens along their rows."""
    return Tokens(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def select_rows(tokens: Tokens, rows: NDArray[Any] | slice) -> Tokens:
    """Select some rows of tokens."""
    return Tokens(*(part[rows] for part in tokens))


def drop_sources(tokens: Tokens, *, stations: bool = False, nwp: bool = False) -> Tokens:
    """Replace the tokens of some sources by NaN.

    Examples
    --------
    >>> tokens = Tokens(np.ones((1, NEAREST, len(STATION)), np.float32), np.ones((1, SIDE**2, len(NWP)), np.float32))
    >>> left = drop_sources(tokens, stations=True)
    >>> bool(np.isnan(left.stations).all()), float(left.nwp[0, 0, 0])
    (True, 1.0)
    """
    missing = np.float32(np.nan)
    return Tokens(
        np.full_like(tokens.stations, missing) if stations else tokens.stations,
        np.full_like(tokens.nwp, missing) if nwp else tokens.nwp,
    )
