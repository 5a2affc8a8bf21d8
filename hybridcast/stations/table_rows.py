"""What columns of a table state of each row: the beginning or the length of its interval, and the kind of its value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hybridcast.errors import ReadError
from hybridcast.stations.table_columns import is_stated_time, split_name
from hybridcast.stations.table_times import parse_times

_STARTS = frozenset({"start_time", "time_start", "starttime", "start", "begin", "time_begin", "begin_time", "from"})
_KINDS = frozenset({"parameter", "variable", "element", "quantity", "measurement", "parameter_name"})
_LENGTH = re.compile(r"^(?:interval|period|duration|accumulation_period|accumulation_time)(?:_(?P<units>[a-z]+))?$")
_UNITS = {"s": "s", "sec": "s", "seconds": "s", "min": "min", "mins": "min", "minutes": "min"} | dict.fromkeys(
    ("h", "hr", "hrs", "hour", "hours"), "h"
)


def find_row_statements(names: Sequence[str], time: str) -> dict[str, str]:
    """Return the columns, by our name, of the beginning (``start``), length (``lasting`` a unit) and kind of rows."""
    found: dict[str, str] = {}
    for column in map(split_name, names):
        length = _LENGTH.match(column.base)
        words = column.stated | ({length.group("units") or ""} if length else set())
        units = {_UNITS[word] for word in words & _UNITS.keys()}
        if column.base in _STARTS and is_stated_time(time):
            found.setdefault("start", column.name)
        elif length and (units or not column.stated):
            found.setdefault(f"lasting {units.pop() if units else ''}".strip(), column.name)
        elif column.base in _KINDS:
            found.setdefault("kind", column.name)
    return found


def refuse_kinds(rows: Any, names: Mapping[str, str], path: Path) -> None:
    """Raise `ReadError` if rows are of several kinds, such as rain and its duration, whose values look the same."""
    kinds = rows["kind"].astype(str).unique() if "kind" in rows else []
    if len(kinds) > 1:
        raise ReadError(
            path,
            f"column {names['kind']!r} has {len(kinds)} kinds of values ({', '.join(sorted(kinds)[:3])}). Keep the "
            "rows of the rain",
        )


def read_lengths(rows: Any, names: Mapping[str, str], path: Path, time_format: str | None) -> Any:
    """Return the length of the interval of each row; None if no column states it, NaT where it is not known."""
    if "start" in rows:
        starts = rows["start"]
        if not pd.api.types.is_datetime64_any_dtype(starts):
            starts = parse_times(starts.astype(str).str.strip(), path, time_format)
        elif isinstance(starts.dtype, pd.DatetimeTZDtype):
            starts = starts.dt.tz_convert("UTC").dt.tz_localize(None)
        lengths = rows["time"] - starts
        if (lengths <= pd.Timedelta(0)).any():
            raise ReadError(
                path, f"column {names['start']!r} is not before the end of the interval. Exchange the columns"
            )
        return lengths
    column = next((name for name in rows if str(name).startswith("lasting")), None)
    if column is None:
        return None
    lengths = _parse_lengths(rows[column], column.removeprefix("lasting").strip())
    return None if lengths.isna().all() else lengths


def _parse_lengths(texts: Any, units: str) -> Any:
    """Return durations of numbers in a unit, or of texts with one; NaT for others."""
    given = texts.astype(str).str.strip()
    numbers = pd.to_numeric(given, errors="coerce")
    if units:
        return pd.to_timedelta(numbers, unit=units).where(numbers > 0)
    lengths = pd.to_timedelta(given.where(numbers.isna()), errors="coerce")
    return lengths.where(lengths > pd.Timedelta(0))


def one_length(lengths: Any) -> np.timedelta64 | None:
    """Return the length of the intervals of a station, None if they are different or not known."""
    found = lengths.unique()
    return None if len(found) != 1 or pd.isna(found[0]) else np.timedelta64(pd.Timedelta(found[0]).value, "ns")
