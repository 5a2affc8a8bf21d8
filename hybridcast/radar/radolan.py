"""DWD RADOLAN, RADVOR and RADKLIM composites of rain amount in their binary format.

Deutscher Wetterdienst, RADOLAN/RADVOR: Beschreibung des Kompositformats, version 2.5 and earlier. An ASCII header that
ends with the byte ETX is followed by 2-byte little-endian numbers, with rows from south to north. The lower 12 bits are
the amount in the unit given by PR in the header, the upper four bits are flags:

- 0x1000, secondary: from interpolation or another source; a valid amount.
- 0x2000, error: not observed (the amount is then 2500).
- 0x4000, negative: used in differences only; treated as not observed.
- 0x8000, clutter: contaminated, with an amount substituted by DWD. It is kept, because in RADKLIM YW it agrees with the
  neighbours (correlation .94 to .98), while 0 or NaN would leave holes in rain.

The grid is not in the file but follows from its size: cells of 1 km around the reference point 9 E 51 N in a polar
stereographic projection, true at 60 N, on a sphere of 6370.04 km up to format version (VS) 4, and on WGS84 from 5 on.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core.field import precipitation, rate_from_accumulation
from hybridcast.core.readers import read_bytes
from hybridcast.core.types import MINUTE, Doubles
from hybridcast.errors import ReadError
from hybridcast.radar._rates import limit_rates

NAME = "radolan"
DESCRIPTION = "DWD (Germany) RADOLAN and RADKLIM composites of rain amount, such as RW, RY, YW, SF, binary"

#: Products that are rain amounts; others are reflectivity, differences, or indices.
PRODUCTS = {"RY", "YW", "RV", "RW", "RH", "RB", "RL", "RU", "SF", "SH", "SQ", "EY", "EW", "EH", "EB"}
#: Numbers of cells from the reference point to the western and the southern edge, by numbers of rows and columns.
GRIDS = {(900, 900): (450, 450), (1100, 900): (370, 550), (1200, 1100): (470, 600), (1500, 1400): (600, 800)}
REFERENCE = 9.0, 51.0
_PROJECTION = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +x_0=0 +y_0=0 +units=m +no_defs "
_ETX = b"\x03"
_AMOUNT, _NOT_OBSERVED = 0x0FFF, 0x2000 | 0x4000

_START = re.compile(rb"([A-Z][A-Z0-9])(\d{6})\d{5}(\d{4})BY")
# Fixed-width fields; INT may be followed by its unit, U0 for minutes or U1 for days.
_FIELDS = re.compile(
    r"BY\s*(?P<size>\d+)VS\s*(?P<version>\d+).*?PR\s+E(?P<exponent>[-+]\d\d)INT\s*(?P<interval>\d+)"
    r"(?:U(?P<unit>\d))?\s*GP\s*(?P<rows>\d+)x\s*(?P<columns>\d+)(?:VV\s*(?P<lead>\d+))?"
)


class _Header(NamedTuple):
    product: str
    time: np.datetime64
    version: int
    unit_of_amount: float
    interval: np.timedelta64
    shape: tuple[int, int]


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file starts with the header of a RADOLAN composite."""
    return _START.match(head) is not None


def read(path: Path) -> xr.DataArray:
    """Read one composite as a precipitation field; the time in its header is the END of the accumulation interval."""
    header, body = _parse(path, read_bytes(path))
    if header.product not in PRODUCTS:
        raise ReadError(path, f"product {header.product} is not one of amounts of rain, {', '.join(sorted(PRODUCTS))}")
    if header.shape not in GRIDS:
        raise ReadError(
            path, f"the place of a grid of {header.shape} is not known, only of {', '.join(map(str, GRIDS))}"
        )
    cells = header.shape[0] * header.shape[1]
    if len(body) != 2 * cells:
        raise ReadError(path, f"{header.shape} cells of 2 bytes announced, but {len(body)} bytes follow")
    raw = np.frombuffer(body, "<u2").reshape(header.shape)
    amount = (raw & _AMOUNT).astype(np.float32) * np.float32(header.unit_of_amount)
    amount[(raw & _NOT_OBSERVED) != 0] = np.nan
    attrs: dict[str, Any] = {
        "source": f"DWD radar composite {header.product}",
        "institution": "Deutscher Wetterdienst",
        "accumulation_interval_minutes": float(header.interval / MINUTE),
    }
    rate = limit_rates(rate_from_accumulation(amount, header.interval), attrs)
    x, y, crs = _build_grid(header)
    return precipitation(rate, time=header.time, y=y, x=x, crs=crs, attrs=attrs)


def _parse(path: Path, data: bytes) -> tuple[_Header, bytes]:
    start, end = _START.match(data), data.find(_ETX, 0, 4096)
    fields = _FIELDS.search(data[: max(end, 0)].decode("latin-1"))
    if start is None or fields is None:
        raise ReadError(path, "the RADOLAN header is damaged or truncated")
    if int(fields["size"]) != len(data):
        raise ReadError(path, f"the header announces {fields['size']} bytes, the file has {len(data)}")
    if int(fields["lead"] or 0) != 0:
        raise ReadError(path, f"a forecast for {fields['lead']} minutes ahead, not an observation")
    header = _Header(
        product=start[1].decode(),
        time=_parse_time(path, (start[2] + start[3]).decode()),
        version=int(fields["version"]),
        unit_of_amount=10.0 ** int(fields["exponent"]),
        interval=np.timedelta64(int(fields["interval"]), "D" if fields["unit"] == "1" else "m"),
        shape=(int(fields["rows"]), int(fields["columns"])),
    )
    if header.interval <= np.timedelta64(0):
        raise ReadError(path, "the header states no interval (INT)")
    return header, data[end + 1 :]


def _parse_time(path: Path, stamp: str) -> np.datetime64:
    try:
        return np.datetime64(datetime.strptime(stamp, "%d%H%M%m%y"), "ns")
    except ValueError as error:
        raise ReadError(path, f"the time in the header, {stamp!r}, is not DDhhmmMMYY") from error


def _build_grid(header: _Header) -> tuple[Doubles, Doubles, pyproj.CRS]:
    """Return x and y of the cell centres (rows run from south to north) and the CRS."""
    crs = pyproj.CRS(_PROJECTION + ("+ellps=WGS84" if header.version >= 5 else "+R=6370040"))
    x_reference, y_reference = pyproj.Proj(crs)(*REFERENCE)
    west, south = GRIDS[header.shape]
    rows, columns = header.shape
    x = x_reference + (np.arange(columns) - west + 0.5) * 1000.0
    y = y_reference + (np.arange(rows) - south + 0.5) * 1000.0
    return x, y, crs
