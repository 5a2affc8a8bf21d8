"""Forecasts in CF files: refused as observations, the analyses in them read."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
import xarray as xr

from helpers.cf_files import LAEA, TIMES, VALUES, dataset, saved
from hybridcast import Persistence, forecast, save_forecast
from hybridcast.core.field import precipitation
from hybridcast.errors import ForecastFileError, InputWarning
from hybridcast.radar import open_radar

STEP = np.timedelta64(5, "m")
LEADS = {"standard_name": "forecast_period", "units": "minutes"}
START = {"standard_name": "forecast_reference_time"}


def refused(data, path, message):
    with pytest.raises(ForecastFileError, match=message):
        open_radar(saved(data, path))


@pytest.mark.parametrize(
    ("name", "lead", "message"),
    [
        ("forecast_period", ((), 60, LEADS), r"\+60 min"),
        ("fp", ((), 3600, {**LEADS, "units": "s"}), r"\+60 min"),
        ("leadtime", ((), 60, {"units": "minutes"}), r"\+60 min"),
        ("lead_time", ((), 1.0, {"units": "hours"}), r"\+60 min"),
        ("step", ((), np.timedelta64(1, "h")), r"\+60 min"),  # cfgrib
        ("prediction_timedelta", ((), np.timedelta64(1, "h")), r"\+60 min"),  # WeatherBench
        ("lead_time", ((), 12), "lead_time' = 12 without units"),
        ("forecast_period", ("time", [5, 10, 15], LEADS), r"\+5 to \+15 min"),
        ("forecast_reference_time", ((), TIMES[0] - STEP, START), r"\+5 to \+15 min"),
        ("reference_time", ("time", TIMES - STEP), r"\+5 min"),
        ("init_time", ((), TIMES[0] - STEP), r"\+5 to \+15 min"),
        ("init", ((), TIMES[0] - STEP), r"\+5 to \+15 min"),
    ],
)
def test_lead_times_by_any_name(tmp_path, name, lead, message):
    refused(dataset().assign_coords({name: lead}), tmp_path / "a.nc", rf"a\.nc: a forecast \(.*{message}")
    refused(dataset().assign({name: lead}), tmp_path / "b.nc", message)  # a data variable, as some write it


def test_long_series(tmp_path):
    count = 150_000
    times = TIMES[0] + np.arange(count) * STEP
    data = xr.Dataset(
        {"rr": (("time", "y", "x"), np.zeros((count, 1, 1), "i1"), {"units": "mm h-1"})},
        coords={"time": times, "y": [50.0], "x": [7.0]},
    ).rename(y="lat", x="lon")
    refused(data.assign_coords(leadtime=("time", np.full(count, 5), LEADS)), tmp_path / "a.nc", r"\+5 min")


def test_reference_time_as_an_attribute_of_the_file(tmp_path):
    data = dataset().assign_attrs(forecast_reference_time="2020-01-01T00:00:00Z")
    refused(data, tmp_path / "a.nc", r"\+5 to \+15 min")


@pytest.mark.parametrize(
    "coords",
    [
        {"forecast_period": ((), 0, LEADS)},
        {"forecast_period": ("time", [0, 0, 0], LEADS)},
        {"leadtime": ((), 0)},
        {"forecast_reference_time": ("time", TIMES, START)},
        {"forecast_reference_time": ((), TIMES[-1], START)},
    ],
)
def test_analyses_are_read(tmp_path, coords):
    field = open_radar(saved(dataset().assign_coords(coords), tmp_path / "a.nc"))
    np.testing.assert_array_equal(field, VALUES)
    assert field.time.values.tolist() == TIMES.tolist()


def test_frames_after_the_reference_time_are_left_out(tmp_path):
    data = dataset().assign_coords(forecast_reference_time=((), TIMES[1], START))
    with pytest.warns(InputWarning, match=r"forecasts in it \(\+5 min\) were left out"):
        field = open_radar(saved(data, tmp_path / "a.nc"))
    np.testing.assert_array_equal(field, VALUES[:2])


def test_analysis_among_lead_times_gets_its_valid_time(tmp_path):
    data = dataset().drop_vars("time").rename(time="step")
    leads = {"step": ("step", [0, 5, 10], LEADS), "time": ((), TIMES[0], START)}
    with pytest.warns(InputWarning, match=r"\+5 to \+10 min"):
        field = open_radar(saved(data.assign_coords(leads), tmp_path / "a.nc"))
    np.testing.assert_array_equal(field, VALUES[:1])
    assert field.time.values.tolist() == TIMES[:1].tolist()


def test_analyses_of_several_runs_as_cfgrib_arranges_them(tmp_path):
    # cfgrib: time is the reference time, step the lead time, and valid_time has both dimensions
    runs = xr.concat([dataset().drop_vars("time").rename(time="step") + k for k in (0, 100)], "time")
    runs["rr"].attrs.update(dataset()["rr"].attrs)
    leads, starts = np.arange(3) * STEP, TIMES[[0, 2]]
    runs = runs.assign_coords(
        step=("step", leads.astype("m8[ns]")),
        time=("time", starts, START),
        valid_time=(("time", "step"), starts[:, None] + leads, {"standard_name": "time"}),
    )
    runs["laea"] = dataset()["laea"]
    with pytest.warns(InputWarning, match="left out"):
        field = open_radar(saved(runs, tmp_path / "a.nc"))
    np.testing.assert_array_equal(field, np.stack([VALUES[0], VALUES[0] + 100]))
    assert field.time.values.tolist() == starts.tolist()
    refused(runs.isel(step=[1, 2]), tmp_path / "b.nc", r"\+5 to \+10 min")


def test_our_own_forecast_is_no_observation(tmp_path):
    field = precipitation(
        np.tile(VALUES[:1], (3, 8, 8)), time=TIMES, y=np.arange(24) * -1e3, x=np.arange(32) * 1e3, crs=LAEA
    )
    made = forecast(field, lead_time="10min", nowcaster=Persistence())
    save_forecast(made, tmp_path / "forecast.nc")
    with pytest.raises(ForecastFileError, match=r"forecast\.nc: a forecast \(\+5 to \+10 min\)"):
        open_radar(tmp_path / "forecast.nc")
    one = made[["precipitation_rate"]].isel(lead_time=0)
    refused(one, tmp_path / "one.nc", r"\+5 min")
    made[["precipitation_rate"]].to_zarr(tmp_path / "forecast.zarr", consolidated=False)
    with pytest.raises(ForecastFileError, match=r"forecast\.zarr"):
        open_radar(tmp_path / "forecast.zarr")


@pytest.mark.pysteps
def test_file_of_the_exporter_of_pysteps(tmp_path):
    exporters = pytest.importorskip("pysteps.io.exporters")
    metadata = {"unit": "mm/h", "x1": 4e6, "x2": 4.004e6, "y1": 3e6, "y2": 3.003e6, "yorigin": "upper"}
    metadata |= {"projection": "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80"}
    exporter = exporters.initialize_forecast_exporter_netcdf(
        str(tmp_path), "nowcast", datetime.datetime(2020, 1, 1), 5, 3, (3, 4), {**metadata, "cartesian_unit": "m"}
    )
    exporters.export_forecast_dataset(VALUES, exporter)
    exporters.close_forecast_files(exporter)
    with pytest.raises(ForecastFileError, match=r"'forecast time', from 2020-01-01 00:00:00"):
        open_radar(tmp_path / "nowcast.nc")
    with xr.open_dataset(tmp_path / "nowcast.nc") as data:  # its time lost on the way
        refused(data.isel(time=0).drop_vars("time"), tmp_path / "rr_202001010005.nc", "pysteps-generated nowcast")


def test_forecasts_are_left_out_of_a_sequence(tmp_path):
    for k in range(3):
        lead = ((), 0 if k < 2 else 5, LEADS)
        saved(dataset().isel(time=[k]).assign_coords(forecast_period=lead), tmp_path / f"{k}.nc")
    field = open_radar(str(tmp_path / "*.nc"))
    np.testing.assert_array_equal(field, VALUES[:2])


@pytest.mark.parametrize(
    ("attrs", "message"),
    [({"forecast_hour": 3}, "forecast_hour = 3"), ({"title": "Deterministic nowcast"}, "its title is 'Deterministic")],
)
def test_attributes_and_titles_of_forecasts(tmp_path, attrs, message):
    refused(dataset().assign_attrs(attrs), tmp_path / "a.nc", message)
    analysis = {name: 0 if name == "forecast_hour" else value for name, value in attrs.items()}
    data = dataset().assign_attrs(analysis).assign_coords(forecast_period=((), 0, LEADS))
    np.testing.assert_array_equal(open_radar(saved(data, tmp_path / "b.nc")), VALUES)


def test_a_described_forecast_without_its_times(tmp_path):
    data = dataset(long_name="forecast precipitation rate")
    refused(data, tmp_path / "a.nc", "is the 'forecast precipitation rate'")


def test_an_office_of_forecasts_is_none(tmp_path):
    data = dataset(long_name="radar rainfall").assign_attrs(
        title="Radar composite of the Forecast Office, Nowcasting SAF"
    )
    np.testing.assert_array_equal(open_radar(saved(data, tmp_path / "a.nc")), VALUES)


# --- cases of public reports ----------------------------------------------------------------------------------


def test_lead_times_in_numbers_without_units(tmp_path):
    # icenet-ai/icenet #13: leadtime counts days, and does not say so
    data = dataset().drop_vars("time").rename(time="leadtime").assign_coords(time=((), TIMES[0]))
    refused(data.assign_coords(leadtime=[1, 2, 3]), tmp_path / "a.nc", "leadtime' = 1, 2, 3 without units")
    with pytest.warns(InputWarning, match="left out"):
        field = open_radar(saved(data.assign_coords(leadtime=[0, 1, 2]), tmp_path / "b.nc"))
    np.testing.assert_array_equal(field, VALUES[:1])


def test_a_lead_time_that_is_the_interval_of_a_sum_is_no_observation(tmp_path):
    # dtcenter/MET #1222: PCP_combine wrote the accumulation time as lead time; which it is cannot be known
    data = dataset("mm", "rainfall_amount", accumulation_period="1 h").isel(time=[0])
    data = data.assign_coords(forecast_reference_time=((), TIMES[0] - np.timedelta64(1, "h"), START))
    refused(data, tmp_path / "a.nc", r"\+60 min")
