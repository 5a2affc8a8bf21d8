"""DWD RADOLAN, RADVOR and RADKLIM composites of rain amount or reflectivity in their binary format.

Deutscher Wetterdienst, RADOLAN/RADVOR: Beschreibung des Kompositformats, version 2.5 and earlier. An ASCII header that
ends with the byte ETX is followed by the cells, with rows from south to north.

Amounts are 2-byte little-endian numbers. The lower 12 bits are the amount in the unit given by PR in the header, the
upper four bits are flags:

- 0x1000, secondary: from interpolation or another source; a valid amount.
- 0x2000, error: not observed (the amount is then 2500).
- 0x4000, negative: used in differences only; treated as not observed.
- 0x8000, clutter: contaminated, with an amount substituted by DWD. It is kept, because in RADKLIM YW it agrees with the
  neighbours (correlation .94 to .98), while 0 or NaN would leave holes in rain.

Reflectivity is in RVP-6 units: dBZ = v / 2 - 32.5, where v is a byte (249 is clutter, 250 and above are no data), or a
2-byte number with the flags above times PR (wradlib issue 548: WN states .1). Clutter is missing, because nothing is
substituted. DWD's relation of reflectivity and rain rate is Z = 256 R^1.42.

Forecasts state their lead time (VV) in minutes; that of an analysis is 0 or not stated.

The grid is not in the file but follows from its size: cells of 1 km (or 250 m) around the reference point 9 E 51 N in a
polar stereographic projection, true at 60 N, on a sphere of 6370.04 km to format version (VS) 4, and on WGS84 from 5.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import precipitation, rate_from_accumulation, rate_from_dbz
from hybridcast.core.readers import read_bytes
from hybridcast.core.types import MINUTE, Array, Doubles
from hybridcast.errors import ForecastFileError, ReadError
from hybridcast.radar._rates import decode_codes, limit_rates

NAME = "radolan"
DESCRIPTION = "DWD (Germany) RADOLAN, RADVOR and RADKLIM composites such as RW, RY, YW, SF, RV, RQ, RX, WN, binary"

#: Products that are rain amounts, and those that are reflectivity; others are differences, classes or indices.
AMOUNTS = {"RY", "YW", "RV", "RQ", "RW", "RH", "RB", "RL", "RU", "SF", "SH", "SQ", "EY", "EW", "EH", "EB"}
REFLECTIVITIES = {"RX", "WX", "EX", "HX", "WN", "FX"}
Z_R = 256.0, 1.42
_FIRST_CODE, _CLUTTER = 249, 0x8000  # of a byte, and the flag of two bytes
#: Kilometres from the reference point to the western and the southern edge, and the size of the cells (m), by numbers
#: of rows and columns: national, extended national, DE1200, Central Europe, DE4800 (DE1200 in cells of 250 m).
GRIDS = {
    (900, 900): (450, 450, 1000.0),
    (1100, 900): (370, 550, 1000.0),
    (1200, 1100): (470, 600, 1000.0),
    (1500, 1400): (600, 800, 1000.0),
    (4800, 4400): (470, 600, 250.0),
}
REFERENCE = 9.0, 51.0
_PROJECTION = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +x_0=0 +y_0=0 +units=m +no_defs"
SPHERE, ELLIPSOID = f"{_PROJECTION} +R=6370040", f"{_PROJECTION} +ellps=WGS84"
_ETX = b"\x03"
_AMOUNT, _NOT_OBSERVED = 0x0FFF, 0x2000 | 0x4000

#: What products that are not read are.
_OTHERS = {
    ("DX", "PX", "PE", "PF", "PL", "PR", "PZ", "PS", "PA", "PV"): "of one radar, on its own grid, no composite",
    ("PG", "PC", "PI", "PN", "PM"): "a picture of a few classes of reflectivity, no numbers",
    ("RD", "RC"): "a difference or a factor of an adjustment",
    ("RE",): "rain with flags of phase and hail",
    ("HG", "HM"): "the type of precipitation",
}

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
    precision: float
    """Unit of the numbers (PR): mm for an amount, of RVP-6 units for reflectivity."""
    interval: np.timedelta64
    shape: tuple[int, int]


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file starts with the header of a RADOLAN composite."""
    return _START.match(head) is not None


def read(path: Path) -> xr.DataArray:
    """Read one composite as a precipitation field.

    The time in its header is the END of the accumulation interval, or that of the observation of reflectivity.

    Raises
    ------
    ForecastFileError
        If its lead time is not 0.
    ReadError
        If it is another product, of an unknown grid, or damaged.
    """
    header, body = _parse(path, read_bytes(path))
    if header.shape not in GRIDS:
        raise ReadError(
            path, f"the place of a grid of {header.shape} is not known, only of {', '.join(map(str, GRIDS))}"
        )
    attrs: dict[str, Any] = {
        "source": f"DWD radar composite {header.product}",
        "institution": "Deutscher Wetterdienst",
    }
    if header.product in REFLECTIVITIES:
        rate = _rate_of_reflectivity(_read_cells(path, header, body), header)
        attrs["z_r_relation"] = f"Z = {Z_R[0]:g} R^{Z_R[1]:g}"
    else:
        rate = _rate_of_amount(_read_cells(path, header, body), header)
        attrs["accumulation_interval_minutes"] = float(header.interval / MINUTE)
    x, y, crs = _build_grid(header)
    return precipitation(limit_rates(rate, attrs), time=header.time, y=y, x=x, crs=crs, attrs=attrs)


def read_times(path: Path) -> NDArray[np.datetime64]:
    """Return the time of the composite, from the header alone."""
    return np.array([_parse(path, read_bytes(path))[0].time])


def _read_cells(path: Path, header: _Header, body: bytes) -> NDArray[np.unsignedinteger[Any]]:
    """Return the raw numbers, of one byte or two."""
    cells = header.shape[0] * header.shape[1]
    sizes = (1, 2) if header.product in REFLECTIVITIES else (2,)
    size = next((size for size in sizes if len(body) == size * cells), None)
    if size is None:
        expected = " or ".join(f"{size}" for size in sizes)
        raise ReadError(path, f"{header.shape} cells of {expected} bytes announced, but {len(body)} bytes follow")
    return np.frombuffer(body, f"<u{size}").reshape(header.shape)


def _rate_of_amount(raw: NDArray[Any], header: _Header) -> Array:
    def convert(codes: NDArray[Any]) -> Array:
        amount = (codes & _AMOUNT).astype(np.float32) * np.float32(header.precision)
        amount[(codes & _NOT_OBSERVED) != 0] = np.nan
        return rate_from_accumulation(amount, header.interval)

    return decode_codes(raw, convert)


def _rate_of_reflectivity(raw: NDArray[Any], header: _Header) -> Array:
    def convert(codes: NDArray[Any]) -> Array:
        one_byte = codes.dtype.itemsize == 1
        units = codes if one_byte else (codes & _AMOUNT) * np.float32(header.precision)
        missing = codes >= _FIRST_CODE if one_byte else (codes & (_NOT_OBSERVED | _CLUTTER)) != 0
        rate = rate_from_dbz(units.astype(np.float32) / np.float32(2) - np.float32(32.5), *Z_R)
        return np.where(missing, np.float32(np.nan), rate)

    return decode_codes(raw, convert)


def _parse(path: Path, data: bytes) -> tuple[_Header, bytes]:
    start, end = _START.match(data), data.find(_ETX, 0, 4096)
    if start is not None:
        _require_known(path, start[1].decode())
    fields = _FIELDS.search(data[: max(end, 0)].decode("latin-1"))
    if start is None or fields is None:
        raise ReadError(path, "the RADOLAN header is damaged or truncated")
    if int(fields["size"]) != len(data):
        raise ReadError(path, f"the header announces {fields['size']} bytes, the file has {len(data)}")
    if int(fields["lead"] or 0) != 0:
        raise ForecastFileError(path, f"+{int(fields['lead'])} min")
    header = _Header(
        product=start[1].decode(),
        time=_parse_time(path, (start[2] + start[3]).decode()),
        version=int(fields["version"]),
        precision=10.0 ** int(fields["exponent"]),
        interval=np.timedelta64(int(fields["interval"]), "D" if fields["unit"] == "1" else "m"),
        shape=(int(fields["rows"]), int(fields["columns"])),
    )
    if header.interval <= np.timedelta64(0):
        raise ReadError(path, "the header states no interval (INT)")
    return header, data[end + 1 :]


def _require_known(path: Path, product: str) -> None:
    """Raise `ReadError` for a product that is no rain, and say which one it is."""
    if product in AMOUNTS | REFLECTIVITIES:
        return
    what = next((what for names, what in _OTHERS.items() if product in names), "no amount of rain and no reflectivity")
    known = ", ".join(sorted(AMOUNTS | REFLECTIVITIES))
    raise ReadError(path, f"product {product} is {what}; composites of rain are {known}")


def _parse_time(path: Path, stamp: str) -> np.datetime64:
    try:
        return np.datetime64(datetime.strptime(stamp, "%d%H%M%m%y"), "ns")
    except ValueError as error:
        raise ReadError(path, f"the time in the header, {stamp!r}, is not DDhhmmMMYY") from error


def _build_grid(header: _Header) -> tuple[Doubles, Doubles, pyproj.CRS]:
    """Return x and y of the cell centres (rows run from south to north) and the CRS."""
    crs = pyproj.CRS(ELLIPSOID if header.version >= 5 else SPHERE)
    x_reference, y_reference = pyproj.Proj(crs)(*REFERENCE)
    west, south, cell = GRIDS[header.shape]
    rows, columns = header.shape
    x = x_reference - west * 1000.0 + (np.arange(columns) + 0.5) * cell
    y = y_reference - south * 1000.0 + (np.arange(rows) + 0.5) * cell
    return x, y, crs
