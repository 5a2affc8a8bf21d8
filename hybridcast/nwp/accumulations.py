"""Rates from precipitation sums, whether since the start of the run or over each step."""

from __future__ import annotations

import numpy as np

from hybridcast.core.types import Array

Step = tuple[np.timedelta64, np.timedelta64]

#: Where a sum falls by more than this (mm) it is no rounding of packed numbers.
ROUNDING = 0.02
#: If the sum falls on more than this share of the cells that were wet, it began anew.
RESET = 0.5


def rates_from_accumulations(sums: dict[Step, Array]) -> dict[Step, Array]:
    """Make rates of sums of one run.

    For each end of a step the sum over the shortest time is taken: one of the file, or the difference to the sum from
    the same start to the latest end before. Negative differences, which packed numbers make, are dry; where the sum
    falls on most of the wet cells it has been reset, and is counted from the end before.

    Parameters
    ----------
    sums
        By start and end of the step, from the start of the run: mm, any shape.

    Returns
    -------
    dict
        mm h-1 by start and end; at most one for each end. A sum over no time (a run's first) gives none.

    Examples
    --------
    >>> hours = [np.timedelta64(k, "h") for k in range(3)]
    >>> since_start = {(hours[0], hours[1]): np.float32([2]), (hours[0], hours[2]): np.float32([5])}
    >>> [rate.tolist() for rate in rates_from_accumulations(since_start).values()]
    [[2.0], [3.0]]
    """
    rates: dict[Step, Array] = {}
    for end in sorted({end for _, end in sums}):
        candidates = [_over_shortest(sums, start, end) for start, stop in sums if stop == end and start < end]
        if not candidates:
            continue
        (first, amount) = max(candidates, key=lambda found: found[0])
        rates[first, end] = np.asarray(np.maximum(amount, 0) / np.float32((end - first) / np.timedelta64(1, "h")))
    return rates


def _over_shortest(sums: dict[Step, Array], start: np.timedelta64, end: np.timedelta64) -> tuple[np.timedelta64, Array]:
    """Return start and amount of the shortest step to `end` that sums from `start` tell."""
    whole = sums[start, end]
    earlier = [stop for begin, stop in sums if begin == start and start < stop < end]
    if not earlier:
        return start, whole
    before = max(earlier)
    return before, whole if _began_anew(sums[start, before], whole) else whole - sums[start, before]


def _began_anew(before: Array, after: Array) -> bool:
    wet = before > ROUNDING
    falls = wet & (after < before - ROUNDING)
    return int(falls.sum()) > RESET * max(int(wet.sum()), 1)
