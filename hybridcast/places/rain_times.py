"""When rain begins and ends: the lead times at which rates first reach a threshold, and fall below it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.types import MINUTE, Doubles, LeadTimes, Mask

#: Rain has ended when it stays below the threshold for this long.
DRY_FOR = np.timedelta64(15, "m")


class RainTimes(NamedTuple):
    """Beginning and end of the rain, min after the issue time, NaN where they do not come or are not known."""

    onset: Doubles
    """Lead time of the first rate at or above the threshold; 0 where it rains at the issue time. ``(..., place)``."""
    end: Doubles
    """Lead time of the first rate below it after that, from which on it stays below for `DRY_FOR`. ``(..., place)``."""
    known: Doubles
    """Lead time up to which all rates are known. ``(..., place)``."""


def find_rain_times(
    rates: NDArray[np.floating], leads: LeadTimes, threshold: float, raining: Doubles | None = None
) -> RainTimes:
    """Find the beginning and the end of the rain.

    Only lead times count up to which all rates of the series are known: rain may have come in a gap.

    Parameters
    ----------
    rates
        Rates, mm h-1, shape ``(lead, ..., place)``, NaN where unknown.
    leads
        Lead times, shape ``(lead,)``; a rate is that of the interval that ends there.
    threshold
        Rate from which on it rains, mm h-1.
    raining
        1 where it rains at the issue time, 0 where not, NaN where unknown, ``(..., place)``; by default unknown, and
        rain begins at the first lead time at the earliest.

    Examples
    --------
    >>> leads = np.arange(5, 40, 5) * np.timedelta64(1, "m")
    >>> found = find_rain_times(np.array([0, 1, 2, 0, 0, 0, 1.0])[:, None], leads, 0.1)
    >>> found.onset.item(), found.end.item(), found.known.item()
    (10.0, 20.0, 35.0)
    """
    known = np.logical_and.accumulate(np.isfinite(rates), axis=0)
    wet = known & (rates >= np.asarray(threshold, dtype=rates.dtype))
    now = np.zeros(rates.shape[1:], bool) if raining is None else np.broadcast_to(raining == 1, rates.shape[1:])
    minutes = leads / MINUTE
    onset = np.where(now, 0.0, _first(wet, minutes))
    ends = _stays_dry(known & ~wet, leads) & _after_onset(wet, now)
    end = np.where(np.isfinite(onset), _first(ends, minutes), np.nan)
    return RainTimes(onset, end, np.where(known, minutes.reshape(-1, *[1] * (rates.ndim - 1)), 0.0).max(axis=0))


def _first(marked: Mask, minutes: Doubles) -> Doubles:
    """Return the first lead time that is marked, min; NaN if none is."""
    return np.where(marked.any(axis=0), minutes[marked.argmax(axis=0)], np.nan)


def _after_onset(wet: Mask, now: Mask) -> Mask:
    """Mark the lead times before which it has rained."""
    before = np.logical_or.accumulate(wet, axis=0)
    return np.concatenate([np.zeros_like(before[:1]), before[:-1]]) | now


def _stays_dry(dry: Mask, leads: LeadTimes) -> Mask:
    """Mark the lead times with which a dry spell of `DRY_FOR` begins, that is known to last."""
    edges = np.concatenate([[np.timedelta64(0, "ns")], leads[:-1]])  # a rate is that of the interval before its time
    last = np.searchsorted(leads, edges + DRY_FOR)  # the lead time up to which it has to stay dry
    stays = np.zeros_like(dry)
    for first in np.flatnonzero(last < leads.size):
        dry[first : last[first] + 1].all(axis=0, out=stays[first])
    return stays


def conditional_quantiles(values: Doubles, levels: Doubles) -> Doubles:
    """Return quantiles along the first axis over the values that are no NaN, shape ``(level, ...)``; NaN if none is.

    Interpolated linearly between neighbours, as in `hybridcast.ensembles.quantiles`.

    Examples
    --------
    >>> conditional_quantiles(np.array([10.0, np.nan, 20.0]), np.array([0.0, 0.5])).tolist()
    [10.0, 15.0]
    """
    ordered = np.sort(values, axis=0)  # NaN last
    count = np.isfinite(ordered).sum(axis=0)
    position = levels.reshape(-1, *[1] * (values.ndim - 1)) * np.maximum(count - 1, 0)
    low, high = np.floor(position).astype(int), np.ceil(position).astype(int)
    lower, upper = (np.take_along_axis(ordered, at, axis=0) for at in (low, high))
    return np.asarray(lower + (position - low) * (upper - lower))
