"""True scale of a map: metres on Earth per metre of the map, along each axis of a grid.

A metre of Web Mercator is half a metre on Earth at 60 degrees north, and a metre of the usual polar stereographic maps
is up to some per cent more or less. The scale is measured between points half a kilometre to either side by the
geodesic between them, so that the rule is the same for every projection, at poles too, and along the axes of the grid
rather than along meridians and parallels.
"""

from __future__ import annotations

import functools

import numpy as np
import pyproj
from numpy.typing import NDArray

from hybridcast.core.types import Array, Doubles

#: Largest number of points along an axis at which the scale is measured; it is linear between them, which is correct
#: within 0.0002 on maps of continents.
NODES = 33
#: A map whose scale deviates less than this from 1 everywhere counts as true.
TRUE_WITHIN = 0.005
#: A scale that varies less than this along each row has one value for a row.
_ROW_VARIATION = 0.001
_HALF_STEP = 500.0  # m


def map_scale(crs: pyproj.CRS, x: Doubles, y: Doubles) -> tuple[Array, Array]:
    """Return the scale along y and along x of a grid in metres of a projection.

    Parameters
    ----------
    crs
        CRS with axes in metres.
    x, y
        Cell centres, m, shape ``(x,)`` and ``(y,)``, evenly spaced.

    Returns
    -------
    tuple of ndarray
        Metres on Earth per metre of the map along y and along x: ones of shape ``(1, 1)`` if the map is true
        everywhere, otherwise of shape ``(y, 1)`` or ``(y, x)``.

    Examples
    --------
    >>> x, y = np.array([0.0, 1e3]), np.array([8_399_737.9, 8_400_737.9])  # 60 degrees north
    >>> along_y, along_x = map_scale(pyproj.CRS("EPSG:3857"), x, y)
    >>> along_x.shape, along_x[0].round(2).tolist()
    ((2, 1), [0.5])
    """
    return _scale_of_cells(crs, _ends(x), _ends(y), (y.size, x.size))


@functools.lru_cache(maxsize=4)  # a forecast asks a dozen times for the scale of its grid
def _scale_of_cells(
    crs: pyproj.CRS, x: tuple[float, float, int], y: tuple[float, float, int], shape: tuple[int, int]
) -> tuple[Array, Array]:
    measured = _measure(crs, x, y)
    if all(np.abs(scale - 1).max() < TRUE_WITHIN for scale in measured):
        return np.ones((1, 1), np.float32), np.ones((1, 1), np.float32)
    along_y, along_x = (_spread(scale, *shape) for scale in measured)
    for scale in (along_y, along_x):
        scale.flags.writeable = False  # it is shared
    return along_y, along_x


def _ends(axis: Doubles) -> tuple[float, float, int]:
    return float(axis[0]), float(axis[-1]), min(axis.size, NODES)


@functools.lru_cache(maxsize=64)
def _measure(crs: pyproj.CRS, x: tuple[float, float, int], y: tuple[float, float, int]) -> tuple[Doubles, Doubles]:
    """Return the scale along y and x at the nodes, shape ``(node of y, node of x)``."""
    at_x, at_y = np.meshgrid(np.linspace(*x), np.linspace(*y))
    to_earth, geod = pyproj.Proj(crs), crs.get_geod() or pyproj.Geod(ellps="WGS84")
    scales = []
    for dx, dy in ((0.0, _HALF_STEP), (_HALF_STEP, 0.0)):
        before = to_earth(at_x - dx, at_y - dy, inverse=True)
        after = to_earth(at_x + dx, at_y + dy, inverse=True)
        seen = np.isfinite(before + after).all(axis=0)
        places = [np.where(seen, part, 0.0) for part in (*before, *after)]
        lengths = geod.inv(places[0], places[1], places[2], places[3])[2]
        scales.append(_fill(np.where(seen, np.asarray(lengths) / (2 * _HALF_STEP), np.nan)))
    return scales[0], scales[1]


def _fill(scale: Doubles) -> Doubles:
    """Replace the scale off the map, such as beyond the disc that a satellite sees, by the mean on it."""
    on_map = np.isfinite(scale) & (scale > 0)
    return np.where(on_map, scale, scale[on_map].mean() if on_map.any() else 1.0)


def _spread(scale: Doubles, rows: int, columns: int) -> Array:
    """Interpolate the scale from the nodes to the cells."""
    by_row = (_weights(rows, scale.shape[0]) @ scale).astype(np.float32)
    if (np.ptp(scale, axis=1) < _ROW_VARIATION * scale.mean(axis=1)).all():
        return np.asarray(by_row.mean(axis=1, keepdims=True))
    return np.asarray(by_row @ _weights(columns, scale.shape[1]).astype(np.float32).T)


def _weights(cells: int, nodes: int) -> NDArray[np.float64]:
    """Return the weights of linear interpolation from evenly spaced nodes to cells, shape ``(cell, node)``."""
    position = np.linspace(0, nodes - 1, cells)
    return np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(nodes)))
