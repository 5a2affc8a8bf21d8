"""Correlation of the members of an ensemble in space and time: the part of each scale in the noise, and its memory.

The noise of a member is standard Gaussian at every cell. It moves with the rain. It is a sum of octaves, each with a
share of the variance and a memory (`hybridcast_kernels.lattice_noise_cpu`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from hybridcast.core.interpolation import interpolate_leads
from hybridcast.core.types import Array, Doubles
from hybridcast_kernels.lattice_noise_cpu import (
    MOST_OCTAVES,
    LatticeTime,
    LatticeWindow,
    lattice_noise,
    mean_variances,
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
    finest: float = 0.0
    """Spacing, km, whose octave has the shares of all finer ones too; 0 leaves them."""

    def scaled(self, octaves: float) -> Dependence:
        """Return the dependence with scales larger by a number of octaves, and the same memory of each scale."""
        return replace(self, spacing=tuple(spacing * 2**octaves for spacing in self.spacing))

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
        if self.finest:
            cumulated *= np.clip(own_edges - np.log2(self.finest), 0, 1)
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
        (0.101, 0.134, 0.401, 0.322, 0.036, 0.004, 0.001, 0.001),
        (0.020, 0.106, 0.377, 0.287, 0.157, 0.039, 0.007, 0.007),
        (0.004, 0.055, 0.302, 0.272, 0.239, 0.079, 0.020, 0.029),
        (0.002, 0.034, 0.248, 0.252, 0.273, 0.107, 0.032, 0.052),
        (0.001, 0.022, 0.207, 0.232, 0.287, 0.127, 0.042, 0.082),
    ),
    knot_minutes=5.5,
    growth=0.86,
)
#: Rain rate (mm h-1) and lead time (min) of the probabilities that the scale of an event is told from.
SCALE_RATE, SCALE_LEAD = 0.5, 60.0


def event_scale(probabilities: Array) -> float:
    """Return by how many octaves the errors of an event are larger than usual, from the sharpness of its forecast.

    Where the forecast is sharp an hour ahead, rain is organised in large systems, and its errors are large too. The
    relation is half as steep as the one fitted on networks, which are few, and gives scales that are smaller by half an
    octave, because the errors of heavy rain are smaller than those of the thresholds that it was fitted on
    (``notebooks/decisions.md``).

    Parameters
    ----------
    probabilities
        Probabilities that `SCALE_RATE` is reached at `SCALE_LEAD` or the nearest lead time, of any shape.
    """
    known = probabilities[np.isfinite(probabilities)].astype(np.float64)
    if not known.sum() > 0:
        return 0.0
    vagueness = float((known * (1 - known)).sum() / known.sum())
    return 0.25 - 1.8 * vagueness


def count_octaves(rows: int, columns: int) -> int:
    """Return the number of octaves of a grid: the coarsest has a spacing of a quarter to half of the longer side."""
    return int(np.clip(np.ceil(np.log2(max(rows, columns, 2))) - 1, 1, MOST_OCTAVES))


class MemberCount(NamedTuple):
    """Which members to make."""

    members: int
    """Number of members."""
    seed: int
    """The same seed gives the same members; the first ones do not depend on the number of members."""
    first: int = 0
    """Number of the first member."""


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
        mean = np.append(mean_variances(octaves), 1.0)
        amplitudes = (np.sqrt(self.scales.shares[lead]) / mean).astype(np.float32)
        work = workspace_of_this_thread()
        noise = work.array("member_noise", (self.count.members, window.rows, window.columns))
        time = LatticeTime.at(minutes, self.scales.knot_minutes)
        count = self.count
        lattice_noise(window, count.members, count.seed, amplitudes, time, first=count.first, out=noise)
        return noise, _unit_factor(amplitudes, window)


def _unit_factor(amplitudes: Array, window: LatticeWindow) -> Array:
    """Return one over the standard deviation of the noise at each cell of a window, ``(y, x)``."""
    octaves = amplitudes.size - 1
    down = octave_variances(window.first_row, window.rows, octaves)
    across = octave_variances(window.first_column, window.columns, octaves)
    variance = (down.T * amplitudes[:-1].astype(np.float64) ** 2) @ across + float(amplitudes[-1]) ** 2
    return (1 / np.sqrt(variance)).astype(np.float32)
