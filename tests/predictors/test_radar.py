"""Predictors: what they hold on fields made by hand, and that nothing later than the issue time is in them."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import synthetic
from hybridcast.core.field import precipitation
from hybridcast.core.grid import decibels
from hybridcast.motion.estimate import DenseFlow, motion_dataset
from hybridcast.predictors.registry import RADAR_PREDICTORS
from hybridcast.predictors.state import build_predictor_state, predictors_eulerian, predictors_lagrangian

MINUTE = np.timedelta64(1, "m")
STEP = 5 * MINUTE
LEADS = np.array([15, 60]) * MINUTE
START = np.datetime64("2020-06-01T12:00", "ns")
SHAPE = (64, 80)
STILL = synthetic.translation(0, 0)


def field(values, spacing=1000.0):
    values = np.asarray(values, np.float32)
    times = START + np.arange(len(values)) * STEP
    rows, columns = values.shape[1:]
    return precipitation(values, time=times, y=spacing * np.arange(rows), x=spacing * np.arange(columns), crs=None)


def predictors_by_name(rain, cells, motion=STILL, leads=LEADS, take=predictors_eulerian):
    """Rows of predictors as a function of their names, ``(lead, cell)`` each."""
    flow = motion_dataset(motion.flow(rain.shape[1:]), rain, STEP, method="truth", status="known")
    found = take(build_predictor_state(rain, flow, leads), np.asarray(cells, np.int32))
    assert found.shape == (len(leads), len(cells), len(RADAR_PREDICTORS))
    assert found.dtype == np.float32
    return lambda name: found[..., RADAR_PREDICTORS.index(name)]


def wet_disc(radius=10, rate=10.0, centre=(32, 32), frames=1):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    disc = np.where(np.hypot(y - centre[0], x - centre[1]) <= radius, rate, 0.0)
    return np.repeat(disc[None], frames, axis=0)


def window(values, cell, width):
    """Cells within `width` cells along both axes, the edge repeated."""
    padded = np.pad(values, width, mode="edge")
    return padded[cell[0] : cell[0] + 2 * width + 1, cell[1] : cell[1] + 2 * width + 1]


def test_predictors_do_not_depend_on_where_the_grid_lies():
    rain = synthetic.rain((40, 50), frames=4)
    elsewhere = rain.assign_coords(x=rain.x + 7e6, y=rain.y - 3e6)
    cells = np.argwhere(np.ones((40, 50), bool)).astype(np.int32)
    found = [
        predictors_eulerian(build_predictor_state(r, DenseFlow().estimate(r), LEADS), cells) for r in (rain, elsewhere)
    ]
    np.testing.assert_array_equal(*found)


def test_decibels():
    found = decibels(np.array([0, 0.05, 0.1, 1, 100, np.nan], np.float32))
    np.testing.assert_allclose(found, [0, 0, 0, 10, 30, np.nan], atol=1e-5)


# --- values ---------------------------------------------------------------------------------------------------


def test_in_a_wet_disc_and_beside_it():
    disc = wet_disc()
    of = predictors_by_name(field(disc), [(32, 32), (32, 55), (5, 75)])
    np.testing.assert_allclose(of("rate")[0], [20, 0, 0], atol=1e-4)
    np.testing.assert_allclose(of("max_4")[0], [20, 0, 0], atol=1e-4)
    np.testing.assert_allclose(of("max_16")[0], [20, 20, 0], atol=1e-4)
    np.testing.assert_allclose(of("wet_5_4")[0], [1, 0, 0], atol=1e-5)
    np.testing.assert_allclose(of("lead_time"), [[15] * 3, [60] * 3])
    np.testing.assert_allclose(of("known_64"), 1, atol=1e-5)


@pytest.mark.parametrize("spacing", [1000.0, 2000.0])
@pytest.mark.parametrize("cell", [(32, 32), (25, 40), (3, 30), (63, 79)])
def test_neighbourhoods_are_those_of_brute_force(cell, spacing):
    rates = synthetic.texture(SHAPE, seed=2)
    rates[:, 50:60] = np.nan
    of = predictors_by_name(field(rates[None], spacing), [cell])
    for width in (4, 8, 16, 32):
        near = window(rates, cell, round(width * 1000 / spacing))
        known = near[np.isfinite(near)]
        expected = 10 * np.log10(np.maximum(known, 0.1) / 0.1)
        assert of(f"mean_{width}")[0, 0] == pytest.approx(expected.mean() if known.size else np.nan, abs=1e-3)
        for threshold in (0.1, 1, 5):
            assert of(f"wet_{threshold}_{width}")[0, 0] == pytest.approx((known >= threshold).mean(), abs=1e-4)
        if width <= 16:
            assert of(f"max_{width}")[0, 0] == pytest.approx(expected.max(), abs=1e-4)
    assert of("known_16")[0, 0] == pytest.approx(
        np.isfinite(window(rates, cell, round(16_000 / spacing))).mean(), abs=1e-4
    )


def test_unknown_is_not_dry():
    rates = np.full(SHAPE, 10.0)
    rates[:, :30] = np.nan
    of = predictors_by_name(field(rates[None]), [(32, 31), (32, 10), (32, 2)])
    np.testing.assert_allclose(of("mean_4")[0], [20, np.nan, np.nan], atol=1e-4)
    np.testing.assert_allclose(of("wet_5_32")[0], 1, atol=1e-4)
    assert np.isnan(of("rate")[0]).tolist() == [False, True, True]


def test_the_distance_to_the_unknown_has_a_sign():
    rates = np.ones(SHAPE)
    rates[:, :20] = np.nan
    of = predictors_by_name(
        field(rates[None], spacing=2000.0), [(32, 20), (32, 24), (32, 19), (32, 15), (32, 79), (0, 50)]
    )
    np.testing.assert_allclose(of("inflow")[0], [2, 10, -2, -10, 2, 2], atol=1e-4)


def test_air_from_outside_the_grid_is_unknown_and_its_distance_grows():
    rates = np.full((1, *SHAPE), 10.0)
    of = predictors_by_name(field(rates), [(32, 2), (32, 40)], synthetic.translation(2, 0))
    assert np.isnan(of("rate")).tolist() == [[True, False], [True, False]]
    np.testing.assert_allclose(of("inflow")[:, 0], [1 - 4, 1 - 22], atol=1e-3)
    np.testing.assert_allclose(of("mean_8"), 20, atol=1e-4)  # the edge is repeated


def test_predictors_are_taken_from_the_departure_point():
    """The disc is 2 cells per step along x and 1 along y from where it will be."""
    of = predictors_by_name(
        field(wet_disc(radius=4, centre=(20, 20))), [(23, 26), (20, 20), (32, 44)], synthetic.translation(2, 1)
    )
    np.testing.assert_allclose(of("rate"), [[20, 0, 0], [0, np.nan, 20]], atol=1e-2)
    np.testing.assert_allclose(of("displacement"), np.hypot(6, 3) * np.array([[1] * 3, [4] * 3]), rtol=1e-3)
    np.testing.assert_allclose(of("speed"), np.hypot(2, 1) * 1000 / 300, rtol=1e-4)
    assert of("here_mean_8")[0, 1] == of("here_mean_8")[1, 1] > of("here_mean_8")[0, 0] > 0
    np.testing.assert_allclose(of("divergence"), 0, atol=1e-5)


def test_displacement_is_in_kilometres():
    of = predictors_by_name(field(wet_disc(), spacing=2000.0), [(32, 32)], synthetic.translation(1, 0))
    np.testing.assert_allclose(of("displacement")[:, 0], [6, 24], rtol=1e-4)


def test_divergence_of_a_known_flow():
    """Motion that grows by 0.02 cells per 5 min from cell to cell diverges by 0.24 per hour."""
    diverging = synthetic.Motion(lambda x, y: (0.02 * (x - 40), 0.0 * y), None)
    of = predictors_by_name(field(wet_disc()), [(32, 40), (20, 30)], diverging)
    np.testing.assert_allclose(of("divergence"), 0.24, rtol=1e-3)


@pytest.mark.parametrize("y_down", [True, False])
def test_ahead_behind_left_and_right(y_down):
    """Left of air that moves to higher columns are higher rows, whichever way y runs."""
    rain = synthetic.rain(SHAPE, frames=1, y_down=y_down)
    rain.values[0] = wet_disc(radius=4, centre=(22, 40))[0]
    side = "right_4"
    of = predictors_by_name(rain, [(32, 40)], synthetic.translation(1e-4, 0))
    values = {name: of(name)[0, 0] for name in ("ahead_4", "behind_4", "left_4", "right_4")}
    assert max(values, key=values.get) == side
    assert values[side] > 10
    of = predictors_by_name(rain, [(22, 30), (22, 50)], synthetic.translation(1e-4, 0))
    np.testing.assert_allclose([of("ahead_4")[0], of("behind_4")[0]], [[values[side], 0], [0, values[side]]], atol=1e-4)


def test_tendency_of_rain_that_grows_everywhere_alike():
    rates = 2.0 * 1.2 ** np.arange(8)[:, None, None] * np.ones((8, *SHAPE))
    of = predictors_by_name(field(rates), [(32, 40), (0, 0)])
    for name in ("tendency_10_8", "tendency_10_32", "tendency_30_8", "tendency_30_32"):
        np.testing.assert_allclose(of(name), 20 * np.log10(1.2), rtol=1e-3)


def test_tendency_and_skill_of_rain_that_moves():
    motion = synthetic.translation(2, 1)
    cells = [(30, 40), (40, 50)]
    moving, growing, decaying = (
        predictors_by_name(synthetic.rain(SHAPE, motion, frames=8, growth=g), cells, motion) for g in (1.0, 1.15, 0.85)
    )
    for name in ("tendency_10_32", "tendency_30_32"):
        assert (np.abs(moving(name)) < 0.05).all()
        assert (growing(name) > 0.1).all()
        assert (decaying(name) < -0.1).all()
    for name in ("skill_10", "skill_30"):
        np.testing.assert_allclose(moving(name), 1, atol=0.01)
    other = synthetic.rain(SHAPE, frames=8, seed=9)
    unlike = synthetic.rain(SHAPE, motion, frames=8)
    unlike.values[:-1] = other.values[:-1]
    assert (predictors_by_name(unlike, cells, motion)("skill_10") < 0.5).all()


def test_without_earlier_frames_tendency_and_skill_are_missing():
    names = [name for name in RADAR_PREDICTORS if name.startswith(("tendency", "skill"))]
    one = predictors_by_name(field(wet_disc()), [(32, 32)])
    three = predictors_by_name(field(wet_disc(frames=3)), [(32, 32)])
    assert all(np.isnan(one(name)).all() for name in names)
    assert [np.isfinite(three(name)).all() for name in names] == ["_10" in name for name in names]


def test_a_late_radar_counts_lead_times_from_its_latest_frame():
    motion = synthetic.translation(1, 0)
    rain = synthetic.rain(SHAPE, motion, frames=8)
    late = rain.copy(deep=True)
    late.values[-2:] = np.nan
    cells = [(30, 40), (20, 60)]
    found = predictors_by_name(late, cells, motion, LEADS)
    expected = predictors_by_name(rain[:-2], cells, motion, LEADS + 10 * MINUTE)
    assert found("lead_time")[0, 0] == 25
    for name in RADAR_PREDICTORS:
        np.testing.assert_array_equal(found(name), expected(name), err_msg=name)


# --- Eulerian and Lagrangian ------------------------------------------------------------------------------------


def test_lagrangian_predictors_are_eulerian_ones_where_the_air_will_be():
    """Both agree for uniform motion by whole cells."""
    motion = synthetic.translation(2, 1)
    rain = synthetic.rain((80, 100), motion, frames=8, seen=synthetic.disc((80, 100), 0.6))
    cells = np.array([(20, 30), (33, 41), (40, 50), (25, 60)])
    leads = np.array([15, 30]) * MINUTE
    moving = predictors_by_name(rain, cells, motion, leads, predictors_lagrangian)
    for k, shift in enumerate([(3, 6), (6, 12)]):
        there = predictors_by_name(rain, cells + shift, motion, leads)
        for name in RADAR_PREDICTORS:
            np.testing.assert_allclose(moving(name)[k], there(name)[k], atol=0.02, err_msg=name)


# --- missing data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (7, 9), (30, 30)])
@pytest.mark.parametrize(
    "change",
    [
        lambda r: r,
        lambda r: r * 0,
        lambda r: r * np.nan,
        lambda r: r.where(r.time != r.time[1]),
        lambda r: r.where(r.time != r.time[3]),
        lambda r: r.where(r.time == r.time[1]),
        lambda r: r.where(r.x > r.x[r.sizes["x"] // 2]),
        lambda r: r.isel(time=[3]),
    ],
    ids=["rain", "dry", "all missing", "a gap", "late", "one frame seen", "half seen", "one frame"],
)
def test_predictors_are_finite_or_nan_with_any_missing_data(shape, change):
    rain = change(synthetic.rain(shape, frames=4)).assign_attrs(units="mm h-1").astype(np.float32)
    state = build_predictor_state(rain, DenseFlow().estimate(rain), LEADS)
    cells = np.argwhere(np.ones(shape, bool)).astype(np.int32)
    for found in (predictors_eulerian(state, cells), predictors_lagrangian(state, cells)):
        assert not np.isinf(found).any()
        for name in ("lead_time", "displacement", "inflow", "speed", "known_16", "max_8"):
            assert np.isfinite(found[..., RADAR_PREDICTORS.index(name)]).all(), name
        if not np.isfinite(rain).any():
            assert np.isnan(found[..., RADAR_PREDICTORS.index("rate")]).all()
            assert np.isnan(found[..., RADAR_PREDICTORS.index("mean_8")]).all()
    assert predictors_eulerian(state, cells[:0]).shape == (2, 0, len(RADAR_PREDICTORS))


def test_inputs_are_left_as_they_are():
    rain = synthetic.rain((40, 50), seen=synthetic.disc((40, 50)))
    motion = DenseFlow().estimate(rain)
    before, flow = rain.copy(deep=True), motion.copy(deep=True)
    state = build_predictor_state(rain, motion, LEADS)
    latest = state.fields.latest.copy()
    predictors_eulerian(state, np.array([[3, 4]], np.int32))
    predictors_lagrangian(state, np.array([[3, 4]], np.int32))
    assert rain.identical(before)
    assert motion.identical(flow)
    np.testing.assert_array_equal(state.fields.latest, latest)
