"""What a model's rain does to the field of rates, at each lead time: whose values it has, and how it is ranked.

Without a model the values are those of the latest frame. With one, air that the radar knows has the values of both, in
the proportion in which the model is trusted; air from outside has the model's.

Ranks lean on the model's rain as far as it is trusted, beyond what the probabilities make of it. These are smooth, the
later the smoother; the model's own field has the shapes and the gaps of rain. So it also takes the place of the cuts
of neighbourhoods, which keep showers beside a system where there is nothing but probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.grid import decibels
from hybridcast.core.types import Array
from hybridcast.fusion.inflow import Inflow
from hybridcast.fusion.probability_matching import Lean, exceedance_fraction, sorted_descending

#: What a decibel of a model that is fully trusted adds to the log odds that cells are ranked by.
LEAN = np.float32(0.1)


@dataclass(frozen=True, eq=False)
class NwpInformedTarget:
    """What it depends on, for each lead time at which members were asked."""

    frame: Array
    """The latest frame, mm h-1, ``(y, x)`` on the fine grid."""
    known: NDArray[np.bool_]
    """Asked cells that the radar knows, ``(y, x)``."""
    model: Array
    """The model's rain where the radar's air will be, mm h-1, ``(lead, y, x)``; NaN where it is not asked for."""
    weight: Array
    """How far the model is trusted there, ``(lead,)``."""
    inflow: Inflow

    def together(self, known: Array, coming: Array) -> list[Array]:
        """Put what is known of the radar's air and of what flows in together: ``(threshold, cell)`` for each lead."""
        return [
            np.concatenate([known[:, k][:, self.known], coming[:, k][:, unknown]], axis=1)
            for k, unknown in enumerate(self.inflow.unknown)
        ]

    def lean(self, rain: Array) -> Lean:
        """Say how ranks lean on the model's rain, mm h-1, ``(lead, y, x)``; where it has none, on as much as usual."""
        trust = np.array(self.trust, np.float32)
        level = decibels(rain)
        known = np.isfinite(level)
        usual = level.sum(axis=(1, 2), where=known) / np.maximum(known.sum(axis=(1, 2)), 1)
        filled = np.where(known, level, usual[:, None, None])
        return Lean(LEAN * trust[:, None, None] * filled, 1 - trust)

    def shares(self, thresholds: Sequence[float]) -> Array:
        """Share of the cells of these values that reaches each threshold, ``(lead, threshold)``."""
        of_frame, inside = exceedance_fraction(self.frame, thresholds), int(self.known.sum())
        shares = []
        for k, unknown in enumerate(self.inflow.unknown):
            weight = self.trust[k]
            of_known = (1 - weight) * of_frame + weight * exceedance_fraction(self.model[k], thresholds)
            outside = int(unknown.sum())
            of_inflow = exceedance_fraction(self.inflow.rate[k][unknown], thresholds)
            shares.append((inside * of_known + outside * of_inflow) / max(inside + outside, 1))
        return np.array(shares, np.float32)

    def values(self, lead: int, rate: Array) -> Array:
        """Return the values for all cells near the lead time asked that has this number, highest first.

        Parameters
        ----------
        rate
            The model's rain where it flows in, mm h-1, on the fine grid, ``(y, x)``; NaN elsewhere.
        """
        inside = self._of_frame.size
        of_model = sorted_descending(self.model[lead], round(self.trust[lead] * inside))
        of_frame = sorted_descending(self._of_frame, inside - of_model.size)
        return sorted_descending(np.concatenate([of_frame, of_model, rate[np.isfinite(rate)]]))

    @cached_property
    def _of_frame(self) -> Array:
        """Values of the latest frame, highest first: every lead time takes of them."""
        return sorted_descending(self.frame)

    @cached_property
    def trust(self) -> list[float]:
        """How far the model is trusted, by lead; not at all where it has no value, or was not weighed."""
        there = np.isfinite(self.model).any(axis=(1, 2)) & np.isfinite(self.weight)
        return [float(weight) for weight in np.where(there, self.weight, 0.0)]
