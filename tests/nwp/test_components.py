"""Amounts from their parts, in GRIB of editions 1 and 2 and in NetCDF; buckets, minutes, and numbers of old tables."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers.grib import degrees, encode, write
from hybridcast.errors import ReadError
from hybridcast.nwp import open_nwp

HOUR = np.timedelta64(1, "h")
RUN = np.datetime64("2024-06-01T00", "ns")
PLACE = degrees(52.0, 5.0, 51.3, 5.9, 0.1)


def edition_2(value, steps, number=8, statistic=1, **keys):
    """Return a message of category 1 of table 4.2-0-1 over the step `steps`."""
    given = {
        "productDefinitionTemplateNumber": 8,
        "dataDate": 20240601,
        "dataTime": 0,
        "discipline": 0,
        "parameterCategory": 1,
        "parameterNumber": number,
        "typeOfFirstFixedSurface": 1,
        "typeOfStatisticalProcessing": statistic,
        **keys,
        "stepRange": steps,
    }
    return encode(np.full((8, 10), float(value)), **PLACE, **given)


def edition_1(value, number, hours, table=253, centre=94, **keys):
    """Return a message of a sum since the start (timeRangeIndicator 4)."""
    given = {
        "centre": centre,
        "table2Version": table,
        "indicatorOfParameter": number,
        "timeRangeIndicator": 4,
        "P1": 0,
        "P2": hours,
        "dataDate": 20240601,
        "dataTime": 0,
        **keys,
    }
    return encode(np.full((8, 10), float(value)), edition=1, **PLACE, **given)


def rates(nwp):
    return nwp.precipitation_rate.values[0, :, 3, 4].tolist()


# --- steps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sums", "expected"),
    [
        ({"0-3": 3, "0-6": 9, "6-9": 9, "6-12": 21}, [1, 2, 3, 4]),  # buckets of six hours, as GFS and GEFS
        ({"0-4": 10, "3-4": 2, "0-5": 13, "4-5": 3}, [2, 3]),  # since the start and of the last hour, as HRRR
        ({"0-1": 5}, [5]),
    ],
)
def test_steps_of_messages(tmp_path, sums, expected):
    nwp = open_nwp(write(tmp_path / "s.grib2", *(edition_2(value, step) for step, value in sums.items())))
    assert rates(nwp) == pytest.approx(expected)


def test_steps_in_minutes(tmp_path):
    """ICON-D2 sums since the start every 15 minutes."""
    minutes = {"indicatorOfUnitOfTimeRange": 0, "indicatorOfUnitForTimeRange": 0, "stepUnits": "m"}
    sums = (0.25, 0.75, 1.5, 2.5)
    messages = (edition_2(value, f"0-{15 * k}", 52, **minutes) for k, value in enumerate(sums, 1))
    nwp = open_nwp(write(tmp_path / "m.grib2", *messages))
    assert rates(nwp) == pytest.approx([1, 2, 3, 4])
    assert (nwp.lead_time.values == np.arange(1, 5) * np.timedelta64(15, "m")).all()


def test_means_over_overlapping_steps_beside_instantaneous_rates(tmp_path):
    """GFS has the rate of precipitation both as the mean of its bucket and at the valid time."""
    messages = [edition_2(mean / 3600, f"0-{end}", 7, statistic=0) for mean, end in ((1, 3), (2, 6))]
    instant = {"productDefinitionTemplateNumber": 0, "discipline": 0, "parameterCategory": 1, "parameterNumber": 7}
    values = np.full((8, 10), 9 / 3600)
    messages.append(encode(values, **PLACE, **instant, dataDate=20240601, dataTime=0, stepRange="6"))
    nwp = open_nwp(write(tmp_path / "g.grib2", *messages))
    assert rates(nwp) == pytest.approx([1, 3], rel=1e-3)
    assert nwp.attrs["left_out"] == "instantaneous rates (means over steps are taken)"


def test_a_sum_without_a_step_is_of_unknown_interval(tmp_path):
    """A total precipitation of product definition template 4.0, which has no step."""
    plain = {"discipline": 0, "parameterCategory": 1, "parameterNumber": 8, "stepRange": "6"}
    message = encode(np.full((8, 10), 6.0), **PLACE, productDefinitionTemplateNumber=0, dataTime=0, **plain)
    path = write(tmp_path / "t.grib2", message)
    with pytest.raises(ReadError, match=r"t\.grib2: the interval of precipitation_amount is not stated"):
        open_nwp(path)
    assert rates(open_nwp(path, accumulation="since-start")) == pytest.approx([1.0])
    assert rates(open_nwp(path, accumulation="3h")) == pytest.approx([2.0])


def test_a_sum_before_the_start_is_left_out(tmp_path):
    """FMI's edited forecasts begin with the hour before the run (stepRange -1-0)."""
    messages = [edition_2(2.0, "0-1"), edition_2(7.0, "0-1", forecastTime=-1)]
    nwp = open_nwp(write(tmp_path / "b.grib2", messages[0], _shift(messages[1])))
    assert rates(nwp) == pytest.approx([2.0])
    assert "before the start of the run" in nwp.attrs["left_out"]


def _shift(message):
    """Return a message whose step of one hour begins an hour before its run (negative numbers have a sign bit)."""
    import eccodes

    handle = eccodes.codes_new_from_message(message)
    try:
        eccodes.codes_set(handle, "forecastTime", -1)
        return eccodes.codes_get_message(handle)
    finally:
        eccodes.codes_release(handle)


# --- parts ------------------------------------------------------------------------------------------------------


def test_rain_snow_and_graupel_of_harmonie(tmp_path):
    """Table 253 of HIRLAM, which ecCodes knows for some centres only (here Denmark's): 181, 184 and 201."""
    messages = [
        edition_1(value * hours, number, hours)
        for hours in (1, 2)
        for number, value in ((181, 1.0), (184, 0.5), (201, 0.25))
    ]
    assert rates(open_nwp(write(tmp_path / "h.grib", *messages))) == pytest.approx([1.75, 1.75])


def test_parts_are_added_for_steps_that_have_all(tmp_path):
    write(tmp_path / "1.grib2", edition_2(1.0, "0-1", 65), edition_2(2.0, "0-1", 66), edition_2(4.0, "0-1", 75))
    write(tmp_path / "2.grib2", edition_2(2.0, "1-2", 65), edition_2(2.0, "1-2", 66))
    nwp = open_nwp(tmp_path / "?.grib2")
    assert rates(nwp) == pytest.approx([7.0])
    assert "1 steps without all of rainfall_amount + snowfall_amount + graupel_fall_amount" in nwp.attrs["left_out"]


def test_convective_and_stratiform_parts(tmp_path):
    parts = edition_2(1.0, "0-1", 9), edition_2(2.0, "0-1", 10)
    assert rates(open_nwp(write(tmp_path / "both.grib2", *parts))) == pytest.approx([3.0])
    icon = (
        edition_2(value, "0-1", number) for number, value in ((77, 1.0), (56, 2.0), (76, 4.0), (55, 8.0), (75, 16.0))
    )
    assert rates(open_nwp(write(tmp_path / "icon.grib2", *icon))) == pytest.approx([31.0])
    with pytest.raises(ReadError, match=r"half\.grib2.*convective_precipitation_amount.*no whole amount"):
        open_nwp(write(tmp_path / "half.grib2", parts[1]))


def test_the_whole_amount_is_taken_before_its_parts(tmp_path):
    parts = edition_2(10.0, "0-1", 8), edition_2(2.0, "0-1", 10), edition_2(1.0, "0-1", 65)
    nwp = open_nwp(write(tmp_path / "w.grib2", *parts))
    assert rates(nwp) == pytest.approx([10.0])
    assert "convective_precipitation_amount (the amount is that of precipitation_amount)" in nwp.attrs["left_out"]


def test_rain_alone_says_that_snow_is_missing(tmp_path):
    nwp = open_nwp(write(tmp_path / "r.grib2", edition_2(2.0, "0-1", 65)))
    assert rates(nwp) == pytest.approx([2.0])
    assert "snow (the files hold the amount of rain alone)" in nwp.attrs["left_out"]


def test_parts_in_netcdf(tmp_path):
    coords = {
        "time": ("time", [RUN + HOUR], {"standard_name": "time", "bounds": "time_bnds"}),
        "lat": ("lat", [52.0, 51.9], {"units": "degrees_north"}),
        "lon": ("lon", [5.0, 5.1], {"units": "degrees_east"}),
        "forecast_reference_time": ((), RUN, {"standard_name": "forecast_reference_time"}),
    }
    parts = {
        "rain": (1.0, "rainfall_amount", "kg m-2"),
        "snow": (0.002, "lwe_thickness_of_snowfall_amount", "m"),
    }
    data = xr.Dataset(
        {
            name: (("time", "lat", "lon"), np.full((1, 2, 2), value), {"standard_name": standard, "units": units})
            for name, (value, standard, units) in parts.items()
        },
        coords,
    ).assign(time_bnds=(("time", "nv"), [[RUN, RUN + HOUR]]))
    data.time.encoding = data.time_bnds.encoding = {"units": "seconds since 2024-01-01"}
    data.to_netcdf(tmp_path / "p.nc", engine="h5netcdf")
    assert open_nwp(tmp_path / "p.nc").precipitation_rate.values.ravel().tolist() == pytest.approx([3.0] * 4)


# --- numbers without a short name -----------------------------------------------------------------------------


@pytest.mark.parametrize(("centre", "table", "number"), [(85, 2, 61), (54, 3, 61), (99, 253, 61)])
def test_total_precipitation_by_its_number_in_edition_1(tmp_path, centre, table, number):
    path = write(tmp_path / "n.grib", edition_1(4.0, number, 2, table, centre))
    assert rates(open_nwp(path)) == pytest.approx([2.0])


@pytest.mark.parametrize("centre", [78, 85, 98])
def test_total_precipitation_by_its_number_in_edition_2(tmp_path, centre):
    """EcCodes has a short name for number 8 at some centres only."""
    path = write(tmp_path / "n.grib2", edition_2(4.0, "0-2", centre=centre))
    assert rates(open_nwp(path)) == pytest.approx([2.0])


def test_gusts_of_a_time_come_before_maxima_of_a_step(tmp_path):
    gust = {"discipline": 0, "parameterCategory": 2, "parameterNumber": 22, "typeOfFirstFixedSurface": 1}
    now = encode(np.full((8, 10), 10.0), **PLACE, productDefinitionTemplateNumber=0, **gust, stepRange="1")
    most = {"productDefinitionTemplateNumber": 8, **gust, "typeOfStatisticalProcessing": 2, "stepRange": "0-1"}
    later = encode(np.full((8, 10), 20.0), **PLACE, **most)
    assert float(open_nwp(write(tmp_path / "g.grib2", now, later)).wind_speed_of_gust.max()) == pytest.approx(10.0)
    assert float(open_nwp(write(tmp_path / "m.grib2", later)).wind_speed_of_gust.max()) == pytest.approx(20.0)


def test_total_precipitation_of_ecmwf_in_metres_has_a_local_number(tmp_path):
    """ECMWF's open data: number 193 of category 1, in metres."""
    given = {"productDefinitionTemplateNumber": 8, "centre": 98, "paramId": 228, "stepRange": "0-3"}
    message = encode(np.full((8, 10), 0.006), **PLACE, dataDate=20240601, dataTime=0, **given)
    assert rates(open_nwp(write(tmp_path / "e.grib2", message))) == pytest.approx([2.0], rel=1e-3)


# --- files ------------------------------------------------------------------------------------------------------


def test_index_files_beside_grib_are_skipped(tmp_path):
    write(tmp_path / "gfs.f001", edition_2(2.0, "0-1"))
    for name in ("gfs.f001.idx", "gfs.f001.inv", "gfs.f001.5b7b6.idx", "gfs.index"):
        (tmp_path / name).write_text("1:0:d=2024060100:APCP:surface:0-1 hour acc fcst:\n")
    nwp = open_nwp(tmp_path / "*", strict=True)
    assert rates(nwp) == pytest.approx([2.0])
    assert "unreadable_files" not in nwp.attrs
    with pytest.raises(ReadError, match=r"gfs\.f001\.idx: an index of a GRIB file.*Give the GRIB file itself"):
        open_nwp(tmp_path / "gfs.f001.idx")


@pytest.mark.parametrize("value", [-3.0, 30_000.0])
def test_impossible_amounts_name_the_file(tmp_path, value):
    with pytest.raises(ReadError, match=r"v\.grib2: precipitation_amount runs from .* it lies between -1 and 20000"):
        open_nwp(write(tmp_path / "v.grib2", edition_2(value, "0-1")))


def test_impossible_rates_name_the_file(tmp_path):
    """Amounts of metres that are declared millimetres times 1000 are possible alone, but not within an hour."""
    write(tmp_path / "a.grib2", edition_2(5000.0, "0-1"))
    with pytest.raises(
        ReadError, match=r"a\.grib2: precipitation_rate runs from 5000 to 5000 mm h-1; it lies between 0"
    ):
        open_nwp(tmp_path / "a.grib2")
