"""Members of an ensemble from the blended probabilities on the sampling nodes."""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np
import xarray as xr

from hybridcast.core.grid import cell_size
from hybridcast.core.types import Array
from hybridcast.ensembles.noise import MemberCount
from hybridcast.ensembles.realizations import ByLead, departures_at_nodes, origins_of_noise, realize
from hybridcast.fusion.deterministic_field import NodeProbabilities
from hybridcast.fusion.inflow import Inflow
from hybridcast.fusion.sampling_grid import LagrangianInterpolator
from hybridcast_kernels.realizations_cpu import CurvePlanes, Nodes


def make_realizations(
    nodes: NodeProbabilities,
    interpolator: LagrangianInterpolator,
    inflow: Inflow | None,
    known: ByLead,
    recent: xr.DataArray,
    count: MemberCount,
    advected: ByLead | None = None,
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
    advected
        Field that is NaN where the air does not come from the latest frame; by default `known`, as without NWP.

    Returns
    -------
    dask.array.Array
        mm h-1, shape ``(realization, lead, y, x)``, see `Realizations.to_dask`.
    """
    minutes, cell = interpolator.latest.minutes, cell_size(recent) / 1e3
    planes = _curve_planes(nodes, interpolator, inflow, cell)
    return realize(planes, nodes.thresholds, recent, minutes, (known if advected is None else advected, known), count)


@dataclass(frozen=True, eq=False)
class _NodePlanes:
    """Probabilities and departures at the lead times; an object and not a closure, so that members can be pickled."""

    air: Array
    """Probabilities of the air of the latest frame, ``(threshold, lead, y, x)``."""
    inflow: Array | None
    """Probabilities of air from outside the coverage, ``(threshold, lead, y, x)``."""
    places: Nodes
    departures: Array
    """Row and column that air comes from, ``(lead, 2, y, x)``."""
    origins: Array
    """Row and column that noise comes from, ``(lead, 2, y, x)``."""

    def __call__(self, lead: int) -> CurvePlanes:
        inflow = None if self.inflow is None else np.ascontiguousarray(self.inflow[:, lead])
        air = np.ascontiguousarray(self.air[:, lead])
        return CurvePlanes(air, inflow, self.places, self.departures[lead], self.origins[lead], self.places)


def _curve_planes(
    nodes: NodeProbabilities, interpolator: LagrangianInterpolator, inflow: Inflow | None, cell: float
) -> _NodePlanes:
    """Return the function that gives probabilities and departures at a lead time, for cells of a size in km."""
    latest, places = interpolator.latest, Nodes(*interpolator.grid.spacing)
    departures = departures_at_nodes(latest.flow, latest.minutes, places, interpolator.grid.shape)
    return _NodePlanes(
        air=interpolator.to_leads(nodes.values),
        inflow=None if inflow is None else interpolator.to_leads(inflow.probabilities),
        places=places,
        departures=departures,
        origins=origins_of_noise(departures, places, cell),
    )
