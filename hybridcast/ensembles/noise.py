"""Correlation of the members of an ensemble in space and time: the part of each scale in the noise, and its memory.

The noise of a member is standard Gaussian at every cell. It moves with the rain. It is a sum of octaves, each with a
share of the variance and a memory (`hybridcast_kernels.lattice_noise_cpu`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hybridcast.core.interpolation import interpolate_leads
from hybridcast.core.types import Array, Doubles
from hybridcast_kernels.lattice_noise_cpu import (
    MOST_OCTAVES,
    LatticeTime,
    LatticeWindow,
    lattice_noise,
    octave_variances,
)
from hybridcast_kernels.workspace import workspace_of_this_thread


class NoiseScales(NamedTuple):
    """Octaves of the noise on one grid, the finest first, and last the constant for the whole domain."""

    shares: Array
    """Share of each octave in the variance by lead time, shape ``(lead, octave + 1)``; one in total."""
    knot_minutes: Doubles
    """Interval between the knots of an octave, min, shape ``(octave + 1,)``; after two its correlation in time is 0."""


#: Octaves that have a smaller part of the variance, with all finer ones, are left out: the finest cost most.
NEGLIGIBLE_SHARE = 0.01


@dataclass(frozen=True)
class Dependence:
    """Shares of scales in the noise by lead time, and their memory, for any grid."""

    spacing: tuple[float, ...]
    """Spacing of octaves, km, increasing by factors of two."""
    leads: tuple[float, ...]
    """Lead times, min, increasing."""
    shares: tuple[tuple[float, ...], ...]
    """Share of each octave in the variance at each lead time, ``(lead, octave + 1)``, that of a constant last."""
    knot_minutes: float
    """Interval between the knots of an octave with a spacing of 1 km, min."""
    growth: float
    """Exponent of the interval between knots as a function of the spacing."""

    def on_grid(self, cell: float, octaves: int, lead_minutes: Doubles) -> NoiseScales:
        """Return the octaves on a grid.

        Scales below the cells belong to the finest octave, those above the coarsest one to the constant.

        Parameters
        ----------
        cell
            Size of the cells, km.
        octaves
            Number of octaves; the first has the spacing of the cells.
        lead_minutes
            Lead times, min, shape ``(lead,)``.
        """
        edges = np.log2(np.array(self.spacing)) + 0.5
        below = np.cumsum(np.array(self.shares), axis=1)[:, :-1]
        spacing = cell * 2.0 ** np.arange(octaves)
        own_edges = np.log2(spacing) + 0.5
        known = np.append(edges[0] - 1, edges)
        at_leads = interpolate_leads(below, self.leads, lead_minutes)
        cumulated = np.stack([np.interp(own_edges, known, np.append(0, row)) for row in at_leads])
        cumulated = np.append(cumulated, np.ones((len(cumulated), 1)), axis=1)
        cumulated[:, :-1][cumulated[:, :-1] < NEGLIGIBLE_SHARE] = 0.0
        shares = np.diff(cumulated, axis=1, prepend=0.0)
        minutes = self.knot_minutes * np.append(spacing, 4 * spacing[-1]) ** self.growth
        return NoiseScales(shares.astype(np.float32), minutes)


#: Fitted on the ranks of the observation within forecasts of other events (``notebooks/ensemble_fit.py``).
FITTED = Dependence(
    spacing=(2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0),
    leads=(10.0, 30.0, 60.0, 90.0, 120.0),
    shares=(
        (0.31, 0.47, 0.11, 0.08, 0.03, 0.00, 0.00, 0.00),
        (0.17, 0.11, 0.29, 0.24, 0.16, 0.01, 0.00, 0.02),
        (0.06, 0.02, 0.29, 0.25, 0.27, 0.02, 0.02, 0.07),
        (0.03, 0.01, 0.24, 0.21, 0.31, 0.03, 0.08, 0.09),
        (0.02, 0.00, 0.20, 0.17, 0.29, 0.03, 0.18, 0.11),
    ),
    knot_minutes=4.6,
    growth=1.0,
)


def count_octaves(rows: int, columns: int) -> int:
    """Return the number of octaves of a grid: the coarsest has a spacing of a quarter to half of the longer side."""
    return int(np.clip(np.ceil(np.log2(max(rows, columns, 2))) - 1, 1, MOST_OCTAVES))


class MemberCount(NamedTuple):
    """Which members to make."""

    members: int
    """Number of members."""
    seed: int
    """The same seed gives the same members; the first ones do not depend on the number of members."""


@dataclass(frozen=True)
class MemberNoise:
    """Noise of the members of an ensemble on the lattice of the cells of a grid."""

    scales: NoiseScales
    count: MemberCount

    def at(self, lead: int, minutes: float, window: LatticeWindow) -> tuple[Array, Array]:
        """Return the noise at one lead time in a window of the lattice, in memory that the next call writes over.

        Returns
        -------
        tuple
            Noise, ``(member, y, x)``, and the factor that gives it unit variance, ``(y, x)``.
        """
        octaves = self.scales.shares.shape[1] - 1
        mean = np.array([octave_variances(0, 2**octave, octaves)[octave].mean() for octave in range(octaves)] + [1.0])
        amplitudes = (np.sqrt(self.scales.shares[lead]) / mean).astype(np.float32)
        work = workspace_of_this_thread()
        noise = work.array("member_noise", (self.count.members, window.rows, window.columns))
        time = LatticeTime.at(minutes, self.scales.knot_minutes)
        lattice_noise(window, *self.count, amplitudes, time, out=noise)
        return noise, _unit_factor(amplitudes, window)


def _unit_factor(amplitudes: Array, window: LatticeWindow) -> Array:
    """Return one over the standard deviation of the noise at each cell of a window, ``(y, x)``."""
    octaves = amplitudes.size - 1
    down = octave_variances(window.first_row, window.rows, octaves)
    across = octave_variances(window.first_column, window.columns, octaves)
    variance = (down.T * amplitudes[:-1].astype(np.float64) ** 2) @ across + float(amplitudes[-1]) ** 2
    return (1 / np.sqrt(variance)).astype(np.float32)
