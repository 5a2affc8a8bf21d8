"""Rain of the members of an ensemble from noise and the exceedance curve of every cell, on CPU threads.

The curve of a cell is its exceedance probability p_k at a few thresholds t_k. With standard Gaussian noise z, the rain
of a member reaches t_k where z is at or above the cutoff z_k, which the noise reaches with the probability p_k. In
between, the logarithm of the rain is linear in z. Below z_0 it is dry. The excess of the rain above the highest
threshold is exponentially distributed (a generalised Pareto distribution with the shape zero, Coles 2001, chapter 4).
So each member is a sample of the curve, and members are as correlated as their noise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels import points as pt
from hybridcast_kernels.lattice_noise_cpu import LatticeWindow
from hybridcast_kernels.parallel import over_bands

Array = NDArray[np.float32]

#: Columns that are processed together, a block, and blocks whose curves stay in the cache for all members.
BLOCK, GROUP = 64, 16
#: Probabilities are held between this and one minus it.
LEAST = np.float32(1e-6)

plain = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"}, no_cfunc_wrapper=True)
inlined = njit(
    nogil=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"}, no_cfunc_wrapper=True, forceinline=True
)
ZERO = np.uintp(0)
#: Noise that no member reaches: the largest cutoff is 4.75.
LARGEST = np.float32(4.7)
# Parts of the scratch array, each BLOCK long: where air comes from (in cells), factor of the noise, noise, logarithm of
# rain, power of two; places between nodes (in nodes), the fractions beyond the node before, and where noise comes from
# (in cells); then the cutoffs of all thresholds and the slopes above them.
FROM_Y, FROM_X, SCALE, NOISE, LEVEL, POWER, AT_Y, AT_X, PART_Y, PART_X, NOISE_Y, NOISE_X, CUTOFF = (
    np.uintp(k * BLOCK) for k in range(13)
)
SCRATCH = 12 * BLOCK
# Parts of the scratch array of integers: the cell of the noise, and of the four nodes around a place the number of the
# first, and the steps to those to the right and below.
LATTICE, NODE, RIGHT, BELOW = (np.uintp(k * BLOCK) for k in range(4))
NUMBERS = 4 * BLOCK


# --- points ---------------------------------------------------------------------------------------------------


@inlined
def cutoff_of(probability):
    """Return the value that standard Gaussian noise reaches with a probability, within 0.0005.

    Abramowitz and Stegun (1964), Handbook of Mathematical Functions, formula 26.2.23.
    """
    p = min(max(probability, LEAST), pt.ONE - LEAST)
    tail = min(p, pt.ONE - p)
    t = np.float32(math.sqrt(np.float32(-1.3862943611) * pt.log2(tail)))
    over = np.float32(2.515517) + t * (np.float32(0.802853) + t * np.float32(0.010328))
    under = pt.ONE + t * (np.float32(1.432788) + t * (np.float32(0.189269) + t * np.float32(0.001308)))
    z = t - over / under
    return z if p < pt.HALF else -z


@inlined
def exponent_of(z):
    """Return minus the natural logarithm of the probability that standard Gaussian noise reaches z, within 0.004.

    A polynomial fitted between -2 and 6; below -2, the value there.
    """
    z = max(z, np.float32(-2.0))
    found = np.float32(1.9958911e-4) * z + np.float32(-3.9808988e-3)
    found = found * z + np.float32(3.4285292e-2)
    found = found * z + np.float32(3.1792974e-1)
    found = found * z + np.float32(8.0036794e-1)
    return found * z + np.float32(6.9309194e-1)


@inlined
def fraction_exp2(f):
    """Return 2 to the power of f, for f from 0 to 1, within a relative 1e-4."""
    found = np.float32(1.3333558e-3) * f + np.float32(9.6181291e-3)
    found = found * f + np.float32(5.5504109e-2)
    found = found * f + np.float32(2.4022651e-1)
    found = found * f + np.float32(6.9314718e-1)
    return found * f + pt.ONE


# --- one block ------------------------------------------------------------------------------------------------


@plain
def find_nodes(rows, columns, width, w, numbers):
    """Find the four nodes around the places of a block, held within the plane, and the fractions between them."""
    for i in range(ZERO, width):
        x = min(max(w[AT_X + i], pt.ZERO), np.float32(columns - 1))
        y = min(max(w[AT_Y + i], pt.ZERO), np.float32(rows - 1))
        column, row = np.int32(x), np.int32(y)
        numbers[NODE + i] = np.uint32(row * np.int32(columns) + column)
        numbers[RIGHT + i] = np.uint32(1) if column + np.int32(1) < np.int32(columns) else np.uint32(0)
        numbers[BELOW + i] = np.uint32(columns) if row + np.int32(1) < np.int32(rows) else np.uint32(0)
        w[PART_X + i], w[PART_Y + i] = x - np.float32(column), y - np.float32(row)


@plain
def interpolate_nodes(flat, plane, width, w, numbers, into):
    """Interpolate the plane that begins at `plane` of flat planes between the nodes found, into a part of scratch."""
    first = np.uintp(plane)
    for i in range(ZERO, width):
        a = first + np.uintp(numbers[NODE + i])
        below, right = a + np.uintp(numbers[BELOW + i]), np.uintp(numbers[RIGHT + i])
        upper = flat[a] + w[PART_X + i] * (flat[a + right] - flat[a])
        lower = flat[below] + w[PART_X + i] * (flat[below + right] - flat[below])
        w[into + i] = upper + w[PART_Y + i] * (lower - upper)


@plain
def locate_block(places, nodes, window, scale, y, x, width, w, numbers):
    """Find the cells that the air of a block of cells comes from, and those of the noise as index in its window.

    places: planes on nodes, flat: row and column that air comes from, then those that noise comes from. nodes: rows and
    columns, nodes per cell and the cell of the first node.
    """
    rows, columns, per_cell, offset = nodes
    first_row, first_column, noise_rows, noise_columns = window
    size = rows * columns
    py = (np.float32(y) - offset) * per_cell
    for i in range(ZERO, width):
        w[AT_Y + i] = py
        w[AT_X + i] = (np.float32(x + np.int64(i)) - offset) * per_cell
    find_nodes(rows, columns, width, w, numbers)
    interpolate_nodes(places, 0, width, w, numbers, FROM_Y)
    interpolate_nodes(places, size, width, w, numbers, FROM_X)
    interpolate_nodes(places, 2 * size, width, w, numbers, NOISE_Y)
    interpolate_nodes(places, 3 * size, width, w, numbers, NOISE_X)
    # beyond the outer nodes the displacement of the outer node holds
    beyond_y = (py - min(max(py, pt.ZERO), np.float32(rows - 1))) / per_cell
    for i in range(ZERO, width):
        px = w[AT_X + i]
        beyond_x = (px - min(max(px, pt.ZERO), np.float32(columns - 1))) / per_cell
        w[FROM_Y + i] += beyond_y
        w[FROM_X + i] += beyond_x
        row = np.int32(np.floor((w[NOISE_Y + i] + beyond_y) + pt.HALF)) - np.int32(first_row)
        column = np.int32(np.floor((w[NOISE_X + i] + beyond_x) + pt.HALF)) - np.int32(first_column)
        row = min(max(row, np.int32(0)), np.int32(noise_rows - 1))
        column = min(max(column, np.int32(0)), np.int32(noise_columns - 1))
        numbers[LATTICE + i] = np.uint32(row * np.int32(noise_columns) + column)
    for i in range(ZERO, width):
        w[SCALE + i] = scale[np.uintp(numbers[LATTICE + i])]


@plain
def curves_of_block(air, inflow, nodes, count, advected, known, y, x, width, w, numbers):
    """Write the cutoffs of a block; NaN where `known` is NaN or the air is unknown.

    air: probabilities of the air of the latest frame, (count, node row, node column), flat. inflow: those of other air,
    at its place; empty if there is none. nodes: as for `locate_block`.
    """
    rows, columns, per_cell, offset = nodes
    size = rows * columns
    py = (np.float32(y) - offset) * per_cell
    for i in range(ZERO, width):
        column = x + np.int64(i)
        seen = advected[y, column] == advected[y, column]
        w[AT_Y + i] = (w[FROM_Y + i] - offset) * per_cell if seen else py
        w[AT_X + i] = (w[FROM_X + i] - offset) * per_cell if seen else (np.float32(column) - offset) * per_cell
    find_nodes(rows, columns, width, w, numbers)
    for k in range(count):
        cutoff = CUTOFF + np.uintp(k * BLOCK)
        interpolate_nodes(air, k * size, width, w, numbers, cutoff)
        if inflow.size > 0:
            interpolate_nodes(inflow, k * size, width, w, numbers, NOISE)
        for i in range(ZERO, width):
            column = x + np.int64(i)
            other = w[NOISE + i] if inflow.size > 0 else pt.NAN
            p = w[cutoff + i] if advected[y, column] == advected[y, column] else other
            z = cutoff_of(p)
            seen = known[y, column]
            w[cutoff + i] = z if p == p and seen == seen else pt.NAN


@plain
def slopes_of_block(logs, count, width, w):
    """Make cutoffs increase, and write behind them the slopes of the logarithm of rain above each, but the last.

    In place of the last slope comes the exponent of the last cutoff.
    """
    for k in range(1, count):
        above = CUTOFF + np.uintp(k * BLOCK)
        below = CUTOFF + np.uintp((k - 1) * BLOCK)
        slope = CUTOFF + np.uintp((count + k - 1) * BLOCK)
        for i in range(ZERO, width):
            high = max(w[above + i], w[below + i] + np.float32(1e-3))
            w[above + i] = high
            w[slope + i] = (logs[k] - logs[k - 1]) / (high - w[below + i])
    last, exponent = CUTOFF + np.uintp((count - 1) * BLOCK), CUTOFF + np.uintp((2 * count - 1) * BLOCK)
    for i in range(ZERO, width):
        w[exponent + i] = exponent_of(w[last + i])


@plain
def put_dry(w, width, out, at):
    """Write a block without rain."""
    for i in range(ZERO, width):
        out[at + i] = pt.ZERO if w[CUTOFF + i] == w[CUTOFF + i] else pt.NAN


@plain
def rain_of_block(noise, start, numbers, lowest, count, excess, highest, width, w, bits, out, at):
    """Write the rain of one member for a block: see the text of the module. `bits` is `w` as integers."""
    wet = np.int32(0)
    for i in range(ZERO, width):
        z = noise[start + np.uintp(numbers[LATTICE + i])] * w[SCALE + i]
        w[NOISE + i] = z
        w[LEVEL + i] = lowest
        wet |= np.int32(z >= w[CUTOFF + i])
    if wet == 0:
        put_dry(w, width, out, at)
        return
    for k in range(count - 1):
        below, above = CUTOFF + np.uintp(k * BLOCK), CUTOFF + np.uintp((k + 1) * BLOCK)
        slope = CUTOFF + np.uintp((count + k) * BLOCK)
        for i in range(ZERO, width):
            part = min(w[NOISE + i], w[above + i]) - w[below + i]
            w[LEVEL + i] += w[slope + i] * max(part, pt.ZERO)
    for i in range(ZERO, width):
        whole = np.float32(np.floor(w[LEVEL + i]))
        w[LEVEL + i] = fraction_exp2(w[LEVEL + i] - whole)
        bits[POWER + i] = np.int32(np.int32(whole) + np.int32(127)) << np.int32(23)
    exponent = CUTOFF + np.uintp((2 * count - 1) * BLOCK)
    for i in range(ZERO, width):
        above = pt.clamp(exponent_of(w[NOISE + i]) - w[exponent + i], pt.ZERO, highest)
        rain = min(w[LEVEL + i] * w[POWER + i] + excess * above, highest)
        cutoff = w[CUTOFF + i]
        rain = rain if w[NOISE + i] >= cutoff else pt.ZERO
        out[at + i] = rain if cutoff == cutoff else pt.NAN


@plain
def state_of_block(w, width):
    """Return whether a block is unknown or dry for every member (0), or not (1)."""
    wet = False
    for i in range(ZERO, width):
        wet |= w[CUTOFF + i] < LARGEST
    return np.int64(wet)


@plain
def rain_rows(
    air, inflow, nodes, places, place_nodes, advected, known, noise, window, scale, members, logs, excess, highest, out,
    first, last,
):  # fmt: skip
    """Write the rain of all members for rows first..last: see `draw`. All arrays but fields of the grid are flat."""
    rows, columns = advected.shape
    count = logs.size
    scratch = np.empty((GROUP, SCRATCH + 2 * count * BLOCK), np.float32)
    bits = scratch.view(np.int32)
    numbers = np.empty((GROUP, NUMBERS), np.uint32)
    wet = np.empty(GROUP, np.int64)
    size = window[2] * window[3]
    for y in range(first, last):
        for start in range(0, columns, GROUP * BLOCK):
            blocks = min(GROUP, (columns - start + BLOCK - 1) // BLOCK)
            for block in range(blocks):
                x = start + block * BLOCK
                width, w = np.uintp(min(BLOCK, columns - x)), scratch[block]
                locate_block(places, place_nodes, window, scale, y, x, width, w, numbers[block])
                curves_of_block(air, inflow, nodes, count, advected, known, y, x, width, w, numbers[block])
                wet[block] = state_of_block(w, width)
                if wet[block]:
                    slopes_of_block(logs, count, width, w)
            for member in range(members):
                for block in range(blocks):
                    x = start + block * BLOCK
                    width, w = np.uintp(min(BLOCK, columns - x)), scratch[block]
                    at = np.uintp((member * rows + y) * columns + x)
                    if wet[block]:
                        begin = np.uintp(member * size)
                        rain_of_block(
                            noise,
                            begin,
                            numbers[block],
                            logs[0],
                            count,
                            excess,
                            highest,
                            width,
                            w,
                            bits[block],
                            out,
                            at,
                        )
                    else:
                        put_dry(w, width, out, at)


# --- whole fields ---------------------------------------------------------------------------------------------


class Nodes(NamedTuple):
    """Places of coarse planes on the grid, the same along both axes."""

    factor: int
    """Number of cells from one node to the next."""
    offset: float
    """Position of the first node in cells, counted from 0."""


class CurvePlanes(NamedTuple):
    """Exceedance probabilities at one lead time, and where the air comes from."""

    air: Array
    """Probabilities of the air of the latest frame, at its place in that frame, shape ``(threshold, y, x)``."""
    inflow: Array | None
    """Probabilities of other air at its place at the lead time, NaN where unknown; None without any."""
    nodes: Nodes
    """Places of the probabilities."""
    departures: Array
    """Row and column of the cells that air comes from, shape ``(2, y, x)``."""
    noise_origins: Array
    """Row and column of the place of the lattice that noise comes from, shape ``(2, y, x)``."""
    departure_nodes: Nodes
    """Places of the departures and of the origins of noise."""


class RainCurve(NamedTuple):
    """What turns cutoffs into rain."""

    thresholds: Array
    """mm h-1, increasing, shape ``(threshold,)``."""
    excess: float
    """Mean excess of rain above the highest threshold, mm h-1."""
    highest: float
    """Highest rain of a member, mm h-1."""


def draw(
    planes: CurvePlanes,
    curve: RainCurve,
    advected: Array,
    known: Array,
    noise: Array,
    window: LatticeWindow,
    scale: Array,
    out: Array,
) -> Array:
    """Return the rain of all members at one lead time, mm h-1.

    Parameters
    ----------
    planes
        Probabilities and departures on nodes.
    curve
        Thresholds of the probabilities, and the tail above them.
    advected
        Field that is NaN where the air does not come from the latest frame, shape ``(y, x)``.
    known
        Field that is NaN where the result is to be NaN, shape ``(y, x)``.
    noise
        Noise of the members on a window of the lattice, whose cells are those of the latest frame, ``(member, row,
        column)``. Air from outside the window has the noise at its edge.
    window
        The window.
    scale
        Factor that gives the noise unit variance, ``(row, column)``.
    out
        Array to write to, C-contiguous float32, shape ``(member, y, x)``.

    Raises
    ------
    ValueError
        If shapes are not consistent.
    """
    rows, columns = advected.shape
    members = len(noise)
    fits = out.shape == (members, rows, columns) and known.shape == advected.shape and out.flags.c_contiguous
    if not fits or noise.shape[1:] != scale.shape:
        raise ValueError(f"out {out.shape}, noise {noise.shape}, scale {scale.shape}, grid {advected.shape} do not fit")
    inflow = np.empty(0, np.float32) if planes.inflow is None else planes.inflow.reshape(-1)
    logs = np.log2(curve.thresholds).astype(np.float32)
    excess, highest = np.float32(curve.excess), np.float32(curve.highest)
    both = np.concatenate([planes.departures, planes.noise_origins])
    flat = [array.reshape(-1) for array in (planes.air, inflow, both, noise, scale, out)]
    air, inflow, places, flat_noise, flat_scale, target = flat
    nodes, place_nodes = _described(planes.air, planes.nodes), _described(planes.departures, planes.departure_nodes)

    def band(first: int, last: int) -> None:
        rain_rows(
            air, inflow, nodes, places, place_nodes, advected, known, flat_noise, tuple(window), flat_scale,
            members, logs, excess, highest, target, first, last,
        )  # fmt: skip

    over_bands(band, rows, columns * (members + 8))
    return out


def _described(planes: Array, nodes: Nodes) -> tuple[int, int, np.float32, np.float32]:
    """Return rows and columns of planes, nodes per cell, and the cell of the first node."""
    rows, columns = planes.shape[1:]
    return rows, columns, np.float32(1 / nodes.factor), np.float32(nodes.offset)
