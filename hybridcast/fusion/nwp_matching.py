"""How NWP rain enters the deterministic field: it changes the values and the order of cells.

Without NWP the values are those of the latest frame. With NWP, air that the radar knows gets values of both, in
proportion to the weight of NWP in the blend; air from outside the coverage gets those of NWP.

The order of cells is moved towards the NWP rain in proportion to the same weight, in addition to its effect on the
probabilities. These are smooth, increasingly with lead time, whereas the NWP field has the shapes and the gaps of rain.
For the same reason the neighbourhood does not count in the order, in which it would leave a seam at the edge of the
coverage, and the latest frame counts as much as the radar does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hybridcast.core.grid import decibels
from hybridcast.core.types import Array, Mask
from hybridcast.fusion.inflow import Inflow
from hybridcast.fusion.probability_matching import sorted_descending

#: Natural logarithm of the factor of the ranking for a decibel of NWP rain of full weight.
LOG_FACTOR_PER_DECIBEL = np.float32(0.05)


@dataclass(frozen=True, eq=False)
class NwpInformedTarget:
    """Target distribution of rain rates from the latest frame and NWP, at each node lead time."""

    frame: Array
    """Latest frame, mm h-1, ``(y, x)`` on the fine grid."""
    known: Mask
    """Nodes that are known in the latest frame, ``(y, x)``."""
    nwp_rate: Array
    """NWP rain where the radar's air will be, mm h-1, ``(lead, y, x)``; NaN where it is unknown."""
    blend_weight: Array
    """Weight of NWP in the blend, ``(lead,)``; NaN where it could not be determined."""
    inflow: Inflow
    """Air from outside the coverage."""

    @cached_property
    def nwp_weight(self) -> Array:
        """Weight of NWP from 0 to 1, ``(lead,)``; 0 if NWP has no value or no weight was determined."""
        usable = np.isfinite(self.nwp_rate).any(axis=(1, 2)) & np.isfinite(self.blend_weight)
        return np.where(usable, self.blend_weight, 0.0).astype(np.float32)

    @property
    def radar_weight(self) -> Array:
        """Weight of the radar from 0 to 1, ``(lead,)``."""
        weight: Array = 1 - self.nwp_weight
        return weight

    def concatenate_cells(self, probabilities: Array) -> list[Array]:
        """Return probabilities of the radar's air and of the inflow together, ``(threshold, cell)`` for each lead time.

        Those of the radar's air are given on the nodes, ``(threshold, lead, y, x)``.
        """
        return [
            np.concatenate([probabilities[:, k][:, self.known], self.inflow.probabilities[:, k][:, unknown]], axis=1)
            for k, unknown in enumerate(self.inflow.unknown)
        ]

    def nwp_factor(self, rate: Array) -> Array:
        """Return the factor of the ranking for NWP rain ``(lead, y, x)`` in mm h-1.

        Where that is unknown it is the factor of the mean level of the known cells, so that these are not ranked
        behind others.
        """
        level = decibels(rate)
        known = np.isfinite(level)
        mean = level.sum(axis=(1, 2), where=known) / np.maximum(known.sum(axis=(1, 2)), 1)
        filled = np.where(known, level, mean[:, None, None])
        factor: Array = np.exp(LOG_FACTOR_PER_DECIBEL * self.nwp_weight[:, None, None] * filled)
        return factor

    def values(self, lead: int, inflow_rate: Array) -> Array:
        """Return the values of all fine cells near a node lead time, mm h-1, highest first.

        Parameters
        ----------
        lead
            Number of the node lead time.
        inflow_rate
            NWP rain of the inflow, mm h-1, on the fine grid, ``(y, x)``; NaN elsewhere.
        """
        count = self._frame_values.size
        nwp = sorted_descending(self.nwp_rate[lead], round(float(self.nwp_weight[lead]) * count))
        frame = sorted_descending(self._frame_values, count - nwp.size)
        return sorted_descending(np.concatenate([frame, nwp, inflow_rate[np.isfinite(inflow_rate)]]))

    @cached_property
    def _frame_values(self) -> Array:
        """Values of the latest frame, highest first, which every lead time takes from."""
        return sorted_descending(self.frame)
