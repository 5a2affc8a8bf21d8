"""Advection on CPU threads: against the oracle and pysteps, on smooth and wild flows, in every shape."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, spline_filter

from helpers import reference, synthetic
from hybridcast_kernels.advection_cpu import advect
from hybridcast_kernels.workspace import Workspace

ORDERS = [0, 1, 3]
# Largest difference, mm/h, from the oracle with the same guess of the midpoint: float32 against float64.
ROUNDING = 2e-4


def leads(count, step=1.0):
    return (step * np.arange(1, count + 1)).astype(np.float32)


def moved(field, flow, times, order=1, **options):
    """Advect one field, or several."""
    fields = np.ascontiguousarray(field, np.float32)
    single = fields.ndim == 2
    fields = fields[None] if single else fields
    coefficients = None
    if order == 3:
        coefficients = np.stack([spline_filter(np.nan_to_num(f), output=np.float32, mode="mirror") for f in fields])
    result = advect(fields, np.ascontiguousarray(flow, np.float32), times, order, coefficients=coefficients, **options)
    return result[0] if single else result


def scene(shape=(70, 101), *, seen=True, seed=0):
    return synthetic.rain(shape, frames=1, seen=synthetic.disc(shape, 0.48) if seen else None, seed=seed).values[0]


def smooth_flow(shape=(70, 101)):
    """Rotation and translation, up to some 2.5 cells per step."""
    return synthetic.rotation(0.03, (50, 35)).flow(shape) + np.float32(0.7)


def wild_flow(shape, strength=4.0, scale=3.0, seed=0):
    """Smoothed noise: neighbouring trajectories part."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((2, *shape)), (0, scale, scale))
    return (strength * noise / noise.std()).astype(np.float32)


def differences(ours, theirs):
    """Largest difference where both are known, and how many are known to one alone: ours, theirs."""
    known, other = ~np.isnan(ours), ~np.isnan(theirs)
    both = known & other
    assert both.any()
    return float(np.abs(ours[both] - theirs[both]).max()), int((known & ~other).sum()), int((other & ~known).sum())


def spreads(flow, times, cells):
    """Differences of the displacement in whole cells over blocks of so many cells: (lead, y, block)."""
    rows, columns = flow.shape[1:]
    y, x = np.mgrid[:rows, :columns]
    whole = np.floor(reference.trajectories(flow, times, guess="extrapolated") - np.stack([x, y]))
    blocks = whole[..., : columns // cells * cells].reshape(*whole.shape[:3], -1, cells)
    return (blocks.max(axis=-1) - blocks.min(axis=-1)).max(axis=1)


# --- against the oracle and pysteps ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [12, 24])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seen", [True, False], ids=["disc", "all seen"])
def test_smooth_flow_equals_the_oracle(count, order, seen):
    field, flow, times = scene(seen=seen), smooth_flow(), leads(count)
    expected = reference.advect(field, flow, times, order, guess="extrapolated")
    largest, ours_alone, theirs_alone = differences(moved(field, flow, times, order), expected)
    assert largest <= ROUNDING
    assert ours_alone + theirs_alone <= 3  # masks that rounding decides


@pytest.mark.parametrize("count", [12, 24])
@pytest.mark.parametrize("seen", [True, False], ids=["disc", "all seen"])
def test_linear_equals_pysteps(count, seen):
    """Within 0.006 mm/h in rain of up to 118 mm/h: the guess of the midpoint is another."""
    extrapolate = pytest.importorskip("pysteps.extrapolation.semilagrangian").extrapolate
    field, flow = scene(seen=seen), smooth_flow()
    theirs = extrapolate(field.astype(float), flow.astype(float), count, allow_nonfinite_values=True)
    largest, ours_alone, theirs_alone = differences(moved(field, flow, leads(count)), theirs)
    assert largest <= 0.006
    assert ours_alone <= 20  # neighbours without weight do not make a sample missing
    assert theirs_alone <= 3  # on the edge, by rounding


@pytest.mark.parametrize("count", [12, 24])
@pytest.mark.parametrize("seen", [True, False], ids=["disc", "all seen"])
def test_cubic_equals_pysteps(count, seen):
    """Within 0.006 mm/h, negative overshoots apart, which ours cuts off."""
    extrapolate = pytest.importorskip("pysteps.extrapolation.semilagrangian").extrapolate
    field, flow, times = scene(seen=seen), smooth_flow(), leads(count)
    theirs = extrapolate(field.astype(float), flow.astype(float), count, interp_order=3, allow_nonfinite_values=True)
    largest, ours_alone, theirs_alone = differences(moved(field, flow, times, 3), np.maximum(theirs, 0))
    assert largest <= 0.006
    assert ours_alone + theirs_alone <= 3


@pytest.mark.parametrize("count", [12, 24])
@pytest.mark.parametrize("seen", [True, False], ids=["disc", "all seen"])
def test_nearest_equals_pysteps(count, seen):
    """The very same values, but for one in a thousand whose position lies half way between two cells."""
    extrapolate = pytest.importorskip("pysteps.extrapolation.semilagrangian").extrapolate
    field, flow, times = scene(seen=seen), smooth_flow(), leads(count)
    theirs = extrapolate(field.astype(float), flow.astype(float), count, interp_order=0, allow_nonfinite_values=True)
    ours = moved(field, flow, times, 0)
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    assert (ours[both] != theirs[both]).mean() < 1e-3
    assert (np.isnan(ours) != np.isnan(theirs)).sum() <= 3


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("strength", "scale", "tolerance"), [(2, 10, 5e-4), (10, 20, 5e-4), (4, 3, 0.02)])
def test_wild_flow_equals_the_oracle(order, strength, scale, tolerance):
    """Where neighbours part, errors grow with them; nearest may take the other of two cells half way."""
    field, times = scene(), leads(8, 0.5)
    flow = wild_flow(field.shape, strength, scale)
    ours = moved(field, flow, times, order)
    theirs = reference.advect(field, flow, times, order, guess="extrapolated")
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    assert (np.abs(ours - theirs)[both] > tolerance).mean() <= (2e-4 if order == 0 else 0)
    assert (np.isnan(ours) != np.isnan(theirs)).sum() <= 3


def test_the_flows_here_part_within_blocks_of_every_length():
    """Neighbours that move alike over 32 cells, over 8 or not at all: whatever a loop makes of that, it is tested."""
    times = leads(8, 0.5)
    shares = {}
    for strength, scale in ((0, 0), (2, 10), (4, 3)):
        flow = wild_flow((70, 101), strength, scale) if strength else smooth_flow()
        whole, part = (float((spreads(flow, times, cells) <= 1).mean()) for cells in (32, 8))
        shares[strength] = whole, part
    assert shares[0][0] > 0.2
    assert shares[0][1] > 0.99
    assert 0.01 < shares[2][0] < shares[2][1] < 0.8
    assert shares[4][1] < 0.1


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("strength", "scale", "tolerance"), [(2, 10, 5e-4), (4, 3, 0.02)])
def test_rows_and_columns_are_alike(order, strength, scale, tolerance):
    """Blocks lie along rows: transposed, other points share a block, and go other paths."""
    field, times = scene(), leads(8, 0.5)
    flow = wild_flow(field.shape, strength, scale)
    ours = moved(field, flow, times, order)
    other = moved(field.T, flow[::-1].transpose(0, 2, 1), times, order).transpose(0, 2, 1)
    both = ~np.isnan(ours) & ~np.isnan(other)
    assert (np.abs(ours - other)[both] > tolerance).mean() <= (2e-4 if order == 0 else 0)
    assert (np.isnan(ours) != np.isnan(other)).sum() <= 3


def test_a_rotation_is_followed_to_a_sixtieth_of_a_cell():
    """Positions against the exact solution: a linear field tells where the air comes from."""
    shape, times = (80, 90), leads(12)
    turn = synthetic.rotation(0.05, (45, 40))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    got = advect(np.stack([x, y]).astype(np.float32), turn.flow(shape), times)
    circle = np.hypot(x - 45, y - 40) < 38
    for k in range(times.size):
        wrong = np.hypot(*(got[:, k] - turn.back(x, y, k + 1.0)))
        assert wrong[circle].max() < 0.016  # 0.0108; 0.0095 by the scheme of pysteps


# --- exact cases ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("shape", [(70, 101), (9, 32), (3, 31), (1, 1)])
def test_no_motion_gives_the_identical_field(order, shape):
    field = np.random.default_rng(0).gamma(0.5, 5, shape).astype(np.float32)
    field[np.random.default_rng(1).random(shape) < 0.3] = np.nan
    result = moved(field, np.zeros((2, *shape)), leads(3), order)
    assert result.tobytes() == np.broadcast_to(field, result.shape).tobytes()


@pytest.mark.parametrize("shape", [(70, 101), (9, 32), (2, 3), (1, 40), (40, 1), (1, 1)])
def test_no_motion_leaves_the_spline_on_the_field_up_to_the_edge(shape):
    field = np.random.default_rng(0).uniform(1, 9, shape).astype(np.float32)
    np.testing.assert_allclose(moved(field, np.zeros((2, *shape)), leads(2), 3)[1], field, atol=1e-4)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(("u", "v"), [(1, 0), (0, -1), (3, -2), (-7, 5), (40, 0)])
def test_whole_cells_are_a_shift_to_the_bit(order, u, v):
    field = scene()
    result = moved(field, np.array([u, v])[:, None, None] * np.ones((1, *field.shape)), leads(3), order)
    for k in range(3):
        expected = np.full_like(field, np.nan)
        dx, dy = u * (k + 1), v * (k + 1)
        rows, columns = field.shape
        to = np.s_[max(dy, 0) : rows + min(dy, 0), max(dx, 0) : columns + min(dx, 0)]
        source = np.s_[max(-dy, 0) : rows + min(-dy, 0), max(-dx, 0) : columns + min(-dx, 0)]
        if abs(dx) < columns:
            expected[to] = field[source]
        np.testing.assert_array_equal(result[k], expected)


# --- shapes, times, masks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2), (1, 70), (70, 1), (2, 31), (5, 32), (4, 33), (40, 8), (3, 64), (6, 65), (35, 100)]
)
def test_every_shape_equals_the_oracle(order, shape):
    rng = np.random.default_rng(3)
    field = rng.uniform(1, 5, shape).astype(np.float32)
    field[rng.random(shape) < 0.2] = np.nan
    flow = np.stack([np.full(shape, 0.37), np.full(shape, -0.21)]).astype(np.float32)
    flow += wild_flow(shape, 0.1, 5) if min(shape) > 1 else 0
    times = leads(4)
    ours = moved(field, flow, times, order)
    theirs = reference.advect(field, flow, times, order, guess="extrapolated")
    np.testing.assert_allclose(ours, theirs, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("speed", [200.0, 1e5, 1e8, 1e12])
def test_air_from_far_outside_is_unknown(order, speed):
    field = scene(seen=False)
    flow = np.zeros((2, *field.shape), np.float32)
    for component, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        flow[:] = 0
        flow[component] = sign * speed
        assert np.isnan(moved(field, flow, leads(3), order)).all()
    flow[:] = 0
    flow[1, :, 50:] = speed  # half of the columns leave, the others stay
    result = moved(field, flow, leads(3), order)
    np.testing.assert_allclose(result[:, :, :49], np.broadcast_to(field[:, :49], (3, 70, 49)), atol=2e-5)
    assert np.isnan(result[:, :, 50:]).all()


@pytest.mark.parametrize("order", ORDERS)
def test_irregular_lead_times_equal_the_oracle(order):
    field, flow = scene(), smooth_flow()
    times = np.array([0.5, 1, 3, 3.25, 7, 12], np.float32)
    ours = moved(field, flow, times, order)
    largest, *_ = differences(ours, reference.advect(field, flow, times, order, guess="extrapolated"))
    assert largest <= ROUNDING


def test_irregular_lead_times_reach_the_places_of_regular_ones():
    """Steps three times as long come within a twentieth of a cell of the short ones."""
    y, x = np.mgrid[:70, :101].astype(np.float32)
    times = np.array([1, 2, 5, 6, 9, 12], np.float32)
    turn = synthetic.rotation(0.03, (50, 35)).flow((70, 101))
    often, seldom = advect(np.stack([x, y]), turn, leads(12)), advect(np.stack([x, y]), turn, times)
    apart = np.abs(often[:, times.astype(int) - 1] - seldom)
    assert np.nanmax(apart) < 0.05
    assert (np.isnan(often[:, times.astype(int) - 1]) == np.isnan(seldom)).mean() > 0.995


def test_a_long_lead_is_reached_in_steps_no_longer_than_asked():
    field, flow = scene(), smooth_flow()
    every = advect(field[None], flow, np.array([2, 4, 6, 8, 10], np.float32))
    some = advect(field[None], flow, np.array([4, 10], np.float32), longest_step=2.0)
    np.testing.assert_array_equal(some[0], every[0][[1, 4]])


@pytest.mark.parametrize("order", ORDERS)
def test_several_fields_are_each_as_alone(order):
    fields = np.stack([scene(seed=1), scene(seed=2, seen=False), np.full((70, 101), np.nan, np.float32)])
    for flow in (smooth_flow(), wild_flow((70, 101))):
        together = moved(fields, flow, leads(6), order)
        for field, result in zip(fields, together, strict=True):
            assert moved(field, flow, leads(6), order).tobytes() == result.tobytes()


@pytest.mark.parametrize("order", ORDERS)
def test_all_missing_stays_missing(order):
    assert np.isnan(moved(np.full((40, 50), np.nan), smooth_flow((40, 50)), leads(4), order)).all()


@pytest.mark.parametrize("order", ORDERS)
def test_all_dry_stays_dry_and_unknown_at_the_inflow(order):
    flow = np.stack([np.full((40, 50), 2.0), np.zeros((40, 50))])
    result = moved(np.zeros((40, 50)), flow, leads(3), order)
    for k in range(3):
        assert np.isnan(result[k, :, : 2 * (k + 1)]).all()
        assert (result[k, :, 2 * (k + 1) :] == 0).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shift", [0.25, 0.5, 0.75])
def test_one_missing_cell_is_missing_beside_it_only(order, shift):
    field = np.full((9, 40), 4.0, np.float32)
    field[4, 20] = np.nan
    flow = np.stack([np.full((9, 40), shift), np.zeros((9, 40))])
    rows, columns = np.nonzero(np.isnan(moved(field, flow, leads(1), order)[0, :, 2:]))
    # a sample at column c comes from c - shift; half way, the nearest cell is the one after, and both are half seen
    taken = {0: [20] if shift <= 0.5 else [21], 1: [20, 21], 3: {0.25: [20], 0.5: [], 0.75: [21]}[shift]}
    assert (columns + 2).tolist() == taken[order]
    assert (rows == 4).all()


@given(
    data=st.data(),
    rows=st.integers(1, 12),
    columns=st.integers(1, 70),
    seed=st.integers(0, 2**16),
    strength=st.floats(0, 8),
    scale=st.floats(0.5, 10),
)
@settings(max_examples=80)
def test_linear_stays_between_the_extremes_and_missing_is_never_dry(data, rows, columns, seed, strength, scale):
    rng = np.random.default_rng(seed)
    field = rng.uniform(5, 80, (rows, columns)).astype(np.float32)
    field[rng.random(field.shape) < data.draw(st.sampled_from([0, 0.02, 0.5]))] = np.nan
    flow = wild_flow(field.shape, strength, scale, seed) if field.size > 1 else np.ones((2, 1, 1))
    result = moved(field, np.nan_to_num(flow), leads(5))
    known = result[~np.isnan(result)]
    if known.size:
        # missing neighbours, taken as 0, may carry a thousandth of the weight
        assert known.min() >= np.nanmin(field) * (1 - 1.1e-3)
        assert known.max() <= np.nanmax(field) * (1 + 1e-5)


@given(seed=st.integers(0, 2**16), order=st.sampled_from(ORDERS), u=st.floats(-30, 30), v=st.floats(-30, 30))
@settings(max_examples=60)
def test_a_translation_samples_every_cell_alike(seed, order, u, v):
    """The result of a uniform flow is the oracle's, at any displacement."""
    rng = np.random.default_rng(seed)
    field = rng.uniform(5, 80, (11, 45)).astype(np.float32)
    field[rng.random(field.shape) < 0.1] = np.nan
    flow = np.array([u, v])[:, None, None] * np.ones((1, 11, 45))
    ours = moved(field, flow, leads(2), order)
    theirs = reference.advect(field, flow.astype(np.float32), leads(2), order, guess="extrapolated")
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    half_way = order == 0 and min(abs(u % 1 - 0.5), abs(v % 1 - 0.5), abs(2 * u % 1 - 0.5), abs(2 * v % 1 - 0.5)) < 1e-3
    assert half_way or not (np.abs(ours - theirs)[both] > 5e-3).any()


# --- arguments and threads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_out_and_workspace_used_again_change_nothing(order):
    field, flow, times = scene(), smooth_flow(), leads(6)
    fresh = moved(field, flow, times, order)
    workspace, out = Workspace(), np.full((1, 6, 70, 101), -1, np.float32)
    moved(scene(seed=5, seen=False), wild_flow((70, 101)), times, order, out=out, workspace=workspace)
    moved(np.full((30, 40), np.nan), smooth_flow((30, 40)), times, order, workspace=workspace)
    assert moved(field[None], flow, times, order, out=out, workspace=workspace) is out
    assert out.tobytes() == fresh.tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": np.empty((1, 3, 8, 9), np.float32)}, "out is float32 of shape"),
        ({"out": np.empty((1, 2, 8, 9))}, "out is float64"),
        ({"out": np.empty((1, 2, 8, 18), np.float32)[..., ::2]}, "not contiguous"),
        ({"flow": np.zeros((2, 8, 8), np.float32)}, "flow has shape"),
        ({"leads": np.array([], np.float32)}, "leads are"),
        ({"leads": np.array([0, 1], np.float32)}, "leads are"),
        ({"leads": np.array([2, 1], np.float32)}, "leads are"),
        ({"order": 3}, "needs coefficients"),
        ({"order": 3, "coefficients": np.zeros((1, 8, 8), np.float32)}, "coefficients have shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    """The loops do not look: a wrong shape would read and write beyond the arrays."""
    fitting = {"fields": np.zeros((1, 8, 9), np.float32), "flow": np.zeros((2, 8, 9), np.float32), "leads": leads(2)}
    advect(**fitting)
    with pytest.raises(ValueError, match=message):
        advect(**{**fitting, **change})


@pytest.mark.parametrize("order", ORDERS)
def test_any_number_of_threads_gives_the_same_bits(order, set_threads):
    results = []
    for count in (1, 2, 5):
        set_threads(count)
        results.append(moved(scene((200, 101)), wild_flow((200, 101)), leads(6), order).tobytes())
    assert results[0] == results[1] == results[2]


def test_four_callers_at_once_get_what_each_gets_alone(set_threads):
    set_threads(2)
    work = [(scene((150, 101), seed=k), wild_flow((150, 101), seed=k)) for k in range(4)]
    alone = [moved(*arguments, leads(8)).tobytes() for arguments in work]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            together = list(pool.map(lambda arguments: moved(*arguments, leads(8)).tobytes(), work))
            assert together == alone


# --- one field per lead ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("longest", [np.inf, 0.7])
def test_paired_fields_are_each_carried_to_their_own_lead(longest):
    fields = np.stack([scene(seed=seed) for seed in range(8)])
    flow, times = smooth_flow(), leads(4)
    everything = moved(fields, flow, times, 1, longest_step=longest)
    paired = moved(fields, flow, times, 1, longest_step=longest, paired=True)
    assert paired.shape == (2, 4, *fields.shape[1:])
    for k in range(8):
        np.testing.assert_array_equal(paired[k // 4, k % 4], everything[k, k % 4])


@pytest.mark.parametrize(("order", "count"), [(1, 3), (0, 2)])
def test_paired_fields_are_sets_of_one_a_lead_and_linear(order, count):
    with pytest.raises(ValueError, match="fields and 2 leads"):
        advect(np.zeros((count, 4, 5), np.float32), np.zeros((2, 4, 5), np.float32), leads(2), order, paired=True)
