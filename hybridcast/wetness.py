"""How wet a forecast is to be, where there is a model: whose values it has, at each lead time.

Without a model the values are those of the latest frame. With one, air that the radar knows has the values of both, in
the proportion in which the model is trusted; air from outside has the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.inflow import Inflow
from hybridcast.ranking import matchings_like, shares_of, thinned
from hybridcast_kernels import scales_cpu

Array = NDArray[np.float32]


class Wetness(NamedTuple):
    """What it depends on, for each lead time at which members were asked."""

    frame: Array
    """The latest frame, mm h-1, ``(y, x)`` on the fine grid."""
    known: NDArray[np.bool_]
    """Asked cells that the radar knows, ``(y, x)``."""
    model: Sequence[Array]
    """The model's rain where the radar's air will be, mm h-1, ``(cell,)`` for each lead time."""
    weight: Array
    """How far the model is trusted there, ``(lead,)``."""
    inflow: Inflow

    def chances(self, known: Array) -> list[Array]:
        """Put the chances of air that is known, ``(threshold, lead, y, x)``, and of what flows in together."""
        return [
            np.concatenate([known[:, k][:, self.known], self.inflow.chances[:, k][:, unknown]], axis=1)
            for k, unknown in enumerate(self.inflow.unknown)
        ]

    def shares(self, thresholds: Sequence[float]) -> Array:
        """Share of the cells that is to reach each threshold, ``(lead, threshold)``."""
        of_frame, inside = shares_of(self.frame, thresholds), int(self.known.sum())
        shares = []
        for k, unknown in enumerate(self.inflow.unknown):
            weight = self._weight_at(k)
            of_known = (1 - weight) * of_frame + weight * shares_of(self.model[k], thresholds)
            outside = int(unknown.sum())
            of_inflow = shares_of(self.inflow.rate[k][unknown], thresholds)
            shares.append((inside * of_known + outside * of_inflow) / max(inside + outside, 1))
        return np.array(shares, np.float32)

    def matching(self, lead: int, ranking: Array, coming: Array, rate: Array) -> list[scales_cpu.Matching]:
        """Find how ranks get values, near the lead time asked that has this number.

        Parameters
        ----------
        ranking
            Of the air of the latest frame, on the fine grid, ``(y, x)``.
        coming
            Ranking of what flows in, on the same grid.
        rate
            The model's rain there, mm h-1, NaN where nothing flows in.
        """
        inside = int(np.isfinite(self.frame).sum())
        weight = self._weight_at(lead)
        of_model = thinned(self.model[lead][np.isfinite(self.model[lead])], round(weight * inside))
        of_frame = thinned(self.frame[np.isfinite(self.frame)], inside - of_model.size)
        values = np.concatenate([of_frame, of_model, rate[np.isfinite(rate)]])
        both = np.concatenate([ranking, coming])
        return matchings_like(both[None], np.concatenate([self.frame, rate]), values)

    def _weight_at(self, lead: int) -> float:
        """How far the model is trusted; not at all where it has no value, or was not weighed."""
        weight = float(self.weight[lead])
        return weight if np.isfinite(weight) and np.isfinite(self.model[lead]).any() else 0.0
