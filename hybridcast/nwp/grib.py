"""NWP fields in GRIB 1 and 2, read message by message with cfgrib.

cfgrib's datasets contain only the end of a step. Here the start of a step is read too, because otherwise a sum since
the start of the run could not be distinguished from a sum over an hour. No index is written beside the file.

Parameters are identified by the short names of ecCodes (https://codes.ecmwf.int/grib/param-db/), and their units are
read. Supported grids are (rotated) longitude and latitude, Lambert, polar stereographic and Mercator; others (reduced
Gaussian, icosahedral) must be interpolated first, with the tools of their weather services.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyproj

from hybridcast.core.crs import centre_longitude
from hybridcast.core.times import as_datetime64
from hybridcast.core.types import Array
from hybridcast.errors import ReadError
from hybridcast.nwp.assembly import FileGrid, Piece
from hybridcast.nwp.schema import AMOUNT, CAPE, EARTH_WIND, HUMIDITY, RATE, WIND
from hybridcast.nwp.units import convert_units
from hybridcast.nwp.wind import geodetic_crs

NAME = "grib"
DESCRIPTION = "NWP fields in GRIB 1 or 2"

#: Variables by short name of ecCodes, in order of preference; for the wind see `_find_name`.
_NAMES = {
    "tp": AMOUNT,
    "apcp": AMOUNT,
    "tirf": AMOUNT,
    "tprate": RATE,
    "prate": RATE,
    "avg_tprate": RATE,
    "2t": "air_temperature",
    "t": "air_temperature",
    "2r": HUMIDITY,
    "r": HUMIDITY,
    "cape": CAPE,
    "mucape": CAPE,
    "mlcape100": CAPE,
    "gust": "wind_speed_of_gust",
    "10fg": "wind_speed_of_gust",
    "i10fg": "wind_speed_of_gust",
    "max_i10fg": "wind_speed_of_gust",
}
_ORDER = {short: order for order, short in enumerate(_NAMES)}
_PARTS = {name: k for k, part in enumerate("uv") for name in (part, f"10{part}", f"100{part}", f"200{part}")}
_LEVELS = {
    "isobaricInhPa": "{:g} hPa",
    "heightAboveGround": "{:g} m above ground",
    "surface": "surface",
    "mixedLayerParcel": "surface",
    "entireAtmosphere": "surface",
}


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is GRIB, by its first four bytes."""
    return head.startswith(b"GRIB")


def read(path: Path) -> list[Piece]:
    """Read all messages with variables of the schema."""
    found: list[tuple[int, Piece]] = []
    grids: dict[tuple[Any, ...], FileGrid] = {}
    for message in read_messages(path):
        relative = bool(message.get("uvRelativeToGrid", 0))
        short = str(message["shortName"])
        name = _find_name(short, relative)
        if name is None or message.get("stepType") in ("min", "diff"):
            continue
        values, grid = read_field(message, path, grids)
        found.append((_ORDER.get(short, 0), _build_piece(message, name, values, grid, path)))
    return _select_preferred(found)


def _select_preferred(found: list[tuple[int, Piece]]) -> list[Piece]:
    """Where several parameters are the same variable at one level, keep the one that comes first in `_NAMES`."""
    first: dict[tuple[str, str], int] = {}
    for order, piece in found:
        key = piece.name, piece.vertical_level
        first[key] = min(order, first.get(key, order))
    return [piece for order, piece in found if order == first[piece.name, piece.vertical_level]]


def read_messages(path: Path) -> Iterator[Any]:
    """Read the messages of a file one by one, as mappings of ecCodes' keys.

    Raises
    ------
    ReadError
        If the file is truncated or damaged.
    """
    from cfgrib import FileStream  # imported here so that pyproj, which has another PROJ, is loaded first

    count = 0
    try:
        for message in FileStream(str(path), errors="raise").items():
            count += 1
            yield message[1]
    except ReadError:
        raise
    except Exception as error:  # ecCodes' own errors, and EOFError
        raise ReadError(path, f"the GRIB file is truncated or damaged after {count} messages ({error!r})") from error


def _find_name(short: str, relative: bool) -> str | None:
    if short in _PARTS:
        return (WIND if relative else EARTH_WIND)[_PARTS[short]]
    return _NAMES.get(short)


def _build_piece(message: Any, name: str, values: Array, grid: FileGrid, path: Path) -> Piece:
    level = _LEVELS.get(str(message["typeOfLevel"]), str(message["typeOfLevel"])).format(float(message["level"]))
    run = as_datetime64(
        datetime.strptime(f"{int(message['dataDate']):08d}{int(message['dataTime']):04d}", "%Y%m%d%H%M")
    )
    message["stepUnits"] = "s"
    start, end = (np.timedelta64(int(message[f"{which}Step:int"]), "s").astype("m8[ns]") for which in ("start", "end"))
    units = str(message["units"]).replace("**", "")
    return Piece(name, level, run, start, end, convert_units(name, values, units, path), grid)


# --- grid -----------------------------------------------------------------------------------------------------


def read_field(message: Any, path: Path, grids: dict[tuple[Any, ...], FileGrid]) -> tuple[Array, FileGrid]:
    """Return the values of a message, with rows and columns in the order of the file, and its grid.

    Grids are cached in `grids`.
    """
    kind = str(message["gridType"])
    if kind not in ("regular_ll", "rotated_ll", "lambert", "polar_stereographic", "mercator"):
        raise ReadError(path, f"a grid of type {kind!r}; interpolate it to longitude and latitude, or a projection")
    if message["jPointsAreConsecutive"] or message.get("alternativeRowScanning", 0):
        raise ReadError(path, "its values run by columns, or to and fro")
    key = tuple(message.get(name) for name in ("md5GridSection", "Nx", "Ny"))
    if key not in grids:
        geographic = kind in ("regular_ll", "rotated_ll")
        grids[key] = _read_geographic_grid(message) if geographic else _read_projected_grid(message)
    grid = grids[key]
    values = np.asarray(message["values"], np.float64).reshape(grid.y.size, grid.x.size)
    missing = message["missingValue"] if message["bitmapPresent"] else None
    return np.where(values == missing, np.nan, values).astype(np.float32), grid


def _read_geographic_grid(message: Any) -> FileGrid:
    axes = []
    for axis, count in (("latitude", "Ny"), ("longitude", "Nx")):
        first, last = (float(message[f"{axis}Of{end}GridPointInDegrees"]) for end in ("First", "Last"))
        if axis == "longitude" and last < first and not message["iScansNegatively"]:
            last += 360.0
        axes.append(np.linspace(first, last, int(message[count])))
    latitude, longitude = axes
    crs = _read_rotated_crs(message) if message["gridType"] == "rotated_ll" else pyproj.CRS.from_epsg(4326)
    return FileGrid(latitude, centre_longitude(longitude), crs)


def _read_rotated_crs(message: Any) -> pyproj.CRS:
    return pyproj.CRS.from_cf(
        {
            "grid_mapping_name": "rotated_latitude_longitude",
            "grid_north_pole_latitude": -float(message["latitudeOfSouthernPoleInDegrees"]),
            "grid_north_pole_longitude": (float(message["longitudeOfSouthernPoleInDegrees"]) + 360.0) % 360.0 - 180.0,
            "north_pole_grid_longitude": float(message["angleOfRotationInDegrees"]),
            "earth_radius": 6371229.0,
        }
    )


def _read_projected_grid(message: Any) -> FileGrid:
    crs = pyproj.CRS.from_string(str(message["projTargetString"]))
    to_grid = pyproj.Transformer.from_crs(geodetic_crs(crs), crs, always_xy=True)
    longitude, latitude = (float(message[f"{axis}OfFirstGridPointInDegrees"]) for axis in ("longitude", "latitude"))
    x0, y0 = to_grid.transform(longitude, latitude)
    dx, dy = (_read_spacing(message, axis) for axis in "xy")
    dx = -dx if message["iScansNegatively"] else dx
    dy = dy if message["jScansPositively"] else -dy
    return FileGrid(y0 + dy * np.arange(int(message["Ny"])), x0 + dx * np.arange(int(message["Nx"])), crs)


def _read_spacing(message: Any, axis: str) -> float:
    """Return the spacing in metres, whose key differs between projections."""
    other = {"x": "Di", "y": "Dj"}[axis]
    for key in (f"D{axis}InMetres", f"{other}InMetres"):
        if (found := message.get(key)) is not None:
            return float(found)
    raise KeyError(f"D{axis}InMetres")
