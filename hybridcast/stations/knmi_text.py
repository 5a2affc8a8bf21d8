"""Hourly rain of KNMI's automatic stations (``uurgeg_*.txt``, and the selections of daggegevens.knmi.nl), text.

Comments describe the columns, and in selections they have the places of the stations (``STN``, ``LON(east)``,
``LAT(north)``, ``ALT(m)``, ``NAME``); the last of them are the names, ``STN,YYYYMMDD,HH,...``. According to them,
``HH`` is the hour from 1 to 24 UT, where hour 05 runs from 4:00 to 5:00, so it is the END of the interval, and ``RH``
is the rain in 0.1 mm, -1 for less than 0.05 mm, which is taken as 0. Days (without ``HH``) are refused.

Where the comments have no places, they are in a file given among the paths (`hybridcast.stations.places`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hybridcast.core.field import RATE, rate_from_accumulation
from hybridcast.core.types import HOUR
from hybridcast.errors import ReadError
from hybridcast.stations._tables import read_text, read_texts, reports_from_rows, split_fields
from hybridcast.stations.places import find_places, join_places, station_key
from hybridcast.stations.statements import Statements
from hybridcast.stations.table_numbers import parse_numbers
from hybridcast.stations.table_times import parse_times

NAME = "knmi-text"
DESCRIPTION = "KNMI's automatic stations, hourly (RH), text of daggegevens.knmi.nl and uurgeg_*"

_HEADER = re.compile(r"^#?[ \t]*STN,\s*YYYYMMDD,.*$", re.MULTILINE)
_PLACE = re.compile(
    r"^#?\s*(?P<station>\d{3}):?\s+(?P<longitude>-?\d+\.\d+)\s+(?P<latitude>-?\d+\.\d+)\s+(?P<altitude>-?\d+\.\d+)\s+\S",
    re.MULTILINE,
)
_TRACE = -1.0
_TENTHS = 0.1


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the comments name KNMI and a column of stations."""
    return b"(KNMI)" in head and b"STN" in head


def read(path: Path) -> xr.Dataset:
    """Read all stations of one file."""
    return read_stated(path, Statements())


def read_stated(path: Path, stated: Statements) -> xr.Dataset:
    """Read all stations of one file, whose places are in its comments, given, or beside it."""
    text = read_text(path)
    header = next(reversed(list(_HEADER.finditer(text))), None)
    if header is None:
        raise ReadError(path, "has no line with the names of its columns, STN,YYYYMMDD,HH,...")
    names = split_fields(header.group(0).lstrip("# \t"), ",")
    missing = [name for name in ("HH", "RH") if name not in names]
    if missing:
        raise ReadError(path, f"has no column {', '.join(missing)}. Take the hourly values (uurgegevens) with RH")
    rows = read_texts(text[header.end() :].lstrip("#\r\n"), names, ("STN", "YYYYMMDD", "HH", "RH"), ",", path)
    rows = _drop_comments(rows)
    if rows.empty:
        raise ReadError(path, "holds no row")
    rows = rows.rename(columns={"STN": "station"})
    rows["time"] = parse_times(rows["YYYYMMDD"] + rows["HH"].str.zfill(2), path, None)
    rows[RATE] = _read_rates(rows["RH"], path)
    rows = join_places(rows, _read_places(text[: header.start()], path, stated), path)
    return reports_from_rows(
        rows[["station", "time", RATE, *_coordinates(rows)]],
        path,
        interval=HOUR,
        variables=(RATE,),
        coords=_coordinates(rows),
        attrs={"source": "KNMI automatic stations", "institution": "Royal Netherlands Meteorological Institute (KNMI)"},
    )


def _drop_comments(rows: Any) -> Any:
    """Return the rows without comments below the names."""
    return rows[~rows["STN"].str.startswith("#")].reset_index(drop=True)


def _read_rates(texts: Any, path: Path) -> Any:
    tenths = parse_numbers(texts, path, "RH")
    return rate_from_accumulation(np.where(tenths == _TRACE, 0.0, tenths) * _TENTHS, HOUR)


def _read_places(comments: str, path: Path, stated: Statements) -> Any:
    """Return the places in the comments, or else those in files of places."""
    found = pd.DataFrame([match.groupdict() for match in _PLACE.finditer(comments)])
    if found.empty:
        return find_places(path, stated.places)
    places = found.drop(columns="station").astype(float)
    return places.set_axis(found["station"].map(station_key)).groupby(level=0).last()


def _coordinates(rows: Any) -> list[str]:
    return [name for name in ("latitude", "longitude", "altitude") if name in rows]
