"""NASA GPM IMERG: rain of all satellites, half-hourly, on a grid of 0.1 degrees, HDF5 or the NetCDF of its subsets.

Huffman et al. (2023), IMERG Technical Documentation, version 07; PPS, File Specification for GPM Products, 3IMERGHH.
The group ``Grid`` holds ``precipitation`` (``precipitationCal`` before version 07) in mm/hr, dims (time, lon, lat),
missing -9999.9. It is the mean of half an hour, whose end is the time of the frame; the calendar of ``time`` is called
Julian, but is that of today. Monthly and daily files are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.cf import open_undecoded
from hybridcast.core.cf_times import decode
from hybridcast.core.crs import unroll_longitude
from hybridcast.core.netcdf import inspect_netcdf, require_variables
from hybridcast.core.readers import read_head
from hybridcast.core.types import Doubles
from hybridcast.errors import ReadError
from hybridcast.radar._satellites import satellite_field

NAME = "imerg-hdf5"
DESCRIPTION = "NASA GPM IMERG, half-hourly rain of satellites, HDF5 or NetCDF"

_NAMES = ("precipitation", "precipitationCal")
_RUNS = {"3IMERGHHE": "early", "3IMERGHHL": "late", "3IMERGHH": "final"}
_HALF_HOUR = np.timedelta64(30, "m")


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the header of a file names an IMERG algorithm."""
    return "IMERG" in _read_header(inspect_netcdf(path, head)[0])


def _read_header(attrs: Mapping[str, str]) -> str:
    """Return the header of PPS; OPeNDAP puts the name of the root before its attributes."""
    return attrs.get("FileHeader", attrs.get("HDF5_GLOBAL.FileHeader", ""))


def read(path: Path) -> xr.DataArray:
    """Read one half hour; its time is the END of the half hour."""
    attrs, names = inspect_netcdf(path, read_head(path))
    header = dict(re.findall(r"(\w+)=([^;]*);", _read_header(attrs)))
    if header.get("TimeInterval") != "HALF_HOUR":
        raise ReadError(
            path,
            f"an IMERG product of the time interval {header.get('TimeInterval')}. Give the half-hourly ones, 3B-HHR",
        )
    data = _open(path, "Grid" if "Grid" in names else None)
    require_variables(data, path, "time", "lon", "lat")
    rate = _find_rate(data, path)
    end = data["time"].values[0] + _HALF_HOUR
    algorithm = header.get("AlgorithmID", "")
    return satellite_field(
        rate.isel(time=0).rename(lon="x", lat="y"),
        path,
        time=end,
        y=_read_centres(data["lat"]),
        x=unroll_longitude(_read_centres(data["lon"])),
        crs="EPSG:4326",
        attrs={
            "source": f"GPM IMERG {_RUNS.get(algorithm, algorithm)} run, {header.get('ProductVersion', '')}".strip(
                ", "
            ),
            "platform": header.get("SatelliteName", "MULTI"),
            "references": header.get("DOI", ""),
            "accumulation_interval_minutes": 30.0,
        },
    )


def _open(path: Path, group: str | None) -> xr.Dataset:
    data = open_undecoded(path, group)
    if "time" in data.variables:
        data["time"].attrs["calendar"] = "standard"
    return decode(data, path)


def _read_centres(axis: xr.DataArray) -> Doubles:
    """Return cell centres; those in the file are rounded to single precision."""
    return np.asarray(np.round(np.asarray(axis.values, np.float64), 4))


def _find_rate(data: xr.Dataset, path: Path) -> xr.DataArray:
    found = [name for name in _NAMES if name in data.data_vars and set(data[name].dims) == {"time", "lon", "lat"}]
    if not found or data.sizes["time"] != 1:
        raise ReadError(path, f"holds no {' or '.join(_NAMES)} of one time; the file is incomplete or of another kind")
    return data[found[0]]
