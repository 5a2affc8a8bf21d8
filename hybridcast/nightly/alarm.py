"""The skill alarm: is tonight's score below the band of the region's last nights?

**The rule.** One score stands for a night (by default FSS at 1 mm/h, 20 km and 60 min). The nights before it with
enough rain, at most 30 days back, give the band in which one night more is expected: mean plus and minus Student's t
times the standard deviation times sqrt(1 + 1/n), a prediction interval of 95 %. Below it is an alarm. So of nights that
are like the earlier ones, one in forty would raise it.

**Why not the 2.5 % quantile of those nights?** With 10 to 30 nights it is hardly above the worst of them, and one night
more falls below the worst of n with a chance of 1 / (n + 1). In a simulation of scores between 0 and 1 (beta
distributed, or with each night like the one before it) the quantile gave a false alarm on 10 % of nights after 10
nights and on 5 % after 30; the prediction interval on 3 to 4 % whatever n was. Where one night in seven is of another,
harder kind, both give 5 to 10 %. A fall of 0.35 is found on 50 to 85 % of nights, one of 0.2 on 20 to 40 %: one night
says little, and a slow loss is seen in the 30-day trend and in the scorecard, not here.

**Nights with too little rain are not judged**, and do not count in the band: a few small showers are hard to place, and
their scores are low for no fault. Enough is a share of points that saw the threshold, and a number of issue times.
Fewer than ten nights with enough rain give no band. So after a dry month there is no alarm, whatever happens, until
ten nights with rain have come; every report says so, and how many are there. What is plainly broken (no data, errors,
missing issue times) has its own state in the run and does not wait for rain. Where the earlier nights differ so much
that the line is below zero, no night could raise the alarm, and the judgement says that too.

**The baseline is judged in the same way**, and the message says how it did: if it fell too, look at the radar or at
the weather first, and at the nowcaster otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import t as student

from hybridcast.core.files import atomic_write
from hybridcast.errors import InputError
from hybridcast.nightly.records import RegionNight
from hybridcast.nightly.series import Headline, nights_of

Verdict = Literal["alarm", "good", "not judged"]
NEVER_BELOW_ZERO = ("FSS", "CSI")
#: Raised when the file for machines changes.
SCHEMA = 2


@dataclass(frozen=True)
class AlarmSettings:
    """What is judged, and when."""

    score: str = "FSS"
    """FSS, CSI, ETS or correlation."""
    nowcaster: str = ""
    """Whose; by default the first of the night's nowcasters that is not the baseline."""
    threshold: float = 1.0
    """mm h-1."""
    scale: float = 20.0
    """Side of the windows of FSS, km."""
    lead_time: str = "60min"
    nights: int = 30
    """How many days are looked back."""
    least_nights: int = 10
    """With fewer earlier nights with enough rain there is no band."""
    least_wet_share: float = 0.002
    """A night is judged if at least this share of its points saw `threshold` or more ..."""
    least_cases: int = 4
    """... at so many issue times or more."""
    level: float = 0.95
    """Of the band: half of the rest is below it."""

    def __post_init__(self) -> None:
        """Refuse values with which the rule makes no sense."""
        limits: dict[str, tuple[float, float]] = {
            "nights": (1, 3650),
            "least_nights": (3, 3650),
            "least_cases": (1, 1e6),
        }
        limits |= {"least_wet_share": (0, 1), "level": (0.5, 0.9999)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                rule = f"{name} is from {low:g} to {high:g}"
                raise InputError(f"{name} = {getattr(self, name)}", rule, "Correct the setting")
        if self.least_nights > self.nights:
            found = f"least_nights = {self.least_nights} of nights = {self.nights}"
            raise InputError(found, "the band is made of nights looked back to", "Look further back, or ask for fewer")
        self.headline  # noqa: B018  refuses an unknown score and a lead time that is none

    @property
    def headline(self) -> Headline:
        """The score of a night."""
        return Headline(self.score, self.threshold, self.scale, self.lead_time)


@dataclass(frozen=True)
class Judgement:
    """What the alarm says of one region's night."""

    region: str
    date: str
    verdict: Verdict
    reason: str
    """Why, in plain words."""
    score: str
    """Which score, in plain words."""
    nowcaster: str
    value: float = math.nan
    """Tonight's score; NaN where there is none, as in all numbers here."""
    line: float = math.nan
    """The alarm line: the lower end of the band."""
    top: float = math.nan
    """The upper end of the band."""
    usual: float = math.nan
    """Mean of the earlier nights."""
    nights: int = 0
    """Earlier nights with enough rain."""
    passed_over: int = 0
    """Earlier nights with too little."""
    cases: int = 0
    """Issue times of tonight."""
    points: int = 0
    """Valid points of tonight."""
    wet_points: int = 0
    """Those that saw the threshold or more."""
    baseline: str = ""
    baseline_value: float = math.nan
    baseline_fell: bool | None = None
    """Whether the baseline is below a band of its own too; None where it has none."""

    @property
    def raised(self) -> bool:
        """Whether this is an alarm."""
        return self.verdict == "alarm"

    @property
    def message(self) -> str:
        """One line for a person."""
        return f"{self.region}, {self.date}: {self.reason}"


@dataclass(frozen=True)
class Band:
    """Where one night more is expected, with 95 % (by default)."""

    low: float
    usual: float
    high: float


def judge(
    nights: Sequence[RegionNight], history: xr.Dataset, settings: AlarmSettings | None = None, *, baseline: str
) -> list[Judgement]:
    """Judge the night of each region.

    Parameters
    ----------
    nights
        Tonight, one of each region.
    history
        Sums of the nights before, as `hybridcast.nightly.store.history` gives them; tonight may be among them.
    settings
        Of the rule.
    baseline
        The nowcaster that is judged beside the chosen one.

    Returns
    -------
    list
        One judgement for each region, in the order of `nights`, alarms and others.
    """
    settings = settings or AlarmSettings()
    return [_judge(night, history, settings, baseline) for night in nights]


def chosen_nowcaster(nowcasters: Sequence[str], wanted: str, baseline: str) -> str:
    """Return the nowcaster that a night is judged by: the one `wanted`, or the first that is not the baseline."""
    others = [name for name in nowcasters if name != baseline]
    return wanted or (others[0] if others else baseline)


def enough_rain(sums: xr.Dataset, settings: AlarmSettings) -> NDArray[np.bool_]:
    """Say which nights, of sums that `Headline.at` selected, have enough rain and cases to be judged."""
    wet, points = sums["hits"] + sums["misses"], sums["count"]
    enough = (points > 0) & (wet >= settings.least_wet_share * points) & (wet > 0)
    return np.asarray((enough & (sums["cases"] >= settings.least_cases)).values)


def band_of(values: NDArray[np.float64], level: float) -> Band:
    """Return the interval in which one value more is expected (a prediction interval by Student's t)."""
    n = values.size
    half = float(student.ppf(0.5 + level / 2, n - 1)) * float(values.std(ddof=1)) * math.sqrt(1 + 1 / n)
    usual = float(values.mean())
    return Band(usual - half, usual, usual + half)


def write_alarms(path: str | Path, judged: Sequence[Judgement]) -> Path:
    """Write the judgements as JSON for machines, whole or not at all; numbers that are not there are null."""
    found = {
        "schema": SCHEMA,
        "alarm": any(one.raised for one in judged),
        "regions": [{name: _plain(value) for name, value in asdict(one).items()} for one in judged],
    }
    with atomic_write(path) as part:
        part.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return Path(path).expanduser()


# --- one region -----------------------------------------------------------------------------------------------


def _judge(night: RegionNight, history: xr.Dataset, settings: AlarmSettings, baseline: str) -> Judgement:
    headline = settings.headline
    nowcaster = chosen_nowcaster(night.nowcasters, settings.nowcaster, baseline)
    about: dict[str, Any] = {
        "region": night.region,
        "date": night.date,
        "score": headline.words,
        "nowcaster": nowcaster,
        "baseline": baseline,
    }

    def not_judged(reason: str, **numbers: Any) -> Judgement:
        return Judgement(verdict="not judged", reason=f"not judged: {reason}", **about, **numbers)

    series = nights_of(night, history, settings.nights)
    if night.sums is None or series is None or series["date"].values[-1] != night.date:
        return not_judged("nothing was verified")
    if nowcaster not in night.sums["nowcaster"].values:
        return not_judged(f"{nowcaster} was not run")
    here = headline.at(series)
    if here is None:
        return not_judged(f"the night has no {headline.words}")
    scored = _numbers(here, nowcaster, baseline, headline, settings)
    if not enough_rain(here.sel(nowcaster=nowcaster), settings)[-1] or not math.isfinite(scored["value"]):
        return not_judged(_too_little(scored, settings), **scored)
    if scored["nights"] < settings.least_nights:
        reason = f"{scored['nights']} earlier nights with enough rain, {settings.least_nights} are needed"
        return not_judged(reason, **scored)
    if scored["line"] <= 0 and settings.score in NEVER_BELOW_ZERO:
        reason = f"the {scored['nights']} nights before differ so much that no score would be below their band"
        return not_judged(reason, **scored)
    fell = scored["value"] < scored["line"]
    return Judgement(verdict="alarm" if fell else "good", reason=_reason(fell, about, scored), **about, **scored)


def _numbers(
    here: xr.Dataset, nowcaster: str, baseline: str, headline: Headline, settings: AlarmSettings
) -> dict[str, Any]:
    """Numbers of a judgement, from the sums of the nights at the score's lead time, threshold and scale."""
    mine = here.sel(nowcaster=nowcaster)
    values = headline.values(mine).transpose("date").values.astype(np.float64)
    wet = enough_rain(mine, settings) & np.isfinite(values)
    tonight = mine.isel(date=-1)
    found: dict[str, Any] = {
        "value": float(values[-1]),
        "nights": int(wet[:-1].sum()),
        "passed_over": int((~wet[:-1]).sum()),
        "cases": int(tonight["cases"]),
        "points": int(tonight["count"]),
        "wet_points": int(tonight["hits"] + tonight["misses"]),
    }
    judged = found["nights"] >= settings.least_nights
    if judged:
        band = band_of(values[:-1][wet[:-1]], settings.level)
        found |= {"line": band.low, "top": band.high, "usual": band.usual}
    if baseline in here["nowcaster"].values:
        other = headline.values(here.sel(nowcaster=baseline)).transpose("date").values.astype(np.float64)
        found["baseline_value"] = float(other[-1])
        both = wet & np.isfinite(other)
        if judged and both[-1] and both[:-1].sum() >= settings.least_nights:
            found["baseline_fell"] = bool(other[-1] < band_of(other[:-1][both[:-1]], settings.level).low)
    return found


def _too_little(scored: dict[str, Any], settings: AlarmSettings) -> str:
    if scored["cases"] < settings.least_cases:
        return f"{scored['cases']} issue times, {settings.least_cases} are needed"
    share = scored["wet_points"] / max(scored["points"], 1)
    return (
        f"too little rain: {settings.threshold:g} mm/h or more on {100 * share:.2g} % of the points, "
        f"{100 * settings.least_wet_share:g} % are needed"
    )


def _reason(fell: bool, about: dict[str, str], scored: dict[str, Any]) -> str:
    nights = f"of the last {scored['nights']} nights with rain"
    if not fell:
        return (
            f"{about['score']} of {about['nowcaster']} is {scored['value']:.2f}, above the alarm line "
            f"{scored['line']:.2f} {nights}"
        )
    also = {
        True: f"; {about['baseline']} fell too, so look at the radar or the weather first",
        False: f"; {about['baseline']} did not fall, so look at {about['nowcaster']} first",
        None: "",
    }[None if about["nowcaster"] == about["baseline"] else scored.get("baseline_fell")]
    return (
        f"skill alarm: {about['score']} of {about['nowcaster']} is {scored['value']:.2f}, below the alarm line "
        f"{scored['line']:.2f} {nights} (usually {scored['usual']:.2f}){also}"
    )


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
