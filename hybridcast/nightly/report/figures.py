"""The figures of one region: skill by lead time and by scale, reliability, and the trend of the last nights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hybridcast.core.types import MINUTE, Doubles, Mask
from hybridcast.nightly.alarm import AlarmSettings, Judgement, compute_prediction_interval, has_enough_rain
from hybridcast.nightly.report import svg
from hybridcast.nightly.report.formatting import SIGNS, format_count
from hybridcast.nightly.report.tables import name_score
from hybridcast.nightly.series import SCORES, find_index, to_minutes
from hybridcast.verification.scores import fractions_skill_score, reliability_diagram
from hybridcast.verification.significance import MIN_DAYS

SHOWN_THRESHOLDS = (0.1, 1.0, 5.0)
"""Thresholds of the figures, mm h-1, as far as the statistics have them."""
MIN_POINTS = 50
"""Minimum number of points of a probability bin in the reliability line."""
SIZE = (3.9, 2.9)
#: Background of text in a figure, so that no line strikes through it.
_TEXT_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
_ALARM_COLOUR = "#a01010"
_NOT_DEFINED = "Not defined tonight: too little rain at this threshold."
Styles = Mapping[str, dict[str, Any]]
"""Line styles by nowcaster."""
T = TypeVar("T", xr.Dataset, xr.DataArray)


@dataclass(frozen=True)
class Drawing:
    """A figure with its title and caption."""

    title: str
    figure: Markup
    caption: str


def select_thresholds(statistics: xr.Dataset) -> list[float]:
    """Return the thresholds of the figures: `SHOWN_THRESHOLDS` in the statistics, or else their first three."""
    own = statistics["threshold"].values
    usual = [threshold for threshold in SHOWN_THRESHOLDS if find_index(own, threshold) is not None]
    return usual or [float(threshold) for threshold in own[:3]]


def assign_styles(nowcasters: Sequence[str], chosen: str, baseline: str) -> dict[str, dict[str, Any]]:
    """Return the line style of each nowcaster: the chosen one first and strong, the baseline dashed and black."""
    others = [name for name in nowcasters if name not in (chosen, baseline)]
    styles = {} if chosen == baseline else {chosen: svg.line_style(0)}
    styles |= {name: svg.line_style(number) for number, name in enumerate(others, 1)}
    if baseline in nowcasters:
        styles[baseline] = svg.line_style(0, baseline=True)
    return styles


# --- skill by lead time ---------------------------------------------------------------------------------------


def draw_skill(
    series: xr.Dataset, judgement: Judgement, settings: AlarmSettings, styles: Styles, wet: Mask
) -> list[Drawing]:
    """Draw the night's score by lead time for each shown threshold, over the band of the earlier nights."""
    selected = series.sel(scale=settings.scale) if settings.score == "FSS" else series
    score = SCORES[settings.score](selected)
    if "threshold" not in score.dims:
        caption = _describe_support(series, settings.headline.lead, None, judgement.nowcaster)
        return [_draw_skill(score, settings.headline.score, caption, judgement, settings, styles, wet)]
    drawings = []
    for threshold in select_thresholds(series):
        title = f"{name_score(settings)} and {threshold:g} mm/h"
        caption = _describe_support(series, settings.headline.lead, threshold, judgement.nowcaster)
        at_threshold = _at_threshold(score, threshold)
        drawings.append(_draw_skill(at_threshold, title, caption, judgement, settings, styles, wet))
    return drawings


def _draw_skill(
    score: xr.DataArray,
    title: str,
    caption: str,
    judgement: Judgement,
    settings: AlarmSettings,
    styles: Styles,
    wet: Mask,
) -> Drawing:
    tonight = score.isel(date=-1)
    if not _any_finite(tonight):
        return Drawing(title, Markup(), _NOT_DEFINED)
    figure, axes = _new_axes("lead time (min)", settings.headline.score)
    minutes = score["lead_time"].values / MINUTE
    band = _draw_band(axes, score.sel(nowcaster=judgement.nowcaster), minutes, wet, settings.confidence_level)
    for name, style in styles.items():
        axes.plot(minutes, tonight.sel(nowcaster=name), **style)
    _set_unit_limits(axes, tonight)
    axes.set_xticks(*_select_ticks(minutes))
    return Drawing(title, svg.to_svg(figure, f"{title} by lead time"), f"{band} {caption}")


def _draw_band(axes: Axes, score: xr.DataArray, minutes: Doubles, wet: Mask, confidence_level: float) -> str:
    """Draw the prediction interval of the earlier nights with rain, and return its description."""
    earlier = score.isel(date=np.flatnonzero(wet[:-1])).transpose("date", "lead_time").values
    ends = np.full((2, minutes.size), np.nan)
    counts = np.isfinite(earlier).sum(axis=0)
    for k in np.flatnonzero(counts >= MIN_DAYS):
        interval = compute_prediction_interval(earlier[np.isfinite(earlier[:, k]), k], confidence_level)
        ends[:, k] = max(interval.low, 0.0), min(interval.high, 1.0)
    if not np.isfinite(ends).any():
        return f"No band: {counts.max(initial=0)} earlier nights with rain, {MIN_DAYS} are needed."
    axes.fill_between(minutes, ends[0], ends[1], color=svg.COLOURS[0], alpha=0.16, linewidth=0)
    for end in ends:
        axes.plot(minutes, end, color=svg.COLOURS[0], linewidth=0.7, linestyle=":")
    return f"Band: {100 * confidence_level:g} % range of {counts.max()} earlier nights with rain."


# --- skill by scale -------------------------------------------------------------------------------------------


def draw_skill_by_scale(tonight: xr.Dataset, settings: AlarmSettings, styles: Styles, nowcaster: str) -> list[Drawing]:
    """Draw the FSS by scale for each shown threshold, at the lead time of the night's score."""
    lead = settings.headline.lead
    if "scale" not in tonight.dims or find_index(tonight["lead_time"].values, lead) is None:
        return []
    selected = tonight.sel(lead_time=lead)
    drawings = []
    for threshold in select_thresholds(tonight):
        title = f"FSS at {threshold:g} mm/h and {to_minutes(lead):g} min"
        statistics = _at_threshold(selected, threshold)
        score = fractions_skill_score(statistics)
        if not _any_finite(score):
            drawings.append(Drawing(title, Markup(), _NOT_DEFINED))
            continue
        figure = _draw_scales(score, _useful_fss(statistics.sel(nowcaster=nowcaster)), styles)
        support = _describe_support(tonight, lead, threshold, nowcaster)
        caption = f"Useful: half way from a random forecast to a perfect one (0.5 + half the wet fraction). {support}"
        drawings.append(Drawing(title, svg.to_svg(figure, f"{title} by scale"), caption))
    return drawings


def _draw_scales(score: xr.DataArray, useful: float, styles: Styles) -> Figure:
    figure, axes = _new_axes("side of the windows (km)", "FSS")
    scales = score["scale"].values
    for name, style in styles.items():
        axes.plot(scales, score.sel(nowcaster=name), **style)
    axes.axhline(useful, color=svg.GREY, linewidth=0.9, linestyle="-.")
    axes.annotate("useful", (0.01, useful), xycoords=("axes fraction", "data"), **_note_options(svg.GREY, 3))
    axes.set_xscale("log")
    _set_unit_limits(axes, score)
    axes.set_xticks(scales, [f"{scale:g}" for scale in scales])
    axes.minorticks_off()
    return figure


def _useful_fss(statistics: xr.Dataset) -> float:
    """Return the FSS half way from a random forecast to a perfect one."""
    return 0.5 + float((statistics["hits"] + statistics["misses"]) / statistics["count"]) / 2


# --- reliability ----------------------------------------------------------------------------------------------


def find_probabilistic(statistics: xr.Dataset) -> list[str]:
    """Return the nowcasters whose probabilities are not all 0 or 1."""
    if "bin_count" not in statistics:
        return []
    uncertain = statistics["bin_count"].isel(probability_bin=slice(1, -1))
    total = uncertain.sum([dim for dim in uncertain.dims if dim != "nowcaster"])
    return [str(name) for name in total["nowcaster"].values[total.values > 0]]


def draw_reliability(series: xr.Dataset, settings: AlarmSettings, styles: Styles, nowcaster: str) -> list[Drawing]:
    """Draw the observed frequency by forecast probability over all nights, and the number of points of each bin."""
    lead = settings.headline.lead
    probabilistic = find_probabilistic(series)
    shown = {name: style for name, style in styles.items() if name in probabilistic}
    if not shown or find_index(series["lead_time"].values, lead) is None:
        return []
    first = nowcaster if nowcaster in shown else next(iter(shown))
    pooled = series.sel(lead_time=lead).sum("date")
    nights = _count_nights(series.sizes["date"])
    drawings = []
    for threshold in select_thresholds(series):
        diagram = reliability_diagram(_at_threshold(pooled, threshold))
        title = f"Reliability at {threshold:g} mm/h"
        points = diagram["points"].sel(nowcaster=first).sum()
        caption = (
            f"{nights}, {to_minutes(lead):g} min; on the dash-dotted line the observed frequency is the forecast "
            f"probability. Bars: points by probability of {first}, {format_count(points)} in all; bins with fewer than "
            f"{MIN_POINTS} are left out above."
        )
        drawings.append(Drawing(title, svg.to_svg(_draw_diagram(diagram, shown, first), title), caption))
    return drawings


def _draw_diagram(diagram: xr.Dataset, styles: Styles, first: str) -> Figure:
    figure = svg.new_figure(SIZE[0], 3.9)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], color=svg.GREY, linewidth=0.9, linestyle="-.")
    for name, style in styles.items():
        own = diagram.sel(nowcaster=name)
        line = own.where(own["points"] >= MIN_POINTS)
        above.plot(line["probability"], line["frequency"], **style)
    above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="observed frequency")
    _clear_frame(above)
    points = diagram["points"].sel(nowcaster=first)
    _draw_bars(below, points["probability_bin"].values, points.values, styles[first]["color"])
    return figure


def _draw_bars(axes: Axes, bins: NDArray[Any], points: NDArray[Any], colour: str) -> None:
    axes.bar(bins, np.maximum(points, 0.8), width=0.035, bottom=0.8, color=colour)
    axes.set_yscale("log")
    top = max(float(points.max()), 10.0)
    axes.set_ylim(0.8, 3 * top)
    ticks = 10.0 ** np.arange(0, np.ceil(np.log10(top)) + 1, 2 if top < 1e5 else 3)
    axes.set_yticks(ticks, [format_count(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="forecast probability", ylabel="points")
    _clear_frame(axes)


# --- trend ----------------------------------------------------------------------------------------------------


def draw_trend(
    series: xr.Dataset, judgement: Judgement, settings: AlarmSettings, styles: Styles, wet: Mask
) -> Drawing | None:
    """Draw the night's score over the last nights with the alarm line; None if no night has a score."""
    headline = settings.headline
    selected = headline.select(series)
    available = series["nowcaster"].values
    shown = [n for n in dict.fromkeys((judgement.nowcaster, judgement.baseline)) if n in styles and n in available]
    if selected is None or not shown:
        return None
    values = headline.compute(selected).sel(nowcaster=shown)
    if not _any_finite(values):
        return None
    tonight = np.datetime64(judgement.date, "D")
    days = (series["date"].values.astype("datetime64[D]") - tonight).astype(int)
    figure = svg.new_figure(4.8, 2.9)
    axes = figure.add_subplot()
    if np.isfinite(judgement.alarm_line):
        _draw_alarm_line(axes, judgement)
    for name in shown:
        _draw_nights(axes, days, values.sel(nowcaster=name).values, wet, styles[name])
    _mark_tonight(axes, judgement, days)
    axes.set(xlim=(-settings.nights - 0.8, 1.5), ylabel=headline.score)
    _set_unit_limits(axes, values, also=judgement.alarm_line)
    ticks = np.arange(0, -settings.nights - 1, -max(1, round(settings.nights / 5)))
    axes.set_xticks(ticks, [(tonight + int(day)).item().strftime("%-d %b") for day in ticks])
    _clear_frame(axes)
    caption = _describe_trend(judgement, settings, days.size, int((~wet).sum()))
    return Drawing(
        f"{headline.label}, night by night", svg.to_svg(figure, f"{headline.label} of the last nights"), caption
    )


def _draw_alarm_line(axes: Axes, judgement: Judgement) -> None:
    low = max(judgement.alarm_line, 0.0)
    axes.axhspan(low, min(judgement.upper, 1.0), color=svg.COLOURS[0], alpha=0.12, linewidth=0)
    axes.axhline(judgement.alarm_line, color=_ALARM_COLOUR, linewidth=1.3, linestyle="-")
    position = (0.01, judgement.alarm_line)
    axes.annotate("alarm line", position, xycoords=("axes fraction", "data"), **_note_options(_ALARM_COLOUR, -9))


def _draw_nights(axes: Axes, days: NDArray[Any], values: Doubles, wet: Mask, style: dict[str, Any]) -> None:
    """Draw the nights with enough rain as a line, and the others as hollow markers."""
    axes.plot(days[wet], values[wet], **style)
    hollow = {"linestyle": "none", "markerfacecolor": "none", "marker": style["marker"], "color": style["color"]}
    axes.plot(days[~wet], values[~wet], markersize=style["markersize"], **hollow)


def _mark_tonight(axes: Axes, judgement: Judgement, days: NDArray[Any]) -> None:
    if np.isfinite(judgement.value) and days[-1] == 0:
        axes.plot([0], [judgement.value], marker="o", markersize=11, color="none", markeredgecolor="#000000")
        title = f"tonight {judgement.value:.2f}" + (f", {SIGNS['alarm']} alarm" if judgement.raised else "")
        axes.set_title(title, loc="right", fontsize=9.5)


def _describe_trend(judgement: Judgement, settings: AlarmSettings, nights: int, dry: int) -> str:
    hollow = f", {dry} of them with too little rain to be judged (hollow, no line)" if dry else ""
    counted = f"{judgement.nights} earlier nights with enough rain"
    line = (
        f"Alarm line {judgement.alarm_line:.2f} from {counted}."
        if np.isfinite(judgement.alarm_line)
        else f"No alarm line: {counted}."
    )
    return f"{_count_nights(nights)} verified within {settings.nights} days{hollow}. {line}"


# --- parts ----------------------------------------------------------------------------------------------------


def find_wet_nights(series: xr.Dataset, judgement: Judgement, settings: AlarmSettings) -> Mask:
    """Return which nights have enough rain to count; all of them if the night's score cannot be computed."""
    selected = settings.headline.select(series)
    if selected is None or judgement.nowcaster not in series["nowcaster"].values:
        return np.ones(series.sizes["date"], dtype=bool)
    return has_enough_rain(selected.sel(nowcaster=judgement.nowcaster), settings)


def _at_threshold(data: T, threshold: float) -> T:
    return data.isel(threshold=find_index(data["threshold"].values, threshold))


def _new_axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = svg.new_figure(*SIZE)
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    _clear_frame(axes)
    return figure, axes


def _clear_frame(axes: Axes) -> None:
    axes.grid(visible=True, color="#d8d8d8", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _set_unit_limits(axes: Axes, values: xr.DataArray, also: float = np.nan) -> None:
    """Set the limits of y from 0, or the lowest value below it, to 1."""
    lowest = np.nanmin([float(values.min()), also, 0.0])
    axes.set_ylim(min(-0.02, lowest - 0.02), 1.02)


def _select_ticks(minutes: Doubles) -> tuple[Doubles, list[str]]:
    """Return at most eight ticks with their labels."""
    chosen = minutes[:: max(1, -(-minutes.size // 8))] if minutes.size > 8 else minutes
    return chosen, [f"{minute:g}" for minute in chosen]


def _note_options(colour: str, offset: float) -> dict[str, Any]:
    return {
        "xytext": (0, offset),
        "textcoords": "offset points",
        "ha": "left",
        "fontsize": 8.5,
        "color": colour,
        "bbox": _TEXT_BOX,
    }


def _any_finite(values: xr.DataArray) -> bool:
    return bool(np.isfinite(values).any())


def _count_nights(count: int) -> str:
    return f"{count} night{'' if count == 1 else 's'}"


def _describe_support(statistics: xr.Dataset, lead: np.timedelta64, threshold: float | None, nowcaster: str) -> str:
    """Return the sample size of tonight at the lead time of the night's score, or else at the last one."""
    tonight = statistics.isel(date=-1) if "date" in statistics.dims else statistics
    index = find_index(tonight["lead_time"].values, lead)
    selected = tonight.sel(nowcaster=nowcaster).isel(lead_time=-1 if index is None else index)
    text = f"{format_count(selected['cases'])} issue times, {format_count(selected['count'])} points"
    if threshold is not None:
        selected = _at_threshold(selected, threshold)
        text += f", {format_count(selected['hits'] + selected['misses'])} of them wet"
    return f"Tonight at {to_minutes(selected['lead_time'].values):g} min: {text}."
