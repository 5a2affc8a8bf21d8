from __future__ import annotations

import numpy as np
import pytest

from hybridcast.errors import InputError, InputWarning
from hybridcast.stations import merge_reports, resample_reports, station_reports

MINUTE = np.timedelta64(1, "m")
START = np.datetime64("2020-01-01T00:00", "ns")


def reports(rates, interval=1, names=("A",), first=None, **others):
    times = START + np.arange(1, np.shape(rates)[1] + 1) * interval * MINUTE + (0 if first is None else first) * MINUTE
    places = {"latitude": np.arange(len(names)) + 50.0, "longitude": np.full(len(names), 8.0)}
    return station_reports(
        rates, station=list(names), time=times, interval=interval * MINUTE, coords=places, other_variables=others
    )


def test_a_step_is_the_mean_of_whole_intervals():
    made = resample_reports(reports([np.arange(30.0)]), 15 * MINUTE)
    assert made.precipitation_rate.values.tolist() == [[7.0, 22.0]]
    assert made.time.values.tolist() == [(START + n * 15 * MINUTE).astype(int) for n in (1, 2)]
    assert made.attrs["interval_minutes"] == 15.0


def test_a_step_with_a_missing_part_is_unknown_unless_a_share_is_enough():
    rates = np.ones((1, 30))
    rates[0, 3:5] = np.nan
    assert np.isnan(resample_reports(reports(rates), 15 * MINUTE).precipitation_rate.values).tolist() == [[True, False]]
    assert resample_reports(reports(rates), 15 * MINUTE, min_fraction=0.8).precipitation_rate.values.tolist() == [
        [1.0, 1.0]
    ]


def test_a_step_may_end_with_the_last_report():
    made = resample_reports(reports([np.arange(32.0)]), 15 * MINUTE, end=START + 32 * MINUTE)
    assert made.time.values[-1] == START + 32 * MINUTE
    assert made.precipitation_rate.values[0, 1:].tolist() == [9.0, 24.0]
    assert np.isnan(made.precipitation_rate.values[0, 0])


def test_what_is_of_one_moment_is_that_of_the_last_report():
    made = resample_reports(reports(np.zeros((1, 10)), wind_from_direction=[np.arange(10) * 36.0]), 5 * MINUTE)
    assert made.wind_from_direction.values.tolist() == [[144.0, 324.0]]
    assert made.wind_from_direction.attrs["units"] == "degree"


def test_a_step_that_is_no_multiple_is_refused():
    with pytest.raises(InputError, match="whole multiple"):
        resample_reports(reports(np.zeros((1, 12)), 6), 10 * MINUTE)


def test_joins_networks_onto_the_longest_interval():
    made = merge_reports([reports(np.full((1, 30), 3.0)), reports([[5.0, 6.0]], 15, names=("B",))])
    assert made.precipitation_rate.values.tolist() == [[3.0, 3.0], [5.0, 6.0]]
    assert made.attrs["merged_intervals_minutes"] == [1.0, 15.0]
    assert made.latitude.values.tolist() == [50.0, 50.0]


def test_joins_times_of_one_station_and_the_first_value_counts():
    early, late = reports([[1.0, np.nan, 3.0]], 5), reports([[7.0, 8.0, 9.0]], 5, first=5)
    assert merge_reports([early, late]).precipitation_rate.values.tolist() == [[1.0, 7.0, 3.0, 9.0]]
    assert merge_reports([late, early]).precipitation_rate.values.tolist() == [[1.0, 7.0, 8.0, 9.0]]


def test_networks_out_of_step_keep_their_times():
    made = merge_reports([reports([[1.0, 2.0]], 15), reports([[3.0, 4.0]], 15, names=("B",), first=7)])
    assert made.attrs["interval_minutes"] == 15
    np.testing.assert_array_equal(
        made.precipitation_rate.values, [[1.0, np.nan, 2.0, np.nan], [np.nan, 3.0, np.nan, 4.0]]
    )


def test_a_report_across_two_intervals_counts_in_both_by_its_share():
    late = reports([[6.0, 12.0, 0.0, 6.0, 0.0, 3.0]], 10, first=5)  # the first ends at 00:15
    made = resample_reports(late, 30 * MINUTE, min_fraction=0.8)
    assert [str(time)[11:16] for time in made.time.values] == ["00:30", "01:00", "01:30"]
    expected = [(6 + 12 + 0 / 2) / 2.5, (0 / 2 + 6 + 0 + 3 / 2) / 3, np.nan]
    np.testing.assert_allclose(made.precipitation_rate.values[0], expected, rtol=1e-6)
    assert np.isnan(resample_reports(late, 30 * MINUTE).precipitation_rate.values[0, 0])  # 5 min of it are not known


def test_sums_of_hours_do_not_lengthen_the_minutes_of_others():
    daily, short = reports([[1.0, 2.0]], 1440), reports([[3.0, 4.0]], 10, names=("B",))
    with pytest.warns(InputWarning, match="1 stations with intervals of 1440 min, beside others that meet at 10 min"):
        made = merge_reports([daily, short])
    assert made.station.values.tolist() == ["B"]
    assert made.attrs["interval_minutes"] == 10
    assert "intervals of 1440 min" in made.attrs["stations_left_out"]


def test_seven_minutes_do_not_stop_the_others():
    with pytest.warns(InputWarning, match="1 stations with intervals of 7 min"):
        made = merge_reports([reports([[1.0, 2.0]], 60), reports([[3.0, 4.0]], 7, names=("B",))])
    assert made.station.values.tolist() == ["A"]


def test_one_hourly_gauge_does_not_blur_a_network():
    network = reports(np.ones((30, 12)), 10, names=tuple(f"N{n}" for n in range(30)))
    with pytest.warns(InputWarning, match="1 stations with intervals of 60 min, beside others that meet at 10 min"):
        made = merge_reports([network, reports([[6.0, 6.0]], 60, names=("H",))])
    assert made.attrs["interval_minutes"] == 10
    assert "H" not in made.station.values
    assert "H" in merge_reports([network, reports([[6.0, 6.0]], 60, names=("H",))], 60 * MINUTE).station.values


def test_five_and_six_minutes_meet_at_half_an_hour():
    made = merge_reports([reports(np.full((1, 12), 3.0), 5), reports(np.full((1, 10), 6.0), 6, names=("B",))])
    assert made.attrs["interval_minutes"] == 30
    assert np.nanmax(made.precipitation_rate.values[1]) == 6


def test_places_of_different_kinds_do_not_go_together():
    metres = reports([[1.0, 2.0]], names=("B",)).drop_vars(["latitude", "longitude"])
    metres = metres.assign_coords(x=("station", [0.0]), y=("station", [0.0]))
    with pytest.raises(InputError, match="coordinates of one kind"):
        merge_reports([reports([[1.0, 2.0]]), metres])


def test_a_year_of_reports_is_brought_onto_a_step():
    many = reports(np.zeros((20, 105_120)), 5, names=tuple(str(n) for n in range(20)))
    assert resample_reports(many, 30 * MINUTE).sizes["time"] == 17_520
