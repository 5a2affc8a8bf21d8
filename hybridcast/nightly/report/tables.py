"""The tables of the report: scorecard, all numbers of a night, hours, and the overview of the regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.nightly.alarm import AlarmSettings
from hybridcast.nightly.report.formatting import SIGNS, number, percent, score
from hybridcast.nightly.series import SCORES, minutes_of
from hybridcast.verification import scores
from hybridcast.verification.significance import LOSS, MIN_DAYS, TIE, UNRESOLVED, WIN, paired_difference


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
    """Lead time by threshold: the chosen nowcaster against the baseline."""

    nowcaster: str
    baseline: str
    score: str
    thresholds: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[Verdict]]]
    """Lead time, its support tonight, and a verdict for each threshold."""
    few: bool
    """Whether no verdict has enough nights."""
    counts: dict[str, int] = field(default_factory=dict)


def differences(series: xr.Dataset, wet: NDArray[np.bool_], settings: AlarmSettings, baseline: str) -> xr.Dataset:
    """Compare the night's score of every nowcaster with that of the baseline over the nights with enough rain.

    Dims ``("nowcaster", "lead_time", "threshold")``, named as `paired_difference` names them.
    """
    values = score_of(series.isel(date=np.flatnonzero(wet)), settings).rename(date="event")
    days = values["event"].values.tolist()
    return paired_difference(
        values.drop_vars("event"), values.sel(nowcaster=baseline, drop=True).drop_vars("event"), days=days
    )


def score_of(sums: xr.Dataset, settings: AlarmSettings) -> xr.DataArray:
    """Return the night's score by lead time and threshold; one that knows no threshold has a single one, NaN."""
    at_scale = sums.sel(scale=settings.scale, drop=True) if settings.score == "FSS" else sums
    values = SCORES[settings.score](at_scale)
    return values if "threshold" in values.dims else values.expand_dims(threshold=[np.nan])


# --- scorecard ------------------------------------------------------------------------------------------------


def scorecard(
    compared: xr.Dataset, tonight: xr.Dataset, settings: AlarmSettings, nowcaster: str, baseline: str
) -> Scorecard:
    """Lay out the comparison of one nowcaster; `compared` as of `differences`."""
    values, mine = score_of(tonight, settings), compared.sel(nowcaster=nowcaster)
    ours, theirs = (
        values.sel(nowcaster=name).transpose("lead_time", "threshold").values for name in (nowcaster, baseline)
    )
    found = {str(name): mine[name].transpose("lead_time", "threshold").values for name in mine}
    cases, points, wet = (one[tonight["nowcaster"].values.tolist().index(nowcaster)] for one in _supports(tonight))
    rows = []
    for k, lead in enumerate(tonight["lead_time"].values):
        verdicts = [
            _verdict(
                {name: one[k, j] for name, one in found.items()},
                tonight=score(ours[k, j]),
                baseline=score(theirs[k, j]),
                wet=number(wet[k, j]) if np.isfinite(level) else "",
            )
            for j, level in enumerate(values["threshold"].values)
        ]
        support = f"{number(cases[k])} cases, {number(points[k])} points"
        rows.append((f"{minutes_of(lead):g} min", support, verdicts))
    thresholds = [f"{level:g} mm/h" if np.isfinite(level) else "all rates" for level in values["threshold"].values]
    counts = {name: int((found["verdict"] == name).sum()) for name in (WIN, TIE, LOSS, UNRESOLVED)}
    few = bool((found["days"] < MIN_DAYS).all())
    return Scorecard(nowcaster, baseline, score_words(settings), thresholds, rows, few, counts)


def _verdict(found: Mapping[str, Any], **tonight: str) -> Verdict:
    verdict, low, high = str(found["verdict"]), found["relative_low"], found["relative_high"]
    return Verdict(
        verdict=verdict,
        sign=SIGNS[verdict],
        relative=percent(found["relative"]),
        interval=f"{percent(low)} to {percent(high)}" if np.isfinite(low) else "",
        nights=int(found["days"]),
        **tonight,
    )


def score_words(settings: AlarmSettings) -> str:
    """Name the night's score without its threshold and lead time."""
    return f"{settings.score} at {settings.scale:g} km" if settings.score == "FSS" else settings.score


# --- all numbers ----------------------------------------------------------------------------------------------


def by_threshold(tonight: xr.Dataset, compared: xr.Dataset | None, settings: AlarmSettings, baseline: str) -> Table:
    """Every nowcaster, lead time and threshold of tonight, with the comparison of the last nights."""
    made = {"CSI": scores.csi, "bias": scores.frequency_bias, "POD": scores.probability_of_detection}
    made |= {"FAR": scores.false_alarm_ratio, "ETS": scores.equitable_threat_score}
    values = {name: of(tonight) for name, of in made.items()}
    if "scale" in tonight.dims and settings.score == "FSS":
        values = {score_words(settings): score_of(tonight, settings)} | values
    heads = [
        "nowcaster",
        "lead time",
        "threshold",
        *values,
        f"against {baseline}",
        "95 % interval",
        "verdict",
        "nights",
    ]
    numbers, supports = [_by_label(value) for value in values.values()], _supports(tonight)
    found = {} if compared is None else {str(name): _by_label(compared[name]) for name in compared}
    rows = []
    for i, k, j in np.ndindex(numbers[0].shape):
        nowcaster, lead, level = (
            tonight["nowcaster"].values[i],
            tonight["lead_time"].values[k],
            tonight["threshold"].values[j],
        )
        here = {name: value[i, k, j] for name, value in found.items() if j < value.shape[2]}
        rows.append(
            [
                Cell(str(nowcaster), str(nowcaster)),
                Cell(f"{minutes_of(lead):g} min", minutes_of(lead)),
                Cell(f"{level:g} mm/h", float(level)),
                *(Cell(score(value[i, k, j]), float(value[i, k, j])) for value in numbers),
                *_compared(here, is_baseline=nowcaster == baseline),
                *_support(supports, i, k, j),
            ]
        )
    return Table("By lead time and threshold", [*heads, "cases", "points", "wet points"], rows)


def _compared(found: Mapping[str, Any], *, is_baseline: bool) -> list[Cell]:
    if is_baseline:
        return [Cell("baseline"), Cell(""), Cell(""), Cell("")]
    if not found:
        return [Cell("–"), Cell(""), Cell("not compared"), Cell("0", 0)]
    low, high, verdict = float(found["relative_low"]), float(found["relative_high"]), str(found["verdict"])
    return [
        Cell(percent(found["relative"]), float(found["relative"])),
        Cell(f"{percent(low)} to {percent(high)}" if np.isfinite(low) else "–", low),
        Cell(f"{SIGNS[verdict]} {verdict}", verdict, verdict.replace(" ", "-")),
        Cell(str(int(found["days"])), int(found["days"])),
    ]


def _by_label(values: xr.DataArray) -> NDArray[Any]:
    """Plain numbers, ``(nowcaster, lead_time, threshold)``: tables have thousands of cells."""
    return np.asarray(values.transpose("nowcaster", "lead_time", "threshold").values)


def _supports(sums: xr.Dataset) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Cases and points, ``(nowcaster, lead_time)``, and wet points, ``(nowcaster, lead_time, threshold)``."""
    cases, points = (sums[name].transpose("nowcaster", "lead_time").values for name in ("cases", "count"))
    return cases, points, _by_label(sums["hits"] + sums["misses"])


def _support(supports: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], i: int, k: int, j: int) -> list[Cell]:
    cases, points, wet = supports
    return [Cell(number(count), float(count)) for count in (cases[i, k], points[i, k], wet[i, k, j])]


def of_rates(tonight: xr.Dataset) -> Table:
    """Scores that know no threshold, by nowcaster and lead time."""
    made = {
        "ME (mm/h)": scores.mean_error,
        "MAE (mm/h)": scores.mean_absolute_error,
        "RMSE (mm/h)": scores.root_mean_square_error,
        "correlation": scores.correlation,
    }
    if "bin_count" in tonight:
        made["CRPS (mm/h)"] = scores.crps
    numbers = [of(tonight).transpose("nowcaster", "lead_time").values for of in made.values()]
    cases, points, _ = _supports(tonight)
    rows = []
    for i, k in np.ndindex(cases.shape):
        nowcaster, lead = str(tonight["nowcaster"].values[i]), minutes_of(tonight["lead_time"].values[k])
        rows.append(
            [
                Cell(nowcaster, nowcaster),
                Cell(f"{lead:g} min", lead),
                *(Cell(_digits(value[i, k]), float(value[i, k])) for value in numbers),
                *(Cell(number(count[i, k]), float(count[i, k])) for count in (cases, points)),
            ]
        )
    return Table("Rates, by lead time", ["nowcaster", "lead time", *made, "cases", "points"], rows)


def _digits(value: Any) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "–"


def of_probabilities(tonight: xr.Dataset, settings: AlarmSettings, nowcasters: Sequence[str]) -> Table | None:
    """Brier score with its parts, and the area under the ROC curve, at the lead time of the night's score."""
    lead = settings.headline.lead
    if not nowcasters or lead not in tonight["lead_time"].values:
        return None
    here = tonight.sel(lead_time=[lead])
    parts = scores.brier_parts(here)
    values = {"Brier": scores.brier_score(here)}
    values |= {name: parts[name] for name in ("reliability", "resolution", "uncertainty")}
    values["ROC area"] = scores.roc_area(here)
    numbers, supports = [_by_label(value) for value in values.values()], _supports(here)
    rows = []
    for i, k, j in np.ndindex(numbers[0].shape):
        nowcaster, level = str(here["nowcaster"].values[i]), float(here["threshold"].values[j])
        rows.append(
            [
                Cell(nowcaster, nowcaster),
                Cell(f"{level:g} mm/h", level),
                *(Cell(_digits(value[i, k, j]), float(value[i, k, j])) for value in numbers),
                *_support(supports, i, k, j),
            ]
        )
    heads = ["nowcaster", "threshold", *values, "cases", "points", "wet points"]
    return Table(f"Probabilities at {minutes_of(lead):g} min (a forecast without any says 0 or 1)", heads, rows)


def of_hours(hours: xr.Dataset | None) -> Table | None:
    """Rain of whole hours, by nowcaster, hour and threshold."""
    if hours is None or not bool((hours["cases"] > 0).any()):
        return None
    values = {
        "CSI": scores.csi(hours),
        "bias": scores.frequency_bias(hours),
        "ETS": scores.equitable_threat_score(hours),
    }
    numbers, supports = [_by_label(value) for value in values.values()], _supports(hours)
    rows = []
    for i, k, j in np.ndindex(numbers[0].shape):
        nowcaster, hour = str(hours["nowcaster"].values[i]), minutes_of(hours["lead_time"].values[k]) / 60
        level = float(hours["threshold"].values[j])
        rows.append(
            [
                Cell(nowcaster, nowcaster),
                Cell(f"hour {hour:g}", hour),
                Cell(f"{level:g} mm", level),
                *(Cell(score(value[i, k, j]), float(value[i, k, j])) for value in numbers),
                *_support(supports, i, k, j),
            ]
        )
    return Table(
        "Rain of whole hours", ["nowcaster", "hour", "threshold", *values, "cases", "points", "wet points"], rows
    )
