"""NetCDF and Zarr that follow the CF conventions: opening, horizontal axes, CRS, and bounds of time."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core.crs import crs_from_cf
from hybridcast.core.netcdf import is_netcdf, open_netcdf
from hybridcast.core.types import Doubles
from hybridcast.core.units import unit_conversion
from hybridcast.errors import InputWarning, ReadError

#: Standard names of precipitation rates.
RATES = ("lwe_precipitation_rate", "rainfall_rate", "precipitation_flux", "rainfall_flux")
#: Standard names of precipitation amounts.
AMOUNTS = (
    "lwe_thickness_of_precipitation_amount",
    "thickness_of_rainfall_amount",
    "precipitation_amount",
    "rainfall_amount",
)

_AXES = (("X", "longitude", "x"), ("Y", "latitude", "y"))
_ZARR_FILES = ("zarr.json", ".zgroup", ".zmetadata", ".zattrs")


def is_cf(path: Path, head: bytes) -> bool:
    """Return whether a file is NetCDF, by its magic number, or a folder is Zarr, by its metadata."""
    return is_netcdf(head) or (path.is_dir() and any((path / name).is_file() for name in _ZARR_FILES))


def open_cf(path: Path) -> xr.Dataset:
    """Open NetCDF or Zarr lazily; `ReadError` if it is damaged."""
    if not path.is_dir():
        return open_netcdf(path, chunks={})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unconsolidated metadata are accepted
            return cast(xr.Dataset, xr.open_zarr(path, chunks={}))
    except Exception as error:  # zarr raises KeyError, ValueError, and errors of its own
        raise ReadError(path, f"damaged, or no Zarr store ({type(error).__name__}: {error})") from error


# --- axes -----------------------------------------------------------------------------------------------------


def rename_horizontal(variable: xr.DataArray, path: Path) -> xr.DataArray:
    """Return the variable with its horizontal dims renamed to y and x; `ReadError` if it has none.

    Longitude and latitude without units get the units degrees.
    """
    names: dict[Hashable, str] = {}
    for axis, coordinate, ours in _AXES:
        name = _find_dimension(variable, axis, coordinate, path)
        names[name] = ours
        if "units" not in variable[name].attrs and name in _guess_axes(variable).cf.coordinates.get(coordinate, []):
            variable = variable.assign_coords({name: variable[name].assign_attrs(units="degrees")})
    return variable.rename({old: new for old, new in names.items() if old != new})


def find_coordinates(variable: xr.DataArray, axis: str, coordinate: str) -> list[Hashable]:
    """Return the names of the one-dimensional or scalar coordinates of an axis, those with an axis attribute first.

    Parameters
    ----------
    variable
        A variable with coordinates.
    axis
        ``"X"``, ``"Y"`` or ``"T"``.
    coordinate
        Kind of the coordinate by CF: ``"longitude"``, ``"latitude"`` or ``"time"``.
    """
    guessed = _guess_axes(variable)
    found = [*guessed.cf.axes.get(axis, []), *guessed.cf.coordinates.get(coordinate, [])]
    return [name for name in found if name in variable.dims or variable[name].ndim == 0]


def _guess_axes(variable: xr.DataArray) -> Any:
    """Return the variable with attributes of its axes, guessed from names and units where they are missing."""
    import cf_xarray  # noqa: F401 (adds .cf to xarray objects)

    return variable.cf.guess_coord_axis()


def _find_dimension(variable: xr.DataArray, axis: str, coordinate: str, path: Path) -> Hashable:
    found = [name for name in find_coordinates(variable, axis, coordinate) if name in variable.dims]
    if found:
        return found[0]
    two_dimensional = [str(name) for name in variable.coords if variable[name].ndim == 2]
    if two_dimensional:
        raise ReadError(
            path,
            f"has only two-dimensional coordinates ({', '.join(two_dimensional)}), no {axis.lower()} of a projection. "
            "Add x and y of the grid's projection, in metres, and its grid mapping",
        )
    raise ReadError(
        path, f"{variable.name!r} with dims {variable.dims} has no {axis.lower()} coordinate. Add one with units"
    )


def read_axis(axis: xr.DataArray, crs: pyproj.CRS | None, path: Path) -> Doubles:
    """Return the values of x or y in metres, or in degrees if the CRS is geographic."""
    values = np.asarray(axis.values, dtype=np.float64)
    if crs is not None and crs.is_geographic:
        return _wrap_longitude(values) if axis.name == "x" else values
    units = str(axis.attrs.get("units", "m"))  # wrong units show later in the spacing of the grid
    conversion = unit_conversion(units, "m")
    if conversion is None:
        raise ReadError(path, f"{axis.name!r} is in {units!r}; metres, kilometres or degrees were expected")
    return values * conversion[0]


def _wrap_longitude(longitude: Doubles) -> Doubles:
    """Convert 0..360 degrees to -180..180, unless the grid would no longer be monotonic."""
    shifted = np.where(longitude > 180, longitude - 360, longitude)
    return shifted if (np.diff(shifted) > 0).all() == (np.diff(longitude) > 0).all() else longitude


# --- CRS and time ---------------------------------------------------------------------------------------------


def read_crs(data: xr.Dataset, variable: xr.DataArray, path: Path) -> pyproj.CRS | None:
    """Return the CRS of a variable with axes x and y; None, with a warning, if its grid mapping does not exist."""
    mapping = str(variable.attrs.get("grid_mapping", ""))
    name = mapping.split(":")[0].strip()
    if name in data.variables:
        return crs_from_cf(data[name].attrs)
    if all(str(variable[axis].attrs.get("units", "")).lower().startswith("degree") for axis in "xy"):
        return pyproj.CRS.from_epsg(4326)
    if name:
        warnings.warn(f"{path}: its grid mapping {name!r} is not there; read as a local grid", InputWarning, 2)
    return None


def require_one_length(lengths: Any, path: Path) -> np.timedelta64:
    """Return the common length of the bounds of time; `ReadError` if they differ or are not positive."""
    lengths = np.unique(lengths)
    if lengths.size != 1 or lengths[0] <= np.timedelta64(0):
        raise ReadError(path, "the bounds of time are not of one positive length")
    return cast(np.timedelta64, lengths[0])
