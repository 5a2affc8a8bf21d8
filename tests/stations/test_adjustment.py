from __future__ import annotations

import numpy as np
import pytest

from helpers.stations_synthetic import MINUTE, gauges_in, steady_rain
from hybridcast.core.field import precipitation
from hybridcast.datasets.pseudo_gauges import simulate_radar_bias
from hybridcast.stations import station_reports
from hybridcast.stations.adjustment import AdjustmentSettings, adjust_radar, compute_factors, leave_one_out, pair_sums
from hybridcast.stations.clock import clock_offset
from hybridcast.stations.quality import quality_control


@pytest.fixture(scope="module")
def truth():
    return steady_rain(frames=24)


def error(field, truth):
    return float(np.sqrt(np.mean((field.values - truth.values) ** 2)))


def test_a_bias_of_the_whole_field_is_taken_away(truth):
    field, report = adjust_radar(truth * np.float32(0.5), gauges_in(truth, count=60))
    assert report.pairs == 60
    assert report.mean_field_bias == pytest.approx(2 ** (60 / 70), rel=0.02)
    np.testing.assert_allclose(field.values.mean() / truth.values.mean(), 1.0, atol=0.04)
    assert field.dtype == np.float32
    assert "60 gauges" in field.attrs["adjustment"]


def test_a_simulated_bias_that_differs_from_place_to_place_shrinks(truth):
    biased, factor = simulate_radar_bias(truth, seed=3)
    settings = AdjustmentSettings()
    field, report = adjust_radar(biased, gauges_in(truth, count=100), settings=settings)
    assert error(field, truth) < 0.6 * error(biased, truth)
    assert report.min_factor < report.mean_field_bias < report.max_factor
    asked = np.log(1 / factor)
    given = np.log(field.values[0] / biased.values[0])
    assert np.corrcoef(asked.ravel(), given.ravel())[0, 1] > 0.8


def test_what_few_gauges_tell_of_places_is_believed_little(truth):
    wet = truth * 0 + 2.0  # rain everywhere, so that all gauges make pairs
    spreads = []
    for count in (4, 10, 60):
        gauges = gauges_in(wet, count=count)
        gauges["precipitation_rate"][::2] *= 2  # every second gauge says twice as much as the radar
        _, report = adjust_radar(wet, gauges)
        spreads.append(np.log(report.max_factor / report.min_factor))
    assert spreads == sorted(spreads)
    assert spreads[0] < 0.25 * np.log(2)


def test_few_pairs_are_believed_little(truth):
    half = truth * np.float32(0.5)
    factors = [adjust_radar(half, gauges_in(truth, count=n))[1].mean_field_bias for n in (1, 3, 10, 100)]
    assert factors == sorted(factors)
    assert factors[0] == pytest.approx(2 ** (1 / 11), rel=0.02)
    assert factors[-1] > 1.85


def test_factors_are_capped(truth):
    _, report = adjust_radar(truth * np.float32(0.05), gauges_in(truth, count=50))
    assert report.max_factor <= 4.0 + 1e-5
    _, report = adjust_radar(truth * np.float32(20), gauges_in(truth, count=50))
    assert report.min_factor >= 0.25 - 1e-5


def test_far_from_gauges_only_the_mean_field_bias_is_left(truth):
    gauges = gauges_in(truth, count=40)
    pairs = pair_sums(truth * np.float32(0.5), gauges)
    far = np.array([[600.0, 600.0]], np.float32)
    bias, factor = compute_factors(far, truth, pairs)
    assert float(factor[0]) == pytest.approx(bias, rel=1e-5)


@pytest.mark.parametrize("case", ["none", "empty", "dry", "silent", "elsewhere", "late"])
def test_without_usable_gauges_it_is_the_identity_and_says_so(truth, case):
    gauges = gauges_in(truth)
    given = {
        "none": None,
        "empty": gauges.isel(station=slice(0)),
        "dry": gauges.assign(precipitation_rate=gauges.precipitation_rate * 0),
        "silent": gauges.assign(precipitation_rate=gauges.precipitation_rate * np.nan),
        "elsewhere": gauges.assign_coords(x=gauges.x + 1e7),
        "late": gauges.assign_coords(time=gauges.time + 1000 * MINUTE),
    }[case]
    field, report = adjust_radar(truth, given)
    assert field is truth
    assert report.mean_field_bias == 1.0
    assert report.reason
    assert "not adjusted" in str(report)


def test_nan_stays_nan_and_dry_stays_dry(truth):
    radar = (truth * np.float32(0.5)).copy()
    radar[:, :10] = np.nan
    radar[:, 20:30] = 0.0
    field, report = adjust_radar(radar, gauges_in(truth, count=60))
    np.testing.assert_array_equal(np.isnan(field.values), np.isnan(radar.values))
    assert (field.values[:, 20:30] == 0).all()
    assert report.pairs > 20


def test_nothing_after_the_last_frame_is_used(truth):
    gauges = gauges_in(truth, count=30)
    half = (truth * np.float32(0.5)).isel(time=slice(12))
    changed = gauges.copy(deep=True)
    changed.precipitation_rate[:, 12:] = 99.0
    np.testing.assert_array_equal(adjust_radar(half, gauges)[0].values, adjust_radar(half, changed)[0].values)
    quarters = station_reports(
        np.full((1, 2), 5.0),
        station=["A"],
        time=half.time.values[-1] + np.array([-5, 10]) * MINUTE,  # the second ends later, but began before
        interval=15 * MINUTE,
        coords={"x": [6e4], "y": [6e4]},
    )
    other = quarters.copy(deep=True)
    other.precipitation_rate[:, 1] = 50.0
    np.testing.assert_array_equal(adjust_radar(half, quarters)[0].values, adjust_radar(half, other)[0].values)


def test_the_offset_of_the_clocks_is_taken_into_account(truth):
    late = gauges_in(truth, count=60, delay=10)
    pairs = pair_sums(truth, late, offset=10 * MINUTE)
    np.testing.assert_allclose(pairs.gauge, pairs.radar, rtol=1e-4)
    plain = pair_sums(truth, late)
    assert np.abs(plain.gauge / plain.radar - 1).max() > 0.01


def test_ten_thousand_gauges():
    generator = np.random.default_rng(0)
    times = np.datetime64("2020-01-01T00:00", "ns") + np.arange(7) * 5 * MINUTE
    axis = np.arange(400) * 2000.0
    radar = precipitation(generator.gamma(1, 2, (7, 400, 400)), time=times, y=axis, x=axis, crs=None)
    gauges = station_reports(
        generator.gamma(1, 2, (10_000, 7)),
        station=[str(n) for n in range(10_000)],
        time=times,
        interval=5 * MINUTE,
        coords={"x": generator.uniform(0, 8e5, 10_000), "y": generator.uniform(0, 8e5, 10_000)},
    )
    assert adjust_radar(radar, gauges)[1].pairs > 5000


@pytest.mark.parametrize("case", ["half_day", "eight_days", "openrainer"])
def test_gauges_that_are_held_out_are_met_better(case, request):
    radar, stations = request.getfixturevalue(case)
    found = clock_offset(stations, radar)
    stations = quality_control(stations, radar, offset=found.offset)[0]
    step = radar.time.values[1] - radar.time.values[0]
    frames = int(np.timedelta64(120, "m") / step)
    parts = [radar.isel(time=slice(n - frames + 1, n + 1)) for n in range(frames, radar.sizes["time"], frames)]
    held = [leave_one_out(part, stations, offset=found.offset) for part in parts]
    gauge, before, after = (
        np.concatenate([getattr(one, name) for one in held]) for name in ("gauge", "radar", "adjusted")
    )
    assert gauge.size > 50
    rmse = [np.sqrt(np.mean((values - gauge) ** 2)) for values in (before, after)]
    assert rmse[1] < 0.92 * rmse[0]
    assert np.abs(after - gauge).mean() < 0.85 * np.abs(before - gauge).mean()


def test_links_do_not_adjust_unless_trusted(truth):
    half = truth * np.float32(0.5)
    links = gauges_in(truth).assign_coords(sensor=("station", np.full(40, "link", object)))
    assert adjust_radar(half, links)[0] is half
    assert adjust_radar(half, links, settings=AdjustmentSettings(untrusted=()))[1].pairs == 40


def test_errors_of_what_is_held_out(truth):
    held = leave_one_out(truth * np.float32(0.5), gauges_in(truth, count=60))
    errors = held.errors
    assert held.gauge.size == 60
    assert errors["rmse_adjusted"] < 0.3 * errors["rmse_radar"]
    assert errors["bias_radar"] == pytest.approx(0.5, rel=1e-3)
    assert errors["bias_adjusted"] == pytest.approx(1.0, abs=0.08)
