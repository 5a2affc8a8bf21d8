"""Means of rain over polygons and over blocks of cells, member by member."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray
from scipy import sparse

from hybridcast.core.field import GRID_MAPPING, metres_per_cell
from hybridcast.core.grid import cell_kilometres
from hybridcast.core.types import Array, Doubles
from hybridcast.ensembles.coverage import Coverage, cover_cells
from hybridcast.ensembles.polygons import Polygon, Region, project_regions, read_regions
from hybridcast.ensembles.products import select_rain
from hybridcast.errors import InputError
from hybridcast_kernels.resample_cpu import block_means

#: Smallest known fraction of a region or block of which the mean is known.
LEAST_KNOWN = 0.8


class Weights(NamedTuple):
    """Weights of the cells in the means over regions."""

    rows: NDArray[np.int64]
    """Rows of the cells that are in a region, shape ``(cell,)``."""
    columns: NDArray[np.int64]
    """Columns of the same cells."""
    areas: Any
    """Area of each region in each cell, m2, sparse, shape ``(region, cell)``."""
    whole: Doubles
    """Area of each region, with what is outside the grid, m2, shape ``(region, 1)``."""


# --- polygons -------------------------------------------------------------------------------------------------


def over_regions(
    rain: xr.Dataset | xr.DataArray,
    regions: Any,
    *,
    crs: pyproj.CRS | str | None = None,
    label: str = "name",
    least_known: float = LEAST_KNOWN,
) -> xr.DataArray:
    """Return the mean rain over polygons, of each member and lead time.

    The weight of a cell is its area on Earth within the polygon, which is computed exactly. Edges are straight in the
    coordinates of the polygon, and as in GeoJSON (RFC 7946) a polygon that crosses the date line is cut there, or its
    longitudes go on beyond 180. Where a part of a region is
    unknown or outside the grid, the mean is that over the known part; if less than `least_known` of the area is known,
    it is unknown.

    Parameters
    ----------
    rain
        Forecast with members; or rates or amounts with the dims ``y`` and ``x``.
    regions
        Polygons: a mapping of names to geometries; GeoJSON as a mapping or the path of a file; an object with
        ``__geo_interface__``, such as a geometry of shapely or a GeoDataFrame; or a list of these.
    crs
        CRS of the polygons, or ``"grid"`` for coordinates of the grid. By default the one that a GeoDataFrame or a file
        states, otherwise longitude and latitude (WGS 84).
    label
        Property that names the features of GeoJSON; features without it are named by their ``id``.
    least_known
        Smallest fraction of the area of a region, 0 to 1, that has to be known.

    Returns
    -------
    DataArray
        Means, float32, in the units of `rain`, with ``region`` in the place of ``y`` and ``x``. Labels of ``region``
        are the names of regions, or numbers from 0 if one has no name.

    Raises
    ------
    InputError
        If `least_known` is no fraction, there is no polygon, names are not unique, or polygons cannot be placed on the
        grid.
    ReadError
        If a file of polygons cannot be read.

    Examples
    --------
    >>> field = xr.DataArray([[1.0, 2.0], [3.0, 6.0]], coords={"y": [500.0, 1500.0], "x": [500.0, 1500.0]},
    ...                      dims=("y", "x"))
    >>> south = {"type": "Polygon", "coordinates": [[[0, 0], [2000, 0], [2000, 1000], [0, 1000]]]}
    >>> over_regions(field, {"south": south}, crs="grid").sel(region="south").item()
    1.5
    """
    _check_least_known(least_known)
    field = select_rain(rain)
    found = project_regions(read_regions(regions, label), field, crs)
    names = _region_names(found)
    weights = weigh_cells(cover_regions(found, field), field)

    def average(values: Array) -> Array:
        return average_over_regions(values, weights, least_known)

    means = apply_to_fields(field, average, {"region": len(names)})
    attributes = {"long_name": "name of the region" if names.dtype.kind == "U" else "number of the region"}
    return _describe_mean(means, field, least_known).assign_coords(region=("region", names, attributes))


def _check_least_known(fraction: float) -> None:
    if not 0 <= fraction <= 1:
        found, rule = f"least_known = {fraction!r}", "it is a fraction, from 0 to 1"
        raise InputError(found, rule, f"Give, for example, least_known={LEAST_KNOWN:g}")


def _region_names(regions: list[Region]) -> NDArray[Any]:
    """Return the names of regions, or their numbers if one has no name."""
    names = [region.name for region in regions]
    if None in names:
        return np.arange(len(names))
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        found = f"{names.count(twice[0])} regions are named {twice[0]!r}"
        raise InputError(found, "names of regions are unique", "Choose another property with label=...")
    return np.array(names)


def cover_regions(regions: Sequence[Region], field: xr.DataArray) -> list[Coverage]:
    """Return the fractions of the cells of a field that regions in coordinates of its grid cover."""
    shape = field.sizes["y"], field.sizes["x"]
    return [cover_cells(_to_cells(region.polygons, field), shape) for region in regions]


def weigh_cells(covered: Sequence[Coverage], field: xr.DataArray) -> Weights:
    """Return the weights of the cells of a field in the means over regions that cover fractions of them."""
    dy, dx = metres_per_cell(field)
    cell_area = np.broadcast_to(np.abs(dy * dx), (field.sizes["y"], field.sizes["x"]))
    areas = sparse.vstack([_areas_of_cells(one, cell_area) for one in covered], format="csc")
    cells = np.flatnonzero(np.diff(areas.indptr))  # those with an entry
    inside = np.array([one.inside for one in covered])
    whole = np.divide(areas.sum(axis=1), inside, out=np.full(len(covered), np.inf), where=inside > 0)
    return Weights(*np.divmod(cells, field.sizes["x"]), areas[:, cells].tocsr(), whole[:, None])


def _areas_of_cells(covered: Coverage, cell_area: Array) -> Any:
    """Return the area of a region in each cell, m2, sparse, shape ``(1, cell)``."""
    rows, columns = np.nonzero(covered.fraction)
    place = rows + covered.row, columns + covered.column
    areas = covered.fraction[rows, columns] * cell_area[place]
    cells = np.ravel_multi_index(place, cell_area.shape)
    return sparse.csr_array((areas, (np.zeros(cells.size, int), cells)), shape=(1, cell_area.size))


def _to_cells(polygons: list[Polygon], field: xr.DataArray) -> list[Polygon]:
    """Return polygons in numbers of cells: column and row, from the outer edge of the first ones."""
    first, step = np.array([_first_and_step(field, axis) for axis in ("x", "y")]).T
    return [[(ring - first) / step + 0.5 for ring in polygon] for polygon in polygons]


def _first_and_step(field: xr.DataArray, axis: str) -> tuple[float, float]:
    values = np.asarray(field[axis].values, dtype=np.float64)
    if values.size < 2:
        rule = "the size of cells is known from their places"
        raise InputError(f"the grid has one cell along {axis}", rule, "Give a grid of two rows and columns at least")
    return float(values[0]), float(values[-1] - values[0]) / (values.size - 1)


def average_over_regions(values: Array, weights: Weights, least_known: float) -> Array:
    """Return means over regions, shape ``(..., region)``, of values of shape ``(..., y, x)``."""
    cells = values[..., weights.rows, weights.columns].astype(np.float32, copy=False)
    cells = cells.reshape(math.prod(values.shape[:-2]), weights.rows.size)
    known = np.isfinite(cells)
    total = weights.areas @ np.where(known, cells, 0).T
    area = weights.areas @ known.T.astype(np.float32)
    enough = (area > 0) & (area >= (least_known - 1e-6) * weights.whole)
    means = np.where(enough, total / np.where(enough, area, 1), np.nan)
    return means.T.reshape(*values.shape[:-2], len(means)).astype(np.float32)


# --- blocks ---------------------------------------------------------------------------------------------------


def over_blocks(
    rain: xr.Dataset | xr.DataArray, kilometres: float, *, least_known: float = LEAST_KNOWN
) -> xr.DataArray:
    """Return the mean rain over square blocks, of each member and lead time.

    Blocks are the whole numbers of cells along each axis that are closest in size. Rows and columns beyond the last
    whole block are dropped.

    Parameters
    ----------
    rain
        Forecast with members; or rates or amounts with the dims ``y`` and ``x``.
    kilometres
        Side of a block, km.
    least_known
        Smallest fraction of the cells of a block, 0 to 1, that has to be known; the mean is that over the known cells.

    Returns
    -------
    DataArray
        Means, float32, in the units of `rain`, on the grid of the blocks.

    Raises
    ------
    InputError
        If `least_known` is no fraction, or a block is smaller than a cell or larger than the grid.

    Examples
    --------
    >>> field = xr.DataArray(np.arange(16.0).reshape(4, 4), dims=("y", "x"),
    ...                      coords={"y": np.arange(4) * 1e3, "x": np.arange(4) * 1e3})
    >>> over_blocks(field, 2.0).values.tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    _check_least_known(least_known)
    field = select_rain(rain)
    high, wide = _block_cells(field, kilometres)
    rows, columns = field.sizes["y"] // high, field.sizes["x"] // wide

    def average(values: Array) -> Array:
        cut = np.ascontiguousarray(values[..., : rows * high, : columns * wide], np.float32)
        means = block_means(cut.reshape(-1, *cut.shape[-2:]), rows, columns, least_known)
        return np.asarray(means.reshape(*values.shape[:-2], rows, columns))

    means = apply_to_fields(field, average, {"y_block": rows, "x_block": columns}).rename(y_block="y", x_block="x")
    axes = {axis: _block_centres(field, axis, size) for axis, size in (("y", high), ("x", wide))}
    return _describe_mean(means, field, least_known).assign_coords(axes)


def _block_cells(field: xr.DataArray, kilometres: float) -> tuple[int, int]:
    """Return the numbers of cells of a block along y and x; along a single row or column one."""
    shape = field.sizes["y"], field.sizes["x"]
    sizes = cell_kilometres(field)
    side = kilometres if math.isfinite(kilometres) else 0.0
    cells = [1 if n == 1 else round(side / size) for n, size in zip(shape, sizes, strict=True)]
    if not all(1 <= count <= n for count, n in zip(cells, shape, strict=True)):
        extent = " x ".join(f"{n * size:.3g}" for n, size in zip(shape, sizes, strict=True))
        raise InputError(
            f"blocks of {kilometres:g} km",
            f"they are larger than a cell ({sizes[0]:.3g} x {sizes[1]:.3g} km) and within the grid ({extent} km)",
            "Choose a size between",
        )
    return cells[0], cells[1]


def _block_centres(field: xr.DataArray, axis: str, size: int) -> xr.Variable:
    centres = field[axis].values[: field.sizes[axis] // size * size].reshape(-1, size).mean(axis=1)
    return xr.Variable(axis, centres, field[axis].attrs)


# --- both -----------------------------------------------------------------------------------------------------


def apply_to_fields(field: xr.DataArray, average: Callable[[Array], Array], sizes: dict[str, int]) -> xr.DataArray:
    """Apply a function of arrays ``(..., y, x)`` to each chunk; `sizes` are those of the dims in place of y and x."""
    found: xr.DataArray = xr.apply_ufunc(
        average,
        field.chunk(y=-1, x=-1) if field.chunks else field,
        input_core_dims=[["y", "x"]],
        output_core_dims=[list(sizes)],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": sizes},
    )
    return found


def _describe_mean(means: xr.DataArray, field: xr.DataArray, least_known: float) -> xr.DataArray:
    methods = f"{field.attrs.get('cell_methods', '')} area: mean".strip()
    attrs = {**field.attrs, "cell_methods": methods, "least_known_fraction": least_known}
    if "y" not in means.dims:
        attrs.pop("grid_mapping", None)
        means = means.drop_vars(GRID_MAPPING, errors="ignore")
    means.attrs = attrs
    return means.rename(field.name)
