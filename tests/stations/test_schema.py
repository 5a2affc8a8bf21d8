from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hybridcast.errors import InputError
from hybridcast.stations import check_stations, get_interval, select_available_reports, station_reports
from hybridcast.stations.schema import compute_amounts

MINUTE = np.timedelta64(1, "m")
TIMES = np.datetime64("2020-01-01T00:00", "ns") + np.arange(1, 4) * 5 * MINUTE


def reports(rates=((0.0, 6.0, np.nan),), **changes):
    given = {
        "station": ["A"],
        "time": TIMES,
        "interval": 5 * MINUTE,
        "coords": {"latitude": [57.7], "longitude": [12.0]},
    }
    return station_reports(rates, **{**given, **changes})


def test_a_dataset_by_cf():
    made = reports(other_variables={"air_temperature": [[280.0, 281.0, 282.0]]})
    assert made.precipitation_rate.dtype == np.float32
    assert made.attrs["featureType"] == "timeSeries"
    assert made.station.attrs["cf_role"] == "timeseries_id"
    assert made.air_temperature.attrs["units"] == "K"
    assert get_interval(made) == 5 * MINUTE
    assert check_stations(made).identical(made)


def test_impossible_values_are_nan_and_counted():
    made = reports([[-999.0, 3000.0, 1.0]], other_variables={"air_temperature": [[9.0, 280.0, 999.0]]})
    np.testing.assert_array_equal(made.precipitation_rate.values, np.float32([[np.nan, np.nan, 1.0]]))
    assert made.attrs["impossible_values"] == "precipitation_rate: 2, air_temperature: 2"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"station": ["A", "A"], "coords": {"x": [0, 1], "y": [0, 1]}}, "comes 2 times"),
        ({"interval": 10 * MINUTE}, "intervals of a station do not overlap"),
        ({"time": TIMES[::-1]}, "times are in order"),
        ({"coords": {"altitude": [3.0]}}, "latitude and longitude, or x and y"),
        ({"coords": {"latitude": [5770.0], "longitude": [12.0]}}, "in degrees"),
        ({"time": ["yesterday", "today", "now"]}, "datetime64"),
    ],
)
def test_refuses_what_does_not_fit(change, says):
    rates = np.zeros((len(change.get("station", "A")), 3))
    with pytest.raises(InputError, match=says):
        reports(rates, **change)


@pytest.mark.parametrize(
    "given",
    [
        np.ma.array([[0.0, -999.0, 6.0]], mask=[[0, 1, 0]]),
        [np.ma.array([0.0, 99.0, 6.0], mask=[0, 1, 0])],
        np.array([[0.0, None, 6.0]], object),
        pd.DataFrame([[0, pd.NA, 6]]).astype("Int64"),
        pd.DataFrame([[0.0, pd.NA, 6.0]]).astype("Float32"),
        pd.array([0, None, 6], dtype="Int64").reshape((1, 3)) if hasattr(pd.array([1]), "reshape") else [[0, None, 6]],
    ],
    ids=["masked", "list-of-masked", "objects", "Int64", "Float32", "array"],
)
def test_missing_stays_missing_in_any_kind_of_array(given):
    made = reports(given)
    np.testing.assert_array_equal(made.precipitation_rate.values, np.float32([[0.0, np.nan, 6.0]]))
    assert "impossible_values" not in made.attrs


def test_masked_temperatures_are_missing():
    made = reports(other_variables={"air_temperature": np.ma.array([[280.0, 281.0, 282.0]], mask=[[1, 0, 0]])})
    assert np.isnan(made.air_temperature.values).tolist() == [[True, False, False]]


@pytest.mark.parametrize(("minutes", "highest"), [(1, 2500), (10, 1081), (60, 422), (1440, 79.6)])
def test_more_than_the_world_record_for_the_interval_is_no_rain(minutes, highest):
    made = station_reports(
        [[0.99 * highest, 1.01 * highest]],
        station=["A"],
        time=TIMES[0] + np.arange(2) * minutes * MINUTE,
        interval=minutes * MINUTE,
        coords={"x": [0.0], "y": [0.0]},
    )
    assert np.isnan(made.precipitation_rate.values).tolist() == [[False, True]]
    assert made.attrs["impossible_values"] == "precipitation_rate: 1"


@pytest.mark.parametrize(
    "time",
    [
        pd.date_range("2020-01-01T01:05", periods=3, freq="5min", tz="Europe/Paris"),
        [f"2020-01-01T01:{minute:02d}+01:00" for minute in (5, 10, 15)],
        [datetime(2020, 1, 1, 0, minute) for minute in (5, 10, 15)],
    ],
    ids=["zone", "offsets", "datetimes"],
)
def test_times_with_a_zone_are_turned_to_utc(time):
    np.testing.assert_array_equal(reports(time=time).time.values, TIMES)


@pytest.mark.parametrize(
    "time", [[1577836800, 1577837100, 1577837400], ["202001010005", "202001010010", "202001010015"]]
)
def test_numbers_and_digits_are_no_times(time):
    with pytest.raises(InputError, match="ISO 8601"):
        reports(time=time)


def test_masked_places_are_unknown():
    places = {"latitude": np.ma.array([57.7, 1e20], mask=[0, 1]), "longitude": [12.0, 13.0]}
    made = reports(np.zeros((2, 3)), station=["A", "B"], coords=places)
    assert np.isnan(made.latitude.values).tolist() == [False, True]


def test_longitudes_to_360_are_centred_on_greenwich():
    made = reports(coords={"latitude": [51.5], "longitude": [359.9]})
    assert float(made.longitude[0]) == pytest.approx(-0.1)


def test_places_that_may_be_exchanged_are_named():
    with pytest.raises(InputError, match=r"latitude 120 of A beyond 90.*exchanged"):
        reports(coords={"latitude": [120.0], "longitude": [-33.0]})


def test_stations_may_report_at_different_times():
    made = reports([[1.0, np.nan, 3.0]], interval=10 * MINUTE)  # every 5 min, but none of its own overlap
    assert check_stations(made).identical(made)


def test_refuses_a_dataset_without_units_interval_or_with_codes():
    made = reports()
    with pytest.raises(InputError, match="units"):
        check_stations(made.assign(precipitation_rate=made.precipitation_rate.assign_attrs(units="mm")))
    with pytest.raises(InputError, match="interval_minutes"):
        check_stations(made.drop_attrs(deep=False))
    with pytest.raises(InputError, match="Set codes"):
        check_stations(made.assign(precipitation_rate=made.precipitation_rate.copy(data=made.precipitation_rate - 9)))
    with pytest.raises(InputError, match=r"xarray\.Dataset"):
        check_stations(made.precipitation_rate)


def test_available_reports_leave_out_what_has_not_ended_or_not_arrived():
    made = reports()
    assert select_available_reports(made, TIMES[1]).sizes["time"] == 2
    assert select_available_reports(made, TIMES[1] - MINUTE).sizes["time"] == 1
    assert select_available_reports(made, TIMES[1], delay=5 * MINUTE).sizes["time"] == 1


def test_amounts_are_rate_times_interval():
    np.testing.assert_allclose(compute_amounts(reports()).values, [[0.0, 0.5, np.nan]])


# --- arrays as users hand them in ------------------------------------------------------------------------------


def two_stations(rates, **given):
    made = {
        "station": ["A", "B"],
        "time": ["2024-06-01T12:00", "2024-06-01T12:10"],
        "interval": "10min",
        "coords": {"latitude": [50.0, 51.0], "longitude": [8.0, 9.0]},
    }
    return station_reports(rates, **(made | given))


def test_labelled_values_are_put_in_order():
    """A table with times down and stations across, as pandas' pivot makes it; square ones would pass unseen."""
    times = pd.to_datetime(["2024-06-01T12:00", "2024-06-01T12:10"])
    expected = [[1, 3], [2, 4]]
    across = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], index=times, columns=["A", "B"])
    labelled = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], dims=("time", "station"), attrs={"units": "mm/h"})
    for rates in (across, labelled):
        np.testing.assert_array_equal(two_stations(rates).precipitation_rate, expected)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"rates": [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]}, r"shape \(2, 3\), with 2 stations and 2 times"),
        ({"rates": [1.0, 2.0]}, r"shape \(2,\)"),
        ({"rates": [[1.0], [2.0]], "station": ["A"], "coords": {"x": [0], "y": [0]}}, r"\(2, 1\).*Transpose them"),
        ({"rates": xr.DataArray(np.ones((2, 2)), attrs={"units": "mm"})}, "in 'mm'.*rate_from_accumulation"),
        ({"coords": {"latitude": 50.0, "longitude": 8.0}}, r"latitude has the shape \(\), with 2 stations"),
        ({"coords": {"latitude": [50.0], "longitude": [8.0]}}, r"latitude has the shape \(1,\)"),
        ({"station": ["A", None]}, "each station has a name"),
        ({"station": np.ma.masked_array(["A", "B"], mask=[False, True])}, "each station has a name"),
        ({"interval": 10}, "interval = 10; it is a duration with a unit"),
        ({"interval": np.timedelta64(10)}, "unit of certain length"),
        ({"time": [["2024-06-01T12:00", "2024-06-01T12:10"]]}, "one dimension"),
    ],
)
def test_what_does_not_fit_the_stations_is_refused(given, found):
    with pytest.raises(InputError, match=found):
        two_stations(**({"rates": np.ones((2, 2))} | given))


def test_places_that_are_none_are_unknown():
    reports = two_stations(np.ones((2, 2)), coords={"latitude": [50.0, None], "longitude": [8.0, None]})
    np.testing.assert_array_equal(reports.latitude, [50, np.nan])
