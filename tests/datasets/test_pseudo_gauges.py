from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.stations_synthetic import steady_rain
from hybridcast.core.field import precipitation
from hybridcast.datasets.pseudo_gauges import PseudoGaugeSettings, simulate_pseudo_gauges, simulate_radar_bias
from hybridcast.errors import InputError
from hybridcast.stations import collocate, resample_reports, sample_radar
from hybridcast.stations.quality import quality_control
from hybridcast.stations.schema import compute_amounts

EXACT = PseudoGaugeSettings(
    error=0.0, station_error=0.0, undercatch=(0.0, 0.0), resolution=(1e-4,), missing=0.0, broken=0.0
)


@pytest.fixture(scope="module")
def truth():
    return steady_rain(frames=72, size=100)


def test_there_are_as_many_as_the_area_asks_for(truth):
    assert simulate_pseudo_gauges(truth, seed=0).sizes["station"] == 80  # 200 km x 200 km / 500 km2
    dense = replace(EXACT, area=100.0)
    assert simulate_pseudo_gauges(truth, seed=0, settings=dense).sizes["station"] == 400


def test_they_lie_where_the_radar_sees(truth):
    blind = truth.copy()
    blind[:, :50] = np.nan
    places = collocate(simulate_pseudo_gauges(blind, seed=0), blind)
    assert len(places) == 40
    assert (places[:, 0] > 49.5).all()
    with pytest.raises(InputError, match="sees nothing"):
        simulate_pseudo_gauges(truth * np.nan, seed=0)


def test_the_same_seed_gives_the_same_gauges(truth):
    assert simulate_pseudo_gauges(truth, seed=4).identical(simulate_pseudo_gauges(truth, seed=4))
    assert not simulate_pseudo_gauges(truth, seed=4).identical(simulate_pseudo_gauges(truth, seed=5))


def test_all_says_that_they_are_simulated(truth):
    made = simulate_pseudo_gauges(truth, seed=0)
    assert set(made.sensor.values) == {"pseudo-gauge"}
    assert all(name.startswith("pseudo-") for name in made.station.values)
    assert "not measured" in made.attrs["source"]


def test_without_errors_they_read_the_truth(truth):
    made = simulate_pseudo_gauges(truth, seed=0, settings=EXACT)
    np.testing.assert_allclose(made.precipitation_rate.values, sample_radar(made, truth).values, atol=1e-3)


def test_errors_have_the_sizes_that_are_asked_for(truth):
    settings = replace(EXACT, area=20.0, error=0.25)
    made = simulate_pseudo_gauges(truth, seed=0, settings=settings)
    ratio = np.log(made.precipitation_rate.values / sample_radar(made, truth).values)
    assert ratio.std() == pytest.approx(0.25, rel=0.05)
    wind = simulate_pseudo_gauges(truth, seed=0, settings=replace(settings, undercatch=(0.05, 0.15)))
    assert float(compute_amounts(wind).sum() / compute_amounts(made).sum()) == pytest.approx(0.9, abs=0.005)
    gaps = simulate_pseudo_gauges(truth, seed=0, settings=replace(settings, missing=0.1))
    assert float(gaps.precipitation_rate.isnull().mean()) == pytest.approx(0.1, abs=0.01)


def test_amounts_come_in_steps_and_lose_nothing_over_hours(truth):
    made = simulate_pseudo_gauges(truth, seed=0, settings=replace(EXACT, resolution=(0.2,)))
    steps = compute_amounts(made).values / 0.2
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    whole = (
        compute_amounts(made).sum("time").values
        - compute_amounts(simulate_pseudo_gauges(truth, seed=0, settings=EXACT)).sum("time").values
    )
    assert np.abs(whole).max() <= 0.21


def test_quality_control_finds_the_broken_ones(truth):
    settings = PseudoGaugeSettings(area=150.0, broken=0.1)
    made = simulate_pseudo_gauges(truth, seed=2, settings=settings)
    report = quality_control(made, truth)[1]
    broken = set(made.station.values[made.pseudo_fault.values != ""])
    assert len(broken) > 10
    lost = {name for name, count in report.stations.items() if count >= 2}
    assert len(lost & broken) >= 0.7 * len(broken)
    assert len(lost - broken) <= 0.05 * made.sizes["station"]


def test_with_a_projection_they_have_degrees():
    axis = np.arange(50) * 2000.0
    times = np.datetime64("2020-01-01T00:00", "ns") + np.arange(6) * np.timedelta64(5, "m")
    field = precipitation(np.ones((6, 50, 50)), time=times, y=axis + 3e6, x=axis + 4.3e6, crs="EPSG:3035")
    made = simulate_pseudo_gauges(field, seed=0)
    assert {"latitude", "longitude"} <= set(made.coords)
    assert np.isfinite(collocate(made, field)).all()
    assert resample_reports(made, np.timedelta64(30, "m")).sizes["time"] >= 1


def test_intervals_that_do_not_fit_are_refused(truth):
    with pytest.raises(InputError, match="whole multiple"):
        simulate_pseudo_gauges(truth, seed=0, settings=replace(EXACT, interval_minutes=7))
    with pytest.raises(InputError, match="as long at least"):
        simulate_pseudo_gauges(truth.isel(time=[0]), seed=0)


def test_a_simulated_bias(truth):
    biased, factor = simulate_radar_bias(truth, seed=0, bias=0.7, range_loss=0.5, patches=0.0)
    assert factor[50, 50] == pytest.approx(0.7, rel=1e-5)
    assert factor[0, 0] == pytest.approx(0.35, rel=0.01)
    np.testing.assert_allclose(biased.values, truth.values * factor, rtol=1e-5)
    assert "simulated" in biased.attrs["simulated_bias"]
    patchy = simulate_radar_bias(truth, seed=0, range_loss=0.0, patches=1.5)[1]
    assert (10 * np.log10(patchy)).std() == pytest.approx(1.5, rel=0.05)
