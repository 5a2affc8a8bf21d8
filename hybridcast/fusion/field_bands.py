"""The fields of a fused forecast on the fine grid, made band by band of rows, all at once or when they are needed.

Once the rank transform of each lead time is known, the fields of some rows depend on the latest frame, its motion, and
planes of the sampling nodes only, so that a grid of any size is made in the memory of one band.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import dask
import dask.array as da
import numpy as np
from numpy.typing import NDArray

from hybridcast.advection import LONGEST_STEP
from hybridcast.core.types import Array
from hybridcast.core.zarr_folders import TILE_ROWS
from hybridcast.fusion.probability_matching import frame_factors
from hybridcast.fusion.sampling_grid import LagrangianInterpolator
from hybridcast_kernels.fused_cpu import Fields, Latest, Planes, Ranked, fuse
from hybridcast_kernels.scales_cpu import RankTransform

#: Rows of a band: those of a chunk on disk.
BAND_ROWS = TILE_ROWS


class FusedFields(NamedTuple):
    """Fields on the fine grid, NaN where unknown: in memory, or dask arrays of one chunk for each band of rows."""

    rate: Array | da.Array
    """Rain rate, mm h-1, ``(lead, y, x)``."""
    advected: Array | da.Array
    """Rain rate of the latest frame, advected, mm h-1, ``(lead, y, x)``."""
    probabilities: Array | da.Array
    """Exceedance probabilities of the wanted thresholds, ``(threshold, lead, y, x)``."""


@dataclass(frozen=True, eq=False)
class KnownCells:
    """Where fields are known, one bit for each cell and lead time."""

    bits: NDArray[np.uint8]
    """Shape ``(lead, y, byte)``."""
    columns: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lead times, rows and columns of the fields."""
        return (*self.bits.shape[:2], self.columns)

    def __getitem__(self, lead: int) -> Array:
        """Return a field that is 0 where the fields of a lead time are known and NaN elsewhere, ``(y, x)``."""
        known = np.unpackbits(self.bits[lead], axis=-1, count=self.columns).view(bool)
        return np.where(known, np.float32(0), np.float32(np.nan))


@dataclass(frozen=True, eq=False)
class FieldBands:
    """Fields for the air of the latest frame that are yet to be made."""

    interpolator: LagrangianInterpolator
    """The latest frame and the nodes."""
    planes: Array
    """Ranking and probabilities on the nodes, ``(set, lead, y, x)``."""
    transforms: Sequence[RankTransform]
    """Transform of the ranking on the fine grid to rain rates, for each lead time."""

    def compute(self, advected: Array | None = None) -> FusedFields:
        """Return the fields in memory; `advected` is used for that field if it is known already."""
        return self._make(slice(0, self._shape[1]), advected)

    def to_dask(self) -> FusedFields:
        """Return lazy fields, whose bands are made when they are computed."""
        made = dask.delayed(self, traverse=False)  # once, not in every band: a cluster has to send it
        bands = [self._lazy_band(made, rows) for rows in self._bands()]
        return FusedFields(*(da.concatenate(parts, axis=-2) for parts in zip(*bands, strict=True)))

    def known(self) -> KnownCells:
        """Return where the fields are known, without making them."""
        leads, rows, columns = self._shape
        bits = np.empty((leads, rows, -(-columns // 8)), np.uint8)
        for band in self._bands():
            bits[:, band] = np.packbits(np.isfinite(self._advect(band)), axis=-1)
        return KnownCells(bits, columns)

    @property
    def _shape(self) -> tuple[int, int, int]:
        """Shape of a field, ``(lead, y, x)``."""
        rows, columns = self.interpolator.latest.frame.shape
        return self.planes.shape[1], rows, columns

    def _bands(self) -> Iterator[slice]:
        rows = self._shape[1]
        return (slice(first, min(first + BAND_ROWS, rows)) for first in range(0, rows, BAND_ROWS))

    def _lazy_band(self, bands: Any, rows: slice) -> list[da.Array]:
        made = dask.delayed(FieldBands._make)(bands, rows)
        leads, _, columns = self._shape
        shape = leads, rows.stop - rows.start, columns
        shapes = shape, shape, (len(self.planes) - 1, *shape)
        return [da.from_delayed(made[k], of, np.float32) for k, of in enumerate(shapes)]

    def _advect(self, rows: slice) -> Array:
        """Return some rows of the latest frame at the lead times, mm h-1, ``(lead, y, x)``."""
        return self._fuse(rows, Planes(np.ones((1, self._shape[0], 1, 1), np.float32), 1, 0.0)).advected

    def _make(self, rows: slice, advected: Array | None = None) -> FusedFields:
        return FusedFields(*self._fuse(rows, Planes(self.planes, *self.interpolator.grid.spacing), advected))

    def _fuse(self, rows: slice, planes: Planes, advected: Array | None = None) -> Fields:
        latest = self.interpolator.latest
        leads, _, columns = self._shape
        shape = leads, rows.stop - rows.start, columns
        out = Fields(
            rate=np.empty(shape, np.float32),
            advected=np.empty(shape, np.float32) if advected is None else advected,
            planes=np.empty((len(planes.values) - 1, *shape), np.float32),
        )
        return fuse(
            Latest(latest.frame, latest.flow, latest.minutes, LONGEST_STEP),
            planes,
            Ranked(frame_factors(np.ones(leads, np.float32)), self.transforms),
            rows,
            out,
            sampled=advected is None,
        )
