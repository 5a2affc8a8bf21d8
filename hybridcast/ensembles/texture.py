"""Texture of members: elongated and grained as the rain of the latest frame, which changes little within two hours.

Rain is drawn out in lines and streaks, in a direction of its own at each event, and it is smoother or rougher than the
noise. `measure_stretch` takes the direction from the autocorrelation of the latest frame, and the noise is stretched
so; `match_grain` leaves out octaves of the noise until members vary from cell to cell as the frame does. STEPS takes
both from the spectrum of the frame (Bowler et al. 2006, doi:10.1256/qj.04.100).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter

from hybridcast.core.grid import LOWEST_RATE, decibels
from hybridcast.core.types import Array, Doubles

#: Standard deviation of the Gaussian window over whose mean rain is counted in the autocorrelation, km.
SURROUNDINGS = 17.0
#: Longest distance of the autocorrelation, km, and in cells at least.
REACH, LEAST_REACH = 24.0, 6
#: Autocorrelation from which on distances count, by what is above it.
LEAST_CORRELATION = 0.3
#: Largest ratio of the axes of the noise.
LARGEST_RATIO = 3.0
#: Least standard deviation of rain that has a shape, dB.
LEAST_DEVIATION = 0.01
#: Number of cells with rain at which the measured shape counts as much as a round one.
STRETCH_EVIDENCE = 200
#: Distances whose mean square differences are compared, km.
NEAR, FAR = 2.0, 8.0
#: Fewest pairs of cells of which the farther differ on the average by 1 dB, in a grain that is known.
GRAIN_EVIDENCE = 200
#: Range of the finest spacing of the noise that grain is matched with, km, and the number of halvings of it.
FINEST, HALVINGS = (1.0, 16.0), 5


# --- direction ------------------------------------------------------------------------------------------------


def measure_stretch(frame: Array, cell: float) -> Doubles:
    """Return the matrix that maps a displacement in cells to one on a lattice of round noise, ``(2, 2)``.

    It has the determinant one: scales are longer along the rain and shorter across, by a ratio of at most
    `LARGEST_RATIO`. Without rain it is the identity.

    Parameters
    ----------
    frame
        Rain rate, mm h-1, NaN where unknown, ``(y, x)``.
    cell
        Size of the cells, km.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> along_x = gaussian_filter(generator.standard_normal((200, 200)), (2, 5))
    >>> bool(measure_stretch(np.exp(40 * along_x), 2.0)[1, 1] < 0.8)
    True
    """
    known = np.isfinite(frame)
    wet = int(np.count_nonzero(frame[known] >= LOWEST_RATE))
    if wet < STRETCH_EVIDENCE or min(frame.shape) < 2 * LEAST_REACH:
        return np.eye(2)
    rain = _remove_surroundings(frame, known, cell)
    if not rain.std() > LEAST_DEVIATION:
        return np.eye(2)
    moments = _second_moments(rain, known, max(LEAST_REACH, round(REACH / cell)))
    if not np.trace(moments) > 0:  # no cell is correlated with the next
        return np.eye(2)
    round_ = np.eye(2) * np.trace(moments) / 2
    squares, axes = np.linalg.eigh((wet * moments + STRETCH_EVIDENCE * round_) / (wet + STRETCH_EVIDENCE))
    ratio = min(float(np.sqrt(squares[1] / squares[0])), LARGEST_RATIO)
    return np.asarray(axes @ np.diag([np.sqrt(ratio), 1 / np.sqrt(ratio)]) @ axes.T)


def _remove_surroundings(frame: Array, known: Array, cell: float) -> Array:
    """Return rain in decibels beyond its mean in the surroundings, 0 where unknown."""
    rain = np.where(known, decibels(frame), np.float32(0))
    width = SURROUNDINGS / cell
    share = gaussian_filter(known.astype(np.float32), width, mode="constant")
    mean = gaussian_filter(rain, width, mode="constant") / np.maximum(share, np.float32(1e-3))
    return np.where(known, rain - mean, np.float32(0))


def _second_moments(field: Array, known: Array, reach: int) -> Doubles:
    """Return the second moments of the distances at which a field is correlated with itself, cells2, ``(2, 2)``."""
    shape = [next_fast_len(size + reach, real=True) for size in field.shape]
    steps = np.arange(-reach, reach + 1)
    covariance, pairs = (
        irfft2(np.abs(rfft2(one, shape)) ** 2, shape)[np.ix_(steps, steps)] for one in (field, known.astype(np.float32))
    )
    mean = covariance / np.maximum(pairs, 1)
    lags = np.stack(np.meshgrid(steps, steps, indexing="ij"))
    weight = np.maximum(mean / mean[reach, reach] - LEAST_CORRELATION, 0) * (np.hypot(*lags) <= reach)
    return np.asarray(np.einsum("yx,ayx,byx->ab", weight, lags, lags) / weight.sum())


def turn_to_smallest_window(matrix: Doubles, shape: tuple[int, ...]) -> Doubles:
    """Return a stretch that is turned so that a grid needs the smallest window of the lattice; noise itself is round.

    Parameters
    ----------
    matrix
        Result of `measure_stretch`; the identity stays as it is.
    shape
        Rows and columns of the grid.
    """
    if np.array_equal(matrix, np.eye(2)):
        return matrix
    angles = np.radians(np.arange(180))
    turns = np.stack([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]]).transpose(2, 0, 1)
    turned = turns @ matrix
    height, width = (np.abs(turned) @ np.array(shape, np.float64)).T
    return np.asarray(turned[int(np.argmin(height * width))])


# --- grain ----------------------------------------------------------------------------------------------------


def measure_grain(fields: Iterable[Array], cell: float) -> float:
    """Return how much rain varies over `NEAR`, as a part of how much it varies over `FAR`; NaN with too little rain.

    It is the ratio of mean square differences in decibels, and depends neither on the amounts nor on the area.

    Parameters
    ----------
    fields
        Rain rates, mm h-1, NaN where unknown, each ``(y, x)``.
    cell
        Size of the cells, km.
    """
    near = max(1, round(NEAR / cell))
    far = max(near + 1, round(FAR / cell))
    sums = np.zeros((2, 2))
    for field in fields:
        rain = decibels(field)
        sums += [_sum_squares(rain, near), _sum_squares(rain, far)]
    (near_sum, near_pairs), (far_sum, far_pairs) = sums
    return float(near_sum / near_pairs / (far_sum / far_pairs)) if far_sum >= GRAIN_EVIDENCE else float("nan")


def _sum_squares(rain: Array, step: int) -> tuple[float, float]:
    """Return the sum of the squared differences of known cells at a distance along both axes, and their number."""
    total, pairs = 0.0, 0
    for difference in (rain[step:] - rain[:-step], rain[:, step:] - rain[:, :-step]):
        known = difference[np.isfinite(difference)].astype(np.float64)
        total, pairs = total + float(np.square(known).sum()), pairs + known.size
    return total, float(pairs)


def match_grain(draw: Callable[[float], Iterable[Array]], target: float, cell: float) -> float:
    """Return the finest spacing of the noise with which members have a grain, km; 0 to leave the noise as it is.

    Members that are smoother than the target, or without a grain, are left as they are.

    Parameters
    ----------
    draw
        Function from the finest spacing, km, to fields of members.
    target
        Result of `measure_grain` for the latest frame.
    cell
        Size of the cells, km.
    """
    if not measure_grain(draw(0.0), cell) > target:
        return 0.0
    low, high = np.log2(FINEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if measure_grain(draw(float(2**middle)), cell) > target else (low, middle)
    return float(2**high)
