"""Columns of tables: which are the station, the time and the place, by their names and what these state besides.

A name may state units or a zone in brackets or as its last word: ``Time (UTC)``, ``lat [°]``, ``elevation_m``. What is
stated counts: a time ``(CET)``, ``(local)`` or ``(start)`` is another one than the end of an interval in UTC, and a
column in other units is not used. Of several columns of times, the one is taken that states UTC, or the end of the
interval; if there is none, they have to be equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from hybridcast.errors import ReadError

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "station": (
        *("station", "station_id", "stationid", "station_code", "station_name", "stationname", "observation_station"),
        *("id", "site", "site_id", "site_name", "gauge", "gauge_id", "name"),
    ),
    "time": (
        *(
            "end_time",
            "time_end",
            "endtime",
            "end",
            "time",
            "datetime",
            "date_time",
            "timestamp",
            "obs_time",
            "obstime",
        ),
        *("valid_time", "utc_time", "obstimeutc", "date"),
    ),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long", "lng"),
    "altitude": ("altitude", "height", "elevation"),
}
_ENDS = frozenset({"end_time", "time_end", "endtime", "end", "utc_time", "obstimeutc"})
#: Columns of the zone of times.
_ZONES = frozenset({"timezone", "time_zone", "tz", "tz_cd", "utc_offset", "utcoffset", "gmt_offset", "tz_offset"})
_UTC = frozenset({"utc", "gmt", "z"})
#: Words that may be stated with a name.
_NOTATION = frozenset({"iso", "8601", "iso8601", "unix", "epoch", "y", "m", "d", "h", "s", "ms", "ts", "hms", "ymd"})
_ALLOWED: Mapping[str, frozenset[str]] = {
    "station": frozenset({"id", "code", "name", "number", "no", "wmo", "-"}),
    "time": _UTC
    | _NOTATION
    | {"end", "ending", "of", "the", "interval", "period", "0", "00", "in"}
    | {"yyyy", "yy", "mm", "dd", "hh", "mi", "min", "ss", "t", "seconds", "sec"},
    "latitude": frozenset({"deg", "degree", "degrees", "°", "wgs84", "wgs", "84", "decimal", "dd", "n", "north"}),
    "longitude": frozenset({"deg", "degree", "degrees", "°", "wgs84", "wgs", "84", "decimal", "dd", "e", "east"}),
    "altitude": frozenset({"m", "masl", "amsl", "asl", "metres", "meters", "a", "s", "l"}),
}
_BRACKETS = re.compile(r"[\s_]*[(\[](.*)[)\]]$")
_LAST_WORD = re.compile(r"[\s_]+(utc|gmt|deg|degrees|°|m|wgs84)$")


class Column(NamedTuple):
    """A column of a table."""

    name: str
    """Name in the file."""
    base: str
    """The name without what is stated, in lower case."""
    stated: frozenset[str]
    """Words of what is stated besides."""


def split_name(name: str) -> Column:
    """Return a name without what it states besides, such as units and zone.

    Examples
    --------
    >>> split_name("Time (UTC+2)").base, sorted(split_name("Time (UTC+2)").stated)
    ('time', ['2', 'utc'])
    """
    rest = name.lower().strip()
    found = _BRACKETS.search(rest) or _LAST_WORD.search(rest)
    stated = found.group(1) if found else ""
    base = re.sub(r"[\s.&-]+", "_", rest[: found.start()] if found else rest).strip("_")
    return Column(name, base, words_of(stated))


def words_of(text: str) -> frozenset[str]:
    """Return the words and numbers of a statement in lower case."""
    return frozenset(re.findall(r"°|iso8601|wgs84|[^\W\d_]+|\d+", text.lower()))


def match_columns(names: Iterable[str]) -> dict[str, str]:
    """Map the names of `SPELLINGS` to the columns of a table, without those that state another meaning or units."""
    columns = [split_name(name) for name in names]
    found: dict[str, str] = {}
    for ours in SPELLINGS:
        usable = _rank(ours, [column for column in columns if column.stated <= _ALLOWED[ours]])
        if usable:
            found[ours] = usable[0].name
    return found


def has_station_and_time(names: Iterable[str]) -> bool:
    """Return whether names are the header of a table of stations, whatever they state of its times."""
    bases = {split_name(name).base for name in names}
    return all(bases & set(SPELLINGS[ours]) for ours in ("station", "time"))


def _rank(ours: str, columns: list[Column]) -> list[Column]:
    """Return the columns that have one of our spellings, the one that is meant first."""
    order = SPELLINGS[ours]
    named = sorted((column for column in columns if column.base in order), key=lambda column: order.index(column.base))
    return sorted(named, key=lambda column: not is_stated_time(column.name)) if ours == "time" else named


def is_stated_time(name: str) -> bool:
    """Return whether a column says that it is the end of an interval, or in UTC."""
    column = split_name(name)
    says = column.stated & (_UTC | {"end", "ending"})
    return column.base in _ENDS or (bool(says) and column.base != "date")


def other_times(names: Iterable[str], time: str) -> list[str]:
    """Return the other columns that may be the time too, if the one that was taken does not say that it is."""
    if is_stated_time(time):
        return []
    usable = [column for column in map(split_name, names) if column.stated <= _ALLOWED["time"]]
    return [c.name for c in _rank("time", usable) if c.name != time and c.base != "date"]


def find_zone(names: Iterable[str]) -> str | None:
    """Return the column that has the zone of the times of each row, if there is one."""
    return next((name for name in names if split_name(name).base in _ZONES), None)


def refuse_other_meaning(names: Iterable[str], path: Path) -> None:
    """Raise `ReadError` if the only columns of times state that they are no ends of intervals in UTC."""
    for column in map(split_name, names):
        if column.base in SPELLINGS["time"] and not is_utc_end(column.stated):
            raise ReadError(
                path,
                f"column {column.name!r} states another time than the end of the interval in UTC. Convert the times, "
                "or write their offset to UTC, such as +02:00, and rename the column to time",
            )


def is_utc_end(words: frozenset[str]) -> bool:
    """Return whether what is stated of a time agrees with the end of an interval in UTC."""
    return words <= _ALLOWED["time"]


def is_known(ours: str, statement: str) -> bool:
    """Return whether what is stated of a column leaves its meaning and units as they are."""
    return words_of(statement) <= _ALLOWED[ours]
