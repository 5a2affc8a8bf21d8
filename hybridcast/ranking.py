"""One sharp field from probabilities: cells ranked by them, with the values of the latest frame in that order.

Thresholds of probability that are right on the events of a training are wrong on others; ranks are not. So the field is
as wet, and as sharp, as pure advection, in the places that the probabilities name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.special import ndtri

from hybridcast.learned.blend import probability
from hybridcast_kernels import scales_cpu

Array = NDArray[np.float32]

#: How gradually a threshold counts in the ranking, in log odds.
SOFTNESS = np.float32(0.3)
#: How far the ranking is a local one, by lead time (min): it keeps showers at places where nothing is lost by it.
LOCAL = ((30.0, 90.0), (0.5, 0.0))
#: Half width of a neighbourhood, in cells at which members are asked.
NEIGHBOURHOOD = 5


def ranking_of(chances: Array, known: NDArray[np.bool_], shares: Array, minutes: NDArray[np.floating]) -> Array:
    """Make one field to rank cells by, ``(lead, y, x)``, from probabilities ``(threshold, lead, y, x)``.

    Around the share of cells that are to be wet at a threshold, cells are ranked by the probability of that threshold:
    each threshold counts one where its log odds are above the cut that gives the share, smoothly.

    One cut for all would leave nothing of small showers beside a large system. At short lead times, when showers are
    still there, the cut is moved (by a part that depends on the lead time, `LOCAL`) towards the one that gives each
    neighbourhood the share that its own probabilities promise.

    Parameters
    ----------
    chances
        Probabilities of exceedance, falling along the thresholds.
    known
        Cells that count, ``(y, x)``.
    shares
        Share of the cells that is to reach each threshold, ``(threshold,)``.
    minutes
        Lead times, ``(lead,)``.
    """
    local = np.interp(minutes, *LOCAL).astype(np.float32)
    total: Array = np.zeros(chances.shape[1:], np.float32)
    for chance, share in zip(chances, shares, strict=True):
        if share <= 0:
            continue
        odds = _log_odds(chance)
        seen = odds[:, known] if known.any() else odds.reshape(len(odds), -1)
        cuts = np.quantile(seen, 1 - min(share, 1.0), axis=1).astype(np.float32)
        for lead, cut in enumerate(cuts):
            here = cut
            if local[lead] > 0 and known.any():
                here = cut + local[lead] * (_local_cut(odds[lead], chance[lead], known, share) - cut)
            total[lead] += probability((odds[lead] - here) / SOFTNESS)
    return total


def _local_cut(odds: Array, chance: Array, known: NDArray[np.bool_], share: np.float32) -> Array:
    """Give the log odds above which each neighbourhood is as wet as its probabilities promise.

    Its log odds are taken as normally distributed, and promises are scaled so that they make up `share` in all.
    """
    inside = known.astype(np.float32)
    seen = np.maximum(_smooth(inside), np.float32(1e-3))
    mean = _smooth(odds * inside) / seen
    variance = _smooth(odds * odds * inside) / seen - mean * mean
    promised = _smooth(chance * inside) / seen * share / max(float(chance[known].mean()), 1e-6)
    spread = np.sqrt(np.maximum(variance, 1e-6))
    cut: Array = mean + spread * ndtri(1 - np.clip(promised, 1e-4, 1 - 1e-4)).astype(np.float32)
    return cut


def _smooth(field: Array) -> Array:
    """Mean over `NEIGHBOURHOOD` cells each way, the edge repeated."""
    smooth: Array = uniform_filter(field, 2 * NEIGHBOURHOOD + 1, mode="nearest")
    return smooth


def _log_odds(chance: Array) -> Array:
    held = np.clip(chance, 1e-4, 1 - 1e-4)
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
