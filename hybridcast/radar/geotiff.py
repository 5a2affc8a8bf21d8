"""GeoTIFF with one frame in each file, or in each band.

GeoTIFF has no standard for units and times, so they are searched where writers usually put them:

- units: the band's unit; else a tag ``units`` (in any case) of the band or the file; else the text in brackets at the
  end of the band's description, such as "rain rate [mm/h]". Accepted are a rate in any unit, an amount in mm together
  with a tag ``accumulation_interval_minutes``, and dBZ (converted by Z = 200 R^1.6).
- time (UTC; the end of the interval of an amount): a tag ``time`` or ``valid_time`` of the band, or, with one band, of
  the file; else the name of the file; else ``TIFFTAG_DATETIME``, which often is the time of writing.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core.crs import metres_per_unit, to_metres
from hybridcast.core.field import precipitation, rate_factor, rate_from_accumulation, rate_from_dbz
from hybridcast.core.times import as_datetime64
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.core.types import Array
from hybridcast.core.units import unit_conversion
from hybridcast.errors import ReadError
from hybridcast.radar._rates import check_rates

NAME = "geotiff"
DESCRIPTION = "GeoTIFF, one frame a file or a band, with units in its tags"

_MAGICS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

_HOW = "e.g. with rasterio.open(path, 'r+') and update_tags"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is TIFF, by its magic number."""
    return path.is_file() and head.startswith(_MAGICS)


def read(path: Path) -> xr.DataArray:
    """Read all bands of one file as frames; no-data values and masks are NaN."""
    import rasterio

    try:
        with rasterio.open(path) as file:
            return _read(file, path)
    except rasterio.errors.RasterioError as error:
        raise ReadError(path, f"damaged, or no GeoTIFF ({error})") from error


def _read(file: Any, path: Path) -> xr.DataArray:
    transform = file.transform
    if transform.is_identity:
        raise ReadError(
            path, f"no georeference: it has no transform. Write one, {_HOW.replace('update_tags', '.transform =')}"
        )
    if transform.b != 0 or transform.d != 0:
        raise ReadError(path, "its rows do not run along x; warp it first, e.g. with gdalwarp")
    crs, scale = _read_crs(file)
    return precipitation(
        np.stack([_read_rate(file, band, path) for band in file.indexes]),
        time=[_read_time(file, band, path) for band in file.indexes],
        y=(transform.f + transform.e * (np.arange(file.height) + 0.5)) * scale,
        x=(transform.c + transform.a * (np.arange(file.width) + 0.5)) * scale,
        crs=crs,
        attrs=_read_attributes(file),
    )


def _read_crs(file: Any) -> tuple[pyproj.CRS | None, float]:
    """Return the CRS, with axes in metres, and the factor from the coordinates of the file to metres."""
    if file.crs is None:
        return None, 1.0
    crs = pyproj.CRS.from_wkt(file.crs.to_wkt())
    return to_metres(crs), metres_per_unit(crs)


def _read_attributes(file: Any) -> dict[str, str]:
    tags = {key.lower(): value for key, value in file.tags().items()}
    kept = ("source", "institution", "license", "references", "accumulation_interval_minutes")
    return {name: tags[name] for name in kept if name in tags}


# --- values ---------------------------------------------------------------------------------------------------


def _read_rate(file: Any, band: int, path: Path) -> Array:
    packed = file.read(band, masked=True)
    values = packed.astype(np.float32).filled(np.nan)
    values = values * np.float32(file.scales[band - 1]) + np.float32(file.offsets[band - 1])
    return check_rates(_convert_to_rate(values, file, band, path), path)


def _convert_to_rate(values: Array, file: Any, band: int, path: Path) -> Array:
    units = _read_units(file, band)
    if units is None:
        raise ReadError(path, f"does not state its units. Add a tag, {_HOW}(units='mm h-1'), or 'mm', or 'dBZ'")
    if units.lower() == "dbz":
        return rate_from_dbz(values)
    if unit_conversion(units, "mm") == (1.0, 0.0):
        return rate_from_accumulation(values, _read_interval(file, band, path))
    factor = rate_factor(units)
    if factor is None:
        raise ReadError(path, f"units {units!r} are no rain rate; mm h-1, mm or dBZ are, so convert it to one of these")
    return values * np.float32(factor)


def _find_tag(file: Any, band: int, *names: str) -> str | None:
    """Return the first of several tags of the band, else of the file, ignoring the case of their names."""
    for tags in (file.tags(band), file.tags()):
        lower = {key.lower(): value for key, value in tags.items()}
        for name in names:
            if lower.get(name, "").strip():
                return str(lower[name]).strip()
    return None


def _read_units(file: Any, band: int) -> str | None:
    if file.units[band - 1]:
        return str(file.units[band - 1])
    in_brackets = re.search(r"[\[(]([^\])]+)[\])]\s*$", file.descriptions[band - 1] or "")
    return _find_tag(file, band, "units", "unit", "unittype") or (in_brackets[1] if in_brackets else None)


def _read_interval(file: Any, band: int, path: Path) -> np.timedelta64:
    minutes = _find_tag(file, band, "accumulation_interval_minutes")
    if minutes is None:
        raise ReadError(
            path, f"holds an amount, but not the time it fell in. Add a tag, {_HOW}(accumulation_interval_minutes=5)"
        )
    return np.timedelta64(round(float(minutes) * 60), "s")


# --- times ----------------------------------------------------------------------------------------------------


def _read_time(file: Any, band: int, path: Path) -> np.datetime64:
    own = {key.lower(): value for key, value in file.tags(band).items()}
    stated = own.get("time") or own.get("valid_time")
    if stated is None and file.count == 1:
        stated = _find_tag(file, band, "time", "valid_time")
    if stated is not None:
        return _parse_time(stated, path)
    if file.count > 1:
        raise ReadError(path, f"{file.count} bands without a time each. Add tags, {_HOW}(1, time='2020-01-01T00:05')")
    time = parse_time_in_name(path.name)
    if time is not None:
        return time
    written = _find_tag(file, band, "tifftag_datetime")
    if written is None:
        raise ReadError(
            path, f"no time in its tags nor its name. Name it like rain_202001010005.tif, or {_HOW}(time=...)"
        )
    return _parse_time(written, path)


def _parse_time(text: str, path: Path) -> np.datetime64:
    for parse in (datetime.fromisoformat, lambda t: datetime.strptime(t, "%Y:%m:%d %H:%M:%S")):
        try:
            return as_datetime64(parse(text))
        except ValueError:
            continue
    raise ReadError(path, f"its time {text!r} is neither like 2020-01-01T00:05 nor like 2020:01:01 00:05:00")
