"""The log of warnings: one JSON object a line, from which the state follows and every decision can be checked."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hybridcast.core.times import as_datetime64
from hybridcast.core.types import MINUTE
from hybridcast.errors import InputWarning, ReadError
from hybridcast.places.hysteresis import RaisedWarning, WarningEvent, WarningState

#: Probabilities in the log are rounded.
_ROUNDING = 1e-6


def append_events(path: str | Path, events: Iterable[WarningEvent]) -> None:
    """Append events to a log, and return when they are on the disk.

    A line that an interrupted writing left incomplete stays, on a line of its own.
    """
    path = Path(path).expanduser()
    lines = "".join(json.dumps(event.to_json(), ensure_ascii=False, allow_nan=False) + "\n" for event in events)
    with path.open("ab") as file:
        torn = file.tell() > 0 and not _ends_a_line(path)
        file.write(("\n" * torn + lines).encode())
        file.flush()
        os.fsync(file.fileno())


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def read_events(path: str | Path) -> list[WarningEvent]:
    """Read a log of warnings.

    Lines that an interrupted writing left incomplete are left out, with an `InputWarning`.

    Raises
    ------
    ReadError
        If the file cannot be read, or a complete line is no event.
    """
    path = Path(path).expanduser()
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise ReadError(path, error.strerror or str(error)) from error
    events = []
    for number, line in enumerate(lines, 1):
        try:
            if line:
                events.append(WarningEvent.from_json(json.loads(line)))
        except ValueError as error:
            if line.endswith("}"):
                raise ReadError(path, f"line {number} is no event of a warning ({error})") from error
            warnings.warn(f"{path}: line {number} is incomplete and left out", InputWarning, stacklevel=2)
    return events


@dataclass(frozen=True)
class Audit:
    """What a log says."""

    state: WarningState
    """The state after its last event."""
    faults: tuple[str, ...]
    """Decisions that do not follow from the rule and the events before; none in a sound log."""


def audit_events(events: Iterable[WarningEvent]) -> Audit:
    """Replay a log: check that each decision follows from its numbers and from the decisions before.

    Parameters
    ----------
    events
        Events in the order of the log.
    """
    raised: dict[tuple[str, str], RaisedWarning] = {}
    faults: list[str] = []
    time: str | None = None
    for event in events:
        if time is not None and as_datetime64(event.time) < as_datetime64(time):
            faults.append(f"{event.time}: it follows {time}")
        time = event.time
        if event.kind == "checked" or event.place is None or event.level is None:
            continue
        key = event.place, event.level
        faults += [
            f"{event.time} {event.place}, {event.level}: {fault}" for fault in _find_faults(event, raised.get(key))
        ]
        if event.kind == "cleared":
            raised.pop(key, None)
        else:
            raised[key] = RaisedWarning(*key, event.since or event.time, event.below_since, event.until)
    return Audit(WarningState(time, tuple(raised.values())), tuple(faults))


def _find_faults(event: WarningEvent, before: RaisedWarning | None) -> list[str]:
    """Return what is wrong with one event, given the warning before it."""
    if event.kind == "raised":
        low = event.probability is None or event.raise_at is None or event.probability < event.raise_at - _ROUNDING
        found = {"raised twice": before is not None, "raised below raise_at": low}
    elif before is None:
        found = {f"{event.kind}, but it was not raised": True}
    else:
        found = {"raised since another time": event.since != before.since, **_check_clearing(event, before)}
    return [fault for fault, is_so in found.items() if is_so]


def _check_clearing(event: WarningEvent, before: RaisedWarning) -> dict[str, bool]:
    if event.clear_at is None:  # the place no longer has the level
        return {"kept without a level": event.kind == "kept"}
    if event.probability is None:
        return {"cleared though unknown": event.kind == "cleared"}
    if event.probability < event.clear_at - _ROUNDING and _is_partly_unknown(event, before):
        return {"cleared though unknown until it was expected": event.kind == "cleared"}
    is_below = event.probability < event.clear_at - _ROUNDING
    since = as_datetime64(before.below_since or event.time)
    is_due = is_below and bool((as_datetime64(event.time) - since) / MINUTE >= (event.hold_minutes or 0.0))
    return {
        "cleared too early": event.kind == "cleared" and not is_due,
        "kept too long": event.kind == "kept" and is_due,
    }


def _is_partly_unknown(event: WarningEvent, before: RaisedWarning) -> bool:
    """Return whether a lead time is unknown up to the time until which the level was expected before."""
    if event.known_until is None or before.until is None:
        return False
    return bool(as_datetime64(event.known_until) < as_datetime64(before.until))
