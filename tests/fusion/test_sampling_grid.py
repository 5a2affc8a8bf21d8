"""Where and when members are asked."""

import numpy as np
import pytest

from helpers import synthetic
from hybridcast.core.grid import coarsened
from hybridcast.fusion.sampling_grid import Grid, between, node_lead_times

MINUTE = np.timedelta64(1, "m")


def leads(*minutes):
    return (np.array(minutes) * 60e9).astype("timedelta64[ns]")


@pytest.mark.parametrize(
    ("ahead", "asked"),
    [
        (leads(5, 60, 120), [5, 15, 30, 45, 60, 90, 120]),
        (leads(30), [30]),
        (leads(10, 20), [10, 15, 20]),
        (leads(60, 180), [60, 90, 120, 150, 180]),
    ],
)
def test_members_are_asked_at_the_ends_and_now_and_then(ahead, asked):
    np.testing.assert_array_equal(node_lead_times(ahead) / MINUTE, asked)


def test_values_between_are_linear_and_those_asked_are_kept():
    asked, ahead = leads(10, 20, 40), leads(10, 15, 20, 30, 40)
    values = np.array([0, 10, 50], np.float32)[None, :, None, None]
    np.testing.assert_allclose(between(values, asked, ahead)[0, :, 0, 0], [0, 5, 10, 30, 50])


def test_the_grid_of_cells_that_may_be_asked():
    rain = synthetic.rain((60, 50))
    grid = Grid.of(rain, coarsened(rain, 2000.0), 2000.0, 2)
    assert grid == Grid((30, 25), 2, 2)
    assert grid.shape == (15, 13)
    assert grid.every_cell.shape == (15 * 13, 2)
    assert grid.every_cell[-1].tolist() == [28, 24]
    field = np.arange(30 * 25).reshape(30, 25)
    np.testing.assert_array_equal(grid.at_asked(field).ravel(), field[tuple(grid.every_cell.T)])
    frame = rain.values[-1].copy()
    np.testing.assert_array_equal(grid.cells(frame), grid.every_cell)
    frame[:, 20:] = np.nan
    few = grid.cells(frame)
    assert len(few) < len(grid.every_cell)
    assert few[:, 1].max() * 2 >= 20  # those beside are asked too, so that the last known cells can be sampled


def test_filled_puts_values_where_they_were_asked():
    grid = Grid((6, 8), 1, 2)
    cells = grid.every_cell[[0, 5]]
    filled = grid.filled(np.array([[[1.0, 2.0]]], np.float32), cells)
    assert filled.shape == (1, 1, 3, 4)
    assert filled.sum() == 3
    assert filled[0, 0, 1, 1] == 2
