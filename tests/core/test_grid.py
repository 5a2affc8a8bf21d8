import numpy as np
import pytest

from hybridcast.core.field import precipitation
from hybridcast.core.grid import block_size, coarsen

START = np.datetime64("2020-01-01")


def field(values, spacing=1000.0):
    values = np.asarray(values, dtype=np.float32)
    rows, columns = values.shape
    return precipitation(values, time=[START], y=np.arange(rows) * spacing, x=np.arange(columns) * spacing, crs=None)


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
