"""Any NetCDF file of stations that follows CF's discrete sampling geometries, ``featureType = "timeSeries"``.

The orthogonal and incomplete arrays with dims of station and time (CF 9.3.1, 9.3.2 with one common time), and a
single station. Rain is found by its ``standard_name`` as for radar: a rate, or an amount whose interval the bounds of
time state, else the time step. Bounds of time say where an interval ends; without them stamps are taken as ends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE, as_rate, rate_factor, rate_from_accumulation, usual_step
from hybridcast.errors import ReadError
from hybridcast.radar._netcdf import common_attributes, inspect_netcdf, is_netcdf, open_netcdf
from hybridcast.radar.cf import AMOUNTS, RATES
from hybridcast.stations.schema import INTERVAL, VARIABLES, station_reports

NAME = "cf-stations"
DESCRIPTION = "any NetCDF of stations that follows CF (featureType timeSeries)"


def recognises(path: Path, head: bytes) -> bool:
    """Tell by its featureType whether a file holds time series of stations."""
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
        data = _dims_named(data, path)
        rain = _rain(data, path)
        interval, ends = _interval(data, path)
        amount = rain.attrs.get("standard_name") in AMOUNTS or rate_factor(str(rain.attrs.get("units"))) is None
        rate = rate_from_accumulation(rain, interval) if amount else as_rate(rain)
        return station_reports(
            rate.transpose("station", "time").values,
            station=data["station"].values,
            time=ends,
            interval=interval,
            coords=_places(data, path),
            other_variables=_others(data),
            attrs={**common_attributes(data), **_flags(data)},
        )


def _dims_named(data: xr.Dataset, path: Path) -> xr.Dataset:
    """Return the dataset with dims station and time, and the names of stations as its coordinate."""
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
    station = np.atleast_1d(_texts(data[names[0]].values))
    data = data.rename({dim: "station"}) if dim != "station" else data
    return data.drop_vars([names[0]]).assign_coords(station=station)


def _texts(values: Any) -> Any:
    return np.array(
        [v.decode("utf-8", "replace").strip() if isinstance(v, bytes) else str(v) for v in np.ravel(values)], object
    )


def _rain(data: xr.Dataset, path: Path) -> xr.DataArray:
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


def _interval(data: xr.Dataset, path: Path) -> tuple[np.timedelta64, Any]:
    bounds, times = data["time"].attrs.get("bounds", ""), data["time"].values
    if bounds in data.variables:
        starts, ends = np.moveaxis(data[bounds].values, -1, 0)
        lengths = np.unique(ends - starts)
        if lengths.size != 1:
            raise ReadError(path, "the bounds of its times are not of one length")
        return lengths[0], ends
    if INTERVAL in data.attrs:
        return np.timedelta64(round(float(data.attrs[INTERVAL]) * 60), "s"), times
    if times.size < 2:
        raise ReadError(path, "states no interval: one time without bounds")
    return usual_step(times), times


def _places(data: xr.Dataset, path: Path) -> dict[str, Any]:
    standard = {"projection_x_coordinate": "x", "projection_y_coordinate": "y"}
    places: dict[str, Any] = {}
    for name, of in data.variables.items():
        called = str(of.attrs.get("standard_name", name))
        called = standard.get(called, called)
        if called in ("latitude", "longitude", "altitude", "x", "y", "sensor") and set(of.dims) <= {"station"}:
            values = np.broadcast_to(of.values, data.sizes["station"])
            places[called] = _texts(values) if called == "sensor" else values.astype(float)
    if not any(set(pair) <= set(places) for pair in (("latitude", "longitude"), ("x", "y"))):
        raise ReadError(path, "states no latitude and longitude of its stations")
    return places


def _others(data: xr.Dataset) -> dict[str, Any]:
    """Return the other variables that are in the contract's units; percent is made a share, Celsius Kelvin, hPa Pa."""
    scales = {"%": (0.01, 0.0), "degC": (1.0, 273.15), "hPa": (100.0, 0.0)}
    found: dict[str, Any] = {}
    for of in data.data_vars.values():
        name, units = str(of.attrs.get("standard_name")), str(of.attrs.get("units"))
        if name in VARIABLES and name != RATE and set(of.dims) == {"station", "time"}:
            scale, shift = scales.get(units, (1.0, 0.0))
            if units in scales or units == VARIABLES[name][0]["units"]:
                found[name] = of.transpose("station", "time").values * scale + shift
    return found


def _flags(data: xr.Dataset) -> dict[str, str]:
    """Return the attributes that say what quality control has done already."""
    return {name: str(value) for name, value in data.attrs.items() if str(name).startswith("quality_")}
