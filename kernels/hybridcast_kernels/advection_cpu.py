"""Semi-Lagrangian advection on CPU threads.

A row is processed in blocks of cells whose trajectories stay in a small scratch array over all lead times. Each step
of a block consists of a few short loops without branches, so that all of them vectorise: locate the cells to read,
read them, interpolate, move on. No field or flow is copied.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels import points as pt
from hybridcast_kernels.parallel import over_bands
from hybridcast_kernels.workspace import Workspace, workspace_of_this_thread

NEAREST, LINEAR, CUBIC = 0, 1, 3  # order of the interpolation

BLOCK = 128  # in longer blocks more cells take the branch for missing neighbours; shorter ones cost more calls
TILE_ROWS, TILE_COLUMNS = 8, 32
KNOWN, MIXED, UNKNOWN = np.uint8(0), np.uint8(1), np.uint8(2)  # state of the cells of a tile of a field

# Rows of the scratch array, each BLOCK long: displacement, guessed increment, last increment, position within a cell,
# two samples. Offsets are unsigned, because a signed index costs a test for negative ones.
DX, DY, GX, GY, QX, QY, FX, FY, A, B = (np.uintp(k * BLOCK) for k in range(10))
SCRATCH = 10 * BLOCK
ZERO, ONE = np.uintp(0), np.uintp(1)
INT_MAX, INT_MIN = np.int32(2**31 - 1), np.int32(-(2**31))
#: Displacements in cells are limited to this before they are cast to an integer, where the result is defined.
FARTHEST = np.float32(1e6)

# Positions and flows are finite, which the optimiser may assume; rain may be NaN.
finite = njit(nogil=True, cache=True, error_model="numpy", fastmath=True, no_cfunc_wrapper=True)
plain = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"}, no_cfunc_wrapper=True)


# --- one block ------------------------------------------------------------------------------------------------


@finite
def locate(w, cells, fraction, x, y, rows, columns, width):
    """Find the cells at the displacement minus `fraction` of the guessed increment, for the block from (x, y) on.

    Sets `cells` (flat index of the upper left one of four) and the positions within them (FX, FY). A position beyond
    the edge is moved to the edge.
    """
    left, right = np.float32(-x), np.float32(columns - 1 - x)
    top, bottom = np.float32(-y), np.float32(rows - 1 - y)
    last_column, last_row = np.float32(max(columns - 2, 0) - x), np.float32(max(rows - 2, 0) - y)
    stride, start = np.int32(columns), np.int32(y * columns + x)
    for i in range(ZERO, width):
        px = w[DX + i] - fraction * w[GX + i] + np.float32(np.int32(i))
        py = w[DY + i] - fraction * w[GY + i]
        px = min(max(px, left), right)
        py = min(max(py, top), bottom)
        column = min(np.floor(px), last_column)
        row = min(np.floor(py), last_row)
        w[FX + i] = px - column
        w[FY + i] = py - row
        cells[i] = np.uint32(np.int32(row) * stride + np.int32(column) + start)


@finite
def bounds_of(w, x, y, width):
    """Return first and last column, first and last row of the cells at the displacement, not limited to the grid."""
    left, right, top, bottom = INT_MAX, INT_MIN, INT_MAX, INT_MIN
    for i in range(ZERO, width):
        column = np.int32(np.int32(np.floor(min(max(w[DX + i], -FARTHEST), FARTHEST))) + np.int32(i))
        row = np.int32(np.floor(min(max(w[DY + i], -FARTHEST), FARTHEST)))
        left = min(left, column)
        right = max(right, column)
        top = min(top, row)
        bottom = max(bottom, row)
    return left + x, right + x, top + y, bottom + y


@plain
def gather(flat, plane, right, below, w, cells, width, out):
    """Interpolate bilinearly in the plane that starts at `plane`, at the positions that `locate` found, into w[out...].

    `right` and `below` are the offsets of the neighbours. The arithmetic is that of `points.bilinear_from`.
    """
    for i in range(ZERO, width):
        a = plane + np.uintp(cells[i])
        b = a + below
        fx = w[FX + i]
        upper = flat[a] + fx * (flat[a + right] - flat[a])
        lower = flat[b] + fx * (flat[b + right] - flat[b])
        w[out + i] = upper + w[FY + i] * (lower - upper)


@plain
def gather_known(flat, plane, right, below, w, cells, width):
    """Interpolate where cells may be missing: the sum over known cells into A, the weight of missing cells into B.

    The arithmetic is that of `points.weights_of`.
    """
    for i in range(ZERO, width):
        a = plane + np.uintp(cells[i])
        b = a + below
        fx, fy = w[FX + i], w[FY + i]
        v00, v01, v10, v11 = flat[a], flat[a + right], flat[b], flat[b + right]
        w00, w01 = (pt.ONE - fy) * (pt.ONE - fx), (pt.ONE - fy) * fx
        w10, w11 = fy * (pt.ONE - fx), fy * fx
        # a comparison with NaN is false
        total = w00 * v00 if v00 == v00 else pt.ZERO
        total += w01 * v01 if v01 == v01 else pt.ZERO
        total += w10 * v10 if v10 == v10 else pt.ZERO
        total += w11 * v11 if v11 == v11 else pt.ZERO
        missing = pt.ZERO if v00 == v00 else w00
        missing += pt.ZERO if v01 == v01 else w01
        missing += pt.ZERO if v10 == v10 else w10
        missing += pt.ZERO if v11 == v11 else w11
        w[A + i] = total
        w[B + i] = missing


@finite
def start_block(flow, duration, w, x, y, width):
    """Start trajectories at the grid points, with the flow at the grid points as the first guess."""
    for i in range(ZERO, width):
        w[DX + i] = pt.ZERO
        w[DY + i] = pt.ZERO
        w[GX + i] = flow[0, y, x + np.int64(i)] * duration
        w[GY + i] = flow[1, y, x + np.int64(i)] * duration


@finite
def stretch_guess(w, ratio, width):
    """Adapt guess and last increment to a step `ratio` times as long as the last one."""
    for i in range(ZERO, width):
        w[GX + i] *= ratio
        w[GY + i] *= ratio
        w[QX + i] *= ratio
        w[QY + i] *= ratio


@finite
def step_back(w, duration, first, width):
    """Move by the sampled flow (A, B) times `duration`; guess the next increment by extrapolating along the track.

    In the `first` step the increment is used as the last one too, because there is no earlier one.
    """
    for i in range(ZERO, width):
        a = w[A + i] * duration
        b = w[B + i] * duration
        w[DX + i] -= a
        w[DY + i] -= b
        w[GX + i] = pt.next_guess(a, a if first else w[QX + i])
        w[GY + i] = pt.next_guess(b, b if first else w[QY + i])
        w[QX + i] = a
        w[QY + i] = b


@plain
def follow_step(flow_flat, durations, step_number, w, cells, x, y, rows, columns, width):
    """Follow the trajectories of a block one step further back."""
    right, below = step(columns, 1), step(rows, columns)
    duration = durations[step_number]
    if step_number > 0 and duration != durations[step_number - 1]:
        stretch_guess(w, duration / durations[step_number - 1], width)
    locate(w, cells, pt.HALF, x, y, rows, columns, width)
    gather(flow_flat, ZERO, right, below, w, cells, width, A)
    gather(flow_flat, np.uintp(rows * columns), right, below, w, cells, width, B)
    step_back(w, duration, step_number == 0, width)


@plain
def tiles_state(tiles, field, left, right, top, bottom):
    """Return whether the tiles that contain these columns and rows are all known, all unknown, or mixed."""
    rows, columns = tiles.shape[1], tiles.shape[2]
    first_row, last_row = top // TILE_ROWS, bottom // TILE_ROWS
    first_column, last_column = left // TILE_COLUMNS, right // TILE_COLUMNS
    if last_row < 0 or last_column < 0 or first_row >= rows or first_column >= columns:
        return UNKNOWN
    if first_row < 0 or first_column < 0 or last_row >= rows or last_column >= columns:
        return MIXED
    state = tiles[field, first_row, first_column]
    for i in range(first_row, last_row + 1):
        for j in range(first_column, last_column + 1):
            if tiles[field, i, j] != state:
                return MIXED
    return state


@plain
def put_linear(flat, tiles, field, w, cells, x, y, shape, width, out, at):
    """Sample a block of a field linearly and write it; missing cells are treated only where a tile has some."""
    rows, columns = shape
    left, right, top, bottom = bounds_of(w, x, y, width)
    state = tiles_state(tiles, field, left, right + 1, top, bottom + 1)
    plane = np.uintp(field * rows * columns)
    if state == UNKNOWN:
        for i in range(ZERO, width):
            out[at + i] = pt.NAN
        return
    locate(w, cells, pt.ZERO, x, y, rows, columns, width)
    if state == KNOWN and left >= 0 and top >= 0 and right <= columns - 2 and bottom <= rows - 2:
        gather(flat, plane, ONE, np.uintp(columns), w, cells, width, A)
        for i in range(ZERO, width):
            out[at + i] = w[A + i]
        return
    gather_known(flat, plane, step(columns, 1), step(rows, columns), w, cells, width)
    put_known(w, x, y, rows, columns, width, out, at)


@plain
def put_known(w, x, y, rows, columns, width, out, at):
    """Write the samples A that lie inside the grid and whose missing weight B is small, else NaN."""
    left, right = np.float32(-x), np.float32(columns - 1 - x)
    top, bottom = np.float32(-y), np.float32(rows - 1 - y)
    for i in range(ZERO, width):
        px = w[DX + i] + np.float32(np.int32(i))
        py = w[DY + i]
        lost = (px < left) | (px > right) | (py < top) | (py > bottom) | (w[B + i] > pt.MISSING_WEIGHT)
        out[at + i] = pt.NAN if lost else w[A + i]


@plain
def step(size, stride):
    """Return the offset of the next cell along an axis; 0 if the axis has a single cell."""
    return np.uintp(stride) if size > 1 else ZERO


@plain
def put_points(fields, coefficients, field, order, w, x, y, width, out, at):
    """Sample a block of a field point by point: the nearest cell, or cubic."""
    for i in range(ZERO, width):
        px = w[DX + i] + np.float32(x + np.int64(i))
        py = w[DY + i] + np.float32(y)
        if order == NEAREST:
            out[at + i] = pt.sample_nearest(fields, field, px, py)
        else:
            out[at + i] = pt.sample_cubic(fields, coefficients, field, px, py)


# --- rows -----------------------------------------------------------------------------------------------------


# Two kernels, because one that holds all samplers takes twice as long to compile.


@plain
def advect_rows(field_flat, tiles, flow, flow_flat, durations, lead_of_step, leads, paired, target, first, last):
    """Advect rows first..last of all fields to all lead times, interpolating linearly.

    If `paired`, each lead time has a field of its own, and fields are (set, lead, y, x).

    field_flat, flow_flat, target: flattened (field, y, x), (2, y, x) and (field, lead, y, x). tiles: output of
    `summarise_tiles`. flow: cells per unit of `durations`, (step,). lead_of_step: index of the lead time, out of
    `leads`, at which a step ends, -1 if at none, (step,).
    """
    rows, columns = flow.shape[1], flow.shape[2]
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
                for field in range(tiles.shape[0] // leads if paired else tiles.shape[0]):
                    place = field * leads + lead
                    at = np.uintp((place * rows + y) * columns + x)
                    source = place if paired else field
                    put_linear(field_flat, tiles, source, w, cells, x, y, (rows, columns), width, target, at)


@plain
def advect_rows_by_points(
    fields, coefficients, flow, flow_flat, durations, lead_of_step, order, leads, target, first, last
):
    """Advect rows as `advect_rows` does, but sample point by point: the nearest cell, or cubic.

    fields, coefficients: (field, y, x).
    """
    rows, columns = flow.shape[1], flow.shape[2]
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
                for field in range(fields.shape[0]):
                    at = np.uintp(((field * leads + lead) * rows + y) * columns + x)
                    put_points(fields, coefficients, field, order, w, x, y, width, target, at)


@plain
def summarise_tiles(fields, tiles, first, last):
    """Write the states of rows first..last of tiles."""
    for field in range(tiles.shape[0]):
        for i in range(first, last):
            bottom = min((i + 1) * TILE_ROWS, fields.shape[1])
            for j in range(tiles.shape[2]):
                end = min((j + 1) * TILE_COLUMNS, fields.shape[2])
                unknown = np.int32(0)
                for y in range(i * TILE_ROWS, bottom):
                    for x in range(j * TILE_COLUMNS, end):
                        unknown += np.int32(np.isnan(fields[field, y, x]))
                size = (bottom - i * TILE_ROWS) * (end - j * TILE_COLUMNS)
                tiles[field, i, j] = KNOWN if unknown == 0 else (UNKNOWN if unknown == size else MIXED)


# --- whole fields ---------------------------------------------------------------------------------------------


def check_arrays(
    fields: tuple[int, ...], flow: tuple[int, ...], leads: NDArray[np.float32], coefficients: tuple[int, ...]
) -> None:
    """Raise `ValueError` unless the shapes of fields, flow and coefficients, and the lead times, are consistent."""
    count, rows, columns = fields
    if tuple(flow) != (2, rows, columns):
        raise ValueError(f"flow has shape {flow}, not {(2, rows, columns)}")
    if tuple(coefficients) != (count, rows, columns):
        raise ValueError(f"coefficients have shape {coefficients}, not {fields}")
    if leads.size == 0 or not (np.diff(leads, prepend=np.float32(0)) > 0).all():
        raise ValueError(f"leads are {leads}; they are above zero and increase")


def check_out(out: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless a result of this shape can be written to `out`."""
    if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(f"out is {out.dtype} of shape {out.shape}, not contiguous float32 of shape {shape}")


def advect(
    fields: NDArray[np.float32],
    flow: NDArray[np.float32],
    leads: NDArray[np.float32],
    order: int = LINEAR,
    *,
    coefficients: NDArray[np.float32] | None = None,
    paired: bool = False,
    longest_step: float = np.inf,
    out: NDArray[np.float32] | None = None,
    workspace: Workspace | None = None,
) -> NDArray[np.float32]:
    """Advect fields along a steady flow by backward trajectories; each field is sampled once per lead time.

    Trajectories follow the midpoint rule as in pysteps (Germann and Zawadzki 2002,
    10.1175/1520-0493(2002)130<2859:SDOTPO>2.0.CO;2), except that the first guess of a midpoint is extrapolated along
    the track instead of sampled again.

    Parameters
    ----------
    fields
        C-contiguous float32, shape ``(field, y, x)``, NaN where missing.
    flow
        Cells per unit of `leads`, C-contiguous float32, shape ``(2, y, x)``, x first, finite.
    leads
        Lead times, above zero and increasing, shape ``(lead,)``.
    order
        Order of the interpolation: 0 nearest, 1 linear, 3 cubic.
    coefficients
        B-spline coefficients of the fields for order 3, missing cells filled, shape ``(field, y, x)``.
    paired
        Whether each lead time has a field of its own, for fields that change on their way: `fields` are sets of one
        field per lead time, shape ``(set * lead, y, x)``, and use the same trajectories. Linear interpolation only.
    longest_step
        Longest step of the trajectories, in the unit of `leads`; a longer interval between two lead times is divided
        into equal steps.
    out
        Array to write to, C-contiguous float32; allocated if not given.
    workspace
        Scratch arrays to reuse; by default those of the calling thread.

    Returns
    -------
    ndarray
        Shape ``(field, lead, y, x)``, or ``(set, lead, y, x)`` if `paired`; NaN where air comes from outside the grid
        or from missing cells.

    Raises
    ------
    ValueError
        If shapes, `leads` or `out` are not consistent; the loops themselves check no bounds.
    """
    work = workspace or workspace_of_this_thread()
    count, rows, columns = fields.shape
    if order == CUBIC and coefficients is None:
        raise ValueError("cubic advection needs coefficients: the B-spline coefficients of the fields")
    splines = fields if coefficients is None else coefficients
    check_arrays(fields.shape, flow.shape, leads, splines.shape)
    if paired and (order != LINEAR or count % leads.size):
        raise ValueError(
            f"{count} fields and {leads.size} leads, order {order}; paired are sets of a field a lead, linear"
        )
    sets = count // leads.size if paired else count
    shape = (sets, leads.size, rows, columns)
    target = np.empty(shape, dtype=np.float32) if out is None else out
    check_out(target, shape)
    durations, ends = steps_to(leads, longest_step)
    flow_flat, target_flat = flow.reshape(-1), target.reshape(-1)  # views: both are contiguous
    if order == LINEAR:
        tiles = tiles_of(fields, work)

        def band(first: int, last: int) -> None:
            advect_rows(
                fields.reshape(-1),
                tiles,
                flow,
                flow_flat,
                durations,
                ends,
                leads.size,
                paired,
                target_flat,
                first,
                last,
            )
    else:

        def band(first: int, last: int) -> None:
            advect_rows_by_points(
                fields, splines, flow, flow_flat, durations, ends, order, leads.size, target_flat, first, last
            )

    over_bands(band, rows, columns * durations.size * (1 + sets))
    return target


def tiles_of(fields: NDArray[np.float32], work: Workspace) -> NDArray[np.uint8]:
    """Return the states of the tiles of the fields: known, unknown or mixed."""
    count, rows, columns = fields.shape
    tiles: NDArray[np.uint8] = work.array(
        "tiles", (count, -(-rows // TILE_ROWS), -(-columns // TILE_COLUMNS)), np.uint8
    )
    over_bands(
        lambda first, last: summarise_tiles(fields, tiles, first, last), tiles.shape[1], TILE_ROWS * columns * count
    )
    return tiles


def steps_to(leads: NDArray[np.float32], longest: float) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the duration of each step of the trajectories, and the index of the lead it ends at (-1 if at none)."""
    gaps = np.diff(leads, prepend=np.float32(0))
    counts = np.maximum(np.ceil(gaps / longest - 1e-6), 1).astype(np.int64)
    ends = np.full(counts.sum(), -1, dtype=np.int32)
    ends[np.cumsum(counts) - 1] = np.arange(leads.size)
    return np.repeat(gaps / counts, counts).astype(np.float32), ends
