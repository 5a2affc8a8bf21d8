"""One region's part of the page: what was computed of it, ready to be laid out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from markupsafe import Markup

from hybridcast.nightly.alarm import AlarmSettings, Judgement
from hybridcast.nightly.records import RegionNight
from hybridcast.nightly.report import figures, maps, svg, tables
from hybridcast.nightly.report.figures import Drawing
from hybridcast.nightly.report.formatting import SIGNS, percent, score
from hybridcast.nightly.series import nights_of, place_of


@dataclass(frozen=True)
class RegionPage:
    """What the template shows of a region."""

    anchor: str
    name: str
    state: str
    sign: str
    sentence: str
    notes: tuple[str, ...]
    done: int
    expected: int
    seconds: float
    judged: Judgement
    share: float = math.nan
    """Share of the points with rain at the threshold and lead time of the night's score."""
    verified: bool = False
    card: tables.Scorecard | None = None
    lead_cells: dict[str, tables.Verdict] = field(default_factory=dict)
    """The scorecard's column at the threshold of the night's score, by lead time."""
    legend: list[tuple[Markup, str]] = field(default_factory=list)
    skill: list[Drawing] = field(default_factory=list)
    trend: Drawing | None = None
    reliability: list[Drawing] = field(default_factory=list)
    scales: list[Drawing] = field(default_factory=list)
    worst: list[maps.Pair] = field(default_factory=list)
    tables: list[tables.Table] = field(default_factory=list)


def region_page(
    night: RegionNight, judged: Judgement, history: xr.Dataset, settings: AlarmSettings, anchor: str
) -> RegionPage:
    """Compute all that is shown of a region."""
    series = nights_of(night, history, settings.nights)
    about: dict[str, Any] = {
        "anchor": anchor, "name": night.region, "state": night.state, "sign": SIGNS[night.state],
        "notes": night.notes or _unsaid(night), "done": night.done, "expected": night.expected,
        "seconds": night.seconds, "judged": judged,
    }  # fmt: skip
    verified = series is not None and night.sums is not None and series["date"].values[-1] == night.date
    if series is None:
        return RegionPage(sentence=_without(night, judged), **about)
    if not verified:
        trend = _trend_alone(series, judged, settings)
        legend = [] if trend is None else _legend(_nowcasters(series, judged), judged)
        return RegionPage(sentence=_without(night, judged), trend=trend, legend=legend, **about)
    return RegionPage(verified=True, **about, **_verified(night, judged, series, settings))


def _verified(night: RegionNight, judged: Judgement, series: xr.Dataset, settings: AlarmSettings) -> dict[str, Any]:
    """Everything that needs tonight's sums."""
    nowcasters = _nowcasters(series, judged)
    nowcaster = judged.nowcaster if judged.nowcaster in nowcasters else nowcasters[0]
    baseline = judged.baseline if judged.baseline in nowcasters else nowcasters[0]
    mine = replace(judged, nowcaster=nowcaster, baseline=baseline)
    wet, tonight = figures.wet_nights(series, mine, settings), series.isel(date=-1, drop=True)
    styles = figures.styles_of(nowcasters, nowcaster, baseline)
    scored = settings.score != "FSS" or place_of(tonight["scale"].values, settings.scale) is not None
    compared = tables.differences(series, wet, settings, baseline) if scored and wet.any() else None
    card = None
    if compared is not None and nowcaster != baseline:
        card = tables.scorecard(compared, tonight, settings, nowcaster, baseline)
    sure = figures.probabilistic(tonight)
    made = [
        tables.by_threshold(tonight, compared, settings, baseline),
        tables.of_rates(tonight),
        tables.of_probabilities(tonight, settings, sure),
        tables.of_hours(night.hours),
    ]
    return {
        "sentence": _sentence(mine, card),
        "share": mine.wet_points / mine.points if mine.points else math.nan,
        "card": card,
        "lead_cells": _at_threshold(card, settings),
        "legend": _legend(nowcasters, mine),
        "skill": figures.skill(series, mine, settings, styles, wet) if scored else [],
        "trend": figures.trend(series, mine, settings, styles, wet),
        "reliability": figures.reliability(series, settings, styles, nowcaster),
        "scales": figures.scales(tonight, settings, styles, nowcaster),
        "worst": maps.pairs(night.worst),
        "tables": [table for table in made if table is not None],
    }


def _nowcasters(series: xr.Dataset, judged: Judgement) -> list[str]:
    """The nowcasters, the chosen one first and the baseline last."""
    own = [str(name) for name in series["nowcaster"].values]
    ordered = [
        judged.nowcaster,
        *(name for name in own if name not in (judged.nowcaster, judged.baseline)),
        judged.baseline,
    ]
    return [name for name in dict.fromkeys(ordered) if name in own]


def _trend_alone(series: xr.Dataset, judged: Judgement, settings: AlarmSettings) -> Drawing | None:
    nowcasters = _nowcasters(series, judged)
    if judged.nowcaster not in nowcasters:
        return None
    wet = figures.wet_nights(series, judged, settings)
    return figures.trend(
        series, judged, settings, figures.styles_of(nowcasters, judged.nowcaster, judged.baseline), wet
    )


def _legend(nowcasters: list[str], judged: Judgement) -> list[tuple[Markup, str]]:
    roles = {judged.baseline: " (baseline)"}
    styles = figures.styles_of(nowcasters, judged.nowcaster, judged.baseline)
    return [(svg.key(style, name), name + roles.get(name, "")) for name, style in styles.items()]


def _at_threshold(card: tables.Scorecard | None, settings: AlarmSettings) -> dict[str, tables.Verdict]:
    if card is None:
        return {}
    wanted = f"{settings.threshold:g} mm/h"
    place = card.thresholds.index(wanted) if wanted in card.thresholds else 0
    return {lead: cells[place] for lead, _, cells in card.rows}


# --- in words -------------------------------------------------------------------------------------------------


def _unsaid(night: RegionNight) -> tuple[str, ...]:
    """Say what is missing where the run said nothing."""
    if night.done < night.expected:
        return (f"{night.expected - night.done} of {night.expected} issue times were not verified.",)
    return ()


def _without(night: RegionNight, judged: Judgement) -> str:
    words = {"failed": "The run failed", "no data": "There was nothing to verify"}
    return f"{words.get(night.state, 'Nothing was verified')}: no score of {judged.score}."


def _sentence(judged: Judgement, card: tables.Scorecard | None) -> str:
    """Say how good the night was, against the baseline and the nights before."""
    if not np.isfinite(judged.value):
        return f"{judged.score}: {judged.reason.removeprefix('not judged: ')}." if judged.reason else ""
    parts = [f"{judged.score}: {judged.nowcaster} {score(judged.value)}"]
    if np.isfinite(judged.baseline_value) and judged.nowcaster != judged.baseline:
        change = judged.value / judged.baseline_value - 1 if judged.baseline_value > 0 else math.nan
        parts[0] += f", {judged.baseline} {score(judged.baseline_value)} ({percent(change)} tonight)"
    if np.isfinite(judged.usual):
        parts.append(f"usually {score(judged.usual)} here ({judged.nights} nights with rain)")
    if card is not None:
        total = sum(card.counts.values())
        told = ", ".join(f"{count} {verdict}" for verdict, count in card.counts.items() if count)
        parts.append(f"scorecard of {total} fields: {told}")
    return "; ".join(parts) + f". {_alarm(judged)}"


def _alarm(judged: Judgement) -> str:
    if judged.verdict == "not judged":
        return f"Skill alarm: {judged.reason}."
    return "No skill alarm." if not judged.raised else f"{judged.reason[0].upper()}{judged.reason[1:]}."
