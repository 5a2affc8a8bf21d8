"""Rotation of winds between geographic directions and the axes of a grid."""

from __future__ import annotations

import numpy as np
import pyproj

from hybridcast.core.types import Array, Doubles

#: Step in latitude for the numerical direction of north, degrees.
_LATITUDE_STEP = 1e-3


def north_direction(crs: pyproj.CRS | None, x: Doubles, y: Doubles) -> Array | None:
    """Compute the direction of north along the axes of a grid.

    Parameters
    ----------
    crs
        CRS of the grid; on a local grid (None) and on a grid of longitude and latitude north is along y.
    x, y
        Positions in the units of `crs`, any shape.

    Returns
    -------
    ndarray or None
        Unit vectors, x first, shape ``(2, ...)``; None if north is along y everywhere.

    Examples
    --------
    East of the central meridian of a polar stereographic map of the northern hemisphere, north points to the upper
    left:

    >>> north = north_direction(pyproj.CRS("EPSG:3995"), np.array([1e6]), np.array([-2e6]))
    >>> [round(float(part), 2) for part in north[:, 0]]
    [-0.45, 0.89]
    """
    if crs is None or (crs.is_geographic and not crs.is_derived):
        return None
    to_earth = pyproj.Transformer.from_crs(crs, geodetic_crs(crs), always_xy=True)
    longitude, latitude = to_earth.transform(x, y)
    # step towards the equator, so that latitudes stay within 90 degrees
    step = np.where(latitude < 0, _LATITUDE_STEP, -_LATITUDE_STEP)
    shifted = to_earth.transform(longitude, latitude + step, direction="INVERSE")
    direction = np.stack([shifted[0] - x, shifted[1] - y]) / step
    if crs.is_geographic:
        direction[0] *= np.cos(np.deg2rad(y))
    return np.asarray(direction / np.hypot(direction[0], direction[1]), np.float32)


def geodetic_crs(crs: pyproj.CRS) -> pyproj.CRS:
    """Return the CRS of longitude and latitude that a projection or a rotated grid is based on."""
    base = crs.source_crs if crs.is_derived else crs.geodetic_crs
    return pyproj.CRS.from_epsg(4326) if base is None else base


def rotate_wind(u: Array, v: Array, north_from: Array | None, north_to: Array | None) -> tuple[Array, Array]:
    """Rotate a wind from the axes of one grid to those of another at the same positions.

    Parameters
    ----------
    u, v
        Components along x and y of the first grid; their shape ends with that of the directions.
    north_from, north_to
        Results of `north_direction` on the first and the second grid; None if the axes point to east and north.

    Returns
    -------
    tuple of ndarray
        Components along x and y of the second grid.
    """
    if north_from is not None:
        nx, ny = north_from
        u, v = u * ny - v * nx, u * nx + v * ny
    if north_to is not None:
        nx, ny = north_to
        u, v = u * ny + v * nx, v * ny - u * nx
    return u, v
