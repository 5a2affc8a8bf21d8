"""Dense multi-frame optical flow on a CUDA device: the counterpart of `flow_cpu`.

One thread computes one grid point, by the functions of `points`. Windows are sums over their cells instead of running
sums: the same numbers, for every point at once. Nothing is copied to the host on the way: the quantities that decide
(is there echo to track, how strong is it) stay in a small array on the device, `state`.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import cuda
from numpy.typing import NDArray

from hybridcast_kernels import points as pt
from hybridcast_kernels.flow_cpu import LEAST_TRACE, LEAST_WEIGHT, FlowOptions, half, levels, radius_of
from hybridcast_kernels.gpu_arrays import DeviceArray, device_workspace, empty, launch_over, on_device, upload
from hybridcast_kernels.workspace import Workspace

kernel = cuda.jit(cache=True)

#: Elements of `state`: mean trace; whether this level has echo so far; whether any level had; mean motion.
TRACE, FINE, FOUND, U, V = range(5)
STATE = 5

SUM_THREADS = 128  # a power of two
SUM_BLOCKS = 64  # few, because one thread adds up their sums, always in the same order
SUM_CELLS = 8  # cells that a thread adds up, at least


# --- pyramid --------------------------------------------------------------------------------------------------


@kernel
def first_level(frames, size, lowest, ceiling, images, masks):
    """Write decibels and coverage at the resolution of `size` x `size` cells: (frame, y, x)."""
    j, i, t = cuda.grid(3)
    if i < images.shape[1] and j < images.shape[2]:
        images[t, i, j], masks[t, i, j] = pt.decibel_of_cells(frames, t, i, j, size, lowest, ceiling)


@kernel
def halve(images, masks, half_images, half_masks):
    """Halve the resolution of all frames."""
    j, i, t = cuda.grid(3)
    if i < half_images.shape[1] and j < half_images.shape[2]:
        half_images[t, i, j], half_masks[t, i, j] = pt.binomial_half(images, masks, t, i, j)


# --- one iteration --------------------------------------------------------------------------------------------


@kernel
def warp(images, masks, offsets, flow, warped, warped_masks):
    """Move every frame to the time of the last one along `flow`; `offsets` are their times in steps, at most 0."""
    j, i, t = cuda.grid(3)
    if i < images.shape[1] and j < images.shape[2]:
        x = np.float32(j) + offsets[t] * flow[0, i, j]
        y = np.float32(i) + offsets[t] * flow[1, i, j]
        warped[t, i, j], warped_masks[t, i, j] = pt.carried(images, masks, t, x, y)


@kernel
def tensor(warped, masks, offsets, tensors):
    """Write structure tensor and right-hand side, summed over pairs of frames: (5, y, x)."""
    j, i = cuda.grid(2)
    rows, columns = warped.shape[1], warped.shape[2]
    if i >= rows or j >= columns:
        return
    xx, xy, yy, x, y = pt.ZERO, pt.ZERO, pt.ZERO, pt.ZERO, pt.ZERO
    if 0 < j < columns - 1:
        up, down = max(i - 1, 0), min(i + 1, rows - 1)
        for t in range(warped.shape[0] - 1):
            duration = offsets[t + 1] - offsets[t]
            pair = pt.pair_tensor(warped, masks, t, i, j, up, down, duration)
            xx += pair[0]
            xy += pair[1]
            yy += pair[2]
            x += pair[3]
            y += pair[4]
    tensors[0, i, j] = xx
    tensors[1, i, j] = xy
    tensors[2, i, j] = yy
    tensors[3, i, j] = x
    tensors[4, i, j] = y


@kernel
def window(source, along, radius, target):
    """Write the mean of each plane over the window along rows (0) or columns (1)."""
    j, i, plane = cuda.grid(3)
    if i < target.shape[1] and j < target.shape[2]:
        target[plane, i, j] = pt.window_along(source, plane, i, j, along, radius)


@kernel
def add_up(planes, partial):
    """Write the sum of each plane in parts, one per block: (plane, block)."""
    part = cuda.shared.array(SUM_THREADS, numba.float32)
    thread, block, plane = cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y
    rows, columns = planes.shape[1], planes.shape[2]
    total = pt.ZERO
    for cell in range(block * cuda.blockDim.x + thread, rows * columns, cuda.gridDim.x * cuda.blockDim.x):
        total += planes[plane, cell // columns, cell % columns]
    part[thread] = total
    cuda.syncthreads()
    other = SUM_THREADS // 2
    while other > 0:
        if thread < other:
            part[thread] += part[thread + other]
        cuda.syncthreads()
        other //= 2
    if thread == 0:
        partial[plane, block] = part[0]


@cuda.jit(device=True)
def plane_mean(partial, plane, cells):
    """Return the mean of a plane from the sums of its parts."""
    total = pt.ZERO
    for block in range(partial.shape[1]):
        total += partial[plane, block]
    return total / np.float32(cells)


@kernel
def judge_trace(partial, cells, first, last, state):
    """Write the mean trace, and whether there is echo to track, to `state`. Runs in one thread."""
    trace = plane_mean(partial, 0, cells) + plane_mean(partial, 2, cells)
    fine = trace > LEAST_TRACE and (first or state[FINE] > pt.ZERO)
    state[TRACE] = trace
    state[FINE] = pt.ONE if fine else pt.ZERO
    if last and fine:
        state[FOUND] = pt.ONE


@kernel
def judge_motion(partial, cells, state):
    """Write the weighted mean motion to `state`. Runs in one thread."""
    weight = max(plane_mean(partial, 0, cells), LEAST_WEIGHT)
    state[U] = plane_mean(partial, 1, cells) / weight
    state[V] = plane_mean(partial, 2, cells) / weight


@kernel
def solve(tensors, flow, radius, ridge, limit, state, weighted):
    """Finish the window along rows, improve the flow, and weight it: (weight, w u, w v, y, x)."""
    j, i = cuda.grid(2)
    if i >= flow.shape[1] or j >= flow.shape[2] or state[FINE] == pt.ZERO:
        return
    xx = pt.window_along(tensors, 0, i, j, 0, radius)
    xy = pt.window_along(tensors, 1, i, j, 0, radius)
    yy = pt.window_along(tensors, 2, i, j, 0, radius)
    x = pt.window_along(tensors, 3, i, j, 0, radius)
    y = pt.window_along(tensors, 4, i, j, 0, radius)
    u, v = pt.solve_flow(xx, xy, yy, x, y, ridge * state[TRACE], limit)
    weight = pt.smaller_eigenvalue(xx, xy, yy)
    weighted[0, i, j] = weight
    weighted[1, i, j] = weight * (flow[0, i, j] + u)
    weighted[2, i, j] = weight * (flow[1, i, j] + v)


@kernel
def start_from_mean(state, flow):
    """Set the flow to the mean motion."""
    j, i = cuda.grid(2)
    if i < flow.shape[1] and j < flow.shape[2] and state[FINE] > pt.ZERO:
        flow[0, i, j] = state[U]
        flow[1, i, j] = state[V]


@kernel
def smooth(weighted, radius, prior, state, flow):
    """Finish the smoothing along columns and normalise; `flow` stays where all weights are 0."""
    j, i = cuda.grid(2)
    if i >= flow.shape[1] or j >= flow.shape[2] or state[FINE] == pt.ZERO:
        return
    least = prior * state[TRACE]
    weight = pt.window_along(weighted, 0, i, j, 1, radius)
    flow[0, i, j] = pt.normalised(weight, pt.window_along(weighted, 1, i, j, 1, radius), flow[0, i, j], least)
    flow[1, i, j] = pt.normalised(weight, pt.window_along(weighted, 2, i, j, 1, radius), flow[1, i, j], least)


@kernel
def enlarge(coarse, factor, fine):
    """Interpolate a flow to a grid `factor` times as fine."""
    j, i, component = cuda.grid(3)
    if i < fine.shape[1] and j < fine.shape[2]:
        fine[component, i, j] = pt.enlarged(coarse, component, i, j, factor)


@kernel
def finish(coarse, factor, state, fine):
    """Interpolate the flow to the grid of the frames; write zero if there was no echo to track."""
    j, i, component = cuda.grid(3)
    if i < fine.shape[1] and j < fine.shape[2]:
        found = state[FOUND] > pt.ZERO
        fine[component, i, j] = pt.enlarged(coarse, component, i, j, factor) if found else pt.ZERO


@kernel
def fill(array, value):
    """Set an array, (plane, y, x), to a value."""
    j, i, plane = cuda.grid(3)
    if i < array.shape[1] and j < array.shape[2]:
        array[plane, i, j] = value


# --- whole fields ---------------------------------------------------------------------------------------------


def estimate(
    frames: DeviceArray,
    offsets: NDArray[np.float32],
    options: FlowOptions | None = None,
    *,
    out: DeviceArray | None = None,
    workspace: Workspace | None = None,
) -> tuple[DeviceArray, DeviceArray]:
    """Estimate the flow that moves the earlier frames into the last one: `flow_cpu.estimate` on the device.

    Parameters
    ----------
    frames
        Rain rate, mm h-1, float32, shape ``(frame, y, x)``, at least two frames, NaN where missing; on the device.
    offsets
        Time of each frame in steps, increasing, the last one 0, shape ``(frame,)``; on the host.
    options
        Settings of the method.
    out
        Device array to write the flow to; allocated if not given.
    workspace
        Scratch arrays to reuse; by default those of the calling thread.

    Returns
    -------
    flow
        Cells per step, shape ``(2, y, x)``, x first, on the device.
    found
        1 if there was echo to track, else 0 (and the flow is zero); shape ``(1,)``, on the device: reading it waits for
        the device.
    """
    options = options or FlowOptions()
    work = workspace or device_workspace()
    frames = on_device(frames)
    _, rows, columns = frames.shape
    times = upload(np.asarray(offsets, dtype=np.float32))
    state = upload(np.zeros(STATE, dtype=np.float32))
    finest, depth = levels(rows, columns, options.finest)
    images, masks = _pyramid(frames, finest, depth, options, work)
    coarsest = depth - 1
    flow = work.array(f"flow{coarsest}", (2, *images[coarsest].shape[1:]))
    fill[launch_over(flow.shape)](flow, pt.ZERO)
    for level in range(coarsest, -1, -1):
        if level < coarsest:
            coarse, flow = flow, work.array(f"flow{level}", (2, *images[level].shape[1:]))
            enlarge[launch_over(flow.shape)](coarse, 2, flow)
        last = level == 0
        _refine(images[level], masks[level], times, flow, state, options, work, level, last, level == coarsest)
    target = empty((2, rows, columns)) if out is None else out
    finish[launch_over(target.shape)](flow, 2**finest, state, target)
    return target, state[FOUND : FOUND + 1]


def _pyramid(
    frames: DeviceArray, finest: int, depth: int, options: FlowOptions, work: Workspace
) -> tuple[list[DeviceArray], list[DeviceArray]]:
    """Return images and masks from the finest level that is used to the coarsest."""
    count, rows, columns = frames.shape
    size = 1
    if finest > 0:
        rows, columns, size = half(rows), half(columns), 2
    images = [work.array("image", (count, rows, columns))]
    masks = [work.array("mask", (count, rows, columns))]
    lowest, ceiling = np.float32(options.lowest_rate), np.float32(options.ceiling)
    first_level[launch_over(images[0].shape)](frames, size, lowest, ceiling, images[0], masks[0])
    for level in range(1, max(finest, 1) + depth - 1):
        rows, columns = half(rows), half(columns)
        images.append(work.array(f"image{level}", (count, rows, columns)))
        masks.append(work.array(f"mask{level}", (count, rows, columns)))
        halve[launch_over(images[-1].shape)](images[-2], masks[-2], images[-1], masks[-1])
    skip = max(finest - 1, 0)
    return images[skip:], masks[skip:]


def _refine(
    images: DeviceArray,
    masks: DeviceArray,
    offsets: DeviceArray,
    flow: DeviceArray,
    state: DeviceArray,
    options: FlowOptions,
    work: Workspace,
    level: int,
    finest: bool,
    coarsest: bool,
) -> None:
    """Improve `flow` of one level in place by a few Gauss-Newton iterations."""
    _, rows, columns = images.shape
    warped = work.array(f"warped{level}", images.shape)
    warped_masks = work.array(f"warped_masks{level}", images.shape)
    tensors = work.array(f"tensors{level}", (5, rows, columns))
    scratch = work.array(f"scratch{level}", (5, rows, columns))
    weighted = work.array(f"weighted{level}", (3, rows, columns))
    radius = radius_of(options.window)
    ridge, limit, prior = (np.float32(value) for value in (options.ridge, options.step_limit, options.prior))
    grid = launch_over((rows, columns))
    iterations = options.iterations * (3 if coarsest else 1)
    for iteration in range(iterations):
        last = iteration == iterations - 1
        smoothing = radius_of(options.final_smoothing if finest and last else options.smoothing)
        warp[launch_over(images.shape)](images, masks, offsets, flow, warped, warped_masks)
        tensor[grid](warped, warped_masks, offsets, tensors)
        window[launch_over(scratch.shape)](tensors, 1, radius, scratch)
        judge_trace[1, 1](_sums(scratch, 3, work), rows * columns, iteration == 0, last, state)
        solve[grid](scratch, flow, radius, ridge, limit, state, weighted)
        if coarsest:
            # points without echo start from the mean motion, not from rest
            judge_motion[1, 1](_sums(weighted, 3, work), rows * columns, state)
            start_from_mean[grid](state, flow)
        window[launch_over(weighted.shape)](weighted, 0, smoothing, tensors)
        smooth[grid](tensors, smoothing, prior, state, flow)


def _sums(planes: DeviceArray, count: int, work: Workspace) -> DeviceArray:
    """Return the sums of the first `count` planes, in parts: (plane, part)."""
    cells = planes.shape[1] * planes.shape[2]
    blocks = min(SUM_BLOCKS, -(-cells // (SUM_THREADS * SUM_CELLS)))
    partial = work.array(f"partial{blocks}", (count, blocks))
    add_up[(blocks, count), SUM_THREADS](planes, partial)
    return partial
