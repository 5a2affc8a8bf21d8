"""What flows in from outside the radar's reach: there the model speaks, and where there is none it stays unknown.

In the frame that moves with the rain there is no such air, so it is looked at where it will be: at every second coarse
cell that the radar tells nothing of at a lead time, and at those just beside, so that planes can be interpolated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from hybridcast.core.types import Array
from hybridcast.learned.nwp_stage import has_nwp, nwp_rain_rate
from hybridcast.predictors.radar import PredictorState, departure_known, departure_points, predictors_at_lead

Odds = Callable[[Array, float], Array]
"""From the predictors of cells and a lead time to log odds, ``(threshold, cell)``."""

#: So many cells beside those that are unknown are asked too.
BESIDE = 2


class Inflow(NamedTuple):
    """What comes from outside, at the lead times that were asked, on every second coarse cell; NaN elsewhere."""

    chances: Array
    """``(threshold, lead, y, x)``."""
    rate: Array
    """Rain of the model there, mm h-1, ``(lead, y, x)``."""
    unknown: NDArray[np.bool_]
    """Cells that the radar tells nothing of, and the model does, ``(lead, y, x)``."""


def compute_inflow(state: PredictorState, cells: NDArray[np.int32], shape: tuple[int, int], odds: Odds) -> Inflow:
    """Ask for what comes from outside.

    Parameters
    ----------
    state
        With sources; its lead times are those asked.
    cells
        Every second coarse cell: row and column, ``(cell, 2)``, in the order of a grid of `shape`.
    shape
        Rows and columns of these.
    odds
        What members say.
    """
    places = departure_points(state, cells)
    unknown = np.stack([~departure_known(state, p).reshape(shape) for p in places])
    # lead times between two that were asked are interpolated: what is unknown at one of them is asked at both
    wanted = [np.asarray(unknown[max(0, k - 1) : k + 2].any(axis=0)) for k in range(len(places))]
    made = [_at_lead(state, k, places[k], cells, wanted[k], odds) for k in range(len(places))]
    chances = np.stack([one[0] for one in made], axis=1)
    return Inflow(chances, np.stack([one[1] for one in made]), unknown & np.isfinite(chances[0]))


def _at_lead(
    state: PredictorState,
    lead: int,
    places: Array,
    cells: NDArray[np.int32],
    wanted: NDArray[np.bool_],
    odds: Odds,
) -> tuple[Array, Array]:
    """Return probabilities ``(threshold, y, x)`` and the model's rain ``(y, x)`` at one lead time."""
    near = np.flatnonzero(binary_dilation(wanted, iterations=BESIDE))
    rows = predictors_at_lead(state, lead, places[near], cells[near])
    there = has_nwp(rows)
    found = odds(rows[there], float(state.minutes[lead]))
    chances = np.full((len(found), wanted.size), np.nan, np.float32)
    chances[:, near[there]] = found
    rate = np.full(wanted.size, np.nan, np.float32)
    rate[near[there]] = nwp_rain_rate(rows[there])
    return chances.reshape(-1, *wanted.shape), rate.reshape(wanted.shape)
