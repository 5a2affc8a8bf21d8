"""Directions of wind: towards east and north, or along the axes of a grid."""

from __future__ import annotations

import numpy as np
import pyproj

from hybridcast.core.types import Array, Doubles

#: North is where latitude grows by this much, degrees.
_NORTH = 1e-3


def north_direction(crs: pyproj.CRS | None, x: Doubles, y: Doubles) -> Array | None:
    """Return the direction of north along the axes of a grid.

    Parameters
    ----------
    crs
        Of the grid; on a local grid (None) and one of longitude and latitude north is along y.
    x, y
        Places in the units of `crs`, any shape.

    Returns
    -------
    ndarray or None
        Unit vectors, x first, shape ``(2, ...)``; None where north is along y everywhere.

    Examples
    --------
    East of the central meridian north leans to the left on a polar stereographic map of the northern hemisphere:

    >>> north = north_direction(pyproj.CRS("EPSG:3995"), np.array([1e6]), np.array([-2e6]))
    >>> [round(float(part), 2) for part in north[:, 0]]
    [-0.45, 0.89]
    """
    if crs is None or (crs.is_geographic and not crs.is_derived):
        return None
    to_earth = pyproj.Transformer.from_crs(crs, geodetic_crs(crs), always_xy=True)
    longitude, latitude = to_earth.transform(x, y)
    # towards the equator at the pole's side, so that no latitude goes beyond 90
    step = np.where(latitude < 0, _NORTH, -_NORTH)
    there = to_earth.transform(longitude, latitude + step, direction="INVERSE")
    along = np.stack([there[0] - x, there[1] - y]) / step
    if crs.is_geographic:
        along[0] *= np.cos(np.deg2rad(y))
    return np.asarray(along / np.hypot(along[0], along[1]), np.float32)


def geodetic_crs(crs: pyproj.CRS) -> pyproj.CRS:
    """Return longitude and latitude on the globe of a CRS: of a rotated grid those that are not rotated."""
    base = crs.source_crs if crs.is_derived else crs.geodetic_crs
    return pyproj.CRS.from_epsg(4326) if base is None else base


def rotate_wind(u: Array, v: Array, north_from: Array | None, north_to: Array | None) -> tuple[Array, Array]:
    """Turn a wind from the axes of one grid to those of another, at the same places.

    Parameters
    ----------
    u, v
        Along x and y of the first grid, any shape that ends with that of the directions.
    north_from, north_to
        What `north_direction` gives on either grid; None where the axes point to east and north.

    Returns
    -------
    tuple of ndarray
        Along x and y of the second grid.
    """
    if north_from is not None:
        nx, ny = north_from
        u, v = u * ny - v * nx, u * nx + v * ny
    if north_to is not None:
        nx, ny = north_to
        u, v = u * ny + v * nx, v * ny - u * nx
    return u, v
