"""Tables of gauges as people have them: what is not known from the table is refused, and nothing is guessed."""

from __future__ import annotations

import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest

from hybridcast.errors import InputWarning, ReadError
from hybridcast.stations import open_stations

TEN = pd.date_range("2024-06-01T12:10", periods=6, freq="10min")
HEADER = "station,time,latitude,longitude,precipitation_amount"


def write(path, rows, header=HEADER, encoding="utf-8", separator=","):
    """Write rows of station, time, latitude, longitude and value, by default at 46.99 N 7.46 E."""
    lines = [header]
    for station, time, value, *place in rows:
        time = f"{time:%Y-%m-%dT%H:%M}" if isinstance(time, pd.Timestamp) else time
        lines.append(separator.join(map(str, (station, time, *(place or (46.99, 7.46)), value))))
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


def open_quietly(path, **stated):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return open_stations(path, **stated)


# --- times ----------------------------------------------------------------------------------------------------


def times_of(tmp_path, texts, **stated):
    reports = open_quietly(write(tmp_path / "t.csv", [("A", text, 0.5) for text in texts]), **stated)
    np.testing.assert_allclose(reports.precipitation_rate.values, 0.5 * 60 / reports.attrs["interval_minutes"])
    return [str(time)[:16] for time in reports.time.values]


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (["01.02.2024 00:00", "01.02.2024 00:10", "02.02.2024 00:00"], "2024-02-01T00:00"),
        (["13.02.2024 00:00", "13.02.2024 00:10", "13.02.2024 00:20"], "2024-02-13T00:00"),
        (["31.01.2024 23:50", "01.02.2024 00:00", "01.02.2024 00:10"], "2024-01-31T23:50"),
        (["31/01/2024 23:50", "01/02/2024 00:00", "01/02/2024 00:10"], "2024-01-31T23:50"),
        (["6/28/2017 0:10", "6/28/2017 0:20", "6/28/2017 0:30"], "2017-06-28T00:10"),
        (["02.13.2024 00:00", "02.13.2024 00:10", "02.13.2024 00:20"], "2024-02-13T00:00"),
        (["2024-06-01 23:50", "2024-06-01 24:00", "2024-06-02 00:10"], "2024-06-01T23:50"),
        (["202406011210", "202406011220", "202406011230"], "2024-06-01T12:10"),
        (["20240601 12:10", "20240601 12:20", "20240601 12:30"], "2024-06-01T12:10"),
        (["2024060112", "2024060113", "2024060114"], "2024-06-01T12:00"),
        (["20240601121000", "20240601122000", "20240601123000"], "2024-06-01T12:10"),
        (["1717243800", "1717244400", "1717245000"], "2024-06-01T12:10"),
        (["1717243800000", "1717244400000", "1717245000000"], "2024-06-01T12:10"),
        (["2024-06-01T14:10:00+02:00", "2024-06-01T14:20:00+02:00", "2024-06-01T14:30:00+02:00"], "2024-06-01T12:10"),
        (["2024-10-27T02:50:00+02:00", "2024-10-27T02:00:00+01:00", "2024-10-27T02:10:00+01:00"], "2024-10-27T00:50"),
        (["2024-06-01T12:10Z", "2024-06-01T12:20Z", "2024-06-01T12:30Z"], "2024-06-01T12:10"),
        (["2024-06-01 12:10:00", "2024-06-01 12:20", "2024-06-01 12:30:00.000"], "2024-06-01T12:10"),
        (["2024-06-01 12:10 PM", "2024-06-01 12:20 PM", "2024-06-01 12:30 PM"], "2024-06-01T12:10"),
        (["06/13/2024 11:50 PM", "06/14/2024 12:00 AM", "06/14/2024 12:10 AM"], "2024-06-13T23:50"),
        (["1-Jun-2024 12:10", "1-Jun-2024 12:20", "1-Jun-2024 12:30"], "2024-06-01T12:10"),
        (["2024/06/01 12:10", "2024/06/01 12:20", "2024/06/01 12:30"], "2024-06-01T12:10"),
    ],
)
def test_times_in_the_notations_that_are_known(texts, first, tmp_path):
    assert times_of(tmp_path, texts)[0] == first


def test_the_order_of_days_and_months_under_which_times_are_steady(tmp_path):
    path = write(tmp_path / "t.csv", [("A", f"{day:02d}/06/2024 12:{m}0", 0.5) for day in (1, 2) for m in range(6)])
    with pytest.warns(InputWarning, match="read day first"):
        reports = open_stations(path)
    assert str(reports.time.values[0])[:16] == "2024-06-01T12:00"
    assert str(reports.time.values[-1])[:16] == "2024-06-02T12:50"


def test_a_day_that_may_be_a_month_is_refused_unless_stated(tmp_path):
    texts = ["01/06/2024 12:10", "01/06/2024 12:20", "01/06/2024 12:30"]
    with pytest.raises(ReadError, match=r"day first or month first.* State time_format='%d/%m/%Y %H:%M'") as refused:
        times_of(tmp_path, texts)
    assert "--stations-time-format" in refused.value.for_command_line
    assert times_of(tmp_path, texts, time_format="%d/%m/%Y %H:%M")[0] == "2024-06-01T12:10"
    assert times_of(tmp_path, texts, time_format="%m/%d/%Y %H:%M")[0] == "2024-01-06T12:10"


def test_hours_without_zeros_as_spreadsheets_write_them(tmp_path):
    # dt-woods/idf issue 2: a rain record with 10/1/2009 1:00, 10/1/2009 1:05, 10/1/2009 1:10
    texts = ["10/1/2009 1:00", "10/1/2009 1:05", "10/1/2009 1:10"]
    with pytest.raises(ReadError, match="day first or month first"):
        times_of(tmp_path, texts)
    reports = open_stations(tmp_path / "t.csv", time_format="%m/%d/%Y %H:%M")
    assert [str(time)[:16] for time in reports.time.values] == [f"2009-10-01T01:{m:02d}" for m in (0, 5, 10)]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["2024-06-01", "2024-06-02", "2024-06-03"], "has no time of day .*Add the time"),
        (["12:10", "12:20", "12:30"], "has no date"),
        (["2024-06-01 12:10 CEST", "2024-06-01 12:20 CEST"], "time zone by name.*offsets such as"),
        (["01.06.24 12:10", "01.06.24 12:20"], "state by time_format="),
        (["2024-06-01 13:10 PM", "2024-06-01 13:20 PM"], "cannot be read"),
        (["31.01.2024 12:10", "01.31.2024 12:20"], "cannot be read"),
        (["2024-06-01 24:10", "2024-06-02 00:20"], "'2024-06-01 24:10' cannot be read"),
        (["45444.507", "45444.514"], "cannot be read"),
        (["2406011210", "2406011220"], "cannot be read"),  # no seconds since 1970, which would be in 2046
    ],
)
def test_times_that_are_not_known_are_refused_with_a_remedy(texts, says, tmp_path):
    with pytest.raises(ReadError, match=says):
        times_of(tmp_path, texts)


def test_a_year_of_two_digits_can_be_stated(tmp_path):
    texts = ["01.06.24 12:10", "01.06.24 12:20", "01.06.24 12:30"]
    assert times_of(tmp_path, texts, time_format="%d.%m.%y %H:%M")[0] == "2024-06-01T12:10"


def test_a_clock_set_back_is_local_time(tmp_path):
    with pytest.raises(ReadError, match=r"go back to 2024-10-27T02:00.*convert them"):
        times_of(tmp_path, ["2024-10-27 02:50", "2024-10-27 02:00", "2024-10-27 02:10"])


def test_rows_in_any_order_are_no_clock_set_back(tmp_path):
    texts = ["2024-06-01 12:10", "2024-06-01 12:30", "2024-06-01 12:20", "2024-06-01 12:40"]
    assert times_of(tmp_path, texts)[1] == "2024-06-01T12:20"


def test_date_and_time_in_two_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,date,time,lat,lon,rain_mm\n" + "".join(f"A,2024-06-01,12:{m}0,47,7,0.5\n" for m in range(4)))
    assert str(open_stations(path).time.values[1])[:16] == "2024-06-01T12:10"


# --- numbers --------------------------------------------------------------------------------------------------


def test_decimal_commas(tmp_path):
    path = write(
        tmp_path / "b.csv",
        [("A", time, "1,5", "46,99", "7,46") for time in TEN],
        header=HEADER.replace(",", ";"),
        separator=";",
    )
    reports = open_stations(path)
    np.testing.assert_allclose(reports.precipitation_rate.values, 9.0)
    assert (float(reports.latitude[0]), float(reports.longitude[0])) == (46.99, 7.46)


def test_decimal_commas_between_commas_are_refused(tmp_path):
    with pytest.raises(ReadError, match=r"more fields than the header \(5\)\. Put semicolons"):
        open_stations(write(tmp_path / "b.csv", [("A", time, "1,5", "46,99", "7,46") for time in TEN]))


@pytest.mark.parametrize(
    "code", [-999, -9999, 9999.9, 999.9, "", "NA", "-", "---", "NaN", 99.9, "9.96920997e36", "M", 999, "-0.1"]
)
def test_codes_in_hourly_sums_are_missing(code, tmp_path):
    hours = pd.date_range("2024-06-01 12:00", periods=3, freq="h")
    made = open_quietly(write(tmp_path / "c.csv", zip("AAA", hours, (0.2, code, 0.4), strict=True)))
    np.testing.assert_array_equal(made.precipitation_rate.values, np.float32([[0.2, np.nan, 0.4]]))
    assert isinstance(code, str) or made.attrs["impossible_values"] == "precipitation_rate: 1"


def test_rows_of_nines_may_be_rates(tmp_path):
    path = write(tmp_path / "c.csv", zip("AAA", TEN, (99.9, 0, 999), strict=False), HEADER.replace("amount", "rate"))
    np.testing.assert_array_equal(open_stations(path).precipitation_rate.values, np.float32([[99.9, 0, np.nan]]))


def test_traces_are_zero_and_hyphens_unknown(tmp_path):
    path = write(tmp_path / "c.csv", zip("AAAAAA", TEN, ("-", "tr", 0.1, "T", "---", 0.2), strict=True))
    expected = np.float32([[np.nan, 0, 0.6, 0, np.nan, 1.2]])
    np.testing.assert_allclose(open_stations(path).precipitation_rate.values, expected, rtol=1e-6)


def test_words_that_are_no_numbers_are_named(tmp_path):
    with pytest.raises(ReadError, match="'lots' in column precipitation_amount is no number"):
        open_stations(write(tmp_path / "c.csv", [("A", time, "lots") for time in TEN]))


# --- intervals ------------------------------------------------------------------------------------------------


def test_networks_out_of_step_keep_their_own_interval(tmp_path):
    rows = [("A", t, 1.0) for t in TEN] + [("B", t + pd.Timedelta("5min"), 1.0) for t in TEN]
    reports = open_stations(write(tmp_path / "d.csv", rows))
    assert reports.attrs["interval_minutes"] == 10
    for name in "AB":
        assert reports.sel(station=name).precipitation_rate.dropna("time").values.tolist() == [6.0] * 6


def test_hourly_rows_among_those_of_ten_minutes(tmp_path):
    hours = pd.to_datetime(["2024-06-01 13:00", "2024-06-01 14:00"])
    rows = [(s, t, 1.0) for s in "AB" for t in TEN] + [("H", t, 6.0) for t in hours]
    reports = open_stations(write(tmp_path / "d2.csv", rows))
    assert reports.attrs["interval_minutes"] == 60
    assert reports.sel(station="H").precipitation_rate.values.tolist() == [6.0, 6.0]
    np.testing.assert_allclose(reports.sel(station="A").precipitation_rate.values, [6.0, np.nan], rtol=1e-6)


def test_daily_sums_do_not_take_the_minutes_of_others(tmp_path):
    days = pd.date_range("2024-05-30 06:00", periods=3, freq="D")
    rows = [("A", t, 1.0) for t in TEN] + [("D", t, 24.0) for t in days]
    with pytest.warns(InputWarning, match="1 stations with intervals of 1440 min"):
        reports = open_stations(write(tmp_path / "d.csv", rows))
    assert reports.station.values.tolist() == ["A"]
    assert reports.attrs["interval_minutes"] == 10


def test_seconds_of_jitter_are_rounded_to_the_step(tmp_path):
    rows = [
        (name, f"2024-06-01T12:{5 * k:02d}:{(7 * k + 13 * i) % 60:02d}", 0.5)
        for i, name in enumerate("ABC")
        for k in range(6)
    ]
    reports = open_stations(write(tmp_path / "d4.csv", rows))
    assert reports.attrs["interval_minutes"] == 5
    assert [str(time)[11:19] for time in reports.time.values] == [f"12:{m:02d}:00" for m in range(0, 30, 5)]
    np.testing.assert_allclose(reports.precipitation_rate.values, 6.0)


def test_a_station_that_changes_its_step_is_of_no_known_interval(tmp_path):
    times = [
        *pd.date_range("2024-06-01 00:00", periods=5, freq="h"),
        *pd.date_range("2024-06-01 04:10", periods=8, freq="10min"),
    ]
    with pytest.raises(ReadError, match="two different steps"):
        open_stations(write(tmp_path / "d.csv", [("A", t, 1.0) for t in times]))


@pytest.mark.parametrize(
    ("minutes", "why"),
    [
        ([1, 2, 3, 7, 8, 20, 21], "single tips"),
        ([0, 13, 17, 40, 52], "irregular times"),
        ([0], "one row only"),
        ([3, 16], "two rows only"),
    ],
)
def test_an_interval_that_rows_do_not_prove_is_refused_unless_stated(minutes, why, tmp_path):
    path = write(tmp_path / "d3.csv", [("A", f"2024-06-01T12:{m:02d}", 0.2) for m in minutes])
    with pytest.raises(ReadError, match=rf"does not state how long.*A: .*{why}.*interval='10min'") as refused:
        open_stations(path)
    assert "--stations-interval 10min" in refused.value.for_command_line
    stated = open_stations(path, interval="1min")
    np.testing.assert_allclose(stated.precipitation_rate.values, 12.0)


def test_stations_of_unknown_interval_are_left_out_by_name(tmp_path):
    rows = [("A", t, 1.0) for t in TEN] + [("P", f"2024-06-01T12:{m:02d}", 0.2) for m in (1, 14, 18, 41)]
    with pytest.warns(InputWarning, match="P: rows at irregular times"):
        reports = open_stations(write(tmp_path / "d.csv", rows))
    assert reports.station.values.tolist() == ["A"]
    assert reports.attrs["stations_left_out"] == "P: rows at irregular times"


def test_missing_rows_stay_missing(tmp_path):
    rows = [("A", t, 1.0) for k, t in enumerate(TEN) if k not in (2, 3)] + [("B", t, 2.0) for t in TEN]
    reports = open_stations(write(tmp_path / "gap.csv", rows))
    assert (
        np.isnan(reports.sel(station="A").precipitation_rate.values).tolist() == [False] * 2 + [True] * 2 + [False] * 2
    )
    np.testing.assert_allclose(np.nanmax(reports.precipitation_rate.values, axis=1), [6.0, 12.0])


def test_synop_of_three_hours(tmp_path):
    hours = pd.date_range("2024-06-01 00:00", periods=5, freq="3h")
    reports = open_stations(write(tmp_path / "synop.csv", [("10382", t, 6.0) for t in hours]))
    assert reports.attrs["interval_minutes"] == 180
    np.testing.assert_allclose(reports.precipitation_rate.values, 2.0)


def test_a_name_that_says_ten_minutes_of_rows_every_quarter(tmp_path):
    # earthobservations/wetterdienst issue 1356: a network announced as of 10 minutes reports every 15
    quarters = pd.date_range("2024-06-01 12:00", periods=4, freq="15min")
    header = HEADER.replace("precipitation_amount", "precip_10min_mm")
    reports = open_stations(write(tmp_path / "q.csv", [("A", t, 1.0) for t in quarters], header))
    assert reports.attrs["interval_minutes"] == 10
    np.testing.assert_allclose(reports.precipitation_rate.values, 6.0)


# --- kinds of rain --------------------------------------------------------------------------------------------


def rain_of(tmp_path, column, value=24):
    path = write(tmp_path / "e.csv", [("A", t, value) for t in TEN], HEADER.replace("precipitation_amount", column))
    return float(open_quietly(path).precipitation_rate[0, 0])


@pytest.mark.parametrize(
    "column",
    [
        "precip_accum_mm",
        "rain_since_midnight_mm",
        "precip_total_mm",
        "rain_24h_mm",
        "rain_rate_mm",
        "rainrate_mm",
        "precip_intensity_mm",
        "rain_event_mm",
        "rain_sum_cum_mm",
        "dailyrain_mm",
        "rainfall_daily_mm",  # as weatherlink-live-local-api issue 4 shows them: rain_24_hr, rain_storm, rainfall_daily
        "rain_24_hr_mm",
        "rain_storm_mm",
        "precipitation",
        "rain_max_mm",
        "precip_prob_mm",
        "precipTotal_mm",
        "rain_day_mm",
        "rain_today_in",
        "rain_mm_per_day",
    ],
)
def test_rain_of_unknown_kind_is_refused_by_name(column, tmp_path):
    with pytest.raises(ReadError, match=column):
        rain_of(tmp_path, column)


@pytest.mark.parametrize(
    ("column", "rate"),
    [
        ("rain_mm", 144),
        ("rain(mm)", 144),
        ("RR_mm", 144),
        ("precip 10min [mm]", 144),
        ("precip_1h_mm", 24),
        ("hourly_rain_mm", 24),
        ("rain_60_min_mm", 24),
        ("rain_mm_1h", 24),
        ("rain_intensity_mm_h", 24),
        ("precip_mm_hr", 24),
        ("Rain (mm/h)", 24),
        ("rain_mmh", 24),
        ("rain mm h-1", 24),
        ("precip_rate_in_per_hr", 609.6),
        ("precipitation (kg m-2)", 144),
        ("rain [l/m²]", 144),
    ],
)
def test_rain_of_known_kind(column, rate, tmp_path):
    assert rain_of(tmp_path, column) == pytest.approx(rate)


def test_inches(tmp_path):
    assert rain_of(tmp_path, "rain_in", 0.1) == pytest.approx(0.1 * 25.4 * 6)


def test_running_sums_of_an_hour_count_once(tmp_path):
    header = HEADER.replace("precipitation_amount", "precip_1h_mm")
    times = pd.date_range("2024-06-01 12:10", periods=12, freq="10min")
    reports = open_stations(write(tmp_path / "e.csv", [("A", t, float(k)) for k, t in enumerate(times)], header))
    assert [str(time)[11:16] for time in reports.time.values] == ["13:00", "14:00"]
    assert reports.precipitation_rate.values.tolist() == [[5.0, 11.0]]


def test_one_column_of_known_kind_among_others_is_taken(tmp_path):
    path = tmp_path / "e.csv"
    rows = "".join(f"A,2024-06-01T12:{m}0,47,7,{0.5},{20 + m},0\n" for m in range(5))
    path.write_text(f"station,time,lat,lon,rain_10min_mm,rain_since_midnight_mm,rain_flag\n{rows}")
    np.testing.assert_allclose(open_stations(path).precipitation_rate.values, 3.0)


def test_the_column_of_rain_can_be_stated(tmp_path):
    path = write(tmp_path / "e.csv", [("A", t, 1.0) for t in TEN], HEADER.replace("precipitation_amount", "R1"))
    with pytest.raises(ReadError, match=r"state rain=") as refused:
        open_stations(path, format="station-table")
    assert "--stations-rain" in refused.value.for_command_line
    assert float(open_stations(path, format="station-table", rain="R1").precipitation_rate.max()) == 6.0
    with pytest.raises(ReadError, match="no column 'R2'"):
        open_stations(path, format="station-table", rain="R2")


def since_midnight(stations=3, rows=7, begin=30.0):
    """Rows of rain since midnight, 1 mm in 10 minutes."""
    times = pd.date_range("2024-06-01 13:00", periods=rows, freq="10min")
    return [(f"G{n}", t, begin + n + k) for n in range(stations) for k, t in enumerate(times)]


def test_values_that_only_rise_are_an_accumulation(tmp_path):
    path = write(tmp_path / "cum.csv", since_midnight())
    with pytest.warns(InputWarning, match="its values only rise, so they are an accumulation"):
        reports = open_stations(path)
    assert np.isnan(reports.precipitation_rate.values).all()
    assert reports.attrs["stations_left_out"].startswith("G0, G1, G2: its values only rise")


def test_a_counter_named_as_rain(tmp_path):
    # shchuko/acurite-bridge issue 2: the counter of a sensor since its start is called rain_mm, here 89.154 mm
    rows = [("A", t, round(89.154 + 0.254 * k, 3)) for k, t in enumerate(TEN)]
    reports = open_quietly(write(tmp_path / "counter.csv", rows, HEADER.replace("precipitation_amount", "rain_mm")))
    assert np.isnan(reports.precipitation_rate.values).all()


def test_a_total_that_falls_to_zero_at_midnight(tmp_path):
    # OpenSprinkler-Weather pull request 85: precipTotal resets to zero at midnight
    times = pd.date_range("2024-06-01 20:00", periods=48, freq="10min")
    total = [0.4 * k if t < pd.Timestamp("2024-06-02") else 0.4 * (k - 24) for k, t in enumerate(times)]
    reports = open_quietly(write(tmp_path / "total.csv", [("A", t, v) for t, v in zip(times, total, strict=True)]))
    assert np.isnan(reports.precipitation_rate.values).all()


def test_a_total_that_begins_with_the_table(tmp_path):
    rows = [
        ("A", t, round(1.2 * k, 1)) for k, t in enumerate(pd.date_range("2024-06-01 13:00", periods=7, freq="10min"))
    ]
    assert np.isnan(open_quietly(write(tmp_path / "total.csv", rows)).precipitation_rate.values).all()


def test_totals_of_light_rain_in_a_network(tmp_path):
    rows = [
        (name, t, round(0.1 * n + 0.2 * k, 1))
        for name, t, _ in since_midnight(6)
        for n, k in [(int(name[1]), t.minute // 10)]
    ]
    rows = [row for row in rows if row[1].hour == 13]
    reports = open_quietly(write(tmp_path / "network.csv", rows))
    assert np.isnan(reports.precipitation_rate.values).all()
    assert "only rise" in reports.attrs["stations_left_out"]


def test_amounts_by_name_or_statement_are_no_accumulations(tmp_path):
    path = write(tmp_path / "cum.csv", since_midnight())
    np.testing.assert_allclose(open_stations(path, interval="10min").precipitation_rate.values[0, :2], [180, 186])
    write(path, since_midnight(), HEADER.replace("precipitation_amount", "rain_10min_mm"))
    np.testing.assert_allclose(open_stations(path).precipitation_rate.values[0, :2], [180, 186])


@pytest.mark.parametrize(
    "amounts",
    [
        [0, 0.1, 0.2, 0.3, 0.4, 0.5],
        [0.9, 0.92, 0.95, 0.97, 1.0, 1.02, 1.03],
        [0, 0, 0.2, 0.5, 1.5, 3.0, 6.0, 9.0],
        [5.0, 5.2, 5.1, 5.3, 5.4, 5.6, 5.5],
        [24] * 8,
    ],
    ids=["ramp", "steady", "onset", "heavy", "constant"],
)
def test_rain_that_grows_is_no_accumulation(amounts, tmp_path):
    times = pd.date_range("2024-06-01 13:00", periods=len(amounts), freq="10min")
    reports = open_stations(write(tmp_path / "grow.csv", [("A", t, v) for t, v in zip(times, amounts, strict=True)]))
    np.testing.assert_allclose(reports.precipitation_rate.values[0], np.array(amounts) * 6, rtol=1e-6)


# --- stations and places --------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_names_in_the_encodings_of_spreadsheets(encoding, tmp_path):
    path = write(tmp_path / "h.csv", [("Zürich", t, 0.5) for t in TEN], encoding=encoding)
    assert open_stations(path).station.values.tolist() == ["Zürich"]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "# gauges of X\n# as of today\n" + text,
        lambda text: "# " + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(HEADER + "\n", HEADER + "\n-,UTC,deg,deg,mm\n"),
        lambda text: text + ",,,,\n\n",
        lambda text: "\n".join(",".join(f'"{word}"' for word in line.split(",")) for line in text.split("\n")[:-1]),
        lambda text: text.replace(",", "\t"),
        lambda text: "sep=,\n" + text,
        lambda text: "Export of gauges, all stations\n\n" + text,
        lambda text: (
            text.replace("time", "Timestamp (UTC)").replace("latitude", "lat [°]").replace("longitude", "lon_deg")
        ),
        lambda text: text.replace("\n", ",\n"),
        lambda text: text + text,
    ],
    ids=[
        "comments",
        "commented-header",
        "crlf",
        "units",
        "empty-rows",
        "quoted",
        "tabs",
        "sep",
        "title",
        "units-in-names",
        "separators-at-ends",
        "joined",
    ],
)
def test_layouts_of_tables(change, tmp_path):
    path = write(tmp_path / "h.csv", [("007", t, 0.5) for t in TEN])
    path.write_bytes(change(path.read_text()).encode())
    reports = open_stations(path)
    assert reports.station.values.tolist() == ["007"]
    np.testing.assert_allclose(reports.precipitation_rate.values, 3.0)


@pytest.mark.parametrize("name", ["local_time", "start_time", "hour"])
def test_times_of_another_meaning_are_refused(name, tmp_path):
    path = write(tmp_path / "h.csv", [("A", t, 0.5) for t in TEN], HEADER.replace("time", name))
    with pytest.raises(ReadError, match=rf"no column time; it has station, {name}.* ends of intervals in UTC"):
        open_stations(path)


def test_of_beginnings_and_ends_the_ends_are_taken(tmp_path):
    rows = [("A", f"{t - pd.Timedelta('10min'):%Y-%m-%d %H:%M},{t:%Y-%m-%d %H:%M}", 0.5) for t in TEN]
    reports = open_stations(write(tmp_path / "h.csv", rows, HEADER.replace("time", "start_time,end_time")))
    np.testing.assert_array_equal(reports.time.values, TEN.values)


def test_a_row_that_comes_twice_counts_once_and_two_that_differ_are_missing(tmp_path):
    rows = [("A", t, 0.5) for t in TEN]
    np.testing.assert_allclose(open_stations(write(tmp_path / "i.csv", rows * 2)).precipitation_rate.values, 3.0)
    path = write(tmp_path / "i.csv", [*rows, ("A", TEN[2], 2.5)])
    with pytest.warns(InputWarning, match="1 reports come twice with different rain, the first at A, 2024-06-01 12:30"):
        reports = open_stations(path)
    assert np.isnan(reports.precipitation_rate.values[0]).tolist() == [False, False, True, False, False, False]


def test_a_correction_of_a_missing_value_is_used(tmp_path):
    rows = [("A", t, "" if t == TEN[2] else 0.5) for t in TEN]
    reports = open_stations(write(tmp_path / "i.csv", [*rows, ("A", TEN[2], 0.5)]))
    np.testing.assert_allclose(reports.precipitation_rate.values, 3.0)


def test_moving_stations_and_stations_without_places_are_left_out(tmp_path):
    rows = [("A", t, 0.5) for t in TEN] + [("ship", t, 0.5, 50 + k / 10, 3) for k, t in enumerate(TEN)]
    rows += [("blank", t, 0.5, "", "") for t in TEN] + [("code", t, 0.5, -999, -9999) for t in TEN]
    rows += [("null", t, 0.5, 0, 0) for t in TEN]
    with pytest.warns(InputWarning, match="blank, code, null: no latitude and longitude; ship: it moves"):
        reports = open_stations(write(tmp_path / "n.csv", rows))
    assert reports.station.values.tolist() == ["A"]
    with pytest.raises(ReadError, match="no place of its stations"):
        open_stations(write(tmp_path / "n.csv", [("A", t, 0.5, "", "") for t in TEN]))


def test_places_in_a_file_of_their_own(tmp_path):
    reports, places = tmp_path / "reports.csv", tmp_path / "stations.csv"
    reports.write_text("station,time,rain_mm\n" + "".join(f"7,2024-06-01T12:{m}0,0.5\n" for m in range(4)))
    with pytest.raises(ReadError, match="no file with the places of 7") as refused:
        open_stations(reports)
    assert "another --stations" in refused.value.for_command_line
    places.write_text("station_id;name;lat;lon;elevation\n007;Bond;46.99;7.46;550\n")
    made = open_stations([places, reports])
    assert [float(made[name][0]) for name in ("latitude", "longitude", "altitude")] == [46.99, 7.46, 550]
    places.write_text("station_id;lat;lon\n8;46.99;7.46\n")
    with pytest.raises(ReadError, match=r"its stations \(7\) are not among the 1 places"):
        open_stations([reports, places])
    with pytest.raises(ReadError, match="a file of places, without reports"):
        open_stations(places)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'[{"station":"A"}]', "JSON.*Write its reports as a table: CSV"),
        (b'{"data": []}', "JSON"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "spreadsheet"),
        (b"<!DOCTYPE html><html>403</html>", "web page"),
    ],
)
def test_documents_that_are_no_tables_say_what_to_do(content, says, tmp_path):
    path = tmp_path / "gauges"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=says):
        open_stations(path)


def test_a_spreadsheet_is_no_container_of_tables(tmp_path):
    with zipfile.ZipFile(tmp_path / "gauges.xlsx", "w") as file:
        file.writestr("[Content_Types].xml", "<Types/>")
        file.writestr("xl/worksheets/sheet1.xml", "<worksheet/>")
    with pytest.raises(ReadError, match=r"spreadsheet.*as CSV"):
        open_stations(tmp_path / "gauges.xlsx")


def test_tables_in_parquet_follow_the_same_rules(tmp_path):
    made = pd.DataFrame({"station": "A", "time": TEN, "latitude": 47.0, "longitude": 7.0, "rain_1h_mm": 24.0})
    made.to_parquet(tmp_path / "e.parquet")
    assert float(open_stations(tmp_path / "e.parquet").precipitation_rate[0, 0]) == 24.0
    made.rename(columns={"rain_1h_mm": "rain_max_mm"}).to_parquet(tmp_path / "e.parquet")
    with pytest.raises(ReadError, match="'max' is no known kind of rain"):
        open_stations(tmp_path / "e.parquet", format="station-table")
