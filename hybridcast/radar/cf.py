"""Any NetCDF file or Zarr folder that follows the CF conventions, read lazily.

The variable is identified by its ``standard_name``, or by its units if it is the only one with units of rain. Axes are
identified by their CF attributes, the CRS by the grid mapping or by attributes such as ``proj4``, and the interval of
an amount by the bounds of time or an attribute. Of a forecast only the analysis (lead time 0) is read.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.cf import AMOUNTS, RATES, find_coordinates, is_cf, open_cf, place
from hybridcast.core.cf_times import parse_time_text
from hybridcast.core.field import precipitation, rate_from_accumulation, rate_from_dbz
from hybridcast.core.netcdf import common_attributes
from hybridcast.core.time_steps import iso_time
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.core.types import MINUTE
from hybridcast.errors import InputWarning, ReadError
from hybridcast.radar._analyses import select_analyses
from hybridcast.radar._intervals import Interval, read_averaging, read_interval
from hybridcast.radar._missing import check_reflectivities, mask_by_flags, mask_missing
from hybridcast.radar._rates import Z_R_RELATION, check_field
from hybridcast.radar._statements import refuse_local_times, refuse_other_than_rain
from hybridcast.radar._units import RainUnits, read_rain_units

NAME = "cf"
DESCRIPTION = "any NetCDF or Zarr that follows the CF conventions"

REFLECTIVITIES = ("equivalent_reflectivity_factor",)
#: Words in the names of variables that have units of rain, but are not the rain.
_OTHER = re.compile(
    r"snow|hail|evap|runoff|soil|cloud|vapou?r|pwat|tcw|ice|height|diff|err(or)?|std|uncert|prob|qual|convective|"
    r"stratiform|large_?scale|random|weight|distance",
    re.IGNORECASE,
)
#: Coordinates of one of several fields of the same time.
_ONE_OF_SEVERAL = re.compile(r"percentile|quantile|realization|member|ensemble|\bens|threshold", re.IGNORECASE)
#: Times that a file covers are those of its frames within this.
_FRAME = np.timedelta64(1, "h")
#: Units that neither height nor wind has.
_RAIN_UNITS = re.compile(r"^[\d./e\s]*(mm|dbz)", re.IGNORECASE)
#: Words in the names of variables of water per area that are rain.
_RAIN = re.compile(r"rain|precip|^rr|^pr$|^tp$|qpe|acc|pcp|prec", re.IGNORECASE)


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is NetCDF, by its magic number, or a folder is Zarr, by its metadata."""
    return is_cf(path, head)


def read(path: Path) -> xr.DataArray:
    """Read the precipitation of one file or folder, lazily."""
    return _read(path, None)


def read_amounts(path: Path, interval: np.timedelta64) -> xr.DataArray:
    """Do as `read`; `interval` is that of amounts."""
    return _read(path, interval)


def _read(path: Path, interval: np.timedelta64 | None) -> xr.DataArray:
    data = select_analyses(open_cf(path), path)
    found = _find_precipitation(data, path)
    refuse_other_than_rain(found, path)
    placed = place(data, mask_by_flags(data, found, path), path)
    variable, left_out = _select_frames(_rename_time(_attach_time(data, placed.variable)), path)
    refuse_local_times(data, variable, path)
    units = _read_units(variable, path)
    rate, time, attrs = _read_rate(data, _require_time(data, mask_missing(variable, path), path), units, interval, path)
    field = precipitation(
        rate.transpose("time", "y", "x").data,
        time=time,
        y=placed.y,
        x=placed.x,
        crs=placed.crs,
        attrs={
            **common_attributes(data),
            **_select_attributes(variable),
            "variable": str(variable.name),
            **left_out,
            **attrs,
        },
    )
    return check_field(field, path)


def _select_attributes(variable: xr.DataArray) -> dict[str, str]:
    kept = ("source", "institution", "license", "references")
    return {name: str(variable.attrs[name]) for name in kept if name in variable.attrs}


# --- variable -------------------------------------------------------------------------------------------------


def _find_precipitation(data: xr.Dataset, path: Path) -> xr.DataArray:
    gridded = {name: variable for name, variable in data.data_vars.items() if variable.ndim >= 2}
    for standard_names in (RATES, AMOUNTS, REFLECTIVITIES):
        found = [name for name, variable in gridded.items() if variable.attrs.get("standard_name") in standard_names]
        if found:
            return _require_one(data, found, path)
    found = [name for name, variable in gridded.items() if _may_be_rain(variable)]
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


def _may_be_rain(variable: xr.DataArray) -> bool:
    """Return whether units and names are those of rain, where no standard name of CF says what a variable is.

    Metres and metres per second are also height and wind, and water per area may be anywhere, unless a name says rain.
    """
    units = str(variable.attrs.get("units", ""))
    standard_name = str(variable.attrs.get("standard_name", ""))
    names = (standard_name, str(variable.attrs.get("long_name", "")), str(variable.name))
    if read_rain_units(units) is None or any(_OTHER.search(name) for name in names):
        return False
    if standard_name:
        return _RAIN.search(standard_name) is not None
    return _RAIN_UNITS.match(units) is not None or any(_RAIN.search(name) for name in names)


def _require_one(data: xr.Dataset, found: list[Hashable], path: Path) -> xr.DataArray:
    if len(found) > 1:
        listed = _list_variables(data[name] for name in found)
        raise ReadError(
            path,
            f"several variables may be the precipitation: {listed}. Keep one, e.g. xarray.open_dataset(path)"
            f".drop_vars({str(found[-1])!r}).to_netcdf(new_path)",
        )
    return data[found[0]]


def _list_variables(variables: Iterable[xr.DataArray]) -> str:
    return ", ".join(f"{v.name} ({v.attrs.get('units', 'no units')})" for v in variables) or "no gridded variable"


# --- frames ---------------------------------------------------------------------------------------------------


def _attach_time(data: xr.Dataset, variable: xr.DataArray) -> xr.DataArray:
    """Return the variable with the only time of the file, where no attribute says that it is its coordinate."""
    if find_coordinates(variable, "T", "time") or "time" in variable.dims:
        return variable
    times = {name: of for name, of in data.variables.items() if of.dtype.kind == "M" and of.size == 1}
    named = [of for name, of in times.items() if name == "time" or of.attrs.get("standard_name") == "time"]
    return variable.assign_coords(time=((), named[0].values.reshape(()))) if len(named) == 1 else variable


def _rename_time(variable: xr.DataArray) -> xr.DataArray:
    """Return the variable with its time, if it has one, as the dimension time."""
    times = find_coordinates(variable, "T", "time")
    if times and times[0] != "time":
        variable = variable.rename({times[0]: "time"})
    if "time" in variable.coords and "time" not in variable.dims:
        variable = variable.expand_dims("time")
    return variable


def _select_frames(variable: xr.DataArray, path: Path) -> tuple[xr.DataArray, dict[str, str]]:
    """Return the variable with no dims but time, y and x, and as attributes what the others of size 1 were."""
    extra = [dim for dim in variable.dims if dim not in ("time", "y", "x")]
    for dim in extra:
        if variable.sizes[dim] > 1:
            raise ReadError(
                path,
                f"{variable.name!r} has the further dimension {str(dim)!r} of size {variable.sizes[dim]}"
                f"{_show_labels(variable, dim)}. Select one, e.g. xarray.open_dataset(path).isel({dim}=0)"
                ".to_netcdf(new_path)",
            )
    single = variable.squeeze(extra)
    kept = {str(name): of for name, of in single.coords.items() if of.ndim == 0 and of.dtype.kind in "iufUO"}
    attrs = {name: f"{of.values} {of.attrs.get('units', '')}".strip() for name, of in kept.items() if _is_label(of)}
    _note_one_of_several(variable, attrs, path)
    return single.drop_vars(list(kept)), attrs


def _note_one_of_several(variable: xr.DataArray, labels: dict[str, str], path: Path) -> None:
    found = [f"{name} = {label}" for name, label in labels.items() if _ONE_OF_SEVERAL.search(name)]
    if found:
        warnings.warn(
            f"{path}: {variable.name!r} is that of {', '.join(found)}, read as the observation",
            InputWarning,
            stacklevel=2,
        )


def _is_label(coordinate: xr.DataArray) -> bool:
    return "grid_mapping_name" not in coordinate.attrs and "crs_wkt" not in coordinate.attrs


def _show_labels(variable: xr.DataArray, dim: Hashable) -> str:
    if dim not in variable.coords:
        return ""
    labels = variable[dim].values
    return f" ({', '.join(str(label) for label in labels[:4])}{', ...' if labels.size > 4 else ''})"


def _require_time(data: xr.Dataset, variable: xr.DataArray, path: Path) -> xr.DataArray:
    if "time" not in variable.dims:
        time = parse_time_in_name(path.name)
        if time is None:
            raise ReadError(path, "no time, neither a coordinate nor in its name. Add a scalar coordinate 'time' (UTC)")
        variable = variable.expand_dims(time=[time])
    time = variable.coords.get("time")
    if time is None or not np.issubdtype(time.dtype, np.datetime64):
        raise ReadError(
            path,
            f"its time cannot be decoded ({_show_time(time)}). Give it units such as 'minutes since 2020-01-01' and a "
            "calendar of today, 'standard'",
        )
    _note_coverage(data, time, path)
    return variable


def _show_time(time: xr.DataArray | None) -> str:
    """Return the first time, and its units or its calendar, for an error message."""
    if time is None:
        return "no coordinate"
    first = np.ravel(time.values)[0]
    calendar = getattr(first, "calendar", None)
    return f"{first!s}, " + (f"calendar {calendar}" if calendar else str(time.attrs.get("units", "without units")))


def _note_coverage(data: xr.Dataset, time: xr.DataArray, path: Path) -> None:
    """Warn if no frame is in the time that the file covers by ACDD (``time_coverage_start`` and ``_end``)."""
    texts = [str(data.attrs.get(f"time_coverage_{which}", "")) for which in ("start", "end")]
    start, end = (parse_time_text(text) for text in texts)
    if start is None or end is None or not time.size:
        return
    late = _FRAME if ":" in texts[1] else np.timedelta64(1, "D")
    if (time.values > end + late).all() or (time.values < start - _FRAME).all():
        warnings.warn(
            f"{path}: its time, {iso_time(np.ravel(time.values)[0])}, is outside what it covers by its attributes, "
            f"{texts[0]} to {texts[1]}: one is wrong, or local",
            InputWarning,
            stacklevel=2,
        )


# --- values ---------------------------------------------------------------------------------------------------


def _read_units(variable: xr.DataArray, path: Path) -> RainUnits:
    """Return the meaning of the units; `ReadError` if it is unknown, or contradicts the standard name."""
    text, standard_name = str(variable.attrs.get("units", "")), variable.attrs.get("standard_name")
    if not text:
        raise ReadError(path, f"{variable.name!r} has no units. Set them, e.g. to 'mm h-1'")
    units = read_rain_units(text)
    if units is None:
        raise ReadError(
            path, f"{variable.name!r} in {text!r} is neither a rain rate nor an amount nor dBZ. Correct its units"
        )
    stated = {"rate": RATES, "amount": AMOUNTS, "reflectivity": REFLECTIVITIES}
    contradicting = any(standard_name in names for kind, names in stated.items() if kind != units.kind)
    if contradicting and units.interval is None:
        raise ReadError(
            path, f"{variable.name!r} in {text!r} is no {standard_name!r}, its standard_name. Correct one of them"
        )
    return units


def _read_rate(
    data: xr.Dataset, variable: xr.DataArray, units: RainUnits, given: np.timedelta64 | None, path: Path
) -> tuple[xr.DataArray, Any, dict[str, Any]]:
    """Return the rate in mm h-1, its times, and further attributes."""
    time = variable["time"].values
    if units.kind == "reflectivity":
        return rate_from_dbz(check_reflectivities(variable, path)), time, {"z_r_relation": Z_R_RELATION}
    values = variable.astype(np.float32) * np.float32(units.factor)
    if units.kind == "rate":
        averaging = read_averaging(data, variable)
        return (values, time, {}) if averaging is None else (values, averaging.ends, _describe_interval(averaging))
    interval = read_interval(data, variable, {"its units": units.interval, "the interval given": given}, path)
    values.attrs["units"] = "mm"
    return rate_from_accumulation(values, interval.length), interval.ends, _describe_interval(interval)


def _describe_interval(interval: Interval) -> dict[str, Any]:
    return {"accumulation_interval_minutes": float(interval.length / MINUTE)}
