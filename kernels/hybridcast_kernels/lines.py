"""Lines with fewer points."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def find_corners(line: NDArray[np.float64], tolerance: float) -> NDArray[np.bool_]:
    """Return which points of a line are needed for the others to be near it (Douglas and Peucker 1973).

    Parameters
    ----------
    line
        Points, shape ``(point, 2)``, one at least; both ends are needed.
    tolerance
        Largest distance of a point that is left out, in the unit of the points.

    Examples
    --------
    >>> find_corners(np.array([[0.0, 0.0], [1.0, 0.1], [2.0, 0.0], [2.0, 1.0]]), 0.2).tolist()
    [True, False, True, True]
    """
    needed = np.zeros(len(line), np.bool_)
    needed[[0, -1]] = True
    _mark_corners(np.ascontiguousarray(line, np.float64), float(tolerance) ** 2, needed)
    return needed


@njit(nogil=True, cache=True)
def _mark_corners(line, largest, needed):
    """Mark the corners between the first and the last point; `largest` is the square of the tolerance."""
    ends = np.empty((len(line), 2), np.int64)
    ends[0, 0], ends[0, 1] = 0, len(line) - 1
    count = 1
    while count > 0:
        count -= 1
        first, last = ends[count, 0], ends[count, 1]
        farthest, corner = largest, -1
        for k in range(first + 1, last):
            distance = _squared_distance(line, k, first, last)
            if distance > farthest:
                farthest, corner = distance, k
        if corner >= 0:
            needed[corner] = True
            ends[count, 0], ends[count, 1] = first, corner
            ends[count + 1, 0], ends[count + 1, 1] = corner, last
            count += 2


@njit(nogil=True, cache=True)
def _squared_distance(line, k, first, last):
    """Return the squared distance of point `k` to the segment between two others, which may be one point."""
    x, y = line[k, 0] - line[first, 0], line[k, 1] - line[first, 1]
    along_x, along_y = line[last, 0] - line[first, 0], line[last, 1] - line[first, 1]
    length = along_x * along_x + along_y * along_y
    if length > 0.0:
        share = min(max((x * along_x + y * along_y) / length, 0.0), 1.0)
        x, y = x - share * along_x, y - share * along_y
    return x * x + y * y
