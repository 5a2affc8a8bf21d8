"""Speed and memory of motion, advection and forecasts compared with pysteps, OpenCV and torch.

Each comparison runs in a process of its own, with its methods in turn, so that changes of the machine's speed affect
all of them; medians are reported. The field is FMI 2017-05-09; larger fields are tiled from it. Writes speed.json
beside this file, and the table between the marks in results/speed.md. Run it with ``make bench`` on an idle machine:
ratios are transferable, times are those of the machine. ``--quick`` takes a minute and writes nothing.
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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyproj
import xarray as xr

from hybridcast import fetch, forecast, open_radar, save_forecast
from hybridcast.core.field import precipitation
from hybridcast.core.grid import coarsen
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.forecasting import INPUT_HISTORY
from hybridcast.fusion.deterministic_field import NodeProbabilities, fields_from_radar
from hybridcast.fusion.hindcasts import HindcastSettings, make_hindcasts
from hybridcast.fusion.hybrid import load_hybrid
from hybridcast.fusion.members import blend_members, prepare_inputs, select_members
from hybridcast.fusion.sampling_grid import LagrangianInterpolator, LatestFrame, SamplingGrid, node_lead_times
from hybridcast.motion.estimate import DIS, DenseFlow, cells_per_step
from hybridcast.nightly.config import RegionSettings
from hybridcast.nowcasters.base import Advection
from hybridcast.nowcasters.pysteps import PystepsExtrapolation, PystepsMotion, SProg, Steps
from hybridcast.settings import MotionSettings
from hybridcast.watch.config import WatchedRegion, WatchSettings
from hybridcast.watch.forecasts import SOURCES, Made, Order, make_forecast, warm_up
from hybridcast.watch.products import UNANSWERED, UNSEEN
from hybridcast_kernels import parallel
from hybridcast_kernels.advection_cpu import advect as advect_arrays
from hybridcast_kernels.flow_cpu import estimate
from hybridcast_kernels.workspace import workspace_of_this_thread

PAGE = Path(__file__).parent / "results" / "speed.md"
RESULT = Path(__file__).with_suffix(".json")
STEP = np.timedelta64(5, "m")
FRAMES = 9  # number of frames of DARTS
CYCLE_FRAMES = 40  # two hours of frames for each of several cycles

Row = dict[str, Any]
Jobs = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Size:
    """Extent of the measurements."""

    repeats: int = 7
    """Number of repeated runs."""
    max_seconds: float = 8.0
    """Total run time after which a method is not repeated, s."""
    slow: bool = True
    """Whether methods that take seconds are measured."""
    sides: tuple[int, ...] = (512, 1024, 2048, 4096)
    """Sides of the squares on which growth is measured, cells."""
    leads: tuple[int, ...] = (12, 24)
    """Numbers of lead times."""
    copy_bytes: int = 2**28
    """Size of the arrays whose copying is measured, bytes."""
    ensemble_leads: int = 24
    """Number of lead times of ensembles."""
    steps: tuple[int, int] = (4, 12)
    """Number of members and of lead times of STEPS; half as many members are made too, to tell its preparation."""
    continents: tuple[tuple[str, int, int, int], ...] = (
        ("CONUS", 3500, 7000, 0), ("CONUS", 3500, 7000, 20), ("CIRRUS", 4400, 3800, 0), ("CIRRUS", 4400, 3800, 20),
    )  # fmt: skip
    """Name, rows, columns and members of the streamed forecasts of simulated continents."""


FULL = Size()
QUICK = Size(
    repeats=3,
    max_seconds=1.0,
    slow=False,
    sides=(512, 1024),
    leads=(12,),
    copy_bytes=2**26,
    ensemble_leads=3,
    steps=(2, 1),
    continents=(("simulated", 2050, 2050, 0),),
)


# --- measuring ------------------------------------------------------------------------------------------------


def measure_in_turn(jobs: Jobs, size: Size) -> dict[str, tuple[float, float | None]]:
    """Return the median time (s) of each job, and the growth of memory (MB) in its first run; the first job is ours."""
    next(iter(jobs.values()))()  # compile; the cost of that is measured by `first_call`
    workspace_of_this_thread().forget()
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    peaks = {}
    for name, job in jobs.items():
        seconds, peaks[name] = measure_peak(job)
        taken[name].append(seconds)
    # the first run allocates memory, and counts only for a job too slow to be repeated
    repeated = {name: job for name, job in jobs.items() if taken[name][0] < size.max_seconds}
    for _ in range(size.repeats):
        for name, job in repeated.items():
            if sum(taken[name][1:]) < size.max_seconds:
                begin = time.perf_counter()
                job()
                taken[name].append(time.perf_counter() - begin)
    return {name: (statistics.median(times[1:] or times), peaks[name]) for name, times in taken.items()}


def measure_peak(job: Callable[[], object]) -> tuple[float, float | None]:
    """Return the time of one run (s), and the maximum growth of memory (MB), which is None except on Linux."""
    before = _memory("VmRSS")
    clear = Path("/proc/self/clear_refs")
    if before is not None:
        clear.write_text("5")  # reset the peak
    begin = time.perf_counter()
    job()
    seconds = time.perf_counter() - begin
    peak = _memory("VmHWM")
    return seconds, None if before is None or peak is None else peak - before


def _memory(key: str) -> float | None:
    status = Path("/proc/self/status")
    found = re.search(rf"{key}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1e3 if found else None


def build_rows(
    what: str, times: dict[str, tuple[float, float | None]], moved: float = 0.0, copy: float = 0.0
) -> list[Row]:
    """Return a row for each job, with the ratio to the first one, which is ours.

    `moved` is the minimum number of bytes read and written, `copy` the rate of a copy in bytes per second.
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
    """Return the bytes read and written per second by copying large arrays on all threads."""
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


def real_event(frames: int = FRAMES) -> xr.DataArray:
    """Return the frames of FMI 2017-05-09 from which forecasts are made, 1226 x 760 cells."""
    return open_radar(fetch("fmi-20170509", progress=False)[:frames]).load()


def tiled(radar: xr.DataArray, side: int) -> xr.DataArray:
    """Return a square with a side of `side` cells, filled with the field and its mirror images."""
    rows, columns = radar.shape[1:]
    values = np.pad(radar.values, ((0, 0), (0, max(side - rows, 0)), (0, max(side - columns, 0))), mode="symmetric")
    axis = np.arange(side) * 1000.0
    return precipitation(values[:, :side, :side], time=radar.time.values, y=axis[::-1], x=axis, crs=None)


def last(radar: xr.DataArray, frames: int) -> xr.DataArray:
    """Return the latest frames."""
    return radar.isel(time=slice(-frames, None))


# --- comparisons ----------------------------------------------------------------------------------------------


def motion(radar: xr.DataArray, size: Size) -> list[Row]:
    """Compare motion from three frames by all methods, and from two and four frames by those that support it."""
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
        table += build_rows(f"motion, {frames} frames of {rows} x {columns}", measure_in_turn(jobs, size), moved, copy)
    return table


def _frames_of(method: Any, frames: int) -> int:
    defaults = {"pysteps-darts": FRAMES, "pysteps-vet": 2, "pysteps-proesmans": 2, "pysteps-farneback": 3}
    return 2 if isinstance(method, DIS) else defaults.get(method.name, frames)


def advection(radar: xr.DataArray, size: Size) -> list[Row]:
    """Compare advection along the same flow; OpenCV and torch sample along trajectories computed by ours."""
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
            **sampling_jobs(latest, trajectories(flow, count)),
            "cv2.remap, trajectories too": lambda: remap_along(latest, flow, count),  # noqa: B023
        }
        moved = 4.0 * rows * columns * (1 + 2 + count)
        what = f"advection, {count} leads of {rows} x {columns}, bilinear"
        found = build_rows(what, measure_in_turn(jobs, size), moved, copy)
        theirs = extrapolate(latest, flow, count, allow_nonfinite_values=True)
        found[0]["largest difference from pysteps, mm/h"] = float(np.nanmax(np.abs(theirs - out[0])))
        table += found
    return table


def trajectories(flow: np.ndarray, count: int) -> np.ndarray:
    """Return departure points in cells, ``(lead, 2, y, x)``: our advection of the coordinates themselves."""
    y, x = np.mgrid[: flow.shape[1], : flow.shape[2]].astype(np.float32)
    moved = advect_arrays(np.stack([x, y]), flow, np.arange(1, count + 1, dtype=np.float32))
    return np.ascontiguousarray(np.nan_to_num(moved, nan=-9.0).swapaxes(0, 1))


def sampling_jobs(latest: np.ndarray, points: np.ndarray) -> Jobs:
    """Return jobs of OpenCV, and torch if it is installed, that sample at given points."""
    import cv2

    count, _, rows, columns = points.shape
    out = np.empty((count, rows, columns), dtype=np.float32)

    def remap() -> None:
        for k in range(count):
            cv2.remap(latest, points[k, 0], points[k, 1], cv2.INTER_LINEAR, dst=out[k], borderValue=float("nan"))

    jobs: Jobs = {"cv2.remap, sampling alone": remap}
    if importlib.util.find_spec("torch"):
        jobs["torch grid_sample, sampling alone"] = torch_job(latest, points)
    return jobs


def torch_job(latest: np.ndarray, points: np.ndarray) -> Callable[[], object]:
    """Return a job of torch that samples at the points, which it expects from -1 to 1, x first, in the last axis."""
    import torch

    count, _, rows, columns = points.shape
    scale = np.array([2 / max(columns - 1, 1), 2 / max(rows - 1, 1)], np.float32)
    grid = torch.from_numpy(np.moveaxis(points, 1, -1) * scale - np.float32(1))
    image = torch.from_numpy(latest)[None, None].expand(count, 1, rows, columns)
    return lambda: torch.nn.functional.grid_sample(image, grid, mode="bilinear", align_corners=True)


def remap_along(latest: np.ndarray, flow: np.ndarray, count: int) -> np.ndarray:
    """Advect with ``cv2.remap`` alone, with the midpoint rule of ours; missing cells spread by one cell."""
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
    """Compare whole forecasts, from the radar field to the labelled result."""
    rows, columns = radar.shape[1:]
    table: list[Row] = []
    for count in size.leads:
        nowcasters: list[Any] = [Advection(device="cpu")]
        if size.slow or count == size.leads[0]:
            nowcasters.append(PystepsExtrapolation())
        if size.slow and count == size.leads[0]:
            nowcasters.append(SProg())
        lead_time = f"{5 * count}min"
        jobs: Jobs = {
            nowcaster.name: lambda nowcaster=nowcaster, lead_time=lead_time: forecast(
                radar, lead_time=lead_time, nowcaster=nowcaster
            )
            for nowcaster in nowcasters
        }
        found = build_rows(f"forecast, {count} leads of {rows} x {columns}", measure_in_turn(jobs, size))
        found[0]["peak MB / output MB"] = _memory_ratio(found[0]["peak MB"], 4e-6 * rows * columns * count)
        table += found
    return table


def _memory_ratio(peak: float | None, output: float) -> float | None:
    return None if peak is None else round(peak / output, 2)


PEAK = """
import re, sys, tempfile
from pathlib import Path
from hybridcast import fetch, forecast, open_radar, save_forecast
radar = open_radar(fetch("fmi-20170509", progress=False)[:9]).load()
with tempfile.TemporaryDirectory() as folder:
    save_forecast(forecast(radar, members=int(sys.argv[1]), lead_time=sys.argv[2]), f"{folder}/forecast.zarr")
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def ensembles(radar: xr.DataArray, size: Size) -> list[Row]:
    """Compare what members cost beyond a forecast without any, both written to Zarr, with the members of STEPS."""
    small = coarsen(radar, 4000.0).isel(y=slice(0, 228))
    table = members_beyond(radar, 20, size)
    table[0]["peak MB"] = peak_of_process(20, size)
    table.append(steps_row(radar, 20, table[0]["ms"], size))
    return table + members_beyond(small, 100, size)


def members_beyond(radar: xr.DataArray, members: int, size: Size) -> list[Row]:
    """Return the row of a forecast with members less one without, each from the frames to a Zarr folder."""
    with tempfile.TemporaryDirectory() as folder:
        jobs: Jobs = {
            name: lambda count=count: save_forecast(
                forecast(radar, lead_time=f"{5 * size.ensemble_leads}min", members=count), f"{folder}/forecast.zarr"
            )
            for name, count in (("with", members), ("without", 0))
        }
        times = measure_in_turn(jobs, size)
    rows, columns = radar.shape[1:]
    seconds = times["with"][0] - times["without"][0]
    what = f"{members} members x {size.ensemble_leads} leads of {rows} x {columns}"
    row = build_rows(what, {"hybridcast, beyond a forecast without members": (seconds, None)})
    return [row[0] | {"without members, ms": round(times["without"][0] * 1e3, 1)}]


def peak_of_process(members: int, size: Size) -> float | None:
    """Return the peak memory (MB) of a new process that makes a forecast with members and writes it to Zarr."""
    if _memory("VmHWM") is None:
        return None
    command = [sys.executable, "-c", PEAK, str(members), f"{5 * size.ensemble_leads}min"]
    return round(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1e3)


def steps_row(radar: xr.DataArray, members: int, ours: float, size: Size) -> Row:
    """Return the row of STEPS, scaled from fewer members and lead times: the time of further members alone."""
    count, leads = size.steps
    taken = []
    for number in (count // 2, count):
        begin = time.perf_counter()
        forecast(radar, lead_time=f"{5 * leads}min", nowcaster=Steps(members=number))
        taken.append(time.perf_counter() - begin)
    each = (taken[1] - taken[0]) / (count - count // 2) / leads
    rows, columns = radar.shape[1:]
    ms = each * members * size.ensemble_leads * 1e3
    return {
        "what": f"{members} members x {size.ensemble_leads} leads of {rows} x {columns}",
        "how": f"pysteps-steps, scaled from {count - count // 2} members x {leads} leads, no preparation, not written",
        "ms": round(ms, 2),
        "ours is faster by": round(ms / ours, 1),
        "peak MB": None,
    }


CONTINENT = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, str(Path({speed!r}).parent))
import speed
from hybridcast import forecast
from hybridcast.core.memory import measure_peak_memory
radar = speed.simulated_continent(speed.real_event(25), {rows}, {columns})
forecast(radar[:, :400, :400], lead_time="10min", step="5min")  # compiles
begin = time.perf_counter(), time.process_time()
forecast(radar, lead_time={lead!r}, members={members}, out={out!r})
print(json.dumps([time.perf_counter() - begin[0], time.process_time() - begin[1], measure_peak_memory()]))
"""


def continents(radar: xr.DataArray, size: Size) -> list[Row]:
    """Measure streamed forecasts of simulated continents, each in a process of its own."""
    table = []
    for name, rows, columns, members in size.continents:
        with tempfile.TemporaryDirectory() as folder:
            code = CONTINENT.format(
                speed=__file__, rows=rows, columns=columns, members=members, out=f"{folder}/forecast.zarr",
                lead=f"{5 * size.ensemble_leads}min",
            )  # fmt: skip
            done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
        wall, cpu, peak = json.loads(done.stdout.splitlines()[-1])
        what = f"{name} {rows} x {columns}, {size.ensemble_leads} leads, {members} members"
        table.append({"what": what, "how": "streamed to Zarr", "ms": round(wall * 1e3), "CPU ms": round(cpu * 1e3)})
        table[-1]["peak MB"] = None if peak != peak else round(peak)
    return table


def simulated_continent(piece: xr.DataArray, rows: int, columns: int, wet: float = 0.1) -> xr.DataArray:
    """Return a dry plane on which pieces of a real event lie, so that about a fraction `wet` has rain; lazy frames."""
    import dask
    import dask.array

    values = np.nan_to_num(piece.values)
    share = float((values[-1] >= 0.1).mean())
    count = max(1, round(rows * columns * wet / (share * values[-1].size)))
    generator = np.random.default_rng(0)
    high, wide = (min(one, other) for one, other in zip(values.shape[1:], (rows, columns), strict=True))
    corners = generator.integers(0, (rows - high + 1, columns - wide + 1), (count, 2))

    def lay(number: int) -> np.ndarray:
        frame = np.zeros((rows, columns), np.float32)
        for y, x in corners:
            part = frame[y : y + high, x : x + wide]
            np.maximum(part, values[number, :high, :wide], out=part)
        return frame

    frames = [dask.array.from_delayed(dask.delayed(lay)(k), (rows, columns), np.float32) for k in range(len(values))]
    axes = np.arange(rows)[::-1] * 1000.0, np.arange(columns) * 1000.0
    return precipitation(dask.array.stack(frames), time=piece.time.values, y=axes[0], x=axes[1], crs=None)


def stages(radar: xr.DataArray, size: Size) -> list[Row]:
    """Measure the stages of a fused forecast, one after the other on all threads."""
    hybrid = load_hybrid("default")
    leads = np.arange(1, size.leads[-1] + 1) * STEP
    latest = radar.values[-1]
    motion = DenseFlow().estimate(radar)
    coarse = coarsen(radar, hybrid.model.spacing)
    grid = SamplingGrid.over(radar, coarse, hybrid.model.spacing, hybrid.stride)
    node_leads, nodes = node_lead_times(leads), grid.nodes_near(latest)
    members = select_members(hybrid.model.members, hybrid.model.blend, None)
    blend, minutes = hybrid.model.blend, (node_leads / np.timedelta64(1, "m")).tolist()
    _, inputs = prepare_inputs(members, coarse, node_leads, nodes, lagrangian=True)
    found = blend_members(members, blend, None, inputs, minutes).probabilities
    known = grid.sample(np.isfinite(coarse.values[-1]))
    wanted = [blend.thresholds.index(threshold) for threshold in hybrid.thresholds]
    at_nodes = NodeProbabilities(grid.fill(found, nodes), known, blend.thresholds, wanted)
    follow = LagrangianInterpolator(
        grid, node_leads, LatestFrame(latest, leads, cells_per_step(motion, np.timedelta64(1, "m")))
    )
    jobs: Jobs = {
        "whole forecast": lambda: hybrid.forecast(radar, leads),
        "motion": lambda: DenseFlow().estimate(radar),
        "coarse frames": lambda: coarsen(radar, hybrid.model.spacing),
        "hindcasts": lambda: make_hindcasts(members, coarse, HindcastSettings()),
        "predictors": lambda: list(prepare_inputs(members, coarse, node_leads, nodes, lagrangian=True)[1]),
        "members, with predictors of rows": lambda: blend_members(members, blend, None, inputs, minutes),
        "ranks and fields on the fine grid": lambda: fields_from_radar(at_nodes, follow).compute(),
    }
    rows, columns = latest.shape
    table = build_rows(f"stages of {leads.size} leads of {rows} x {columns}", measure_in_turn(jobs, size))
    return [{key: row[key] for key in ("what", "how", "ms", "peak MB")} for row in table]


def growth(radar: xr.DataArray, size: Size) -> list[Row]:
    """Measure the growth of our run time with area, lead times, fields and threads."""
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
            _per_cell(f"area, {side} x {side}", name, t[0], side * side)
            for name, t in measure_in_turn(jobs, size).items()
        ]
    flow = cells_per_step(DenseFlow(device="cpu").estimate(radar), STEP)
    latest = np.ascontiguousarray(radar.values[-1:])
    cells = latest.size
    for count in (1, *size.leads, 2 * size.leads[-1]):
        leads = np.arange(1, count + 1, dtype=np.float32)
        out = np.empty((1, count, *latest.shape[1:]), dtype=np.float32)
        seconds, _ = measure_in_turn({"": lambda: advect_arrays(latest, flow, leads, out=out)}, size)[""]  # noqa: B023
        table.append(_per_cell(f"lead times, {count}", "advection", seconds, cells))
    leads = np.arange(1, size.leads[0] + 1, dtype=np.float32)
    for fields in (1, 2, 4):
        several = np.repeat(latest, fields, axis=0)
        out = np.empty((fields, leads.size, *latest.shape[1:]), dtype=np.float32)
        seconds, _ = measure_in_turn({"": lambda: advect_arrays(several, flow, leads, out=out)}, size)[""]  # noqa: B023
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
        found = measure_in_turn(jobs, size)
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
    """Measure the first call in a new process, without and with numba's cache on disk, and the second call."""
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


def reading(radar: xr.DataArray, size: Size) -> list[Row]:
    """Measure the reading of a composite of OPERA's kind, and the whole command from files to the forecast."""
    side = size.sides[-1]
    with tempfile.TemporaryDirectory() as name:
        composite, frames = Path(name) / "composite.h5", Path(name) / "radar.nc"
        write_odim(tiled(radar, side).values[-1], composite)
        radar.to_netcdf(frames)
        command = [sys.executable, "-m", "hybridcast", "forecast", str(frames), "-o", f"{name}/forecast.nc"]
        jobs: Jobs = {
            f"a frame of {side} x {side}, ODIM HDF5": lambda: open_radar(composite),
            "the same, h5py alone": lambda: h5py.File(composite)["dataset1/data1/data"][...],
            "hybridcast forecast, whole command": lambda: subprocess.run(command, check=True, capture_output=True),
        }
        return [
            {"what": "reading", "how": how, "ms": round(seconds * 1e3, 1)}
            for how, (seconds, _) in measure_in_turn(jobs, size).items()
        ]


def write_odim(rate: np.ndarray, path: Path) -> None:
    """Write rates as OPERA does: float64, gzip, in chunks of 380 x 440 cells at most."""
    projection, metres = "+proj=laea +lat_0=55 +lon_0=10 +units=m +ellps=WGS84", 1000.0
    rows, columns = rate.shape
    places = pyproj.Proj(projection)([0, columns * metres], [-rows * metres, 0], inverse=True)
    groups = {
        "what": {"object": "COMP", "date": "20200101", "time": "120000", "source": "ORG:247"},
        "where": {"projdef": projection, "xsize": columns, "ysize": rows, "xscale": metres, "yscale": metres}
        | {
            f"{corner}_{axis}": places[k][n]
            for n, corner in enumerate(("LL", "UR"))
            for k, axis in enumerate(("lon", "lat"))
        },
        "dataset1/data1/what": {
            "quantity": "RATE",
            "gain": 1.0,
            "offset": 0.0,
            "nodata": -9999000.0,
            "undetect": -8888000.0,
        },
    }
    codes = np.where(np.isnan(rate), -9999000.0, np.where(rate == 0, -8888000.0, rate)).astype(np.float64)
    with h5py.File(path, "w") as file:
        for group, attributes in groups.items():
            for name, value in attributes.items():
                file.require_group(group).attrs[name] = np.bytes_(value) if isinstance(value, str) else value
        chunks = min(rows, 380), min(columns, 440)
        file.create_dataset("dataset1/data1/data", data=codes, chunks=chunks, compression="gzip")


def cycle(radar: xr.DataArray, size: Size) -> list[Row]:
    """Measure cycles of ``hybridcast watch`` in this process, from the files of frames to the map page, by stage.

    There are 20 members and 20 places on the grid, six of them areas; the first cycle is not counted. The last frames
    are those that come.
    """
    with tempfile.TemporaryDirectory() as name:
        region = watched_region(radar, Path(name), size)
        files = write_frames(radar, Path(name))
        refusal = warm_up(region)
        if refusal is not None:
            raise RuntimeError(refusal)
        cycles = [timed_cycle(region, files[: len(files) - k], Path(name)) for k in range(size.repeats, -1, -1)][
            -size.repeats :
        ]
    rows, columns = radar.shape[1:]
    what = f"cycle, {size.ensemble_leads} leads of {rows} x {columns}, 20 members"
    table = [
        {"what": what, "how": stage, "ms": round(1e3 * statistics.median(one.seconds[stage] for one in cycles), 1)}
        for stage in cycles[0].seconds
        if stage != SOURCES  # there are none but radar
    ]
    table[0]["ms of the slowest"] = round(1e3 * max(one.seconds["all"] for one in cycles))
    table[0]["peak MB"] = round(cycles[-1].peak_memory)
    table[0]["MB after each"] = [round(one.memory) for one in cycles]
    return table


def timed_cycle(region: WatchedRegion, files: Sequence[Path], root: Path) -> Made:
    """Make the forecast of the last of some frames with its products, which are removed; ``all`` is the whole time."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        issue = parse_time_in_name(files[-1].name)
        recent = tuple(str(file) for file in files if issue - parse_time_in_name(file.name) <= INPUT_HISTORY)
        order = Order(region, issue, recent, Path(folder), root, np.timedelta64(1, "s"))
        begin = time.perf_counter()
        made = make_forecast(order)
        whole = time.perf_counter() - begin
    failed = [note for note in made.left_out if not note.startswith((UNSEEN, UNANSWERED))]  # places are drawn anywhere
    if failed:
        raise RuntimeError(f"left out: {failed}")
    return replace(made, seconds={"all": whole, **made.seconds})


def watched_region(radar: xr.DataArray, root: Path, size: Size) -> WatchedRegion:
    """Return a region with a map and 20 places on the grid of the radar, of which six are areas."""
    random = np.random.default_rng(0)
    rows, columns = (random.integers(0, count, 20) for count in radar.shape[1:])
    blocks = []
    for k, (y, x) in enumerate(zip(radar["y"].values[rows], radar["x"].values[columns], strict=True)):
        area = f"buffer = {1000 * (5 + k)}\n" if k < 6 else ""
        blocks.append(f'[[place]]\nname = "{k}"\ncrs = "grid"\nx = {x}\ny = {y}\nlevels = ["5 mm in 1h"]\n{area}')
    places = root / "places.toml"
    places.write_text("\n".join(blocks))
    folder = root / "region"
    folder.mkdir()
    watch = WatchSettings(lead_time=f"{5 * size.ensemble_leads}min", map=True)
    return WatchedRegion(RegionSettings(name="cycle", radar=str(root / "*.nc"), places=str(places)), watch, folder)


def write_frames(radar: xr.DataArray, folder: Path) -> list[Path]:
    """Write each frame to a file that is named after its time."""
    files = []
    for k in range(radar.sizes["time"]):
        frame = radar.isel(time=slice(k, k + 1))
        files.append(folder / f"{np.datetime_as_string(frame.time.values[0], unit='s').replace(':', '')}Z.nc")
        frame.to_netcdf(files[-1])
    return files


COMPARISONS = {
    f.__name__: f
    for f in (motion, advection, forecasts, stages, ensembles, continents, growth, first_call, reading, cycle)
}


# --- the whole ------------------------------------------------------------------------------------------------


def alone(name: str, quick: bool) -> list[Row]:
    """Run a comparison in a process of its own."""
    command = [sys.executable, __file__, "--one", name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    rows: list[Row] = json.loads(done.stdout.splitlines()[-1])
    return rows


def about(size: Size) -> dict[str, Any]:
    """Return machine, versions and date."""
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
    """Format the section of the page: tables of comparisons and of growth, and the machine."""
    lines = ["| comparison | method | ms | time relative to hybridcast | peak MB |", "|---|---|---|---|---|"]
    rows = [row for name in ("motion", "advection", "forecasts", "ensembles") for row in result[name]]
    lines += [f"| {r['what']} | {r['how']} | {r['ms']:.1f} | {r['ours is faster by']} | {r['peak MB']} |" for r in rows]
    lines += [
        "",
        "Growth of the run time of hybridcast (on one thread or all, with the same field unless stated otherwise):",
        "",
    ]
    lines += ["| | method | ms | ns per cell |", "|---|---|---|---|"]
    lines += [f"| {r['what']} | {r['how']} | {r['ms']:.1f} | {r['ns per cell']} |" for r in result["growth"]]
    lines += [f"| {r['what']} | {r['how']} | {r['ms']:.1f} | |" for r in (*result["first_call"], *result["reading"])]
    lines += [
        "",
        "Stages of the fused forecast, and streamed forecasts of simulated continents (pieces of the real event",
        "",
    ]
    lines[-2] += " on a dry plane, a tenth of it wet), each in a process of its own, with all of its memory; and"
    lines[-2] += " cycles of `hybridcast watch` by stage, with 20 places and the map:"
    lines += ["| | what | ms | peak MB |", "|---|---|---|---|"]
    both = (*result["stages"], *result["continents"], *result["cycle"])
    lines += [f"| {r['what']} | {r['how']} | {r['ms']:.1f} | {r.get('peak MB', '')} |" for r in both]
    info = result["about"]
    shares = [
        f"{r['what'].partition(' of ')[0]} {r['share of copy rate']:.1%}" for r in rows if r.get("share of copy rate")
    ]
    difference = max(r.get("largest difference from pysteps, mm/h", 0.0) for r in rows)
    ratios = [f"{r['peak MB / output MB']}" for r in rows if r.get("peak MB / output MB") is not None]
    without = ", ".join(f"{r['without members, ms']}" for r in result["ensembles"] if "without members, ms" in r)
    lines += [
        "",
        f"Memory is copied at {info['copy GB/s']} GB/s; hybridcast reaches these fractions of that limit: "
        f"{', '.join(shares)}. Peak memory of a forecast (growth in one run) divided by the size of its output: "
        f"{', '.join(ratios) or 'unknown'}. Members are the difference between a forecast with and one without, each "
        f"from the frames to a Zarr folder (without: {without} ms); their peak memory is that of a new process, "
        f"all of it. Largest "
        f"difference of the advected fields from pysteps': {difference:.1e} mm/h. {info['date']}, {info['machine']}, "
        f"{info['threads']} threads, load {info['load']}, medians of up to {info['size']['repeats']}; "
        + ", ".join(f"{name} {version}" for name, version in info["versions"].items())
        + ".",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and write speed.json and the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="take a minute: fewer repeats, no slow methods, nothing written"
    )
    parser.add_argument("--one", choices=COMPARISONS, help="print one comparison as JSON")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    if options.one:
        import pysteps.extrapolation
        import pysteps.motion
        import pysteps.nowcasts  # noqa: F401  (loaded here, so that it does not count as memory of a method)

        radar = real_event(CYCLE_FRAMES if options.one == "cycle" else FRAMES)
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
        PAGE.write_text(pattern.sub(lambda marks: f"{marks[1]}{text}\n{marks[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
