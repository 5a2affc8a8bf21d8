"""Slow and obvious versions of the kernels, in float64: the oracle that every fast one is compared with.

Positions are in cells, `x` along columns and `y` along rows, cell centres at whole numbers; `x` and `y` may be arrays.
Missing is NaN. A flow has the shape ``(2, y, x)``, x first.
"""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np

MISSING_WEIGHT = 1e-3  # missing neighbours of less weight than this do not count


# --- sampling -------------------------------------------------------------------------------------------------


def bilinear(plane, x, y):
    """Interpolate bilinearly; beyond the edge the value at the edge holds."""
    rows, columns = plane.shape
    x = np.clip(np.asarray(x, float), 0, columns - 1)
    y = np.clip(np.asarray(y, float), 0, rows - 1)
    j, i = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - j, y - i
    right, below = np.minimum(j + 1, columns - 1), np.minimum(i + 1, rows - 1)
    return (
        (1 - fy) * (1 - fx) * plane[i, j]
        + (1 - fy) * fx * plane[i, right]
        + fy * (1 - fx) * plane[below, j]
        + fy * fx * plane[below, right]
    )


def inside(shape, x, y):
    """Return whether positions lie within the outermost cell centres."""
    return (x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1)


def missing_weight(field, x, y):
    """Return the weight of missing cells in bilinear interpolation."""
    return bilinear(np.isnan(field).astype(float), x, y)


def sample_linear(field, x, y):
    """Sample bilinearly; NaN outside the grid and where missing neighbours have weight."""
    known = inside(field.shape, x, y) & (missing_weight(field, x, y) <= MISSING_WEIGHT)
    return np.where(known, bilinear(np.nan_to_num(field.astype(float)), x, y), np.nan)


def sample_nearest(field, x, y):
    """Sample the nearest cell, the next one half way; NaN outside the grid."""
    j, i = np.floor(np.asarray(x) + 0.5), np.floor(np.asarray(y) + 0.5)
    j, i = np.clip(j, 0, field.shape[1] - 1).astype(int), np.clip(i, 0, field.shape[0] - 1).astype(int)
    return np.where(inside(field.shape, x, y), field[i, j], np.nan)


def b_spline(distance):
    """Return the cubic B-spline by its definition: truncated cubes."""
    return (
        sum(c * np.maximum(0.0, np.asarray(distance, float) + 2 - k) ** 3 for k, c in enumerate((1, -4, 6, -4, 1))) / 6
    )


def mirrored(index, size):
    """Reflect an index at the outermost cells until it lies within."""
    if size == 1:
        return 0
    while not 0 <= index < size:
        index = -index if index < 0 else 2 * (size - 1) - index
    return index


def spline_coefficients(field):
    """Solve for the coefficients whose B-splines pass through every cell (missing ones as 0), mirrored at edges."""
    result = np.nan_to_num(field.astype(float))
    for axis in (0, 1):
        size = field.shape[axis]
        matrix = np.zeros((size, size))
        for i, (offset, weight) in product(range(size), ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6))):
            matrix[i, mirrored(i + offset, size)] += weight
        result = np.linalg.solve(matrix, result) if axis == 0 else np.linalg.solve(matrix, result.T).T
    return result


def sample_cubic(field, x, y):
    """Sample the cubic spline: NaN outside and where less than half is known, 0 where less than half is wet."""
    rows, columns = field.shape
    known = inside(field.shape, x, y) & (missing_weight(field, x, y) <= 0.5)
    wet = bilinear(np.where(np.isnan(field), 0.0, field > 0), x, y) >= 0.5
    coefficients = np.pad(spline_coefficients(field), 3, "reflect")
    x, y = np.clip(np.asarray(x, float), 0, columns - 1), np.clip(np.asarray(y, float), 0, rows - 1)
    j, i = np.floor(x).astype(int), np.floor(y).astype(int)
    total = np.zeros(x.shape)
    for a, b in product(range(-1, 3), repeat=2):
        total += b_spline(y - (i + a)) * b_spline(x - (j + b)) * coefficients[i + a + 3, j + b + 3]
    return np.where(known, np.where(wet, np.maximum(total, 0.0), 0.0), np.nan)


# --- trajectories ---------------------------------------------------------------------------------------------


def trajectories(flow, leads, *, guess="sampled"):
    """Return the departure points of each grid point, ``(lead, 2, y, x)``, by the midpoint rule.

    The midpoint lies half a guessed increment back. The guess is the flow sampled at the position reached
    ("sampled", as pysteps 1.17 does it with n_iter=1, which only keeps the length of the last step even where the next
    is longer), or extrapolated from the last two increments ("extrapolated", as the kernels do it).
    """
    flow = np.asarray(flow, float)
    y, x = np.mgrid[: flow.shape[1], : flow.shape[2]].astype(float)
    durations = np.diff(leads, prepend=0.0)
    before = None
    guess_x, guess_y = flow * durations[0]
    places = []
    for k, duration in enumerate(durations):
        if k and guess == "extrapolated":
            guess_x, guess_y = (g * duration / durations[k - 1] for g in (guess_x, guess_y))
            before = tuple(b * duration / durations[k - 1] for b in before)
        elif k:
            guess_x, guess_y = (duration * bilinear(component, x, y) for component in flow)
        step = tuple(duration * bilinear(c, x - guess_x / 2, y - guess_y / 2) for c in flow)
        x, y = x - step[0], y - step[1]
        before = before or step
        guess_x, guess_y = (now + (now - last) / 2 for now, last in zip(step, before, strict=True))
        before = step
        places.append((x, y))
    return np.array(places)


SAMPLERS = {0: sample_nearest, 1: sample_linear, 3: sample_cubic}


def advect(field, flow, leads, order=1, *, guess="sampled"):
    """Advect one field: ``(lead, y, x)``."""
    places = trajectories(flow, leads, guess=guess)
    return SAMPLERS[order](field, places[:, 0], places[:, 1])


# --- motion ---------------------------------------------------------------------------------------------------


def decibel(rate, lowest, ceiling):
    """Return decibels above `lowest`, from 0 to `ceiling`; 0 where missing."""
    rate = np.asarray(rate, float)
    return np.clip(10 * np.log10(np.where(rate > lowest, rate, lowest) / lowest), 0, ceiling)


def decibel_halves(frame, lowest, ceiling):
    """Return the mean decibels of the known ones of 2 x 2 cells (fewer at an odd edge), and the fraction known."""
    rows, columns = (-(-size // 2) for size in frame.shape)
    image, mask = np.zeros((rows, columns)), np.zeros((rows, columns))
    for i, j in np.ndindex(rows, columns):
        cells = frame[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].ravel()
        seen = cells[np.isfinite(cells)]
        mask[i, j] = seen.size / cells.size
        image[i, j] = decibel(seen, lowest, ceiling).mean() if seen.size else 0
    return image, mask


def halves(image, mask):
    """Halve by the binomial filter (1, 3, 3, 1) of known cells, edges repeated; the mask too."""
    rows, columns = (-(-size // 2) for size in image.shape)
    kernel = np.outer((1, 3, 3, 1), (1, 3, 3, 1))
    wide_image, wide_mask = (
        np.pad(image.astype(float), ((1, 2), (1, 2)), "edge"),
        np.pad(mask, ((1, 2), (1, 2)), "edge"),
    )
    half_image, half_mask = np.zeros((rows, columns)), np.zeros((rows, columns))
    for i, j in np.ndindex(rows, columns):
        window = np.s_[2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
        weight = kernel * wide_mask[window]
        half_mask[i, j] = weight.sum() / 64
        half_image[i, j] = (weight * wide_image[window]).sum() / weight.sum() if weight.sum() > 0.05 else 0
    return half_image, half_mask


def box_mean(values, radius, axis):
    """Return the mean over 2 radius + 1 cells along an axis, zero beyond the ends."""
    values = np.moveaxis(np.asarray(values, float), axis, -1)
    result = np.zeros_like(values)
    for j in range(values.shape[-1]):
        result[..., j] = values[..., max(j - radius, 0) : j + radius + 1].sum(axis=-1) / (2 * radius + 1)
    return np.moveaxis(result, -1, axis)


def structure_tensor(before, after, mask_before, mask_after, duration=1.0):
    """Return tensor and right-hand side ``(xx, xy, yy, x, y)`` of one pair of images, not smoothed.

    A point counts as much as the least seen of its five cells in both images; rows repeat at the edge, the outermost
    columns count nothing.
    """
    rows, columns = before.shape
    result = np.zeros((5, rows, columns))
    mean = (before.astype(float) + after) / 2
    mask = np.minimum(mask_before, mask_after)
    for i, j in product(range(rows), range(1, columns - 1)):
        up, down = max(i - 1, 0), min(i + 1, rows - 1)
        weight = min(mask[i, j], mask[up, j], mask[down, j], mask[i, j - 1], mask[i, j + 1])
        gx = duration * (mean[i, j + 1] - mean[i, j - 1]) / 2
        gy = duration * (mean[down, j] - mean[up, j]) / 2
        change = float(after[i, j]) - before[i, j]
        result[:, i, j] = weight * np.array([gx * gx, gx * gy, gy * gy, -gx * change, -gy * change])
    return result


def structure_tensors(images, masks, offsets):
    """Return the sum of the tensors of consecutive pairs."""
    pairs = pairwise(range(len(images)))
    return sum(structure_tensor(images[a], images[b], masks[a], masks[b], offsets[b] - offsets[a]) for a, b in pairs)


def solve(xx, xy, yy, x, y, ridge, limit):
    """Solve the normal equations of one point with a ridge; each component is limited to `limit`."""
    u, v = np.linalg.solve([[xx + ridge, xy], [xy, yy + ridge]], [x, y])
    return np.clip([u, v], -limit, limit)


def normalised_convolution(weight, values, radius, least, fallback):
    """Return the weighted mean under two passes of a box, where `fallback` has the weight `least`."""

    def smooth(plane):
        for axis in (-2, -1):
            plane = box_mean(box_mean(plane, radius, axis), radius, axis)
        return plane

    return (smooth(weight * values) + least * fallback) / (smooth(weight) + least)


def enlarged(coarse, shape, factor):
    """Interpolate a flow bilinearly to a grid `factor` times as fine, in cells of that grid."""
    y, x = ((np.mgrid[: shape[0], : shape[1]] + 0.5) / factor) - 0.5
    return factor * np.array([bilinear(component, x, y) for component in coarse])


# --- verification ---------------------------------------------------------------------------------------------


def contingency(forecast, observed, threshold):
    """Count hits, misses, false alarms and all points known to both, one by one."""
    hits = misses = false_alarms = count = 0
    for f, o in zip(np.ravel(forecast), np.ravel(observed), strict=True):
        if np.isnan(f) or np.isnan(o):
            continue
        count += 1
        hits += f >= threshold and o >= threshold
        misses += f < threshold and o >= threshold
        false_alarms += f >= threshold and o < threshold
    return {"hits": hits, "misses": misses, "false_alarms": false_alarms, "count": count}


def fractions(forecast, observed, threshold, reach):
    """Return sums over windows with a known centre: squared difference of fractions, squares, known fraction."""
    known = np.isfinite(forecast) & np.isfinite(observed)
    size = (2 * reach + 1) ** 2
    difference = squares = share = 0.0
    for y, x in zip(*np.nonzero(known), strict=True):
        window = (slice(max(y - reach, 0), y + reach + 1), slice(max(x - reach, 0), x + reach + 1))
        f = (known[window] & (forecast[window] >= threshold)).sum() / size
        o = (known[window] & (observed[window] >= threshold)).sum() / size
        difference += (f - o) ** 2
        squares += f**2 + o**2
        share += known[window].sum() / size
    return difference, squares, share


def equal_area(forecast, observed, wet_like, threshold, rng, draws):
    """Return the mean hits of the highest points, as many as `wet_like` has wet ones, equal ones drawn at random."""
    known = np.isfinite(forecast) & np.isfinite(observed)
    f, events = forecast[known], observed[known] >= threshold
    wet = int((wet_like[known] >= threshold).sum())
    hits = [events[np.lexsort((rng.random(f.size), -f))[:wet]].sum() for _ in range(draws)]
    return {"hits": np.mean(hits), "wet": wet, "events": events.sum()}
