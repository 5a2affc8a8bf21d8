"""Evaluation: many nowcasters over the cases of many events, all scored on the same points.

Each forecast and the statistics of each case are files in a work folder, which appear only when they are complete. So a
run that was killed continues where it stopped, and one more nowcaster costs only its own forecasts and the statistics::

    work/cases/EVENT.json                        issue times
    work/forecasts/NOWCASTER/EVENT/TIME.nc       one forecast
    work/statistics/COMPARISON/EVENT/TIME.nc     statistics of one case, by area and nowcaster

A file states what it was made for (radar, grid, lead times, nowcaster with its settings) and is made again if that has
changed. Changes of the code are not noticed: take another work folder then. Two runs may share a work
folder: they may do the same work twice, but do not harm each other.

Scores are over two areas. **source**: the points known to all nowcasters; the plain advection knows a point if the air
there comes from within radar coverage. **all**: every observed point that the plain advection or, where it has no
source, persistence knows; a nowcaster that leaves such a point unknown is judged with that value there, and `own_count`
is the number of points that it filled itself. So leaving points unknown cannot improve a score, and a nowcaster that
forecasts rain from outside the radar better than persistence does is rewarded.

Statistics of members have the dim ``accumulation``: 0 for rates, and the length in minutes of the windows for sums,
which end at the lead times: with windows of an hour, the first and the second hour are apart. Sums are those of the
nowcasters whose number of members the settings choose, over the area "source"; `hybridcast.verification.sums` tells how
they are made.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.durations import parse_duration
from hybridcast.core.field import RATE
from hybridcast.core.files import atomic_write, digest, safe_filename
from hybridcast.core.forecast_files import save_forecast
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY
from hybridcast.core.parallel import OnResult, WorkerPool
from hybridcast.core.time_steps import iso_time
from hybridcast.core.types import MINUTE
from hybridcast.datasets.events import SPACING, Event, issue_times, load_event_radar
from hybridcast.ensembles.products import WINDOW_START, exceeding_fraction
from hybridcast.errors import InputError
from hybridcast.forecasting import forecast
from hybridcast.nowcasters.base import MakesMembers, Nowcaster
from hybridcast.verification.comparison import (
    FALLBACK,
    REFERENCE,
    add_references,
    compute_nowcaster_statistics,
    read_statistics,
    write_statistics,
)
from hybridcast.verification.members import BLOCKS
from hybridcast.verification.statistics import (
    FSS_SCALES,
    STATISTICS_VERSION,
    THRESHOLDS,
    common_mask,
)
from hybridcast.verification.sums import STEP_MEANS, compute_sum_statistics, find_fine_step, mean_over_steps

NowcasterFactory = Callable[[Event], Mapping[str, Nowcaster]]
"""Function from an event to the nowcasters that are compared on it, by name.

A trained nowcaster is another object for each region, because it must not have learned from that region.
"""
Progress = Callable[[str, int, int], None]
"""Function that is called with a description of the finished case, the number of finished cases and their total."""

AREAS = ("all", "source")


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation, the same for all events."""

    lead_time: str = "2h"
    """The longest lead time."""
    step: str = "30min"
    """Interval between lead times."""
    spacing: float = SPACING
    """Size of the grid cells, m."""
    max_cases: int = 12
    """Maximum number of issue times of an event."""
    thresholds: tuple[float, ...] = THRESHOLDS
    """Rate thresholds, mm h-1."""
    scales: tuple[float, ...] = FSS_SCALES
    """Sides of the windows of the fractions skill score, km."""
    blocks: tuple[float, ...] = BLOCKS
    """Sides of the blocks on which members are judged, km."""
    members: int = 0
    """Number of members of the nowcasters that make any; with 0 each has as many as it was made with."""
    seed: int = 0
    """Seed of these members."""
    windows: tuple[str, ...] = ("30min", "1h", "2h")
    """Lengths of the windows of rain sums of these members, multiples of `step`."""


@dataclass(frozen=True)
class EvaluationCase:
    """One issue time of one event."""

    event: Event
    issue_time: np.datetime64

    @property
    def file(self) -> str:
        """Relative path of the files that belong to this case."""
        return (
            f"{safe_filename(self.event.name)}/{np.datetime_as_string(self.issue_time, unit='m').replace(':', '')}.nc"
        )

    def __str__(self) -> str:
        return f"{self.event.name} {iso_time(self.issue_time)}"


def evaluate(
    events: Sequence[Event],
    make_nowcasters: NowcasterFactory,
    *,
    work: str | Path,
    settings: EvaluationSettings | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Run nowcasters over the cases of `events`, and compute the statistics of each event.

    Parameters
    ----------
    events
        Events as `load_events` returns them.
    make_nowcasters
        Function that returns the nowcasters to compare on an event, by name. `Advection()` as "advection" and
        `Persistence()` as "persistence" are always among them.
    work
        Folder for the files of this run; created if it does not exist.
    settings
        Lead times, grid, number of cases, thresholds and scales.
    workers
        Number of processes. A worker holds the radar of one event (a day of 5 min frames on 450 x 450 cells: 230 MB)
        and the memory of one forecast.
    progress
        Function that is called after each case.

    Returns
    -------
    Dataset
        The statistics of `hybridcast.verification.statistics`, added over the cases of each event in the order of time,
        with dims ``("event", "area", "nowcaster", ...)``, the `region` of each event and its first `day`.

    Raises
    ------
    InputError
        If no event has a case, or two names would share their files.
    """
    settings = settings or EvaluationSettings()
    folder = Path(work).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    cases = [case for event in events for case in find_cases(event, settings, folder)]
    if not cases:
        raise InputError(
            f"none of {len(events)} events has a case",
            "an event has an issue time with rain, frames before and lead times after it",
            "Choose other events",
        )
    names = list(add_references(make_nowcasters(cases[0].event)))
    _check_file_names(names, "nowcasters")
    _check_file_names([event.name for event in events], "events")
    comparison = folder / "statistics" / digest(STATISTICS_VERSION, sorted(names), settings)
    tasks = [partial(_run_case, case, make_nowcasters, settings, folder, comparison) for case in cases]
    with WorkerPool(workers) as pool:
        pool.run(tasks, _count_cases(progress, len(tasks)))
    return add_cases(cases, comparison).sel(nowcaster=names)


def find_cases(event: Event, settings: EvaluationSettings, work: Path) -> list[EvaluationCase]:
    """Return the cases of an event, from its radar at the first call and from a file in the work folder later."""
    path = work / "cases" / f"{safe_filename(event.name)}.json"
    made_for = digest(_radar_identity(event), event.history, event.longest, settings.spacing, settings.max_cases)
    if path.is_file():
        stored = json.loads(path.read_text())
        if stored["made_for"] == made_for:
            return [EvaluationCase(event, np.datetime64(time, "ns")) for time in stored["issue_times"]]
    times = issue_times(_load_radar(event, settings.spacing), event, max_count=settings.max_cases)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_text(json.dumps({"made_for": made_for, "issue_times": np.datetime_as_string(times).tolist()}))
    return [EvaluationCase(event, time) for time in times]


def add_cases(cases: Sequence[EvaluationCase], folder: Path) -> xr.Dataset:
    """Return the statistics of each event, added over the files of its cases in `folder`."""
    totals: dict[str, xr.Dataset] = {}
    first_cases: dict[str, EvaluationCase] = {}
    for case in cases:
        statistics = read_statistics(folder / case.file).drop_attrs()
        name = case.event.name
        totals[name] = totals[name] + statistics if name in totals else statistics
        first_cases.setdefault(name, case)
    return xr.concat(
        list(totals.values()), xr.Variable("event", list(totals)), join="outer", fill_value=0.0
    ).assign_coords(
        region=("event", [first_cases[name].event.region for name in totals]),
        day=("event", [str(first_cases[name].issue_time)[:10] for name in totals]),
    )


# --- one case -------------------------------------------------------------------------------------------------


def _run_case(
    case: EvaluationCase,
    make_nowcasters: NowcasterFactory,
    settings: EvaluationSettings,
    work: Path,
    comparison: Path,
) -> str:
    """Make the missing forecasts and then the statistics of a case, and return a description of what was done."""
    nowcasters = _make_ensembles(add_references(make_nowcasters(case.event)), settings)
    identity = _radar_identity(case.event)
    options = (settings.lead_time, settings.step, settings.spacing, settings.thresholds)
    made_for = {
        name: digest(identity, options, nowcaster, settings.members if isinstance(nowcaster, MakesMembers) else 0)
        for name, nowcaster in nowcasters.items()
    }
    path = comparison / case.file
    made_for_all = json.dumps(made_for, sort_keys=True)
    if path.is_file() and read_statistics(path).attrs["made_for"] == made_for_all:
        return f"{case}: done already"
    files = {name: work / "forecasts" / safe_filename(name) / case.file for name in nowcasters}
    missing = [name for name, file in files.items() if _read_made_for(file) != made_for[name]]
    for name in missing:
        _write_forecast(case, nowcasters[name], settings, files[name], made_for[name])
    forecasts = {name: _read_forecast(file) for name, file in files.items()}
    statistics = compute_case_statistics(forecasts, _load_radar(case.event, settings.spacing), settings)
    write_statistics(statistics.assign_attrs(made_for=made_for_all), path)
    return f"{case}: {', '.join(missing) or 'statistics only'}"


def _make_ensembles(nowcasters: Mapping[str, Nowcaster], settings: EvaluationSettings) -> dict[str, Nowcaster]:
    """Return the nowcasters with the number of members of the settings, where they make any."""
    return {
        name: nowcaster.with_members(settings.members, settings.seed)
        if settings.members and isinstance(nowcaster, MakesMembers)
        else nowcaster
        for name, nowcaster in nowcasters.items()
    }


def compute_case_statistics(
    forecasts: Mapping[str, xr.Dataset], radar: xr.DataArray, settings: EvaluationSettings | None = None
) -> xr.Dataset:
    """Compute the statistics of all nowcasters of one case over both areas, dims ``("area", "nowcaster", ...)``."""
    settings = settings or EvaluationSettings()
    advection = forecasts[REFERENCE][RATE]
    filling = advection.fillna(forecasts[FALLBACK][RATE])
    filled = {name: _fill_unknown(result, filling) for name, result in forecasts.items()}
    everywhere = common_mask([forecasts[FALLBACK].assign({RATE: filling})], radar)
    known_to_all = common_mask(forecasts.values(), radar)
    by_area = {
        "all": (filled, everywhere, filling),
        "source": (forecasts, known_to_all, advection),
    }
    parts = []
    for area in AREAS:
        judged, valid, reference = by_area[area]
        statistics = compute_nowcaster_statistics(
            judged,
            radar,
            thresholds=settings.thresholds,
            scales=settings.scales,
            blocks=settings.blocks,
            spectra=area == "source",
            valid=valid,
            reference=reference,
        )
        own = [(result[RATE].notnull() & valid).sum(("y", "x")).values for result in forecasts.values()]
        statistics["own_count"] = (("nowcaster", "lead_time"), np.array(own, np.float64))
        parts.append(statistics)
    statistics = xr.concat(parts, xr.Variable("area", list(AREAS)), join="outer", fill_value=0.0)
    sums = compute_sum_statistics(
        forecasts, radar, valid=known_to_all, windows=settings.windows, blocks=settings.blocks
    )
    return _join_sums(statistics, sums, settings)


def _join_sums(statistics: xr.Dataset, sums: xr.Dataset | None, settings: EvaluationSettings) -> xr.Dataset:
    """Return the statistics, those of members with the dim ``accumulation``; zero where there are no sums."""
    names = [name for name in statistics if "block" in statistics[name].dims]
    parts = [statistics[names].expand_dims(accumulation=[0.0])]
    if sums is not None:
        parts.append(sums.expand_dims(area=["source"]))
    joined = xr.concat(parts, "accumulation", join="outer", fill_value=0.0)
    minutes = [parse_duration(window, "windows") / MINUTE for window in settings.windows]
    labels = {"area": statistics["area"], "nowcaster": statistics["nowcaster"], "accumulation": [0.0, *minutes]}
    return statistics.drop_vars(names).merge(joined.reindex(labels, fill_value=0.0)) if names else statistics


def _fill_unknown(result: xr.Dataset, filling: xr.DataArray) -> xr.Dataset:
    """Return a forecast whose unknown points, and their probabilities and members, are those of the rate `filling`."""
    filled = result.assign({RATE: result[RATE].fillna(filling)})
    if ENSEMBLE in result:
        filled[ENSEMBLE] = result[ENSEMBLE].fillna(filling)
    if PROBABILITY in result:
        thresholds = xr.DataArray(result["threshold"].values.astype(np.float32), dims="threshold")
        certain = (filling >= thresholds).where(filling.notnull()).astype(np.float32)
        filled[PROBABILITY] = result[PROBABILITY].fillna(certain)
    return filled


def _write_forecast(
    case: EvaluationCase, nowcaster: Nowcaster, settings: EvaluationSettings, path: Path, made_for: str
) -> None:
    try:
        radar = _load_radar(case.event, settings.spacing)
        has_sums = settings.members > 0 and isinstance(nowcaster, MakesMembers)
        fine = find_fine_step(radar, settings.step) if has_sums else None
        result = forecast(
            radar,
            lead_time=settings.lead_time,
            step=settings.step if fine is None else fine,
            issue_time=case.issue_time,
            nowcaster=nowcaster,
        )
    except Exception as error:
        error.add_note(f"while forecasting {case} with {nowcaster.name}")
        raise
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = _select_verified(result, settings)
    if fine is not None:
        kept[STEP_MEANS] = _round(mean_over_steps(result[ENSEMBLE], settings.step)).drop_vars(WINDOW_START)
    save_forecast(kept.assign_attrs(made_for=made_for), path)


def _select_verified(result: xr.Dataset, settings: EvaluationSettings) -> xr.Dataset:
    """Return what verification needs, with the exceedances of members counted before these are rounded for the file."""
    step = parse_duration(settings.step, "step")
    kept = result[[name for name in (RATE, PROBABILITY, ENSEMBLE) if name in result]]
    kept = kept.isel(lead_time=np.flatnonzero(kept["lead_time"].values % step == np.timedelta64(0)))
    if ENSEMBLE in kept and PROBABILITY not in kept:
        members = kept[ENSEMBLE].transpose("realization", "lead_time", "y", "x").compute()
        fractions = exceeding_fraction(members.values, np.asarray(settings.thresholds))
        kept = kept.assign({ENSEMBLE: members, PROBABILITY: (("threshold", *members.dims[1:]), fractions)})
        kept = kept.assign_coords(threshold=list(settings.thresholds))
    return kept


def _round(members: xr.DataArray) -> xr.DataArray:
    """Return members with a relative error of 1/2048 at most, as `save_forecast` stores them, so that they compress."""
    return members.copy(data=members.values.astype(np.float16).astype(np.float32))


def _read_forecast(path: Path) -> xr.Dataset:
    with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=True) as file:
        return file.load()


def _read_made_for(path: Path) -> str | None:
    """Return what a stored forecast was made for; None if there is no forecast."""
    if not path.is_file():
        return None
    import h5py

    with h5py.File(path, "r") as file:
        return str(file.attrs.get("made_for", ""))


@lru_cache(maxsize=1)
def _load_radar(event: Event, spacing: float) -> xr.DataArray:
    return load_event_radar(event, spacing)


# --- all cases ------------------------------------------------------------------------------------------------


def _count_cases(progress: Progress | None, total: int) -> OnResult[str]:
    """Return a function that reports each finished case with its number."""
    numbers = itertools.count(1)

    def done(description: str) -> None:
        number = next(numbers)
        if progress is not None:
            progress(description, number, total)

    return done


def _radar_identity(event: Event) -> tuple[Any, ...]:
    """Return the properties of an event that determine its radar data."""
    return event.dataset, event.radar, event.format, event.day, event.x, event.y


def _check_file_names(names: Sequence[str], what: str) -> None:
    """Raise `InputError` if two names would share their files."""
    by_file: dict[str, list[str]] = {}
    for name in names:
        by_file.setdefault(safe_filename(name), []).append(name)
    for same in by_file.values():
        if len(same) > 1:
            raise InputError(f"{what} are named {same}", "each has files of its own name", "Rename all but one")
