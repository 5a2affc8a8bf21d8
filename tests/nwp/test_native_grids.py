"""Fields on cells that are given one by one: triangles of ICON, Gaussian grids, two-dimensional latitude and longitude.

Each has a shower at one place; where it lies on the radar's grid is computed here from its longitude and latitude.
"""

from __future__ import annotations

import bz2

import numpy as np
import pyproj
import pytest
import xarray as xr

from helpers.grib import degrees, encode, write
from hybridcast.core.field import crs_of
from hybridcast.errors import InputError, ReadError
from hybridcast.nwp import open_nwp, regrid_to_radar

HOUR = np.timedelta64(1, "h")
RUN = np.datetime64("2024-06-01T00", "ns")
UUID = "0123456789abcdef0123456789abcdef"
SHOWER = 10.3, 51.2  # longitude and latitude


def radar(crs="EPSG:25832", centre=SHOWER, cells=40, spacing=2000.0):
    """Return a field without rain whose middle is at `centre`."""
    x0, y0 = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(*centre)
    offsets = (np.arange(cells) - cells // 2) * spacing
    values = xr.DataArray(np.zeros((1, cells, cells), np.float32), dims=("time", "y", "x"))
    field = values.assign_coords(time=[RUN + HOUR], y=y0 + offsets, x=x0 + offsets)
    return field.assign_coords(spatial_ref=((), 0, pyproj.CRS(crs).to_cf()))


def shower_at(nwp, field):
    """Return the offset of the centre of gravity of the rain from the middle of the field, km, x first."""
    rain = np.nan_to_num(regrid_to_radar(nwp, field, [RUN + HOUR]).precipitation_rate.values[0, 0])
    y, x = np.meshgrid(field.y.values, field.x.values, indexing="ij")
    middle = field.x.values[field.sizes["x"] // 2], field.y.values[field.sizes["y"] // 2]
    return tuple(float((rain * (axis - at)).sum() / rain.sum() / 1e3) for axis, at in zip((x, y), middle, strict=True))


def scattered(seed=5):
    """Return longitude and latitude of cells in no order, about 3 km apart, and rain near SHOWER."""
    rng = np.random.default_rng(seed)
    even = np.meshgrid(np.linspace(8, 13, 125), np.linspace(49, 53, 160))
    order = rng.permutation(even[0].size)
    longitude, latitude = ((axis.ravel() + rng.uniform(-0.006, 0.006, order.size))[order] for axis in even)
    return longitude, latitude, rain_near(longitude, latitude)


def rain_near(longitude, latitude, place=SHOWER, radius=15.0):
    x = (longitude - place[0]) * 111.2 * np.cos(np.deg2rad(place[1]))
    y = (latitude - place[1]) * 111.2
    return np.where(np.hypot(x, y) < radius, 5.0, 0.0)


# --- triangles --------------------------------------------------------------------------------------------------


def triangles(values, uuid=UUID, **keys):
    """Return a message on the grid of ICON (grid definition template 3.101)."""
    import eccodes

    handle = eccodes.codes_grib_new_from_samples("GRIB2")
    try:
        grid = {
            "gridDefinitionTemplateNumber": 101,
            "numberOfDataPoints": values.size,
            "numberOfGridUsed": 47,
            "numberOfGridInReference": 1,
            "uuidOfHGrid": uuid,
        }
        for key, value in {**grid, "dataDate": 20240601, "dataTime": 0, **keys}.items():
            eccodes.codes_set(handle, key, value)
        eccodes.codes_set(handle, "bitsPerValue", 24)
        eccodes.codes_set_values(handle, values)
        return eccodes.codes_get_message(handle)
    finally:
        eccodes.codes_release(handle)


TOTAL = {
    "productDefinitionTemplateNumber": 8,
    "discipline": 0,
    "parameterCategory": 1,
    "parameterNumber": 52,
    "typeOfFirstFixedSurface": 1,
    "typeOfStatisticalProcessing": 1,
    "stepRange": "0-1",
}
PLACE = {"centre": 78, "discipline": 0, "parameterCategory": 191, "typeOfFirstFixedSurface": 1}


@pytest.fixture
def icon(tmp_path):
    """Return a folder with rain, and the places of the cells, in files of their own."""
    longitude, latitude, rain = scattered()
    write(tmp_path / "rain.grib2", triangles(rain, **TOTAL))
    write(tmp_path / "clat.grib2", triangles(latitude, **PLACE, parameterNumber=1))
    write(tmp_path / "clon.grib2", triangles(longitude, **PLACE, parameterNumber=2))
    return tmp_path


def test_triangles_come_to_their_place(icon):
    nwp = open_nwp([icon / "clon.grib2", icon / "rain.grib2", icon / "clat.grib2"])
    assert shower_at(nwp, radar()) == pytest.approx((0, 0), abs=1.0)
    assert set(np.unique(nwp.precipitation_rate.values[np.isfinite(nwp.precipitation_rate.values)])) == {0.0, 5.0}


def test_compressed_triangles(icon):
    for path in list(icon.iterdir()):
        path.with_suffix(".grib2.bz2").write_bytes(bz2.compress(path.read_bytes()))
        path.unlink()
    assert shower_at(open_nwp(icon / "*.bz2"), radar()) == pytest.approx((0, 0), abs=1.0)


def test_without_their_places_the_files_to_fetch_are_named(icon):
    with pytest.raises(ReadError, match=rf"rain\.grib2: the places of its 20000 cells .*UUID {UUID}.*clat.*clon"):
        open_nwp(icon / "rain.grib2")
    with pytest.raises(ReadError, match=r"rain\.grib2: the places"):
        open_nwp([icon / "rain.grib2", icon / "clat.grib2"])


def test_places_alone_are_no_fields(icon):
    with pytest.raises(InputError, match="nothing but the places of cells"):
        open_nwp(icon / "cl??.grib2")


def test_places_of_another_grid_do_not_count(icon):
    longitude, latitude, _ = scattered()
    other = "f" * 32
    write(icon / "clat.grib2", triangles(latitude, other, **PLACE, parameterNumber=1))
    write(icon / "clon.grib2", triangles(longitude, other, **PLACE, parameterNumber=2))
    with pytest.raises(ReadError, match=rf"rain\.grib2: the places .*{UUID}"):
        open_nwp(icon / "*.grib2")


def test_missing_triangles_are_unknown_and_dry_ones_dry(icon):
    longitude, _, rain = scattered()
    rain = np.where(longitude > 10.3, 9999.0, rain)
    write(icon / "rain.grib2", triangles(rain, bitmapPresent=1, missingValue=9999, **TOTAL))
    on_grid = regrid_to_radar(open_nwp(icon / "*.grib2"), radar(), [RUN + HOUR]).precipitation_rate.values[0, 0]
    assert np.isnan(on_grid[:, 23:]).all()
    assert np.isfinite(on_grid[:, :17]).all()
    assert (on_grid[:5, :17] == 0).all()


def test_nothing_is_known_beyond_the_outermost_cells(icon):
    nwp = open_nwp(icon / "*.grib2")
    outside = regrid_to_radar(nwp, radar(centre=(6.0, 51.0)), [RUN + HOUR])
    assert np.isnan(outside.precipitation_rate.values).all()


# --- latitude and longitude of each cell -------------------------------------------------------------------------


def curvilinear(path, longitude, latitude, variables, dims=("y", "x")):
    coords = {
        "lat": (dims, latitude, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": (dims, longitude, {"units": "degrees_east", "standard_name": "longitude"}),
        "time": ("time", [RUN + HOUR], {"standard_name": "time"}),
        "forecast_reference_time": ((), RUN, {"standard_name": "forecast_reference_time"}),
    }
    made = {name: (("time", *dims), values[None], attrs) for name, (values, attrs) in variables.items()}
    xr.Dataset(made, coords).to_netcdf(path, engine="h5netcdf")
    return path


RATE = {"standard_name": "lwe_precipitation_rate", "units": "mm h-1"}
LAMBERT = "+proj=lcc +lat_0=51 +lat_1=51 +lat_2=51 +lon_0=0 +R=6370000"  # as WRF: turned by 8 degrees at 10 E


def lambert_places():
    x, y = np.meshgrid(np.arange(120) * 3000.0 + 500_000.0, np.arange(110) * 3000.0 - 100_000.0)
    return pyproj.Proj(LAMBERT)(x, y, inverse=True)


def test_rows_and_columns_of_an_unknown_projection_come_to_their_place(tmp_path):
    """As in WRF output and HRRR's Zarr."""
    longitude, latitude = lambert_places()
    path = curvilinear(tmp_path / "c.nc", longitude, latitude, {"pr": (rain_near(longitude, latitude), RATE)})
    assert shower_at(open_nwp(path), radar()) == pytest.approx((0, 0), abs=1.0)


def test_wind_along_unknown_axes_is_left_out_and_eastward_wind_is_turned(tmp_path):
    longitude, latitude = lambert_places()
    ones = np.full(longitude.shape, 10.0)
    variables = {"pr": (rain_near(longitude, latitude), RATE)}
    for name in ("x_wind", "y_wind"):
        variables[name] = (ones, {"standard_name": name, "units": "m s-1"})
    nwp = open_nwp(curvilinear(tmp_path / "x.nc", longitude, latitude, variables))
    assert list(nwp.data_vars) == ["precipitation_rate"]
    assert "x_wind (along axes of a grid without a stated projection)" in nwp.attrs["left_out"]

    variables = {
        "u": (ones, {"standard_name": "eastward_wind", "units": "m s-1"}),
        "v": (0 * ones, {"standard_name": "northward_wind", "units": "m s-1"}),
    }
    nwp = open_nwp(curvilinear(tmp_path / "e.nc", longitude, latitude, variables))
    on_grid = regrid_to_radar(nwp, radar("EPSG:4326", spacing=0.02), [RUN + HOUR])
    assert float(on_grid.x_wind.mean()) == pytest.approx(10.0, abs=0.01)
    assert float(abs(on_grid.y_wind).max()) == pytest.approx(0.0, abs=0.05)


def test_cells_in_one_row_with_radians_as_icon_in_netcdf(tmp_path):
    longitude, latitude, rain = scattered()
    coords = {
        "clat": ("ncells", np.deg2rad(latitude), {"units": "radian", "standard_name": "latitude"}),
        "clon": ("ncells", np.deg2rad(longitude), {"units": "radian", "standard_name": "longitude"}),
        "time": ("time", [RUN + HOUR], {"standard_name": "time"}),
        "forecast_reference_time": ((), RUN, {"standard_name": "forecast_reference_time"}),
    }
    xr.Dataset({"pr": (("time", "ncells"), rain[None], RATE)}, coords).to_netcdf(tmp_path / "i.nc", engine="h5netcdf")
    assert shower_at(open_nwp(tmp_path / "i.nc"), radar()) == pytest.approx((0, 0), abs=1.0)


def test_cells_across_the_date_line_and_at_the_pole(tmp_path):
    for place in ((179.9, -17.5), (30.0, 89.6)):
        crs = f"+proj=laea +lat_0={place[1]} +lon_0={place[0]} +R=6371229"
        x, y = np.meshgrid(np.arange(-60, 61) * 3000.0, np.arange(-60, 61) * 3000.0)
        longitude, latitude = pyproj.Proj(crs)(x, y, inverse=True)
        rain = np.where(np.hypot(x, y) < 15_000, 5.0, 0.0)
        turned = np.where(longitude < 0, longitude + 360, longitude)
        path = curvilinear(tmp_path / f"{place[0]:g}.nc", turned, latitude, {"pr": (rain, RATE)})
        assert shower_at(open_nwp(path), radar(crs, place)) == pytest.approx((0, 0), abs=1.5)


# --- axes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", ["reduced_gg_sfc_grib2", "regular_gg_sfc_grib2"])
def test_gaussian_grids_of_the_globe(tmp_path, sample):
    """The places of the cells are those that ecCodes gives; the rain is near Java."""
    import eccodes

    handle = eccodes.codes_grib_new_from_samples(sample)
    place = 110.0, -7.0
    try:
        longitude, latitude = (eccodes.codes_get_array(handle, name) for name in ("longitudes", "latitudes"))
        for key, value in {"dataDate": 20240601, "dataTime": 0, **TOTAL}.items():
            eccodes.codes_set(handle, key, value)
        eccodes.codes_set_values(handle, rain_near(longitude, latitude, place, 400.0))
        write(tmp_path / "g.grib2", eccodes.codes_get_message(handle))
    finally:
        eccodes.codes_release(handle)
    nwp = open_nwp(tmp_path / "g.grib2")
    assert crs_of(nwp).is_geographic
    grid = radar("+proj=merc +lat_ts=0 +lon_0=110", place, cells=60, spacing=30_000.0)
    assert shower_at(nwp, grid) == pytest.approx((0, 0), abs=100.0)  # cells are 310 km wide
    assert np.isfinite(
        regrid_to_radar(nwp, radar(centre=(-179.9, 60.0), crs="EPSG:3411"), [RUN + HOUR]).to_array()
    ).all()


def test_uneven_latitudes_of_a_gaussian_grid_in_netcdf(tmp_path):
    latitude = np.linspace(53, 49, 81) + 0.01 * np.sin(np.arange(81))
    longitude = np.linspace(8, 13, 101)
    data = xr.Dataset(
        {"pr": (("time", "lat", "lon"), rain_near(*np.meshgrid(longitude, latitude))[None], RATE)},
        {
            "lat": ("lat", latitude, {"units": "degrees_north"}),
            "lon": ("lon", longitude, {"units": "degrees_east"}),
            "time": ("time", [RUN + HOUR], {"standard_name": "time"}),
            "forecast_reference_time": ((), RUN, {"standard_name": "forecast_reference_time"}),
        },
    )
    data.to_netcdf(tmp_path / "u.nc", engine="h5netcdf")
    assert shower_at(open_nwp(tmp_path / "u.nc"), radar()) == pytest.approx((0, 0), abs=2.5)


def test_a_global_model_of_one_degree_is_read(tmp_path):
    """GFS at 1 degree, whose longitudes run from 0 to 359."""
    longitude, latitude = np.meshgrid(np.arange(360.0), 90.0 - np.arange(181.0))
    place = -100.5, 40.5
    rain = rain_near((longitude + 180) % 360 - 180, latitude, place, 150.0)
    message = encode(rain, **degrees(90.0, 0.0, -90.0, 359.0, 1.0), **{**TOTAL, "dataDate": 20240601, "dataTime": 0})
    nwp = open_nwp(write(tmp_path / "gfs.grib2", message))
    grid = radar("EPSG:5070", place, cells=50, spacing=20_000.0)
    assert shower_at(nwp, grid) == pytest.approx((0, 0), abs=15.0)


def test_rotated_axes_without_their_mapping_are_refused(tmp_path):
    axes = {
        "rlat": ("rlat", -4 + np.arange(8) * 0.02, {"units": "degrees", "standard_name": "grid_latitude"}),
        "rlon": ("rlon", -5 + np.arange(10) * 0.02, {"units": "degrees", "standard_name": "grid_longitude"}),
        "time": ("time", [RUN + HOUR], {"standard_name": "time"}),
        "forecast_reference_time": ((), RUN, {"standard_name": "forecast_reference_time"}),
    }
    rate = {**RATE, "grid_mapping": "rotated_pole"}
    xr.Dataset({"pr": (("time", "rlat", "rlon"), np.ones((1, 8, 10)), rate)}, axes).to_netcdf(tmp_path / "r.nc")
    with pytest.raises(ReadError, match=r"r\.nc: .*rotated.*grid mapping"):
        open_nwp(tmp_path / "r.nc")


def test_rotated_axes_with_places_of_each_cell_are_read_without_their_mapping(tmp_path):
    """As CORDEX files are after tools that drop the variable of the grid mapping."""
    pole = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=40 +lon_0=10 +to_meter=0.0174532925199433 +R=6371229"
    rlon, rlat = np.meshgrid(np.arange(-60, 61) * 0.025, np.arange(-60, 61) * 0.025)
    longitude, latitude = pyproj.Transformer.from_crs(pole, "+proj=longlat +R=6371229", always_xy=True).transform(
        rlon, rlat
    )
    place = float(longitude[60, 60]), float(latitude[60, 60])
    coords = {
        "rlat": ("rlat", rlat[:, 0], {"units": "degrees", "standard_name": "grid_latitude"}),
        "rlon": ("rlon", rlon[0], {"units": "degrees", "standard_name": "grid_longitude"}),
        "lat": (("rlat", "rlon"), latitude, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": (("rlat", "rlon"), longitude, {"units": "degrees_east", "standard_name": "longitude"}),
        "time": ("time", [RUN + HOUR], {"standard_name": "time"}),
        "forecast_reference_time": ((), RUN, {"standard_name": "forecast_reference_time"}),
    }
    rate = {**RATE, "grid_mapping": "rotated_pole"}
    rain = rain_near(longitude, latitude, place)[None]
    xr.Dataset({"pr": (("time", "rlat", "rlon"), rain, rate)}, coords).to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    assert shower_at(open_nwp(tmp_path / "r.nc"), radar(centre=place)) == pytest.approx((0, 0), abs=1.0)


def test_two_native_grids_are_not_mixed(icon):
    longitude, latitude, rain = scattered(seed=6)
    other = "f" * 32
    write(icon / "a.grib2", triangles(rain, other, **{**TOTAL, "dataTime": 300}))
    write(icon / "b.grib2", triangles(latitude, other, **PLACE, parameterNumber=1))
    write(icon / "c.grib2", triangles(longitude, other, **PLACE, parameterNumber=2))
    with pytest.raises(InputError, match=r"a\.grib2.*rain\.grib2.*one NWP model on one grid"):
        open_nwp(icon / "*.grib2")
