"""Precipitation rates from accumulations, either since the start of a run or over each step."""

from __future__ import annotations

import numpy as np

from hybridcast.core.types import HOUR, Array

Step = tuple[np.timedelta64, np.timedelta64]

#: A decrease of an accumulation up to this (mm) is a rounding error of packed values.
ROUNDING = 0.02
#: If an accumulation decreases in more than this fraction of its wet cells, it has been reset.
RESET_FRACTION = 0.5


def rates_from_accumulations(sums: dict[Step, Array]) -> dict[Step, Array]:
    """Compute rates from the accumulations of one run.

    For each end the accumulation over the shortest step is used: either one of the file, or its difference to the
    accumulation from the same start to the previous end. Negative differences, which result from packing, become 0. If
    the accumulation decreases in most of the wet cells, it has been reset and counts from the previous end.

    Parameters
    ----------
    sums
        Accumulations (mm, arrays of any shape) by start and end of their step, both from the start of the run.

    Returns
    -------
    dict
        Rates (mm h-1) by start and end, at most one for each end. An accumulation over an empty step, such as the
        first one of a run, is left out.

    Examples
    --------
    >>> hours = [np.timedelta64(k, "h") for k in range(3)]
    >>> since_start = {(hours[0], hours[1]): np.float32([2]), (hours[0], hours[2]): np.float32([5])}
    >>> [rate.tolist() for rate in rates_from_accumulations(since_start).values()]
    [[2.0], [3.0]]
    """
    rates: dict[Step, Array] = {}
    for end in sorted({end for _, end in sums}):
        candidates = [_shortest_step(sums, start, end) for start, stop in sums if stop == end and start < end]
        if not candidates:
            continue
        (first, amount) = max(candidates, key=lambda candidate: candidate[0])
        rates[first, end] = np.asarray(np.maximum(amount, 0) / np.float32((end - first) / HOUR))
    return rates


def _shortest_step(sums: dict[Step, Array], start: np.timedelta64, end: np.timedelta64) -> tuple[np.timedelta64, Array]:
    """Return start and amount of the shortest step before `end` that follows from accumulations since `start`."""
    whole = sums[start, end]
    earlier = [stop for begin, stop in sums if begin == start and start < stop < end]
    if not earlier:
        return start, whole
    before = max(earlier)
    return before, whole if _was_reset(sums[start, before], whole) else whole - sums[start, before]


def _was_reset(before: Array, after: Array) -> bool:
    wet = before > ROUNDING
    decreased = wet & (after < before - ROUNDING)
    return int(decreased.sum()) > RESET_FRACTION * max(int(wet.sum()), 1)
