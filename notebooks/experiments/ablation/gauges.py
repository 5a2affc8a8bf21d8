"""What gauges add: forecasts from radar adjusted by gauges and from radar as it is, on real data, at gauges held out.

How gauges are held out is in `ablation.held_out`. The same is scored on the grid, adjusted by all gauges,
against the radar as it then was. Adjusting moves rates away from the raw radar, and that has its price where the raw
radar is the truth.

The offset between the clocks of radar and gauges is estimated once over the whole archive, from all gauges, and taken
for adjusting and for scoring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ablation.held_out import LEADS, LEVELS, SOURCES, Archive, HeldOutSettings, forecasts_at
from ablation.words import change, short
from hybridcast.core.field import NAME, iso_time, regular_times
from hybridcast.core.forecast_schema import PROBABILITY
from hybridcast.core.types import MINUTE
from hybridcast.datasets.events import Event, issue_times
from hybridcast.datasets.registry import fetch
from hybridcast.errors import InputError
from hybridcast.fusion.hybrid import load_hybrid
from hybridcast.learned.trained_model import DEFAULT
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.radar import open_radar
from hybridcast.stations import open_stations
from hybridcast.stations.clock import ClockOffset, clock_offset
from hybridcast.stations.collocation import NO_OFFSET
from hybridcast.stations.quality import quality_control
from hybridcast.stations.schema import get_interval
from hybridcast.verification import scores
from hybridcast.verification.evaluation import Progress
from hybridcast.verification.significance import MIN_DAYS, paired_difference
from hybridcast.verification.statistics import common_mask, compute_statistics

PLACES = ("gauges", "grid")
#: Scores by name, and whether more of it is better; the mean error is neither.
BETTER = {"MAE": "lower", "RMSE": "lower", "bias": "", "CSI 1": "higher"} | {f"Brier {t:g}": "lower" for t in LEVELS}


@dataclass(frozen=True)
class GaugeSet:
    """A data set with radar and gauges."""

    name: str
    """In the registry of data sets."""
    gauges: str = "*gauge*"
    """Pattern of the names of the files of gauges."""
    trained_on: str | None = None
    """Region of the package's events that its radar is in; the model that forecasts it was trained without that."""


GAUGE_SETS = (
    GaugeSet("openmrg-20150722"),
    GaugeSet("openmrg-20150827"),
    GaugeSet("openrainer-20220917", gauges="*AWS*", trained_on="openrainer"),
)


#: Regions that a model is needed for which was trained without them.
REGIONS = tuple(one.trained_on for one in GAUGE_SETS if one.trained_on)


def gauge_ablation(models: Mapping[str, Path], *, cases: int = 40, progress: Progress | None = None) -> dict[str, Any]:
    """Forecast with and without gauges on the real data sets that have both.

    Parameters
    ----------
    models
        For each of `REGIONS` the folder of a model that was trained without it; the other sets are forecast by the
        model that comes with the package, which has not seen them.
    cases
        At most so many issue times of a data set.
    progress
        Called after each issue time.

    Returns
    -------
    dict
        Plain numbers: by data set and for all of them together, what `summary_of` gives, with the clock offset and
        what quality control has done.

    Raises
    ------
    FetchError
        If a data set is not there.
    """
    settings = HeldOutSettings(cases=cases)
    found: dict[str, Any] = {"lead_times_min": (LEADS / MINUTE).tolist(), "folds": settings.folds, "sets": {}}
    parts = []
    for one in GAUGE_SETS:
        archive, told = opened(one)
        nowcaster = load_hybrid(models[one.trained_on] if one.trained_on else DEFAULT, LEVELS)
        events = held_out_scores(archive, nowcaster, settings, progress)
        found["sets"][one.name] = told | {"trained_without": one.trained_on} | summary_of(events)
        parts.append(events)
    found["together"] = summary_of(xr.concat(parts, "event"))
    return found


def opened(one: GaugeSet) -> tuple[Archive, dict[str, Any]]:
    """Open a data set, and say in plain words what clocks and quality control have to say of it."""
    radar = regular_times(open_radar(fetch(one.name, radar_only=True))).compute()
    stations = open_stations([path for path in fetch(one.name) if path.match(one.gauges)])
    clock = clock_offset(stations, radar)
    archive = Archive(one.name, radar, stations, NO_OFFSET if clock is None else clock.offset)
    quality = quality_control(stations, radar, offset=archive.offset)[1]
    return archive, {
        "gauge_count": stations.sizes["station"],
        "interval_min": float(get_interval(stations) / MINUTE),
        "clock_offset_min": float(archive.offset / MINUTE),
        "clock": _said_of(clock),
        "quality": str(quality),
    }


def _said_of(clock: ClockOffset | None) -> str:
    return "too little rain to compare clocks" if clock is None else str(clock)


# --- scores ---------------------------------------------------------------------------------------------------


def held_out_scores(
    archive: Archive,
    nowcaster: Nowcaster,
    settings: HeldOutSettings | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Score forecasts with and without gauges, day by day.

    Returns
    -------
    Dataset
        Dims ``("event", "place", "source", "lead_time")``, an event being a day of the archive: the scores of
        `BETTER` (those of probabilities are NaN if `nowcaster` gives none), and what they rest on: `cases`, `points`,
        `wet_points` (0.1 mm/h or more observed), and along `event` alone `issue_times` and `adjusted` (issue times at
        which gauges changed anything).

    Raises
    ------
    InputError
        If no issue time has rain.
    """
    settings = settings or HeldOutSettings()
    event = Event(archive.name, archive.name, dataset=archive.name, longest=f"{int(LEADS[-1] / MINUTE)}min")
    issues = issue_times(archive.radar, event, max_count=settings.cases)
    if not issues.size:
        raise InputError(
            f"{archive.name} has no issue time with rain", "there is one at least", "Give a longer archive"
        )
    truth = quality_control(archive.stations, archive.radar, offset=archive.offset)[0][NAME]
    totals: dict[str, xr.Dataset] = {}
    for number, issue in enumerate(issues, 1):
        day = str(issue)[:10]
        sums = _case_sums(archive, issue, nowcaster, truth, settings)
        totals[day] = totals[day] + sums if day in totals else sums
        if progress is not None:
            progress(f"{archive.name} {iso_time(issue)}", number, issues.size)
    names = xr.Variable("event", [f"{archive.name} {day}" for day in totals])
    return xr.concat([_scores_of(sums) for sums in totals.values()], names).assign_coords(day=("event", list(totals)))


def _scores_of(sums: xr.Dataset) -> xr.Dataset:
    wet = sums.sel(threshold=LEVELS[0], drop=True)
    found = {
        "MAE": scores.mean_absolute_error(sums),
        "RMSE": scores.root_mean_square_error(sums),
        "bias": scores.mean_error(sums),
        "CSI 1": scores.csi(sums).sel(threshold=1.0, drop=True),
    }
    brier = scores.brier_score(sums).where(sums["with_chances"] > 0)
    found |= {f"Brier {level:g}": brier.sel(threshold=level, drop=True) for level in LEVELS}
    support = {"cases": sums["cases"], "points": sums["count"], "wet_points": wet["hits"] + wet["misses"]}
    return xr.Dataset(found | support | {name: sums[name] for name in ("issue_times", "adjusted")})


def _case_sums(
    archive: Archive, issue: np.datetime64, nowcaster: Nowcaster, truth: xr.DataArray, settings: HeldOutSettings
) -> xr.Dataset:
    """Sum up one issue time, dims ``("place", "source", ...)``."""
    case = forecasts_at(archive, issue, nowcaster, settings)
    by_place = []
    for made, observed in ((case.at_gauges, truth), (case.on_grid, archive.radar)):
        valid = common_mask(made.values(), observed)
        sums = [compute_statistics(one, observed, thresholds=LEVELS, valid=valid) for one in made.values()]
        by_place.append(xr.concat(sums, xr.Variable("source", list(SOURCES))))
    whole = xr.concat(by_place, xr.Variable("place", list(PLACES)))
    counted = {"issue_times": 1.0, "adjusted": float(case.adjusted)}
    return whole.assign(counted | {"with_chances": float(PROBABILITY in case.on_grid[SOURCES[0]])})


# --- all events -----------------------------------------------------------------------------------------------


def summary_of(events: xr.Dataset) -> dict[str, Any]:
    """Put the scores of days into plain numbers: means over days, and what gauges change, with intervals.

    Parameters
    ----------
    events
        As `held_out_scores` gives them.

    Returns
    -------
    dict
        `issue_times`, `adjusted` and `days`; and for "gauges" and "grid": `cases`, `points` and `wet_points` by lead
        time, the `mean` of each score by source and lead time, and the `difference` of radar and gauges to radar alone
        (`hybridcast.verification.significance.paired_difference`; no interval with too few days). A number that is not
        there is None.
    """
    days = [str(day) for day in events["day"].values]
    found: dict[str, Any] = {name: int(events[name].sum()) for name in ("issue_times", "adjusted")}
    found["days"] = len(set(days))
    for place in PLACES:
        here = events.sel(place=place)
        support = here[["cases", "points", "wet_points"]].isel(source=0).sum("event")
        found[place] = {
            **{str(name): values.values.astype(int).tolist() for name, values in support.items()},
            "mean": {s: {name: _plain(here[name].sel(source=s).mean("event")) for name in BETTER} for s in SOURCES},
            "difference": {name: _difference(here[name], days, better) for name, better in BETTER.items() if better},
        }
    return found


def _difference(values: xr.DataArray, days: Sequence[str], better: str) -> dict[str, Any]:
    without, with_gauges = (values.sel(source=source, drop=True) for source in SOURCES)
    found = paired_difference(with_gauges, without, days=days, better=better)  # type: ignore[arg-type]
    names = ("difference", "low", "high", "relative", "relative_low", "relative_high", "events", "days")
    return {name: _plain(found[name]) for name in names} | {"verdict": found["verdict"].values.tolist()}


def _plain(values: xr.DataArray) -> list[float | None]:
    return [round(float(value), 6) if np.isfinite(value) else None for value in values.values]


# --- words ----------------------------------------------------------------------------------------------------


def gauge_lines(found: Mapping[str, Any]) -> list[str]:
    """Write what `gauge_ablation` found as Markdown."""
    leads = " / ".join(f"{minutes:g}" for minutes in found["lead_times_min"])
    lines = [
        f"Gauges held out ({found['folds']} folds), at {leads} min (0: the radar itself); mean over days. On the grid "
        "the unadjusted radar is the reference, from which the adjustment deviates by design.",
        "",
    ]
    for name, one in found["sets"].items():
        lines += [
            f"{name}: {one['gauge_count']} gauges, means over {one['interval_min']:g} min; {one['clock']}; "
            f"quality control: {one['quality']}." + _trained(one["trained_without"]),
            "",
            *_table(one),
        ]
    return [
        *lines,
        "All data sets together.",
        "",
        *_table(found["together"]),
    ]


def _trained(without: str | None) -> str:
    return f" Forecasts by a model trained without {without}." if without else ""


def _table(one: Mapping[str, Any]) -> list[str]:
    names = list(BETTER)
    lines = [
        f"{one['issue_times']} issue times on {one['days']} days, gauges changed the radar at {one['adjusted']}.",
        "",
        f"| | {' | '.join(names)} |",
        "|" + "---|" * (len(names) + 1),
    ]
    for place in PLACES:
        here = one[place]
        for source in SOURCES:
            lines.append(_row(f"{place}, {source}", [short(here["mean"][source][name]) for name in names]))
        changes = [change(here["difference"][name]) if BETTER[name] else "" for name in names]
        lines.append(_row(f"{place}, change %", changes))
    pairs = [" / ".join(map(str, one["gauges"][name])) for name in ("points", "wet_points")]
    few = "" if one["days"] >= MIN_DAYS else f" No interval with fewer than {MIN_DAYS} days."
    return [*lines, "", f"Pairs at gauges {pairs[0]}, of them with rain {pairs[1]}.{few}", ""]


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"
