"""Counters of verification: one pass over forecast, observation and mask each, where numpy would make many.

All take flat or two-dimensional arrays of one frame and give float64 sums. They run on one thread and release the
GIL: whoever has many cases runs them side by side.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

counting = njit(nogil=True, cache=True, error_model="numpy")

BLOCK = 256
#: What `pair_sums` sums up, in its order.
MOMENTS = ("count", "forecast", "observed", "forecast_squared", "observed_squared", "product", "absolute_error")


@counting
def classes(rate, valid, thresholds, out):
    """Set `out` to how many of the rising `thresholds` a rate reaches; 0 where it is not valid.

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
def joint_counts(forecast_class, observed_class, valid, levels):
    """Count the valid points by class of forecast and observation, shape ``(levels + 1, levels + 1)``."""
    counts = np.zeros((levels + 1, levels + 1), np.int64)
    for i in range(valid.size):
        if valid[i]:
            counts[forecast_class[i], observed_class[i]] += 1
    return counts


@counting
def counts_at_cuts(forecast, observed_class, valid, cuts):
    """Count the points above and at the value ``cuts[k]``, and the events among them (classes above k).

    Gives ``(k, 4)``: above, events above, at, events at.
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
    """Sum up probabilities by bin, the bins centred at 0, 1 / (bins - 1), ..., 1.

    An event is a class above `threshold_index`. Gives ``(5, bins)``: points, events, probability, its square, and
    probability of the points with an event.
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
def ensemble_sums(members, observed, valid):
    """Return the sums of an ensemble, shape ``(member, point)``, and its rank histogram.

    First ``(2,)``: over the valid points, the mean distance of the members to the observation and half the mean
    distance between any two of them, whose difference is the CRPS; then the counts by rank ``(member + 1,)``, a point
    that equals k members being shared among k + 1 ranks.
    """
    size = members.shape[0]
    sums, ranks = np.zeros(2), np.zeros(size + 1)
    point = np.empty(size, np.float64)
    for i in range(observed.size):
        if not valid[i]:
            continue
        o = np.float64(observed[i])
        error, below, equal = 0.0, 0, 0
        for m in range(size):
            value = np.float64(members[m, i])
            error += abs(value - o)
            if value < o:
                below += 1
            elif value == o:
                equal += 1
            k = m
            while k > 0 and point[k - 1] > value:  # sorted as they come: ensembles are small, and mostly dry
                point[k] = point[k - 1]
                k -= 1
            point[k] = value
        spread = 0.0
        for m in range(size):
            spread += (2 * m + 1 - size) * point[m]
        sums[0] += error / size
        sums[1] += spread / (size * size)
        for rank in range(below, below + equal + 1):
            ranks[rank] += 1.0 / (equal + 1)
    return sums, ranks


@counting
def summed_area(values, level, table):
    """Set `table`, shape ``(y + 1, x + 1)``, to the counts of `values` above `level` up and left of each corner."""
    rows, columns = values.shape
    table[0, :] = 0
    for y in range(rows):
        table[y + 1, 0] = 0
        row = np.int32(0)
        for x in range(columns):
            row += np.int32(values[y, x] > level)
            table[y + 1, x + 1] = table[y, x + 1] + row
    return table[rows, columns]


@counting
def band(table, y, reach_y, reach_x, out):
    """Set `out` to the sums of columns over the rows near `y`, from the left edge on, held on at both edges."""
    rows, columns = table.shape[0] - 1, table.shape[1] - 1
    top, bottom = max(y - reach_y, 0), min(y + reach_y + 1, rows)
    out[:reach_x] = 0
    for x in range(columns + 1):
        out[reach_x + x] = table[bottom, x] - table[top, x]
    out[reach_x + columns + 1 : 2 * reach_x + columns + 1] = out[reach_x + columns]
    return out[reach_x + columns]


@counting
def window_pair_sums(table_a, table_b, valid, reach_y, reach_x):
    """Sum over all windows with a valid centre: the squared difference of the two counts, and the sum of squares."""
    rows, columns = valid.shape
    a = np.empty(columns + 1 + 2 * reach_x, np.int32)
    b = np.empty(columns + 1 + 2 * reach_x, np.int32)
    width = 2 * reach_x + 1
    difference, squares = np.int64(0), np.int64(0)
    for y in range(rows):
        if band(table_a, y, reach_y, reach_x, a) + band(table_b, y, reach_y, reach_x, b) == 0:
            continue
        for x in range(columns):
            seen = np.int64(valid[y, x])
            in_a, in_b = np.int64(a[x + width] - a[x]), np.int64(b[x + width] - b[x])
            difference += seen * (in_a - in_b) * (in_a - in_b)
            squares += seen * (in_a * in_a + in_b * in_b)
    return np.float64(difference), np.float64(squares)


@counting
def window_sum(table, valid, reach_y, reach_x):
    """Sum the counts of all windows with a valid centre."""
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
    levels: int,
    reaches: list[tuple[int, int]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sums of the fractions skill score of one frame.

    Parameters
    ----------
    forecast_class, observed_class
        As `classes` sets them, shape ``(y, x)``; an event at level k is a class above k.
    valid
        0 or 1, shape ``(y, x)``.
    levels
        Number of thresholds.
    reaches
        For each scale how many cells a window reaches from its centre, ``(y, x)``.

    Returns
    -------
    tuple
        The squared difference of the two fractions, the sum of their squares, both ``(scale, level)``, and the share
        of the windows that is valid ``(scale,)``, each summed over the windows with a valid centre. A fraction is the
        number of events on valid cells over all cells of the window.
    """
    shape = (valid.shape[0] + 1, valid.shape[1] + 1)
    table_f, table_o = np.empty(shape, np.int32), np.empty(shape, np.int32)
    difference, squares = np.zeros((len(reaches), levels)), np.zeros((len(reaches), levels))
    summed_area(valid, 0, table_f)
    sizes = [(2 * y + 1) * (2 * x + 1) for y, x in reaches]
    share = np.array(
        [window_sum(table_f, valid, *reach) / size for reach, size in zip(reaches, sizes, strict=True)],
        dtype=np.float64,
    )
    for level in range(levels):
        events = summed_area(forecast_class, level, table_f) + summed_area(observed_class, level, table_o)
        if events == 0:
            continue
        for k, (reach, size) in enumerate(zip(reaches, sizes, strict=True)):
            sums = window_pair_sums(table_f, table_o, valid, *reach)
            difference[k, level], squares[k, level] = sums[0] / size**2, sums[1] / size**2
    return difference, squares, share
