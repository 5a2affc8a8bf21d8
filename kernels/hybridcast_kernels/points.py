"""The arithmetic at ONE grid point, written once: CPU loops and CUDA kernels call it.

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

#: Missing neighbours that carry less weight than this together do not make a sample missing: rounding, not weather.
MISSING_WEIGHT = np.float32(1e-3)

point = njit(inline="never", error_model="numpy", fastmath={"contract", "nsz", "arcp"})


@point
def clamp(value, low, high):
    """Hold `value` between `low` and `high`."""
    return min(max(value, low), high)


@point
def bilinear(planes, plane, x, y):
    """Interpolate one of `planes`, (plane, y, x), none of it missing, at (x, y); beyond the edge the edge holds."""
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
    """Tell whether (x, y) lies within the outermost cell centres."""
    return x >= ZERO and y >= ZERO and x <= np.float32(columns - 1) and y <= np.float32(rows - 1)


@point
def weights_of(fields, field, x, y):
    """Bilinear interpolation that knows missing cells, at (x, y) inside the grid.

    Gives the sum over the four cells that are not missing, and the weights of those that are missing and of those
    that are wet.
    """
    rows, columns = fields.shape[1], fields.shape[2]
    j = np.int32(x)
    i = np.int32(y)
    fx = x - np.float32(j)
    fy = y - np.float32(i)
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
    """Weight of the cubic B-spline at a distance in cells (Unser 1999, 10.1109/79.799930, eq. 3)."""
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
    """Sample B-spline coefficients of a field, so that neither its dry nor its missing cells smear.

    Zero where the wet cells, and NaN where the cells that are not missing, weigh less than a half in bilinear
    interpolation, as pysteps does it.
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


# --- motion ---------------------------------------------------------------------------------------------------


@point
def log2(value):
    """Binary logarithm of a normal positive float32, by its exponent and a polynomial; error below 1e-5."""
    bits = np.float32(value).view(np.int32)
    exponent = np.float32((bits >> np.int32(23)) - np.int32(127))
    mantissa = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F800000)).view(np.float32)
    t = mantissa - ONE
    # least-squares fit on [1, 2), exact at both ends so that the whole is continuous
    p = np.float32(-0.0252855217)
    p = p * t + np.float32(0.120100302)
    p = p * t + np.float32(-0.275968999)
    p = p * t + np.float32(0.45654043)
    p = p * t + np.float32(-0.717913484)
    p = p * t + np.float32(1.44252727)
    return exponent + p * t


@point
def decibel(rate, lowest, ceiling):
    """Rain rate as decibels above `lowest`, at least 0, at most `ceiling`; missing gives 0."""
    ratio = rate / lowest
    # A comparison with NaN is false, so that missing is 0 here; the mask beside it tells it from dry.
    ratio = ratio if ratio > ONE else ONE
    return min(np.float32(3.0102999566) * log2(ratio), ceiling)


@point
def smaller_eigenvalue(xx, xy, yy):
    """Smaller eigenvalue of a symmetric 2 x 2 matrix, not below zero: how well both components are determined."""
    difference = xx - yy
    root = math.sqrt(difference * difference + np.float32(4.0) * xy * xy)
    return max(HALF * (xx + yy - np.float32(root)), ZERO)


@point
def solve_flow(xx, xy, yy, x, y, ridge, limit):
    """Solve the normal equations with a ridge; each component is held within `limit` cells."""
    a = max(xx, ZERO) + ridge
    c = max(yy, ZERO) + ridge
    determinant = max(a * c - xy * xy, np.float32(0.25) * ridge * ridge)
    u = (c * x - xy * y) / determinant
    v = (a * y - xy * x) / determinant
    return clamp(u, -limit, limit), clamp(v, -limit, limit)
