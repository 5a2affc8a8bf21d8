"""Coastlines and borders on any projection, from Natural Earth through cartopy, if cartopy is installed.

They are drawn on plain axes instead of those of cartopy, so that a field keeps its own grid and kilometres, and figures
look the same with and without them. cartopy downloads the shapes when they are first needed and keeps them; its
environment variable CARTOPY_DATA_DIR names a folder that has them already.
"""

from __future__ import annotations

import logging
import socket
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj

from hybridcast.core.axes import nearest_turn
from hybridcast.core.types import Doubles

log = logging.getLogger(__name__)

SHAPES = (("physical", "coastline"), ("cultural", "admin_0_boundary_lines_land"))
"""Category and name of the shapes in Natural Earth."""
WIDE = 1_500_000.0
"""Width above which a figure has the coarser of two sets of shapes, m."""
TIMEOUT = 10.0
"""Time to wait for a server that does not answer, s."""
Lines = list[Doubles]
"""Lines of x and y, shape ``(points, 2)``."""


def find_outlines(crs: pyproj.CRS | None, extent: tuple[float, float, float, float]) -> Lines:
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
        Lines of x and y, shape ``(points, 2)``. The list is empty if the projection is unknown, cartopy is not
        installed, or its shapes are neither on disk nor available from the network.
    """
    if crs is None:
        return []
    west, east, south, north = extent
    width = (east - west) * (111_000.0 if crs.is_geographic else 1.0)
    resolution = "50m" if width > WIDE else "10m"
    transformer = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    margin = 0.05 * max(east - west, north - south)
    box = (west - margin, east + margin, south - margin, north + margin)
    lines: Lines = []
    for category, name in SHAPES:
        for shape in _load_shapes(resolution, category, name):
            x, y = transformer.transform(*shape.T)
            x = nearest_turn(x, np.array([west, east])) if crs.is_geographic else x
            lines += _clip(np.column_stack([x, y]), box)
    return lines


def _clip(line: Doubles, box: tuple[float, float, float, float]) -> Lines:
    """Return the parts of a line within the box; points outside the projection are infinite."""
    west, east, south, north = box
    x, y = line.T
    inside = (x >= west) & (x <= east) & (y >= south) & (y <= north)
    parts = np.split(np.arange(x.size), np.flatnonzero(np.diff(inside.astype(np.int8))) + 1)
    return [line[part] for part in parts if inside[part[0]] and part.size > 1]


@lru_cache(maxsize=8)
def _load_shapes(resolution: str, category: str, name: str) -> Lines:
    """Return shapes of Natural Earth as lines of longitude and latitude; an empty list if they are not available."""
    try:
        from cartopy.io import shapereader
    except ImportError:
        return []
    before = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(TIMEOUT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cartopy warns about each download
            path = shapereader.natural_earth(resolution, category, name)
            geometries = list(shapereader.Reader(path).geometries())
    except Exception as error:  # any error of a network, a proxy or an incomplete file: figures go without
        log.info("no %s: cartopy could not load it (%s)", name, error)
        return []
    finally:
        socket.setdefaulttimeout(before)
    return [np.asarray(part.coords)[:, :2] for geometry in geometries for part in _split(geometry)]


def _split(geometry: Any) -> list[Any]:
    """Return the lines of a geometry."""
    return list(getattr(geometry, "geoms", [geometry]))
