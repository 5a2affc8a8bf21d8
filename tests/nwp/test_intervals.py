"""Intervals of amounts in NetCDF: known from bounds, attributes, cell_methods or words, or refused with a remedy."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from hybridcast.errors import InputError, InputWarning, ReadError
from hybridcast.nwp import open_nwp
from hybridcast.nwp.accumulations import counts_since_start

HOUR = np.timedelta64(1, "h")
RUN = np.datetime64("2024-06-01T00", "ns")
#: Rain of five hours, mm; no sequence of sums can be taken for these by chance.
HOURLY = [4.0, 1.0, 3.0, 2.0, 5.0]
SINCE_START = np.cumsum(HOURLY)


def written(path, amounts, attrs=None, name="tp", run=RUN, first=1, units="kg m-2"):
    """Write amounts, the same everywhere or an array ``(time, latitude, longitude)``, at hourly valid times."""
    values = np.asarray(amounts, float)
    values = values[:, None, None] * np.ones((1, 8, 10)) if values.ndim == 1 else values
    coords = {
        "time": ("time", run + (first + np.arange(len(values))) * HOUR, {"standard_name": "time"}),
        "latitude": ("latitude", 52 - 0.1 * np.arange(values.shape[1]), {"units": "degrees_north"}),
        "longitude": ("longitude", 5 + 0.1 * np.arange(values.shape[2]), {"units": "degrees_east"}),
        "forecast_reference_time": ((), run, {"standard_name": "forecast_reference_time"}),
    }
    rain = {"units": units, "standard_name": "precipitation_amount", **(attrs or {})}
    xr.Dataset({name: (("time", "latitude", "longitude"), values, rain)}, coords).to_netcdf(path, engine="h5netcdf")
    return path


def rates(nwp):
    return nwp.precipitation_rate.values[0, :, 3, 4].tolist()


@pytest.mark.parametrize(
    "attrs",
    [
        {"cell_methods": "time: sum (interval: 1 hour)"},
        {"accumulation_interval_minutes": 60},
        {"long_name": "1-hour accumulated precipitation"},
        {"long_name": "precipitation amount in the last hour"},
        {"comment": "accumulated over the previous 60 min"},
        {"GRIB_name": "Hourly precipitation"},
    ],
)
def test_amounts_of_each_hour_by_what_the_file_states(tmp_path, attrs):
    assert rates(open_nwp(written(tmp_path / "h.nc", HOURLY, attrs))) == pytest.approx(HOURLY)


def test_amounts_of_each_hour_by_the_name_of_the_variable(tmp_path):
    path = written(tmp_path / "h.nc", HOURLY, name="precipitation_amount_1h")
    assert rates(open_nwp(path)) == pytest.approx(HOURLY)


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("tp", {"long_name": "total precipitation since the start of the forecast"}),
        ("tp", {"description": "Accumulated from model start"}),
        ("precipitation_amount_acc", {"long_name": "Accumulated total precipitation"}),  # MET Norway's MEPS
        ("tp", {"GRIB_stepType": "accum", "GRIB_centre": "ecmf", "GRIB_dataType": "fc"}),  # ECMWF through cfgrib
    ],
)
def test_sums_since_the_start_by_what_the_file_states(tmp_path, name, attrs):
    assert rates(open_nwp(written(tmp_path / "s.nc", SINCE_START, attrs, name))) == pytest.approx(HOURLY)


@pytest.mark.parametrize(
    "amounts",
    [HOURLY, [1, 2, 3, 4, 5], SINCE_START],  # falling, rising by chance, and since the start
    ids=["falling", "rising", "since-start"],
)
def test_without_any_statement_the_remedy_is_to_state_it(tmp_path, amounts):
    path = written(tmp_path / "u.nc", amounts)
    with pytest.raises(
        ReadError, match=r"u\.nc: the interval of precipitation_amount is not stated.*'since-start'"
    ) as e:
        open_nwp(path)
    assert "--nwp-accumulation since-start" in e.value.for_command_line
    assert "--nwp-accumulation 1h" in e.value.for_command_line
    assert rates(open_nwp(path, accumulation="1h")) == pytest.approx(list(amounts))


def test_stated_since_the_start(tmp_path):
    assert rates(open_nwp(written(tmp_path / "s.nc", SINCE_START), accumulation="since-start")) == pytest.approx(HOURLY)


def test_what_is_stated_wrongly_is_refused(tmp_path):
    """Amounts of single hours fall again and again; sums since the start do not."""
    with pytest.raises(ReadError, match=r"w\.nc: .* falls again and again.*accumulation='1h'"):
        open_nwp(written(tmp_path / "w.nc", HOURLY), accumulation="since-start")
    with pytest.raises(InputError, match="accumulation = 'hourly'; it is 'since-start' or the interval"):
        open_nwp(written(tmp_path / "w2.nc", HOURLY), accumulation="hourly")


def test_a_sum_since_midnight_starts_anew_once(tmp_path):
    """ERA5-Land sums since 00 UTC: a run of 21 UTC has 4, 5, 8 mm and then 2, 7 mm."""
    path = written(tmp_path / "m.nc", [4, 5, 8, 2, 7], run=np.datetime64("2024-06-01T21", "ns"))
    assert rates(open_nwp(path, accumulation="since-start")) == pytest.approx(HOURLY)


def test_the_first_lead_times_may_be_missing(tmp_path):
    nwp = open_nwp(written(tmp_path / "l.nc", SINCE_START[2:], first=3), accumulation="since-start")
    assert rates(nwp) == pytest.approx([8 / 3, 2, 5])
    nwp = open_nwp(written(tmp_path / "l2.nc", HOURLY[2:], first=3), accumulation="1h")
    assert rates(nwp) == pytest.approx(HOURLY[2:])


@pytest.mark.parametrize("missing", [np.nan, 9.969209968386869e36])
def test_the_sum_at_the_start_may_be_missing(tmp_path, missing):
    """MET Norway's first step is never written, and the fill value of netCDF not declared (metno/NWPdocs, issue 18)."""
    path = written(tmp_path / "z.nc", [missing, *SINCE_START], first=0)
    assert rates(open_nwp(path, accumulation="since-start")) == pytest.approx(HOURLY)


def test_a_value_never_written_later_is_missing(tmp_path):
    amounts = SINCE_START[:, None, None] * np.ones((1, 8, 10))
    amounts[2, 3, 4] = 9.969209968386869e36
    nwp = open_nwp(written(tmp_path / "z.nc", amounts), accumulation="since-start")
    assert np.isnan(rates(nwp)[2])
    assert np.isnan(nwp.precipitation_rate.values).sum() == 2  # the hours before and after it


@pytest.mark.parametrize("code", [-999.0, 9.96921e33, -32767.0])
def test_an_undeclared_code_is_refused_by_name(tmp_path, code):
    path = written(tmp_path / "c.nc", [*SINCE_START[:-1], code])
    with pytest.raises(ReadError, match=r"c\.nc: precipitation_amount runs from .*declare a code for missing"):
        open_nwp(path, accumulation="since-start")


def test_the_interval_of_the_original_data_is_no_interval_of_the_sum(tmp_path):
    """By CF 7.3, (interval: 60 s) is the time step of the model that was summed."""
    with pytest.raises(ReadError, match="is not stated"):
        open_nwp(written(tmp_path / "o.nc", SINCE_START, {"cell_methods": "time: sum (interval: 60 s)"}))


def test_overlapping_sums_are_left_out_by_number(tmp_path):
    """Sums of three hours at each hour: only every third one is of hours of its own."""
    running = [1.5, 3.0, 6.0, 9.0, 6.0, 3.0, 0.0]
    nwp = open_nwp(written(tmp_path / "r.nc", running, first=3), accumulation="3h")
    assert rates(nwp) == pytest.approx([0.5, 3.0, 0.0])
    assert (nwp.lead_time.values == np.array([3, 6, 9]) * HOUR).all()
    assert nwp.attrs["left_out"] == "4 sums over intervals that overlap those before"


def test_sums_that_never_fall_while_rain_ends_are_since_the_start(tmp_path):
    """A shower passes over a field of 40 x 50 cells; where it has gone, the sum stays the same."""
    x = np.arange(50)
    hourly = np.stack([np.where(np.abs(x - 10 * k) < 8, 2.0 + 0.1 * k, 0.0) * np.ones((40, 1)) for k in range(1, 5)])
    sums = np.cumsum(hourly, axis=0)
    assert counts_since_start(list(sums))
    assert not counts_since_start(list(hourly))
    assert not counts_since_start([np.full((40, 50), value) for value in (2.0, 2.0, 2.0)])  # steady rain of each hour
    assert not counts_since_start([np.full((40, 50), value) for value in (1.0, 2.0, 3.0)])  # growing rain of each hour
    with pytest.warns(InputWarning, match=r"s\.nc: the interval .* no sum falls, read as since the start") as caught:
        nwp = open_nwp(written(tmp_path / "s.nc", sums))
    assert "--nwp-accumulation since-start" in caught[0].message.for_command_line
    np.testing.assert_allclose(nwp.precipitation_rate.values[0], hourly, atol=1e-4)


def test_a_flux_with_bounds_is_the_mean_of_its_step(tmp_path):
    path = written(
        tmp_path / "f.nc",
        np.array([1.0, 2, 3, 1, 0]) / 3600,
        {"standard_name": "precipitation_flux"},
        units="kg m-2 s-1",
    )
    assert rates(open_nwp(path)) == pytest.approx([1, 2, 3, 1, 0])


def test_two_runs_with_other_lead_times_in_two_files(tmp_path):
    stated = {"cell_methods": "time: sum (interval: 1 hour)"}
    a = written(tmp_path / "a.nc", [4, 1], stated)
    b = written(tmp_path / "b.nc", [7, 2, 3], stated, run=RUN + 6 * HOUR)
    nwp = open_nwp([b, a])
    assert nwp.precipitation_rate.values[:, :, 0, 0][0, :2].tolist() == [4, 1]
    assert nwp.precipitation_rate.values[:, :, 0, 0][1].tolist() == [7, 2, 3]
    assert np.isnan(nwp.precipitation_rate.values[0, 2]).all()


def test_the_start_of_the_run_is_stated(tmp_path):
    path = written(tmp_path / "n.nc", HOURLY, {"cell_methods": "time: sum (interval: 1 hour)"})
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        opened.load().drop_vars("forecast_reference_time").to_netcdf(tmp_path / "o.nc", engine="h5netcdf")
    with pytest.raises(ReadError, match=r"o\.nc: .*run='2024-06-01T00'") as error:
        open_nwp(tmp_path / "o.nc")
    assert "--nwp-run" in error.value.for_command_line
    nwp = open_nwp(tmp_path / "o.nc", run="2024-06-01T00")
    assert nwp.reference_time.values == [RUN]
    assert rates(nwp) == pytest.approx(HOURLY)


def test_bounds_of_lead_times_in_hours(tmp_path):
    """Lead times as numbers with units, and their bounds, as the Met Office writes them."""
    path = written(tmp_path / "b.nc", HOURLY)
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        data = opened.load()
    hours = np.arange(1, 6)
    lead = ("time", hours, {"standard_name": "forecast_period", "units": "hours", "bounds": "forecast_period_bnds"})
    data = data.assign_coords(forecast_period=lead)
    data["forecast_period_bnds"] = (("time", "bnds"), np.stack([hours - 1, hours], axis=1))
    data.to_netcdf(tmp_path / "c.nc", engine="h5netcdf")
    assert rates(open_nwp(tmp_path / "c.nc")) == pytest.approx(HOURLY)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("forecast_reference_time", "2024-06-01T00:00:00Z"),
        ("init_time", "2024-06-01 00:00 UTC"),
        ("SIMULATION_START_DATE", "2024-06-01_00:00:00"),
    ],
)
def test_the_start_of_the_run_in_a_global_attribute(tmp_path, name, text):
    path = written(tmp_path / "n.nc", HOURLY, {"cell_methods": "time: sum (interval: 1 hour)"})
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        data = opened.load().drop_vars("forecast_reference_time").assign_attrs({name: text})
    data.to_netcdf(tmp_path / "o.nc", engine="h5netcdf")
    nwp = open_nwp(tmp_path / "o.nc")
    assert nwp.reference_time.values == [RUN]
    assert rates(nwp) == pytest.approx(HOURLY)
