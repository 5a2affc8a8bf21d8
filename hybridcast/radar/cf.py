"""Any NetCDF file or Zarr folder that follows the CF conventions, read lazily.

The variable is identified by its ``standard_name``, or by its units if it is the only one with units of rain. Axes are
identified by their CF attributes, the CRS by the grid mapping, and the interval of an amount by the bounds of time.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

from hybridcast.core.cf import (
    AMOUNTS,
    RATES,
    find_coordinates,
    is_cf,
    open_cf,
    read_axis,
    read_crs,
    rename_horizontal,
    require_one_length,
)
from hybridcast.core.crs import to_metres
from hybridcast.core.field import as_rate, precipitation, rate_factor, rate_from_accumulation, rate_from_dbz
from hybridcast.core.netcdf import common_attributes
from hybridcast.core.readers import parse_time_in_name
from hybridcast.core.types import MINUTE
from hybridcast.core.units import unit_conversion
from hybridcast.errors import InputWarning, ReadError
from hybridcast.radar._rates import check_field

NAME = "cf"
DESCRIPTION = "any NetCDF or Zarr that follows the CF conventions"

REFLECTIVITIES = ("equivalent_reflectivity_factor",)
#: Units that neither wind nor height has, so that they identify rain without a standard name.
_RAIN_UNITS = re.compile(r"^(mm|kg ?m-2|kg/m2|kg ?m\*\*-2|kg/m\^2)|^dbz$", re.IGNORECASE)


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is NetCDF, by its magic number, or a folder is Zarr, by its metadata."""
    return is_cf(path, head)


def read(path: Path) -> xr.DataArray:
    """Read the precipitation of one file or folder, lazily."""
    data = open_cf(path)
    _refuse_forecast(data, path)
    variable = _rename_axes(_find_precipitation(data, path), path)
    rate, time, attrs = _read_rate(data, variable, path)
    crs = read_crs(data, variable, path)
    field = precipitation(
        rate.transpose("time", "y", "x").data,
        time=time,
        y=read_axis(variable["y"], crs, path),
        x=read_axis(variable["x"], crs, path),
        crs=None if crs is None else to_metres(crs),
        attrs={**common_attributes(data), **_select_attributes(variable), **attrs},
    )
    return check_field(field, path)


def _select_attributes(variable: xr.DataArray) -> dict[str, str]:
    kept = ("source", "institution", "license", "references", "accumulation_interval_minutes")
    return {name: str(variable.attrs[name]) for name in kept if name in variable.attrs}


# --- variable -------------------------------------------------------------------------------------------------


def _find_precipitation(data: xr.Dataset, path: Path) -> xr.DataArray:
    gridded = {name: variable for name, variable in data.data_vars.items() if variable.ndim >= 2}
    for standard_names in (RATES, AMOUNTS, REFLECTIVITIES):
        found = [name for name, variable in gridded.items() if variable.attrs.get("standard_name") in standard_names]
        if found:
            return _require_one(data, found, path)
    found = [name for name, variable in gridded.items() if _RAIN_UNITS.match(str(variable.attrs.get("units", "")))]
    if not found:
        listed = _list_variables(gridded.values())
        raise ReadError(
            path,
            f"no variable has a standard_name of precipitation ({', '.join((*RATES, *AMOUNTS, *REFLECTIVITIES))}) "
            f"or its units; it holds {listed}. Set standard_name and units of the right one, e.g. "
            "data = xarray.open_dataset(path); data[name].attrs.update(standard_name='rainfall_rate', units='mm h-1'); "
            "data.to_netcdf(new_path)",
        )
    return _require_one(data, found, path)


def _require_one(data: xr.Dataset, found: list[Hashable], path: Path) -> xr.DataArray:
    if len(found) > 1:
        listed = _list_variables(data[name] for name in found)
        raise ReadError(path, f"several variables may be the precipitation: {listed}. Keep one")
    return data[found[0]]


def _list_variables(variables: Any) -> str:
    return ", ".join(f"{v.name} ({v.attrs.get('units', 'no units')})" for v in variables) or "no gridded variable"


def _refuse_forecast(data: xr.Dataset, path: Path) -> None:
    names = {data[name].attrs.get("standard_name") for name in data.coords if data[name].size > 1}
    if {"lead_time", "reference_time"} & {*data.dims, *data.variables} or "forecast_period" in names:
        raise ReadError(
            path, "holds a forecast (lead times), not observations. Open it with xarray.open_dataset, or give radar"
        )


# --- axes -----------------------------------------------------------------------------------------------------


def _rename_axes(variable: xr.DataArray, path: Path) -> xr.DataArray:
    """Return the variable with the dims time, y and x, whatever their names in the file."""
    times = find_coordinates(variable, "T", "time")
    variable = rename_horizontal(variable, path)
    if times and times[0] != "time":
        variable = variable.rename({times[0]: "time"})
    if "time" in variable.coords and "time" not in variable.dims:
        variable = variable.expand_dims("time")
    extra = [dim for dim in variable.dims if dim not in ("time", "y", "x")]
    long = [dim for dim in extra if variable.sizes[dim] > 1]
    if long:
        raise ReadError(path, f"has the further dimension {long[0]!r} of size {variable.sizes[long[0]]}; select one")
    return variable.squeeze(extra, drop=True)


# --- values and times -----------------------------------------------------------------------------------------


def _read_rate(data: xr.Dataset, variable: xr.DataArray, path: Path) -> tuple[xr.DataArray, Any, dict[str, Any]]:
    """Return the rate in mm h-1, its times, and further attributes."""
    units = str(variable.attrs.get("units", ""))
    if not units:
        raise ReadError(path, f"{variable.name!r} has no units. Set them, e.g. to 'mm h-1'")
    variable, time = _require_time(mask_invalid(variable), path)
    if units.lower() == "dbz":
        return rate_from_dbz(variable), time, {}
    if rate_factor(units) is not None and variable.attrs.get("standard_name") not in AMOUNTS:
        return as_rate(variable), time, {}
    conversion = unit_conversion(units, "mm")
    if conversion is None:
        raise ReadError(
            path, f"{variable.name!r} in {units!r} is neither a rain rate nor an amount nor dBZ. Correct its units"
        )
    interval, ends = _read_interval(data, variable, path)
    rate = rate_from_accumulation(variable * np.float32(conversion[0]), interval)
    return rate, ends, {"accumulation_interval_minutes": f"{interval / MINUTE:g}"}


def mask_invalid(variable: xr.DataArray) -> xr.DataArray:
    """Set values outside ``valid_range``, ``valid_min`` or ``valid_max`` to NaN.

    These limits are in packed units, unless they are floats and the packed values integers (NetCDF Users Guide,
    appendix A).
    """
    low, high = variable.attrs.get("valid_range", (variable.attrs.get("valid_min"), variable.attrs.get("valid_max")))
    low, high = (None if limit is None else _unpack(limit, variable) for limit in (low, high))
    if low is not None:
        variable = variable.where(~(variable < low))
    if high is not None:
        variable = variable.where(~(variable > high))
    return variable


def _unpack(limit: Any, variable: xr.DataArray) -> Any:
    packed = np.dtype(variable.encoding.get("dtype", variable.dtype))
    if packed.kind in "iu" and np.asarray(limit).dtype.kind == "f":
        return limit
    return limit * variable.encoding.get("scale_factor", 1) + variable.encoding.get("add_offset", 0)


def _require_time(variable: xr.DataArray, path: Path) -> tuple[xr.DataArray, Any]:
    if "time" not in variable.dims:
        time = parse_time_in_name(path.name)
        if time is None:
            raise ReadError(path, "no time, neither a coordinate nor in its name. Add a scalar coordinate 'time' (UTC)")
        variable = variable.expand_dims(time=[time])
    if not np.issubdtype(variable["time"].dtype, np.datetime64):
        raise ReadError(path, f"its time cannot be decoded ({variable['time'].dtype}); give it CF units and calendar")
    return variable, variable["time"].values


def _read_interval(data: xr.Dataset, variable: xr.DataArray, path: Path) -> tuple[np.timedelta64, Any]:
    """Return the interval over which an amount is accumulated, and the ends of the intervals.

    Both follow from the bounds of time. Without bounds the time stamps are taken as ends. The interval in
    ``cell_methods`` is, by CF, that of the original data, so it is used only if the time step does not contradict it.
    If no interval is stated, the time step is used, with a warning: an hourly sum every 5 minutes would be read with
    rates twelve times too high.
    """
    time = variable["time"]
    bounds = time.attrs.get("bounds")
    if bounds in data.variables:
        starts, ends = np.moveaxis(np.atleast_2d(data[bounds].values), -1, 0)
        return require_one_length(ends - starts, path), ends
    stated = _read_stated_interval(variable)
    steps = np.diff(time.values)
    step = None if steps.size == 0 else steps.min()
    if stated is None and step is None:
        raise ReadError(path, "holds an amount, but not the time it fell in. Add bounds of time (CF 7.1)")
    if stated is not None and step is not None and stated != step:
        raise ReadError(path, f"the interval ({stated}) is not the time step ({step}). Add bounds of time (CF 7.1)")
    if stated is None and step is not None:
        warnings.warn(
            f"{path}: the time in which its amounts fell is not stated; taken as the time step, "
            f"{step / MINUTE:g} min. Add bounds of time (CF 7.1) if that is wrong",
            InputWarning,
            stacklevel=2,
        )
    return cast(np.timedelta64, stated if step is None else step), time.values


def _read_stated_interval(variable: xr.DataArray) -> np.timedelta64 | None:
    minutes = variable.attrs.get("accumulation_interval_minutes")
    if minutes is not None:
        return _to_timedelta(float(minutes) * 60)
    found = re.search(r"time: sum \(interval: ([\d.]+) ([a-z]+)\)", str(variable.attrs.get("cell_methods", "")))
    conversion = unit_conversion(found[2], "s") if found else None
    if found is None or conversion is None:
        return None
    return _to_timedelta(float(found[1]) * conversion[0])


def _to_timedelta(seconds: float) -> np.timedelta64:
    return np.timedelta64(round(seconds * 1e9), "ns")
