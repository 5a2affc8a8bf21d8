"""The arithmetic at one grid point, written once: CPU loops and CUDA kernels call it.

Positions are in cells, x along columns and y along rows, cell centres at whole numbers. All arithmetic is float32;
``np.float32(...)`` around constants and indices keeps it so (an int times a float32 would become a float64).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
NAN = np.float32(np.nan)

#: A sample is missing only if its missing neighbours together weigh more than this; a smaller weight is rounding.
MISSING_WEIGHT = np.float32(1e-3)
#: A cell of a pyramid whose mask is below this counts as missing.
LEAST_MASK = np.float32(0.05)

SQRT3 = np.float32(math.sqrt(3.0))
SPLINE_POLE = np.float32(math.sqrt(3.0) - 2.0)
SPLINE_REACH = 13  # the pole to this power is below the rounding of a float32

point = njit(error_model="numpy", fastmath={"contract", "nsz", "arcp"}, no_cfunc_wrapper=True)


@point
def clamp(value, low, high):
    """Limit `value` to the interval from `low` to `high`."""
    return min(max(value, low), high)


@point
def bilinear(planes, plane, x, y):
    """Interpolate one of `planes`, (plane, y, x), none missing, at (x, y); beyond the edge the edge value holds."""
    rows, columns = planes.shape[1], planes.shape[2]
    x = clamp(x, ZERO, np.float32(columns - 1))
    y = clamp(y, ZERO, np.float32(rows - 1))
    j = np.int32(x)
    i = np.int32(y)
    j1 = min(j + 1, columns - 1)
    i1 = min(i + 1, rows - 1)
    fx = x - np.float32(j)
    fy = y - np.float32(i)
    above = planes[plane, i, j] + fx * (planes[plane, i, j1] - planes[plane, i, j])
    below = planes[plane, i1, j] + fx * (planes[plane, i1, j1] - planes[plane, i1, j])
    return above + fy * (below - above)


@point
def inside(rows, columns, x, y):
    """Return whether (x, y) lies within the outermost cell centres."""
    return x >= ZERO and y >= ZERO and x <= np.float32(columns - 1) and y <= np.float32(rows - 1)


@point
def weights_at(fields, field, i, j, fx, fy):
    """Interpolate bilinearly among cells that may be missing, at the position (fx, fy) within the cell (i, j).

    Returns the weighted sum over those of the four cells that are not missing, the total weight of the missing cells,
    and the total weight of the wet cells.
    """
    rows, columns = fields.shape[1], fields.shape[2]
    total, missing, wet = ZERO, ZERO, ZERO
    for a in range(2):
        wy = fy if a == 1 else ONE - fy
        for b in range(2):
            weight = wy * (fx if b == 1 else ONE - fx)
            value = fields[field, min(i + a, rows - 1), min(j + b, columns - 1)]
            if math.isnan(value):
                missing += weight
            else:
                total += weight * value
                wet += weight if value > ZERO else ZERO
    return total, missing, wet


@point
def weights_of(fields, field, x, y):
    """Return `weights_at` for a position (x, y) inside the grid."""
    j = np.int32(x)
    i = np.int32(y)
    return weights_at(fields, field, i, j, x - np.float32(j), y - np.float32(i))


@point
def sample_linear(fields, field, x, y):
    """Sample a field bilinearly; NaN outside the grid and beside a missing cell."""
    if not inside(fields.shape[1], fields.shape[2], x, y):
        return NAN
    total, missing, _ = weights_of(fields, field, x, y)
    return NAN if missing > MISSING_WEIGHT else total


@point
def sample_nearest(fields, field, x, y):
    """Sample the cell nearest to (x, y); NaN outside the grid and where that cell is missing."""
    if not inside(fields.shape[1], fields.shape[2], x, y):
        return NAN
    return fields[field, np.int32(math.floor(y + HALF)), np.int32(math.floor(x + HALF))]


@point
def cubic_weight(distance):
    """Return the weight of the cubic B-spline at a distance in cells (Unser 1999, 10.1109/79.799930, eq. 3)."""
    d = abs(distance)
    if d < ONE:
        return np.float32(2.0 / 3.0) - d * d * (ONE - HALF * d)
    if d < TWO:
        return (TWO - d) * (TWO - d) * (TWO - d) * np.float32(1.0 / 6.0)
    return ZERO


@point
def mirrored(index, size):
    """Reflect an index at the outermost cell centres."""
    if size == 1:
        return 0
    period = 2 * (size - 1)
    index = abs(index) % period
    return period - index if index >= size else index


@point
def sample_cubic(fields, coefficients, field, x, y):
    """Interpolate a field from its B-spline coefficients without smearing its dry or missing cells.

    The sample is 0 where the wet cells, and NaN where the known cells, have less than half of the weight of the
    bilinear interpolation, as in pysteps.
    """
    rows, columns = fields.shape[1], fields.shape[2]
    if not inside(rows, columns, x, y):
        return NAN
    _, missing, wet = weights_of(fields, field, x, y)
    if missing > HALF:
        return NAN
    if wet < HALF:
        return ZERO
    i0 = np.int32(math.floor(y))
    j0 = np.int32(math.floor(x))
    total = ZERO
    for i in range(i0 - 1, i0 + 3):
        row = ZERO
        for j in range(j0 - 1, j0 + 3):
            row += cubic_weight(x - np.float32(j)) * coefficients[field, mirrored(i, rows), mirrored(j, columns)]
        total += cubic_weight(y - np.float32(i)) * row
    return max(total, ZERO)


# --- trajectories ---------------------------------------------------------------------------------------------

# Positions are given as displacements from a grid point: on a large grid a float32 position would be too coarse.


@point
def cell_of(start, displacement, size):
    """Return the cell reached from `start` along one axis, and the position within it, limited to the grid.

    The cell is at most the last but one, so that it has a neighbour if the axis has two cells.
    """
    held = clamp(displacement, np.float32(-start), np.float32(size - 1 - start))
    whole = min(np.int32(math.floor(held)), np.int32(max(size - 2, 0) - start))
    return np.int32(start + whole), held - np.float32(whole)


@point
def bilinear_from(planes, plane, i, j, dx, dy):
    """Return `bilinear` at the displacement (dx, dy) from the grid point (i, j)."""
    rows, columns = planes.shape[1], planes.shape[2]
    column, fx = cell_of(j, dx, columns)
    row, fy = cell_of(i, dy, rows)
    right = min(column + 1, columns - 1)
    below = min(row + 1, rows - 1)
    upper = planes[plane, row, column] + fx * (planes[plane, row, right] - planes[plane, row, column])
    lower = planes[plane, below, column] + fx * (planes[plane, below, right] - planes[plane, below, column])
    return upper + fy * (lower - upper)


@point
def inside_from(rows, columns, i, j, dx, dy):
    """Return `inside` for the displacement (dx, dy) from the grid point (i, j)."""
    across = dx >= np.float32(-j) and dx <= np.float32(columns - 1 - j)
    return across and dy >= np.float32(-i) and dy <= np.float32(rows - 1 - i)


@point
def sample_linear_from(fields, field, i, j, dx, dy):
    """Return `sample_linear` at the displacement (dx, dy) from the grid point (i, j)."""
    rows, columns = fields.shape[1], fields.shape[2]
    if not inside_from(rows, columns, i, j, dx, dy):
        return NAN
    column, fx = cell_of(j, dx, columns)
    row, fy = cell_of(i, dy, rows)
    total, missing, _ = weights_at(fields, field, row, column, fx, fy)
    return NAN if missing > MISSING_WEIGHT else total


@point
def increment_from(flow, i, j, dx, dy, gx, gy, duration):
    """Return the increment of a trajectory over `duration`.

    The flow is sampled half a guessed increment (gx, gy) back from the displacement (dx, dy).
    """
    x = dx - HALF * gx
    y = dy - HALF * gy
    return bilinear_from(flow, 0, i, j, x, y) * duration, bilinear_from(flow, 1, i, j, x, y) * duration


@point
def next_guess(increment, last):
    """Extrapolate the next increment along the track from the last two."""
    return increment + HALF * (increment - last)


@point
def spline_along(planes, plane, i, j, along):
    """Return a coefficient of the cubic B-spline through a line of cells, missing ones taken as zero.

    The line lies along rows (`along` 0) or columns (1). The inverse filter (Unser 1999, eq. 12 with its pole
    sqrt(3) - 2) is summed up directly, truncated below the rounding of float32; lines are mirrored at the outermost
    cells.
    """
    size = planes.shape[1] if along == 0 else planes.shape[2]
    total = ZERO
    weight = SQRT3
    for k in range(SPLINE_REACH + 1):
        for side in range(2):
            if k == 0 and side == 1:
                continue
            step = k if side == 0 else -k
            y = mirrored(i + step, size) if along == 0 else i
            x = j if along == 0 else mirrored(j + step, size)
            value = planes[plane, y, x]
            if not math.isnan(value):
                total += weight * value
        weight *= SPLINE_POLE
    return total


# --- motion ---------------------------------------------------------------------------------------------------


@point
def log2(value):
    """Return the binary logarithm of a normal positive float32, by exponent and polynomial; error below 1e-5."""
    bits = np.float32(value).view(np.int32)
    exponent = np.float32((bits >> np.int32(23)) - np.int32(127))
    mantissa = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F800000)).view(np.float32)
    t = mantissa - ONE
    # least-squares fit on [1, 2), exact at both ends so that the logarithm is continuous
    p = np.float32(-0.0252855217)
    p = p * t + np.float32(0.120100302)
    p = p * t + np.float32(-0.275968999)
    p = p * t + np.float32(0.45654043)
    p = p * t + np.float32(-0.717913484)
    p = p * t + np.float32(1.44252727)
    return exponent + p * t


@point
def decibel(rate, lowest, ceiling):
    """Return a rain rate as decibels above `lowest`, at least 0, at most `ceiling`; 0 if it is missing."""
    ratio = rate / lowest
    # A comparison with NaN is false, so that a missing rate gives 0; the mask distinguishes it from a dry one.
    ratio = ratio if ratio > ONE else ONE
    return min(np.float32(3.0102999566) * log2(ratio), ceiling)


@point
def decibel_of_cells(frames, t, i, j, size, lowest, ceiling):
    """Return the mean decibels of the covered ones of `size` x `size` cells, and the fraction that is covered."""
    rows, columns = frames.shape[1], frames.shape[2]
    seen, total, cells = ZERO, ZERO, ZERO
    for y in range(size * i, min(size * (i + 1), rows)):
        for x in range(size * j, min(size * (j + 1), columns)):
            rate = frames[t, y, x]
            seen += ONE if rate == rate else ZERO
            total += decibel(rate, lowest, ceiling)
            cells += ONE
    return total / max(seen, ONE), seen / cells


@point
def binomial_half(images, masks, t, i, j):
    """Return image and mask at half the resolution: binomial filter (1, 3, 3, 1) of covered cells, edges repeated."""
    rows, columns = images.shape[1], images.shape[2]
    weights, total = ZERO, ZERO
    for a in range(4):
        y = min(max(2 * i - 1 + a, 0), rows - 1)
        wy = np.float32(3.0) if a == 1 or a == 2 else ONE
        for b in range(4):
            x = min(max(2 * j - 1 + b, 0), columns - 1)
            weight = wy * (np.float32(3.0) if b == 1 or b == 2 else ONE) * masks[t, y, x]
            weights += weight
            total += weight * images[t, y, x]
    return (total / weights if weights > LEAST_MASK else ZERO), weights * np.float32(1.0 / 64.0)


@point
def carried(images, masks, t, x, y):
    """Return image and mask at (x, y); beyond the edge the mask is 0."""
    covered = bilinear(masks, t, x, y) if inside(images.shape[1], images.shape[2], x, y) else ZERO
    return bilinear(images, t, x, y), covered


@point
def pair_tensor(images, masks, t, i, j, up, down, duration):
    """Return structure tensor and right-hand side (xx, xy, yy, x, y) of images t and t + 1, in an inner column.

    `up` and `down` are the neighbouring rows. Gradients are means of both images; the weight is the smallest mask of
    the five cells in both.
    """
    weight = min(masks[t, i, j], masks[t + 1, i, j])
    weight = min(weight, min(masks[t, up, j], masks[t + 1, up, j]))
    weight = min(weight, min(masks[t, down, j], masks[t + 1, down, j]))
    weight = min(weight, min(masks[t, i, j - 1], masks[t + 1, i, j - 1]))
    weight = min(weight, min(masks[t, i, j + 1], masks[t + 1, i, j + 1]))
    right = images[t, i, j + 1] + images[t + 1, i, j + 1]
    left = images[t, i, j - 1] + images[t + 1, i, j - 1]
    gx = np.float32(0.25) * duration * (right - left)
    below = images[t, down, j] + images[t + 1, down, j]
    above = images[t, up, j] + images[t + 1, up, j]
    gy = np.float32(0.25) * duration * (below - above)
    change = images[t + 1, i, j] - images[t, i, j]
    return weight * gx * gx, weight * gx * gy, weight * gy * gy, -weight * gx * change, -weight * gy * change


@point
def window_weight(at, cell, radius, size):
    """Return the weight of a cell in the window around `at`: a box of 2 radius + 1 cells applied twice, 0 beyond."""
    first = max(max(at, cell) - radius, 0)
    last = min(min(at, cell) + radius, size - 1)
    width = np.float32(2 * radius + 1)
    return np.float32(max(last - first + 1, 0)) / (width * width)


@point
def window_along(planes, plane, i, j, along, radius):
    """Return the mean over the window around (i, j) along rows (0), that is from row to row, or along columns (1)."""
    size = planes.shape[1] if along == 0 else planes.shape[2]
    at = i if along == 0 else j
    total = ZERO
    for cell in range(max(at - 2 * radius, 0), min(at + 2 * radius, size - 1) + 1):
        value = planes[plane, cell, j] if along == 0 else planes[plane, i, cell]
        total += window_weight(at, cell, radius, size) * value
    return total


@point
def smaller_eigenvalue(xx, xy, yy):
    """Return the smaller eigenvalue of a symmetric 2 x 2 matrix, at least 0: how well both components are known."""
    difference = xx - yy
    root = math.sqrt(difference * difference + np.float32(4.0) * xy * xy)
    return max(HALF * (xx + yy - np.float32(root)), ZERO)


@point
def solve_flow(xx, xy, yy, x, y, ridge, limit):
    """Solve the normal equations with a ridge; each component is limited to `limit` cells."""
    a = max(xx, ZERO) + ridge
    c = max(yy, ZERO) + ridge
    determinant = max(a * c - xy * xy, np.float32(0.25) * ridge * ridge)
    u = (c * x - xy * y) / determinant
    v = (a * y - xy * x) / determinant
    return clamp(u, -limit, limit), clamp(v, -limit, limit)


@point
def normalised(weight, weighted, prior, least):
    """Return a component of the flow from its weighted sum; the `prior` value has the weight `least`."""
    return (weighted + least * prior) * (ONE / (max(weight, ZERO) + least))


@point
def enlarged(coarse, component, i, j, factor):
    """Return the flow at the point (i, j) of a grid `factor` times as fine, bilinearly, in cells of that grid."""
    size = np.float32(factor)
    x = (np.float32(j) + HALF) / size - HALF
    y = (np.float32(i) + HALF) / size - HALF
    return size * bilinear(coarse, component, x, y)
