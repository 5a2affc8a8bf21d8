"""Where and when members are asked: every so many coarse cells, at a few lead times; and from there to all others."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from hybridcast.advection import LONGEST_STEP
from hybridcast.core.grid import block_size
from hybridcast.core.interpolation import interpolate_leads
from hybridcast.core.types import MINUTE, Array, LeadTimes
from hybridcast_kernels.planes_cpu import carry
from hybridcast_kernels.resample_cpu import enlarge
from hybridcast_kernels.workspace import workspace_of_this_thread

#: Members are asked at these lead times (min), and every half hour after them; in between, the moving frame is
#: interpolated.
ASKED = (15.0, 30.0, 45.0, 60.0)


def node_lead_times(ahead: LeadTimes) -> LeadTimes:
    """Return the lead times at which members are asked: the first and the last one, and regular ones between."""
    minutes = ahead / MINUTE
    regular = np.array([*ASKED, *np.arange(ASKED[-1] + 30, minutes[-1], 30.0)])
    between = regular[(regular > minutes[0]) & (regular < minutes[-1])]
    asked = np.unique([minutes[0], *between, minutes[-1]])
    return (asked * 60e9).astype("timedelta64[ns]")


def between(values: Array, asked: LeadTimes, ahead: LeadTimes) -> Array:
    """Interpolate ``(threshold, asked, y, x)`` linearly to other lead times."""
    return interpolate_leads(values, asked / MINUTE, ahead / MINUTE, axis=1)


class Grid(NamedTuple):
    """Where members are asked: every so many coarse cells."""

    coarse: tuple[int, int]
    """Rows and columns of the coarse grid."""
    block: int
    """Fine cells to a coarse one."""
    stride: int

    @classmethod
    def of(cls, recent: xr.DataArray, coarse: xr.DataArray, spacing: float, stride: int) -> Grid:
        """Make it for a field and the same field on cells of `spacing`."""
        return cls((coarse.sizes["y"], coarse.sizes["x"]), block_size(recent, spacing), stride)

    def cells(self, frame: Array) -> NDArray[np.int32]:
        """Return the cells to ask, ``(cell, 2)``: those that air which the latest frame knows can be sampled from."""
        seen = np.isfinite(frame)
        rows, columns = (size * self.block for size in self.coarse)
        whole = np.pad(seen, [(0, max(0, n - have)) for n, have in zip((rows, columns), seen.shape, strict=True)])
        blocks = whole[:rows, :columns].reshape(self.coarse[0], self.block, self.coarse[1], self.block)
        near = maximum_filter(blocks.any(axis=(1, 3)), 2 * self.stride + 3)
        near[-2 * self.stride - 1 :] |= seen[rows:].any()
        near[:, -2 * self.stride - 1 :] |= seen[:, columns:].any()
        return (np.argwhere(self.at_asked(near)) * self.stride).astype(np.int32)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the cells that may be asked."""
        rows, columns = (-(-size // self.stride) for size in self.coarse)
        return rows, columns

    @property
    def every_cell(self) -> NDArray[np.int32]:
        """All cells that may be asked, ``(cell, 2)``."""
        return (np.indices(self.shape).reshape(2, -1).T * self.stride).astype(np.int32)

    def at_asked(self, field: NDArray[Any]) -> NDArray[Any]:
        """Return what a coarse field holds at the cells that may be asked."""
        return field[:: self.stride, :: self.stride]

    def filled(self, values: Array, cells: NDArray[np.int32], elsewhere: float = 0.0) -> Array:
        """Put values of the cells that were asked, ``(threshold, lead, cell)``, on their grid."""
        out = np.full((*values.shape[:2], *self.shape), elsewhere, np.float32)
        out[:, :, cells[:, 0] // self.stride, cells[:, 1] // self.stride] = values
        return out

    def enlarged(self, planes: Array, fine: tuple[int, ...]) -> Array:
        """Interpolate planes ``(lead, y, x)`` bilinearly onto the fine grid; beyond the last cell the edge holds."""
        out: Array = workspace_of_this_thread().array("enlarged", (len(planes), *fine))
        return enlarge(np.ascontiguousarray(planes), self.block * self.stride, (self.block - 1) / 2, out)

    def carried(self, planes: Array, flow: Array, minutes: Array, advected: Array) -> Array:
        """Carry planes of each lead time, ``(set, lead, y, x)``, along the motion; NaN where the advected rate is."""
        factor, offset = self.block * self.stride, (self.block - 1) / 2
        whole = np.ascontiguousarray(planes)
        return carry(whole, factor, offset, flow, minutes, advected, longest_step=LONGEST_STEP)
