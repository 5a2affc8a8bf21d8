"""Times as people write them; the cases are those of users who gave local times, numbers and file stamps as times."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hybridcast.core.times import as_datetime64, as_times
from hybridcast.errors import InputError

ELEVEN = np.datetime64("2024-06-01T11:00", "ns")
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "time",
    [
        "2024-06-01T11:00",
        "2024-06-01 11:00:00",
        "2024-06-01t11:00z",
        "2024-06-01T11",
        "20240601T1100",
        "20240601T110000Z",
        "2024-W22-6T11:00",
        "2024-06-01T13:00+02:00",
        "2024-06-01T06:00:00.000-05:00",
        "2024-06-01 11:00 UTC",
        " 2024-06-01T11:00GMT ",
        b"2024-06-01T11:00",
        np.datetime64("2024-06-01T11"),
        np.array("2024-06-01T11", "datetime64[h]"),
        xr.DataArray(np.datetime64("2024-06-01T11:00", "ns")),
        np.str_("2024-06-01T11:00"),
        datetime(2024, 6, 1, 11),
        datetime(2024, 6, 1, 11, tzinfo=UTC),
        datetime(2024, 6, 1, 13, tzinfo=BERLIN),
        datetime(2024, 6, 1, 5, 30, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
        pd.Timestamp("2024-06-01 13:00", tz="Europe/Berlin"),
        pd.Timestamp("2024-06-01 11:00"),
        cftime.DatetimeGregorian(2024, 6, 1, 11),
        cftime.DatetimeProlepticGregorian(2024, 6, 1, 11),
    ],
    ids=repr,
)
def test_every_way_to_write_a_time(time):
    made = as_datetime64(time)
    assert made == ELEVEN
    assert made.dtype == "datetime64[ns]"


def test_a_date_is_its_midnight():
    assert as_datetime64(date(2024, 6, 1)) == as_datetime64("2024-06-01") == np.datetime64("2024-06-01")


@pytest.mark.parametrize(
    "time",
    [
        "202406011100",
        "20240601110000",
        "2024",
        "2024-06",
        "202406",
        "01.06.2024 11:00",
        "06/01/2024 11:00",
        "2024-06-31T11:00",
        "2024-06-01T25:00",
        "11:00",
        "noon",
        "",
        "2024-06-01T11:00 CEST",
        1717239600,
        1717239600.0,
        np.int64(202406011100),
        None,
        True,
        pd.NaT,
        np.datetime64("NaT"),
        cftime.DatetimeNoLeap(2024, 6, 1, 11),
        cftime.Datetime360Day(2024, 6, 1, 11),
        cftime.DatetimeJulian(2024, 6, 1, 11),
    ],
    ids=repr,
)
def test_what_is_no_single_time_is_refused_with_an_example(time):
    with pytest.raises(InputError, match=r"ISO 8601: .*'2017-05-09T12:00'"):
        as_datetime64(time)


def test_years_beyond_nanoseconds_do_not_wrap_around():
    """numpy turns the year 3000 into 1830 without a word."""
    with pytest.raises(InputError, match="between 1678 and 2262"):
        as_datetime64(datetime(3000, 1, 1))
    with pytest.raises(InputError, match="between 1678 and 2262"):
        as_times(np.array(["3000-01-01"], "datetime64[D]"))


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2024-06-01 13:00", periods=2, freq="5min", tz="Europe/Berlin"),
        list(pd.date_range("2024-06-01 13:00", periods=2, freq="5min", tz="Europe/Berlin")),
        pd.Series(pd.date_range("2024-06-01 13:00", periods=2, freq="5min", tz="Europe/Berlin")),
        [datetime(2024, 6, 1, 13, 5 * k, tzinfo=BERLIN) for k in range(2)],
        ["2024-06-01T13:00+02:00", "2024-06-01T11:05Z"],
        xr.date_range("2024-06-01T11:00", periods=2, freq="5min", use_cftime=True),
        xr.DataArray(np.array(["2024-06-01T11:00", "2024-06-01T11:05"], "datetime64[s]")),
        np.array([b"2024-06-01T11:00", b"2024-06-01T11:05"]),
    ],
    ids=lambda times: type(times).__name__,
)
def test_several_times(times, recwarn):
    """numpy ignores zones in text with a warning, and takes wall clocks of aware objects for UTC."""
    np.testing.assert_array_equal(as_times(times), ELEVEN + np.arange(2) * np.timedelta64(5, "m"))
    assert not recwarn.list


def test_one_time_makes_an_array_and_numbers_are_refused():
    assert as_times("2024-06-01T11:00").tolist() == np.array([ELEVEN]).tolist()
    for numbers in ([0, 1], np.arange(3), [1.5]):
        with pytest.raises(InputError, match="times of type"):
            as_times(numbers)


def test_a_masked_time_is_missing():
    times = np.ma.masked_array(ELEVEN + np.arange(2) * np.timedelta64(5, "m"), mask=[False, True])
    with pytest.raises(InputError, match="a time is masked"):
        as_times(times)
    assert as_times(np.ma.masked_array([ELEVEN], mask=[False])).size == 1
