"""NetCDF and Zarr that follow the CF conventions: opening, horizontal axes, CRS, and bounds of time."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core._cf_places import check_places, offsets_in_metres, warn_without_figure
from hybridcast.core.cf_times import decode
from hybridcast.core.crs import (
    crs_from_attributes,
    crs_from_mapping,
    find_crs_text,
    is_around_globe,
    metres_per_unit,
    missing_parameters,
    satellite_height,
    to_metres,
    unroll_longitude,
)
from hybridcast.core.file_kinds import POLAR
from hybridcast.core.lazy_values import make_lazy
from hybridcast.core.locations import ZarrLocation
from hybridcast.core.netcdf import is_netcdf, list_groups, open_netcdf
from hybridcast.core.remote import explain, is_network_error
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
_DEGREES = {"longitude": "degrees_east", "latitude": "degrees_north"}
_TRUE_DEGREES = re.compile(r"^degrees?_?(north|east|n|e)$", re.IGNORECASE)
_ROTATED = ("grid_longitude", "grid_latitude")
#: Attributes by which `cf_xarray` identifies coordinates.
_DESCRIBING = ("standard_name", "units", "axis", "long_name", "positive", "_CoordinateAxisType", "cartesian_axis")
_ZARR_FILES = ("zarr.json", ".zgroup", ".zmetadata", ".zattrs")
_MAPPING_ATTRIBUTES = {"grid_mapping_name", "crs_wkt", "spatial_ref"}
#: Places given for each cell belong to an even grid if they deviate by less than this fraction of a cell.
_PLACE_TOLERANCE = 0.05


def is_cf(path: Path, head: bytes) -> bool:
    """Return whether a file is NetCDF, by its magic number, or a folder is Zarr, by its metadata."""
    if isinstance(path, ZarrLocation):
        return True
    return is_netcdf(head) or (path.is_dir() and any((path / name).is_file() for name in _ZARR_FILES))


# --- opening --------------------------------------------------------------------------------------------------


def open_cf(path: Path) -> xr.Dataset:
    """Open NetCDF or Zarr lazily, with times decoded.

    If only one group of the file has variables on a grid, that group is opened, with the variables of the groups that
    enclose it.

    Raises
    ------
    ReadError
        If the file is damaged, its times cannot be known, or several groups have variables on a grid.
    """
    data = open_undecoded(path, None)
    if isinstance(path, ZarrLocation) and not data.variables and not _list_groups(path):
        raise ReadError(
            path,
            "a Zarr store without consolidated metadata on a server that does not list its members. Copy the store, or "
            "let its owner call zarr.consolidate_metadata",
        )
    return decode(data if _has_grid(data) else _open_inner(path, data), path)


def open_undecoded(path: Path, group: str | None) -> xr.Dataset:
    """Open one group of NetCDF or Zarr, None for the root, lazily, with values and attributes as they are stored."""
    return make_lazy(_open_stored(path, group), path)


def _open_stored(path: Path, group: str | None) -> xr.Dataset:
    if not path.is_dir():
        return open_netcdf(path, decode_cf=False, group=group)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unconsolidated metadata are accepted
            store = path.open_store() if isinstance(path, ZarrLocation) else {"store": path}
            return cast(xr.Dataset, xr.open_zarr(**store, chunks=None, decode_cf=False, group=group))
    except ReadError:
        raise
    except Exception as error:  # zarr raises KeyError, ValueError, and errors of its own
        if isinstance(path, ZarrLocation) and is_network_error(error):
            raise ReadError(path, explain(error)) from error
        raise ReadError(path, f"damaged, or no Zarr store ({type(error).__name__}: {error})") from error


def _has_grid(data: xr.Dataset) -> bool:
    return any(variable.ndim >= 2 and min(variable.shape[-2:]) > 2 for variable in data.data_vars.values())


def _open_inner(path: Path, root: xr.Dataset) -> xr.Dataset:
    """Return the one group with variables on a grid; the root if there is none."""
    opened = {name: open_undecoded(path, name) for name in _list_groups(path)}
    gridded = [name for name, data in opened.items() if _has_grid(data)]
    if not gridded:
        return root
    if len(gridded) > 1:
        raise ReadError(
            path,
            f"has grids in the groups {', '.join(gridded)}. Write the right one to a file of its own, e.g. "
            f"xarray.open_dataset(path, group={gridded[0]!r}).to_netcdf(new_path)",
        )
    enclosing = [root, *(data for name, data in opened.items() if gridded[0].startswith(f"{name}/"))]
    return _inherit(enclosing, opened[gridded[0]], path)


def _list_groups(path: Path) -> list[str]:
    if not path.is_dir():
        return list_groups(path)
    import zarr

    store = path.open_store()["store"] if isinstance(path, ZarrLocation) else path
    found = zarr.open_group(store, mode="r")
    return [name for name, member in found.members(max_depth=None) if isinstance(member, zarr.Group)]


def _inherit(enclosing: list[xr.Dataset], group: xr.Dataset, path: Path) -> xr.Dataset:
    variables: dict[Hashable, xr.Variable] = {}
    attrs: dict[Any, Any] = {}
    for data in (*enclosing, group):
        variables |= data.variables
        attrs |= data.attrs
    try:
        return xr.Dataset(variables, attrs=attrs)
    except ValueError as error:  # dimensions of one name and different sizes
        raise ReadError(path, f"its groups do not fit together ({error})") from error


# --- place ----------------------------------------------------------------------------------------------------


class Placed(NamedTuple):
    """A variable on its grid."""

    variable: xr.DataArray
    """Values, whose horizontal dims are y and x."""
    crs: pyproj.CRS | None
    """CRS with axes in metres or degrees; None for a local grid."""
    y: Doubles
    """Cell centres, metres or degrees, shape ``(y,)``."""
    x: Doubles
    """Cell centres, metres or degrees, shape ``(x,)``; longitudes without jumps of 360 degrees."""


def place(data: xr.Dataset, variable: xr.DataArray, path: Path) -> Placed:
    """Find the axes and the CRS of a variable.

    Raises
    ------
    ReadError
        If it has no horizontal axes, or they are in rotated degrees without a grid mapping, or in unknown units.
    """
    with_axes = _add_axes(data, variable, path)
    places = _find_places(data, variable) if with_axes is variable else None
    variable = rename_horizontal(with_axes, path)
    crs = read_crs(data, variable, path)
    y, x = (read_axis(variable[axis], crs, path) for axis in ("y", "x"))
    if places is not None and crs is not None:
        old = dict(zip(variable.dims, with_axes.dims, strict=True))
        check_places(places, (old["y"], old["x"]), y, x, to_metres(crs), path)
    if crs is not None and crs.is_geographic:
        x = _wrap_globe(x)
        if (np.diff(x) > 0).any() and (np.diff(x) < 0).any():  # such as 0 to 10 and 350 to 359 degrees in one row
            order = np.argsort(x)
            variable, x = variable.isel(x=order), x[order]
    return Placed(variable, None if crs is None else to_metres(crs), y, x)


def _wrap_globe(longitude: Doubles) -> Doubles:
    """Return the longitudes of a grid around the globe within -180 and 180; others unchanged."""
    return np.asarray((longitude + 180.0) % 360.0 - 180.0) if is_around_globe(longitude) else longitude


def rename_horizontal(variable: xr.DataArray, path: Path) -> xr.DataArray:
    """Return the variable with its horizontal dims renamed to y and x; `ReadError` if it has none.

    Longitude and latitude that are known by their names or standard names get their units.
    """
    names: dict[Hashable, str] = {}
    for axis, coordinate, ours in _AXES:
        name = _find_dimension(variable, axis, coordinate, path)
        _require_own_name(variable[name], coordinate, path)
        names[name] = ours
        variable = _state_degrees(variable, name, coordinate)
    return variable.rename({old: new for old, new in names.items() if old != new})


def _require_own_name(axis: xr.DataArray, coordinate: str, path: Path) -> None:
    """Raise `ReadError` if an axis of longitudes by its units is called latitude, or the other way round."""
    other = "latitude" if coordinate == "longitude" else "longitude"
    if str(axis.name).lower() in (other, other[:3]):
        raise ReadError(
            path,
            f"{axis.name!r} is a {coordinate} by its attributes ({axis.attrs.get('units', 'no units')}), and a {other} "
            "by its name. Correct one of them",
        )


def _state_degrees(variable: xr.DataArray, name: Hashable, coordinate: str) -> xr.DataArray:
    attrs = variable[name].attrs
    if str(name).lower().startswith(("rlon", "rlat", "grid_l")):
        return variable.assign_coords({name: variable[name].assign_attrs({"standard_name": f"grid_{coordinate}"})})
    known = name in _find_roles(variable).get(coordinate, ())
    if known and str(attrs.get("units", "degrees")).lower() in ("degrees", "degree", "deg", "°"):
        return variable.assign_coords({name: variable[name].assign_attrs(units=_DEGREES[coordinate])})
    return variable


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
    roles = _find_roles(variable)
    found = (*roles.get(axis, ()), *roles.get(coordinate, ()))
    return [name for name in found if name in variable.dims or variable[name].ndim == 0]


def _find_roles(variable: xr.DataArray) -> Mapping[str, tuple[Hashable, ...]]:
    """Return the names of the coordinates of each axis and kind, by attributes, or by names and units without them."""
    described = [(name, of.dims, of.dtype.str, tuple(map(str, _describe(of)))) for name, of in variable.coords.items()]
    return _guess_roles(variable.dims, tuple(described))


def _describe(coordinate: xr.DataArray) -> list[Any]:
    return [coordinate.attrs.get(name, "") for name in _DESCRIBING]


@functools.lru_cache(maxsize=256)  # a guess takes 25 ms, and a sequence has many files with the same coordinates
def _guess_roles(dims: tuple[Hashable, ...], described: tuple[Any, ...]) -> Mapping[str, tuple[Hashable, ...]]:
    import cf_xarray  # noqa: F401 (adds .cf to xarray objects)

    coords = {
        name: xr.Variable(
            own, np.zeros((1,) * len(own), dtype), {k: v for k, v in zip(_DESCRIBING, texts, strict=True) if v}
        )
        for name, own, dtype, texts in described
    }
    guessed: Any = xr.DataArray(np.zeros((1,) * len(dims)), coords, dims).cf.guess_coord_axis()
    return {role: tuple(names) for role, names in (*guessed.cf.axes.items(), *guessed.cf.coordinates.items())}


def _find_dimension(variable: xr.DataArray, axis: str, coordinate: str, path: Path) -> Hashable:
    found = [name for name in find_coordinates(variable, axis, coordinate) if name in variable.dims]
    if found:
        return found[0]
    if {"range", "azimuth"} <= {*map(str, variable.dims), *map(str, variable.coords)}:
        raise ReadError(path, f"{variable.name!r} is {POLAR}")
    two_dimensional = [str(name) for name in variable.coords if variable[name].ndim == 2]
    if two_dimensional:
        raise ReadError(
            path,
            f"has only two-dimensional coordinates ({', '.join(two_dimensional)}) of no even grid, no {axis.lower()} "
            "of a projection. Add x and y of the grid's projection, in metres, and its grid mapping",
        )
    raise ReadError(
        path, f"{variable.name!r} with dims {variable.dims} has no {axis.lower()} coordinate. Add one with units"
    )


def read_axis(axis: xr.DataArray, crs: pyproj.CRS | None, path: Path) -> Doubles:
    """Return the values of x or y in metres, or in degrees if the CRS is geographic.

    Scanning angles of a geostationary projection are multiplied by the height of the satellite (CF, appendix F).
    """
    values = np.asarray(axis.values, dtype=np.float64)
    if crs is not None and crs.is_geographic:
        return _read_degrees(axis, values, path)
    units = str(axis.attrs.get("units", ""))  # wrong units show later in the spacing of the grid
    if not units:
        return values * (1.0 if crs is None else metres_per_unit(crs))
    conversion = unit_conversion(units, "m")
    if conversion is not None:
        return values * conversion[0]
    angle, height = unit_conversion(units, "radian"), None if crs is None else satellite_height(crs)
    if angle is None or height is None:
        raise ReadError(
            path,
            f"{axis.name!r} is in {units!r}; metres or kilometres were expected, degrees of longitude and latitude, or "
            "angles with a geostationary grid mapping",
        )
    return values * angle[0] * height


def _read_degrees(axis: xr.DataArray, values: Doubles, path: Path) -> Doubles:
    conversion = unit_conversion(str(axis.attrs.get("units", "degrees")), "degrees")
    if conversion is None:
        raise ReadError(
            path,
            f"{axis.name!r} is in {axis.attrs['units']!r}, but its grid mapping is of longitude and latitude. Correct "
            "the grid mapping, or the units",
        )
    return unroll_longitude(values * conversion[0]) if axis.name == "x" else values * conversion[0]


# --- axes that are not stated as coordinates ------------------------------------------------------------------


def _add_axes(data: xr.Dataset, variable: xr.DataArray, path: Path) -> xr.DataArray:
    """Return the variable with x and y from its transform, or from the places of its cells, if it has none of its own.

    Axes without units do not count if there are places of all cells: they are numbers of rows and columns.
    """
    places = _find_places(data, variable)
    own = all(_has_axis(variable, axis, coordinate, places is not None) for axis, coordinate, _ in _AXES)
    if own:
        return variable
    mapping = _find_mapping(data, variable)
    if "GeoTransform" in mapping:
        return _axes_from_transform(variable, str(mapping["GeoTransform"]), path)
    return variable if places is None else _axes_from_places(data, variable, *places)


def _has_axis(variable: xr.DataArray, axis: str, coordinate: str, stated: bool) -> bool:
    found = [name for name in find_coordinates(variable, axis, coordinate) if name in variable.dims]
    return any(not stated or {"units", "standard_name"} & set(variable[name].attrs) for name in found)


def _find_places(data: xr.Dataset, variable: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray] | None:
    """Return longitude and latitude of all cells, shape (y, x), or None."""
    found = []
    for coordinate in ("longitude", "latitude"):
        named = [other for name, other in data.variables.items() if _is_place(other, str(name), coordinate)]
        named = [other for other in named if set(other.dims) <= set(variable.dims)]
        found.append(named[0] if named else None)
    longitude, latitude = found
    if longitude is None or latitude is None or longitude.dims != latitude.dims:
        return None
    return xr.DataArray(longitude), xr.DataArray(latitude)


def _is_place(variable: xr.Variable, name: str, coordinate: str) -> bool:
    units = str(variable.attrs.get("units", "")).lower()
    stated = variable.attrs.get("standard_name") == coordinate or units == _DEGREES[coordinate]
    return variable.ndim == 2 and (stated or name.lower().startswith(coordinate[:3]))


def _axes_from_transform(variable: xr.DataArray, transform: str, path: Path) -> xr.DataArray:
    """Return the variable with x and y from GDAL's transform: corner and steps, x first."""
    x0, dx, skew, y0, skew_too, dy = (float(number) for number in transform.split())
    if skew or skew_too:
        raise ReadError(path, "its rows do not run along x (GeoTransform); warp it first, e.g. with gdalwarp")
    rows, columns = variable.dims[-2:]
    axes = {rows: ("y", y0, dy), columns: ("x", x0, dx)}
    made = {
        dim: xr.Variable(dim, start + (np.arange(variable.sizes[dim]) + 0.5) * step, {"axis": name.upper()})
        for dim, (name, start, step) in axes.items()
    }
    return variable.assign_coords(made)


def _axes_from_places(
    data: xr.Dataset, variable: xr.DataArray, longitude: xr.DataArray, latitude: xr.DataArray
) -> xr.DataArray:
    """Return the variable with x and y from the places of its cells, unchanged if they are not on an even grid."""
    crs = _find_crs(data, variable)
    projected = crs is not None and not crs.is_geographic
    places = np.unwrap(longitude.values.astype(np.float64), period=360), latitude.values.astype(np.float64)
    if projected:
        places = pyproj.Transformer.from_crs(4326, to_metres(cast(pyproj.CRS, crs)), always_xy=True).transform(*places)
    x, y = places
    dims = longitude.dims
    if np.abs(np.diff(x, axis=0)).mean() > np.abs(np.diff(x, axis=1)).mean():
        x, y, dims = x.T, y.T, dims[::-1]
    axes = [_common(values, along) for values, along in ((y, 1), (x, 0))]
    if axes[0] is None or axes[1] is None:
        return variable
    units = ("m", "m") if projected else ("degrees_north", "degrees_east")
    named = zip(dims, axes, units, ("Y", "X"), strict=True)
    return variable.assign_coords(
        {dim: xr.Variable(dim, values, {"units": unit, "axis": axis}) for dim, values, unit, axis in named}
    )


def _common(values: Doubles, along: int) -> Doubles | None:
    """Return the values that all rows (or columns) share, evenly spaced; None if they differ."""
    shared = np.asarray(values.mean(axis=along))
    even = np.linspace(shared[0], shared[-1], shared.size)
    step = abs(even[1] - even[0]) if even.size > 1 else np.inf
    differences = np.abs(values - np.expand_dims(even, along))
    return even if np.isfinite(shared).all() and differences.max() <= _PLACE_TOLERANCE * step else None


# --- CRS and time ---------------------------------------------------------------------------------------------


def read_crs(data: xr.Dataset, variable: xr.DataArray, path: Path) -> pyproj.CRS | None:
    """Return the CRS of a variable with axes x and y.

    It is that of the grid mapping; else longitude and latitude, if the axes are; else that of an attribute of the
    variable or of the file, such as ``proj4``; else None, with a warning if a grid mapping is named.

    Raises
    ------
    ReadError
        If the grid mapping cannot be read, or x and y are degrees of unknown meaning.
    """
    name = _mapping_name(data, variable)
    if name in data.variables:
        mapping = offsets_in_metres(data[name].attrs, str(variable["x"].attrs.get("units", "")))
        crs = crs_from_mapping(mapping)
        if crs is None:
            raise _mapping_error(name, data[name].attrs, path)
        warn_without_figure(mapping, crs)
        return crs
    units = [str(variable[axis].attrs.get("units", "")).lower() for axis in "yx"]
    if all(unit.startswith("degree") for unit in units):
        return _crs_of_degrees(data, variable, path)
    crs = _find_crs(data, variable)
    text = find_crs_text(variable.attrs) or find_crs_text(data.attrs)
    if crs is None and (name or text):
        lost = f"its grid mapping {name!r} is not there" if name else f"its CRS, {text!r}, cannot be read"
        warnings.warn(f"{path}: {lost}; read as a local grid", InputWarning, 2)
    return crs


def _mapping_error(name: str, attrs: Mapping[str, Any], path: Path) -> ReadError:
    """Return the error for a grid mapping that cannot be read."""
    stated = ", ".join(f"{key} = {value}" for key, value in attrs.items())
    missing = missing_parameters(attrs)
    why = f": it lacks {' and '.join(missing)}. Add what is missing" if missing else ". Correct it"
    return ReadError(path, f"its grid mapping {name!r} cannot be read ({stated}){why}")


def _crs_of_degrees(data: xr.Dataset, variable: xr.DataArray, path: Path) -> pyproj.CRS:
    stated = [str(variable[axis].attrs.get("standard_name")) for axis in "yx"]
    true = [_TRUE_DEGREES.match(str(variable[axis].attrs.get("units", ""))) for axis in "yx"]
    crs = _find_crs(data, variable)
    if crs is not None and crs.is_geographic:
        return crs
    if set(stated) & set(_ROTATED) or not (all(true) or stated == ["latitude", "longitude"]):
        kind = "a rotated" if set(stated) & set(_ROTATED) else "an unknown"
        raise ReadError(
            path,
            f"x and y are degrees of {kind} grid, without a grid "
            "mapping. Add it (CF, appendix F: rotated_latitude_longitude), or, if they are longitude and latitude, "
            "set their units to degrees_east and degrees_north and standard_name to longitude and latitude",
        )
    return pyproj.CRS.from_epsg(4326)


def _mapping_name(data: xr.Dataset, variable: xr.DataArray) -> str:
    """Return the name of the grid mapping: the one for x and y, if the attribute lists several (CF 5.6)."""
    stated = str(variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping", ""))).strip()
    if ":" in stated:
        return _choose_mapping(stated, {str(dim) for dim in data[variable.name].dims})
    if stated:
        return stated
    found = [str(key) for key, of in data.variables.items() if _MAPPING_ATTRIBUTES & set(of.attrs) and of.size <= 1]
    return found[0] if len(found) == 1 else ""


def _choose_mapping(stated: str, dims: set[str]) -> str:
    """Return the grid mapping of `dims` in a list such as "wgs84: lat lon laea: x y"; the first if none is of them."""
    listed = re.findall(r"([\w.-]+)\s*:\s*((?:[\w.-]+(?![\w.-]*\s*:)\s*)*)", stated)
    own = [name for name, coordinates in listed if dims & set(coordinates.split())]
    return str(own[0] if own else listed[0][0])


def _find_mapping(data: xr.Dataset, variable: xr.DataArray) -> Mapping[str, Any]:
    name = _mapping_name(data, variable)
    return cast(Mapping[str, Any], data[name].attrs) if name in data.variables else {}


def _find_crs(data: xr.Dataset, variable: xr.DataArray) -> pyproj.CRS | None:
    """Return the CRS of the grid mapping, or of attributes of the variable or the file; None without any."""
    mapping = _find_mapping(data, variable)
    found = crs_from_mapping(mapping) if mapping else None
    return found or crs_from_attributes(variable.attrs) or crs_from_attributes(data.attrs)


def require_one_length(lengths: Any, path: Path) -> np.timedelta64:
    """Return the common length of the bounds of time; `ReadError` if they differ or are not positive."""
    lengths = np.unique(lengths)
    if lengths.size != 1 or lengths[0] <= np.timedelta64(0):
        raise ReadError(path, "the bounds of time are not of one positive length")
    return cast(np.timedelta64, lengths[0])
