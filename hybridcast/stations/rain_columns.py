"""Columns of rain in tables: what their names say of quantity, units and interval.

A column is an amount (units mm, kg m-2, l/m² or inches) or a rate (the same per hour). Its name may state the interval
of an amount, such as ``precip_10min_mm`` or ``rain_1h_mm``. A name with any word whose meaning for the rain is not
known, as in ``rain_since_midnight_mm``, ``precip_accum_mm`` or ``rain_max_mm``, is refused: only the words of `_PLAIN`
are known to change nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hybridcast.errors import ReadError

#: Exact names of the schema, with their units.
_NAMED = {
    "precipitation_amount": "mm",
    "rainfall_amount": "mm",
    "precipitation_rate": "mm/h",
    "rainfall_rate": "mm/h",
}
_SUBJECTS = frozenset({"rain", "rainfall", "precip", "precipitation", "prcp", "pcp", "rr"})
_PLAIN = _SUBJECTS | {"amount", "depth", "height", "gauge", "obs", "observed", "liquid", "in", "of", "the", "last"}
_RATES = frozenset({"rate", "intensity", "rainrate"})
_UNITS = {"mm": 1.0, "kg": 1.0, "l": 1.0, "in": 25.4, "inch": 25.4, "inches": 25.4}
_PER_HOUR = re.compile(
    r"(?<![a-z])(mm|inches|inch|in)[\s_/]*(?:per[\s_]*)?(?:hours?|hrs?|h)(?:[\s_]*\^?[\s_]*-1)?(?![a-z0-9])"
)
_MILLIMETRES = re.compile(r"(?<![a-z])(mm)(?![a-z])")
_IN_FULL = re.compile(r"(?<![a-z])milli(?:metre|meter)s?(?![a-z])")
_PER_AREA = re.compile(r"(?<![a-z])(kg|l)[\s/]*m(?:\s?\^?-?2|²)")
#: "in" is a unit at the end or in brackets, and otherwise a word, as in "rain in the last hour".
_INCHES = re.compile(r"(?<![a-z])(inches(?![a-z])|inch(?![a-z])|in(?=\s*(?:$|[()\[\],]|[\s_]+tot\b)))")
_INTERVAL = re.compile(r"(?<![a-z0-9])(\d+)[\s_]*(minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])")
_MINUTES = {"m": 1, "h": 60, "d": 1440}
_HOURLY = {"hourly": 60, "daily": 1440}


@dataclass(frozen=True)
class RainColumn:
    """A column of rain."""

    name: str
    """Name in the file."""
    is_rate: bool
    """Whether its values are rates; otherwise they are amounts."""
    factor: float
    """Factor to mm or mm h-1."""
    interval: np.timedelta64 | None = None
    """Interval of the amounts, if the name states it."""


def describe_rain(name: str) -> RainColumn | str | None:
    """Return what the name of a column says: a column of rain, the reason why it is unknown, or None if not of rain.

    Examples
    --------
    >>> describe_rain("precip_10min_mm").interval
    np.timedelta64(10,'m')
    >>> describe_rain("Rain (mm/h)").is_rate, describe_rain("rain_in").factor, describe_rain("wind")
    (True, 25.4, None)
    >>> describe_rain("rain_since_midnight_mm")
    "'since midnight' is no known kind of rain"
    """
    lower = name.lower().strip()
    lower = f"{lower} [{_NAMED[lower]}]" if lower in _NAMED else lower
    rest, is_rate, factor = _take_units(lower)
    rest, interval = _take_interval(rest)
    words = re.findall(r"[a-z]+|\d+", rest)
    if not any(word.startswith(("rain", "precip")) or word in _SUBJECTS or "rain" in word for word in words):
        return None
    if factor is None:
        return "it has no units"
    if not is_rate and _RATES & set(words):
        return "it is a rate whose units are not per hour"
    unknown = [word for word in words if word not in _PLAIN and not (is_rate and word in _RATES)]
    if unknown:
        return f"{' '.join(unknown)!r} is no known kind of rain"
    return RainColumn(name, is_rate, factor, None if is_rate else interval)


def _take_units(name: str) -> tuple[str, bool, float | None]:
    """Return the name without its units, whether they are of a rate, and their factor."""
    name = _IN_FULL.sub("mm", name)
    for pattern, is_rate in ((_PER_HOUR, True), (_MILLIMETRES, False), (_PER_AREA, False), (_INCHES, False)):
        found = pattern.search(name)
        if found:
            return f"{name[: found.start()]} {name[found.end() :]}", is_rate, _UNITS[found.group(1)]
    return name, False, None


def _take_interval(name: str) -> tuple[str, np.timedelta64 | None]:
    found = _INTERVAL.search(name)
    if found:
        minutes = int(found.group(1)) * _MINUTES[found.group(2)[0]]
        return f"{name[: found.start()]} {name[found.end() :]}", np.timedelta64(minutes, "m")
    for word, minutes in _HOURLY.items():
        if re.search(rf"(?<![a-z]){word}(?![a-z])", name):
            return name.replace(word, " "), np.timedelta64(minutes, "m")
    return name, None


def describe_column(name: str, units: str = "") -> RainColumn | str | None:
    """Return what a name and the units in the row below it say, as `describe_rain`.

    Examples
    --------
    >>> describe_column("Rain", "mm").factor, describe_column("rain_mm", "inches")
    (1.0, "its name has other units than the row below, 'inches'")
    """
    alone = describe_rain(name)
    _, is_rate, factor = _take_units(units.lower())
    if alone is None or not units:
        return alone
    if _take_units(name.lower())[2] is None and name.lower() not in _NAMED:
        found = describe_rain(f"{name} [{units}]")
        return replace(found, name=name) if isinstance(found, RainColumn) else found
    if isinstance(alone, RainColumn) and (is_rate, factor) != (alone.is_rate, alone.factor):
        return f"its name has other units than the row below, {units!r}"
    return alone


def find_rain(
    names: Sequence[str], path: Path, stated: str | None = None, units: Mapping[str, str] | None = None
) -> RainColumn:
    """Return the column of rain of a table, or the one that the user stated.

    Parameters
    ----------
    names
        Names of the columns.
    path
        The file, for messages.
    stated
        The column that the user stated.
    units
        Units by name, where a row below the header has them.

    Raises
    ------
    ReadError
        If there is not exactly one of known kind; the message has the reason for each of the others.
    """
    units = units or {}
    if stated is not None:
        return _take_stated(names, path, stated, units.get(stated, ""))
    described = {name: describe_column(name, units.get(name, "")) for name in names}
    found = [column for column in described.values() if isinstance(column, RainColumn)]
    if len(found) == 1 or (found and len({column.interval for column in found} - {None}) == len(found)):
        return min(found, key=lambda column: column.interval or np.timedelta64(0))  # the same rain in several intervals
    reasons = [f"{name}: {reason}" for name, reason in described.items() if isinstance(reason, str)]
    listed = ", ".join(column.name for column in found) or "; ".join(reasons) or ", ".join(names)
    raise _choice_error(path, f"has {len(found)} columns of rain with units and of known kind ({listed}), not 1")


def _choice_error(path: Path, known: str) -> ReadError:
    named = "Name it precipitation_amount (mm in the interval) or precipitation_rate (mm h-1)"
    return ReadError(
        path,
        f"{known}. {named}, or state rain= (a column of amounts in mm) and interval=",
        cli_reason=f"{known}. {named}, or state --stations-rain (a column of amounts in mm) and --stations-interval",
    )


def _take_stated(names: Sequence[str], path: Path, stated: str, units: str) -> RainColumn:
    """Return the column that the user stated, in the units that its name or the row below it has, otherwise in mm."""
    if stated not in names:
        raise ReadError(path, f"has no column {stated!r} for the rain; it has {', '.join(names)}")
    described = describe_column(stated, units)
    if isinstance(described, RainColumn):
        return described
    _, is_rate, factor = _take_units(f"{stated} [{units}]".lower())
    return RainColumn(stated, is_rate, factor or 1.0)
