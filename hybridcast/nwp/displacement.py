"""How far a model's rain lies from the radar's.

At each place the shift is sought that brings the model's rain closest to the radar's within a window: the local
correlation of block means of decibels for every shift of a coarse grid, less a little for the length of the shift, and
the mean of the shifts weighted by how much better than the others they are, smoothed. It is at most `FARTHEST` km along
either axis, and zero where nothing speaks for another shift.

The same idea, with other scores, is in Keil and Craig (2009), A displacement and amplitude score employing an optical
flow technique, Wea. Forecasting 24, 1297-1308.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridcast.core.grid import decibels
from hybridcast.core.types import Array, Cell

#: Longest shift along an axis, km.
FARTHEST = 48.0
#: From one shift to the next, and the cells that they are sought on, km.
STEP = 8.0
#: Standard deviation of the window, km; of the smoothing, half of it.
WINDOW = 50.0
#: What the longest shift costs, in terms of correlation.
COST = 0.08
#: Differences of correlation that count.
SHARPNESS = 0.02
#: A shift that leaves less than this share of a window known in both has no say.
_LEAST_KNOWN = 0.2
_LEAST_VARIANCE = 0.05


def estimate_displacement(model: Array, radar: Array, cell: Cell) -> Array:
    """Find where the model's rain has to be moved to lie on the radar's.

    Parameters
    ----------
    model, radar
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
    a, b = (_coarse(decibels(field), blocks) for field in (model, radar))
    spacing = blocks[0] * cell[0], blocks[1] * cell[1]
    reach = tuple(round(FARTHEST / size) for size in spacing)
    sigma = tuple(WINDOW / size for size in spacing)
    total = np.zeros(a.shape, np.float32)
    mean = np.zeros((2, *a.shape), np.float32)
    for i in range(-reach[0], reach[0] + 1):
        for j in range(-reach[1], reach[1] + 1):
            dy, dx = i * spacing[0], j * spacing[1]
            weight = np.exp((_match(_moved(a, i, j), b, sigma) - COST * np.hypot(dy, dx) / FARTHEST) / SHARPNESS)
            total += weight
            mean += weight * np.array([dx, dy], np.float32)[:, None, None]
    smooth = (ndimage.gaussian_filter(plane, [s / 2 for s in sigma], mode="nearest") for plane in mean / total)
    return np.stack([_fine(plane, model.shape, blocks) for plane in smooth])


def _match(a: Array, b: Array, sigma: tuple[float, ...]) -> Array:
    """Return the correlation in a Gaussian window; 0 where too little is known, or nothing varies."""
    both = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(both, a, np.float32(0)), np.where(both, b, np.float32(0))
    moments = (both.astype(np.float32), a, b, a * a, b * b, a * b)
    share, ma, mb, maa, mbb, mab = (ndimage.gaussian_filter(m, sigma, mode="constant", truncate=2.5) for m in moments)
    known = np.maximum(share, np.float32(1e-3))
    ma, mb = ma / known, mb / known
    va, vb = maa / known - ma * ma, mbb / known - mb * mb
    least = np.float32(_LEAST_VARIANCE)
    found = (mab / known - ma * mb) / np.sqrt(np.maximum(va, least) * np.maximum(vb, least))
    return np.where((share < _LEAST_KNOWN) | (va < least) | (vb < least), np.float32(0), found)


def _moved(values: Array, rows: int, columns: int) -> Array:
    """Move a field by whole cells; what comes in is unknown."""
    moved = np.full_like(values, np.nan)
    height, width = values.shape
    if abs(rows) < height and abs(columns) < width:
        moved[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = values[
            max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)
        ]
    return moved


def _coarse(values: Array, blocks: tuple[int, ...]) -> Array:
    """Average the known cells of each block, the grid padded with unknown cells to whole ones."""
    padded = np.pad(values, [(0, -n % k) for n, k in zip(values.shape, blocks, strict=True)], constant_values=np.nan)
    parts = padded.reshape(padded.shape[0] // blocks[0], blocks[0], padded.shape[1] // blocks[1], blocks[1])
    known = np.isfinite(parts)
    count = known.sum(axis=(1, 3))
    total = np.where(known, parts, np.float32(0)).sum(axis=(1, 3))
    return np.where(2 * count >= blocks[0] * blocks[1], total / np.maximum(count, 1), np.nan).astype(np.float32)


def _fine(values: Array, shape: tuple[int, ...], blocks: tuple[int, ...]) -> Array:
    """Interpolate from the centres of blocks to all cells."""
    places = [
        np.clip((np.arange(n) + 0.5) / k - 0.5, 0, size - 1)
        for n, k, size in zip(shape, blocks, values.shape, strict=True)
    ]
    found: NDArray[np.float32] = ndimage.map_coordinates(
        values, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest", output=np.float32
    )
    return found
