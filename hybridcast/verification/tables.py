"""Tables of scores: the mean over events, by region and by event, and the differences to a baseline.

Every event counts the same, however many cases or points it has; a score is compared on the events at which all
nowcasters have one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from hybridcast.errors import InputError
from hybridcast.verification import scores
from hybridcast.verification.significance import paired_difference


@dataclass(frozen=True)
class Column:
    """One score of the tables."""

    name: str
    better: Literal["higher", "lower", "one", "neither"]
    of: Callable[[xr.Dataset], xr.DataArray]
    """From sums to values, without the dims `threshold`, `scale` and `probability_bin`."""
    short: bool = True
    """Whether the short table shows it."""


def _at(score: Callable[[xr.Dataset], xr.DataArray], **labels: float) -> Callable[[xr.Dataset], xr.DataArray]:
    return lambda sums: score(sums.sel(labels)).drop_vars(list(labels))


def _part(name: str) -> Callable[[xr.Dataset], xr.DataArray]:
    return lambda sums: scores.brier_parts(sums)[name]


def _own_share(sums: xr.Dataset) -> xr.DataArray:
    return sums["own_count"] / sums["count"].where(sums["count"] > 0)


def columns() -> tuple[Column, ...]:
    """Return the scores of `hybridcast evaluate`."""
    found: list[Column] = []
    for level in (0.1, 1.0, 5.0):
        found.append(Column(f"CSI {level:g}", "higher", _at(scores.csi, threshold=level)))
        found.append(Column(f"bias {level:g}", "one", _at(scores.frequency_bias, threshold=level)))
    found += [
        Column(f"CSI {level:g}, equal area", "higher", _at(scores.csi_equal_area, threshold=level), level == 1.0)
        for level in (0.1, 1.0, 5.0)
    ]
    for scale in (10.0, 20.0):
        score = _at(scores.fractions_skill_score, threshold=1.0, scale=scale)
        found.append(Column(f"FSS {scale:g} km", "higher", score))
    found += [
        Column("MAE", "lower", scores.mean_absolute_error),
        Column("RMSE", "lower", scores.root_mean_square_error),
        Column("correlation", "higher", scores.correlation, False),
    ]
    for level in (0.1, 1.0, 5.0):
        found.append(Column(f"Brier {level:g}", "lower", _at(scores.brier_score, threshold=level)))
        for part, better in (("reliability", "lower"), ("resolution", "higher")):
            found.append(
                Column(f"{part} {level:g}", better, _at(_part(part), threshold=level), part == "reliability")  # type: ignore[arg-type]
            )
    found += [Column("CRPS", "lower", scores.crps), Column("own share", "neither", _own_share, False)]
    found += [
        Column(f"power {name} km", "one", _at(scores.spectral_ratio, wavelength=middle), False)
        for name, middle in (("8-16", 11.314), ("32-64", 45.255))
    ]
    return tuple(found)


def event_scores(sums: xr.Dataset) -> xr.Dataset:
    """Return every score of every event, dims ``("event", "area", "nowcaster", "lead_time")``.

    A score that one of the nowcasters has not at an event (no rain forecast and none observed) is NaN for all there, so
    that means over events compare the same events.
    """
    found = {}
    for column in columns():
        values = column.of(sums).transpose("event", "area", "nowcaster", "lead_time")
        found[column.name] = values.where(values.notnull().all("nowcaster")).drop_attrs()
    return xr.Dataset(found)


def summary(sums: xr.Dataset, *, baseline: str) -> dict[str, Any]:
    """Put everything into one dictionary of plain numbers, for a JSON file and for `markdown`.

    Parameters
    ----------
    sums
        As `hybridcast.verification.evaluation.evaluate` gives them.
    baseline
        The nowcaster that all others are compared with.

    Raises
    ------
    InputError
        If there is no such nowcaster.
    """
    nowcasters = [str(name) for name in sums["nowcaster"].values]
    if baseline not in nowcasters:
        raise InputError(
            f"baseline {baseline!r}", "it is one of the nowcasters", f"Choose one of {', '.join(nowcasters)}"
        )
    found = event_scores(sums)
    regions = found.groupby("region").mean("event")
    minutes = (sums["lead_time"].values / np.timedelta64(1, "m")).tolist()
    return {
        "lead_times_min": minutes,
        "nowcasters": nowcasters,
        "areas": sums["area"].values.tolist(),
        "baseline": baseline,
        "better": {column.name: column.better for column in columns()},
        "support": _support(sums),
        "events_of_mean": _by_area(found.notnull().all("nowcaster").sum("event")),
        "mean": _by_nowcaster(found.mean("event")),
        "difference": _differences(found, baseline),
        "regions": {str(name): _by_nowcaster(regions.sel(region=name)) for name in regions["region"].values},
        "events": {str(name): _by_nowcaster(found.sel(event=name)) for name in found["event"].values},
    }


def _support(sums: xr.Dataset) -> dict[str, Any]:
    """Cases, points and events of rain at each event, by lead time and area (they are the same for all nowcasters)."""
    support = scores.support(sums).isel(nowcaster=0)
    result: dict[str, Any] = {}
    for name in sums["event"].values:
        here = support.sel(event=name)
        result[str(name)] = {
            "region": str(here["region"].values),
            "day": str(here["day"].values),
            "cases": _numbers(here["cases"].sel(area=sums["area"].values[0])),
            "points": {str(area): _numbers(here["points"].sel(area=area)) for area in sums["area"].values},
            "wet points": {
                str(area): {
                    f"{float(level):g}": _numbers(here["events"].sel(area=area, threshold=level))
                    for level in sums["threshold"].values
                }
                for area in sums["area"].values
            },
        }
    return result


def _differences(found: xr.Dataset, baseline: str) -> dict[str, Any]:
    """Difference of each nowcaster to the baseline, with its interval, by area, nowcaster and score."""
    # the parts of one evening are one draw
    days = [f"{r} {d}" for r, d in zip(found["region"].values, found["day"].values, strict=True)]
    result: dict[str, Any] = {
        str(area): {str(m): {} for m in found["nowcaster"].values} for area in found["area"].values
    }
    for column in columns():
        if column.better not in {"higher", "lower"}:
            continue
        score = found[column.name]
        made = paired_difference(
            score,
            score.sel(nowcaster=baseline, drop=True),
            days=days,
            better=column.better,
        )
        for area in found["area"].values:
            for nowcaster in found["nowcaster"].values:
                here = made.sel(area=area, nowcaster=nowcaster)
                result[str(area)][str(nowcaster)][column.name] = {str(name): _numbers(here[name]) for name in here}
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
    """Plain numbers by lead time, of five digits; None for NaN."""
    given = np.atleast_1d(values.values)
    if given.dtype.kind in "iuUS":
        return list(given.tolist())
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in given]


# --- Markdown -------------------------------------------------------------------------------------------------

_AREAS = {"all": "All points", "source": "Points known to all"}
#: What the parts by region and event show.
_FEW = ("CSI 1", "bias 1", "CSI 1, equal area", "FSS 20 km", "Brier 1")


def markdown(found: dict[str, Any]) -> str:
    """Write a `summary` as Markdown: what it rests on, the means, the differences, the regions and the events."""
    lines = ["# Evaluation", "", *_about(found)]
    shown = [column.name for column in columns() if column.short]
    compared = [name for name in shown if found["better"][name] in {"higher", "lower"}]
    for area in reversed(found["areas"]):
        lines += ["", f"## {_AREAS.get(area, area)}", ""]
        lines += _score_table(found["mean"][area], shown, found["events_of_mean"][area])
        lines += ["", f"Difference to {found['baseline']}, in per cent of it, with 95 % intervals over days:", ""]
        lines += _difference_table(found, area, compared)
    for title, parts in (("Region", found["regions"]), ("Event", found["events"])):
        for name, scored in parts.items():
            lines += ["", f"## {title} {name}: {_cases(found, title, name)}, points known to all", ""]
            lines += _score_table(scored["source"], _FEW)
    return "\n".join(lines) + "\n"


def _about(found: dict[str, Any]) -> list[str]:
    support = found["support"]
    by_lead = [sum(event["cases"][k] for event in support.values()) for k in range(len(found["lead_times_min"]))]
    leads = " / ".join(f"{minutes:g}" for minutes in found["lead_times_min"])
    days = len({(event["region"], event["day"]) for event in support.values()})
    regions = len({event["region"] for event in support.values()})
    return [
        f"{max(by_lead):g} cases ({' / '.join(f'{n:g}' for n in by_lead)} by lead time) of {len(support)} events on "
        f"{days} days in {regions} regions. The values in a cell are at {leads} min. Means over events, each counting "
        "the same; rates in mm h-1.",
        "",
        "Points known to all: where every nowcaster compared has a value, that is, where the air comes from what the "
        "radar saw. All points: a nowcaster's unknown points are judged with the plain advection or else persistence. "
        "Equal area: as many wet points in each frame as the plain advection has. FSS at 1 mm h-1.",
    ]


def _score_table(
    scored: dict[str, dict[str, list[Any]]], names: Sequence[str], events: dict[str, list[int]] | None = None
) -> list[str]:
    heads = ["", *scored, *(["events"] if events else [])]
    rows = []
    for name in names:
        cells = [" / ".join(_short(v) for v in values[name]) for values in scored.values()]
        rows.append([name, *cells, *([" / ".join(str(n) for n in events[name])] if events else [])])
    return _table(heads, rows)


def _difference_table(found: dict[str, Any], area: str, names: Sequence[str]) -> list[str]:
    leads = found["lead_times_min"]
    rows = []
    for nowcaster, scored in found["difference"][area].items():
        if nowcaster != found["baseline"]:
            for name in names:
                here = scored[name]
                cells = [_difference({key: values[k] for key, values in here.items()}) for k in range(len(leads))]
                rows.append([nowcaster, name, *cells])
    return _table(["", "", *(f"{minutes:g} min" for minutes in leads)], rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def _difference(here: dict[str, Any]) -> str:
    if here["relative"] is None:
        return "-"
    if here["relative_low"] is None:
        return f"{100 * here['relative']:+.1f} {here['verdict']}"
    change, low, high = (100 * here[name] for name in ("relative", "relative_low", "relative_high"))
    return f"{change:+.1f} [{low:+.1f}, {high:+.1f}] {here['verdict']}"


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


def _cases(found: dict[str, Any], title: str, name: str) -> str:
    mine = [e for key, e in found["support"].items() if name == (key if title == "Event" else e["region"])]
    by_lead = [sum(event["cases"][k] for event in mine) for k in range(len(found["lead_times_min"]))]
    return f"{' / '.join(f'{n:g}' for n in by_lead)} cases"
