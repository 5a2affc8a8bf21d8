"""Warnings at places, from one forecast to the next: state, log, and messages, each decision once.

The worker decides (`decide_warnings`) and writes what it decided into the folder of the forecast. The loop takes it
over (`WarningKeeper`): it writes state and events in one step, then completes the log and queues the messages. Both can
be repeated without doubling anything, so a kill between two steps is made good at the next start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from hybridcast.core.times import as_datetime64
from hybridcast.places import WarningEvent, WarningState, append_events, read_events, update_warnings
from hybridcast.watch.delivery import Outbox
from hybridcast.watch.folder import RegionFolder
from hybridcast.watch.json_files import read_json, write_json

DECIDED, LOG = "warnings.json", "warnings.jsonl"
"""Names of what a forecast has decided, and of the log of a region."""
CHANGES = ("raised", "cleared")
"""Kinds of events that are told."""


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
    """The warnings of a region: their state, their log, and the messages about them."""

    def __init__(self, folder: RegionFolder, outbox: Outbox) -> None:
        self._folder, self._outbox = folder, outbox
        self._path, self.log = folder.path / DECIDED, folder.path / LOG
        stored = read_json(self._path)
        self.state = WarningState() if stored is None else WarningState.from_json(stored["state"])
        if stored is not None:  # the log may have been cut short by a kill
            events = [WarningEvent.from_json(event) for event in stored["events"]]
            logged = read_events(self.log) if self.log.exists() else []
            self._tell(events, [event for event in events if event not in logged])

    def take(self, about: dict[str, Any], forecast: Path) -> None:
        """Take over what a forecast has decided; nothing if it is older than the state, or taken already.

        Parameters
        ----------
        about
            Description of the forecast.
        forecast
            Its folder.
        """
        decided = read_json(forecast / DECIDED)
        if decided is None:
            return
        state = WarningState.from_json(decided["state"])
        if self.state.time is not None and as_datetime64(str(state.time)) <= as_datetime64(self.state.time):
            return
        write_json(self._path, {"region": about["region"], **decided})
        self.state = state
        events = [WarningEvent.from_json(event) for event in decided["events"]]
        self._tell(events, events)

    def _tell(self, events: list[WarningEvent], unlogged: list[WarningEvent]) -> None:
        """Append events to the log, and queue messages of what has changed, unless they were queued before."""
        append_events(self.log, unlogged)
        for event in events:
            if event.kind in CHANGES:
                key = f"{self._folder.path.name}-{event.place}-{event.level}-{event.since}"
                content = {"region": self._folder.path.name, **event.to_json(), "event": event.kind}
                content.pop("kind")
                self._outbox.post("warning", key, event.kind, content)
