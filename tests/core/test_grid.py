"""Coarse cells and windows on a grid, against means and correlations over the cells computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.core.field import precipitation
from hybridcast.core.grid import (
    block_size,
    coarsen,
    decibels,
    known_mean,
    local_correlation,
    window_mean,
    window_size,
)

START = np.datetime64("2020-01-01")
CELL = (2.0, 1.0)  # km, so windows have twice as many columns as rows
CENTRE = (20, 30)
BLOCK = np.s_[20 - 4 : 20 + 5, 30 - 8 : 30 + 9]  # 8 km on either side


def field(values, spacing=1000.0):
    values = np.asarray(values, dtype=np.float32)
    rows, columns = values.shape
    return precipitation(values, time=[START], y=np.arange(rows) * spacing, x=np.arange(columns) * spacing, crs=None)


# --- coarse cells ---------------------------------------------------------------------------------------------


def test_means_of_whole_blocks_in_the_right_place():
    fine = field(np.random.default_rng(0).random((7, 9)))
    coarse = coarsen(fine, 2000.0)
    assert coarse.shape == (1, 3, 4)
    assert coarse.values[0, 1, 2] == pytest.approx(fine.values[0, 2:4, 4:6].mean())
    np.testing.assert_allclose(coarse["x"], [500, 2500, 4500, 6500])
    assert coarse.attrs["units"] == "mm h-1"
    assert coarse.dtype == np.float32


def test_what_is_beyond_the_last_whole_block_is_left_out():
    fine = field(np.random.default_rng(1).random((11, 7)), 500.0)
    coarse = coarsen(fine, 2000.0)
    assert coarse.shape == (1, 2, 1)
    assert coarse.values[0, 1, 0] == pytest.approx(fine.values[0, 4:8, :4].mean())


def test_unknown_cells_do_not_count_as_dry():
    values = np.full((2, 4), 4.0)
    values[0, 0] = np.nan
    values[:, 2] = values[0, 3] = np.nan
    assert np.array_equal(coarsen(field(values), 2000.0).values[0], [[4.0, np.nan]], equal_nan=True)


@pytest.mark.parametrize(("spacing", "size"), [(500.0, 4), (1000.0, 2), (1100.0, 2), (2000.0, 1), (4000.0, 1)])
def test_block_size(spacing, size):
    assert block_size(field(np.zeros((8, 8)), spacing), 2000.0) == size


def test_a_coarser_field_stays():
    fine = field(np.zeros((4, 4)), 5000.0)
    assert coarsen(fine, 2000.0) is fine


def test_a_field_smaller_than_a_block():
    assert coarsen(field(np.ones((1, 3)), 500.0), 2000.0).shape == (1, 1, 1)


# --- windows --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fields():
    a, b = np.random.default_rng(0).normal(size=(2, 40, 60)).astype(np.float32)
    known = np.random.default_rng(1).random((40, 60)) < 0.7
    return a, (0.5 * a + b).astype(np.float32), known


def test_decibels_start_at_a_tenth_of_a_millimetre():
    made = decibels(np.array([0, 0.05, 0.1, 1, 100, np.nan], np.float32))
    np.testing.assert_allclose(made, [0, 0, 0, 10, 30, np.nan], atol=1e-5)
    assert made.dtype == np.float32


def test_windows_are_odd_and_as_wide_as_asked():
    assert window_size(8, CELL) == (9, 17)
    assert window_size(0.1, CELL) == (1, 1)


def test_means_are_those_of_the_cells(fields):
    a, _, known = fields
    assert window_mean(a, 8, CELL)[CENTRE] == pytest.approx(a[BLOCK].mean(), abs=1e-5)
    share = window_mean(known.astype(np.float32), 8, CELL)
    made = known_mean(np.where(known, a, np.float32(0)), share, 8, CELL)
    assert made[CENTRE] == pytest.approx(a[BLOCK][known[BLOCK]].mean(), abs=1e-5)


def test_the_edge_is_repeated(fields):
    a = fields[0]
    padded = np.pad(a, ((4, 4), (8, 8)), mode="edge")
    assert window_mean(a, 8, CELL)[0, 0] == pytest.approx(padded[:9, :17].mean(), abs=1e-5)


def test_correlation_is_that_of_the_known_cells(fields):
    a, b, known = fields
    ones = known.astype(np.float32)
    made = local_correlation(a * ones, b * ones, ones, 8, CELL)
    by_hand = np.corrcoef(a[BLOCK][known[BLOCK]], b[BLOCK][known[BLOCK]])[0, 1]
    assert made[CENTRE] == pytest.approx(by_hand, abs=1e-4)


def test_what_does_not_vary_or_is_not_known_has_no_correlation(fields):
    a, _, _ = fields
    ones = np.ones_like(a)
    assert np.isnan(local_correlation(a, ones, ones, 8, CELL)).all()
    assert np.isnan(local_correlation(a, a, np.zeros_like(a), 8, CELL)).all()
