"""Members look like the rain of the latest frame: as elongated, in its direction, and as rough from cell to cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from helpers import synthetic
from hybridcast import forecast, precipitation
from hybridcast.core.forecast_schema import ENSEMBLE
from hybridcast.ensembles.noise import FITTED, MemberCount, MemberNoise
from hybridcast.ensembles.realizations import GridPart, Realizations, find_wettest_part
from hybridcast.ensembles.texture import (
    LARGEST_RATIO,
    match_grain,
    measure_grain,
    measure_stretch,
    turn_to_smallest_window,
)
from hybridcast.nowcasters.scale_filter_ensemble import ScaleFilterEnsemble
from hybridcast_kernels.realizations_cpu import CurvePlanes, Nodes, RainCurve

CELL = 2.0


def draw_rain(along, across, angle=0.0, side=200, seed=0):
    """Rain whose scales along a direction and across it are standard deviations, cells; `angle` from x, degrees."""
    generator = np.random.default_rng(seed)
    wide = gaussian_filter(generator.standard_normal((2 * side, 2 * side)), (across, along))
    turn = np.radians(angle)
    rows, columns = np.indices((side, side)) - (side - 1) / 2
    x = np.cos(turn) * columns + np.sin(turn) * rows
    y = np.cos(turn) * rows - np.sin(turn) * columns
    field = map_coordinates(wide / wide.std(), np.stack([y, x]) + side, order=1)
    return np.where(field > 0.5, np.exp(1.5 * field), 0).astype(np.float32)


def find_axis(matrix):
    """Ratio of the scales of noise that is stretched by a matrix, and the direction of the longer, degrees from x."""
    squares, axes = np.linalg.eigh(matrix.T @ matrix)
    return np.sqrt(squares[1] / squares[0]), np.degrees(np.arctan2(axes[0, 0], axes[1, 0])) % 180


# --- direction ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0, 30, 90, 140])
def test_noise_is_stretched_along_the_rain(angle):
    matrix = measure_stretch(draw_rain(6, 3, angle), CELL)
    ratio, found = find_axis(matrix)
    assert 1.5 < ratio < 2.6
    assert abs((found - angle + 90) % 180 - 90) < 12
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_round_rain_stretches_little():
    assert find_axis(measure_stretch(draw_rain(4, 4), CELL))[0] < 1.25


def test_the_border_of_what_is_known_is_no_direction():
    frame = draw_rain(6, 3, 60)
    expected = find_axis(measure_stretch(frame, CELL))
    frame[:, :90] = np.nan
    found = find_axis(measure_stretch(frame, CELL))
    assert abs((found[1] - expected[1] + 90) % 180 - 90) < 12
    assert found[0] == pytest.approx(expected[0], rel=0.25)


@pytest.mark.parametrize("value", [0.0, np.nan, 5.0])
def test_without_rain_that_varies_nothing_is_stretched(value):
    matrix = measure_stretch(np.full((60, 80), value, np.float32), CELL)
    assert np.isfinite(matrix).all()
    assert find_axis(matrix)[0] < 1.3


def test_a_few_wet_cells_are_no_evidence():
    frame = np.zeros((60, 80), np.float32)
    frame[30, 10:60] = 4
    np.testing.assert_array_equal(measure_stretch(frame, CELL), np.eye(2))


def test_the_ratio_is_limited():
    frame = np.zeros((100, 400), np.float32)
    frame[50:53] = 8
    assert find_axis(measure_stretch(frame, CELL))[0] <= LARGEST_RATIO * 1.0001


@pytest.mark.parametrize("shape", [(1, 300), (3, 3), (2, 500), (60, 80)])
@pytest.mark.parametrize("cell", [1.0, 4.0, 20.0])
def test_rain_without_a_shape(shape, cell):
    frame = np.random.default_rng(0).gamma(0.5, 4, shape).astype(np.float32)
    assert find_axis(measure_stretch(frame, cell))[0] < 1.3


def test_a_turned_stretch_is_the_same_stretch_in_a_smaller_window():
    shape = (300, 500)
    matrix = measure_stretch(draw_rain(8, 3, 45), CELL)
    turned = turn_to_smallest_window(matrix, shape)
    np.testing.assert_allclose(turned.T @ turned, matrix.T @ matrix, atol=1e-12)
    window = [np.prod(np.abs(one) @ shape) for one in (matrix, turned)]
    assert window[1] < window[0]
    np.testing.assert_array_equal(turn_to_smallest_window(np.eye(2), shape), np.eye(2))


# --- grain ----------------------------------------------------------------------------------------------------


def test_rough_rain_has_a_larger_grain():
    grains = [measure_grain([draw_rain(scale, scale)], CELL) for scale in (1, 2, 4)]
    assert grains == sorted(grains, reverse=True)
    assert grains[0] > 1.5 * grains[2]


def test_the_grain_does_not_depend_on_the_area():
    frame = draw_rain(3, 3)
    apart = np.zeros((400, 400), np.float32)
    apart[:200, :200] = frame
    assert measure_grain([apart], CELL) == pytest.approx(measure_grain([frame], CELL), rel=0.05)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_without_rain_there_is_no_grain(value):
    assert np.isnan(measure_grain([np.full((60, 80), value, np.float32)], CELL))
    assert match_grain(lambda _: [np.full((60, 80), value, np.float32)], 0.2, CELL) == 0
    assert match_grain(lambda _: [draw_rain(1, 1)], np.nan, CELL) == 0


def test_the_spacing_is_that_of_the_grain():
    def draw(finest):
        return [draw_rain(max(finest, 1) / CELL, max(finest, 1) / CELL)]

    target = measure_grain(draw(6.0), CELL)
    assert match_grain(draw, target, CELL) == pytest.approx(6, rel=0.15)
    assert match_grain(draw, 2 * measure_grain(draw(0.0), CELL), CELL) == 0  # rougher than any


def test_scales_below_the_finest_belong_to_it():
    leads = np.array([30.0, 60.0])
    shares = FITTED.on_grid(1.0, 7, leads).shares
    kept = replace(FITTED, finest=8.0).on_grid(1.0, 7, leads).shares
    np.testing.assert_allclose(kept.sum(axis=1), 1, atol=1e-6)
    assert (kept[:, :3] == 0).all()  # 1, 2 and 4 km
    np.testing.assert_allclose(kept[:, 5:], shares[:, 5:], atol=1e-6)
    assert (kept[:, 3:5].sum(axis=1) > shares[:, 3:5].sum(axis=1)).all()


# --- parts of a grid ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centre", [(0, 0), (37, 20), (69, 89)])
def test_a_part_of_the_grid_has_the_same_bits(centre):
    shape, places, leads = (70, 90), Nodes(4, 1.5), np.array([60.0], np.float32)
    nodes = (19, 24)
    here = (np.indices(nodes) * places.factor + places.offset).astype(np.float32)
    generator = np.random.default_rng(0)
    air = generator.uniform(0, 0.8, (1, *nodes)).astype(np.float32)
    planes = CurvePlanes(air, None, places, here - 3, here - 2.5, places)
    known = np.where(generator.random((1, *shape)) < 0.1, np.nan, 0).astype(np.float32)
    noise = MemberNoise(FITTED.on_grid(2.0, 5, leads.astype(np.float64)), MemberCount(3, 0))
    curve = RainCurve(np.array([0.1], np.float32), 8.0, 200.0)
    made = Realizations(lambda _: planes, curve, noise, leads, known, known)
    part = GridPart.around(centre, 32, shape, places.factor)
    found = made.at(0, part)
    assert min(found.shape[1:]) >= 28
    np.testing.assert_array_equal(found, made.at(0)[:, *part.cells])


def test_the_wettest_part_holds_the_rain():
    frame = np.zeros((900, 700), np.float32)
    frame[850:890, 20:60] = 3
    part = find_wettest_part(frame, 4)
    assert frame[part.cells].sum() == frame.sum()
    assert find_wettest_part(frame[:50, :40], 4).cells == (slice(0, 50), slice(0, 40))


# --- members --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nowcaster", ["default", ScaleFilterEnsemble()], ids=["trained", "scale filter"])
@pytest.mark.parametrize("angle", [20, 110])
def test_members_look_like_the_latest_frame(angle, nowcaster):
    frame = draw_rain(7, 2.5, angle, side=220)
    values = np.stack([np.roll(frame, shift, axis=1) for shift in range(6)])
    times = synthetic.START + np.arange(6) * np.timedelta64(5, "m")
    axes = {axis: np.arange(220) * 2000.0 for axis in ("y", "x")}
    rain = precipitation(values, time=times, crs=None, **axes)
    made = forecast(rain, nowcaster=nowcaster, members=4, lead_time="1h", step="30min")
    members = made[ENSEMBLE].transpose("lead_time", "realization", "y", "x").values[-1]
    assert measure_grain(members, CELL) == pytest.approx(measure_grain([values[-1]], CELL), rel=0.25)
    expected, found = (
        find_axis(np.mean([measure_stretch(one, CELL) for one in some], axis=0)) for some in (values, members)
    )
    assert found[0] > 1.3
    assert abs((found[1] - expected[1] + 90) % 180 - 90) < 15
