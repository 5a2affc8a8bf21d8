"""Interpolation from stations to grid cells: the nearest stations, weighted by distance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hybridcast.core.types import Array
from hybridcast.stations.collocation import positions_in_kilometres


class Neighbours(NamedTuple):
    """The nearest points to each target."""

    distance: Array
    """Distance, km, shape ``(target, k)``, nearest first; infinite where fewer points are within the radius."""
    point: NDArray[np.intp]
    """Index of the point, shape ``(target, k)``; 0 where the distance is infinite."""

    def weights(self, length: float) -> Array:
        """Return the weights exp(-(d / length)^2), shape ``(target, k)``; 0 where there is no point."""
        return np.asarray(np.exp(-((self.distance / np.float32(length)) ** 2)), np.float32)


def find_nearest(points: Array, targets: Array, count: int, radius: float) -> Neighbours:
    """Find up to `count` of `points` within `radius` of each of `targets`, all in km, shape ``(..., 2)``."""
    k = max(1, min(count, len(points)))
    tree = cKDTree(points, balanced_tree=False)  # faster to build, and as fast to query
    distance, index = tree.query(targets, k=np.arange(1, k + 1), distance_upper_bound=radius)
    return Neighbours(distance.astype(np.float32), np.where(np.isfinite(distance), index, 0))


def average_neighbours(values: Array, near: Neighbours, weights: Array, prior: float = 0.0) -> Array:
    """Return the weighted mean of the known values near each target, shape ``(target,)``; NaN where none is known.

    Parameters
    ----------
    values
        Values of the points, shape ``(point,)``; NaN where unknown.
    near, weights
        Result of `find_nearest`, and weights of the same shape.
    prior
        Weight of an additional value of 0, which draws the mean to 0 far from all points.
    """
    known = np.isfinite(values)
    counted = weights * known[near.point]
    total = counted.sum(axis=1)
    summed = np.einsum("tk,tk->t", counted, np.where(known, values, np.float32(0))[near.point])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, summed / (total + np.float32(prior)), np.float32(np.nan)).astype(np.float32)


def cell_indices(field: xr.DataArray) -> Array:
    """Return the rows and columns of all cells of a field, shape ``(y * x, 2)``."""
    return np.moveaxis(np.indices(field.shape[-2:], dtype=np.float32), 0, -1).reshape(-1, 2)


def cells_in_kilometres(field: xr.DataArray) -> Array:
    """Return the positions of all cells in kilometres from the first one, shape ``(y * x, 2)``."""
    return positions_in_kilometres(cell_indices(field), field)
