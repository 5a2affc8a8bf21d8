"""Met Office (UK) radar composites in Nimrod format: rain rate and amounts, 1, 2 or 5 km.

Met Office (2003), Met Office Rain Radar Data from the NIMROD System, NCAS British Atmospheric Data Centre
(catalogue.ceda.ac.uk), Nimrod image file format. A field is two Fortran records, big-endian, each between two lengths
of 4 bytes: a header of 512 bytes, and the values, rows times columns. Numbers that are not stated are -32767. Read are

- the times of validity and of the data; a later validity is a forecast;
- the field code (213 and 63 rain rate, 214 and 61 amount) and the unit, such as ``mm/h*32`` for 1/32 mm/h;
- the period of an amount in minutes, which ends at the time of validity;
- the corner of the origin, the place of the first cell's CENTRE there, and the steps of rows and columns in metres of
  the British National Grid (grid type 0) or in degrees (1);
- the code for missing values, which composites set to -1: no radar sees the cell.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import rate_from_accumulation
from hybridcast.core.readers import read_bytes
from hybridcast.core.times import as_datetime64
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import ReadError
from hybridcast.radar._frames import Frame, build_field, leave_out_forecasts
from hybridcast.radar._rates import check_rates

NAME = "nimrod"
DESCRIPTION = "Met Office (UK) radar composites of rain rate or amount, Nimrod format"

_LENGTH = struct.Struct(">I")
_HEADER = struct.Struct(">31h28f180x8s24s24s102x")
_UNSTATED = -32767
_CODES = {213, 214, 63, 61}
_RATE = re.compile(r"mm/hr?(?:\*(\d+))?", re.IGNORECASE)
_AMOUNT = re.compile(r"mm(?:h2o)?(?:\*(\d+))?", re.IGNORECASE)
#: Types of the values by type and length of the datum.
_TYPES = {(0, 4): ">f4", (1, 1): ">i1", (1, 2): ">i2", (1, 4): ">i4", (2, 1): ">u1"}
#: The British National Grid: true origin 49 N 2 W at 400 km E and -100 km N, which some files state in km.
_NATIONAL_GRID = "EPSG:27700"
_ORIGIN = {11: (49.0,), 12: (-2.0,), 13: (400_000.0, 400.0), 14: (-100_000.0, -100.0)}


class _Header(NamedTuple):
    integers: tuple[int, ...]
    """Elements 1 to 31 of the specification."""
    reals: tuple[float, ...]
    """Elements 32 to 59."""
    units: str
    title: str

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return self.integers[15], self.integers[16]


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file starts with a header of Nimrod between its two lengths."""
    size = _LENGTH.pack(_HEADER.size)
    return head.startswith(size) and head[4 + _HEADER.size : 8 + _HEADER.size] == size


def read(path: Path) -> xr.DataArray:
    """Read the analyses of a file; the time of an amount is the END of its period.

    Raises
    ------
    ForecastFileError
        If all of its fields are forecasts.
    ReadError
        If a field is no rain, is on another grid, states no period, or the file is damaged.
    """
    return build_field(path, [_read_frame(header, body, path) for header, body in _find_observed(path)])


def read_times(path: Path) -> NDArray[np.datetime64]:
    """Return the times of the analyses, from their headers alone."""
    return np.sort([_read_time(header, path) for header, _ in _find_observed(path)])


def _find_observed(path: Path) -> list[tuple[_Header, bytes]]:
    """Return headers and values of the fields of rain that are no forecasts."""
    observed: list[tuple[_Header, bytes]] = []
    leads: list[np.timedelta64] = []
    for header, body in _split_fields(path, read_bytes(path)):
        _refuse_others(header, path)
        lead = _find_lead(header, path)
        if lead > np.timedelta64(0):
            leads.append(lead)
        else:
            observed.append((header, body))
    leave_out_forecasts(path, leads, alone=not observed)
    return observed


def _split_fields(path: Path, data: bytes) -> Iterator[tuple[_Header, bytes]]:
    position = 0
    while position < len(data) or position == 0:
        head, position = _read_record(path, data, position)
        if len(head) != _HEADER.size:
            raise ReadError(path, f"a header of {len(head)} bytes, not {_HEADER.size}: the file is damaged")
        fields = _HEADER.unpack(head)
        units, _, title = (text.split(b"\0")[0].decode("latin-1").strip() for text in fields[-3:])
        body, position = _read_record(path, data, position)
        yield _Header(fields[:31], fields[31:59], units, title), body


def _read_record(path: Path, data: bytes, position: int) -> tuple[bytes, int]:
    """Return a Fortran record and the position behind it."""
    start = position + _LENGTH.size
    if len(data) < start:
        raise ReadError(path, "the Nimrod file is truncated")
    (size,) = _LENGTH.unpack_from(data, position)
    end = start + size
    if len(data) < end + _LENGTH.size or _LENGTH.unpack_from(data, end) != (size,):
        raise ReadError(
            path, f"a record of {size} bytes announced at byte {position}, but it does not end there: damaged"
        )
    return data[start:end], end + _LENGTH.size


# --- header -----------------------------------------------------------------------------------------------------


def _refuse_others(header: _Header, path: Path) -> None:
    """Raise `ReadError` for other quantities, and for members of an ensemble."""
    code, member = header.integers[18], header.integers[28]
    if code not in _CODES:
        raise ReadError(
            path,
            f"field code {code} ({header.title!r}), no rain. Give composites of rain rate (213) or amount (214)",
        )
    if member not in (_UNSTATED, 0, -1):
        raise ReadError(path, f"member {member} of an ensemble; give the radar composite")


def _find_lead(header: _Header, path: Path) -> np.timedelta64:
    """Return the time from that of the data to that of validity; 0 if the former is not stated."""
    if header.integers[6] <= 0:
        return np.timedelta64(0, "s")
    return _read_time(header, path) - _parse_time((*header.integers[6:11], 0), path)


def _read_time(header: _Header, path: Path) -> np.datetime64:
    return _parse_time(header.integers[:6], path)


def _parse_time(numbers: tuple[int, ...], path: Path) -> np.datetime64:
    try:
        year, month, day, hour, minute, second = numbers
        return as_datetime64(datetime(year, month, day, hour, minute, max(second, 0)))
    except ValueError as error:
        raise ReadError(path, f"a time of {numbers} (year to second) in its header") from error


# --- values -----------------------------------------------------------------------------------------------------


def _read_frame(header: _Header, body: bytes, path: Path) -> Frame:
    rate_unit, amount_unit = _RATE.fullmatch(header.units), _AMOUNT.fullmatch(header.units)
    unit = rate_unit or amount_unit
    if unit is None:
        raise ReadError(path, f"{header.title!r} in {header.units!r}, not in parts of mm/h or mm")
    interval = None if rate_unit else _read_period(header, path)
    values = _read_values(header, body, path) / np.float32(unit[1] or 1)
    rate = values if interval is None else rate_from_accumulation(values, interval)
    attrs = {"source": f"Met Office radar: {header.title}", "institution": "Met Office"}
    return Frame(
        header.title, _read_time(header, path), interval, check_rates(rate, path), _read_grid(header, path), attrs
    )


def _read_period(header: _Header, path: Path) -> np.timedelta64:
    minutes = header.integers[25]
    if not 0 < minutes < -_UNSTATED:
        raise ReadError(path, f"an amount ({header.title!r}) whose header does not state its period")
    return np.timedelta64(minutes, "m")


def _read_values(header: _Header, body: bytes, path: Path) -> Array:
    """Return the numbers as they are in the file, rows from the corner of the origin, NaN where missing."""
    rows, columns = header.shape
    code = _TYPES.get((header.integers[11], header.integers[12]))
    if code is None or rows < 1 or columns < 1 or len(body) != rows * columns * np.dtype(code).itemsize:
        raise ReadError(
            path,
            f"{rows} x {columns} values of type {header.integers[11]} and {header.integers[12]} bytes announced, but "
            f"{len(body)} bytes follow",
        )
    if header.reals[8] not in (0.0, _UNSTATED):
        raise ReadError(path, f"an offset of {header.reals[8]:g} to its values, whose meaning is not known")
    raw = np.frombuffer(body, code).reshape(rows, columns)
    missing = header.reals[6] if header.integers[11] == 0 else header.integers[24]
    return np.where(raw == missing, np.float32(np.nan), raw.astype(np.float32))


# --- grid -------------------------------------------------------------------------------------------------------


def _read_grid(header: _Header, path: Path) -> tuple[Doubles, Doubles, pyproj.CRS]:
    """Return y and x of the cell centres in the order of the values, and the CRS."""
    corner = header.integers[23]
    if corner not in (0, 1):
        raise ReadError(path, f"rows that begin at corner {corner}, only top left (0) and bottom left (1) are known")
    y0, dy, x0, dx = (float(number) for number in header.reals[2:6])
    if not (dy > 0 and dx > 0 and np.isfinite([y0, x0, dy, dx]).all()):
        raise ReadError(path, f"steps of {dy:g} and {dx:g} between rows and columns: the header is damaged")
    rows, columns = header.shape
    y = y0 + (dy if corner else -dy) * np.arange(rows, dtype=np.float64)
    return y, x0 + dx * np.arange(columns, dtype=np.float64), _read_crs(header, path)


def _read_crs(header: _Header, path: Path) -> pyproj.CRS:
    kind = header.integers[14]
    if kind == 1:
        return pyproj.CRS.from_epsg(4326)
    if kind != 0:
        raise ReadError(path, f"a grid of type {kind}, only the British National Grid (0) and degrees (1) are known")
    for element, known in _ORIGIN.items():
        if not np.isclose(header.reals[element], (*known, _UNSTATED)).any():
            raise ReadError(
                path, f"a true origin of {header.reals[11:15]}, which is not that of the British National Grid"
            )
    return pyproj.CRS(_NATIONAL_GRID)
