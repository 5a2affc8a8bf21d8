"""Warnings at places, from one forecast to the next: state, log, and messages, each decision once.

The worker decides (`decide_warnings`) and writes what it decided into the folder of the forecast. The loop takes it
over (`WarningKeeper`): it writes state and events in one step, then completes the log and queues the messages. Both can
be repeated without doubling anything, so a kill between two steps is made good at the next start, and what a full disk
did not take is written later, in order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xarray as xr

from hybridcast.core.listing import list_first
from hybridcast.core.times import as_datetime64
from hybridcast.places import WarningEvent, WarningState, append_events, audit_events, read_events, update_warnings
from hybridcast.watch.delivery import Outbox
from hybridcast.watch.folder import RegionFolder
from hybridcast.watch.json_files import read_json, write_json

DECIDED, LOG = "warnings.json", "warnings.jsonl"
"""Names of what a forecast has decided, and of the log of a region."""
CHANGES = ("raised", "cleared")
"""Kinds of events that are told."""
_MOST_NAMED = 5
"""Number of warnings that are named on a terminal."""


def decide_warnings(table: xr.Dataset, before: WarningState, folder: Path) -> None:
    """Write what a forecast does to the warnings into its folder; nothing if a later forecast was decided before.

    Parameters
    ----------
    table
        Products at the places, from `hybridcast.at_places`.
    before
        The state after the forecast before.
    folder
        Folder of the forecast.
    """
    (issued,) = table["reference_time"].values.reshape(1)
    if not table.sizes.get("level", 0) or (before.time is not None and as_datetime64(before.time) >= issued):
        return
    state, events = update_warnings(before, table)
    write_json(folder / DECIDED, _to_json(state, events))


def _to_json(state: WarningState, events: list[WarningEvent]) -> dict[str, Any]:
    return {"state": state.to_json(), "events": [event.to_json() for event in events]}


class WarningKeeper:
    """The warnings of a region: their state, their log, and the messages about them.

    Without the file of the state, or if it is damaged, the state is the one after the last line of the log.
    """

    def __init__(self, folder: RegionFolder, outbox: Outbox) -> None:
        self._folder, self._outbox = folder, outbox
        self._path, self.log = folder.path / DECIDED, folder.path / LOG
        self._unwritten: list[dict[str, Any]] = []
        """Decisions that are taken over and not yet written, logged and told, in order."""
        self._may_be_logged = False
        """Whether events of the first of them may be in the log."""
        stored = read_json(self._path)
        if stored is not None:  # the log may have been cut short by a kill
            self.state = WarningState.from_json(stored["state"])
            self._unwritten, self._may_be_logged = [stored], True
        else:
            self.state = audit_events(self._read_log()).state

    def take(self, about: dict[str, Any], forecast: Path) -> list[WarningEvent]:
        """Take over and return what a forecast has decided; nothing if it is older than the state, or taken already.

        Parameters
        ----------
        about
            Description of the forecast.
        forecast
            Its folder.
        """
        decided = read_json(forecast / DECIDED)
        if decided is None:
            return []
        state = WarningState.from_json(decided["state"])
        if self.state.time is not None and as_datetime64(str(state.time)) <= as_datetime64(self.state.time):
            return []
        self.state = state
        self._unwritten.append({"region": about["region"], **decided})
        return [WarningEvent.from_json(event) for event in decided["events"]]

    def write(self) -> None:
        """Write what was taken over, complete the log and queue the messages; what fails is left for the next call."""
        while self._unwritten:
            decided = self._unwritten[0]
            if not self._may_be_logged:
                write_json(self._path, decided)
            self._tell([WarningEvent.from_json(event) for event in decided["events"]])
            self._unwritten.pop(0)
            self._may_be_logged = False

    def _tell(self, events: list[WarningEvent]) -> None:
        """Append events to the log, and queue messages of what has changed, unless they are there already."""
        logged = self._read_log() if self._may_be_logged else []
        self._may_be_logged = True
        append_events(self.log, [event for event in events if event not in logged])
        for event in events:
            if event.kind in CHANGES:
                key = json.dumps([self._folder.path.name, event.place, event.level, event.since], ensure_ascii=False)
                content = {"region": self._folder.path.name, **event.to_json(), "event": event.kind}
                content.pop("kind")
                self._outbox.post("warning", key, event.kind, content)

    def _read_log(self) -> list[WarningEvent]:
        return read_events(self.log) if self.log.exists() else []


def describe_changes(events: list[WarningEvent]) -> str:
    """Return which warnings were raised and cleared, for a line on a terminal; empty if none was."""
    found = []
    for kind in CHANGES:
        names = [f"{event.place} ({event.level})" for event in events if event.kind == kind]
        found += [f"; {kind}: {list_first(names, _MOST_NAMED)}"] if names else []
    return "".join(found)
