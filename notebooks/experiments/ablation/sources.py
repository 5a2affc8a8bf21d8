"""Evaluate the contribution of gauges, NWP wind and pseudo-NWP on the real events: ``make sources``.

Writes a JSON file, a Markdown file of the same name, and the short tables between the marks in
results/sources_of_observations.md. Models that were not trained on the region of an event are trained first. Forecasts,
statistics and models are kept in the folder ``--work``, so that a run that was interrupted continues when the same
command is given again.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ablation.gauges import REGIONS, evaluate_gauges, format_gauges
from ablation.pseudo_nwp import evaluate_pseudo_nwp, format_pseudo_nwp
from ablation.wind import evaluate_wind, format_wind
from hybridcast.core.files import atomic_write
from hybridcast.datasets import Event, load_events
from hybridcast.learned.training.settings import standard_settings
from hybridcast.learned.training.train import train_without

NOTEBOOKS = Path(__file__).parents[2]
PAGE = NOTEBOOKS / "results" / "sources_of_observations.md"
#: Regions and events evaluated by default.
DEFAULT_ONLY = ("dwd", "fmi", "mch", "knmi", "bom", "opera")
#: Quality of the pseudo-NWP in the table of the page.
PAGE_QUALITY = "typical"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the three studies and write their results."""
    options = _parse(arguments)
    found = evaluate_sources(
        _select(load_events(), options.only or DEFAULT_ONLY),
        work=options.work,
        cases=options.cases,
        gauge_cases=options.gauge_cases,
        workers=options.workers,
        report=lambda line: print(line, flush=True),
    )
    text = format_sources(found)
    print(text)
    for path, content in ((options.output, json.dumps(found)), (options.output.with_suffix(".md"), text)):
        with atomic_write(path) as part:
            part.write_text(content, encoding="utf-8")
    print(f"wrote {options.output} and {options.output.with_suffix('.md')}")
    if options.output == NOTEBOOKS / "sources.json":
        _write_page(found)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ablation.sources", description=__doc__)
    parser.add_argument("--only", action="append", help="only this event or region; may be given several times")
    parser.add_argument("--cases", type=int, default=2, help="maximum number of issue times of an event")
    parser.add_argument("--gauge-cases", type=int, default=40, help="the same for each data set with gauges")
    parser.add_argument("--work", type=Path, default=Path("scratch"), help="folder of forecasts and models")
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    parser.add_argument("--output", type=Path, default=NOTEBOOKS / "sources.json", help="JSON file to write")
    return parser.parse_args(arguments)


def _select(events: Sequence[Event], names: Sequence[str]) -> list[Event]:
    """Select events by name or region."""
    known = {event.name for event in events} | {event.region for event in events}
    unknown = set(names) - known
    if unknown:
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: choose among {', '.join(sorted(known))}")
    return [event for event in events if {event.name, event.region} & set(names)]


def evaluate_sources(
    events: Sequence[Event], *, work: Path, cases: int, gauge_cases: int, workers: int, report: Callable[[str], None]
) -> dict[str, Any]:
    """Return the results of the studies of pseudo-NWP, gauges and NWP wind, rounded to five decimals."""

    def progress(case: str, done: int, count: int) -> None:
        report(f"{done}/{count} {case}")

    regions = sorted({*(event.region for event in events), *REGIONS})
    models = train_without(load_events(), regions, work, settings=standard_settings(), workers=workers, report=report)
    found = {
        "pseudo_nwp": evaluate_pseudo_nwp(events, models, work=work, cases=cases, workers=workers, progress=progress),
        "gauges": evaluate_gauges(models, cases=gauge_cases, progress=progress),
        "wind": evaluate_wind(),
    }
    rounded: dict[str, Any] = json.loads(json.dumps(found), parse_float=lambda text: round(float(text), 5))
    return rounded


def format_sources(found: dict[str, Any]) -> str:
    """Format the result of `evaluate_sources` as Markdown."""
    lines = ["# Gain from other sources", "", "## Pseudo-NWP", "", *format_pseudo_nwp(found["pseudo_nwp"])]
    lines += ["## Gauges", "", *format_gauges(found["gauges"]), ""]
    lines += ["## NWP wind", "", *format_wind(found["wind"])]
    return "\n".join(lines) + "\n"


def _write_page(found: dict[str, Any]) -> None:
    """Replace the tables between the marks in the page."""
    pseudo_nwp = {PAGE_QUALITY: found["pseudo_nwp"][PAGE_QUALITY]}
    text = "\n".join([*format_pseudo_nwp(pseudo_nwp), *format_gauges({**found["gauges"], "sets": {}})])
    marks = re.compile(r"(<!-- sources -->\n).*?(<!-- /sources -->)", re.S)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(marks.sub(lambda found: f"{found[1]}{text}\n{found[2]}", page), encoding="utf-8")


if __name__ == "__main__":
    main()
