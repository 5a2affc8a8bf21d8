"""The figures of one region: skill by lead time, reliability, scale, and the trend of the last nights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hybridcast.nightly.alarm import AlarmSettings, Judgement, band_of, enough_rain
from hybridcast.nightly.report import svg
from hybridcast.nightly.report.formatting import SIGNS, number
from hybridcast.nightly.report.tables import score_words
from hybridcast.nightly.series import SCORES, minutes_of, place_of
from hybridcast.verification.scores import fractions_skill_score, reliability_diagram
from hybridcast.verification.significance import MIN_DAYS

#: Thresholds of the figures, mm h-1, as far as the sums have them.
SHOWN = (0.1, 1.0, 5.0)
#: Bins of probability with fewer points are left out of the line.
LEAST_POINTS = 50
SIZE = (3.9, 2.9)
#: Behind words, so that a line does not strike them through.
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
Styles = Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class Drawing:
    """A figure, its title, and the words under it."""

    title: str
    figure: Markup
    caption: str


def thresholds(sums: xr.Dataset) -> list[float]:
    """Return the thresholds that figures are drawn of: three of the sums' own."""
    own = sums["threshold"].values
    usual = [level for level in SHOWN if place_of(own, level) is not None]
    return usual or [float(level) for level in own[:3]]


def styles_of(nowcasters: Sequence[str], chosen: str, baseline: str) -> dict[str, dict[str, Any]]:
    """Return each nowcaster its line: the chosen one first and strong, the baseline dashed and black."""
    others = [name for name in nowcasters if name not in (chosen, baseline)]
    found = {} if chosen == baseline else {chosen: svg.style_of(0)}
    found |= {name: svg.style_of(place) for place, name in enumerate(others, 1)}
    if baseline in nowcasters:
        found[baseline] = svg.style_of(0, baseline=True)
    return found


# --- skill by lead time ---------------------------------------------------------------------------------------


def skill(
    series: xr.Dataset, judged: Judgement, settings: AlarmSettings, styles: Styles, wet: NDArray[np.bool_]
) -> list[Drawing]:
    """Draw the score by lead time at three thresholds, tonight's lines over the band of the earlier nights."""
    headline = settings.headline
    score = _of_nights(series, settings)
    minutes = score["lead_time"].values / np.timedelta64(1, "m")
    levels = thresholds(series) if "threshold" in score.dims else [np.nan]
    drawings = []
    for level in levels:
        here = _at(score, threshold=level) if "threshold" in score.dims else score
        drawn, axes = _axes("lead time (min)", headline.score)
        title = f"{score_words(settings)} and {level:g} mm/h" if np.isfinite(level) else headline.score
        caption = [_support(series, headline.lead, level, judged.nowcaster)]
        if not _any(here.isel(date=-1)):
            drawings.append(Drawing(title, Markup(), "Not defined tonight: too little rain at this threshold."))
            continue
        caption.insert(0, _band(axes, here.sel(nowcaster=judged.nowcaster), minutes, wet, settings.level))
        for name, style in styles.items():
            axes.plot(minutes, here.isel(date=-1).sel(nowcaster=name), **style)
        _unit_scale(axes, here.isel(date=-1))
        axes.set_xticks(*_few_ticks(minutes))
        drawings.append(Drawing(title, svg.inline(drawn, f"{title} by lead time"), " ".join(caption)))
    return drawings


def _band(axes: Axes, mine: xr.DataArray, minutes: NDArray[Any], wet: NDArray[np.bool_], level: float) -> str:
    """Draw where one night more is expected, from the earlier nights with rain; say what it is."""
    earlier = mine.isel(date=np.flatnonzero(wet[:-1])).transpose("date", "lead_time").values
    ends = np.full((2, minutes.size), np.nan)
    counts = np.isfinite(earlier).sum(axis=0)
    for k in np.flatnonzero(counts >= MIN_DAYS):
        band = band_of(earlier[np.isfinite(earlier[:, k]), k], level)
        ends[:, k] = max(band.low, 0.0), min(band.high, 1.0)
    if not np.isfinite(ends).any():
        return f"No band: {counts.max(initial=0)} earlier nights with rain, {MIN_DAYS} are needed."
    axes.fill_between(minutes, ends[0], ends[1], color=svg.COLOURS[0], alpha=0.16, linewidth=0)
    for end in ends:
        axes.plot(minutes, end, color=svg.COLOURS[0], linewidth=0.7, linestyle=":")
    return f"Band: {100 * level:g} % range of {counts.max()} earlier nights with rain."


# --- scale ----------------------------------------------------------------------------------------------------


def scales(tonight: xr.Dataset, settings: AlarmSettings, styles: Styles, nowcaster: str) -> list[Drawing]:
    """Draw FSS by scale at three thresholds, at the lead time of the night's score."""
    if "scale" not in tonight.dims or place_of(tonight["lead_time"].values, settings.headline.lead) is None:
        return []
    here = tonight.sel(lead_time=settings.headline.lead)
    score = fractions_skill_score(here)
    drawings = []
    for level in thresholds(tonight):
        title = f"FSS at {level:g} mm/h and {minutes_of(settings.headline.lead):g} min"
        if not _any(_at(score, threshold=level)):
            drawings.append(Drawing(title, Markup(), "Not defined tonight: too little rain at this threshold."))
            continue
        drawn, axes = _axes("side of the windows (km)", "FSS")
        for name, style in styles.items():
            axes.plot(here["scale"].values, _at(score, threshold=level).sel(nowcaster=name), **style)
        useful = _useful(_at(here, threshold=level).sel(nowcaster=nowcaster))
        axes.axhline(useful, color=svg.GREY, linewidth=0.9, linestyle="-.")
        axes.annotate("useful", (0.01, useful), xycoords=("axes fraction", "data"), **_note("left"))
        axes.set_xscale("log")
        _unit_scale(axes, _at(score, threshold=level))
        axes.set_xticks(here["scale"].values, [f"{scale:g}" for scale in here["scale"].values])
        axes.minorticks_off()
        caption = "Useful: half way from a random forecast to a perfect one (0.5 + half the wet share). " + _support(
            tonight, settings.headline.lead, level, nowcaster
        )
        drawings.append(Drawing(title, svg.inline(drawn, f"{title} by scale"), caption))
    return drawings


def _useful(sums: xr.Dataset) -> float:
    return 0.5 + float((sums["hits"] + sums["misses"]) / sums["count"]) / 2


# --- reliability ----------------------------------------------------------------------------------------------


def probabilistic(sums: xr.Dataset) -> list[str]:
    """Return the nowcasters whose probabilities are not all 0 or 1."""
    if "bin_count" not in sums:
        return []
    between = sums["bin_count"].isel(probability_bin=slice(1, -1))
    total = between.sum([dim for dim in between.dims if dim != "nowcaster"])
    return [str(name) for name in total["nowcaster"].values[total.values > 0]]


def reliability(series: xr.Dataset, settings: AlarmSettings, styles: Styles, nowcaster: str) -> list[Drawing]:
    """Draw how often it rained for each probability, over all nights, and how often each probability was given."""
    nowcasters = [name for name in styles if name in probabilistic(series)]
    if not nowcasters or place_of(series["lead_time"].values, settings.headline.lead) is None:
        return []
    first = nowcaster if nowcaster in nowcasters else nowcasters[0]
    pooled = series.sel(lead_time=settings.headline.lead).sum("date")
    nights = series.sizes["date"]
    drawings = []
    for level in thresholds(series):
        diagram = reliability_diagram(_at(pooled, threshold=level))
        title = f"Reliability at {level:g} mm/h"
        points = diagram["points"].sel(nowcaster=first)
        drawn = svg.figure(SIZE[0], 3.9)
        above, below = drawn.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        above.plot([0, 1], [0, 1], color=svg.GREY, linewidth=0.9, linestyle="-.")
        for name in nowcasters:
            mine = diagram.sel(nowcaster=name)
            line = mine.where(mine["points"] >= LEAST_POINTS)
            above.plot(line["probability"], line["frequency"], **styles[name])
        above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="observed frequency")
        _plain(above)
        _bars(below, diagram["points"]["probability_bin"].values, points.values, styles[first]["color"])
        caption = (
            f"{_nights(nights)}, {minutes_of(settings.headline.lead):g} min; on the dash-dotted line it rains as often "
            f"as said. Bars: points by probability of {first}, {number(points.sum())} in all; "
            f"bins with fewer than {LEAST_POINTS} are left out above."
        )
        drawings.append(Drawing(title, svg.inline(drawn, title), caption))
    return drawings


def _bars(axes: Axes, places: NDArray[Any], points: NDArray[Any], colour: str) -> None:
    axes.bar(places, np.maximum(points, 0.8), width=0.035, bottom=0.8, color=colour)
    axes.set_yscale("log")
    top = max(float(points.max()), 10.0)
    axes.set_ylim(0.8, 3 * top)
    ticks = 10.0 ** np.arange(0, np.ceil(np.log10(top)) + 1, 2 if top < 1e5 else 3)
    axes.set_yticks(ticks, [number(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="forecast probability", ylabel="points")
    _plain(axes)


# --- trend ----------------------------------------------------------------------------------------------------


def trend(
    series: xr.Dataset, judged: Judgement, settings: AlarmSettings, styles: Styles, wet: NDArray[np.bool_]
) -> Drawing | None:
    """Draw the night's score over the last nights with the alarm line."""
    headline = settings.headline
    here = headline.at(series)
    shown = [
        name for name in (judged.nowcaster, judged.baseline) if name in styles and name in series["nowcaster"].values
    ]
    if here is None or not shown or not _any(headline.values(here.sel(nowcaster=shown))):
        return None
    drawn = svg.figure(4.8, 2.9)
    axes = drawn.add_subplot()
    tonight = np.datetime64(judged.date, "D")
    days = (series["date"].values.astype("datetime64[D]") - tonight).astype(int)
    values = headline.values(here)
    if np.isfinite(judged.line):
        _alarm_line(axes, judged)
    for name in dict.fromkeys(shown):
        _nights_line(axes, days, values.sel(nowcaster=name).values, wet, styles[name])
    _mark_tonight(axes, judged, days)
    axes.set(xlim=(-settings.nights - 0.8, 1.5), ylabel=headline.score)
    _unit_scale(axes, values.sel(nowcaster=shown), also=judged.line)
    ticks = np.arange(0, -settings.nights - 1, -max(1, round(settings.nights / 5)))
    axes.set_xticks(ticks, [(tonight + int(day)).item().strftime("%-d %b") for day in ticks])
    _plain(axes)
    few = int((~wet).sum())
    hollow = f", {few} of them with too little rain to be judged (hollow, no line)" if few else ""
    caption = f"{_nights(days.size)} verified within {settings.nights} days{hollow}. {_line(judged)}"
    title = f"{headline.words}, night by night"
    return Drawing(title, svg.inline(drawn, f"{headline.words} of the last nights"), caption)


def _alarm_line(axes: Axes, judged: Judgement) -> None:
    low = max(judged.line, 0.0)
    axes.axhspan(low, min(judged.top, 1.0), color=svg.COLOURS[0], alpha=0.12, linewidth=0)
    axes.axhline(judged.line, color="#a01010", linewidth=1.3, linestyle="-")
    axes.annotate("alarm line", (0.01, judged.line), xycoords=("axes fraction", "data"), **_note("left", "#a01010", -9))


def _nights_line(
    axes: Axes, days: NDArray[Any], values: NDArray[Any], wet: NDArray[np.bool_], style: dict[str, Any]
) -> None:
    axes.plot(days[wet], values[wet], **style)
    hollow = {"linestyle": "none", "markerfacecolor": "none", "marker": style["marker"], "color": style["color"]}
    axes.plot(days[~wet], values[~wet], markersize=style["markersize"], **hollow)


def _mark_tonight(axes: Axes, judged: Judgement, days: NDArray[Any]) -> None:
    if np.isfinite(judged.value) and days[-1] == 0:
        axes.plot([0], [judged.value], marker="o", markersize=11, color="none", markeredgecolor="#000000")
        words = f"tonight {judged.value:.2f}" + (f", {SIGNS['alarm']} alarm" if judged.raised else "")
        axes.set_title(words, loc="right", fontsize=9.5)


def _line(judged: Judgement) -> str:
    if np.isfinite(judged.line):
        return f"Alarm line {judged.line:.2f} from {judged.nights} earlier nights with enough rain."
    return f"No alarm line: {judged.nights} earlier nights with enough rain."


# --- parts ----------------------------------------------------------------------------------------------------


def wet_nights(series: xr.Dataset, judged: Judgement, settings: AlarmSettings) -> NDArray[np.bool_]:
    """Say which nights have enough rain to count, all of them where the night's score cannot be made."""
    here = settings.headline.at(series)
    if here is None or judged.nowcaster not in series["nowcaster"].values:
        return np.ones(series.sizes["date"], dtype=bool)
    return enough_rain(here.sel(nowcaster=judged.nowcaster), settings)


def _of_nights(series: xr.Dataset, settings: AlarmSettings) -> xr.DataArray:
    """The night's score of every night, nowcaster, lead time and threshold."""
    at_scale = series.sel(scale=settings.scale) if settings.score == "FSS" else series
    return SCORES[settings.score](at_scale)


def _at(data: Any, *, threshold: float) -> Any:
    return data.isel(threshold=place_of(data["threshold"].values, threshold))


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    drawn = svg.figure(*SIZE)
    axes = drawn.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    _plain(axes)
    return drawn, axes


def _plain(axes: Axes) -> None:
    axes.grid(visible=True, color="#d8d8d8", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _unit_scale(axes: Axes, values: xr.DataArray, also: float = np.nan) -> None:
    """From 0 to 1, or as low as the values are."""
    lowest = np.nanmin([float(values.min()), also, 0.0])
    axes.set_ylim(min(-0.02, lowest - 0.02), 1.02)


def _few_ticks(minutes: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    chosen = minutes[:: max(1, -(-minutes.size // 8))] if minutes.size > 8 else minutes
    return chosen, [f"{minute:g}" for minute in chosen]


def _note(side: str, colour: str = svg.GREY, down: float = 3) -> dict[str, Any]:
    return {
        "xytext": (0, down),
        "textcoords": "offset points",
        "ha": side,
        "fontsize": 8.5,
        "color": colour,
        "bbox": PAPER,
    }


def _any(values: xr.DataArray) -> bool:
    return bool(np.isfinite(values).any())


def _nights(count: int) -> str:
    return f"{count} night{'' if count == 1 else 's'}"


def _support(sums: xr.Dataset, lead: np.timedelta64, level: float, nowcaster: str) -> str:
    """Say what tonight's values rest on at the lead time of the night's score."""
    tonight = sums.isel(date=-1) if "date" in sums.dims else sums
    place = place_of(tonight["lead_time"].values, lead)
    here = tonight.sel(nowcaster=nowcaster).isel(lead_time=-1 if place is None else place)
    words = f"{number(here['cases'])} issue times, {number(here['count'])} points"
    if np.isfinite(level):
        here = _at(here, threshold=level)
        words += f", {number(here['hits'] + here['misses'])} of them wet"
    return f"Tonight at {minutes_of(here['lead_time'].values):g} min: {words}."
