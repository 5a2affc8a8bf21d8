"""Speed and memory of motion, advection and forecasts against pysteps, OpenCV and torch.

Each comparison runs in a process of its own, its methods in turn, so that a change of the machine's speed meets them
all; medians count. The field is FMI 2017-05-09, larger ones are tiled from it. Writes speed.json beside this file and
the table between the marks in the README. Run it with ``make bench`` on a quiet machine: ratios hold, times are of that
machine. ``--quick`` takes a minute and leaves both files as they are.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast import fetch, forecast, open_radar
from hybridcast.core.field import precipitation
from hybridcast.motion.estimate import DIS, DenseFlow, cells_per_step
from hybridcast.nowcasters.base import Advection
from hybridcast.nowcasters.pysteps import PystepsExtrapolation, PystepsMotion, SProg
from hybridcast.settings import MotionSettings
from hybridcast_kernels import parallel
from hybridcast_kernels.advection_cpu import advect as advect_arrays
from hybridcast_kernels.flow_cpu import estimate
from hybridcast_kernels.workspace import workspace_of_this_thread

README = Path(__file__).parent.parent / "README.md"
RESULT = Path(__file__).with_suffix(".json")
STEP = np.timedelta64(5, "m")
FRAMES = 9  # DARTS uses so many

Row = dict[str, Any]
Jobs = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    repeats: int = 7
    patience: float = 8.0
    """Seconds: a method that has run this long in all is not repeated."""
    slow: bool = True
    """Methods that take seconds, too."""
    sides: tuple[int, ...] = (512, 1024, 2048, 4096)
    leads: tuple[int, ...] = (12, 24)
    copy_bytes: int = 2**28


FULL = Size()
QUICK = Size(repeats=3, patience=1.0, slow=False, sides=(512, 1024), leads=(12,), copy_bytes=2**26)


# --- measuring ------------------------------------------------------------------------------------------------


def in_turn(jobs: Jobs, size: Size) -> dict[str, tuple[float, float | None]]:
    """Median seconds, and peak memory (MB more than before) in its first run, of each job; the first one is ours."""
    next(iter(jobs.values()))()  # compile: what that costs is measured by `first_call`
    workspace_of_this_thread().forget()
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    peaks = {}
    for name, job in jobs.items():
        seconds, peaks[name] = with_peak(job)
        taken[name].append(seconds)
    # the first run touches memory, and counts only for a job too slow to be repeated
    repeated = {name: job for name, job in jobs.items() if taken[name][0] < size.patience}
    for _ in range(size.repeats):
        for name, job in repeated.items():
            if sum(taken[name][1:]) < size.patience:
                begin = time.perf_counter()
                job()
                taken[name].append(time.perf_counter() - begin)
    return {name: (statistics.median(times[1:] or times), peaks[name]) for name, times in taken.items()}


def with_peak(job: Callable[[], object]) -> tuple[float, float | None]:
    """Seconds of one run, and by how many MB memory grew at most meanwhile (None where Linux does not tell)."""
    before = _memory("VmRSS")
    clear = Path("/proc/self/clear_refs")
    if before is not None:
        clear.write_text("5")  # forget the peak so far
    begin = time.perf_counter()
    job()
    seconds = time.perf_counter() - begin
    peak = _memory("VmHWM")
    return seconds, None if before is None or peak is None else peak - before


def _memory(key: str) -> float | None:
    status = Path("/proc/self/status")
    found = re.search(rf"{key}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1e3 if found else None


def rows_of(
    what: str, times: dict[str, tuple[float, float | None]], moved: float = 0.0, copy: float = 0.0
) -> list[Row]:
    """Return a row per job, with the ratio to the first one, which is ours.

    `moved` is how many bytes have to be read or written at least, `copy` how many a copy moves in a second.
    """
    ours = next(iter(times.values()))[0]
    rows = []
    for k, (name, (seconds, peak)) in enumerate(times.items()):
        row: Row = {
            "what": what,
            "how": name,
            "ms": round(seconds * 1e3, 2),
            "ours is faster by": round(seconds / ours, 1),
        }
        row["peak MB"] = None if peak is None else round(max(peak, 0.0))
        row["share of copy rate"] = round(moved / seconds / copy, 4) if copy and k == 0 else None
        rows.append(row)
    return rows


def copy_rate(size: Size) -> float:
    """Bytes read and written per second by copying large arrays on all threads."""
    source, target = np.ones(size.copy_bytes // 4, np.float32), np.zeros(size.copy_bytes // 4, np.float32)

    def copy() -> None:
        parallel.over_bands(lambda a, b: np.copyto(target[a:b], source[a:b]), source.size, 1)

    copy()
    seconds = []
    for _ in range(max(size.repeats, 3)):
        begin = time.perf_counter()
        copy()
        seconds.append(time.perf_counter() - begin)
    return 2 * source.nbytes / statistics.median(seconds)


# --- fields ---------------------------------------------------------------------------------------------------


def real_event() -> xr.DataArray:
    """The frames of FMI 2017-05-09 that are forecast from, 1226 x 760."""
    return open_radar(fetch("fmi-20170509", progress=False)[:FRAMES]).load()


def tiled(radar: xr.DataArray, side: int) -> xr.DataArray:
    """A square of so many cells, of the field and its mirror images side by side."""
    rows, columns = radar.shape[1:]
    values = np.pad(radar.values, ((0, 0), (0, max(side - rows, 0)), (0, max(side - columns, 0))), mode="symmetric")
    axis = np.arange(side) * 1000.0
    return precipitation(values[:, :side, :side], time=radar.time.values, y=axis[::-1], x=axis, crs=None)


def last(radar: xr.DataArray, frames: int) -> xr.DataArray:
    """The latest frames."""
    return radar.isel(time=slice(-frames, None))


# --- comparisons ----------------------------------------------------------------------------------------------


def motion(radar: xr.DataArray, size: Size) -> list[Row]:
    """Motion of three frames, by all methods; and of two and four, by those that can."""
    rows, columns = radar.shape[1:]
    copy = copy_rate(size)
    table: list[Row] = []
    for frames in (3, 2, 4):
        methods: list[Any] = [DenseFlow(MotionSettings(frames=frames), "cpu")]
        if size.slow or frames == 3:
            methods.append(PystepsMotion("lucaskanade", frames=frames))
        if frames == 3:
            methods.append(DIS())
            slow: tuple[Any, ...] = ("farneback", "darts", "proesmans", "vet")
            methods += [PystepsMotion(name) for name in slow] if size.slow else []
        jobs: Jobs = {}
        for method in methods:
            used = last(radar, frames) if frames != 3 or method is methods[0] else radar
            name = f"{method.name}, {getattr(method, 'frames', None) or _frames_of(method, frames)} frames"
            jobs[name] = lambda method=method, used=used: method.estimate(used)
        moved = 4.0 * rows * columns * (frames + 2)
        table += rows_of(f"motion, {frames} frames of {rows} x {columns}", in_turn(jobs, size), moved, copy)
    return table


def _frames_of(method: Any, frames: int) -> int:
    defaults = {"pysteps-darts": FRAMES, "pysteps-vet": 2, "pysteps-proesmans": 2, "pysteps-farneback": 3}
    return 2 if isinstance(method, DIS) else defaults.get(method.name, frames)


def advection(radar: xr.DataArray, size: Size) -> list[Row]:
    """Advection along the same flow; what OpenCV and torch sample lies along the same trajectories, found by ours."""
    from pysteps.extrapolation.semilagrangian import extrapolate

    rows, columns = radar.shape[1:]
    copy = copy_rate(size)
    latest = radar.values[-1]
    flow = cells_per_step(DenseFlow(device="cpu").estimate(radar), STEP)
    table: list[Row] = []
    for count in size.leads:
        leads = np.arange(1, count + 1, dtype=np.float32)
        out = np.empty((1, count, rows, columns), dtype=np.float32)
        jobs: Jobs = {
            "hybridcast": lambda: advect_arrays(latest[None], flow, leads, out=out),  # noqa: B023
            "hybridcast, fresh output": lambda: advect_arrays(latest[None], flow, leads),  # noqa: B023
            "pysteps": lambda: extrapolate(latest, flow, count, allow_nonfinite_values=True),  # noqa: B023
            **sampling_alone(latest, trajectories(flow, count)),
            "cv2.remap, trajectories too": lambda: remap_along(latest, flow, count),  # noqa: B023
        }
        moved = 4.0 * rows * columns * (1 + 2 + count)
        what = f"advection, {count} leads of {rows} x {columns}, bilinear"
        found = rows_of(what, in_turn(jobs, size), moved, copy)
        theirs = extrapolate(latest, flow, count, allow_nonfinite_values=True)
        found[0]["largest difference from pysteps, mm/h"] = float(np.nanmax(np.abs(theirs - out[0])))
        table += found
    return table


def trajectories(flow: np.ndarray, count: int) -> np.ndarray:
    """Positions that the air comes from, in cells, ``(lead, 2, y, x)``: our advection of the coordinates themselves."""
    y, x = np.mgrid[: flow.shape[1], : flow.shape[2]].astype(np.float32)
    moved = advect_arrays(np.stack([x, y]), flow, np.arange(1, count + 1, dtype=np.float32))
    return np.ascontiguousarray(np.nan_to_num(moved, nan=-9.0).swapaxes(0, 1))


def sampling_alone(latest: np.ndarray, places: np.ndarray) -> Jobs:
    """OpenCV, and torch where it is installed, with the positions given to them."""
    import cv2

    count, _, rows, columns = places.shape
    out = np.empty((count, rows, columns), dtype=np.float32)

    def remap() -> None:
        for k in range(count):
            cv2.remap(latest, places[k, 0], places[k, 1], cv2.INTER_LINEAR, dst=out[k], borderValue=float("nan"))

    jobs: Jobs = {"cv2.remap, sampling alone": remap}
    if importlib.util.find_spec("torch"):
        jobs["torch grid_sample, sampling alone"] = grid_sample_of(latest, places)
    return jobs


def grid_sample_of(latest: np.ndarray, places: np.ndarray) -> Callable[[], object]:
    """Torch's sampling at the positions, which it wants from -1 to 1, x first, the pair last."""
    import torch

    count, _, rows, columns = places.shape
    scale = np.array([2 / max(columns - 1, 1), 2 / max(rows - 1, 1)], np.float32)
    grid = torch.from_numpy(np.moveaxis(places, 1, -1) * scale - np.float32(1))
    image = torch.from_numpy(latest)[None, None].expand(count, 1, rows, columns)
    return lambda: torch.nn.functional.grid_sample(image, grid, mode="bilinear", align_corners=True)


def remap_along(latest: np.ndarray, flow: np.ndarray, count: int) -> np.ndarray:
    """The whole advection written with ``cv2.remap``: midpoint rule as ours, missing cells smeared by one."""
    import cv2

    rows, columns = latest.shape
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    out = np.empty((count, rows, columns), dtype=np.float32)
    guess_x, guess_y = flow
    last_x = last_y = None
    at_x, at_y = x.copy(), y.copy()
    for k in range(count):
        middle = at_x - np.float32(0.5) * guess_x, at_y - np.float32(0.5) * guess_y
        u, v = (cv2.remap(c, *middle, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for c in flow)
        at_x -= u
        at_y -= v
        guess_x = u if last_x is None else np.float32(1.5) * u - np.float32(0.5) * last_x
        guess_y = v if last_y is None else np.float32(1.5) * v - np.float32(0.5) * last_y
        last_x, last_y = u, v
        cv2.remap(latest, at_x, at_y, cv2.INTER_LINEAR, dst=out[k], borderValue=float("nan"))
    return out


def forecasts(radar: xr.DataArray, size: Size) -> list[Row]:
    """Whole forecasts, from the radar field to the labelled result."""
    rows, columns = radar.shape[1:]
    table: list[Row] = []
    for count in size.leads:
        models: list[Any] = [Advection(device="cpu")]
        if size.slow or count == size.leads[0]:
            models.append(PystepsExtrapolation())
        if size.slow and count == size.leads[0]:
            models.append(SProg())
        lead_time = f"{5 * count}min"
        jobs: Jobs = {
            model.name: lambda model=model, lead_time=lead_time: forecast(radar, lead_time=lead_time, nowcaster=model)
            for model in models
        }
        found = rows_of(f"forecast, {count} leads of {rows} x {columns}", in_turn(jobs, size))
        found[0]["peak MB / output MB"] = _memory_ratio(found[0]["peak MB"], 4e-6 * rows * columns * count)
        table += found
    return table


def _memory_ratio(peak: float | None, output: float) -> float | None:
    return None if peak is None else round(peak / output, 2)


def growth(radar: xr.DataArray, size: Size) -> list[Row]:
    """How our time grows with area, lead times, fields and threads."""
    table: list[Row] = []
    times = np.arange(-2, 1, dtype=np.float32)
    for side in size.sides:
        frames = tiled(last(radar, 3), side).values
        flow, _ = estimate(frames, times)
        leads = np.arange(1, 13, dtype=np.float32)
        out = np.empty((1, 12, side, side), dtype=np.float32)
        jobs: Jobs = {
            "motion, 3 frames": lambda: estimate(frames, times),  # noqa: B023
            "advection, 12 leads": lambda: advect_arrays(frames[-1:], flow, leads, out=out),  # noqa: B023
        }
        table += [
            _per_cell(f"area, {side} x {side}", name, t[0], side * side) for name, t in in_turn(jobs, size).items()
        ]
    flow = cells_per_step(DenseFlow(device="cpu").estimate(radar), STEP)
    latest = np.ascontiguousarray(radar.values[-1:])
    cells = latest.size
    for count in (1, *size.leads, 2 * size.leads[-1]):
        leads = np.arange(1, count + 1, dtype=np.float32)
        out = np.empty((1, count, *latest.shape[1:]), dtype=np.float32)
        seconds, _ = in_turn({"": lambda: advect_arrays(latest, flow, leads, out=out)}, size)[""]  # noqa: B023
        table.append(_per_cell(f"lead times, {count}", "advection", seconds, cells))
    leads = np.arange(1, size.leads[0] + 1, dtype=np.float32)
    for fields in (1, 2, 4):
        several = np.repeat(latest, fields, axis=0)
        out = np.empty((fields, leads.size, *latest.shape[1:]), dtype=np.float32)
        seconds, _ = in_turn({"": lambda: advect_arrays(several, flow, leads, out=out)}, size)[""]  # noqa: B023
        table.append(_per_cell(f"fields, {fields}", f"advection, {leads.size} leads", seconds, cells))
    return table + _threads(np.ascontiguousarray(last(radar, 3).values), flow, size)


def _threads(frames: np.ndarray, flow: np.ndarray, size: Size) -> list[Row]:
    leads = np.arange(1, size.leads[0] + 1, dtype=np.float32)
    out = np.empty((1, leads.size, *frames.shape[1:]), dtype=np.float32)
    table = []
    before = parallel.threads()
    for count in sorted({1, 2, before}):
        parallel.set_threads(count)
        jobs: Jobs = {
            "motion, 3 frames": lambda: estimate(frames, np.arange(-2, 1, dtype=np.float32)),
            f"advection, {leads.size} leads": lambda: advect_arrays(frames[-1:], flow, leads, out=out),
        }
        found = in_turn(jobs, size)
        table += [_per_cell(f"threads, {count}", name, t[0], frames[0].size) for name, t in found.items()]
    parallel.set_threads(before)
    return table


def _per_cell(what: str, how: str, seconds: float, cells: int) -> Row:
    return {"what": what, "how": how, "ms": round(seconds * 1e3, 2), "ns per cell": round(seconds / cells * 1e9, 2)}


FIRST_CALL = """
import time
import numpy as np
from hybridcast_kernels.advection_cpu import advect
from hybridcast_kernels.flow_cpu import estimate
from hybridcast_kernels.workspace import workspace_of_this_thread
frames = np.random.default_rng(0).gamma(0.2, 2.0, (3, 256, 256)).astype(np.float32)
taken = []
for _ in range(2):
    begin = time.perf_counter()
    flow, _ = estimate(frames, np.array([-2, -1, 0], np.float32))
    middle = time.perf_counter()
    advect(frames[-1:], flow, np.arange(1, 13, dtype=np.float32))
    taken += [middle - begin, time.perf_counter() - middle]
print(*taken)
"""


def first_call(radar: xr.DataArray, size: Size) -> list[Row]:
    """The first call in a fresh process, without and with numba's cache on disk, and the second one."""
    table = []
    with tempfile.TemporaryDirectory() as cache:
        for state in ("cold", "from the cache"):
            command = [sys.executable, "-c", FIRST_CALL]
            environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            first_motion, first_advection, second_motion, second_advection = map(float, done.stdout.split())
            table += [{"what": f"first call, {state}", "how": "motion", "ms": round(first_motion * 1e3)}]
            table += [{"what": f"first call, {state}", "how": "advection", "ms": round(first_advection * 1e3)}]
    table += [{"what": "second call, 256 x 256", "how": "motion", "ms": round(second_motion * 1e3, 1)}]
    return [*table, {"what": "second call, 256 x 256", "how": "advection", "ms": round(second_advection * 1e3, 1)}]


COMPARISONS = {f.__name__: f for f in (motion, advection, forecasts, growth, first_call)}


# --- the whole ------------------------------------------------------------------------------------------------


def alone(name: str, quick: bool) -> list[Row]:
    """Run a comparison in a process of its own."""
    command = [sys.executable, __file__, "--one", name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    rows: list[Row] = json.loads(done.stdout.splitlines()[-1])
    return rows


def about(size: Size) -> dict[str, Any]:
    """Machine, versions and date."""
    packages = ["hybridcast", "pysteps", "numba", "numpy", "opencv-python-headless"]
    packages += ["torch"] if importlib.util.find_spec("torch") else []
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.machine()}, {_processor()}",
        "threads": parallel.threads(),
        "load": round(os.getloadavg()[0], 1),
        "copy GB/s": round(copy_rate(size) / 1e9, 1),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "size": asdict(size),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor()


def markdown(result: dict[str, Any]) -> str:
    """Write the comparisons as one table, the growth as another, and what they were measured on."""
    lines = ["| comparison | method | ms | time relative to hybridcast | peak MB |", "|---|---|---|---|---|"]
    rows = [row for name in ("motion", "advection", "forecasts") for row in result[name]]
    lines += [f"| {r['what']} | {r['how']} | {r['ms']:.1f} | {r['ours is faster by']} | {r['peak MB']} |" for r in rows]
    lines += [
        "",
        "Growth of the run time of hybridcast (on one thread or all, with the same field unless stated otherwise):",
        "",
    ]
    lines += ["| | method | ms | ns per cell |", "|---|---|---|---|"]
    lines += [f"| {r['what']} | {r['how']} | {r['ms']:.1f} | {r['ns per cell']} |" for r in result["growth"]]
    lines += [f"| {r['what']} | {r['how']} | {r['ms']:.1f} | |" for r in result["first_call"]]
    info = result["about"]
    shares = [
        f"{r['what'].partition(' of ')[0]} {r['share of copy rate']:.1%}" for r in rows if r.get("share of copy rate")
    ]
    difference = max(r.get("largest difference from pysteps, mm/h", 0.0) for r in rows)
    ratios = [f"{r['peak MB / output MB']}" for r in rows if r.get("peak MB / output MB") is not None]
    lines += [
        "",
        f"Memory is copied at {info['copy GB/s']} GB/s; hybridcast reaches these fractions of that limit: "
        f"{', '.join(shares)}. Peak memory of a forecast (growth in one run) divided by the size of its output: "
        f"{', '.join(ratios) or 'unknown'}. Largest "
        f"difference of the advected fields from pysteps': {difference:.1e} mm/h. {info['date']}, {info['machine']}, "
        f"{info['threads']} threads, load {info['load']}, medians of up to {info['size']['repeats']}; "
        + ", ".join(f"{name} {version}" for name, version in info["versions"].items())
        + ".",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure; write speed.json, and put the table into the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a minute: fewer repeats, no slow methods, nothing written"
    )
    parser.add_argument("--one", choices=COMPARISONS, help="print one comparison as JSON")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    if options.one:
        import pysteps.extrapolation
        import pysteps.motion
        import pysteps.nowcasts  # noqa: F401  (what it loads is not the memory of a method)

        radar = real_event()
        print(json.dumps(COMPARISONS[options.one](radar, size)))
        return
    result: dict[str, Any] = {"about": about(size)}
    for name in COMPARISONS:
        result[name] = alone(name, options.quick)
    text = markdown(result)
    print(text)
    if not options.quick:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
        pattern = re.compile(r"(<!-- speed -->\n).*?(<!-- /speed -->)", re.S)
        README.write_text(pattern.sub(lambda marks: f"{marks[1]}{text}\n{marks[2]}", README.read_text()))


if __name__ == "__main__":
    main()
