"""What the small network sees of an issue time, and what then was observed: planes in the frame that moves.

All it sees is made from frames up to the issue time, carried along the motion to the latest: no later frame is an
argument of `build_network_inputs`. The outcome (`observe_outcome`) is found by following each cell forward.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from hybridcast.advection import LONGEST_STEP
from hybridcast.core.field import metres_per_cell, time_step
from hybridcast.core.grid import block_size, decibels
from hybridcast.core.types import MINUTE, Array
from hybridcast.motion.estimate import cells_per_step, check_motion, find_usable_frames
from hybridcast.nowcasters.scale_filter import filter_scales
from hybridcast.predictors.radar import earlier_frame
from hybridcast_kernels.advection_cpu import LINEAR
from hybridcast_kernels.advection_cpu import advect as advect_arrays
from hybridcast_kernels.trajectories import departure_points, sample

Counts = NDArray[np.uint8]

#: Lead times of the channels, min.
LEADS = (15, 30, 45, 60, 75, 90, 105, 120)
#: Thresholds of the channels, mm/h.
THRESHOLDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Size of the cells, m, about: whole blocks of the field's own.
BLOCK_SPACING = 4000.0
#: How long before the latest the earlier frames should be, min.
LAGS = (10, 20, 30)
#: Half widths of the neighbourhoods, km.
WIDTHS = (32, 64)
#: Lead times of the scale filter that are shown, min.
FILTER_LEADS = (30, 60, 120)
#: Planes before those of the base. `u` and `v` are along columns and rows.
PLANES = (
    *("level", "highest", "wet", "wet_1", "known"),
    *(f"change_{lag}" for lag in LAGS),
    *(f"both_{lag}" for lag in LAGS),
    *(f"level_{width}" for width in WIDTHS),
    *(f"wet_{width}" for width in WIDTHS),
    *(f"known_{width}" for width in WIDTHS),
    *("u", "v", "speed", "divergence"),
    *(f"filter_{lead}" for lead in FILTER_LEADS),
)
KNOWN = PLANES.index("known")
CONDITIONS = 2 * len(LAGS) + 1
#: Values of the scale filter without rain, dB of 1 mm/h.
DRY = np.float32(-15)


class NetworkInputs(NamedTuple):
    """What is known at the issue time, on blocks of cells, in the frame that moves: the latest one's."""

    planes: Array
    """Named by `PLANES`, of order one, finite, ``(plane, y, x)``."""
    conditions: Array
    """Ages of the earlier frames and whether they are there, the time step, ``(CONDITIONS,)``."""
    smooth: Array
    """What the scale filter gives at the lead times, dB of 1 mm/h, ``(lead, y, x)``."""
    block: int
    """Cells of the field to a block, along each axis."""


class FieldOutcome(NamedTuple):
    """What was then observed of the air in each block."""

    known: Counts
    """How many cells of the block are known at the lead time, ``(lead, y, x)``."""
    reached: Counts
    """How many of them reach each threshold, ``(lead, threshold, y, x)``."""


class FieldCase(NamedTuple):
    """One issue time."""

    inputs: NetworkInputs
    outcome: FieldOutcome


# --- inputs ---------------------------------------------------------------------------------------------------


def build_network_inputs(
    recent: xr.DataArray,
    motion: xr.Dataset,
    *,
    smooth: xr.DataArray | None = None,
) -> NetworkInputs:
    """Make what the network sees from frames up to the issue time and their motion.

    Parameters
    ----------
    recent
        Precipitation field, mm h-1, dims ``(time, y, x)``; its last frame that holds any value is the one that moves.
    motion
        `u` and `v` on the same grid, as `hybridcast.motion.estimate.estimate_motion` gives them.
    smooth
        `filtered_dbr` of `hybridcast.nowcasters.scale_filter.filter_scales`, if it has been computed already.

    Raises
    ------
    InputError
        If grids differ.
    """
    check_motion(motion, recent)
    last = _latest(recent)
    block = _block(recent)
    flow = cells_per_step(motion, MINUTE)
    if smooth is None:
        smooth = filter_scales(recent, motion, np.array(LEADS) * MINUTE)["filtered_dbr"]
    forward = _forward(flow, _centres(recent.shape[1:], block))
    shape = _coarse_shape(recent.shape[1:], block)
    levels = _at_leads(smooth.transpose("lead_time", "y", "x"), recent)
    carried = _carried_back(levels, forward, shape)
    carried = np.where(np.isfinite(carried), carried, DRY)
    planes = _latest_planes(recent.values[last], block, _cell(recent, block))
    changes, conditions = _changes(recent, last, flow, block)
    planes |= changes | _motion_planes(flow, recent, block)
    planes |= {f"filter_{lead}": (carried[LEADS.index(lead)] - DRY) / np.float32(15) for lead in FILTER_LEADS}
    return NetworkInputs(np.stack([planes[name] for name in PLANES]).astype(np.float32), conditions, carried, block)


def _latest(recent: xr.DataArray) -> int:
    indices, _ = find_usable_frames(recent, 1)
    return int(indices[0]) if indices.size else recent.sizes["time"] - 1


def _minutes(recent: xr.DataArray, leads: NDArray[np.timedelta64]) -> Array:
    """Lead times from the frame that moves, min."""
    age = recent["time"].values[-1] - recent["time"].values[_latest(recent)]
    return np.asarray((leads + age) / MINUTE, np.float32)


def _block(field: xr.DataArray) -> int:
    """Return how many cells along each axis make up a block closest to `BLOCK_SPACING`; no more than there are."""
    return min(block_size(field, BLOCK_SPACING), *field.shape[-2:])


def _cell(field: xr.DataArray, block: int) -> tuple[float, float]:
    """Size of a block, km, ``(y, x)``."""
    dy, dx = metres_per_cell(field)
    return block * abs(dy) / 1e3, block * float(np.abs(dx).mean()) / 1e3


def _coarse_shape(shape: tuple[int, ...], block: int) -> tuple[int, int]:
    return -(-shape[0] // block), -(-shape[1] // block)


def _blocks(field: NDArray[Any], block: int, fill: float = np.nan) -> NDArray[Any]:
    """Return the cells of each block, ``(y, x, cell)``; those beyond the edge are `fill`."""
    rows, columns = _coarse_shape(field.shape, block)
    padding = [(0, rows * block - field.shape[0]), (0, columns * block - field.shape[1])]
    padded = np.pad(field, padding, constant_values=fill)
    return padded.reshape(rows, block, columns, block).swapaxes(1, 2).reshape(rows, columns, block * block)


def _block_means(field: Array, block: int) -> tuple[Array, Array]:
    """Mean over the known cells of each block (0 if none is), and the share that is known."""
    cells = _blocks(field, block)
    known = np.isfinite(cells)
    count = known.sum(axis=-1, dtype=np.float32)
    mean = np.where(known, cells, np.float32(0)).sum(axis=-1) / np.maximum(count, 1)
    return mean.astype(np.float32), count / np.float32(block * block)


def _latest_planes(latest: Array, block: int, cell: tuple[float, float]) -> dict[str, Array]:
    """The latest frame, and wider and wider means of it, the edge repeated beyond itself."""
    level = decibels(latest)
    mean, known = _block_means(level, block)
    cells = _blocks(latest, block)
    planes = {
        "level": mean,
        "highest": _blocks(np.nan_to_num(level), block, 0.0).max(axis=-1),
        "wet": (cells >= np.float32(0.1)).mean(axis=-1, dtype=np.float32),
        "wet_1": (cells >= np.float32(1)).mean(axis=-1, dtype=np.float32),
        "known": known,
    }
    for width in WIDTHS:
        size = tuple(2 * round(width / side) + 1 for side in cell)
        share = ndimage.uniform_filter(known, size, mode="nearest")
        above = np.maximum(share, np.float32(1e-3))
        planes[f"known_{width}"] = share
        planes[f"level_{width}"] = ndimage.uniform_filter(mean * known, size, mode="nearest") / above
        planes[f"wet_{width}"] = ndimage.uniform_filter(planes["wet"], size, mode="nearest") / above
    for name in ("level", "highest", *(f"level_{width}" for width in WIDTHS)):
        planes[name] = planes[name] * np.float32(0.1)
    return planes


def _changes(recent: xr.DataArray, last: int, flow: Array, block: int) -> tuple[dict[str, Array], Array]:
    """Growth and decay: the latest frame less earlier ones carried to its time, per dekadB; and their ages."""
    until = recent.isel(time=slice(None, last + 1))
    now = decibels(recent.values[last])
    planes: dict[str, Array] = {}
    conditions = np.zeros(CONDITIONS, np.float32)
    for k, lag in enumerate(LAGS):
        earlier, minutes = earlier_frame(until, lag)
        if earlier is None:
            change = np.full_like(now, np.nan)
        else:
            level = np.ascontiguousarray(decibels(earlier.values), np.float32)[None]
            moved = advect_arrays(level, flow, np.array([minutes], np.float32), LINEAR, longest_step=LONGEST_STEP)
            change = now - moved[0, 0]
            conditions[2 * k : 2 * k + 2] = 1.0, minutes / lag - 1.0
        mean, share = _block_means(change, block)
        planes[f"change_{lag}"] = mean * np.float32(0.1)
        planes[f"both_{lag}"] = share
    step = time_step(recent["time"].values)
    conditions[-1] = 0.0 if step is None else (step / MINUTE) / 15.0
    return planes, conditions


def _motion_planes(flow: Array, recent: xr.DataArray, block: int) -> dict[str, Array]:
    """Motion along columns and rows, km/min, its speed, and its divergence, per hour."""
    height, width = _cell(recent, 1)
    u, v = (_block_means(part * np.float32(side), block)[0] for part, side in zip(flow, (width, height), strict=True))
    along_x = np.gradient(u, width * block, axis=1) if u.shape[1] > 1 else np.zeros_like(u)
    along_y = np.gradient(v, height * block, axis=0) if v.shape[0] > 1 else np.zeros_like(v)
    divergence = (np.clip((along_x + along_y) * 60.0, -5.0, 5.0) / 5.0).astype(np.float32)
    return {"u": u, "v": v, "speed": np.hypot(u, v), "divergence": divergence}


# --- along the motion and back --------------------------------------------------------------------------------


def _centres(shape: tuple[int, ...], block: int) -> NDArray[np.int32]:
    """Row and column of the middle cell of each block, within the grid, ``(block, 2)``."""
    rows, columns = _coarse_shape(shape, block)
    y, x = np.mgrid[:rows, :columns] * block + block // 2
    return np.stack([np.minimum(y, shape[0] - 1).ravel(), np.minimum(x, shape[1] - 1).ravel()], axis=1).astype(np.int32)


def _forward(flow: Array, cells: NDArray[np.int32]) -> Array:
    """Where the air at `cells` will be: it comes from there if the motion is turned round; ``(lead, cell, 2)``."""
    return departure_points(-flow, np.array(LEADS, np.float32), cells, LONGEST_STEP)


def _carried_back(fields: Array, places: Array, shape: tuple[int, int]) -> Array:
    """Return fields ``(lead, y, x)`` where the air of each block will be; beyond the edge the edge holds."""
    return np.stack(
        [sample(field[..., None], place).reshape(shape) for field, place in zip(fields, places, strict=True)]
    )


def observe_outcome(later: Array, recent: xr.DataArray, motion: xr.Dataset) -> FieldOutcome:
    """Find what was observed where the air of each cell went: the nearest cell at each lead time.

    Parameters
    ----------
    later
        Rain rate at `LEADS` after the last frame of `recent` that holds any value, mm h-1, NaN where unknown, shape
        ``(lead, y, x)``.
    recent, motion
        As for `build_network_inputs`.
    """
    shape = recent.shape[1:]
    block = _block(recent)
    cells = np.argwhere(np.ones(shape, bool)).astype(np.int32)
    flow = cells_per_step(motion, MINUTE)
    places = np.rint(_forward(flow, cells)).astype(np.int64)
    known, reached = [], []
    for frame, place in zip(later, places, strict=True):
        inside = ((place >= 0) & (place < shape)).all(axis=1)
        rate = np.full(len(cells), np.nan, np.float32)
        rate[inside] = frame[place[inside, 0], place[inside, 1]]
        found = _blocks(rate.reshape(shape), block)
        known.append(np.isfinite(found).sum(axis=-1))
        reached.append([(found >= np.float32(threshold)).sum(axis=-1) for threshold in THRESHOLDS])
    return FieldOutcome(np.array(known, np.uint8), np.array(reached, np.uint8))


def _between(have: Array, want: Array) -> Array:
    """Weights of linear interpolation from `have` (increasing) to `want`, the ends held, ``(want, have)``."""
    return np.stack([np.interp(want, have, row) for row in np.eye(have.size)], axis=1).astype(np.float32)


def _at_leads(fields: xr.DataArray, recent: xr.DataArray) -> Array:
    """Interpolate fields, dims ``(lead_time, ...)``, to `LEADS` after the frame that moves."""
    values = np.asarray(fields.values, np.float32)
    weights = _between(_minutes(recent, fields["lead_time"].values), np.array(LEADS, np.float32))
    return np.stack([_weighted(row, values) for row in weights])


def _weighted(weights: Array, fields: Array) -> Array:
    """Sum up fields times weights; those of weight zero are not looked at, so that their NaN do not count."""
    some = np.flatnonzero(weights)
    return np.asarray(np.tensordot(weights[some], fields[some], axes=1), np.float32)
