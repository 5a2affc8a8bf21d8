"""How sure a difference to a baseline is: a paired bootstrap over event days, and Diebold and Mariano's test.

Points, frames and issue times of one day are much alike, so days are what is drawn, each with all its events, for both
forecasts at once: what both find hard cancels out (Hamill, 1999, Hypothesis tests for evaluating numerical
precipitation forecasts, Wea. Forecasting 14, 155-167).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from hybridcast.errors import InputError

Better = Literal["higher", "lower"]
#: With fewer days than this no interval is worth its name, and nothing is resolved.
LEAST_DAYS = 5
#: Differences within this share of the baseline's score are no difference.
NEGLIGIBLE = 0.005

WIN, TIE, LOSS, UNRESOLVED = "win", "tie", "loss", "not resolved"


def paired_difference(
    score: xr.DataArray,
    baseline: xr.DataArray,
    *,
    days: Sequence[str],
    better: Better = "higher",
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> xr.Dataset:
    """Compare a score with that of a baseline on the same events.

    Parameters
    ----------
    score, baseline
        A value for each event, dims ``("event", ...)``; events at which one is NaN are left out of both.
    days
        The day (or what else is to be drawn as one) of each event.
    better
        Which way the score gets better.
    level
        Of the interval: the share of the draws between `low` and `high`, percentiles.
    draws, seed
        How many, and of the random numbers: the same seed gives the same interval.

    Returns
    -------
    Dataset
        Without `event`: `difference` of the means over events with `low` and `high`; `relative`, it as a share of the
        baseline's mean, with `relative_low` and `relative_high`; how many `events` and `days` it rests on; and the
        `verdict`: "tie" where the whole interval is within `NEGLIGIBLE` of the baseline's score; "win" or "loss" where
        it has no zero in it; "not resolved" otherwise. With fewer days than `LEAST_DAYS` there is no interval.

    Raises
    ------
    InputError
        If there is not a day for each event.

    Examples
    --------
    >>> days = [f"2020-06-{day:02}" for day in range(1, 11)]
    >>> base = xr.DataArray(np.linspace(0.2, 0.6, 10), dims="event")
    >>> str(paired_difference(base + 0.05, base, days=days).verdict.item())
    'win'
    """
    if len(days) != score.sizes["event"]:
        raise InputError(
            f"{len(days)} days for {score.sizes['event']} events", "each event has its day", "Give one for each"
        )
    a, b = xr.broadcast(score.transpose("event", ...), baseline.transpose("event", ...))
    dims, shape = a.dims[1:], a.shape[1:]
    ours, theirs = a.values.reshape(len(days), -1), b.transpose("event", *dims).values.reshape(len(days), -1)
    both = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = np.where(both, ours, 0.0), np.where(both, theirs, 0.0)
    names, day = np.unique(np.asarray(days), return_inverse=True)
    weights = _drawn(names.size, draws, seed)[:, day]
    tail = 100 * (1 - level) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        differences = weights @ (ours - theirs) / (weights @ both)
        ratios = weights @ ours / (weights @ theirs) - 1
        found = {
            "difference": (ours - theirs).sum(axis=0) / both.sum(axis=0),
            "relative": ours.sum(axis=0) / theirs.sum(axis=0) - 1,
        }
        base = np.abs(theirs.sum(axis=0) / both.sum(axis=0))
    found["events"] = both.sum(axis=0)
    found["days"] = np.array([np.unique(day[column]).size for column in both.T])
    enough = found["days"] >= LEAST_DAYS
    found["low"], found["high"] = _percentiles(np.where(enough, differences, np.nan), tail)
    found["relative_low"], found["relative_high"] = _percentiles(np.where(enough, ratios, np.nan), tail)
    found["verdict"] = _verdicts(found["low"], found["high"], base, better)
    coords = {name: value for name, value in a.coords.items() if "event" not in value.dims}
    return xr.Dataset({name: (dims, values.reshape(shape)) for name, values in found.items()}, coords=coords)


def _drawn(size: int, draws: int, seed: int) -> NDArray[np.float64]:
    """How often each of `size` days is drawn, shape ``(draws, size)``."""
    return np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=draws).astype(np.float64)


def _percentiles(values: NDArray[np.float64], tail: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper percentile of the draws that have a value; NaN where none has."""
    low, high = np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    some = np.isfinite(values).any(axis=0)
    if some.any():
        finite = np.where(np.isfinite(values), values, np.nan)[:, some]
        low[some], high[some] = np.nanpercentile(finite, [tail, 100 - tail], axis=0)
    return low, high


def _verdicts(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    base: NDArray[np.float64],
    better: Better,
) -> NDArray[np.str_]:
    good, bad = (low > 0, high < 0) if better == "higher" else (high < 0, low > 0)
    small = (low >= -NEGLIGIBLE * base) & (high <= NEGLIGIBLE * base)
    verdict = np.select([small, good, bad], [TIE, WIN, LOSS], UNRESOLVED)
    return np.asarray(verdict)


class DieboldMariano(NamedTuple):
    """Result of the test."""

    statistic: float
    """Below zero where the first forecast has the smaller loss."""
    p_value: float
    """Two-sided, of no difference; NaN where the test cannot be made."""


def diebold_mariano(loss: ArrayLike, baseline_loss: ArrayLike, *, horizon: int = 1) -> DieboldMariano:
    """Test whether two forecasts of one series are equally good.

    Diebold and Mariano (1995) with the correction for short series of Harvey, Leybourne and Newbold (1997,
    doi:10.1016/S0169-2070(96)00719-4). A second look beside `paired_difference`: it takes the cases in the order of
    time instead of drawing days.

    Parameters
    ----------
    loss, baseline_loss
        Loss (a score of which less is better) of each case, evenly spaced in time, shape ``(case,)``. Cases at which
        one is NaN are left out.
    horizon
        Lead time in steps from one case to the next, at least 1: losses are taken to be correlated over one step
        less.

    Raises
    ------
    InputError
        If the shapes differ, or `horizon` is not from 1 to the number of cases less one.
    """
    a, b = np.asarray(loss, dtype=np.float64), np.asarray(baseline_loss, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"losses have the shapes {a.shape} and {b.shape}", "they pair up in one series", "Align them")
    d = (a - b)[np.isfinite(a - b)]
    n = d.size
    if not 1 <= horizon < max(n, 2):
        raise InputError(f"horizon = {horizon} with {n} cases", "it is from 1 to the cases less one", "Correct it")
    if n < 2:
        return DieboldMariano(np.nan, np.nan)
    centred = d - d.mean()
    covariances = [float(centred[k:] @ centred[: n - k]) / n for k in range(horizon)]
    variance = (covariances[0] + 2 * sum(covariances[1:])) / n
    if variance <= 0:
        return DieboldMariano(np.nan, np.nan)
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    statistic = float(d.mean() / np.sqrt(variance) * np.sqrt(correction))
    return DieboldMariano(statistic, float(2 * student.sf(abs(statistic), df=n - 1)))
