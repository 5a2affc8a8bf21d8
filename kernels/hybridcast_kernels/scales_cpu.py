"""Scale-dependent filtering on CPU threads: decibels, radial spectra, filters, and the matching of distributions.

The scales of a field are levels of a cascade, bands of its Fourier spectrum that depend on the wavenumber alone. All
that is done to levels here is linear: a filtered field is a sum of spectra, each times a weight that depends on the
wavenumber, and one inverse transform, however many levels there are. Spectra are those of real fields, half of the
plane, complex64.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels import points as pt
from hybridcast_kernels.parallel import over_bands, threads
from hybridcast_kernels.workspace import Workspace, workspace_of_this_thread

Array = NDArray[np.float32]
Spectrum = NDArray[np.complex64]

#: Radial bins for a wavenumber of one wave in the domain.
BINS_PER_WAVE = 16
#: Bins of the histogram by which the distribution of a filtered field is known.
HISTOGRAM = 4096

plain = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})


# --- the grid of wavenumbers ----------------------------------------------------------------------------------


class Wavenumbers(NamedTuple):
    """Where the scales of a grid lie in its spectrum."""

    padded: tuple[int, int]
    """Rows and columns of the transform."""
    size: int
    """The longer side of the grid in cells: the unit of wavenumber is a wave in it."""
    bins: NDArray[np.uint32]
    """Radial bin of each place in the half spectrum, shape ``(row, column // 2 + 1)``."""
    radius: NDArray[np.float64]
    """Wavenumber of each radial bin, waves in `size`, shape ``(bin,)``."""


@functools.lru_cache(maxsize=8)
def wavenumbers(rows: int, columns: int, aspect: float = 1.0) -> Wavenumbers:
    """Lay out the spectrum of a grid whose cells are `aspect` times as high as they are wide.

    The grid is padded to lengths of which transforms are quick.
    """
    padded = (int(scipy.fft.next_fast_len(rows)), int(scipy.fft.next_fast_len(columns, real=True)))
    size = max(rows, columns)
    along_y = np.fft.fftfreq(padded[0]) * size / aspect
    along_x = np.fft.rfftfreq(padded[1]) * size
    radius = np.hypot(along_y[:, None], along_x)
    bins = np.rint(radius * BINS_PER_WAVE).astype(np.uint32)
    bins.setflags(write=False)
    centres = np.arange(int(bins.max()) + 1) / BINS_PER_WAVE
    centres.setflags(write=False)
    return Wavenumbers(padded, size, bins, centres)


# --- points and rows ------------------------------------------------------------------------------------------


@plain
def decibel_rows(rates, offset, out, first, last):
    """Rain rate as decibels of its ratio to `offset`, plus one: 0 where dry; NaN stays. Both (y, x)."""
    for y in range(first, last):
        for x in range(rates.shape[1]):
            rate = rates[y, x]
            found = np.float32(3.0102999566) * pt.log2(pt.ONE + rate / offset)  # no NaN, whatever the rate is
            out[y, x] = found if rate == rate else pt.NAN


@plain
def fill_rows(field, fallback, out, first, last):
    """Write `field` into the larger `out`: where missing `fallback`, where that is missing too, and around it, 0."""
    rows, columns = field.shape
    for y in range(first, last):
        for x in range(out.shape[1]):
            out[y, x] = pt.ZERO
        if y < rows:
            for x in range(columns):
                value = field[y, x]
                value = value if value == value else fallback[y, x]
                out[y, x] = value if value == value else pt.ZERO


@plain
def radial_products(a, b, bins, even, out):
    """Add up the real part of a times the conjugate of b over the whole plane, by radial bin, into out (bin,).

    `even` tells whether the number of columns of the field is; the half spectrum stands for both halves.
    """
    rows, columns = a.shape
    for i in range(rows):
        for j in range(columns):
            alone = j == 0 or (even and j == columns - 1)
            product = a[i, j].real * b[i, j].real + a[i, j].imag * b[i, j].imag
            out[bins[i, j]] += np.float64(product) * (1.0 if alone else 2.0)


@plain
def weighted_sum(spectra, weights, bins, out):
    """Sum spectra (spectrum, i, j), each times its weight by radial bin (spectrum, bin), into out (i, j)."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = weights[0, bins[i, j]] * spectra[0, i, j]
        for k in range(1, spectra.shape[0]):
            for j in range(out.shape[1]):
                out[i, j] += weights[k, bins[i, j]] * spectra[k, i, j]


@plain
def range_of(values, seen):
    """Return the lowest and highest of the values that are seen (where `seen` is not NaN)."""
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for y in range(seen.shape[0]):
        for x in range(seen.shape[1]):
            if seen[y, x] == seen[y, x]:
                low = min(low, values[y, x])
                high = max(high, values[y, x])
    return low, high


@plain
def keep_seen(values, seen, low, scale, counts, out):
    """Count the values that are seen into bins of width 1 / scale from `low` on; write them to `out`, others NaN."""
    highest = np.int32(counts.size - 1)
    for y in range(seen.shape[0]):
        for x in range(seen.shape[1]):
            if seen[y, x] == seen[y, x]:
                value = values[y, x]
                counts[min(max(np.int32((value - low) * scale), np.int32(0)), highest)] += 1
                out[y, x] = value
            else:
                out[y, x] = pt.NAN


@plain
def look_up(values, low, scale, wet_from, table, out, first, last):
    """Replace values by what `table` has at the edges of their bin, linearly; 0 below `wet_from`; NaN stays.

    values, out: (y, x). table: (edge,), an edge more than there are bins.
    """
    bins = table.size - 1
    for y in range(first, last):
        for x in range(values.shape[1]):
            value = values[y, x]
            place = min(max((value - low) * scale, pt.ZERO), np.float32(bins))
            k = min(np.int32(place), np.int32(bins - 1))
            found = table[k] + (place - np.float32(k)) * (table[k + 1] - table[k])
            out[y, x] = pt.NAN if value != value else (found if value >= wet_from else pt.ZERO)


# --- whole fields ---------------------------------------------------------------------------------------------


def decibels(rates: Array, offset: float) -> Array:
    """Turn rain rates, ``(frame, y, x)``, into decibels: 0 where dry, 3 at `offset`; NaN stays."""
    out = np.empty_like(rates)
    least = np.float32(offset)
    for rate, decibel in zip(rates, out, strict=True):
        over_bands(lambda a, b: decibel_rows(rate, least, decibel, a, b), *rate.shape)  # noqa: B023
    return out


def spectrum(field: Array, fallback: Array, grid: Wavenumbers, *, workspace: Workspace | None = None) -> Spectrum:
    """Transform a field, ``(y, x)``; where it is missing it is taken from `fallback`, and as 0 where that is too."""
    image = (workspace or workspace_of_this_thread()).array("padded", grid.padded)
    over_bands(lambda a, b: fill_rows(field, fallback, image, a, b), *grid.padded)
    found: Spectrum = scipy.fft.rfft2(image, workers=threads())
    return found


def radial_covariance(a: Spectrum, b: Spectrum, grid: Wavenumbers) -> NDArray[np.float64]:
    """Return the covariance of two fields by radial bin, ``(bin,)``; the sum over all but the first is the whole."""
    found = np.zeros(grid.radius.size)
    radial_products(a, b, grid.bins, grid.padded[1] % 2 == 0, found)
    return found / float(np.prod(grid.padded)) ** 2


class Matching(NamedTuple):
    """How values of one field become rain rates: linear between the edges of even bins."""

    low: np.float32
    scale: np.float32
    """Bins per unit."""
    wet_from: np.float32
    """Below it is dry."""
    table: Array
    """Rain rate, mm h-1, at the edges, shape ``(HISTOGRAM + 1,)``."""


def filtered_fields(
    spectra: Spectrum, weights: Array, grid: Wavenumbers, seen: Array, highest_first: Array, out: Array
) -> list[Matching]:
    """Filter: for each lead the sum of spectra times their radial weights, back in space, and its distribution.

    Parameters
    ----------
    spectra
        Shape ``(spectrum, i, j)``, as `spectrum` gives them.
    weights
        Shape ``(lead, spectrum, bin)``.
    grid
        Of these spectra.
    seen
        NaN where the result is to be missing, ``(y, x)``, as are those below.
    highest_first
        The rain rates to match, wet ones only, falling, at least one.
    out
        Written: the filtered fields, ``(lead, y, x)``.

    Returns
    -------
    For each lead, how its values become rain rates with the distribution and the number of `highest_first`.
    """
    found: list[Matching | None] = [None] * len(weights)
    known = int(np.isfinite(seen).sum())

    def leads(first: int, last: int) -> None:
        total = np.empty(spectra.shape[1:], dtype=np.complex64)
        for lead in range(first, last):
            weighted_sum(spectra, weights[lead], grid.bins, total)
            # one thread each: the leads themselves run side by side
            image = scipy.fft.irfft2(total, grid.padded, overwrite_x=True, workers=1)
            found[lead] = _matching(image, seen, known, highest_first, out[lead])

    over_bands(leads, len(weights), seen.size * 8)
    return [match for match in found if match is not None]


def matchings(fields: Array, seen: Array, highest_first: Sequence[Array]) -> list[Matching]:
    """Find for each of `fields`, ``(lead, y, x)``, how its values become rates of its own: see `filtered_fields`."""
    known = int(np.isfinite(seen).sum())
    found: list[Matching | None] = [None] * len(fields)

    def leads(first: int, last: int) -> None:
        for lead in range(first, last):
            found[lead] = _matching(fields[lead], seen, known, highest_first[lead], fields[lead])

    over_bands(leads, len(fields), seen.size)
    return [match for match in found if match is not None]


def _matching(image: Array, seen: Array, known: int, highest_first: Array, out: Array) -> Matching:
    """Write the seen part of `image` to `out`; find how its values become rates distributed like `highest_first`."""
    low, high = range_of(image, seen)
    scale = np.float32(HISTOGRAM / max(float(high - low), 1e-6))
    counts = np.zeros(HISTOGRAM, dtype=np.int64)
    keep_seen(image, seen, low, scale, counts, out)
    above = np.concatenate([np.cumsum(counts[::-1])[::-1], [0]])  # how many lie above each edge
    wet = highest_first.size
    # an edge lies between two ranks
    table = np.interp(above - 0.5, np.arange(wet), highest_first).astype(np.float32)
    if wet >= known:
        return Matching(low, scale, low, table)
    edge = int(np.searchsorted(-above, -wet, side="right")) - 1  # the last edge with so many above it, or more
    inside = (above[edge] - wet) / max(above[edge] - above[edge + 1], 1)
    return Matching(low, scale, low + np.float32((edge + inside) / float(scale)), table)


def matched(values: Array, matchings: list[Matching], *, out: Array | None = None) -> Array:
    """Turn filtered fields, ``(lead, y, x)``, into rain rates by the matching of each lead; NaN stays."""
    target = np.empty_like(values) if out is None else out
    rows, columns = values.shape[1:]

    def rows_of(first: int, last: int) -> None:
        for lead, match in enumerate(matchings):
            look_up(values[lead], match.low, match.scale, match.wet_from, match.table, target[lead], first, last)

    over_bands(rows_of, rows, columns * len(matchings))
    return target
