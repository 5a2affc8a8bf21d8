"""Quality of pseudo-NWP: fractions skill score by scale, and CSI, of its presets on the real events.

Pseudo-NWP is simulated (see `hybridcast.datasets.pseudo_nwp`); the scores measure the errors of the presets. Hourly
rates at lead times of 2 to 5 h are scored against hourly means of the radar. Rates over 15 min at 3, 4 and 5 h, which
are 60, 120 and 180 min after an issue time with a run two hours old, are scored against single frames, like nowcasts.
Cells have a size of 2 km. Writes pseudo_nwp_quality.json beside this file. Run it with ``make pseudo-nwp``.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.datasets import Event, issue_times, load_event_radar, load_events
from hybridcast.datasets.pseudo_nwp import PERFECT, PRESETS, PseudoNwpSettings, simulate_pseudo_nwp
from hybridcast.errors import FetchError
from hybridcast.verification.scores import csi, fractions_skill_score, frequency_bias
from hybridcast.verification.statistics import compute_statistics

THRESHOLDS = (0.1, 1.0, 5.0)
SCALES = (2.0, 10.0, 20.0, 50.0, 100.0, 200.0)
AGE = np.timedelta64(120, "m")
HOURLY = np.arange(1, 6) * np.timedelta64(60, "m")
QUARTERS = np.arange(1, 21) * np.timedelta64(15, "m")
FRAME_LEADS = [180, 240, 300]
"""Lead times at which rates over 15 min are scored, min."""
CASES = 6
"""Maximum number of issue times of an event."""


def select_run(runs: xr.Dataset) -> xr.Dataset:
    """Select the only run."""
    return runs.isel(reference_time=0)


def score_case(
    radar: xr.DataArray, run: np.datetime64, seed: int, settings: dict[str, PseudoNwpSettings]
) -> dict[str, xr.Dataset]:
    """Compute the statistics of each preset for one run, of hourly rates and of 15 min rates, along `lead_time`."""
    truth = select_run(simulate_pseudo_nwp(radar, run, HOURLY, PERFECT))["precipitation_rate"]
    observed = truth.swap_dims(lead_time="time").transpose("time", "y", "x").drop_vars("lead_time")
    made = {}
    for name, quality in settings.items():
        hourly = select_run(simulate_pseudo_nwp(radar, run, HOURLY, quality, seed=seed)).isel(lead_time=slice(1, None))
        quarters = select_run(simulate_pseudo_nwp(radar, run, QUARTERS, quality, seed=seed))
        quarters = quarters.sel(lead_time=[np.timedelta64(minutes, "m") for minutes in FRAME_LEADS])
        made[f"{name}, hourly"] = compute_statistics(hourly, observed, thresholds=THRESHOLDS, scales=SCALES)
        made[f"{name}, frames"] = compute_statistics(quarters, radar, thresholds=THRESHOLDS, scales=SCALES)
    return made


def evaluate_event(event: Event, settings: dict[str, PseudoNwpSettings]) -> dict[str, object] | None:
    """Score the cases of an event; return None if its files cannot be fetched or it has no case."""
    try:
        radar = load_event_radar(event)
    except FetchError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None
    issues = issue_times(radar, event, max_count=CASES)
    seed = zlib.crc32(event.name.encode())
    cases = [score_case(radar, issue - AGE, seed, settings) for issue in issues]
    if not cases:
        return None
    total = {name: sum(case[name] for case in cases) for name in cases[0]}
    print(f"{event.name}: {len(cases)} cases", file=sys.stderr)
    shape = " x ".join(str(radar.sizes[axis]) for axis in ("y", "x"))
    return {
        "cases": len(cases),
        "grid": shape,
        "scores": {name: compute_scores(statistics) for name, statistics in total.items()},
    }


def compute_scores(statistics: xr.Dataset) -> dict[str, list[float]]:
    """Return scores of hourly rates over all lead times together, or of 15 min rates by lead time."""
    if statistics.sizes["lead_time"] != len(FRAME_LEADS):
        statistics = statistics.sum("lead_time").expand_dims("lead_time")
    skill, table, bias = fractions_skill_score(statistics), csi(statistics), frequency_bias(statistics)
    found = {f"FSS {scale:g} km": skill.sel(threshold=1.0, scale=scale) for scale in SCALES}
    found |= {f"CSI {threshold:g}": table.sel(threshold=threshold) for threshold in THRESHOLDS}
    found |= {f"bias {threshold:g}": bias.sel(threshold=threshold) for threshold in THRESHOLDS}
    return {name: [round(float(value), 4) for value in values] for name, values in found.items()}


def average_events(events: dict[str, dict]) -> dict[str, dict[str, list[float]]]:
    """Average each score over the events for which it is defined, with equal weights."""
    rows: dict[str, dict[str, list[float]]] = {}
    for method in next(iter(events.values()))["scores"]:
        found = [event["scores"][method] for event in events.values()]
        rows[method] = {score: np.nanmean([f[score] for f in found], axis=0).round(4).tolist() for score in found[0]}
    return rows


def format_table(title: str, rows: dict[str, dict[str, list[float]]]) -> str:
    """Format a Markdown table with a row for each preset."""
    scores = list(next(iter(rows.values())))
    head = "| pseudo-NWP | " + " | ".join(scores) + " |"
    lines = [
        f"| {name} | " + " | ".join(" / ".join(f"{v:.2f}" for v in found[score]) for score in scores) + " |"
        for name, found in rows.items()
    ]
    return "\n".join(["", title, "", head, "|---" * (len(scores) + 1) + "|", *lines])


def main() -> None:
    """Score all events, print the tables, and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", help="only events whose name contains this")
    parser.add_argument("--preset", choices=list(PRESETS), help="only this preset")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    settings = {name: quality for name, quality in PRESETS.items() if options.preset in {None, name}}
    chosen = [event for event in load_events() if (options.events or "") in event.name]
    events = {event.name: found for event in chosen if (found := evaluate_event(event, settings)) is not None}
    cases = sum(event["cases"] for event in events.values())
    mean = average_events(events)
    hourly = {name: scores for name, scores in mean.items() if name.endswith("hourly")}
    frames = {name: scores for name, scores in mean.items() if name.endswith("frames")}
    about = f"mean over {len(events)} events, {cases} cases; FSS at 1 mm/h"
    print(format_table(f"Hourly rates, lead times of 2 to 5 h together; {about}", hourly))
    print(format_table(f"15 min rates against frames, lead times of 3 / 4 / 5 h; {about}", frames))
    if not (options.events or options.preset):
        found = {"scales_km": SCALES, "thresholds": THRESHOLDS, "cases": cases, "events": events, "mean": mean}
        Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1).replace("NaN", "null") + "\n")


if __name__ == "__main__":
    main()
