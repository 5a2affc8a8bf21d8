"""The sampling grid: nodes and lead times at which members are evaluated, and interpolation back to the fine grid.

Members are evaluated at every few cells of the coarse grid (the nodes) and at a few lead times. Their output is
interpolated between the lead times in Lagrangian coordinates, and carried along the motion to the fine grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from hybridcast.advection import LONGEST_STEP
from hybridcast.core.grid import block_size
from hybridcast.core.interpolation import interpolate_leads
from hybridcast.core.types import MINUTE, Array, LeadTimes, Mask
from hybridcast_kernels.planes_cpu import carry
from hybridcast_kernels.resample_cpu import enlarge
from hybridcast_kernels.workspace import workspace_of_this_thread

#: Members are evaluated at these lead times (min), and at every half hour after the last of them.
NODE_MINUTES = (15.0, 30.0, 45.0, 60.0)


def node_lead_times(lead_times: LeadTimes) -> LeadTimes:
    """Return the lead times at which members are evaluated: the first and the last one, and regular ones between."""
    minutes = lead_times / MINUTE
    regular = np.array([*NODE_MINUTES, *np.arange(NODE_MINUTES[-1] + 30, minutes[-1], 30.0)])
    inner = regular[(regular > minutes[0]) & (regular < minutes[-1])]
    nodes = np.unique([minutes[0], *inner, minutes[-1]])
    return (nodes * 60e9).astype("timedelta64[ns]")


class SamplingGrid(NamedTuple):
    """The nodes at which members are evaluated: every `stride`-th cell of a coarse grid along both axes."""

    coarse_shape: tuple[int, int]
    """Rows and columns of the coarse grid."""
    block: int
    """Number of fine cells along a side of a coarse cell."""
    stride: int
    """Number of coarse cells from one node to the next."""

    @classmethod
    def over(cls, recent: xr.DataArray, coarse: xr.DataArray, spacing: float, stride: int) -> SamplingGrid:
        """Return the grid for a field and the same field on coarse cells of `spacing` (m)."""
        return cls((coarse.sizes["y"], coarse.sizes["x"]), block_size(recent, spacing), stride)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of nodes."""
        rows, columns = (-(-size // self.stride) for size in self.coarse_shape)
        return rows, columns

    @property
    def nodes(self) -> NDArray[np.int32]:
        """Row and column of every node on the coarse grid, shape ``(node, 2)``."""
        return (np.indices(self.shape).reshape(2, -1).T * self.stride).astype(np.int32)

    def nodes_near(self, frame: Array) -> NDArray[np.int32]:
        """Return the nodes from which the known cells of a fine frame can be interpolated, shape ``(node, 2)``."""
        known = np.isfinite(frame)
        rows, columns = (size * self.block for size in self.coarse_shape)
        whole = np.pad(known, [(0, max(0, n - have)) for n, have in zip((rows, columns), known.shape, strict=True)])
        blocks = whole[:rows, :columns].reshape(self.coarse_shape[0], self.block, self.coarse_shape[1], self.block)
        near = maximum_filter(blocks.any(axis=(1, 3)), 2 * self.stride + 3)
        near[-2 * self.stride - 1 :] |= known[rows:].any()
        near[:, -2 * self.stride - 1 :] |= known[:, columns:].any()
        return (np.argwhere(self.sample(near)) * self.stride).astype(np.int32)

    def sample(self, field: NDArray[Any]) -> NDArray[Any]:
        """Return the values of a coarse field ``(y, x)`` at the nodes, shape `shape`."""
        return field[:: self.stride, :: self.stride]

    def mark(self, nodes: NDArray[np.int32]) -> Mask:
        """Return whether each node is one of some nodes, ``(node, 2)``, on the grid of all nodes."""
        marked = np.zeros(self.shape, bool)
        marked[nodes[:, 0] // self.stride, nodes[:, 1] // self.stride] = True
        return marked

    def fill(self, values: Array, nodes: NDArray[np.int32], elsewhere: float = 0.0) -> Array:
        """Return values at some nodes, ``(set, lead, node)``, as planes ``(set, lead, y, x)`` of all nodes."""
        planes = np.full((*values.shape[:2], *self.shape), elsewhere, np.float32)
        planes[:, :, nodes[:, 0] // self.stride, nodes[:, 1] // self.stride] = values
        return planes

    def enlarge(self, planes: Array, shape: tuple[int, ...], out: Array | None = None) -> Array:
        """Interpolate planes ``(set, y, x)`` of the nodes bilinearly to a fine grid of `shape`; the edge is held.

        The result is written to `out`, if that is given.
        """
        fine = np.empty((len(planes), *shape), np.float32) if out is None else out
        return enlarge(np.ascontiguousarray(planes), *self.spacing, fine)

    @property
    def spacing(self) -> tuple[int, float]:
        """Number of fine cells from one node to the next, and the fine cell, counted from 0, of the first node."""
        return self.block * self.stride, (self.block - 1) / 2


class LatestFrame(NamedTuple):
    """The latest frame, and the motion that its air follows."""

    frame: Array
    """Latest frame on the fine grid, mm h-1, ``(y, x)``."""
    leads: LeadTimes
    """Lead times of the forecast, counted from that frame."""
    flow: Array
    """Motion on the fine grid, cells per minute, ``(2, y, x)``, x first."""

    @property
    def minutes(self) -> Array:
        """Lead times, min, ``(lead,)``."""
        return (self.leads / MINUTE).astype(np.float32)


@dataclass(frozen=True, eq=False)
class LagrangianInterpolator:
    """Interpolation from the nodes at the node lead times to the fine grid at all lead times, along the motion."""

    grid: SamplingGrid
    node_leads: LeadTimes
    """Lead times at which members were evaluated, counted from the latest frame."""
    latest: LatestFrame
    """The latest frame on the fine grid, whose air the nodes are in."""

    def to_leads(self, planes: Array) -> Array:
        """Interpolate planes of the nodes, ``(set, node lead, y, x)``, to all lead times, ``(set, lead, y, x)``."""
        minutes, node_minutes = self.latest.leads / MINUTE, self.node_leads / MINUTE
        found = np.empty((len(planes), minutes.size, *planes.shape[2:]), np.float32)
        for one, of_set in enumerate(planes):  # one plane at a time, because all of them are large
            for lead, wanted in enumerate(minutes):
                found[one, lead] = interpolate_leads(of_set, node_minutes, float(wanted))
        return found

    def fractions_to_leads(self, fractions: Array) -> Array:
        """Interpolate fractions ``(node lead, threshold)`` to all lead times, ``(lead, threshold)``."""
        return interpolate_leads(fractions, self.node_leads / MINUTE, self.latest.leads / MINUTE)

    def weights_to_leads(self, weights: Array) -> Array:
        """Interpolate weights ``(node lead,)`` to all lead times, ``(lead,)``."""
        return np.interp(self.latest.leads / MINUTE, self.node_leads / MINUTE, weights).astype(np.float32)

    def nearest_nodes(self) -> NDArray[np.int64]:
        """Return the number of the nearest node lead time for each lead time, shape ``(lead,)``."""
        nearest: NDArray[np.int64] = np.abs(self.node_leads[:, None] - self.latest.leads).argmin(axis=0)
        return nearest

    def advect(self, planes: Array, advected: Array) -> Array:
        """Carry planes ``(set, lead, y, x)`` of the air of the latest frame along the motion to the fine grid.

        The result is NaN where `advected`, the latest frame at the lead times, ``(lead, y, x)``, is.
        """
        whole, (factor, offset) = np.ascontiguousarray(planes), self.grid.spacing
        return carry(whole, factor, offset, self.latest.flow, self.latest.minutes, advected, longest_step=LONGEST_STEP)

    def enlarge(self, planes: Array) -> Array:
        """Interpolate planes ``(set, y, x)`` to the fine grid without motion."""
        return self.grid.enlarge(planes, self.latest.frame.shape)

    def enlarge_in_workspace(self, planes: Array) -> Array:
        """Do as `enlarge`, in memory of this thread that the next call of this method writes over."""
        shape = self.latest.frame.shape
        out: Array = workspace_of_this_thread().array("enlarged", (len(planes), *shape))
        return self.grid.enlarge(planes, shape, out)
