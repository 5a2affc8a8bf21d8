"""What gauges add: gauges that were held out have no say, nothing of the future has, and a biased radar gets better."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ablation import gauges as module
from ablation.gauges import (
    GAUGE_SETS,
    REGIONS,
    evaluate_gauges,
    format_gauges,
    open_gauge_set,
    score_held_out,
    summarize_scores,
)
from ablation.held_out import LEADS, SOURCES, GaugeArchive, HeldOutSettings, draw_folds, forecast_held_out

from helpers.stations_synthetic import MINUTE, gauges_in, moving_rain
from hybridcast.core.field import RATE
from hybridcast.datasets.events import load_events
from hybridcast.datasets.pseudo_gauges import simulate_radar_bias
from hybridcast.errors import InputError
from hybridcast.fusion.hybrid import load_hybrid
from hybridcast.nowcasters.base import Advection

ALONE, TOGETHER = SOURCES
SETTINGS = HeldOutSettings(cases=2)


@pytest.fixture(scope="module")
def truth():
    return moving_rain()


@pytest.fixture(scope="module")
def gauged(truth):
    """Radar with a simulated bias, and gauges that read the true rain."""
    return GaugeArchive("simulated", simulate_radar_bias(truth, seed=0)[0], gauges_in(truth), 0 * MINUTE)


@pytest.fixture(scope="module")
def issue(gauged):
    return gauged.radar["time"].values[20]


@pytest.fixture(scope="module")
def case(gauged, issue):
    return forecast_held_out(gauged, issue, Advection(), SETTINGS)


def test_gauges_make_a_biased_radar_and_its_forecasts_better(gauged):
    found = score_held_out(gauged, Advection(), SETTINGS).isel(event=0).sel(place="gauges")
    for score, most in (("MAE", 0.8), ("RMSE", 0.8)):
        ratio = (found[score].sel(source=TOGETHER) / found[score].sel(source=ALONE)).values
        assert (ratio < most).all(), (score, ratio)
    assert (abs(found["bias"].sel(source=TOGETHER)) < abs(found["bias"].sel(source=ALONE))).all()
    assert (found["points"] > 50).all()
    assert found["issue_times"] == found["adjusted"] == 2


def test_on_the_grid_the_raw_radar_is_the_truth(gauged):
    found = score_held_out(gauged, Advection(), SETTINGS).isel(event=0, lead_time=0).sel(place="grid")
    assert found["MAE"].sel(source=ALONE) == 0
    assert found["MAE"].sel(source=TOGETHER) > 0.1


def test_a_gauge_that_is_held_out_has_no_say(gauged, issue, case):
    changed = gauged.stations.copy(deep=True)
    changed[RATE][7] = 3 * changed[RATE][7] + 1
    again = forecast_held_out(gauged._replace(stations=changed), issue, Advection(), SETTINGS).at_gauges[TOGETHER][RATE]
    before = case.at_gauges[TOGETHER][RATE]
    np.testing.assert_array_equal(again.isel(station=7), before.isel(station=7))
    assert (again != before).any()  # but a say elsewhere


def test_nothing_of_the_future_is_used(gauged, issue, case):
    reports, radar = gauged.stations.copy(deep=True), gauged.radar.copy(deep=True)
    reports[RATE][:, reports["time"].values > issue] = 9.0
    radar[radar["time"].values > issue] = 9.0
    again = forecast_held_out(gauged._replace(stations=reports, radar=radar), issue, Advection(), SETTINGS)
    for source in SOURCES:
        np.testing.assert_array_equal(again.at_gauges[source][RATE], case.at_gauges[source][RATE])
        np.testing.assert_array_equal(again.on_grid[source][RATE], case.on_grid[source][RATE])


def test_each_gauge_is_held_out_once(issue):
    folds = list(draw_folds(11, issue, SETTINGS))
    assert len(folds) == 4
    np.testing.assert_array_equal(np.sum(folds, axis=0), 1)
    assert len(list(draw_folds(2, issue, SETTINGS))) == 2


def test_unadjusted_forecasts_are_read_over_the_interval_of_the_gauge(gauged, issue, case):
    assert gauged.stations.attrs["interval_minutes"] == 5
    now = case.at_gauges[ALONE][RATE].sel(lead_time=0 * MINUTE)
    there = gauged.radar.sel(time=issue)
    rows, columns = (np.searchsorted(there[a].values, gauged.stations[a].values) for a in ("y", "x"))
    np.testing.assert_allclose(now, there.values[rows, columns], rtol=1e-6)


def test_late_gauges_are_met_by_the_offset(gauged, truth):
    late = GaugeArchive("simulated", gauged.radar, gauges_in(truth, delay=10), 10 * MINUTE)
    found, taken_as_right = (
        score_held_out(one, Advection(), SETTINGS).isel(event=0, lead_time=0).sel(place="gauges", source=TOGETHER)
        for one in (late, late._replace(offset=0 * MINUTE))
    )
    assert found["MAE"] < 0.75 * taken_as_right["MAE"]


def test_without_gauges_that_report_nothing_changes(gauged, issue):
    silent = gauged.stations.copy(deep=True)
    silent[RATE][:] = np.nan
    found = forecast_held_out(gauged._replace(stations=silent), issue, Advection(), SETTINGS)
    assert not found.adjusted
    np.testing.assert_array_equal(found.at_gauges[ALONE][RATE], found.at_gauges[TOGETHER][RATE])


def test_chances_of_a_trained_model_are_scored(gauged, model_folder):
    hybrid = load_hybrid(model_folder, (0.1, 1.0, 5.0))
    found = summarize_scores(score_held_out(gauged, hybrid, HeldOutSettings(cases=1)))
    brier = found["gauges"]["mean"][TOGETHER]["Brier 1"]
    assert all(0 <= value < 0.25 for value in brier)
    assert brier[0] != found["gauges"]["mean"][ALONE]["Brier 1"][0]


def test_too_few_days_have_no_interval_and_rates_alone_no_brier_score(gauged):
    found = summarize_scores(score_held_out(gauged, Advection(), SETTINGS))
    assert found["days"] == 1
    assert found["gauges"]["difference"]["MAE"]["low"] == [None] * LEADS.size
    assert found["gauges"]["difference"]["MAE"]["difference"][0] < 0
    assert found["gauges"]["mean"][ALONE]["Brier 5"] == [None] * LEADS.size


def test_an_archive_without_rain_is_refused(gauged):
    with pytest.raises(InputError, match="no issue time with rain"):
        score_held_out(gauged._replace(radar=gauged.radar * 0), Advection(), SETTINGS)


def test_real_gauges_of_gothenburg(real, monkeypatch):
    real("openmrg/20150827/openMRG_example_rad.nc")
    real("openmrg/20150827/openMRG_city_gauges_20150827.nc")
    monkeypatch.setattr(module, "GAUGE_SETS", (GAUGE_SETS[1],))
    told = []
    found = json.loads(json.dumps(evaluate_gauges({}, cases=3, progress=lambda *what: told.append(what))))
    one = found["sets"]["openmrg-20150827"]
    assert one["gauge_count"] == 11
    assert one["clock_offset_min"] == 5
    assert one["trained_without"] is None
    assert one["issue_times"] == len(told) <= 3
    assert one["gauges"]["points"][0] == 11 * one["issue_times"]
    assert 0 < one["gauges"]["mean"][TOGETHER]["MAE"][0] < 5
    assert found["together"]["gauges"] == one["gauges"]
    lines = "\n".join(format_gauges(found))
    assert f"| gauges, {TOGETHER} |" in lines
    assert "No interval with fewer than 5 days" in lines


def test_no_set_is_forecast_by_a_model_that_was_trained_on_it():
    """Radar in the package's events was trained on; such a set names the region that its model has to leave out."""
    regions = {event.dataset: event.region for event in load_events()}
    assert {one.name: one.trained_on for one in GAUGE_SETS} == {one.name: regions.get(one.name) for one in GAUGE_SETS}
    assert set(REGIONS) == {"openrainer"}


def test_openrainer_is_forecast_by_the_model_given_for_its_region(real, monkeypatch, model_folder):
    real("openrainer/openrainer_RAD.nc")
    real("openrainer/openrainer_AWS.nc")
    monkeypatch.setattr(module, "GAUGE_SETS", (GAUGE_SETS[2],))
    found = evaluate_gauges({"openrainer": model_folder}, cases=1)
    one = found["sets"]["openrainer-20220917"]
    assert one["gauges"]["mean"][TOGETHER]["Brier 5"][0] is not None
    assert "trained without openrainer" in "\n".join(format_gauges(found))


def test_the_gauges_of_openrainer(real):
    real("openrainer/openrainer_RAD.nc")
    real("openrainer/openrainer_AWS.nc")
    archive, told = open_gauge_set(GAUGE_SETS[2])
    assert told["gauge_count"] == 280
    assert archive.offset == np.timedelta64(0)
