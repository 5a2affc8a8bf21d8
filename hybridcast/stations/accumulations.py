"""Accumulations, such as the rain since midnight, recognised by their values: they rise, and fall only once a day.

An amount in an interval rises and falls. Values of a station count as an accumulation if none is below the one before,
but for a fall at the same time of each day, if they would be heavy rain as amounts, and besides one of these holds:

- they begin far above anything that they rise by (rain had been added up before the table began); if they rise once or
  twice only, over twice as many steps, and if never, over `MANY_RISES` (it has been dry since);
- they begin near 0 and rise by nearly the same in each row;
- they rise `MANY_RISES` times;
- they fall at midnight, or on two days.

Values that fall at the same minute of each of `MIN_HOURS` hours, and never between, are accumulations in the hour, also
of light rain.

Values of a network of `NETWORK` stations at least count as accumulations, also of light rain, if those of no station
fall and all rise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.types import HOUR, Doubles
from hybridcast.stations.schema import record_rate

#: Least number of steps between rows, and of rises among them, for a judgement.
MIN_STEPS, MIN_RISES = 5, 3
#: Least number of falls, once an hour, of an accumulation in the hour.
MIN_HOURS = 2
#: Values begin far above their rises from this factor on.
FAR_ABOVE = 3.0
#: Number of rises without a fall that no shower has.
MANY_RISES = 12
#: Rises are nearly the same if their standard deviation is below this fraction of their mean.
EVEN = 0.3
#: Least number of stations whose values all rise by chance nowhere.
NETWORK = 5
#: Values are heavy rain as amounts from this fraction of the world record for the interval on.
HEAVY = 0.02
_ROUNDING = 1e-6
_DAY = np.timedelta64(1, "D")
_AT_MIDNIGHT = np.timedelta64(15, "m")


class Series(NamedTuple):
    """Values of a station."""

    values: Doubles
    """Amounts in the order of time, shape ``(row,)``."""
    ends: NDArray[np.datetime64]
    """Their times, UTC, shape ``(row,)``."""
    interval: np.timedelta64
    """Interval of the values, if they are amounts."""


def find_accumulations(stations: Mapping[str, Series]) -> set[str]:
    """Return the names of the stations whose values are accumulations.

    Examples
    --------
    >>> ten = np.timedelta64(10, "m")
    >>> times = np.datetime64("2024-06-01T12:00", "ns") + np.arange(7) * ten
    >>> since_midnight, shower = 30 + np.arange(7.0), np.array([0, 0.2, 0.5, 1.5, 3, 6, 9])
    >>> find_accumulations({"A": Series(since_midnight, times, ten), "B": Series(shower, times, ten)})
    {'A'}
    """
    known = {name: _drop_unknown(series) for name, series in stations.items()}
    rising = [bool((np.diff(series.values) >= -_ROUNDING).all()) for series in known.values()]
    rises = [int((np.diff(series.values) > _ROUNDING).sum()) for series in known.values()]
    if len(known) >= NETWORK and all(rising) and min(rises) >= MIN_STEPS:
        return set(known)
    return {name for name, series in known.items() if _is_accumulation(series) or _falls_hourly(series)}


def _drop_unknown(series: Series) -> Series:
    known = np.isfinite(series.values)
    return Series(series.values[known], series.ends[known], series.interval)


def _is_accumulation(series: Series) -> bool:
    """Return whether the values of one station are an accumulation."""
    values, ends, interval = series
    if values.size <= MIN_STEPS or values.max() < HEAVY * record_rate(interval) * (interval / HOUR):
        return False
    steps = np.diff(values)
    rises, falls = steps[steps > _ROUNDING], np.flatnonzero(steps < -_ROUNDING) + 1
    if not _are_enough(rises.size, steps.size):
        return False
    if not rises.size:
        return not falls.size and bool(values.max() <= record_rate(interval) * (interval / HOUR))
    if not _fall_daily(values[falls], ends[falls], rises.max()):
        return False
    begins_high = values[0] >= FAR_ABOVE * rises.max()
    rises_evenly = values[0] <= rises.max() and rises.size == steps.size and rises.std() < EVEN * rises.mean()
    at_midnight = ((ends[falls] - np.datetime64(0, "ns")) % _DAY < _AT_MIDNIGHT).any()
    resets = (falls.size > 1 or at_midnight) and rises.size >= MIN_STEPS
    few = rises.size < MIN_RISES
    return bool(begins_high or (not few and (rises_evenly or rises.size >= MANY_RISES or resets)))


def _are_enough(rises: int, steps: int) -> bool:
    """Return whether there are enough rises for a judgement, or steps without a fall."""
    return rises >= MIN_RISES or steps >= (2 * MIN_RISES if rises else MANY_RISES)


def _falls_hourly(series: Series) -> bool:
    """Return whether values rise through each hour, and fall only as it begins: an accumulation in the hour."""
    values, ends, interval = series
    steps = np.diff(values)
    rises, falls = steps[steps > _ROUNDING], np.flatnonzero(steps < -_ROUNDING) + 1
    if falls.size < MIN_HOURS or rises.size < MIN_RISES * falls.size or 2 * interval > HOUR:
        return False
    minutes = np.unique((ends[falls] - np.datetime64(0, "ns")) % HOUR)
    return bool(minutes.size == 1 and (values[falls] <= rises.max() + _ROUNDING).all())


def _fall_daily(after: Doubles, times: NDArray[np.datetime64], highest_rise: float) -> bool:
    """Return whether values fall at most once a day, at the same time, and to no more than they rise by."""
    clock = np.unique((times - np.datetime64(0, "ns")) % _DAY)
    days = np.unique(times.astype("datetime64[D]"))
    return clock.size <= 1 and days.size == times.size and not bool((after > highest_rise + _ROUNDING).any())
