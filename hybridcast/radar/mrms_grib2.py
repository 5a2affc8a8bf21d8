"""NOAA MRMS surface precipitation rate (PrecipRate) in GRIB2.

Zhang et al. (2016), Multi-Radar Multi-Sensor quantitative precipitation estimation, doi:10.1175/BAMS-D-14-00174.1;
codes of discipline 209 by NSSL, "Operational MRMS GRIB2 tables" (PrecipRate is category 6, number 1, mm/hr; -1 is
missing and -3 outside coverage). Longitudes from 230 to 300 degrees east are returned as -130 to -60.

The file is decoded in memory, so that no index is written beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.crs import centre_longitude
from hybridcast.core.field import as_datetime64, precipitation
from hybridcast.core.readers import read_bytes
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import ReadError
from hybridcast.radar._rates import limit_rates

NAME = "mrms-grib2"
DESCRIPTION = "NOAA MRMS (USA) precipitation rate, GRIB2"

DISCIPLINE = 209
_RATE = 6, 1  # category and number
_SECTION_0 = struct.Struct(">4s2xBBQ")  # "GRIB", discipline, edition, length of the message


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is GRIB2 of the discipline of MRMS."""
    return head.startswith(b"GRIB") and head[6:8] == bytes([DISCIPLINE, 2])


def read(path: Path) -> xr.DataArray:
    """Read all messages of one file as a precipitation field of instantaneous rates at the times of analysis."""
    frames, times, grids = [], [], []
    for message in _split_messages(path, read_bytes(path)):
        rate, time, grid = _decode(path, message)
        frames.append(rate)
        times.append(time)
        grids.append(grid)
    if any(not np.array_equal(axis, first) for grid in grids for axis, first in zip(grid, grids[0], strict=True)):
        raise ReadError(path, "its messages are on different grids")
    attrs: dict[str, Any] = {
        "source": "MRMS PrecipRate",
        "institution": "NOAA National Severe Storms Laboratory",
    }
    rates = limit_rates(frames[0][None] if len(frames) == 1 else np.stack(frames), attrs)
    latitude, longitude = grids[0]
    return precipitation(rates, time=times, y=latitude, x=longitude, crs="EPSG:4326", attrs=attrs)


def _split_messages(path: Path, data: bytes) -> Iterator[bytes]:
    """Split the file into messages by the length that each states; each ends with 7777."""
    position = 0
    while position < len(data):
        if len(data) - position < _SECTION_0.size:
            raise ReadError(path, "the GRIB file is truncated")
        mark, discipline, edition, length = _SECTION_0.unpack_from(data, position)
        if (mark, discipline, edition) != (b"GRIB", DISCIPLINE, 2):
            raise ReadError(path, f"no GRIB2 message of MRMS at byte {position}: the file is damaged")
        message = data[position : position + length]
        if len(message) != length or not message.endswith(b"7777"):
            raise ReadError(path, f"a GRIB message of {length} bytes announced, {len(message)} found: it is truncated")
        yield message
        position += length


def _decode(path: Path, message: bytes) -> tuple[Array, np.datetime64, tuple[Doubles, Doubles]]:
    """Return the rain rate of one message, its time, and latitude and longitude of the cell centres."""
    import eccodes

    try:
        handle = eccodes.codes_new_from_message(message)
    except eccodes.CodesInternalError as error:
        raise ReadError(path, f"the GRIB message is damaged ({error})") from error
    try:
        found = tuple(eccodes.codes_get_long(handle, f"parameter{key}") for key in ("Category", "Number"))
        if found != _RATE:
            raise ReadError(path, f"MRMS category and number {found}, not {_RATE}, which is PrecipRate")
        latitude, longitude = _read_grid(path, eccodes, handle)
        rate = eccodes.codes_get_values(handle).astype(np.float32)
        if rate.size != latitude.size * longitude.size:
            raise ReadError(path, f"{rate.size} values on a grid of {latitude.size} x {longitude.size} cells")
        date, clock, second = (eccodes.codes_get_long(handle, key) for key in ("dataDate", "dataTime", "second"))
    except eccodes.CodesInternalError as error:
        raise ReadError(path, f"the GRIB message is damaged ({error})") from error
    finally:
        eccodes.codes_release(handle)
    rate = rate.reshape(latitude.size, longitude.size)
    rate[rate < 0] = np.nan
    time = as_datetime64(datetime.strptime(f"{date:08d}{clock:04d}{second:02d}", "%Y%m%d%H%M%S"))
    return rate, time, (latitude, longitude)


def _read_grid(path: Path, eccodes: Any, handle: int) -> tuple[Doubles, Doubles]:
    """Return latitude (in the order of the file, from north) and longitude (-180 to 180) of the cell centres."""
    kind = eccodes.codes_get_string(handle, "gridType")
    if kind != "regular_ll" or eccodes.codes_get_long(handle, "jPointsAreConsecutive"):
        raise ReadError(path, f"a grid of type {kind!r} or by columns, not rows of longitude and latitude")
    axes = []
    for axis, count in (("latitude", "Nj"), ("longitude", "Ni")):
        first, last = (
            eccodes.codes_get_double(handle, f"{axis}Of{end}GridPointInDegrees") for end in ("First", "Last")
        )
        axes.append(np.linspace(first, last, eccodes.codes_get_long(handle, count)))
    latitude, longitude = axes
    return latitude, centre_longitude(longitude)
