"""Contribution of gauges: forecasts from radar with and without adjustment, scored at gauges that were held out.

`ablation.held_out` describes how gauges are held out. The forecasts are also scored on the grid, adjusted by all
gauges, against the unadjusted radar. The adjustment moves rates away from the unadjusted radar, which costs skill where
the unadjusted radar is the reference.

The offset between the clocks of radar and gauges is estimated once over the whole archive, from all gauges, and used
for the adjustment and for the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ablation.formatting import format_change, format_values
from ablation.held_out import LEADS, SOURCES, THRESHOLDS, GaugeArchive, HeldOutSettings, forecast_held_out
from hybridcast.core.field import RATE
from hybridcast.core.forecast_schema import PROBABILITY
from hybridcast.core.time_steps import iso_time, regular_times
from hybridcast.core.types import MINUTE
from hybridcast.datasets import Event, fetch, issue_times
from hybridcast.errors import InputError
from hybridcast.fusion.hybrid import load_hybrid
from hybridcast.learned.trained_model import DEFAULT
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.radar import open_radar
from hybridcast.stations import open_stations
from hybridcast.stations.clock import clock_offset
from hybridcast.stations.collocation import NO_OFFSET
from hybridcast.stations.quality import quality_control
from hybridcast.stations.schema import get_interval
from hybridcast.verification import scores
from hybridcast.verification.evaluation import Progress
from hybridcast.verification.significance import MIN_DAYS, paired_difference
from hybridcast.verification.statistics import common_mask, compute_statistics

PLACES = ("gauges", "grid")
#: Scores, and whether higher or lower values are better; neither holds for the mean error.
BETTER = {"MAE": "lower", "RMSE": "lower", "bias": "", "CSI 1": "higher"}
BETTER |= {f"Brier {threshold:g}": "lower" for threshold in THRESHOLDS}


@dataclass(frozen=True)
class GaugeSet:
    """A data set with radar and gauges."""

    name: str
    """Name in the registry of data sets."""
    gauges: str = "*gauge*"
    """Pattern of the names of the gauge files."""
    trained_on: str | None = None
    """Region of the package's events that contains its radar; it is forecast by a model trained without this region."""


GAUGE_SETS = (
    GaugeSet("openmrg-20150722"),
    GaugeSet("openmrg-20150827"),
    GaugeSet("openrainer-20220917", gauges="*AWS*", trained_on="openrainer"),
)
#: Regions for which a model trained without them is needed.
REGIONS = tuple(one.trained_on for one in GAUGE_SETS if one.trained_on)


def evaluate_gauges(models: Mapping[str, Path], *, cases: int = 40, progress: Progress | None = None) -> dict[str, Any]:
    """Score forecasts with and without gauges on the real data sets that have both radar and gauges.

    Parameters
    ----------
    models
        Folder of a model that was trained without the region, for each of `REGIONS`. The other sets are forecast by
        the model of the package, which was not trained on them.
    cases
        Maximum number of issue times of a data set.
    progress
        Function called after each issue time.

    Returns
    -------
    dict
        Plain numbers by data set and for all of them together: the result of `summarize_scores`, the clock offset and
        the outcome of quality control.

    Raises
    ------
    FetchError
        If a data set cannot be fetched.
    """
    settings = HeldOutSettings(cases=cases)
    found: dict[str, Any] = {"lead_times_min": (LEADS / MINUTE).tolist(), "folds": settings.folds, "sets": {}}
    parts = []
    for one in GAUGE_SETS:
        archive, about = open_gauge_set(one)
        nowcaster = load_hybrid(models[one.trained_on] if one.trained_on else DEFAULT, THRESHOLDS)
        events = score_held_out(archive, nowcaster, settings, progress)
        found["sets"][one.name] = about | {"trained_without": one.trained_on} | summarize_scores(events)
        parts.append(events)
    found["together"] = summarize_scores(xr.concat(parts, "event"))
    return found


def open_gauge_set(one: GaugeSet) -> tuple[GaugeArchive, dict[str, Any]]:
    """Open a data set, and describe its gauges, its clock offset and the outcome of quality control."""
    radar = regular_times(open_radar(fetch(one.name, radar_only=True))).compute()
    stations = open_stations([path for path in fetch(one.name) if path.match(one.gauges)])
    clock = clock_offset(stations, radar)
    archive = GaugeArchive(one.name, radar, stations, NO_OFFSET if clock is None else clock.offset)
    quality = quality_control(stations, radar, offset=archive.offset)[1]
    return archive, {
        "gauge_count": stations.sizes["station"],
        "interval_min": float(get_interval(stations) / MINUTE),
        "clock_offset_min": float(archive.offset / MINUTE),
        "clock": "too little rain to compare clocks" if clock is None else str(clock),
        "quality": str(quality),
    }


# --- scores ---------------------------------------------------------------------------------------------------


def score_held_out(
    archive: GaugeArchive,
    nowcaster: Nowcaster,
    settings: HeldOutSettings | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Score forecasts with and without gauges, day by day.

    Returns
    -------
    Dataset
        Dims ``("event", "place", "source", "lead_time")``, each event being a day of the archive: the scores of
        `BETTER` (those of probabilities are NaN if `nowcaster` has none), and their sample sizes `cases`, `points` and
        `wet_points` (0.1 mm/h or more observed). Along `event` alone: `issue_times`, and `adjusted`, the number of
        issue times at which gauges changed the radar.

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
    truth = quality_control(archive.stations, archive.radar, offset=archive.offset)[0][RATE]
    totals: dict[str, xr.Dataset] = {}
    for number, issue in enumerate(issues, 1):
        day = str(issue)[:10]
        statistics = _compute_case_statistics(archive, issue, nowcaster, truth, settings)
        totals[day] = totals[day] + statistics if day in totals else statistics
        if progress is not None:
            progress(f"{archive.name} {iso_time(issue)}", number, issues.size)
    names = xr.Variable("event", [f"{archive.name} {day}" for day in totals])
    days = xr.concat([_compute_scores(statistics) for statistics in totals.values()], names)
    return days.assign_coords(day=("event", list(totals)))


def _compute_scores(statistics: xr.Dataset) -> xr.Dataset:
    wet = statistics.sel(threshold=THRESHOLDS[0], drop=True)
    found = {
        "MAE": scores.mean_absolute_error(statistics),
        "RMSE": scores.root_mean_square_error(statistics),
        "bias": scores.mean_error(statistics),
        "CSI 1": scores.csi(statistics).sel(threshold=1.0, drop=True),
    }
    brier = scores.brier_score(statistics).where(statistics["with_probabilities"] > 0)
    found |= {f"Brier {threshold:g}": brier.sel(threshold=threshold, drop=True) for threshold in THRESHOLDS}
    support = {
        "cases": statistics["cases"],
        "points": statistics["count"],
        "wet_points": wet["hits"] + wet["misses"],
    }
    return xr.Dataset(found | support | {name: statistics[name] for name in ("issue_times", "adjusted")})


def _compute_case_statistics(
    archive: GaugeArchive,
    issue: np.datetime64,
    nowcaster: Nowcaster,
    truth: xr.DataArray,
    settings: HeldOutSettings,
) -> xr.Dataset:
    """Compute the additive statistics of one issue time, dims ``("place", "source", ...)``."""
    case = forecast_held_out(archive, issue, nowcaster, settings)
    by_place = []
    for forecasts, observed in ((case.at_gauges, truth), (case.on_grid, archive.radar)):
        valid = common_mask(forecasts.values(), observed)
        by_source = [
            compute_statistics(one, observed, thresholds=THRESHOLDS, valid=valid) for one in forecasts.values()
        ]
        by_place.append(xr.concat(by_source, xr.Variable("source", list(SOURCES))))
    statistics = xr.concat(by_place, xr.Variable("place", list(PLACES)))
    return statistics.assign(
        issue_times=1.0,
        adjusted=float(case.adjusted),
        with_probabilities=float(PROBABILITY in case.on_grid[SOURCES[0]]),
    )


# --- all events -----------------------------------------------------------------------------------------------


def summarize_scores(events: xr.Dataset) -> dict[str, Any]:
    """Average the scores of days, and estimate the change by gauges with its confidence interval.

    Parameters
    ----------
    events
        Result of `score_held_out`.

    Returns
    -------
    dict
        `issue_times`, `adjusted` and `days`; and for "gauges" and "grid": `cases`, `points` and `wet_points` by lead
        time, the `mean` of each score by source and lead time, and the `difference` between radar with gauges and radar
        alone (`hybridcast.verification.significance.paired_difference`; without an interval if there are too few
        days). A missing number is None.
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


# --- tables ---------------------------------------------------------------------------------------------------


def format_gauges(found: Mapping[str, Any]) -> list[str]:
    """Format the result of `evaluate_gauges` as lines of Markdown."""
    leads = " / ".join(f"{minutes:g}" for minutes in found["lead_times_min"])
    lines = [
        f"Gauges held out ({found['folds']} folds), at {leads} min (0: the radar itself); mean over days. On the grid "
        "the unadjusted radar is the reference, from which the adjustment deviates by design.",
        "",
    ]
    for name, one in found["sets"].items():
        lines += [
            f"{name}: {one['gauge_count']} gauges, means over {one['interval_min']:g} min; {one['clock']}; "
            f"quality control: {one['quality']}." + _format_model(one["trained_without"]),
            "",
            *_format_table(one),
        ]
    return [
        *lines,
        "All data sets together.",
        "",
        *_format_table(found["together"]),
    ]


def _format_model(without: str | None) -> str:
    return f" Forecasts by a model trained without {without}." if without else ""


def _format_table(one: Mapping[str, Any]) -> list[str]:
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
            lines.append(
                _format_row(f"{place}, {source}", [format_values(here["mean"][source][name]) for name in names])
            )
        changes = [format_change(here["difference"][name]) if BETTER[name] else "" for name in names]
        lines.append(_format_row(f"{place}, change %", changes))
    pairs = [" / ".join(map(str, one["gauges"][name])) for name in ("points", "wet_points")]
    few = "" if one["days"] >= MIN_DAYS else f" No interval with fewer than {MIN_DAYS} days."
    return [*lines, "", f"Pairs at gauges {pairs[0]}, of them with rain {pairs[1]}.{few}", ""]


def _format_row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"
