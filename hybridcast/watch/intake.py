"""How files come into the loop: they are looked for and read in the worker process, and their records are kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np

from hybridcast.core.parallel import NotStartedError, StoppedError, TaskFailedError, WorkerError
from hybridcast.forecasting import INPUT_HISTORY
from hybridcast.watch.arrivals import Arrivals, Entry
from hybridcast.watch.config import WatchedRegion
from hybridcast.watch.folder import RegionFolder
from hybridcast.watch.problems import Problems
from hybridcast.watch.sources import Found, find_radar, read_content

LOOK_TIMEOUT, READ_TIMEOUT = 60.0, 120.0
"""Longest durations of a look for files, and of reading one, s."""
AHEAD = np.timedelta64(1, "h")
"""Time after now for which files are looked for."""


class Call(Protocol):
    """Runs a task in the worker process, for at most so many seconds."""

    def __call__(self, task: Callable[[], Any], timeout: float) -> Any:
        """Return the result of the task; raise `WorkerError`."""
        ...


class Intake:
    """The radar files of a region, as they come.

    Parameters
    ----------
    region
        The region.
    folder
        Its folder.
    call
        Runs a task in the worker process.
    problems
        Receives what hinders it.
    """

    def __init__(self, region: WatchedRegion, folder: RegionFolder, call: Call, problems: Problems) -> None:
        self._region, self._folder, self._call, self._problems = region, folder, call, problems
        self.arrivals = Arrivals(folder.state / "arrivals.json")
        self._found = Found([], [])
        self._unsaved = False
        self.count = 0
        """Number of frames that came."""
        self.came_at: dict[np.datetime64, float] = {}
        """When frames came, by a steady clock (s), until `forget_before`."""

    def look(self, now: np.datetime64, newest: np.datetime64) -> None:
        """Look for radar files around now and around the newest frame, and read those that are new or have changed."""
        catch_up, wait = self._region.duration("catch_up"), self._region.duration("wait")
        first = now - INPUT_HISTORY - catch_up
        periods = [(first, now + AHEAD)]
        if abs(newest - now) > AHEAD:  # the clock may be wrong, or the radar late
            periods.append((newest - INPUT_HISTORY, newest + AHEAD))
            first = min(first, newest - INPUT_HISTORY)
        probe_from = now - max(catch_up, wait) if self.arrivals.files else first
        known = frozenset(key for key, record in self.arrivals.files.items() if record.state == "taken")
        try:
            self._found = self._call(partial(find_radar, self._region, periods, probe_from, known), LOOK_TIMEOUT)
        except StoppedError:
            raise
        except WorkerError as error:
            self._problems.note("look", f"radar files cannot be looked for: {error.reason}")
            return
        self._problems.note("look", "; ".join(self._found.problems))
        due = self.arrivals.select_due(self._found.entries, now, self._region.duration("settle"))
        try:
            for entry in sorted(due, key=lambda entry: entry.key, reverse=True):  # mostly the newest first
                self._read(entry, first, now)
        except NotStartedError as error:
            self._problems.note("look", f"radar files cannot be read: {error.reason}")
        forgotten = self.arrivals.forget(self._found.entries, first)
        self._unsaved |= bool(due or forgotten)
        if self._unsaved:
            self._unsaved = not self._problems.attempt("the list of files", self.arrivals.save)

    def _read(self, entry: Entry, first: np.datetime64, now: np.datetime64) -> None:
        task = partial(read_content, self._region, entry, self._folder.downloads, first)
        try:
            content = self._call(task, READ_TIMEOUT)
        except (StoppedError, NotStartedError):
            raise
        except TaskFailedError as error:
            self._refuse(entry, error.reason, now)
            return
        except WorkerError as error:
            self.arrivals.blame(entry, error.reason, now)
            self._problems.say(f"{entry.key}: {error.reason}")
            return
        if content.refusal is not None:
            self._refuse(entry, content.refusal, now)
            return
        known = self.arrivals.find_frames().frames
        self.arrivals.take(entry, content.path, content.frames)
        new = [time_ for text in content.frames if (time_ := np.datetime64(text, "ns")) not in known]
        self.count += len(new)
        self.came_at |= dict.fromkeys(new, time.monotonic())

    def _refuse(self, entry: Entry, reason: str, now: np.datetime64) -> None:
        self.arrivals.refuse(entry, reason, now)
        self._problems.say_once(entry.key, reason)

    def forget_before(self, issue: np.datetime64) -> None:
        """Forget when frames up to a time came."""
        self.came_at = {one: at for one, at in self.came_at.items() if one > issue}
