"""Optical flow on CPU threads: each step against the oracle, and moving rain whose motion is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helpers import reference, synthetic
from hybridcast_kernels import flow_cpu
from hybridcast_kernels.flow_cpu import FlowOptions, estimate
from hybridcast_kernels.workspace import Workspace

f4 = np.float32
SHAPES = [(12, 16), (13, 17), (1, 9), (8, 1), (33, 20)]


def frame(shape, *, seed=0, missing=0.2):
    rng = np.random.default_rng(seed)
    rate = np.maximum(rng.gamma(0.7, 6, shape) - 0.5, 0).astype(f4)
    rate[rng.random(shape) < missing] = np.nan
    return rate


# --- the steps, against the oracle ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_decibels_are_the_oracles(shape):
    rate = frame(shape)
    image, mask = np.empty(shape, f4), np.empty(shape, f4)
    flow_cpu.decibel_rows(rate, f4(0.1), f4(40), image, mask, 0, shape[0])
    np.testing.assert_allclose(image, reference.decibel(np.nan_to_num(rate), 0.1, 40), atol=1e-4)
    np.testing.assert_array_equal(mask, np.isfinite(rate))


@pytest.mark.parametrize("shape", SHAPES)
def test_decibels_of_2_by_2_cells_are_the_oracles(shape):
    rate = frame(shape, missing=0.4)
    half = tuple(-(-size // 2) for size in shape)
    image, mask = np.empty(half, f4), np.empty(half, f4)
    flow_cpu.decibel_halves(rate, f4(0.1), f4(40), image, mask, 0, half[0])
    expected_image, expected_mask = reference.decibel_halves(rate, 0.1, 40)
    np.testing.assert_allclose(image, expected_image, atol=1e-4)
    np.testing.assert_allclose(mask, expected_mask, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_halves_are_the_oracles(shape):
    image = np.nan_to_num(frame(shape, missing=0))
    mask = np.random.default_rng(2).choice([0, 0.25, 0.5, 1], shape).astype(f4)
    half = tuple(-(-size // 2) for size in shape)
    got = np.empty(half, f4), np.empty(half, f4)
    flow_cpu.halve_rows(image, mask, *got, 0, half[0])
    for ours, theirs in zip(got, reference.halves(image, mask), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_frames_are_carried_to_the_last_one_as_by_the_oracle(shape):
    rng = np.random.default_rng(3)
    images, masks = rng.random((2, 3, *shape)).astype(f4)
    flow = rng.normal(0, 2, (2, *shape)).astype(f4)
    offsets = np.array([-3, -1, 0], f4)
    warped, seen = np.empty_like(images), np.empty_like(masks)
    flow_cpu.warp_rows(images, masks, offsets, flow, warped, seen, 0, shape[0])
    y, x = np.mgrid[: shape[0], : shape[1]]
    for k, offset in enumerate(offsets):
        place = x + offset * flow[0], y + offset * flow[1]
        within = reference.inside(shape, *place)
        np.testing.assert_allclose(seen[k], np.where(within, reference.bilinear(masks[k], *place), 0), atol=2e-6)
        np.testing.assert_allclose(np.where(within, warped[k] - reference.bilinear(images[k], *place), 0), 0, atol=2e-6)


@pytest.mark.parametrize("radius", [1, 2, 7, 40])
@pytest.mark.parametrize("shape", SHAPES)
def test_box_means_are_the_oracles(radius, shape):
    values = np.random.default_rng(4).normal(size=(2, *shape)).astype(f4)
    columns = np.empty_like(values)
    for first, last in ((0, shape[1] // 2), (shape[1] // 2, shape[1])):
        flow_cpu.box_columns(values, columns, radius, first, last)
    np.testing.assert_allclose(columns, reference.box_mean(values, radius, axis=1), atol=2e-6)
    row = np.empty((2, shape[1]), f4)
    flow_cpu.box_row(np.ascontiguousarray(values[:, 0]), row, radius)
    np.testing.assert_allclose(row, reference.box_mean(values[:, 0], radius, axis=1), atol=2e-6)


@pytest.mark.parametrize("shape", [(12, 16), (13, 17), (1, 9)])
def test_tensors_are_the_oracles(shape):
    rng = np.random.default_rng(5)
    warped, masks = rng.random((2, 3, *shape)).astype(f4)
    offsets = np.array([-3, -1, 0], f4)
    tensors = np.empty((5, *shape), f4)
    flow_cpu.tensor_rows(warped, masks, offsets, 2, tensors, 0, shape[0])
    expected = reference.structure_tensors(warped, masks, offsets)
    expected = reference.box_mean(reference.box_mean(expected, 2, axis=2), 2, axis=2)
    np.testing.assert_allclose(tensors, expected, atol=1e-5)


def test_the_fit_and_its_smoothing_are_the_oracles():
    rng = np.random.default_rng(6)
    shape, radius, ridge, limit, least = (14, 17), 2, 0.3, 2.0, 0.01
    warped, masks = rng.random((2, 2, *shape)).astype(f4)
    offsets = np.array([-1, 0], f4)
    flow = rng.normal(size=(2, *shape)).astype(f4)
    before = flow.astype(float)
    tensors, scratch, weighted = (np.empty((n, *shape), f4) for n in (5, 5, 3))
    flow_cpu.tensor_rows(warped, masks, offsets, radius, tensors, 0, shape[0])
    flow_cpu.solve_columns(tensors, scratch, flow, weighted, radius, f4(ridge), f4(limit), 0, shape[1])
    flow_cpu.smooth_columns(weighted, scratch[:3], radius, 0, shape[1])
    flow_cpu.smooth_rows(weighted, radius, f4(least), flow, 0, shape[0])

    expected = reference.structure_tensors(warped, masks, offsets)
    for axis in (2, 2, 1, 1):
        expected = reference.box_mean(expected, radius, axis)
    increments, weight = np.empty((2, *shape)), np.empty(shape)
    for i, j in np.ndindex(shape):
        xx, xy, yy, x, y = expected[:, i, j]
        increments[:, i, j] = reference.solve(xx, xy, yy, x, y, ridge, limit)
        weight[i, j] = max(np.linalg.eigvalsh([[xx, xy], [xy, yy]])[0], 0)
    for k in range(2):
        smooth = reference.normalised_convolution(weight, before[k] + increments[k], radius, least, before[k])
        np.testing.assert_allclose(flow[k], smooth, atol=2e-4)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_flow_is_enlarged_as_by_the_oracle(factor):
    coarse = np.random.default_rng(7).normal(size=(2, 5, 6)).astype(f4)
    shape = (5 * factor - 1, 6 * factor - 1)
    fine = np.empty((2, *shape), f4)
    flow_cpu.enlarge_rows(coarse, fine, factor, 0, shape[0])
    np.testing.assert_allclose(fine, reference.enlarged(coarse, shape, factor), atol=2e-6)


# --- moving rain ----------------------------------------------------------------------------------------------


def steps(frames):
    return np.arange(1 - frames, 1, dtype=f4)


def flow_of(motion, shape=(96, 96), *, frames=4, **scene):
    rate = synthetic.rain(shape, motion, frames=frames, **scene).values
    flow, found = estimate(rate, steps(frames))
    assert found
    assert flow.dtype == np.float32
    assert flow.shape == (2, *shape)
    assert np.isfinite(flow).all()
    return flow


def wrong(flow, motion, inner=0.15):
    """Error in cells per step, away from the edges: (mean, largest)."""
    edge = max(int(inner * min(flow.shape[1:])), 1)
    error = np.hypot(*(flow - motion.flow(flow.shape[1:])))[edge:-edge, edge:-edge]
    return float(error.mean()), float(error.max())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("shape", "u", "v", "mean"),
    [
        ((512, 512), 0.5, 0.2, 0.05),
        ((512, 512), 3, -2, 0.03),
        ((512, 512), 12, 7, 0.03),
        ((150, 130), 3, -2, 0.02),
        ((150, 130), 12, 7, 0.04),
        ((96, 96), 0.5, 0.2, 0.02),
        ((96, 96), 12, 7, 0.02),
        ((64, 64), 0.5, 0.2, 0.04),
        ((64, 64), 3, -2, 0.01),
        ((64, 64), -4, -5, 0.03),
    ],
)
def test_a_translation_is_found(shape, u, v, mean, seed):
    motion = synthetic.translation(u, v)
    error, largest = wrong(flow_of(motion, shape, seed=seed), motion)
    assert error < mean
    assert largest < 8 * mean


def test_rain_at_rest_does_not_move():
    assert np.abs(flow_of(synthetic.translation(0, 0))).max() < 1e-4


@pytest.mark.parametrize(("angle", "mean"), [(0.01, 0.05), (0.03, 0.16)])
def test_a_rotation_is_found(angle, mean):
    """Within 5 % or so of the speed, of up to 2.2 cells a step: frames are carried along straight lines."""
    motion = synthetic.rotation(angle, (75, 75))
    assert wrong(flow_of(motion, (150, 150)), motion)[0] < mean


@pytest.mark.parametrize(("rate", "mean"), [(0.01, 0.03), (0.03, 0.08)])
def test_a_shear_is_found(rate, mean):
    motion = synthetic.shear(rate, 75, 2.0)
    assert wrong(flow_of(motion, (150, 150)), motion)[0] < mean


def test_growth_does_not_look_like_motion():
    motion = synthetic.translation(3, -2)
    for growth in (0.9, 1.1):
        assert wrong(flow_of(motion, growth=growth), motion)[0] < 0.16


@pytest.mark.parametrize("shape", [(96, 110), (150, 131)])
@pytest.mark.parametrize(
    ("turned", "back"),
    [
        (lambda f: f[..., ::-1], lambda flow: np.stack([-flow[0, :, ::-1], flow[1, :, ::-1]])),
        (lambda f: f[:, ::-1], lambda flow: np.stack([flow[0, ::-1], -flow[1, ::-1]])),
        (lambda f: f.transpose(0, 2, 1), lambda flow: flow[::-1].transpose(0, 2, 1)),
    ],
    ids=["columns flipped", "rows flipped", "transposed"],
)
def test_no_direction_is_preferred(shape, turned, back):
    rate = synthetic.rain(shape, synthetic.translation(2.3, -1.4), seen=synthetic.disc(shape)).values
    flow, _ = estimate(rate, steps(4))
    other, _ = estimate(np.ascontiguousarray(turned(rate)), steps(4))
    inner = np.s_[:, 10:-10, 10:-10]
    assert np.abs(back(other) - flow)[inner].mean() < 0.02


@pytest.mark.parametrize(("u", "v"), [(0.5, 0.2), (3, -2), (5, 4)])
@pytest.mark.parametrize(
    "cover",
    [lambda shape: np.mgrid[: shape[0], : shape[1]][1] >= 60, synthetic.disc],
    ids=["half of the domain", "disc"],
)
def test_the_border_of_coverage_does_not_bend_the_flow(u, v, cover):
    """The border does not move. Within 12 cells of it, the flow is as good as if there were none."""
    shape, motion = (150, 150), synthetic.translation(u, v)
    seen = cover(shape)
    with_border, without = flow_of(motion, shape, seen=seen), flow_of(motion, shape)
    near = synthetic.gaussian_filter(seen.astype(float), 5)
    near = seen & (near < 0.99)
    near[:20], near[-20:], near[:, -20:] = False, False, False
    assert near.sum() > 500
    truth = motion.flow(shape)
    bent, plain = (np.hypot(*(flow - truth))[near] for flow in (with_border, without))
    assert bent.mean() < plain.mean() + 0.03
    assert bent.max() < 0.3


def test_a_border_that_moves_nothing_beats_filling_it_with_dry():
    """The mask is what keeps the border out: with zeros in its place the flow bends."""
    shape, motion = (150, 150), synthetic.translation(3, -2)
    seen = synthetic.disc(shape, 0.4)
    rate = synthetic.rain(shape, motion, seen=seen, wet=0.8).values
    near = seen & ~synthetic.disc(shape, 0.35)
    truth = motion.flow(shape)
    masked, filled = (np.hypot(*(estimate(r, steps(4))[0] - truth))[near].mean() for r in (rate, np.nan_to_num(rate)))
    assert masked < 0.05
    assert filled > 3 * masked


def test_missing_frames_are_skipped():
    motion = synthetic.translation(3, -2)
    rate = synthetic.rain((96, 96), motion).values
    flow, found = estimate(np.ascontiguousarray(rate[[0, 2, 3]]), np.array([-3, -1, 0], f4))
    assert found
    assert wrong(flow, motion)[0] < 0.02
    flow, _ = estimate(np.ascontiguousarray(rate[[0, 2]]), np.array([-2, 0], f4))
    assert wrong(flow, motion)[0] < 0.02


def test_a_frame_of_nan_among_the_others_counts_nothing():
    motion = synthetic.translation(3, -2)
    rate = synthetic.rain((96, 96), motion).values.copy()
    rate[0] = np.nan
    flow, found = estimate(rate, steps(4))
    assert found
    assert wrong(flow, motion)[0] < 0.02


@pytest.mark.parametrize("shape", [(64, 64), (130, 120), (1, 1), (3, 2)])
@pytest.mark.parametrize(
    "value", [0.0, 0.05, np.nan, 5.0], ids=["dry", "below the lowest rate", "missing", "even rain"]
)
def test_nothing_to_track_is_no_motion(shape, value):
    flow, found = estimate(np.full((3, *shape), value, f4), steps(3))
    assert not found
    assert flow.shape == (2, *shape)
    assert (flow == 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2), (3, 5), (11, 12), (12, 13), (24, 200), (100, 7)])
def test_tiny_and_narrow_grids_give_finite_flow(shape):
    for missing in (0, 0.3, 0.95):
        rates = np.stack([frame(shape, seed=k, missing=missing) for k in range(3)])
        flow, _ = estimate(rates, steps(3))
        assert flow.shape == (2, *shape)
        assert np.isfinite(flow).all()


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_without_echo_the_flow_is_that_of_the_surroundings(side):
    """Half of the area holds no echo; its edge moves along with the rain."""
    shape, motion = (128, 128), synthetic.shear(0.02, 64, 3.0)
    sign = 1 if side in {"left", "top"} else -1
    along = (lambda x, y: x) if side in {"left", "right"} else (lambda x, y: y)
    rate = synthetic.rain(shape, motion, share=lambda x, y: 1 / (1 + np.exp(-sign * (along(x, y) - 64) / 3))).values
    flow, found = estimate(rate, steps(4))
    assert found
    echo = synthetic.gaussian_filter((rate[-1] > 0.2).astype(float), 2) > 0.1
    assert 0.1 < echo.mean() < 0.7
    for component in flow:
        low, high = component[echo].min(), component[echo].max()
        assert component[~echo].min() >= low - 0.3
        assert component[~echo].max() <= high + 0.3
    assert (np.abs(flow[0] - motion.flow(shape)[0])[~echo] < 1.5).mean() > 0.9  # and is not at rest


def test_one_small_cell_in_a_large_dry_area_is_tracked():
    y, x = np.mgrid[:200, :200]
    rate = np.stack([20 * np.exp(-((x - 80 - 3 * k) ** 2 + (y - 110 + 2 * k) ** 2) / 30) for k in range(4)]).astype(f4)
    flow, found = estimate(rate, steps(4))
    assert found
    assert flow[:, 104, 89] == pytest.approx([3, -2], abs=0.3)


def test_hail_and_wild_values_give_finite_flow():
    rate = synthetic.rain((96, 96)).values.copy()
    rate[:, 40, 40] = 2500
    rate[1, 50:60] = 1e30
    assert np.isfinite(estimate(rate, steps(4))[0]).all()


# --- options, workspace, threads ------------------------------------------------------------------------------


@pytest.mark.parametrize("finest", [0, 1, 2])
def test_every_finest_level_finds_the_motion(finest):
    motion = synthetic.translation(3, -2)
    rate = synthetic.rain((130, 121), motion).values
    flow, found = estimate(rate, steps(4), FlowOptions(finest=finest))
    assert found
    assert wrong(flow, motion)[0] < 0.06


def test_a_workspace_used_again_changes_nothing():
    rate = synthetic.rain((130, 121)).values
    fresh, _ = estimate(rate, steps(4))
    workspace = Workspace()
    estimate(synthetic.rain((130, 121), seed=4, frames=3).values, steps(3), workspace=workspace)
    estimate(np.full((4, 64, 64), np.nan, f4), steps(4), workspace=workspace)
    again, _ = estimate(rate, steps(4), workspace=workspace)
    assert again.tobytes() == fresh.tobytes()


def test_the_input_is_left_as_it_is():
    rate = synthetic.rain((96, 96), seen=synthetic.disc((96, 96))).values
    before = rate.copy()
    estimate(rate, steps(4))
    assert rate.tobytes() == before.tobytes()


def test_any_number_of_threads_gives_the_same_flow(set_threads):
    rate = synthetic.rain((200, 180)).values
    flows = []
    for count in (1, 2, 3):
        set_threads(count)
        flows.append(estimate(rate, steps(4))[0])
    assert flows[0].tobytes() == flows[1].tobytes() == flows[2].tobytes()


def test_four_callers_at_once_get_what_each_gets_alone(set_threads):
    set_threads(2)
    scenes = [synthetic.rain((140, 130), seed=k).values for k in range(4)]
    alone = [estimate(rate, steps(4))[0].tobytes() for rate in scenes]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda rate: estimate(rate, steps(4))[0].tobytes(), scenes)) == alone
