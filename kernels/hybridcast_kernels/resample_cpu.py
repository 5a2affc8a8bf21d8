"""From a coarse grid onto a fine one, bilinearly, and from a fine one onto a coarse one by means, on CPU threads."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels.parallel import over_bands

Array = NDArray[np.float32]

plain = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})


@plain
def enlarge_rows(planes, left, right, across, top, bottom, down, out, first, last):
    """Interpolate rows first..last of all planes."""
    columns = out.shape[2]
    line = np.empty(planes.shape[2], np.float32)
    for plane in range(planes.shape[0]):
        for y in range(first, last):
            i, k, share = top[y], bottom[y], down[y]
            for j in range(line.size):
                line[j] = planes[plane, i, j] + share * (planes[plane, k, j] - planes[plane, i, j])
            for x in range(columns):
                a = line[left[x]]
                out[plane, y, x] = a + across[x] * (line[right[x]] - a)


def enlarge(planes: Array, factor: int, offset: float, out: Array) -> Array:
    """Interpolate planes onto a grid `factor` times as fine.

    Parameters
    ----------
    planes
        Shape ``(plane, y, x)``.
    factor
        Fine cells from one coarse cell to the next.
    offset
        The fine cell, counted from 0, where the first coarse one lies.
    out
        Written: shape ``(plane, fine y, fine x)``, float32. Beyond the first and the last cell the edge holds.
    """
    top, bottom, down = _places(planes.shape[1], out.shape[1], factor, offset)
    left, right, across = _places(planes.shape[2], out.shape[2], factor, offset)
    over_bands(
        lambda a, b: enlarge_rows(planes, left, right, across, top, bottom, down, out, a, b),
        out.shape[1],
        out.shape[2] * len(planes),
    )
    return out


def _places(coarse: int, fine: int, factor: int, offset: float) -> tuple[NDArray[np.uint32], NDArray[np.uint32], Array]:
    """Return for each fine cell the coarse ones before and after it, and how far it is from the first."""
    place = np.clip((np.arange(fine) - offset) / factor, 0, coarse - 1)
    before = np.minimum(place.astype(np.uint32), coarse - 1).astype(np.uint32)
    after = np.minimum(before + 1, coarse - 1).astype(np.uint32)
    return before, after, (place - before).astype(np.float32)


@plain
def mean_rows(planes, least, out, first, last):
    """Average over the blocks of rows first..last of `out`, all planes' rows one after the other."""
    rows, columns = out.shape[1], out.shape[2]
    high, wide = planes.shape[1] // rows, planes.shape[2] // columns
    for line in range(first, last):
        plane, i = line // rows, line % rows
        for j in range(columns):
            total, count = np.float32(0), np.int32(0)
            for y in range(i * high, (i + 1) * high):
                for x in range(j * wide, (j + 1) * wide):
                    value = planes[plane, y, x]
                    seen = value == value  # a comparison with NaN is false
                    total += value if seen else np.float32(0)
                    count += np.int32(seen)
            out[plane, i, j] = total / np.float32(count) if count >= least else np.float32(np.nan)


def block_means(planes: Array, rows: int, columns: int, least: float) -> Array:
    """Average over equal blocks of cells, those that are NaN left out.

    Parameters
    ----------
    planes
        Float32, shape ``(plane, y, x)``.
    rows, columns
        Blocks along each axis; they part the cells evenly.
    least
        Share of the cells of a block that has to be known, else its mean is NaN; above zero.

    Returns
    -------
    ndarray
        Float32, shape ``(plane, rows, columns)``.

    Raises
    ------
    ValueError
        If blocks do not part the cells evenly.
    """
    if planes.shape[1] % rows or planes.shape[2] % columns:
        raise ValueError(f"planes of {planes.shape[1:]} cells in {rows} x {columns} blocks: they part them evenly")
    out = np.empty((len(planes), rows, columns), np.float32)
    cells = (planes.shape[1] // rows) * (planes.shape[2] // columns)
    needed = max(1, int(np.ceil(least * cells)))
    over_bands(lambda a, b: mean_rows(planes, needed, out, a, b), len(planes) * rows, planes.shape[2] * cells)
    return out
