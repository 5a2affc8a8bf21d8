"""Where air comes from, and what planes hold there: against the slow oracle, the advection itself, and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from helpers import reference, synthetic
from hybridcast_kernels.advection_cpu import LINEAR, advect
from hybridcast_kernels.trajectories import areas, departure_points, sample

SHAPE = (24, 31)
MOTIONS = {
    "translation": synthetic.translation(1.7, -0.6),
    "rotation": synthetic.rotation(0.05, (15, 12)),
    "shear": synthetic.shear(0.1, 12, 0.5),
}


def every_cell(shape=SHAPE):
    return np.argwhere(np.ones(shape, bool)).astype(np.int32)


@pytest.mark.parametrize("leads", [[1, 2, 3], [0.5, 3, 4], [2]])
@pytest.mark.parametrize("name", MOTIONS)
def test_origins_are_those_of_the_oracle(name, leads):
    flow = MOTIONS[name].flow(SHAPE)
    found = departure_points(flow, np.array(leads, np.float32), every_cell())
    expected = reference.trajectories(flow, leads, guess="extrapolated")  # x first, in planes
    np.testing.assert_allclose(found.reshape(len(leads), *SHAPE, 2)[..., 1], expected[:, 0], atol=2e-4)
    np.testing.assert_allclose(found.reshape(len(leads), *SHAPE, 2)[..., 0], expected[:, 1], atol=2e-4)


def test_long_leads_are_cut_into_steps():
    flow = MOTIONS["rotation"].flow(SHAPE)
    cells = every_cell()
    found = departure_points(flow, np.array([2, 6], np.float32), cells, longest_step=1.0)
    expected = reference.trajectories(flow, np.arange(1.0, 7), guess="extrapolated")[[1, 5]]
    np.testing.assert_allclose(found[..., 1], expected[:, 0].reshape(2, -1), atol=2e-4)
    np.testing.assert_allclose(found[..., 0], expected[:, 1].reshape(2, -1), atol=2e-4)


@pytest.mark.parametrize("name", MOTIONS)
def test_origins_are_what_the_advection_of_coordinates_gives(name):
    """A plane that holds each cell's row, advected, holds the row the air comes from."""
    flow = MOTIONS[name].flow(SHAPE)
    leads = np.array([1, 2.5], np.float32)
    planes = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    moved = advect(planes, flow, leads, LINEAR, longest_step=0.7)  # set, lead, y, x
    found = departure_points(flow, leads, every_cell(), longest_step=0.7).reshape(2, *SHAPE, 2)
    for axis in (0, 1):
        seen = np.isfinite(moved[axis])
        assert seen.mean() > 0.4
        np.testing.assert_allclose(found[..., axis][seen], moved[axis][seen], atol=2e-4)


def test_origins_may_lie_outside_and_any_cells_may_be_asked(set_threads):
    flow = synthetic.translation(4, 0).flow(SHAPE)
    cells = np.array([[3, 2], [3, 20], [3, 2]], np.int32)
    set_threads(2)
    found = departure_points(flow, np.array([1, 5], np.float32), cells)
    np.testing.assert_allclose(found, [[[3, -2], [3, 16], [3, -2]], [[3, -18], [3, 0], [3, -18]]], atol=1e-4)
    assert departure_points(flow, np.array([1], np.float32), cells[:0]).shape == (1, 0, 2)


def test_samples_are_scipys_with_the_edge_held():
    generator = np.random.default_rng(0)
    planes = generator.standard_normal((*SHAPE, 3)).astype(np.float32)
    places = generator.uniform(-4, 35, (500, 2)).astype(np.float32)
    found = sample(planes, places)
    for plane in range(3):
        expected = map_coordinates(planes[..., plane].astype(float), places.T, order=1, mode="nearest")
        np.testing.assert_allclose(found[:, plane], expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
def test_samples_of_narrow_planes(shape):
    planes = np.arange(np.prod(shape), dtype=np.float32).reshape(*shape, 1)
    np.testing.assert_allclose(sample(planes, np.array([[-3, -3], [99, 99]], np.float32))[:, 0], [0, planes.max()])


def test_whole_cells_are_exact_and_nan_spreads_over_its_neighbours_only():
    planes = np.ones((5, 5, 2), np.float32)
    planes[2, 2, 0] = np.nan
    places = np.array([[2, 2], [2, 1.5], [1.5, 1.5], [1, 0.5], [3.5, 3.5]], np.float32)
    np.testing.assert_array_equal(np.isnan(sample(planes, places)[:, 0]), [True, True, True, False, False])
    np.testing.assert_allclose(sample(planes, places)[:, 1], 1, rtol=1e-6)


def test_areas_are_the_jacobian_of_the_map():
    y, x = np.indices(SHAPE).astype(np.float32)
    linear = np.stack([1.5 * y + 0.2 * x, 0.8 * x - 0.1 * y], axis=-1)
    np.testing.assert_allclose(areas(linear, 50.0), 1.5 * 0.8 + 0.1 * 0.2, rtol=1e-4)
    assert (areas(linear * 9, 50.0) == 50).all()
    assert (areas(linear[::-1], 50.0) == 0).all()  # it folds
    rough = (np.stack([y, x], axis=-1) + np.random.default_rng(0).normal(0, 0.1, (*SHAPE, 2))).astype(np.float32)
    by_row, by_column = (np.gradient(rough, axis=axis) for axis in (0, 1))
    expected = by_row[..., 0] * by_column[..., 1] - by_row[..., 1] * by_column[..., 0]
    np.testing.assert_allclose(areas(rough, 50.0), expected, atol=1e-4)
