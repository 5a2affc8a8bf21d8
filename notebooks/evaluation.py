"""Evaluate nowcasters on the real events, trained ones on regions that they were not trained on: ``make evaluation``.

Runs `hybridcast evaluate` three times: without STEPS, which is slow; on the days of TAASRAD19, many of one network, a
case each; and with ensembles of 20 members on fewer cases. Writes evaluation.json, evaluation_steps.json and their
Markdown beside this file, evaluation_taasrad.json without the scores of single days, and the short tables between the
marks in results/trained_model.md and in the README. ``--tables-only`` writes these tables from the JSON files.
Forecasts are kept in the folder ``--work``, so that a run that was interrupted continues.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
PAGE = HERE / "results" / "trained_model.md"
REGIONS = ("dwd", "fmi", "mch", "knmi", "bom", "opera", "mrms")
NOWCASTERS = (
    "persistence",
    "advection",
    "extrapolation",
    "s-prog",
    "anvil",
    "scale-filter",
    "neighbourhood",
    "boosting",
    "no-hindcasts",
    "no-network",
    "hybridcast",
)
ON_TAASRAD = ("advection", "s-prog", "scale-filter", "no-network", "hybridcast")
WITH_STEPS = ("advection", "s-prog", "neighbourhood", "hybridcast", "steps")
OTHER_BASELINES = ("scale-filter", "advection")
COMPARED = ("CSI 1, equal area", "CSI 5, equal area", "FSS 20 km")
MEMBERS = 20
SCORES_OF_MEMBERS = ("fair CRPS", "fair CRPS 20 km", "fair CRPS 1 h, 20 km", "spread/error 1 h, 20 km")
SUMMARY = ("persistence", "advection", "s-prog", "scale-filter", "hybridcast")
SUMMARY_LEADS = (30.0, 60.0, 120.0)
SCORES = ("CSI 1, equal area", "CSI 5, equal area", "FSS 20 km", "Brier 1", "CRPS", "MAE")
NAMES = {
    "extrapolation": "pysteps extrapolation",
    "s-prog": "pysteps S-PROG",
    "anvil": "pysteps ANVIL",
    "steps": "pysteps STEPS, 20 members",
    "scale-filter": "scale filter",
    "neighbourhood": "neighbourhood, calibrated",
    "boosting": "boosted trees alone",
    "no-hindcasts": "blend without hindcasts",
    "no-network": "blend without the network",
    "hybridcast": "**hybridcast**",
}


def evaluate(
    nowcasters: tuple[str, ...],
    cases: int,
    work: str,
    output: Path,
    workers: int,
    members: int = 0,
    regions: tuple[str, ...] = REGIONS,
    baseline: str = "s-prog",
) -> dict[str, Any]:
    """Run the command and return its JSON output."""
    command = [sys.executable, "-c", "from hybridcast.cli.app import main; main()", "evaluate", "--work", work]
    command += [
        "--nowcasters",
        ",".join(nowcasters),
        "--baseline",
        baseline,
        "--cases",
        str(cases),
        "--workers",
        str(workers),
        "--members",
        str(members),
        "-o",
        str(output),
    ]
    for region in regions:
        command += ["--only", region]
    subprocess.run(command, check=True)
    return json.loads(output.read_text())


def add_differences(found: dict[str, Any], path: Path, baselines: tuple[str, ...], work: str, members: int = 0) -> None:
    """Add the differences of hybridcast from other baselines, which need no further forecast."""
    nowcasters = tuple(found["nowcasters"])
    cases = int(max(event["cases"][0] for event in found["support"].values()))
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other.json"
        found["against"] = {
            name: evaluate(nowcasters, cases, work, other, 1, members, baseline=name)["difference"]["source"][
                "hybridcast"
            ]
            for name in baselines
        }
    path.write_text(json.dumps(found, indent=1))


def drop_events(found: dict[str, Any], path: Path) -> None:
    """Write an evaluation again, without the scores of single events and without its Markdown."""
    path.write_text(json.dumps({key: value for key, value in found.items() if key != "events"}, indent=1))
    path.with_suffix(".md").unlink()


def format_table(found: dict[str, Any], shown: tuple[str, ...], only: tuple[str, ...] | None = None) -> list[str]:
    """Format mean scores as a Markdown table with a row for each nowcaster."""
    mean = found["mean"]["source"]
    rows = ["| nowcaster | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for nowcaster in only or tuple(mean):
        cells = [" / ".join(_format_value(value) for value in mean[nowcaster][name]) for name in shown]
        rows.append(f"| {NAMES.get(nowcaster, nowcaster)} | " + " | ".join(cells) + " |")
    return rows


def _format_value(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".replace("0.", ".", 1)


def format_difference(found: dict[str, Any], nowcaster: str, name: str, leads: tuple[float, ...] = ()) -> str:
    """Format the difference of a nowcaster from the baseline in per cent, with intervals."""
    chosen = [found["lead_times_min"].index(lead) for lead in leads or found["lead_times_min"]]
    return format_intervals(found["difference"]["source"][nowcaster][name], chosen)


def format_intervals(difference: dict[str, list[float | None]], chosen: Sequence[int]) -> str:
    """Format differences at some lead times in per cent, with intervals."""
    shown = []
    for k in chosen:
        change, low, high = (difference[key][k] for key in ("relative", "relative_low", "relative_high"))
        interval = "" if low is None else f" [{100 * low:+.0f}, {100 * high:+.0f}]"
        shown.append("-" if change is None else f"{100 * change:+.1f}{interval}")
    return " / ".join(shown)


def format_support(found: dict[str, Any]) -> str:
    """Format the number of cases, events, days and regions of a table."""
    events = found["support"].values()
    cases = sum(event["cases"][0] for event in events)
    days = len({(event["region"], event["day"]) for event in events})
    regions = len({event["region"] for event in events})
    where = "one region" if regions == 1 else f"{regions} regions"
    return f"{cases:g} cases, {len(found['support'])} events on {days} days in {where}"


def format_summary(found: dict[str, Any]) -> str:
    """Format the table of the README: some nowcasters, two scores with their difference from the baseline."""
    baseline = NAMES[found["baseline"]].removeprefix("pysteps ")
    scores = ("CSI 1, equal area", "Brier 1")
    lines = [
        f"At 30 / 60 / 120 min; {format_support(found)}, on points known to all. In brackets 95 % intervals over days.",
        "",
        f"| | CSI at 1 mm/h, equal area | against {baseline}, % | Brier score at 1 mm/h | against {baseline}, % |",
        "|---|---|---|---|---|",
    ]
    leads = [found["lead_times_min"].index(lead) for lead in SUMMARY_LEADS]
    for nowcaster in SUMMARY:
        cells = []
        for name in scores:
            values = found["mean"]["source"][nowcaster][name]
            cells.append(" / ".join(_format_value(values[k]) for k in leads))
            same = nowcaster == found["baseline"]
            cells.append("" if same else format_difference(found, nowcaster, name, SUMMARY_LEADS))
        lines.append(f"| {NAMES.get(nowcaster, nowcaster)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def format_taasrad(found: dict[str, Any]) -> str:
    """Format the section on the days of TAASRAD19."""
    lines = [
        f"At 30 / 60 / 90 / 120 min; {format_support(found)}; models trained without it.",
        "",
        *format_table(found, SCORES),
        "",
        "hybridcast against the scale filter, per cent with 95 % intervals over days: CSI 1 at equal area "
        f"{format_difference(found, 'hybridcast', SCORES[0])}, CSI 0.1 "
        f"{format_difference(found, 'hybridcast', 'CSI 0.1, equal area')}, FSS 20 km "
        f"{format_difference(found, 'hybridcast', 'FSS 20 km')}.",
    ]
    return "\n".join(lines)


def format_against(found: dict[str, Any], baseline: str, names: tuple[str, ...]) -> str:
    """Format the differences of hybridcast from a baseline of `add_differences`."""
    leads, scores = found["lead_times_min"], found["against"][baseline]
    parts = []
    for name in names:
        chosen = [k for k in range(len(leads)) if scores[name]["relative"][k] is not None]
        parts.append(f"{name} {format_intervals(scores[name], chosen)}")
    other = NAMES.get(baseline, baseline)
    return f"hybridcast against {other}, per cent with 95 % intervals over days: {'; '.join(parts)}."


def format_section(found: dict[str, Any], steps: dict[str, Any] | None) -> str:
    """Format the section of the page of results."""
    lines = [
        f"At 30 / 60 / 90 / 120 min; mean over events, on the points known to all nowcasters; {format_support(found)}. "
        "Equal area: every frame has as many wet points as that of advection. FSS at 1 mm/h.",
        "",
        *format_table(found, SCORES),
        "",
        f"hybridcast against {NAMES[found['baseline']]}, per cent with 95 % intervals over days: CSI 1 at equal area "
        f"{format_difference(found, 'hybridcast', 'CSI 1, equal area')}; "
        f"Brier 1 {format_difference(found, 'hybridcast', 'Brier 1')}; "
        f"FSS 20 km {format_difference(found, 'hybridcast', 'FSS 20 km')}.",
        "",
        "\n\n".join(format_against(found, name, COMPARED) for name in OTHER_BASELINES),
    ]
    if steps is not None:
        shown = ("CSI 1, equal area", "Brier 0.1", "Brier 1", "Brier 5", "CRPS")
        lines += [
            "",
            f"With the ensemble of STEPS, on fewer cases ({format_support(steps)}):",
            "",
            *format_table(steps, shown),
            "",
            f"Ensembles of {MEMBERS} members; 20 km: means over blocks; 1 h: sums over the hour before, mm:",
            "",
            *format_table(steps, SCORES_OF_MEMBERS, ("hybridcast", "steps")),
            "",
            format_against(steps, "steps", SCORES_OF_MEMBERS[:3]),
        ]
    return "\n".join(lines)


def write_between_marks(path: Path, name: str, text: str) -> None:
    """Replace what a page has between two marks."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
    page = path.read_text(encoding="utf-8")
    path.write_text(pattern.sub(lambda marks: f"{marks[1]}{text}\n{marks[2]}", page), encoding="utf-8")


def main() -> None:
    """Run both evaluations, and write the files and the tables of the page of results and of the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", default="scratch", help="folder of forecasts and models")
    parser.add_argument("--cases", type=int, default=3, help="maximum number of issue times of an event")
    parser.add_argument("--steps-cases", type=int, default=1, help="the same for STEPS; 0 skips it")
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    parser.add_argument("--tables-only", action="store_true", help="only write the tables, from the JSON files")
    options = parser.parse_args()
    output, alpine_output, steps_output = (HERE / f"evaluation{end}.json" for end in ("", "_taasrad", "_steps"))
    steps = None
    if options.tables_only:
        found, alpine = (json.loads(path.read_text()) for path in (output, alpine_output))
        steps = json.loads(steps_output.read_text()) if options.steps_cases else None
    else:
        found = evaluate(NOWCASTERS, options.cases, options.work, output, options.workers)
        add_differences(found, output, OTHER_BASELINES, options.work)
        alpine = evaluate(
            ON_TAASRAD, 1, options.work, alpine_output, options.workers, regions=("taasrad",), baseline="scale-filter"
        )
        drop_events(alpine, alpine_output)
        if options.steps_cases:
            arguments = options.work, steps_output, options.workers, MEMBERS
            steps = evaluate(WITH_STEPS, options.steps_cases, *arguments)
            add_differences(steps, steps_output, ("steps",), options.work, MEMBERS)
    text = format_section(found, steps)
    write_between_marks(PAGE, "evaluation", text)
    write_between_marks(PAGE, "taasrad", format_taasrad(alpine))
    write_between_marks(README, "summary", format_summary(found))
    print(text)


if __name__ == "__main__":
    main()
