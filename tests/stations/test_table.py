"""Tables of gauges: read if the names of the columns identify them, otherwise refused with a remedy."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from hybridcast.errors import ReadError
from hybridcast.stations import open_stations

TIMES = pd.date_range("2024-06-01T12:10", periods=3, freq="10min")


def rows(**columns):
    """Two gauges, three times: 0, 1 and 2 mm in ten minutes at the first, nothing at the second."""
    made = pd.DataFrame(
        {
            "station": np.repeat(["A", "B"], 3),
            "time": np.tile(TIMES, 2),
            "latitude": np.repeat([57.7, 57.8], 3),
            "longitude": 12.0,
            "precipitation_amount": [0.0, 1.0, 2.0, 0.0, 0.0, 0.0],
        }
    )
    return made.rename(columns=columns)


def check(reports):
    assert reports.station.values.tolist() == ["A", "B"]
    assert reports.attrs["interval_minutes"] == 10
    np.testing.assert_array_equal(reports.time.values, TIMES.values)
    np.testing.assert_allclose(reports.precipitation_rate.values, [[0, 6, 12], [0, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(reports.latitude.values, [57.7, 57.8])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv(separator, tmp_path):
    path = tmp_path / "gauges.csv"
    rows().to_csv(path, sep=separator, index=False)
    check(open_stations(path))
    assert open_stations(path).attrs["format"] == "station-table"


@pytest.mark.parametrize(
    "columns",
    [
        {"station": "ID", "time": "Date", "latitude": "Lat", "longitude": "LON", "precipitation_amount": "rain_mm"},
        {"station": "station_id", "time": "timestamp", "precipitation_amount": "precip 10min [mm]"},
        {"precipitation_amount": "rainfall_amount"},
    ],
)
def test_other_spellings(columns, tmp_path):
    path = tmp_path / "gauges.csv"
    rows(**columns).to_csv(path, index=False)
    check(open_stations(path))


@pytest.mark.parametrize(
    "name", ["precipitation_rate", "rain_mm_h", "precip_mm/h", "rain mm per hour", "Rain (mm h-1)"]
)
def test_rates_stay_rates(name, tmp_path):
    path = tmp_path / "gauges.csv"
    rows(precipitation_amount=name).to_csv(path, index=False)
    assert open_stations(path).precipitation_rate.values.max() == 2


def test_parquet_and_compressed_csv(tmp_path):
    rows().to_parquet(tmp_path / "gauges.parquet")
    check(open_stations(tmp_path / "gauges.parquet"))
    (tmp_path / "gauges.csv.gz").write_bytes(gzip.compress(rows().to_csv(index=False).encode()))
    check(open_stations(tmp_path / "gauges.csv.gz"))


def test_a_zone_is_turned_to_utc_and_a_byte_order_mark_is_no_name(tmp_path):
    path = tmp_path / "gauges.csv"
    made = rows()
    made["time"] = made["time"].dt.tz_localize("UTC").dt.tz_convert("Europe/Paris").astype(str)
    path.write_text(made.to_csv(index=False), encoding="utf-8-sig")
    check(open_stations(path))


def test_heights_are_kept_and_codes_are_missing(tmp_path):
    path = tmp_path / "gauges.csv"
    rows().assign(altitude=np.repeat([5.0, 80.0], 3), precipitation_amount=-999.0).to_csv(path, index=False)
    reports = open_stations(path)
    assert reports.altitude.values.tolist() == [5, 80]
    assert np.isnan(reports.precipitation_rate.values).all()
    assert "6" in reports.attrs["impossible_values"]


def test_rain_without_units_is_refused(tmp_path):
    path = tmp_path / "gauges.csv"
    rows(precipitation_amount="rain").to_csv(path, index=False)
    with pytest.raises(ReadError, match=r"0 columns of rain with units .*Name it precipitation_amount"):
        open_stations(path)
    rows().assign(rain_mm=0.0).to_csv(path, index=False)
    with pytest.raises(ReadError, match=r"2 columns of rain .* \(precipitation_amount, rain_mm\)"):
        open_stations(path)


def test_one_time_says_no_interval(tmp_path):
    path = tmp_path / "gauges.csv"
    rows().iloc[[0, 3]].to_csv(path, index=False)
    with pytest.raises(ReadError, match="how long the interval"):
        open_stations(path)


def test_a_table_without_places_is_not_known_and_the_error_says_what_is(tmp_path):
    path = tmp_path / "gauges.csv"
    rows().drop(columns="latitude").to_csv(path, index=False)
    with pytest.raises(ReadError, match="no file with the places of A, B"):
        open_stations(path)
    rows().drop(columns="station").to_csv(path, index=False)
    with pytest.raises(ReadError, match="columns station, time, latitude, longitude and precipitation_amount"):
        open_stations(path)
    with pytest.raises(ReadError, match="no column station"):
        open_stations(path, format="station-table")
