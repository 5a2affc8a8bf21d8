"""One region on one day: find the radar, forecast at every issue time, add up, store.

Files of a day that is being worked on lie in the store under ``.work/REGION/DATE/HASH/``: the day's radar and the sums
of each issue time, each written whole. A run that was killed goes on with what is there; the day's total is made at
the end from all of them, in the order of time, so it is the same bits however often the run was killed, and no case
counts twice. One run at a time works on a day: the others wait (a lock of the operating system, which a process that
dies gives back by itself).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import filelock
import numpy as np
import xarray as xr

from hybridcast.core.field import RATE, time_step
from hybridcast.core.parallel import WorkerPool
from hybridcast.forecasting import INPUT_HISTORY
from hybridcast.nightly.cases import (
    Case,
    CaseDone,
    forecast_of,
    peak_memory,
    read_case,
    read_radar_of,
    run_case,
    write_radar,
)
from hybridcast.nightly.config import RegionSettings, nowcasters_of
from hybridcast.nightly.radar import (
    DataState,
    DayRadar,
    Times,
    at_frames,
    data_state,
    find_files,
    gaps,
    read_radar,
    spans,
)
from hybridcast.nightly.records import RegionNight, State, WorstCase
from hybridcast.nightly.store import Provenance, Stored, finish_move, read_night, write_night
from hybridcast.verification.scores import fractions_skill_score

Say = Callable[[str], None]

#: How many of the worst cases are kept with their maps, and what they are judged by.
WORST = 3
WORST_LEAD = np.timedelta64(60, "m")
WORST_AT = {"threshold": 1.0, "scale": 20.0}
#: A case with less rain than this share of its points is not among the worst: a few showers are hard to place.
LEAST_WET = 0.002


@dataclass
class Costs:
    """What a run took."""

    stages: dict[str, float] = field(default_factory=dict)
    """Seconds."""
    nowcasters: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of each forecast, by nowcaster, and of the "sums" of all of them."""
    memory: float = 0.0
    """The most that one process held, MB."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time within."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - started

    def case(self, done: CaseDone) -> None:
        """Count an issue time."""
        for name, seconds in done.seconds.items():
            self.nowcasters.setdefault(name, []).append(seconds)
        self.memory = float(np.fmax(self.memory, np.fmax(done.memory, peak_memory())))


@dataclass(frozen=True)
class Job:
    """A region and a day to be done."""

    region: RegionSettings
    date: str
    store: Path
    force: bool = False

    def __str__(self) -> str:
        return f"{self.region.name} {self.date}"

    @property
    def work(self) -> Path:
        """Folder of what is being worked on."""
        return self.store / ".work" / self.region.name / self.date


def run_night(job: Job, workers: WorkerPool, costs: Costs, say: Say) -> RegionNight:
    """Verify a day, or read it if it is done already.

    Raises
    ------
    HybridcastError
        If its radar cannot be read or does not fit the settings.
    """
    started = time.perf_counter()
    with _alone(job, say):
        finish_move(job.store, job.region.name, job.date)
        with costs.stage("radar"):
            files = find_files(job.region, job.date)
            stored = read_night(job.store, job.region.name, job.date)
            known = None if stored is None else DataState(stored.provenance.data_quick, stored.provenance.data_hash)
            data = data_state(files, known)
        wanted = Provenance(job.region.fingerprint, data.content, data.quick)
        reason = _why_again(stored, wanted, job, bool(files))
        if stored is not None and not reason:
            say(f"{job}: done already ({stored.night.state})")
            return stored.night
        if reason:
            say(f"{job}: {reason}")
        night, cases = _verified(job, files, wanted, workers, costs, say)
        night = replace(night, seconds=time.perf_counter() - started)
        if stored is not None and night.done < stored.night.done and not job.force:
            say(f"{job}: stays as it was, when {stored.night.done} issue times were verified; --force replaces it")
            return stored.night
        with costs.stage("store"):
            write_night(job.store, night, wanted, cases)
            shutil.rmtree(job.work, ignore_errors=True)
        return night


@contextmanager
def _alone(job: Job, say: Say) -> Iterator[None]:
    """Wait until no other run works on the same day."""
    path = job.store / ".work" / f"{job.region.name}-{job.date}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        say(f"{job}: another run works on it; waiting")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _why_again(stored: Stored | None, wanted: Provenance, job: Job, files: bool) -> str:
    """Say why a stored day is done again; empty if it is not, or there is none."""
    if stored is None:
        return ""
    if job.force:
        return "done again, as asked"
    if stored.night.done and not files:
        return ""  # its radar was cleared away since
    if stored.provenance.settings_hash != wanted.settings_hash:
        return "done again, for its settings are not those it was done with"
    if stored.provenance.data_hash != wanted.data_hash:
        return "done again, for its radar files are not those it was done with"
    return ""


# --- the work -------------------------------------------------------------------------------------------------


def _verified(
    job: Job, files: Sequence[Path], made_for: Provenance, workers: WorkerPool, costs: Costs, say: Say
) -> tuple[RegionNight, Mapping[np.datetime64, xr.Dataset]]:
    """Return what the day gave, and the sums of each issue time."""
    wanted = job.region.issue_times(job.date)
    with costs.stage("radar"):
        radar = read_radar(job.region, job.date, list(files)) if files else None
    if radar is None:
        what = "no radar file was found" if not files else f"{len(files)} radar files hold no frame of the day"
        return _night(job, "no data", (what,), wanted.size), {}
    folder = job.work / f"{made_for.settings_hash}-{made_for.data_hash[:16]}"
    _clear_others(folder)
    times = at_frames(wanted, radar.field["time"].values)
    possible, notes = _possible(radar, times, job.region)
    with costs.stage("radar"):
        folder.mkdir(parents=True, exist_ok=True)
        write_radar(radar.field, folder / "radar.nc")
    cases = [Case(job.region, time, folder / "radar.nc", folder) for time in possible]
    _run(job, cases, workers, costs, say)
    with costs.stage("add up"):
        total, hours, found = _added_up(cases)
        worst = _worst(found, cases)
    notes = [*gaps(radar, times), *notes, *_empty(found, possible, job.date)]
    state = _state(total, notes)
    if state == "no data":
        notes.append("no issue time has anything to compare")
    night = replace(
        _night(job, state, tuple(notes), wanted.size), done=len(found), sums=total, hours=hours, worst=worst
    )
    return night, found


def _night(job: Job, state: State, notes: tuple[str, ...], expected: int) -> RegionNight:
    return RegionNight(
        region=job.region.name,
        date=job.date,
        state=state,
        notes=notes,
        expected=expected,
        done=0,
        seconds=0.0,
        nowcasters=job.region.all_nowcasters,
        sums=None,
        hours=None,
        worst=(),
    )


def _clear_others(folder: Path) -> None:
    """Remove what was made with other settings or other radar files."""
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _possible(radar: DayRadar, issue_times: Times, region: RegionSettings) -> tuple[Times, list[str]]:
    """Return the issue times at which there is something to forecast from and to compare with; and what is amiss."""
    times = radar.field["time"].values[radar.seen]
    recent = np.array([((times > t - INPUT_HISTORY) & (times <= t)).any() for t in issue_times], bool)
    after = np.array([((times > t) & (times <= t + region.lead_ns)).any() for t in issue_times], bool)
    late = recent & after & ~np.isin(issue_times, times)
    step = time_step(issue_times) or np.timedelta64(1, "D")
    date = str(issue_times[0])[:10]
    notes = []
    for which, what in (
        (~recent, "without a radar frame in the two hours before"),
        (recent & ~after, "without a radar frame to compare with"),
        (late, "with a late radar, carried on from its last frame"),
    ):
        if which.any():
            notes.append(f"{_count(which, 'issue time')} {what} ({spans(issue_times[which], step, date)} UTC)")
    return issue_times[recent & after], notes


def _run(job: Job, cases: Sequence[Case], workers: WorkerPool, costs: Costs, say: Say) -> None:
    tasks = [partial(run_case, case) for case in cases]
    there = sum(case.path.is_file() for case in cases)
    if there:
        say(f"{job}: goes on, {there} of {len(cases)} issue times are there")
    done = 0

    def tell(found: CaseDone) -> None:
        nonlocal done
        done += 1
        costs.case(found)
        if done % max(1, len(cases) // 4) == 0 or done == len(cases):
            say(f"{job}: {done} of {len(cases)} issue times")

    with costs.stage("forecasts and sums"):
        workers.run(tasks, tell)


def _added_up(
    cases: Sequence[Case],
) -> tuple[xr.Dataset | None, xr.Dataset | None, dict[np.datetime64, xr.Dataset]]:
    """Add up cases in the order of time; the total, that over hours, and those cases in which anything counted."""
    total: xr.Dataset | None = None
    hours: xr.Dataset | None = None
    found: dict[np.datetime64, xr.Dataset] = {}
    for case in cases:
        sums, of_hours = read_case(case.path)
        if not float(sums["cases"].max()):
            continue
        found[case.issue_time] = sums
        total = sums if total is None else total + sums
        if of_hours is not None:
            hours = of_hours if hours is None else hours + of_hours
    bare = [None if sums is None else sums.drop_attrs() for sums in (total, hours)]
    return bare[0], bare[1], found


def _empty(found: Mapping[np.datetime64, xr.Dataset], possible: Times, date: str) -> list[str]:
    """Say at which issue times no point is known to all."""
    empty = np.array([time not in found for time in possible], bool)
    step = time_step(possible) or np.timedelta64(1, "D")
    what = f"{_count(empty, 'issue time')} without any point that the radar and all nowcasters know"
    return [f"{what} ({spans(possible[empty], step, date)} UTC)"] if empty.any() else []


def _state(total: xr.Dataset | None, notes: Sequence[str]) -> State:
    if total is None:
        return "no data"
    if notes:
        return "partial"
    rain = total[["hits", "misses", "false_alarms"]].isel(threshold=0).to_array().sum()
    return "good" if float(rain) else "dry"


def _count(which: np.typing.NDArray[np.bool_], what: str) -> str:
    return f"1 {what}" if which.sum() == 1 else f"{which.sum()} {what}s"


# --- worst cases ----------------------------------------------------------------------------------------------


def _worst(found: Mapping[np.datetime64, xr.Dataset], cases: Sequence[Case]) -> tuple[WorstCase, ...]:
    """Return the cases with the lowest fractions skill score of the first nowcaster, with their maps."""
    scored = []
    by_time = {case.issue_time: case for case in cases}
    for issue_time, sums in found.items():
        leads = sums["lead_time"].values
        lead = leads[np.argmin(np.abs(leads - WORST_LEAD))]
        nowcaster = by_time[issue_time].region.all_nowcasters[0]
        here = sums.sel({"nowcaster": nowcaster, "lead_time": lead, **WORST_AT})
        score = float(fractions_skill_score(here))
        wet = float(here["hits"] + here["misses"])
        if np.isfinite(score) and wet > LEAST_WET * float(here["count"]):
            scored.append((score, issue_time, lead, nowcaster))
    return tuple(
        _with_maps(by_time[time], score, lead, nowcaster) for score, time, lead, nowcaster in sorted(scored)[:WORST]
    )


def _with_maps(case: Case, score: float, lead: np.timedelta64, nowcaster: str) -> WorstCase:
    radar = read_radar_of(case)
    made = forecast_of(case, nowcasters_of(case.region)[nowcaster], radar)
    return WorstCase(
        issue_time=case.issue_time,
        lead_time=lead,
        nowcaster=nowcaster,
        score=score,
        forecast=made[RATE].sel(lead_time=lead).reset_coords(drop=True),
        observed=radar.sel(time=case.issue_time + lead).reset_coords(drop=True),
    )
