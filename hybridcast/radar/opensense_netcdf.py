"""Radar of the OpenSense data sets: OpenMRG (Gothenburg, SMHI) and OpenRainER (Emilia-Romagna, ARPAE), NetCDF.

OpenMRG is part of the SMHI composite, with 48 x 37 cells of 2 km every 5 minutes, polar stereographic on the Bessel
ellipsoid without datum shift; this projection agrees with the longitudes and latitudes in the files within 0.3 m. The
published versions differ, and the variables determine how each is read:

- ``data``: reflectivity as packed dBZ with its own Z-R (``zr_a``, ``zr_b``: 200 and 1.5). The variables ``dBZ`` and
  ``R`` in the same file are not used: ``dBZ`` has been unpacked twice, and ``R`` is from another Z-R (200 and 1.6),
  18 % below the gauges, whereas ``data`` is 8 % below.
- ``R`` in mm/h.
- ``rainfall_amount`` with units "sum 5min": mm in 5 minutes, from Z = 200 R^1.6. Its rows run from south to north
  although its ``y`` decreases; the latitudes in the file show this.

Time stamps are kept as published; rain at the gauges follows them by about 5 minutes. Missing frames stay NaN.

OpenRainER is rain (mm) in 15 minutes, adjusted to gauges, on 290 x 373 cells of longitude and latitude
(0.01265 x 0.009 degrees). Its time stamps are ends of intervals. Its longitudes and latitudes are taken as centres of
cells, which is not stated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core.field import as_rate, precipitation, rate_from_accumulation, rate_from_dbz
from hybridcast.core.netcdf import common_attributes, inspect_netcdf, open_netcdf, require_variables
from hybridcast.core.types import Doubles
from hybridcast.errors import ReadError
from hybridcast.radar._rates import check_field

NAME = "opensense-netcdf"
DESCRIPTION = "OpenMRG (SMHI) and OpenRainER (ARPAE) radar of the OpenSense data sets, NetCDF"

_OPENRAINER = "OpenRainER-RP"
_OPENMRG = "OpenMRG-Radar"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the title of a file is that of the radar, not the gauges or links, of one of the data sets."""
    return str(inspect_netcdf(path, head)[0].get("title", "")).startswith((_OPENMRG, _OPENRAINER))


def read(path: Path) -> xr.DataArray:
    """Read all frames of one file."""
    with open_netcdf(path) as data:
        title = str(data.attrs.get("title", ""))
        if title.startswith(_OPENMRG):
            return check_field(_read_openmrg(data, path), path)
        if title.startswith(_OPENRAINER):
            return check_field(_read_openrainer(data, path), path)
    raise ReadError(path, f"its title is {title!r}, neither {_OPENMRG} nor {_OPENRAINER}")


# --- OpenRainER -----------------------------------------------------------------------------------------------


def _read_openrainer(data: xr.Dataset, path: Path) -> xr.DataArray:
    require_variables(data, path, "rainfall_amount", "time", "lat", "lon")
    amount = data["rainfall_amount"].transpose("time", "lat", "lon").load()
    hours = float(amount.attrs.get("accum_time_h", np.nan))
    if amount.attrs.get("units") != "mm" or not hours > 0:
        raise ReadError(path, "does not state rain in mm and the time it fell in (accum_time_h)")
    interval = np.timedelta64(round(hours * 3600), "s")
    return precipitation(
        rate_from_accumulation(amount.values, interval),
        time=data["time"].values,
        y=data["lat"].values,
        x=data["lon"].values,
        crs="EPSG:4326",
        attrs={**common_attributes(data), "accumulation_interval_minutes": hours * 60},
    )


# --- OpenMRG --------------------------------------------------------------------------------------------------


def _read_openmrg(data: xr.Dataset, path: Path) -> xr.DataArray:
    require_variables(data, path, "time", "x", "y")
    if "proj_string" not in data.attrs:
        raise ReadError(path, "its global attributes hold no proj_string")
    crs = pyproj.CRS.from_user_input(data.attrs["proj_string"])
    rate, more = _read_openmrg_rate(data, path)
    return precipitation(
        rate.transpose("time", "y", "x").values,
        time=data["time"].values,
        y=_read_openmrg_y(data, crs, path),
        x=data["x"].values,
        crs=crs,
        attrs={**common_attributes(data), **more},
    )


def _read_openmrg_rate(data: xr.Dataset, path: Path) -> tuple[xr.DataArray, dict[str, Any]]:
    if "data" in data and {"zr_a", "zr_b"} <= set(data["data"].attrs):
        a, b = float(data["data"].attrs["zr_a"]), float(data["data"].attrs["zr_b"])
        return rate_from_dbz(data["data"].load(), a, b), {"zr_a": a, "zr_b": b}
    if "R" in data and data["R"].attrs.get("units") == "mm/h":
        return as_rate(data["R"].load()), {}
    if "rainfall_amount" in data and data["rainfall_amount"].attrs.get("units") == "sum 5min":
        amount = data["rainfall_amount"].load()
        return rate_from_accumulation(amount, np.timedelta64(5, "m")), {"accumulation_interval_minutes": 5.0}
    raise ReadError(path, "holds no reflectivity with its Z-R, no rain rate in mm/h and no 5-minute sum")


def _read_openmrg_y(data: xr.Dataset, crs: pyproj.CRS, path: Path) -> Doubles:
    """Return y, from south to north or north to south in agreement with the latitudes in the file."""
    x, y = data["x"].values, data["y"].values
    names = {"lat", "latitudes"} & set(data.variables)
    if not names:
        return y
    latitude = data[names.pop()].values
    to_degrees = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    for rows in (y, y[::-1]):
        computed = to_degrees.transform(*np.meshgrid(x, rows))[1]
        if np.abs(computed - latitude).max() < 1e-3:  # 110 m, where a row is 2 km
            return rows
    raise ReadError(path, "its latitudes do not belong to its x and y, in either order of the rows")
