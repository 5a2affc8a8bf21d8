"""Smooth random patterns that drift with the rain, change slowly, and belong partly to a run, partly to a valid time.

A pattern is a sum of Gaussian bumps of standard deviation `scale` on a periodic lattice whose spacing is the same, with
weights of white noise: standard normal at each place within 0.01 %, its correlation falls to 1/e over 2 scales. A bump
is a product of one along y and one along x, so a pattern is two matrix products. In time the weights turn from one set
to the next within `memory`: ``cos(a) W_k + sin(a) W_k+1`` stays standard normal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hybridcast.core.types import Array

#: Bumps beyond the grid, so that a pattern does not meet itself at the other edge.
BEYOND = 6


class Moment(NamedTuple):
    """When a pattern is looked at."""

    run: int
    """Reference time, in whole seconds since 1970."""
    lead: float
    """Hours after it."""

    @property
    def valid(self) -> float:
        """Hours since 1970."""
        return self.run / 3600 + self.lead


class Noise(NamedTuple):
    """Where patterns come from: all that they depend on but their kind and the moment."""

    entropy: tuple[int, ...]
    """Seed and place."""
    shape: tuple[int, int]
    """Rows and columns."""
    cell: float
    """Side of a cell, km."""
    drift: tuple[float, float]
    """By how many km an hour patterns move down the rows and along the columns."""
    shared: float
    """Share of the variance that belongs to the valid time."""
    memory: float
    """Hours."""

    def pattern(self, kind: int, scale: float, at: Moment, count: int = 1) -> Array:
        """Return `count` independent patterns of a kind (a number), shape ``(count, y, x)``."""
        sizes = [int(np.ceil(n * self.cell / scale)) + BEYOND for n in self.shape]
        weights = self.weights(kind, at, (count, *sizes))
        rows, columns = (
            _bumps(n, size, self.cell / scale, speed * at.valid / scale)
            for n, size, speed in zip(self.shape, sizes, self.drift, strict=True)
        )
        return np.asarray(rows @ weights @ columns.T, np.float32)

    def weights(self, kind: int, at: Moment, shape: tuple[int, ...]) -> Array:
        """Standard normal numbers that change slowly: of the valid time, and of the run."""
        of_time = self._turning((kind, 0), at.valid / self.memory, shape)
        own = self._turning((kind, 1, at.run % 2**32), at.lead / self.memory, shape)
        return np.float32(self.shared**0.5) * of_time + np.float32((1 - self.shared) ** 0.5) * own

    def _turning(self, key: tuple[int, ...], time: float, shape: tuple[int, ...]) -> Array:
        node = int(np.floor(time))
        angle = (time - node) * np.pi / 2
        before, after = (self._white((*key, node + k), shape) for k in (0, 1))
        return np.float32(np.cos(angle)) * before + np.float32(np.sin(angle)) * after

    def _white(self, key: tuple[int, ...], shape: tuple[int, ...]) -> Array:
        seed = np.random.SeedSequence([*self.entropy, *(k % 2**32 for k in key)])
        return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _bumps(cells: int, bumps: int, step: float, moved: float) -> Array:
    """Height of each bump at each cell, shape ``(cell, bump)``; distances in scales, around the periodic lattice."""
    distance = (np.arange(cells)[:, None] * step - moved - np.arange(bumps)) % bumps
    distance = np.minimum(distance, bumps - distance)
    return np.asarray(np.exp(-(distance**2) / 2) / np.pi**0.25, np.float32)
