"""Speed of the CUDA kernels on the device at hand: each kernel, flow, advection and whole forecasts.

Throughput is the minimum number of bytes that a kernel reads and writes, divided by its time. Fractions are relative to
the rate at which the same device copies its own memory, measured in the same run. Writes speed_gpu.json beside this
file. Run it with ``make gpu``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast import forecast
from hybridcast.core.device import choose_device
from hybridcast.nowcasters.base import Advection
from hybridcast_kernels import advection_gpu, flow_gpu, gpu
from hybridcast_kernels.flow_cpu import FlowOptions, half, radius_of
from hybridcast_kernels.gpu_arrays import empty, launch_over, upload

RESULT = Path(__file__).with_suffix(".json")
Row = dict[str, Any]
LEADS = np.arange(1, 25, dtype=np.float32)


def row(what: str, how: str, seconds: float, moved: float, copy: float) -> Row:
    """Return a row: time, throughput, and its fraction of the copy rate of the device."""
    rate = moved / seconds
    return {
        "what": what,
        "how": how,
        "ms": round(seconds * 1e3, 3),
        "GB/s": round(rate / 1e9, 1),
        "fraction": round(rate / copy, 4),
    }


def kernels(frames: np.ndarray, copy: float, repeats: int) -> list[Row]:
    """Measure each kernel of the flow at half resolution, and of the advection at full resolution."""
    count, rows, columns = frames.shape
    options = FlowOptions()
    shape = half(rows), half(columns)
    on_device, state = upload(frames), upload(np.array([1, 1, 1, 0, 0], np.float32))
    images, masks, warped, seen = (empty((count, *shape)) for _ in range(4))
    half_images, half_masks = (empty((count, half(shape[0]), half(shape[1]))) for _ in range(2))
    tensors, scratch, weighted = empty((5, *shape)), empty((5, *shape)), empty((3, *shape))
    flow, whole = upload(np.zeros((2, *shape), np.float32)), empty((2, rows, columns))
    offsets = upload(np.arange(1 - count, 1, dtype=np.float32))
    partial = empty((3, flow_gpu.SUM_BLOCKS))
    window, smoothing = radius_of(options.window), radius_of(options.final_smoothing)
    f4, n, full = np.float32, shape[0] * shape[1], rows * columns
    fg, over = flow_gpu, launch_over
    jobs: dict[str, tuple[Callable[[], object], float]] = {
        "first_level": (
            lambda: fg.first_level[over(images.shape)](on_device, 2, f4(0.1), f4(40), images, masks),
            count * (full + 2 * n),
        ),
        "halve": (lambda: fg.halve[over(half_images.shape)](images, masks, half_images, half_masks), count * 2.5 * n),
        "warp": (
            lambda: fg.warp[over(images.shape)](images, masks, offsets, flow, warped, seen),
            (4 * count + 2) * n,
        ),
        "tensor": (lambda: fg.tensor[over(shape)](warped, seen, offsets, tensors), (2 * count + 5) * n),
        "window": (lambda: fg.window[over(tensors.shape)](tensors, 1, window, scratch), 10 * n),
        "add_up": (lambda: fg.add_up[(flow_gpu.SUM_BLOCKS, 3), flow_gpu.SUM_THREADS](scratch, partial), 3 * n),
        "solve": (
            lambda: fg.solve[over(shape)](scratch, flow, window, f4(0.02), f4(2), state, weighted),
            10 * n,
        ),
        "smooth": (lambda: fg.smooth[over(shape)](weighted, smoothing, f4(0.03), state, flow), 7 * n),
        "finish": (lambda: fg.finish[over(whole.shape)](flow, 2, state, whole), 2 * n + 2 * full),
        "filter_splines": (lambda: advection_gpu.spline_coefficients(on_device[-1:]), 4 * full),
    }
    what = f"kernel, {rows} x {columns}"
    return [row(what, name, gpu.seconds_of(job, repeats), 4 * cells, copy) for name, (job, cells) in jobs.items()]


def wholes(radar: xr.DataArray, copy: float, repeats: int) -> list[Row]:
    """Measure flow and advection on device arrays, and whole forecasts from and to the host."""
    frames = np.ascontiguousarray(radar.values)
    count, rows, columns = frames.shape
    size, cells = f"{rows} x {columns}", rows * columns
    on_device, offsets = upload(frames), np.arange(1 - count, 1, dtype=np.float32)
    flow, _ = flow_gpu.estimate(on_device, offsets)
    seconds = gpu.seconds_of(lambda: flow_gpu.estimate(on_device, offsets), repeats)
    table = [row(f"flow, {count} frames of {size}", "device to device", seconds, 4 * cells * (count + 2), copy)]
    out = empty((1, LEADS.size, rows, columns))
    for order, name in ((0, "nearest"), (1, "linear"), (3, "cubic")):

        def work(order: int = order) -> object:
            return advection_gpu.advect(on_device[-1:], flow, LEADS, order, out=out)

        seconds = gpu.seconds_of(work, repeats)
        what = f"advection, {LEADS.size} leads of {size}"
        table.append(row(what, f"{name}, device to device", seconds, 4 * cells * (3 + LEADS.size), copy))
    for device in ("cuda", "cpu"):
        nowcaster = Advection(device=device)
        forecast(radar, nowcaster=nowcaster)
        begin = time.perf_counter()
        result = forecast(radar, nowcaster=nowcaster)
        seconds = time.perf_counter() - begin
        moved = radar.nbytes + result.precipitation_rate.nbytes
        table.append(row(f"forecast, {result.sizes['lead_time']} leads of {size}", device, seconds, moved, copy))
    return table


def fields() -> list[xr.DataArray]:
    """Return FMI 2017-05-09, and the same tiled to squares of 2048 and 4096 cells."""
    where = Path(__file__).parent / "speed.py"
    specification = importlib.util.spec_from_file_location("speed", where)
    assert specification is not None
    assert specification.loader is not None
    speed = sys.modules["speed"] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(speed)
    radar = speed.last(speed.real_event(), 4)
    return [radar, speed.tiled(radar, 2048), speed.tiled(radar, 4096)]


def measure(radars: list[xr.DataArray], repeats: int, copy_bytes: int = 2**30) -> dict[str, Any]:
    """Measure kernels and forecasts on each of the fields."""
    copy = gpu.copy_rate(copy_bytes)
    rows: list[Row] = []
    for radar in radars:
        rows += kernels(np.ascontiguousarray(radar.values), copy, repeats)
        rows += wholes(radar, copy, repeats)
    return {"date": f"{datetime.now(UTC):%Y-%m-%d}", "device to device copy, GB/s": round(copy / 1e9, 1), "rows": rows}


def main() -> None:
    """Measure and write speed_gpu.json; without a device, print the reason and measure nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    choice = choose_device("auto")
    if choice.device == "cpu":
        print(f"nothing measured: {choice.reason}")
        return
    result = {"device": choice.reason, **measure(fields(), options.repeats)}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{result['device']}: copies {result['device to device copy, GB/s']} GB/s from device to device")
    for r in result["rows"]:
        throughput = f"{r['GB/s']:9.1f} GB/s {r['fraction']:8.1%} of the copy rate"
        print(f"{r['what']:45} {r['how']:26} {r['ms']:10.3f} ms {throughput}")


if __name__ == "__main__":
    main()
