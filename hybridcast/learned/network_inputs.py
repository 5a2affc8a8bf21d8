"""Inputs of the small network at an issue time, and the outcome it is trained on, in Lagrangian coordinates.

The inputs are computed from frames up to the issue time, which are advected to the time of the latest frame: no later
frame is an argument of `build_network_inputs`. The outcome (`observe_outcome`) is found by following each cell forward.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from hybridcast.advection import LONGEST_STEP
from hybridcast.core.grid import block_size, cell_kilometres, decibels
from hybridcast.core.time_steps import time_step
from hybridcast.core.types import MINUTE, Array
from hybridcast.motion.estimate import cells_per_step, check_motion, find_usable_frames
from hybridcast.nowcasters.scale_filter import filter_scales
from hybridcast.predictors.radar import earlier_frame
from hybridcast_kernels.advection_cpu import LINEAR
from hybridcast_kernels.advection_cpu import advect as advect_arrays
from hybridcast_kernels.trajectories import departure_points, sample

Counts = NDArray[np.uint8]

#: Lead times of the output, min.
LEADS = (15, 30, 45, 60, 75, 90, 105, 120)
#: Thresholds of the output, mm/h.
THRESHOLDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Approximate size of the blocks of cells on which the network works, m.
BLOCK_SPACING = 4000.0
#: Intended ages of earlier frames relative to the latest, min.
LAGS = (10, 20, 30)
#: Half widths of neighbourhoods, km.
WIDTHS = (32, 64)
#: Lead times of filtered rain in the input, min.
FILTER_LEADS = (30, 60, 120)
#: Planes of the input, without those of the base. `u` and `v` are along columns and rows.
PLANES = (
    *("decibels", "max", "wet", "wet_1", "known"),
    *(f"change_{lag}" for lag in LAGS),
    *(f"both_{lag}" for lag in LAGS),
    *(f"decibels_{width}" for width in WIDTHS),
    *(f"wet_{width}" for width in WIDTHS),
    *(f"known_{width}" for width in WIDTHS),
    *("u", "v", "speed", "divergence"),
    *(f"filter_{lead}" for lead in FILTER_LEADS),
)
KNOWN = PLANES.index("known")
CONDITIONS = 2 * len(LAGS) + 1
#: Value of the scale filter without rain, dB of 1 mm/h.
DRY = np.float32(-15)


class NetworkInputs(NamedTuple):
    """Data known at the issue time, on blocks of cells, in the coordinates of the latest frame."""

    planes: Array
    """Planes named by `PLANES`, finite and of order one, shape ``(plane, y, x)``."""
    conditions: Array
    """Presence and ages of the earlier frames, and the time step, shape ``(CONDITIONS,)``."""
    smooth: Array
    """Rain of the scale filter at the lead times, dB of 1 mm/h, shape ``(lead, y, x)``."""
    block: int
    """Number of cells along each side of a block."""


class FieldOutcome(NamedTuple):
    """Rain observed later in the air of each block."""

    known: Counts
    """Number of cells of the block with an observation, shape ``(lead, y, x)``."""
    reached: Counts
    """Number of these cells that reach each threshold, shape ``(lead, threshold, y, x)``."""


class FieldCase(NamedTuple):
    """Inputs and outcome of one issue time."""

    inputs: NetworkInputs
    outcome: FieldOutcome


# --- inputs ---------------------------------------------------------------------------------------------------


def build_network_inputs(
    recent: xr.DataArray,
    motion: xr.Dataset,
    *,
    smooth: xr.DataArray | None = None,
) -> NetworkInputs:
    """Compute the inputs of the network from frames up to the issue time and their motion.

    Parameters
    ----------
    recent
        Precipitation field, mm h-1, dims ``(time, y, x)``. The last frame with any value is the latest frame.
    motion
        Motion on the same grid, from `hybridcast.motion.estimate.estimate_motion`.
    smooth
        `filtered_dbr` of `hybridcast.nowcasters.scale_filter.filter_scales`, if it has been computed already.

    Raises
    ------
    InputError
        If grids differ.
    """
    check_motion(motion, recent)
    last = _latest_index(recent)
    block = _block_cells(recent)
    flow = cells_per_step(motion, MINUTE)
    if smooth is None:
        smooth = filter_scales(recent, motion, np.array(LEADS) * MINUTE)["filtered_dbr"]
    forward = _arrival_points(flow, _block_centres(recent.shape[1:], block))
    shape = _grid_of_blocks(recent.shape[1:], block)
    levels = _interpolate_to_leads(smooth.transpose("lead_time", "y", "x"), recent)
    carried = _sample_arrivals(levels, forward, shape)
    carried = np.where(np.isfinite(carried), carried, DRY)
    planes = _latest_planes(recent.values[last], block, _block_kilometres(recent, block))
    changes, conditions = _change_planes(recent, last, flow, block)
    planes |= changes | _motion_planes(flow, recent, block)
    planes |= {f"filter_{lead}": (carried[LEADS.index(lead)] - DRY) / np.float32(15) for lead in FILTER_LEADS}
    return NetworkInputs(np.stack([planes[name] for name in PLANES]).astype(np.float32), conditions, carried, block)


def _latest_index(recent: xr.DataArray) -> int:
    indices, _ = find_usable_frames(recent, 1)
    return int(indices[0]) if indices.size else recent.sizes["time"] - 1


def _minutes_from_latest(recent: xr.DataArray, leads: NDArray[np.timedelta64]) -> Array:
    """Return lead times relative to the latest frame, min."""
    age = recent["time"].values[-1] - recent["time"].values[_latest_index(recent)]
    return np.asarray((leads + age) / MINUTE, np.float32)


def _block_cells(field: xr.DataArray) -> int:
    """Return the number of cells along each side of a block closest to `BLOCK_SPACING`, at most those of the grid."""
    return min(block_size(field, BLOCK_SPACING), *field.shape[-2:])


def _block_kilometres(field: xr.DataArray, block: int) -> tuple[float, float]:
    """Return the size of a block along y and x, km."""
    height, width = cell_kilometres(field)
    return block * height, block * width


def _grid_of_blocks(shape: tuple[int, ...], block: int) -> tuple[int, int]:
    return -(-shape[0] // block), -(-shape[1] // block)


def _split_blocks(field: NDArray[Any], block: int, fill: float = np.nan) -> NDArray[Any]:
    """Return the cells of each block, ``(y, x, cell)``; cells beyond the edge are `fill`."""
    rows, columns = _grid_of_blocks(field.shape, block)
    padding = [(0, rows * block - field.shape[0]), (0, columns * block - field.shape[1])]
    padded = np.pad(field, padding, constant_values=fill)
    return padded.reshape(rows, block, columns, block).swapaxes(1, 2).reshape(rows, columns, block * block)


def _block_means(field: Array, block: int) -> tuple[Array, Array]:
    """Return the mean over the known cells of each block, 0 without any, and the known fraction."""
    cells = _split_blocks(field, block)
    known = np.isfinite(cells)
    count = known.sum(axis=-1, dtype=np.float32)
    mean = np.where(known, cells, np.float32(0)).sum(axis=-1) / np.maximum(count, 1)
    return mean.astype(np.float32), count / np.float32(block * block)


def _latest_planes(latest: Array, block: int, cell: tuple[float, float]) -> dict[str, Array]:
    """Return planes of the latest frame, and its means over neighbourhoods; beyond the edge the edge is repeated."""
    rain = decibels(latest)
    mean, known = _block_means(rain, block)
    cells = _split_blocks(latest, block)
    planes = {
        "decibels": mean,
        "max": _split_blocks(np.nan_to_num(rain), block, 0.0).max(axis=-1),
        "wet": (cells >= np.float32(0.1)).mean(axis=-1, dtype=np.float32),
        "wet_1": (cells >= np.float32(1)).mean(axis=-1, dtype=np.float32),
        "known": known,
    }
    for width in WIDTHS:
        size = tuple(2 * round(width / side) + 1 for side in cell)
        fraction = ndimage.uniform_filter(known, size, mode="nearest")
        above = np.maximum(fraction, np.float32(1e-3))
        planes[f"known_{width}"] = fraction
        planes[f"decibels_{width}"] = ndimage.uniform_filter(mean * known, size, mode="nearest") / above
        planes[f"wet_{width}"] = ndimage.uniform_filter(planes["wet"], size, mode="nearest") / above
    for name in ("decibels", "max", *(f"decibels_{width}" for width in WIDTHS)):
        planes[name] = planes[name] * np.float32(0.1)
    return planes


def _change_planes(recent: xr.DataArray, last: int, flow: Array, block: int) -> tuple[dict[str, Array], Array]:
    """Return growth and decay, the latest frame minus advected earlier ones (unit 10 dB), and the conditions."""
    until = recent.isel(time=slice(None, last + 1))
    now = decibels(recent.values[last])
    planes: dict[str, Array] = {}
    conditions = np.zeros(CONDITIONS, np.float32)
    for k, lag in enumerate(LAGS):
        earlier, minutes = earlier_frame(until, lag)
        if earlier is None:
            change = np.full_like(now, np.nan)
        else:
            rain = np.ascontiguousarray(decibels(earlier.values), np.float32)[None]
            moved = advect_arrays(rain, flow, np.array([minutes], np.float32), LINEAR, longest_step=LONGEST_STEP)
            change = now - moved[0, 0]
            conditions[2 * k : 2 * k + 2] = 1.0, minutes / lag - 1.0
        mean, fraction = _block_means(change, block)
        planes[f"change_{lag}"] = mean * np.float32(0.1)
        planes[f"both_{lag}"] = fraction
    step = time_step(recent["time"].values)
    conditions[-1] = 0.0 if step is None else (step / MINUTE) / 15.0
    return planes, conditions


def _motion_planes(flow: Array, recent: xr.DataArray, block: int) -> dict[str, Array]:
    """Return motion along columns and rows, its speed (km/min), and its scaled divergence."""
    height, width = _block_kilometres(recent, 1)
    u, v = (_block_means(part * np.float32(side), block)[0] for part, side in zip(flow, (width, height), strict=True))
    along_x = np.gradient(u, width * block, axis=1) if u.shape[1] > 1 else np.zeros_like(u)
    along_y = np.gradient(v, height * block, axis=0) if v.shape[0] > 1 else np.zeros_like(v)
    divergence = (np.clip((along_x + along_y) * 60.0, -5.0, 5.0) / 5.0).astype(np.float32)
    return {"u": u, "v": v, "speed": np.hypot(u, v), "divergence": divergence}


# --- along the motion and back --------------------------------------------------------------------------------


def _block_centres(shape: tuple[int, ...], block: int) -> NDArray[np.int32]:
    """Return row and column of the middle cell of each block, within the grid, ``(block, 2)``."""
    rows, columns = _grid_of_blocks(shape, block)
    y, x = np.mgrid[:rows, :columns] * block + block // 2
    return np.stack([np.minimum(y, shape[0] - 1).ravel(), np.minimum(x, shape[1] - 1).ravel()], axis=1).astype(np.int32)


def _arrival_points(flow: Array, cells: NDArray[np.int32]) -> Array:
    """Return where the air of `cells` arrives: the departure points of the reversed motion, ``(lead, cell, 2)``."""
    return departure_points(-flow, np.array(LEADS, np.float32), cells, LONGEST_STEP)


def _sample_arrivals(fields: Array, points: Array, shape: tuple[int, int]) -> Array:
    """Sample fields ``(lead, y, x)`` where the air of each block arrives; beyond the edge the edge is repeated."""
    return np.stack(
        [sample(field[..., None], point).reshape(shape) for field, point in zip(fields, points, strict=True)]
    )


def observe_outcome(later: Array, recent: xr.DataArray, motion: xr.Dataset) -> FieldOutcome:
    """Find the rain observed where the air of each cell arrived, in the nearest cell at each lead time.

    Parameters
    ----------
    later
        Rain rate at `LEADS` after the latest frame, mm h-1, NaN where unknown, shape ``(lead, y, x)``.
    recent, motion
        See `build_network_inputs`.
    """
    shape = recent.shape[1:]
    block = _block_cells(recent)
    cells = np.argwhere(np.ones(shape, bool)).astype(np.int32)
    flow = cells_per_step(motion, MINUTE)
    points = np.rint(_arrival_points(flow, cells)).astype(np.int64)
    known, reached = [], []
    for frame, point in zip(later, points, strict=True):
        inside = ((point >= 0) & (point < shape)).all(axis=1)
        rate = np.full(len(cells), np.nan, np.float32)
        rate[inside] = frame[point[inside, 0], point[inside, 1]]
        found = _split_blocks(rate.reshape(shape), block)
        known.append(np.isfinite(found).sum(axis=-1))
        reached.append([(found >= np.float32(threshold)).sum(axis=-1) for threshold in THRESHOLDS])
    return FieldOutcome(np.array(known, np.uint8), np.array(reached, np.uint8))


def _interpolation_weights(have: Array, want: Array) -> Array:
    """Return weights of linear interpolation from increasing `have` to `want`, held at the ends, ``(want, have)``."""
    return np.stack([np.interp(want, have, row) for row in np.eye(have.size)], axis=1).astype(np.float32)


def _interpolate_to_leads(fields: xr.DataArray, recent: xr.DataArray) -> Array:
    """Interpolate fields, dims ``(lead_time, ...)``, to `LEADS` after the latest frame."""
    values = np.asarray(fields.values, np.float32)
    weights = _interpolation_weights(
        _minutes_from_latest(recent, fields["lead_time"].values), np.array(LEADS, np.float32)
    )
    return np.stack([_sum_weighted(row, values) for row in weights])


def _sum_weighted(weights: Array, fields: Array) -> Array:
    """Return the weighted sum of fields; fields of weight zero are skipped, so that their NaN do not count."""
    some = np.flatnonzero(weights)
    return np.asarray(np.tensordot(weights[some], fields[some], axes=1), np.float32)
