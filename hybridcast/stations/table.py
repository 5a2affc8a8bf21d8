"""User-supplied gauges in a table: CSV or Parquet with one row for each station and time.

Columns, in any order and case; others are ignored:

- ``station`` (or ``station_id``, ``id``, ``name``);
- ``time`` (or ``datetime``, ``timestamp``, ``date``): ISO 8601, UTC unless it states a zone, the END of the interval;
  the interval is the usual step from one time to the next;
- ``latitude`` and ``longitude`` (or ``lat``, ``lon``): degrees; ``altitude`` (or ``height``, ``elevation``): m;
- the rain: ``precipitation_amount``, mm in the interval, or ``precipitation_rate``, mm h-1; or one column whose name
  starts with rain or precip and ends with its units, such as ``rain_mm`` or ``precip_mm_h``.

Columns of a CSV file are separated by commas, semicolons or tabs; numbers have decimal points.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hybridcast.core.field import RATE, rate_from_accumulation, usual_step
from hybridcast.core.readers import read_head
from hybridcast.errors import ReadError
from hybridcast.stations._tables import PARQUET_MAGIC, first_line, parse_times, read_csv, reports_from_rows

NAME = "station-table"
DESCRIPTION = "a table of stations, CSV or Parquet: station, time, latitude, longitude, precipitation_amount or _rate"

_SPELLINGS = {
    "station": ("station", "station_id", "id", "name"),
    "time": ("time", "datetime", "timestamp", "date"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
    "altitude": ("altitude", "height", "elevation"),
}
_NEEDED = ("station", "time", "latitude", "longitude")
_AMOUNT = re.compile(r"(precipitation|rainfall)_amount|(rain|precip).*[^a-z]mm")
_RATE = re.compile(r"(precipitation|rainfall)_rate|(rain|precip).*[^a-z]mm([_/ ]*(per[_ ])?h(our)?| h-1)")


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file has the columns of such a table, apart from the rain."""
    return set(_NEEDED) <= set(_match_columns(_read_names(path, head)))


def read(path: Path) -> xr.Dataset:
    """Read all stations of one file."""
    head = read_head(path)
    names = _read_names(path, head)
    columns = _match_columns(names)
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise ReadError(path, f"has no column {', '.join(missing)}; it has {', '.join(names)}. Rename what is meant")
    rain = _find_rain(names, path)
    wanted = {original: ours for ours, original in columns.items()} | {rain: RATE}
    rows = _read_rows(path, head, list(wanted), columns).rename(columns=wanted)
    rows["time"] = _convert_times(rows["time"], path)
    interval = _usual_interval(rows["time"], path)
    values = rows[RATE].to_numpy(np.float32)
    rows[RATE] = rate_from_accumulation(values, interval) if _matches(_AMOUNT, rain) else values
    coords = [name for name in ("latitude", "longitude", "altitude") if name in columns]
    return reports_from_rows(rows, path, interval=interval, variables=(RATE,), coords=coords, attrs={})


def _guess_separator(head: bytes) -> str:
    line = head.split(b"\n", 1)[0]
    return max((",", ";", "\t"), key=lambda mark: line.count(mark.encode()))


def _read_names(path: Path, head: bytes) -> list[str]:
    """Return the names of the columns as spelled in the file."""
    if not head.startswith(PARQUET_MAGIC):
        return first_line(head, _guess_separator(head))
    import pyarrow.parquet

    return [str(name) for name in pyarrow.parquet.read_schema(path).names]


def _match_columns(names: Iterable[str]) -> dict[str, str]:
    """Map the names of `_SPELLINGS` to the columns of the file."""
    by_lower = {name.lower(): name for name in names}
    found = {ours: [by_lower[s] for s in spellings if s in by_lower] for ours, spellings in _SPELLINGS.items()}
    return {ours: columns[0] for ours, columns in found.items() if columns}


def _find_rain(names: Sequence[str], path: Path) -> str:
    found = [name for name in names if _matches(_AMOUNT, name) or _matches(_RATE, name)]
    if len(found) != 1:
        raise ReadError(
            path,
            f"has {len(found)} columns of rain with units ({', '.join(found) or ', '.join(names)}), not 1. Name it "
            "precipitation_amount (mm in the interval) or precipitation_rate (mm h-1)",
        )
    return found[0]


def _matches(pattern: re.Pattern[str], name: str) -> bool:
    return pattern.fullmatch(name.lower().rstrip(")]")) is not None


def _read_rows(path: Path, head: bytes, wanted: Sequence[str], columns: dict[str, str]) -> Any:
    if not head.startswith(PARQUET_MAGIC):
        return read_csv(path, wanted, {columns["station"]: "str", columns["time"]: "str"}, _guess_separator(head))
    return pd.read_parquet(path, columns=list(wanted)).astype({columns["station"]: "str"})


def _convert_times(values: Any, path: Path) -> Any:
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values, utc=True).dt.tz_localize(None).astype("datetime64[ns]")
    return parse_times(values.astype(str), path)


def _usual_interval(times: Any, path: Path) -> np.timedelta64:
    """Return the most frequent difference of the times of a table, which does not state its interval."""
    unique = np.unique(times.to_numpy())
    if unique.size < 2:
        raise ReadError(path, "holds one time only, so nothing states how long its intervals are")
    return usual_step(unique)
