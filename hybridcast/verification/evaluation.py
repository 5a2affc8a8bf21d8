"""Evaluation: many nowcasters over the cases of many events, all scored on the same points.

Each forecast and the sums of each case are files in a work folder, written whole or not at all. So a run that was
killed goes on where it was, and one more nowcaster costs its own forecasts and the sums only::

    work/cases/EVENT.json                    issue times
    work/forecasts/NOWCASTER/EVENT/TIME.nc   one forecast
    work/sums/COMPARISON/EVENT/TIME.nc       sums of all nowcasters compared, by area and nowcaster

A file says what it was made for (radar, grid, lead times, nowcaster with its settings) and is made anew where that has
changed. Changes of the code itself are not seen: delete the folder of that nowcaster then. Two runs may share a work
folder: they may do the same twice, but do not harm each other.

Scores are over two areas. **source**: the points known to all nowcasters compared; the plain advection knows a point
where the air there comes from what the radar saw. **all**: every point that the radar saw then and that the plain
advection or, where it has no source, persistence knows; a nowcaster that leaves such a point unknown is judged with
that value there, and `own_count` says how many points it filled itself. So nobody wins by silence, and one that knows
better than persistence what comes from outside is rewarded.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import NAME, iso_time
from hybridcast.core.files import digest, word, written_whole
from hybridcast.core.parallel import Done, Workers
from hybridcast.datasets.events import SPACING, Event, issue_times, load_event_radar
from hybridcast.errors import InputError
from hybridcast.forecasting import forecast, save_forecast
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.verification.cases import FALLBACK, REFERENCE, complete, read_sums, sums_of_nowcasters, write_sums
from hybridcast.verification.statistics import (
    ENSEMBLE,
    PROBABILITY,
    SCALES,
    THRESHOLDS,
    common_mask,
    exceedance,
)

NowcasterFactory = Callable[[Event], Mapping[str, Nowcaster]]
"""From an event to what is compared on it, by name; a learned nowcaster is another one for each region left out."""
Progress = Callable[[str, int, int], None]
"""Called with what was done, how many cases are done, and how many there are."""

AREAS = ("all", "source")
#: Raised when other sums are made: those of before are left alone.
SUMS = 3


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated on each event."""

    longest: str = "2h"
    """The longest lead time."""
    step: str = "30min"
    """From one lead time to the next."""
    spacing: float = SPACING
    """Size of the cells, m."""
    cases: int = 12
    """At most so many issue times of an event."""
    thresholds: tuple[float, ...] = THRESHOLDS
    scales: tuple[float, ...] = SCALES


@dataclass(frozen=True)
class Case:
    """One issue time of one event."""

    event: Event
    issue_time: np.datetime64

    @property
    def file(self) -> str:
        """Path of what belongs to it, below a folder."""
        return f"{word(self.event.name)}/{np.datetime_as_string(self.issue_time, unit='m').replace(':', '')}.nc"

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
    """Run nowcasters over the cases of `events`, and sum up each event.

    Parameters
    ----------
    events
        As `load_events` gives them.
    make_nowcasters
        What to compare on an event, by name. `Advection()` as "advection" and `Persistence()` as "persistence" are
        always among them.
    work
        Folder of the files of this run; made if it is not there.
    workers
        Processes. A worker holds the radar of one event (a day of 5 min frames on 450 x 450 cells: 230 MB) and what
        one forecast takes.
    progress
        Called after each case.

    Returns
    -------
    Dataset
        The sums of `hybridcast.verification.statistics`, added up over the cases of each event in the order of time,
        with dims ``("event", "area", "nowcaster", ...)``, the `region` of each event and its first `day`.

    Raises
    ------
    InputError
        If there is no case at all, or two names would have the same files.
    """
    settings = settings or EvaluationSettings()
    folder = Path(work).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    cases = [case for event in events for case in cases_of(event, settings, folder)]
    if not cases:
        raise InputError(
            f"none of {len(events)} events has a case",
            "an event has an issue time with rain, frames before and lead times after it",
            "Choose other events",
        )
    names = list(complete(make_nowcasters(cases[0].event)))
    _check_words([*names], "nowcasters")
    _check_words([event.name for event in events], "events")
    comparison = folder / "sums" / digest(SUMS, sorted(names), settings)
    tasks = [
        dask.delayed(_run_case)(case, make_nowcasters, settings, folder, comparison, dask_key_name=f"case-{number:06d}")
        for number, case in enumerate(cases)
    ]
    with Workers(workers) as run:
        run.run(tasks, _counting(progress, len(tasks)))
    return event_sums(cases, comparison).sel(nowcaster=names)


def cases_of(event: Event, settings: EvaluationSettings, work: Path) -> list[Case]:
    """Return the cases of an event; its radar is looked through once, and then remembered in the work folder."""
    path = work / "cases" / f"{word(event.name)}.json"
    made_for = digest(_radar_of(event), event.history, event.longest, settings.spacing, settings.cases)
    if path.is_file():
        known = json.loads(path.read_text())
        if known["made_for"] == made_for:
            return [Case(event, np.datetime64(time, "ns")) for time in known["issue_times"]]
    times = issue_times(_radar(event, settings.spacing), event, most=settings.cases)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part:
        part.write_text(json.dumps({"made_for": made_for, "issue_times": np.datetime_as_string(times).tolist()}))
    return [Case(event, time) for time in times]


def event_sums(cases: Sequence[Case], folder: Path) -> xr.Dataset:
    """Add up the sums of the cases of each event."""
    totals: dict[str, xr.Dataset] = {}
    events = {case.event.name: case for case in reversed(cases)}  # the first case of each
    for case in cases:
        sums = read_sums(folder / case.file).drop_attrs()
        name = case.event.name
        totals[name] = totals[name] + sums if name in totals else sums
    return xr.concat(
        list(totals.values()), xr.Variable("event", list(totals)), join="outer", fill_value=0.0
    ).assign_coords(
        region=("event", [events[name].event.region for name in totals]),
        day=("event", [str(events[name].issue_time)[:10] for name in totals]),
    )


# --- one case -------------------------------------------------------------------------------------------------


def _run_case(
    case: Case, make_nowcasters: NowcasterFactory, settings: EvaluationSettings, work: Path, comparison: Path
) -> str:
    """Make the forecasts that are not there yet, then the sums; say what was done."""
    nowcasters = complete(make_nowcasters(case.event))
    of_forecast = (settings.longest, settings.step, settings.spacing, settings.thresholds)
    made_for = {name: digest(_radar_of(case.event), of_forecast, nowcaster) for name, nowcaster in nowcasters.items()}
    sums_path = comparison / case.file
    everything = json.dumps(made_for, sort_keys=True)
    if sums_path.is_file() and read_sums(sums_path).attrs["made_for"] == everything:
        return f"{case}: there already"
    made = []
    for name, nowcaster in nowcasters.items():
        path = work / "forecasts" / word(name) / case.file
        if _made_for(path) != made_for[name]:
            _write_forecast(case, nowcaster, settings, path, made_for[name])
            made.append(name)
    forecasts = {name: _read(work / "forecasts" / word(name) / case.file) for name in nowcasters}
    sums = case_sums(forecasts, _radar(case.event, settings.spacing), settings)
    write_sums(sums.assign_attrs(made_for=everything), sums_path)
    return f"{case}: {', '.join(made) or 'sums only'}"


def case_sums(
    forecasts: Mapping[str, xr.Dataset], radar: xr.DataArray, settings: EvaluationSettings | None = None
) -> xr.Dataset:
    """Sums of all nowcasters of one case over both areas, dims ``("area", "nowcaster", ...)``."""
    settings = settings or EvaluationSettings()
    advected, still = forecasts[REFERENCE][NAME], forecasts[FALLBACK][NAME]
    base = advected.fillna(still)
    valid = {
        "all": common_mask([forecasts[FALLBACK].assign({NAME: base})], radar),
        "source": common_mask(forecasts.values(), radar),
    }
    parts = []
    for area in AREAS:
        wet_like = base if area == "all" else advected
        judged = {name: _filled(found, base) if area == "all" else found for name, found in forecasts.items()}
        sums = sums_of_nowcasters(
            judged,
            radar,
            thresholds=settings.thresholds,
            scales=settings.scales,
            spectra=area == "source",
            valid=valid[area],
            reference=wet_like,
        )
        own = [(found[NAME].notnull() & valid[area]).sum(("y", "x")).values for found in forecasts.values()]
        sums["own_count"] = (("nowcaster", "lead_time"), np.array(own, np.float64))
        parts.append(sums)
    return xr.concat(parts, xr.Variable("area", list(AREAS)), join="outer", fill_value=0.0)


def _filled(found: xr.Dataset, base: xr.DataArray) -> xr.Dataset:
    """Fill the unknown points of a forecast, and of its probabilities, with the rate `base`."""
    filled = found.assign({NAME: found[NAME].fillna(base)})
    if ENSEMBLE in found:
        filled[ENSEMBLE] = found[ENSEMBLE].fillna(base)
    if PROBABILITY in found:
        levels = xr.DataArray(found["threshold"].values.astype(np.float32), dims="threshold")
        filled[PROBABILITY] = found[PROBABILITY].fillna((base >= levels).where(base.notnull()).astype(np.float32))
    return filled


def _write_forecast(case: Case, nowcaster: Nowcaster, settings: EvaluationSettings, path: Path, made_for: str) -> None:
    try:
        result = forecast(
            _radar(case.event, settings.spacing),
            lead_time=settings.longest,
            step=settings.step,
            issue_time=case.issue_time,
            nowcaster=nowcaster,
        )
    except Exception as error:
        error.add_note(f"while forecasting {case} with {nowcaster.name}")
        raise
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = _kept(result, settings).assign_attrs(made_for=made_for)
    save_forecast(kept, path)


def _kept(result: xr.Dataset, settings: EvaluationSettings) -> xr.Dataset:
    """Return what is needed of a forecast; members are rounded, but their exceedances are counted before."""
    kept = result[[name for name in (NAME, PROBABILITY, ENSEMBLE) if name in result]]
    if ENSEMBLE in kept:
        members = kept[ENSEMBLE].transpose("realization", "lead_time", "y", "x")
        if PROBABILITY not in kept:
            shares = exceedance(members.values, np.asarray(settings.thresholds))
            kept[PROBABILITY] = (("threshold", "lead_time", "y", "x"), shares)
            kept = kept.assign_coords(threshold=list(settings.thresholds))
        kept[ENSEMBLE] = members.copy(data=_rounded(members.values))
    return kept


def _rounded(values: NDArray[np.float32], bits: int = 10) -> NDArray[np.float32]:
    """Keep so many bits of the mantissa (10: a part in 2000), so that they compress."""
    dropped = 23 - bits
    whole = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (whole + np.uint32(1 << (dropped - 1))) & np.uint32((0xFFFFFFFF << dropped) & 0xFFFFFFFF)
    return np.where(np.isfinite(values), rounded.view(np.float32), values)


def _read(path: Path) -> xr.Dataset:
    with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=True) as file:
        return file.load()


def _made_for(path: Path) -> str | None:
    """Read from a forecast what it was made for; None if there is none."""
    if not path.is_file():
        return None
    import h5py

    with h5py.File(path, "r") as file:
        return str(file.attrs.get("made_for", ""))


@lru_cache(maxsize=1)
def _radar(event: Event, spacing: float) -> xr.DataArray:
    return load_event_radar(event, spacing)


# --- all cases ------------------------------------------------------------------------------------------------


def _counting(progress: Progress | None, count: int) -> Done:
    """Count the tasks that are done."""
    numbers = itertools.count(1)

    def done(what: Any) -> None:
        number = next(numbers)
        if progress is not None:
            progress(str(what), number, count)

    return done


def _radar_of(event: Event) -> tuple[Any, ...]:
    """Return what says which radar an event has."""
    return event.dataset, event.radar, event.format, event.day, event.x, event.y


def _check_words(names: Sequence[str], what: str) -> None:
    """Refuse names that would share their files."""
    words = [word(name) for name in names]
    for twice in {one for one in words if words.count(one) > 1}:
        same = [name for name in names if word(name) == twice]
        raise InputError(f"{what} are named {same}", "each has files of its own name", "Rename all but one")
