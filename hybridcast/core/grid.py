"""Operations on the grid of a field: coarser cells, means and correlations over neighbourhoods, and decibels.

Coarse cells are area means over whole blocks of cells. Windows of neighbourhoods hold on to the edge: what lies beyond
it is like the edge.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import ndimage

from hybridcast.core.field import metres_per_cell
from hybridcast.core.types import Array, Cell
from hybridcast_kernels.resample_cpu import block_means

#: Rates below this (mm/h) count as dry, as in the optical flow.
LOWEST_RATE = np.float32(0.1)
#: A coarse cell is known if at least this share of its fine cells is.
LEAST_KNOWN = 0.5


def cell_size(field: xr.DataArray | xr.Dataset) -> float:
    """Return the side of a square as large as a cell in the middle of the field, m."""
    dy, dx = metres_per_cell(field)
    return float(np.sqrt(abs(dy) * np.abs(dx).mean()))


def cell_kilometres(field: xr.DataArray | xr.Dataset) -> Cell:
    """Return the mean size of a cell, km, ``(y, x)``."""
    dy, dx = metres_per_cell(field)
    return abs(dy) / 1e3, float(np.abs(dx).mean()) / 1e3


def block_size(field: xr.DataArray | xr.Dataset, spacing: float) -> int:
    """Return how many cells along each axis make up a coarse cell closest to `spacing` (m); 1 for coarser fields."""
    return max(1, round(spacing / cell_size(field)))


def coarsen(field: xr.DataArray, spacing: float) -> xr.DataArray:
    """Average over blocks of cells whose size is closest to `spacing` (m).

    Rows and columns beyond the last whole block are left out. A block of which less than half is known is unknown.

    Parameters
    ----------
    field
        Precipitation field, dims ``(..., y, x)``.
    spacing
        Size of a coarse cell, m. A field that is coarser already is given as it is.

    Examples
    --------
    >>> from hybridcast import precipitation
    >>> field = precipitation(np.arange(16.0).reshape(4, 4), time=[np.datetime64("2020-01-01")],
    ...                       y=np.arange(4) * 1e3, x=np.arange(4) * 1e3, crs=None)
    >>> coarsen(field, 2000.0).values[0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    size = block_size(field, spacing)
    if size == 1:
        return field
    rows, columns = (max(1, field.sizes[axis] // size) for axis in ("y", "x"))
    high, wide = min(size, field.sizes["y"]), min(size, field.sizes["x"])
    cut = field.isel(y=slice(0, rows * high), x=slice(0, columns * wide))
    fine = np.ascontiguousarray(cut.values, np.float32).reshape(-1, *cut.shape[-2:])
    mean = block_means(fine, rows, columns, LEAST_KNOWN).reshape(*field.shape[:-2], rows, columns)
    axes = {axis: cut[axis].coarsen({axis: n}).mean() for axis, n in (("y", high), ("x", wide))}
    coarse = cut[..., ::high, ::wide].copy(data=mean)
    return coarse.assign_coords({axis: (axis, values.values, field[axis].attrs) for axis, values in axes.items()})


# --- neighbourhoods ---------------------------------------------------------------------------------------------


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
    """Return the odd window sizes, in cells, of a half width in km."""
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
