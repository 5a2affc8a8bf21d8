"""Collect the results of ``make bench`` of all revisions into a table: ``make bench-history``.

Reads speed.json from every revision in git that changed it, and writes the table between the marks in
results/speed_history.md. Milliseconds depend on the machine and its load; the ratios, measured in the same process with
the methods in turn, can be compared.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
PAGE = HERE / "results" / "speed_history.md"
PATH = "notebooks/speed.json"


class Comparison(NamedTuple):
    """Rows of a comparison: its name, and how the rows of this package and of the other begin."""

    what: str
    ours: str
    other: str


COMPARISONS = {
    "motion": Comparison("motion, 3 frames of 1226 x 760", "dense flow", "pysteps-lucaskanade"),
    "advection": Comparison("advection, 12 leads of 1226 x 760, bilinear", "hybridcast", "pysteps"),
    "forecast": Comparison("forecast, 12 leads of 1226 x 760", "advection", "pysteps-extrapolation"),
}


def git(*arguments: str) -> str:
    """Return what a git command prints."""
    return subprocess.run(["git", *arguments], cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True).stdout


def rows_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of all comparisons, of results with one list of rows and of those with a list for each."""
    lists = [value for value in result.values() if isinstance(value, list)]
    return [row for rows in lists for row in rows]


def describe(about: Any) -> tuple[str, str]:
    """Return date and load of a measurement."""
    if isinstance(about, dict):
        return about["date"], str(about["load"])
    date, _, rest = about.partition(",")
    return date, re.search(r"load ([\d.]+)", rest)[1]


def milliseconds(rows: list[dict[str, Any]], what: str, how: str) -> float | None:
    """Return the time of the first row of a method in a comparison; None if there is none."""
    return next((row["ms"] for row in rows if row["what"] == what and row["how"].startswith(how)), None)


def format_row(revision: str, result: dict[str, Any]) -> str:
    """Format the row of a revision."""
    date, load = describe(result["about"])
    rows, cells = rows_of(result), []
    for what, ours, other in COMPARISONS.values():
        own, peer = milliseconds(rows, what, ours), milliseconds(rows, what, other)
        cells.append("-" if own is None else f"{own:.0f}")
        cells.append("-" if own is None or peer is None else f"{peer / own:.0f}")
    return f"| {date} | `{revision}` | {load} | " + " | ".join(cells) + " |"


def format_table() -> str:
    """Format the table of all revisions, the oldest first."""
    revisions = git("log", "--reverse", "--format=%h", "--", PATH).split()
    names = " | ".join(f"{name}, ms | pysteps / ours" for name in COMPARISONS)
    head = [f"| date | revision | load | {names} |", "|---" * (3 + 2 * len(COMPARISONS)) + "|"]
    return "\n".join([*head, *(format_row(one, json.loads(git("show", f"{one}:{PATH}"))) for one in revisions)])


def main() -> None:
    """Write the table."""
    text = format_table()
    pattern = re.compile(r"(<!-- history -->\n).*?(<!-- /history -->)", re.S)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(pattern.sub(lambda marks: f"{marks[1]}{text}\n{marks[2]}", page), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
