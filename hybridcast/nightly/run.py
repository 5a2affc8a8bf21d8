"""The nightly run: all regions, day after day; then the alarm and the report of each day."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hybridcast.core.parallel import WorkerPool, describe_error
from hybridcast.errors import InputError
from hybridcast.nightly.alarm import judge, write_alarms
from hybridcast.nightly.config import NightlySettings, RegionSettings
from hybridcast.nightly.days import parse_dates
from hybridcast.nightly.records import RegionNight
from hybridcast.nightly.report import write_night_page
from hybridcast.nightly.store import read_day, read_history
from hybridcast.nightly.verify_day import Costs, Job, Notify, make_empty_night, verify_day
from hybridcast.registry import require_installed
from hybridcast.settings import check_known

log = logging.getLogger(__name__)

GOOD, FAILED, ALARM = 0, 1, 3
"""Exit statuses; 2 is that of a wrong configuration."""


@dataclass
class Outcome:
    """The outcome of a run."""

    nights: list[RegionNight] = field(default_factory=list)
    """The nights of all days and regions."""
    reports: list[Path] = field(default_factory=list)
    """Pages of the report."""
    alarms: list[str] = field(default_factory=list)
    """Messages of the skill alarms."""
    broken: list[str] = field(default_factory=list)
    """Messages of errors apart from those of failed regions."""
    costs: Costs = field(default_factory=Costs)

    @property
    def status(self) -> int:
        """The exit status; a failure comes before an alarm."""
        if self.broken or any(night.state == "failed" for night in self.nights):
            return FAILED
        return ALARM if self.alarms else GOOD


def plan_jobs(
    settings: NightlySettings, dates: Sequence[str] = (), regions: Sequence[str] = (), *, force: bool = False
) -> dict[str, list[Job]]:
    """Return the jobs of a run, by date.

    Parameters
    ----------
    settings
        The configuration.
    dates
        Days or ranges of days. By default all days of the regions that are archives, and yesterday (UTC) for others.
    regions
        Names of the regions; by default all.
    force
        Whether days that are done are done again.

    Raises
    ------
    InputError
        If a date cannot be read, a region is not configured, or no region has any of the dates.
    DependencyError
        If a nowcaster of a region is of pysteps, and pysteps is not installed.
    """
    for name in regions:
        check_known(name, [region.name for region in settings.region], "region")
    chosen = [region for region in settings.region if not regions or region.name in regions]
    require_installed(name for region in chosen for name in region.all_nowcasters)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")

    def days(region: RegionSettings) -> list[str]:
        if dates:
            return [day for text in dates for day in parse_dates(text) if region.runs_on(day)]
        return parse_dates(region.dates or yesterday)

    jobs: dict[str, list[Job]] = {}
    for region in chosen:
        for day in dict.fromkeys(days(region)):
            jobs.setdefault(day, []).append(Job(region, day, Path(settings.store), force))
    if not jobs:
        spans = ", ".join(f"{region.name}: {region.dates}" for region in chosen)
        raise InputError(f"date {' '.join(dates)}", f"a region has that day ({spans})", "Choose another date")
    return dict(sorted(jobs.items()))


def run(settings: NightlySettings, jobs: dict[str, list[Job]], workers: WorkerPool, notify: Notify) -> Outcome:
    """Run all jobs. A region that fails stops neither the others nor the report.

    Parameters
    ----------
    settings
        The configuration.
    jobs
        Jobs by date, as `plan_jobs` returns them.
    workers
        Processes that make the forecasts.
    notify
        Function that is called with lines about the progress.
    """
    outcome = Outcome()
    for date, jobs_of_date in jobs.items():
        nights = [_run_job(job, workers, outcome.costs, notify) for job in jobs_of_date]
        outcome.nights += nights
        try:
            with outcome.costs.stage("report"):
                _report(settings, date, [*nights, *_read_other_regions(settings, date, nights)], outcome)
        except Exception as error:  # the statistics are stored, and later days may succeed
            log.debug("report of %s", date, exc_info=True)
            outcome.broken.append(f"the report of {date} could not be written: {describe_error(error)}")
            notify(outcome.broken[-1])
    return outcome


def _run_job(job: Job, workers: WorkerPool, costs: Costs, notify: Notify) -> RegionNight:
    try:
        night = verify_day(job, workers, costs, notify)
    except Exception as error:  # the other regions are run in any case
        log.debug("%s failed", job, exc_info=True)
        notify(f"{job}: failed: {describe_error(error)}")
        return make_empty_night(job, "failed", [describe_error(error)])
    notify(f"{job}: {night.state}, {night.done} of {night.expected} issue times, {night.seconds:.0f} s")
    for note in night.notes:
        notify(f"{job}: {note}")
    return night


def _read_other_regions(settings: NightlySettings, date: str, nights: Sequence[RegionNight]) -> list[RegionNight]:
    """Return the stored nights of regions that were not run now: the page of a night shows all regions."""
    done = {night.region for night in nights}
    others = [region for region in settings.region if region.name not in done and region.runs_on(date)]
    found = [read_day(settings.store, region.name, date) for region in others]
    return [stored.night for stored in found if stored is not None]


def _report(settings: NightlySettings, date: str, nights: list[RegionNight], outcome: Outcome) -> None:
    days = settings.alarm.nights + 1  # this day too
    history = read_history(settings.store, [night.region for night in nights], until=date, days=days)
    judgements = judge(nights, history, settings.alarm, baseline=settings.baseline)
    folder = Path(settings.report)
    folder.mkdir(parents=True, exist_ok=True)
    write_alarms(folder / f"{date}.alarm.json", judgements)
    outcome.alarms += [judgement.message for judgement in judgements if judgement.raised]
    page = write_night_page(
        nights, history, folder, baseline=settings.baseline, judgements=judgements, settings=settings.alarm
    )
    outcome.reports.append(page)
