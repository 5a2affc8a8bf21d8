"""Amounts in windows that end at the issue time and at each lead time, of observed and forecast rates."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.types import HOUR, Array, Doubles, LeadTimes

_ZERO = np.timedelta64(0, "ns")


def join_edges(forecast: LeadTimes, observed: LeadTimes) -> LeadTimes:
    """Return the edges of the intervals that observed and forecast rates represent.

    Parameters
    ----------
    forecast
        Edges of the intervals of the forecast, from the issue time, 0, to the last lead time.
    observed
        Regular times of observed rates, counted from the issue time, of which the last is 0; none, or two at least.
    """
    if not observed.size:
        return forecast
    return np.concatenate([[observed[0] - (observed[1] - observed[0])], observed[:-1], forecast])


def sum_before(rates: Array, edges: LeadTimes, lengths: Iterable[np.timedelta64]) -> dict[np.timedelta64, Array]:
    """Return the amounts in the window that ends at the issue time and at each lead time.

    Parameters
    ----------
    rates
        Rates, mm h-1, shape ``(interval, ...)``.
    edges
        Edges of their intervals, as times since the issue time, 0, which is one of them; shape ``(interval + 1,)``.
    lengths
        Lengths of windows.

    Returns
    -------
    dict
        By length amounts, mm, float32, shape ``(1 + lead_time, ...)``; NaN where a rate is unknown, or a window begins
        before the first interval or within one.

    Examples
    --------
    >>> edges = np.array([0, 10, 20, 30]) * np.timedelta64(1, "m")
    >>> hour = np.timedelta64(20, "m")
    >>> sum_before(np.array([6.0, 12.0, 0.0], np.float32), edges, [hour])[hour].tolist()
    [nan, nan, 3.0, 2.0]
    """
    known = np.isfinite(rates)
    hours = (np.diff(edges) / HOUR).reshape(-1, *[1] * (rates.ndim - 1))
    total = _run(np.where(known, rates, np.float32(0)) * hours)
    unknown = None if known.all() else _run(~known)
    ends = np.flatnonzero(edges >= _ZERO)
    return {length: _difference(total, unknown, edges, ends, length) for length in dict.fromkeys(lengths)}


def _run(values: Doubles) -> Doubles:
    """Return the running sum from 0 along the first axis, one longer than the values."""
    total = np.zeros((len(values) + 1, *values.shape[1:]), np.float64 if values.dtype.kind == "f" else np.int32)
    np.cumsum(values, axis=0, out=total[1:])
    return total


def _difference(
    total: Doubles, unknown: Doubles | None, edges: LeadTimes, ends: NDArray[np.int64], length: np.timedelta64
) -> Array:
    starts = np.searchsorted(edges, edges[ends] - length)
    fits = edges[starts] == edges[ends] - length
    amounts = np.full((ends.size, *total.shape[1:]), np.nan, np.float32)
    amounts[fits] = total[ends[fits]] - total[starts[fits]]
    if unknown is not None:
        amounts[fits] = np.where(unknown[ends[fits]] > unknown[starts[fits]], np.nan, amounts[fits])
    return amounts
