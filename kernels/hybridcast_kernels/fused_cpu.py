"""The fields of a fused forecast on the fine grid, on CPU threads: any band of rows, all lead times, in one pass.

Each cell is followed back along the motion once. At every lead time the latest frame and the coarse planes of that lead
time are sampled where the cell comes from; the ranking and the square of the rate of the frame become a rain rate by
the rank transform of the lead time. Nothing is stored in between, and a band needs no other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast_kernels import points as pt
from hybridcast_kernels.advection_cpu import (
    BLOCK,
    SCRATCH,
    ZERO,
    A,
    check_out,
    follow_step,
    gather,
    plain,
    put_linear,
    start_block,
    step,
    steps_to,
    tiles_of,
)
from hybridcast_kernels.parallel import over_bands
from hybridcast_kernels.planes_cpu import locate_coarse
from hybridcast_kernels.scales_cpu import RankTransform
from hybridcast_kernels.workspace import workspace_of_this_thread

Array = NDArray[np.float32]


class Latest(NamedTuple):
    """The latest frame and its motion."""

    frame: Array
    """C-contiguous float32, ``(y, x)``, NaN where unknown."""
    flow: Array
    """Cells per unit of `leads`, C-contiguous float32, ``(2, y, x)``, x first, finite."""
    leads: Array
    """Lead times, above zero and increasing, ``(lead,)``."""
    longest_step: float
    """Longest step of the trajectories, in the unit of `leads`."""


class Planes(NamedTuple):
    """Planes on coarse cells, in Lagrangian coordinates; beyond the outer cells the value at the edge holds."""

    values: Array
    """C-contiguous float32, finite, ``(set, lead, coarse y, coarse x)``; the first set is the ranking."""
    factor: int
    """Number of fine cells per coarse cell along an axis."""
    offset: float
    """Position of the first coarse cell in fine cells, counted from 0."""


class Ranked(NamedTuple):
    """How a ranking and the frame become rain rates at each lead time."""

    factors: Array
    """Factor of the squared rate of the frame, which is added to the ranking, ``(lead,)``."""
    transforms: Sequence[RankTransform]
    """Transform of the logarithm of the sum."""


class Fields(NamedTuple):
    """Fields on some rows of the fine grid, C-contiguous float32, NaN where the advected frame is."""

    rate: Array
    """Rain rate, ``(lead, y, x)``."""
    advected: Array
    """The frame, advected, ``(lead, y, x)``."""
    planes: Array
    """All sets of planes but the ranking, ``(set, lead, y, x)``."""


@plain
def put_rain(w, factor, low, scale, wet_from, table, width, advected, rate, at):
    """Write the rain of a block whose rankings are A: see `scales_cpu.add_square_rows` and `scales_cpu.look_up`."""
    bins = table.size - 1
    for i in range(ZERO, width):
        frame = advected[at + i]
        total = w[A + i] + factor * frame * frame
        value = pt.log2(total if total == total else pt.ONE)
        place = min(max((value - low) * scale, pt.ZERO), np.float32(bins))
        k = min(np.int32(place), np.int32(bins - 1))
        found = table[k] + (place - np.float32(k)) * (table[k + 1] - table[k])
        rate[at + i] = pt.NAN if frame != frame else (found if value >= wet_from else pt.ZERO)


@plain
def fuse_rows(
    frame_flat, tiles, planes_flat, coarse, offset, per_cell, flow, flow_flat, durations, lead_of_step, leads,
    factors, lows, scales, wet_from, tables, sampled, top, rate, advected, carried, first, last,
):  # fmt: skip
    """Write rows first..last of all fields, which begin at the row `top` of the grid.

    rate, advected, carried: flattened (lead, y, x) and (set, lead, y, x). sampled: whether `advected` is written, or
    holds the advected frame already. The others are as in `advection_cpu.advect_rows` and `planes_cpu.carry_rows`.
    """
    rows, columns = flow.shape[1], flow.shape[2]
    height = rate.size // (leads * columns)
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
                at = np.uintp((lead * height + y - top) * columns + x)
                if sampled:
                    put_linear(frame_flat, tiles, 0, w, cells, x, y, (rows, columns), width, advected, at)
                locate_coarse(w, cells, x, y, coarse[0], coarse[1], offset, per_cell, width)
                gather(planes_flat, np.uintp(lead * size), right, below, w, cells, width, A)
                put_rain(
                    w, factors[lead], lows[lead], scales[lead], wet_from[lead], tables[lead], width, advected, rate, at
                )
                for one in range(1, sets):
                    gather(planes_flat, np.uintp((one * leads + lead) * size), right, below, w, cells, width, A)
                    to = np.uintp((((one - 1) * leads + lead) * height + y - top) * columns + x)
                    for i in range(ZERO, width):
                        value = advected[at + i]
                        carried[to + i] = w[A + i] if value == value else pt.NAN


def fuse(latest: Latest, planes: Planes, ranked: Ranked, rows: slice, out: Fields, *, sampled: bool = True) -> Fields:
    """Write the fields on the rows from `rows.start` to `rows.stop` of the grid.

    Parameters
    ----------
    latest, planes, ranked
        What the fields are made from.
    rows
        Rows to make; trajectories may leave them.
    out
        Arrays to write to, with as many rows.
    sampled
        Whether the latest frame is advected here. If not, `out.advected` holds the result already.

    Returns
    -------
    Fields
        `out`.

    Raises
    ------
    ValueError
        If shapes, rows or lead times are not consistent.
    """
    count, (height, columns), last = latest.leads.size, latest.frame.shape, rows.stop - rows.start
    sets = len(planes.values)
    if not 0 <= rows.start < rows.stop <= height or latest.flow.shape[1:] != latest.frame.shape:
        raise ValueError(f"rows {rows.start} to {rows.stop} of a frame {latest.frame.shape}, flow {latest.flow.shape}")
    if planes.values.shape[1] != count or len(ranked.transforms) != count or ranked.factors.shape != (count,):
        raise ValueError(
            f"planes {planes.values.shape}: planes, factors and transforms have one for each of {count} leads"
        )
    if not (np.diff(latest.leads, prepend=np.float32(0)) > 0).all():
        raise ValueError(f"leads are {latest.leads}; they are above zero and increase")
    for array, shape in zip(out, ((count,), (count,), (sets - 1, count)), strict=True):
        check_out(array, (*shape, last, columns))
    durations, ends = steps_to(latest.leads, latest.longest_step)
    tiles = tiles_of(latest.frame[None], workspace_of_this_thread())
    lows, scales, wet_from = (
        np.array([getattr(one, name) for one in ranked.transforms], np.float32) for name in ("low", "scale", "wet_from")
    )
    tables = np.stack([one.table for one in ranked.transforms])

    def band(first: int, end: int) -> None:
        fuse_rows(
            latest.frame.reshape(-1), tiles, planes.values.reshape(-1), planes.values.shape[2:],
            np.float32(planes.offset), np.float32(1 / planes.factor), latest.flow, latest.flow.reshape(-1), durations,
            ends, count, ranked.factors, lows, scales, wet_from, tables, sampled, rows.start, out.rate.reshape(-1),
            out.advected.reshape(-1), out.planes.reshape(-1), rows.start + first, rows.start + end,
        )  # fmt: skip

    over_bands(band, last, columns * durations.size * (2 + sets))
    return out
