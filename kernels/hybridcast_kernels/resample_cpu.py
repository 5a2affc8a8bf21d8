"""Changes of resolution on CPU threads: interpolation to a finer grid, means of and counts in blocks of cells."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels.parallel import over_bands

Array = NDArray[np.float32]

plain = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})


@plain
def enlarge_rows(planes, left, right, across, top, bottom, down, out, first, last):
    """Interpolate rows first..last of all planes."""
    columns = out.shape[2]
    line = np.empty(planes.shape[2], np.float32)
    for plane in range(planes.shape[0]):
        for y in range(first, last):
            i, k, fraction = top[y], bottom[y], down[y]
            for j in range(line.size):
                line[j] = planes[plane, i, j] + fraction * (planes[plane, k, j] - planes[plane, i, j])
            for x in range(columns):
                a = line[left[x]]
                out[plane, y, x] = a + across[x] * (line[right[x]] - a)


def enlarge(planes: Array, factor: int, offset: float, out: Array) -> Array:
    """Interpolate planes onto a grid `factor` times as fine.

    Parameters
    ----------
    planes
        Planes on the coarse grid, shape ``(plane, y, x)``.
    factor
        Number of fine cells per coarse cell along an axis.
    offset
        Position of the first coarse cell in fine cells, counted from 0.
    out
        Array that is written to and returned, float32, shape ``(plane, fine y, fine x)``. Beyond the first and the last
        coarse cell the value at the edge holds.
    """
    top, bottom, down = _neighbours(planes.shape[1], out.shape[1], factor, offset)
    left, right, across = _neighbours(planes.shape[2], out.shape[2], factor, offset)
    over_bands(
        lambda a, b: enlarge_rows(planes, left, right, across, top, bottom, down, out, a, b),
        out.shape[1],
        out.shape[2] * len(planes),
    )
    return out


def _neighbours(
    coarse: int, fine: int, factor: int, offset: float
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], Array]:
    """Return for each fine cell the coarse cells before and after it, and its distance from the first of them."""
    position = np.clip((np.arange(fine) - offset) / factor, 0, coarse - 1)
    before = np.minimum(position.astype(np.uint32), coarse - 1).astype(np.uint32)
    after = np.minimum(before + 1, coarse - 1).astype(np.uint32)
    return before, after, (position - before).astype(np.float32)


@plain
def mean_rows(planes, least, out, first, last):
    """Average over the blocks of rows first..last of `out`; rows are counted through all planes."""
    rows, columns = out.shape[1], out.shape[2]
    high, wide = planes.shape[1] // rows, planes.shape[2] // columns
    for line in range(first, last):
        plane, i = line // rows, line % rows
        for j in range(columns):
            total, count = np.float32(0), np.int32(0)
            for y in range(i * high, (i + 1) * high):
                for x in range(j * wide, (j + 1) * wide):
                    value = planes[plane, y, x]
                    known = value == value  # a comparison with NaN is false
                    total += value if known else np.float32(0)
                    count += np.int32(known)
            out[plane, i, j] = total / np.float32(count) if count >= least else np.float32(np.nan)


def block_means(planes: Array, rows: int, columns: int, least: float) -> Array:
    """Average over equal blocks of cells, leaving out NaN.

    Parameters
    ----------
    planes
        Planes of cells, float32, shape ``(plane, y, x)``.
    rows, columns
        Number of blocks along each axis; it divides the number of cells.
    least
        Fraction of the cells of a block that has to be known, above 0; with fewer known cells the mean is NaN.

    Returns
    -------
    ndarray
        Float32, shape ``(plane, rows, columns)``.

    Raises
    ------
    ValueError
        If the number of blocks does not divide the number of cells.
    """
    if planes.shape[1] % rows or planes.shape[2] % columns:
        raise ValueError(
            f"planes of {planes.shape[1:]} cells in {rows} x {columns} blocks: these divide the cells evenly"
        )
    out = np.empty((len(planes), rows, columns), np.float32)
    cells = (planes.shape[1] // rows) * (planes.shape[2] // columns)
    needed = max(1, int(np.ceil(least * cells)))
    over_bands(lambda a, b: mean_rows(planes, needed, out, a, b), len(planes) * rows, planes.shape[2] * cells)
    return out


@plain
def count_rows(planes, size, low, high, out, first, last):
    """Count the cells of the blocks of rows first..last; rows of blocks are counted through all planes.

    Counts are gathered by column first: these loops have no branch and no sum, so that they are vectorised.
    """
    rows, columns, width = out.shape[1], out.shape[2], planes.shape[2]
    counts = np.empty((3, width), np.int32)
    for line in range(first, last):
        plane, i = line // rows, line % rows
        counts[:] = 0
        for y in range(i * size, min((i + 1) * size, planes.shape[1])):
            for x in range(width):
                value = planes[plane, y, x]
                counts[0, x] += np.int32(value == value)  # a comparison with NaN is false
                counts[1, x] += np.int32(value >= low)
                counts[2, x] += np.int32(value >= high)
        for j in range(columns):
            for kind in range(3):
                total = np.int32(0)
                for x in range(j * size, min((j + 1) * size, width)):
                    total += counts[kind, x]
                out[plane, i, j, kind] = total


def block_counts(planes: Array, size: int, low: float, high: float) -> NDArray[np.int32]:
    """Count known cells and those of two levels in square blocks; blocks at the far edges may have fewer cells.

    Parameters
    ----------
    planes
        Float32, shape ``(plane, y, x)``, NaN where missing.
    size
        Side of a block, cells.
    low, high
        The levels.

    Returns
    -------
    ndarray
        Int32, shape ``(plane, block y, block x, 3)``: known cells, cells of at least `low`, of at least `high`.
    """
    count, rows, columns = planes.shape
    out = np.empty((count, -(-rows // size), -(-columns // size), 3), np.int32)
    levels = np.float32(low), np.float32(high)
    over_bands(lambda a, b: count_rows(planes, size, *levels, out, a, b), count * out.shape[1], columns * size)
    return out


@plain
def summary_rows(flow, rate, size, every, means, peaks, first, last):
    """Summarise the blocks of rows first..last: see `block_summary`."""
    rows, columns = means.shape[1], means.shape[2]
    height, width = rate.shape
    highest = np.empty((2, width), np.float32)  # by column, so that the loop is vectorised
    for i in range(first, last):
        highest[:] = 0
        for y in range(i * size, height if i == rows - 1 else (i + 1) * size):
            for part in range(2):
                for x in range(width):
                    value = abs(flow[part, y, x])
                    highest[part, x] = value if value > highest[part, x] else highest[part, x]
        peaks[0, i], peaks[1, i] = highest[0].max(), highest[1].max()
        for j in range(columns):
            u, v, rain = np.float32(0), np.float32(0), np.float32(0)
            cells, known = np.int32(0), np.int32(0)
            for y in range(i * size, (i + 1) * size, every):
                for x in range(j * size, (j + 1) * size, every):
                    u += flow[0, y, x]
                    v += flow[1, y, x]
                    value = rate[y, x]
                    seen = value == value
                    rain += value if seen else np.float32(0)
                    cells += np.int32(1)
                    known += np.int32(seen)
            means[0, i, j], means[1, i, j] = u / np.float32(cells), v / np.float32(cells)
            means[2, i, j] = rain / np.float32(known if known > 0 else 1)


def block_summary(flow: Array, rate: Array, size: int, every: int) -> tuple[Array, Array]:
    """Return means over whole blocks and the largest components of a flow, in one pass.

    Parameters
    ----------
    flow
        Float32, shape ``(2, y, x)``, finite.
    rate
        Float32, shape ``(y, x)``, NaN where missing.
    size
        Side of a block, cells; no block is incomplete, what remains at the far edges belongs to none.
    every
        Step between the cells along each axis of which the means are taken.

    Returns
    -------
    tuple of ndarray
        Means of the two components and of the rate over the known cells (zero if there is none), shape
        ``(3, block y, block x)``, and the largest absolute value of each component over all cells, shape ``(2,)``.
    """
    rows, columns = (n // size for n in rate.shape)
    means, peaks = np.empty((3, rows, columns), np.float32), np.zeros((2, rows), np.float32)
    over_bands(lambda a, b: summary_rows(flow, rate, size, every, means, peaks, a, b), rows, 2 * rate.shape[1] * size)
    return means, peaks.max(axis=1)
