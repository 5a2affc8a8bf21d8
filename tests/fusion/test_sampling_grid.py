"""The sampling grid: nodes, lead times, and interpolation from them."""

import numpy as np
import pytest

from helpers import synthetic
from hybridcast.core.grid import coarsen
from hybridcast.fusion.sampling_grid import LagrangianInterpolator, LatestFrame, SamplingGrid, node_lead_times

MINUTE = np.timedelta64(1, "m")


def leads(*minutes):
    return (np.array(minutes) * 60e9).astype("timedelta64[ns]")


@pytest.mark.parametrize(
    ("lead_times", "nodes"),
    [
        (leads(5, 60, 120), [5, 15, 30, 45, 60, 90, 120]),
        (leads(30), [30]),
        (leads(10, 20), [10, 15, 20]),
        (leads(60, 180), [60, 90, 120, 150, 180]),
    ],
)
def test_members_are_evaluated_at_the_ends_and_at_regular_times(lead_times, nodes):
    np.testing.assert_array_equal(node_lead_times(lead_times) / MINUTE, nodes)


def interpolator(node_leads, lead_times):
    """Return an interpolator to a fine grid of the same cells, without motion."""
    latest = LatestFrame(np.zeros((3, 4), np.float32), lead_times, np.zeros((2, 3, 4), np.float32))
    return LagrangianInterpolator(SamplingGrid((3, 4), 1, 1), node_leads, latest)


def test_interpolation_is_linear_and_keeps_the_nodes():
    made = interpolator(leads(10, 20, 40), leads(10, 15, 20, 30, 40))
    values = np.array([0, 10, 50], np.float32)
    np.testing.assert_allclose(made.to_leads(values[None, :, None, None])[0, :, 0, 0], [0, 5, 10, 30, 50])
    np.testing.assert_allclose(made.fractions_to_leads(values[:, None])[:, 0], [0, 5, 10, 30, 50])
    np.testing.assert_allclose(made.weights_to_leads(values), [0, 5, 10, 30, 50])
    assert made.nearest_nodes().tolist() == [0, 0, 1, 1, 2]


def test_without_motion_planes_stay_and_are_unknown_where_the_advected_frame_is():
    made = interpolator(leads(10, 20), leads(10, 20))
    advected = np.zeros((2, 3, 4), np.float32)
    advected[1, 2, 3] = np.nan
    planes = np.random.default_rng(0).random((2, 2, 3, 4)).astype(np.float32)
    expected = planes.copy()
    expected[:, 1, 2, 3] = np.nan
    np.testing.assert_allclose(made.advect(planes, advected), expected, atol=1e-6)
    np.testing.assert_allclose(made.enlarge(planes[0]), planes[0], atol=1e-6)
    np.testing.assert_array_equal(made.enlarge_in_workspace(planes[0]), made.enlarge(planes[0]))


def test_nodes_of_a_grid():
    rain = synthetic.rain((60, 50))
    grid = SamplingGrid.over(rain, coarsen(rain, 2000.0), 2000.0, 2)
    assert grid == SamplingGrid((30, 25), 2, 2)
    assert grid.shape == (15, 13)
    assert grid.nodes.shape == (15 * 13, 2)
    assert grid.nodes[-1].tolist() == [28, 24]
    field = np.arange(30 * 25).reshape(30, 25)
    np.testing.assert_array_equal(grid.sample(field).ravel(), field[tuple(grid.nodes.T)])
    frame = rain.values[-1].copy()
    np.testing.assert_array_equal(grid.nodes_near(frame), grid.nodes)
    frame[:, 20:] = np.nan
    few = grid.nodes_near(frame)
    assert len(few) < len(grid.nodes)
    assert few[:, 1].max() * 2 >= 20  # those beside count too, so that the last known cells can be interpolated


def test_fill_puts_values_at_their_nodes():
    grid = SamplingGrid((6, 8), 1, 2)
    cells = grid.nodes[[0, 5]]
    filled = grid.fill(np.array([[[1.0, 2.0]]], np.float32), cells)
    assert filled.shape == (1, 1, 3, 4)
    assert filled.sum() == 3
    assert filled[0, 0, 1, 1] == 2
