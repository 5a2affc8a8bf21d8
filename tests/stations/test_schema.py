from __future__ import annotations

import numpy as np
import pytest

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
        ({"interval": 10 * MINUTE}, "intervals do not overlap"),
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
