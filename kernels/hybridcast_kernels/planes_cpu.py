"""Coarse planes advected onto the fine grid, on CPU threads.

Slowly varying planes are known on coarse cells in Lagrangian coordinates. They are sampled at the departure points of
the fine cells. The trajectories are those of `advection_cpu`; no fine copy of the planes is made, and the coarse planes
stay in the cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels import points as pt
from hybridcast_kernels.advection_cpu import (
    BLOCK,
    DX,
    DY,
    FX,
    FY,
    SCRATCH,
    ZERO,
    A,
    check_out,
    follow_step,
    gather,
    plain,
    start_block,
    step,
    steps_to,
)
from hybridcast_kernels.parallel import over_bands

Array = NDArray[np.float32]


# Always inlined: with reassociation, a copy compiled by itself rounds the last cells of a row differently, and the copy
# that is called depends on whether the process compiled the kernels or loaded them from numba's cache.
@njit(nogil=True, cache=True, error_model="numpy", fastmath=True, no_cfunc_wrapper=True, forceinline=True)
def locate_coarse(w, cells, x, y, rows, columns, offset, per_cell, width):
    """Find the coarse cells at the displacement of the block that starts at the fine cell (x, y).

    Works as `advection_cpu.locate`, on a grid of `rows` and `columns` coarse cells, the first of which lies at the fine
    cell `offset` along both axes, with `per_cell` coarse cells per fine cell.
    """
    right, bottom = np.float32(columns - 1), np.float32(rows - 1)
    last_column, last_row = np.float32(max(columns - 2, 0)), np.float32(max(rows - 2, 0))
    stride = np.int32(columns)
    for i in range(ZERO, width):
        px = (w[DX + i] + np.float32(np.int32(i)) + np.float32(x) - offset) * per_cell
        py = (w[DY + i] + np.float32(y) - offset) * per_cell
        px = min(max(px, pt.ZERO), right)
        py = min(max(py, pt.ZERO), bottom)
        column = min(np.floor(px), last_column)
        row = min(np.floor(py), last_row)
        w[FX + i] = px - column
        w[FY + i] = py - row
        cells[i] = np.uint32(np.int32(row) * stride + np.int32(column))


@plain
def carry_rows(
    planes_flat, coarse, offset, per_cell, flow, flow_flat, durations, lead_of_step, leads, known, target, first, last
):
    """Advect planes to the fine rows first..last at all lead times; NaN where `known` is NaN.

    planes_flat, known, target: flattened (set, lead, coarse y, coarse x), (lead, y, x) and (set, lead, y, x).
    coarse: rows and columns of the planes. The others are as in `advection_cpu.advect_rows`.
    """
    rows, columns = flow.shape[1], flow.shape[2]
    size = coarse[0] * coarse[1]
    sets = planes_flat.size // (size * leads)
    right, below = step(coarse[1], 1), step(coarse[0], coarse[1])
    w = np.empty(SCRATCH, np.float32)
    cells = np.empty(BLOCK, np.uint32)
    for y in range(first, last):
        for x in range(0, columns, BLOCK):
            width = np.uintp(min(BLOCK, columns - x))
            start_block(flow, durations[0], w, x, y, width)
            for step_number in range(durations.size):
                follow_step(flow_flat, durations, step_number, w, cells, x, y, rows, columns, width)
                lead = lead_of_step[step_number]
                if lead < 0:
                    continue
                locate_coarse(w, cells, x, y, coarse[0], coarse[1], offset, per_cell, width)
                seen = np.uintp((lead * rows + y) * columns + x)
                for one in range(sets):
                    place = one * leads + lead
                    gather(planes_flat, np.uintp(place * size), right, below, w, cells, width, A)
                    at = np.uintp((place * rows + y) * columns + x)
                    for i in range(ZERO, width):
                        value = known[seen + i]
                        target[at + i] = w[A + i] if value == value else pt.NAN


def carry(
    planes: Array,
    factor: int,
    offset: float,
    flow: Array,
    leads: Array,
    known: Array,
    *,
    longest_step: float = np.inf,
    out: Array | None = None,
) -> Array:
    """Advect coarse planes along a steady flow; each lead time has planes of its own, on the same trajectories.

    Parameters
    ----------
    planes
        C-contiguous float32, finite, shape ``(set, lead, coarse y, coarse x)``. Beyond the outer cells the value at the
        edge holds.
    factor
        Number of fine cells per coarse cell along an axis.
    offset
        Position of the first coarse cell in fine cells, counted from 0.
    flow, leads, longest_step
        As in `advection_cpu.advect`, on the fine grid.
    known
        Fields that are NaN where the result is to be NaN, C-contiguous float32, shape ``(lead, y, x)``.
    out
        Array to write to, C-contiguous float32; allocated if not given.

    Returns
    -------
    ndarray
        Shape ``(set, lead, y, x)``.

    Raises
    ------
    ValueError
        If shapes, `leads` or `out` are not consistent.
    """
    rows, columns = flow.shape[1:]
    sets, count = planes.shape[:2]
    if count != leads.size or known.shape != (count, rows, columns) or not (np.diff(leads, prepend=0) > 0).all():
        raise ValueError(
            f"planes {planes.shape}, leads {leads}, flow {flow.shape}, known {known.shape}: "
            "planes and known have one for each lead, leads increase, and known is on the grid of the flow"
        )
    shape = (sets, count, rows, columns)
    target = np.empty(shape, np.float32) if out is None else out
    check_out(target, shape)
    durations, ends = steps_to(leads, longest_step)
    coarse = planes.shape[2:]

    def band(first: int, last: int) -> None:
        carry_rows(
            planes.reshape(-1),
            coarse,
            np.float32(offset),
            np.float32(1 / factor),
            flow,
            flow.reshape(-1),
            durations,
            ends,
            count,
            known.reshape(-1),
            target.reshape(-1),
            first,
            last,
        )

    over_bands(band, rows, columns * durations.size * (1 + sets))
    return target
