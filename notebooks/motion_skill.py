"""Skill of motion methods on the real events, with the same advection and the same mask for all.

Prints a table for each event and one for all events: correlation of rain rate, CSI at 0.1, 1 and 5 mm/h and frequency
bias at 1 mm/h, at 30, 60, 90 and 120 min. Writes motion_skill.json beside this file, and the short table between the
marks in results/motion_and_scale_filter.md. Run it with ``make skill``.
"""

from __future__ import annotations

import json
import re
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast import advect, fetch, open_radar
from hybridcast.core.forecast_schema import forecast_dataset
from hybridcast.errors import FetchError
from hybridcast.motion.estimate import DIS, DenseFlow, MotionMethod
from hybridcast.nowcasters.pysteps import PystepsMotion
from hybridcast.verification.scores import correlation, csi, frequency_bias
from hybridcast.verification.statistics import compute_statistics

PAGE = Path(__file__).parent / "results" / "motion_and_scale_filter.md"
EVENTS = (
    "fmi-20160928",
    "fmi-20170509",
    "mch-20150515",
    "mch-20160711",
    "knmi-20100826",
    "opera-20180824",
    "bom-20201031",
)
THRESHOLDS = (0.1, 1.0, 5.0)
LEADS = np.array([30, 60, 90, 120]) * np.timedelta64(1, "m")
HISTORY = np.timedelta64(60, "m")
MIN_INTERVAL = np.timedelta64(30, "m")
MAX_CASES = 12
METHODS: tuple[MotionMethod, ...] = (DenseFlow(), PystepsMotion("lucaskanade"), DIS())


def issue_times(radar: xr.DataArray) -> np.ndarray:
    """Choose up to twelve times, half an hour apart or more, with four frames before and two hours after them."""
    times = radar["time"].values
    step = times[1] - times[0]
    first = times[0] + max(3 * step, np.timedelta64(15, "m"))
    possible = np.arange(first, times[-1] - LEADS[-1] + step, step)
    wet = {t for t in possible if float((radar.sel(time=t) >= 1.0).mean()) > 0.001}
    interval = max(MIN_INTERVAL, step)
    candidates = [t for t in np.arange(first, times[-1] - LEADS[-1] + step, interval) if t in wet]
    every = -(-len(candidates) // MAX_CASES) if candidates else 1
    return np.array(candidates[::every])


def score_case(radar: xr.DataArray, issue: np.datetime64) -> dict[str, xr.Dataset]:
    """Compute the statistics of each method for one issue time, over the points known to all methods."""
    recent = radar.sel(time=slice(issue - HISTORY, issue))
    step = radar["time"].values[1] - radar["time"].values[0]
    every = np.arange(1, int(LEADS[-1] / step) + 1) * step
    made = {}
    for method in METHODS:
        moved = advect(recent.isel(time=-1), method.estimate(recent), every)
        made[method.name] = forecast_dataset(moved.sel(lead_time=LEADS).values, recent, LEADS)
    known = np.logical_and.reduce([result["precipitation_rate"].notnull().values for result in made.values()])
    valid = xr.DataArray(known, dims=("lead_time", "y", "x"))
    return {
        name: compute_statistics(result, radar, thresholds=THRESHOLDS, valid=valid) for name, result in made.items()
    }


def compute_scores(statistics: xr.Dataset) -> dict[str, list[float]]:
    """Return scores by lead time."""
    found = {"correlation": correlation(statistics)}
    for threshold in THRESHOLDS:
        found[f"CSI {threshold:g}"] = csi(statistics).sel(threshold=threshold)
    found["bias 1"] = frequency_bias(statistics).sel(threshold=1.0)
    return {name: [round(float(value), 4) for value in values] for name, values in found.items()}


def evaluate_event(name: str) -> dict[str, object] | None:
    """Score all cases of one event; return None if its files cannot be fetched."""
    try:
        radar = open_radar(fetch(name, progress=False)).load()
    except FetchError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None
    begin = time.perf_counter()
    cases = [score_case(radar, issue) for issue in issue_times(radar)]
    if not cases:
        return None
    total = {method.name: sum(case[method.name] for case in cases) for method in METHODS}
    print(f"{name}: {len(cases)} cases in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    return {"cases": len(cases), "scores": {method: compute_scores(statistics) for method, statistics in total.items()}}


def average_events(events: dict[str, dict]) -> dict[str, dict[str, list[float]]]:
    """Average each score over events with equal weights."""
    rows = {}
    for method in METHODS:
        found = [event["scores"][method.name] for event in events.values()]
        rows[method.name] = {
            score: np.nanmean([f[score] for f in found], axis=0).round(4).tolist() for score in found[0]
        }
    return rows


def print_table(title: str, rows: dict[str, dict[str, list[float]]]) -> None:
    """Print a Markdown table with a row for each method and lead time."""
    scores = list(next(iter(rows.values())))
    print(f"\n{title}\n")
    print("| method | lead | " + " | ".join(scores) + " |")
    print("|---" * (len(scores) + 2) + "|")
    for method, found in rows.items():
        for k, lead in enumerate(LEADS):
            values = " | ".join(f"{found[score][k]:.3f}" for score in scores)
            print(f"| {method} | {lead.astype(int)} min | {values} |")


def format_table(mean: dict[str, dict[str, list[float]]], events: int, cases: int) -> str:
    """Format the mean over events as a Markdown table, with all lead times in a cell."""
    scores = list(next(iter(mean.values())))
    head = "| motion | " + " | ".join(scores) + " |"
    rows = [
        f"| {method} | " + " | ".join(" / ".join(f"{v:.3f}".lstrip("0") for v in found[s]) for s in scores) + " |"
        for method, found in mean.items()
    ]
    about = f"At 30 / 60 / 90 / 120 min; mean over {events} events, {cases} cases (issue times at least 30 min apart)."
    return "\n".join([about, "", head, "|---" * (len(scores) + 1) + "|", *rows])


def main() -> None:
    """Evaluate all events, print the tables, and write the JSON file and the page."""
    warnings.simplefilter("ignore")
    events = {name: found for name in EVENTS if (found := evaluate_event(name)) is not None}
    mean = average_events(events)
    for name, event in events.items():
        print_table(f"{name}, {event['cases']} cases", event["scores"])
    cases = sum(event["cases"] for event in events.values())
    print_table(f"mean over {len(events)} events, {cases} cases", mean)
    result = {"leads_min": [int(lead.astype(int)) for lead in LEADS], "events": events, "mean": mean}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    pattern = re.compile(r"(<!-- skill -->\n).*?(<!-- /skill -->)", re.S)
    text = format_table(mean, len(events), cases)
    PAGE.write_text(pattern.sub(lambda marks: f"{marks[1]}{text}\n{marks[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
