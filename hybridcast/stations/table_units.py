"""What tables state above and below their header: the units and the zone of times.

Rows below the header, as loggers and spreadsheets write them, may have the units of the columns. Lines above it may say
that times are local, or beginnings of intervals; such a table is refused, as nothing would show the shift.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hybridcast.core.readers import read_head
from hybridcast.errors import ReadError
from hybridcast.stations._tables import Header, decode, split_fields
from hybridcast.stations.table_columns import is_known, is_stated_time

#: Rows below the header that may have units.
_MOST_ROWS = 3
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
_KINDS = re.compile(r"\b(datetime|date|time|text|string|timestamp)\b")
#: Statements about times in the lines above a header. Names of zones are words too, and count beside a word of time.
_ZONES = "lst|cet|cest|mez|mesz|bst|eet|eest|wet|est|edt|cst|cdt|mst|mdt|pst|pdt|jst|aest|aedt|nzst|nzdt|sast"
_TIMES = "time|times|timezone|zone|tz|timestamps?|stamps|zeit|zeiten|zeitzone"
_OTHER_TIMES = re.compile(
    r"\blocal (?:standard |summer |daylight )?time|\bortszeit|(?:utc|gmt)\s?[+-]\s?0?[1-9]"
    r"|\b(?:europe|america|asia|africa|australia|pacific)/\w+"
    r"|\b(?:start|beginning|begin) of (?:the |each )?(?:interval|period|hour)"
    r"|\b(?:interval|hour|period)[- ](?:start|begin)"
    rf"|\b(?:{_TIMES})\b[^\n]*?\b(?:{_ZONES})\b|\b(?:{_ZONES})\b[^\n]*?\b(?:{_TIMES})\b"
)


def take_unit_rows(header: Header, head: bytes, time: str | None) -> tuple[Header, dict[str, str]]:
    """Return the header with the rows of units below it, and these units by the names of their columns.

    A row of units has no numbers, and no digit where the rows below have times.
    """
    if time is None or not header.separator:
        return header, {}
    column = header.names.index(time)
    below = [split_fields(line, header.separator) for line in decode(head).split("\n")[header.lines :]]
    rows: list[Sequence[str]] = []
    for fields in below[: _MOST_ROWS + 1]:
        if len(fields) > column and re.search(r"\d", fields[column]):
            return header._replace(lines=header.lines + len(rows)), _join_units(header.names, rows)
        if len(fields) < 2 or any(_NUMBER.fullmatch(field) for field in fields):
            break
        rows.append(fields)
    return header, {}


def _join_units(names: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the units of each column; kinds of processing, as of loggers ("Tot"), follow them."""
    units = {name: " ".join(row[n] for row in rows if n < len(row) and row[n]) for n, name in enumerate(names)}
    return {name: text for name, text in units.items() if text.strip("-– ()[]")}


def find_other_time(text: str) -> str | None:
    """Return the words of a text that say that times are no ends of intervals in UTC; None if it says UTC, or nothing.

    Examples
    --------
    >>> find_other_time("Time zone: CET"), find_other_time("times in UTC"), find_other_time("start of interval")
    ('time zone: cet', None, 'start of interval')
    """
    lower = text.lower()
    found = _OTHER_TIMES.search(lower)
    says_utc = "utc" in re.sub(r"utc\s?[+-]\s?0?[1-9]", "", lower)
    return found.group(0) if found and not says_utc else None


def refuse_statements(path: Path, columns: Mapping[str, str], header: Header, units: Mapping[str, str]) -> None:
    """Raise `ReadError` if the rows below the header, or the lines above it, state times of another meaning."""
    below = _KINDS.sub("", units.get(columns["time"], "").lower())
    if not is_known("time", below):
        raise _refusal(path, f"the row below the header states {units[columns['time']]!r} of its times")
    if not header.separator or is_stated_time(columns["time"]):
        return
    found = find_other_time("\n".join(decode(read_head(path)).split("\n")[: header.lines - 1]))
    if found:
        raise _refusal(path, f"the lines above the header state {found!r}")


def _refusal(path: Path, known: str) -> ReadError:
    return ReadError(
        path,
        f"{known}, but times are ends of intervals in UTC. Convert them, or write their offset to UTC, such as +02:00, "
        "and remove the statement",
    )
