"""What holds for any forecast: brute force, cases in any order, nothing known, all dry, one point, equal wet area."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import reference, synthetic
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY, forecast_dataset
from hybridcast.errors import InputError
from hybridcast.verification import scores
from hybridcast.verification.statistics import common_mask, compute_statistics, window_half_widths

LEADS = np.arange(1, 3) * np.timedelta64(5, "m")
LEVELS = (0.5, 2.0)
RATES = st.sampled_from([0.0, 0.3, 0.5, 1.0, 2.0, 7.5, np.nan])


def labelled(forecast, observed, spacing=1000.0):
    """Put arrays ``(lead_time, y, x)`` into a forecast and an observation."""
    template = synthetic.rain(forecast.shape[1:], frames=1, later=len(forecast), spacing=spacing)
    values = np.concatenate([np.zeros((1, *observed.shape[1:])), observed]).astype(np.float32)
    leads = np.arange(1, len(forecast) + 1) * np.timedelta64(5, "m")
    return forecast_dataset(forecast, template.isel(time=[0]), leads), template.copy(data=values)


@st.composite
def fields(draw, shape=(2, 5, 7)):
    rates = st.lists(RATES, min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    return [np.array(draw(rates), np.float32).reshape(shape) for _ in range(3)]


@settings(max_examples=50)
@given(fields(), st.sampled_from([(1.0,), (3.0, 5.0), (40.0,)]))
def test_fractions_are_those_of_looking_at_every_window(arrays, scales):
    forecast, observed = labelled(*arrays[:2])
    statistics = compute_statistics(forecast, observed, thresholds=LEVELS, scales=scales)
    for scale in scales:
        for k in range(2):
            for level in LEVELS:
                expected = reference.fractions(arrays[0][k], arrays[1][k], level, int(scale / 2))
                here = statistics.isel(lead_time=k).sel(scale=scale)
                assert float(here.fraction_difference.sel(threshold=level)) == pytest.approx(expected[0], abs=1e-12)
                assert float(here.fraction_squares.sel(threshold=level)) == pytest.approx(expected[1], abs=1e-12)
                assert float(here.window_fraction) == pytest.approx(expected[2])


@settings(max_examples=40)
@given(fields())
def test_equal_area_is_the_mean_over_all_ways_to_draw_among_equals(arrays):
    forecast, observed = labelled(*arrays[:2])
    other, _ = labelled(arrays[2], arrays[1])
    statistics = compute_statistics(forecast, observed, thresholds=LEVELS, reference=other.precipitation_rate)
    rng = np.random.default_rng(0)
    for k in range(2):
        for level in LEVELS:
            expected = reference.equal_area(arrays[0][k], arrays[1][k], arrays[2][k], level, rng, draws=200)
            here = statistics.isel(lead_time=k).sel(threshold=level)
            assert float(here.hits_equal_area) == pytest.approx(expected["hits"], abs=0.5)
            assert float(here.hits_equal_area + here.false_alarms_equal_area) == pytest.approx(expected["wet"])
            assert float(here.hits_equal_area + here.misses_equal_area) == pytest.approx(expected["events"])


@settings(max_examples=40)
@given(fields())
def test_equal_area_with_itself_is_the_plain_table(arrays):
    forecast, observed = labelled(*arrays[:2])
    statistics = compute_statistics(forecast, observed, thresholds=LEVELS, reference=forecast.precipitation_rate)
    for name in ("hits", "misses", "false_alarms"):
        np.testing.assert_allclose(statistics[f"{name}_equal_area"], statistics[name], atol=1e-9)


@settings(max_examples=30)
@given(st.floats(0.1, 10), fields())
def test_equal_area_does_not_see_a_bias(factor, arrays):
    forecast, observed = labelled(*arrays[:2])
    other, _ = labelled(arrays[2], arrays[1])
    biased = forecast.assign(precipitation_rate=forecast.precipitation_rate * np.float32(factor))
    one, two = (
        compute_statistics(f, observed, thresholds=LEVELS, reference=other.precipitation_rate)
        for f in (forecast, biased)
    )
    np.testing.assert_allclose(scores.csi_equal_area(one), scores.csi_equal_area(two))


def realistic(seed, members=3):
    rng = np.random.default_rng(seed)
    observed = synthetic.rain((16, 21), frames=1, later=2, seed=seed, wet=0.6).values[1:].copy()
    rate = np.roll(observed, 1, axis=2) * rng.lognormal(0, 0.4, observed.shape).astype(np.float32)
    rate[rng.random(rate.shape) < 0.1] = np.nan
    forecast, seen = labelled(rate, observed)
    noise = rng.lognormal(0, 0.5, (members, *rate.shape)).astype(np.float32)
    return forecast.assign({ENSEMBLE: (("realization", "lead_time", "y", "x"), noise * rate)}), seen


def full_statistics(seed):
    forecast, observed = realistic(seed)
    return compute_statistics(forecast, observed, scales=(1.0, 5.0), reference=forecast.precipitation_rate)


@settings(max_examples=12)
@given(st.permutations(range(4)))
def test_cases_add_up_in_any_order(order):
    cases = [full_statistics(seed) for seed in range(4)]
    straight = cases[0] + cases[1] + cases[2] + cases[3]
    shuffled = (cases[order[0]] + cases[order[1]]) + (cases[order[2]] + cases[order[3]])
    xr.testing.assert_allclose(straight, shuffled, rtol=1e-12)
    assert (straight.cases == 4).all()


def test_the_same_case_gives_the_same_sums_to_the_last_bit():
    xr.testing.assert_identical(full_statistics(3), full_statistics(3))


def test_turning_the_field_changes_nothing():
    forecast, observed = realistic(2)
    turned = [data.isel(y=slice(None, None, -1), x=slice(None, None, -1)) for data in (forecast, observed)]
    one, two = (
        compute_statistics(*case, scales=(1.0, 5.0), reference=case[0].precipitation_rate)
        for case in ((forecast, observed), turned)
    )
    xr.testing.assert_allclose(one, two, rtol=1e-12)


@pytest.mark.parametrize("kind", ["unknown", "dry", "one point"])
def test_degenerate_cases(kind):
    forecast, observed = realistic(1)
    if kind == "unknown":
        observed = observed * np.nan
    elif kind == "dry":
        forecast, observed = forecast * 0, observed * 0
    else:
        forecast, observed = (data.isel(y=[3], x=[4]) for data in (forecast, observed))
    statistics = compute_statistics(forecast, observed, scales=(1.0, 40.0), reference=forecast.precipitation_rate)
    assert all(np.isfinite(statistics[name]).all() for name in statistics)
    if kind == "unknown":
        assert all((statistics[name] == 0).all() for name in statistics)
        assert (scores.support(statistics).to_array() == 0).all()
    if kind == "dry":
        assert np.isnan(scores.csi_equal_area(statistics)).all()
        assert np.isnan(scores.fractions_skill_score(statistics)).all()
        assert (scores.brier_score(statistics) == 0).all()
        assert (scores.crps(statistics) == 0).all()
    if kind == "one point":
        assert (statistics["count"] <= 1).all()


def test_a_window_beyond_the_mask_is_told():
    forecast, observed = realistic(0)
    forecast = forecast.drop_vars(ENSEMBLE).fillna(0)
    statistics = compute_statistics(forecast, observed, scales=(1.0, 5.0))
    coverage = scores.window_coverage(statistics)
    assert (coverage.sel(scale=1.0) == 1).all()
    assert (coverage.sel(scale=5.0) < 1).all()
    holes = compute_statistics(forecast.where(forecast.x > 3000), observed, scales=(1.0, 5.0))
    assert (scores.window_coverage(holes).sel(scale=1.0) == 1).all()


def test_windows_follow_the_spacing():
    at = {km: labelled(*2 * [np.zeros((1, 5, 6))], spacing=km * 1000)[0] for km in (0.5, 1.0, 2.0)}
    assert window_half_widths(at[1.0], (1, 5, 10, 20, 40)) == [(0, 0), (2, 2), (5, 5), (10, 10), (20, 20)]
    assert window_half_widths(at[2.0], (1, 5, 10, 20, 40)) == [(0, 0), (1, 1), (2, 2), (5, 5), (10, 10)]
    assert window_half_widths(at[0.5], (1, 5)) == [(1, 1), (5, 5)]


def test_brier_is_reliability_resolution_and_uncertainty():
    statistics = full_statistics(5)
    parts = scores.brier_parts(statistics)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within_bins
    np.testing.assert_allclose(total, scores.brier_score(statistics), atol=1e-12)
    diagram = scores.reliability_diagram(statistics)
    np.testing.assert_allclose(
        diagram.points.sum("probability_bin"), statistics["count"].broadcast_like(statistics.hits)
    )
    forecast, observed = realistic(5)
    certain = compute_statistics(forecast.drop_vars(ENSEMBLE), observed)
    np.testing.assert_allclose(scores.brier_parts(certain).within_bins, 0, atol=1e-12)
    wrong = (certain.misses + certain.false_alarms) / certain["count"]
    np.testing.assert_allclose(scores.brier_score(certain), wrong)


def test_a_perfect_probability_is_perfect_and_climate_has_no_resolution():
    forecast, observed = realistic(5)
    forecast = forecast.drop_vars(ENSEMBLE).fillna(0)
    events = (observed.isel(time=slice(1, None)) >= 1).astype(np.float32).values
    for probability, area in ((events, 1.0), (np.full_like(events, 0.37), 0.5)):
        given_ = forecast.assign({PROBABILITY: (("threshold", "lead_time", "y", "x"), probability[None])})
        statistics = compute_statistics(given_.assign_coords(threshold=[1.0]), observed, thresholds=(1.0,))
        np.testing.assert_allclose(scores.roc_area(statistics), area)
    assert (scores.brier_parts(statistics).resolution < 1e-12).all()
    np.testing.assert_allclose(
        scores.brier_parts(statistics).reliability, (0.37 - events.mean(axis=(1, 2)))[None] ** 2, rtol=1e-5
    )


def test_gauges_have_the_sums_of_their_cells():
    forecast, observed = realistic(1)
    y, x = xr.DataArray([3, 9, 9], dims="station"), xr.DataArray([2, 20, 4], dims="station")
    at = [
        data.isel(y=y, x=x).drop_vars(["y", "x"]).assign_coords(station=["a", "b", "c"])
        for data in (forecast, observed)
    ]
    statistics = compute_statistics(*at)
    cells = sum(
        compute_statistics(forecast.isel(y=[i], x=[j]), observed.isel(y=[i], x=[j]))
        for i, j in ((3, 2), (9, 20), (9, 4))
    )
    of_cases = ["cases", "rank_deviation"]
    xr.testing.assert_allclose(statistics.drop_vars(of_cases), cells.drop_vars(of_cases), rtol=1e-12)
    with pytest.raises(InputError, match="share their stations"):
        compute_statistics(at[0], at[1].isel(station=[0, 2, 1]))


def test_the_common_mask_is_where_all_are_known():
    (one, observed), (two, _) = realistic(1), realistic(2)
    p = xr.DataArray(np.zeros((1, 2, 16, 21), np.float32), dims=("threshold", "lead_time", "y", "x"))
    p[0, :, 0] = np.nan
    three = two.assign({PROBABILITY: p})
    observed = observed.where(observed.x > 1000)
    mask = common_mask([one, three], observed)
    expected = np.isfinite(one.precipitation_rate) & np.isfinite(two.precipitation_rate)
    expected[:, 0], expected[:, :, :2] = False, False
    np.testing.assert_array_equal(mask, expected)
    a, b = (compute_statistics(f, observed, valid=mask, thresholds=(1.0,)) for f in (one, two))
    xr.testing.assert_equal(a["count"], b["count"])
    with pytest.raises(InputError, match="no forecast"):
        common_mask([], observed)


@pytest.mark.parametrize("thresholds", [(), (1.0, 0.5), (0.0, 1.0), (1.0, 1.0)])
def test_thresholds_rise(thresholds):
    with pytest.raises(InputError, match="they are above zero and rise"):
        compute_statistics(*realistic(1), thresholds=thresholds)


def test_a_probability_that_is_not_there_is_named():
    forecast, observed = realistic(1)
    p = np.zeros((2, 2, 16, 21), np.float32)
    forecast = forecast.assign({PROBABILITY: (("threshold", "lead_time", "y", "x"), p)})
    with pytest.raises(InputError, match=r"no probability at 0\.7 mm/h"):
        compute_statistics(forecast.assign_coords(threshold=[0.5, 1.0]), observed, thresholds=(0.5, 0.7))


def test_power_is_found_at_the_wavelength_of_a_wave():
    _, x = np.mgrid[:64, :96] * 2.0  # km
    for wavelength, middle in ((24.0, 22.627), (6.0, 5.657)):
        wave = 5 + np.cos(2 * np.pi * x / wavelength)
        forecast, observed = labelled(0.5 * wave[None].astype(np.float32), wave[None], spacing=2000.0)
        statistics = compute_statistics(forecast, observed, spectra=True).isel(lead_time=0)
        here = statistics.sel(wavelength=middle)
        assert float(here.observed_power) == pytest.approx(((wave - 5) ** 2).sum(), rel=1e-5)
        assert float(statistics.observed_power.sum()) == pytest.approx(float(here.observed_power), rel=1e-5)
        assert float(scores.spectral_ratio(here)) == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize("shape", [(16, 21), (17, 20), (1, 8)])
def test_octaves_share_the_sum_of_squares(shape):
    rate = np.random.default_rng(0).gamma(1, 2, (1, *shape)).astype(np.float32)
    rate[0, 0, 3] = np.nan
    forecast, observed = labelled(rate, rate, spacing=2000.0)
    if shape[0] == 1:
        forecast, observed = (data.assign_coords(y=[0.0]) for data in (forecast, observed))
    statistics = compute_statistics(forecast, observed, spectra=True).isel(lead_time=0)
    power = np.abs(np.fft.fft2(np.nan_to_num(rate[0]).astype(float))) ** 2 / rate[0].size
    cycles = np.hypot(np.fft.fftfreq(shape[0], 2.0)[:, None], np.fft.fftfreq(shape[1], 2.0))
    for k, here in enumerate(statistics.observed_power.values):
        inside = (cycles > 1 / 2.0 ** (k + 2)) & (cycles <= 1 / 2.0 ** (k + 1))
        assert here == pytest.approx(power[inside].sum(), rel=1e-4)
    np.testing.assert_allclose(scores.spectral_ratio(statistics).dropna("wavelength"), 1)
