"""Members of an ensemble from the blended probabilities on the sampling nodes."""

from __future__ import annotations

from collections.abc import Callable

import dask.array as da
import numpy as np
import xarray as xr

from hybridcast.core.grid import cell_kilometres
from hybridcast.core.types import MINUTE, Array
from hybridcast.ensembles.noise import (
    FITTED,
    SCALE_LEAD,
    SCALE_RATE,
    MemberCount,
    MemberNoise,
    count_octaves,
    event_scale,
)
from hybridcast.ensembles.realizations import HIGHEST_RATE, Realizations, departures_at_nodes, mean_excess
from hybridcast.fusion.deterministic_field import NodeProbabilities
from hybridcast.fusion.inflow import Inflow
from hybridcast.fusion.sampling_grid import LagrangianInterpolator
from hybridcast_kernels.realizations_cpu import CurvePlanes, Nodes, RainCurve


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
    cell = float(np.sqrt(np.prod(cell_kilometres(recent))))
    minutes = latest.leads / MINUTE
    excess = mean_excess(recent.values, nodes.thresholds[-1])
    scales = FITTED.scaled(_event_scale(nodes, interpolator)).on_grid(cell, count_octaves(*latest.frame.shape), minutes)
    realizations = Realizations(
        planes=_curve_planes(nodes, interpolator, inflow),
        curve=RainCurve(np.asarray(nodes.thresholds, np.float32), excess, HIGHEST_RATE),
        noise=MemberNoise(scales, count),
        minutes=minutes.astype(np.float32),
        advected=latest.advected,
        known=known,
    )
    return realizations.to_dask()


def _event_scale(nodes: NodeProbabilities, interpolator: LagrangianInterpolator) -> float:
    """Return by how many octaves the errors of this event are larger than usual."""
    threshold = int(np.abs(np.array(nodes.thresholds) - SCALE_RATE).argmin())
    lead = int(np.abs(interpolator.node_leads / MINUTE - SCALE_LEAD).argmin())
    return event_scale(nodes.values[threshold, lead][nodes.known])


def _curve_planes(
    nodes: NodeProbabilities, interpolator: LagrangianInterpolator, inflow: Inflow | None
) -> Callable[[int], CurvePlanes]:
    """Return the function that gives probabilities and departures at a lead time."""
    air = interpolator.to_leads(nodes.values)
    other = None if inflow is None else interpolator.to_leads(inflow.probabilities)
    latest, places = interpolator.latest, Nodes(*interpolator.grid.spacing)
    minutes = (latest.leads / MINUTE).astype(np.float32)
    departures = departures_at_nodes(latest.flow, minutes, places, interpolator.grid.shape)

    def planes_at(lead: int) -> CurvePlanes:
        at_lead = None if other is None else np.ascontiguousarray(other[:, lead])
        return CurvePlanes(np.ascontiguousarray(air[:, lead]), at_lead, places, departures[lead], places)

    return planes_at
