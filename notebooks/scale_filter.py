"""Skill and speed of the scale filter compared with pysteps' S-PROG and advection, on the real events.

Prints a table for each event and one for all events, at 30, 60, 90 and 120 min: CSI and frequency bias at 0.1, 1 and 5
mm/h, CSI at 1 mm/h with the wet area of the advected field for all, correlation and mean absolute error. Each case has
one mask. Grids are coarsened to about 2 km (the European grid of OPERA to 6 km) to limit the run time of pysteps. Then
measures the time of 12 lead times on the whole grid of one event. Writes scale_filter.json beside this file and a short
table into results/motion_and_scale_filter.md. Run it with ``make scale-filter``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import xarray as xr
from motion_skill import EVENTS, HISTORY, LEADS, issue_times

from hybridcast import Advection, ScaleFilter, fetch, open_radar
from hybridcast.core.field import check_precipitation
from hybridcast.core.grid import cell_kilometres
from hybridcast.errors import FetchError
from hybridcast.motion.estimate import DenseFlow
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.nowcasters.pysteps import PystepsMotion, SProg
from hybridcast.verification.scores import correlation, csi, frequency_bias, mean_absolute_error
from hybridcast.verification.statistics import THRESHOLDS, compute_statistics
from hybridcast_kernels.parallel import threads

PAGE = Path(__file__).parent / "results" / "motion_and_scale_filter.md"
SPACING = 2000.0
MAX_CELLS = 800  # along a side; larger grids are coarsened further
SAME_AREA = 1.0  # mm/h
METHODS: dict[str, Nowcaster] = {
    "advection": Advection(),
    "scale filter": ScaleFilter(),
    "S-PROG, our motion": SProg(motion=DenseFlow()),
    "S-PROG, LK": SProg(motion=PystepsMotion("lucaskanade")),
}
REPEATS = 5


def coarsen_radar(radar: xr.DataArray) -> xr.DataArray:
    """Average over blocks of about 2 km, which are known where half of their cells are."""
    cells = {axis: SPACING / 1000 / size for axis, size in zip("yx", cell_kilometres(radar), strict=True)}
    minimum = -(-max(radar.sizes["y"], radar.sizes["x"]) // MAX_CELLS)
    by = {axis: max(minimum, round(count)) for axis, count in cells.items()}
    blocks = radar.coarsen(by, boundary="trim")
    known = radar.notnull().astype(np.float32).coarsen(by, boundary="trim").mean()
    mean = blocks.mean().where(known >= 0.5).astype(np.float32).assign_attrs(radar.attrs)
    return check_precipitation(mean)


def count_same_area(rate: np.ndarray, advected: np.ndarray, observed: np.ndarray) -> tuple[int, int, int]:
    """Return hits, misses and false alarms at 1 mm/h of the highest rates, as many as `advected` has wet ones."""
    count = int((advected >= SAME_AREA).sum())
    chosen = np.zeros(rate.size, dtype=bool)
    chosen[np.argpartition(-rate, max(count - 1, 0))[:count]] = True
    event = observed >= SAME_AREA
    return int((chosen & event).sum()), int((~chosen & event).sum()), int((chosen & ~event).sum())


def add_same_area(statistics: xr.Dataset, rate: np.ndarray, advected: np.ndarray, observed: np.ndarray) -> xr.Dataset:
    """Add the contingency table at equal wet area to the statistics, by lead time, over the points known to all."""
    known = np.isfinite(rate) & np.isfinite(advected) & np.isfinite(observed)
    cases = [count_same_area(rate[k][known[k]], advected[k][known[k]], observed[k][known[k]]) for k in range(len(rate))]
    names = ("same_area_hits", "same_area_misses", "same_area_false_alarms")
    rows = np.array(cases, dtype=np.float64).T
    return statistics.assign({name: ("lead_time", row) for name, row in zip(names, rows, strict=True)})


def score_case(
    radar: xr.DataArray, issue: np.datetime64, methods: dict[str, Nowcaster] = METHODS
) -> dict[str, xr.Dataset]:
    """Compute the statistics of each method for one issue time, over the points known to all methods."""
    recent = radar.sel(time=slice(issue - HISTORY, issue))
    made = {name: method.forecast(recent, LEADS) for name, method in methods.items()}
    known = np.logical_and.reduce([result["precipitation_rate"].notnull().values for result in made.values()])
    valid = xr.DataArray(known, dims=("lead_time", "y", "x"))
    observed = np.where(known, radar.reindex(time=issue + LEADS).values, np.nan)
    advected = made["advection"]["precipitation_rate"].values
    return {
        name: add_same_area(
            compute_statistics(result, radar, valid=valid), result["precipitation_rate"].values, advected, observed
        )
        for name, result in made.items()
    }


def compute_scores(statistics: xr.Dataset) -> dict[str, list[float]]:
    """Return scores by lead time."""
    tables, biases = csi(statistics), frequency_bias(statistics)
    names = {"hits": "same_area_hits", "misses": "same_area_misses", "false_alarms": "same_area_false_alarms"}
    found = {f"CSI {threshold:g}": tables.sel(threshold=threshold) for threshold in THRESHOLDS}
    found |= {f"bias {threshold:g}": biases.sel(threshold=threshold) for threshold in THRESHOLDS}
    found["CSI 1, equal area"] = csi(xr.Dataset({plain: statistics[name] for plain, name in names.items()}))
    found |= {"correlation": correlation(statistics), "MAE": mean_absolute_error(statistics)}
    return {name: [round(float(value), 4) for value in values] for name, values in found.items()}


def evaluate_event(name: str) -> dict[str, object] | None:
    """Score all cases of one event; return None if its files cannot be fetched."""
    try:
        radar = coarsen_radar(open_radar(fetch(name, progress=False)).load())
    except FetchError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None
    begin = time.perf_counter()
    cases = [score_case(radar, issue) for issue in issue_times(radar)]
    if not cases:
        return None
    total = {method: sum(case[method] for case in cases) for method in METHODS}
    print(f"{name}: {len(cases)} cases in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    shape = f"{radar.sizes['y']} x {radar.sizes['x']}"
    return {
        "cases": len(cases),
        "grid": shape,
        "scores": {method: compute_scores(statistics) for method, statistics in total.items()},
    }


def average_events(events: dict[str, dict]) -> dict[str, dict[str, list[float]]]:
    """Average each score over events with equal weights."""
    rows = {}
    for method in METHODS:
        found = [event["scores"][method] for event in events.values()]
        rows[method] = {score: np.nanmean([f[score] for f in found], axis=0).round(4).tolist() for score in found[0]}
    return rows


def format_table(title: str, rows: dict[str, dict[str, list[float]]]) -> str:
    """Format a Markdown table with a row for each method, and all lead times in a cell."""
    scores = list(next(iter(rows.values())))
    lines = [
        f"| {method} | " + " | ".join(" / ".join(f"{v:.3f}".replace("0.", ".", 1) for v in found[s]) for s in scores)
        for method, found in rows.items()
    ]
    head = "| method | " + " | ".join(scores) + " |"
    return "\n".join(["", title, "", head, "|---" * (len(scores) + 1) + "|", *(line + " |" for line in lines)])


def measure_speed() -> dict[str, object]:
    """Measure 12 lead times on the whole grid: the scale filter with its motion, pysteps' S-PROG without one."""
    from pysteps.nowcasts import sprog

    from hybridcast.motion.estimate import cells_per_step
    from hybridcast.nowcasters.pysteps._call import LOWEST_DBR, quiet_pysteps, to_dbr

    radar = open_radar(fetch("fmi-20170509", progress=False)[:6]).load()
    step = radar["time"].values[1] - radar["time"].values[0]
    leads = np.arange(1, 13) * step
    ours = ScaleFilter()
    flow = cells_per_step(ours.motion.estimate(radar), step).astype(np.float64)
    dbr = to_dbr(np.nan_to_num(radar.values[-3:].astype(np.float64)))

    def theirs() -> object:
        with quiet_pysteps():
            return sprog.forecast(dbr, flow, 12, precip_thr=LOWEST_DBR)

    jobs: dict[str, Callable[[], object]] = {
        "scale filter with its motion": lambda: ours.forecast(radar, leads),
        "pysteps S-PROG without its motion": theirs,
    }
    ours.forecast(radar, leads)  # compiles, and allocates memory
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(REPEATS):
        for name, job in jobs.items():
            wall, processor = time.perf_counter(), time.process_time()
            job()
            taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
    result: dict[str, object] = {
        name: {
            "wall s": round(median(t[0] for t in times), 3),
            "processor s": round(median(t[1] for t in times), 3),
        }
        for name, times in taken.items()
    }
    mine, other = taken.values()
    for k, what in enumerate(("wall", "processor")):
        ratio = median(b[k] / a[k] for a, b in zip(mine, other, strict=True))
        result[f"ours is faster by, {what}"] = round(ratio, 1)
    versions = {name: importlib.metadata.version(name) for name in ("pysteps", "scipy", "numba")}
    about = {"grid": list(radar.shape[1:]), "leads": 12, "threads": threads(), "load": round(os.getloadavg()[0], 1)}
    return result | about | versions


def format_section(result: dict) -> str:
    """Format the section of the page: some mean scores, and the speed."""
    wanted = ("CSI 1, equal area", "CSI 0.1", "CSI 1", "CSI 5", "bias 1", "MAE")
    rows = {method: {score: found[score] for score in wanted} for method, found in result["mean"].items()}
    about = f"mean over {len(result['events'])} events, {result['cases']} cases, all on one mask."
    speed = result["speed"]
    processor, wall = (speed[f"ours is faster by, {what}"] for what in ("processor", "wall"))
    about_speed = (
        f"{speed['leads']} lead times on {speed['grid'][0]} x {speed['grid'][1]}, the scale filter with its motion "
        f"against pysteps' S-PROG without one: {processor:g} times faster in processor time, {wall:g} in wall time."
    )
    title = f"At 30 / 60 / 90 / 120 min; {about}"
    return format_table(title, rows).strip() + "\n\n" + about_speed


def measure_skill() -> dict[str, object]:
    """Evaluate all events, and print the tables."""
    events = {name: found for name in EVENTS if (found := evaluate_event(name)) is not None}
    mean = average_events(events)
    for name, event in events.items():
        print(format_table(f"{name}, {event['cases']} cases, {event['grid']}", event["scores"]))
    cases = sum(event["cases"] for event in events.values())
    print(format_table(f"At 30 / 60 / 90 / 120 min; mean over {len(events)} events, {cases} cases", mean))
    return {"leads_min": [int(lead.astype(int)) for lead in LEADS], "cases": cases, "events": events, "mean": mean}


def main() -> None:
    """Evaluate all events, measure the speed, and write the JSON file and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--speed-only", action="store_true", help="only measure the speed; the skill in the file is kept"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    path = Path(__file__).with_suffix(".json")
    result = json.loads(path.read_text()) if options.speed_only else measure_skill()
    result["speed"] = measure_speed()
    path.write_text(json.dumps(result, indent=1) + "\n")
    text = format_section(result)
    print("\n" + text)
    pattern = re.compile(r"(<!-- scale-filter -->\n).*?(<!-- /scale-filter -->)", re.S)
    PAGE.write_text(pattern.sub(lambda marks: f"{marks[1]}{text}\n{marks[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
