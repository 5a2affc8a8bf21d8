"""Displacement of NWP rain with respect to the radar.

For every shift of a coarse grid, the local correlation between radar and shifted NWP rain (block means in decibels) is
computed in a Gaussian window, minus a small penalty for the length of the shift. The displacement is the mean of all
shifts, weighted by an exponential function of this score, and smoothed. It is at most `MAX_SHIFT` km along either axis,
and zero where no shift scores better than others.

The same idea, with other scores, is in Keil and Craig (2009), A displacement and amplitude score employing an optical
flow technique, Wea. Forecasting 24, 1297-1308.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridcast.core.grid import decibels
from hybridcast.core.types import Array, Cell

#: Largest shift along an axis, km.
MAX_SHIFT = 48.0
#: Spacing of the shifts, and of the coarse grid, km.
STEP = 8.0
#: Standard deviation of the Gaussian window, km; that of the smoothing is half of it.
WINDOW = 50.0
#: Penalty for the largest shift, in units of correlation.
PENALTY = 0.08
#: Scale of the exponential weights, in units of correlation.
SHARPNESS = 0.02
#: Minimum fraction of a window that must be known in both fields for a correlation.
_MIN_KNOWN = 0.2
#: Minimum variance in a window for a correlation, dB^2.
_MIN_VARIANCE = 0.05


def estimate_displacement(nwp: Array, radar: Array, cell: Cell) -> Array:
    """Estimate the local shift that moves NWP rain onto the rain of the radar.

    Parameters
    ----------
    nwp, radar
        Rain rates at one time on one grid, mm h-1, shape ``(y, x)``, NaN where unknown.
    cell
        Size of a cell, km, ``(y, x)``.

    Returns
    -------
    ndarray
        Shift in km towards growing rows and columns, shape ``(2, y, x)``, x first; zero where nothing is known.

    Examples
    --------
    >>> rain = np.zeros((64, 64), np.float32)
    >>> rain[24:30, 20:28] = 5
    >>> found = estimate_displacement(rain, np.roll(rain, 8, axis=1), (2.0, 2.0))
    >>> bool(abs(found[0, 27, 24] - 16) < 3), bool(abs(found[1, 27, 24]) < 1)
    (True, True)
    """
    blocks = tuple(max(1, round(STEP / size)) for size in cell)
    a, b = (_coarsen(decibels(field), blocks) for field in (nwp, radar))
    spacing = blocks[0] * cell[0], blocks[1] * cell[1]
    reach = tuple(round(MAX_SHIFT / size) for size in spacing)
    sigma = tuple(WINDOW / size for size in spacing)
    total = np.zeros(a.shape, np.float32)
    mean = np.zeros((2, *a.shape), np.float32)
    for i in range(-reach[0], reach[0] + 1):
        for j in range(-reach[1], reach[1] + 1):
            dy, dx = i * spacing[0], j * spacing[1]
            score = _correlate(_shift(a, i, j), b, sigma) - PENALTY * np.hypot(dy, dx) / MAX_SHIFT
            weight = np.exp(score / SHARPNESS)
            total += weight
            mean += weight * np.array([dx, dy], np.float32)[:, None, None]
    smooth = (ndimage.gaussian_filter(plane, [s / 2 for s in sigma], mode="nearest") for plane in mean / total)
    return np.stack([_refine(plane, nwp.shape, blocks) for plane in smooth])


def _correlate(a: Array, b: Array, sigma: tuple[float, ...]) -> Array:
    """Return the correlation in a Gaussian window; 0 where too little is known or the variance is too small."""
    both = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(both, a, np.float32(0)), np.where(both, b, np.float32(0))
    moments = (both.astype(np.float32), a, b, a * a, b * b, a * b)
    known, ma, mb, maa, mbb, mab = (ndimage.gaussian_filter(m, sigma, mode="constant", truncate=2.5) for m in moments)
    weight = np.maximum(known, np.float32(1e-3))
    ma, mb = ma / weight, mb / weight
    va, vb = maa / weight - ma * ma, mbb / weight - mb * mb
    least = np.float32(_MIN_VARIANCE)
    found = (mab / weight - ma * mb) / np.sqrt(np.maximum(va, least) * np.maximum(vb, least))
    return np.where((known < _MIN_KNOWN) | (va < least) | (vb < least), np.float32(0), found)


def _shift(values: Array, rows: int, columns: int) -> Array:
    """Shift a field by whole cells; cells beyond the edge are NaN."""
    moved = np.full_like(values, np.nan)
    height, width = values.shape
    if abs(rows) < height and abs(columns) < width:
        moved[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = values[
            max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)
        ]
    return moved


def _coarsen(values: Array, blocks: tuple[int, ...]) -> Array:
    """Average the known cells of each block, where at least half of them are known; the grid is padded with NaN."""
    padded = np.pad(values, [(0, -n % k) for n, k in zip(values.shape, blocks, strict=True)], constant_values=np.nan)
    parts = padded.reshape(padded.shape[0] // blocks[0], blocks[0], padded.shape[1] // blocks[1], blocks[1])
    known = np.isfinite(parts)
    count = known.sum(axis=(1, 3))
    total = np.where(known, parts, np.float32(0)).sum(axis=(1, 3))
    return np.where(2 * count >= blocks[0] * blocks[1], total / np.maximum(count, 1), np.nan).astype(np.float32)


def _refine(values: Array, shape: tuple[int, ...], blocks: tuple[int, ...]) -> Array:
    """Interpolate from the centres of blocks to all cells."""
    positions = [
        np.clip((np.arange(n) + 0.5) / k - 0.5, 0, size - 1)
        for n, k, size in zip(shape, blocks, values.shape, strict=True)
    ]
    found: NDArray[np.float32] = ndimage.map_coordinates(
        values, np.meshgrid(*positions, indexing="ij"), order=1, mode="nearest", output=np.float32
    )
    return found
