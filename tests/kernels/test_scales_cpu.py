"""Kernels of the scale filter: against numpy, pysteps' spectra, and ranks by sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import synthetic
from hybridcast_kernels import scales_cpu as kernels

SHAPES = [(64, 64), (45, 77), (50, 63), (1, 40), (40, 1), (2, 3), (1, 1)]


def noise(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def by_sorting(values, rates):
    """Rank by rank: the highest value gets the highest rate; those beyond the rates are dry."""
    result = np.zeros(values.shape)
    order = np.argsort(-values, axis=None, kind="stable")[: rates.size]
    result.ravel()[order] = rates
    return result


def filtered(spectra, weights, grid, seen, rates):
    out = np.empty((len(weights), *seen.shape), np.float32)
    return out, kernels.filter_fields(spectra, weights.astype(np.float32), grid, seen, rates, out)


# --- spectra --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_the_bins_are_the_wavenumbers_in_waves_per_longer_side(shape):
    grid = kernels.wavenumbers(*shape)
    assert all(padded >= size for padded, size in zip(grid.padded, shape, strict=True))
    fy, fx = np.fft.fftfreq(grid.padded[0])[:, None], np.fft.rfftfreq(grid.padded[1])
    expected = max(shape) * np.hypot(fy, fx)
    assert np.abs(grid.radius[grid.bins] - expected).max() <= 0.5 / kernels.BINS_PER_WAVE + 1e-9
    assert grid.bins[0, 0] == 0
    assert (grid.bins == 0).sum() == 1  # the mean alone has the first bin


def test_wavenumbers_are_those_of_distances_where_cells_are_not_square():
    """Cells twice as high as wide: waves along y are twice as long."""
    wide, square = kernels.wavenumbers(64, 64, 2.0), kernels.wavenumbers(64, 64)
    np.testing.assert_allclose(wide.radius[wide.bins[10, 0]], 5.0)
    np.testing.assert_allclose(square.radius[square.bins[10, 0]], 10.0)
    np.testing.assert_allclose(wide.radius[wide.bins[0, 10]], 10.0)


def test_decibels():
    rates = np.array([[[0.0, 0.05, 0.25, 1.0, 100.0, np.nan]]], np.float32)
    found = kernels.decibels(rates, 0.25)
    np.testing.assert_allclose(found, 10 * np.log10(1 + rates / 0.25), atol=1e-4)
    assert found[0, 0, 0] == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_spectrum_is_that_of_the_filled_and_padded_field(shape):
    field, fallback = noise(shape), noise(shape, 1)
    field[0, ::2] = np.nan
    fallback[0, ::4] = np.nan
    grid = kernels.wavenumbers(*shape)
    full = np.zeros(grid.padded)
    full[: shape[0], : shape[1]] = np.nan_to_num(np.where(np.isnan(field), fallback, field))
    kernels.spectrum(noise(shape), fallback, grid)  # leaves nothing behind
    np.testing.assert_allclose(kernels.spectrum(field, fallback, grid), np.fft.rfft2(full), atol=2e-3)


@pytest.mark.parametrize("shape", [(64, 64), (45, 75), (1, 40), (40, 1)])
def test_the_covariance_over_all_bins_is_that_of_the_fields(shape):
    grid = kernels.wavenumbers(*shape)
    assert grid.padded == shape  # lengths of which transforms are quick
    a = noise(shape)
    b = (0.6 * a + 0.8 * noise(shape, 1) + 3).astype(np.float32)
    found = kernels.radial_covariance(kernels.spectrum(a, a, grid), kernels.spectrum(b, b, grid), grid)
    np.testing.assert_allclose(found[1:].sum(), np.cov(a.ravel(), b.ravel(), bias=True)[0, 1], rtol=1e-4)
    np.testing.assert_allclose(found[0], a.mean() * b.mean(), rtol=1e-3)


# --- filtering and matching -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_of_one_give_the_field_back_where_it_is_seen(shape):
    field, other = noise(shape), noise(shape, 1)
    grid = kernels.wavenumbers(*shape)
    seen = np.where(np.arange(shape[1]) % 5 == 3, np.float32(np.nan), field)
    spectra = np.stack([kernels.spectrum(f, f, grid) for f in (field, other)])
    weights = np.ones((2, 2, grid.radius.size)) * np.array([[1.0, 0.0], [0.5, -2.0]])[:, :, None]
    found, _ = filtered(spectra, weights, grid, seen, np.ones(1, np.float32))
    unseen = np.isnan(seen)
    assert np.isnan(found[:, unseen]).all()
    np.testing.assert_allclose(found[0][~unseen], field[~unseen], atol=1e-5)
    np.testing.assert_allclose(found[1][~unseen], (0.5 * field - 2 * other)[~unseen], atol=1e-5)


@pytest.mark.parametrize("wet", [0.01, 0.1, 0.5, 1.0])
def test_values_become_rates_as_by_sorting(wet):
    shape = (90, 120)
    seen = np.where(synthetic.disc(shape), np.float32(0), np.float32(np.nan))
    known = np.isfinite(seen)
    field = (noise(shape) + 3).astype(np.float32)
    count = max(1, int(wet * known.sum()))
    rates = np.sort(np.random.default_rng(2).gamma(0.5, 4, count).astype(np.float32) + 0.1)[::-1]
    grid = kernels.wavenumbers(*shape)
    spectra = kernels.spectrum(field, field, grid)[None]
    values, matching = filtered(spectra, np.ones((1, 1, grid.radius.size)), grid, seen, rates)
    found = kernels.apply_rank_transforms(values, matching)[0]
    assert (np.isnan(found) == ~known).all()
    expected = by_sorting(values[0][known], rates)
    assert abs(int((found[known] > 0).sum()) - count) <= max(2, 0.002 * count)
    assert found[known][found[known] > 0].min() >= rates[-1] - 1e-6
    assert found[known].max() <= rates[0] + 1e-5
    # bins are narrow: ranks, and so rates, are nearly those of sorting
    assert np.corrcoef(found[known], expected)[0, 1] > 0.99
    assert abs(found[known].mean() / expected.mean() - 1) < 0.02


@given(st.integers(0, 10_000), st.integers(1, 400))
def test_ranks_are_kept_whatever_the_field(seed, wet):
    random = np.random.default_rng(seed)
    field = (random.standard_normal((20, 20)) * 10.0 ** random.integers(-3, 4)).astype(np.float32)
    rates = np.sort(random.gamma(0.3, 5, wet).astype(np.float32) + 0.1)[::-1]
    grid = kernels.wavenumbers(20, 20)
    weights = np.ones((1, 1, grid.radius.size))
    values, matching = filtered(kernels.spectrum(field, field, grid)[None], weights, grid, field, rates)
    found = kernels.apply_rank_transforms(values, matching)[0].ravel()
    order = np.argsort(values[0], axis=None)
    assert (np.diff(found[order]) >= -1e-4 * rates[0]).all()


def test_a_flat_field_is_all_wet_or_all_dry_and_finite():
    field = np.full((8, 9), 4, np.float32)
    grid = kernels.wavenumbers(8, 9)
    spectra = kernels.spectrum(field, field, grid)[None]
    weights = np.zeros((1, 1, grid.radius.size))
    for count in (1, 30, 72):
        values, matching = filtered(spectra, weights, grid, field, np.full(count, 2, np.float32))
        assert set(np.unique(kernels.apply_rank_transforms(values, matching))) <= {0.0, 2.0}


def test_the_same_on_any_number_of_threads(set_threads):
    shape = (70, 90)
    field, other = noise(shape), noise(shape, 1)
    grid = kernels.wavenumbers(*shape)
    weights = np.random.default_rng(3).random((7, 2, grid.radius.size))
    rates = np.linspace(9, 1, 500, dtype=np.float32)
    results = []
    for count in (1, 3):
        set_threads(count)
        spectra = np.stack([kernels.spectrum(f, f, grid) for f in (field, other)])
        values, matching = filtered(spectra, weights, grid, field, rates)
        results.append((values, kernels.apply_rank_transforms(values, matching)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("frames", [1, 3])
def test_squared_rates_are_added_to_a_ranking_in_logarithms(frames):
    generator = np.random.default_rng(0)
    ranking = generator.gamma(0.5, 2.0, (3, 20, 30)).astype(np.float32) + np.float32(0.1)
    rates = generator.gamma(0.5, 5.0, (frames, 20, 30)).astype(np.float32)
    rates[0, 3, 4] = np.nan
    factors = np.array([0.0, 0.1, 1.0], np.float32)
    expected = np.log2(ranking + factors[:, None, None] * rates**2)
    found = kernels.add_squared_rates(ranking, rates, factors)
    assert found is ranking
    np.testing.assert_allclose(found, expected, atol=2e-5)
