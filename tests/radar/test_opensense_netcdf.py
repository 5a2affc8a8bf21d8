from __future__ import annotations

import netCDF4
import numpy as np
import pyproj
import pytest
import xarray as xr

from hybridcast.core.field import crs_of, metres_per_cell
from hybridcast.errors import ReadError
from hybridcast.radar import open_radar, opensense_netcdf

EIGHT_DAYS = "openmrg/8d_20150722/openmrg_rad_8d.nc"
TWO_HOURS = "openmrg/8d_20150722/openmrg_rad_5min_2h.nc"
HALF_DAY = "openmrg/20150827/openMRG_example_rad.nc"


@pytest.fixture(scope="session")
def eight_days(real):
    return open_radar(real(EIGHT_DAYS))


@pytest.fixture(scope="session")
def half_day(real):
    return open_radar(real(HALF_DAY))


def at_gauges(field, lon, lat):
    to_grid = pyproj.Transformer.from_crs("EPSG:4326", crs_of(field), always_xy=True)
    x, y = to_grid.transform(np.asarray(lon), np.asarray(lat))
    return field.sel(x=xr.DataArray(x, dims="id"), y=xr.DataArray(y, dims="id"), method="nearest").values


def test_openmrg_frames_and_grid(eight_days):
    assert eight_days.shape == (2304, 48, 37)
    assert eight_days.time.values[[0, -1]].tolist() == [
        np.datetime64("2015-07-22T00:00", "ns").astype(int),
        np.datetime64("2015-07-29T23:55", "ns").astype(int),
    ]
    assert np.abs(metres_per_cell(eight_days)[0]).mean() == pytest.approx(2000, rel=0.05)  # the scale of the map
    assert eight_days.attrs["license"].endswith("by-sa/4.0")


def test_openmrg_frames_all_missing_stay_missing(eight_days):
    gone = eight_days.isnull().all(("y", "x")).values
    assert gone.sum() == 7
    assert np.datetime64("2015-07-26T21:50") in eight_days.time.values[gone]


@pytest.mark.parametrize(
    ("name", "lat", "lon", "flip"),
    [
        (EIGHT_DAYS, "lat", "lon", False),
        (HALF_DAY, "lat", "lon", False),
        (TWO_HOURS, "latitudes", "longitudes", True),  # rows from the south, though the file's y says from the north
    ],
)
def test_openmrg_projection_meets_the_published_coordinates(real, name, lat, lon, flip):
    path = real(name)[0]
    field = open_radar(path)
    to_degrees = pyproj.Transformer.from_crs(crs_of(field), "EPSG:4326", always_xy=True)
    lons, lats = to_degrees.transform(*np.meshgrid(field.x, field.y))
    with netCDF4.Dataset(path) as file:
        published_lat, published_lon = np.asarray(file[lat][:]), np.asarray(file[lon][:])
        assert (file["y"][0] > file["y"][-1]) == (field.y[0] > field.y[-1]) or flip
    if flip:  # of its longitudes the rows were not turned
        published_lon = published_lon[::-1]
    *_, distance = pyproj.Geod(ellps="WGS84").inv(lons, lats, published_lon, published_lat)
    assert distance.max() < 0.5  # m


def test_the_three_versions_of_openmrg_agree(real, eight_days):
    short = open_radar(real(TWO_HOURS)).sortby("y", ascending=False)
    long = eight_days.sel(time=short.time)
    wet = (long > 1).values
    # the short one was made with Z = 200 R^1.6, the long one with Z = 200 R^1.5
    np.testing.assert_allclose(short.values[wet], long.values[wet] ** (1.5 / 1.6), rtol=0.01)


def test_openmrg_reflectivity_uses_its_own_zr(half_day, real):
    with netCDF4.Dataset(real(HALF_DAY)[0]) as file:
        file.set_auto_maskandscale(False)
        dbz = file["data"][:] * 0.4 - 30
        alternative = file["R"][:] * 0.001
    np.testing.assert_allclose(half_day, np.where(dbz > 0, (10 ** (dbz / 10) / 200) ** (1 / 1.5), half_day), rtol=1e-4)
    wet = alternative > 1
    np.testing.assert_allclose(half_day.values[wet], alternative[wet] ** (1.6 / 1.5), rtol=0.01)


def test_openmrg_is_in_mm_per_hour_by_the_gauges(half_day, real):
    gauges = xr.open_dataset(real("openmrg/20150827/openMRG_city_gauges_20150827.nc")[0])
    rain = gauges.rainfall_amount.resample(time="5min", closed="right", label="right").sum(skipna=False)
    # rain at the ground follows the stamps of the radar by five minutes
    rain = rain.reindex(time=half_day.time.values + np.timedelta64(5, "m")).values
    radar = at_gauges(half_day, gauges.lon, gauges.lat) / 12
    both = np.isfinite(rain) & np.isfinite(radar)
    assert np.corrcoef(radar[both], rain[both])[0, 1] > 0.55
    assert 0.85 < radar[both].sum() / rain[both].sum() < 1.0


def test_openrainer_frames_grid_and_coverage(real):
    field = open_radar(real("openrainer/openrainer_RAD.nc"))
    assert field.shape == (11, 290, 373)
    assert crs_of(field).to_epsg() == 4326
    dy, dx = metres_per_cell(field)
    assert dy == pytest.approx(1001, abs=2)
    assert dx.mean() == pytest.approx(1000, abs=20)
    assert field.attrs["accumulation_interval_minutes"] == 15
    assert 0 < float(field.isnull().mean()) < 0.01


def test_openrainer_is_in_mm_per_hour_by_the_gauges(real):
    field = open_radar(real("openrainer/openrainer_RAD.nc"))
    gauges = xr.open_dataset(real("openrainer/openrainer_AWS.nc")[0])
    rain = gauges.rainfall_amount.transpose("time", "id").values
    radar = at_gauges(field, gauges.longitude, gauges.latitude) / 4
    both = np.isfinite(rain) & np.isfinite(radar)
    assert np.corrcoef(radar[both], rain[both])[0, 1] > 0.5
    assert 0.9 < radar[both].sum() / rain[both].sum() < 1.25
    late = np.isfinite(rain[1:]) & np.isfinite(radar[:-1])
    assert np.corrcoef(radar[:-1][late], rain[1:][late])[0, 1] < 0.45  # stamps mean the same as the gauges'


def test_gauges_of_the_same_data_sets_are_not_taken_for_radar(real):
    for name in ("openrainer/openrainer_AWS.nc", "openmrg/20150827/openMRG_city_gauges_20150827.nc"):
        path = real(name)[0]
        assert not opensense_netcdf.recognises(path, path.read_bytes()[:100])
        with pytest.raises(ReadError, match=path.name):
            open_radar(path)


@pytest.mark.parametrize("kept", [100, 20_000, 200_000])
def test_truncated_file_is_named(real, tmp_path, kept):
    bad = tmp_path / "bad.nc"
    bad.write_bytes(real(HALF_DAY)[0].read_bytes()[:kept])
    with pytest.raises(ReadError, match=r"bad\.nc"):
        open_radar(bad)


def openmrg_like(path, **change):
    x, y = -154199.3 + 2000.0 * np.arange(4), -3412560.8 - 2000.0 * np.arange(3)
    projection = "+proj=stere +lat_ts=60 +ellps=bessel +lon_0=14 +lat_0=90"
    lat = pyproj.Proj(projection)(*np.meshgrid(x, y), inverse=True)[1]
    data = xr.Dataset(
        {"R": (("time", "y", "x"), np.ones((1, 3, 4)), {"units": change.get("units", "mm/h")})},
        coords={
            "time": [np.datetime64("2015-01-01", "ns")],
            "y": y,
            "x": x,
            "lat": (("y", "x"), lat + change.get("north", 0)),
        },
        attrs={"title": change.get("title", "OpenMRG-Radar"), "proj_string": projection},
    )
    if "proj_string" in change:
        del data.attrs["proj_string"]
    data.to_netcdf(path)
    return path


def test_what_the_file_does_not_state_is_refused(tmp_path):
    assert (open_radar(openmrg_like(tmp_path / "good.nc")) == 1).all()
    with pytest.raises(ReadError, match="no rain rate in mm/h"):
        open_radar(openmrg_like(tmp_path / "units.nc", units="1"))
    with pytest.raises(ReadError, match="in either order of the rows"):
        open_radar(openmrg_like(tmp_path / "north.nc", north=0.5))
    with pytest.raises(ReadError, match="proj_string"):
        open_radar(openmrg_like(tmp_path / "proj.nc", proj_string=None))
    with pytest.raises(ReadError, match="neither OpenMRG"):
        open_radar(openmrg_like(tmp_path / "title.nc", title="OpenSomething"), "opensense-netcdf")
