"""Gauges in tables whose interval is easily misjudged: the forecast of steady rain of 6 mm/h stays 6 mm/h."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pyproj
import pytest

from hybridcast import forecast, precipitation
from hybridcast.errors import InputWarning
from hybridcast.nowcasters import Advection
from hybridcast.stations import open_stations

FRAMES, CELLS = 25, 60
TIMES = np.datetime64("2024-06-01T12:00", "ns") + np.arange(FRAMES) * np.timedelta64(5, "m")
Y, X = 3e6 + np.arange(CELLS) * 1000.0, 4e6 + np.arange(CELLS) * 1000.0


@pytest.fixture(scope="module")
def radar():
    """Return waves of 4 to 8 mm/h that move by a cell in each frame."""
    cells = np.arange(CELLS)
    base = 6 + 2 * np.sin(cells * 2 * np.pi / CELLS)[None, :] * np.cos(cells / 7)[:, None]
    return precipitation(np.stack([np.roll(base, k, 1) for k in range(FRAMES)]), time=TIMES, y=Y, x=X, crs="EPSG:3035")


@pytest.fixture(scope="module")
def gauges():
    """Return names, rows and columns of twenty gauges."""
    places = np.random.default_rng(1).integers(5, CELLS - 5, (20, 2))
    return [(f"G{n:02d}", int(i), int(j)) for n, (i, j) in enumerate(places)]


def reports(radar, gauges, minutes, late=0):
    """Return rows of the amounts that fell in the minutes before each time."""
    to_degrees = pyproj.Transformer.from_crs("EPSG:3035", "EPSG:4326", always_xy=True)
    ends = pd.date_range("2024-06-01 13:00", "2024-06-01 14:00", freq=f"{minutes}min") + pd.Timedelta(minutes=late)
    rows = []
    for name, i, j in gauges:
        longitude, latitude = to_degrees.transform(X[j], Y[i])
        for end in ends[ends <= TIMES[-1]]:
            inside = (end - pd.Timedelta(minutes=minutes) < TIMES) & (end >= TIMES)
            amount = float(radar.values[inside, i, j].mean()) * minutes / 60
            rows.append((name, end.isoformat(), latitude, longitude, round(amount, 3)))
    return rows


def forecast_with(rows, radar, tmp_path):
    path = tmp_path / "gauges.csv"
    columns = ["station", "time", "latitude", "longitude", "precipitation_amount"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return forecast(radar, lead_time="10min", stations=open_stations(path), nowcaster=Advection())


def mean_of(result):
    return float(np.nanmean(result.precipitation_rate.values[0]))


def test_hourly_gauges_beside_one_of_ten_minutes(radar, gauges, tmp_path):
    rows = reports(radar, gauges[1:], 60) + reports(radar, gauges[:1], 10)
    result = forecast_with(rows, radar, tmp_path)
    assert "adjusted by 20 gauges: mean field bias 1.0" in result.attrs["radar_adjustment"]
    assert mean_of(result) == pytest.approx(
        mean_of(forecast(radar, lead_time="10min", nowcaster=Advection())), rel=0.02
    )


def test_networks_out_of_step(radar, gauges, tmp_path):
    rows = reports(radar, gauges[:10], 10) + reports(radar, gauges[10:], 10, late=5)
    result = forecast_with(rows, radar, tmp_path)
    assert "adjusted by 20 gauges: mean field bias 1.0" in result.attrs["radar_adjustment"]
    assert mean_of(result) == pytest.approx(6.0, rel=0.02)


def test_rain_since_midnight_is_left_out_with_the_reason(radar, gauges, tmp_path):
    rows = [
        (*row[:4], round(30 + 6 * (pd.Timestamp(row[1]) - pd.Timestamp("2024-06-01 13:00")).seconds / 3600, 2))
        for row in reports(radar, gauges, 10)
    ]
    result = forecast_with(rows, radar, tmp_path)
    assert "G00, G01, G02 and 17 more: its values only rise" in result.attrs["sources_left_out"]
    assert mean_of(result) == pytest.approx(6.0, rel=0.02)


def test_gauges_that_can_be_used_are_used_beside_others(radar, gauges, tmp_path):
    tips = [("TIP", f"2024-06-01T13:{m:02d}", 52.0, 10.0, 0.2) for m in (1, 14, 17, 41)]
    result = forecast_with(reports(radar, gauges, 10) + tips, radar, tmp_path)
    assert "adjusted by 20 gauges" in result.attrs["radar_adjustment"]
    assert "TIP: rows at irregular times" in result.attrs["sources_left_out"]


def test_exchanged_latitude_and_longitude_are_remarked(radar, gauges, tmp_path):
    rows = [(*row[:2], row[3], row[2], row[4]) for row in reports(radar, gauges, 10)]
    result = forecast_with(rows, radar, tmp_path)
    assert "20 would be with latitude and longitude exchanged" in result.attrs["sources_left_out"]
