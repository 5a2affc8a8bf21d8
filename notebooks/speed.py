"""Speed of motion and advection against pysteps and OpenCV, in one process, in turn.

Writes speed.json beside this file and the table between the marks in the README. Run it with ``make bench`` on a quiet
machine: ratios hold, times are of that machine.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hybridcast import fetch, open_radar
from hybridcast.motion import DIS, DenseFlow, cells_per_step
from hybridcast.pysteps_adapters import PystepsMotion
from hybridcast.settings import MotionSettings
from hybridcast_kernels.advection_cpu import advect as advect_arrays
from hybridcast_kernels.parallel import threads

README = Path(__file__).parent.parent / "README.md"
STEP = np.timedelta64(5, "m")


def in_turn(jobs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each job; the jobs take turns, so that a change of the machine's speed meets them all."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()  # compiled, and memory touched
    for _ in range(repeats):
        for name, job in jobs.items():
            begin = time.perf_counter()
            job()
            taken[name].append(time.perf_counter() - begin)
    return {name: statistics.median(times) for name, times in taken.items()}


def rows_of(title: str, times: dict[str, float]) -> list[dict[str, object]]:
    """Give a row per job, with the ratio to the first one, which is ours."""
    ours = next(iter(times.values()))
    return [
        {"what": title, "how": name, "ms": round(seconds * 1e3, 1), "ours is faster by": round(seconds / ours, 1)}
        for name, seconds in times.items()
    ]


def measure(repeats: int) -> tuple[list[dict[str, object]], float]:
    """Measure all comparisons; give the rows, and the largest difference of our advection from pysteps' (mm/h)."""
    from pysteps.extrapolation.semilagrangian import extrapolate

    radar = open_radar(fetch("fmi-20170509", progress=False)[:4]).load()
    recent = radar.isel(time=slice(-3, None))
    rows, columns = radar.shape[1:]
    methods = (DenseFlow(MotionSettings(frames=3)), PystepsMotion("lucaskanade", frames=3), DIS())
    jobs = {method.name: (lambda m=method: m.estimate(recent)) for method in methods}
    table = rows_of(f"motion, 3 frames of {rows} x {columns}", in_turn(jobs, repeats))

    latest = radar.values[-1]
    flow = cells_per_step(methods[0].estimate(recent), STEP)
    difference = 0.0
    for count in (12, 24):
        leads = np.arange(1, count + 1, dtype=np.float32)
        out = np.empty((1, count, rows, columns), dtype=np.float32)
        jobs = {
            "hybridcast": lambda: advect_arrays(latest[None], flow, leads, out=out),  # noqa: B023
            "hybridcast, fresh output": lambda: advect_arrays(latest[None], flow, leads),  # noqa: B023
            "pysteps": lambda: extrapolate(latest, flow, count, allow_nonfinite_values=True),  # noqa: B023
        }
        table += rows_of(f"advection, {count} leads of {rows} x {columns}, bilinear", in_turn(jobs, repeats))
        theirs = extrapolate(latest, flow, count, allow_nonfinite_values=True)
        difference = max(difference, float(np.nanmax(np.abs(theirs - out[0]))))
    return table, difference


def markdown(table: list[dict[str, object]]) -> str:
    """Write the rows as a Markdown table."""
    lines = ["| what | how | ms | ours is faster by |", "|---|---|---|---|"]
    lines += [f"| {r['what']} | {r['how']} | {r['ms']} | {r['ours is faster by']} |" for r in table]
    return "\n".join(lines)


def main() -> None:
    """Measure, write speed.json, and put the table into the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="how often each job runs (the median counts)")
    parser.add_argument("--no-readme", action="store_true", help="leave the README as it is")
    options = parser.parse_args()
    table, difference = measure(options.repeats)
    packages = ("hybridcast", "pysteps", "numba", "numpy", "opencv-python-headless")
    versions = {name: importlib.metadata.version(name) for name in packages}
    load = os.getloadavg()[0]
    about = (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {threads()} threads, load {load:.1f}, medians of "
        f"{options.repeats}; " + ", ".join(f"{name} {version}" for name, version in versions.items())
    )
    result = {"about": about, "largest difference of advection, mm/h": difference, "rows": table}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    text = (
        f"{markdown(table)}\n\nLargest difference of the advected fields from pysteps': {difference:.1e} mm/h. {about}."
    )
    print(text)
    if not options.no_readme:
        pattern = re.compile(r"(<!-- speed -->\n).*?(<!-- /speed -->)", re.S)
        README.write_text(pattern.sub(lambda marks: f"{marks[1]}{text}\n{marks[2]}", README.read_text()))


if __name__ == "__main__":
    main()
