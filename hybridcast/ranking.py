"""One sharp field from probabilities: cells ranked by them, with the values of the latest frame in that order.

Thresholds of probability that are right on the events of a training are wrong on others; ranks are not. So the field is
as wet, and as sharp, as pure advection, in the places that the probabilities name: in each neighbourhood as much of it
as they promise there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from hybridcast.learned.blend import probability
from hybridcast_kernels import scales_cpu

Array = NDArray[np.float32]

#: How gradually a threshold counts in the ranking, in log odds.
SOFTNESS = np.float32(0.3)
#: Half width of a neighbourhood, in cells at which members are asked: 12 km where these are 4 km apart.
NEIGHBOURHOOD = 3
#: Newton steps to the cut of a neighbourhood. More of them cut ever finer, where the odds tell ever less.
STEPS = 2
#: Shares are held between this and one minus it.
_LEAST = np.float32(1e-4)


class Levels(NamedTuple):
    """What makes the share of cells that is to be wet: ``(lead, threshold)`` each."""

    cuts: Array
    """Log odds above which that share of the cells lies, for all of them together."""
    scales: Array
    """Share over mean probability: what promises are scaled by; 0 where nothing is to be wet."""


def levels_of(chances: Sequence[Array], shares: Array) -> Levels:
    """Find the levels of each lead time.

    Parameters
    ----------
    chances
        Probabilities of the cells that count, ``(threshold, cell)``, one for each lead time.
    shares
        Share of the cells that is to reach each threshold, ``(threshold,)`` or ``(lead, threshold)``.
    """
    wanted = np.broadcast_to(shares, (len(chances), shares.shape[-1]))
    cuts, scales = np.zeros((2, *wanted.shape), np.float32)
    for lead, of_lead in enumerate(chances):
        for k in np.flatnonzero(wanted[lead] > 0) if of_lead.shape[1] else ():
            cuts[lead, k] = np.quantile(_log_odds(of_lead[k], _LEAST), 1 - min(wanted[lead, k], 1.0))
            scales[lead, k] = wanted[lead, k] / max(float(of_lead[k].mean()), 1e-6)
    return Levels(cuts, scales)


def ranking_of(chances: Array, known: NDArray[np.bool_], levels: Levels) -> Array:
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
        What `levels_of` found.
    """
    total: Array = np.zeros(chances.shape[1:], np.float32)
    smooth = None
    for lead in range(chances.shape[1]):
        counting = known if known.ndim == 2 else known[lead]
        if not counting.any():
            continue
        if smooth is None or known.ndim == 3:
            smooth = _Smoothing.over(counting)
        for k in np.flatnonzero(levels.scales[lead]):
            odds = _log_odds(chances[k, lead], _LEAST)
            promised = smooth(chances[k, lead]) * levels.scales[lead, k]
            total[lead] += _above(odds, _local_cut(odds, promised, levels.cuts[lead, k], smooth))
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
    wanted = _log_odds(promised, _LEAST)
    cuts = np.full(odds.shape, cut, np.float32)
    for _ in range(STEPS):
        above = _above(odds, cuts)
        share = np.clip(smooth(above), _LEAST, 1 - _LEAST)
        # how much the share falls when the cut rises, and with it how far to go; far from the goal in small steps
        slope = np.maximum(smooth(above * (1 - above)), np.float32(1e-6)) / SOFTNESS
        step = np.minimum(share * (1 - share) / slope, np.float32(3))
        cuts += np.clip((_log_odds(share, _LEAST) - wanted) * step, -2, 2)
    return cuts


def _above(odds: Array, cut: Array) -> Array:
    """Say how far odds are above the cut, from 0 to 1."""
    return probability((odds - cut) / SOFTNESS)


def _log_odds(chance: Array, least: np.float32) -> Array:
    held = np.clip(chance, least, 1 - least)
    odds: Array = np.log(held / (1 - held))
    return odds


def shares_of(values: Array, thresholds: Sequence[float]) -> Array:
    """Share of the known values that reach each threshold; 0 where none is known."""
    known = values[np.isfinite(values)]
    return np.array([(known >= np.float32(t)).sum() / max(known.size, 1) for t in thresholds], np.float32)


def matchings_of(ranking: Array, frame: Array) -> list[scales_cpu.Matching]:
    """Find how the ranks of `ranking`, ``(lead, y, x)``, get the values of the latest frame; none if that is dry."""
    return matchings_like(ranking, frame, frame[np.isfinite(frame)])


def matchings_like(ranking: Array, frame: Array, values: Array) -> list[scales_cpu.Matching]:
    """Find how the ranks of `ranking` where `frame` is known get the values of a sample, dry ones with them."""
    count = int(np.isfinite(frame).sum())
    taken = values if values.size == count else thinned(values, count)
    wet = np.sort(taken[taken > 0], kind="stable")[::-1]  # it merges what is in order already
    return scales_cpu.matchings(ranking, frame, wet) if wet.size else []


def thinned(values: Array, count: int) -> Array:
    """Give `count` values, falling, that are distributed as `values` are; none if there are none."""
    if not values.size or not count:
        return np.empty(0, np.float32)
    falling = np.sort(values)[::-1]
    places = ((np.arange(count) + 0.5) * (values.size / count)).astype(np.int64)
    taken: Array = falling[np.minimum(places, values.size - 1)]
    return taken
