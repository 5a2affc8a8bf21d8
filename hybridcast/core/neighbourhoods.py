"""Neighbourhoods on a grid: means over the known cells of a window, correlations within it, and decibels.

Windows hold on to the edge: what lies beyond it is like the edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Cell = tuple[float, float]
"""Size of a cell, km, ``(y, x)``."""

#: Rates below this (mm/h) count as dry, as in the optical flow.
LOWEST_RATE = np.float32(0.1)


def decibels(rate: Array) -> Array:
    """Decibels above 0.1 mm/h, 0 below it; NaN stays.

    Examples
    --------
    >>> decibels(np.array([0, 1, 10], np.float32)).round(3).tolist()
    [0.0, 10.0, 20.0]
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(np.float32(10) * np.log10(np.maximum(rate, LOWEST_RATE) / LOWEST_RATE), np.float32)


def window_size(width: float, cell: Cell) -> tuple[int, int]:
    """Give the odd window sizes, in cells, of a half width in km."""
    return 2 * round(width / cell[0]) + 1, 2 * round(width / cell[1]) + 1


def window_mean(values: Array, width: float, cell: Cell) -> Array:
    """Mean over a window of the half width `width` (km), the edge repeated beyond itself."""
    result: Array = ndimage.uniform_filter(values, window_size(width, cell), mode="nearest")
    return result


def known_mean(values: Array, share: Array, width: float, cell: Cell) -> Array:
    """Mean over the known cells of a window, from values that are 0 where unknown; 0 where no cell is known."""
    return np.asarray(window_mean(values, width, cell) / np.maximum(share, np.float32(1e-3)))


def local_correlation(a: Array, b: Array, ones: Array, width: float, cell: Cell) -> Array:
    """Correlation within a window; NaN where one of both hardly varies.

    `ones` is 1 where both are known, else 0; there `a` and `b` are 0 too.
    """
    share = window_mean(ones, width, cell)
    ma, mb = (known_mean(v, share, width, cell) for v in (a, b))
    va = known_mean(a * a, share, width, cell) - ma * ma
    vb = known_mean(b * b, share, width, cell) - mb * mb
    both = known_mean(a * b, share, width, cell) - ma * mb
    least = np.float32(0.05)
    result = both / np.sqrt(np.maximum(va, least) * np.maximum(vb, least))
    return np.where((va < least) | (vb < least) | (share < 1e-2), np.float32(np.nan), np.clip(result, -1, 1))
