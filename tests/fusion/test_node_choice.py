"""The nodes that members are evaluated at on a large grid."""

import numpy as np
import pytest

from hybridcast.core.field import precipitation
from hybridcast.fusion.node_choice import REACH, NodeChoice
from hybridcast.fusion.sampling_grid import SamplingGrid

SHAPE = (130, 150)  # cells of 2 km
GRID = SamplingGrid(SHAPE, 2, 2)


def frames(rain=(), count=3):
    """Dry frames every 10 min, but for rain at some places (frame, row, column)."""
    values = np.zeros((count, *SHAPE), np.float32)
    for frame, row, column in rain:
        values[frame, row, column] = 1.0
    times = np.datetime64("2020-01-01") + np.arange(count) * np.timedelta64(10, "m")
    axes = [np.arange(size) * 2000.0 for size in SHAPE]
    return precipitation(values, time=times, y=axes[0], x=axes[1], crs=None)


def evaluated(choice, field):
    """Values of a field of the nodes, ``(y, x)``, at the nodes that are evaluated."""
    return field[tuple((choice.evaluated // GRID.stride).T)][None, None]


def wanted(choice, field):
    return field[tuple((choice.wanted // GRID.stride).T)][None, None]


@pytest.mark.parametrize("known", [slice(None), slice(30, None)])
def test_linear_fields_are_completed_exactly(known):
    nodes = GRID.nodes[GRID.nodes[:, 1] >= (known.start or 0)]
    choice = NodeChoice.near_rain(GRID, nodes, frames([(2, 10, 140)]))
    assert 0 < len(choice.evaluated) < 0.5 * len(nodes)
    y, x = np.indices(GRID.shape, dtype=np.float32)
    field = 3 * y - 2 * x
    np.testing.assert_allclose(choice.complete(evaluated(choice, field)), wanted(choice, field), atol=1e-4)


def test_every_node_near_rain_is_evaluated_and_kept():
    choice = NodeChoice.near_rain(GRID, GRID.nodes, frames([(0, 60, 70)]))
    field = np.random.default_rng(0).random(GRID.shape).astype(np.float32)
    difference = np.abs(choice.complete(evaluated(choice, field)) - wanted(choice, field))[0, 0].reshape(GRID.shape)
    distance = 4 * np.abs(np.indices(GRID.shape) - np.array([30, 35])[:, None, None]).max(axis=0)
    assert (difference[distance <= REACH] == 0).all()
    assert difference[distance > REACH + 8].max() > 0.1


def test_rain_that_is_older_does_not_count():
    old = NodeChoice.near_rain(GRID, GRID.nodes, frames([(0, 60, 70)], count=6))
    dry = NodeChoice.near_rain(GRID, GRID.nodes, frames())
    np.testing.assert_array_equal(old.evaluated, dry.evaluated)
    assert len(dry.evaluated) < 0.1 * len(GRID.nodes)


def test_no_node_and_all_nodes():
    none = NodeChoice.near_rain(GRID, GRID.nodes[:0], frames())
    assert none.complete(np.empty((2, 3, len(none.evaluated)), np.float32)).shape == (2, 3, 0)
    choice = NodeChoice.all_of(GRID, GRID.nodes)
    values = np.ones((1, 1, len(GRID.nodes)), np.float32)
    assert choice.complete(values) is values
