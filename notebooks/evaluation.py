"""Nowcasters on the real events, the trained ones on regions that they were not trained on: ``make evaluation``.

Runs `hybridcast evaluate` twice: all but STEPS, which is slow, and STEPS with fewer cases. Writes evaluation.json,
evaluation_steps.json and their Markdown beside this file, and the short table between the marks in the README.
Forecasts are kept in the folder given by ``--work``: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
REGIONS = ("dwd", "fmi", "mch", "knmi", "bom", "opera")
NOWCASTERS = (
    "persistence",
    "advection",
    "extrapolation",
    "s-prog",
    "anvil",
    "scales",
    "neighbourhood",
    "boosting",
    "no-hindcasts",
    "hybridcast",
)
WITH_STEPS = ("advection", "s-prog", "neighbourhood", "hybridcast", "steps")
SHOWN = ("CSI 1, equal area", "CSI 5, equal area", "FSS 20 km", "Brier 1", "CRPS", "MAE")
NAMES = {
    "extrapolation": "pysteps extrapolation",
    "s-prog": "pysteps S-PROG",
    "anvil": "pysteps ANVIL",
    "steps": "pysteps STEPS, 20 members",
    "scales": "scale filter",
    "neighbourhood": "neighbourhood, calibrated",
    "boosting": "boosted trees alone",
    "no-hindcasts": "blend without hindcasts",
    "hybridcast": "**hybridcast**",
}


def evaluate(nowcasters: tuple[str, ...], cases: int, work: str, output: Path, workers: int) -> dict[str, Any]:
    """Run the command and give what it wrote."""
    command = [sys.executable, "-c", "from hybridcast.cli.app import main; main()", "evaluate", "--work", work]
    command += [
        "--nowcasters",
        ",".join(nowcasters),
        "--cases",
        str(cases),
        "--workers",
        str(workers),
        "-o",
        str(output),
    ]
    for region in REGIONS:
        command += ["--only", region]
    subprocess.run(command, check=True)
    return json.loads(output.read_text())


def short_table(found: dict[str, Any], shown: tuple[str, ...], only: tuple[str, ...] | None = None) -> list[str]:
    """Write the means as Markdown, a row for each nowcaster."""
    mean = found["mean"]["source"]
    rows = ["| nowcaster | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for nowcaster in only or tuple(mean):
        cells = [" / ".join(_short(value) for value in mean[nowcaster][name]) for name in shown]
        rows.append(f"| {NAMES.get(nowcaster, nowcaster)} | " + " | ".join(cells) + " |")
    return rows


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".replace("0.", ".", 1)


def differences(found: dict[str, Any], nowcaster: str, name: str) -> str:
    """Say by how much a nowcaster differs from the baseline, with intervals."""
    here = found["difference"]["source"][nowcaster][name]
    shown = []
    for change, low, high in zip(here["relative"], here["relative_low"], here["relative_high"], strict=True):
        interval = "" if low is None else f" [{100 * low:+.0f}, {100 * high:+.0f}]"
        shown.append("-" if change is None else f"{100 * change:+.1f}{interval}")
    return " / ".join(shown)


def support(found: dict[str, Any]) -> str:
    """Say what a table rests on."""
    events = found["support"].values()
    cases = sum(event["cases"][0] for event in events)
    days = len({(event["region"], event["day"]) for event in events})
    return f"{cases:g} cases, {len(found['support'])} events on {days} days in {len(REGIONS)} regions"


def text_of(found: dict[str, Any], steps: dict[str, Any] | None) -> str:
    """Write all that the README shows."""
    lines = [
        f"At 30 / 60 / 90 / 120 min; mean over events, on the points known to all nowcasters; {support(found)}. "
        "Equal area: every frame has as many wet points as that of advection. FSS at 1 mm/h.",
        "",
        *short_table(found, SHOWN),
        "",
        f"hybridcast against {NAMES[found['baseline']]}, per cent with 95 % intervals over days: CSI 1 at equal area "
        f"{differences(found, 'hybridcast', 'CSI 1, equal area')}; "
        f"Brier 1 {differences(found, 'hybridcast', 'Brier 1')}; "
        f"FSS 20 km {differences(found, 'hybridcast', 'FSS 20 km')}.",
    ]
    if steps is not None:
        shown = ("CSI 1, equal area", "Brier 0.1", "Brier 1", "Brier 5", "CRPS")
        lines += ["", f"With the ensemble of STEPS, on fewer cases ({support(steps)}):", "", *short_table(steps, shown)]
    return "\n".join(lines)


def main() -> None:
    """Run both evaluations, write the files and the README's table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", default="scratch", help="folder of forecasts and models")
    parser.add_argument("--cases", type=int, default=3, help="issue times of an event, at most")
    parser.add_argument("--steps-cases", type=int, default=1, help="the same for STEPS; 0 leaves it out")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    found = evaluate(NOWCASTERS, options.cases, options.work, HERE / "evaluation.json", options.workers)
    steps = None
    if options.steps_cases:
        output = HERE / "evaluation_steps.json"
        steps = evaluate(WITH_STEPS, options.steps_cases, options.work, output, options.workers)
    pattern = re.compile(r"(<!-- evaluation -->\n).*?(<!-- /evaluation -->)", re.S)
    text = text_of(found, steps)
    README.write_text(pattern.sub(lambda marks: f"{marks[1]}{text}\n{marks[2]}", README.read_text()))
    print(text)


if __name__ == "__main__":
    main()
