"""Correlated Gaussian noise on an unbounded lattice, on CPU threads: any window, member and time, without a state.

A field is a sum of octaves. Octave b is white noise on a lattice with a spacing of 2^b cells, interpolated to the cells
by cubic B-spline subdivision (Catmull and Clark 1978, doi:10.1016/0010-4485(78)90110-0). In time an octave is a moving
average of the noise at two successive knots. White noise is a function of the seed, the member, the octave, the knot
and the place (a counter-based generator, as in Salmon et al. 2011, doi:10.1145/2063384.2063405, with an integer hash).
Therefore a value does not depend on the window, the number of members, the order of evaluation or the threads.

The noise at one place of the lattice is the sum of four bytes of a hash, which is nearly Gaussian; the sum over places
and octaves is closer to it.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels.parallel import over_bands
from hybridcast_kernels.workspace import workspace_of_this_thread

Array = NDArray[np.float32]

#: Most octaves of a lattice; the coarsest has a spacing of 2^(MOST_OCTAVES - 1) cells.
MOST_OCTAVES = 12
#: Sum of four bytes: its mean, and one over its standard deviation.
_BYTES_MEAN = np.int32(510)
_BYTES_SCALE = np.float32(1.0 / np.sqrt(4 * (256**2 - 1) / 12))

plain = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"}, no_cfunc_wrapper=True)
inlined = njit(nogil=True, cache=True, error_model="numpy", no_cfunc_wrapper=True, forceinline=True)


# --- white noise ----------------------------------------------------------------------------------------------


@inlined
def mix_64(value):
    """Return the finalizer of SplitMix64 of an unsigned integer (Steele et al. 2014, doi:10.1145/2660193.2660195)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@inlined
def key_of(key, number):
    """Return the key that follows from a key and a number, which may be negative."""
    return mix_64(key + np.uint64(np.int64(number)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1))


@inlined
def white(low, high, column):
    """Return nearly Gaussian noise of unit variance at an unsigned column of the row with the key (low, high)."""
    x = np.uint32(np.uint32(column * np.uint32(0x9E3779B1)) + low)
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x7FEB352D))
    x = np.uint32(x ^ (x >> np.uint32(15)) ^ high)
    x = np.uint32(x * np.uint32(0x846CA68B))
    x = np.uint32(x ^ (x >> np.uint32(16)))
    total = np.int32(x & np.uint32(255)) + np.int32((x >> np.uint32(8)) & np.uint32(255))
    total += np.int32((x >> np.uint32(16)) & np.uint32(255)) + np.int32(x >> np.uint32(24))
    return np.float32(np.int32(total - _BYTES_MEAN)) * _BYTES_SCALE


@plain
def add_white(line, start, columns, first_column, key, weight):
    """Add `weight` times the white noise of the row with a 64-bit key to line[start : start + columns]."""
    low, high = np.uint32(key & np.uint64(0xFFFFFFFF)), np.uint32(key >> np.uint64(32))
    offset = np.uint32(np.uint64(np.int64(first_column)) & np.uint64(0xFFFFFFFF))
    begin = np.uintp(start)
    for i in range(np.uint32(0), np.uint32(columns)):
        line[begin + np.uintp(i)] += weight * white(low, high, np.uint32(offset + i))


# --- octaves --------------------------------------------------------------------------------------------------


@plain
def subdivide_row(coarse, at, stride, row, first_row, line):
    """Interpolate the fine lattice row `row` between rows of a coarse lattice, into line (coarse column).

    Behind the line come three quarters of it.
    """
    i = (row >> 1) - first_row
    above = at + i * stride
    if row & 1:
        for j in range(stride):
            line[j] = np.float32(0.5) * (coarse[above + j] + coarse[above + stride + j])
    else:
        for j in range(stride):
            line[j] = (
                np.float32(0.125) * (coarse[above - stride + j] + coarse[above + stride + j])
                + np.float32(0.75) * coarse[above + j]
            )
    for j in range(stride):
        line[stride + j] = np.float32(0.75) * line[j]


@plain
def subdivide_columns(line, stride, first_coarse, out, start, first, columns):
    """Interpolate a line of coarse columns to fine columns first, first + 1, ..., into out[start...].

    A fine column is at a coarse one, or halfway to the next; both are written in one loop, which compilers vectorize.
    Three quarters of the line are read, so that a fused multiplication and addition rounds the same everywhere.
    """
    odd = first & 1  # the first column is halfway
    at, begin, one, two = np.uintp((first >> 1) - first_coarse + odd), np.uintp(start + odd), np.uintp(1), np.uintp(2)
    most = at + np.uintp(stride)
    if odd:
        out[np.uintp(start)] = np.float32(0.5) * (line[at - one] + line[at])
    pairs = np.uintp((columns - odd) // 2)
    for k in range(np.uintp(0), pairs):
        right = line[at + k + one]
        out[begin + two * k] = np.float32(0.125) * (line[at + k - one] + right) + line[most + k]
        out[begin + two * k + one] = np.float32(0.5) * (line[at + k] + right)
    if (columns - odd) & 1:
        around = line[at + pairs - one] + line[at + pairs + one]
        out[begin + two * pairs] = np.float32(0.125) * around + line[most + pairs]


@plain
def fill_octaves(key, amplitudes, knots, knot_weights, windows, places, pyramid, line, out):
    """Sum the octaves of one member and one time over a window of the lattice.

    amplitudes: (octave,), that of the constant last. knots, knot_weights: (octave, 2), of the constant last. windows:
    first row, first column, rows and columns of each octave, (octave, 4). places: where each octave begins in the flat
    `pyramid`. line: scratch for two rows. out: the window of octave 0, (y, x), flat.
    """
    octaves = windows.shape[0]
    constant = np.float32(0)
    for k in range(2):
        knot_key = key_of(key_of(key, octaves), knots[octaves, k])
        for part in range(4):  # a sum of 16 bytes
            constant += (
                knot_weights[octaves, k]
                * np.float32(0.5)
                * white(
                    np.uint32(knot_key & np.uint64(0xFFFFFFFF)), np.uint32(knot_key >> np.uint64(32)), np.uint32(part)
                )
            )
    constant *= amplitudes[octaves]
    for octave in range(octaves - 1, -1, -1):
        first_row, first_column, rows, columns = windows[octave]
        at = places[octave]
        target = out if octave == 0 else pyramid
        keys = (
            key_of(key_of(key, octave), knots[octave, 0]),
            key_of(key_of(key, octave), knots[octave, 1]),
        )
        for i in range(rows):
            start = at + i * columns
            if octave == octaves - 1:
                for x in range(columns):
                    target[start + x] = constant
            else:
                coarse = windows[octave + 1]
                subdivide_row(pyramid, places[octave + 1], coarse[3], first_row + i, coarse[0], line)
                subdivide_columns(line, coarse[3], coarse[1], target, start, first_column, columns)
            for k in range(2):
                weight = amplitudes[octave] * knot_weights[octave, k]
                if weight != np.float32(0):
                    add_white(target, start, columns, first_column, key_of(keys[k], first_row + i), weight)


class LatticeTime(NamedTuple):
    """The two knots of each octave, and of the constant after them, that the noise at one time is made of."""

    knots: NDArray[np.int64]
    """Numbers of the knots, shape ``(octave + 1, 2)``."""
    weights: Array
    """Weights of the knots, whose squares add up to one, shape ``(octave + 1, 2)``."""

    @classmethod
    def at(cls, minutes: float, spacing: NDArray[np.float64]) -> LatticeTime:
        """Return the knots at a time, for knots that are `spacing` minutes apart, shape ``(octave + 1,)``."""
        place = minutes / spacing
        first = np.floor(place)
        angle = 0.5 * np.pi * (place - first)
        return cls(
            np.stack([first, first + 1], axis=1).astype(np.int64),
            np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32),
        )


class LatticeWindow(NamedTuple):
    """A part of the lattice, in cells."""

    first_row: int
    first_column: int
    rows: int
    columns: int


def lattice_noise(
    window: LatticeWindow,
    members: int,
    seed: int,
    amplitudes: Array,
    time: LatticeTime,
    *,
    first: int = 0,
    out: Array | None = None,
) -> Array:
    """Return correlated Gaussian noise of several members at one time.

    The variance of an octave at a cell is that of `octave_variances` times its amplitude squared.

    Parameters
    ----------
    window
        Part of the lattice.
    members
        Number of members; the first ones do not depend on it.
    seed
        Seed, zero or above.
    amplitudes
        Amplitude of the white noise of each octave, the finest first, and last that of a constant for the whole
        lattice, float32, shape ``(octave + 1,)``.
    time
        Knots of the octaves.
    first
        Number of the first member.
    out
        Array to write to, C-contiguous float32; allocated if not given.

    Returns
    -------
    ndarray
        Shape ``(member, y, x)``.
    """
    octaves = amplitudes.size - 1
    windows = _windows(window, octaves)
    sizes = windows[:, 2] * windows[:, 3]
    places = np.concatenate([[0, 0], np.cumsum(sizes[1:])])[:octaves].astype(np.int64)
    shape = (members, window.rows, window.columns)
    target = np.empty(shape, np.float32) if out is None else out
    flat = target.reshape(members, -1)

    def fill(begin: int, end: int) -> None:
        work = workspace_of_this_thread()
        pyramid = work.array("lattice", (max(int(sizes[1:].sum()), 1),))
        line = work.array("lattice_line", (2 * int(windows[:, 3].max()),))
        for member in range(begin, end):
            key = np.uint64(_key_of_member(seed, first + member))
            fill_octaves(key, amplitudes, time.knots, time.weights, windows, places, pyramid, line, flat[member])

    over_bands(fill, members, 8 * window.rows * window.columns)
    return target


def _key_of_member(seed: int, member: int) -> int:
    """Return a 64-bit key for a member."""
    return int(np.random.SeedSequence(seed, spawn_key=(member,)).generate_state(1, np.uint64)[0])


def _windows(window: LatticeWindow, octaves: int) -> NDArray[np.int64]:
    """Return the windows of all octaves that interpolation to a window of the finest needs, ``(octave, 4)``."""
    first_row, first_column, rows, columns = window
    found = [tuple(window)]
    for _ in range(octaves - 1):
        last_row, last_column = first_row + rows - 1, first_column + columns - 1
        first_row, first_column = (first_row >> 1) - 1, (first_column >> 1) - 1
        rows, columns = (last_row >> 1) + 2 - first_row, (last_column >> 1) + 2 - first_column
        found.append((first_row, first_column, rows, columns))
    return np.array(found, np.int64)


def octave_variances(first: int, count: int, octaves: int) -> NDArray[np.float64]:
    """Return the variance of each octave along one axis at cells first, first + 1, ..., shape ``(octave, count)``.

    It is periodic, because interpolation between places of the lattice averages over more of them than at a place. The
    variance of an octave at a cell is the product of the values along both axes.
    """
    cells = np.arange(first, first + count)
    return np.stack([_subdivided_squares(octave)[cells % 2**octave] for octave in range(octaves)])


def mean_variances(octaves: int) -> NDArray[np.float64]:
    """Return the variance of each octave along one axis, averaged over its period, shape ``(octave,)``."""
    return np.array([_subdivided_squares(octave).mean() for octave in range(octaves)])


@functools.cache
def _subdivided_squares(octave: int) -> NDArray[np.float64]:
    """Return the sum of the squared weights of the places of an octave at the cells of a period."""
    response = np.ones(1)
    for _ in range(octave):
        stretched = np.zeros(2 * response.size - 1)
        stretched[::2] = response
        response = np.convolve(stretched, np.array([1, 4, 6, 4, 1]) / 8)
    period = 2**octave
    centre = response.size // 2
    places = np.arange(response.size) - centre
    squares = np.zeros(period)
    np.add.at(squares, places % period, response**2)
    squares.setflags(write=False)
    return squares
