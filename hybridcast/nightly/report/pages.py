"""The pages: a night's, and the index over nights."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from hybridcast._version import __version__
from hybridcast.core.files import atomic_write
from hybridcast.errors import InputError
from hybridcast.nightly.alarm import AlarmSettings, Judgement
from hybridcast.nightly.records import RegionNight
from hybridcast.nightly.report.formatting import SIGNS, number, percent, score
from hybridcast.nightly.report.regions import RegionPage, region_page
from hybridcast.nightly.report.tables import Cell, Table
from hybridcast.plots import colour_key

#: Raised when the index's entries change.
SCHEMA = 2
#: Name of a night's entry; the alarms' file beside it has another form.
ENTRIES = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].json"
BROKEN = ("failed", "no data")


def write_night(
    nights: Sequence[RegionNight],
    history: xr.Dataset,
    folder: str | Path,
    *,
    baseline: str,
    judged: Sequence[Judgement],
    settings: AlarmSettings | None = None,
) -> Path:
    """Write the page of a night, its entry for the index, and the index.

    Parameters
    ----------
    nights
        The regions' nights, all of one date.
    history
        Sums of the nights before, as `hybridcast.nightly.store.history` gives them; tonight may be among them.
    folder
        Where ``<date>.html``, ``<date>.json`` and ``index.html`` go; each is written whole or not at all.
    baseline
        The nowcaster that the others are compared with.
    judged
        As `hybridcast.nightly.alarm.judge` gives them, one for each of `nights`.
    settings
        Of the alarm: its score is the one that the page leads with.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If the nights are of several dates or none, or lack their judgement.
    """
    settings, folder = settings or AlarmSettings(), Path(folder).expanduser()
    date = _one_date(nights, judged)
    regions = [
        region_page(night, one, history, settings, f"region-{place}")
        for place, (night, one) in enumerate(zip(nights, judged, strict=True), 1)
    ]
    status = _status(regions)
    page = _render(
        "night.html",
        date=date,
        status=status,
        summary=_summary(regions, settings, baseline),
        overview=_overview(regions, settings, baseline),
        card=_card(regions, settings, baseline),
        regions=regions,
        colours=colour_key(),
        baseline=baseline,
        nowcaster=" / ".join(dict.fromkeys(one.nowcaster for one in judged)),
        nights=settings.nights,
        least=settings.least_nights,
        percent=f"{100 * settings.level:g} %",
    )
    _write(folder / f"{date}.html", page)
    _write(folder / f"{date}.json", json.dumps(_entry(date, status, regions, settings), indent=1) + "\n")
    write_index(folder)
    return folder / f"{date}.html"


def write_index(folder: str | Path) -> Path:
    """Write ``index.html`` over the nights that have an entry in `folder`."""
    folder = Path(folder).expanduser()
    entries, unreadable = [], []
    for path in sorted(folder.glob(ENTRIES), reverse=True):
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            entries.append(_index_row(entry))
        except (OSError, ValueError, KeyError, TypeError):
            unreadable.append(path.name)
    heads = ["night", "state", "skill alarm", "regions", "score", "mean score", "against the baseline"]
    table = Table("Nights", heads, entries, words=5)
    _write(folder / "index.html", _render("index.html", table=table, unreadable=unreadable))
    return folder / "index.html"


# --- a night --------------------------------------------------------------------------------------------------


def _one_date(nights: Sequence[RegionNight], judged: Sequence[Judgement]) -> str:
    dates = sorted({night.date for night in nights})
    if len(dates) != 1:
        raise InputError(f"nights of the dates {dates}", "a page is of one night", "Write a page for each")
    if [night.region for night in nights] != [one.region for one in judged]:
        found = f"judgements of {[one.region for one in judged]}"
        raise InputError(found, "each region has its own, in the same order", "Pass what judge(nights, ...) gives")
    return dates[0]


def _status(regions: Sequence[RegionPage]) -> dict[str, str]:
    """Say in a few words whether something is broken."""
    broken = [region.name for region in regions if region.state in BROKEN]
    alarms = [region.name for region in regions if region.judged.raised]
    parts = [f"skill alarm: {_list(alarms)}"] if alarms else []
    for state, words in (("failed", "failed"), ("no data", "no data"), ("partial", "only in part")):
        names = [region.name for region in regions if region.state == state]
        parts += [f"{words}: {_list(names)}"] if names else []
    if not parts:
        unjudged = sum(region.judged.verdict == "not judged" for region in regions)
        words = "Nothing is broken" + (
            f"; skill not judged in {_regions(unjudged)}" if unjudged else ", no skill alarm"
        )
        return {"kind": "good", "sign": SIGNS["good"], "words": words}
    words = "; ".join(parts)
    kind = "bad" if alarms or broken else "some"
    return {"kind": kind, "sign": SIGNS["failed"] if kind == "bad" else "!", "words": words[0].upper() + words[1:]}


def _summary(regions: Sequence[RegionPage], settings: AlarmSettings, baseline: str) -> list[str]:
    scored = [one.judged for one in regions if np.isfinite(one.judged.value) and one.judged.nowcaster != baseline]
    both = [one for one in scored if np.isfinite(one.baseline_value)]
    verified = sum(region.verified for region in regions)
    lines = [f"{verified} of {_regions(len(regions))} verified, "
             f"{sum(r.done for r in regions)} of {sum(r.expected for r in regions)} issue times."]  # fmt: skip
    if both:
        better = sum(one.value > one.baseline_value for one in both)
        mine, other = (np.mean([getattr(one, name) for one in both]) for name in ("value", "baseline_value"))
        nowcaster = " / ".join(dict.fromkeys(one.nowcaster for one in both))
        lines.append(
            f"{settings.headline.words}: {nowcaster} {score(mine)}, {baseline} {score(other)} "
            f"({percent(mine / other - 1)}; mean of {_regions(len(both))}); "
            f"above {baseline} in {better} of {_regions(len(both))}."
        )
    else:
        lines.append(f"{settings.headline.words}: no region has a score to compare with {baseline}.")
    alarms = [f"{region.judged.message}." for region in regions if region.judged.raised]
    unjudged = [region for region in regions if region.judged.verdict == "not judged"]
    lines += alarms or [f"No skill alarm (judged in {len(regions) - len(unjudged)} of {_regions(len(regions))})."]
    if unjudged:
        lines.append("Skill " + "; ".join(f"{one.name}: {one.judged.reason}" for one in unjudged) + ".")
    return lines


def _overview(regions: Sequence[RegionPage], settings: AlarmSettings, baseline: str) -> Table:
    heads = ["region", "state", "skill alarm", "issue times", f"≥ {settings.threshold:g} mm/h", "score tonight",
             baseline, "difference", "usual", "alarm line", "nights", "points", "took"]  # fmt: skip
    kinds = {"failed": "bad", "no data": "bad", "partial": "some"}
    rows = []
    for one in regions:
        judged = one.judged
        change = judged.value / judged.baseline_value - 1 if judged.baseline_value > 0 else math.nan
        rows.append(
            [
                Cell(one.name, one.name, href=f"#{one.anchor}"),
                Cell(f"{one.sign} {one.state}", one.state, f"nowrap {kinds.get(one.state, '')}"),
                Cell(f"{_sign(judged)} {_word(judged)}", judged.verdict, "nowrap alarm" if judged.raised else "nowrap"),
                Cell(f"{one.done} of {one.expected}", one.done),
                Cell(f"{100 * one.share:.2g} %" if np.isfinite(one.share) else "–", one.share),
                *(Cell(score(value), value) for value in (judged.value, judged.baseline_value)),
                Cell(percent(change), change),
                *(Cell(score(value), value) for value in (judged.usual, judged.line)),
                Cell(str(judged.nights), judged.nights),
                Cell(number(judged.points), judged.points),
                Cell(f"{one.seconds:.0f} s", one.seconds),
            ]
        )
    nowcaster = " / ".join(dict.fromkeys(one.judged.nowcaster for one in regions))
    return Table(f"Regions. Score: {settings.headline.words} of {nowcaster}", heads, rows, words=3)


def _sign(judged: Judgement) -> str:
    return {"alarm": SIGNS["alarm"], "good": SIGNS["good"], "not judged": SIGNS["not judged"]}[judged.verdict]


def _word(judged: Judgement) -> str:
    return {"alarm": "ALARM", "good": "none", "not judged": "not judged"}[judged.verdict]


def _card(regions: Sequence[RegionPage], settings: AlarmSettings, baseline: str) -> dict[str, Any] | None:
    """Region by lead time, at the threshold of the night's score."""
    shown = [region for region in regions if region.lead_cells]
    if not shown:
        return None
    leads = sorted({lead for region in shown for lead in region.lead_cells}, key=lambda lead: float(lead.split()[0]))
    score_words = shown[0].card.score if shown[0].card else settings.score
    at = "" if settings.score == "correlation" else f" and {settings.threshold:g} mm/h"
    return {
        "title": f"Scorecard: {score_words}{at}, against {baseline}",
        "leads": leads,
        "rows": [
            {"name": one.name, "anchor": one.anchor, "cells": [one.lead_cells.get(lead) for lead in leads]}
            for one in shown
        ],
    }


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)


def _regions(count: int) -> str:
    return f"{count} region{'' if count == 1 else 's'}"


# --- the index ------------------------------------------------------------------------------------------------


def _entry(date: str, status: dict[str, str], regions: Sequence[RegionPage], settings: AlarmSettings) -> dict[str, Any]:
    """What the index says of a night."""
    return {
        "schema": SCHEMA,
        "date": date,
        "status": status["kind"],
        "words": status["words"],
        "score": settings.headline.words,
        "alarm": any(region.judged.raised for region in regions),
        "version": __version__,
        "regions": [
            {
                "region": one.name,
                "state": one.state,
                "nowcaster": one.judged.nowcaster,
                "value": _plain(one.judged.value),
                "baseline": one.judged.baseline,
                "baseline_value": _plain(one.judged.baseline_value),
                "alarm": one.judged.verdict,
            }
            for one in regions
        ],
    }


def _index_row(entry: dict[str, Any]) -> list[Cell]:
    date, regions = str(entry["date"]), entry["regions"]
    kind = {"good": "", "some": "some", "bad": "bad"}[entry["status"]]
    both = [
        (one["value"], one["baseline_value"]) for one in regions if None not in (one["value"], one["baseline_value"])
    ]
    mean = float(np.mean([value for value, _ in both])) if both else math.nan
    base = float(np.mean([value for _, value in both])) if both else math.nan
    change = mean / base - 1 if base > 0 else math.nan
    raised = [str(one["region"]) for one in regions if one["alarm"] == "alarm"]
    judged = any(one["alarm"] == "good" for one in regions)
    alarm = f"{SIGNS['alarm']} {_list(raised)}" if raised else "none" if judged else "not judged"
    signs = {"": SIGNS["good"], "some": "!", "bad": SIGNS["failed"]}
    names = ", ".join(f"{one['region']} {SIGNS[one['state']]} {one['state']}" for one in regions)
    return [
        Cell(date, date, "nowrap", href=f"{date}.html"),
        Cell(f"{signs[kind]} {entry['words']}", {"": 2, "some": 1, "bad": 0}[kind], f"{kind} long"),
        Cell(alarm, len(raised), "alarm" if raised else ""),
        Cell(names, len(regions), "long"),
        Cell(str(entry["score"]), str(entry["score"]), "long"),
        Cell(f"{score(mean)} ({_regions(len(both))})" if both else "–", mean),
        Cell(percent(change), change),
    ]


def _plain(value: float) -> float | None:
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
