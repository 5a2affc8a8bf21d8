"""Observed rates and levels at places, by radar and by gauges."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.small_ensembles import box
from hybridcast.core.field import precipitation
from hybridcast.places import observe_gauges, observe_radar, places_at_stations, read_places
from hybridcast.stations import station_reports

START = np.datetime64("2024-06-01T12:00", "ns")


def field(rates, minutes=10):
    """Return radar on 2 x 3 cells of 1 km, shape (time, y, x)."""
    times = START + np.arange(len(rates)) * np.timedelta64(minutes, "m")
    return precipitation(np.asarray(rates, float), time=times, y=[500.0, 1500.0], x=[500.0, 1500.0, 2500.0], crs=None)


def test_levels_are_reached_by_sums_of_frames():
    rates = np.zeros((5, 2, 3))
    rates[1:3, 0, 0] = 12.0  # 2 mm in each of two frames
    point = read_places(
        {"A": {"type": "Point", "coordinates": [400, 600]}}, crs="grid", levels=["4 mm in 20min", "12 mm/h"]
    )
    found = observe_radar(field(rates), point).sel(place="A")
    assert found.precipitation_rate.sel(statistic="mean").values.tolist() == [0, 12, 12, 0, 0]
    np.testing.assert_array_equal(found.level_reached.sel(level="4 mm in 20min"), [np.nan, 0, 1, 0, 0])
    np.testing.assert_array_equal(found.level_reached.sel(level="12 mm/h"), [0, 1, 1, 0, 0])


def test_the_maximum_of_an_area_is_at_one_cell():
    rates = np.zeros((3, 2, 3))
    rates[1, 0, 0] = rates[2, 0, 1] = 12.0
    (place,) = read_places({"A": box(0, 0, 3000, 2000)}, crs="grid", levels=["1 mm in 20min"])
    level = place.levels[0]
    from dataclasses import replace

    anywhere = replace(
        place,
        levels=(
            replace(level, statistic="maximum", amount=3.0, name="high"),
            replace(level, statistic="maximum", amount=2.0, name="low"),
            level,
        ),
    )
    found = observe_radar(field(rates), [anywhere]).sel(place="A").level_reached
    np.testing.assert_array_equal(found.sel(level="high"), [np.nan, 0, 0])  # never 4 mm at one cell
    np.testing.assert_array_equal(found.sel(level="low"), [np.nan, 1, 1])
    np.testing.assert_array_equal(found.sel(level="1 mm in 20min"), [np.nan, 0, 0])  # the mean is 0.67 mm


def test_missing_frames_are_unknown():
    rates = np.full((5, 2, 3), 6.0)
    radar = field(rates).isel(time=[0, 1, 3, 4])
    place = read_places({"A": {"type": "Point", "coordinates": [500, 500]}}, crs="grid", levels=["1 mm in 20min"])
    found = observe_radar(radar, place).level_reached.isel(place=0, level=0)
    np.testing.assert_array_equal(found, [np.nan, 1, np.nan, np.nan, 1])


def test_gauges_are_places_and_say_what_they_measured():
    times = START + np.array([1, 2, 4]) * np.timedelta64(10, "m")
    reports = station_reports(
        [[0.0, 6.0, 6.0], [0.0, 0.0, np.nan]],
        station=["A", "Bö"],
        time=times,
        interval=np.timedelta64(10, "m"),
        coords={"latitude": [60.0, 61.0], "longitude": [24.0, 25.0]},
    )
    places = places_at_stations(reports, levels=["1 mm in 10min"])
    assert [(place.name, place.point) for place in places] == [("A", (24.0, 60.0)), ("Bö", (25.0, 61.0))]
    found = observe_gauges(reports, places)
    np.testing.assert_array_equal(found.level_reached.sel(place="A").isel(level=0), [0, 1, np.nan, 1])
    np.testing.assert_array_equal(found.precipitation_rate.sel(place="Bö", statistic="mean"), [0, 0, np.nan, np.nan])
    other = read_places({"C": {"type": "Point", "coordinates": [24, 60]}}, levels=["1 mm in 10min"])
    assert np.isnan(observe_gauges(reports, other).level_reached).all()


def test_real_gauges_and_radar_agree_about_most_levels(openrainer):
    """Emilia-Romagna, two and a half hours: where gauges have 0.5 mm in 30 min, the radar mostly has too."""
    radar, stations = openrainer
    places = places_at_stations(stations, levels=["0.5 mm in 30min"])
    gauges, seen = observe_gauges(stations, places), observe_radar(radar, places)
    both = np.intersect1d(gauges.time, seen.time)
    a, b = (one.level_reached.sel(time=both).values for one in (gauges, seen))
    known = np.isfinite(a) & np.isfinite(b)
    assert known.sum() > 100
    assert (a[known] == b[known]).mean() > 0.8
    assert 0 < a[known].mean() < 1
    with pytest.raises(KeyError):
        gauges.sel(place="no such gauge")
