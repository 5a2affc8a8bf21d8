"""Pixels of a web map and the cells of a forecast that they show.

A picture on a web map is a rectangle in Web Mercator (EPSG:3857) with square pixels. Each pixel shows the cell that
contains its centre, so that values stay what they are, and what is unknown stays unknown. A grid whose place on Earth
is not known is shown as it is, in metres.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.axes import nearest_turn
from hybridcast.core.field import EARTH_RADIUS, crs_of
from hybridcast.core.grid import cell_size
from hybridcast.core.interpolation import fractional_index
from hybridcast.core.types import Doubles
from hybridcast.errors import InputError

MAX_PIXELS = 1200
"""Largest number of pixels on the longer side of a picture."""
NORTHERNMOST = 85.0
"""Latitude up to which Web Mercator is drawn."""
OUTSIDE = -1
"""Number of the cell of a pixel that is outside the grid."""
_PROBES = 65
"""Number of rows and columns of points from which the extent of a grid is found."""


@dataclass(frozen=True, eq=False)
class Canvas:
    """The pixels of a picture, row by row from north to south, and the cell that each shows."""

    cells: NDArray[np.int32]
    """Number of the cell, row times the number of columns plus column, shape ``(row, column)``; `OUTSIDE` the grid."""
    south_west: tuple[float, float]
    """Latitude and longitude of the corner of the picture, degrees; y and x, m, on a local grid."""
    north_east: tuple[float, float]
    """The opposite corner; a longitude may be beyond 180."""
    pixel_cells: float
    """Length of a pixel in cells, in the middle of the grid."""
    is_local: bool
    """Whether the place of the grid on Earth is not known."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        rows, columns = self.cells.shape
        return rows, columns


class _Axes(NamedTuple):
    """Cell centres of a grid: first one, step and number along y and x."""

    y: tuple[float, float, int]
    x: tuple[float, float, int]

    def centres(self) -> tuple[Doubles, Doubles]:
        """Return y and x of the cell centres."""
        y, x = (first + step * np.arange(count, dtype=np.float64) for first, step, count in self)
        return y, x

    def edges(self) -> tuple[Doubles, Doubles]:
        """Return y and x of lines across the grid, from edge to edge."""
        y, x = (first + step * np.linspace(-0.5, count - 0.5, _PROBES) for first, step, count in self)
        return y, x


def make_canvas(field: xr.DataArray | xr.Dataset, max_pixels: int = MAX_PIXELS) -> Canvas:
    """Return the pixels on which the grid of a field is shown.

    Pixels are as large as cells in the middle of the grid, or larger, so that there are `max_pixels` on the longer side
    at most.

    Parameters
    ----------
    field
        Field or forecast, with ``y`` and ``x``.
    max_pixels
        Largest number of pixels on a side.

    Raises
    ------
    InputError
        If the grid holds a pole, or is beyond 85 degrees of latitude.
    """
    axes = _Axes(_describe(field["y"].values), _describe(field["x"].values))
    crs = crs_of(field)
    return _local_canvas(axes, max_pixels) if crs is None else _mercator_canvas(crs, axes, cell_size(field), max_pixels)


def _describe(centres: Doubles) -> tuple[float, float, int]:
    count = centres.size
    step = float(centres[-1] - centres[0]) / (count - 1) if count > 1 else 1000.0
    return float(centres[0]), step, count


def _local_canvas(axes: _Axes, max_pixels: int) -> Canvas:
    y, x = axes.edges()
    cell = max(abs(axes.y[1]), abs(axes.x[1]))
    size = max(cell, np.ptp(y) / max_pixels, np.ptp(x) / max_pixels)
    rows, columns = (max(1, round(float(np.ptp(edges)) / size)) for edges in (y, x))
    south, west = float(y.min()), float(x.min())
    at_y = south + size * (np.arange(rows)[::-1] + 0.5)
    at_x = west + size * (np.arange(columns) + 0.5)
    cells = _find_cells(axes, *np.meshgrid(at_y, at_x, indexing="ij"))
    return Canvas(cells, (south, west), (south + size * rows, west + size * columns), size / cell, True)


@functools.lru_cache(maxsize=4)  # a watched region is drawn again and again
def _mercator_canvas(crs: pyproj.CRS, axes: _Axes, cell: float, max_pixels: int) -> Canvas:
    west, south, east, north = _find_extent(crs, axes)
    lowest, highest = _to_mercator(south), _to_mercator(north)
    middle = np.cos(np.deg2rad(_to_latitude((lowest + highest) / 2)))
    left, right = np.deg2rad(west), np.deg2rad(east)
    smallest = cell / (EARTH_RADIUS * middle)
    size = max(smallest, (right - left) / max_pixels, (highest - lowest) / max_pixels)
    rows, columns = (max(1, int(np.ceil(length / size - 1e-6))) for length in (highest - lowest, right - left))
    longitude = np.rad2deg(left + size * (np.arange(columns) + 0.5))
    latitude = _to_latitude(lowest + size * (np.arange(rows)[::-1] + 0.5))
    to_grid = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    at_latitude, at_longitude = np.meshgrid(latitude, longitude, indexing="ij")
    x, y = to_grid.transform(at_longitude, at_latitude)
    x = nearest_turn(x, axes.centres()[1]) if crs.is_geographic else x
    top, right_edge = _to_latitude(lowest + size * rows), np.rad2deg(left + size * columns)
    corners = (south, west), (float(top), float(right_edge))
    return Canvas(_find_cells(axes, y, x), *corners, size / smallest, False)


def _find_extent(crs: pyproj.CRS, axes: _Axes) -> tuple[float, float, float, float]:
    """Return the west, south, east and north edge of a grid in degrees; longitudes go on beyond 180."""
    y, x = axes.edges()
    to_earth = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    if not crs.is_geographic:
        _refuse_poles(crs, y, x)
    at_y, at_x = np.meshgrid(y, x, indexing="ij")
    longitude, latitude = to_earth.transform(at_x, at_y)
    seen = np.isfinite(longitude) & np.isfinite(latitude)  # a satellite sees the rim of the Earth inside its grid
    if not seen.any():
        raise InputError(f"no cell of {crs.name!r} is on Earth", "a map shows places on Earth", "Check CRS, x and y")
    latitude = latitude[seen]
    if crs.is_geographic:
        longitude = at_x[seen] - 360.0 * np.round(x.mean() / 360.0)
    else:
        longitude = nearest_turn(longitude[seen], longitude[seen][latitude.size // 2 :][:1])
    west, east = float(longitude.min()), float(longitude.max())
    lowest, highest = float(latitude.min()), float(latitude.max())
    south, north = max(lowest, -NORTHERNMOST), min(highest, NORTHERNMOST)
    if south >= north:
        found = f"the grid is between {lowest:.1f} and {highest:.1f} degrees of latitude"
        raise InputError(found, f"a web map ends at {NORTHERNMOST:g} degrees", "Draw it with hybridcast.plots")
    return west, south, east, north


def _refuse_poles(crs: pyproj.CRS, y: Doubles, x: Doubles) -> None:
    """Raise `InputError` if a pole is on the grid, around which no web map goes."""
    to_grid = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    for pole in (-90.0, 90.0):
        at_x, at_y = to_grid.transform(0.0, pole)
        if x.min() <= at_x <= x.max() and y.min() <= at_y <= y.max():
            found = f"the grid of {crs.name!r} holds the {'north' if pole > 0 else 'south'} pole"
            remedy = "Select a part without it, or draw it with hybridcast.plots"
            cli_remedy = "Draw it with 'hybridcast plot'"
            raise InputError(found, "Web Mercator has no poles", remedy, cli_remedy=cli_remedy)


def _find_cells(axes: _Axes, y: Doubles, x: Doubles) -> NDArray[np.int32]:
    """Return the numbers of the cells at points of the grid's own coordinates; `OUTSIDE` where there is none."""
    numbers = []
    inside = np.ones(y.shape, bool)
    for centres, at, (_, _, count) in zip(axes.centres(), (y, x), axes, strict=True):
        position = fractional_index(centres, np.where(np.isfinite(at), at, np.inf))
        inside &= (position >= -0.5) & (position < count - 0.5)
        numbers.append(np.where(inside, np.rint(np.where(inside, position, 0.0)), 0).astype(np.int32))
    rows, columns = numbers
    return np.where(inside, rows * axes.x[2] + columns, OUTSIDE).astype(np.int32)


def _to_mercator(latitude: float) -> float:
    """Return the northing of Web Mercator on a sphere of radius 1."""
    return float(np.arctanh(np.sin(np.deg2rad(latitude))))


def _to_latitude(northing: Doubles | float) -> Doubles:
    return np.asarray(np.rad2deg(np.arctan(np.sinh(northing))))
