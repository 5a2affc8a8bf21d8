"""The tables of the report: the scorecard, and tables of all scores of a night."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.types import Mask
from hybridcast.nightly.alarm import AlarmSettings
from hybridcast.nightly.report.formatting import SIGNS, format_count, format_percent, format_score
from hybridcast.nightly.series import SCORES, to_minutes
from hybridcast.verification import scores
from hybridcast.verification.members import CELL
from hybridcast.verification.significance import LOSS, MIN_DAYS, TIE, UNRESOLVED, WIN, paired_difference
from hybridcast.verification.warnings import summarize_warnings

_LABELS = ("nowcaster", "lead_time", "threshold")
Row = dict[str, Any]
"""Labels and values of one combination of labels, by name."""


@dataclass(frozen=True)
class Cell:
    """A cell of a sortable table."""

    text: str
    order: float | str = ""
    """Value by which the column is sorted."""
    kind: str = ""
    """CSS class."""
    href: str = ""
    """Link of the text."""


@dataclass(frozen=True)
class Table:
    """A sortable table."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text_columns: int = 1
    """Number of columns of text at the left; the others are numbers and aligned to the right."""


@dataclass(frozen=True)
class Verdict:
    """One cell of the scorecard."""

    verdict: str
    sign: str
    relative: str
    """Relative difference to the baseline."""
    interval: str
    """Its interval; empty if there is none."""
    nights: int
    """Number of nights that were compared."""
    tonight: str
    """Tonight's score of the nowcaster."""
    baseline: str
    """Tonight's score of the baseline."""
    wet: str
    """Number of wet points tonight."""


@dataclass(frozen=True)
class ScorecardRow:
    """One lead time of the scorecard."""

    lead: str
    support: str
    """Sample size of tonight."""
    verdicts: Sequence[Verdict]
    """One verdict for each threshold."""


@dataclass(frozen=True)
class Scorecard:
    """Verdicts on the chosen nowcaster against the baseline, by lead time and threshold."""

    nowcaster: str
    baseline: str
    score: str
    thresholds: Sequence[str]
    rows: Sequence[ScorecardRow]
    has_few_nights: bool
    """Whether no verdict has enough nights."""
    counts: dict[str, int]
    """Number of cells with each verdict."""


def compare_with_baseline(series: xr.Dataset, wet: Mask, settings: AlarmSettings, baseline: str) -> xr.Dataset:
    """Compare the night's score of every nowcaster with that of the baseline over the nights with enough rain.

    Returns
    -------
    Dataset
        The variables of `paired_difference`, dims ``("nowcaster", "lead_time", "threshold")``.
    """
    values = compute_headline(series.isel(date=np.flatnonzero(wet)), settings).rename(date="event")
    days = values["event"].values.tolist()
    values = values.drop_vars("event")
    return paired_difference(values, values.sel(nowcaster=baseline, drop=True), days=days)


def compute_headline(statistics: xr.Dataset, settings: AlarmSettings) -> xr.DataArray:
    """Compute the night's score by lead time and threshold; a score without threshold has the single threshold NaN."""
    selected = statistics.sel(scale=settings.scale, drop=True) if settings.score == "FSS" else statistics
    values = SCORES[settings.score](selected)
    return values if "threshold" in values.dims else values.expand_dims(threshold=[np.nan])


def name_score(settings: AlarmSettings) -> str:
    """Return the name of the night's score without its threshold and lead time."""
    return f"{settings.score} at {settings.scale:g} km" if settings.score == "FSS" else settings.score


# --- scorecard ------------------------------------------------------------------------------------------------


def build_scorecard(
    comparison: xr.Dataset, tonight: xr.Dataset, settings: AlarmSettings, nowcaster: str, baseline: str
) -> Scorecard:
    """Build the scorecard of one nowcaster from a comparison of `compare_with_baseline`."""
    values = compute_headline(tonight, settings)
    own = comparison.sel(nowcaster=nowcaster)
    table = own[["verdict", "relative", "relative_low", "relative_high", "days"]].assign(
        tonight=values.sel(nowcaster=nowcaster), baseline=values.sel(nowcaster=baseline)
    )
    support = _support(tonight).sel(nowcaster=nowcaster)
    if not np.isnan(values["threshold"].values).any():
        table["wet points"] = support["wet points"]
    verdicts: dict[float, list[Verdict]] = {}
    for row in _iterate_rows(table, ("lead_time", "threshold")):
        verdicts.setdefault(to_minutes(row["lead_time"]), []).append(_make_verdict(row))
    supports = {
        to_minutes(row["lead_time"]): f"{format_count(row['cases'])} cases, {format_count(row['points'])} points"
        for row in _iterate_rows(support[["cases", "points"]], ("lead_time",))
    }
    return Scorecard(
        nowcaster=nowcaster,
        baseline=baseline,
        score=name_score(settings),
        thresholds=[f"{t:g} mm/h" if np.isfinite(t) else "all rates" for t in values["threshold"].values],
        rows=[ScorecardRow(f"{lead:g} min", supports[lead], cells) for lead, cells in verdicts.items()],
        has_few_nights=bool((own["days"] < MIN_DAYS).all()),
        counts={name: int((own["verdict"] == name).sum()) for name in (WIN, TIE, LOSS, UNRESOLVED)},
    )


def _make_verdict(row: Row) -> Verdict:
    verdict = str(row["verdict"])
    return Verdict(
        verdict=verdict,
        sign=SIGNS[verdict],
        relative=format_percent(row["relative"]),
        interval=_format_interval(row["relative_low"], row["relative_high"]),
        nights=int(row["days"]),
        tonight=format_score(row["tonight"]),
        baseline=format_score(row["baseline"]),
        wet=format_count(row["wet points"]) if "wet points" in row else "",
    )


# --- all scores -----------------------------------------------------------------------------------------------


def tabulate_by_threshold(
    tonight: xr.Dataset, comparison: xr.Dataset | None, settings: AlarmSettings, baseline: str
) -> Table:
    """Return tonight's scores by nowcaster, lead time and threshold, with the comparison over the last nights."""
    values = {name_score(settings): compute_headline(tonight, settings)} if _has_fss(tonight, settings) else {}
    values |= {
        "CSI": scores.csi(tonight),
        "bias": scores.frequency_bias(tonight),
        "POD": scores.probability_of_detection(tonight),
        "FAR": scores.false_alarm_ratio(tonight),
        "ETS": scores.equitable_threat_score(tonight),
    }
    compared: dict[tuple[Any, ...], Row] = {}
    if comparison is not None:
        compared = {tuple(row[label] for label in _LABELS): row for row in _iterate_rows(comparison, _LABELS)}
    rows = [
        [
            *_label_cells(row),
            *(Cell(format_score(row[name]), row[name]) for name in values),
            *_comparison_cells(compared.get(tuple(row[label] for label in _LABELS)), row["nowcaster"] == baseline),
            *_support_cells(row),
        ]
        for row in _iterate_rows(_support(tonight).assign(values), _LABELS)
    ]
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
    return Table("By lead time and threshold", [*heads, "cases", "points", "wet points"], rows)


def tabulate_rates(tonight: xr.Dataset) -> Table:
    """Return tonight's scores that have no threshold, by nowcaster and lead time."""
    values = {
        "ME (mm/h)": scores.mean_error(tonight),
        "MAE (mm/h)": scores.mean_absolute_error(tonight),
        "RMSE (mm/h)": scores.root_mean_square_error(tonight),
        "correlation": scores.correlation(tonight),
    }
    if "bin_count" in tonight:
        values["CRPS (mm/h)"] = scores.crps(tonight)
    rows = [
        [
            Cell(row["nowcaster"], row["nowcaster"]),
            _lead_cell(row),
            *(Cell(_format_digits(row[name]), row[name]) for name in values),
            *(Cell(format_count(row[name]), row[name]) for name in ("cases", "points")),
        ]
        for row in _iterate_rows(_support(tonight)[["cases", "points"]].assign(values), ("nowcaster", "lead_time"))
    ]
    return Table("Rates, by lead time", ["nowcaster", "lead time", *values, "cases", "points"], rows)


def tabulate_probabilities(tonight: xr.Dataset, settings: AlarmSettings, nowcasters: Sequence[str]) -> Table | None:
    """Return the Brier score with its parts and the ROC area, at the lead time of the night's score.

    None if no nowcaster forecasts probabilities, or the lead time is absent.
    """
    lead = settings.headline.lead
    if not nowcasters or lead not in tonight["lead_time"].values:
        return None
    selected = tonight.sel(lead_time=lead, drop=True)
    parts = scores.brier_parts(selected)
    values = {"Brier": scores.brier_score(selected)}
    values |= {name: parts[name] for name in ("reliability", "resolution", "uncertainty")}
    values["ROC area"] = scores.roc_area(selected)
    rows = [
        [
            Cell(row["nowcaster"], row["nowcaster"]),
            _threshold_cell(row, "mm/h"),
            *(Cell(_format_digits(row[name]), row[name]) for name in values),
            *_support_cells(row),
        ]
        for row in _iterate_rows(_support(selected).assign(values), ("nowcaster", "threshold"))
    ]
    caption = f"Probabilities at {to_minutes(lead):g} min (0 or 1 for a forecast without probabilities)"
    return Table(caption, ["nowcaster", "threshold", *values, "cases", "points", "wet points"], rows)


def tabulate_hours(hourly: xr.Dataset | None) -> Table | None:
    """Return the scores of rain of whole hours, by nowcaster, hour and threshold; None if there are none."""
    if hourly is None or not bool((hourly["cases"] > 0).any()):
        return None
    values = {
        "CSI": scores.csi(hourly),
        "bias": scores.frequency_bias(hourly),
        "ETS": scores.equitable_threat_score(hourly),
    }
    rows = []
    for row in _iterate_rows(_support(hourly).assign(values), _LABELS):
        hour = to_minutes(row["lead_time"]) / 60
        rows.append(
            [
                Cell(row["nowcaster"], row["nowcaster"]),
                Cell(f"hour {hour:g}", hour),
                _threshold_cell(row, "mm"),
                *(Cell(format_score(row[name]), row[name]) for name in values),
                *_support_cells(row),
            ]
        )
    heads = ["nowcaster", "hour", "threshold", *values, "cases", "points", "wet points"]
    return Table("Rain of whole hours", heads, rows)


def tabulate_members(statistics: xr.Dataset | None, title: str) -> Table | None:
    """Return the scores of members at cells and on blocks, by nowcaster and lead time; None without members."""
    if statistics is None or "ensemble_count" not in statistics:
        return None
    values: dict[str, xr.DataArray] = {}
    for place, block in (("", CELL), (", 20 km", 20.0)):
        here = statistics.sel(block=block, drop=True)
        values |= {
            f"fair CRPS (mm/h){place}": scores.fair_crps(here),
            f"spread/error{place}": scores.spread_to_error(here),
            f"reliability index{place}": scores.reliability_index(here),
            f"by sampling{place}": scores.reliability_index_of_sampling(here),
        }
    values["energy score (mm/h), 20 km"] = scores.energy_score(statistics.sel(block=20.0, drop=True))
    support = statistics[["cases"]].assign(points=statistics["ensemble_count"].sel(block=CELL, drop=True))
    rows = [
        [
            Cell(row["nowcaster"], row["nowcaster"]),
            _lead_cell(row),
            *(Cell(_format_digits(row[name]), row[name]) for name in values),
            *(Cell(format_count(row[name]), row[name]) for name in ("cases", "points")),
        ]
        for row in _iterate_rows(support.assign(values), ("nowcaster", "lead_time"))
        if row["points"] > 0
    ]
    return Table(title, ["nowcaster", "lead time", *values, "cases", "points"], rows) if rows else None


def tabulate_warnings(statistics: xr.Dataset | None) -> Table | None:
    """Return the outcomes of warnings at all places together, by nowcaster, observer and level; None without places."""
    if statistics is None:
        return None
    total = statistics.sum("place")
    counts = total[["hits", "misses", "late", "false_alarms", "undecided"]]
    values = {
        "hit rate": "hit_rate",
        "false alarm ratio": "false_alarm_ratio",
        "mean lead time (min)": "mean_lead",
        "Brier score": "brier_score",
    }
    table = counts.merge(summarize_warnings(total))
    rows = [
        [
            *(Cell(str(row[name]), str(row[name])) for name in ("level", "nowcaster", "observer")),
            *(Cell(format_count(row[str(name)]), row[str(name)]) for name in counts.data_vars),
            *(Cell(_format_digits(row[name]), row[name]) for name in values.values()),
        ]
        for row in _iterate_rows(table, ("level", "nowcaster", "observer"))
    ]
    heads = ["warning level", "nowcaster", "observer", "hits", "misses", "of these late", "false alarms", "undecided"]
    return Table("Warnings at places", [*heads, *values], rows, text_columns=3) if rows else None


def tabulate_warning_reliability(statistics: xr.Dataset | None) -> Table | None:
    """Return how often levels were reached by classes of their probability, of all places and levels together."""
    if statistics is None or "level_pairs" not in statistics:
        return None
    total = statistics.sum(("place", "level"))
    sums = total[["level_pairs", "level_pair_events", "level_pair_probability"]]
    rows = [
        [
            *(Cell(str(row[name]), str(row[name])) for name in ("nowcaster", "observer")),
            Cell(f"{100 * row['level_pair_probability'] / row['level_pairs']:.0f} %", row["probability_bin"]),
            Cell(f"{100 * row['level_pair_events'] / row['level_pairs']:.0f} %", row["level_pair_events"]),
            Cell(format_count(row["level_pairs"]), row["level_pairs"]),
        ]
        for row in _iterate_rows(sums, ("nowcaster", "observer", "probability_bin"))
        if row["level_pairs"] > 0
    ]
    heads = ["nowcaster", "observer", "mean probability", "frequency", "forecasts"]
    return Table("Reliability of warning levels at places", heads, rows, text_columns=2) if rows else None


# --- rows and cells -------------------------------------------------------------------------------------------


def _iterate_rows(table: xr.Dataset, dims: Sequence[str]) -> Iterator[Row]:
    """Iterate over all combinations of labels along `dims`, each as a dictionary of labels and values."""
    yield from table.reset_coords(drop=True).to_dataframe(dim_order=list(dims)).reset_index().to_dict("records")


def _support(statistics: xr.Dataset) -> xr.Dataset:
    """Return the numbers of cases, points and wet points."""
    wet = statistics["hits"] + statistics["misses"]
    return xr.Dataset({"cases": statistics["cases"], "points": statistics["count"], "wet points": wet})


def _has_fss(tonight: xr.Dataset, settings: AlarmSettings) -> bool:
    return settings.score == "FSS" and "scale" in tonight.dims


def _label_cells(row: Row) -> list[Cell]:
    return [Cell(row["nowcaster"], row["nowcaster"]), _lead_cell(row), _threshold_cell(row, "mm/h")]


def _lead_cell(row: Row) -> Cell:
    lead = to_minutes(row["lead_time"])
    return Cell(f"{lead:g} min", lead)


def _threshold_cell(row: Row, units: str) -> Cell:
    return Cell(f"{row['threshold']:g} {units}", row["threshold"])


def _support_cells(row: Row) -> list[Cell]:
    return [Cell(format_count(row[name]), row[name]) for name in ("cases", "points", "wet points")]


def _comparison_cells(row: Row | None, is_baseline: bool) -> list[Cell]:
    """Return the cells of relative difference, interval, verdict and number of nights."""
    if is_baseline:
        return [Cell("baseline"), Cell(""), Cell(""), Cell("")]
    if row is None:
        return [Cell("–"), Cell(""), Cell("not compared"), Cell("0", 0)]
    verdict = str(row["verdict"])
    return [
        Cell(format_percent(row["relative"]), row["relative"]),
        Cell(_format_interval(row["relative_low"], row["relative_high"]) or "–", row["relative_low"]),
        Cell(f"{SIGNS[verdict]} {verdict}", verdict, verdict.replace(" ", "-")),
        Cell(str(row["days"]), row["days"]),
    ]


def _format_interval(low: float, high: float) -> str:
    return f"{format_percent(low)} to {format_percent(high)}" if np.isfinite(low) else ""


def _format_digits(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "–"
