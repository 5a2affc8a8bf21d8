"""Probability matching: the order of cells comes from probabilities, the rain rates from a known distribution.

The probability-matched mean orders cells by the mean of an ensemble and gives them the rates of its members (Ebert,
2001, Mon. Wea. Rev. 129, 2461-2480). Here the mean is a power mean of the exceedance curve of each cell, which needs no
members, and the rates are those of the latest frame. Two changes keep what the mean of an ensemble loses:

- The mean is divided by a power of the mean over the neighbourhood, so that showers beside a large system stay (a
  milder form of the localized probability-matched mean: Clark, 2017, Wea. Forecasting 32, 1569-1583,
  doi:10.1175/WAF-D-16-0199.1).
- The square of the rate of the advected frame is added, which has the places and the shapes of heavy rain.

The coverage of the whole field lies between that of the known rates and the one expected from the probabilities.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.ndimage import uniform_filter

from hybridcast.core.types import Array, Mask
from hybridcast_kernels import scales_cpu

#: Exponent of the power mean. With 1 the small probabilities of heavy rain decide about light rain at long lead times.
EXPONENT = 0.7
#: Power of the mean over the neighbourhood that the mean of a cell is divided by.
CONTRAST = 0.45
#: A rate of the advected frame counts in the order of cells by its square, and this rate (mm/h) as much as one unit.
PROMINENT_RATE = 10.0
#: Half width of a neighbourhood in nodes: 12 km where nodes are 4 km apart.
NEIGHBOURHOOD = 3
#: This rate (mm/h) is added to means, so that the driest neighbourhoods do not come first.
LEAST_RATE = np.float32(0.1)
#: Above this rate (mm/h) the coverage is at most that of the known rates: probabilities of heavy rain locate it well,
#: but overestimate its extent.
HEAVY_RATE = 1.0


# --- order ----------------------------------------------------------------------------------------------------


def mean_rate(probabilities: Array, thresholds: Sequence[float]) -> Array:
    """Return a power mean of exceedance curves ``(threshold, ...)``, mm h-1, of rates rounded down to thresholds.

    Examples
    --------
    >>> certain = np.array([1.0, 1.0, 0.0], np.float32)
    >>> round(float(mean_rate(certain, [0.5, 2.0, 5.0])), 3)
    2.0
    """
    steps = np.diff(np.asarray(thresholds) ** EXPONENT, prepend=0).astype(np.float32)
    mean: Array = np.einsum("t,t...->...", steps, probabilities) ** np.float32(1 / EXPONENT)
    return mean


def rank_cells(mean: Array, known: Mask) -> Array:
    """Return the field that cells are ranked by, ``(lead, y, x)``: the mean rate over a power of that around a cell.

    Ranked by the mean rate alone only the most certain places would be wet, and the showers beside a large system, some
    of which will occur, would be missing.

    Parameters
    ----------
    mean
        Mean rain rate, mm h-1, ``(lead, y, x)``.
    known
        Cells that count, ``(y, x)`` or ``(lead, y, x)``.
    """
    rates = mean + LEAST_RATE
    inside = np.broadcast_to(known, mean.shape).astype(np.float32)
    around = np.divide(_window_mean(rates * inside), np.maximum(_window_mean(inside), np.float32(1e-3)))
    ranking: Array = np.divide(rates, np.power(np.maximum(around, LEAST_RATE), np.float32(CONTRAST)))
    return ranking


def add_frame(ranking: Array, rates: Array, weights: Array) -> Array:
    """Add the rates of the latest frame to a ranking ``(lead, y, x)``, and return its logarithm in the same memory.

    Lighter rain than `PROMINENT_RATE` hardly counts: where it will be the probabilities tell, and it moves and decays.

    Parameters
    ----------
    ranking
        Result of `rank_cells` on the cells of the rates. It is written over.
    rates
        mm h-1, ``(lead, y, x)``, or ``(1, y, x)`` for all lead times.
    weights
        Weight of the rates, from 0 to 1, ``(lead,)``.
    """
    return scales_cpu.add_squared_rates(ranking, rates, frame_factors(weights))


def frame_factors(weights: Array) -> Array:
    """Return the factors of squared rates of the latest frame in the ranking for weights from 0 to 1, ``(lead,)``."""
    factors: Array = (weights / PROMINENT_RATE**2).astype(np.float32)
    return factors


def _window_mean(fields: Array) -> Array:
    """Return the mean over `NEIGHBOURHOOD` cells each way of fields ``(lead, y, x)``, the edge repeated."""
    mean: Array = uniform_filter(fields, 2 * NEIGHBOURHOOD + 1, mode="nearest", axes=(1, 2))
    return mean


# --- values ---------------------------------------------------------------------------------------------------


def sorted_descending(values: Array, count: int | None = None) -> Array:
    """Return the known values, highest first, or `count` values that have the same distribution.

    Examples
    --------
    >>> sorted_descending(np.array([0, 3, np.nan, 1], np.float32)).tolist()
    [3.0, 1.0, 0.0]
    >>> sorted_descending(np.arange(6.0), 3).tolist()
    [4.0, 2.0, 0.0]
    """
    known = _sorted(values[np.isfinite(values)])
    if count is None or known.size == count:
        return known
    if not known.size or not count:
        return np.empty(0, np.float32)
    ranks = ((np.arange(count) + 0.5) * (known.size / count)).astype(np.int64)
    taken: Array = known[np.minimum(ranks, known.size - 1)]
    return taken


def _sorted(known: Array) -> Array:
    """Return rates, highest first; the zeros, most of them, are counted instead of sorted."""
    out = np.zeros_like(known)
    wet = known[known > 0]
    out[: wet.size] = np.sort(wet, kind="stable")[::-1]  # which merges sorted runs
    return out


def exceedance_fraction(values: Array, thresholds: Sequence[float]) -> Array:
    """Return the fraction of the known values that reach each threshold, ``(threshold,)``; 0 if none is known."""
    known = values[np.isfinite(values)]
    return np.array([(known >= np.float32(t)).sum() / max(known.size, 1) for t in thresholds], np.float32)


def expected_coverage(probabilities: Iterable[Array]) -> Array:
    """Return the mean probabilities, ``(lead, threshold)``, of cells ``(threshold, cell)`` for each lead time.

    They are 0 where there is no cell.
    """
    return np.array([cells.sum(axis=1) / max(cells.shape[1], 1) for cells in probabilities], np.float32)


def target_coverage(own: Array, expected: Array, thresholds: Sequence[float]) -> Array:
    """Return the fraction of cells that is to reach each threshold: the geometric mean of own and expected coverage.

    Both have errors, of different kinds. The coverage of heavy rain is at most that of the known rates.

    Parameters
    ----------
    own, expected
        Fraction of the known rates that reaches each threshold, and the one expected from the probabilities.
    thresholds
        mm h-1, increasing.
    """
    mean = np.sqrt(own * np.maximum(expected, np.float32(1e-6)))
    heavy = np.asarray(thresholds) > HEAVY_RATE
    target: Array = np.minimum.accumulate(np.where(heavy, np.minimum(mean, own), mean))
    return target


def target_values(values: Array, thresholds: Sequence[float], expected: Array) -> Array:
    """Return the wet ones of as many values as given, with the coverage of `target_coverage`, highest first.

    Between the thresholds, and above the last, they are distributed as the values given. A threshold that none of
    these reaches does not count.

    Parameters
    ----------
    values
        mm h-1, highest first, with the dry ones.
    thresholds
        mm h-1, increasing.
    expected
        Fraction of all values that is expected to reach each threshold, decreasing.

    Examples
    --------
    >>> values = np.array([8, 4, 0, 0, 0, 0, 0, 0], np.float32)
    >>> target_values(values, [1.0], np.array([1.0], np.float32)).tolist()  # half of the cells
    [8.0, 8.0, 4.0, 4.0]
    """
    count = values.size
    increasing = values[::-1]
    wet = count - int(np.searchsorted(increasing, 0.0, side="right"))
    own = (1 - np.searchsorted(increasing, np.asarray(thresholds, np.float32)) / max(count, 1)).astype(np.float32)
    target = target_coverage(own, expected, thresholds)
    counted = own > 0
    target_at = np.concatenate([[0.0], target[counted][::-1], [1.0]])
    own_at = np.concatenate([[0.0], own[counted][::-1], [1.0]])
    target_wet = round(float(np.interp(wet / max(count, 1), own_at, target_at)) * count)
    ranks = np.interp((np.arange(target_wet) + 0.5) / max(count, 1), target_at, own_at) * count
    taken: Array = values[np.minimum(ranks.astype(np.int64), max(wet - 1, 0))]
    return taken


def rank_transforms(ranking: Array, reference: Array, wet: Sequence[Array]) -> list[scales_cpu.RankTransform]:
    """Return for each lead time the map from values of a ranking to rain rates.

    Parameters
    ----------
    ranking
        Ranking of the reference cells, ``(lead, y, x)``. It is written over.
    reference
        Field ``(y, x)`` that is NaN where a cell does not count.
    wet
        Wet rates for the reference cells at each lead time, highest first, as `target_values` returns them.
    """
    dry = np.zeros(1, np.float32)  # the kernel wants a value: this one makes all cells dry
    return scales_cpu.rank_transforms(ranking, reference, [values if values.size else dry for values in wet])
