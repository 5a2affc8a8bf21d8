"""Forecasts in CF files: refused as observations, the analyses in them read."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
import xarray as xr

from helpers.cf_files import LAEA, TIMES, VALUES, dataset, saved
from hybridcast import Persistence, forecast, save_forecast
from hybridcast.core.field import precipitation
from hybridcast.errors import ForecastFileError, InputWarning, ReadError
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


# --- forecasts that say so in other places --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "attrs", "message"),
    [
        ("forecast_lead", [5, 10, 15], {"units": "minutes"}, r"\+5 to \+15 min"),
        ("lead_time_minutes", [5, 10, 15], {}, r"\+5 to \+15 min"),
        ("lead_minutes", [5, 10, 15], {}, r"\+5 to \+15 min"),
        ("forecast_hours", [1, 2, 3], {}, r"\+60 to \+180 min"),
        ("horizon", [5, 10, 15], {"units": "minutes"}, r"\+5 to \+15 min"),
        ("tau", [1, 2, 3], {"units": "h", "long_name": "forecast lead time"}, r"\+60 to \+180 min"),
        ("offset", [300, 600, 900], {"units": "s", "long_name": "time since start of forecast"}, r"\+5 to \+15 min"),
    ],
)
def test_lead_times_with_their_unit_in_the_name_or_by_description(tmp_path, name, values, attrs, message):
    refused(dataset().assign({name: ("time", values, attrs)}), tmp_path / "a.nc", message)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nowcast_start", "2020-01-01T00:00:00Z"),
        ("base_time", "2020-01-01T00:00Z"),  # Rainfields of the Bureau of Meteorology
        ("SIMULATION_START_DATE", "2020-01-01_00:00:00"),  # WRF
        ("issue_time", "2020-01-01 00:00 UTC"),
        ("reference_time", "202001010000"),
        ("forecast_reference_time", np.int64(202001010000)),
    ],
)
def test_reference_times_in_other_spellings(tmp_path, name, value):
    refused(dataset().assign_attrs({name: value}), tmp_path / "a.nc", r"\+5 to \+15 min")
    refused(dataset().assign({name: ((), value)}), tmp_path / "b.nc", r"\+5 to \+15 min")


def test_a_start_of_a_forecast_that_cannot_be_read_is_refused(tmp_path):
    data = dataset().assign_attrs(forecast_start="01/02/2020 at noon")
    refused(data, tmp_path / "a.nc", "forecast_start = 01/02/2020 at noon, a time of issue that cannot be read")


def test_netcdf_made_by_wgrib2(tmp_path):
    # its variable of time has the reference time, and a type that is 2 for analyses of several times
    data = dataset()
    data["time"].attrs |= {"reference_time": 1577836800.0, "reference_date": "2020.01.01 00:00:00 UTC"}
    data["time"].attrs["reference_time_type"] = 3
    refused(data, tmp_path / "a.nc", r"\+5 to \+15 min")
    data["time"].attrs["reference_time_type"] = 2
    np.testing.assert_array_equal(open_radar(saved(data, tmp_path / "b.nc")), VALUES)


def test_the_base_time_of_arm_is_no_start_of_a_forecast(tmp_path):
    data = dataset().assign(base_time=((), np.int64(1577836800), {"long_name": "Base time in Epoch"}))
    np.testing.assert_array_equal(open_radar(saved(data, tmp_path / "a.nc")), VALUES)


def test_times_since_the_start_of_a_scan_are_no_lead_times(tmp_path):
    data = dataset().assign(elapsed=("time", [5.0, 5.0, 6.0], {"units": "s", "long_name": "time since start of scan"}))
    np.testing.assert_array_equal(open_radar(saved(data, tmp_path / "a.nc")), VALUES)


def test_names_of_the_met_office_state_the_lead_time(tmp_path):
    data = dataset().isel(time=1)
    refused(data, tmp_path / "20200101T0010Z-PT0000H15M-rainfall_rate.nc", "its name states a lead time, PT0000H15M")
    for name in ("20200101T0010Z-PT0000H00M-rainfall_rate.nc", "20200101T0010Z-PT0000H00M-rain-PT01H.nc"):
        np.testing.assert_array_equal(open_radar(saved(data, tmp_path / name))[0], VALUES[1])


@pytest.mark.parametrize("name", ["precip_forecast", "rainrate_nowcast", "fcst_rain"])
def test_variables_called_forecasts(tmp_path, name):
    refused(dataset().rename(rr=name), tmp_path / "a.nc", f"by the name of '{name}'")


def test_times_called_those_of_a_nowcast(tmp_path):
    refused(dataset().rename(time="nowcast_time"), tmp_path / "a.nc", "by the name of 'nowcast_time'")


@pytest.mark.parametrize(
    "attrs",
    [{"product": "nowcast"}, {"product_type": "Forecast"}, {"source": "pysteps STEPS nowcast"}, {"data_type": "fc"}],
)
def test_products_called_forecasts(tmp_path, attrs):
    refused(dataset().assign_attrs(attrs), tmp_path / "a.nc", f"its {next(iter(attrs))} is")
    refused(dataset(**attrs), tmp_path / "b.nc", f"its {next(iter(attrs))} is")


@pytest.mark.parametrize(
    "words",
    ["Precipitation forecasts", "Niederschlagsvorhersage", "prévision de pluie", "previsione di pioggia", "Prognose"],
)
def test_forecasts_in_other_languages(tmp_path, words):
    refused(dataset().assign_attrs(title=words), tmp_path / "a.nc", f"its title is '{words}'")
    refused(dataset(long_name=words), tmp_path / "b.nc", f"is the '{words}'")


def test_a_time_that_is_that_of_issue_only(tmp_path):
    data = dataset()
    data["time"].attrs = {**START}
    refused(data, tmp_path / "a.nc", "its only time, 'time', is that of issue")


def test_output_of_models_is_noted(tmp_path):
    with pytest.warns(InputWarning, match="its source is 'HARMONIE model output'"):
        open_radar(saved(dataset().assign_attrs(source="HARMONIE model output"), tmp_path / "a.nc"))


def test_a_field_of_grib_without_its_step(tmp_path):
    refused(dataset(GRIB_dataType="fc", GRIB_stepRange="0-1"), tmp_path / "a.nc", "its GRIB_dataType is 'fc'")


def test_free_text_about_forecasts_is_noted(tmp_path):
    data = dataset().assign_attrs(summary="Rain of the radars, as used in nowcasting")
    with pytest.warns(InputWarning, match="its summary is 'Rain of the radars, as used in nowcasting'"):
        field = open_radar(saved(data, tmp_path / "a.nc"))
    np.testing.assert_array_equal(field, VALUES)


def test_frames_later_than_the_making_of_the_file_are_noted(tmp_path):
    data = dataset().assign_attrs(date_created="2020-01-01T00:00:30Z")
    with pytest.warns(InputWarning, match="its frames are later than 2020-01-01T00:00:30, when it was made"):
        open_radar(saved(data, tmp_path / "a.nc"))


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"cell_methods": "realization: standard_deviation"}, "of the cell_methods"),
        ({"cell_methods": "time: maximum"}, "of the cell_methods"),
        ({"long_name": "anomaly of rain rate"}, "described as 'anomaly of rain rate'"),
        ({"transform": "dB"}, "transformed"),  # pysteps
    ],
)
def test_statistics_and_transformations_of_rain_are_refused(tmp_path, attrs, message):
    with pytest.raises(ReadError, match=message):
        open_radar(saved(dataset(**attrs), tmp_path / "a.nc"))
