"""Times in the names of files.

A name is no metadata: a time is taken from it only if it can be read in one way. Full years (``202406011205``,
``2024-06-01T12:05Z``, ``20240601_120500``) are read anywhere in a name; years of two digits only in the patterns of
services that write them, as ``1710061200`` may be 2017-10-06 or the seconds since 1970 of 2024-03-10; day and month
before the year only if one of them is above 12. Two different times, or a local time, are no time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime

import numpy as np

#: 202406011205(00)(000), with one of "-", "_" or "T" between date and time.
_COMPACT = re.compile(r"(?<!\d)((?:19|20)\d{6})[-_T]?(\d{4})(?:\d{2}(?:\d{3})?)?(?!\d)")
#: 2024-06-01T12:05(:00), with "-", "_" or "." within the date and what follows it.
_SEPARATED = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_.])(\d\d)\2(\d\d)[-_.T ](\d\d)[-_.:h]?(\d\d)(?:[-_.:]?\d\d)?(?!\d)", re.IGNORECASE
)
#: 01-06-2024-12-05: day or month first.
_YEAR_LAST = re.compile(r"(?<!\d)(\d\d)([-_.])(\d\d)\2((?:19|20)\d\d)[-_.T ](\d\d)[-_.:h]?(\d\d)(?!\d)", re.IGNORECASE)
#: 2024060112: date and hour. Before 2013 it may also be a year of two digits: 2010010112 is 2010 or 2020.
_HOUR = re.compile(r"(?<!\d)(20(?:1[3-9]|[2-9]\d)\d{6})(?!\d)")

#: Services that write years of two digits: DWD RADOLAN (raa01-rw_10000-2212140950-dwd---bin) and RADVOR
#: (RQ2212141300_060.gz), and MeteoSwiss (AQC161932050V_00005.801.gif: year, day of the year, time).
_SERVICES = (
    (re.compile(r"^raa\d\d-[\w.]+_\d{5}-(\d{10})-", re.IGNORECASE), "%y%m%d%H%M"),
    (re.compile(r"^(?:DE1200_)?[A-Z]{2}(\d{10})(?:_\d{3})?(?:[._-]|$)"), "%y%m%d%H%M"),
    (re.compile(r"^[A-Z]{3}(\d{9})\d?[A-Z]{0,2}(?:_\d{5})?\.\d{3}(?!\d)", re.IGNORECASE), "%y%j%H%M"),
)

#: What follows a local time. UTC, GMT and Z are no such marks, nor is an offset of zero.
_LOCAL = re.compile(
    r"(?:[:_-]?\d\d)?[+-](?!0+(?::?0+)?(?!\d))\d\d:?\d\d(?!\d)|\+(?!0+(?!\d))\d"
    r"|[-_. ]?(?:BST|IST|SGT|HST|A[CW][SD]T|NZ[SD]T|[ECMP][SD]T|LOCAL)(?![A-Z])",
    re.IGNORECASE,
)
#: What tells a local time anywhere in a name.
_ZONE = re.compile(
    r"(?<![A-Z])(?:(?:CES?T|MES?Z|AE[SD]T|[JK]ST|HKT|LOCAL[-_]?TIME)(?![A-Z])|(?:UTC|GMT)[+-]0*[1-9])", re.IGNORECASE
)


def parse_time_in_name(name: str) -> np.datetime64 | None:
    """Return the time (UTC) in the name of a file; None if it contains none that can be read in one way only.

    Examples
    --------
    >>> parse_time_in_name("201705091045_fmi.radar.composite.lowest_FIN_SUOMI1.pgm.gz")
    np.datetime64('2017-05-09T10:45:00.000000000')
    >>> parse_time_in_name("AQC161932050V_00005.801.gif")
    np.datetime64('2016-07-11T20:50:00.000000000')
    >>> parse_time_in_name("radar_1710061200.tif") is None
    True
    """
    for find in (_find_full, _find_hours, _find_of_services):
        found = set(find(name))
        if len(found) == 1:
            return found.pop()
        if found:
            return None
    return None


def _find_full(name: str) -> Iterator[np.datetime64 | None]:
    """Find dates with a year of four digits and a time; None stands for one that is not known for certain."""
    readers: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], datetime | None]], ...] = (
        (_COMPACT, lambda match: _parse(match[1] + match[2], "%Y%m%d%H%M")),
        (_SEPARATED, lambda match: _parse(match[1] + match[3] + match[4] + match[5] + match[6], "%Y%m%d%H%M")),
        (_YEAR_LAST, _parse_year_last),
    )
    for pattern, read in readers:
        for match in pattern.finditer(name):
            time = read(match)
            if time is not None or pattern is _YEAR_LAST:
                is_local = _ZONE.search(name) or _LOCAL.match(name, match.end())
                yield None if time is None or is_local else np.datetime64(time, "ns")


def _find_hours(name: str) -> Iterator[np.datetime64]:
    times = (_parse(match[1], "%Y%m%d%H") for match in _HOUR.finditer(name))
    return (np.datetime64(time, "ns") for time in times if time is not None)


def _find_of_services(name: str) -> Iterator[np.datetime64]:
    matches = ((pattern.match(name), code) for pattern, code in _SERVICES)
    times = (_parse(match[1], code) for match, code in matches if match is not None)
    return (np.datetime64(time, "ns") for time in times if time is not None)


def _parse_year_last(match: re.Match[str]) -> datetime | None:
    """Return a time whose day and month can be told apart."""
    first, second = int(match[1]), int(match[3])
    if first <= 12 and second <= 12 and first != second:
        return None
    code = "%m%d%Y%H%M" if second > 12 else "%d%m%Y%H%M"
    return _parse(match[1] + match[3] + match[4] + match[5] + match[6], code)


def _parse(digits: str, code: str) -> datetime | None:
    try:
        return datetime.strptime(digits, code)
    except ValueError:
        return None
