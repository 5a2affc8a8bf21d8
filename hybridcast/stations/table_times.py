"""Times of tables, read in one notation and one order of day and month for the whole file, or refused.

Known are years first (``2024-06-01 12:10``, ISO 8601 and with slashes or dots), years last (``01.06.2024 12:10``, also
with AM or PM), names of months (``1-Jun-2024 12:10``), digits alone (``202406011210``) and seconds or milliseconds
since 1970, up to now. 24:00 is the midnight that ends a day. Times are UTC unless they state an offset.

With years last, dots mean the day first (ISO 8601 has no dots, and where dates have dots the day comes first). Dates
with slashes or hyphens have no rule: the order is taken from a day above 12, or because under one order only the times
lie within days of each other; otherwise it has to be stated.
"""

from __future__ import annotations

import calendar
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hybridcast.errors import InputError, InputWarning, ReadError

#: The longest time between successive rows for which an order of day and month counts as steady.
STEADY = np.timedelta64(2, "D")
#: Numbers are read as seconds or milliseconds since 1970 from this time on, and to tomorrow; nothing later is observed.
EPOCH_BEGIN = np.datetime64("1995-01-01", "ns")

_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d+)?)?"
_END = r"\s*(?P<half>[AaPp])?(?(half)\.?[Mm]\.?)\s*(?:Z|UTC|GMT|(?P<offset>[+-]\d{2}(?::?\d{2})?))?"
_NOTATIONS: Mapping[str, str] = {
    "year first": r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})[T ]+" + _CLOCK + _END,
    "year last": r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<next>\d{1,2})(?P=mark)(?P<year>\d{4})[T ,]+" + _CLOCK + _END,
    "month by name": r"(?P<day>\d{1,2})[-/. ](?P<name>[A-Za-z]{3})[a-z]*\.?[-/. ](?P<year>\d{4})[T ]+" + _CLOCK + _END,
    "digits": r"(?P<year>(?:19|20)\d{2})(?P<month>\d{2})(?P<day>\d{2})[T ]?(?P<hour>\d{2})"
    r"(?::?(?P<minute>\d{2})(?::?(?P<second>\d{2}))?)?Z?",
}
_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}

#: Notations that are refused: what is wrong with them, and the remedy.
_REFUSED = (
    (
        re.compile(r"\d{4}[-/.]?\d{2}[-/.]?\d{2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}"),
        "has no time of day",
        "Add the time at which the interval of each sum ends",
    ),
    (re.compile(r"\d{1,2}:\d{2}(:\d{2})?"), "has no date", "Add the date"),
    (
        re.compile(r"[34]\d{4}([.,]\d+)?"),
        "cannot be read: it is a number of days, as spreadsheets count them",
        "Format the cells as text such as 2024-06-01 12:10, in UTC, before the export",
    ),
    (
        re.compile(r"\d[.,]\d+[eE]\+?\d+"),
        "cannot be read: it has lost digits, as in a spreadsheet",
        "Format the cells as text such as 2024-06-01 12:10, in UTC, before the export",
    ),
    (
        re.compile(r".*\d\s*(?![AaPp]\.?[Mm])[A-Za-z]{2,5}(/[A-Za-z_]+)?"),
        "has a time zone by name, which is not unique",
        "Convert times to UTC, or write offsets such as +02:00",
    ),
)


@dataclass(frozen=True)
class _Reading:
    """One way to read the times of a file."""

    name: str
    """Its name in messages."""
    time_format: str
    """The format by which a user states it."""
    times: NDArray[np.datetime64]
    """UTC; NaT where a text is no time in this reading."""

    @property
    def fits(self) -> bool:
        """Whether all texts are times."""
        return not np.isnat(self.times).any()

    @property
    def is_steady(self) -> bool:
        """Whether the times lie within days of each other."""
        return self.times.size > 1 and bool((np.diff(np.sort(self.times)) <= STEADY).all())


def parse_own_times(texts: Any, path: Path, time_format: str) -> Any:
    """Parse the times of a file of a service, which have one format; raise `ReadError` if one has another."""
    try:
        return parse_times(texts, path, time_format)
    except ReadError as error:
        reason = error.reason.split(". Write ISO 8601")[0]
        raise ReadError(path, f"{reason} of these files. Get the file anew: it was edited, or is damaged") from error


def parse_times(texts: Any, path: Path, time_format: str | None = None) -> Any:
    """Parse the times of a file; raise `ReadError` if one cannot be read, or day and month may be exchanged.

    Parameters
    ----------
    texts
        Series of texts.
    path
        The file, for messages.
    time_format
        Format as for ``datetime.strptime``, or ``"unix"`` for seconds since 1970; by default one of those above.

    Returns
    -------
    Series
        ``datetime64[ns]``, UTC.
    """
    codes, unique = pd.factorize(texts.fillna("").astype(str).str.strip())
    texts_once = pd.Series(unique, dtype=str)
    times = _parse_stated(texts_once, time_format) if time_format else _choose(texts_once, path)
    if np.isnat(times).any():
        raise _unreadable(texts_once[np.isnat(times)].iloc[0], int(np.isnat(times)[codes].sum()), path, time_format)
    return pd.Series(times[codes], index=texts.index)


def _choose(texts: Any, path: Path) -> NDArray[np.datetime64]:
    """Return the times in the only reading that fits, or NaT where none does."""
    readings = _read_all_ways(texts)
    fitting = [reading for reading in readings if reading.fits]
    if len(fitting) <= 1:
        return fitting[0].times if fitting else _best(readings, len(texts))
    steady = [reading for reading in fitting if reading.is_steady]
    if len(steady) != 1:
        raise _ambiguous(texts.iloc[0], fitting, path)
    warnings.warn(
        InputWarning(
            f"{path}: dates such as {texts.iloc[0]} are read {steady[0].name}, as only so do the times follow"
        ),
        stacklevel=2,
    )
    return steady[0].times


def _best(readings: list[_Reading], size: int) -> NDArray[np.datetime64]:
    """Return the times of the reading that fits the most texts."""
    none = np.full(size, np.datetime64("NaT"), "datetime64[ns]")
    return max((reading.times for reading in readings), key=lambda times: int((~np.isnat(times)).sum()), default=none)


def _ambiguous(text: str, fitting: list[_Reading], path: Path) -> ReadError:
    names = " or ".join(reading.name for reading in fitting)
    known = f"time {text!r} is {names}, and nothing in the file proves which"
    formats = " or ".join(f"'{reading.time_format}'" for reading in fitting)
    return ReadError(
        path,
        f"{known}. State time_format={formats}",
        cli_reason=f"{known}. State --stations-time-format {formats}",
    )


def _unreadable(text: str, count: int, path: Path, time_format: str | None) -> ReadError:
    for pattern, reason, remedy in _REFUSED if time_format is None else ():
        if pattern.fullmatch(text):
            return ReadError(path, f"time {text!r} {reason} ({count} rows). {remedy}")
    why = f"does not fit the format {time_format!r}" if time_format else "cannot be read"
    known = f"time {text!r} {why} ({count} rows). Write ISO 8601, UTC or with an offset such as +02:00, or state"
    example = "the notation, such as '%d.%m.%y %H:%M'"
    return ReadError(
        path, f"{known} by time_format= {example}", cli_reason=f"{known} by --stations-time-format {example}"
    )


# --- readings -------------------------------------------------------------------------------------------------


def _parse_stated(texts: Any, time_format: str) -> NDArray[np.datetime64]:
    if time_format == "unix":
        return _from_epoch(pd.to_numeric(texts, errors="coerce").to_numpy(np.float64), 1.0)
    try:
        times = pd.to_datetime(texts, format=time_format, errors="coerce", utc=True)
    except ValueError as error:
        rule = "it is a format as for datetime.strptime"
        raise InputError(f"time_format {time_format!r} ({error})", rule, "Write, e.g., '%d.%m.%Y %H:%M'") from error
    return np.asarray(times.dt.tz_localize(None).to_numpy("datetime64[ns]"))


def _read_all_ways(texts: Any) -> list[_Reading]:
    """Return the readings under which at least one text is a time."""
    readings: list[_Reading] = []
    for notation, pattern in _NOTATIONS.items():
        parts = texts.str.extract(f"^{pattern}$")
        if parts["hour"].notna().any():
            readings += _read_notation(notation, parts)
    return [*readings, *_read_numbers(texts)]


def _read_notation(notation: str, parts: Any) -> list[_Reading]:
    if notation != "year last":
        month = parts["name"].str.lower().map(_MONTHS) if notation == "month by name" else parts["month"]
        time_format = "%Y%m%d%H" if notation == "digits" else "%Y-%m-%d %H:%M"
        return [_Reading(notation, time_format, _compose(parts, month, parts["day"]))]
    mark = str(parts["mark"].dropna().iloc[0])
    day_first, month_first = (
        _Reading(name, time_format.replace("/", mark), _compose(parts, parts[month], parts[day]))
        for name, time_format, month, day in (
            ("day first", "%d/%m/%Y %H:%M", "next", "first"),
            ("month first", "%m/%d/%Y %H:%M", "first", "next"),
        )
    )
    return [day_first] if mark == "." and day_first.fits else [day_first, month_first]


def _compose(parts: Any, month: Any, day: Any) -> NDArray[np.datetime64]:
    """Return times from their parts; NaT where a part is missing or impossible."""
    hour = pd.to_numeric(parts["hour"])
    minute, second = (pd.to_numeric(parts[name]).fillna(0) for name in ("minute", "second"))
    if "half" in parts:
        hour = _to_24_hours(hour, parts["half"].str.lower())
    dates = pd.to_datetime(
        {"year": parts["year"].astype(float), "month": month.astype(float), "day": day.astype(float)}, errors="coerce"
    )
    clock = 3600 * hour + 60 * minute + second
    possible = (hour <= 24) & (minute < 60) & (second < 60) & (clock <= 86400)
    times = (dates + pd.to_timedelta(clock, unit="s")).where(possible)
    if "offset" in parts:
        times = times - pd.to_timedelta(_offset_minutes(parts["offset"]), unit="min")
    return np.asarray(times.to_numpy("datetime64[ns]"))


def _to_24_hours(hour: Any, half: Any) -> Any:
    """Return the hour of day; NaN where an hour of the afternoon is no hour of a clock of twelve."""
    twelve = half.notna()
    possible = ~twelve | hour.between(1, 12)
    return (hour % 12 + 12 * (half == "p")).where(twelve, hour).where(possible)


def _offset_minutes(offsets: Any) -> Any:
    digits = offsets.fillna("+00").str.replace(":", "").str.ljust(5, "0")
    minutes = digits.str[1:3].astype(int) * 60 + digits.str[3:5].astype(int)
    return minutes.where(digits.str[0] == "+", -minutes)


def _read_numbers(texts: Any) -> list[_Reading]:
    """Return the reading as seconds or milliseconds since 1970, if all are such numbers."""
    if not texts.str.fullmatch(r"\d{9,13}(\.\d+)?").all():
        return []
    numbers = pd.to_numeric(texts).to_numpy(np.float64)
    scale = 1000.0 if (numbers > 1e11).all() else 1.0
    times = _from_epoch(numbers, scale)
    tomorrow = np.datetime64("now", "ns") + np.timedelta64(1, "D")
    times[(times < EPOCH_BEGIN) | (times > tomorrow)] = np.datetime64("NaT")
    return [_Reading("seconds since 1970", "unix", times)]


def _from_epoch(numbers: NDArray[np.float64], scale: float) -> NDArray[np.datetime64]:
    known = np.isfinite(numbers) & (np.abs(numbers / scale) < 2**33)
    nanoseconds = np.where(known, numbers / scale, 0.0).round(3) * 1e3
    times = nanoseconds.astype(np.int64).astype("datetime64[ms]").astype("datetime64[ns]")
    times[~known] = np.datetime64("NaT")
    return np.asarray(times)
