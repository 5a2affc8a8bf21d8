from __future__ import annotations

import sys

import numpy as np
import pytest

from helpers.stations_synthetic import MINUTE, gauges_in, steady_rain
from hybridcast.stations.clock import clock_offset
from hybridcast.stations.quality import FLAG, MEANINGS, QualitySettings, highest_credible_rate, quality_control


@pytest.fixture
def scene():
    """Return rain everywhere, and gauges that measure it exactly."""
    rain = steady_rain()
    return rain, gauges_in(rain, count=60)


def flags(checked, name):
    return checked[FLAG].values == MEANINGS.index(name)


def test_good_gauges_lose_nothing(scene):
    rain, gauges = scene
    checked, report = quality_control(gauges, rain)
    assert sum(report.rejected.values()) == 0
    assert report.values == gauges.precipitation_rate.size
    np.testing.assert_array_equal(checked.precipitation_rate.values, gauges.precipitation_rate.values)


def test_range(scene):
    rain, gauges = scene
    gauges.precipitation_rate[5, 7] = 1900.0
    checked, report = quality_control(gauges, rain)
    assert report.rejected["range"] == 1
    assert np.argwhere(flags(checked, "range")).tolist() == [[5, 7]]
    assert np.isnan(checked.precipitation_rate.values[5, 7])
    assert np.isfinite(checked.precipitation_rate.values[5, 6])


@pytest.mark.parametrize(("minutes", "record"), [(1, 38.1), (60, 401.0), (15, 198.0)])
def test_what_is_believed_is_below_real_records_but_not_far(minutes, record):
    """Records in mm: Unionville 1956 or Barot 1970, Shangdi 1975, Plumb Point 1916."""
    believed = highest_credible_rate(minutes * MINUTE) * minutes / 60
    assert 0.4 * record < believed < 1.2 * record


def test_stuck(scene):
    gauges = scene[1]
    gauges.precipitation_rate[9, 8:40] = 2.4
    gauges.precipitation_rate[10, 8:20] = 2.4  # an hour only
    gauges.precipitation_rate[11, 8:40] = 0.8  # the steps of a gauge in steady drizzle
    checked, report = quality_control(gauges)
    assert report.rejected["stuck"] == 32
    assert flags(checked, "stuck")[9, 8:40].all()


def test_a_gap_ends_what_is_stuck(scene):
    gauges = scene[1]
    gauges.precipitation_rate[9, 8:40] = 2.4
    gauges.precipitation_rate[9, 24] = np.nan
    assert quality_control(gauges)[1].rejected["stuck"] == 0


def test_rain_that_nobody_else_has_is_isolated(scene):
    rain, gauges = scene
    dry = rain * 0
    silent = gauges.assign(precipitation_rate=gauges.precipitation_rate * 0)
    silent.precipitation_rate[3, 12:18] = 4.0
    checked, report = quality_control(silent, dry)
    assert report.rejected["isolated"] == 6
    assert report.stations == {"g3": 6}
    assert flags(checked, "isolated")[3, 12:18].all()
    # the radar confirms it: a shower
    rows, columns = (int(silent[axis][3]) // 2000 for axis in ("y", "x"))
    dry = dry.copy(data=dry.values)
    dry[12:18, rows, columns] = 4.0
    assert sum(quality_control(silent, dry)[1].rejected.values()) == 0


def test_a_dry_gauge_in_rain_is_isolated(scene):
    rain, gauges = scene
    gauges.precipitation_rate[3, 12:18] = 0.0
    checked, report = quality_control(gauges, rain)
    assert report.rejected["isolated"] == 6
    assert flags(checked, "isolated")[3, 12:18].all()


def test_far_from_neighbours_and_radar(scene):
    rain, gauges = scene
    gauges.precipitation_rate[4, 6:12] = 150.0
    assert quality_control(gauges, rain)[1].rejected["neighbours"] == 6
    assert quality_control(gauges)[1].rejected["neighbours"] == 6


def test_a_blocked_gauge_without_neighbours_is_told_by_the_radar(scene):
    rain, gauges = scene
    alone = gauges.isel(station=[0]).copy(deep=True)
    alone.precipitation_rate[:] = 0.0
    checked, report = quality_control(alone, rain)
    assert report.rejected["radar"] > 0
    assert (flags(checked, "radar") | flags(checked, "good")).all()
    # neighbours that agree with the gauge confirm it: then the radar is wrong
    dry = gauges.assign(precipitation_rate=gauges.precipitation_rate * 0)
    settings = QualitySettings(radius=60.0)
    assert quality_control(dry, rain, settings=settings)[1].rejected["radar"] == 0


def test_what_cannot_be_done_is_named(scene, monkeypatch):
    gauges = scene[1]
    report = quality_control(gauges)[1]
    assert any("no radar" in text for text in report.not_done)
    monkeypatch.setitem(sys.modules, "titanlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    report = quality_control(gauges, scene[0])[1]
    assert any("titanlib is not installed" in text for text in report.not_done)
    assert "not done" in str(report)


def test_flags_by_cf_and_missing_ones(scene):
    gauges = scene[1]
    gauges.precipitation_rate[2] = np.nan
    checked, report = quality_control(gauges)
    flag = checked[FLAG]
    assert flag.dtype == np.int8
    assert len(flag.attrs["flag_values"]) == len(flag.attrs["flag_meanings"].split())
    assert (flags(checked, "missing").sum(axis=1) > 0).tolist() == [n == 2 for n in range(60)]
    assert report.values == 59 * 48
    assert checked.attrs["quality_control"] == str(report)


@pytest.mark.parametrize("part", [{"station": slice(0)}, {"time": slice(0)}, {"station": [0], "time": [0]}])
def test_hardly_anything_or_nothing(scene, part):
    checked, report = quality_control(scene[1].isel(part), scene[0])
    assert sum(report.rejected.values()) == 0
    assert checked.sizes == scene[1].isel(part).sizes


def test_reports_of_other_lengths_get_the_flags_of_their_step(scene):
    rain, gauges = scene
    gauges.precipitation_rate[4, 6:12] = 150.0
    coarse = quality_control(gauges, rain, settings=QualitySettings(step_minutes=60))[0]
    assert flags(coarse, "neighbours")[4].sum() in (0, 12)


def test_the_last_reports_are_checked_wherever_a_step_would_end(scene):
    rain, gauges = scene
    gauges.precipitation_rate[4, 15:20] = 150.0
    checked = quality_control(gauges.isel(time=slice(20)), rain)[0]
    assert flags(checked, "neighbours")[4, 15:20].all()


def test_real_gauges_are_mostly_good(half_day, eight_days, openrainer):
    for radar, stations in (half_day, eight_days, openrainer):
        found = clock_offset(stations, radar)
        report = quality_control(stations, radar, offset=found.offset)[1]
        assert report.not_done == ()
        assert report.rejected["range"] == report.rejected["stuck"] == 0
        assert sum(report.rejected.values()) < 0.01 * report.values


def test_a_real_gauge_that_is_blocked_or_swapped_is_found(eight_days):
    radar, stations = eight_days
    broken = stations.copy(deep=True)
    broken.precipitation_rate[2] = np.where(np.isfinite(broken.precipitation_rate[2]), 0.0, np.nan)
    report = quality_control(broken, radar, offset=10 * MINUTE)[1]
    assert next(iter(report.stations)) == "Bergsj"
    assert report.stations["Bergsj"] >= 20
