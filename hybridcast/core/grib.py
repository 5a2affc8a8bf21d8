"""GRIB editions 1 and 2: messages, times, grids and missing values, shared by radar and NWP.

WMO Manual on Codes (WMO-No. 306), volume I.2, FM 92 GRIB; ecCodes decodes the values. Messages are read from memory, so
that compressed files can be read and no index is written beside a file.

Grids whose rows and columns are the axes of a projection are supported (`KINDS`). The order of the values within a
message (rows or columns first, to and fro) is undone; the direction of the axes remains that of the file.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj

from hybridcast.core.compression import is_compressed
from hybridcast.core.crs import centre_longitude
from hybridcast.core.extras import extra
from hybridcast.core.readers import read_bytes
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import ReadError

MAGIC, END = b"GRIB", b"7777"
#: Bytes before the first message, such as the heading of a bulletin (``SXUS00 KWBC 010000``, between control codes).
HEADING = 128
#: More cells than any radar or model has: such a number comes from a damaged header.
MOST_CELLS = 400_000_000
#: Higher values are codes of missing values: cfgrib sets that of ecCodes to 3.4e38, wgrib2 writes 9.999e20.
_HUGE = 1e19
_EARTH_RADII = 6_300_000.0, 6_400_000.0  # m


def is_grib(head: bytes) -> bool:
    """Return whether the first bytes of a file are GRIB, possibly behind the heading of a bulletin."""
    return find_start(head) is not None


def find_start(head: bytes) -> int | None:
    """Return the position of the first message in the first bytes of a file; None if they are no GRIB."""
    found = re.search(rb"\A(?:[\x00-\x20\x7f-\xff]*[A-Z0-9* \r\n\x01\x03]*)?(GRIB...[\x01\x02])", head[:HEADING], re.S)
    return None if found is None else found.start(1)


# --- messages -------------------------------------------------------------------------------------------------


def read_messages(path: Path) -> Iterator[Any]:
    """Read the fields of a file one by one, as mappings of ecCodes' keys (`cfgrib.messages.Message`).

    A GRIB 2 message that holds several fields is read as several messages.

    Raises
    ------
    ReadError
        If the file is truncated or damaged.
    """
    count = 0
    with _content(path) as data:
        for message in split_messages(data, path):
            with message_errors(path, count):
                for field in split_fields(message):
                    yield _require_template(_decode(field), path)
            count += 1


@contextmanager
def message_errors(path: Path, count: int) -> Iterator[None]:
    """Convert the errors of ecCodes, and those of damaged sections, to a `ReadError` that names the message."""
    with extra("grib", "GRIB"):
        import eccodes

    try:
        yield
    except (eccodes.CodesInternalError, KeyError, ValueError, IndexError) as error:
        if isinstance(error, ReadError):
            raise
        raise ReadError(path, f"the GRIB file is damaged in message {count + 1} ({error!r})") from error


def _decode(message: bytes) -> Any:
    with extra("grib", "GRIB"):
        import eccodes
        from cfgrib.messages import Message  # imported here so that pyproj, which has another PROJ, is loaded first

    return Message(codes_id=eccodes.codes_new_from_message(message), errors="raise")


def _require_template(message: Any, path: Path) -> Any:
    """Return the message; `ReadError` if ecCodes does not know the layout of its section 4."""
    if int(message["edition"]) == 2 and message.get("parameterCategory") is None:
        number = message.get("productDefinitionTemplateNumber", "?")
        raise ReadError(path, f"a message of product definition template 4.{number}, which ecCodes does not know")
    return message


@contextmanager
def _content(path: Path) -> Iterator[bytes | mmap.mmap]:
    """Open the content of a file: mapped into memory, or uncompressed."""
    try:
        if is_compressed(path):
            yield read_bytes(path)
            return
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped
    except ReadError:
        raise
    except OSError as error:
        raise ReadError(path, str(error)) from error


def split_messages(data: bytes | mmap.mmap, path: Path) -> Iterator[bytes]:
    """Split a file into messages by the length that each states; headings and padding between them are skipped."""
    start = find_start(data[:HEADING])
    count = 0
    while start is not None:
        head = data[start : start + 16]
        length = _message_length(head, path) if len(head) == 16 else 0
        message = data[start : start + length]
        if length < 16 or len(message) != length or message[-4:] != END:
            raise ReadError(path, f"the GRIB file is truncated or damaged after {count} messages")
        yield message
        count += 1
        start = _find_next(data, start + length, path, count)
    if count == 0:
        raise ReadError(path, "no GRIB message at its start: the file is damaged, or no GRIB")


def _find_next(data: bytes | mmap.mmap, end: int, path: Path, count: int) -> int | None:
    """Return the position of the next message, None at the end of the file; only headings and padding may precede."""
    between = data[end : end + HEADING]
    if not between.strip(b"\0 \r\n\x01\x03"):
        following = data.find(MAGIC, end)
        return None if following < 0 else following
    start = find_start(between)
    if start is None:
        raise ReadError(path, f"the GRIB file is truncated or damaged after {count} messages (at byte {end})")
    return end + start


def _message_length(head: bytes, path: Path) -> int:
    """Return the length in the first 16 bytes of a message: three bytes in edition 1, eight in edition 2."""
    if head[7] == 2:
        return int.from_bytes(head[8:16], "big")
    length = int.from_bytes(head[4:7], "big")
    if length & 0x800000:  # a convention of ECMWF for messages of more than 8 MB
        raise ReadError(path, "a GRIB 1 message longer than its length can state. Convert it: grib_set -s edition=2")
    return length


def split_fields(message: bytes) -> Iterator[bytes]:
    """Split a GRIB 2 message into messages of one field; sections 2 to 7 may be repeated after the first field.

    A bit map that is declared as that of the field before (254) is copied from there.
    """
    if message[7] != 2:
        yield message
        return
    sections: dict[int, bytes] = {}
    bitmap = b""
    for section in _sections(message):
        number = section[4]
        sections[number] = _standardise(section) if number == 4 else section
        if number == 6:
            bitmap = section if section[5] != 254 else bitmap
        elif number == 7:
            _check_packing(sections.get(3, b""), sections.get(5, b""), section)
            body = b"".join({**sections, 6: bitmap}[key] for key in sorted(sections))
            yield message[:8] + (16 + len(body) + 4).to_bytes(8, "big") + body + END


#: Local product definition templates of JMA that begin like template 4.8, and its length; information on the radars
#: follows (JMA, technical information 162). ecCodes knows the standard ones only.
_LIKE_8, _LENGTH_8 = (50008, 50009), 58


def _standardise(section: bytes) -> bytes:
    """Return a section 4 of a local template that extends a standard one as the standard one."""
    template = int.from_bytes(section[7:9], "big")
    if template not in _LIKE_8 or len(section) < _LENGTH_8:
        return section
    return _LENGTH_8.to_bytes(4, "big") + section[4:7] + (8).to_bytes(2, "big") + section[9:_LENGTH_8]


#: Templates of section 5, and sizes of numbers in bits beyond which ecCodes ends the process instead of an error.
_COMPLEX, _IEEE, _JPEG, _PNG, _RUN_LENGTH = (2, 3), 4, 40, 41, 200
_MOST_BITS, _MOST_GROUP_BITS, _MOST_LEVEL_BITS = 32, 63, 16
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


def _check_packing(grid: bytes, packing: bytes, data: bytes) -> None:
    """Raise `ValueError` for sections 3, 5 and 7 that no software writes, and with which ecCodes would end the process.

    It takes the number of values from section 5, whatever the number of points in section 3 is.
    """
    values, points = int.from_bytes(packing[5:9], "big"), int.from_bytes(grid[6:10], "big")
    if values > points or points > MOST_CELLS:
        raise ValueError(f"{values} values for {points} points")
    template = int.from_bytes(packing[9:11], "big")
    if template == _RUN_LENGTH:
        return _check_levels(packing)
    bits = 0 if template == _IEEE else packing[19]
    if bits > _MOST_BITS:
        raise ValueError(f"values of {bits} bits")
    if template in _COMPLEX:
        _check_groups(packing)
    elif bits and template in (_JPEG, _PNG):
        _check_image(template, data, values, bits)
    return None


def _check_levels(packing: bytes) -> None:
    bits, highest = packing[11], int.from_bytes(packing[12:14], "big")
    if not 0 < bits <= _MOST_LEVEL_BITS or highest >= 2**bits - 1:
        raise ValueError(f"levels up to {highest} in {bits} bits")


def _check_groups(packing: bytes) -> None:
    """Check the highest width of numbers that a group may state, and the number of groups."""
    width = packing[35] + 2 ** min(packing[36], 8) - 1
    if max(width, packing[46]) > _MOST_GROUP_BITS or int.from_bytes(packing[31:35], "big") > MOST_CELLS:
        raise ValueError(f"groups of numbers of {width} bits")


def _check_image(template: int, data: bytes, values: int, bits: int) -> None:
    """Check the size of a JPEG 2000 image, and the depth of a PNG image (its size has a checksum)."""
    if template == _PNG:
        if data[29] * _PNG_CHANNELS.get(data[30], 0) != 8 * -(-bits // 8):
            raise ValueError(f"values of {bits} bits in a PNG of {data[29]} bits and colour type {data[30]}")
        return
    right, bottom, left, top = (int.from_bytes(data[at : at + 4], "big") for at in range(13, 29, 4))
    if data[5:9] != b"\xff\x4f\xff\x51" or (right - left) * (bottom - top) != values:
        raise ValueError(f"{values} values in a JPEG 2000 image of {right - left} x {bottom - top}")


def _sections(message: bytes) -> Iterator[bytes]:
    position, end = 16, len(message) - len(END)
    while position < end:
        length = int.from_bytes(message[position : position + 4], "big")
        if length < 5 or position + length > end or not 1 <= message[position + 4] <= 7:
            raise ValueError(f"a section of {length} bytes at byte {position}")
        yield message[position : position + length]
        position += length


# --- times ----------------------------------------------------------------------------------------------------


def reference_time(message: Any) -> np.datetime64:
    """Return the reference time of a message (UTC): of an analysis or observation, or the start of a run.

    24:00 is the start of the next day. `ValueError` if there is no such date or time.
    """
    date = datetime.strptime(f"{int(message['dataDate']):08d}", "%Y%m%d")
    hour, minute = divmod(int(message["dataTime"]), 100)
    second = int(message.get("second", 0))
    if not (hour < 24 and minute < 60 and second < 60) and (hour, minute, second) != (24, 0, 0):
        raise ValueError(f"a time of {hour:02d}:{minute:02d}:{second:02d}")
    return np.datetime64(date, "ns") + np.timedelta64(hour * 3600 + minute * 60 + second, "s")


def step_range(message: Any) -> tuple[np.timedelta64, np.timedelta64]:
    """Return start and end of the interval of a message, from its reference time; equal for instantaneous values.

    They are computed from the lengths of time, because the date of the end (``validityDate``) is a dummy in some files.
    """
    message["stepUnits"] = "s"
    start, end = (np.timedelta64(int(message[f"{which}Step:int"]), "s") for which in ("start", "end"))
    return start.astype("m8[ns]"), end.astype("m8[ns]")


# --- values ---------------------------------------------------------------------------------------------------


class GribGrid(NamedTuple):
    """Grid of a message."""

    y: Doubles
    """Cell centres along y in the order of the file, metres or degrees."""
    x: Doubles
    """Cell centres along x in the order of the file, metres or degrees."""
    crs: pyproj.CRS


def read_values(message: Any, path: Path, shape: tuple[int, int] | None = None) -> Array:
    """Return the values of a message, shape ``(y, x)``, NaN where they are missing.

    Rows and columns are in the direction of the axes of `read_grid`.

    Parameters
    ----------
    message
        Message with a grid of rows and columns.
    path
        File of the message, for errors.
    shape
        Numbers of rows and columns; by default those of the message.

    Raises
    ------
    ReadError
        If the values are damaged, or their number is not that of the cells.
    """
    import eccodes

    rows, columns = grid_shape(message, path) if shape is None else shape
    try:
        values = eccodes.codes_get_values(message.codes_id).astype(np.float32)  # not every packing gives float32
    except eccodes.CodesInternalError as error:
        raise ReadError(path, f"the values of a GRIB message are damaged ({error!r})") from error
    if values.size != rows * columns:
        raise ReadError(path, f"{values.size} values on a grid of {rows} x {columns} cells")
    values[values > _HUGE] = np.nan
    by_columns = bool(message.get("jPointsAreConsecutive", 0))
    ordered = values.reshape((columns, rows) if by_columns else (rows, columns))
    if message.get("alternativeRowScanning", 0):
        ordered[1::2] = ordered[1::2, ::-1].copy()
    return np.ascontiguousarray(ordered.T if by_columns else ordered)


def grid_shape(message: Any, path: Path) -> tuple[int, int]:
    """Return the numbers of rows and columns of a message; `ReadError` if they are not those of its values."""
    rows, columns = (int(message.get(key) or 0) for key in ("Ny", "Nx"))
    if rows * columns != int(message["numberOfDataPoints"]) or not 0 < rows * columns <= MOST_CELLS:
        raise ReadError(
            path, f"a grid of {rows} x {columns} cells for {message['numberOfDataPoints']} points: damaged, or reduced"
        )
    return rows, columns


# --- grid -----------------------------------------------------------------------------------------------------


def read_grid(message: Any, path: Path, known: dict[tuple[Any, ...], GribGrid] | None = None) -> GribGrid:
    """Return the grid of a message.

    Parameters
    ----------
    message
        Message with a grid of one of `KINDS`.
    path
        File of the message, for errors.
    known
        Grids of messages read before, to which this one is added.

    Raises
    ------
    ReadError
        If the kind of grid is not supported, or its numbers contradict one another.
    """
    key = tuple(message.get(name) for name in ("md5GridSection", "Nx", "Ny"))
    known = {} if known is None else known
    if key not in known:
        kind = str(message["gridType"])
        if kind not in KINDS:
            raise ReadError(path, f"a grid of type {kind!r}; interpolate it to longitude and latitude, or a projection")
        shape = grid_shape(message, path)
        build = _read_geographic_grid if kind in _GEOGRAPHIC else _read_projected_grid
        known[key] = build(message, shape, path)
    return known[key]


def _read_geographic_grid(message: Any, shape: tuple[int, int], path: Path) -> GribGrid:
    (top, bottom), (left, right) = (
        [float(message[f"{axis}Of{end}GridPointInDegrees"]) for end in ("First", "Last")]
        for axis in ("latitude", "longitude")
    )
    if not max(abs(top), abs(bottom)) <= 90.001:
        raise ReadError(path, f"latitudes from {top:g} to {bottom:g} degrees: the grid is damaged")
    if shape[0] > 1 and (bottom > top) != bool(message["jScansPositively"]):
        raise ReadError(path, f"rows from {top:g} to {bottom:g} degrees north, but the scanning mode says the opposite")
    latitude = np.linspace(top, bottom, shape[0])
    longitude = left + np.linspace(0.0, _span(left, right, bool(message["iScansNegatively"])), shape[1])
    _check_increments(message, latitude, longitude, path)
    rotated = message["gridType"] == "rotated_ll"
    crs = _read_rotated_crs(message, path) if rotated else pyproj.CRS.from_epsg(4326)
    return GribGrid(latitude, centre_longitude(longitude), crs)


def _span(first: float, last: float, westward: bool) -> float:
    """Return the signed difference from the first longitude to the last, in the direction of scanning."""
    if first == last:
        return 0.0
    return -((first - last) % 360.0) if westward else (last - first) % 360.0


def _check_increments(message: Any, latitude: Doubles, longitude: Doubles, path: Path) -> None:
    """Raise `ReadError` if the increments are stated and are not those between the first and last points."""
    for key, axis in (("jDirectionIncrementInDegrees", latitude), ("iDirectionIncrementInDegrees", longitude)):
        stated = message.get(key)
        if stated is None or not 0 < abs(stated) < 90 or axis.size < 2:
            continue
        # edition 1 states thousandths of a degree
        if abs(abs(axis[-1] - axis[0]) - abs(stated) * (axis.size - 1)) > max(0.5 * abs(stated), 1e-3 * axis.size):
            raise ReadError(
                path, f"{axis.size} cells every {stated:g} degrees do not reach from {axis[0]:g} to {axis[-1]:g}"
            )


def _read_rotated_crs(message: Any, path: Path) -> pyproj.CRS:
    major, _ = _read_earth(message, path)
    return pyproj.CRS.from_cf(
        {
            "grid_mapping_name": "rotated_latitude_longitude",
            "grid_north_pole_latitude": -float(message["latitudeOfSouthernPoleInDegrees"]),
            "grid_north_pole_longitude": (float(message["longitudeOfSouthernPoleInDegrees"]) + 360.0) % 360.0 - 180.0,
            "north_pole_grid_longitude": float(message["angleOfRotationInDegrees"]),
            "earth_radius": major,
        }
    )


def _read_projected_grid(message: Any, shape: tuple[int, int], path: Path) -> GribGrid:
    major, minor = _read_earth(message, path)
    projection = KINDS[str(message["gridType"])](message)
    crs = pyproj.CRS(f"{projection} +a={major!r} +b={minor!r} +units=m +no_defs")
    x0, y0 = pyproj.Proj(crs)(*_read_point(message, "First"))
    dx, dy = (_read_spacing(message, axis, path) for axis in "xy")
    x = x0 + (-dx if message["iScansNegatively"] else dx) * np.arange(shape[1])
    y = y0 + (dy if message["jScansPositively"] else -dy) * np.arange(shape[0])
    if not np.isfinite([x[0], y[0]]).all():
        raise ReadError(path, "its first grid point is not on the map of its projection: the grid is damaged")
    grid = GribGrid(y, x, crs)
    _check_last_point(message, grid, path)
    return grid


def _read_point(message: Any, which: str) -> tuple[float, float]:
    longitude, latitude = (float(message[f"{a}Of{which}GridPointInDegrees"]) for a in ("longitude", "latitude"))
    return longitude, latitude


def _check_last_point(message: Any, grid: GribGrid, path: Path) -> None:
    """Raise `ReadError` if the last point, which only Mercator grids state, is not where the spacing leads."""
    if message["gridType"] != "mercator":
        return
    x, y = pyproj.Proj(grid.crs)(*_read_point(message, "Last"))
    for found, axis in ((x, grid.x), (y, grid.y)):
        if axis.size > 1 and abs(found - axis[-1]) > abs(axis[1] - axis[0]):
            raise ReadError(path, f"its last grid point is at {found:.0f} m, but its spacing leads to {axis[-1]:.0f} m")


def _read_spacing(message: Any, axis: str, path: Path) -> float:
    """Return the spacing in metres, whose key differs between projections."""
    other = {"x": "Di", "y": "Dj"}[axis]
    for key in (f"D{axis}InMetres", f"{other}InMetres"):
        found = message.get(key)
        if found is not None and 0 < float(found) < 1e7:
            return float(found)
    raise ReadError(path, f"no spacing of the grid along {axis}")


# --- projections ----------------------------------------------------------------------------------------------

#: Axes of the ellipsoids by number in code table 3.2; the other numbers are spheres or state their axes.
_STATED_RADIUS, _STATED_AXES = 1, (3, 7)
_EARTHS = {
    0: (6_367_470.0, 6_367_470.0),
    2: (6_378_160.0, 6_356_775.0),  # IAU 1965
    4: (6_378_137.0, 6_356_752.314140356),  # GRS80
    5: (6_378_137.0, 6_356_752.314245179),  # WGS84
    6: (6_371_229.0, 6_371_229.0),
    8: (6_371_200.0, 6_371_200.0),
    9: (6_377_563.396, 6_356_256.909),  # Airy 1830
}


def _read_earth(message: Any, path: Path) -> tuple[float, float]:
    """Return the semi-major and the semi-minor axis of the Earth of a message, m."""
    if int(message["edition"]) == 1:
        return _EARTHS[2 if message.get("earthIsOblate", 0) else 0]
    shape = int(message["shapeOfTheEarth"])
    if shape in _EARTHS:
        return _EARTHS[shape]
    axes = (0.0, 0.0)
    if shape == _STATED_RADIUS:
        axes = (float(message["radius"]),) * 2
    elif shape in _STATED_AXES:
        axes = float(message["earthMajorAxisInMetres"]), float(message["earthMinorAxisInMetres"])
    if not all(_EARTH_RADII[0] < axis < _EARTH_RADII[1] for axis in axes):
        raise ReadError(path, f"an Earth of shape {shape} with axes of {axes[0]:g} and {axes[1]:g} m is not known")
    return axes


def _polar_stereographic(message: Any) -> str:
    pole = -90.0 if int(message["projectionCentreFlag"]) & 0x80 else 90.0
    true_scale = float(np.copysign(float(message["LaDInDegrees"]), pole))  # edition 1: always 60 degrees
    return f"+proj=stere +lat_0={pole} +lat_ts={true_scale} +lon_0={message['orientationOfTheGridInDegrees']}"


def _lambert(message: Any, name: str = "lcc") -> str:
    first, second = (float(message[f"Latin{k}InDegrees"]) for k in (1, 2))
    origin = float(message.get("LaDInDegrees") or first)
    return f"+proj={name} +lat_0={origin} +lat_1={first} +lat_2={second} +lon_0={message['LoVInDegrees']}"


def _albers(message: Any) -> str:
    return _lambert(message, "aea")


def _mercator(message: Any) -> str:
    if float(message.get("orientationOfTheGridInDegrees") or 0.0) != 0.0:
        raise ValueError("a Mercator grid that is turned")
    (left, _), (right, _) = (_read_point(message, which) for which in ("First", "Last"))
    west, span = (right, left - right) if message["iScansNegatively"] else (left, right - left)
    over_dateline = (west + 180.0) % 360.0 + span % 360.0 > 360.0
    return f"+proj=merc +lat_ts={message['LaDInDegrees']} +lon_0={180.0 if over_dateline else 0.0}"


def _azimuthal(message: Any) -> str:
    return f"+proj=laea +lat_0={message['standardParallelInDegrees']} +lon_0={message['centralLongitudeInDegrees']}"


_GEOGRAPHIC = ("regular_ll", "rotated_ll")
#: Supported grids by ecCodes' name, with the PROJ string of their projections.
KINDS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(_GEOGRAPHIC, lambda message: "+proj=longlat"),
    "lambert": _lambert,
    "lambert_lam": _lambert,
    "polar_stereographic": _polar_stereographic,
    "polar_stereographic_lam": _polar_stereographic,
    "mercator": _mercator,
    "albers": _albers,
    "lambert_azimuthal_equal_area": _azimuthal,
}
