"""From stations to cells: the nearest few, weighted by distance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hybridcast.stations.collocation import positions_in_kilometres

Floats = NDArray[np.float32]


class Neighbours(NamedTuple):
    """The nearest few of some points, for each of some targets."""

    distance: Floats
    """km, shape ``(target, k)``, nearest first; infinite where there are fewer within the radius."""
    which: NDArray[np.intp]
    """Which point, shape ``(target, k)``; 0 where the distance is infinite."""

    def weights(self, length: float) -> Floats:
        """Return exp(-(d / length)^2), 0 where there is no point."""
        return np.asarray(np.exp(-((self.distance / np.float32(length)) ** 2)), np.float32)


def find_nearest(points: Floats, targets: Floats, count: int, radius: float) -> Neighbours:
    """Find up to `count` of `points` within `radius` of each of `targets`, all in km, shape ``(..., 2)``."""
    k = max(1, min(count, len(points)))
    tree = cKDTree(points, balanced_tree=False)  # built quicker, asked as quickly
    distance, index = tree.query(targets, k=np.arange(1, k + 1), distance_upper_bound=radius)
    return Neighbours(distance.astype(np.float32), np.where(np.isfinite(distance), index, 0))


def average_neighbours(values: Floats, near: Neighbours, weights: Floats, prior: float = 0.0) -> Floats:
    """Average `values` of points at targets, over those that are known; NaN where none is.

    Parameters
    ----------
    values
        Shape ``(point,)``; NaN where not known.
    near, weights
        What `find_nearest` found, and weights of the same shape.
    prior
        Weight of a value of 0 beside them: with it the mean goes to 0 far from all points.
    """
    known = np.isfinite(values)
    counted = weights * known[near.which]
    total = counted.sum(axis=1)
    summed = np.einsum("tk,tk->t", counted, np.where(known, values, np.float32(0))[near.which])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, summed / (total + np.float32(prior)), np.float32(np.nan)).astype(np.float32)


def cell_indices(field: xr.DataArray) -> Floats:
    """Return the rows and columns of all cells of a field, shape ``(y * x, 2)``."""
    return np.moveaxis(np.indices(field.shape[-2:], dtype=np.float32), 0, -1).reshape(-1, 2)


def cells_in_kilometres(field: xr.DataArray) -> Floats:
    """Return where all cells are, as `positions_in_kilometres` gives it of places, shape ``(y * x, 2)``."""
    return positions_in_kilometres(cell_indices(field), field)
