"""Regridding to the radar: against linear functions of position, times by hand, edges, wind, and speed."""

from __future__ import annotations

import time

import numpy as np
import pyproj
import pytest

from hybridcast.core.field import precipitation
from hybridcast.errors import InputError
from hybridcast.nwp import nwp_fields, regrid_to_radar
from hybridcast.nwp.schema import RATE

HOUR = np.timedelta64(1, "h")
RUN = np.datetime64("2020-01-01T00", "ns")
LAEA = pyproj.CRS("EPSG:3035")


def model(variables, *, leads=4, runs=1, y=None, x=None, crs="EPSG:4326"):
    y = np.linspace(55, 45, 41) if y is None else y
    x = np.linspace(0, 20, 81) if x is None else x
    shape = (runs, leads, len(y), len(x))
    return nwp_fields(
        {name: np.broadcast_to(np.asarray(v, np.float32), shape).copy() for name, v in variables.items()},
        reference_time=RUN + np.arange(runs) * 3 * HOUR,
        lead_time=np.arange(1, leads + 1) * HOUR,
        y=y,
        x=x,
        crs=crs,
    )


def radar(rows=30, columns=40, spacing=2000.0, centre=(10.0, 50.0), crs=LAEA):
    x0, y0 = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*centre)
    return precipitation(
        np.zeros((rows, columns)),
        time=[RUN],
        y=y0 + spacing * (np.arange(rows)[::-1] - rows / 2),
        x=x0 + spacing * (np.arange(columns) - columns / 2),
        crs=crs,
    )


def degrees_of(field, crs=LAEA):
    x, y = np.meshgrid(field.x.values, field.y.values)
    return pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)


# --- place ----------------------------------------------------------------------------------------------------


def test_a_linear_field_keeps_its_values_at_the_places_of_the_radar():
    latitude, longitude = np.linspace(55, 45, 41)[:, None], np.linspace(0, 20, 81)
    field = radar()
    made = regrid_to_radar(model({"air_temperature": 200 + latitude + longitude}), field, [RUN + HOUR])
    longitudes, latitudes = degrees_of(field)
    np.testing.assert_allclose(made.air_temperature.values[0, 0], 200 + latitudes + longitudes, atol=2e-3)
    assert made.air_temperature.dtype == np.float32
    assert made.air_temperature.dims == ("reference_time", "time", "y", "x")
    assert made.attrs == {}


@pytest.mark.parametrize("shift", [0, 360, -360])
def test_longitudes_may_count_from_anywhere(shift):
    x = np.linspace(-10, 10, 41)
    nwp = model({"air_temperature": 250 + x}, x=x + shift)
    made = regrid_to_radar(nwp, radar(centre=(0.0, 50.0)), [RUN + HOUR])
    longitudes, _ = degrees_of(radar(centre=(0.0, 50.0)))
    np.testing.assert_allclose(made.air_temperature.values[0, 0], 250 + longitudes, atol=2e-3)


@pytest.mark.parametrize("backwards", [False, True])
def test_rows_may_run_either_way(backwards):
    y = np.linspace(55, 45, 41)[:: -1 if backwards else 1]
    made = regrid_to_radar(model({"air_temperature": 200 + y[:, None]}, y=y), radar(), [RUN + HOUR])
    np.testing.assert_allclose(made.air_temperature.values[0, 0], 200 + degrees_of(radar())[1], atol=2e-3)


def test_what_the_model_does_not_cover_is_nan():
    """The NWP grid ends at 10 E: the eastern half of the radar is outside, except for half an NWP cell."""
    nwp = model({"air_temperature": 280}, x=np.linspace(0, 10, 41))
    made = regrid_to_radar(nwp, radar(), [RUN + HOUR]).air_temperature.values[0, 0]
    longitudes, _ = degrees_of(radar())
    assert (np.isfinite(made) == (longitudes <= 10.125)).all()
    assert 0.3 < np.isnan(made).mean() < 0.7


def test_a_hole_in_the_model_is_a_hole_on_the_radar_and_no_larger_than_needed():
    values = np.full((1, 4, 41, 81), 280.0)
    values[..., 20, 40] = np.nan  # 50 N 10 E
    made = regrid_to_radar(model({"air_temperature": values}), radar(), [RUN + HOUR]).air_temperature.values[0, 0]
    longitudes, latitudes = degrees_of(radar())
    near = (abs(longitudes - 10) < 0.25) & (abs(latitudes - 50) < 0.25)
    assert (np.isnan(made) == near).all()


def test_a_grid_without_a_place_is_not_joined():
    local = precipitation(np.zeros((3, 4)), time=[RUN], y=[0, 1000, 2000], x=[0, 1000, 2000, 3000], crs=None)
    with pytest.raises(InputError, match="radar grid is not known"):
        regrid_to_radar(model({RATE: 1}), local, [RUN])


# --- time -----------------------------------------------------------------------------------------------------


def values_at(name, minutes, hourly=(240, 270, 300, 330), **options):
    values = np.array(hourly, float)[None, :, None, None] * np.ones((1, 1, 41, 81))
    times = RUN + np.array(minutes) * np.timedelta64(1, "m")
    return regrid_to_radar(model({name: values}, **options), radar(), times)[name].values[0, :, 5, 5].round(3).tolist()


def test_moments_are_interpolated_between_valid_times():
    found = values_at("air_temperature", [59, 60, 80, 120, 240, 241])
    np.testing.assert_allclose(found, [np.nan, 240, 250, 270, 330, np.nan])


def test_means_belong_to_the_middle_of_their_step():
    """Rates of 2, 4, 6, 8 in the hours 0-1, 1-2, 2-3, 3-4; constant in the first and the last half hour."""
    found = values_at(RATE, [0, 15, 30, 60, 90, 210, 225, 240, 245], hourly=(2, 4, 6, 8))
    np.testing.assert_allclose(found, [2, 2, 2, 3, 4, 8, 8, 8, np.nan])


def test_the_mean_over_a_steady_hour_is_that_of_the_step():
    minutes = np.arange(60, 121)
    found = values_at(RATE, minutes, hourly=(2, 4, 6, 8))
    assert np.trapezoid(found, minutes) / 60 == pytest.approx(4)


def test_runs_hold_what_they_have():
    nwp = model({"air_temperature": 280}, runs=2)
    nwp["air_temperature"].values[1] = 290
    made = regrid_to_radar(nwp, radar(), RUN + np.array([2, 4, 6]) * HOUR).air_temperature.values[:, :, 0, 0]
    np.testing.assert_allclose(made, [[280, 280, np.nan], [np.nan, 290, 290]])


def test_a_lead_time_that_a_run_lacks_is_bridged():
    found = values_at("air_temperature", [60, 90, 120], hourly=(240, np.nan, 300, 330))
    np.testing.assert_allclose(found, [240, 255, 270])


def test_no_run_gives_nothing():
    made = regrid_to_radar(model({RATE: 1}).isel(reference_time=[]), radar(), [RUN])
    assert made[RATE].shape == (0, 1, 30, 40)


# --- wind and speed -------------------------------------------------------------------------------------------


def test_wind_is_turned_to_the_axes_of_the_radar():
    """On the stereographic map of DWD north deviates from y by the longitude minus 10 degrees."""
    dwd = pyproj.CRS("+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +R=6370040")
    field = radar(centre=(18.0, 50.0), crs=dwd, rows=3, columns=3)
    made = regrid_to_radar(model({"x_wind": 10, "y_wind": 0}), field, [RUN + HOUR])
    angle = np.deg2rad(8)
    assert float(made.x_wind[0, 0, 1, 1]) == pytest.approx(10 * np.cos(angle), abs=0.02)
    assert float(made.y_wind[0, 0, 1, 1]) == pytest.approx(10 * np.sin(angle), abs=0.02)


def test_wind_of_one_map_on_another_is_the_same_on_the_globe():
    """NWP and radar on different projections, compared with the rotation by way of east and north."""
    east = regrid_to_radar(model({"x_wind": 6, "y_wind": -3}), radar(), [RUN + HOUR])
    merc = pyproj.CRS("EPSG:3857")
    corner = pyproj.Transformer.from_crs("EPSG:4326", merc, always_xy=True).transform(5, 46)
    nwp = model(
        {"x_wind": 6, "y_wind": -3},  # on Mercator's map north is up, so these are east and north too
        y=corner[1] + 20_000 * np.arange(60),
        x=corner[0] + 20_000 * np.arange(60),
        crs=merc,
    )
    made = regrid_to_radar(nwp, radar(), [RUN + HOUR])
    np.testing.assert_allclose(made.x_wind.values, east.x_wind.values, atol=1e-3)
    np.testing.assert_allclose(made.y_wind.values, east.y_wind.values, atol=1e-3)


def test_it_is_fast():
    field = radar(400, 600)
    nwp = model({RATE: 1}, runs=3, leads=12)
    times = RUN + 7 * HOUR + np.arange(9) * np.timedelta64(20, "m")
    regrid_to_radar(nwp, field, times[:1])
    start = time.process_time()
    regrid_to_radar(nwp, field, times)
    assert time.process_time() - start < 1.0


def test_real_arome_on_the_grid_of_the_meteonet_radar(real):
    """Radar cells of 0.01 degrees are within NWP cells of 0.025; at an NWP cell centre its value is found."""
    from hybridcast.nwp import open_nwp

    nwp = open_nwp(real("meteonet/weather_models/arome*.grib"))
    with np.load(real("meteonet/radar/radar_coords_NW.npz")[0]) as file:
        latitude, longitude = file["lats"][:, 0], file["lons"][0]
    field = precipitation(np.zeros((565, 784)), time=[RUN], y=latitude, x=longitude, crs="EPSG:4326")
    start = nwp.reference_time.values[0]
    made = regrid_to_radar(nwp, field, start + np.array([90, 210, 720]) * np.timedelta64(1, "m"))[RATE]
    assert made.shape == (1, 3, 565, 784)
    assert np.isfinite(made.values).all()
    hours = nwp[RATE].values[0]
    assert float(made.max()) <= hours.max()
    # the middle of the second hour is the second hour's rate: 51.871 N 5.817 W is a cell of both
    row, column = np.abs(nwp.y.values - 51.871).argmin(), np.abs(nwp.x.values + 5.817).argmin()
    there = made.sel(y=51.871, x=-5.817, method="nearest").values[0]
    np.testing.assert_allclose(there[:2], hours[[1, 3], row, column], atol=1e-4)
    np.testing.assert_allclose(there[2], hours[[11, 12], row, column].mean(), atol=1e-4)
    assert made.values[0, 0].mean() == pytest.approx(hours[1].mean(), rel=0.1)
