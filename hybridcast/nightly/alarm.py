"""The skill alarm: whether tonight's score is below the range of the region's last nights.

**The rule.** One score represents a night (by default FSS at 1 mm/h, 20 km and 60 min). The nights before it with
enough rain, at most 30 days back, give the prediction interval for one more night: mean plus and minus Student's t
times the standard deviation times sqrt(1 + 1/n), with a probability of 95 %. A score below the interval raises the
alarm. So one in forty nights that are like the earlier ones raises it.

**Why not the 2.5 % quantile of those nights?** With 10 to 30 nights the quantile is hardly above the worst of them, and
one more night falls below the worst of n with a probability of 1 / (n + 1). In a simulation of scores between 0 and 1
(beta distributed, or with each night like the one before it) the quantile gave a false alarm on 10 % of nights after 10
nights and on 5 % after 30; the prediction interval gave 3 to 4 % for every n. Where one night in seven is of another,
harder kind, both give 5 to 10 %. A fall of 0.35 is found on 50 to 85 % of nights, a fall of 0.2 on 20 to 40 %: a single
night is weak evidence, and a slow loss of skill appears in the 30-day trend and in the scorecard instead.

**Nights with too little rain are not judged** and do not count in the interval: a few small showers are hard to locate,
and their scores are low for no fault of the nowcaster. Enough rain is a minimum fraction of points that reach the
threshold, and a minimum number of issue times. With fewer than ten such nights there is no interval. So after a dry
month there is no alarm until ten nights with rain have come; every report states this and the number of nights so far.
Failures (no data, errors, missing issue times) have their own state in the run and do not depend on rain. If the
earlier nights differ so much that the lower end of the interval is below zero, no night could raise the alarm, and the
judgement states that too.

**The baseline is judged in the same way**, and the message includes its result: if it fell too, the cause is probably
the radar or the weather, and otherwise the nowcaster.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from scipy.stats import t as student

from hybridcast.core.files import atomic_write
from hybridcast.core.types import Doubles, Mask
from hybridcast.errors import InputError
from hybridcast.nightly.records import RegionNight
from hybridcast.nightly.series import HeadlineScore, collect_nights

Verdict = Literal["alarm", "good", "not judged"]
NON_NEGATIVE_SCORES = ("FSS", "CSI")
SCHEMA = 2
"""Version of the alarm file; increment it when the file changes."""


@dataclass(frozen=True)
class AlarmSettings:
    """The score that is judged, and the rule of the alarm."""

    score: str = "FSS"
    """FSS, CSI, ETS or correlation."""
    nowcaster: str = ""
    """The nowcaster that is judged; by default the first one of the night that is not the baseline."""
    threshold: float = 1.0
    """Rate threshold, mm h-1."""
    scale: float = 20.0
    """Side of the windows of FSS, km."""
    lead_time: str = "60min"
    nights: int = 30
    """Number of days before tonight that are used."""
    min_nights: int = 10
    """Minimum number of earlier nights with enough rain; with fewer there is no alarm."""
    min_wet_fraction: float = 0.002
    """Minimum fraction of the points of a night that reach the threshold."""
    min_cases: int = 4
    """Minimum number of issue times of a night."""
    confidence_level: float = 0.95
    """Probability of the prediction interval; half of the rest is below it."""

    def __post_init__(self) -> None:
        """Check the values."""
        limits: dict[str, tuple[float, float]] = {
            "nights": (1, 3650),
            "min_nights": (3, 3650),
            "min_cases": (1, 1e6),
            "min_wet_fraction": (0, 1),
            "confidence_level": (0.5, 0.9999),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                rule = f"{name} is from {low:g} to {high:g}"
                raise InputError(f"{name} = {getattr(self, name)}", rule, "Correct the setting")
        if self.min_nights > self.nights:
            found = f"min_nights = {self.min_nights} of nights = {self.nights}"
            raise InputError(found, "the band is made of nights looked back to", "Look further back, or ask for fewer")
        self.headline  # noqa: B018  refuses an unknown score and a lead time that is none

    @property
    def headline(self) -> HeadlineScore:
        """The score by which a night is judged."""
        return HeadlineScore(self.score, self.threshold, self.scale, self.lead_time)


@dataclass(frozen=True)
class Judgement:
    """The judgement of one region's night. Numbers that do not exist are NaN."""

    region: str
    date: str
    verdict: Verdict
    reason: str
    """Reason for the verdict, as a phrase for people."""
    score: str
    """Label of the score, such as ``FSS at 1 mm/h, 20 km and 60 min``."""
    nowcaster: str
    value: float = math.nan
    """Tonight's score."""
    alarm_line: float = math.nan
    """Lower end of the prediction interval; a score below it raises the alarm."""
    upper: float = math.nan
    """Upper end of the prediction interval."""
    mean: float = math.nan
    """Mean score of the earlier nights."""
    nights: int = 0
    """Number of earlier nights with enough rain."""
    skipped_nights: int = 0
    """Number of earlier nights with too little rain."""
    cases: int = 0
    """Number of issue times of tonight."""
    points: int = 0
    """Number of valid points of tonight."""
    wet_points: int = 0
    """Number of valid points of tonight that reach the threshold."""
    baseline: str = ""
    """Name of the nowcaster that is judged for comparison."""
    baseline_value: float = math.nan
    """Tonight's score of the baseline."""
    baseline_fell: bool | None = None
    """Whether the baseline is below its own prediction interval; None if it has no interval."""

    @property
    def raised(self) -> bool:
        """Whether this is an alarm."""
        return self.verdict == "alarm"

    @property
    def message(self) -> str:
        """One line for people: region, date and reason."""
        return f"{self.region}, {self.date}: {self.reason}"


@dataclass(frozen=True)
class PredictionInterval:
    """The interval in which one more value is expected, and the mean of the earlier values."""

    low: float
    mean: float
    high: float


def judge(
    nights: Sequence[RegionNight], history: xr.Dataset, settings: AlarmSettings | None = None, *, baseline: str
) -> list[Judgement]:
    """Judge the night of each region.

    Parameters
    ----------
    nights
        Tonight, one entry for each region.
    history
        Statistics of the nights before, as `hybridcast.nightly.store.read_history` returns them; tonight may be among
        them.
    settings
        The score and the rule.
    baseline
        Name of the nowcaster that is judged beside the chosen one.

    Returns
    -------
    list
        One judgement for each region, in the order of `nights`, whether it is an alarm or not.
    """
    settings = settings or AlarmSettings()
    return [_judge(night, history, settings, baseline) for night in nights]


def select_nowcaster(nowcasters: Sequence[str], wanted: str, baseline: str) -> str:
    """Return the nowcaster by which a night is judged: `wanted`, or the first one that is not the baseline."""
    others = [name for name in nowcasters if name != baseline]
    return wanted or (others[0] if others else baseline)


def has_enough_rain(statistics: xr.Dataset, settings: AlarmSettings) -> Mask:
    """Return which nights have enough rain and cases, from statistics that `HeadlineScore.select` returned."""
    wet, points = statistics["hits"] + statistics["misses"], statistics["count"]
    enough = (points > 0) & (wet >= settings.min_wet_fraction * points) & (wet > 0)
    return np.asarray((enough & (statistics["cases"] >= settings.min_cases)).values)


def compute_prediction_interval(values: Doubles, confidence_level: float) -> PredictionInterval:
    """Compute Student's prediction interval for one more value."""
    n = values.size
    half = float(student.ppf(0.5 + confidence_level / 2, n - 1)) * float(values.std(ddof=1)) * math.sqrt(1 + 1 / n)
    mean = float(values.mean())
    return PredictionInterval(mean - half, mean, mean + half)


def write_alarms(path: str | Path, judgements: Sequence[Judgement]) -> Path:
    """Write the judgements as JSON, to a file that appears only when it is complete; NaN becomes null."""
    content = {
        "schema": SCHEMA,
        "alarm": any(judgement.raised for judgement in judgements),
        "regions": [{name: _json_value(value) for name, value in asdict(one).items()} for one in judgements],
    }
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return Path(path).expanduser()


# --- one region -----------------------------------------------------------------------------------------------


def _judge(night: RegionNight, history: xr.Dataset, settings: AlarmSettings, baseline: str) -> Judgement:
    headline = settings.headline
    judgement = Judgement(
        region=night.region,
        date=night.date,
        verdict="not judged",
        reason="",
        score=headline.label,
        nowcaster=select_nowcaster(night.nowcasters, settings.nowcaster, baseline),
        baseline=baseline,
    )
    series = collect_nights(night, history, settings.nights)
    if night.statistics is None or series is None or series["date"].values[-1] != night.date:
        return _not_judged(judgement, "nothing was verified")
    if judgement.nowcaster not in night.statistics["nowcaster"].values:
        return _not_judged(judgement, f"{judgement.nowcaster} was not run")
    selected = headline.select(series)
    if selected is None:
        return _not_judged(judgement, f"the night has no {headline.label}")
    enough_rain = has_enough_rain(selected.sel(nowcaster=judgement.nowcaster), settings)[-1]
    judgement = _measure(judgement, selected, settings)
    if not enough_rain or not math.isfinite(judgement.value):
        return _not_judged(judgement, _describe_lack_of_rain(judgement, settings))
    if judgement.nights < settings.min_nights:
        reason = f"{judgement.nights} earlier nights with enough rain, {settings.min_nights} are needed"
        return _not_judged(judgement, reason)
    if judgement.alarm_line <= 0 and settings.score in NON_NEGATIVE_SCORES:
        reason = f"the {judgement.nights} nights before differ so much that no score would be below their band"
        return _not_judged(judgement, reason)
    fell = judgement.value < judgement.alarm_line
    reason = _describe_alarm(judgement) if fell else _describe_good(judgement)
    return replace(judgement, verdict="alarm" if fell else "good", reason=reason)


def _not_judged(judgement: Judgement, reason: str) -> Judgement:
    return replace(judgement, verdict="not judged", reason=f"not judged: {reason}")


def _measure(judgement: Judgement, selected: xr.Dataset, settings: AlarmSettings) -> Judgement:
    """Return the judgement with its numbers, from the statistics of all nights at the selected score."""
    headline = settings.headline
    own = selected.sel(nowcaster=judgement.nowcaster)
    values = _values(headline, own)
    counted = has_enough_rain(own, settings) & np.isfinite(values)
    tonight = own.isel(date=-1)
    judgement = replace(
        judgement,
        value=float(values[-1]),
        nights=int(counted[:-1].sum()),
        skipped_nights=int((~counted[:-1]).sum()),
        cases=int(tonight["cases"]),
        points=int(tonight["count"]),
        wet_points=int(tonight["hits"] + tonight["misses"]),
    )
    has_interval = judgement.nights >= settings.min_nights
    if has_interval:
        interval = compute_prediction_interval(values[:-1][counted[:-1]], settings.confidence_level)
        judgement = replace(judgement, alarm_line=interval.low, upper=interval.high, mean=interval.mean)
    if judgement.baseline not in selected["nowcaster"].values:
        return judgement
    base_values = _values(headline, selected.sel(nowcaster=judgement.baseline))
    fell = _baseline_fell(base_values, counted, settings) if has_interval else None
    return replace(judgement, baseline_value=float(base_values[-1]), baseline_fell=fell)


def _baseline_fell(values: Doubles, counted: Mask, settings: AlarmSettings) -> bool | None:
    """Return whether the baseline is below its own prediction interval; None if it has none."""
    both = counted & np.isfinite(values)
    if not both[-1] or both[:-1].sum() < settings.min_nights:
        return None
    interval = compute_prediction_interval(values[:-1][both[:-1]], settings.confidence_level)
    return bool(values[-1] < interval.low)


def _values(headline: HeadlineScore, statistics: xr.Dataset) -> Doubles:
    return np.asarray(headline.compute(statistics).transpose("date").values, dtype=np.float64)


def _describe_lack_of_rain(judgement: Judgement, settings: AlarmSettings) -> str:
    if judgement.cases < settings.min_cases:
        return f"{judgement.cases} issue times, {settings.min_cases} are needed"
    fraction = judgement.wet_points / max(judgement.points, 1)
    return (
        f"too little rain: {settings.threshold:g} mm/h or more on {100 * fraction:.2g} % of the points, "
        f"{100 * settings.min_wet_fraction:g} % are needed"
    )


def _describe_good(judgement: Judgement) -> str:
    return (
        f"{judgement.score} of {judgement.nowcaster} is {judgement.value:.2f}, above the alarm line "
        f"{judgement.alarm_line:.2f} of the last {judgement.nights} nights with rain"
    )


def _describe_alarm(judgement: Judgement) -> str:
    advice = ""
    if judgement.nowcaster != judgement.baseline and judgement.baseline_fell is not None:
        advice = (
            f"; {judgement.baseline} fell too, so look at the radar or the weather first"
            if judgement.baseline_fell
            else f"; {judgement.baseline} did not fall, so look at {judgement.nowcaster} first"
        )
    return (
        f"skill alarm: {judgement.score} of {judgement.nowcaster} is {judgement.value:.2f}, below the alarm line "
        f"{judgement.alarm_line:.2f} of the last {judgement.nights} nights with rain (usually {judgement.mean:.2f})"
        f"{advice}"
    )


def _json_value(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
