"""Scale-dependent filtering on CPU threads: decibels, radial spectra, filters, and probability matching.

The scales of a field are levels of a cascade, bands of its Fourier spectrum that depend on the wavenumber alone. All
operations on levels are linear: a filtered field is a sum of spectra, each times a weight that depends on the
wavenumber, and one inverse transform, whatever the number of levels. Spectra are those of real fields, half of the
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
#: Bins of the histogram that approximates the distribution of a filtered field.
HISTOGRAM = 4096

plain = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})


# --- the grid of wavenumbers ----------------------------------------------------------------------------------


class Wavenumbers(NamedTuple):
    """The wavenumbers of the spectrum of a grid."""

    padded: tuple[int, int]
    """Rows and columns of the transform."""
    size: int
    """Longer side of the grid, cells; wavenumbers are in waves per this length."""
    bins: NDArray[np.uint32]
    """Radial bin of each element of the half spectrum, shape ``(row, column // 2 + 1)``."""
    radius: NDArray[np.float64]
    """Wavenumber of each radial bin, waves per `size`, shape ``(bin,)``."""


@functools.lru_cache(maxsize=8)
def wavenumbers(rows: int, columns: int, aspect: float = 1.0) -> Wavenumbers:
    """Return the wavenumbers of a grid whose cells are `aspect` times as high as they are wide.

    The grid is padded to lengths whose transforms are fast.
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
    """Write the decibels of 1 + rate / `offset` for rows first..last: 0 where dry; NaN stays. Both (y, x)."""
    for y in range(first, last):
        for x in range(rates.shape[1]):
            rate = rates[y, x]
            found = np.float32(3.0102999566) * pt.log2(pt.ONE + rate / offset)  # no NaN, whatever the rate is
            out[y, x] = found if rate == rate else pt.NAN


@plain
def fill_rows(field, fallback, out, first, last):
    """Write `field` into the larger `out`; `fallback` where it is missing; 0 where both are, and around the field."""
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

    `even` is whether the field has an even number of columns; the half spectrum stands for both halves.
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
def range_of(values, known):
    """Return the lowest and highest of the known values, those where `known` is not NaN."""
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for y in range(known.shape[0]):
        for x in range(known.shape[1]):
            if known[y, x] == known[y, x]:
                low = min(low, values[y, x])
                high = max(high, values[y, x])
    return low, high


@plain
def keep_known(values, known, low, scale, counts, out):
    """Count the known values in bins of width 1 / scale from `low` on; write them to `out`, and NaN elsewhere."""
    highest = np.int32(counts.size - 1)
    for y in range(known.shape[0]):
        for x in range(known.shape[1]):
            if known[y, x] == known[y, x]:
                value = values[y, x]
                counts[min(max(np.int32((value - low) * scale), np.int32(0)), highest)] += 1
                out[y, x] = value
            else:
                out[y, x] = pt.NAN


@plain
def look_up(values, low, scale, wet_from, table, out, first, last):
    """Replace values by linear interpolation between the entries of `table` at the edges of their bin.

    Values below `wet_from` become 0; NaN stays. values, out: (y, x). table: (edge,), one more than bins.
    """
    bins = table.size - 1
    for y in range(first, last):
        for x in range(values.shape[1]):
            value = values[y, x]
            place = min(max((value - low) * scale, pt.ZERO), np.float32(bins))
            k = min(np.int32(place), np.int32(bins - 1))
            found = table[k] + (place - np.float32(k)) * (table[k + 1] - table[k])
            out[y, x] = pt.NAN if value != value else (found if value >= wet_from else pt.ZERO)


@plain
def add_square_rows(ranking, rates, factor, first, last):
    """Replace `ranking` by the binary logarithm of its sum with `factor` times rates squared, for rows first..last."""
    for y in range(first, last):
        for x in range(ranking.shape[1]):
            total = ranking[y, x] + factor * rates[y, x] * rates[y, x]
            ranking[y, x] = pt.log2(total) if total == total else pt.NAN


# --- whole fields ---------------------------------------------------------------------------------------------


def decibels(rates: Array, offset: float) -> Array:
    """Convert rain rates, ``(frame, y, x)``, to decibels: 0 where dry, 3 at the rate `offset`; NaN stays."""
    out = np.empty_like(rates)
    least = np.float32(offset)
    for rate, decibel in zip(rates, out, strict=True):
        over_bands(lambda a, b: decibel_rows(rate, least, decibel, a, b), *rate.shape)  # noqa: B023
    return out


def spectrum(field: Array, fallback: Array, grid: Wavenumbers, *, workspace: Workspace | None = None) -> Spectrum:
    """Return the spectrum of a field, ``(y, x)``, with `fallback` where it is missing, and 0 where both are."""
    image = (workspace or workspace_of_this_thread()).array("padded", grid.padded)
    over_bands(lambda a, b: fill_rows(field, fallback, image, a, b), *grid.padded)
    found: Spectrum = scipy.fft.rfft2(image, workers=threads())
    return found


def radial_covariance(a: Spectrum, b: Spectrum, grid: Wavenumbers) -> NDArray[np.float64]:
    """Return the covariance of two fields by radial bin, ``(bin,)``; all bins but the first add up to it."""
    found = np.zeros(grid.radius.size)
    radial_products(a, b, grid.bins, grid.padded[1] % 2 == 0, found)
    return found / float(np.prod(grid.padded)) ** 2


class RankTransform(NamedTuple):
    """Conversion of the values of one field to rain rates of the same rank: linear between the edges of equal bins."""

    low: np.float32
    """Value at the first edge."""
    scale: np.float32
    """Bins per unit of the values."""
    wet_from: np.float32
    """Values below this become 0."""
    table: Array
    """Rain rate, mm h-1, at the edges, shape ``(HISTOGRAM + 1,)``."""


def filter_fields(
    spectra: Spectrum, weights: Array, grid: Wavenumbers, known: Array, highest_first: Array, out: Array
) -> list[RankTransform]:
    """Sum up spectra times their radial weights for each lead time, and transform the sum back to space.

    Parameters
    ----------
    spectra
        Spectra as `spectrum` returns them, shape ``(spectrum, i, j)``.
    weights
        Radial weights, shape ``(lead, spectrum, bin)``.
    grid
        Wavenumbers of the spectra.
    known
        Field that is NaN where the result is to be NaN, shape ``(y, x)``.
    highest_first
        Wet rain rates to match, mm h-1, decreasing, at least one.
    out
        Array that the filtered fields are written to, shape ``(lead, y, x)``.

    Returns
    -------
    list
        For each lead time the transform of its values to rain rates with the distribution of `highest_first`, and as
        many wet cells.
    """
    found: list[RankTransform | None] = [None] * len(weights)
    cells = int(np.isfinite(known).sum())

    def leads(first: int, last: int) -> None:
        total = np.empty(spectra.shape[1:], dtype=np.complex64)
        for lead in range(first, last):
            weighted_sum(spectra, weights[lead], grid.bins, total)
            # one thread per transform, because the lead times run in parallel
            image = scipy.fft.irfft2(total, grid.padded, overwrite_x=True, workers=1)
            found[lead] = _rank_transform(image, known, cells, highest_first, out[lead])

    over_bands(leads, len(weights), known.size * 8)
    return [transform for transform in found if transform is not None]


def rank_transforms(fields: Array, known: Array, highest_first: Sequence[Array]) -> list[RankTransform]:
    """Return for each lead time the transform of its field to rain rates of its own, as `filter_fields` does.

    Parameters
    ----------
    fields
        Fields to be matched, shape ``(lead, y, x)``; set to NaN where `known` is NaN.
    known
        Field that is NaN where the result is to be NaN, shape ``(y, x)``.
    highest_first
        For each lead time the wet rain rates to match, mm h-1, decreasing, at least one.
    """
    cells = int(np.isfinite(known).sum())
    found: list[RankTransform | None] = [None] * len(fields)

    def leads(first: int, last: int) -> None:
        for lead in range(first, last):
            found[lead] = _rank_transform(fields[lead], known, cells, highest_first[lead], fields[lead])

    over_bands(leads, len(fields), known.size)
    return [transform for transform in found if transform is not None]


def _rank_transform(image: Array, known: Array, cells: int, highest_first: Array, out: Array) -> RankTransform:
    """Write the known part of `image` to `out`; return its transform to rates distributed like `highest_first`."""
    low, high = range_of(image, known)
    scale = np.float32(HISTOGRAM / max(float(high - low), 1e-6))
    counts = np.zeros(HISTOGRAM, dtype=np.int64)
    keep_known(image, known, low, scale, counts, out)
    above = np.concatenate([np.cumsum(counts[::-1])[::-1], [0]])  # number of values above each edge
    wet = highest_first.size
    # an edge lies between two ranks
    table = np.interp(above - 0.5, np.arange(wet), highest_first).astype(np.float32)
    if wet >= cells:
        return RankTransform(low, scale, low, table)
    edge = int(np.searchsorted(-above, -wet, side="right")) - 1  # the last edge with at least `wet` values above it
    inside = (above[edge] - wet) / max(above[edge] - above[edge + 1], 1)
    return RankTransform(low, scale, low + np.float32((edge + inside) / float(scale)), table)


def add_squared_rates(ranking: Array, rates: Array, factors: Array) -> Array:
    """Add multiples of squared rain rates to a positive ranking, and take the logarithm, which keeps the order.

    Equal steps of the logarithm are equal ratios, so that the bins of `rank_transforms` resolve light and heavy rain.

    Parameters
    ----------
    ranking
        Positive, shape ``(lead, y, x)``; written over.
    rates
        mm h-1, shape ``(lead, y, x)``, or ``(1, y, x)`` for all lead times.
    factors
        Factor of the squared rates at each lead time, shape ``(lead,)``.

    Returns
    -------
    ndarray
        In the memory of `ranking`; NaN where ranking or rate is.
    """
    of_lead = np.broadcast_to(rates, ranking.shape)

    def rows(first: int, last: int) -> None:
        for lead, factor in enumerate(factors):
            add_square_rows(ranking[lead], of_lead[lead], factor, first, last)

    over_bands(rows, ranking.shape[1], ranking.shape[2] * len(ranking))
    return ranking


def apply_rank_transforms(values: Array, transforms: list[RankTransform], *, out: Array | None = None) -> Array:
    """Convert fields, ``(lead, y, x)``, to rain rates by the transform of each lead time; NaN stays."""
    target = np.empty_like(values) if out is None else out
    rows, columns = values.shape[1:]

    def look_up_rows(first: int, last: int) -> None:
        for lead, one in enumerate(transforms):
            look_up(values[lead], one.low, one.scale, one.wet_from, one.table, target[lead], first, last)

    over_bands(look_up_rows, rows, columns * len(transforms))
    return target
