"""The fraction of each cell of a grid that a polygon covers, exactly.

Each edge of a ring adds the signed area between itself and the right end of its row of cells; sums along the row leave
what the ring encloses. Edges are divided where they cross the sides of cells, so that each piece is within one cell.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.types import Doubles
from hybridcast.ensembles.polygons import Polygon, Ring


class Coverage(NamedTuple):
    """A part of the grid, and what polygons cover of it."""

    row: int
    """First row of the part."""
    column: int
    """First column of the part."""
    fraction: Doubles
    """Covered fraction of each cell of the part, shape ``(y, x)``."""
    inside: float
    """Fraction of the area of the polygons that is inside the grid."""


def cover_cells(polygons: list[Polygon], shape: tuple[int, int]) -> Coverage:
    """Return the fractions of cells that polygons cover.

    Parameters
    ----------
    polygons
        Corners are column and row: cell ``(i, j)`` reaches from ``(j, i)`` to ``(j + 1, i + 1)``. Rings may run in
        either direction.
    shape
        Number of rows and of columns of the grid.
    """
    corners = np.concatenate([ring for polygon in polygons for ring in polygon])
    sizes = np.array(shape[::-1])
    first = np.clip(np.floor(corners.min(axis=0)), 0, sizes).astype(int)
    size = np.clip(np.ceil(corners.max(axis=0)), first, sizes).astype(int) - first
    if not size.all():  # beside the grid
        return Coverage(0, 0, np.zeros((0, 0)), 0.0)
    rings = [(ring - first, 1.0 if k == 0 else -1.0) for polygon in polygons for k, ring in enumerate(polygon)]
    covered = np.zeros((size[1], size[0]))
    for ring, sign in rings:
        covered += sign * _cover_by_ring(ring, size)
    whole = sum(sign * abs(_signed_area(ring)) for ring, sign in rings)
    inside = float(np.clip(covered.sum() / whole, 0.0, 1.0)) if whole > 0 else 0.0
    return Coverage(int(first[1]), int(first[0]), np.clip(covered, 0.0, 1.0), inside)


def _cover_by_ring(ring: Ring, size: NDArray[np.int64]) -> Doubles:
    """Return the fraction of each cell within a ring, shape ``(y, x)``; `size` is the number of columns and rows."""
    columns, rows = int(size[0]), int(size[1])
    refined = np.clip(_divide_at_cells(ring, size), 0, size)  # what is beyond the grid moves to its edge
    following = np.roll(refined, -1, axis=0)
    middle = (refined + following) / 2
    column, row = np.floor(middle).astype(int).T
    rise = np.where(row < rows, following[:, 1] - refined[:, 1], 0.0)  # along the lower edge of the grid it is zero
    right = middle[:, 0] - column
    place = np.minimum(row, rows - 1) * (columns + 2) + column
    length = rows * (columns + 2)
    area = np.bincount(place, rise * (1 - right), length) + np.bincount(place + 1, rise * right, length)
    enclosed = np.cumsum(area.reshape(rows, columns + 2), axis=1)[:, :columns]
    return np.asarray(-np.copysign(1.0, _signed_area(ring)) * enclosed)


def _divide_at_cells(ring: Ring, size: NDArray[np.int64]) -> Ring:
    """Return the ring with corners added where its edges cross the sides of cells of the grid."""
    step = np.roll(ring, -1, axis=0) - ring
    crossings = [_crossings(ring[:, axis], step[:, axis], int(size[axis])) for axis in (0, 1)]
    edge = np.concatenate([np.arange(len(ring)), *(edges for edges, _ in crossings)])
    part = np.concatenate([np.zeros(len(ring)), *(parts for _, parts in crossings)])
    order = np.lexsort((part, edge))
    return np.asarray(ring[edge[order]] + part[order, None] * step[edge[order]])


def _crossings(start: Doubles, step: Doubles, last: int) -> tuple[NDArray[np.int64], Doubles]:
    """Return where edges cross the lines 0 to `last` of one axis: numbers of edges, and parts of their length."""
    low, high = np.minimum(start, start + step), np.maximum(start, start + step)
    first = np.clip(np.floor(low) + 1, 0, last + 1)
    count = np.maximum(np.clip(np.ceil(high) - 1, -1, last) - first + 1, 0).astype(int)
    edge = np.repeat(np.arange(start.size), count)
    line = first[edge] + np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count)
    return edge, (line - start[edge]) / step[edge]


def _signed_area(ring: Ring) -> float:
    """Return the area within a ring, negative if it runs from the axis of rows to that of columns."""
    x, y = (ring - ring[0]).T  # near zero, where products are exact
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
