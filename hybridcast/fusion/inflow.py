"""Inflow: rain advected in from outside the radar coverage, which is taken from NWP and is otherwise unknown.

Such air has no Lagrangian coordinates in the latest frame, so members are evaluated where it will be: at the sampling
nodes whose air the radar does not know at a lead time, and at the nodes beside them, for interpolation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from hybridcast.core.types import Array, Mask
from hybridcast.learned.member import MemberInputs
from hybridcast.learned.predictor_rows import has_nwp, nwp_rain_rate
from hybridcast.predictors.state import PredictorState, departure_known, departure_points, predictors_at_points

Evaluate = Callable[[MemberInputs, float], Array]
"""Function from inputs of members and a lead time (min) to exceedance probabilities ``(threshold, row)``."""

#: Number of nodes beside the unknown ones, in each direction, at which members are evaluated too. The motion on the
#: fine grid may carry the edge of the coverage some tens of kilometres further than that on the nodes.
MARGIN = 8


class Inflow(NamedTuple):
    """Forecast for air from outside the coverage, on the sampling nodes at the node lead times; NaN elsewhere."""

    probabilities: Array
    """Exceedance probabilities, ``(threshold, lead, y, x)``."""
    rate: Array
    """NWP rain, mm h-1, ``(lead, y, x)``."""
    unknown: Mask
    """Nodes whose air the radar does not know and NWP does, ``(lead, y, x)``."""


def compute_inflow(
    state: PredictorState, nodes: NDArray[np.int32], shape: tuple[int, int], evaluate: Evaluate
) -> Inflow:
    """Forecast the air that comes from outside the coverage.

    Parameters
    ----------
    state
        With predictors of NWP, at the node lead times.
    nodes
        Row and column of all sampling nodes, ``(node, 2)``, in the order of a grid of `shape`.
    shape
        Rows and columns of the nodes.
    evaluate
        Exceedance probabilities of cells with NWP rain.
    """
    points = departure_points(state, nodes)
    unknown = np.stack([~departure_known(state, of_lead).reshape(shape) for of_lead in points])
    # fields are interpolated between node lead times, so a node that is unknown at one needs values at the next
    near_in_time = (unknown[max(0, lead - 1) : lead + 2].any(axis=0) for lead in range(len(points)))
    wanted = [np.flatnonzero(binary_dilation(near, iterations=MARGIN)) for near in near_in_time]
    some = [of_lead[chosen] for of_lead, chosen in zip(points, wanted, strict=True)]
    rows = predictors_at_points(state, some, [nodes[chosen] for chosen in wanted])
    made = []
    for minutes, chosen, predictors, of_lead in zip(state.minutes, wanted, rows, some, strict=True):
        made.append(_evaluate(MemberInputs(predictors, of_lead), float(minutes), len(nodes), chosen, evaluate))
    planes = np.stack(made, axis=1).reshape(-1, len(points), *shape)
    return Inflow(planes[:-1], planes[-1], unknown & np.isfinite(planes[0]))


def _evaluate(inputs: MemberInputs, minutes: float, nodes: int, wanted: NDArray[np.int64], evaluate: Evaluate) -> Array:
    """Return probabilities and, last, NWP rain at the wanted ones of all nodes, ``(threshold + 1, node)``; else NaN."""
    with_nwp = has_nwp(inputs.predictors)
    inputs = inputs.select(with_nwp)
    probabilities = evaluate(inputs, minutes)
    values = np.full((len(probabilities) + 1, nodes), np.nan, np.float32)
    values[:, wanted[with_nwp]] = np.concatenate([probabilities, nwp_rain_rate(inputs.predictors)[None]])
    return values
