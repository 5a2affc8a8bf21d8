from __future__ import annotations

import numpy as np
import pytest

from helpers.stations_synthetic import MINUTE, START, gauges_in, steady_rain
from hybridcast.core.field import precipitation
from hybridcast.errors import InputError
from hybridcast.predictors.registry import STATION_PREDICTORS
from hybridcast.predictors.stations import StationPredictorSettings, compute_station_predictors
from hybridcast.stations import select_available_reports, station_reports


def flat(rate=2.0, frames=13, size=80):
    times = START + (np.arange(frames) + 1) * 5 * MINUTE
    axis = np.arange(size) * 2000.0
    return precipitation(np.full((frames, size, size), rate), time=times, y=axis, x=axis, crs=None)


def one(rates, at=(20, 20), interval=5, end=None, field=None):
    """Return one gauge at a row and column, whose last report ends with the field."""
    field = flat() if field is None else field
    end = field.time.values[-1] if end is None else end
    rates = np.atleast_2d(rates)
    return station_reports(
        rates,
        station=["A"],
        time=end - np.arange(rates.shape[1])[::-1] * interval * MINUTE,
        interval=interval * MINUTE,
        coords={"y": [at[0] * 2000.0], "x": [at[1] * 2000.0]},
    )


def test_predictors_of_one_gauge():
    fields = compute_station_predictors(one(np.full(12, 20.0)), flat())
    assert set(fields) == set(STATION_PREDICTORS)
    assert all(plane.dtype == np.float32 and plane.shape == (80, 80) for plane in fields.values())
    at = {name: float(plane[20, 20]) for name, plane in fields.items()}
    assert at["station_rate"] == pytest.approx(13.01, abs=0.01)
    assert at["station_residual"] == pytest.approx(10 / 1.1, abs=0.01)  # ten decibels, pulled to zero by the prior
    assert at["station_tendency"] == pytest.approx(0.0, abs=1e-5)
    assert at["station_distance"] == 0.0
    assert at["station_age"] == 0.0
    assert float(fields["station_distance"][20, 25]) == pytest.approx(10.0)
    assert 0 < float(fields["station_residual"][20, 30]) < 0.8 * at["station_residual"]
    assert float(fields["station_rate"][20, 30]) == pytest.approx(at["station_rate"])


def test_all_are_nan_beyond_the_radius():
    fields = compute_station_predictors(one(np.full(12, 20.0)), flat())
    rows, columns = np.indices((80, 80))
    near = np.hypot(rows - 20, columns - 20) * 2 < StationPredictorSettings().radius
    for plane in fields.values():
        np.testing.assert_array_equal(np.isfinite(plane), near)


def test_tendency_is_the_change_of_a_quarter_of_an_hour():
    fields = compute_station_predictors(one([1.0, 1, 1, 1, 1, 1, 10, 10, 10]), flat())
    assert float(fields["station_tendency"][20, 20]) == pytest.approx(10 * 10 / 15 / 1.1, abs=0.02)


def test_age_and_staleness():
    rates = np.full(24, 5.0)
    for missing in (3, 10):
        late = one(np.where(np.arange(24) < 24 - missing, rates, np.nan))
        fields = compute_station_predictors(late, flat())
        assert float(fields["station_age"][20, 20]) == 5.0 * missing
    assert np.isfinite(fields["station_distance"][20, 20])
    assert np.isnan(fields["station_rate"][20, 20])  # no report in the last half hour
    stale = one(np.where(np.arange(24) < 10, rates, np.nan))
    assert all(np.isnan(plane).all() for plane in compute_station_predictors(stale, flat()).values())


def test_an_older_report_counts_less():
    fresh, old = one(np.full(24, 20.0)), one(np.where(np.arange(24) < 20, 20.0, np.nan))
    residuals = [float(compute_station_predictors(gauge, flat())["station_residual"][20, 26]) for gauge in (fresh, old)]
    assert residuals[1] < residuals[0]


@pytest.mark.parametrize("case", ["none", "no station", "no time", "silent", "elsewhere", "yesterday", "tomorrow"])
def test_without_stations_all_is_nan(case):
    gauge = one(np.full(12, 20.0))
    given = {
        "none": None,
        "no station": gauge.isel(station=slice(0)),
        "no time": gauge.isel(time=slice(0)),
        "silent": gauge.assign(precipitation_rate=gauge.precipitation_rate * np.nan),
        "elsewhere": gauge.assign_coords(x=gauge.x + 1e7),
        "yesterday": gauge.assign_coords(time=gauge.time - 1440 * MINUTE),
        "tomorrow": gauge.assign_coords(time=gauge.time + 1440 * MINUTE),
    }[case]
    fields = compute_station_predictors(given, flat())
    assert set(fields) == set(STATION_PREDICTORS)
    assert all(np.isnan(plane).all() for plane in fields.values())


def test_residuals_are_nan_outside_the_coverage():
    radar = flat()
    radar[:] = np.nan
    fields = compute_station_predictors(one(np.full(12, 20.0)), radar)
    assert np.isnan(fields["station_residual"]).all()
    assert np.isfinite(fields["station_rate"][20, 20])


def test_exact_gauges_have_no_residual_and_a_bias_has_its_own():
    rain = steady_rain(frames=13)
    gauges = gauges_in(rain, count=30)
    residual = compute_station_predictors(gauges, rain)["station_residual"]
    assert np.nanmax(np.abs(residual)) < 1e-3
    half = compute_station_predictors(gauges, rain * np.float32(0.5))["station_residual"]
    assert np.nanmedian(half) == pytest.approx(3.0, abs=0.5)


def test_nothing_after_the_last_frame_is_used():
    rain = steady_rain(frames=24)
    gauges = gauges_in(rain, count=30)
    recent = rain.isel(time=slice(12))
    changed = gauges.copy(deep=True)
    changed.precipitation_rate[:, 12:] = 77.0
    expected = compute_station_predictors(select_available_reports(gauges, recent.time.values[-1]), recent)
    for given in (gauges, changed):
        for name, plane in compute_station_predictors(given, recent).items():
            np.testing.assert_array_equal(plane, expected[name])


@pytest.mark.parametrize("interval", [1, 6, 10, 15, 60])
def test_intervals_of_all_lengths(interval):
    radar = flat(frames=25)
    fields = compute_station_predictors(one(np.full(180 // interval, 20.0), interval=interval, field=radar), radar)
    assert float(fields["station_rate"][20, 20]) == pytest.approx(13.01, abs=0.01)
    assert float(fields["station_residual"][20, 20]) == pytest.approx(10 / 1.1, abs=0.02)
    assert float(fields["station_tendency"][20, 20]) == pytest.approx(0.0, abs=1e-4)


def test_the_offset_of_the_clocks_is_taken_into_account():
    rain = steady_rain(frames=24)
    late = gauges_in(rain, count=30, delay=10)
    residual = compute_station_predictors(late, rain, offset=10 * MINUTE)["station_residual"]
    assert np.nanmax(np.abs(residual)) < 1e-3
    assert np.nanmax(np.abs(compute_station_predictors(late, rain)["station_residual"])) > 0.1


def test_degrees_need_a_known_place():
    gauge = one(np.full(12, 20.0))
    degrees = gauge.drop_vars(["x", "y"]).assign_coords(latitude=("station", [57.7]), longitude=("station", [12.0]))
    with pytest.raises(InputError, match="no CRS"):
        compute_station_predictors(degrees, flat())


@pytest.mark.parametrize("count", [1, 1000, 10_000])
def test_few_and_many_stations_fill_the_fields(count):
    generator = np.random.default_rng(0)
    radar = flat(size=400)
    gauges = station_reports(
        generator.gamma(0.5, 2, (count, 24)),
        station=[str(n) for n in range(count)],
        time=radar.time.values[-1] - np.arange(24)[::-1] * 5 * MINUTE,
        interval=5 * MINUTE,
        coords={"x": generator.uniform(0, 8e5, count), "y": generator.uniform(0, 8e5, count)},
    )
    fields = compute_station_predictors(gauges, radar)
    assert np.isfinite(fields["station_rate"]).mean() > (0.99 if count > 1 else 0.0)


def test_real_gauges(eight_days):
    radar, stations = eight_days
    wettest = int(radar.mean(("y", "x")).argmax("time"))
    recent = radar.isel(time=slice(wettest - 8, wettest + 1))
    fields = compute_station_predictors(stations, recent, offset=10 * MINUTE)
    known = np.isfinite(fields["station_rate"])
    assert 0.5 < known.mean() <= 1.0
    assert np.nanmax(fields["station_distance"]) <= 40.0
    assert np.nanmax(fields["station_age"]) <= 15.0
    assert np.abs(fields["station_residual"][known]).max() < 30


def test_distances_on_a_grid_of_degrees(openrainer):
    import pyproj

    radar, stations = openrainer
    recent, gauge = radar.isel(time=slice(4, 8)), stations.isel(station=[150])
    distance = compute_station_predictors(gauge, recent)["station_distance"]
    rows, columns = np.nonzero(np.isfinite(distance))
    assert 2500 < rows.size < 6500  # a disc of 40 km on cells of about 1 km2
    geod = pyproj.Geod(ellps="WGS84")
    here = np.ones(rows.size)
    metres = geod.inv(
        float(gauge.longitude[0]) * here,
        float(gauge.latitude[0]) * here,
        recent.x.values[columns],
        recent.y.values[rows],
    )[2]
    assert np.abs(distance[rows, columns] - metres / 1000).max() < 1.2  # of up to 40 km


def test_the_same_whichever_way_rows_run():
    rain = steady_rain(frames=13)
    gauges = gauges_in(rain, count=30)
    aside = np.random.default_rng(0).uniform(-900, 900, (2, 30))  # or cells would be equally far from two of them
    gauges = gauges.assign_coords(x=gauges.x + aside[0], y=gauges.y + aside[1])
    fields, flipped = (
        compute_station_predictors(gauges, rain),
        compute_station_predictors(gauges, rain.isel(y=slice(None, None, -1))),
    )
    for name, plane in fields.items():
        np.testing.assert_allclose(flipped[name][::-1], plane, rtol=1e-4, atol=1e-4)
