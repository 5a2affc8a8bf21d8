"""Any NetCDF file of stations that follows CF's discrete sampling geometries, ``featureType = "timeSeries"``.

Supported are the orthogonal and incomplete multidimensional arrays with dims station and time (CF 9.3.1, and 9.3.2 with
a common time), and a single station. Rain is identified by its ``standard_name``, as for radar: a rate, or an amount,
whose interval is given by the bounds of time, an attribute or ``cell_methods``, otherwise by a regular time step.
Without bounds, time stamps are taken as ends of intervals.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.cf import AMOUNTS, RATES, require_one_length
from hybridcast.core.field import RATE, as_rate, rate_factor, rate_from_accumulation
from hybridcast.core.intervals import read_cell_methods, read_interval_attributes
from hybridcast.core.listing import list_first
from hybridcast.core.netcdf import common_attributes, inspect_netcdf, is_netcdf, open_netcdf
from hybridcast.core.types import MINUTE
from hybridcast.core.units import unit_conversion
from hybridcast.errors import InputWarning, ReadError
from hybridcast.stations.accumulations import Series, find_accumulations
from hybridcast.stations.reporting_intervals import read_interval
from hybridcast.stations.schema import INTERVAL, LEFT_OUT, POSITIONS, VARIABLES, station_reports
from hybridcast.stations.table_units import find_other_time

NAME = "cf-stations"
DESCRIPTION = "any NetCDF of stations that follows CF (featureType timeSeries)"

#: Descriptions of amounts that are added up since some time.
_ADDED_UP = re.compile(r"since (the )?(midnight|start|beginning|installation|\d)|cumulative|counter|running total")
_BOUNDS = "Add the bounds of time (CF 7.1)"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is NetCDF with the ``featureType`` of time series of stations."""
    if not is_netcdf(head):
        return False
    attrs = inspect_netcdf(path, head)[0]
    if not attrs and not path.is_dir():  # NetCDF 3
        with open_netcdf(path) as data:
            attrs = {name: str(value) for name, value in data.attrs.items()}
    return attrs.get("featureType", "").lower() == "timeseries"


def read(path: Path) -> xr.Dataset:
    """Read all stations of one file."""
    with open_netcdf(path, decode_timedelta=False) as data:
        data = _rename_dims(data, path)
        rain = _find_rain(data, path)
        _refuse_other_times(data, path)
        interval, ends = _read_interval(data, rain, path)
        amount = rain.attrs.get("standard_name") in AMOUNTS or rate_factor(str(rain.attrs.get("units"))) is None
        rain = _in_millimetres(rain, path) if amount else rain
        rate = rate_from_accumulation(rain, interval) if amount else as_rate(rain)
        values = rate.transpose("station", "time").values
        rising = _find_accumulations(rain, ends, interval) if amount and not _states_interval(data) else []
        if rising:
            values = values.copy()
            values[rising] = np.nan
        names = data["station"].values
        return station_reports(
            values,
            station=names,
            time=ends,
            interval=interval,
            coords=_read_coordinates(data, path),
            other_variables=_read_other_variables(data),
            attrs={
                **common_attributes(data),
                **_quality_attributes(data),
                **_describe_accumulations(names[rising], path),
            },
        )


def _rename_dims(data: xr.Dataset, path: Path) -> xr.Dataset:
    """Return the dataset with dims station and time, and the names of the stations as a coordinate."""
    times = [name for name in data.dims if name in data.coords and np.issubdtype(data[name].dtype, np.datetime64)]
    names = [name for name, of in data.variables.items() if of.attrs.get("cf_role") == "timeseries_id"]
    if len(times) != 1 or len(names) != 1 or data[names[0]].ndim > 1:
        raise ReadError(
            path, f"has {len(times)} axes of time and {len(names)} variables with cf_role timeseries_id, not 1"
        )
    data = data.rename({times[0]: "time"} if times[0] != "time" else {})
    if data[names[0]].ndim == 0:
        data = data.expand_dims("station")
        data = data.squeeze("station").expand_dims(station=[0]) if "station" in data.variables else data
    dim = "station" if data[names[0]].ndim == 0 or "station" in data[names[0]].dims else data[names[0]].dims[0]
    station = np.atleast_1d(_decode_texts(data[names[0]].values))
    data = data.rename({dim: "station"}) if dim != "station" else data
    return data.drop_vars([names[0]]).assign_coords(station=station)


def _decode_texts(values: Any) -> Any:
    return np.array(
        [v.decode("utf-8", "replace").strip() if isinstance(v, bytes) else str(v) for v in np.ravel(values)], object
    )


def _find_rain(data: xr.Dataset, path: Path) -> xr.DataArray:
    found = [of for of in data.data_vars.values() if of.attrs.get("standard_name") in (*RATES, *AMOUNTS)]
    if len(found) != 1 or set(found[0].dims) != {"station", "time"}:
        raise ReadError(
            path,
            f"holds {len(found)} variables of stations and times with a standard_name of precipitation, "
            f"({', '.join((*RATES, *AMOUNTS))}), not 1",
        )
    if not found[0].attrs.get("units"):
        raise ReadError(path, f"{found[0].name!r} has no units")
    return found[0]


def _in_millimetres(rain: xr.DataArray, path: Path) -> xr.DataArray:
    """Return the amounts in mm; `ReadError` if they are said to be added up since some time."""
    described = " ".join(str(rain.attrs.get(name, "")) for name in ("long_name", "comment", "cell_methods"))
    found = _ADDED_UP.search(described.lower())
    if found:
        raise ReadError(path, f"{rain.name!r} is described as {described.strip()!r}, so no amount in an interval")
    conversion = unit_conversion(str(rain.attrs["units"]), "mm")
    if conversion is None or conversion == (1.0, 0.0):
        return rain
    return (rain * conversion[0]).assign_attrs({**rain.attrs, "units": "mm"})


def _states_interval(data: xr.Dataset) -> bool:
    return "bounds" in data["time"].attrs or INTERVAL in data.attrs


def _find_accumulations(rain: xr.DataArray, ends: Any, interval: np.timedelta64) -> list[int]:
    """Return the rows of the stations whose values are an accumulation."""
    values = rain.transpose("station", "time").values.astype(np.float64)
    found = find_accumulations({str(row): Series(own, ends, interval) for row, own in enumerate(values)})
    return sorted(map(int, found))


def _describe_accumulations(stations: Any, path: Path) -> dict[str, str]:
    """Return the attribute that names stations whose values are an accumulation, after a warning."""
    if not stations.size:
        return {}
    text = f"{list_first(stations, 3)}: its values only rise, so they are an accumulation"
    warnings.warn(InputWarning(f"{path}: left out {text}. {_BOUNDS} if not"), stacklevel=2)
    return {LEFT_OUT: text}


def _refuse_other_times(data: xr.Dataset, path: Path) -> None:
    described = " ".join(str(data["time"].attrs.get(name, "")) for name in ("long_name", "comment", "description"))
    found = find_other_time(f"time {described}")
    if found and "bounds" not in data["time"].attrs:
        raise ReadError(
            path,
            f"its times are described as {described.strip()!r}, but are ends of intervals in UTC. Convert "
            f"them and the description, or {_BOUNDS[0].lower()}{_BOUNDS[1:]}",
        )


def _read_interval(data: xr.Dataset, rain: xr.DataArray, path: Path) -> tuple[np.timedelta64, Any]:
    """Return the interval of the reports, as stated or by regular times, and the ends of the intervals."""
    bounds, times = data["time"].attrs.get("bounds", ""), data["time"].values
    if bounds in data.variables:
        starts, ends = np.moveaxis(data[bounds].values, -1, 0)
        return require_one_length(ends - starts, path), ends
    if INTERVAL in data.attrs:
        return np.timedelta64(round(float(data.attrs[INTERVAL]) * 60), "s"), times
    regular = read_interval(times, np.zeros(times.size))
    stated = _read_stated_interval(data, rain, regular.interval, path)
    if stated is not None:
        return stated, times
    if regular.interval is None:
        raise ReadError(path, f"states no interval of its reports ({regular.reason}). {_BOUNDS}")
    return regular.interval, regular.ends


def _read_stated_interval(
    data: xr.Dataset, rain: xr.DataArray, regular: np.timedelta64 | None, path: Path
) -> np.timedelta64 | None:
    """Return the interval in attributes or ``cell_methods``; None if they state none.

    The interval in ``cell_methods`` is, by CF, that of the original data, so one shorter than the time step says
    nothing.
    """
    stated = {length for attrs in (rain.attrs, data.attrs) for _, length in read_interval_attributes(attrs)}
    method = read_cell_methods(str(rain.attrs.get("cell_methods", "")))
    if method is not None and regular is not None and method < regular:
        known = f"cell_methods of {rain.name} state {method / MINUTE:g} min, its time step is {regular / MINUTE:g} min"
        raise ReadError(path, f"{known}. {_BOUNDS}")
    stated |= set() if method is None else {method}
    if len(stated) > 1:
        lengths = " and ".join(f"{length / MINUTE:g} min" for length in stated)
        raise ReadError(path, f"states different intervals of {rain.name}: {lengths}. {_BOUNDS}")
    return stated.pop() if stated else None


def _read_coordinates(data: xr.Dataset, path: Path) -> dict[str, Any]:
    standard = {"projection_x_coordinate": "x", "projection_y_coordinate": "y"}
    found: dict[str, Any] = {}
    for variable_name, variable in data.variables.items():
        name = str(variable.attrs.get("standard_name", variable_name))
        name = standard.get(name, name)
        if name in ("latitude", "longitude", "altitude", "x", "y", "sensor") and set(variable.dims) <= {"station"}:
            values = np.broadcast_to(variable.values, data.sizes["station"])
            found[name] = _decode_texts(values) if name == "sensor" else values.astype(float)
    if not any(set(pair) <= set(found) for pair in POSITIONS):
        raise ReadError(path, "states no latitude and longitude of its stations")
    return found


def _read_other_variables(data: xr.Dataset) -> dict[str, Any]:
    """Return the other variables of the schema, converted to its units; those with other quantities are left out."""
    found: dict[str, Any] = {}
    for variable in data.data_vars.values():
        name, units = str(variable.attrs.get("standard_name")), str(variable.attrs.get("units"))
        if name in VARIABLES and name != RATE and set(variable.dims) == {"station", "time"}:
            conversion = unit_conversion(units, VARIABLES[name][0]["units"])
            if conversion is not None:
                scale, offset = conversion
                found[name] = variable.transpose("station", "time").values * scale + offset
    return found


def _quality_attributes(data: xr.Dataset) -> dict[str, str]:
    """Return the attributes that describe an earlier quality control."""
    return {name: str(value) for name, value in data.attrs.items() if str(name).startswith("quality_")}
