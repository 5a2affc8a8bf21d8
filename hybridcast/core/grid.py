"""A field on a coarser grid: area means over whole blocks of cells, and back to the fine grid."""

from __future__ import annotations

import numpy as np
import xarray as xr

from hybridcast.core.field import metres_per_cell
from hybridcast_kernels.resample_cpu import block_means

#: A coarse cell is known if at least this share of its fine cells is.
LEAST_KNOWN = 0.5


def cell_size(field: xr.DataArray | xr.Dataset) -> float:
    """Give the side of a square as large as a cell in the middle of the field, m."""
    dy, dx = metres_per_cell(field)
    return float(np.sqrt(abs(dy) * np.abs(dx).mean()))


def block_size(field: xr.DataArray | xr.Dataset, spacing: float) -> int:
    """Give how many cells along each axis make up a coarse cell closest to `spacing` (m); 1 for coarser fields."""
    return max(1, round(spacing / cell_size(field)))


def coarsened(field: xr.DataArray, spacing: float) -> xr.DataArray:
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
    >>> coarsened(field, 2000.0).values[0].tolist()
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
