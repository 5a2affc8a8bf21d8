"""Coastlines and borders on any projection, from Natural Earth by way of cartopy, where cartopy is installed.

They are drawn on plain axes instead of cartopy's: a field keeps its own grid and kilometres, and every picture looks
the same with and without them. cartopy brings the shapes over the network when they are first needed and keeps them; a
folder that holds them already is named by its environment variable CARTOPY_DATA_DIR.
"""

from __future__ import annotations

import logging
import socket
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray

log = logging.getLogger(__name__)

SHAPES = (("physical", "coastline"), ("cultural", "admin_0_boundary_lines_land"))
#: Pictures wider than this (m) have the coarser of two sets of shapes.
WIDE = 1_500_000.0
#: Nobody waits longer than this (s) for a server that does not answer.
PATIENCE = 10.0
Lines = list[NDArray[np.float64]]


def outlines(crs: pyproj.CRS | None, extent: tuple[float, float, float, float]) -> Lines:
    """Return coastlines and borders within `extent`.

    Parameters
    ----------
    crs
        The projection; None, a place that is not known, has none.
    extent
        West, east, south and north edge, in metres or degrees of `crs`.

    Returns
    -------
    list of ndarray
        Lines of x and y, shape ``(points, 2)``. None where cartopy is not installed, or has the shapes neither on
        disk nor from the network: a picture without them says nothing wrong.
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
        for shape in _shapes(resolution, category, name):
            lines += _within(np.column_stack(transformer.transform(*shape.T)), box)
    return lines


def _within(line: NDArray[np.float64], box: tuple[float, float, float, float]) -> Lines:
    """Split a line where it leaves the box, or the projection (infinity)."""
    west, east, south, north = box
    x, y = line.T
    inside = (x >= west) & (x <= east) & (y >= south) & (y <= north)
    parts = np.split(np.arange(x.size), np.flatnonzero(np.diff(inside.astype(np.int8))) + 1)
    return [line[part] for part in parts if inside[part[0]] and part.size > 1]


@lru_cache(maxsize=8)
def _shapes(resolution: str, category: str, name: str) -> Lines:
    """Return shapes of Natural Earth as lines of longitude and latitude; none where they cannot be had."""
    try:
        from cartopy.io import shapereader
    except ImportError:
        return []
    before = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(PATIENCE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cartopy warns of each download
            path = shapereader.natural_earth(resolution, category, name)
            geometries = list(shapereader.Reader(path).geometries())
    except Exception as error:  # whatever a network, a proxy or a half-written file may raise; pictures go without
        log.info("no %s: cartopy could not bring it (%s)", name, error)
        return []
    finally:
        socket.setdefaulttimeout(before)
    return [np.asarray(part.coords)[:, :2] for geometry in geometries for part in _parts(geometry)]


def _parts(geometry: Any) -> list[Any]:
    """Return the lines that a geometry is made of."""
    return list(getattr(geometry, "geoms", [geometry]))
