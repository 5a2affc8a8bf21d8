"""Coastlines and borders on any projection, from the outlines that come with the package.

They are drawn on plain axes, so that a field keeps its own grid and kilometres.
"""

from __future__ import annotations

import functools

import numpy as np
import pyproj

from hybridcast.core.axes import nearest_turn
from hybridcast.core.types import Doubles
from hybridcast.datasets.outlines import Box, Lines, find_borders, find_coast

Extent = tuple[float, float, float, float]
"""West, east, south and north edge."""
WORLD: Box = (-180.0, -90.0, 180.0, 90.0)


@functools.lru_cache(maxsize=16)  # the panels of a figure, and the figures of a region, show the same place
def find_outlines(crs: pyproj.CRS | None, extent: Extent) -> Lines:
    """Return the coastlines and borders within `extent`.

    Parameters
    ----------
    crs
        The projection; None if it is unknown.
    extent
        West, east, south and north edge, in metres or degrees of `crs`.

    Returns
    -------
    list of ndarray
        Lines of x and y, shape ``(points, 2)``, not to be changed; an empty list if the projection is unknown.
    """
    if crs is None:
        return []
    west, east, south, north = extent
    margin = 0.05 * max(east - west, north - south)
    wider = (west - margin, east + margin, south - margin, north + margin)
    transformer = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    box = _find_box(transformer, wider)
    lines: Lines = []
    for line in [*find_coast(box), *find_borders(box)]:
        x, y = transformer.transform(*line.T)
        x = nearest_turn(x, np.array([west, east])) if crs.is_geographic else x
        lines += _clip(np.column_stack([x, y]), wider)
    return lines


def _find_box(transformer: pyproj.Transformer, extent: Extent) -> Box:
    """Return the box in degrees that holds an extent; its east edge is beyond 180 if it crosses the date line."""
    west, east, south, north = extent
    box = transformer.transform_bounds(west, south, east, north, direction="INVERSE")
    if not np.isfinite(box).all():  # corners beyond the projection, as of a full disk from a satellite
        return WORLD
    left, bottom, right, top = box
    return left, bottom, right if right > left else right + 360.0, top


def _clip(line: Doubles, extent: Extent) -> Lines:
    """Return the parts of a line within an extent; points outside the projection are infinite."""
    west, east, south, north = extent
    x, y = line.T
    inside = (x >= west) & (x <= east) & (y >= south) & (y <= north)
    parts = np.split(np.arange(x.size), np.flatnonzero(np.diff(inside.astype(np.int8))) + 1)
    return [line[part] for part in parts if inside[part[0]] and part.size > 1]
