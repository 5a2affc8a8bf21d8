"""Accumulations, such as the rain since midnight, recognised by their values: they rise, and fall only once a day.

An amount in an interval rises and falls. Values of a station count as an accumulation if none is below the one before,
but for a fall at the same time of each day, if they would be heavy rain as amounts, and besides one of these holds:

- they begin far above anything that they rise by (rain had been added up before the table began);
- they rise `MANY_RISES` times;
- they fall at midnight, or on two days.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.types import HOUR, Doubles
from hybridcast.stations.schema import record_rate

#: Least number of steps between rows, and of rises among them, for a judgement.
MIN_STEPS, MIN_RISES = 5, 3
#: Values begin far above their rises from this factor on.
FAR_ABOVE = 3.0
#: Number of rises without a fall that no shower has.
MANY_RISES = 12
#: Values are heavy rain as amounts from this fraction of the world record for the interval on.
HEAVY = 0.02
_DAY = np.timedelta64(1, "D")
_AT_MIDNIGHT = np.timedelta64(15, "m")


def is_accumulation(values: Doubles, ends: NDArray[np.datetime64], interval: np.timedelta64) -> bool:
    """Return whether the values of a station are an accumulation.

    Parameters
    ----------
    values
        Amounts in the order of time, shape ``(row,)``.
    ends
        Their times, UTC, shape ``(row,)``.
    interval
        Interval of the values, if they are amounts.

    Examples
    --------
    >>> ten = np.timedelta64(10, "m")
    >>> times = np.datetime64("2024-06-01T12:00", "ns") + np.arange(7) * ten
    >>> is_accumulation(30 + np.arange(7.0), times, ten), is_accumulation(np.arange(7.0), times, ten)
    (True, False)
    """
    known = np.isfinite(values)
    values, ends = values[known], ends[known]
    if values.size <= MIN_STEPS or values.max() < HEAVY * record_rate(interval) * (interval / HOUR):
        return False
    steps = np.diff(values)
    rises, falls = steps > 1e-6, np.flatnonzero(steps < -1e-6) + 1
    if rises.sum() < MIN_RISES:
        return False
    highest_rise = steps[rises].max()
    if not _fall_daily(values[falls], ends[falls], highest_rise):
        return False
    begins_high = bool(values[0] >= FAR_ABOVE * highest_rise)
    at_midnight = bool(((ends[falls] - np.datetime64(0, "ns")) % _DAY < _AT_MIDNIGHT).any())
    resets = (falls.size > 1 or at_midnight) and rises.sum() >= MIN_STEPS
    return begins_high or bool(rises.sum() >= MANY_RISES) or bool(resets)


def _fall_daily(after: Doubles, times: NDArray[np.datetime64], highest_rise: float) -> bool:
    """Return whether values fall at most once a day, at the same time, and to no more than they rise by."""
    clock = np.unique((times - np.datetime64(0, "ns")) % _DAY)
    days = np.unique(times.astype("datetime64[D]"))
    return clock.size <= 1 and days.size == times.size and not bool((after > highest_rise + 1e-6).any())
