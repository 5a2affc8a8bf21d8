"""Rain of airport stations (ASOS, METAR) as the Iowa Environmental Mesonet (IEM) distributes it, CSV.

- Reports at any time: ``station``, ``valid``, ``p01i`` (inches) or ``p01m`` (mm). The rain is that since the last
  hourly report, at which the gauge is reset. It is therefore the sum of an hour in the hourly reports only, which come
  at the same minute of each hour, such as :53; other reports are not used, nor is an hourly report without the one an
  hour before. Stations have different minutes, and their hours end at them.
- Each minute: ``station``, ``valid(UTC)``, ``precip`` (inches in the minute up to the time).

Times are UTC, which the service gives unless a user asks for another zone; the file does not state it. ``M`` is
missing; a trace (``T``, or 0.0001 inches) is 0. Places are the columns ``lat``, ``lon`` and ``elevation``, or a file of
places.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE, rate_from_accumulation
from hybridcast.core.readers import read_head
from hybridcast.core.types import HOUR, MINUTE
from hybridcast.errors import ReadError
from hybridcast.stations._tables import find_header, read_columns, reports_from_rows
from hybridcast.stations.places import find_places, join_places
from hybridcast.stations.statements import Statements
from hybridcast.stations.table_numbers import parse_numbers
from hybridcast.stations.table_times import parse_times

NAME = "iem-csv"
DESCRIPTION = "Iowa Environmental Mesonet: ASOS and METAR reports (p01i, p01m), or each minute (precip), CSV"

#: Columns of rain: factor to mm, and interval.
_RAIN = {"p01i": (25.4, HOUR), "p01m": (1.0, HOUR), "precip": (25.4, MINUTE)}
_TIMES = ("valid", "valid(UTC)", "valid(GMT)")
_PLACES = {"latitude": "lat", "longitude": "lon", "altitude": "elevation"}
#: Amounts below this are traces, mm.
_TRACE = 0.01
#: Least fraction of the hours that have a report at the usual minute.
_MIN_HOURLY = 0.5


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the header has the columns of station, time and rain of the IEM."""
    return _is_header(find_header(head, _is_header).names)


def _is_header(names: Sequence[str]) -> bool:
    return "station" in names and any(name.startswith("valid") for name in names) and bool(set(_RAIN) & set(names))


def read(path: Path) -> xr.Dataset:
    """Read all stations of one file."""
    return read_stated(path, Statements())


def read_stated(path: Path, stated: Statements) -> xr.Dataset:
    """Read all stations of one file, whose places are in it, given, or beside it."""
    header = find_header(read_head(path), _is_header)
    time = next((name for name in _TIMES if name in header.names), None)
    if time is None:
        found = next(name for name in header.names if name.startswith("valid"))
        raise ReadError(path, f"has times as {found!r}. Download it with the time zone UTC")
    rain = next(name for name in _RAIN if name in header.names)
    places = {ours: name for ours, name in _PLACES.items() if name in header.names}
    rows = read_columns(path, header, {"station": "station", "time": time, "rain": rain, **places})
    rows["time"] = parse_times(rows["time"], path)
    factor, interval = _RAIN[rain]
    amounts = parse_numbers(rows["rain"], path, rain) * factor
    rows[RATE] = rate_from_accumulation(np.where(amounts < _TRACE, 0.0 * amounts, amounts), interval)
    if {"latitude", "longitude"} <= set(places):
        rows = rows.assign(**{ours: parse_numbers(rows[ours], path, ours) for ours in places})
    else:
        rows = join_places(rows, find_places(path, stated.places), path)
    rows = _take_hourly(rows, path) if interval == HOUR else rows
    coords = [name for name in _PLACES if name in rows]
    attrs = {"source": "ASOS and METAR reports by the Iowa Environmental Mesonet"}
    return reports_from_rows(rows, path, interval=interval, variables=(RATE,), coords=coords, attrs=attrs)


def _take_hourly(rows: Any, path: Path) -> Any:
    """Return the hourly reports whose rain is the sum of an hour."""
    minute = rows["time"].dt.minute
    usual = minute.groupby(rows["station"]).transform(lambda minutes: minutes.mode().iloc[0])
    hours = rows["time"].dt.floor("h").groupby(rows["station"]).transform("nunique")
    hourly = rows[minute == usual].drop_duplicates(["station", "time"])
    count = hourly.groupby("station")["time"].transform("nunique")
    hourly = hourly[count >= _MIN_HOURLY * hours[hourly.index]].sort_values(["station", "time"])
    complete = hourly.groupby("station")["time"].diff() == HOUR
    if not complete.any():
        raise ReadError(
            path,
            "has no two hourly reports in succession of any station: rain is given since the last one, so nothing says "
            "over how long",
        )
    return hourly[complete].reset_index(drop=True)
