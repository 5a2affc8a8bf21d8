"""NOAA GOES-R rainfall rate (ABI-L2-RRQPEF), NetCDF.

GOES-R Series Product Definition and Users' Guide, volume 5 (416-R-PUG-L2PLUS-0349), rainfall rate / QPE. ``RRQPE`` is
in mm h-1, unsigned 16-bit numbers stored as signed ones, on the fixed grid of the ABI: ``x`` and ``y`` are scanning
angles in radians, which times the height of the satellite are metres of the geostationary projection (volume 3, section
5.1.2.8). ``t`` is the middle of the scan, rounded here to seconds. Pixels whose quality flag (``DQF``) is invalid are
missing.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.cf import open_cf, place
from hybridcast.core.netcdf import inspect_netcdf, require_variables
from hybridcast.errors import InputWarning, ReadError
from hybridcast.radar._satellites import satellite_field

NAME = "goes-rrqpe"
DESCRIPTION = "NOAA GOES-R rainfall rate (ABI-L2-RRQPEF), NetCDF"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file has the rainfall rate and the projection of the ABI."""
    return {"RRQPE", "goes_imager_projection", "t"} <= inspect_netcdf(path, head)[1]


def read(path: Path) -> xr.DataArray:
    """Read one full disk; pixels of invalid quality, and space, are NaN."""
    data = open_cf(path)
    require_variables(data, path, "RRQPE", "x", "y", "t")
    placed = place(data, data["RRQPE"], path)
    return satellite_field(
        _mask_invalid(placed.variable, data, path),
        path,
        time=_round(data["t"]),
        y=placed.y,
        x=placed.x,
        crs=placed.crs,
        attrs={
            "source": str(data.attrs.get("title", "ABI L2 Rainfall Rate / QPE")),
            "platform": str(data.attrs.get("platform_ID", "")),
            "time_coverage_start": str(data.attrs.get("time_coverage_start", "")),
            "time_coverage_end": str(data.attrs.get("time_coverage_end", "")),
        },
    )


def _mask_invalid(rate: xr.DataArray, data: xr.Dataset, path: Path) -> xr.DataArray:
    if "DQF" not in data.variables:
        warnings.warn(f"{path}: has no quality flags (DQF); its rates are used as they are", InputWarning, stacklevel=2)
        return rate
    good = ~_find_invalid(data["DQF"], path).rename(dict(zip(data["DQF"].dims, ("y", "x"), strict=True)))
    masked = rate.where(good.variable)
    masked.encoding = rate.encoding  # `where` drops it
    return masked


def _find_invalid(quality: xr.DataArray, path: Path) -> xr.DataArray:
    """Return where the quality flag is one whose meaning contains "invalid"."""
    values, meanings = (
        np.ravel(quality.attrs.get("flag_values", [])),
        str(quality.attrs.get("flag_meanings", "")).split(),
    )
    if values.size == 0 or values.size != len(meanings):
        raise ReadError(path, "its quality flag DQF does not state the meanings of its values")
    invalid = [float(value) for value, meaning in zip(values, meanings, strict=True) if "invalid" in meaning]
    return quality.isin(invalid)


def _round(time: xr.DataArray) -> np.datetime64:
    seconds = (time.values.astype("M8[ns]") + np.timedelta64(500, "ms")).astype("M8[s]")
    return np.datetime64(seconds.item(), "ns")
