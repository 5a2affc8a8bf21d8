"""Dates and times of tables that are in several columns: date and time, or year, month, day and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hybridcast.errors import ReadError
from hybridcast.stations.table_columns import split_name

_PARTS = ("year", "month", "day")
_COLONS = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s*[AaPp]\.?[Mm]\.?)?(?:\s*(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"
_DIGITS = r"(?:[01]\d|2[0-4])[0-5]\d"
_UTC = r"(?i:|(?:etc/)?(?:utc|gmt|z|zulu)?\s*[+-]?(?:0+(?:[:.]0+)?)?)"
#: What spreadsheets put after a date that is formatted as a time.
_MIDNIGHT = r"[T ]0{1,2}:00(?::00)?(?:\.0+)?$"


def find_dates(names: Sequence[str], time: str) -> dict[str, str]:
    """Return the columns of the date, ``date`` or ``year``, ``month`` and ``day``, beside the column of time."""
    by_base = {split_name(name).base: name for name in reversed(names) if name != time}
    if "date" in by_base:
        return {"date": by_base["date"]}
    parts = {part: by_base[part] for part in _PARTS if part in by_base}
    return parts if len(parts) == len(_PARTS) else {}


def join_dates(rows: Any, others: Mapping[str, str], time: str, path: Path) -> Any:
    """Return the rows with complete times: with the date, if `time` is only that of day.

    Raises
    ------
    ReadError
        If there are other columns of times, which differ: nothing says which one is meant.
    """
    if pd.api.types.is_datetime64_any_dtype(rows["time"]):
        clock = pd.Series(False, rows.index)
    else:
        texts = rows["time"].astype(str).str.strip()
        clock = texts.str.fullmatch(f"{_COLONS}|{_DIGITS}")
    dates = _read_dates(rows)
    if dates is not None and clock.all():
        texts = texts.where(~texts.str.fullmatch(_DIGITS), texts.str[:2] + ":" + texts.str[2:])
        return rows.assign(time=dates + " " + texts)
    for column, name in others.items():
        if not clock.all() and (rows[column] != rows["time"]).any():
            raise ReadError(
                path,
                f"has two columns of times that differ, {time!r} and {name!r}. Rename the one that is the end of the "
                "interval in UTC to end_time",
            )
    return rows


def _read_dates(rows: Any) -> Any:
    """Return the dates as texts; None if there are none."""
    if "date" in rows:
        return rows["date"].astype(str).str.strip().str.replace(_MIDNIGHT, "", regex=True)
    if not set(_PARTS) <= set(rows.columns):
        return None
    year, month, day = (rows[part].astype(str).str.strip() for part in _PARTS)
    return year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)


def refuse_other_zones(rows: Any, columns: Mapping[str, str], path: Path) -> None:
    """Raise `ReadError` if a column of zones states another one than UTC."""
    if "zone" not in rows or _have_offsets(rows["time"]):
        return
    zones = rows["zone"].fillna("").astype(str).str.strip()
    other = zones[~zones.str.fullmatch(_UTC)]
    if not other.empty:
        raise ReadError(
            path,
            f"column {columns['zone']!r} states {other.iloc[0]!r} ({len(other)} rows), but times are in UTC. Convert "
            "them, or write their offset to UTC after the time, such as +02:00, and remove the column",
        )


def _have_offsets(times: Any) -> bool:
    """Return whether all times state their own offset to UTC."""
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        return True
    return bool(times.astype(str).str.contains(r":\d{2}\s*(?:Z|[+-]\d{2}:?\d{2})$").all())
