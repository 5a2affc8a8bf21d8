"""Operations on the grid of a field: coarse cells, means and correlations over neighbourhoods, and decibels.

A coarse cell is the area mean over a whole block of cells. Beyond the edge of the grid, windows of neighbourhoods
repeat the values at the edge.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import ndimage

from hybridcast.core.field import metres_per_cell
from hybridcast.core.types import Array, Cell
from hybridcast_kernels.resample_cpu import block_means

#: Rates below this (mm/h) are dry, as in the optical flow.
LOWEST_RATE = np.float32(0.1)
#: Smallest fraction of known fine cells with which a coarse cell is known.
MIN_KNOWN_FRACTION = 0.5


def cell_size(field: xr.DataArray | xr.Dataset) -> float:
    """Return the side of a square with the mean area of the cells, m."""
    dy, dx = metres_per_cell(field)
    return float(np.sqrt(np.abs(dy * dx).mean(dtype=np.float64)))


def cell_kilometres(field: xr.DataArray | xr.Dataset) -> Cell:
    """Return the mean size of a cell, km, ``(y, x)``."""
    return mean_kilometres(metres_per_cell(field))


def mean_kilometres(metres: tuple[Array, Array]) -> Cell:
    """Return the mean size of a cell, km, ``(y, x)``, from the steps of `metres_per_cell`."""
    height, width = (float(np.abs(step).mean(dtype=np.float64)) / 1e3 for step in metres)
    return height, width


def block_size(field: xr.DataArray | xr.Dataset, spacing: float) -> int:
    """Return the number of cells along each axis of the coarse cell closest in size to `spacing` (m), 1 at least."""
    return max(1, round(spacing / cell_size(field)))


def coarsen(field: xr.DataArray, spacing: float) -> xr.DataArray:
    """Average a field over blocks of cells.

    Rows and columns beyond the last whole block are dropped. A block is unknown if fewer than half of its cells are
    known.

    Parameters
    ----------
    field
        Precipitation field, dims ``(..., y, x)``.
    spacing
        Size of a coarse cell, m; the blocks are those closest to it in size. A field that is as coarse already is
        returned unchanged.

    Examples
    --------
    >>> from hybridcast import precipitation
    >>> field = precipitation(np.arange(16.0).reshape(4, 4), time=[np.datetime64("2020-01-01")],
    ...                       y=np.arange(4) * 1e3, x=np.arange(4) * 1e3, crs=None)
    >>> np.allclose(coarsen(field, 2000.0).values, [[2.5, 4.5], [10.5, 12.5]])
    True
    """
    size = block_size(field, spacing)
    if size == 1:
        return field.compute() if field.chunks else field
    rows, columns = (max(1, field.sizes[axis] // size) for axis in ("y", "x"))
    high, wide = min(size, field.sizes["y"]), min(size, field.sizes["x"])
    cut = field.isel(y=slice(0, rows * high), x=slice(0, columns * wide))
    parts = [cut[k] for k in range(len(cut))] if cut.chunks and cut.ndim > 2 else [cut]  # lazy frames one by one
    fine = (np.ascontiguousarray(part.values, np.float32).reshape(-1, *cut.shape[-2:]) for part in parts)
    means = np.concatenate([block_means(of_part, rows, columns, MIN_KNOWN_FRACTION) for of_part in fine])
    mean = means.reshape(*field.shape[:-2], rows, columns)
    axes = {axis: cut[axis].coarsen({axis: n}).mean() for axis, n in (("y", high), ("x", wide))}
    coarse = cut[..., ::high, ::wide].copy(data=mean)
    return coarse.assign_coords({axis: (axis, values.values, field[axis].attrs) for axis, values in axes.items()})


# --- neighbourhoods ---------------------------------------------------------------------------------------------


def decibels(rate: Array) -> Array:
    """Return rain rates in decibels above 0.1 mm/h, 0 for lower rates; NaN stays NaN.

    Examples
    --------
    >>> np.allclose(decibels(np.array([0, 1, 10], np.float32)), [0, 10, 20], atol=5e-4)
    True
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(np.float32(10) * np.log10(np.maximum(rate, LOWEST_RATE) / LOWEST_RATE), np.float32)


def window_size(width: float, cell: Cell) -> tuple[int, int]:
    """Return the odd numbers of cells, ``(y, x)``, of a window with the half width `width` (km)."""
    return 2 * round(width / cell[0]) + 1, 2 * round(width / cell[1]) + 1


def window_mean(values: Array, width: float, cell: Cell) -> Array:
    """Return the mean over the window with the half width `width` (km) around each cell."""
    result: Array = ndimage.uniform_filter(values, window_size(width, cell), mode="nearest")
    return result


def known_mean(values: Array, fraction: Array, width: float, cell: Cell) -> Array:
    """Return the mean over the known cells of the window around each cell; 0 if no cell is known.

    `values` are 0 where unknown, and `fraction` is the fraction of known cells in each window.
    """
    return np.asarray(window_mean(values, width, cell) / np.maximum(fraction, np.float32(1e-3)))


def local_correlation(a: Array, b: Array, ones: Array, width: float, cell: Cell) -> Array:
    """Return the correlation of two fields within the window around each cell; NaN if either field hardly varies.

    `ones` is 1 where both fields are known and 0 elsewhere, where `a` and `b` are 0 as well.
    """
    fraction = window_mean(ones, width, cell)
    ma, mb = (known_mean(v, fraction, width, cell) for v in (a, b))
    va = known_mean(a * a, fraction, width, cell) - ma * ma
    vb = known_mean(b * b, fraction, width, cell) - mb * mb
    both = known_mean(a * b, fraction, width, cell) - ma * mb
    least = np.float32(0.05)
    result = both / np.sqrt(np.maximum(va, least) * np.maximum(vb, least))
    return np.where((va < least) | (vb < least) | (fraction < 1e-2), np.float32(np.nan), np.clip(result, -1, 1))
