"""Predictors of cells at lead times: the fields they are taken from, and the matrices that members read.

`build_predictor_state` prepares the fields of an issue time. `predictors_eulerian` and `LagrangianPredictors` then
sample them for any cells: at the departure point, where the air that is over a cell at the valid time was at the issue
time, at points beside it, and at the target cell. No predictor depends on where on Earth a cell is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.advection import LONGEST_STEP
from hybridcast.core.grid import cell_kilometres
from hybridcast.core.types import MINUTE, Array, Cell, LeadTimes, Mask
from hybridcast.motion.estimate import cells_per_step, find_usable_frames
from hybridcast.nowcasters.scale_filter import filter_scales
from hybridcast.predictors import radar, track
from hybridcast.predictors.predictor import Kind, Predictor
from hybridcast.predictors.radar import RadarFields
from hybridcast.predictors.registry import ALL_PREDICTORS, RADAR_PREDICTORS, SOURCE_PREDICTORS, index_of
from hybridcast.predictors.track import Tracks
from hybridcast_kernels import trajectories
from hybridcast_kernels.trajectories import sample


@dataclass(frozen=True)
class PredictorState:
    """What is known at the issue time, from which the predictors of all cells are taken."""

    fields: RadarFields
    """Radar frames, from which the fields of predictors are computed one by one when they are sampled, and dropped."""
    minutes: Array
    """Lead times from the latest frame, min, shape ``(lead,)``."""
    flow: Array
    """Motion in cells per minute, shape ``(2, y, x)``, x first."""
    sources: Array | None = None
    """Fields of other sources at the valid times, in the order of `SOURCE_PREDICTORS`, shape ``(lead, y, x, field)``;
    None without other sources."""

    @property
    def cell(self) -> Cell:
        """Size of a cell, km, ``(y, x)``."""
        return self.fields.cell

    @cached_property
    def at_target(self) -> Array:
        """Fields at the issue time that are sampled at the target cell, shape ``(y, x, field)``."""
        return np.stack([_compute(name, self.fields) for name in _TARGET_FIELDS], axis=-1)

    @cached_property
    def at_sides(self) -> Array:
        """Fields at the issue time that are sampled along and across the track, shape ``(y, x, field)``."""
        return np.stack([_compute(name, self.fields) for name in _SIDE_FIELDS], axis=-1)

    @cached_property
    def flow_by_cell(self) -> Array:
        """Motion in cells per minute, shape ``(y, x, 2)``, x first."""
        return np.ascontiguousarray(np.moveaxis(self.flow, 0, -1))

    def at_lead(self, lead: int) -> Array:
        """Return radar fields at a valid time, which are sampled at the target cell, shape ``(y, x, field)``."""
        of_lead = replace(self.fields, filtered=self.fields.filtered[lead : lead + 1])
        return np.stack([predictor(of_lead)[0] for predictor in _LEAD], axis=-1)

    def at_departure(self, points: NDArray[Any]) -> Array:
        """Return fields at the issue time at points, shape ``(point, field)``.

        `points` are row and column of each, ``(point, 2)``: of cells if they are whole numbers by their type, which
        need no interpolation.
        """
        found = np.empty((len(points), len(_DEPARTURE)), np.float32)
        for k, predictor in enumerate(_DEPARTURE):
            field = predictor(self.fields)
            if points.dtype.kind == "i":
                found[:, k] = field[points[:, 0], points[:, 1]]
            else:
                found[:, k] = sample(np.ascontiguousarray(field, np.float32)[..., None], points)[:, 0]
        return found


# --- columns and fields of each kind ----------------------------------------------------------------------------


def _of_kind(kind: Kind) -> tuple[Predictor[RadarFields], ...]:
    return tuple(predictor for predictor in radar.PREDICTORS if predictor.kind == kind)


def _columns(predictors: Iterable[Predictor[Any]]) -> list[int]:
    return [index_of(predictor.name) for predictor in predictors]


_DEPARTURE, _TARGET, _LEAD = _of_kind("departure"), _of_kind("target"), _of_kind("lead")
_SIDES = {side: _of_kind(side) for side in track.SIDES}
_TARGET_FIELDS = tuple(str(predictor.field) for predictor in _TARGET)
_SIDE_FIELDS = tuple(sorted({str(predictor.field) for side in _SIDES.values() for predictor in side}))

_DEPARTURE_COLUMNS, _TARGET_COLUMNS, _LEAD_COLUMNS = (_columns(kind) for kind in (_DEPARTURE, _TARGET, _LEAD))
_SIDE_COLUMNS = {side: _columns(predictors) for side, predictors in _SIDES.items()}
_SIDE_INDICES = {side: [_SIDE_FIELDS.index(str(p.field)) for p in predictors] for side, predictors in _SIDES.items()}
_NAN_OUTSIDE = _columns(predictor for predictor in _DEPARTURE if predictor.outside == "nan")
_DISTANCE_OUTSIDE = _columns(predictor for predictor in _DEPARTURE if predictor.outside == "distance")


def _compute(name: str, fields: RadarFields) -> Array:
    """Return the field of a predictor that is sampled at the departure point."""
    return next(predictor for predictor in _DEPARTURE if predictor.name == name)(fields)


def build_predictor_state(
    recent: xr.DataArray,
    motion: xr.Dataset,
    lead_times: LeadTimes,
    filtered_dbr: xr.DataArray | None = None,
    sources: Mapping[str, Array] | None = None,
) -> PredictorState:
    """Prepare the fields that predictors are taken from, from the frames up to the issue time and their motion.

    Parameters
    ----------
    recent
        Precipitation field, dims ``(time, y, x)``. Its latest frame that holds any value is the one that is advected.
    motion
        Motion of the rain, as returned by `hybridcast.estimate_motion`.
    lead_times
        ``timedelta64`` from the last time of `recent`, increasing, shape ``(lead,)``.
    filtered_dbr
        Variable `filtered_dbr` of `hybridcast.nowcasters.scale_filter.filter_scales` at these lead times, if it has
        been computed already.
    sources
        Fields of other sources by name of the predictor, ``(lead, y, x)`` or, if they do not depend on the lead time,
        ``(y, x)``; see `hybridcast.predictors.sources.compute_source_predictors`. None without other sources.
    """
    indices, _ = find_usable_frames(recent, 1)
    last = int(indices[0]) if indices.size else recent.sizes["time"] - 1
    if filtered_dbr is None:
        filtered_dbr = filter_scales(recent, motion, lead_times)["filtered_dbr"]
    fields = RadarFields(recent.isel(time=slice(None, last + 1)), motion, filtered_dbr.values, cell_kilometres(recent))
    age = recent["time"].values[-1] - recent["time"].values[last]
    minutes = ((np.asarray(lead_times) + age) / MINUTE).astype(np.float32)
    return PredictorState(
        fields=fields,
        minutes=minutes,
        flow=cells_per_step(motion, MINUTE),
        sources=None if sources is None else _stack_sources(sources, (minutes.size, *fields.latest.shape)),
    )


def _stack_sources(sources: Mapping[str, Array], shape: tuple[int, int, int]) -> Array:
    """Return the fields of other sources, ``(lead, y, x, field)``; NaN where a field is not given."""
    stacked = np.full((*shape, len(SOURCE_PREDICTORS)), np.nan, np.float32)
    for name, values in sources.items():
        stacked[..., SOURCE_PREDICTORS.index(name)] = values
    return stacked


# --- matrices of predictors -------------------------------------------------------------------------------------


def departure_points(state: PredictorState, cells: NDArray[np.int32]) -> Array:
    """Return the departure points of the air over some cells at each lead time, row and column, ``(lead, cell, 2)``.

    They may lie outside the grid.
    """
    return trajectories.departure_points(state.flow, state.minutes, cells, LONGEST_STEP)


def departure_known(state: PredictorState, departure: Array) -> Mask:
    """Return whether the latest frame is known at departure points, ``(point, 2)``; points outside the grid are not."""
    rate = np.ascontiguousarray(state.fields.latest)[..., None]
    known: Mask = (_distance_outside(state, departure) == 0) & np.isfinite(sample(rate, departure)[:, 0])
    return known


def predictors_eulerian(state: PredictorState, cells: NDArray[np.int32]) -> Array:
    """Return the predictors of fixed cells at all lead times.

    Parameters
    ----------
    state
        Fields, from `build_predictor_state`.
    cells
        Row and column of the cells, shape ``(cell, 2)``.

    Returns
    -------
    ndarray
        float32, shape ``(lead, cell, predictor)``, with the columns `ALL_PREDICTORS`, or `RADAR_PREDICTORS` without
        other sources.
    """
    departure = departure_points(state, cells)
    return np.stack(list(predictors_at_points(state, list(departure), [cells] * len(departure))))


def predictors_at_points(
    state: PredictorState, departures: Sequence[Array], cells: Sequence[NDArray[np.int32]]
) -> Iterator[Array]:
    """Yield the predictors of fixed cells whose departure points are known, ``(cell, predictor)``, lead by lead.

    Cells may be others at each lead time. All fields at the issue time are computed once.
    """
    at_departure = state.at_departure(np.concatenate(departures))
    ends = np.cumsum([len(points) for points in departures])[:-1]
    for lead, of_lead in enumerate(np.split(at_departure, ends)):
        tracks = Tracks(departures[lead], cells[lead].astype(np.float32), state.minutes[lead], state.cell)
        yield _fill(state, lead, state.at_lead(lead), of_lead, tracks)


class LagrangianPredictors(Sequence[Array]):
    """Predictors of the air that is over some cells at the issue time, made for one lead time after the other.

    As `predictors_eulerian`, but `cells` are departure points, and the targets are the points that the air moves to, so
    that fields at the issue time need no interpolation. Items are the rows of a lead time, ``(cell, predictor)``.
    """

    def __init__(self, state: PredictorState, cells: NDArray[np.int32]) -> None:
        self._state = state
        self._targets = trajectories.departure_points(-state.flow, state.minutes, cells, LONGEST_STEP)
        self._departure = cells.astype(np.float32)
        self._at_departure = state.at_departure(cells)
        _ = state.at_target, state.at_sides, state.flow_by_cell  # once, not in several threads

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, lead: Any) -> Any:
        """Return the predictors at a lead time."""
        return self.of_lead(lead)(slice(None))

    def of_lead(self, lead: int) -> Callable[[slice], Array]:
        """Return a function that makes the rows of some of the cells at a lead time, in any thread."""
        return partial(self._rows, lead, self._state.at_lead(lead))

    def _rows(self, lead: int, at_lead: Array, cells: slice) -> Array:
        state = self._state
        tracks = Tracks(self._departure[cells], self._targets[lead, cells], state.minutes[lead], state.cell)
        return _fill(state, lead, at_lead, self._at_departure[cells], tracks)


def predictors_lagrangian(state: PredictorState, cells: NDArray[np.int32]) -> Array:
    """Return `LagrangianPredictors` of all lead times in one array, ``(lead, cell, predictor)``."""
    return np.stack(list(LagrangianPredictors(state, cells)))


def _fill(state: PredictorState, lead: int, at_lead: Array, at_departure: Array, tracks: Tracks) -> Array:
    """Return the rows of one lead time, given the fields at it and those at the departure points, kind by kind."""
    names = RADAR_PREDICTORS if state.sources is None else ALL_PREDICTORS
    rows = np.empty((len(at_departure), len(names)), np.float32)
    outside = _distance_outside(state, tracks.departure)
    rows[:, _DEPARTURE_COLUMNS] = at_departure
    for column in _NAN_OUTSIDE:
        rows[outside > 0, column] = np.nan
    for column in _DISTANCE_OUTSIDE:
        rows[:, column] -= outside
    rows[:, _TARGET_COLUMNS] = sample(state.at_target, tracks.target)
    for side, points in track.displace(tracks.departure, state.flow_by_cell, state.cell).items():
        rows[:, _SIDE_COLUMNS[side]] = sample(state.at_sides, points)[:, _SIDE_INDICES[side]]
    rows[:, _LEAD_COLUMNS] = sample(at_lead, tracks.target)
    for predictor in track.PREDICTORS:
        rows[:, index_of(predictor.name)] = predictor(tracks)
    if state.sources is not None:
        rows[:, len(RADAR_PREDICTORS) :] = sample(state.sources[lead], tracks.target)
    return rows


def _distance_outside(state: PredictorState, points: Array) -> Array:
    """Return the distance of points outside the grid from its outermost cells, km; 0 inside the grid."""
    edge = np.array(state.fields.latest.shape, np.float32) - 1
    beyond = np.maximum(np.maximum(-points, points - edge), 0) * np.array(state.cell, np.float32)
    return np.asarray(np.hypot(beyond[:, 0], beyond[:, 1]))
