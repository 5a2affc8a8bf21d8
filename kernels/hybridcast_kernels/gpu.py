"""The kernels on a CUDA device, from host to host: the counterpart of `cpu`, returned by `kernels_for("cuda")`.

Data that stays on the device is processed by `flow_gpu.estimate` and `advection_gpu.advect`, which take and return
device arrays, also those of torch or CuPy (``__cuda_array_interface__``), without copies. Importing this module
initialises nothing; the first call does.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from hybridcast_kernels import advection_gpu, flow_gpu
from hybridcast_kernels.advection_cpu import LINEAR, check_arrays, check_out
from hybridcast_kernels.flow_cpu import FlowOptions
from hybridcast_kernels.gpu_arrays import DeviceArray, empty, upload

Array = NDArray[np.float32]


def estimate(frames: Array, offsets: Array, options: FlowOptions | None = None) -> tuple[Array, bool]:
    """Estimate the flow that carries the earlier frames into the last one: see `flow_cpu.estimate`."""
    flow, found = flow_gpu.estimate(upload(frames), offsets, options)
    return flow.copy_to_host(), _is_set(found)


def advect(
    fields: Array,
    flow: Array,
    leads: Array,
    order: int = LINEAR,
    *,
    coefficients: Array | None = None,
    longest_step: float = np.inf,
    out: Array | None = None,
) -> Array:
    """Advect fields along a steady flow: see `advection_cpu.advect`.

    Results that do not fit into the memory of the device are computed in parts. `coefficients` are ignored: the device
    computes its own.
    """
    check_arrays(fields.shape, flow.shape, leads, fields.shape)
    return _advect(upload(fields), upload(flow), leads, order, longest_step, out)


def forecast(
    frames: Array,
    offsets: Array,
    leads: Array,
    options: FlowOptions | None = None,
    order: int = LINEAR,
    *,
    longest_step: float = np.inf,
    out: Array | None = None,
) -> tuple[Array, Array, bool]:
    """Estimate the flow of frames and advect the last frame along it, without copies to the host in between.

    The frames are copied to the device once, and each result is copied back once.

    Parameters
    ----------
    frames, offsets, options
        As for `flow_cpu.estimate`.
    leads
        Lead times after the last frame in steps, the unit of `offsets`, increasing, shape ``(lead,)``.
    order, longest_step, out
        As for `advection_cpu.advect`.

    Returns
    -------
    rates
        Rain rates, mm h-1, shape ``(1, lead, y, x)``, NaN where unknown.
    flow
        Cells per step, shape ``(2, y, x)``.
    found
        Whether the frames have echo to track; without echo the flow is zero.
    """
    on_device = upload(frames)
    flow, found = flow_gpu.estimate(on_device, offsets, options)
    rates = _advect(on_device[-1:], flow, leads, order, longest_step, out)
    return rates, flow.copy_to_host(), _is_set(found)


def _advect(
    fields: DeviceArray, flow: DeviceArray, leads: Array, order: int, longest_step: float, out: Array | None
) -> Array:
    shape = (fields.shape[0], leads.size, *fields.shape[1:])
    target = np.empty(shape, dtype=np.float32) if out is None else out
    check_out(target, shape)
    for first, part in advection_gpu.tiles(fields, flow, leads, order, longest_step=longest_step):
        for field in range(shape[0]):
            part[field].copy_to_host(target[field, first : first + part.shape[1]])
    return target


def _is_set(flag: DeviceArray) -> bool:
    return bool(flag.copy_to_host()[0])


def name() -> str:
    """Return the name of the device in use and its compute capability."""
    device = cuda.get_current_device()
    title = device.name.decode() if isinstance(device.name, bytes) else str(device.name)
    major, minor = device.compute_capability
    return f"{title}, compute capability {major}.{minor}"


def seconds_of(work: Callable[[], object], repeats: int = 10) -> float:
    """Return the mean time in seconds of `work` on the device over several runs, after one that does not count."""
    work()
    cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(repeats):
        work()
    cuda.synchronize()
    return (time.perf_counter() - begin) / repeats


def copy_rate(size: int = 2**28) -> float:
    """Return the measured rate of copies within the memory of the device, bytes read and written per second."""
    source, target = empty((size,), np.uint8), empty((size,), np.uint8)
    return 2 * size / seconds_of(lambda: target.copy_to_device(source))
