"""Semi-Lagrangian advection on a CUDA device: the counterpart of `advection_cpu`.

One thread follows the trajectory that ends at one grid point through all lead times, and samples all fields on the
way: one launch, in which displacements stay in registers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from hybridcast_kernels import points as pt
from hybridcast_kernels.advection_cpu import CUBIC, LINEAR, NEAREST, check_arrays, steps_to
from hybridcast_kernels.gpu_arrays import DeviceArray, DeviceMemoryError, empty, launch_over, on_device, upload

kernel = cuda.jit(cache=True)


@cuda.jit(device=True)
def follow(fields, coefficients, flow, durations, lead_of_step, order, out):
    """Advect all fields to the grid point of this thread; arguments are those of `advection_cpu.advect_rows`."""
    j, i = cuda.grid(2)
    if i >= flow.shape[1] or j >= flow.shape[2]:
        return
    dx, dy = pt.ZERO, pt.ZERO
    last_x, last_y = pt.ZERO, pt.ZERO
    guess_x = flow[0, i, j] * durations[0]
    guess_y = flow[1, i, j] * durations[0]
    for step in range(durations.size):
        duration = durations[step]
        if step > 0 and duration != durations[step - 1]:
            ratio = duration / durations[step - 1]
            guess_x *= ratio
            guess_y *= ratio
            last_x *= ratio
            last_y *= ratio
        x, y = pt.increment_from(flow, i, j, dx, dy, guess_x, guess_y, duration)
        if step == 0:
            last_x, last_y = x, y
        dx -= x
        dy -= y
        guess_x = pt.next_guess(x, last_x)
        guess_y = pt.next_guess(y, last_y)
        last_x, last_y = x, y
        lead = lead_of_step[step]
        if lead < 0:
            continue
        for field in range(fields.shape[0]):
            if order == LINEAR:
                out[field, lead, i, j] = pt.sample_linear_from(fields, field, i, j, dx, dy)
            else:
                px, py = dx + np.float32(j), dy + np.float32(i)
                if order == NEAREST:
                    out[field, lead, i, j] = pt.sample_nearest(fields, field, px, py)
                else:
                    out[field, lead, i, j] = pt.sample_cubic(fields, coefficients, field, px, py)


# One kernel per order, so that each needs only its own registers.


@kernel
def advect_nearest(fields, coefficients, flow, durations, lead_of_step, out):
    """Advect, taking the nearest cell."""
    follow(fields, coefficients, flow, durations, lead_of_step, NEAREST, out)


@kernel
def advect_linear(fields, coefficients, flow, durations, lead_of_step, out):
    """Advect, interpolating bilinearly."""
    follow(fields, coefficients, flow, durations, lead_of_step, LINEAR, out)


@kernel
def advect_cubic(fields, coefficients, flow, durations, lead_of_step, out):
    """Advect, interpolating by cubic B-splines."""
    follow(fields, coefficients, flow, durations, lead_of_step, CUBIC, out)


KERNELS = {NEAREST: advect_nearest, LINEAR: advect_linear, CUBIC: advect_cubic}


@kernel
def filter_splines(source, along, target):
    """Write the coefficients of cubic B-splines along rows (0) or columns (1): (field, y, x)."""
    j, i, field = cuda.grid(3)
    if i < target.shape[1] and j < target.shape[2]:
        target[field, i, j] = pt.spline_along(source, field, i, j, along)


def spline_coefficients(fields: DeviceArray) -> DeviceArray:
    """Return the B-spline coefficients of fields, ``(field, y, x)``, missing cells taken as zero."""
    along_rows, result = empty(fields.shape), empty(fields.shape)
    filter_splines[launch_over(fields.shape)](fields, 0, along_rows)
    filter_splines[launch_over(fields.shape)](along_rows, 1, result)
    return result


def advect(
    fields: DeviceArray,
    flow: DeviceArray,
    leads: NDArray[np.float32],
    order: int = LINEAR,
    *,
    longest_step: float = np.inf,
    out: DeviceArray | None = None,
) -> DeviceArray:
    """Advect fields along a steady flow: `advection_cpu.advect` on the device.

    `fields` (field, y, x), `flow` (2, y, x) and the result (field, lead, y, x) are on the device; `leads` is on the
    host.

    Raises
    ------
    DeviceMemoryError
        If the result does not fit; `tiles` returns it in parts.
    ValueError
        If shapes, `leads` or `out` are not consistent.
    """
    fields, flow = on_device(fields), on_device(flow)
    shape = (fields.shape[0], leads.size, *fields.shape[1:])
    check_arrays(fields.shape, flow.shape, leads, fields.shape)
    target = empty(shape) if out is None else out
    if tuple(target.shape) != shape:
        raise ValueError(f"out has shape {target.shape}, not {shape}")
    durations, ends = steps_to(leads, longest_step)
    coefficients = spline_coefficients(fields) if order == CUBIC else fields
    _launch(fields, coefficients, flow, durations, ends, order, target)
    return target


def _launch(
    fields: DeviceArray,
    coefficients: DeviceArray,
    flow: DeviceArray,
    durations: NDArray[np.float32],
    ends: NDArray[np.int32],
    order: int,
    out: DeviceArray,
) -> None:
    KERNELS[order][launch_over(flow.shape[1:])](fields, coefficients, flow, upload(durations), upload(ends), out)


def tiles(
    fields: DeviceArray,
    flow: DeviceArray,
    leads: NDArray[np.float32],
    order: int = LINEAR,
    *,
    longest_step: float = np.inf,
) -> Iterator[tuple[int, DeviceArray]]:
    """Yield the result in as few parts, over lead times, as the memory of the device allows.

    Each item is the index of the first lead time and the part of the result. Each part follows the trajectories from
    their start, so that it equals the whole to the last bit. All parts use the same memory: a part is overwritten by
    the next.

    Raises
    ------
    DeviceMemoryError
        If not even one lead time fits.
    """
    check_arrays(fields.shape, flow.shape, leads, fields.shape)
    coefficients = spline_coefficients(fields) if order == CUBIC else fields
    durations, ends = steps_to(leads, longest_step)
    part = _largest_part(fields.shape, int(leads.size))
    size = part.shape[1]
    for start in range(0, int(leads.size), size):
        first = min(start, int(leads.size) - size)  # the last part overlaps the one before
        until = int(np.argmax(ends == first + size - 1)) + 1
        here = np.where(ends[:until] >= first, ends[:until] - first, -1).astype(np.int32)
        _launch(fields, coefficients, flow, durations[:until], here, order, part)
        yield first, part


def _largest_part(shape: tuple[int, ...], leads: int) -> DeviceArray:
    """Return memory for the result at as many lead times as fit: all, half, a quarter and so on."""
    while True:
        try:
            return empty((shape[0], leads, *shape[1:]))
        except DeviceMemoryError:
            if leads == 1:
                raise
            leads = (leads + 1) // 2
