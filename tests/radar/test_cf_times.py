"""Times of CF files in all the forms in which they are stored."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers.cf_files import TIMES, VALUES, dataset, saved
from hybridcast.errors import InputWarning, ReadError
from hybridcast.radar import cf

EPOCH = np.datetime64("1970-01-01", "s")
SECONDS = (TIMES - EPOCH) / np.timedelta64(1, "s")


def timed(numbers, units=None, dtype=None, **attrs):
    data = dataset()
    values = np.asarray(numbers) if dtype is None else np.asarray(numbers, dtype)
    return data.assign_coords(time=("time", values, {**({"units": units} if units else {}), **attrs}))


@pytest.mark.parametrize(
    ("numbers", "units", "dtype"),
    [
        (SECONDS, "seconds since 1970-01-01", "i4"),
        (SECONDS, "seconds since 1970-01-01 00:00:00 UTC", "f8"),
        (SECONDS + 7200, "seconds since 1970-01-01 00:00:00 +02:00", "i8"),
        (SECONDS / 86400, "days since 1970-01-01", "f8"),
        (SECONDS / 3600 - 438288, "hours since 2020-01-01", "f4"),  # 2020-01-01 is hour 438288
        (SECONDS / 60, "minutes since 1970-01-01 00:00", "i8"),
        (20200101 + np.array([5, 10, 15]) / 1440, "day as %Y%m%d.%f", "f8"),  # cdo -a
        (["2020-01-01T00:05:00Z", "2020-01-01T00:10:00Z", "2020-01-01T00:15:00Z"], None, None),
        (["2020-01-01 02:05+02:00", "2020-01-01 02:10+02:00", "2020-01-01 02:15+02:00"], None, None),
        ([b"2020-01-01_00:05:00", b"2020-01-01_00:10:00", b"2020-01-01_00:15:00"], None, None),  # WRF
    ],
)
def test_times_in_many_forms(tmp_path, numbers, units, dtype):
    field = cf.read(saved(timed(numbers, units, dtype), tmp_path / "a.nc"))
    assert field.time.values.tolist() == TIMES.tolist()
    np.testing.assert_array_equal(field, VALUES)


@pytest.mark.parametrize(
    ("numbers", "units", "dtype"),
    [(SECONDS, "seconds since 1970-01-01", "f4"), (SECONDS / 86400, "days since 1970-01-01", "f4")],
)
def test_times_that_lost_their_seconds_are_refused(tmp_path, numbers, units, dtype):
    # pysteps and others read such files 5 minutes off: 32-bit floats hold seconds since 1970 to 128 s
    with pytest.raises(ReadError, match=r"times 'time' were stored as float32 .* to \d+ s only"):
        cf.read(saved(timed(numbers, units, dtype), tmp_path / "a.nc"))


def test_whole_numbers_as_32_bit_floats_are_exact(tmp_path):
    field = cf.read(saved(timed([5, 10, 15], "minutes since 2020-01-01", "f4"), tmp_path / "a.nc"))
    assert field.time.values.tolist() == TIMES.tolist()


def test_julian_calendar_of_gpm_is_that_of_today(tmp_path):
    # IMERG: "seconds since 1980-01-06 00:00:00 UTC" in a calendar "julian"
    since = SECONDS - float((np.datetime64("1980-01-06", "s") - EPOCH).astype(int))
    data = timed(since, "seconds since 1980-01-06 00:00:00 UTC", "i4", calendar="julian")
    with pytest.warns(InputWarning, match="called julian"):
        field = cf.read(saved(data, tmp_path / "a.nc"))
    assert field.time.values.tolist() == TIMES.tolist()


@pytest.mark.parametrize(
    ("units", "calendar"),
    [("hours since 2001-01-01", "360_day"), ("hours since 2001-01-01", "noleap"), ("days since 0001-01-01", "julian")],
)
def test_calendars_of_models_are_refused(tmp_path, units, calendar):
    with pytest.raises(ReadError, match="cannot be decoded"):
        cf.read(saved(timed([730000.0, 730001.0, 730002.0], units, "f8", calendar=calendar), tmp_path / "a.nc"))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (SECONDS.astype("i8"), "1577837100, without units"),
        ([1, 2, 3], "1, without units"),
        (["01.02.2020"] * 3, "01.02"),
    ],
)
def test_times_without_units_are_refused(tmp_path, numbers, message):
    with pytest.raises(ReadError, match=f"cannot be decoded.*{message}"):
        cf.read(saved(timed(numbers), tmp_path / "a.nc"))


def test_a_dimension_of_time_without_a_coordinate_is_refused(tmp_path):
    with pytest.raises(ReadError, match="cannot be decoded"):
        cf.read(saved(dataset().drop_vars("time"), tmp_path / "rr_202001010005.nc"))


def test_units_that_cannot_be_decoded_name_the_file(tmp_path):
    with pytest.raises(ReadError, match=r"a\.nc: its attributes cannot be decoded"):
        cf.read(saved(timed([1, 2, 3], "months since 2020-01-01"), tmp_path / "a.nc"))


def test_times_of_cells_are_left_alone(tmp_path):
    data = dataset()
    data["seen"] = xr.full_like(data["rr"], 1577837100.0).drop_attrs().assign_attrs(units="seconds since 1970-01-01")
    np.testing.assert_array_equal(cf.read(saved(data, tmp_path / "a.nc")), VALUES)


@pytest.mark.parametrize(
    "epoch",
    [
        "2020-01-01 00:00 CET",  # xarray leaves the zone out without a word
        "2020-01-01 00:00 EST",
        "2020-01-01 00:00 local",
        "01/02/2020",  # February in Europe
        "01-02-2020 00:00",
    ],
)
def test_dates_and_zones_with_several_meanings_are_refused(tmp_path, epoch):
    with pytest.raises(ReadError, match=f"read in several ways, 'minutes since {epoch}'"):
        cf.read(saved(timed([5, 10, 15], f"minutes since {epoch}", "i4"), tmp_path / "a.nc"))


@pytest.mark.parametrize(
    "epoch", ["2020-1-1", "2020-01-01T00:00:00Z", "20200101", "2020-01-01 01:00:00.0 +1:00", "2020-1-1 0:00:00 0:00"]
)
def test_dates_in_several_spellings(tmp_path, epoch):
    field = cf.read(saved(timed([5, 10, 15], f"minutes since {epoch}", "i4"), tmp_path / "a.nc"))
    assert field.time.values.tolist() == TIMES.tolist()


def test_the_only_time_of_a_file_that_no_attribute_names(tmp_path):
    one = dataset().isel(time=1).reset_coords("time")
    field = cf.read(saved(one, tmp_path / "a.nc"))
    assert field.time.values.tolist() == TIMES[1:2].tolist()
    np.testing.assert_array_equal(field[0], VALUES[1])
