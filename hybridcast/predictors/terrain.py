"""Predictors from terrain: height, slope, and the upward motion of air that follows the ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from hybridcast.core.types import Array
from hybridcast.predictors.predictor import Predictor


@dataclass(frozen=True)
class TerrainFields:
    """Terrain and motion on one grid, shape ``(y, x)`` each."""

    height: Array
    """Height above the sea, m."""
    slope_x: Array
    """Slope along x, m per m."""
    slope_y: Array
    """Slope along y, m per m."""
    u: Array
    """Motion of the rain along x, m s-1."""
    v: Array
    """Motion of the rain along y, m s-1."""


def _height(ground: TerrainFields) -> Array:
    return np.asarray(ground.height, np.float32)


def _slope(ground: TerrainFields) -> Array:
    return np.hypot(ground.slope_x, ground.slope_y) * np.float32(1000)


def _upslope(ground: TerrainFields) -> Array:
    return ground.u * ground.slope_x + ground.v * ground.slope_y


PREDICTORS: tuple[Predictor[TerrainFields], ...] = (
    Predictor("terrain_height", "m", "terrain", "lead", "height of the ground above the sea", _height),
    Predictor("terrain_slope", "m km-1", "terrain", "lead", "steepest slope of the ground", _slope),
    Predictor("terrain_upslope", "m s-1", "terrain", "lead", "upward motion of air along the ground", _upslope),
)
"""Predictors from terrain, in the order of their columns."""


def compute_terrain_predictors(terrain: xr.Dataset | None, u: ArrayLike, v: ArrayLike) -> dict[str, Array]:
    """Compute the predictors from terrain.

    Parameters
    ----------
    terrain
        Terrain on the radar's grid, as returned by `hybridcast.open_terrain`, or None.
    u, v
        Motion of the rain along x and y, m s-1, shape ``(y, x)``, on the same grid.

    Returns
    -------
    dict
        Fields by name of the predictor: float32, shape ``(y, x)``, NaN where unknown.

    Examples
    --------
    Ground that rises by 20 m per km towards the east, and rain that moves eastward at 10 m/s:

    >>> from hybridcast import precipitation
    >>> from hybridcast.terrain import terrain_dataset
    >>> field = precipitation(np.zeros((2, 3)), time=[np.datetime64("2020-01-01")], y=[0, 1000], x=[0, 1000, 2000],
    ...                       crs=None)
    >>> terrain = terrain_dataset([[0, 20, 40], [0, 20, 40]], field)
    >>> fields = compute_terrain_predictors(terrain, np.full((2, 3), 10), np.zeros((2, 3)))
    >>> [round(float(fields[name][0, 0]), 2) for name in ("terrain_slope", "terrain_upslope")]
    [20.0, 0.2]
    """
    u, v = np.asarray(u, np.float32), np.asarray(v, np.float32)
    if terrain is None:
        return {predictor.name: np.full(u.shape, np.nan, np.float32) for predictor in PREDICTORS}
    height, slope_x, slope_y = (terrain[name].values for name in ("surface_altitude", "slope_x", "slope_y"))
    ground = TerrainFields(height, slope_x, slope_y, u, v)
    return {predictor.name: predictor(ground) for predictor in PREDICTORS}
