"""Tracks of the air, from departure points to target cells, and the predictors that describe them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridcast.core.types import Array, Cell
from hybridcast.predictors.predictor import Kind, Predictor
from hybridcast_kernels.trajectories import sample

#: Kinds of predictors that are taken from a point beside the departure point.
SIDES: tuple[Kind, ...] = ("ahead", "behind", "left", "right")
#: Distance of the points ahead of the departure point, behind it and on both sides of it, km.
ASIDE = 10.0


@dataclass(frozen=True)
class Tracks:
    """Departure points and target cells of some rows at one lead time."""

    departure: Array
    """Row and column of the departure points, which may lie outside the grid, shape ``(row, 2)``."""
    target: Array
    """Row and column of the target cells, shape ``(row, 2)``."""
    minutes: np.float32
    """Lead time, min."""
    cell: Cell
    """Size of a cell, km, ``(y, x)``."""


def displace(departure: Array, flow: Array, cell: Cell) -> dict[Kind, Array]:
    """Return the points at `ASIDE` km from departure points, along and across the motion of the air there.

    Parameters
    ----------
    departure
        Row and column, shape ``(row, 2)``.
    flow
        Motion in cells per time, C-contiguous, shape ``(y, x, 2)``, x first.
    cell
        Size of a cell, km, ``(y, x)``.

    Returns
    -------
    dict
        Row and column by `SIDES`, shape ``(row, 2)`` each.
        Left of air that moves towards higher columns are higher rows.
    """
    size = np.array(cell, np.float32)
    motion = sample(flow, departure)[:, ::-1] * size
    speed = np.maximum(np.hypot(motion[:, 0], motion[:, 1]), np.float32(1e-6))
    ahead = motion / speed[:, None] * np.float32(ASIDE)
    left = np.stack([ahead[:, 1], -ahead[:, 0]], axis=1)
    offsets: dict[Kind, Array] = {"ahead": ahead, "behind": -ahead, "left": left, "right": -left}
    return {kind: departure + offset / size for kind, offset in offsets.items()}


def _displacement(tracks: Tracks) -> Array:
    moved = (tracks.departure - tracks.target) * np.array(tracks.cell, np.float32)
    return np.asarray(np.hypot(moved[:, 0], moved[:, 1]))


def _lead_time(tracks: Tracks) -> Array:
    return np.full(len(tracks.target), tracks.minutes, np.float32)


PREDICTORS: tuple[Predictor[Tracks], ...] = (
    Predictor("displacement", "km", "radar", "row", "distance from the departure point to the target", _displacement),
    Predictor("lead_time", "min", "time", "row", "lead time", _lead_time),
)
