"""One region's section of the page: everything that is computed of a region, ready for the template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from markupsafe import Markup

from hybridcast.nightly.alarm import AlarmSettings, Judgement
from hybridcast.nightly.records import RegionNight
from hybridcast.nightly.report import figures, svg, tables
from hybridcast.nightly.report.figures import Drawing
from hybridcast.nightly.report.formatting import SIGNS, format_percent, format_score
from hybridcast.nightly.report.maps import MapPair, draw_worst_cases
from hybridcast.nightly.series import collect_nights, find_index

LegendEntry = tuple[Markup, str]
"""A line as inline SVG, and its name."""


@dataclass(frozen=True)
class VerifiedPart:
    """The part of a region's section that needs tonight's statistics."""

    wet_fraction: float
    """Fraction of the points with rain at the threshold and lead time of the night's score; NaN without points."""
    scorecard: tables.Scorecard | None
    """None if the baseline is the only nowcaster, or no night has enough rain."""
    verdicts_by_lead: Mapping[str, tables.Verdict]
    """The scorecard's column at the threshold of the night's score, by lead time."""
    skill: Sequence[Drawing]
    reliability: Sequence[Drawing]
    scales: Sequence[Drawing]
    worst: Sequence[MapPair]
    tables: Sequence[tables.Table]


@dataclass(frozen=True)
class RegionPage:
    """The section of a region, as the template shows it."""

    anchor: str
    """Id of the section, for links within the page."""
    name: str
    state: str
    sign: str
    """Sign of the state."""
    sentence: str
    """Summary of the night in one sentence."""
    notes: Sequence[str]
    """Descriptions of what was missing."""
    done: int
    """Number of verified issue times."""
    expected: int
    """Number of configured issue times."""
    seconds: float
    """Duration of the run, s."""
    judgement: Judgement
    legend: Sequence[LegendEntry]
    trend: Drawing | None
    """The night's score over the last nights."""
    verified: VerifiedPart | None
    """None if tonight has no statistics."""


@dataclass(frozen=True)
class _Roles:
    """The nowcasters of the statistics, the chosen one first and the baseline last, and the judgement of them."""

    names: list[str]
    judgement: Judgement

    @property
    def styles(self) -> dict[str, dict[str, object]]:
        return figures.assign_styles(self.names, self.judgement.nowcaster, self.judgement.baseline)

    @property
    def legend(self) -> list[LegendEntry]:
        baseline = self.judgement.baseline
        return [
            (svg.draw_legend_line(style, name), f"{name} (baseline)" if name == baseline else name)
            for name, style in self.styles.items()
        ]


def build_region_page(
    night: RegionNight, judgement: Judgement, history: xr.Dataset, settings: AlarmSettings, anchor: str
) -> RegionPage:
    """Compute the section of a region."""
    page = RegionPage(
        anchor=anchor,
        name=night.region,
        state=night.state,
        sign=SIGNS[night.state],
        sentence=_describe_unverified(night, judgement),
        notes=night.notes or _describe_unverified_cases(night),
        done=night.done,
        expected=night.expected,
        seconds=night.seconds,
        judgement=judgement,
        legend=(),
        trend=None,
        verified=None,
    )
    series = collect_nights(night, history, settings.nights)
    if series is None:
        return page
    is_verified = night.statistics is not None and series["date"].values[-1] == night.date
    if not is_verified:
        return _add_trend(page, series, settings)
    return _add_verified(page, night, series, settings)


def _add_trend(page: RegionPage, series: xr.Dataset, settings: AlarmSettings) -> RegionPage:
    """Return the section with the trend of the earlier nights, for a night without statistics."""
    roles = _assign_roles(series, page.judgement)
    if page.judgement.nowcaster not in roles.names:
        return page
    wet = figures.find_wet_nights(series, page.judgement, settings)
    trend = figures.draw_trend(series, page.judgement, settings, roles.styles, wet)
    return page if trend is None else replace(page, trend=trend, legend=roles.legend)


def _add_verified(page: RegionPage, night: RegionNight, series: xr.Dataset, settings: AlarmSettings) -> RegionPage:
    """Return the section with everything that needs tonight's statistics."""
    roles = _choose_available(_assign_roles(series, page.judgement))
    judgement, styles = roles.judgement, roles.styles
    tonight = series.isel(date=-1, drop=True)
    wet = figures.find_wet_nights(series, judgement, settings)
    has_score = settings.score != "FSS" or find_index(tonight["scale"].values, settings.scale) is not None
    comparison = None
    if has_score and wet.any():
        comparison = tables.compare_with_baseline(series, wet, settings, judgement.baseline)
    scorecard = _build_scorecard(comparison, tonight, settings, judgement)
    verified = VerifiedPart(
        wet_fraction=judgement.wet_points / judgement.points if judgement.points else math.nan,
        scorecard=scorecard,
        verdicts_by_lead=_select_column(scorecard, settings),
        skill=figures.draw_skill(series, judgement, settings, styles, wet) if has_score else [],
        reliability=figures.draw_reliability(series, settings, styles, judgement.nowcaster),
        scales=figures.draw_skill_by_scale(tonight, settings, styles, judgement.nowcaster),
        worst=draw_worst_cases(night.worst),
        tables=_build_tables(night, tonight, comparison, settings, judgement.baseline),
    )
    trend = figures.draw_trend(series, judgement, settings, styles, wet)
    sentence = _describe_skill(judgement, scorecard)
    return replace(page, sentence=sentence, legend=roles.legend, trend=trend, verified=verified)


def _assign_roles(series: xr.Dataset, judgement: Judgement) -> _Roles:
    own = [str(name) for name in series["nowcaster"].values]
    chosen, baseline = judgement.nowcaster, judgement.baseline
    ordered = dict.fromkeys((chosen, *(name for name in own if name != baseline), baseline))
    return _Roles([name for name in ordered if name in own], judgement)


def _choose_available(roles: _Roles) -> _Roles:
    """Return the roles with the first nowcaster in place of a chosen one or a baseline that was not run."""
    names, judgement = roles.names, roles.judgement
    nowcaster = judgement.nowcaster if judgement.nowcaster in names else names[0]
    baseline = judgement.baseline if judgement.baseline in names else names[0]
    return _Roles(names, replace(judgement, nowcaster=nowcaster, baseline=baseline))


def _build_scorecard(
    comparison: xr.Dataset | None, tonight: xr.Dataset, settings: AlarmSettings, judgement: Judgement
) -> tables.Scorecard | None:
    if comparison is None or judgement.nowcaster == judgement.baseline:
        return None
    return tables.build_scorecard(comparison, tonight, settings, judgement.nowcaster, judgement.baseline)


def _select_column(scorecard: tables.Scorecard | None, settings: AlarmSettings) -> dict[str, tables.Verdict]:
    """Return the verdicts at the threshold of the night's score, by lead time."""
    if scorecard is None:
        return {}
    wanted = f"{settings.threshold:g} mm/h"
    column = list(scorecard.thresholds).index(wanted) if wanted in scorecard.thresholds else 0
    return {row.lead: row.verdicts[column] for row in scorecard.rows}


def _build_tables(
    night: RegionNight, tonight: xr.Dataset, comparison: xr.Dataset | None, settings: AlarmSettings, baseline: str
) -> list[tables.Table]:
    found = (
        tables.tabulate_by_threshold(tonight, comparison, settings, baseline),
        tables.tabulate_rates(tonight),
        tables.tabulate_probabilities(tonight, settings, figures.find_probabilistic(tonight)),
        tables.tabulate_members(night.statistics, "Members, by lead time"),
        tables.tabulate_hours(night.hourly),
        tables.tabulate_members(night.hourly, "Members: rain of whole hours"),
        tables.tabulate_warnings(night.warnings),
        tables.tabulate_warning_reliability(night.warnings),
    )
    return [table for table in found if table is not None]


# --- sentences ------------------------------------------------------------------------------------------------


def _describe_unverified_cases(night: RegionNight) -> tuple[str, ...]:
    """Return a note about issue times that were not verified, for a night without notes."""
    if night.done < night.expected:
        return (f"{night.expected - night.done} of {night.expected} issue times were not verified.",)
    return ()


def _describe_unverified(night: RegionNight, judgement: Judgement) -> str:
    reasons = {"failed": "The run failed", "no data": "There was nothing to verify"}
    return f"{reasons.get(night.state, 'Nothing was verified')}: no score of {judgement.score}."


def _describe_skill(judgement: Judgement, scorecard: tables.Scorecard | None) -> str:
    """Return a sentence about the night's score, compared with the baseline and with the nights before."""
    if not np.isfinite(judgement.value):
        reason = judgement.reason.removeprefix("not judged: ")
        return f"{judgement.score}: {reason}." if reason else ""
    first = f"{judgement.score}: {judgement.nowcaster} {format_score(judgement.value)}"
    if np.isfinite(judgement.baseline_value) and judgement.nowcaster != judgement.baseline:
        change = judgement.value / judgement.baseline_value - 1 if judgement.baseline_value > 0 else math.nan
        baseline = f"{judgement.baseline} {format_score(judgement.baseline_value)}"
        first += f", {baseline} ({format_percent(change)} tonight)"
    parts = [first]
    if np.isfinite(judgement.mean):
        parts.append(f"usually {format_score(judgement.mean)} here ({judgement.nights} nights with rain)")
    if scorecard is not None:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in scorecard.counts.items() if count)
        parts.append(f"scorecard of {sum(scorecard.counts.values())} fields: {counts}")
    return "; ".join(parts) + f". {_describe_alarm(judgement)}"


def _describe_alarm(judgement: Judgement) -> str:
    if judgement.verdict == "not judged":
        return f"Skill alarm: {judgement.reason}."
    return f"{_capitalize(judgement.reason)}." if judgement.raised else "No skill alarm."


def _capitalize(text: str) -> str:
    return text[0].upper() + text[1:]
