"""Linear interpolation along one axis of an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.types import Array, Doubles

T = TypeVar("T", Array, Doubles)


def interpolate_leads(values: T, leads: Sequence[float] | Doubles, wanted: float | Doubles, axis: int = 0) -> T:
    """Interpolate linearly along lead time; the first and last values hold beyond the ends.

    Parameters
    ----------
    values
        Array whose `axis` runs over `leads`.
    leads
        Lead times of `values`, increasing.
    wanted
        One lead time, which removes the axis, or several, in the unit of `leads`.
    axis
        Axis of lead time, not negative.

    Examples
    --------
    >>> interpolate_leads(np.array([[0, 10], [2, 30]], np.float32), [15.0, 30.0], 22.5).tolist()
    [1.0, 20.0]
    """
    return interpolate(values, np.interp(wanted, leads, np.arange(len(leads))), axis)


def interpolate(values: T, indices: float | Doubles, axis: int = 0) -> T:
    """Interpolate linearly at fractional `indices` of an axis, from 0 to its length minus 1, in the type of `values`.

    Examples
    --------
    >>> interpolate(np.array([0.0, 10.0, 30.0]), np.array([0.5, 1.25, 2.0])).tolist()
    [5.0, 15.0, 30.0]
    """
    at = np.asarray(indices, dtype=np.float64)
    last = values.shape[axis] - 1
    low = np.minimum(at.astype(int), last)
    high = np.minimum(low + 1, last)
    fraction: NDArray[Any] = (at - low).astype(values.dtype)
    if at.ndim:
        fraction = fraction.reshape(-1, *(1,) * (values.ndim - axis - 1))
    result: T = np.take(values, low, axis) * (1 - fraction) + np.take(values, high, axis) * fraction
    return result


def fractional_index(axis: Doubles, values: Doubles) -> Doubles:
    """Return the fractional indices of `values` on an evenly spaced axis; they may be outside of it.

    Examples
    --------
    >>> fractional_index(np.array([2000.0, 1000.0, 0.0]), np.array([1500.0, -500.0])).tolist()
    [0.5, 2.5]
    """
    step = (axis[-1] - axis[0]) / (axis.size - 1) if axis.size > 1 else 1.0
    return np.asarray((values - axis[0]) / step)
