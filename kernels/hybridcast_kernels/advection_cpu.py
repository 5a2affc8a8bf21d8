"""Semi-Lagrangian advection on CPU threads.

A row is worked in blocks of 32 cells whose trajectories stay in a small scratch array over all lead times. Bilinear
interpolation in a block is written as a sum over 3 x 3 neighbours with hat weights, of which at most 2 x 2 are not
zero: where the displacement varies by less than a cell within the block, all loads are contiguous and the loop
vectorises without gathers. Where it varies more, blocks of 8 are tried, then single points.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels import points as pt
from hybridcast_kernels.parallel import over_bands
from hybridcast_kernels.workspace import Workspace, workspace_of_this_thread

NEAREST, LINEAR, CUBIC = 0, 1, 3  # order of the interpolation

BLOCK = 32
SUB_BLOCK = np.uintp(8)
PAD = 4  # planes are padded by this many cells, so that blocks near the edge stay on the quick path
TILE_ROWS, TILE_COLUMNS = 8, 32
SEEN, MIXED, UNSEEN = np.uint8(0), np.uint8(1), np.uint8(2)  # what a tile of a field holds

# Rows of the scratch array, each BLOCK long: displacement, guessed increment, position, two samples, last increment.
# Offsets are unsigned, because a signed index costs a test for negative ones.
DX, DY, GX, GY, PX, PY, A, B, QX, QY = (np.uintp(k * BLOCK) for k in range(10))
SCRATCH = 10 * BLOCK
ZERO, ONE, TWO = np.uintp(0), np.uintp(1), np.uintp(2)
INT_MAX, INT_MIN = np.int32(2**31 - 1), np.int32(-(2**31))

# Positions and flows are finite and the optimiser may assume it; rain may be NaN.
finite = njit(nogil=True, cache=True, error_model="numpy", fastmath=True)
plain = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})


# --- one block ------------------------------------------------------------------------------------------------


@finite
def set_positions(w, first, last, share):
    """Set positions to the displacement minus `share` of the guessed increment; give the bounds of their cells."""
    low_x, low_y, high_x, high_y = INT_MAX, INT_MAX, INT_MIN, INT_MIN
    for i in range(first, last):
        x = w[DX + i] - share * w[GX + i]
        y = w[DY + i] - share * w[GY + i]
        w[PX + i] = x
        w[PY + i] = y
        j = np.int32(np.floor(x))
        k = np.int32(np.floor(y))
        low_x = min(low_x, j)
        high_x = max(high_x, j)
        low_y = min(low_y, k)
        high_y = max(high_y, k)
    return low_x, high_x, low_y, high_y


@finite
def step_back(w, duration, last):
    """Move by the sampled flow (A, B) times `duration`; guess the next increment by extrapolating along the track."""
    for i in range(ZERO, last):
        a = w[A + i] * duration
        b = w[B + i] * duration
        w[DX + i] -= a
        w[DY + i] -= b
        w[GX + i] = a + pt.HALF * (a - w[QX + i])
        w[GY + i] = b + pt.HALF * (b - w[QY + i])
        w[QX + i] = a
        w[QY + i] = b


@finite
def nine_cells(flat, corner, width, w, base_x, base_y, first, last, out):
    """Interpolate cells first..last of a block from the 3 x 3 cells from `corner` on (flat index), into w[out...]."""
    second = corner + width
    third = second + width
    for i in range(first, last):
        x = w[PX + i] - base_x
        y = w[PY + i] - base_y
        x0 = max(pt.ZERO, pt.ONE - x)
        x2 = max(pt.ZERO, x - pt.ONE)
        x1 = pt.ONE - x0 - x2
        y0 = max(pt.ZERO, pt.ONE - y)
        y2 = max(pt.ZERO, y - pt.ONE)
        y1 = pt.ONE - y0 - y2
        a = corner + i
        b = second + i
        c = third + i
        above = x0 * flat[a] + x1 * flat[a + ONE] + x2 * flat[a + TWO]
        level = x0 * flat[b] + x1 * flat[b + ONE] + x2 * flat[b + TWO]
        below = x0 * flat[c] + x1 * flat[c + ONE] + x2 * flat[c + TWO]
        w[out + i] = y0 * above + y1 * level + y2 * below


@plain
def fits(bounds, x, y, first, last, rows, columns):
    """Tell whether the nine cells of each of first..last lie in the plane and surround their positions."""
    low_x, high_x, low_y, high_y = bounds
    return (
        high_x - low_x <= 1
        and high_y - low_y <= 1
        and y + low_y >= 0
        and y + low_y + 3 <= rows
        and x + low_x + np.int64(first) >= 0
        and x + low_x + np.int64(last) + 2 <= columns
    )


@plain
def sample_quickly(planes, flat, plane, w, x, y, first, last, bounds, out):
    """Interpolate one plane where the nine cells fit."""
    rows, columns = planes.shape[1], planes.shape[2]
    corner = np.uintp((plane * rows + y + bounds[2]) * columns + x + bounds[0])
    base_x, base_y = np.float32(bounds[0]), np.float32(bounds[2])
    nine_cells(flat, corner, np.uintp(columns), w, base_x, base_y, first, last, out)


@plain
def sample_pair(planes, flat, plane, w, x, y, last, bounds, share):
    """Interpolate `plane` and the one after it at the positions of the block that starts at (x, y), into A and B."""
    rows, columns = planes.shape[1], planes.shape[2]
    if fits(bounds, x, y, ZERO, last, rows, columns):
        sample_quickly(planes, flat, plane, w, x, y, ZERO, last, bounds, A)
        sample_quickly(planes, flat, plane + 1, w, x, y, ZERO, last, bounds, B)
        return
    for first in range(ZERO, last, SUB_BLOCK):
        end = min(first + SUB_BLOCK, last)
        part = set_positions(w, first, end, share)
        if fits(part, x, y, first, end, rows, columns):
            sample_quickly(planes, flat, plane, w, x, y, first, end, part, A)
            sample_quickly(planes, flat, plane + 1, w, x, y, first, end, part, B)
            continue
        for i in range(first, end):
            px = w[PX + i] + np.float32(x + np.int64(i))
            py = w[PY + i] + np.float32(y)
            w[A + i] = pt.bilinear(planes, plane, px, py)
            w[B + i] = pt.bilinear(planes, plane + 1, px, py)


@plain
def tiles_state(tiles, field, bounds, x, y, last):
    """Tell whether the cells around a block's positions are all seen, all unseen, or mixed."""
    rows, columns = tiles.shape[1], tiles.shape[2]
    top, bottom = (y + bounds[2]) // TILE_ROWS, (y + bounds[3] + 1) // TILE_ROWS
    left, right = (x + bounds[0]) // TILE_COLUMNS, (x + bounds[1] + np.int64(last)) // TILE_COLUMNS
    if bottom < 0 or right < 0 or top >= rows or left >= columns:
        return UNSEEN
    if top < 0 or left < 0 or bottom >= rows or right >= columns:
        return MIXED
    state = tiles[field, top, left]
    for i in range(top, bottom + 1):
        for j in range(left, right + 1):
            if tiles[field, i, j] != state:
                return MIXED
    return state


@plain
def put_linear(planes, flat, tiles, field, w, x, y, last, bounds, out, at):
    """Sample a block of a field linearly and write it; masks cost only where there is anything missing."""
    state = tiles_state(tiles, field, bounds, x, y, last)
    plane = 2 + 2 * field
    if state == UNSEEN:
        for i in range(ZERO, last):
            out[at + i] = pt.NAN
    elif state == SEEN and fits(bounds, x, y, ZERO, last, planes.shape[1], planes.shape[2]):
        sample_quickly(planes, flat, plane, w, x, y, ZERO, last, bounds, A)
        for i in range(ZERO, last):
            out[at + i] = w[A + i]
    else:
        sample_pair(planes, flat, plane, w, x, y, last, bounds, pt.ZERO)
        for i in range(ZERO, last):
            out[at + i] = pt.NAN if w[B + i] > pt.MISSING_WEIGHT else w[A + i]


@plain
def put_points(planes, field, wet, order, w, x, y, last, out, at):
    """Sample a block of a field point by point: nearest cell or cubic."""
    for i in range(ZERO, last):
        px = w[DX + i] + np.float32(x + np.int64(i))
        py = w[DY + i] + np.float32(y)
        if order == NEAREST:
            out[at + i] = pt.sample_nearest(planes, 2 + 2 * field, px, py)
        else:
            out[at + i] = pt.sample_cubic(planes, 2 + 2 * field, wet, field, px, py)


# --- rows -----------------------------------------------------------------------------------------------------


@plain
def start_block(planes, duration, w, x, y, last):
    """Begin at the grid points themselves, with the flow there as the first guess."""
    for i in range(ZERO, last):
        w[DX + i] = pt.ZERO
        w[DY + i] = pt.ZERO
        w[GX + i] = planes[0, y, x + np.int64(i)] * duration
        w[GY + i] = planes[1, y, x + np.int64(i)] * duration


@plain
def stretch_guess(w, ratio, last):
    """Fit the guess to a step `ratio` times as long as the last one."""
    for i in range(ZERO, last):
        w[GX + i] *= ratio
        w[GY + i] *= ratio
        w[QX + i] *= ratio
        w[QY + i] *= ratio


@plain
def remember_first(w, duration, last):
    """Take the first increment as the last one too: nothing to extrapolate from yet."""
    for i in range(ZERO, last):
        w[QX + i] = w[A + i] * duration
        w[QY + i] = w[B + i] * duration


@plain
def advect_rows(planes, wet, tiles, durations, order, out, first, last):
    """Advect rows first..last of all fields to all lead times.

    planes: padded by PAD; 0 and 1 the flow in cells per unit of `durations`, then for each field its values and
    where they are missing. wet: for cubic sampling, (field, y, x). tiles: (field, y, x). durations: (lead,).
    out: (field, lead, y, x).
    """
    fields, leads, rows, columns = out.shape
    flat = planes.ravel()
    target = out.ravel()
    w = np.empty(SCRATCH, np.float32)
    width = np.uintp(min(BLOCK, columns))
    for row in range(first, last):
        y = row + PAD
        for block in range((columns + BLOCK - 1) // BLOCK):
            column = min(block * BLOCK, columns - np.int64(width))  # the last block overlaps the one before
            x = column + PAD
            start_block(planes, durations[0], w, x, y, width)
            for lead in range(leads):
                duration = durations[lead]
                if lead > 0 and duration != durations[lead - 1]:
                    stretch_guess(w, duration / durations[lead - 1], width)
                bounds = set_positions(w, ZERO, width, pt.HALF)
                sample_pair(planes, flat, 0, w, x, y, width, bounds, pt.HALF)
                if lead == 0:
                    remember_first(w, duration, width)
                step_back(w, duration, width)
                bounds = set_positions(w, ZERO, width, pt.ZERO)
                for field in range(fields):
                    at = np.uintp(((field * leads + lead) * rows + row) * columns + column)
                    if order == LINEAR:
                        put_linear(planes, flat, tiles, field, w, x, y, width, bounds, target, at)
                    else:
                        put_points(planes, field, wet, order, w, x, y, width, target, at)


@plain
def pad_rows(fields, flow, planes, first, last):
    """Write padded rows first..last: the flow's edge values go on; around a field all is missing (and 0)."""
    count, rows, columns = fields.shape
    for i in range(first, last):
        y = min(max(i - PAD, 0), rows - 1)
        for c in range(2):
            planes[c, i, :PAD] = flow[c, y, 0]
            planes[c, i, PAD : columns + PAD] = flow[c, y, :]
            planes[c, i, columns + PAD :] = flow[c, y, columns - 1]
        for field in range(count):
            planes[2 + 2 * field, i, :] = pt.ZERO
            planes[3 + 2 * field, i, :] = pt.ONE
            if i < PAD or i >= rows + PAD:
                continue
            for x in range(columns):
                value = fields[field, y, x]
                unseen = np.isnan(value)
                planes[2 + 2 * field, i, x + PAD] = pt.ZERO if unseen else value
                planes[3 + 2 * field, i, x + PAD] = pt.ONE if unseen else pt.ZERO


@plain
def summarise_tiles(planes, tiles, first, last):
    """Find the state of rows first..last of tiles."""
    for field in range(tiles.shape[0]):
        for i in range(first, last):
            for j in range(tiles.shape[2]):
                bottom = min((i + 1) * TILE_ROWS, planes.shape[1])
                right = min((j + 1) * TILE_COLUMNS, planes.shape[2])
                unseen = 0
                for y in range(i * TILE_ROWS, bottom):
                    for x in range(j * TILE_COLUMNS, right):
                        unseen += planes[3 + 2 * field, y, x] > pt.HALF
                size = (bottom - i * TILE_ROWS) * (right - j * TILE_COLUMNS)
                tiles[field, i, j] = SEEN if unseen == 0 else (UNSEEN if unseen == size else MIXED)


# --- whole fields ---------------------------------------------------------------------------------------------


def _check(
    flow: NDArray[np.float32], leads: NDArray[np.float32], out: NDArray[np.float32], shape: tuple[int, ...]
) -> None:
    if flow.shape != (2, *shape[2:]):
        raise ValueError(f"flow has shape {flow.shape}, not {(2, *shape[2:])}")
    if leads.size == 0 or not (np.diff(leads, prepend=np.float32(0)) > 0).all():
        raise ValueError(f"leads are {leads}; they are above zero and increase")
    if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(f"out is {out.dtype} of shape {out.shape}, not contiguous float32 of shape {shape}")


def advect(
    fields: NDArray[np.float32],
    flow: NDArray[np.float32],
    leads: NDArray[np.float32],
    order: int = LINEAR,
    *,
    coefficients: NDArray[np.float32] | None = None,
    out: NDArray[np.float32] | None = None,
    workspace: Workspace | None = None,
) -> NDArray[np.float32]:
    """Advect fields along a steady flow: backward trajectories by the midpoint rule, each field sampled once a lead.

    The scheme of Germann and Zawadzki (2002, 10.1175/1520-0493(2002)130<2859:SDOTPO>2.0.CO;2) as pysteps has it, but
    for the first guess of a midpoint, which is extrapolated along the track instead of sampled once more.

    Parameters
    ----------
    fields
        Shape ``(field, y, x)``, NaN where missing.
    flow
        Cells per unit of `leads`, shape ``(2, y, x)``, x first, finite.
    leads
        Lead times, above zero and increasing, shape ``(lead,)``.
    order
        0 nearest, 1 linear, 3 cubic.
    coefficients
        For order 3: B-spline coefficients of the fields, missing cells filled, shape ``(field, y, x)``.
    out
        Where to write, contiguous float32; made if not given.
    workspace
        Scratch arrays to use again; by default those of this thread.

    Returns
    -------
    Shape ``(field, lead, y, x)``, NaN where air comes from outside the grid or from missing cells.

    Raises
    ------
    ValueError
        If shapes, `leads` or `out` do not fit: the loops do not look before they read and write.
    """
    work = workspace or workspace_of_this_thread()
    count, rows, columns = fields.shape
    shape = (count, leads.size, rows, columns)
    if out is None:
        out = np.empty(shape, dtype=np.float32)
    _check(flow, leads, out, shape)
    height, width = rows + 2 * PAD, columns + 2 * PAD
    planes = work.array("planes", (2 + 2 * count, height, width))
    tiles = work.array("tiles", (count, -(-height // TILE_ROWS), -(-width // TILE_COLUMNS)), np.uint8)
    over_bands(lambda first, last: pad_rows(fields, flow, planes, first, last), height)
    over_bands(lambda first, last: summarise_tiles(planes, tiles, first, last), tiles.shape[1], least=8)
    wet = planes[2::2]
    if order == CUBIC:
        if coefficients is None:
            raise ValueError("cubic advection needs coefficients: the B-spline coefficients of the fields")
        wet = (planes[2::2] > 0).astype(np.float32)
        # mirrored at the edge as the coefficients are, because a sample near it reaches one or two cells beyond
        planes[2::2] = np.pad(coefficients, ((0, 0), (PAD, PAD), (PAD, PAD)), mode="reflect")
    durations = np.diff(leads, prepend=np.float32(0)).astype(np.float32)
    target = out
    over_bands(
        lambda first, last: advect_rows(planes, wet, tiles, durations, order, target, first, last), rows, least=4
    )
    return out
