"""Dense multi-frame optical flow on CPU threads.

The least squares of Lucas and Kanade (1981) are solved in a pyramid, over all consecutive pairs of several frames at
once, each frame warped along the current flow. Frames have a coverage mask, so that the border of coverage is no
gradient. The result is smoothed by normalised convolution (Knutsson and Westin 1993), weighted by how well each point
determines both components of the motion, so that points without echo take the flow of their surroundings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels import points as pt
from hybridcast_kernels.parallel import over_bands
from hybridcast_kernels.workspace import Workspace, workspace_of_this_thread

Array = NDArray[np.float32]

# Whole rows are copied by loops: an assignment to a slice includes numba's code for messages about shapes, which takes
# longer to compile than all kernels of this module.
kernel = njit(
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath={"contract", "nsz", "arcp", "reassoc"},
    no_cfunc_wrapper=True,
)

LEAST_TRACE = np.float32(1e-6)  # a smaller mean trace of the structure tensor means that there is no echo
LEAST_WEIGHT = np.float32(1e-12)
COARSEST = 12  # cells along the shorter side of the coarsest pyramid level, at least
#: Cells of the coarsest pyramid level are at most 2 to the power of this times as large as those of the field.
DEEPEST = 5


@dataclass(frozen=True)
class FlowOptions:
    """Settings of `estimate`; lengths are in cells of each pyramid level."""

    iterations: int = 2
    """Gauss-Newton iterations on each level; the coarsest has three times as many."""
    window: float = 6.0
    """Standard deviation of the window of the least squares, cells."""
    smoothing: float = 2.0
    """Standard deviation of the smoothing of the flow after each iteration, cells."""
    final_smoothing: float = 3.0
    """Standard deviation of the smoothing after the last iteration on the finest level, cells."""
    ridge: float = 0.02
    """Ridge of the normal equations, as a fraction of the mean trace of the structure tensor."""
    lowest_rate: float = 0.1
    """Rain rate of 0 dB, mm h-1; lower rates count as it."""
    ceiling: float = 40.0
    """Largest image value, dB above `lowest_rate`."""
    step_limit: float = 2.0
    """Largest change of a component of the flow in one iteration, cells."""
    prior: float = 0.03
    """Weight of the flow so far in the smoothing, as a fraction of the mean trace of the structure tensor."""
    finest: int | None = None
    """Finest level, as the power of two of its cells: 0 is the full resolution. None chooses it by the size."""


# --- pyramid --------------------------------------------------------------------------------------------------


@kernel
def decibel_rows(frame, lowest, ceiling, image, mask, first, last):
    """Write decibels and coverage of rows first..last at full resolution."""
    for i in range(first, last):
        for j in range(frame.shape[1]):
            rate = frame[i, j]
            mask[i, j] = pt.ONE if rate == rate else pt.ZERO
            image[i, j] = pt.decibel(rate, lowest, ceiling)


@kernel
def decibel_halves(frame, lowest, ceiling, image, mask, first, last):
    """Write the mean decibels of the covered ones of 2 x 2 cells, and the fraction that is covered."""
    rows, columns = frame.shape
    pairs = columns // 2
    for i in range(first, last):
        y0 = 2 * i
        y1 = min(y0 + 1, rows - 1)
        for j in range(pairs):
            seen, total = pt.ZERO, pt.ZERO
            for rate in (frame[y0, 2 * j], frame[y0, 2 * j + 1], frame[y1, 2 * j], frame[y1, 2 * j + 1]):
                seen += pt.ONE if rate == rate else pt.ZERO
                total += pt.decibel(rate, lowest, ceiling)
            image[i, j] = total / max(seen, pt.ONE)
            mask[i, j] = seen * np.float32(0.25)
        if columns % 2:
            seen, total = pt.ZERO, pt.ZERO
            for rate in (frame[y0, columns - 1], frame[y1, columns - 1]):
                seen += pt.ONE if rate == rate else pt.ZERO
                total += pt.decibel(rate, lowest, ceiling)
            image[i, pairs] = total / max(seen, pt.ONE)
            mask[i, pairs] = seen * pt.HALF


@kernel
def halve_rows(image, mask, half_image, half_mask, first, last):
    """Halve the resolution by the binomial filter (1, 3, 3, 1) of covered cells; edges are repeated."""
    rows, columns = image.shape
    total = np.empty(columns + 3, np.float32)  # one extra cell before the row, and two after it
    seen = np.empty(columns + 3, np.float32)
    for i in range(first, last):
        for x in range(columns + 3):
            total[x] = pt.ZERO
            seen[x] = pt.ZERO
        for a in range(4):
            y = min(max(2 * i - 1 + a, 0), rows - 1)
            weight = np.float32(3.0) if a == 1 or a == 2 else pt.ONE
            for x in range(columns):
                seen[x + 1] += weight * mask[y, x]
                total[x + 1] += weight * mask[y, x] * image[y, x]
        total[0], seen[0] = total[1], seen[1]
        for x in range(columns + 1, columns + 3):
            total[x], seen[x] = total[columns], seen[columns]
        for j in range(half_image.shape[1]):
            x = 2 * j
            weight = seen[x] + np.float32(3.0) * (seen[x + 1] + seen[x + 2]) + seen[x + 3]
            value = total[x] + np.float32(3.0) * (total[x + 1] + total[x + 2]) + total[x + 3]
            half_image[i, j] = value / weight if weight > pt.LEAST_MASK else pt.ZERO
            half_mask[i, j] = weight * np.float32(1.0 / 64.0)


# --- one iteration --------------------------------------------------------------------------------------------


@kernel
def warp_rows(images, masks, offsets, flow, warped, warped_masks, first, last):
    """Move every frame to the time of the last one along `flow`; `offsets` are their times in steps, at most 0."""
    frames, _, columns = images.shape
    for t in range(frames):
        offset = offsets[t]
        if offset == pt.ZERO:
            for i in range(first, last):
                for j in range(columns):
                    warped[t, i, j] = images[t, i, j]
                    warped_masks[t, i, j] = masks[t, i, j]
            continue
        for i in range(first, last):
            for j in range(columns):
                x = np.float32(j) + offset * flow[0, i, j]
                y = np.float32(i) + offset * flow[1, i, j]
                warped[t, i, j], warped_masks[t, i, j] = pt.carried(images, masks, t, x, y)


@kernel
def tensor_row(warped, masks, offsets, i, tensor):
    """Sum the structure tensor and the right-hand side of row `i` over pairs of frames into ``tensor[:, j]``.

    The arithmetic is that of `points.pair_tensor`.
    """
    frames, rows, columns = warped.shape
    up, down = max(i - 1, 0), min(i + 1, rows - 1)
    for k in range(5):
        for j in range(columns):
            tensor[k, j] = pt.ZERO
    for t in range(frames - 1):
        duration = offsets[t + 1] - offsets[t]
        for j in range(1, columns - 1):
            weight = min(masks[t, i, j], masks[t + 1, i, j])
            weight = min(weight, min(masks[t, up, j], masks[t + 1, up, j]))
            weight = min(weight, min(masks[t, down, j], masks[t + 1, down, j]))
            weight = min(weight, min(masks[t, i, j - 1], masks[t + 1, i, j - 1]))
            weight = min(weight, min(masks[t, i, j + 1], masks[t + 1, i, j + 1]))
            right = warped[t, i, j + 1] + warped[t + 1, i, j + 1]
            left = warped[t, i, j - 1] + warped[t + 1, i, j - 1]
            gx = np.float32(0.25) * duration * (right - left)
            below = warped[t, down, j] + warped[t + 1, down, j]
            above = warped[t, up, j] + warped[t + 1, up, j]
            gy = np.float32(0.25) * duration * (below - above)
            change = warped[t + 1, i, j] - warped[t, i, j]
            tensor[0, j] += weight * gx * gx
            tensor[1, j] += weight * gx * gy
            tensor[2, j] += weight * gy * gy
            tensor[3, j] -= weight * gx * change
            tensor[4, j] -= weight * gy * change


@kernel
def box_row(source, target, radius):
    """Write the running mean of each row of `source` over 2 radius + 1 cells, zero beyond the ends."""
    count, columns = source.shape
    scale = pt.ONE / np.float32(2 * radius + 1)
    for k in range(count):
        total = pt.ZERO
        for j in range(min(radius, columns)):
            total += source[k, j]
        for j in range(columns):
            if j + radius < columns:
                total += source[k, j + radius]
            if j - radius > 0:
                total -= source[k, j - radius - 1]
            target[k, j] = total * scale


@kernel
def tensor_rows(warped, masks, offsets, radius, tensors, first, last):
    """Write the structure tensor of rows first..last, smoothed along the rows: (5, y, x)."""
    columns = warped.shape[2]
    raw = np.empty((5, columns), np.float32)
    once = np.empty((5, columns), np.float32)
    for i in range(first, last):
        tensor_row(warped, masks, offsets, i, raw)
        box_row(raw, once, radius)
        box_row(once, raw, radius)
        for k in range(5):
            for j in range(columns):
                tensors[k, i, j] = raw[k, j]


@kernel
def box_columns(source, target, radius, first, last):
    """Write the running mean of columns first..last of each plane over 2 radius + 1 cells, zero beyond the ends."""
    planes, rows, _ = source.shape
    scale = pt.ONE / np.float32(2 * radius + 1)
    total = np.empty(last - first, np.float32)
    for k in range(planes):
        for j in range(last - first):
            total[j] = pt.ZERO
        for i in range(min(radius, rows)):
            for j in range(last - first):
                total[j] += source[k, i, first + j]
        for i in range(rows):
            if i + radius < rows:
                for j in range(last - first):
                    total[j] += source[k, i + radius, first + j]
            if i - radius > 0:
                for j in range(last - first):
                    total[j] -= source[k, i - radius - 1, first + j]
            for j in range(last - first):
                target[k, i, first + j] = total[j] * scale


@kernel
def solve_columns(tensors, scratch, flow, weighted, radius, ridge, limit, first, last):
    """Finish the window along columns first..last, improve their flow, and weight it: (weight, w u, w v, y, x)."""
    box_columns(tensors, scratch, radius, first, last)
    box_columns(scratch, tensors, radius, first, last)
    for i in range(tensors.shape[1]):
        for j in range(first, last):
            xx, xy, yy = tensors[0, i, j], tensors[1, i, j], tensors[2, i, j]
            u, v = pt.solve_flow(xx, xy, yy, tensors[3, i, j], tensors[4, i, j], ridge, limit)
            weight = pt.smaller_eigenvalue(xx, xy, yy)
            weighted[0, i, j] = weight
            weighted[1, i, j] = weight * (flow[0, i, j] + u)
            weighted[2, i, j] = weight * (flow[1, i, j] + v)


@kernel
def smooth_columns(weighted, scratch, radius, first, last):
    """Smooth columns first..last of the weighted flow."""
    box_columns(weighted, scratch, radius, first, last)
    box_columns(scratch, weighted, radius, first, last)


@kernel
def smooth_rows(weighted, radius, least, flow, first, last):
    """Smooth the weighted flow along rows first..last and normalise it; `flow` stays where all weights are 0."""
    columns = weighted.shape[2]
    raw = np.empty((3, columns), np.float32)
    once = np.empty((3, columns), np.float32)
    for i in range(first, last):
        for k in range(3):
            for j in range(columns):
                raw[k, j] = weighted[k, i, j]
        box_row(raw, once, radius)
        box_row(once, raw, radius)
        for j in range(columns):
            flow[0, i, j] = pt.normalised(raw[0, j], raw[1, j], flow[0, i, j], least)
            flow[1, i, j] = pt.normalised(raw[0, j], raw[2, j], flow[1, i, j], least)


@kernel
def enlarge_rows(coarse, fine, factor, first, last):
    """Interpolate a flow bilinearly to a grid `factor` times as fine, in cells of that grid."""
    rows, columns = coarse.shape[1], coarse.shape[2]
    size = np.float32(factor)
    line = np.empty(columns + 1, np.float32)
    left = np.empty(fine.shape[2], np.int32)
    fraction = np.empty(fine.shape[2], np.float32)
    for j in range(fine.shape[2]):
        x = pt.clamp((np.float32(j) + pt.HALF) / size - pt.HALF, pt.ZERO, np.float32(columns - 1))
        left[j] = np.int32(x)
        fraction[j] = x - np.float32(left[j])
    for c in range(2):
        for i in range(first, last):
            y = pt.clamp((np.float32(i) + pt.HALF) / size - pt.HALF, pt.ZERO, np.float32(rows - 1))
            i0 = np.int64(y)
            i1 = min(i0 + 1, rows - 1)
            fy = y - np.float32(i0)
            for j in range(columns):
                line[j] = size * (coarse[c, i0, j] + fy * (coarse[c, i1, j] - coarse[c, i0, j]))
            line[columns] = line[columns - 1]
            for j in range(fine.shape[2]):
                j0 = left[j]
                fine[c, i, j] = line[j0] + fraction[j] * (line[j0 + 1] - line[j0])


# --- whole fields ---------------------------------------------------------------------------------------------


def estimate(
    frames: Array, offsets: Array, options: FlowOptions | None = None, *, workspace: Workspace | None = None
) -> tuple[Array, bool]:
    """Estimate the flow that moves the earlier frames into the last one.

    Parameters
    ----------
    frames
        Rain rate, mm h-1, shape ``(frame, y, x)``, at least two frames, NaN where missing.
    offsets
        Time of each frame in steps, increasing, the last one 0, shape ``(frame,)``.
    options
        Settings of the method.
    workspace
        Scratch arrays to reuse; by default those of the calling thread.

    Returns
    -------
    flow
        Cells per step, shape ``(2, y, x)``, x first, finite everywhere.
    found
        Whether the frames have echo to track; without echo the flow is zero.
    """
    options = options or FlowOptions()
    work = workspace or workspace_of_this_thread()
    _, rows, columns = frames.shape
    finest, depth = levels(rows, columns, options.finest)
    images, masks = _pyramid(frames, finest, depth, options, work)
    flow = np.zeros((2, *images[-1].shape[1:]), dtype=np.float32)
    found = False
    for level in range(depth - 1, -1, -1):
        if level < depth - 1:
            flow = _enlarged(flow, images[level].shape[1:], 2)
        found = _refine(images, masks, level, offsets, flow, options, work) or found
    if not found:
        return np.zeros((2, rows, columns), dtype=np.float32), False
    return (_enlarged(flow, (rows, columns), 2**finest) if finest else flow), True


def levels(rows: int, columns: int, finest: int | None) -> tuple[int, int]:
    """Return the finest pyramid level that is used (as a power of two) and the number of levels from it on."""
    shorter = min(rows, columns)
    if finest is None:
        finest = 2 if shorter >= 400 else 1 if shorter >= 100 else 0
    depth = 1
    while finest + depth <= DEEPEST and (shorter >> (finest + depth)) >= COARSEST:
        depth += 1
    return finest, depth


def half(size: int) -> int:
    """Return the number of cells along an axis of `size` cells at half the resolution."""
    return (size + 1) // 2


def _pyramid(
    frames: Array, finest: int, depth: int, options: FlowOptions, work: Workspace
) -> tuple[list[Array], list[Array]]:
    """Return images and masks from the finest level that is used to the coarsest."""
    count, rows, columns = frames.shape
    lowest, ceiling = np.float32(options.lowest_rate), np.float32(options.ceiling)
    start = decibel_rows
    if finest > 0:
        rows, columns, start = half(rows), half(columns), decibel_halves
    images = [work.array("image", (count, rows, columns))]
    masks = [work.array("mask", (count, rows, columns))]
    for t in range(count):
        frame, image, mask = frames[t], images[0][t], masks[0][t]

        def first_level(first: int, last: int, f: Array = frame, i: Array = image, m: Array = mask) -> None:
            start(f, lowest, ceiling, i, m, first, last)

        over_bands(first_level, rows, frames.shape[2])
    for level in range(1, max(finest, 1) + depth - 1):
        rows, columns = half(rows), half(columns)
        images.append(work.array(f"image{level}", (count, rows, columns)))
        masks.append(work.array(f"mask{level}", (count, rows, columns)))
        for t in range(count):
            fine, coarse = (images[-2][t], masks[-2][t]), (images[-1][t], masks[-1][t])
            over_bands(lambda first, last: halve_rows(*fine, *coarse, first, last), rows, columns)  # noqa: B023
    skip = max(finest - 1, 0)
    return images[skip:], masks[skip:]


def radius_of(sigma: float) -> int:
    """Return the radius of the box that, applied twice, is as wide as a Gaussian of standard deviation `sigma`."""
    return max(1, round((math.sqrt(6.0 * sigma * sigma + 1.0) - 1.0) / 2.0))


def _refine(
    images: list[Array],
    masks: list[Array],
    level: int,
    offsets: Array,
    flow: Array,
    options: FlowOptions,
    work: Workspace,
) -> bool:
    """Improve `flow` of one level in place by Gauss-Newton iterations; return whether there was echo to track."""
    image, mask = images[level], masks[level]
    finest, coarsest = level == 0, level == len(images) - 1
    _, rows, columns = image.shape
    warped = work.array(f"warped{level}", image.shape)
    warped_masks = work.array(f"warped_masks{level}", image.shape)
    tensors = work.array(f"tensors{level}", (5, rows, columns))
    scratch = work.array(f"scratch{level}", (5, rows, columns))
    weighted = work.array(f"weighted{level}", (3, rows, columns))
    window = radius_of(options.window)
    limit = np.float32(options.step_limit)
    # The coarsest level starts from rest and is small, so that more iterations are needed and cost little.
    iterations = options.iterations * (3 if coarsest else 1)
    for iteration in range(iterations):
        final = finest and iteration == iterations - 1
        smoothing = radius_of(options.final_smoothing if final else options.smoothing)
        over_bands(lambda a, b: warp_rows(image, mask, offsets, flow, warped, warped_masks, a, b), rows, columns)
        over_bands(lambda a, b: tensor_rows(warped, warped_masks, offsets, window, tensors, a, b), rows, columns)
        trace = float(tensors[0].mean() + tensors[2].mean())
        if not trace > LEAST_TRACE:
            return False
        ridge = np.float32(options.ridge * trace)
        over_bands(
            lambda a, b: solve_columns(tensors, scratch, flow, weighted, window, ridge, limit, a, b),  # noqa: B023
            columns,
            rows,
        )
        if coarsest:
            # points without echo start from the mean motion, not from rest
            flow[:] = (weighted[1:].mean(axis=(1, 2)) / max(weighted[0].mean(), LEAST_WEIGHT))[:, None, None]
        # The weight of the flow so far, from the coarser level, which prevails where echo is weak.
        least = np.float32(options.prior * trace)
        over_bands(lambda a, b: smooth_columns(weighted, scratch[:3], smoothing, a, b), columns, rows)  # noqa: B023
        over_bands(lambda a, b: smooth_rows(weighted, smoothing, least, flow, a, b), rows, columns)  # noqa: B023
    return True


def _enlarged(flow: Array, shape: tuple[int, ...], factor: int) -> Array:
    fine = np.empty((2, *shape), dtype=np.float32)
    over_bands(lambda first, last: enlarge_rows(flow, fine, factor, first, last), shape[0], shape[1])
    return fine
