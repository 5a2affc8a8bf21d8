"""Tables of scores: the mean over events, the scores by region and by event, and the differences to a baseline.

Every event has the same weight, however many cases or points it has. A score is compared on the events at which all
nowcasters have one; nowcasters that have it at no event, such as those without members, are left out of this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from hybridcast.core.types import MINUTE
from hybridcast.errors import InputError
from hybridcast.verification import scores
from hybridcast.verification.significance import paired_difference

Better = Literal["higher", "lower", "one", "neither"]


@dataclass(frozen=True)
class Column:
    """One score of the tables."""

    name: str
    better: Better
    """The direction in which the score gets better; "one" if 1 is best."""
    compute: Callable[[xr.Dataset], xr.DataArray]
    """Function from statistics to the score, without the dims `threshold`, `scale` and `probability_bin`."""
    short: bool = True
    """Whether the Markdown tables have this score."""
    of_members: bool = False
    """Whether it is a score of members; such scores are left out if no nowcaster has any."""


_PLACES = {
    "": (0.0, 0.0),
    " 20 km": (0.0, 20.0),
    " 30 min, 20 km": (30.0, 20.0),
    " 1 h": (60.0, 0.0),
    " 1 h, 10 km": (60.0, 10.0),
    " 1 h, 20 km": (60.0, 20.0),
    " 1 h, 40 km": (60.0, 40.0),
    " 2 h, 20 km": (120.0, 20.0),
}
"""Length of the window of a sum, min, and side of a block, km, by the words for them in the name of a score."""
_SHOWN_PLACES = ("", " 20 km", " 1 h", " 1 h, 20 km")
#: Scores of rank histograms, which need many cases: the Markdown tables have those of all events together.
_RANKS = "reliability index"
_KINDS = (_RANKS, f"{_RANKS} of sampling")


def _select(score: Callable[[xr.Dataset], xr.DataArray], **labels: float) -> Callable[[xr.Dataset], xr.DataArray]:
    return lambda statistics: score(statistics.sel(labels)).drop_vars(list(labels))


def _brier_part(name: str) -> Callable[[xr.Dataset], xr.DataArray]:
    return lambda statistics: scores.brier_parts(statistics)[name]


def _own_fraction(statistics: xr.Dataset) -> xr.DataArray:
    return statistics["own_count"] / statistics["count"].where(statistics["count"] > 0)


def columns(statistics: xr.Dataset | None = None) -> tuple[Column, ...]:
    """Return the scores of ``hybridcast evaluate``; those that `statistics` can have, if they are given."""
    found = (*_columns_of_fields(), *_columns_of_members())
    if statistics is None or "accumulation" in statistics.dims:
        return found
    return tuple(column for column in found if not column.of_members)


def _columns_of_fields() -> list[Column]:
    found: list[Column] = []
    for threshold in (0.1, 1.0, 5.0):
        found.append(Column(f"CSI {threshold:g}", "higher", _select(scores.csi, threshold=threshold)))
        found.append(Column(f"bias {threshold:g}", "one", _select(scores.frequency_bias, threshold=threshold)))
    found += [
        Column(
            f"CSI {threshold:g}, equal area",
            "higher",
            _select(scores.csi_equal_area, threshold=threshold),
            threshold == 1.0,
        )
        for threshold in (0.1, 1.0, 5.0)
    ]
    for scale in (10.0, 20.0):
        score = _select(scores.fractions_skill_score, threshold=1.0, scale=scale)
        found.append(Column(f"FSS {scale:g} km", "higher", score))
    found += [
        Column("MAE", "lower", scores.mean_absolute_error),
        Column("RMSE", "lower", scores.root_mean_square_error),
        Column("correlation", "higher", scores.correlation, False),
    ]
    for threshold in (0.1, 1.0, 5.0):
        found.append(Column(f"Brier {threshold:g}", "lower", _select(scores.brier_score, threshold=threshold)))
        reliability = _select(_brier_part("reliability"), threshold=threshold)
        resolution = _select(_brier_part("resolution"), threshold=threshold)
        found.append(Column(f"reliability {threshold:g}", "lower", reliability))
        found.append(Column(f"resolution {threshold:g}", "higher", resolution, False))
    found += [Column("CRPS", "lower", scores.crps), Column("own fraction", "neither", _own_fraction, False)]
    found += [
        Column(f"power {name} km", "one", _select(scores.spectral_ratio, wavelength=centre), False)
        for name, centre in (("8-16", 11.314), ("32-64", 45.255))
    ]
    return found


def _columns_of_members() -> list[Column]:
    judged: tuple[tuple[str, Better, Callable[[xr.Dataset], xr.DataArray]], ...] = (
        ("fair CRPS", "lower", scores.fair_crps),
        ("spread/error", "one", scores.spread_to_error),
        (_KINDS[0], "lower", scores.reliability_index),
        (_KINDS[1], "neither", scores.reliability_index_of_sampling),
    )
    found = [
        Column(
            name + place,
            better,
            _select(score, accumulation=accumulation, block=block),
            short=place in _SHOWN_PLACES and not name.startswith(_RANKS),
            of_members=True,
        )
        for name, better, score in judged
        for place, (accumulation, block) in _PLACES.items()
    ]
    for name, score in (("energy score", scores.energy_score), ("variogram score", scores.variogram_score)):
        found.append(Column(f"{name} 20 km", "lower", _select(score, accumulation=0.0, block=20.0), of_members=True))
    for octave, centre in (("4-8", 5.657), ("8-16", 11.314), ("32-64", 45.255)):
        power = _select(scores.spectral_ratio_of_members, wavelength=centre)
        found.append(Column(f"power of members {octave} km", "one", power, short=False, of_members=True))
    return found


def event_scores(statistics: xr.Dataset) -> xr.Dataset:
    """Return every score of every event, dims ``("event", "area", "nowcaster", "lead_time")``.

    If a score of one nowcaster is undefined at an event (no rain forecast and none observed), it is NaN for all
    nowcasters at that event, so that means over events compare the same events. A nowcaster whose score is undefined at
    all events and lead times does not count.
    """
    found = {}
    for column in columns(statistics):
        values = column.compute(statistics).transpose("event", "area", "nowcaster", "lead_time")
        absent = values.isnull().all(("event", "lead_time"))
        found[column.name] = values.where((values.notnull() | absent).all("nowcaster")).drop_attrs()
    return xr.Dataset(found)


def pooled_scores(statistics: xr.Dataset) -> xr.Dataset:
    """Return the scores of rank histograms of all events together, dims ``("area", "nowcaster", "lead_time")``.

    Each point has the same weight. A Dataset without variables if there are no members.
    """
    total = statistics.drop_vars(("region", "day")).sum("event")
    chosen = [column for column in columns(statistics) if column.of_members and column.name.startswith(_RANKS)]
    return xr.Dataset(
        {each.name: each.compute(total).transpose("area", "nowcaster", "lead_time").drop_attrs() for each in chosen}
    )


def summarize(statistics: xr.Dataset, *, baseline: str) -> dict[str, Any]:
    """Return all scores as one dictionary of plain numbers, for a JSON file and for `format_markdown`.

    Parameters
    ----------
    statistics
        Statistics as `hybridcast.verification.evaluation.evaluate` returns them.
    baseline
        Name of the nowcaster that all others are compared with.

    Returns
    -------
    dict
        ``"lead_times_min"``, ``"nowcasters"``, ``"areas"``, ``"baseline"``; ``"better"`` by score; ``"support"``
        (cases, points and wet points) by event; ``"events_of_mean"`` by area and score; ``"mean"`` by area, nowcaster
        and score; ``"pooled"`` likewise, of `pooled_scores`, empty without members; ``"difference"`` likewise, with its
        interval; ``"regions"`` and ``"events"`` by name, then as ``"mean"``. Each value is a list by lead time, None
        for NaN.

    Raises
    ------
    InputError
        If the baseline is not among the nowcasters.
    """
    nowcasters = [str(name) for name in statistics["nowcaster"].values]
    if baseline not in nowcasters:
        raise InputError(
            f"baseline {baseline!r}", "it is one of the nowcasters", f"Choose one of {', '.join(nowcasters)}"
        )
    by_event = event_scores(statistics)
    pooled = pooled_scores(statistics)
    by_region = by_event.groupby("region").mean("event")
    minutes = (statistics["lead_time"].values / MINUTE).tolist()
    return {
        "lead_times_min": minutes,
        "nowcasters": nowcasters,
        "areas": statistics["area"].values.tolist(),
        "baseline": baseline,
        "better": {column.name: column.better for column in columns(statistics)},
        "support": _support(statistics),
        "events_of_mean": _by_area(by_event.notnull().any("nowcaster").sum("event")),
        "mean": _by_nowcaster(by_event.mean("event")),
        "pooled": _by_nowcaster(pooled) if pooled.data_vars else {},
        "difference": _differences(by_event, baseline),
        "regions": {str(name): _by_nowcaster(by_region.sel(region=name)) for name in by_region["region"].values},
        "events": {str(name): _by_nowcaster(by_event.sel(event=name)) for name in by_event["event"].values},
    }


def _support(statistics: xr.Dataset) -> dict[str, Any]:
    """Return the cases, points and wet points of each event; they are the same for all nowcasters."""
    support = scores.support(statistics).isel(nowcaster=0)
    result: dict[str, Any] = {}
    for name in statistics["event"].values:
        own = support.sel(event=name)
        result[str(name)] = {
            "region": str(own["region"].values),
            "day": str(own["day"].values),
            "cases": _numbers(own["cases"].sel(area=statistics["area"].values[0])),
            "points": {str(area): _numbers(own["points"].sel(area=area)) for area in statistics["area"].values},
            "wet points": {
                str(area): {
                    f"{float(threshold):g}": _numbers(own["events"].sel(area=area, threshold=threshold))
                    for threshold in statistics["threshold"].values
                }
                for area in statistics["area"].values
            },
        }
    return result


def _differences(by_event: xr.Dataset, baseline: str) -> dict[str, Any]:
    """Return the difference of each nowcaster to the baseline, with its interval, by area, nowcaster and score."""
    # events of one evening in one region are drawn together
    days = [f"{r} {d}" for r, d in zip(by_event["region"].values, by_event["day"].values, strict=True)]
    result: dict[str, Any] = {
        str(area): {str(m): {} for m in by_event["nowcaster"].values} for area in by_event["area"].values
    }
    for column in columns():
        if column.name not in by_event or column.better not in {"higher", "lower"}:
            continue
        score = by_event[column.name]
        compared = paired_difference(
            score,
            score.sel(nowcaster=baseline, drop=True),
            days=days,
            better=column.better,
        )
        for area in by_event["area"].values:
            for nowcaster in by_event["nowcaster"].values:
                own = compared.sel(area=area, nowcaster=nowcaster)
                result[str(area)][str(nowcaster)][column.name] = {str(name): _numbers(own[name]) for name in own}
    return result


def _by_nowcaster(values: xr.Dataset) -> dict[str, Any]:
    return {
        str(area): {str(name): _scores(values.sel(area=area, nowcaster=name)) for name in values["nowcaster"].values}
        for area in values["area"].values
    }


def _by_area(values: xr.Dataset) -> dict[str, Any]:
    return {str(area): _scores(values.sel(area=area)) for area in values["area"].values}


def _scores(values: xr.Dataset) -> dict[str, list[Any]]:
    return {str(name): _numbers(value) for name, value in values.data_vars.items()}


def _numbers(values: xr.DataArray) -> list[Any]:
    """Return plain numbers of five digits, by lead time; None for NaN."""
    given = np.atleast_1d(values.values)
    if given.dtype.kind in "iuUS":
        return list(given.tolist())
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in given]


# --- Markdown -------------------------------------------------------------------------------------------------

_AREAS = {"all": "All points", "source": "Points known to all"}
#: Scores in the tables by region and by event.
_FEW = ("CSI 1", "bias 1", "CSI 1, equal area", "FSS 20 km", "Brier 1")


def format_markdown(found: dict[str, Any]) -> str:
    """Return the dictionary of `summarize` as Markdown: sample sizes, means, differences, regions and events."""
    lines = ["# Evaluation", "", *_introduction(found)]
    shown = [column.name for column in columns() if column.short and column.name in found["better"]]
    compared = [name for name in shown if found["better"][name] in {"higher", "lower"}]
    for area in reversed(found["areas"]):
        lines += ["", f"## {_AREAS.get(area, area)}", ""]
        lines += _score_table(found["mean"][area], shown, found["events_of_mean"][area])
        if found["pooled"]:
            lines += ["", "Rank histograms of all events together:", ""]
            lines += _score_table(
                found["pooled"][area], [f"{kind}{place}" for place in _SHOWN_PLACES for kind in _KINDS]
            )
        lines += ["", f"Difference to {found['baseline']}, in per cent of it, with 95 % intervals over days:", ""]
        lines += _difference_table(found, area, compared)
    for title, parts in (("Region", found["regions"]), ("Event", found["events"])):
        for name, scored in parts.items():
            lines += ["", f"## {title} {name}: {_format_cases(found, title, name)}, points known to all", ""]
            lines += _score_table(scored["source"], _FEW)
    return "\n".join(lines) + "\n"


def _introduction(found: dict[str, Any]) -> list[str]:
    support = found["support"]
    by_lead = [sum(event["cases"][k] for event in support.values()) for k in range(len(found["lead_times_min"]))]
    leads = " / ".join(f"{minutes:g}" for minutes in found["lead_times_min"])
    days = len({(event["region"], event["day"]) for event in support.values()})
    regions = len({event["region"] for event in support.values()})
    return [
        f"{max(by_lead):g} cases ({' / '.join(f'{n:g}' for n in by_lead)} by lead time) of {len(support)} events on "
        f"{days} days in {regions} regions. The values in a cell are at {leads} min. Means over events, each with the "
        "same weight; rates in mm h-1.",
        "",
        "Points known to all: every nowcaster has a value, because the air comes from within radar coverage. All "
        "points: a nowcaster's unknown points are judged with the plain advection or else persistence. Equal area: as "
        "many wet points in each frame as the plain advection has. FSS at 1 mm h-1. Scores of members do not depend on "
        "their number; '20 km' is on blocks, '1 h' of the sum over an hour up to the lead time, mm. The reliability "
        "index of sampling is what a reliable ensemble has in so many cases.",
    ]


def _score_table(
    scored: dict[str, dict[str, list[Any]]], names: Sequence[str], events: dict[str, list[int]] | None = None
) -> list[str]:
    heads = ["", *scored, *(["events"] if events else [])]
    rows = []
    for name in names:
        if all(value is None for values in scored.values() for value in values[name]):
            continue
        cells = [" / ".join(_format_score(v) for v in values[name]) for values in scored.values()]
        rows.append([name, *cells, *([" / ".join(str(n) for n in events[name])] if events else [])])
    return _table(heads, rows)


def _difference_table(found: dict[str, Any], area: str, names: Sequence[str]) -> list[str]:
    leads = found["lead_times_min"]
    rows = []
    for nowcaster, scored in found["difference"][area].items():
        if nowcaster != found["baseline"]:
            for name in names:
                own = scored[name]
                if all(value is None for value in own["relative"]):
                    continue
                cells = [_format_difference({key: values[k] for key, values in own.items()}) for k in range(len(leads))]
                rows.append([nowcaster, name, *cells])
    return _table(["", "", *(f"{minutes:g} min" for minutes in leads)], rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def _format_difference(own: dict[str, Any]) -> str:
    if own["relative"] is None:
        return "-"
    if own["relative_low"] is None:
        return f"{100 * own['relative']:+.1f} {own['verdict']}"
    change, low, high = (100 * own[name] for name in ("relative", "relative_low", "relative_high"))
    return f"{change:+.1f} [{low:+.1f}, {high:+.1f}] {own['verdict']}"


def _format_score(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


def _format_cases(found: dict[str, Any], title: str, name: str) -> str:
    events = [e for key, e in found["support"].items() if name == (key if title == "Event" else e["region"])]
    by_lead = [sum(event["cases"][k] for event in events) for k in range(len(found["lead_times_min"]))]
    return f"{' / '.join(f'{n:g}' for n in by_lead)} cases"
