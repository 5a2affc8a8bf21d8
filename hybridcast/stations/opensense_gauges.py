"""Gauges of the OpenSense data sets: OpenMRG (Gothenburg) and OpenRainER (Emilia-Romagna), NetCDF.

The files hold ``rainfall_amount`` (mm) along a dimension ``id`` or ``station_id`` and time, but no interval, so the
time step is taken as the interval. Time stamps are ENDS of intervals in all files:

- OpenMRG: the gauges of the city (one minute; weighing gauges with steps of 0.1 mm, tipping buckets with 0.2 mm) and
  the gauge of SMHI (15 minutes) agree best if both are ends. Quarters of an hour of the two nearest city gauges
  correlate by .84 with those of SMHI as stamped, by .97 if they were 2 to 6 minutes later, and by .39 if the stamps of
  SMHI were beginnings (27 August 2015). A first stamp at midnight is compatible with both.
- OpenRainER (15 minutes): the gauges agree best with its radar, whose stamps are ends, without an offset (correlation
  .59 of the square roots where either is wet; .51 and .43 one step later and earlier).

The station names of OpenRainER contain location codes and are kept; missing values are NaN.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.field import rate_from_accumulation
from hybridcast.core.netcdf import common_attributes, inspect_netcdf, open_netcdf, require_variables
from hybridcast.errors import ReadError
from hybridcast.stations.reporting_intervals import read_interval
from hybridcast.stations.schema import station_reports

NAME = "opensense-gauges"
DESCRIPTION = "gauges of OpenMRG (Gothenburg, SMHI) and OpenRainER (Emilia-Romagna), NetCDF"

_STATION = ("station_id", "id")
_POSITIONS = {"latitude": ("latitude", "lat"), "longitude": ("longitude", "lon"), "altitude": ("elevation",)}


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the variables of a file are those of these gauges."""
    names = inspect_netcdf(path, head)[1]
    return {"rainfall_amount", "time"} <= names and bool(names & set(_STATION)) and not names & {"x", "cml_id"}


def read(path: Path) -> xr.Dataset:
    """Read all gauges of one file."""
    with open_netcdf(path) as data:
        require_variables(data, path, "rainfall_amount", "time")
        dim = next((name for name in _STATION if name in data.dims), None)
        units = data["rainfall_amount"].attrs.get("units", "mm")  # OpenMRG leaves them out; its totals are in mm
        if dim is None or data.sizes["time"] < 2 or units != "mm":
            raise ReadError(path, f"does not hold amounts in mm ({units!r}) of stations at two times at least")
        interval = read_interval(data["time"].values, np.zeros(data.sizes["time"])).interval
        if interval is None:
            raise ReadError(path, "has irregular times, so nothing states over how long its amounts are")
        return station_reports(
            rate_from_accumulation(data["rainfall_amount"].transpose(dim, "time").values, interval),
            station=data[dim].values,
            time=data["time"].values,
            interval=interval,
            coords=_read_coordinates(data, path, dim),
            attrs=common_attributes(data),
        )


def _read_coordinates(data: xr.Dataset, path: Path, dim: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, spellings in _POSITIONS.items():
        spelling = next((spelling for spelling in spellings if spelling in data.variables), None)
        if spelling is not None:
            found[name] = data[spelling].values.astype(float)
    if not {"latitude", "longitude"} <= set(found):
        raise ReadError(path, "states no latitude and longitude of its gauges")
    if "quantization" in data.variables and data["quantization"].dims == (dim,):
        found["resolution"] = data["quantization"].values.astype(float)  # mm
    return {name: np.asarray(values) for name, values in found.items()}
