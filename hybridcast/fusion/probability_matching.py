"""One sharp field from probabilities: cells ranked by them, with the values of the latest frame in that order.

Thresholds of probability that are right on the events of a training are wrong on others; ranks are not. So the field
has the values of the latest frame, as sharp as pure advection, in the places that the probabilities name: in each
neighbourhood as much of it as they promise there. How wet it is in all lies between that frame and what they promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from hybridcast.core.types import Array
from hybridcast.learned.blend import probability
from hybridcast_kernels import scales_cpu

#: How gradually a threshold counts in the ranking, in log odds.
SOFTNESS = np.float32(0.3)
#: Of rain heavier than this, mm h-1, there is never more than in the field whose values are taken: promises of it are
#: right about where, and seldom about how much.
HEAVY = 1.0
#: Half width of a neighbourhood, in cells at which members are asked: 12 km where these are 4 km apart.
NEIGHBOURHOOD = 3
#: Newton steps to the cut of a neighbourhood. More of them cut ever finer, where the odds tell ever less.
STEPS = 2
#: Shares are held between this and one minus it.
_LEAST = np.float32(1e-4)


class Levels(NamedTuple):
    """How wet each lead time is to be, and what makes it so: ``(lead, threshold)`` each."""

    shares: Array
    """Share of the cells that is to reach each threshold."""
    cuts: Array
    """What lies above it is that share of the cells, for all of them together; in log odds."""
    scales: Array
    """Share over mean probability: what promises are scaled by; 0 where nothing is to be wet."""


def coverage_targets(
    chances: Sequence[Array], shares: Array, thresholds: Sequence[float], odds: Sequence[Array] | None = None
) -> Levels:
    """Find the levels of each lead time: between how wet the latest frame is, and how wet the probabilities promise.

    Either errs, and not in the same way: the share taken is their geometric mean, and of heavy rain no more than there
    is.

    Parameters
    ----------
    chances
        Probabilities of the cells that count, ``(threshold, cell)``, one for each lead time.
    shares
        Share of the cells that reaches each threshold in the field whose values are taken, ``(threshold,)`` or
        ``(lead, threshold)``.
    thresholds
        mm h-1, increasing.
    odds
        What the cells are ranked by; by default the log odds of the probabilities.
    """
    have = np.broadcast_to(shares, (len(chances), shares.shape[-1]))
    most = np.where(np.asarray(thresholds) > HEAVY, have, np.float32(1))
    wanted, cuts, scales = np.zeros((3, *have.shape), np.float32)
    for lead, of_lead in enumerate(chances):
        for k in np.flatnonzero(have[lead] > 0) if of_lead.shape[1] else ():
            promised = max(float(of_lead[k].mean()), 1e-6)
            between = np.sqrt(min(have[lead, k], 1.0) * promised)
            wanted[lead, k] = min(between, most[lead, k], wanted[lead, k - 1] if k else 1.0)
            ranked = log_odds(of_lead[k]) if odds is None else odds[lead][k]
            cuts[lead, k] = np.quantile(ranked, 1 - wanted[lead, k])
            scales[lead, k] = wanted[lead, k] / promised
    return Levels(wanted, cuts, scales)


class Lean(NamedTuple):
    """How far the ranking leans on a field that was there before, such as a model's rain."""

    odds: Array
    """What it adds to the log odds, ``(lead, y, x)``."""
    local: Array
    """How much neighbourhoods count, from 0 (one cut for all cells) to 1, ``(lead,)``."""


def rank_cells(chances: Array, known: NDArray[np.bool_], levels: Levels, lean: Lean | None = None) -> Array:
    """Make one field to rank cells by, ``(lead, y, x)``, from probabilities ``(threshold, lead, y, x)``.

    Around the share of cells that are to be wet at a threshold, cells are ranked by the probability of that threshold:
    each threshold counts one where its log odds are above a cut, smoothly.

    One cut for all would fill the surest places and leave nothing elsewhere: no showers beside a large system, though
    some of them will be there. So each neighbourhood has a cut of its own, by which as many of its cells are wet as
    its probabilities promise; these are scaled so that they make up the share in all.

    Parameters
    ----------
    chances
        Probabilities of exceedance, falling along the thresholds.
    known
        Cells that count, ``(y, x)`` or ``(lead, y, x)``.
    levels
        What `coverage_targets` found, for the same lean.
    lean
        None: the probabilities alone.
    """
    total: Array = np.zeros(chances.shape[1:], np.float32)
    smooth = None
    for lead in range(chances.shape[1]):
        counting = known if known.ndim == 2 else known[lead]
        if not counting.any():
            continue
        if smooth is None or known.ndim == 3:
            smooth = _Smoothing.over(counting)
        leaning, local = (np.float32(0), 1.0) if lean is None else (lean.odds[lead], float(lean.local[lead]))
        for k in np.flatnonzero(levels.scales[lead]):
            odds = log_odds(chances[k, lead]) + leaning
            promised = smooth(chances[k, lead]) * levels.scales[lead, k]
            cut = levels.cuts[lead, k]
            own = cut + np.float32(local) * (_local_cut(odds, promised, cut, smooth) - cut)
            total[lead] += _above(odds, own)
    return total


class _Smoothing(NamedTuple):
    """Means over the known cells of neighbourhoods."""

    inside: Array
    seen: Array

    @classmethod
    def over(cls, known: NDArray[np.bool_]) -> _Smoothing:
        """Make it for a mask ``(y, x)``."""
        inside = known.astype(np.float32)
        return cls(inside, np.maximum(_mean(inside), np.float32(1e-3)))

    def __call__(self, field: Array) -> Array:
        smooth: Array = _mean(field * self.inside) / self.seen
        return smooth


def _mean(field: Array) -> Array:
    """Mean over `NEIGHBOURHOOD` cells each way, the edge repeated."""
    mean: Array = uniform_filter(field, 2 * NEIGHBOURHOOD + 1, mode="nearest")
    return mean


def _local_cut(odds: Array, promised: Array, cut: np.float32, smooth: _Smoothing) -> Array:
    """Move the cut of all until each neighbourhood is as wet as promised, by Newton's method on log odds of shares."""
    wanted = log_odds(promised)
    cuts = np.full(odds.shape, cut, np.float32)
    for _ in range(STEPS):
        above = _above(odds, cuts)
        share = np.clip(smooth(above), _LEAST, 1 - _LEAST)
        # how much the share falls when the cut rises, and with it how far to go; far from the goal in small steps
        slope = np.maximum(smooth(above * (1 - above)), np.float32(1e-6)) / SOFTNESS
        step = np.minimum(share * (1 - share) / slope, np.float32(3))
        cuts += np.clip((log_odds(share) - wanted) * step, -2, 2)
    return cuts


def _above(odds: Array, cut: Array) -> Array:
    """Say how far odds are above the cut, from 0 to 1."""
    return probability((odds - cut) / SOFTNESS)


def log_odds(chance: Array) -> Array:
    """Turn probabilities into log odds, finite ones."""
    held = np.clip(chance, _LEAST, 1 - _LEAST)
    odds: Array = np.log(held / (1 - held))
    return odds


def exceedance_fraction(values: Array, thresholds: Sequence[float]) -> Array:
    """Share of the known values that reach each threshold; 0 where none is known."""
    known = values[np.isfinite(values)]
    return np.array([(known >= np.float32(t)).sum() / max(known.size, 1) for t in thresholds], np.float32)


# --- values ---------------------------------------------------------------------------------------------------


def sorted_descending(values: Array, count: int | None = None) -> Array:
    """Sort the known values, highest first; give `count` of them that are distributed as all are.

    Examples
    --------
    >>> sorted_descending(np.array([0, 3, np.nan, 1], np.float32)).tolist()
    [3.0, 1.0, 0.0]
    >>> sorted_descending(np.arange(6.0), 3).tolist()
    [4.0, 2.0, 0.0]
    """
    known = np.sort(values[np.isfinite(values)], kind="stable")[::-1]  # it merges what is in order already
    if count is None or known.size == count:
        return known
    if not known.size or not count:
        return np.empty(0, np.float32)
    places = ((np.arange(count) + 0.5) * (known.size / count)).astype(np.int64)
    taken: Array = known[np.minimum(places, known.size - 1)]
    return taken


def target_values(highest_first: Array, thresholds: Sequence[float], shares: Array) -> Array:
    """Return the wet ones among as many values of which given shares reach the thresholds, highest first.

    Between the thresholds, and above the last, they are distributed as the values given are; a threshold that none
    of these reaches, or that none is to reach, does not count.

    Parameters
    ----------
    highest_first
        mm h-1, falling, dry ones with them.
    thresholds
        mm h-1, increasing.
    shares
        Share of all that is to reach each, falling.

    Examples
    --------
    >>> target_values(np.array([8, 4, 0, 0, 0, 0, 0, 0], np.float32), [1.0], np.array([0.5], np.float32)).tolist()
    [8.0, 8.0, 4.0, 4.0]
    """
    count = highest_first.size
    lowest_first = highest_first[::-1]
    wet = count - int(np.searchsorted(lowest_first, 0.0, side="right"))
    own = 1 - np.searchsorted(lowest_first, np.asarray(thresholds, np.float32)) / max(count, 1)
    counts = (own > 0) & (shares > 0)
    wanted_at = np.concatenate([[0.0], shares[counts][::-1], [1.0]])
    own_at = np.concatenate([[0.0], own[counts][::-1], [1.0]])
    made = round(float(np.interp(wet / max(count, 1), own_at, wanted_at)) * count)
    ranks = np.interp((np.arange(made) + 0.5) / max(count, 1), wanted_at, own_at) * count
    taken: Array = highest_first[np.minimum(ranks.astype(np.int64), max(wet - 1, 0))]
    return taken


def rank_transforms(ranking: Array, frame: Array, wet: Sequence[Array]) -> list[scales_cpu.Matching]:
    """Find how the ranks of `ranking`, ``(lead, y, x)``, where `frame` is known get values, for each lead time.

    Parameters
    ----------
    wet
        Wet values of each lead time, highest first: what `target_values` gives, for as many cells as are known.
    """
    nothing = np.zeros(1, np.float32)  # a value that is none: all cells are dry
    return scales_cpu.matchings(ranking, frame, [values if values.size else nothing for values in wet])
