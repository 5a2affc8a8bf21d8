"""Smooth random patterns that drift with the rain, change slowly, and belong in part to a run, in part to a valid time.

A pattern is a sum of Gaussian bumps of standard deviation `scale` on a periodic lattice whose spacing is the same, with
weights of white noise. It is standard normal at each point within 0.01 %, and its correlation decreases to 1/e over 2
scales. A bump is a product of one along y and one along x, so a pattern is two matrix products. In time the weights
rotate from one set to the next within `memory`: ``cos(a) W_k + sin(a) W_k+1`` remains standard normal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hybridcast.core.types import Array

#: Number of bumps beyond the grid, so that opposite edges are independent.
MARGIN = 6


class RunTime(NamedTuple):
    """Time at which a pattern is evaluated."""

    run: int
    """Reference time, whole seconds since 1970."""
    lead: float
    """Lead time, h."""

    @property
    def valid(self) -> float:
        """Valid time, hours since 1970."""
        return self.run / 3600 + self.lead


class Noise(NamedTuple):
    """Source of random patterns."""

    entropy: tuple[int, ...]
    """Entropy of the random numbers, from the seed and the position of the grid."""
    shape: tuple[int, int]
    """Number of rows and columns."""
    cell: float
    """Size of a cell, km."""
    drift: tuple[float, float]
    """Motion of the patterns down the rows and along the columns, km h-1."""
    shared: float
    """Fraction of the variance that belongs to the valid time."""
    memory: float
    """Time after which patterns are independent, h."""

    def pattern(self, kind: int, scale: float, at: RunTime, count: int = 1) -> Array:
        """Return `count` independent patterns of a kind (a number), shape ``(count, y, x)``."""
        sizes = [int(np.ceil(n * self.cell / scale)) + MARGIN for n in self.shape]
        weights = self.weights(kind, at, (count, *sizes))
        rows, columns = (
            _bump_heights(n, size, self.cell / scale, speed * at.valid / scale)
            for n, size, speed in zip(self.shape, sizes, self.drift, strict=True)
        )
        return np.asarray(rows @ weights @ columns.T, np.float32)

    def weights(self, kind: int, at: RunTime, shape: tuple[int, ...]) -> Array:
        """Return standard normal numbers that change slowly, in part with the valid time and in part with the run."""
        shared = self._rotate((kind, 0), at.valid / self.memory, shape)
        own = self._rotate((kind, 1, at.run % 2**32), at.lead / self.memory, shape)
        return np.float32(self.shared**0.5) * shared + np.float32((1 - self.shared) ** 0.5) * own

    def _rotate(self, key: tuple[int, ...], time: float, shape: tuple[int, ...]) -> Array:
        node = int(np.floor(time))
        angle = (time - node) * np.pi / 2
        before, after = (self._white_noise((*key, node + k), shape) for k in (0, 1))
        return np.float32(np.cos(angle)) * before + np.float32(np.sin(angle)) * after

    def _white_noise(self, key: tuple[int, ...], shape: tuple[int, ...]) -> Array:
        seed = np.random.SeedSequence([*self.entropy, *(k % 2**32 for k in key)])
        return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _bump_heights(cells: int, bumps: int, step: float, moved: float) -> Array:
    """Return the height of each bump at each cell, ``(cell, bump)``; lengths are in scales, on the periodic lattice."""
    distance = (np.arange(cells)[:, None] * step - moved - np.arange(bumps)) % bumps
    distance = np.minimum(distance, bumps - distance)
    return np.asarray(np.exp(-(distance**2) / 2) / np.pi**0.25, np.float32)
