"""Probability matching: the order of cells comes from probabilities, the rain rates from a known distribution.

Probability thresholds that are right for the events of a training are wrong for others; ranks are not. So cells are
ranked by exceedance probabilities, and get the values of a reference field, the latest frame, in that order: the field
is as sharp as pure advection. Within each neighbourhood as many cells are wet as its probabilities make expect. The
coverage of the whole field lies between that of the reference field and the one expected from the probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter

from hybridcast.core.types import Array, Mask
from hybridcast.learned.logistic import probability
from hybridcast_kernels import scales_cpu

#: Width of the step of each threshold in the ranking, in log odds.
SOFTNESS = np.float32(0.3)
#: Above this rate (mm/h) the coverage is at most that of the reference field: probabilities of heavy rain locate it
#: well, but overestimate its extent.
HEAVY_RATE = 1.0
#: Half width of a neighbourhood in nodes: 12 km where nodes are 4 km apart.
NEIGHBOURHOOD = 3
#: Newton steps to the cutoff of a neighbourhood. More steps add detail without information.
STEPS = 2
#: Probabilities are held between this and one minus it.
_MIN_PROBABILITY = np.float32(1e-4)


def log_odds(probabilities: Array) -> Array:
    """Return the log odds of probabilities, which are held away from 0 and 1 so that they are finite."""
    held = np.clip(probabilities, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    result: Array = np.log(held / (1 - held))
    return result


def exceedance_fraction(values: Array, thresholds: Sequence[float]) -> Array:
    """Return the fraction of the known values that reach each threshold, ``(threshold,)``; 0 if none is known."""
    known = values[np.isfinite(values)]
    return np.array([(known >= np.float32(t)).sum() / max(known.size, 1) for t in thresholds], np.float32)


# --- coverage -------------------------------------------------------------------------------------------------


class CoverageTargets(NamedTuple):
    """Coverage of the field to be made, by lead time and threshold: shape ``(lead, threshold)`` each."""

    fraction: Array
    """Fraction of the cells that is to reach each threshold."""
    cutoff: Array
    """Log odds that this fraction of all cells exceeds."""
    ratio: Array
    """Ratio of the target fraction to the mean probability; 0 where the target fraction is 0."""


def coverage_targets(
    probabilities: Sequence[Array],
    coverage: Array,
    thresholds: Sequence[float],
    ranked_by: Sequence[Array] | None = None,
) -> CoverageTargets:
    """Return the target coverage at each lead time: the geometric mean of reference and expected coverage.

    Both have errors, of different kinds. The coverage of heavy rain is at most that of the reference field.

    Parameters
    ----------
    probabilities
        Exceedance probabilities of the cells that count, ``(threshold, cell)`` for each lead time.
    coverage
        Fraction of the reference field that reaches each threshold, ``(threshold,)`` or ``(lead, threshold)``.
    thresholds
        mm h-1, increasing.
    ranked_by
        Log odds by which cells are ranked, ``(threshold, cell)`` for each lead time; by default those of the
        probabilities.
    """
    coverage = np.broadcast_to(coverage, (len(probabilities), coverage.shape[-1]))
    fraction, cutoff, ratio = np.zeros((3, *coverage.shape), np.float32)
    for lead, cells in enumerate(probabilities):
        if not cells.shape[1]:
            continue
        ranks = log_odds(cells) if ranked_by is None else ranked_by[lead]
        for k, threshold in enumerate(thresholds):
            expected = max(float(cells[k].mean()), 1e-6)
            below = fraction[lead, k - 1] if k else 1.0
            fraction[lead, k] = min(_target_fraction(coverage[lead, k], expected, threshold), below)
            if fraction[lead, k] > 0:
                cutoff[lead, k] = np.quantile(ranks[k], 1 - fraction[lead, k])
                ratio[lead, k] = fraction[lead, k] / expected
    return CoverageTargets(fraction, cutoff, ratio)


def _target_fraction(coverage: np.float32, expected: float, threshold: float) -> np.float32:
    """Return the geometric mean of reference and expected coverage, for heavy rain at most that of the reference."""
    mean: np.float32 = np.sqrt(np.minimum(coverage, np.float32(1)) * expected)
    return min(mean, coverage) if threshold > HEAVY_RATE else mean


# --- ranking --------------------------------------------------------------------------------------------------


def rank_cells(
    probabilities: Array,
    known: Mask,
    targets: CoverageTargets,
    ranked_by: Array | None = None,
    neighbourhood_weight: Array | None = None,
) -> Array:
    """Return one field to rank cells by, ``(lead, y, x)``, from the exceedance probabilities of all thresholds.

    Around the fraction of cells that are to be wet at a threshold, cells are ranked by the probability of that
    threshold: each threshold adds one where its log odds are above a cutoff, smoothly.

    With one cutoff for all cells only the most certain places would be wet, and the showers beside a large system,
    some of which will occur, would be missing. So each neighbourhood has its own cutoff, at which its wet fraction is
    the mean of its probabilities; these are scaled so that their mean over all cells is the target fraction.

    Parameters
    ----------
    probabilities
        Exceedance probabilities, decreasing along the thresholds, ``(threshold, lead, y, x)``.
    known
        Cells that count, ``(y, x)`` or ``(lead, y, x)``.
    targets
        Result of `coverage_targets` for the same cells, ranked by the same log odds.
    ranked_by
        Log odds by which cells are ranked, ``(threshold, lead, y, x)``; by default those of the probabilities.
    neighbourhood_weight
        Weight of the cutoffs of neighbourhoods against the cutoff of all cells, from 0 to 1, ``(lead,)``; 1 by default.
    """
    ranks = log_odds(probabilities) if ranked_by is None else ranked_by
    weights = np.ones(ranks.shape[1], np.float32) if neighbourhood_weight is None else neighbourhood_weight
    ranking: Array = np.zeros(ranks.shape[1:], np.float32)
    mean = None
    for lead in range(ranks.shape[1]):
        counted = known if known.ndim == 2 else known[lead]
        if not counted.any():
            continue
        if mean is None or known.ndim == 3:
            mean = _NeighbourhoodMean.over(counted)
        for k in np.flatnonzero(targets.ratio[lead]):
            expected = mean(probabilities[k, lead]) * targets.ratio[lead, k]
            cutoff = targets.cutoff[lead, k]
            local = _local_cutoff(ranks[k, lead], expected, cutoff, mean)
            ranking[lead] += _soft_step(ranks[k, lead], cutoff + np.float32(weights[lead]) * (local - cutoff))
    return ranking


class _NeighbourhoodMean(NamedTuple):
    """Means over the known cells of neighbourhoods."""

    inside: Array
    """1 where a cell is known, else 0."""
    fraction: Array
    """Fraction of each neighbourhood that is known."""

    @classmethod
    def over(cls, known: Mask) -> _NeighbourhoodMean:
        """Return the means for a mask ``(y, x)``."""
        inside = known.astype(np.float32)
        return cls(inside, np.maximum(_window_mean(inside), np.float32(1e-3)))

    def __call__(self, field: Array) -> Array:
        mean: Array = _window_mean(field * self.inside) / self.fraction
        return mean


def _window_mean(field: Array) -> Array:
    """Return the mean over `NEIGHBOURHOOD` cells each way, the edge repeated."""
    mean: Array = uniform_filter(field, 2 * NEIGHBOURHOOD + 1, mode="nearest")
    return mean


def _local_cutoff(ranks: Array, expected: Array, cutoff: np.float32, mean: _NeighbourhoodMean) -> Array:
    """Move the cutoff until each neighbourhood is as wet as expected, by Newton's method on log odds of fractions."""
    wanted = log_odds(expected)
    local = np.full(ranks.shape, cutoff, np.float32)
    for _ in range(STEPS):
        wet = _soft_step(ranks, local)
        fraction = np.clip(mean(wet), _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
        # how much the fraction falls when the cutoff rises, and with it how far to go; far from the goal in small steps
        slope = np.maximum(mean(wet * (1 - wet)), np.float32(1e-6)) / SOFTNESS
        step = np.minimum(fraction * (1 - fraction) / slope, np.float32(3))
        local += np.clip((log_odds(fraction) - wanted) * step, -2, 2)
    return local


def _soft_step(ranks: Array, cutoff: Array) -> Array:
    """Return how far log odds are above the cutoff, from 0 to 1."""
    return probability((ranks - cutoff) / SOFTNESS)


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
    known = np.sort(values[np.isfinite(values)], kind="stable")[::-1]  # which merges sorted runs
    if count is None or known.size == count:
        return known
    if not known.size or not count:
        return np.empty(0, np.float32)
    ranks = ((np.arange(count) + 0.5) * (known.size / count)).astype(np.int64)
    taken: Array = known[np.minimum(ranks, known.size - 1)]
    return taken


def target_values(values: Array, thresholds: Sequence[float], fractions: Array) -> Array:
    """Return the wet ones of as many values as given, of which given fractions reach the thresholds, highest first.

    Between the thresholds, and above the last, they are distributed as the values given. A threshold that none of
    these reaches, or whose target fraction is 0, does not count.

    Parameters
    ----------
    values
        mm h-1, highest first, with the dry ones.
    thresholds
        mm h-1, increasing.
    fractions
        Fraction of all values that is to reach each threshold, decreasing.

    Examples
    --------
    >>> target_values(np.array([8, 4, 0, 0, 0, 0, 0, 0], np.float32), [1.0], np.array([0.5], np.float32)).tolist()
    [8.0, 8.0, 4.0, 4.0]
    """
    count = values.size
    increasing = values[::-1]
    wet = count - int(np.searchsorted(increasing, 0.0, side="right"))
    own = 1 - np.searchsorted(increasing, np.asarray(thresholds, np.float32)) / max(count, 1)
    counted = (own > 0) & (fractions > 0)
    target_at = np.concatenate([[0.0], fractions[counted][::-1], [1.0]])
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
