"""Members of an ensemble from the blended probabilities on the sampling nodes."""

from __future__ import annotations

from typing import NamedTuple

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from hybridcast.advection import LONGEST_STEP
from hybridcast.core.types import MINUTE, Array
from hybridcast.ensembles.noise import FITTED, MemberNoise, count_octaves
from hybridcast.ensembles.realizations import HIGHEST_RATE, TAIL_SLOPE, Realizations
from hybridcast.fusion.deterministic_field import NodeProbabilities
from hybridcast.fusion.inflow import Inflow
from hybridcast.fusion.sampling_grid import LagrangianInterpolator, SamplingGrid
from hybridcast_kernels.realizations_cpu import CurvePlanes, RainCurve
from hybridcast_kernels.trajectories import departure_points


class EnsembleSize(NamedTuple):
    """Which members to make."""

    members: int
    """Number of members."""
    seed: int
    """Seed of their noise."""


def make_realizations(
    nodes: NodeProbabilities,
    interpolator: LagrangianInterpolator,
    inflow: Inflow | None,
    known: Array,
    cell: float,
    size: EnsembleSize,
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
    cell
        Size of the cells, km.
    size
        Number of members, and seed.

    Returns
    -------
    dask.array.Array
        mm h-1, shape ``(realization, lead, y, x)``, one chunk for each lead time.
    """
    latest = interpolator.latest
    minutes = latest.leads / MINUTE
    scales = FITTED.on_grid(cell, count_octaves(*latest.frame.shape), minutes)
    realizations = Realizations(
        planes=_curve_planes(nodes, interpolator, inflow),
        curve=RainCurve(np.asarray(nodes.thresholds, np.float32), TAIL_SLOPE, HIGHEST_RATE),
        noise=MemberNoise(scales, *size),
        minutes=minutes.astype(np.float32),
        advected=latest.advected,
        known=known,
    )
    return realizations.to_dask()


def equal_members(rate: Array, members: int) -> da.Array:
    """Return members that all are `rate`, ``(lead, y, x)``, one chunk for each lead time."""
    lazy = da.from_array(rate, chunks=(1, *rate.shape[1:]))
    return da.broadcast_to(lazy, (members, *rate.shape), chunks=((members,), *lazy.chunks))


def _curve_planes(
    nodes: NodeProbabilities, interpolator: LagrangianInterpolator, inflow: Inflow | None
) -> tuple[CurvePlanes, ...]:
    """Return probabilities and departures at all lead times."""
    air = interpolator.to_leads(nodes.values)
    other = None if inflow is None else interpolator.to_leads(inflow.probabilities)
    departures = _departures(interpolator)
    factor, offset = interpolator.grid.spacing
    return tuple(
        CurvePlanes(
            np.ascontiguousarray(air[:, lead]),
            None if other is None else np.ascontiguousarray(other[:, lead]),
            departures[lead],
            factor,
            offset,
        )
        for lead in range(len(departures))
    )


def _departures(interpolator: LagrangianInterpolator) -> Array:
    """Return row and column of the fine cells that the air over the nodes comes from, ``(lead, 2, y, x)``."""
    latest, grid = interpolator.latest, interpolator.grid
    minutes = (latest.leads / MINUTE).astype(np.float32)
    cells, rest = _fine_cells(grid)
    found = departure_points(latest.flow, minutes, cells, LONGEST_STEP) + np.float32(rest)
    return np.ascontiguousarray(found.reshape(minutes.size, *grid.shape, 2).transpose(0, 3, 1, 2))


def _fine_cells(grid: SamplingGrid) -> tuple[NDArray[np.int32], float]:
    """Return row and column of the fine cell at every node, ``(node, 2)``, and how far the node is from its centre."""
    factor, offset = grid.spacing
    cells = np.indices(grid.shape).reshape(2, -1).T * factor + int(offset)
    return cells.astype(np.int32), offset - int(offset)
