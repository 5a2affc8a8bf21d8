"""Any NetCDF file or Zarr folder that follows the CF conventions, read lazily.

The variable is found by its ``standard_name``, else by its units if it is the only one they fit. Axes are found by
their CF attributes, the place by the grid mapping, the interval of an amount by the bounds of time.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core.field import (
    as_rate,
    precipitation,
    rate_factor,
    rate_from_accumulation,
    rate_from_dbz,
)
from hybridcast.errors import InputWarning, ReadError
from hybridcast.radar._crs import METRES, crs_from_cf, to_metres
from hybridcast.radar._files import parse_time_in_name
from hybridcast.radar._netcdf import check_field, common_attributes, is_netcdf, open_netcdf

NAME = "cf"
DESCRIPTION = "any NetCDF or Zarr that follows the CF conventions"

RATES = ("lwe_precipitation_rate", "rainfall_rate", "precipitation_flux", "rainfall_flux")
AMOUNTS = (
    "lwe_thickness_of_precipitation_amount",
    "thickness_of_rainfall_amount",
    "precipitation_amount",
    "rainfall_amount",
)
REFLECTIVITIES = ("equivalent_reflectivity_factor",)

_ZARR_FILES = ("zarr.json", ".zgroup", ".zmetadata", ".zattrs")
#: An amount of water counts as mm: 1 kg m-2 is 1 mm.
MILLIMETRES = {"mm": 1.0, "kg m-2": 1.0, "kg/m2": 1.0, "kg m**-2": 1.0, "kg/m^2": 1.0, "cm": 10.0, "m": 1000.0}
#: Units that no wind or height has, so that they tell rain without a standard name.
_RAIN_UNITS = re.compile(r"^(mm|kg ?m-2|kg/m2|kg ?m\*\*-2|kg/m\^2)|^dbz$", re.IGNORECASE)
_SECONDS = {"second": 1, "sec": 1, "s": 1, "minute": 60, "min": 60, "hour": 3600, "hr": 3600, "h": 3600, "day": 86400}


def recognises(path: Path, head: bytes) -> bool:
    """Tell NetCDF by its magic number and Zarr by the metadata in the folder."""
    return is_netcdf(head) or (path.is_dir() and any((path / name).is_file() for name in _ZARR_FILES))


def read(path: Path) -> xr.DataArray:
    """Read the precipitation of one file or folder, lazily."""
    data = open_cf(path)
    _refuse_forecast(data, path)
    variable = _axes_named(_precipitation_variable(data, path), path)
    rate, time, attrs = _rate(data, variable, path)
    crs = read_crs(data, variable, path)
    field = precipitation(
        rate.transpose("time", "y", "x").data,
        time=time,
        y=read_axis(variable["y"], crs, path),
        x=read_axis(variable["x"], crs, path),
        crs=None if crs is None else to_metres(crs),
        attrs={**common_attributes(data), **_own_attributes(variable), **attrs},
    )
    return check_field(field, path)


def open_cf(path: Path) -> xr.Dataset:
    """Open NetCDF or Zarr lazily; `ReadError` if it is damaged."""
    if not path.is_dir():
        return open_netcdf(path, chunks={})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unconsolidated metadata are fine
            return cast(xr.Dataset, xr.open_zarr(path, chunks={}))
    except Exception as error:  # zarr raises KeyError, ValueError, and errors of its own
        raise ReadError(path, f"damaged, or no Zarr store ({type(error).__name__}: {error})") from error


def _own_attributes(variable: xr.DataArray) -> dict[str, str]:
    kept = ("source", "institution", "license", "references", "accumulation_interval_minutes")
    return {name: str(variable.attrs[name]) for name in kept if name in variable.attrs}


# --- which variable -------------------------------------------------------------------------------------------


def _precipitation_variable(data: xr.Dataset, path: Path) -> xr.DataArray:
    gridded = {name: variable for name, variable in data.data_vars.items() if variable.ndim >= 2}
    for standard_names in (RATES, AMOUNTS, REFLECTIVITIES):
        found = [name for name, variable in gridded.items() if variable.attrs.get("standard_name") in standard_names]
        if found:
            return _only(data, found, path)
    found = [name for name, variable in gridded.items() if _RAIN_UNITS.match(str(variable.attrs.get("units", "")))]
    if not found:
        raise ReadError(
            path,
            f"no variable has a standard_name of precipitation ({', '.join((*RATES, *AMOUNTS, *REFLECTIVITIES))}) "
            f"or its units; it holds {_listed(gridded.values())}. Set standard_name and units of the right one, e.g. "
            "data = xarray.open_dataset(path); data[name].attrs.update(standard_name='rainfall_rate', units='mm h-1'); "
            "data.to_netcdf(new_path)",
        )
    return _only(data, found, path)


def _only(data: xr.Dataset, found: list[Hashable], path: Path) -> xr.DataArray:
    if len(found) > 1:
        raise ReadError(
            path, f"several variables may be the precipitation: {_listed(data[name] for name in found)}. Keep one"
        )
    return data[found[0]]


def _listed(variables: Any) -> str:
    return ", ".join(f"{v.name} ({v.attrs.get('units', 'no units')})" for v in variables) or "no gridded variable"


def _refuse_forecast(data: xr.Dataset, path: Path) -> None:
    names = {data[name].attrs.get("standard_name") for name in data.coords if data[name].size > 1}
    if {"lead_time", "reference_time"} & {*data.dims, *data.variables} or "forecast_period" in names:
        raise ReadError(
            path, "holds a forecast (lead times), not observations. Open it with xarray.open_dataset, or give radar"
        )


# --- axes -----------------------------------------------------------------------------------------------------


def _axes_named(variable: xr.DataArray, path: Path) -> xr.DataArray:
    """Return the variable with the dims time, y and x, whatever they are called in the file."""
    import cf_xarray  # noqa: F401 (adds .cf to xarray objects)

    guessed = variable.cf.guess_coord_axis()
    names: dict[Hashable, str] = {}
    for key, other, ours in (("X", "longitude", "x"), ("Y", "latitude", "y")):
        name = find_dimension(guessed, key, other, path)
        names[name] = ours
        if "units" not in variable[name].attrs and name in guessed.cf.coordinates.get(other, []):
            variable = variable.assign_coords({name: variable[name].assign_attrs(units="degrees")})
    times = _candidates(guessed, "T", "time")
    if times:
        names[times[0]] = "time"
    variable = variable.rename({old: new for old, new in names.items() if old != new})
    if "time" in variable.coords and "time" not in variable.dims:
        variable = variable.expand_dims("time")
    extra = [dim for dim in variable.dims if dim not in ("time", "y", "x")]
    long = [dim for dim in extra if variable.sizes[dim] > 1]
    if long:
        raise ReadError(path, f"has the further dimension {long[0]!r} of size {variable.sizes[long[0]]}; select one")
    return variable.squeeze(extra, drop=True)


def _candidates(variable: xr.DataArray, axis: str, coordinate: str) -> list[Hashable]:
    """Name the coordinates along an axis; those that are a dimension, or scalar, first of the axis."""
    found = [*variable.cf.axes.get(axis, []), *variable.cf.coordinates.get(coordinate, [])]
    return [name for name in found if name in variable.dims or variable[name].ndim == 0]


def find_dimension(variable: xr.DataArray, axis: str, coordinate: str, path: Path) -> Hashable:
    """Name the dimension of an axis ("X"), or of its coordinate ("longitude"); `ReadError` if there is none."""
    found = [name for name in _candidates(variable, axis, coordinate) if name in variable.dims]
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


def read_axis(axis: xr.DataArray, crs: pyproj.CRS | None, path: Path) -> Any:
    """Return the values of x or y in metres, or degrees where the CRS is geographic."""
    values = np.asarray(axis.values, dtype=np.float64)
    if crs is not None and crs.is_geographic:
        return _around_greenwich(values) if axis.name == "x" else values
    units = str(axis.attrs.get("units", "m"))  # a file that leaves them out means metres; the spacing will tell
    if units not in METRES:
        raise ReadError(path, f"{axis.name!r} is in {units!r}; metres, kilometres or degrees were expected")
    return values * METRES[units]


def _around_greenwich(longitude: Any) -> Any:
    """Put 0..360 degrees to -180..180, unless that tears the grid apart."""
    shifted = np.where(longitude > 180, longitude - 360, longitude)
    return shifted if (np.diff(shifted) > 0).all() == (np.diff(longitude) > 0).all() else longitude


# --- place ----------------------------------------------------------------------------------------------------


def read_crs(data: xr.Dataset, variable: xr.DataArray, path: Path) -> pyproj.CRS | None:
    """Return the CRS of a variable with axes x and y; None, with a warning, where its grid mapping is not there."""
    mapping = str(variable.attrs.get("grid_mapping", ""))
    name = mapping.split(":")[0].strip()
    if name in data.variables:
        return crs_from_cf(data[name].attrs)
    if _in_degrees(variable["x"]) and _in_degrees(variable["y"]):
        return pyproj.CRS.from_epsg(4326)
    if name:
        warnings.warn(f"{path}: its grid mapping {name!r} is not there; read as a local grid", InputWarning, 2)
    return None


def _in_degrees(axis: xr.DataArray) -> bool:
    return str(axis.attrs.get("units", "")).lower().startswith("degree")


# --- values and times -----------------------------------------------------------------------------------------


def _rate(data: xr.Dataset, variable: xr.DataArray, path: Path) -> tuple[xr.DataArray, Any, dict[str, Any]]:
    """Return the rate in mm h-1, its times, and attributes that say where it comes from."""
    units = str(variable.attrs.get("units", ""))
    if not units:
        raise ReadError(path, f"{variable.name!r} has no units. Set them, e.g. to 'mm h-1'")
    variable, time = _with_time(mask_invalid(variable), path)
    if units.lower() == "dbz":
        return rate_from_dbz(variable), time, {}
    if rate_factor(units) is not None and variable.attrs.get("standard_name") not in AMOUNTS:
        return as_rate(variable), time, {}
    if units not in MILLIMETRES:
        raise ReadError(
            path, f"{variable.name!r} in {units!r} is neither a rain rate nor an amount nor dBZ. Correct its units"
        )
    interval, ends = _interval(data, variable, path)
    minutes = f"{interval / np.timedelta64(1, 'm'):g}"
    rate = rate_from_accumulation(variable * np.float32(MILLIMETRES[units]), interval)
    return rate, ends, {"accumulation_interval_minutes": minutes}


def mask_invalid(variable: xr.DataArray) -> xr.DataArray:
    """Make values out of ``valid_range``, ``valid_min`` or ``valid_max`` NaN.

    These are in packed units, unless they are floats and the packed values integers (NetCDF Users Guide, appendix A).
    """
    low, high = variable.attrs.get("valid_range", (variable.attrs.get("valid_min"), variable.attrs.get("valid_max")))
    low, high = (None if limit is None else _unpacked(limit, variable) for limit in (low, high))
    if low is not None:
        variable = variable.where(~(variable < low))
    if high is not None:
        variable = variable.where(~(variable > high))
    return variable


def _unpacked(limit: Any, variable: xr.DataArray) -> Any:
    packed = np.dtype(variable.encoding.get("dtype", variable.dtype))
    if packed.kind in "iu" and np.asarray(limit).dtype.kind == "f":
        return limit
    return limit * variable.encoding.get("scale_factor", 1) + variable.encoding.get("add_offset", 0)


def _with_time(variable: xr.DataArray, path: Path) -> tuple[xr.DataArray, Any]:
    if "time" not in variable.dims:
        named = parse_time_in_name(path.name)
        if named is None:
            raise ReadError(path, "no time, neither a coordinate nor in its name. Add a scalar coordinate 'time' (UTC)")
        variable = variable.expand_dims(time=[named])
    if not np.issubdtype(variable["time"].dtype, np.datetime64):
        raise ReadError(path, f"its time cannot be decoded ({variable['time'].dtype}); give it CF units and calendar")
    return variable, variable["time"].values


def _interval(data: xr.Dataset, variable: xr.DataArray, path: Path) -> tuple[np.timedelta64, Any]:
    """Return the time in which an amount fell, and the ends of the intervals.

    The bounds of time tell. Without them the stamps are taken as ends; what cell_methods call "interval" is, by
    CF, that of the data that went in, so it stands only if the time step does not contradict it. Where nothing is
    stated the time step is taken, with a warning: the sum of an hour every 5 minutes would come out too high.
    """
    time = variable["time"]
    bounds = time.attrs.get("bounds")
    if bounds in data.variables:
        starts, ends = np.moveaxis(np.atleast_2d(data[bounds].values), -1, 0)
        return _one_length(ends - starts, path, "bounds of time"), ends
    stated = _stated_interval(variable)
    steps = np.diff(time.values)
    step = None if steps.size == 0 else steps.min()
    if stated is None and step is None:
        raise ReadError(path, "holds an amount, but not the time it fell in. Add bounds of time (CF 7.1)")
    if stated is not None and step is not None and stated != step:
        raise ReadError(path, f"the interval ({stated}) is not the time step ({step}). Add bounds of time (CF 7.1)")
    if stated is None and step is not None:
        warnings.warn(
            f"{path}: the time in which its amounts fell is not stated; taken as the time step, "
            f"{step / np.timedelta64(1, 'm'):g} min. Add bounds of time (CF 7.1) if that is wrong",
            InputWarning,
            stacklevel=2,
        )
    return cast(np.timedelta64, stated if step is None else step), time.values


def _one_length(lengths: Any, path: Path, what: str) -> np.timedelta64:
    lengths = np.unique(lengths)
    if lengths.size != 1 or lengths[0] <= np.timedelta64(0):
        raise ReadError(path, f"the {what} are not of one positive length")
    return cast(np.timedelta64, lengths[0])


def _stated_interval(variable: xr.DataArray) -> np.timedelta64 | None:
    minutes = variable.attrs.get("accumulation_interval_minutes")
    if minutes is not None:
        return _seconds(float(minutes) * 60)
    found = re.search(r"time: sum \(interval: ([\d.]+) ([a-z]+?)s?\)", str(variable.attrs.get("cell_methods", "")))
    if found is None or found[2] not in _SECONDS:
        return None
    return _seconds(float(found[1]) * _SECONDS[found[2]])


def _seconds(number: float) -> np.timedelta64:
    return np.timedelta64(round(number * 1e9), "ns")
