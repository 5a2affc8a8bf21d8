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


def ranking_of(chances: Array, known: NDArray[np.bool_], shares: Array) -> Array:
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
        Cells that count, ``(y, x)``.
    shares
        Share of the cells that is to reach each threshold, ``(threshold,)``.
    """
    total: Array = np.zeros(chances.shape[1:], np.float32)
    if not known.any():
        return total
    smooth = _Smoothing.over(known)
    for chance, share in zip(chances, shares, strict=True):
        if share <= 0:
            continue
        odds = _log_odds(chance, _LEAST)
        cuts = np.quantile(odds[:, known], 1 - min(share, 1.0), axis=1).astype(np.float32)
        for lead, cut in enumerate(cuts):
            promised = smooth(chance[lead]) * share / max(float(chance[lead][known].mean()), 1e-6)
            total[lead] += _above(odds[lead], _local_cut(odds[lead], promised, cut, smooth))
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


def shares_of(frame: Array, thresholds: Sequence[float]) -> Array:
    """Share of the known cells that reach each threshold."""
    known = frame[np.isfinite(frame)]
    return np.array([(known >= np.float32(t)).mean() for t in thresholds], np.float32)


def matchings_of(ranking: Array, frame: Array) -> list[scales_cpu.Matching]:
    """Find how the ranks of `ranking`, ``(lead, y, x)``, get the values of the latest frame; none if that is dry."""
    wet = np.sort(frame[frame > 0])[::-1]
    return scales_cpu.matchings(ranking, frame, wet) if wet.size else []
