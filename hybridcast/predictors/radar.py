"""Predictors of the learned stage: named, with units and source.

All of them are found in the moving frame: planes are made once from the frames up to the issue time, and a row of
predictors for a cell and a lead time is what those planes hold where the air comes from. Nothing tells where on Earth
a cell is.

Large neighbourhoods hold on to the edge: air from beyond it is like the air at the edge, which is better than nothing
known. What lies outside the coverage at the place itself is NaN.

Rows have the columns `RADAR_PREDICTORS`, or `ALL_PREDICTORS` if there are other sources: NWP, terrain and stations, all
taken at the target cell. Values that a source does not have are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from hybridcast.advection import LONGEST_STEP, advect
from hybridcast.core.field import metres_per_cell
from hybridcast.core.grid import decibels, known_mean, local_correlation, window_mean, window_size
from hybridcast.core.types import MINUTE, Array
from hybridcast.motion.estimate import cells_per_step, usable_frames
from hybridcast.nowcasters.scale_filter import filtered
from hybridcast.predictors.nwp import PLANES as _NWP_PLANES
from hybridcast.predictors.stations import PLANES as _STATION_PLANES
from hybridcast.predictors.terrain import PLANES as _TERRAIN_PLANES
from hybridcast_kernels.trajectories import origins, sample

Group = Literal["radar", "station", "nwp", "terrain", "time"]

#: Half widths of neighbourhoods, km.
WIDTHS = (4, 8, 16, 32, 64)
WET = (0.1, 1.0, 5.0)
MAXIMA = (4, 8, 16)
#: How long ago the frames are that tell of growth and decay, min.
LAGS = (10, 30)
TENDENCY_WIDTHS = (8, 32)
#: Half width of the area over which the motion's success is judged, km.
SKILL_WIDTH = 48
#: How far along and across the track is looked, km.
ASIDE = 10.0


@dataclass(frozen=True)
class Predictor:
    """One predictor."""

    name: str
    units: str
    group: Group
    meaning: str


def _radar_predictors() -> list[Predictor]:
    made = [Predictor("rate", "dB", "radar", "advected rate, decibels above 0.1 mm/h, NaN where unknown")]
    for width in WIDTHS:
        made.append(Predictor(f"mean_{width}", "dB", "radar", f"mean within {width} km of the origin"))
        for wet in WET:
            made.append(
                Predictor(f"wet_{wet:g}_{width}", "1", "radar", f"share at or above {wet:g} mm/h within {width} km")
            )
    made += [Predictor(f"max_{width}", "dB", "radar", f"maximum within {width} km of the origin") for width in MAXIMA]
    for lag in LAGS:
        for width in TENDENCY_WIDTHS:
            meaning = f"change of the mean within {width} km in the moving frame over the last {lag} min"
            made.append(Predictor(f"tendency_{lag}_{width}", "dB per 10 min", "radar", meaning))
        made.append(
            Predictor(
                f"skill_{lag}",
                "1",
                "radar",
                f"correlation with the frame of {lag} min ago, advected, within {SKILL_WIDTH} km",
            )
        )
    made += [
        Predictor("known_16", "1", "radar", "share of cells within 16 km of the origin that the radar sees"),
        Predictor("known_64", "1", "radar", "the same within 64 km"),
        Predictor(
            "inflow",
            "km",
            "radar",
            "distance from the origin to the nearest unknown cell, negative outside the coverage",
        ),
        Predictor("speed", "m s-1", "radar", "speed of the motion at the origin"),
        Predictor("divergence", "h-1", "radar", "divergence of the motion at the origin"),
    ]
    made += [
        Predictor(f"{side}_4", "dB", "radar", f"mean within 4 km, {ASIDE:g} km {words}")
        for side, words in (
            ("ahead", "ahead of the origin"),
            ("behind", "behind it"),
            ("left", "across the track, towards higher rows where it runs to higher columns"),
            ("right", "across the track, on the other side"),
        )
    ]
    made += [
        Predictor("here_mean_8", "dB", "radar", "mean within 8 km of the place itself at the issue time"),
        Predictor("here_mean_32", "dB", "radar", "the same within 32 km"),
        Predictor("here_wet_1_16", "1", "radar", "share at or above 1 mm/h within 16 km of the place itself"),
        Predictor("filter", "dB", "radar", "value of the scale filter at the lead time, dB of 1 mm/h"),
        Predictor("filter_8", "dB", "radar", "its mean within 8 km"),
        Predictor("displacement", "km", "radar", "how far the air has come"),
        Predictor("lead_time", "min", "time", "lead time"),
    ]
    return made


def _source_predictors() -> list[Predictor]:
    groups: tuple[tuple[Group, tuple[tuple[str, str, str], ...]], ...] = (
        ("nwp", _NWP_PLANES),
        ("terrain", _TERRAIN_PLANES),
        ("station", _STATION_PLANES),
    )
    return [Predictor(name, units, group, meaning) for group, planes in groups for name, units, meaning in planes]


_OF_RADAR = _radar_predictors()
PREDICTORS: tuple[Predictor, ...] = (*_OF_RADAR, *_source_predictors())
#: What the radar tells, with the lead time.
RADAR_PREDICTORS = tuple(predictor.name for predictor in _OF_RADAR)
#: The same, and what other sources tell.
ALL_PREDICTORS = tuple(predictor.name for predictor in PREDICTORS)
SOURCE_PREDICTORS = ALL_PREDICTORS[len(RADAR_PREDICTORS) :]
_ASIDE_NAMES = ("ahead_4", "behind_4", "left_4", "right_4")
_HERE = {"here_mean_8": "mean_8", "here_mean_32": "mean_32", "here_wet_1_16": "wet_1_16"}
_FILTER = ("filter", "filter_8")
#: Those that are planes around the issue time.
_PLANES = tuple(n for n in RADAR_PREDICTORS if n not in (*_ASIDE_NAMES, *_HERE, *_FILTER, "displacement", "lead_time"))
_INDEX = {name: k for k, name in enumerate(RADAR_PREDICTORS)}
_AT = {
    kind: [_INDEX[name] for name in names]
    for kind, names in {"planes": _PLANES, "here": tuple(_HERE), "aside": _ASIDE_NAMES, "filter": _FILTER}.items()
}
_HERE_PLANES = [_PLANES.index(name) for name in _HERE.values()]


class PredictorState(NamedTuple):
    """What is known at the issue time, from which the predictors of all cells are taken."""

    planes: Array
    """Shape ``(y, x, plane)``, named by `_PLANES`."""
    filtered: Array
    """What the scale filter gives, and its mean around, ``(lead, y, x, 2)``, dB of 1 mm/h."""
    minutes: Array
    """Lead times from the frame that moves, ``(lead,)``."""
    flow: Array
    """Cells per minute, shape ``(2, y, x)``, x first."""
    cell: tuple[float, float]
    """Size of a cell, km, ``(y, x)``."""
    ahead: Array | None = None
    """Planes of model fields and the ground at the valid times, ``(lead, y, x, plane)``; None without any source."""


# --- planes ---------------------------------------------------------------------------------------------------


def build_predictor_state(
    recent: xr.DataArray,
    motion: xr.Dataset,
    lead_times: NDArray[np.timedelta64],
    smooth: xr.DataArray | None = None,
    sources: dict[str, Array] | None = None,
) -> PredictorState:
    """Make what predictors are taken from, from the frames up to the issue time and their motion.

    Parameters
    ----------
    recent
        Precipitation field, dims ``(time, y, x)``; its last frame that holds any value is the one that moves.
    motion
        As `hybridcast.motion.estimate.estimate_motion` gives it.
    lead_times
        ``timedelta64``, increasing, shape ``(lead,)``, from the last time of `recent`.
    smooth
        `filtered_dbr` of `hybridcast.nowcasters.scale_filter.filtered` at these lead times, where it is there already.
    sources
        Planes of other sources by name, ``(lead, y, x)`` or, where they do not change, ``(y, x)``; see
        `hybridcast.predictors.sources.compute_source_predictors`. None: rows are as wide as `RADAR_PREDICTORS`.
    """
    dy, dx = metres_per_cell(recent)
    cell = abs(dy) / 1e3, float(np.abs(dx).mean()) / 1e3
    indices, _ = usable_frames(recent, 1)
    last = int(indices[0]) if indices.size else recent.sizes["time"] - 1
    latest = np.ascontiguousarray(recent.values[last])
    flow = cells_per_step(motion, MINUTE)
    age = recent["time"].values[-1] - recent["time"].values[last]
    found = _neighbourhoods(latest, cell)
    found |= _past(recent.isel(time=slice(None, last + 1)), motion, found, cell)
    found |= _motion_planes(motion, cell)
    planes = np.stack([found[name] for name in _PLANES], axis=-1)
    if smooth is None:
        smooth = filtered(recent, motion, lead_times)["filtered_dbr"]
    minutes = ((np.asarray(lead_times) + age) / MINUTE).astype(np.float32)
    ahead = None if sources is None else _stacked(sources, (minutes.size, *latest.shape))
    return PredictorState(planes, _with_mean(smooth.values, 8, cell), minutes, flow, cell, ahead)


def _stacked(sources: dict[str, Array], shape: tuple[int, ...]) -> Array:
    """Put the planes of sources side by side, ``(lead, y, x, plane)``; NaN where a plane is not there."""
    out = np.full((*shape, len(SOURCE_PREDICTORS)), np.nan, np.float32)
    for name, plane in sources.items():
        out[..., SOURCE_PREDICTORS.index(name)] = plane
    return out


def _with_mean(fields: Array, width: float, cell: tuple[float, float]) -> Array:
    """Put fields ``(lead, y, x)`` and their means over the known cells within `width` beside each other."""
    out = np.empty((*fields.shape, 2), np.float32)
    for k, field in enumerate(fields):
        known = np.isfinite(field)
        share = window_mean(known.astype(np.float32), width, cell)
        mean = known_mean(np.where(known, field, np.float32(0)), share, width, cell)
        out[k, ..., 0] = field
        out[k, ..., 1] = np.where(share < 1e-2, np.float32(np.nan), mean)
    return out


def _neighbourhoods(latest: Array, cell: tuple[float, float]) -> dict[str, Array]:
    known = np.isfinite(latest)
    level = decibels(latest)
    filled = np.where(known, level, np.float32(0))
    found = {"rate": level}
    ones = known.astype(np.float32)
    shares = {width: window_mean(ones, width, cell) for width in WIDTHS}
    wet = {threshold: (latest >= np.float32(threshold)).astype(np.float32) for threshold in WET}
    for width, share in shares.items():
        nothing = share < 1e-3
        planes = {f"mean_{width}": filled} | {f"wet_{t:g}_{width}": field for t, field in wet.items()}
        for name, field in planes.items():
            found[name] = np.where(nothing, np.float32(np.nan), known_mean(field, share, width, cell))
    for width in MAXIMA:
        found[f"max_{width}"] = ndimage.maximum_filter(filled, window_size(width, cell), mode="nearest")
    found |= {"known_16": shares[16], "known_64": shares[64]}
    found["inflow"] = _signed_distance(known, cell)
    return found


def _signed_distance(known: NDArray[np.bool_], cell: tuple[float, float], farthest: float = 200.0) -> Array:
    """Distance to the nearest unknown cell or edge, km; negative outside the coverage."""
    padded = np.pad(known, 1)
    inside = ndimage.distance_transform_edt(padded, sampling=cell)[1:-1, 1:-1]
    outside = ndimage.distance_transform_edt(~known, sampling=cell) if known.any() else np.full(known.shape, farthest)
    return np.asarray(np.clip(inside - outside, -farthest, farthest), np.float32)


def _past(
    recent: xr.DataArray, motion: xr.Dataset, found: dict[str, Array], cell: tuple[float, float]
) -> dict[str, Array]:
    """Growth and decay, and the motion's own success, from earlier frames carried to the issue time."""
    now = recent.isel(time=-1)
    shape = now.shape
    made: dict[str, Array] = {}
    for lag in LAGS:
        earlier, minutes = earlier_frame(recent, lag)
        if earlier is None:
            nothing = np.full(shape, np.nan, np.float32)
            made |= {f"tendency_{lag}_{width}": nothing for width in TENDENCY_WIDTHS} | {f"skill_{lag}": nothing}
            continue
        moved = advect(earlier, motion, [np.timedelta64(round(minutes), "m")]).values[0]
        both = np.isfinite(moved) & np.isfinite(now.values)
        ones = both.astype(np.float32)
        before = np.where(both, decibels(moved), np.float32(0))
        after = np.where(both, found["rate"], np.float32(0))
        for width in TENDENCY_WIDTHS:
            share = window_mean(ones, width, cell)
            change = known_mean(after - before, share, width, cell) * np.float32(10 / minutes)
            made[f"tendency_{lag}_{width}"] = np.where(share < 1e-2, np.float32(np.nan), change)
        made[f"skill_{lag}"] = local_correlation(before, after, ones, SKILL_WIDTH, cell)
    return made


def earlier_frame(recent: xr.DataArray, lag: float) -> tuple[xr.DataArray | None, float]:
    """Return the frame closest to `lag` min before the last one that holds any value, and how long before it is."""
    ages = (recent["time"].values[-1] - recent["time"].values) / MINUTE
    order = np.argsort(np.abs(ages - lag), kind="stable")
    for k in order:
        if 0.5 * lag <= ages[k] <= 1.6 * lag and np.isfinite(recent.values[k]).any():
            return recent.isel(time=int(k)), float(ages[k])
    return None, np.nan


def _motion_planes(motion: xr.Dataset, cell: tuple[float, float]) -> dict[str, Array]:
    u, v = (motion[name].transpose("y", "x").values for name in ("u", "v"))
    dy, dx = metres_per_cell(motion)
    along_x = np.gradient(u, axis=1) / dx[:, None] if u.shape[1] > 1 else np.zeros_like(u)
    along_y = np.gradient(v, axis=0) / np.float32(dy) if u.shape[0] > 1 else np.zeros_like(u)
    divergence = np.clip((along_x + along_y) * np.float32(3600), -5, 5)
    return {"speed": np.hypot(u, v).astype(np.float32), "divergence": divergence.astype(np.float32)}


# --- rows -----------------------------------------------------------------------------------------------------


def predictors_eulerian(state: PredictorState, cells: NDArray[np.int32]) -> Array:
    """Return the predictors of some cells at all lead times of the state.

    Parameters
    ----------
    state
        What `build_predictor_state` made.
    cells
        Row and column, shape ``(cell, 2)``.

    Returns
    -------
    ndarray
        float32, shape ``(lead, cell, predictor)``, predictors as `RADAR_PREDICTORS` has them, or `ALL_PREDICTORS`.
    """
    places = departure_points(state, cells)
    rows = _empty_rows(state, len(cells))
    for k in range(state.minutes.size):
        _fill_at(rows[k], state, k, places[k], cells)
    return rows


def predictors_at_lead(state: PredictorState, lead: int, places: Array, cells: NDArray[np.int32]) -> Array:
    """Return the predictors of some cells at one lead time, by its number, whose air comes from `places`."""
    rows: Array = _empty_rows(state, len(cells))[0]
    _fill_at(rows, state, lead, places, cells)
    return rows


def _fill_at(rows: Array, state: PredictorState, lead: int, places: Array, cells: NDArray[np.int32]) -> None:
    there = cells.astype(np.float32)
    here = sample(state.planes, there)
    _fill(rows, state, lead, sample(state.planes, places), here, places, there)


def departure_known(state: PredictorState, places: Array) -> NDArray[np.bool_]:
    """Tell for which places, ``(place, 2)``, the frame that moves knows the air: inside the grid, and seen."""
    rate = np.ascontiguousarray(state.planes[..., :1])
    edge = np.array(rate.shape[:2], np.float32) - 1
    inside = ((places >= 0) & (places <= edge)).all(axis=1)
    known: NDArray[np.bool_] = inside & np.isfinite(sample(rate, places)[:, 0])
    return known


def departure_points(state: PredictorState, cells: NDArray[np.int32]) -> Array:
    """Return row and column of where the air over some cells at each lead time comes from, ``(lead, cell, 2)``."""
    return origins(state.flow, state.minutes, cells, LONGEST_STEP)


def predictors_lagrangian(state: PredictorState, cells: NDArray[np.int32]) -> Array:
    """Return the predictors of the air that is over some cells at the issue time, at all lead times.

    As `predictors_eulerian`, but for the points that the air over `cells` moves to, so that fields at the issue time
    need no interpolation.
    """
    there = origins(-state.flow, state.minutes, cells, LONGEST_STEP)
    places = cells.astype(np.float32)
    sampled = state.planes[cells[:, 0], cells[:, 1]]
    rows = _empty_rows(state, len(cells))
    for k in range(state.minutes.size):
        here = sample(state.planes, there[k])
        _fill(rows[k], state, k, sampled, here, places, there[k])
    return rows


def _empty_rows(state: PredictorState, cells: int) -> Array:
    width = len(RADAR_PREDICTORS) if state.ahead is None else len(ALL_PREDICTORS)
    return np.empty((state.minutes.size, cells, width), np.float32)


def _fill(
    rows: Array, state: PredictorState, lead: int, sampled: Array, here: Array, places: Array, there: Array
) -> None:
    """Put together the predictors of air that comes from `places`, whose planes are `sampled`, and goes `there`."""
    cell = np.array(state.cell, np.float32)
    edge = np.array(state.planes.shape[:2], np.float32) - 1
    beyond = np.maximum(np.maximum(-places, places - edge), 0) * cell
    rows[:, _AT["planes"]] = sampled
    rows[(beyond > 0).any(axis=1), _INDEX["rate"]] = np.nan
    rows[:, _INDEX["inflow"]] -= np.hypot(beyond[:, 0], beyond[:, 1])
    rows[:, _AT["here"]] = here[:, _HERE_PLANES]
    rows[:, _AT["aside"]] = _aside(state, places)
    rows[:, _AT["filter"]] = sample(state.filtered[lead], there)
    moved = (places - there) * cell
    rows[:, _INDEX["displacement"]] = np.hypot(moved[:, 0], moved[:, 1])
    rows[:, _INDEX["lead_time"]] = state.minutes[lead]
    if state.ahead is not None:
        rows[:, len(RADAR_PREDICTORS) :] = sample(state.ahead[lead], there)


def _aside(state: PredictorState, places: Array) -> Array:
    """Mean within 4 km, ahead of the places, behind, left and right, shape ``(place, 4)``."""
    cell = np.array(state.cell, np.float32)
    flow = sample(np.ascontiguousarray(np.moveaxis(state.flow, 0, -1)), places)
    way = flow[:, ::-1] * cell
    ahead = way / np.maximum(np.hypot(way[:, 0], way[:, 1]), np.float32(1e-6))[:, None] * np.float32(ASIDE)
    across = np.stack([ahead[:, 1], -ahead[:, 0]], axis=1)
    plane = _PLANES.index("mean_4")
    field = np.ascontiguousarray(state.planes[..., plane : plane + 1])
    return np.concatenate([sample(field, places + d / cell) for d in (ahead, -ahead, across, -across)], axis=1)
