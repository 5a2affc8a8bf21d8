"""The rain at places: the cell of a point, and the mean and the maximum over the cells of an area."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import crs_of
from hybridcast.core.types import Array, Doubles, Mask
from hybridcast.ensembles.coverage import Coverage
from hybridcast.ensembles.polygons import Region, Regions, project_regions
from hybridcast.ensembles.regions import (
    LEAST_KNOWN,
    Weights,
    apply_to_fields,
    average_over_regions,
    cover_regions,
    weigh_cells,
)
from hybridcast.errors import InputError
from hybridcast.places.place import Place
from hybridcast.stations.collocation import collocate

#: Cells count for the maximum of an area if this fraction of them is within; or half of the largest one, if less.
MAXIMUM_PART = 0.1
_EMPTY = Coverage(0, 0, np.zeros((0, 0)), 0.0)
INSIDE, PARTLY, OUTSIDE = "inside", "partly outside", "outside"
"""Where a place is with respect to the grid."""


class PlaceCells(NamedTuple):
    """The cells of places on the grid of a field."""

    rows: NDArray[np.int64]
    """Rows of the cells, shape ``(cell,)``."""
    columns: NDArray[np.int64]
    """Columns of the same cells."""
    weights: Weights
    """Weights of the cells, as those of one row, in means; those of a point are of one cell."""
    is_point: Mask
    """Shape ``(place,)``."""
    inside: Doubles
    """Fraction of the area of each place that is on the grid, shape ``(place,)``."""
    entries: NDArray[np.int64]
    """Cells that count for maxima, as numbers in `rows`, place by place."""
    starts: NDArray[np.int64]
    """First entry of each of the places that have any."""
    present: NDArray[np.int64]
    """Numbers of these places."""

    def entries_of(self, places: Mask) -> NDArray[np.int64]:
        """Return the entries of some places."""
        ends = np.append(self.starts, self.entries.size)[1:]
        found = [
            self.entries[a:b] for a, b, place in zip(self.starts, ends, self.present, strict=True) if places[place]
        ]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    @property
    def position(self) -> list[str]:
        """Where each place is with respect to the grid."""
        return [INSIDE if part > 1 - 1e-6 else PARTLY if part > 0 else OUTSIDE for part in self.inside]


def find_cells(places: Sequence[Place], field: xr.DataArray, most: int) -> list[PlaceCells]:
    """Find the cells of places on the grid of a field, in blocks of places in their order.

    Parameters
    ----------
    places
        Places.
    field
        Field with ``y`` and ``x``.
    most
        Largest number of cells of a block, unless one place has more.

    Raises
    ------
    InputError
        If the grid has no CRS and a place is not in coordinates of the grid, or an area reaches beyond the map of the
        grid.
    """
    covered = _cover(places, field)
    is_point = np.array([place.point is not None for place in places])
    sizes = np.array([np.count_nonzero(one.fraction) for one in covered])
    block = np.minimum.accumulate(-(np.cumsum(sizes) // max(most, 1)))
    numbers = [np.flatnonzero(block == value) for value in np.unique(block)[::-1]]
    return [_join([covered[k] for k in of_block], is_point[of_block], field) for of_block in numbers]


def find_exchanged(places: Sequence[Place], field: xr.DataArray) -> list[str]:
    """Return the names of the points that are on the grid if latitude and longitude, or x and y, are exchanged."""
    turned = [replace(place, point=place.point[::-1]) for place in places if place.point is not None]
    return [place.name for place, one in zip(turned, _cover(turned, field), strict=True) if one.inside]


def _cover(places: Sequence[Place], field: xr.DataArray) -> list[Coverage]:
    """Return the fractions of cells that each place covers; a point has one cell."""
    foreign = [place.name for place in places if place.crs is not None]
    if crs_of(field) is None and foreign:
        raise InputError(
            f"the grid has no CRS, and {foreign[0]!r} has one",
            "on a local grid places are in coordinates of the grid",
            "Give places with x and y and crs = 'grid', or the forecast its CRS with hybridcast.core.field.with_crs",
        )
    covered = [_EMPTY] * len(places)
    for crs in dict.fromkeys(place.crs for place in places):
        of_crs = [number for number, place in enumerate(places) if place.crs == crs]
        points = [number for number in of_crs if places[number].point is not None]
        areas = [number for number in of_crs if places[number].point is None]
        for number, one in zip(points, _cover_points([places[k] for k in points], crs, field), strict=True):
            covered[number] = one
        for number, one in zip(areas, _cover_areas([places[k] for k in areas], crs, field), strict=True):
            covered[number] = one
    return covered


def _cover_points(places: list[Place], crs: pyproj.CRS | None, field: xr.DataArray) -> list[Coverage]:
    if not places:
        return []
    x, y = np.array([place.point for place in places], dtype=np.float64).T
    names = ("x", "y") if crs is None else ("longitude", "latitude")
    if crs is not None:
        x, y = _to_degrees(crs).transform(x, y)
    on_earth = xr.Dataset(
        coords={name: ("station", np.asarray(values)) for name, values in zip(names, (x, y), strict=True)}
    )
    with np.errstate(invalid="ignore"):
        positions = collocate(on_earth, field)
    last = np.array([field.sizes["y"], field.sizes["x"]]) - 1
    cells = np.clip(np.rint(np.nan_to_num(positions)), 0, last).astype(int)
    outside = np.asarray(np.isnan(positions).any(axis=1))
    return [
        _EMPTY if out else Coverage(int(row), int(column), np.ones((1, 1)), 1.0)
        for out, (row, column) in zip(outside, cells, strict=True)
    ]


@functools.lru_cache(maxsize=16)
def _to_degrees(crs: pyproj.CRS) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


def _cover_areas(places: list[Place], crs: pyproj.CRS | None, field: xr.DataArray) -> list[Coverage]:
    regions = Regions([Region(place.name, list(place.polygons)) for place in places], crs)
    return cover_regions(project_regions(regions, field, "grid" if crs is None else None), field) if places else []


def _join(covered: list[Coverage], is_point: Mask, field: xr.DataArray) -> PlaceCells:
    weights = weigh_cells(covered, field)
    flat = weights.rows * field.sizes["x"] + weights.columns  # in order
    counted = [np.searchsorted(flat, _cells_of_maximum(one, field.sizes["x"])) for one in covered]
    sizes = np.array([cells.size for cells in counted])
    present = np.flatnonzero(sizes)
    starts = (np.cumsum(sizes) - sizes)[present]
    inside = np.array([one.inside for one in covered])
    in_a_row = weights._replace(rows=np.zeros_like(weights.rows), columns=np.arange(flat.size))
    entries = np.concatenate(counted).astype(np.int64)
    return PlaceCells(weights.rows, weights.columns, in_a_row, is_point, inside, entries, starts, present)


def _cells_of_maximum(covered: Coverage, columns: int) -> NDArray[np.int64]:
    """Return the flat numbers of the cells that count for the maximum."""
    if not covered.fraction.any():
        return np.zeros(0, np.int64)
    rows, found = np.nonzero(covered.fraction >= min(MAXIMUM_PART, covered.fraction.max() / 2))
    return np.asarray((rows + covered.row) * columns + found + covered.column, dtype=np.int64)


# --- values ---------------------------------------------------------------------------------------------------


def pick(field: xr.DataArray, cells: PlaceCells) -> xr.DataArray:
    """Return the values of a field at the cells of places, dims ``(..., "cell")``, float32, in memory.

    Lazy fields are computed chunk by chunk.
    """

    def select(values: Array) -> Array:
        return values[..., cells.rows, cells.columns].astype(np.float32, copy=False)

    found = apply_to_fields(field, select, {"cell": cells.rows.size})
    return found.drop_vars([name for name in found.coords if name not in found.dims]).compute()


def reduce_cells(values: Array, cells: PlaceCells) -> Array:
    """Return the mean and the maximum over the cells of each place, shape ``(..., 2, place)``.

    Where less than `LEAST_KNOWN` of an area is known, both are unknown; otherwise they are those of the known part.

    Parameters
    ----------
    values
        Values at the cells, shape ``(..., cell)``.
    cells
        Cells of the places.
    """
    means = average_over_regions(values[..., None, :], cells.weights, LEAST_KNOWN)
    every = np.ones(cells.is_point.size, bool)
    highest = find_highest(values, cells, every, np.arange(cells.rows.size))
    highest = np.where(np.isnan(means), np.float32(np.nan), highest)
    means = np.where(cells.is_point, highest, means)  # the cell itself, to the last bit
    return np.stack([means, highest], axis=-2)


def find_highest(values: Array, cells: PlaceCells, places: Mask, used: NDArray[np.int64]) -> Array:
    """Return the highest known value of each of some places, shape ``(..., place)``, NaN of the others.

    Parameters
    ----------
    values
        Values at the cells that are used, shape ``(..., cell)``.
    cells
        Cells of all places.
    places
        Which places are wanted, shape ``(place,)``.
    used
        Numbers of the cells of `values`, in order.
    """
    highest = np.full((*values.shape[:-1], places.size), np.nan, np.float32)
    chosen = places[cells.present]
    if chosen.any():
        sizes = np.diff(np.append(cells.starts, cells.entries.size))[chosen]
        entries = np.searchsorted(used, cells.entries_of(places))
        starts = np.cumsum(sizes) - sizes
        for index in np.ndindex(values.shape[:-1]):
            highest[index][cells.present[chosen]] = np.fmax.reduceat(values[index][entries], starts)
    return highest


def known_fractions(values: Array, cells: PlaceCells) -> Array:
    """Return the known fraction of the area of each place, 0 outside the grid, shape ``(lead_time, place)``.

    `values` are those at the cells, shape ``(lead_time, cell)``.
    """
    known = cells.weights.areas @ np.isfinite(values).T.astype(np.float32)
    return np.asarray((known / cells.weights.whole).T, dtype=np.float32)
