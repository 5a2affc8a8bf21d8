"""The loop: look for files, read them, make the forecast that is due, tell of it, wait, and again.

The order in which things are written makes a kill at any moment harmless. A forecast takes its place in one step; then
``latest.json`` names it, then its message is queued, then it is noted as made. What was not noted is found on the disk
at the next start, and the steps that are missing are done then.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hybridcast.core.parallel import StoppedError, TaskFailedError, Worker, WorkerError, describe_error
from hybridcast.core.time_steps import iso_time
from hybridcast.forecasting import INPUT_HISTORY
from hybridcast.watch.arrivals import MAX_TRIES, Arrivals, Entry, Frame
from hybridcast.watch.clock import Clock, JumpDetector
from hybridcast.watch.config import WatchedRegion
from hybridcast.watch.delivery import Outbox
from hybridcast.watch.folder import RegionFolder
from hybridcast.watch.forecasts import FORECASTING, READING, SOURCES, Made, Order, make_forecast, warm_up
from hybridcast.watch.schedule import (
    Due,
    IssueRecord,
    Issues,
    IssueState,
    Rules,
    find_due,
    find_missing,
    find_step,
    select_frames,
)
from hybridcast.watch.sources import Found, find_radar, read_content
from hybridcast.watch.status import HEARTBEAT, METRICS, Counters, Snapshot, write_status

log = logging.getLogger(__name__)

LOOK_TIMEOUT, READ_TIMEOUT, WARM_TIMEOUT = 60.0, 120.0, 600.0
"""Longest durations of a look for files, of reading one, and of loading the model, s."""
AHEAD = np.timedelta64(1, "h")
"""Time after now for which files are looked for."""
RADAR_ALONE = np.timedelta64(1, "h")
"""Time for which other sources are left out after they ended a forecast."""
FIRST_WAIT, LAST_WAIT = np.timedelta64(5, "s"), np.timedelta64(60, "s")
"""Time after which writing is tried again if the disk is full, and the like; doubled each time, up to the last."""
LIVE = np.timedelta64(1, "s")
"""Time from the start of an NWP run until it is there, if what is on the disk is there."""
_FRAME_STAGES = ("", READING, SOURCES, FORECASTING)


@dataclass
class Loop:
    """The loop of one region.

    Parameters
    ----------
    region
        The region.
    folder
        Its folder, whose lock is held.
    clock
        The clock.
    worker
        The process that reads files and makes forecasts.
    outbox
        The queue of messages.
    stop
        Function that returns whether the loop is to end.
    say
        Function that receives lines about what happens.
    replay
        Whether the clock and the files are those of a replay.
    """

    region: WatchedRegion
    folder: RegionFolder
    clock: Clock
    worker: Worker
    outbox: Outbox
    stop: Callable[[], bool]
    say: Callable[[str], None]
    replay: bool = False

    def __post_init__(self) -> None:
        """Read what is on the disk."""
        self.folder.remove_remains()
        self.counters = Counters()
        self.arrivals = Arrivals(self.folder.state / "arrivals.json")
        self.issues: Issues = self.folder.read_issues()
        self._is_first_start = not self.issues
        self._jumps = JumpDetector()
        self._found = Found([], [])
        self._used: dict[np.datetime64, Frame] = {}
        self._ahead: list[np.datetime64] = []
        self._found_at: dict[np.datetime64, float] = {}
        self._problems: dict[str, str] = {}
        self._failed_writes, self._write_again = 0, np.datetime64(0, "ns")
        self._alone_until = np.datetime64(0, "ns")
        self._written_at: np.datetime64 | None = None
        self._last_said: dict[str, str] = {}
        self._resume()

    # --- the loop ----------------------------------------------------------------------------------------------

    def run(self, before_look: Callable[[np.datetime64], bool] = lambda now: False) -> None:
        """Go on until the loop is to end.

        Parameters
        ----------
        before_look
            Function that is called with the time before each look for files; if it returns True and nothing is left to
            do, the loop ends.
        """
        self._warm_up()
        idle = 0
        while not self.stop():
            ends = before_look(self.clock.now())
            busy = self.step()
            idle = 0 if busy or not ends else idle + 1
            if idle > 2:
                break
            if not busy and not self.stop():
                self.clock.sleep(self.region.duration("poll") / np.timedelta64(1, "s"))
        self.write_status()

    def step(self) -> bool:
        """Look for files, read them, and make a forecast that is due; return whether more may be due."""
        now = self.clock.now()
        self._notice_jump(now)
        try:
            self._look(now)
            due = self._find_due(now)
            busy = due is not None and self._make(due)
        except StoppedError:
            return False
        if self._written_at is None or abs(now - self._written_at) >= HEARTBEAT or busy:
            self.write_status()
        return busy

    def _tick(self) -> bool:
        """Show a sign of life while the worker is busy; return whether to give up."""
        now = self.clock.now()
        if self._written_at is not None and abs(now - self._written_at) >= HEARTBEAT:
            self.write_status()
        return self.stop()

    def _call(self, task: Callable[[], Any], timeout: float) -> Any:
        return self.worker.run(task, timeout=timeout, give_up=self._tick)

    def _warm_up(self) -> None:
        try:
            self._call(partial(warm_up, self.region), WARM_TIMEOUT)
        except StoppedError:
            return
        except TaskFailedError:
            raise
        except WorkerError as error:  # the first forecast will tell more
            self._note("warm-up", f"the worker did not start: {error.reason}")

    def _notice_jump(self, now: np.datetime64) -> None:
        slip = None if self.replay else self._jumps.check(now)
        if slip is not None:
            self.counters.jumps += 1
            self.say(f"the clock of this machine has jumped by {slip / np.timedelta64(1, 's'):.0f} s")

    # --- files --------------------------------------------------------------------------------------------------

    def _look(self, now: np.datetime64) -> None:
        """Look for radar files, and read those that are new or have changed."""
        catch_up, wait = self.region.duration("catch_up"), self.region.duration("wait")
        first = now - INPUT_HISTORY - catch_up
        periods = [(first, now + AHEAD)]
        newest = max(self._used, default=now)
        if abs(newest - now) > AHEAD:  # the clock may be wrong, or the radar late
            periods.append((newest - INPUT_HISTORY, newest + AHEAD))
            first = min(first, newest - INPUT_HISTORY)
        probe_from = now - max(catch_up, wait) if self.arrivals.files else first
        known = frozenset(key for key, record in self.arrivals.files.items() if record.state == "taken")
        try:
            self._found = self._call(partial(find_radar, self.region, periods, probe_from, known), LOOK_TIMEOUT)
            self._note("look", "; ".join(self._found.problems))
        except StoppedError:
            raise
        except WorkerError as error:
            self._note("look", f"radar files cannot be looked for: {error.reason}")
            return
        due = self.arrivals.select_due(self._found.entries, now, self.region.duration("settle"))
        for entry in sorted(due, key=lambda entry: entry.key, reverse=True):
            self._read(entry, first, now)
        forgotten = self.arrivals.forget(self._found.entries, first)
        if due or forgotten:
            self._try_to_write("the list of files", self.arrivals.save)

    def _read(self, entry: Entry, first: np.datetime64, now: np.datetime64) -> None:
        try:
            content = self._call(partial(read_content, self.region, entry, self.folder.downloads, first), READ_TIMEOUT)
        except StoppedError:
            raise
        except TaskFailedError as error:
            self.arrivals.refuse(entry, error.reason, now)
            return
        except WorkerError as error:
            self.arrivals.blame(entry, error.reason, now)
            self.say(f"{entry.key}: {error.reason}")
            return
        if content.refusal is not None:
            self.arrivals.refuse(entry, content.refusal, now)
            self._say_once(entry.key, content.refusal)
            return
        known = self.arrivals.find_frames().frames
        self.arrivals.take(entry, content.path, content.frames)
        for time_ in content.frames:
            frame_time = np.datetime64(time_, "ns")
            if frame_time not in known:
                self.counters.frames += 1
                self._found_at[frame_time] = time.monotonic()

    # --- what is due --------------------------------------------------------------------------------------------

    def _find_due(self, now: np.datetime64) -> Due | None:
        self._used, self._ahead = select_frames(self.arrivals.find_frames().frames, self.issues, now)
        ahead = ", ".join(iso_time(one) for one in self._ahead)
        self._note(
            "ahead", f"frames ahead of the clock wait: {ahead} (is the clock right, and are they UTC?)" * bool(ahead)
        )
        if self._is_first_start and self._used:
            self._start_history()
        if now < self._write_again and self._write_again - now <= LAST_WAIT:
            return None
        return find_due(self._used, self.issues, now, self._rules())

    def _start_history(self) -> None:
        """Note that frames which are there at the first start get no forecasts, but for the newest."""
        self._is_first_start = False
        for one in sorted(self._used)[:-1]:
            self.issues[one] = IssueRecord("history", self._used[one].digest)
        self._try_to_write("the list of forecasts", self._write_issues)

    def _rules(self) -> Rules:
        wait, outage, catch_up = (self.region.duration(key) for key in ("wait", "longest_outage", "catch_up"))
        return Rules(wait, outage, catch_up, self.region.optional_duration("radar_step"))

    # --- a forecast ---------------------------------------------------------------------------------------------

    def _make(self, due: Due) -> bool:
        """Make a forecast; return whether it is done, or failed for good."""
        record = self.issues.get(due.issue_time)
        digest = None if due.frame is None else due.frame.digest
        if record is None or (record.state != "made" and record.frame != digest):
            record = IssueRecord("failed", digest)
        has_others = bool(self.region.watch.stations or self.region.watch.nwp or self.region.watch.terrain)
        alone = has_others and bool(record.tries > 0 or self.clock.now() < self._alone_until)
        files = self._select_files(due.issue_time)
        delay = self.region.duration("nwp_delay") if self.replay else LIVE
        timeout = self.region.duration("timeout") / np.timedelta64(1, "s")
        made_at = self._found_at.get(due.issue_time, time.monotonic())
        try:
            with self.folder.new_forecast(due.issue_time) as part:
                order = Order(self.region, due.issue_time, files, part, self.folder.downloads, delay, radar_alone=alone)
                made: Made = self._call(partial(make_forecast, order), timeout)
                revision = record.revision + (record.state == "made")
                about = self._describe(due, made, revision, time.monotonic() - made_at, part, alone=alone)
                self.folder.write_about(part, about)
        except StoppedError:
            raise
        except WorkerError as error:
            return self._handle_failure(due, record, error)
        except Exception as error:  # the folder cannot be written
            self._handle_write_error(due, describe_error(error))
            return False
        self._failed_writes = 0
        self._note("write", "")
        if alone and record.tries:
            self._alone_until = self.clock.now() + RADAR_ALONE
        self._finish(due, about, made)
        return True

    def _select_files(self, issue: np.datetime64) -> tuple[str, ...]:
        used = [frame.path for one, frame in self._used.items() if issue - INPUT_HISTORY <= one <= issue]
        return tuple(dict.fromkeys(used))

    def _describe(
        self, due: Due, made: Made, revision: int, seconds: float, part: Path, *, alone: bool
    ) -> dict[str, Any]:
        """Return the description of a forecast."""
        before = {one: frame for one, frame in self._used.items() if one <= due.issue_time}
        newest = max(before, default=None)
        step = find_step(self._used, self._rules())
        now = self.clock.now()
        left_out = [*made.left_out, *(["stations, NWP and terrain: they ended a forecast"] if alone else [])]
        about: dict[str, Any] = {
            "version": 1,
            "region": self.region.name,
            "issue_time": iso_time(due.issue_time),
            "made": iso_time(now),
            "age_minutes_when_made": round(float((now - due.issue_time) / np.timedelta64(1, "m")), 2),
            "newest_frame": None if newest is None else iso_time(newest),
            "made_without_its_frame": due.frame is None,
            "frame": None if due.frame is None else due.frame.digest,
            "revision": revision,
            "frames_missing": [iso_time(one) for one in find_missing(before, step, due.issue_time - INPUT_HISTORY)],
            "unknown_fraction": made.unknown_fraction,
            **made.attrs,
            "left_out": left_out,
            "products": sorted(path.name for path in part.iterdir() if not path.name.startswith(".")),
            "seconds": {**made.seconds, "from_frame_to_products": round(seconds, 2)},
            "memory_mb": made.memory,
            "peak_memory_mb": made.peak_memory,
        }
        if due.frame is None:
            about["late"] = f"the frame of {iso_time(due.issue_time)} had not come after {self.region.watch.wait}"
        return about

    def _finish(self, due: Due, about: dict[str, Any], made: Made) -> None:
        """Tell of a forecast that is in its place, and note it."""
        counters = self.counters
        counters.forecasts += 1
        counters.late += due.frame is None
        counters.failures_in_row = 0
        counters.stage_seconds, counters.memory = made.seconds, made.memory
        if due.issue_time in self._found_at:
            counters.cycle_seconds.append(about["seconds"]["from_frame_to_products"])
        self._found_at = {one: at for one, at in self._found_at.items() if one > due.issue_time}
        self.issues[due.issue_time] = IssueRecord("made", about["frame"], revision=about["revision"])
        self._try_to_write("latest.json", lambda: self._announce(about))
        missing = len(about["frames_missing"])
        late = " without its frame, which is late" if due.frame is None else ""
        again = f", revision {about['revision']}" if about["revision"] else ""
        self.say(
            f"{about['issue_time']}: made{late}{again} in {about['seconds']['from_frame_to_products']:.1f} s"
            + (f", {missing} frames missing" if missing else "")
        )
        self._try_to_write("old forecasts", self._remove_old)

    def _announce(self, about: dict[str, Any]) -> None:
        """Do what follows a forecast that is in its place, each step at most once."""
        self.folder.publish(about)
        self._post(about)
        self._write_issues()

    def _post(self, about: dict[str, Any]) -> None:
        folder = self.folder.locate(np.datetime64(about["issue_time"].removesuffix("Z")))
        key, version = f"{about['region']}-{about['issue_time']}", f"revision {about['revision']}"
        self.outbox.post("forecast", key, version, {**about, "folder": str(folder.absolute())})

    def _remove_old(self) -> None:
        keep = self.region.duration("keep")
        self.counters.removed += self.folder.remove_old(keep)
        needed = {record.path for record in self.arrivals.files.values()}
        self.folder.remove_downloads(needed, float(self.region.duration("nwp_age") / np.timedelta64(1, "s")))

    def _write_issues(self) -> None:
        newest = max(self.issues, default=self.clock.now())
        oldest = min(newest, self.clock.now()) - max(self.region.duration("keep"), 2 * INPUT_HISTORY)
        self.issues = {one: record for one, record in self.issues.items() if one >= oldest}
        self.folder.write_issues(self.issues)

    # --- failures -----------------------------------------------------------------------------------------------

    def _handle_failure(self, due: Due, record: IssueRecord, error: WorkerError) -> bool:
        """Note a failed forecast; its frame is set aside after two tries, unless only writing failed."""
        if isinstance(error, TaskFailedError) and error.progress not in _FRAME_STAGES:
            self._handle_write_error(due, error.reason)
            return False
        self.counters.failures += 1
        self.counters.failures_in_row += 1
        tries = record.tries + 1
        stage = f" in the stage {error.progress!r}" if error.progress else ""
        reason = f"{error.reason}{stage}"
        aside = tries >= MAX_TRIES and due.frame is not None
        kept: IssueState = "made" if record.state == "made" else "set aside" if aside else "failed"
        digest = None if due.frame is None else due.frame.digest
        changed = replace(record, tries=tries, reason=reason, state=kept)
        if record.state != "made" or tries >= MAX_TRIES:  # a revision that fails leaves the forecast as it is
            changed = replace(changed, frame=digest)
        self.issues[due.issue_time] = changed
        self._try_to_write("the list of forecasts", self._write_issues)
        what = "its frame is set aside" if aside else "tried again" if tries < MAX_TRIES else "given up"
        self.say(f"{iso_time(due.issue_time)}: failed, try {tries}: {reason}; {what}")
        return True

    def _handle_write_error(self, due: Due, reason: str) -> None:
        self.counters.failures += 1
        self.counters.failures_in_row += 1
        self._failed_writes += 1
        self._write_again = self.clock.now() + min(FIRST_WAIT * 2 ** min(self._failed_writes - 1, 8), LAST_WAIT)
        self._note("write", f"the forecast of {iso_time(due.issue_time)} cannot be written: {reason}")

    def _try_to_write(self, what: str, write: Callable[[], None]) -> None:
        """Write something; if that fails, the loop goes on, and says so."""
        try:
            write()
            self._note(what, "")
        except Exception as error:  # a full disk or a lost permission; it is written again later
            self._note(what, f"{what} cannot be written: {describe_error(error)}")

    def _note(self, topic: str, problem: str) -> None:
        """Note a problem, or with an empty text its end, and say so once."""
        if self._problems.get(topic, "") != problem:
            self.say(problem or f"solved: {self._problems[topic]}")
        self._problems[topic] = problem

    def _say_once(self, key: str, text: str) -> None:
        if self._last_said.get(key) != text:
            self.say(f"{key}: {text}")
        self._last_said = {one: said for one, said in self._last_said.items() if one in self.arrivals.files}
        self._last_said[key] = text

    # --- status and start ---------------------------------------------------------------------------------------

    def write_status(self) -> None:
        """Write what monitors read."""
        self._written_at = self.clock.now()
        metrics = Path(self.region.watch.metrics or self.folder.path / METRICS)
        try:
            write_status(self.folder.path, self._take_snapshot(self._written_at), metrics)
        except Exception as error:  # monitors see that the status is old
            self._say_once("status", f"the status cannot be written: {describe_error(error)}")

    def _take_snapshot(self, now: np.datetime64) -> Snapshot:
        came = self.arrivals.find_frames()
        waiting = self.outbox.describe()
        made = [one for one, record in self.issues.items() if record.state == "made"]
        newest = max(self._used, default=None)
        since = (now if newest is None else newest) - INPUT_HISTORY
        aside = [
            f"{iso_time(one)}: {record.state}: {record.reason}"
            for one, record in self.issues.items()
            if record.state in ("set aside", "failed") and one >= since
        ]
        problems = [problem for problem in self._problems.values() if problem]
        if waiting.problem:
            aside.append(f"a message waits: {waiting.problem}")
        return Snapshot(
            region=self.region.name,
            now=now,
            pid=os.getpid(),
            replay=self.replay,
            counters=self.counters,
            newest_frame=newest,
            newest_forecast=max(made, default=None),
            missing=find_missing(self._used, find_step(self._used, self._rules()), since),
            doubled=came.doubled,
            problems=problems,
            notes=[*aside, *came.different, *self.arrivals.find_problems()],
            waiting=waiting.count,
            dropped=waiting.dropped,
        )

    def _resume(self) -> None:
        """Note the forecasts that are on the disk and were not noted when the loop was killed."""
        forecasts = self.folder.list_forecasts()
        for about in forecasts:
            issue = np.datetime64(about["issue_time"].removesuffix("Z"), "ns")
            record = self.issues.get(issue)
            if record is None or record.state != "made" or record.revision < about["revision"]:
                self.issues[issue] = IssueRecord("made", about["frame"], revision=about["revision"])
                if not self._is_first_start or about is forecasts[-1]:
                    self._post(about)
        if forecasts:
            self._is_first_start = False
            self.folder.publish(forecasts[-1])
            self._write_issues()
