"""Height and slope of the terrain on the grid of the radar.

Heights are averaged over the cells of the radar where they are finer, and interpolated where they are coarser. Slopes
are differences between neighbouring cells, so their scale is the size of a cell.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.core import grib
from hybridcast.core.cf import is_cf, open_cf, read_axis, read_crs, rename_horizontal
from hybridcast.core.compression import uncompressed_file
from hybridcast.core.crs import to_metres
from hybridcast.core.extras import extra
from hybridcast.core.field import GRID_MAPPING, crs_of, metres_per_cell
from hybridcast.core.paths import open_paths
from hybridcast.core.readers import read_errors, read_file, read_head
from hybridcast.core.types import Array
from hybridcast.errors import InputError, ReadError
from hybridcast.nwp.pieces import FileGrid

_STANDARD_NAMES = ("surface_altitude", "height_above_mean_sea_level", "geoid_height_above_reference_ellipsoid")
_NAMES = ("elevation", "elev", "z", "altitude", "orography", "topo", "Band1")
_TIFF_MAGICS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_SHORT_NAMES = ("h", "orog", "z", "mterh")  # of ecCodes
_GRAVITY = 9.80665


def open_terrain(path: str | Path, field: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """Open the terrain height and regrid it to the grid of a field.

    Parameters
    ----------
    path
        File or URL, also in a tar or zip: GeoTIFF, CF NetCDF or Zarr (``surface_altitude``), GRIB (height or orography,
        such as MeteoNet's masks), or an npz of ``elev``, ``lat_top``, ``lon_left``, ``dlat`` and ``dlon``
        (`hybridcast.fetch` ``("dem-fmi")``).
    field
        Precipitation field, or other data on its grid.

    Returns
    -------
    Dataset
        ``surface_altitude`` (m), ``slope_x`` and ``slope_y`` (m per m, positive if the terrain rises towards growing
        ``x`` and ``y``), float32, dims ``("y", "x")``; NaN where the height is unknown.

    Raises
    ------
    ReadError
        If the file is damaged, of no known format, or does not contain heights.
    InputError
        If nothing matches `path`, or several files do, or the field has no CRS.
    """
    if crs_of(field) is None:
        raise InputError(
            "the place of the radar grid is not known (it has no CRS)",
            "heights are joined where the grid is on Earth",
            "Give the radar a grid mapping, or leave the terrain out",
        )
    with open_paths(path) as files:
        if len(files) > 1:
            found = f"{path} stands for {len(files)} files"
            raise InputError(found, "heights are in one file", f"Give one of them, such as {files[0]}")
        height, grid = read_file(files[0], _read)
    return terrain_dataset(_regrid(height, grid, field), field)


def terrain_dataset(height: ArrayLike, field: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """Build a terrain dataset from heights (m, shape ``(y, x)``) on the grid of a field, and compute their slopes.

    Parameters
    ----------
    height
        Heights, m, shape ``(y, x)``; NaN where unknown.
    field
        Data on the same grid.

    Returns
    -------
    Dataset
        See `open_terrain`.
    """
    values = np.asarray(height, np.float32)
    dy, dx = metres_per_cell(field)
    along_y = np.gradient(values, axis=0) / dy if values.shape[0] > 1 else np.zeros_like(values)
    along_x = np.gradient(values, axis=1) / dx if values.shape[1] > 1 else np.zeros_like(values)
    coords = {name: field.coords[name] for name in ("y", "x", GRID_MAPPING) if name in field.coords}
    mapping = {"grid_mapping": GRID_MAPPING} if GRID_MAPPING in coords else {}
    variables = {
        "surface_altitude": (values, {"standard_name": "surface_altitude", "units": "m"}),
        "slope_x": (along_x, {"long_name": "slope of the ground along x", "units": "1"}),
        "slope_y": (along_y, {"long_name": "slope of the ground along y", "units": "1"}),
    }
    return xr.Dataset({k: (("y", "x"), v, {**a, **mapping}) for k, (v, a) in variables.items()}, coords)


def _regrid(height: Array, grid: FileGrid, field: xr.DataArray | xr.Dataset) -> Array:
    """Warp heights to the grid of a field: area means where they are finer, otherwise bilinear interpolation."""
    with extra("geotiff", "terrain on the grid of the radar"):
        from rasterio.warp import Resampling, reproject

    out = np.full((field.sizes["y"], field.sizes["x"]), np.nan, np.float32)
    target = FileGrid(field["y"].values, field["x"].values, crs_of(field))
    reproject(
        np.ascontiguousarray(height, np.float32),
        out,
        src_transform=_affine_transform(grid),
        src_crs=_wkt(grid),
        src_nodata=np.nan,
        dst_transform=_affine_transform(target),
        dst_crs=_wkt(target),
        dst_nodata=np.nan,
        resampling=Resampling.average if _cell_height(grid) < _cell_height(target) else Resampling.bilinear,
    )
    return out


def _affine_transform(grid: FileGrid) -> Any:
    """Return the affine transform from column and row (corners of cells) to x and y."""
    from affine import Affine

    dx, dy = (float((axis[-1] - axis[0]) / (axis.size - 1)) for axis in (grid.x, grid.y))
    return Affine(dx, 0.0, float(grid.x[0]) - dx / 2, 0.0, dy, float(grid.y[0]) - dy / 2)


def _wkt(grid: FileGrid) -> str:
    assert grid.crs is not None  # readers return one, and a field without one was refused
    return str(grid.crs.to_wkt())


def _cell_height(grid: FileGrid) -> float:
    """Return the height of a cell in metres."""
    step = abs(float(grid.y[-1] - grid.y[0])) / (grid.y.size - 1)
    return step * 111_195.0 if grid.crs is not None and grid.crs.is_geographic else step


# --- reading --------------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[Array, FileGrid]:
    """Return heights (m, NaN where unknown) and their grid."""
    with read_errors(path, "heights"):
        return _read_any(path)


def _read_any(path: Path) -> tuple[Array, FileGrid]:
    head = read_head(path)
    if head.startswith(b"PK\x03\x04"):
        return _read_npz(path)
    if head.startswith(_TIFF_MAGICS):
        return _read_geotiff(path)
    if grib.is_grib(head):
        return _read_grib(path)
    if is_cf(path, head):
        return _read_cf(path)
    raise ReadError(path, f"no known format of heights (starts with {head[:8]!r}); GeoTIFF, NetCDF, GRIB and npz are")


def _read_npz(path: Path) -> tuple[Array, FileGrid]:
    """Read a grid of longitude and latitude; missing values are tiles of open sea, at height 0."""
    needed = ("elev", "lat_top", "lon_left", "dlat", "dlon")
    try:
        with np.load(path) as file:
            found = {name: file[name] for name in needed}
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ReadError(path, f"an npz of heights holds {', '.join(needed)} ({error})") from error
    height = found["elev"].astype(np.float32)
    height[found["elev"] == np.iinfo(np.int16).min] = 0
    rows, columns = height.shape
    top, left, dlat, dlon = (float(found[name]) for name in needed[1:])
    return height, FileGrid(_centres(top, rows, -dlat), _centres(left, columns, dlon), pyproj.CRS.from_epsg(4326))


def _read_geotiff(path: Path) -> tuple[Array, FileGrid]:
    with extra("geotiff", "a height file in GeoTIFF"):
        import rasterio

    with uncompressed_file(path) as plain, rasterio.open(plain) as file:
        if file.crs is None:
            raise ReadError(path, "states no CRS. Add one, e.g. with gdal_edit.py -a_srs")
        if file.transform.b or file.transform.d:
            raise ReadError(path, "its rows are turned against its CRS. Warp it first, e.g. with gdalwarp")
        height = file.read(1, masked=True).astype(np.float32).filled(np.nan)
        height = height * np.float32(file.scales[0]) + np.float32(file.offsets[0])
        rows, columns = height.shape
        y = _centres(file.transform.f, rows, file.transform.e)
        x = _centres(file.transform.c, columns, file.transform.a)
        return height, FileGrid(y, x, pyproj.CRS.from_wkt(file.crs.to_wkt()))


def _centres(edge: float, count: int, step: float) -> NDArray[np.float64]:
    return np.asarray(edge + (np.arange(count) + 0.5) * step, np.float64)


def _read_grib(path: Path) -> tuple[Array, FileGrid]:
    for message in grib.read_messages(path):
        short = str(message["shortName"])
        if short in _SHORT_NAMES and str(message["typeOfLevel"]) in ("surface", "meanSea"):
            grid, height = grib.read_grid(message, path), grib.read_values(message, path)
            return (height / np.float32(_GRAVITY) if short == "z" else height), FileGrid(*grid)
    raise ReadError(path, f"no message is a height of the ground ({', '.join(_SHORT_NAMES)} at the surface)")


def _read_cf(path: Path) -> tuple[Array, FileGrid]:
    with open_cf(path) as data:
        variable = rename_horizontal(_find_height(data, path), path).squeeze(drop=True)
        crs = read_crs(data, variable, path)
        if crs is None:
            raise ReadError(path, "states no place: neither a grid mapping nor degrees")
        y, x = (read_axis(variable[axis], crs, path) for axis in ("y", "x"))
        return np.asarray(variable.transpose("y", "x").values, np.float32), FileGrid(y, x, to_metres(crs))


def _find_height(data: xr.Dataset, path: Path) -> xr.DataArray:
    gridded = [variable for variable in data.data_vars.values() if variable.ndim >= 2]
    for variable in gridded:
        if variable.attrs.get("standard_name") in _STANDARD_NAMES:
            return variable
    for variable in gridded:
        if str(variable.name) in _NAMES:
            return variable
    listed = ", ".join(str(variable.name) for variable in gridded) or "no gridded variable"
    raise ReadError(path, f"no variable is surface_altitude, by its standard_name; it holds {listed}")
