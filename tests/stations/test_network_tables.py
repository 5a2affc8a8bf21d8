"""Tables as loggers, spreadsheets and services export them: what they state besides the values counts."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from hybridcast.errors import InputWarning, ReadError
from hybridcast.stations import open_stations
from hybridcast.stations.rain_columns import describe_column, describe_rain

TEN = pd.date_range("2024-06-01T12:10", periods=6, freq="10min")
AMOUNTS = (0, 0.2, 1.0, 0.6, 0, 0.4)
PLACES = "station,lat,lon\nA,46.99,7.46\nHelsinki Kaisaniemi,60.175,24.944\n"


@pytest.fixture
def table(tmp_path):
    """Return a function that writes a table with a file of places beside it, and opens both."""

    def open_table(text, **stated):
        (tmp_path / "places.csv").write_text(PLACES)
        (tmp_path / "gauges.csv").write_bytes(text.encode())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            return open_stations([tmp_path / "gauges.csv", tmp_path / "places.csv"], **stated)

    return open_table


def rows(template="A,{time},46.99,7.46,{amount}", times=TEN, amounts=AMOUNTS, **more):
    """Return lines of a table, made from a template with a time and an amount; a clock two hours ahead is `local`."""
    lines = []
    for time, amount in zip(times, amounts, strict=False):
        local = f"{time + pd.Timedelta('2h'):%Y-%m-%dT%H:%M}"
        lines.append(template.format(time=f"{time:%Y-%m-%dT%H:%M}", local=local, amount=amount, at=time, **more))
    return "\n".join(lines) + "\n"


def assert_right(reports):
    np.testing.assert_array_equal(reports.time.values, TEN.values)
    np.testing.assert_allclose(reports.precipitation_rate.values, [np.array(AMOUNTS) * 6], rtol=1e-6)


# --- times ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        *("local", "local time", "CET", "MESZ", "UTC+2", "GMT-05:00", "LST", "Europe/Berlin"),
        *("start", "begin", "from", "hour beginning", "start of interval"),
    ],
)
def test_a_column_that_states_another_time_is_refused(statement, table):
    for header in (f"station,Time ({statement}),lat,lon,rain_mm", f"station,timestamp [{statement}],lat,lon,rain_mm"):
        with pytest.raises(ReadError, match=r"states another time than the end of the interval in UTC.*rename"):
            table(header + "\n" + rows())


@pytest.mark.parametrize(
    "statement", ["UTC", "GMT", "end of interval", "yyyy-mm-dd hh:mm", "UTC+00:00", "Z", "ISO 8601"]
)
def test_a_column_that_states_utc_or_the_end_is_read(statement, table):
    assert_right(table(f"station,Time ({statement}),lat,lon,rain_mm\n" + rows()))


@pytest.mark.parametrize(
    ("header", "template"),
    [
        ("station,time,time_utc,lat,lon,rain_mm", "A,{local},{time},46.99,7.46,{amount}"),
        ("station,Time (local),Time (UTC),lat,lon,rain_mm", "A,{local},{time},46.99,7.46,{amount}"),
        ("station,time,end_time,lat,lon,rain_mm", "A,{local},{time},46.99,7.46,{amount}"),
        ("station,Date,Time (UTC),lat,lon,rain_mm", "A,{at:%d.%m.%Y},{at:%H:%M},46.99,7.46,{amount}"),
        ("station,date,time,datetime,lat,lon,rain_mm", "A,2024-06-01,{at:%H:%M},{time},46.99,7.46,{amount}"),
        ("station,time,timestamp,lat,lon,rain_mm", "A,{time},{time},46.99,7.46,{amount}"),
    ],
)
def test_of_several_columns_of_times_the_one_that_says_so_is_taken(header, template, table):
    times = pd.date_range("2024-06-13T12:10", periods=6, freq="10min") if "%d" in template else TEN
    reports = table(header + "\n" + rows(template, times))
    np.testing.assert_array_equal(reports.time.values, times.values)


def test_columns_of_times_that_differ_are_refused(table):
    with pytest.raises(
        ReadError, match=r"two columns of times that differ, 'time' and 'timestamp'\. Rename .* end_time"
    ):
        table("station,timestamp,time,lat,lon,rain_mm\n" + rows("A,{local},{time},46.99,7.46,{amount}"))
    assert_right(table("station,timestamp,end_time,lat,lon,rain_mm\n" + rows("A,{local},{time},46.99,7.46,{amount}")))


@pytest.mark.parametrize(
    "date_and_time",
    [
        "2024-06-01,{at:%H%M}",
        "20240601,{at:%H%M}",
        "2024-06-01 00:00:00,{at:%H:%M}",
        "6/1/2024 0:00,{at:%H:%M:%S}",
        "1-Jun-2024,{at:%I:%M %p}",
    ],
)
def test_dates_and_times_of_day_in_two_columns(date_and_time, table):
    stated = {"time_format": "%m/%d/%Y %H:%M:%S"} if "6/1" in date_and_time else {}
    text = "station,date,time,lat,lon,rain_mm\n" + rows("A," + date_and_time + ",46.99,7.46,{amount}")
    assert_right(table(text, **stated))


def test_the_export_of_the_finnish_meteorological_institute(table):
    # en.ilmatieteenlaitos.fi/download-observations: parts of the date in columns, and units in brackets
    head = '"Observation station","Year","Month","Day","Time [UTC]","Precipitation amount [mm]"\n'
    body = "".join(f'"Helsinki Kaisaniemi","2024","6","1","{hour:02d}:00","{v}"\n' for hour, v in enumerate("0-2"))
    reports = table(head + body)
    assert str(reports.time.values[1])[:16] == "2024-06-01T01:00"
    assert reports.attrs["interval_minutes"] == 60
    np.testing.assert_array_equal(reports.precipitation_rate.values, [[0, np.nan, 2]])
    with pytest.raises(ReadError, match=r"'Time \[Local time\]' states another time"):
        table(head.replace("UTC", "Local time") + body)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("45444.506944", "number of days, as spreadsheets count them"),
        ("45444,506944", "number of days, as spreadsheets count them"),
        ("2.02406E+11", "lost digits"),
        ("1.7172438e+09", "lost digits"),
    ],
)
def test_times_that_a_spreadsheet_changed_say_how_to_export_them(text, says, table):
    with pytest.raises(ReadError, match=rf"{says}.*Format the cells as text"):
        table("station;time;rain_mm\n" + f"A;{text};0.2\n" * 3)


@pytest.mark.parametrize(
    "line",
    [
        "# Time zone: CET",
        "Times in UTC+1",
        "# all times: local time",
        "Timestamp = start of interval",
        "Zeit: MEZ",
        "time stamps: interval-beginning",
        "timezone;Europe/Zurich",
    ],
)
def test_lines_above_that_state_another_time_are_a_refusal(line, table):
    text = "station,time,lat,lon,rain_mm\n" + rows()
    with pytest.raises(ReadError, match=r"lines above the header state .*remove the statement"):
        table(f"Export of gauges\n{line}\n{text}")
    assert_right(table(f"Export of gauges\n# Time zone: UTC\n{text}"))


@pytest.mark.parametrize(
    "line",
    [
        *("Met Office gauges", "Das ist eine Tabelle, Ende der Zeit", "# station est. 1950"),
        *("# times are in UTC (CET-1)", "hour ending; UTC", "# Time: end of the interval", "# Central Europe"),
    ],
)
def test_lines_above_that_state_nothing_else_are_titles(line, table):
    assert_right(table(f"{line}\nsecond line\nstation,time,lat,lon,rain_mm\n" + rows()))


def test_a_column_in_utc_outweighs_the_lines_above(table):
    assert_right(table("Data in local time\nstation,time_utc,lat,lon,rain_mm\n" + rows()))


# --- units and names ------------------------------------------------------------------------------------------


def test_units_in_the_row_below_the_header(table):
    text = "station,time,lat,lon,{rain}\n,UTC,deg,deg,{units}\n" + rows()
    assert_right(table(text.format(rain="precipitation", units="mm")))
    inches = table(text.format(rain="rain", units="in"))
    np.testing.assert_allclose(inches.precipitation_rate.values, [np.array(AMOUNTS) * 6 * 25.4], rtol=1e-6)
    rates = table(text.format(rain="rain_rate", units="mm/h"))
    np.testing.assert_allclose(rates.precipitation_rate.values, [AMOUNTS], rtol=1e-6)
    with pytest.raises(ReadError, match="rain_mm: its name has other units than the row below, 'inches'"):
        table(text.format(rain="rain_mm", units="inches"))
    with pytest.raises(ReadError, match="row below the header states 'CET' of its times"):
        table(text.format(rain="rain", units="mm").replace("UTC", "CET"))


def test_a_logger_with_three_rows_below_the_header(table):
    # Campbell Scientific's TOA5 (LoggerNet manual, appendix B): names, units, kinds of processing
    head = '"TOA5","CR1000X","CR1000X","12345","Std.04","CPU:x.CR1X","1234","TenMin"\n'
    names = '"station","TIMESTAMP","RECORD","Rain_mm_Tot"\n"","TS","RN","mm"\n"","","","Tot"\n'
    text = head + names + rows('"A","{at:%Y-%m-%d %H:%M:%S}",7,{amount}')
    with pytest.raises(ReadError, match=r"Rain_mm_Tot: 'tot' is no known kind of rain.*state rain="):
        table(text)
    assert_right(table(text, rain="Rain_mm_Tot"))
    inches = table(text.replace('"mm"', '"in"').replace("Rain_mm_Tot", "Rain_Tot"), rain="Rain_Tot")
    np.testing.assert_allclose(inches.precipitation_rate.values, [np.array(AMOUNTS) * 6 * 25.4], rtol=1e-6)
    with pytest.raises(ReadError, match=r"columns TIMESTAMP, RECORD, .*but no station.*Add a column station"):
        table(text.replace('"station",', "").replace('"",', "", 2).replace('"A",', ""))


def test_a_stated_column_keeps_the_units_of_its_name(table):
    text = "station,time,lat,lon,rain_in_tot\n" + rows()
    expected = [np.array(AMOUNTS) * 6 * 25.4]
    np.testing.assert_allclose(table(text, rain="rain_in_tot").precipitation_rate.values, expected, rtol=1e-6)


def test_in_is_a_word_unless_it_stands_for_inches():
    assert (
        describe_rain("Rain - in").factor
        == describe_rain("rain_in").factor
        == describe_rain("Rain (in)").factor
        == 25.4
    )
    assert describe_rain("precip in the last 10 min") == "it has no units"
    assert describe_column("Rain", "in").factor == 25.4
    assert describe_column("Rain", "widgets") == "it has no units"


@pytest.mark.parametrize(
    ("header", "template"),
    [
        ('station,time,"Rain, mm",lat,lon', "A,{time},{amount},46.99,7.46"),
        ('"station","time","Temp, C","rain_mm","lat","lon"', '"A","{time}","21,5",{amount},46.99,7.46'),
        ("Station Name|Time|Lat.|Long.|rain_mm", "A|{time}|46.99|7.46|{amount}"),
        ("station,time,lat,lon,flag,rain_mm,flag", "A,{time},46.99,7.46,9,{amount},"),
        ("station,flag,flag,time,lat,lon,rain_mm,note", "A,8,9,{time},46.99,7.46,{amount},"),
        ("Station,Date & Time,lat,lon,rain_mm", "A,{time},46.99,7.46,{amount}"),
    ],
)
def test_names_with_separators_blanks_and_doubled_ones(header, template, table):
    reports = table(header + "\n" + rows(template))
    assert_right(reports)
    assert (float(reports.latitude[0]), float(reports.longitude[0])) == (46.99, 7.46)


@pytest.mark.parametrize("name", ["rain_mm", "time", "lat"])
def test_a_needed_column_that_comes_twice_is_refused_by_name(name, table):
    with pytest.raises(ReadError, match=rf"has 2 columns '{name}'\. Rename"):
        table(f"station,time,lat,lon,rain_mm,{name}\n" + rows("A,{time},46.99,7.46,{amount},7"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time,A,B,C\n2024-06-01 12:10,0,0,1\n", "columns time, A, B, C, but no station.*pandas.melt"),
        ("dateTime,measure,value\n2024-06-01T12:00:00Z,029170TP-t-15_min-mm,0.2\n", "columns dateTime, measure, value"),
        (
            "Titel;;;\nOrt;Zeit;Breite;Regen\nX;1;2;3\nX;1;2;3\n",
            "columns Ort, Zeit, Breite, Regen, but no station, time",
        ),
        (",".join(f"c{k}" for k in range(20)) + "\n" + "0," * 19 + "0\n", "c9 and 10 more, but no"),
    ],
)
def test_tables_that_are_not_known_are_refused_with_their_columns(text, says, table):
    with pytest.raises(ReadError, match=says) as refused:
        table(text)
    assert "CSV with the columns station, time" in refused.value.for_command_line


def test_the_same_rain_in_several_intervals_is_that_of_the_shortest(table):
    header = "station,time,lat,lon,rain_24h_mm,rain_10min_mm,rain_1h_mm\n"
    assert_right(table(header + rows("A,{time},46.99,7.46,24,{amount},5")))
    with pytest.raises(ReadError, match=r"2 columns .*rain_mm, rain_1h_mm.*not 1"):
        table("station,time,lat,lon,rain_mm,rain_1h_mm\n" + rows("A,{time},46.99,7.46,{amount},5"))


@pytest.mark.parametrize("note", ["# end of file\n", "\nGenerated on 1 June by X\n", ",,,,\n", "-- 6 rows --,,,,\n"])
def test_notes_below_a_table_are_skipped(note, table):
    assert_right(table("station,time,lat,lon,rain_mm\n" + rows() + note))


def test_rows_without_a_time_or_a_station_are_refused(table):
    """A row of totals, and merged cells of a spreadsheet, which are empty but for the first."""
    text = "station,time,lat,lon,rain_mm\n" + rows()
    with pytest.raises(ReadError, match=r"1 rows have no time, the first with Total, 2\.2\. Fill it in, or remove"):
        table(text + "Total,,,,2.2\n")
    with pytest.raises(ReadError, match=r"5 rows have no station, the first with 2024-06-01T12:20, 0\.2"):
        table(text.replace("A,", ",").replace(",2024", "A,2024", 1))


def test_a_table_with_blanks_between_the_columns_says_what_it_lacks(table):
    with pytest.raises(ReadError, match="no commas, semicolons or tabs between columns"):
        table(("station,time,lat,lon,rain_mm\n" + rows()).replace(",", "  "))


# --- places ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        ("46.99N", "7.46E", (46.99, 7.46)),
        ("33.9 S", "18,4 E", (-33.9, 18.4)),
        ("40°45'0\"N", "73°58′48″W", (40.75, -73.98)),
        ("40°45.0'N", "73.98° W", (40.75, -73.98)),
        ("-33.9", "151.2", (-33.9, 151.2)),
    ],
)
def test_degrees_with_hemispheres(latitude, longitude, expected, table):
    text = "station;time;lat;lon;rain_mm\n" + rows(f"A;{{time}};{latitude};{longitude};{{amount}}")
    reports = table(text)
    np.testing.assert_allclose((float(reports.latitude[0]), float(reports.longitude[0])), expected, atol=1e-5)


def test_places_that_are_no_degrees_say_how_to_write_them(table):
    with pytest.raises(ReadError, match=r"'7 27' in column longitude is no number .*degrees with decimals"):
        table("station,time,lat,lon,rain_mm\n" + rows("A,{time},46 59,7 27,{amount}"))
    with pytest.raises(ReadError, match="beyond 90") as refused:
        table("station,time,lat,lon,rain_mm\n" + rows("A,{time},5204410,2601934,{amount}"))
    assert "give x and y" not in refused.value.for_command_line


def test_an_altitude_of_other_or_unknown_units_is_not_used(table):
    for name, value in (("altitude (ft)", "1000"), ("elevation", '"1,234"')):
        reports = table(f"station,time,lat,lon,{name},rain_mm\n" + rows(f"A,{{time}},46.99,7.46,{value},{{amount}}"))
        assert_right(reports)
        assert "altitude" not in reports.coords or np.isnan(reports.altitude.values).all()
    below = "station,time,lat,lon,elevation,rain\n,,,,ft,mm\n"
    assert "altitude" not in table(below + rows("A,{time},46.99,7.46,1000,{amount}")).coords
    metres = table("station,time,lat,lon,elevation [m],rain_mm\n" + rows("A,{time},46.99,7.46,1000,{amount}"))
    assert float(metres.altitude[0]) == 1000


# --- totals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "totals",
    [
        [12.2, 12.2, 12.2, 12.4, 12.4, 12.6, 12.6, 12.6],
        [12.2] * 13,
        [98.2, 98.6, 99.4, 99.8, 0.3, 0.7, 1.1, 1.1, 1.5, 1.9],
        [101.6, 101.6, 101.6, 101.854, 102.362, 102.616, 102.616, 102.616, 102.87, 102.87],
    ],
    ids=["showers-before", "dry-since", "rollover", "tips"],
)
def test_totals_in_drizzle_and_dry_hours(totals, table):
    times = pd.date_range("2024-06-01 12:00", periods=len(totals), freq="10min")
    reports = table("station,time,lat,lon,rain_mm\n" + rows(times=times, amounts=totals))
    assert np.isnan(reports.precipitation_rate.values).all()
    says = "never changes" if len(set(totals)) == 1 else "only rise"
    assert says in reports.attrs["stations_left_out"]


@pytest.mark.parametrize(
    "amounts", [[0.2] * 13, [0] * 13, [0.5, 0.5, 0.5, 0.7, 0.7, 0.9, 0.9, 0.9], [8, 8, 8, 9, 9, 9]]
)
def test_steady_drizzle_and_a_short_downpour_are_amounts(amounts, table):
    times = pd.date_range("2024-06-01 12:00", periods=len(amounts), freq="10min")
    reports = table("station,time,lat,lon,rain_mm\n" + rows(times=times, amounts=amounts))
    np.testing.assert_allclose(reports.precipitation_rate.values, [np.array(amounts) * 6], rtol=1e-6)


def test_totals_of_the_hour_are_no_amounts(table):
    # Ecowitt's export has "Hourly Rain(mm)", which begins at zero with each hour; here under another name
    times = pd.date_range("2024-06-01 12:10", periods=24, freq="10min")
    totals = [round(0.4 * (time.minute // 10 or 6), 1) for time in times]
    reports = table("station,time,lat,lon,rain_mm\n" + rows(times=times, amounts=totals))
    assert np.isnan(reports.precipitation_rate.values).all()


def test_codes_beyond_all_records_are_missing_and_no_totals(table):
    for code in (32767, 6999):
        times = pd.date_range("2024-06-01 12:00", periods=14, freq="10min")
        reports = table("station,time,lat,lon,rain_mm\n" + rows(times=times, amounts=[code] * 14))
        assert reports.attrs["impossible_values"] == "precipitation_rate: 14"
        assert "stations_left_out" not in reports.attrs


# --- Parquet --------------------------------------------------------------------------------------------------


@pytest.fixture
def frame():
    return pd.DataFrame({"station": "A", "time": TEN, "latitude": 46.99, "longitude": 7.46, "rain_mm": AMOUNTS})


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.set_index(["station", "time"]),
        lambda frame: frame.astype({"station": "category", "rain_mm": "Float64"}),
        lambda frame: frame.assign(time=frame.time.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")),
        lambda frame: frame.assign(time=frame.time.dt.time, date=frame.time.dt.date),
        lambda frame: frame.astype({"time": str, "rain_mm": str}),
    ],
    ids=["index", "types", "zone", "date", "texts"],
)
def test_types_of_parquet(change, frame, tmp_path):
    change(frame).to_parquet(tmp_path / "t.parquet")
    assert_right(open_stations(tmp_path / "t.parquet"))


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("time", pd.NaT, "1 rows have no time, the first with A, 0.6"),
        ("station", None, "1 rows have no station, the first with 2024-06-01 12:40"),
        ("rain_mm", True, "'True' in column rain_mm is no number"),
        ("rain_mm", "0.2 mm", "'0.2 mm' in column rain_mm is no number"),
    ],
)
def test_rows_of_parquet_that_lack_something(column, value, says, frame, tmp_path):
    made = frame.copy()
    made[column] = value if column == "rain_mm" else made[column].where(made.index != 3, value)
    made.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ReadError, match=says):
        open_stations(tmp_path / "t.parquet")


def test_a_missing_amount_in_parquet_stays_missing(frame, tmp_path):
    frame["rain_mm"] = pd.array([0.2, None, 1.0, 0.6, 0, 0.4], "Float64")
    frame.to_parquet(tmp_path / "t.parquet")
    made = open_stations(tmp_path / "t.parquet")
    np.testing.assert_allclose(made.precipitation_rate.values, [[1.2, np.nan, 6, 3.6, 0, 2.4]], rtol=1e-6)


# --- what a column states of another --------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["CET", "Europe/Berlin", "+02:00", "2", "-0500", "UTC+2", "7200"])
def test_a_column_of_another_zone_is_refused(zone, table):
    for name in ("timezone", "utc_offset", "Time Zone", "tz"):
        with pytest.raises(ReadError, match=r"states '.*' \(6 rows\), but times are in UTC.*remove the column"):
            table(f"station,time,{name},lat,lon,rain_mm\n" + rows(f"A,{{time}},{zone},46.99,7.46,{{amount}}"))


@pytest.mark.parametrize("zone", ["UTC", "Z", "+00:00", "0", "GMT", "", "Etc/UTC", "UTC+0", "0.0"])
def test_a_column_of_utc_is_read(zone, table):
    assert_right(table("station,time,timezone,lat,lon,rain_mm\n" + rows(f"A,{{time}},{zone},46.99,7.46,{{amount}}")))


def test_units_in_full_and_times_of_a_service(table):
    text = "station,obsTimeUtc,obsTimeLocal,lat,lon,Rainfall amount (millimetres)\n"
    assert_right(table(text + rows("A,{time},{local},46.99,7.46,{amount}")))


def test_times_with_an_offset_need_no_column_of_the_zone(table):
    text = "station,time,timezone,lat,lon,rain_mm\n" + rows("A,{local}+02:00,Europe/Berlin,46.99,7.46,{amount}")
    assert_right(table(text))


@pytest.mark.parametrize(
    ("header", "template"),
    [
        ("station,start_time,end_time,lat,lon,rain_mm", "A,{start},{time},46.99,7.46,{amount}"),
        ("station,end,start,lat,lon,rain_mm", "A,{time},{start},46.99,7.46,{amount}"),
        ("station,time,lat,lon,rain_mm,interval_minutes", "A,{time},46.99,7.46,{amount},5"),
        ("station,time,lat,lon,rain_mm,duration (s)", "A,{time},46.99,7.46,{amount},300"),
        ("station,time,lat,lon,rain_mm,interval", "A,{time},46.99,7.46,{amount},PT5M"),
        ("station,time,lat,lon,rain_mm,period", "A,{time},46.99,7.46,{amount},5min"),
    ],
)
def test_the_length_of_the_interval_of_each_row(header, template, table):
    """Amounts of five minutes every ten minutes, of which the step of the rows would make half the rate."""
    lines = [
        rows(template, [time], [amount], start=f"{time - pd.Timedelta('5min'):%Y-%m-%dT%H:%M}")
        for time, amount in zip(TEN, AMOUNTS, strict=True)
    ]
    reports = table(header + "\n" + "".join(lines))
    assert reports.attrs["interval_minutes"] == 5
    np.testing.assert_allclose(reports.precipitation_rate.values, [np.array(AMOUNTS) * 12], rtol=1e-6)


def test_rows_of_different_lengths_are_left_out_and_numbers_without_units_say_nothing(table):
    lines = [
        rows(f"A,{{time}},46.99,7.46,{{amount}},{h}", [t], [1]) for t, h in zip(TEN, (6, 1, 1, 6, 1, 1), strict=True)
    ]
    with pytest.raises(ReadError, match="rows that state intervals of different lengths"):
        table("station,time,lat,lon,rain_mm,period_h\n" + "".join(lines))
    assert_right(table("station,time,lat,lon,rain_mm,interval\n" + rows("A,{time},46.99,7.46,{amount},7")))


def test_beginnings_that_are_no_beginnings_are_refused(table):
    with pytest.raises(ReadError, match="'start' is not before the end of the interval"):
        table("station,start,end,lat,lon,rain_mm\n" + rows("A,{local},{time},46.99,7.46,{amount}"))


def test_rows_of_several_kinds_of_values_are_refused(table):
    # wetterdienst's long layout: a row for each parameter
    head = "station,parameter,date,value,lat,lon\n"
    body = rows("A,precipitation_height,{time},{amount},46.99,7.46")
    assert_right(table(head + body, rain="value"))
    with pytest.raises(
        ReadError, match=r"'parameter' has 2 kinds of values \(precipitation_duration, precip.*Keep the rows"
    ):
        table(head + body + rows("A,precipitation_duration,{time},10,46.99,7.46"), rain="value")


def test_a_longitude_in_the_column_of_latitudes_is_refused(table):
    with pytest.raises(ReadError, match=r"'(46.99N|7.46E)' in column l\w+ is no number"):
        table("station,time,lat,lon,rain_mm\n" + rows("A,{time},7.46E,46.99N,{amount}"))
