"""NWC SAF, convective rainfall rate (CRR) and precipitation from cloud physical properties (CRR-Ph), NetCDF.

EUMETSAT NWC SAF, Data Output Format for the NWC/GEO (NWC/CDOP3/GEO/AEMET/SW/DOF). The rate (``crr_intensity`` or
``crrph_intensity``, mm/h, 65535 is not processed) is on the pixels of a geostationary satellite; global attributes give
the projection (``gdal_projection``, whose lengths are kilometres or metres) and the outer edges of the corner pixels
(``gdal_xgeo_up_left`` and so on, metres). The time of the frame is the nominal time of the product, the start of the
scan; its start and end are attributes. Extrapolated files of the product EXIM (``..._015.nc``) are forecasts.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core.cf import open_undecoded
from hybridcast.core.cf_times import decode
from hybridcast.core.crs import to_metres
from hybridcast.core.netcdf import common_attributes, inspect_netcdf
from hybridcast.core.times import as_datetime64
from hybridcast.core.types import Doubles
from hybridcast.errors import ForecastFileError, ReadError
from hybridcast.radar._satellites import satellite_field

NAME = "nwcsaf-netcdf"
DESCRIPTION = "NWC SAF, rain rate of geostationary satellites (CRR, CRR-Ph), NetCDF"

_RATES = ("crr_intensity", "crrph_intensity")
_EXTRAPOLATED = re.compile(r"Z_(?P<lead>\d{3})\.nc")
_GROUND = {"x": ("gdal_xgeo_up_left", "gdal_xgeo_low_right"), "y": ("gdal_ygeo_up_left", "gdal_ygeo_low_right")}


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file has a rain rate of NWC SAF and its projection."""
    attrs, names = inspect_netcdf(path, head)
    return bool(names & set(_RATES)) and "gdal_projection" in attrs


def read(path: Path) -> xr.DataArray:
    """Read one frame; pixels that were not processed, and space, are NaN."""
    data = decode(open_undecoded(path, None), path)
    _refuse_extrapolation(data, path)
    rate = data[next(name for name in _RATES if name in data)]
    rows, columns = rate.dims[-2:]
    crs, attrs = _read_crs(data, path), {name: str(data.attrs[name]) for name in _KEPT if name in data.attrs}
    return satellite_field(
        rate.squeeze([dim for dim in rate.dims[:-2]], drop=True).rename({rows: "y", columns: "x"}),
        path,
        time=_read_time(data, path),
        y=_read_centres(data, "y", rate.sizes[rows], path),
        x=_read_centres(data, "x", rate.sizes[columns], path),
        crs=crs,
        attrs={**common_attributes(data), **attrs, "variable": str(rate.name)},
    )


_KEPT = ("satellite_identifier", "time_coverage_start", "time_coverage_end", "product_name")


def _refuse_extrapolation(data: xr.Dataset, path: Path) -> None:
    for name in (path.name, str(data.attrs.get("id", ""))):
        lead = _EXTRAPOLATED.search(name)
        if lead is not None and int(lead["lead"]) > 0:
            raise ForecastFileError(path, f"+{int(lead['lead'])} min, extrapolated by NWC SAF's EXIM")


def _read_crs(data: xr.Dataset, path: Path) -> pyproj.CRS:
    """Return the projection in metres; its lengths are kilometres if the radius of the Earth is."""
    text = str(data.attrs["gdal_projection"])
    radius = re.search(r"\+a=([\d.]+)", text)
    if radius is None:
        raise ReadError(path, f"gdal_projection = {text!r} states no radius of the Earth (+a)")
    if float(radius[1]) < 1e5:
        lengths = re.compile(r"\+(a|b|h)=([\d.]+)")
        text = lengths.sub(lambda found: f"+{found[1]}={float(found[2]) * 1000:.6f}", text)
    return to_metres(pyproj.CRS.from_user_input(re.sub(r"\s*\+units=\S+", "", text) + " +units=m"))


def _read_centres(data: xr.Dataset, axis: str, cells: int, path: Path) -> Doubles:
    try:
        first, last = (float(data.attrs[name]) for name in _GROUND[axis])
    except KeyError as error:
        raise ReadError(path, f"its global attributes hold no {error.args[0]}") from error
    step = (last - first) / cells
    return np.asarray(first + (np.arange(cells) + 0.5) * step)


def _read_time(data: xr.Dataset, path: Path) -> np.datetime64:
    text = str(data.attrs.get("nominal_product_time", data.attrs.get("time_coverage_start", "")))
    if not text:
        raise ReadError(path, "states neither nominal_product_time nor time_coverage_start")
    return as_datetime64(text.removesuffix("Z"))
