"""The tables of the report: scorecard, all numbers of a night, hours, and the overview of the regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.nightly.alarm import AlarmSettings
from hybridcast.nightly.report.words import SIGNS, number, percent, score
from hybridcast.nightly.series import SCORES, minutes_of
from hybridcast.verification import scores
from hybridcast.verification.confidence import LEAST_DAYS, paired_difference


@dataclass(frozen=True)
class Cell:
    """A cell of a sortable table: what is shown, what is sorted by, and a class for its looks."""

    text: str
    order: float | str = ""
    kind: str = ""
    href: str = ""


@dataclass(frozen=True)
class Table:
    """A sortable table."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: int = 1
    """How many of the first columns are words; the others are numbers, to the right."""


@dataclass(frozen=True)
class Verdict:
    """One field of the scorecard."""

    verdict: str
    sign: str
    relative: str
    interval: str
    nights: int
    tonight: str
    baseline: str
    wet: str


@dataclass(frozen=True)
class Scorecard:
    """Lead time by threshold: the chosen model against the baseline."""

    model: str
    baseline: str
    score: str
    thresholds: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[Verdict]]]
    """Lead time, its support tonight, and a verdict for each threshold."""
    few: bool
    """Whether no verdict has enough nights."""
    counts: dict[str, int] = field(default_factory=dict)


def differences(series: xr.Dataset, wet: NDArray[np.bool_], settings: AlarmSettings, baseline: str) -> xr.Dataset:
    """Compare the night's score of every model with that of the baseline over the nights with enough rain.

    Dims ``("model", "lead_time", "threshold")``, named as `paired_difference` names them.
    """
    values = score_of(series.isel(date=np.flatnonzero(wet)), settings).rename(date="event")
    days = values["event"].values.tolist()
    return paired_difference(
        values.drop_vars("event"), values.sel(model=baseline, drop=True).drop_vars("event"), days=days
    )


def score_of(sums: xr.Dataset, settings: AlarmSettings) -> xr.DataArray:
    """Give the night's score by lead time and threshold; one that knows no threshold has a single one, NaN."""
    at_scale = sums.sel(scale=settings.scale, drop=True) if settings.score == "FSS" else sums
    values = SCORES[settings.score](at_scale)
    return values if "threshold" in values.dims else values.expand_dims(threshold=[np.nan])


# --- scorecard ------------------------------------------------------------------------------------------------


def scorecard(
    compared: xr.Dataset, tonight: xr.Dataset, settings: AlarmSettings, model: str, baseline: str
) -> Scorecard:
    """Lay out the comparison of one model; `compared` as of `differences`."""
    values, mine = score_of(tonight, settings), compared.sel(model=model)
    rows, counts = [], dict.fromkeys(("win", "tie", "loss", "not resolved"), 0)
    for k, lead in enumerate(tonight["lead_time"].values):
        here = tonight.sel(model=model).isel(lead_time=k)
        verdicts = []
        for j in range(values.sizes["threshold"]):
            cell = _verdict(mine.isel(lead_time=k, threshold=j), values.isel(lead_time=k, threshold=j), model, baseline)
            wet = (here["hits"] + here["misses"]).isel(threshold=j) if values["threshold"].notnull().all() else None
            verdicts.append(Verdict(**cell, wet="" if wet is None else number(wet)))
            counts[cell["verdict"]] += 1
        support = f"{number(here['cases'])} cases, {number(here['count'])} points"
        rows.append((f"{minutes_of(lead):g} min", support, verdicts))
    thresholds = [f"{level:g} mm/h" if np.isfinite(level) else "all rates" for level in values["threshold"].values]
    few = bool((mine["days"] < LEAST_DAYS).all())
    return Scorecard(model, baseline, score_words(settings), thresholds, rows, few, counts)


def _verdict(found: xr.Dataset, tonight: xr.DataArray, model: str, baseline: str) -> dict[str, Any]:
    verdict, nights = str(found["verdict"].item()), int(found["days"])
    low, high = float(found["relative_low"]), float(found["relative_high"])
    return {
        "verdict": verdict,
        "sign": SIGNS[verdict],
        "relative": percent(found["relative"]),
        "interval": f"{percent(low)} to {percent(high)}" if np.isfinite(low) else "",
        "nights": nights,
        "tonight": score(tonight.sel(model=model)),
        "baseline": score(tonight.sel(model=baseline)),
    }


def score_words(settings: AlarmSettings) -> str:
    """Name the night's score without its threshold and lead time."""
    return f"{settings.score} at {settings.scale:g} km" if settings.score == "FSS" else settings.score


# --- all numbers ----------------------------------------------------------------------------------------------


def by_threshold(tonight: xr.Dataset, compared: xr.Dataset | None, settings: AlarmSettings, baseline: str) -> Table:
    """Every model, lead time and threshold of tonight, with the comparison of the last nights."""
    made = {"CSI": scores.csi, "bias": scores.frequency_bias, "POD": scores.probability_of_detection}
    made |= {"FAR": scores.false_alarm_ratio, "ETS": scores.equitable_threat_score}
    values = {name: of(tonight) for name, of in made.items()}
    if "scale" in tonight.dims and settings.score == "FSS":
        values = {score_words(settings): score_of(tonight, settings)} | values
    heads = ["model", "lead time", "threshold", *values, f"against {baseline}", "95 % interval", "verdict", "nights"]
    rows = []
    for model in tonight["model"].values:
        for k, lead in enumerate(tonight["lead_time"].values):
            for j, level in enumerate(tonight["threshold"].values):
                place = {"lead_time": k, "threshold": j}
                numbers = [float(value.sel(model=model).isel(place)) for value in values.values()]
                rows.append(
                    [
                        Cell(str(model), str(model)),
                        Cell(f"{minutes_of(lead):g} min", minutes_of(lead)),
                        Cell(f"{level:g} mm/h", float(level)),
                        *(Cell(score(value), value) for value in numbers),
                        *_compared(compared, str(model), place, baseline),
                        *_support(tonight.sel(model=model).isel(place)),
                    ]
                )
    return Table("By lead time and threshold", [*heads, "cases", "points", "wet points"], rows)


def _compared(compared: xr.Dataset | None, model: str, place: dict[str, int], baseline: str) -> list[Cell]:
    if model == baseline:
        return [Cell("baseline"), Cell(""), Cell(""), Cell("")]
    if compared is None or compared.sizes["threshold"] <= place["threshold"]:
        return [Cell("–"), Cell(""), Cell("not compared"), Cell("0", 0)]
    found = compared.sel(model=model).isel(place)
    low, high = float(found["relative_low"]), float(found["relative_high"])
    verdict = str(found["verdict"].item())
    return [
        Cell(percent(found["relative"]), float(found["relative"])),
        Cell(f"{percent(low)} to {percent(high)}" if np.isfinite(low) else "–", low),
        Cell(f"{SIGNS[verdict]} {verdict}", verdict, verdict.replace(" ", "-")),
        Cell(str(int(found["days"])), int(found["days"])),
    ]


def _support(here: xr.Dataset) -> list[Cell]:
    counts = [float(here["cases"]), float(here["count"]), float(here["hits"] + here["misses"])]
    return [Cell(number(count), count) for count in counts]


def of_rates(tonight: xr.Dataset) -> Table:
    """Scores that know no threshold, by model and lead time."""
    made = {
        "ME (mm/h)": scores.mean_error,
        "MAE (mm/h)": scores.mean_absolute_error,
        "RMSE (mm/h)": scores.root_mean_square_error,
        "correlation": scores.correlation,
    }
    if "bin_count" in tonight:
        made["CRPS (mm/h)"] = scores.crps
    values = {name: of(tonight) for name, of in made.items()}
    rows = []
    for model in tonight["model"].values:
        for k, lead in enumerate(tonight["lead_time"].values):
            numbers = [float(value.sel(model=model).isel(lead_time=k)) for value in values.values()]
            here = tonight.sel(model=model).isel(lead_time=k)
            rows.append(
                [
                    Cell(str(model), str(model)),
                    Cell(f"{minutes_of(lead):g} min", minutes_of(lead)),
                    *(Cell(f"{value:.3g}" if np.isfinite(value) else "–", value) for value in numbers),
                    Cell(number(here["cases"]), float(here["cases"])),
                    Cell(number(here["count"]), float(here["count"])),
                ]
            )
    return Table("Rates, by lead time", ["model", "lead time", *values, "cases", "points"], rows)


def of_probabilities(tonight: xr.Dataset, settings: AlarmSettings, models: Sequence[str]) -> Table | None:
    """Brier score with its parts, and the area under the ROC curve, at the lead time of the night's score."""
    lead = settings.headline.lead
    if not models or lead not in tonight["lead_time"].values:
        return None
    here = tonight.sel(lead_time=lead)
    parts, brier, area = scores.brier_parts(here), scores.brier_score(here), scores.roc_area(here)
    values = {"Brier": brier} | {name: parts[name] for name in ("reliability", "resolution", "uncertainty")}
    rows = []
    for model in here["model"].values:
        for j, level in enumerate(here["threshold"].values):
            numbers = [float(value.sel(model=model).isel(threshold=j)) for value in values.values()]
            roc = float(area.sel(model=model).isel(threshold=j))
            rows.append(
                [
                    Cell(str(model), str(model)),
                    Cell(f"{level:g} mm/h", float(level)),
                    *(Cell(f"{value:.4f}" if np.isfinite(value) else "–", value) for value in numbers),
                    Cell(score(roc), roc),
                    *_support(here.sel(model=model).isel(threshold=j)),
                ]
            )
    heads = ["model", "threshold", *values, "ROC area", "cases", "points", "wet points"]
    return Table(f"Probabilities at {minutes_of(lead):g} min (a forecast without any says 0 or 1)", heads, rows)


def of_hours(hours: xr.Dataset | None) -> Table | None:
    """Rain of whole hours, by model, hour and threshold."""
    if hours is None or not bool((hours["cases"] > 0).any()):
        return None
    values = {
        "CSI": scores.csi(hours),
        "bias": scores.frequency_bias(hours),
        "ETS": scores.equitable_threat_score(hours),
    }
    rows = []
    for model in hours["model"].values:
        for k, lead in enumerate(hours["lead_time"].values):
            for j, level in enumerate(hours["threshold"].values):
                place = {"lead_time": k, "threshold": j}
                numbers = [float(value.sel(model=model).isel(place)) for value in values.values()]
                hour = minutes_of(lead) / 60
                rows.append(
                    [
                        Cell(str(model), str(model)),
                        Cell(f"hour {hour:g}", hour),
                        Cell(f"{level:g} mm", float(level)),
                        *(Cell(score(value), value) for value in numbers),
                        *_support(hours.sel(model=model).isel(place)),
                    ]
                )
    return Table("Rain of whole hours", ["model", "hour", "threshold", *values, "cases", "points", "wet points"], rows)
