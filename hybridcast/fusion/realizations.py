"""Members of an ensemble from the blended probabilities on the sampling nodes."""

from __future__ import annotations

from collections.abc import Callable

import dask.array as da
import numpy as np
import xarray as xr

from hybridcast.core.grid import cell_size
from hybridcast.core.types import MINUTE, Array
from hybridcast.ensembles.noise import MemberCount
from hybridcast.ensembles.realizations import departures_at_nodes, origins_of_noise, realize
from hybridcast.fusion.deterministic_field import NodeProbabilities
from hybridcast.fusion.inflow import Inflow
from hybridcast.fusion.sampling_grid import LagrangianInterpolator
from hybridcast_kernels.realizations_cpu import CurvePlanes, Nodes


def make_realizations(
    nodes: NodeProbabilities,
    interpolator: LagrangianInterpolator,
    inflow: Inflow | None,
    known: Array,
    recent: xr.DataArray,
    count: MemberCount,
) -> da.Array:
    """Return members whose exceedance probabilities are those of the nodes.

    Parameters
    ----------
    nodes
        Probabilities of the air of the latest frame.
    interpolator
        Interpolation in time, along the motion.
    inflow
        Probabilities of air from outside the coverage; None without NWP.
    known
        Field that is NaN where the members are to be NaN, ``(lead, y, x)``.
    recent
        Field of recent frames.
    count
        Number of members, and seed.

    Returns
    -------
    dask.array.Array
        mm h-1, shape ``(realization, lead, y, x)``, one chunk for each lead time.
    """
    latest = interpolator.latest
    minutes, cell = (latest.leads / MINUTE).astype(np.float32), cell_size(recent) / 1e3
    planes = _curve_planes(nodes, interpolator, inflow, cell)
    return realize(planes, nodes.thresholds, recent, minutes, (latest.advected, known), count)


def _curve_planes(
    nodes: NodeProbabilities, interpolator: LagrangianInterpolator, inflow: Inflow | None, cell: float
) -> Callable[[int], CurvePlanes]:
    """Return the function that gives probabilities and departures at a lead time, for cells of a size in km."""
    air = interpolator.to_leads(nodes.values)
    other = None if inflow is None else interpolator.to_leads(inflow.probabilities)
    latest, places = interpolator.latest, Nodes(*interpolator.grid.spacing)
    minutes = (latest.leads / MINUTE).astype(np.float32)
    departures = departures_at_nodes(latest.flow, minutes, places, interpolator.grid.shape)
    origins = origins_of_noise(departures, places, cell)

    def planes_at(lead: int) -> CurvePlanes:
        at_lead = None if other is None else np.ascontiguousarray(other[:, lead])
        return CurvePlanes(np.ascontiguousarray(air[:, lead]), at_lead, places, departures[lead], origins[lead], places)

    return planes_at
