"""What gauges add: forecasts from radar adjusted by gauges and from radar as it is, on real data, at gauges held out.

At each issue time the gauges are parted into folds. For each fold the radar of the last two hours is adjusted by the
reports of all other gauges that had ended by then and passed quality control among themselves, and what is forecast
from it is read at the gauges of the fold, which it has not seen. At a lead time of 0 it is the adjusted radar itself.
A gauge's report is compared with the mean over its interval, whose frames may in part be radar and in part forecast;
the chance of a rate over the interval is the mean of the chances of its frames.

The same is scored on the grid, adjusted by all gauges, against the radar as it then was. Adjusting moves rates away
from the raw radar, and that has its price where the raw radar is the truth.

The offset between the clocks of radar and gauges is estimated once over the whole archive, from all gauges, and taken
for adjusting and for scoring.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.datasets import fetch
from hybridcast.errors import InputError
from hybridcast.evaluation import Progress
from hybridcast.events import Event, issue_times
from hybridcast.field import GRID_MAPPING, NAME, iso_time, regular_times
from hybridcast.forecasting import HISTORY, forecast
from hybridcast.fusion import trained
from hybridcast.nowcasters import Advection, Nowcaster
from hybridcast.radar import open_radar
from hybridcast.stations import known_at, open_stations, radar_at
from hybridcast.stations.adjustment import AdjustmentSettings, adjusted
from hybridcast.stations.clock import ClockOffset, clock_offset
from hybridcast.stations.contract import interval_of
from hybridcast.stations.place import NO_OFFSET
from hybridcast.stations.quality import checked_reports
from hybridcast.verification import scores
from hybridcast.verification.confidence import LEAST_DAYS, paired_difference
from hybridcast.verification.sums import PROBABILITY, common_mask, sums_of

_MINUTE = np.timedelta64(1, "m")
LEADS = np.array([0, 15, 30, 60]) * _MINUTE
LEVELS = (0.1, 1.0, 5.0)
PLACES = ("gauges", "grid")
SOURCES = ("radar", "radar and gauges")
#: Scores by name, and whether more of it is better; the mean error is neither.
BETTER = {"MAE": "lower", "RMSE": "lower", "bias": "", "CSI 1": "higher"} | {f"Brier {t:g}": "lower" for t in LEVELS}


@dataclass(frozen=True)
class GaugeSet:
    """A data set with radar and gauges."""

    name: str
    """In the registry of data sets."""
    gauges: str = "*gauge*"
    """Pattern of the names of the files of gauges."""
    seen_in_training: bool = False
    """Whether the model that comes with the package was trained on its radar; plain advection forecasts then."""


GAUGE_SETS = (
    GaugeSet("openmrg-20150722"),
    GaugeSet("openmrg-20150827"),
    GaugeSet("openrainer-20220917", gauges="*AWS*", seen_in_training=True),
)


class Archive(NamedTuple):
    """Radar and gauges that belong together."""

    name: str
    radar: xr.DataArray
    """In memory, on regular times."""
    stations: xr.Dataset
    """Reports as they came."""
    offset: np.timedelta64
    """How much later rain is at the gauges than the radar's stamps say."""


@dataclass(frozen=True)
class HeldOutSettings:
    """How gauges are held out."""

    cases: int = 40
    """At most so many issue times, evenly chosen among those with rain in the radar."""
    folds: int = 4
    seed: int = 0
    """Of the shuffle that parts the gauges, another one for each issue time."""
    adjustment: AdjustmentSettings = AdjustmentSettings()


def gauge_ablation(
    model: str | Path = "default", *, cases: int = 40, progress: Progress | None = None
) -> dict[str, Any]:
    """Forecast with and without gauges on the real data sets that have both.

    Parameters
    ----------
    model
        "default", or the folder of a trained model; OpenRainER is forecast by plain advection, since the model that
        comes with the package was trained on its radar.
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
    learned = trained(model, LEVELS)
    settings = HeldOutSettings(cases=cases)
    found: dict[str, Any] = {"lead_times_min": (LEADS / _MINUTE).tolist(), "folds": settings.folds, "sets": {}}
    parts = []
    for one in GAUGE_SETS:
        archive, told = opened(one)
        nowcaster: Nowcaster = Advection() if one.seen_in_training else learned
        events = held_out_scores(archive, nowcaster, settings, progress)
        found["sets"][one.name] = told | {"forecast_by": nowcaster.name} | summary_of(events)
        parts.append(events)
    found["together"] = summary_of(xr.concat(parts, "event"))
    return found


def opened(one: GaugeSet) -> tuple[Archive, dict[str, Any]]:
    """Open a data set, and say in plain words what clocks and quality control have to say of it."""
    radar = regular_times(open_radar(fetch(one.name, radar_only=True))).compute()
    stations = open_stations([path for path in fetch(one.name) if path.match(one.gauges)])
    clock = clock_offset(stations, radar)
    archive = Archive(one.name, radar, stations, NO_OFFSET if clock is None else clock.offset)
    quality = checked_reports(stations, radar, offset=archive.offset)[1]
    return archive, {
        "gauge_count": stations.sizes["station"],
        "interval_min": float(interval_of(stations) / _MINUTE),
        "clock_offset_min": float(archive.offset / _MINUTE),
        "clock": _said_of(clock),
        "quality": str(quality),
    }


def _said_of(clock: ClockOffset | None) -> str:
    return "too little rain to compare clocks" if clock is None else str(clock)


# --- scores ---------------------------------------------------------------------------------------------------


def held_out_scores(
    archive: Archive,
    nowcaster: Nowcaster,
    settings: HeldOutSettings = HeldOutSettings(),
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
    event = Event(archive.name, archive.name, dataset=archive.name, longest=f"{int(LEADS[-1] / _MINUTE)}min")
    issues = issue_times(archive.radar, event, most=settings.cases)
    if not issues.size:
        raise InputError(
            f"{archive.name} has no issue time with rain", "there is one at least", "Give a longer archive"
        )
    truth = checked_reports(archive.stations, archive.radar, offset=archive.offset)[0][NAME]
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


# --- one case -------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """What was forecast at one issue time."""

    at_gauges: dict[str, xr.Dataset]
    """By source: rates, and chances if there are any, dims ``("lead_time", "station")``."""
    on_grid: dict[str, xr.Dataset]
    """By source, dims ``("lead_time", "y", "x")``."""
    adjusted: bool
    """Whether the gauges changed anything on the grid."""


def forecasts_at(
    archive: Archive, issue: np.datetime64, nowcaster: Nowcaster, settings: HeldOutSettings = HeldOutSettings()
) -> Case:
    """Forecast from the radar up to `issue` as it is and adjusted; each gauge is read where it was held out."""
    recent = archive.radar.sel(time=slice(issue - HISTORY, issue))
    asked = archive.stations[[NAME]].reindex(time=issue + LEADS)
    asked.attrs = archive.stations.attrs
    as_it_is = _told(recent, nowcaster)
    by_all = _adjusted(recent, archive.stations, archive.offset, settings)
    held = []
    for fold in folds_of(archive.stations.sizes["station"], issue, settings):
        others = archive.stations.isel(station=~fold)
        field = _adjusted(recent, others, archive.offset, settings)
        told = as_it_is if field is recent else _told(field, nowcaster)
        held.append(_at_gauges(told, asked.isel(station=fold), archive.offset))
    with_gauges = xr.concat(held, "station").sel(station=asked["station"].values)
    grid = _on_grid(as_it_is, issue)
    return Case(
        dict(zip(SOURCES, (_at_gauges(as_it_is, asked, archive.offset), with_gauges), strict=True)),
        dict(
            zip(SOURCES, (grid, grid if by_all is recent else _on_grid(_told(by_all, nowcaster), issue)), strict=True)
        ),
        by_all is not recent,
    )


def folds_of(count: int, issue: np.datetime64, settings: HeldOutSettings) -> Iterator[NDArray[np.bool_]]:
    """Part `count` gauges at random: give for each fold which of them are held out."""
    generator = np.random.default_rng([settings.seed, int(issue.astype("datetime64[m]").astype(np.int64))])
    fold = generator.permutation(count) % settings.folds
    return (fold == number for number in range(settings.folds) if (fold == number).any())


def _adjusted(
    recent: xr.DataArray, stations: xr.Dataset, offset: np.timedelta64, settings: HeldOutSettings
) -> xr.DataArray:
    """Adjust by what was known at the last frame; `recent` itself where that changes nothing."""
    known = known_at(stations, recent["time"].values[-1])
    known = known.isel(time=known["time"].values >= recent["time"].values[0])
    checked, _ = checked_reports(known, recent, offset=offset)
    return adjusted(recent, checked, offset=offset, settings=settings.adjustment)[0]


def _told(recent: xr.DataArray, nowcaster: Nowcaster) -> xr.Dataset:
    """Give the frames and what is forecast from them in one row of times, with chances if there are any."""
    result = forecast(recent, lead_time=LEADS[-1], model=nowcaster)
    coords = {name: recent.coords[name] for name in ("y", "x", GRID_MAPPING) if name in recent.coords}
    times = np.concatenate([recent["time"].values, result["time"].values])
    dims = ("time", "y", "x")
    told = xr.Dataset({NAME: (dims, np.concatenate([recent.values, result[NAME].values]))}, {**coords, "time": times})
    if PROBABILITY in result:
        seen = np.stack([np.where(np.isnan(recent), np.nan, recent >= np.float32(t)) for t in LEVELS])
        chances = result[PROBABILITY].sel(threshold=list(LEVELS)).values
        told[PROBABILITY] = (("threshold", *dims), np.concatenate([seen.astype(np.float32), chances], axis=1))
        told = told.assign_coords(threshold=list(LEVELS))
    return told


def _at_gauges(told: xr.Dataset, asked: xr.Dataset, offset: np.timedelta64) -> xr.Dataset:
    """Read at the gauges: means over the intervals that end at the valid times."""
    read = xr.Dataset({NAME: radar_at(asked, told[NAME], offset=offset)})
    if PROBABILITY in told:
        chances = [radar_at(asked, told[PROBABILITY].sel(threshold=t, drop=True), offset=offset) for t in LEVELS]
        read[PROBABILITY] = xr.concat(chances, xr.Variable("threshold", list(LEVELS)))
    return _by_lead(read)


def _on_grid(told: xr.Dataset, issue: np.datetime64) -> xr.Dataset:
    return _by_lead(told.sel(time=issue + LEADS))


def _by_lead(told: xr.Dataset) -> xr.Dataset:
    return told.assign_coords(lead_time=("time", LEADS.astype("timedelta64[ns]"))).swap_dims(time="lead_time")


def _case_sums(
    archive: Archive, issue: np.datetime64, nowcaster: Nowcaster, truth: xr.DataArray, settings: HeldOutSettings
) -> xr.Dataset:
    """Sum up one issue time, dims ``("place", "source", ...)``."""
    case = forecasts_at(archive, issue, nowcaster, settings)
    by_place = []
    for made, observed in ((case.at_gauges, truth), (case.on_grid, archive.radar)):
        valid = common_mask(made.values(), observed)
        sums = [sums_of(one, observed, thresholds=LEVELS, valid=valid) for one in made.values()]
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
        (`hybridcast.verification.confidence.paired_difference`; no interval with too few days). A number that is not
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
        "the raw radar is the truth, which adjusting moves away from.",
        "",
    ]
    for name, one in found["sets"].items():
        lines += [
            f"{name}: {one['gauge_count']} gauges, means over {one['interval_min']:g} min; {one['clock']}; "
            f"quality control: {one['quality']}. Forecasts by {one['forecast_by']}.",
            "",
            *_table(one),
        ]
    return [
        *lines,
        "All of them together; chances without the sets forecast by advection.",
        "",
        *_table(found["together"]),
    ]


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
            lines.append(_row(f"{place}, {source}", [_short(here["mean"][source][name]) for name in names]))
        changes = [_change(here["difference"][name]) if BETTER[name] else "" for name in names]
        lines.append(_row(f"{place}, change %", changes))
    pairs = [" / ".join(map(str, one["gauges"][name])) for name in ("points", "wet_points")]
    few = "" if one["days"] >= LEAST_DAYS else f" No interval with fewer than {LEAST_DAYS} days."
    return [*lines, "", f"Pairs at gauges {pairs[0]}, of them with rain {pairs[1]}.{few}", ""]


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _short(values: Sequence[float | None]) -> str:
    return " / ".join("-" if value is None else f"{value:.3f}".replace("0.", ".", 1) for value in values)


def _change(difference: Mapping[str, Any]) -> str:
    shown = []
    for change, low, high in zip(*(difference[f"relative{end}"] for end in ("", "_low", "_high")), strict=True):
        interval = "" if low is None else f" [{100 * low:+.0f}, {100 * high:+.0f}]"
        shown.append("-" if change is None else f"{100 * change:+.1f}{interval}")
    return " / ".join(shown)
