"""Sums and counts of the verification: one pass over forecast, observation and mask each.

All take flat or two-dimensional arrays of one frame and return float64 sums. They run on one thread and release the
GIL, so that many cases can run in parallel.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

counting = njit(nogil=True, cache=True, error_model="numpy")

BLOCK = 256
#: Quantities that `pair_sums` sums up, in their order.
MOMENTS = ("count", "forecast", "observed", "forecast_squared", "observed_squared", "product", "absolute_error")
#: Quantities that `ensemble_sums` sums up, in their order: the mean distance of the members to the observation, half
#: the mean distance of two members drawn with replacement and of two different ones, the squared error of the mean, and
#: the variance of the members with the factor (member + 1) / member.
ENSEMBLE_SUMS = ("error", "spread", "fair_spread", "squared_error", "variance")


@counting
def classes(rate, valid, thresholds, out):
    """Set `out` to the number of the increasing `thresholds` that a rate reaches; 0 where it is not valid.

    All but `thresholds` have one shape; `out` is uint8.
    """
    flat_rate, flat_valid, flat_out = rate.ravel(), valid.ravel(), out.ravel()
    for i in range(flat_rate.size):
        reached = np.uint8(0)
        if flat_valid[i]:
            for k in range(thresholds.size):
                if flat_rate[i] >= thresholds[k]:
                    reached += np.uint8(1)
        flat_out[i] = reached


@counting
def pair_sums(forecast, observed, valid):
    """Return `MOMENTS` over the valid points of flat arrays, summed in blocks to keep rounding small."""
    total = np.zeros(7)
    for start in range(0, forecast.size, BLOCK):
        n, f1, o1, f2, o2, fo, error = 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(start, min(start + BLOCK, forecast.size)):
            if valid[i]:
                f, o = np.float64(forecast[i]), np.float64(observed[i])
                n += 1
                f1 += f
                o1 += o
                f2 += f * f
                o2 += o * o
                fo += f * o
                error += abs(f - o)
        total += np.array([np.float64(n), f1, o1, f2, o2, fo, error])
    return total


@counting
def joint_counts(forecast_class, observed_class, valid, thresholds):
    """Count the valid points by class of forecast and observation, shape ``(thresholds + 1, thresholds + 1)``."""
    counts = np.zeros((thresholds + 1, thresholds + 1), np.int64)
    for i in range(valid.size):
        if valid[i]:
            counts[forecast_class[i], observed_class[i]] += 1
    return counts


@counting
def counts_at_cuts(forecast, observed_class, valid, cuts):
    """Count the points above and at the value ``cuts[k]``, and the events among them (classes above k).

    Returns shape ``(k, 4)``: points above, events above, points at, events at.
    """
    counts = np.zeros((cuts.size, 4), np.int64)
    for i in range(valid.size):
        if valid[i]:
            for k in range(cuts.size):
                column = 0 if forecast[i] > cuts[k] else 2 if forecast[i] == cuts[k] else -1
                if column >= 0:
                    counts[k, column] += 1
                    if observed_class[i] > k:
                        counts[k, column + 1] += 1
    return counts


@counting
def probability_sums(probability, event_class, threshold_index, valid, bins):
    """Sum up probabilities by bin; the bins are centred at 0, 1 / (bins - 1), ..., 1.

    An event is a class above `threshold_index`. Returns shape ``(5, bins)``: points, events, probability, its square,
    and probability of the points with an event.
    """
    sums = np.zeros((5, bins))
    last = bins - 1
    for i in range(valid.size):
        if valid[i]:
            p = min(max(np.float64(probability[i]), 0.0), 1.0)
            b = int(p * last + 0.5)
            sums[0, b] += 1.0
            sums[2, b] += p
            sums[3, b] += p * p
            if event_class[i] > threshold_index:
                sums[1, b] += 1.0
                sums[4, b] += p
    return sums


@counting
def ensemble_sums(members, observed):
    """Return `ENSEMBLE_SUMS` over the points of an ensemble, shape ``(member, point)``, and its rank histogram.

    The rank histogram has the shape ``(member + 1,)``; a point that equals k members is divided among k + 1 ranks.
    """
    size = members.shape[0]
    sums, ranks = np.zeros(len(ENSEMBLE_SUMS)), np.zeros(size + 1)
    point = np.empty(size)
    for i in range(observed.size):
        sort_into(members[:, i], point)
        add_point(point, np.float64(observed[i]), sums)
        add_rank(point, np.float64(observed[i]), ranks)
    return sums, ranks


@counting
def sort_into(values, out):
    """Set `out` to the sorted values, by insertion: ensembles are small, and mostly dry."""
    for m in range(values.size):
        k = m
        while k > 0 and out[k - 1] > values[m]:
            out[k] = out[k - 1]
            k -= 1
        out[k] = values[m]


@counting
def add_point(point, observed, sums):
    """Add the `ENSEMBLE_SUMS` of one point with its members sorted; those that need two members are 0 for one."""
    size = point.size
    error, total, distance, squares = 0.0, 0.0, 0.0, 0.0
    for m in range(size):
        error += abs(point[m] - observed)
        total += point[m]
        distance += (2 * m + 1 - size) * point[m]  # in the sum, half the distance of all pairs
    mean = total / size
    for m in range(size):
        squares += (point[m] - mean) ** 2
    sums[0] += error / size
    sums[1] += distance / (size * size)
    sums[3] += (mean - observed) ** 2
    if size > 1:
        sums[2] += distance / (size * (size - 1))
        sums[4] += (size + 1) / size * squares / (size - 1)


@counting
def add_rank(point, observed, ranks):
    """Add one point to the rank histogram, in equal parts to the ranks that are tied."""
    below, equal = 0, 0
    for value in point:
        below += value < observed
        equal += value == observed
    for rank in range(below, below + equal + 1):
        ranks[rank] += 1.0 / (equal + 1)


@counting
def variogram_sums(members, observed, known, reach):
    """Return the sum of the weighted errors of the variogram, and that of the weights, over pairs of known points.

    Pairs are up to `reach` points apart, with the inverse of the distance as weight. `members` has the shape
    ``(member, y, x)``, `observed` and `known` ``(y, x)``.
    """
    rows, columns = observed.shape
    error, total = 0.0, 0.0
    for dy in range(reach + 1):
        for dx in range(-reach, reach + 1):
            apart = dy * dy + dx * dx
            if apart > reach * reach or (dy == 0 and dx <= 0):  # each pair once
                continue
            weight = 1 / np.sqrt(apart)
            for y in range(rows - dy):
                for x in range(max(0, -dx), min(columns, columns - dx)):
                    if known[y, x] and known[y + dy, x + dx]:
                        step = np.sqrt(abs(observed[y + dy, x + dx] - observed[y, x]))
                        error += weight * variogram_error(members[:, y, x], members[:, y + dy, x + dx], step)
                        total += weight
    return error, total


@counting
def variogram_error(one, other, observed):
    """Return the squared error of the mean root difference of two points, less the variance of that mean."""
    size = one.size
    total, squares = 0.0, 0.0
    for m in range(size):
        squares += abs(other[m] - one[m])
        total += np.sqrt(abs(other[m] - one[m]))
    mean = total / size
    return (mean - observed) ** 2 - (squares / size - mean * mean) / (size - 1)


@counting
def summed_area(values, index, table):
    """Set `table`, shape ``(y + 1, x + 1)``, to the counts of `values` above `index` up and left of each corner."""
    rows, columns = values.shape
    table[0, :] = 0
    for y in range(rows):
        table[y + 1, 0] = 0
        row = np.int32(0)
        for x in range(columns):
            row += np.int32(values[y, x] > index)
            table[y + 1, x + 1] = table[y, x + 1] + row
    return table[rows, columns]


@counting
def band(table, y, reach_y, reach_x, out):
    """Set `out` to the cumulative sums of columns over the rows near `y`, extended beyond both edges."""
    rows, columns = table.shape[0] - 1, table.shape[1] - 1
    top, bottom = max(y - reach_y, 0), min(y + reach_y + 1, rows)
    out[:reach_x] = 0
    for x in range(columns + 1):
        out[reach_x + x] = table[bottom, x] - table[top, x]
    out[reach_x + columns + 1 : 2 * reach_x + columns + 1] = out[reach_x + columns]
    return out[reach_x + columns]


@counting
def window_pair_sums(table_a, table_b, valid, reach_y, reach_x):
    """Return sums over all windows with a valid centre: squared difference of the two counts, and sum of squares."""
    rows, columns = valid.shape
    a = np.empty(columns + 1 + 2 * reach_x, np.int32)
    b = np.empty(columns + 1 + 2 * reach_x, np.int32)
    width = 2 * reach_x + 1
    difference, squares = np.int64(0), np.int64(0)
    for y in range(rows):
        if band(table_a, y, reach_y, reach_x, a) + band(table_b, y, reach_y, reach_x, b) == 0:
            continue
        for x in range(columns):
            counts = np.int64(valid[y, x])
            in_a, in_b = np.int64(a[x + width] - a[x]), np.int64(b[x + width] - b[x])
            difference += counts * (in_a - in_b) * (in_a - in_b)
            squares += counts * (in_a * in_a + in_b * in_b)
    return np.float64(difference), np.float64(squares)


@counting
def window_sum(table, valid, reach_y, reach_x):
    """Return the sum of the counts of all windows with a valid centre."""
    rows, columns = valid.shape
    a = np.empty(columns + 1 + 2 * reach_x, np.int32)
    width = 2 * reach_x + 1
    total = np.int64(0)
    for y in range(rows):
        band(table, y, reach_y, reach_x, a)
        for x in range(columns):
            total += np.int64(valid[y, x]) * np.int64(a[x + width] - a[x])
    return np.float64(total)


def fraction_sums(
    forecast_class: NDArray[np.uint8],
    observed_class: NDArray[np.uint8],
    valid: NDArray[np.uint8],
    thresholds: int,
    reaches: list[tuple[int, int]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of the fractions skill score of one frame.

    Parameters
    ----------
    forecast_class, observed_class
        Classes as `classes` sets them, shape ``(y, x)``; an event at threshold k is a class above k.
    valid
        1 for cells that are valid, else 0, shape ``(y, x)``.
    thresholds
        Number of thresholds.
    reaches
        For each scale the number of cells from the centre of a window to its edge, along y and x.

    Returns
    -------
    tuple
        The squared difference of the two fractions, the sum of their squares, both ``(scale, threshold)``, and the
        fraction of the windows that is valid ``(scale,)``, each summed over the windows with a valid centre. A fraction
        is the number of events on valid cells over all cells of the window.
    """
    shape = (valid.shape[0] + 1, valid.shape[1] + 1)
    table_f, table_o = np.empty(shape, np.int32), np.empty(shape, np.int32)
    difference, squares = np.zeros((len(reaches), thresholds)), np.zeros((len(reaches), thresholds))
    summed_area(valid, 0, table_f)
    sizes = [(2 * y + 1) * (2 * x + 1) for y, x in reaches]
    valid_fraction = np.array(
        [window_sum(table_f, valid, *reach) / size for reach, size in zip(reaches, sizes, strict=True)],
        dtype=np.float64,
    )
    for k in range(thresholds):
        events = summed_area(forecast_class, k, table_f) + summed_area(observed_class, k, table_o)
        if events == 0:
            continue
        for scale, (reach, size) in enumerate(zip(reaches, sizes, strict=True)):
            sums = window_pair_sums(table_f, table_o, valid, *reach)
            difference[scale, k], squares[scale, k] = sums[0] / size**2, sums[1] / size**2
    return difference, squares, valid_fraction
