"""Fields on cells that are given one by one: triangles (ICON), rows and columns of an unknown projection, Gaussian.

They are resampled to rows and columns of about their own spacing, from where `hybridcast.nwp.regrid` interpolates to
the radar: each row and column takes the value of the nearest cell, so that amounts stay what they were, dry stays dry,
and a missing value does not spread. Positions are less than half a cell off. The map is an equal-area projection
about the middle of the cells, or longitude and latitude for grids of more than a third of the globe.

Cell centres of the triangular grids of ICON are in files of their own. Files of one grid have one UUID (DWD, "ICON Grid
Information", https://www.dwd.de/DE/leistungen/opendata/help/modelle/Opendata_cell_numbers.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyproj
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hybridcast.core.types import Array, Doubles
from hybridcast.errors import InputError
from hybridcast.nwp.pieces import FileGrid, Piece, ScatteredCells, complaint
from hybridcast.nwp.schema import PLACES, WIND

#: Cells within this distance of the middle are mapped by an equal-area projection, degrees.
_MAP_RADIUS = 60.0
_EARTH_RADIUS = 6_371_229.0  # m
#: A position further than this from every cell, in spacings, is outside.
_REACH = 0.8
_SAMPLE = 5_000
_MOST_CELLS = 60_000_000


class _Plan(NamedTuple):
    """Resampling of one set of cells."""

    grid: FileGrid
    """Rows and columns."""
    nearest: NDArray[np.intp]
    """Number of the nearest cell, shape ``(y, x)``; -1 outside."""


def resample_cells(pieces: Sequence[Piece]) -> tuple[list[Piece], list[str]]:
    """Resample the pieces on scattered cells to rows and columns; other pieces are returned as they are.

    Pieces that hold the places of cells are used and not returned. Winds along the unknown axes of a grid are left
    out.

    Returns
    -------
    list, list
        The pieces, and notes on those left out.

    Raises
    ------
    ReadError
        If the places of cells are in none of the files.
    """
    places = {(_cells(piece).name, piece.name): piece.values for piece in pieces if piece.name in PLACES}
    plans: dict[str, _Plan] = {}
    kept: list[Piece] = []
    notes: dict[str, None] = {}
    for piece in pieces:
        if piece.name in PLACES:
            continue
        if isinstance(piece.grid, FileGrid) or (piece.statistic and not piece.values.size):
            kept.append(piece)
        elif piece.name in WIND:
            notes[f"{piece.name} (along axes of a grid without a stated projection)"] = None
        else:
            if piece.grid.name not in plans:
                plans[piece.grid.name] = _plan(*_locate(piece, places))
            kept.append(_resample(piece, plans[piece.grid.name]))
    return kept, list(notes)


def _cells(piece: Piece) -> ScatteredCells:
    assert isinstance(piece.grid, ScatteredCells)  # readers give places of such grids only
    return piece.grid


def _locate(piece: Piece, places: dict[tuple[str, str], Array]) -> tuple[Doubles, Doubles]:
    """Return longitude and latitude of the cells of a piece, from its own file or from another one."""
    cells = _cells(piece)
    found = [
        given if given is not None else places.get((cells.name, name))
        for name, given in (("longitude", cells.longitude), ("latitude", cells.latitude))
    ]
    longitude, latitude = found
    if longitude is None or latitude is None:
        raise complaint(piece.path, f"the places of its {cells.size} cells are in none of the files", cells.advice)
    return np.asarray(longitude, np.float64).ravel(), np.asarray(latitude, np.float64).ravel()


def _resample(piece: Piece, plan: _Plan) -> Piece:
    values = piece.values.ravel()
    if values.size <= int(plan.nearest.max()):
        reason = f"{values.size} values of {piece.name}, more cells in the file of their places"
        raise complaint(piece.path, reason, "Give the places of this grid")
    found = np.where(plan.nearest >= 0, values[plan.nearest], np.float32(np.nan))
    return piece._replace(values=np.asarray(found, np.float32), grid=plan.grid)


def _plan(longitude: Doubles, latitude: Doubles) -> _Plan:
    known = np.isfinite(longitude) & np.isfinite(latitude)
    numbers = np.flatnonzero(known)
    points = _unit_vectors(longitude[known], latitude[known])
    tree = cKDTree(points)
    spacing, reach = _spacing(tree, points)
    grid = _choose_grid(longitude[known], latitude[known], points, spacing)
    distance, nearest = tree.query(_unit_vectors(*_places(grid)), distance_upper_bound=reach)
    return _Plan(grid, np.where(np.isfinite(distance), numbers[np.minimum(nearest, numbers.size - 1)], -1))


def _places(grid: FileGrid) -> tuple[Doubles, Doubles]:
    """Return longitude and latitude of rows and columns, shape ``(y, x)``."""
    x, y = np.meshgrid(grid.x, grid.y)
    if grid.crs is None or grid.crs.is_geographic:
        return x, y
    longitude, latitude = pyproj.Proj(grid.crs)(x, y, inverse=True)
    return longitude, latitude


def _unit_vectors(longitude: Doubles, latitude: Doubles) -> Doubles:
    lon, lat = np.deg2rad(longitude), np.deg2rad(latitude)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _spacing(tree: cKDTree, points: Doubles) -> tuple[float, float]:
    """Return the spacing of the cells and the reach of a cell, both as fractions of the Earth's radius."""
    sample = points[:: max(1, len(points) // _SAMPLE)]
    distance, _ = tree.query(sample, k=min(5, len(points)))
    typical = np.median(distance, axis=0)
    return float(typical[1]), _REACH * float(typical[-1])


def _choose_grid(longitude: Doubles, latitude: Doubles, points: Doubles, spacing: float) -> FileGrid:
    """Return rows and columns that cover the cells at about their spacing."""
    middle = points.mean(axis=0)
    length = float(np.hypot(np.hypot(middle[0], middle[1]), middle[2]))
    if length < 1e-6 or (points @ (middle / max(length, 1e-6))).min() < np.cos(np.deg2rad(_MAP_RADIUS)):
        step = float(np.rad2deg(spacing))
        count = max(2, round(360.0 / step))
        east = np.asarray(-180.0 + 360.0 / count * np.arange(count + 1), np.float64)
        return FileGrid(_axis(latitude.max(), latitude.min(), step), east, pyproj.CRS.from_epsg(4326))
    lat, lon = np.rad2deg(np.arcsin(middle[2] / length)), np.rad2deg(np.arctan2(middle[1], middle[0]))
    crs = pyproj.CRS(f"+proj=laea +lat_0={lat:.6f} +lon_0={lon:.6f} +R={_EARTH_RADIUS} +units=m +no_defs")
    x, y = pyproj.Proj(crs)(longitude, latitude)
    step = spacing * _EARTH_RADIUS
    return FileGrid(_axis(y.max(), y.min(), step), _axis(x.min(), x.max(), step), crs)


def _axis(first: float, last: float, step: float) -> Doubles:
    count = max(2, round(abs(last - first) / step) + 1)
    if count > np.sqrt(_MOST_CELLS):
        raise InputError(f"cells {step:g} apart over {abs(last - first):g}", "a grid has fewer cells", "Cut the file")
    return np.linspace(first, last, count)
