"""Coarse planes carried along the motion, against enlarging them first and advecting that."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast_kernels.advection_cpu import advect
from hybridcast_kernels.planes_cpu import carry
from hybridcast_kernels.resample_cpu import enlarge
from hybridcast_kernels.trajectories import departure_points, sample

LEADS = np.array([5.0, 10.0, 30.0], np.float32)


def scene(coarse, fine, sets=2, seed=0, speed=0.4):
    generator = np.random.default_rng(seed)
    planes = generator.standard_normal((sets, LEADS.size, *coarse)).astype(np.float32)
    y, x = np.mgrid[: fine[0], : fine[1]] / max(fine)
    flow = speed * np.stack([1 - y, 0.5 + x]).astype(np.float32)
    frame = np.zeros((1, *fine), np.float32)
    return planes, flow, advect(frame, flow, LEADS)[0]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("coarse", "fine", "factor", "offset"),
    [((8, 9), (32, 36), 4, 0.5), ((8, 9), (33, 35), 4, 1.5), ((5, 40), (10, 80), 2, 0.0), ((6, 7), (6, 7), 1, 0.0)],
)
def test_it_is_a_sample_at_the_origin_of_each_cell(set_threads, threads, coarse, fine, factor, offset):
    set_threads(threads)
    planes, flow, known = scene(coarse, fine)
    found = carry(planes, factor, offset, flow, LEADS, known)
    cells = np.argwhere(np.ones(fine, bool)).astype(np.int32)
    for lead, places in enumerate(departure_points(flow, LEADS, cells)):
        stack = np.ascontiguousarray(np.moveaxis(planes[:, lead], 0, -1))
        expected = sample(stack, (places - np.float32(offset)) / np.float32(factor)).T.reshape(2, *fine)
        seen = np.isfinite(known[lead])
        np.testing.assert_allclose(found[:, lead][:, seen], expected[:, seen], atol=2e-4)
        assert np.isnan(found[:, lead][:, ~seen]).all()
    assert np.isnan(found).any()


def test_smooth_planes_are_as_if_enlarged_first(set_threads):
    planes, flow, known = scene((12, 14), (48, 56))
    y, x = np.mgrid[:12, :14] / 12
    planes[:] = (y + 2 * x).astype(np.float32)
    wide = enlarge(planes.reshape(-1, 12, 14), 4, 1.5, np.empty((6, 48, 56), np.float32))
    expected = advect(wide, flow, LEADS, paired=True)
    found = carry(planes, 4, 1.5, flow, LEADS, known)
    inside = np.isfinite(expected) & np.isfinite(found)
    assert inside.mean() > 0.5
    # at the outer coarse cells, where they bend, by a part of what a fine cell makes
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.012)
    assert np.abs(found[inside] - expected[inside]).mean() < 5e-4


@pytest.mark.parametrize(("coarse", "fine"), [((1, 1), (3, 4)), ((1, 6), (2, 12)), ((6, 1), (12, 2))])
def test_single_rows_and_columns_are_held(coarse, fine):
    planes, flow, known = scene(coarse, fine)
    found = carry(planes, 2, 0.5, flow, LEADS, np.zeros_like(known))
    assert np.isfinite(found).all()
    assert found.min() >= planes.min() - 1e-5
    assert found.max() <= planes.max() + 1e-5


def test_places_far_outside_hold_the_edge_and_nothing_breaks():
    planes, flow, known = scene((4, 5), (16, 20), speed=1e5)
    found = carry(planes, 4, 1.5, flow, LEADS, np.zeros_like(known))
    assert np.isfinite(found).all()
    assert (found <= planes.max() + 1e-4).all()


def test_long_steps_are_parted_as_the_trajectories_part_them():
    planes, flow, known = scene((8, 9), (32, 36))
    found = carry(planes, 4, 0.5, flow, LEADS, np.zeros_like(known), longest_step=5.0)
    cells = np.argwhere(np.ones((32, 36), bool)).astype(np.int32)
    places = departure_points(flow, LEADS, cells, 5.0)[2]
    stack = np.ascontiguousarray(np.moveaxis(planes[:, 2], 0, -1))
    expected = sample(stack, (places - np.float32(0.5)) / np.float32(4)).T.reshape(2, 32, 36)
    np.testing.assert_allclose(found[:, 2], expected, atol=2e-4)


def test_it_is_written_where_it_is_asked_to_be():
    planes, flow, known = scene((8, 9), (32, 36))
    out = np.empty((2, 3, 32, 36), np.float32)
    assert carry(planes, 4, 0.5, flow, LEADS, known, out=out) is out
    np.testing.assert_array_equal(out, carry(planes, 4, 0.5, flow, LEADS, known))


@pytest.mark.parametrize("wrong", ["leads", "known", "order", "out"])
def test_shapes_that_do_not_fit(wrong):
    planes, flow, known = scene((8, 9), (32, 36))
    leads, out = LEADS, None
    if wrong == "leads":
        leads = LEADS[:2]
    elif wrong == "known":
        known = known[:, 1:]
    elif wrong == "order":
        leads = LEADS[::-1].copy()
    else:
        out = np.empty((2, 3, 32, 35), np.float32)
    with pytest.raises(ValueError, match=r"planes|out"):
        carry(planes, 4, 0.5, flow, leads, known, out=out)
