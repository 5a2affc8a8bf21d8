"""Members of an ensemble from exceedance probabilities: samples of every cell's curve, coherent in space and time.

The probabilities are those of a calibrated forecast, so the members are calibrated too; where they rain together is a
matter of the noise (`hybridcast.ensembles.noise`). To draw dependent samples of given marginal distributions by a
Gaussian copula is the method of Clark et al. (2004, doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2) with simulated
instead of historical dependence; the noise by scales is that of STEPS (Bowler et al. 2006, doi:10.1256/qj.04.100).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import dask
import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from hybridcast.advection import LONGEST_STEP
from hybridcast.core.grid import LOWEST_RATE, cell_size, coarsen
from hybridcast.core.packed_frames import iterate_frames
from hybridcast.core.types import Array
from hybridcast.ensembles.noise import (
    FITTED,
    SCALE_LEAD,
    SCALE_RATE,
    MemberCount,
    MemberNoise,
    count_octaves,
    event_scale,
)
from hybridcast.ensembles.texture import match_grain, measure_grain, measure_stretch, turn_to_smallest_window
from hybridcast.motion.estimate import find_usable_frames
from hybridcast_kernels.lattice_noise_cpu import LatticeWindow
from hybridcast_kernels.realizations_cpu import CurvePlanes, Nodes, RainCurve, draw
from hybridcast_kernels.trajectories import departure_points

#: Mean excess of rain above the highest threshold that is expected without evidence, mm h-1.
USUAL_EXCESS = 8.0
#: Number of cells with rain above it at which their mean excess counts as much as the usual one.
EXCESS_EVIDENCE = 200
#: Members of a chunk have at most this size, bytes, so that a large grid has several chunks for a lead time.
CHUNK_BYTES = 2**29
#: Highest rain rate of a member, mm h-1.
HIGHEST_RATE = 200.0
#: Standard deviation of the Gaussian window that smooths the displacements of the noise, km.
NOISE_SMOOTHING = 60.0
#: Size of the cells on which the direction of the rain is measured, km.
TEXTURE_SPACING = 2.0
#: Members that are drawn to match their grain with that of the latest frame, and side of the part of the grid, cells.
TRIAL, TRIAL_SIDE = MemberCount(2, 0), 384


class ByLead(Protocol):
    """Fields that are taken one lead time after the other: an array ``(lead, y, x)``, or what makes them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lead times, rows and columns."""
        ...

    def __getitem__(self, lead: int, /) -> Array:
        """Return the field of a lead time, ``(y, x)``."""
        ...


@dataclass(frozen=True)
class GridPart:
    """A part of the grid that begins at a node of the departures."""

    nodes: tuple[slice, slice]
    """Rows and columns of nodes."""
    cells: tuple[slice, slice]
    """Rows and columns of cells."""

    @classmethod
    def around(cls, centre: tuple[int, int], side: int, shape: tuple[int, int], factor: int) -> GridPart:
        """Return cells within half of a side of one, as far as the grid goes; `factor` is the distance of the nodes."""
        nodes, cells = [], []
        for middle, size in zip(centre, shape, strict=True):
            first = min(max(0, middle - side // 2), max(0, size - side)) // factor
            last = min((first + 1) * factor + side, size)
            nodes.append(slice(first, -(-last // factor) + 1))
            cells.append(slice(first * factor, last))
        return cls((nodes[0], nodes[1]), (cells[0], cells[1]))

    def cut_planes(self, planes: CurvePlanes) -> CurvePlanes:
        """Return planes whose departures are those of the part."""
        cut = {name: getattr(planes, name)[(slice(None), *self.nodes)] for name in ("departures", "noise_origins")}
        return planes._replace(**cut)


@dataclass(frozen=True, eq=False)
class StretchedPlanes:
    """Planes whose noise is stretched; an object, so that members can be pickled."""

    planes: Callable[[int], CurvePlanes]
    matrix: Array
    """Result of `hybridcast.ensembles.texture.measure_stretch`, ``(2, 2)``."""

    def __call__(self, lead: int) -> CurvePlanes:
        """Return the planes of a lead time."""
        found = self.planes(lead)
        row, column = found.noise_origins
        stretched = np.stack([down * row + across * column for down, across in self.matrix])
        return found._replace(noise_origins=stretched)


@dataclass(frozen=True, eq=False)
class Realizations:
    """Members of an ensemble, made lead time by lead time in any order."""

    planes: Callable[[int], CurvePlanes]
    """Function from the number of a lead time to its exceedance probabilities, and departures of the air."""
    curve: RainCurve
    """Thresholds of the probabilities and the tail above them."""
    noise: MemberNoise
    """Noise of the members."""
    minutes: Array
    """Lead times, counted from the latest frame, min, shape ``(lead,)``."""
    advected: ByLead
    """Field that is NaN where the air does not come from the latest frame, ``(lead, y, x)``."""
    known: ByLead
    """Field that is NaN where the members are to be NaN, ``(lead, y, x)``."""

    def at(self, lead: int, where: GridPart | None = None) -> Array:
        """Return the members at one lead time, mm h-1, shape ``(realization, y, x)``, NaN where unknown.

        Parameters
        ----------
        lead
            Number of the lead time.
        where
            Part of the grid; all of it by default.
        """
        planes, known = self.planes(lead), self.known[lead]
        advected = known if self.advected is self.known else self.advected[lead]
        if where is not None:
            planes, known, advected = where.cut_planes(planes), known[where.cells], advected[where.cells]
        window = self._window(planes)
        noise, factor = self.noise.at(lead, float(self.minutes[lead]), window)
        out = np.empty((self.noise.count.members, *known.shape), np.float32)
        return draw(planes, self.curve, advected, known, noise, window, factor, out)

    def part(self, first: int, members: int) -> Realizations:
        """Return some of the members, from the number `first` on."""
        count = self.noise.count._replace(first=first, members=members)
        return replace(self, noise=replace(self.noise, count=count))

    def _window(self, planes: CurvePlanes) -> LatticeWindow:
        """Return the part of the lattice that noise comes from."""
        margin = planes.departure_nodes.factor
        needed = (
            self._reached(planes.departures, margin) if planes.inflow is None else np.isfinite(planes.departures[0])
        )
        if not needed.any():
            return LatticeWindow(0, 0, 1, 1)
        origins = planes.noise_origins[:, needed]
        low = np.floor(origins.min(axis=1)).astype(int) - margin
        high = np.ceil(origins.max(axis=1)).astype(int) + margin
        return LatticeWindow(int(low[0]), int(low[1]), int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1)

    def _reached(self, departures: Array, margin: int) -> NDArray[np.bool_]:
        """Return where air comes from within a margin of the grid; from outside it is unknown without NWP."""
        last = np.reshape(self.known.shape[1:], (2, 1, 1)) - 1
        inside: NDArray[np.bool_] = np.all((departures >= -margin) & (departures <= last + margin), axis=0)
        return inside

    def to_dask(self) -> da.Array:
        """Return the members as a lazy array ``(realization, lead, y, x)``.

        It has one chunk for each lead time, or several of some members each where the grid is large (`CHUNK_BYTES`).
        """
        _, rows, columns = self.known.shape
        every, most = self.noise.count.members, max(1, CHUNK_BYTES // (4 * rows * columns))
        whole = dask.delayed(self, traverse=False)  # once, not in every chunk: a cluster has to send it
        groups = [(first, min(most, every - first)) for first in range(0, every, most)]
        return da.concatenate([self._lead_chunks(whole, *group) for group in groups], axis=0)

    def _lead_chunks(self, whole: Any, first: int, members: int) -> da.Array:
        shape = (members, 1, *self.known.shape[1:])
        chunks = [
            da.from_delayed(dask.delayed(_chunk)(whole, first, members, lead), shape, np.float32)
            for lead in range(self.minutes.size)
        ]
        return da.concatenate(chunks, axis=1)


def realize(
    planes: Callable[[int], CurvePlanes],
    thresholds: Sequence[float],
    recent: xr.DataArray,
    minutes: Array,
    fields: tuple[ByLead, ByLead],
    count: MemberCount,
) -> da.Array:
    """Return the members of an ensemble, mm h-1, ``(realization, lead, y, x)``; lazy, see `Realizations.to_dask`.

    Parameters
    ----------
    planes
        Function from the number of a lead time to its exceedance probabilities, and departures of the air.
    thresholds
        Thresholds of the probabilities, mm h-1, increasing.
    recent
        Field of recent frames, mm h-1, dims ``(time, y, x)``.
    minutes
        Lead times, counted from the latest frame, min, ``(lead,)``.
    fields
        Field that is NaN where the air does not come from the latest frame, and one that is NaN where the members are
        to be NaN, each ``(lead, y, x)``.
    count
        Number of members, and seed.
    """
    reference = int(np.abs(minutes - SCALE_LEAD).argmin())
    cell = cell_size(recent) / 1e3
    octaves = count_octaves(recent.sizes["y"], recent.sizes["x"])
    curve = RainCurve(
        np.asarray(thresholds, np.float32), mean_excess(iterate_frames(recent), thresholds[-1]), HIGHEST_RATE
    )
    usable, _ = find_usable_frames(recent, 1)
    frame = recent.isel(time=int(usable[0]) if usable.size else -1).compute()
    coarse = coarsen(frame, 1e3 * TEXTURE_SPACING)
    stretch = turn_to_smallest_window(measure_stretch(coarse.values, cell_size(coarse) / 1e3), frame.shape)
    stretched = StretchedPlanes(planes, stretch.astype(np.float32))
    hour = stretched(reference)  # once, because it may take as long as the members of the trials
    scale = event_scale(hour.air[int(np.abs(np.asarray(thresholds) - SCALE_RATE).argmin())])

    def with_finest(finest: float, chosen: MemberCount) -> Realizations:
        dependence = replace(FITTED.scaled(scale), finest=finest)
        noise = MemberNoise(dependence.on_grid(cell, octaves, minutes.astype(np.float64)), chosen)
        return Realizations(stretched, curve, noise, minutes, *fields)

    def draw_trial(finest: float) -> Array:
        return replace(with_finest(finest, TRIAL), planes=lambda _: hour).at(reference, part)

    part = find_wettest_part(frame.values, hour.departure_nodes.factor)
    finest = match_grain(draw_trial, measure_grain([frame.values[part.cells]], cell), cell)
    return with_finest(finest, count).to_dask()


def find_wettest_part(frame: Array, factor: int) -> GridPart:
    """Return the part of a grid, of `TRIAL_SIDE` cells along each side or the whole of it, with the most rain."""
    share = uniform_filter((frame >= LOWEST_RATE).astype(np.float32), TRIAL_SIDE, mode="constant")
    row, column = np.unravel_index(int(share.argmax()), share.shape)
    return GridPart.around((int(row), int(column)), TRIAL_SIDE, (frame.shape[0], frame.shape[1]), factor)


def mean_excess(frames: Iterable[Array], threshold: float) -> float:
    """Return the mean excess of rain above a threshold in recent frames, mm h-1; nearly the usual one where it is rare.

    The excess of rain differs between events and with the size of the cells, so the frames tell it best.
    """
    above = np.concatenate([frame[frame >= np.float32(threshold)] for frame in frames])
    total = float((above - np.float32(threshold)).sum()) + EXCESS_EVIDENCE * USUAL_EXCESS
    return total / (above.size + EXCESS_EVIDENCE)


def departures_at_nodes(flow: Array, minutes: Array, nodes: Nodes, shape: tuple[int, int]) -> Array:
    """Return row and column of the cells that air comes from, ``(lead, 2, y, x)``.

    Parameters
    ----------
    flow
        Motion, cells per minute, ``(2, y, x)``, x first.
    minutes
        Lead times, counted from the latest frame, min, ``(lead,)``.
    nodes
        Places of the result.
    shape
        Rows and columns of nodes.
    """
    cells = (np.indices(shape).reshape(2, -1).T * nodes.factor + int(nodes.offset)).astype(np.int32)
    beside_centre = np.float32(nodes.offset - int(nodes.offset))  # a node may lie between cells
    found = departure_points(flow, minutes, cells, LONGEST_STEP) + beside_centre
    return np.ascontiguousarray(found.reshape(minutes.size, *shape, 2).transpose(0, 3, 1, 2))


def origins_of_noise(departures: Array, nodes: Nodes, cell: float) -> Array:
    """Return the places that noise comes from: departures with smoothed displacements, of the same shape.

    Air is deformed along its way, and noise that is carried with it becomes streaks, which rain does not: old features
    that are deformed decay, and new ones are not deformed.

    Parameters
    ----------
    departures
        Row and column of the cells that air comes from, ``(lead, 2, y, x)``.
    nodes
        Places of the departures.
    cell
        Size of the cells, km.
    """
    starts = (np.indices(departures.shape[2:]) * nodes.factor + nodes.offset).astype(np.float32)
    width = NOISE_SMOOTHING / (cell * nodes.factor)
    smoothed: Array = starts + gaussian_filter(departures - starts, (0, 0, width, width), mode="nearest")
    return smoothed


def equal_members(rate: Array, members: int) -> da.Array:
    """Return members that all are `rate`, ``(lead, y, x)``, one chunk for each lead time."""
    lazy = da.from_array(rate, chunks=(1, *rate.shape[1:]))
    return da.broadcast_to(lazy, (members, *rate.shape), chunks=((members,), *lazy.chunks))


def _chunk(realizations: Realizations, first: int, members: int, lead: int) -> Array:
    chunk: Array = realizations.part(first, members).at(lead)[:, None]
    return chunk
