"""The nightly run: all regions, one day after the other; then the alarm and the report of each day."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hybridcast.core.parallel import WorkerPool
from hybridcast.errors import HybridcastError, InputError
from hybridcast.nightly.alarm import judge, write_alarms
from hybridcast.nightly.config import NightlySettings, RegionSettings, check_known
from hybridcast.nightly.days import dates_of
from hybridcast.nightly.records import RegionNight
from hybridcast.nightly.report import write_night
from hybridcast.nightly.store import history, read_night
from hybridcast.nightly.verify_day import Costs, Job, Say, run_night

log = logging.getLogger(__name__)

GOOD, FAILED, ALARM = 0, 1, 3
"""Exit statuses; 2 is that of a wrong configuration."""


@dataclass
class Outcome:
    """What a run gave."""

    nights: list[RegionNight] = field(default_factory=list)
    reports: list[Path] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    """Messages of the skill alarms."""
    broken: list[str] = field(default_factory=list)
    """What went wrong beside regions that failed."""
    costs: Costs = field(default_factory=Costs)

    @property
    def status(self) -> int:
        """The exit status; a failure comes before an alarm."""
        if self.broken or any(night.state == "failed" for night in self.nights):
            return FAILED
        return ALARM if self.alarms else GOOD


def jobs_of(
    settings: NightlySettings, dates: Sequence[str] = (), regions: Sequence[str] = (), *, force: bool = False
) -> dict[str, list[Job]]:
    """Return what is to be done, by date.

    Parameters
    ----------
    dates
        Days or ranges of days; by default the days of a region that is an archive, and yesterday (UTC) of all others.
    regions
        Names; by default all.

    Raises
    ------
    InputError
        If a date is none, a region is not known, or no region has any of the dates.
    """
    for name in regions:
        check_known(name, [region.name for region in settings.region], "region")
    chosen = [region for region in settings.region if not regions or region.name in regions]
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")

    def days(region: RegionSettings) -> list[str]:
        if dates:
            return [day for text in dates for day in dates_of(text) if region.has(day)]
        return dates_of(region.dates or yesterday)

    jobs: dict[str, list[Job]] = {}
    for region in chosen:
        for day in dict.fromkeys(days(region)):
            jobs.setdefault(day, []).append(Job(region, day, Path(settings.store), force))
    if not jobs:
        spans = ", ".join(f"{region.name}: {region.dates}" for region in chosen)
        raise InputError(f"date {' '.join(dates)}", f"a region has that day ({spans})", "Choose another date")
    return dict(sorted(jobs.items()))


def run(settings: NightlySettings, jobs: dict[str, list[Job]], workers: WorkerPool, say: Say) -> Outcome:
    """Run all jobs; a region that fails does not stop the others, nor the report.

    Parameters
    ----------
    jobs
        As `jobs_of` gives them.
    workers
        Who makes the forecasts.
    say
        Told in a line what is happening.
    """
    outcome = Outcome()
    for date, of_date in jobs.items():
        nights = [_one(job, workers, outcome.costs, say) for job in of_date]
        outcome.nights += nights
        try:
            with outcome.costs.stage("report"):
                _report(settings, date, [*nights, *_others(settings, date, nights)], outcome)
        except Exception as error:  # the sums are stored, and the days to come may do better
            log.debug("report of %s", date, exc_info=True)
            outcome.broken.append(f"the report of {date} could not be written: {_words(error)}")
            say(outcome.broken[-1])
    return outcome


def _one(job: Job, workers: WorkerPool, costs: Costs, say: Say) -> RegionNight:
    try:
        night = run_night(job, workers, costs, say)
    except Exception as error:  # whatever is wrong with one region, the others have their night
        log.debug("%s failed", job, exc_info=True)
        say(f"{job}: failed: {_words(error)}")
        return RegionNight(
            region=job.region.name,
            date=job.date,
            state="failed",
            notes=(_words(error),),
            expected=job.region.issue_times(job.date).size,
            done=0,
            seconds=0.0,
            nowcasters=job.region.all_nowcasters,
            sums=None,
            hours=None,
            worst=(),
        )
    say(f"{job}: {night.state}, {night.done} of {night.expected} issue times, {night.seconds:.0f} s")
    for note in night.notes:
        say(f"{job}: {note}")
    return night


def _others(settings: NightlySettings, date: str, nights: Sequence[RegionNight]) -> list[RegionNight]:
    """Read what the store has of regions that were not run this time: the page of a night shows all of them."""
    done = {night.region for night in nights}
    left = [region for region in settings.region if region.name not in done and region.has(date)]
    found = [read_night(settings.store, region.name, date) for region in left]
    return [stored.night for stored in found if stored is not None]


def _report(settings: NightlySettings, date: str, nights: list[RegionNight], outcome: Outcome) -> None:
    days = settings.alarm.nights + 1  # this one too
    before = history(settings.store, [night.region for night in nights], until=date, days=days)
    judged = judge(nights, before, settings.alarm, baseline=settings.baseline)
    folder = Path(settings.report)
    folder.mkdir(parents=True, exist_ok=True)
    write_alarms(folder / f"{date}.alarm.json", judged)
    outcome.alarms += [one.message for one in judged if one.raised]
    outcome.reports.append(
        write_night(nights, before, folder, baseline=settings.baseline, judged=judged, settings=settings.alarm)
    )


def _words(error: Exception) -> str:
    """Say in one line what went wrong."""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    expected = isinstance(error, HybridcastError | OSError)
    return " ".join(f"{'' if expected else f'unexpected {type(error).__name__}: '}{error}{notes}".split())
