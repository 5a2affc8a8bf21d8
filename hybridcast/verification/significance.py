"""Significance of a difference to a baseline: a paired bootstrap over event days.

Points, frames and issue times of one day are highly correlated. Therefore whole days are drawn, each with all its
events, and for both forecasts at once, so that the difficulty of a day cancels out (Hamill, 1999, Hypothesis tests for
evaluating numerical precipitation forecasts, Wea. Forecasting 14, 155-167).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.types import Doubles
from hybridcast.errors import InputError

Better = Literal["higher", "lower"]
MIN_DAYS = 5
"""Minimum number of days for an interval; with fewer days no difference is resolved."""
NEGLIGIBLE = 0.005
"""Relative difference to the baseline's score that is too small to matter."""

WIN, TIE, LOSS, UNRESOLVED = "win", "tie", "loss", "not resolved"


def paired_difference(
    score: xr.DataArray,
    baseline: xr.DataArray,
    *,
    days: Sequence[str],
    better: Better = "higher",
    confidence_level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> xr.Dataset:
    """Compare a score with that of a baseline on the same events.

    Parameters
    ----------
    score, baseline
        One value for each event, dims ``("event", ...)``. An event at which either is NaN is left out of both.
    days
        The day of each event; events of one day are drawn together.
    better
        Whether higher or lower values of the score are better.
    confidence_level
        Probability of the interval: the fraction of the draws between its percentiles `low` and `high`.
    draws
        Number of bootstrap samples.
    seed
        Seed of the random numbers; the same seed gives the same interval.

    Returns
    -------
    Dataset
        Variables without the dim `event`: the `difference` of the means over events with its interval `low` to `high`;
        the `relative` difference as a fraction of the baseline's mean, with `relative_low` and `relative_high`; the
        number of `events` and `days`; and the `verdict`: "tie" if the whole interval is within `NEGLIGIBLE` of the
        baseline's score, "win" or "loss" if the interval excludes zero, otherwise "not resolved". With fewer days than
        `MIN_DAYS` the interval is NaN.

    Raises
    ------
    InputError
        If the number of days is not that of the events.

    Examples
    --------
    >>> days = [f"2020-06-{day:02}" for day in range(1, 11)]
    >>> base = xr.DataArray(np.linspace(0.2, 0.6, 10), dims="event")
    >>> str(paired_difference(base + 0.05, base, days=days).verdict.item())
    'win'
    """
    if len(days) != score.sizes["event"]:
        raise InputError(
            f"{len(days)} days for {score.sizes['event']} events", "each event has its day", "Pass one for each"
        )
    a, b = xr.broadcast(score.transpose("event", ...), baseline.transpose("event", ...))
    dims, shape = a.dims[1:], a.shape[1:]
    own, base = a.values.reshape(len(days), -1), b.transpose("event", *dims).values.reshape(len(days), -1)
    both = np.isfinite(own) & np.isfinite(base)
    own, base = np.where(both, own, 0.0), np.where(both, base, 0.0)
    names, day = np.unique(np.asarray(days), return_inverse=True)
    weights = _draw_days(names.size, draws, seed)[:, day]
    tail = 100 * (1 - confidence_level) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        differences = weights @ (own - base) / (weights @ both)
        ratios = weights @ own / (weights @ base) - 1
        found = {
            "difference": (own - base).sum(axis=0) / both.sum(axis=0),
            "relative": own.sum(axis=0) / base.sum(axis=0) - 1,
        }
        base_mean = np.abs(base.sum(axis=0) / both.sum(axis=0))
    found["events"] = both.sum(axis=0)
    found["days"] = np.array([np.unique(day[column]).size for column in both.T])
    enough = found["days"] >= MIN_DAYS
    found["low"], found["high"] = _percentiles(np.where(enough, differences, np.nan), tail)
    found["relative_low"], found["relative_high"] = _percentiles(np.where(enough, ratios, np.nan), tail)
    found["verdict"] = _judge(found["low"], found["high"], base_mean, better)
    coords = {name: value for name, value in a.coords.items() if "event" not in value.dims}
    return xr.Dataset({name: (dims, values.reshape(shape)) for name, values in found.items()}, coords=coords)


def _draw_days(size: int, draws: int, seed: int) -> Doubles:
    """Return the number of times that each of `size` days is drawn, shape ``(draws, size)``."""
    return np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=draws).astype(np.float64)


def _percentiles(values: Doubles, tail: float) -> tuple[Doubles, Doubles]:
    """Return the lower and the upper percentile of the draws that have a value; NaN where no draw has one."""
    low, high = np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    some = np.isfinite(values).any(axis=0)
    if some.any():
        finite = np.where(np.isfinite(values), values, np.nan)[:, some]
        low[some], high[some] = np.nanpercentile(finite, [tail, 100 - tail], axis=0)
    return low, high


def _judge(low: Doubles, high: Doubles, base_mean: Doubles, better: Better) -> NDArray[np.str_]:
    """Return the verdict on each interval of differences."""
    win, loss = (low > 0, high < 0) if better == "higher" else (high < 0, low > 0)
    tie = (low >= -NEGLIGIBLE * base_mean) & (high <= NEGLIGIBLE * base_mean)
    return np.asarray(np.select([tie, win, loss], [TIE, WIN, LOSS], UNRESOLVED))
