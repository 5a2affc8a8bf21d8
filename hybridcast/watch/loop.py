"""The loop: look for files, read them, make the forecast that is due, tell of it, wait, and again.

The order in which things are written makes a kill at any moment harmless. A forecast takes its place in one step; then
``latest.json`` names it, then its message is queued, then it is noted as made. What was not noted is found on the disk
at the next start, and the steps that are missing are done then.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hybridcast.core.parallel import (
    NotStartedError,
    StoppedError,
    TaskFailedError,
    Worker,
    WorkerError,
    describe_error,
)
from hybridcast.core.time_steps import iso_time
from hybridcast.errors import HybridcastError, InputError
from hybridcast.forecasting import INPUT_HISTORY
from hybridcast.places import WarningEvent
from hybridcast.watch.about import describe_forecast, parse_issue_time
from hybridcast.watch.arrivals import MAX_TRIES, Frame
from hybridcast.watch.clock import Clock, JumpDetector
from hybridcast.watch.config import WatchedRegion
from hybridcast.watch.delivery import Outbox
from hybridcast.watch.folder import RegionFolder
from hybridcast.watch.forecasts import FORECASTING, READING, SOURCES, Made, Order, make_forecast, warm_up
from hybridcast.watch.intake import Intake
from hybridcast.watch.problems import Problems
from hybridcast.watch.products import ESSENTIAL, PRODUCTS
from hybridcast.watch.schedule import (
    Due,
    IssueRecord,
    Issues,
    IssueState,
    Rules,
    find_due,
    find_missing,
    find_new_start,
    find_since,
    find_step,
    select_frames,
)
from hybridcast.watch.status import HEARTBEAT, METRICS, Counters, Snapshot, write_status
from hybridcast.watch.warnings import WarningKeeper, describe_changes

WARM_TIMEOUT = 600.0
"""Longest duration of loading the model and compiling the kernels, s."""
WARM_FORECASTS, MAX_GROWTH = 30, 1.5
"""Number of forecasts after which the memory of the worker process should not grow any more, and the factor by which it
may; 30 forecasts fill the two hours of frames that each uses."""
RADAR_ALONE = np.timedelta64(1, "h")
"""Time for which other sources are left out after they ended a forecast."""
FIRST_WAIT, LAST_WAIT = np.timedelta64(5, "s"), np.timedelta64(60, "s")
"""Time after which writing is tried again if the disk is full, and the like; doubled each time, up to the last."""
LIVE_DELAY = np.timedelta64(1, "s")
"""Time from the start of an NWP run until it is there, if all that is on the disk is there."""
_FRAME_STAGES = ("", READING, SOURCES, FORECASTING)
_EARLY = np.datetime64(0, "ns")
_SECOND = np.timedelta64(1, "s")
_REACH = np.timedelta64(3, "h")
"""Time before the frames that are used up to which files of a replay are kept."""


class ReplayEndedError(HybridcastError):
    """A replay cannot go on: mend what hinders it, and start it again."""


@dataclass
class Loop:
    """The loop of one region."""

    region: WatchedRegion
    folder: RegionFolder
    """Its folder, whose lock is held."""
    clock: Clock
    worker: Worker
    """The process that reads files and makes forecasts."""
    outbox: Outbox
    """The queue of messages."""
    stop: Callable[[], bool]
    """Function that returns whether the loop is to end."""
    say: Callable[[str], None]
    """Function that receives lines about what happens."""
    replay: bool = False
    """Whether the clock and the files are those of a replay."""

    def __post_init__(self) -> None:
        """Read what is on the disk, and do what was left undone."""
        self.counters = Counters()
        self.problems = Problems(self.say)
        self.problems.attempt("what was left unfinished", self.folder.remove_remains)
        self.intake = Intake(self.region, self.folder, self._call, self.problems)
        self.issues: Issues = self.folder.read_issues()
        self.warnings = WarningKeeper(self.folder, self.outbox)
        self._is_first_start = not self.issues
        self._untold: list[dict[str, Any]] = []
        """Descriptions of forecasts that are in their place, and that nobody was told of yet, in order."""
        self._jumps = JumpDetector()
        self._used: dict[np.datetime64, Frame] = {}
        self._memories: list[float] = []
        self._products_left_out: list[str] = []
        """What the newest forecast had to leave out of its products, with the reason."""
        self._failed_writes = 0
        self._write_again: np.datetime64 = _EARLY
        self._alone_until: np.datetime64 = _EARLY
        self._status_at: np.datetime64 | None = None
        self._resume()

    def _resume(self) -> None:
        """Note the forecasts that are on the disk and were not noted when the loop was killed."""
        forecasts = self.folder.list_forecasts()
        for about in forecasts:
            issue = parse_issue_time(about)
            record = self.issues.get(issue)
            if record is None or record.state != "made" or record.revision < about["revision"]:
                self.issues[issue] = IssueRecord("made", about["frame"], revision=about["revision"])
                if not self._is_first_start or about is forecasts[-1]:
                    self._take_over(about)
        if forecasts:
            self._is_first_start = False
            self.problems.attempt("latest.json", lambda: self.folder.publish(forecasts[-1]))
        self.problems.attempt("the log of warnings", self.warnings.write)
        self._tell()

    # --- the loop ----------------------------------------------------------------------------------------------

    def run(self, before_look: Callable[[np.datetime64], bool] = lambda now: False) -> None:
        """Go on until the loop is to end.

        Parameters
        ----------
        before_look
            Function that is called with the time before each look for files; if it returns True and nothing is left to
            do, the loop ends.

        Raises
        ------
        InputError
            If the model cannot be loaded, or the settings of the forecast do not fit.
        """
        self._warm_up()
        idle = 0
        while not self.stop() and idle < 3:
            ends = before_look(self.clock.now())
            busy = self.step()
            idle = idle + 1 if ends and not busy else 0
            if not busy:
                self._pause(self.region.duration("poll"))
        self.write_status()

    def _pause(self, duration: np.timedelta64) -> None:
        """Wait, and show signs of life on the way."""
        while duration > np.timedelta64(0) and not self._tick():
            part = min(duration, HEARTBEAT)
            self.clock.sleep(part / _SECOND)
            duration = duration - part

    def step(self) -> bool:
        """Look for files, read them, and make a forecast that is due; return whether more may be due."""
        now = self.clock.now()
        self._notice_jump(now)
        self._tell()
        try:
            self.intake.look(now, self._newest() or now)
            due = self._find_due(now)
            busy = due is not None and self._make(due)
        except StoppedError:
            return False
        if busy or self._is_status_old():
            self.write_status()
        return busy

    def _call(self, task: Callable[[], Any], timeout: float) -> Any:
        return self.worker.run(task, timeout=timeout, give_up=self._tick)

    def _tick(self) -> bool:
        """Show a sign of life while the worker is busy; return whether to give up."""
        if self._is_status_old():
            self.write_status()
        return self.stop()

    def _is_status_old(self) -> bool:
        return self._status_at is None or bool(abs(self.clock.now() - self._status_at) >= HEARTBEAT)

    def _warm_up(self) -> None:
        try:
            refusal = self._call(partial(warm_up, self.region), WARM_TIMEOUT)
        except StoppedError:
            return
        except WorkerError as error:  # the first forecast will tell more
            self.say(f"the worker process did not start as it should: {error.reason}")
            return
        if refusal is not None:
            raise InputError(refusal, "a forecast can be made with these settings", "Correct the table [watch]")

    def _notice_jump(self, now: np.datetime64) -> None:
        slip = None if self.replay else self._jumps.check(now)
        if slip is not None:
            self.counters.jumps += 1
            self.say(f"the clock of this machine has jumped by {slip / _SECOND:.0f} s")

    # --- what is due --------------------------------------------------------------------------------------------

    def _find_due(self, now: np.datetime64) -> Due | None:
        self._used, waiting = select_frames(self.intake.arrivals.find_frames().frames, self.issues, now)
        ahead = ", ".join(iso_time(one) for one in waiting)
        text = f"frames ahead of the clock wait: {ahead} (is the clock right, and are they UTC?)"
        self.problems.note("ahead", text if waiting else "")
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
        self.problems.attempt("the list of forecasts", self._write_issues)

    def _rules(self) -> Rules:
        wait, outage, catch_up = (self.region.duration(key) for key in ("wait", "longest_outage", "catch_up"))
        return Rules(wait, outage, catch_up, self.region.optional_duration("radar_step"))

    def _newest(self) -> np.datetime64 | None:
        return max(self._used) if self._used else None

    def _step(self) -> np.timedelta64 | None:
        return find_step(self._used, self._rules())

    # --- a forecast ---------------------------------------------------------------------------------------------

    def _make(self, due: Due) -> bool:
        """Make a forecast; return whether it is made, or failed for its frame."""
        record = self._start_record(due)
        alone = self._is_radar_alone(record)
        started = self.intake.came_at.get(due.issue_time, time.monotonic())
        frames = self.intake.arrivals.find_frames().frames
        start = find_new_start(due, record, frames, self.issues)
        if start is not None:
            self._used = {one: frame for one, frame in frames.items() if one in {*self._used, start}}
        try:
            with self.folder.new_forecast(due.issue_time) as part:
                order = self._write_order(due, part, radar_alone=alone, since=start or find_since(self.issues))
                made: Made = self._call(partial(make_forecast, order), self.region.duration("timeout") / _SECOND)
                about = describe_forecast(
                    self.region,
                    due,
                    made,
                    self._used,
                    folder=part,
                    now=self.clock.now(),
                    seconds=time.monotonic() - started,
                    step=self._step(),
                    revision=record.revision + (record.state == "made"),
                    radar_alone=alone,
                )
                self.folder.write_about(part, about)
        except StoppedError:
            raise
        except NotStartedError as error:
            self._handle_hindrance(due, error.reason)
            return False
        except WorkerError as error:
            self._memories = []
            return self._handle_failure(due, record, error)
        except Exception as error:  # the folder cannot be written
            self._handle_hindrance(due, describe_error(error))
            return False
        if alone and record.tries:
            self._alone_until = self.clock.now() + RADAR_ALONE
        self._finish(due, about, made, start)
        return True

    def _start_record(self, due: Due) -> IssueRecord:
        """Return the record of an issue time; a new one if its frame is another than that of the tries before."""
        record = self.issues.get(due.issue_time)
        digest = None if due.frame is None else due.frame.digest
        if record is None or (record.state != "made" and record.frame != digest):
            return IssueRecord("failed", digest)
        return record

    def _is_radar_alone(self, record: IssueRecord) -> bool:
        """Return whether other sources are left out, because they may have ended the try before."""
        watch = self.region.watch
        has_others = bool(watch.stations or watch.nwp or watch.terrain)
        return has_others and bool(record.tries > 0 or self.clock.now() < self._alone_until)

    def _write_order(self, due: Due, folder: Path, *, radar_alone: bool, since: np.datetime64 | None) -> Order:
        first = due.issue_time - INPUT_HISTORY
        first = first if since is None else max(first, since)
        files = [frame.path for one, frame in self._used.items() if first <= one <= due.issue_time]
        return Order(
            self.region,
            due.issue_time,
            tuple(dict.fromkeys(files)),
            folder,
            self.folder.downloads,
            self.region.duration("nwp_delay") if self.replay else LIVE_DELAY,
            radar_alone,
            self.warnings.state,
        )

    def _finish(self, due: Due, about: dict[str, Any], made: Made, start: np.datetime64 | None) -> None:
        """Note a forecast that is in its place, and tell of it; `start` is that of a new start."""
        self._count(due, about, made)
        since = "" if start is None else str(start)
        self.issues[due.issue_time] = IssueRecord("made", about["frame"], revision=about["revision"], since=since)
        if start is not None:
            self.issues[start] = replace(self.issues[start], state="history")
            self.say(f"frames before {iso_time(start)} are used no more: later ones do not fit to them")
        changes = describe_changes(self._take_over(about))
        self._tell()
        late = " without its frame, which is late" if due.frame is None else ""
        again = f", revision {about['revision']}" if about["revision"] else ""
        missing = f", {len(about['frames_missing'])} frames missing" if about["frames_missing"] else ""
        duration = about["seconds"]["from_frame_to_products"]
        self.say(f"{about['issue_time']}: made{late}{again} in {duration:.1f} s{missing}{changes}")
        self.problems.attempt("the folder of forecasts", self._remove_old)

    def _count(self, due: Due, about: dict[str, Any], made: Made) -> None:
        counters = self.counters
        counters.forecasts += 1
        counters.late += due.frame is None
        counters.failures_in_row = 0
        counters.stage_seconds, counters.memory = made.seconds, made.memory
        self._products_left_out = [note for note in made.left_out if note.partition(":")[0] in PRODUCTS]
        if due.issue_time in self.intake.came_at:
            counters.cycle_seconds.append(about["seconds"]["from_frame_to_products"])
        self.intake.forget_before(due.issue_time)
        self._failed_writes = 0
        self.problems.note("write", "")
        self._limit_memory(made.memory)

    def _limit_memory(self, memory: float) -> None:
        """Replace the worker process if its memory (MB) has grown by half since it was warm."""
        self._memories.append(memory)
        if len(self._memories) <= WARM_FORECASTS:
            return
        warm = max(self._memories[:WARM_FORECASTS])
        if memory > MAX_GROWTH * warm:
            self.say(f"the worker process is replaced: its memory grew from {warm:.0f} to {memory:.0f} MB")
            self.worker.close()
            self._memories = []
        else:
            del self._memories[WARM_FORECASTS:]

    def _take_over(self, about: dict[str, Any]) -> list[WarningEvent]:
        """Note a forecast that is in its place, and what it has decided on warnings; it is told of afterwards."""
        self._untold.append(about)
        return self.warnings.take(about, self.folder.locate(parse_issue_time(about)))

    def _tell(self) -> None:
        """Tell of the forecasts that are in their places, in order; what cannot be written is tried again later."""
        while self._untold:
            about = self._untold[0]
            if not self.problems.attempt("latest.json", partial(self._tell_of, about)):
                return
            self._untold.pop(0)
            self.problems.attempt("the list of forecasts", self._write_issues)

    def _tell_of(self, about: dict[str, Any]) -> None:
        """Do what follows a forecast that is in its place; what was done before is not done again."""
        self.folder.publish(about)
        self._post(about)
        self.warnings.write()

    def _post(self, about: dict[str, Any]) -> None:
        folder = self.folder.locate(parse_issue_time(about))
        key, version = f"{about['region']}-{about['issue_time']}", f"revision {about['revision']}"
        self.outbox.post("forecast", key, version, {**about, "folder": str(folder.absolute())})

    def _remove_old(self) -> None:
        self.counters.removed += self.folder.remove_old(self.region.duration("keep"))
        needed = {record.path for record in self.intake.arrivals.files.values()}
        self.folder.remove_downloads(needed, float(self.region.duration("nwp_age") / _SECOND))
        newest = self._newest()
        if newest is not None:
            self.folder.remove_arrived(newest - INPUT_HISTORY - self.region.duration("catch_up") - _REACH)

    def _write_issues(self) -> None:
        newest = max(self.issues, default=self.clock.now())
        oldest = min(newest, self.clock.now()) - max(self.region.duration("keep"), 2 * INPUT_HISTORY)
        self.issues = {one: record for one, record in self.issues.items() if one >= oldest}
        untold = {parse_issue_time(about) for about in self._untold}  # the next start has to find and tell them
        self.folder.write_issues({one: record for one, record in self.issues.items() if one not in untold})

    # --- failures -----------------------------------------------------------------------------------------------

    def _handle_failure(self, due: Due, record: IssueRecord, error: WorkerError) -> bool:
        """Note a failed forecast; its frame is set aside after two tries, unless only writing failed."""
        stage = f" in the stage {error.progress!r}" if error.progress else ""
        is_told = isinstance(error, TaskFailedError)
        if error.progress in ESSENTIAL or (is_told and error.progress not in _FRAME_STAGES):
            # HDF5 may end its process on a full disk, at once or when what it left is collected: it is replaced
            self.worker.close()
            self._handle_hindrance(due, f"{error.reason}{stage}")
            return False
        self.counters.failures += 1
        self.counters.failures_in_row += 1
        tries, reason = record.tries + 1, f"{error.reason}{stage}"
        aside = tries >= MAX_TRIES and due.frame is not None
        state: IssueState = "made" if record.state == "made" else "set aside" if aside else "failed"
        gives_up = record.state == "made" and tries >= MAX_TRIES  # the forecast stays as it was made before
        digest = due.frame.digest if gives_up and due.frame is not None else record.frame
        self.issues[due.issue_time] = replace(record, tries=tries, reason=reason, state=state, frame=digest)
        self.problems.attempt("the list of forecasts", self._write_issues)
        then = "its frame is set aside" if aside else "it is tried again" if tries < MAX_TRIES else "it is given up"
        self.say(f"{iso_time(due.issue_time)}: failed, try {tries}: {reason}; {then}")
        return True

    def _handle_hindrance(self, due: Due, reason: str) -> None:
        """Note that a forecast cannot be written or made for no fault of its frame; it is tried again after a while."""
        self.counters.failures += 1
        self.counters.failures_in_row += 1
        self._failed_writes += 1
        self._write_again = self.clock.now() + min(FIRST_WAIT * 2 ** min(self._failed_writes - 1, 8), LAST_WAIT)
        if os.strerror(errno.ENOSPC) in reason:  # libraries add names of temporary files, which are others each time
            reason = f"the disk is full ({os.strerror(errno.ENOSPC)})"
        problem = f"the forecast of {iso_time(due.issue_time)} cannot be written: {reason}"
        self.problems.note("write", problem)
        if self.replay:  # its clock would run on, and frames would be passed over
            self.write_status()
            raise ReplayEndedError(f"{problem}. Start the replay again: it goes on")

    # --- status -------------------------------------------------------------------------------------------------

    def write_status(self) -> None:
        """Write what monitors read."""
        now = self._status_at = self.clock.now()
        metrics = Path(self.region.watch.metrics or self.folder.path / METRICS)
        # if it fails, monitors see that the status is old, or the metrics
        self.problems.attempt("the status", lambda: write_status(self.folder.path, self._take_snapshot(now), metrics))

    def _find_passed_over(self, now: np.datetime64, since: np.datetime64) -> list[np.datetime64]:
        """Return the frames that get no forecast any more, because they are too old to catch up with."""
        oldest = min(now, self._newest() or now) - self.region.duration("catch_up")
        return [one for one in self._used if since <= one < oldest and one not in self.issues]

    def _take_snapshot(self, now: np.datetime64) -> Snapshot:
        came, waiting = self.intake.arrivals.find_frames(), self.outbox.describe()
        newest = self._newest()
        made = [one for one, record in self.issues.items() if record.state == "made"]
        since = (now if newest is None else newest) - INPUT_HISTORY
        aside = [
            f"{iso_time(one)}: {record.state}: {record.reason}"
            for one, record in self.issues.items()
            if record.state in ("set aside", "failed") and one >= since
        ]
        message = [f"a message waits: {waiting.problem}"] if waiting.problem else []
        for text in message:
            self.problems.say_once(self.region.name, text)
        self.counters.frames = self.intake.count
        return Snapshot(
            region=self.region.name,
            now=now,
            pid=os.getpid(),
            replay=self.replay,
            counters=self.counters,
            newest_frame=newest,
            newest_forecast=max(made, default=None),
            missing=find_missing(self._used, self._step(), since),
            passed_over=self._find_passed_over(now, since),
            doubled=came.doubled,
            problems=self.problems.current,
            notes=[
                *aside,
                *self._products_left_out,
                *message,
                *came.different,
                *self.intake.arrivals.find_problems(),
            ],
            waiting=waiting.count,
            dropped=waiting.dropped,
        )
