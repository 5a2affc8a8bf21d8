"""Predictors from the ground: its height, its slope, and the upward motion of air that follows it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from hybridcast.core.types import Array

#: Name, units and meaning of the planes.
PLANES = (
    ("terrain_height", "m", "height of the ground above the sea"),
    ("terrain_slope", "m km-1", "its steepest slope"),
    ("terrain_upslope", "m s-1", "upward velocity of air that moves with the rain along the ground"),
)
TERRAIN_PREDICTORS = tuple(name for name, _, _ in PLANES)


def compute_terrain_predictors(terrain: xr.Dataset | None, u: ArrayLike, v: ArrayLike) -> dict[str, Array]:
    """Make the planes of the terrain.

    Parameters
    ----------
    terrain
        What `open_terrain` gave, or None.
    u, v
        Motion of the rain along x and y, m s-1, shape ``(y, x)``, on the same grid.

    Returns
    -------
    dict
        By the names in `PLANES`: float32, shape ``(y, x)``, NaN where unknown.

    Examples
    --------
    Ground that rises by 20 m per km towards the east, and rain that moves there at 10 m/s:

    >>> from hybridcast import precipitation
    >>> from hybridcast.terrain import terrain_dataset
    >>> field = precipitation(np.zeros((2, 3)), time=[np.datetime64("2020-01-01")], y=[0, 1000], x=[0, 1000, 2000],
    ...                       crs="EPSG:3035")
    >>> terrain = terrain_dataset([[0, 20, 40], [0, 20, 40]], field)
    >>> planes = compute_terrain_predictors(terrain, np.full((2, 3), 10), np.zeros((2, 3)))
    >>> [round(float(planes[name][0, 0]), 2) for name in ("terrain_slope", "terrain_upslope")]
    [20.0, 0.2]
    """
    u, v = np.asarray(u, np.float32), np.asarray(v, np.float32)
    if terrain is None:
        return {name: np.full(u.shape, np.nan, np.float32) for name in TERRAIN_PREDICTORS}
    slope_x, slope_y = terrain["slope_x"].values, terrain["slope_y"].values
    return {
        "terrain_height": np.asarray(terrain["surface_altitude"].values, np.float32),
        "terrain_slope": np.hypot(slope_x, slope_y) * np.float32(1000),
        "terrain_upslope": u * slope_x + v * slope_y,
    }


# --- onto the grid --------------------------------------------------------------------------------------------
