"""One region on one day: find the radar, forecast at every issue time, add up the statistics, store them.

The files of a day in progress are in the store under ``.work/REGION/DATE/HASH/``: the day's radar and the statistics of
each issue time, each of which appears only when it is complete. A run that was killed continues with the files that
exist. The total of the day is computed at the end from all of them, in the order of time, so it has the same bits
however often the run was killed, and no case counts twice. Only one run at a time works on a day and the others wait,
by means of a lock of the operating system, which is released when its process dies.
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

from hybridcast.core.field import RATE
from hybridcast.core.memory import measure_peak_memory
from hybridcast.core.parallel import WorkerPool
from hybridcast.core.time_steps import time_step
from hybridcast.core.types import Mask
from hybridcast.forecasting import INPUT_HISTORY
from hybridcast.nightly.cases import (
    CaseCosts,
    NightlyCase,
    make_forecast,
    read_case_radar,
    read_case_statistics,
    run_case,
    write_day_radar,
)
from hybridcast.nightly.config import RegionSettings, make_nowcasters
from hybridcast.nightly.radar import (
    DataFingerprint,
    DayRadar,
    Times,
    align_to_frames,
    compute_data_fingerprint,
    describe_gaps,
    find_files,
    find_gauge_files,
    format_times,
    read_radar,
)
from hybridcast.nightly.records import RegionNight, State, WorstCase
from hybridcast.nightly.store import Provenance, StoredDay, commit_day, read_day, write_day
from hybridcast.nightly.warnings import score_places
from hybridcast.verification.scores import fractions_skill_score

Notify = Callable[[str], None]
"""Function that is called with a line about the progress of the run."""

MAX_WORST_CASES = 3
"""Maximum number of worst cases that are stored with their maps."""
WORST_LEAD = np.timedelta64(60, "m")
"""Lead time at which the worst cases are found; the nearest one counts."""
WORST_LABELS = {"threshold": 1.0, "scale": 20.0}
"""Threshold (mm h-1) and scale (km) of the score by which the worst cases are found."""
MIN_WET_FRACTION = 0.002
"""Minimum fraction of wet points of a worst case: a few showers are hard to locate."""


@dataclass
class Costs:
    """Time and memory of a run."""

    stages: dict[str, float] = field(default_factory=dict)
    """Duration of each stage, s."""
    case_seconds: dict[str, list[float]] = field(default_factory=dict)
    """Durations of the forecasts of each nowcaster, and of the "statistics" of all of them, for each issue time, s."""
    memory: float = 0.0
    """Peak memory of a process, MB."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of the ``with`` block to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - started

    def add_case(self, case: CaseCosts) -> None:
        """Add the costs of an issue time."""
        for name, seconds in case.seconds.items():
            self.case_seconds.setdefault(name, []).append(seconds)
        self.memory = float(np.fmax(self.memory, np.fmax(case.memory, measure_peak_memory())))


@dataclass(frozen=True)
class Job:
    """A region and a day to verify."""

    region: RegionSettings
    date: str
    """The day, UTC, such as ``2018-05-12``."""
    store: Path
    """Folder of the store."""
    force: bool = False
    """Whether a day that is done is done again."""

    def __str__(self) -> str:
        return f"{self.region.name} {self.date}"

    @property
    def work(self) -> Path:
        """Folder of the files in progress."""
        return self.store / ".work" / self.region.name / self.date


def verify_day(job: Job, workers: WorkerPool, costs: Costs, notify: Notify) -> RegionNight:
    """Verify a day, or read it from the store if it is done already.

    Raises
    ------
    HybridcastError
        If its radar cannot be read or does not fit the settings.
    """
    started = time.perf_counter()
    with _day_lock(job, notify):
        commit_day(job.store, job.region.name, job.date)
        with costs.stage("radar"):
            files = find_files(job.region, job.date)
            stored = read_day(job.store, job.region.name, job.date)
            known = (
                None if stored is None else DataFingerprint(stored.provenance.data_quick, stored.provenance.data_hash)
            )
            data = compute_data_fingerprint([*files, *find_gauge_files(job.region, job.date)], known)
        provenance = Provenance(job.region.fingerprint, data.content, data.quick)
        reason = None if stored is None else _redo_reason(stored, provenance, job, bool(files))
        if stored is not None and reason is None:
            notify(f"{job}: done already ({stored.night.state})")
            return stored.night
        if reason is not None:
            notify(f"{job}: {reason}")
        night, cases = _verify(job, files, provenance, workers, costs, notify)
        night = replace(night, seconds=time.perf_counter() - started)
        if stored is not None and night.done < stored.night.done and not job.force:
            verified = f"{stored.night.done} issue times were verified"
            notify(f"{job}: stays as it was, when {verified}; --force replaces it")
            return stored.night
        with costs.stage("store"):
            write_day(job.store, night, provenance, cases)
            shutil.rmtree(job.work, ignore_errors=True)
        return night


def make_empty_night(job: Job, state: State, notes: Sequence[str]) -> RegionNight:
    """Return the night of a day of which nothing was verified."""
    return RegionNight(
        region=job.region.name,
        date=job.date,
        state=state,
        notes=tuple(notes),
        expected=job.region.issue_times(job.date).size,
        done=0,
        seconds=0.0,
        nowcasters=job.region.all_nowcasters,
        statistics=None,
        hourly=None,
        worst=(),
    )


@contextmanager
def _day_lock(job: Job, notify: Notify) -> Iterator[None]:
    """Wait until no other run works on the same day, and keep others from it."""
    path = job.store / ".work" / f"{job.region.name}-{job.date}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        notify(f"{job}: another run works on it; waiting")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _redo_reason(stored: StoredDay, provenance: Provenance, job: Job, has_files: bool) -> str | None:
    """Return why a stored day is done again; None if it is not."""
    if job.force:
        return "done again, as asked"
    if stored.night.done and not has_files:
        return None  # its radar was deleted since
    if stored.provenance.settings_hash != provenance.settings_hash:
        return "done again, for its settings are not those it was done with"
    if stored.provenance.data_hash != provenance.data_hash:
        return "done again, for its radar files are not those it was done with"
    return None


# --- the work -------------------------------------------------------------------------------------------------


def _verify(
    job: Job, files: Sequence[Path], provenance: Provenance, workers: WorkerPool, costs: Costs, notify: Notify
) -> tuple[RegionNight, Mapping[np.datetime64, xr.Dataset]]:
    """Return the night, and the statistics of each issue time."""
    with costs.stage("radar"):
        radar = read_radar(job.region, job.date, list(files)) if files else None
    if radar is None:
        note = f"{len(files)} radar files hold no frame of the day" if files else "no radar file was found"
        return make_empty_night(job, "no data", [note]), {}
    folder = job.work / f"{provenance.settings_hash}-{provenance.data_hash[:16]}"
    _remove_other_work(folder)
    times = align_to_frames(job.region.issue_times(job.date), radar.field["time"].values)
    usable, notes = _select_issue_times(radar, times, job.region)
    with costs.stage("radar"):
        folder.mkdir(parents=True, exist_ok=True)
        write_day_radar(radar.field, folder / "radar.nc")
    cases = [NightlyCase(job.region, time, folder / "radar.nc", folder) for time in usable]
    _run_cases(job, cases, workers, costs, notify)
    with costs.stage("add up"):
        total, hourly, by_case = _add_cases(cases)
        gauges = find_gauge_files(job.region, job.date)
        at_places = score_places(job.region, [case.places_path for case in cases], radar.field, gauges)
        worst = _find_worst_cases(by_case, cases)
    notes = [*describe_gaps(radar, times), *notes, *_describe_empty_cases(by_case, usable, job.date)]
    state = _classify_day(total, notes)
    if state == "no data":
        notes.append("no issue time has anything to compare")
    night = make_empty_night(job, state, notes)
    return replace(night, done=len(by_case), statistics=total, hourly=hourly, warnings=at_places, worst=worst), by_case


def _remove_other_work(folder: Path) -> None:
    """Remove the files made with other settings or from other radar files."""
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _select_issue_times(radar: DayRadar, issue_times: Times, region: RegionSettings) -> tuple[Times, list[str]]:
    """Return the issue times with frames before and after them, and notes about the others and about late radar."""
    times = radar.field["time"].values[radar.has_data]
    before = np.array([((times > t - INPUT_HISTORY) & (times <= t)).any() for t in issue_times], bool)
    after = np.array([((times > t) & (times <= t + region.lead_ns)).any() for t in issue_times], bool)
    late = before & after & ~np.isin(issue_times, times)
    step = time_step(issue_times) or np.timedelta64(1, "D")
    date = str(issue_times[0])[:10]
    notes = []
    for selected, problem in (
        (~before, "without a radar frame in the two hours before"),
        (before & ~after, "without a radar frame to compare with"),
        (late, "with a late radar, carried on from its last frame"),
    ):
        if selected.any():
            spans = format_times(issue_times[selected], step, date)
            notes.append(f"{_count_issue_times(selected)} {problem} ({spans} UTC)")
    return issue_times[before & after], notes


def _run_cases(job: Job, cases: Sequence[NightlyCase], workers: WorkerPool, costs: Costs, notify: Notify) -> None:
    tasks = [partial(run_case, case) for case in cases]
    existing = sum(case.path.is_file() for case in cases)
    if existing:
        notify(f"{job}: continues, {existing} of {len(cases)} issue times are done")
    finished = 0

    def done(case: CaseCosts) -> None:
        nonlocal finished
        finished += 1
        costs.add_case(case)
        if finished % max(1, len(cases) // 4) == 0 or finished == len(cases):
            notify(f"{job}: {finished} of {len(cases)} issue times")

    with costs.stage("forecasts and statistics"):
        workers.run(tasks, done)


def _add_cases(
    cases: Sequence[NightlyCase],
) -> tuple[xr.Dataset | None, xr.Dataset | None, dict[np.datetime64, xr.Dataset]]:
    """Return the total over the cases in the order of time, that of whole hours, and the cases with a valid point."""
    total: xr.Dataset | None = None
    total_hourly: xr.Dataset | None = None
    by_case: dict[np.datetime64, xr.Dataset] = {}
    for case in cases:
        statistics, hourly = read_case_statistics(case.path)
        if not float(statistics["cases"].max()):
            continue
        by_case[case.issue_time] = statistics
        total = statistics if total is None else total + statistics
        if hourly is not None:
            total_hourly = hourly if total_hourly is None else total_hourly + hourly
    bare = [None if part is None else part.drop_attrs() for part in (total, total_hourly)]
    return bare[0], bare[1], by_case


def _describe_empty_cases(by_case: Mapping[np.datetime64, xr.Dataset], issue_times: Times, date: str) -> list[str]:
    """Return a note about the issue times without a point known to the radar and all nowcasters."""
    empty = np.array([time not in by_case for time in issue_times], bool)
    if not empty.any():
        return []
    spans = format_times(issue_times[empty], time_step(issue_times) or np.timedelta64(1, "D"), date)
    return [f"{_count_issue_times(empty)} without any point that the radar and all nowcasters know ({spans} UTC)"]


def _classify_day(total: xr.Dataset | None, notes: Sequence[str]) -> State:
    if total is None:
        return "no data"
    if notes:
        return "partial"
    rain = total[["hits", "misses", "false_alarms"]].isel(threshold=0).to_array().sum()
    return "good" if float(rain) else "dry"


def _count_issue_times(selected: Mask) -> str:
    count = int(selected.sum())
    return "1 issue time" if count == 1 else f"{count} issue times"


# --- worst cases ----------------------------------------------------------------------------------------------


def _find_worst_cases(
    by_case: Mapping[np.datetime64, xr.Dataset], cases: Sequence[NightlyCase]
) -> tuple[WorstCase, ...]:
    """Return the cases with the lowest fractions skill score of the first nowcaster, with their maps."""
    by_time = {case.issue_time: case for case in cases}
    scored = []
    for issue_time, statistics in by_case.items():
        leads = statistics["lead_time"].values
        lead = leads[np.argmin(np.abs(leads - WORST_LEAD))]
        nowcaster = by_time[issue_time].region.all_nowcasters[0]
        selected = statistics.sel({"nowcaster": nowcaster, "lead_time": lead, **WORST_LABELS})
        score = float(fractions_skill_score(selected))
        wet = float(selected["hits"] + selected["misses"])
        if np.isfinite(score) and wet > MIN_WET_FRACTION * float(selected["count"]):
            scored.append((score, issue_time, lead, nowcaster))
    worst = sorted(scored)[:MAX_WORST_CASES]
    return tuple(_make_worst_case(by_time[time], score, lead, nowcaster) for score, time, lead, nowcaster in worst)


def _make_worst_case(case: NightlyCase, score: float, lead: np.timedelta64, nowcaster: str) -> WorstCase:
    """Repeat the forecast of a case for its map."""
    radar = read_case_radar(case)
    result = make_forecast(case, make_nowcasters(case.region)[nowcaster], radar)
    return WorstCase(
        issue_time=case.issue_time,
        lead_time=lead,
        nowcaster=nowcaster,
        score=score,
        forecast=result[RATE].sel(lead_time=lead).reset_coords(drop=True),
        observed=radar.sel(time=case.issue_time + lead).reset_coords(drop=True),
    )
