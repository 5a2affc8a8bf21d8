"""CF NetCDF of NWP in the forms in use: names, units, vertical levels, times, bounds and projections."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import xarray as xr

from hybridcast.core.field import crs_of
from hybridcast.errors import InputError, ReadError
from hybridcast.nwp import open_nwp

HOUR = np.timedelta64(1, "h")
RUN = np.datetime64("2021-06-01T06", "ns")
LEADS = np.arange(1, 4) * HOUR


def written(path, variables, **coords):
    """Write variables ``(time, lat, lon)`` with the valid time, the scalar run, and degrees."""
    axes = {
        "time": ("time", RUN + LEADS, {"standard_name": "time"}),
        "lat": ("lat", [50.0, 50.1], {"standard_name": "latitude", "units": "degrees_north"}),
        "lon": ("lon", [4.0, 4.1, 4.2], {"standard_name": "longitude", "units": "degrees_east"}),
        "forecast_reference_time": ((), RUN, {"standard_name": "forecast_reference_time"}),
    }
    data = xr.Dataset({n: (("time", "lat", "lon"), v, a) for n, (v, a) in variables.items()}, {**axes, **coords})
    data.to_netcdf(path, engine="h5netcdf")
    return path


def growing(first=1.0):
    return np.arange(1, 4.0)[:, None, None] * np.full((3, 2, 3), first)


def test_a_sum_since_the_start_becomes_a_rate(tmp_path):
    path = written(
        tmp_path / "a.nc", {"tp": (growing(2.0), {"standard_name": "precipitation_amount", "units": "kg m-2"})}
    )
    nwp = open_nwp(path, accumulation="since-start")
    np.testing.assert_allclose(nwp.precipitation_rate.values, 2.0)
    assert (nwp.lead_time.values == LEADS).all()
    assert nwp.reference_time.values == [RUN]
    assert crs_of(nwp).is_geographic


def test_a_sum_within_bounds_is_of_that_time(tmp_path):
    bounds = np.stack([RUN + LEADS - HOUR, RUN + LEADS], axis=1)
    data = written(tmp_path / "b.nc", {"tp": (growing(), {"standard_name": "precipitation_amount", "units": "kg m-2"})})
    with xr.open_dataset(data, engine="h5netcdf") as opened:
        bounded = opened.load().assign(time_bnds=(("time", "nv"), bounds))
    bounded.time.attrs["bounds"] = "time_bnds"
    bounded.time.encoding = bounded.time_bnds.encoding = {"units": "seconds since 2021-01-01"}
    bounded.to_netcdf(tmp_path / "bounded.nc", engine="h5netcdf")
    rates = open_nwp(tmp_path / "bounded.nc").precipitation_rate.values[0, :, 0, 0]
    np.testing.assert_allclose(rates, [1, 2, 3])


def test_units_are_brought_to_those_of_the_contract(tmp_path):
    variables = {
        "t": (growing(5.0), {"standard_name": "air_temperature", "units": "degC"}),
        "r": (growing(20.0), {"standard_name": "relative_humidity", "units": "%"}),
        "pr": (growing(1 / 3600), {"standard_name": "precipitation_flux", "units": "kg m-2 s-1"}),
        "wg": (growing(36.0), {"standard_name": "wind_speed_of_gust", "units": "km/h"}),
    }
    nwp = open_nwp(written(tmp_path / "c.nc", variables)).isel(reference_time=0, lead_time=0, y=0, x=0)
    assert float(nwp.air_temperature) == pytest.approx(278.15)
    assert float(nwp.relative_humidity) == pytest.approx(0.2)
    assert float(nwp.precipitation_rate) == pytest.approx(1.0, rel=1e-5)
    assert float(nwp.wind_speed_of_gust) == pytest.approx(10.0)


def test_of_several_pressures_the_steering_one_is_taken(tmp_path):
    shape = (3, 3, 2, 3)  # time, pressure, lat, lon
    values = np.broadcast_to(np.array([5.0, 7.0, 8.5])[None, :, None, None], shape)
    axes = {
        "time": ("time", RUN + LEADS),
        "pressure": ("pressure", [50000.0, 70000.0, 85000.0], {"standard_name": "air_pressure", "units": "Pa"}),
        "lat": ("lat", [50.0, 50.1], {"units": "degrees_north"}),
        "lon": ("lon", [4.0, 4.1, 4.2], {"units": "degrees_east"}),
        "reference_time": ((), RUN),
    }
    wind = {
        name: (("time", "pressure", "lat", "lon"), values, {"standard_name": name, "units": "m s-1"})
        for name in ("eastward_wind", "northward_wind")
    }
    xr.Dataset(wind, axes).to_netcdf(tmp_path / "d.nc", engine="h5netcdf")
    nwp = open_nwp(tmp_path / "d.nc")
    assert (nwp.x_wind.values == 7).all()
    assert nwp.y_wind.attrs["vertical_level"] == "700 hPa"
    assert nwp.attrs["left_out"].count("700 hPa is taken") == 2


def test_kilometres_of_a_projection_become_metres_and_eastward_wind_is_turned(tmp_path):
    crs = pyproj.CRS("+proj=stere +lat_0=90 +lat_ts=60 +lon_0=0 +R=6371229 +units=km")
    x0, y0 = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform(30.0, 55.0)
    axes = {
        "time": ("time", RUN + LEADS),
        "y": ("y", y0 + np.arange(2) * 2.0, {"standard_name": "projection_y_coordinate", "units": "km"}),
        "x": ("x", x0 + np.arange(3) * 2.0, {"standard_name": "projection_x_coordinate", "units": "km"}),
        "reference_time": ((), RUN),
        "crs": ((), 0, crs.to_cf()),
    }
    wind = {
        name: (
            ("time", "y", "x"),
            np.full((3, 2, 3), value),
            {"units": "m/s", "standard_name": name, "grid_mapping": "crs"},
        )
        for name, value in (("eastward_wind", 10.0), ("northward_wind", 0.0))
    }
    xr.Dataset(wind, axes).to_netcdf(tmp_path / "e.nc", engine="h5netcdf")
    nwp = open_nwp(tmp_path / "e.nc")
    assert np.diff(nwp.x) == pytest.approx([2000, 2000])
    assert nwp.x.attrs["units"] == "m"
    # at 30 east of the central meridian the map's east points 30 degrees up
    assert float(nwp.x_wind[0, 0, 0, 0]) == pytest.approx(10 * np.cos(np.pi / 6), abs=0.01)
    assert float(nwp.y_wind[0, 0, 0, 0]) == pytest.approx(10 * np.sin(np.pi / 6), abs=0.01)


def test_runs_in_several_files_are_joined_with_gaps(tmp_path):
    for k in range(2):
        data = xr.open_dataset(
            written(tmp_path / "x.nc", {"air_temperature": (growing(0) + 270, {"units": "K"})}), engine="h5netcdf"
        ).load()
        data.close()
        shifted = data.assign_coords(
            time=data.time + k * 6 * HOUR, forecast_reference_time=data.forecast_reference_time + k * 6 * HOUR
        )
        shifted.isel(time=slice(k, None)).to_netcdf(tmp_path / f"run{k}.nc", engine="h5netcdf")
    nwp = open_nwp(tmp_path / "run*.nc")
    assert dict(nwp.sizes) == {"reference_time": 2, "lead_time": 3, "y": 2, "x": 3}
    assert np.isnan(nwp.air_temperature.values[1, 0]).all()
    assert np.isfinite(nwp.air_temperature.values[0]).all()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"t": (growing(), {"standard_name": "sea_water_temperature"})}, "no variable with a standard_name of"),
        ({"t": (growing(), {"standard_name": "air_temperature", "units": "furlong"})}, "air_temperature in 'furlong'"),
        ({"pr": (growing(), {"standard_name": "precipitation_flux", "units": "K"})}, "is no rate"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, variables, words):
    with pytest.raises(ReadError, match=words):
        open_nwp(written(tmp_path / "f.nc", variables))


def test_a_file_without_a_run_says_so(tmp_path):
    path = written(tmp_path / "g.nc", {"wind_speed_of_gust": (growing(10), {"units": "m s-1"})})
    with xr.open_dataset(path, engine="h5netcdf") as data:
        data.load().drop_vars("forecast_reference_time").to_netcdf(tmp_path / "h.nc", engine="h5netcdf")
    with pytest.raises(ReadError, match="Add that coordinate: the run's start"):
        open_nwp(tmp_path / "h.nc")
    assert open_nwp(tmp_path / "h.nc", run=RUN).lead_time.values.tolist() == LEADS.astype("m8[ns]").tolist()


def test_a_run_is_known_by_the_name_of_its_coordinate_too(tmp_path):
    bare = ((), RUN, {})
    path = written(
        tmp_path / "n.nc", {"wind_speed_of_gust": (growing(3), {"units": "m s-1"})}, forecast_reference_time=bare
    )
    assert open_nwp(path).reference_time.values == [RUN]


def test_damaged_files_and_unknown_ones(tmp_path):
    path = written(tmp_path / "i.nc", {"air_temperature": (growing(280), {"units": "K"})})
    (tmp_path / "cut.nc").write_bytes(path.read_bytes()[:2000])
    (tmp_path / "text.nc").write_text("no model")
    for name, words in (("cut.nc", "damaged"), ("text.nc", "no known NWP format")):
        with pytest.raises(ReadError, match=words):
            open_nwp(tmp_path / name)
    with pytest.raises(InputError, match="no file matches"):
        open_nwp(tmp_path / "none.nc")
    with pytest.raises(InputError, match="Choose one of grib"):
        open_nwp(path, "netcdf")


@pytest.mark.parametrize(
    ("dim", "labels", "units", "level"),
    [
        ("height", [10.0, 100.0, 500.0], "m", "500 m above ground"),
        ("isobaricInhPa", [1000.0, 700.0, 500.0], "hPa", "700 hPa"),  # as cfgrib names it
        ("plev", [100000.0, 70000.0, 50000.0], "Pa", "700 hPa"),
    ],
)
def test_vertical_dimensions_are_known_by_their_units(tmp_path, dim, labels, units, level):
    """Every height has a value of its own; one is taken, and the others are named."""
    values = np.broadcast_to(np.array([5.0, 7.0, 9.0])[None, :, None, None], (3, 3, 2, 3))
    axes = {
        "time": ("time", RUN + LEADS, {"standard_name": "time"}),
        dim: (dim, labels, {"units": units}),
        "lat": ("lat", [50.0, 50.1], {"units": "degrees_north"}),
        "lon": ("lon", [4.0, 4.1, 4.2], {"units": "degrees_east"}),
        "forecast_reference_time": ((), RUN, {"standard_name": "forecast_reference_time"}),
    }
    wind = {
        name: (("time", dim, "lat", "lon"), values, {"standard_name": name, "units": "m s-1"})
        for name in ("eastward_wind", "northward_wind")
    }
    xr.Dataset(wind, axes).to_netcdf(tmp_path / "v.nc", engine="h5netcdf")
    nwp = open_nwp(tmp_path / "v.nc")
    assert nwp.x_wind.attrs["vertical_level"] == level
    assert (nwp.x_wind.values == (9 if dim == "height" else 7)).all()
    assert nwp.attrs["left_out"].count("is taken") == 2


def test_longitudes_over_greenwich_and_the_date_line_run_on(tmp_path):
    for start, expected in ((359.9, -0.1), (179.9, 179.9)):
        longitude = (start + 0.1 * np.arange(3)) % 360
        longitude = np.where(longitude > 180, longitude - 360, longitude) if start < 180 else longitude
        lon = ("lon", longitude, {"standard_name": "longitude", "units": "degrees_east"})
        path = written(tmp_path / f"{start}.nc", {"wind_speed_of_gust": (growing(), {"units": "m s-1"})}, lon=lon)
        x = open_nwp(path).x.values
        assert np.diff(x) == pytest.approx([0.1, 0.1])
        assert (x[0] - expected + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)


def test_impossible_spacings_name_the_file(tmp_path):
    lat = ("lat", [50.0, 10.0], {"standard_name": "latitude", "units": "degrees_north"})
    path = written(tmp_path / "s.nc", {"wind_speed_of_gust": (growing(), {"units": "m s-1"})}, lat=lat)
    with pytest.raises(ReadError, match=r"s\.nc: the spacing of 'y' is 40"):
        open_nwp(path)
