"""The pages of the report: one for each night, and the index of the nights."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from hybridcast._version import __version__
from hybridcast.core.files import atomic_write
from hybridcast.errors import InputError
from hybridcast.nightly.alarm import AlarmSettings, Judgement
from hybridcast.nightly.records import RegionNight
from hybridcast.nightly.report.formatting import SIGNS, format_count, format_percent, format_score
from hybridcast.nightly.report.regions import RegionPage, build_region_page
from hybridcast.nightly.report.tables import Cell, Table, Verdict, name_score
from hybridcast.plots import colour_key

SCHEMA = 2
"""Version of the index's entries; increment it when they change."""
ENTRIES = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].json"
"""Pattern of the files of the index's entries, which the alarm files do not match."""
BROKEN = ("failed", "no data")


@dataclass(frozen=True)
class Status:
    """The status of a night in a few words."""

    kind: Literal["good", "some", "bad"]
    """Nothing is wrong, something is missing, or something is broken."""
    sign: str
    words: str


@dataclass(frozen=True)
class OverviewRow:
    """A region's row of the scorecard of all regions."""

    name: str
    anchor: str
    verdicts: Sequence[Verdict | None]
    """One verdict for each lead time."""


@dataclass(frozen=True)
class OverviewCard:
    """The scorecard of all regions by lead time, at the threshold of the night's score."""

    title: str
    leads: Sequence[str]
    rows: Sequence[OverviewRow]


def write_night_page(
    nights: Sequence[RegionNight],
    history: xr.Dataset,
    folder: str | Path,
    *,
    baseline: str,
    judgements: Sequence[Judgement],
    settings: AlarmSettings | None = None,
) -> Path:
    """Write the page of a night, its entry for the index, and the index.

    Parameters
    ----------
    nights
        The regions' nights, all of one date.
    history
        Statistics of the nights before, as `hybridcast.nightly.store.read_history` returns them; tonight may be among
        them.
    folder
        Folder for ``<date>.html``, ``<date>.json`` and ``index.html``; each file appears only when it is complete.
    baseline
        Name of the nowcaster that the others are compared with.
    judgements
        One judgement for each of `nights`, as `hybridcast.nightly.alarm.judge` returns them.
    settings
        Settings of the alarm, whose score is the main one of the page.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If the nights are of several dates or none, or the judgements are not of their regions.
    """
    settings, folder = settings or AlarmSettings(), Path(folder).expanduser()
    date = _check_nights(nights, judgements)
    regions = [
        build_region_page(night, judgement, history, settings, f"region-{number}")
        for number, (night, judgement) in enumerate(zip(nights, judgements, strict=True), 1)
    ]
    status = _summarize_status(regions)
    page = _render(
        "night.html",
        date=date,
        status=status,
        summary=_summarize(regions, settings, baseline),
        overview=_tabulate_regions(regions, settings, baseline),
        card=_build_overview_card(regions, settings, baseline),
        regions=regions,
        colours=colour_key(),
        baseline=baseline,
        nowcaster=_join_nowcasters(judgements),
        nights=settings.nights,
        min_nights=settings.min_nights,
        percent=f"{100 * settings.confidence_level:g} %",
    )
    _write(folder / f"{date}.html", page)
    _write(folder / f"{date}.json", json.dumps(_make_entry(date, status, regions, settings), indent=1) + "\n")
    write_index(folder)
    return folder / f"{date}.html"


def write_index(folder: str | Path) -> Path:
    """Write ``index.html`` over the nights that have an entry in `folder`."""
    folder = Path(folder).expanduser()
    rows, unreadable = [], []
    for path in sorted(folder.glob(ENTRIES), reverse=True):
        try:
            rows.append(_make_index_row(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, KeyError, TypeError):
            unreadable.append(path.name)
    heads = ["night", "state", "skill alarm", "regions", "score", "mean score", "against the baseline"]
    table = Table("Nights", heads, rows, text_columns=5)
    _write(folder / "index.html", _render("index.html", table=table, unreadable=unreadable))
    return folder / "index.html"


# --- a night --------------------------------------------------------------------------------------------------


def _check_nights(nights: Sequence[RegionNight], judgements: Sequence[Judgement]) -> str:
    """Return the date of the nights, after checking that they have one date and that the judgements are theirs."""
    dates = sorted({night.date for night in nights})
    if len(dates) != 1:
        raise InputError(f"nights of the dates {dates}", "a page is of one night", "Write a page for each")
    if [night.region for night in nights] != [judgement.region for judgement in judgements]:
        found = f"judgements of {[judgement.region for judgement in judgements]}"
        raise InputError(found, "each region has its own, in the same order", "Pass the result of judge(nights, ...)")
    return dates[0]


def _summarize_status(regions: Sequence[RegionPage]) -> Status:
    alarms = [region.name for region in regions if region.judgement.raised]
    problems = [f"skill alarm: {_join(alarms)}"] if alarms else []
    for state, words in (("failed", "failed"), ("no data", "no data"), ("partial", "only in part")):
        names = [region.name for region in regions if region.state == state]
        problems += [f"{words}: {_join(names)}"] if names else []
    if not problems:
        unjudged = sum(region.judgement.verdict == "not judged" for region in regions)
        skill = f"; skill not judged in {_count_regions(unjudged)}" if unjudged else ", no skill alarm"
        return Status("good", SIGNS["good"], f"Nothing is broken{skill}")
    words = "; ".join(problems)
    words = words[0].upper() + words[1:]
    if alarms or any(region.state in BROKEN for region in regions):
        return Status("bad", SIGNS["failed"], words)
    return Status("some", "!", words)


def _summarize(regions: Sequence[RegionPage], settings: AlarmSettings, baseline: str) -> list[str]:
    """Return the sentences at the top of the page."""
    verified = sum(region.verified is not None for region in regions)
    done, expected = sum(region.done for region in regions), sum(region.expected for region in regions)
    alarms = [f"{region.judgement.message}." for region in regions if region.judgement.raised]
    unjudged = [region for region in regions if region.judgement.verdict == "not judged"]
    judged = f"judged in {len(regions) - len(unjudged)} of {_count_regions(len(regions))}"
    sentences = [
        f"{verified} of {_count_regions(len(regions))} verified, {done} of {expected} issue times.",
        _summarize_skill(regions, settings, baseline),
        *(alarms or [f"No skill alarm ({judged})."]),
    ]
    if unjudged:
        reasons = "; ".join(f"{region.name}: {region.judgement.reason}" for region in unjudged)
        sentences.append(f"Skill {reasons}.")
    return sentences


def _summarize_skill(regions: Sequence[RegionPage], settings: AlarmSettings, baseline: str) -> str:
    """Return the sentence about the mean score of the regions in which nowcaster and baseline have one."""
    judgements = [region.judgement for region in regions if region.judgement.nowcaster != baseline]
    both = [one for one in judgements if np.isfinite(one.value) and np.isfinite(one.baseline_value)]
    label = settings.headline.label
    if not both:
        return f"{label}: no region has a score to compare with {baseline}."
    better = sum(one.value > one.baseline_value for one in both)
    value = float(np.mean([one.value for one in both]))
    base = float(np.mean([one.baseline_value for one in both]))
    compared = _count_regions(len(both))
    return (
        f"{label}: {_join_nowcasters(both)} {format_score(value)}, {baseline} {format_score(base)} "
        f"({format_percent(value / base - 1)}; mean of {compared}); above {baseline} in {better} of {compared}."
    )


def _tabulate_regions(regions: Sequence[RegionPage], settings: AlarmSettings, baseline: str) -> Table:
    heads = [
        *("region", "state", "skill alarm", "issue times", f"≥ {settings.threshold:g} mm/h", "score tonight"),
        *(baseline, "difference", "usual", "alarm line", "nights", "points", "took"),
    ]
    nowcasters = _join_nowcasters([region.judgement for region in regions])
    caption = f"Regions. Score: {settings.headline.label} of {nowcasters}"
    return Table(caption, heads, [_make_region_row(region) for region in regions], text_columns=3)


def _make_region_row(region: RegionPage) -> list[Cell]:
    judgement = region.judgement
    kind = {"failed": "bad", "no data": "bad", "partial": "some"}.get(region.state, "")
    alarm = {"alarm": "ALARM", "good": "none", "not judged": "not judged"}[judgement.verdict]
    base = judgement.baseline_value
    change = judgement.value / base - 1 if base > 0 else math.nan
    wet = math.nan if region.verified is None else region.verified.wet_fraction
    return [
        Cell(region.name, region.name, href=f"#{region.anchor}"),
        Cell(f"{region.sign} {region.state}", region.state, f"nowrap {kind}"),
        Cell(
            f"{SIGNS[judgement.verdict]} {alarm}", judgement.verdict, "nowrap alarm" if judgement.raised else "nowrap"
        ),
        Cell(f"{region.done} of {region.expected}", region.done),
        Cell(f"{100 * wet:.2g} %" if np.isfinite(wet) else "–", wet),
        *(Cell(format_score(value), value) for value in (judgement.value, base)),
        Cell(format_percent(change), change),
        *(Cell(format_score(value), value) for value in (judgement.mean, judgement.alarm_line)),
        Cell(str(judgement.nights), judgement.nights),
        Cell(format_count(judgement.points), judgement.points),
        Cell(f"{region.seconds:.0f} s", region.seconds),
    ]


def _build_overview_card(regions: Sequence[RegionPage], settings: AlarmSettings, baseline: str) -> OverviewCard | None:
    """Return the scorecard of all regions; None if no region has one."""
    shown = [
        (region, region.verified.verdicts_by_lead)
        for region in regions
        if region.verified is not None and region.verified.verdicts_by_lead
    ]
    if not shown:
        return None
    leads = sorted({lead for _, verdicts in shown for lead in verdicts}, key=lambda lead: float(lead.split()[0]))
    at = "" if settings.score == "correlation" else f" and {settings.threshold:g} mm/h"
    rows = [
        OverviewRow(region.name, region.anchor, [verdicts.get(lead) for lead in leads]) for region, verdicts in shown
    ]
    return OverviewCard(f"Scorecard: {name_score(settings)}{at}, against {baseline}", leads, rows)


def _join(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)


def _join_nowcasters(judgements: Sequence[Judgement]) -> str:
    return " / ".join(dict.fromkeys(judgement.nowcaster for judgement in judgements))


def _count_regions(count: int) -> str:
    return f"{count} region{'' if count == 1 else 's'}"


# --- the index ------------------------------------------------------------------------------------------------


def _make_entry(date: str, status: Status, regions: Sequence[RegionPage], settings: AlarmSettings) -> dict[str, Any]:
    """Return the entry of a night for the index, to be written as JSON."""
    return {
        "schema": SCHEMA,
        "date": date,
        "status": status.kind,
        "words": status.words,
        "score": settings.headline.label,
        "alarm": any(region.judgement.raised for region in regions),
        "version": __version__,
        "regions": [
            {
                "region": region.name,
                "state": region.state,
                "nowcaster": region.judgement.nowcaster,
                "value": _json_number(region.judgement.value),
                "baseline": region.judgement.baseline,
                "baseline_value": _json_number(region.judgement.baseline_value),
                "alarm": region.judgement.verdict,
            }
            for region in regions
        ],
    }


def _make_index_row(entry: dict[str, Any]) -> list[Cell]:
    date, regions = str(entry["date"]), entry["regions"]
    kind = {"good": "", "some": "some", "bad": "bad"}[entry["status"]]
    sign = {"": SIGNS["good"], "some": "!", "bad": SIGNS["failed"]}[kind]
    pairs = [(region["value"], region["baseline_value"]) for region in regions]
    both = [pair for pair in pairs if None not in pair]
    mean = float(np.mean([value for value, _ in both])) if both else math.nan
    base = float(np.mean([value for _, value in both])) if both else math.nan
    change = mean / base - 1 if base > 0 else math.nan
    raised = [str(region["region"]) for region in regions if region["alarm"] == "alarm"]
    judged = any(region["alarm"] == "good" for region in regions)
    alarm = f"{SIGNS['alarm']} {_join(raised)}" if raised else "none" if judged else "not judged"
    states = ", ".join(f"{region['region']} {SIGNS[region['state']]} {region['state']}" for region in regions)
    return [
        Cell(date, date, "nowrap", href=f"{date}.html"),
        Cell(f"{sign} {entry['words']}", {"": 2, "some": 1, "bad": 0}[kind], f"{kind} long"),
        Cell(alarm, len(raised), "alarm" if raised else ""),
        Cell(states, len(regions), "long"),
        Cell(str(entry["score"]), str(entry["score"]), "long"),
        Cell(f"{format_score(mean)} ({_count_regions(len(both))})" if both else "–", mean),
        Cell(format_percent(change), change),
    ]


def _json_number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


# --- templates ------------------------------------------------------------------------------------------------


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("hybridcast.nightly.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(template: str, **context: Any) -> str:
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    return _templates().get_template(template).render(version=__version__, written=written, **context)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
