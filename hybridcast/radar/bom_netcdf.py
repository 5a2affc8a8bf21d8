"""Bureau of Meteorology (Australia): Rainfields accumulations of one radar, NetCDF.

Each file holds one frame: rain (mm) between ``start_time`` and ``valid_time`` on 512 x 512 cells of 500 m in an Albers
projection centred on the radar; x and y are in kilometres. The declared missing value is -1; a few cells at the edges
of echoes are -2 (-0.1 mm) and are treated as missing too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.cf import read_axis
from hybridcast.core.crs import crs_from_cf
from hybridcast.core.field import precipitation, rate_from_accumulation
from hybridcast.core.netcdf import common_attributes, inspect_netcdf, open_netcdf, require_variables
from hybridcast.core.types import MINUTE
from hybridcast.core.units import unit_conversion
from hybridcast.errors import ReadError
from hybridcast.radar._analyses import select_analyses
from hybridcast.radar._rates import check_field

NAME = "bom-netcdf"
DESCRIPTION = "Bureau of Meteorology (Australia), Rainfields accumulations, NetCDF"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the variables of a file are those of a Rainfields accumulation."""
    return {"precipitation", "valid_time", "start_time", "proj"} <= inspect_netcdf(path, head)[1]


def read(path: Path) -> xr.DataArray:
    """Read one accumulation as a rain rate; cells without a value (codes below 0) are NaN."""
    with open_netcdf(path) as data:
        require_variables(data, path, "precipitation", "valid_time", "start_time", "proj", "x", "y")
        select_analyses(data, path)  # refuses a forecast
        amount = _read_amount(data["precipitation"], path)
        end, start = data["valid_time"].values, data["start_time"].values
        crs = crs_from_cf(data["proj"].attrs)
        x, y = (read_axis(data[axis], crs, path) for axis in ("x", "y"))
        attrs: dict[str, Any] = {**common_attributes(data)}
        station = str(data.attrs.get("station_name", ""))
    if end.shape or start.shape:
        raise ReadError(path, f"valid_time has the shape {end.shape}; a file of Rainfields holds one accumulation")
    interval = end - start
    if np.isnat(interval) or interval <= np.timedelta64(0):
        raise ReadError(path, f"valid_time {end} does not follow start_time {start}")
    attrs["accumulation_interval_minutes"] = float(interval / MINUTE)
    attrs["radar"] = station
    rate = rate_from_accumulation(amount.where(amount >= 0).values.astype(np.float32), interval)
    return check_field(precipitation(rate, time=[end], y=y, x=x, crs=crs, attrs=attrs), path)


def _read_amount(variable: xr.DataArray, path: Path) -> xr.DataArray:
    """Return the amounts in mm, dims ``(y, x)``."""
    units = str(variable.attrs.get("units", ""))
    conversion = unit_conversion(units, "mm")
    if conversion is None or set(variable.dims) != {"y", "x"}:
        raise ReadError(path, f"'precipitation' in {units!r} with dims {variable.dims} is no amount of rain on a map")
    return variable.transpose("y", "x").load() * np.float32(conversion[0])
