"""Counts of cells in blocks of a field, on CPU threads."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels.parallel import over_bands

Array = NDArray[np.float32]

plain = njit(nogil=True, cache=True, error_model="numpy")


@plain
def count_rows(planes, size, low, high, out, first, last):
    """Count the cells of the blocks of rows first..last; rows of blocks are counted through all planes."""
    rows, columns = out.shape[1], out.shape[2]
    for line in range(first, last):
        plane, i = line // rows, line % rows
        for j in range(columns):
            known, lower, higher = np.int32(0), np.int32(0), np.int32(0)
            for y in range(i * size, min((i + 1) * size, planes.shape[1])):
                for x in range(j * size, min((j + 1) * size, planes.shape[2])):
                    value = planes[plane, y, x]
                    known += np.int32(value == value)  # a comparison with NaN is false
                    lower += np.int32(value >= low)
                    higher += np.int32(value >= high)
            out[plane, i, j, 0] = known
            out[plane, i, j, 1] = lower
            out[plane, i, j, 2] = higher


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
