"""Terrain: known fields and slopes, each format, and the real heights of Finland and north-western France."""

from __future__ import annotations

import gzip
import zipfile

import numpy as np
import pyproj
import pytest
import xarray as xr

from helpers.serving import serve
from helpers.synthetic import rain
from hybridcast import fetch, open_radar, precipitation
from hybridcast.core.field import crs_of
from hybridcast.errors import InputError, ReadError
from hybridcast.predictors.registry import TERRAIN_PREDICTORS
from hybridcast.predictors.terrain import compute_terrain_predictors
from hybridcast.terrain import open_terrain, terrain_dataset

LAEA = pyproj.CRS("EPSG:3035")


def radar(rows=20, columns=30, spacing=1000.0, place=(4_300_000.0, 3_000_000.0), crs=LAEA):
    return precipitation(
        np.zeros((rows, columns)),
        time=[np.datetime64("2020-01-01")],
        y=place[1] + spacing * np.arange(rows)[::-1],
        x=place[0] + spacing * np.arange(columns),
        crs=crs,
    )


def heights(x, y):
    """Ground that rises by 20 m a km to the east and 10 m a km to the north."""
    return 500 + 0.02 * (x - 4_300_000) + 0.01 * (y - 3_000_000)


def geotiff(path, height, *, spacing, place=(4_280_000.0, 3_060_000.0), crs=LAEA, **options):
    """Write heights whose upper left corner is `place`."""
    import rasterio
    from rasterio.transform import from_origin

    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height.shape[0],
        width=height.shape[1],
        count=1,
        dtype=height.dtype,
        crs=None if crs is None else crs.to_wkt(),
        transform=from_origin(*place, spacing, spacing),
        **options,
    ) as file:
        file.write(height, 1)
    return path


def sloping(spacing, size=100_000.0, place=(4_280_000.0, 3_060_000.0)):
    n = round(size / spacing)
    x = place[0] + (np.arange(n) + 0.5) * spacing
    y = place[1] - (np.arange(n) + 0.5) * spacing
    return heights(*np.meshgrid(x, y)).astype(np.float32)


# --- slopes and predictors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("down", [True, False])
def test_slopes_point_to_growing_x_and_y_whichever_way_rows_run(down):
    field = radar() if down else radar().isel(y=slice(None, None, -1))
    terrain = terrain_dataset(heights(*np.meshgrid(field.x.values, field.y.values)), field)
    np.testing.assert_allclose(terrain.slope_x, 0.02, rtol=1e-3)
    np.testing.assert_allclose(terrain.slope_y, 0.01, rtol=1e-3)
    fields = compute_terrain_predictors(terrain, np.full(field.shape[1:], 10), np.full(field.shape[1:], -5))
    assert tuple(fields) == TERRAIN_PREDICTORS
    np.testing.assert_allclose(fields["terrain_upslope"], 0.2 - 0.05, rtol=1e-3)
    np.testing.assert_allclose(fields["terrain_slope"], np.hypot(20, 10), rtol=1e-3)
    assert all(plane.dtype == np.float32 for plane in fields.values())


def test_without_terrain_all_is_nan():
    fields = compute_terrain_predictors(None, np.ones((3, 4)), np.ones((3, 4)))
    assert tuple(fields) == TERRAIN_PREDICTORS
    assert all(plane.shape == (3, 4) and np.isnan(plane).all() for plane in fields.values())


def test_a_radar_without_a_place_has_no_terrain(tmp_path):
    path = geotiff(tmp_path / "a.tif", sloping(500), spacing=500)
    with pytest.raises(InputError, match=r"place of the radar grid is not known.*leave the terrain out"):
        open_terrain(path, rain((8, 8)))


# --- formats --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [250, 5000], ids=["finer", "coarser"])
def test_geotiff_of_either_size_of_cells(tmp_path, spacing):
    field = radar()
    terrain = open_terrain(geotiff(tmp_path / "a.tif", sloping(spacing), spacing=spacing), field)
    wanted = heights(*np.meshgrid(field.x.values, field.y.values))
    np.testing.assert_allclose(terrain.surface_altitude, wanted, atol=0.3)
    np.testing.assert_allclose(terrain.slope_x[2:-2, 2:-2], 0.02, rtol=0.02)
    assert crs_of(terrain) == LAEA
    assert terrain.surface_altitude.attrs["units"] == "m"


def test_finer_heights_are_averaged(tmp_path):
    """A chequerboard of 0 and 100 m on 250 m cells is 50 m on cells of 1 km."""
    rows, columns = np.mgrid[:400, :400]
    path = geotiff(tmp_path / "a.tif", (100.0 * ((rows + columns) % 2)).astype(np.float32), spacing=250)
    field = radar(place=(4_300_500.0, 3_000_500.0))
    np.testing.assert_allclose(open_terrain(path, field).surface_altitude, 50, atol=1e-3)


def test_no_data_and_outside_are_nan(tmp_path):
    height = sloping(500)
    height[:, 100:] = -9999
    path = geotiff(tmp_path / "a.tif", height, spacing=500, nodata=-9999)
    field = radar(columns=60, place=(4_270_000.0, 3_000_000.0))
    found = open_terrain(path, field).surface_altitude
    inside = (field.x.values > 4_281_000) & (field.x.values < 4_329_000)
    assert (np.isfinite(found.values) == inside)[:, np.abs(field.x.values - 4_280_000) > 1000].mean() > 0.95
    assert np.isnan(found.values[:, field.x.values < 4_279_000]).all()
    assert np.isfinite(found.values[:, inside]).all()
    assert float(found.min()) > 0


def test_another_projection_keeps_the_places(tmp_path):
    latitude, longitude = np.arange(55, 45, -0.02) - 0.01, np.arange(5, 15, 0.02) + 0.01
    height = (100 * latitude[:, None] + 10 * longitude).astype(np.float32)
    path = geotiff(tmp_path / "a.tif", height, spacing=0.02, place=(5, 55), crs=pyproj.CRS("EPSG:4326"))
    field = radar()
    to_earth = pyproj.Transformer.from_crs(LAEA, "EPSG:4326", always_xy=True)
    longitudes, latitudes = to_earth.transform(*np.meshgrid(field.x.values, field.y.values))
    np.testing.assert_allclose(open_terrain(path, field).surface_altitude, 100 * latitudes + 10 * longitudes, atol=0.5)


def test_cf_netcdf_in_kilometres(tmp_path):
    x, y = 4_280_000 + np.arange(100) * 1000.0, 2_980_000 + np.arange(100) * 1000.0
    data = xr.Dataset(
        {
            "height": (
                ("y", "x"),
                heights(*np.meshgrid(x, y)),
                {"standard_name": "surface_altitude", "units": "m", "grid_mapping": "crs"},
            )
        },
        {
            "x": ("x", x / 1000, {"standard_name": "projection_x_coordinate", "units": "km"}),
            "y": ("y", y / 1000, {"standard_name": "projection_y_coordinate", "units": "km"}),
            "crs": ((), 0, LAEA.to_cf()),
        },
    )
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    field = radar()
    wanted = heights(*np.meshgrid(field.x.values, field.y.values))
    np.testing.assert_allclose(open_terrain(tmp_path / "a.nc", field).surface_altitude, wanted, atol=0.3)
    other = data.rename(height="temperature")
    other["temperature"].attrs["standard_name"] = "air_temperature"
    other.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    with pytest.raises(ReadError, match="no variable is surface_altitude"):
        open_terrain(tmp_path / "b.nc", field)


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("high")
    whole = geotiff(tmp_path / "whole.tif", sloping(500), spacing=500).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[:1000])
    np.savez(tmp_path / "a.npz", elevation=np.zeros((3, 3)))
    geotiff(tmp_path / "nowhere.tif", sloping(500), spacing=500, crs=None)
    for name, words in {
        "a.txt": "no known format of heights",
        "cut.tif": "cannot be read as heights",
        "a.npz": "an npz of heights holds elev",
        "nowhere.tif": "states no CRS",
    }.items():
        with pytest.raises(ReadError, match=words):
            open_terrain(tmp_path / name, radar())
    with pytest.raises(InputError, match=r"no file matches .*none\.tif"):
        open_terrain(tmp_path / "none.tif", radar())


# --- real heights ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finland(real):
    real("dem/*.npz")
    radar = open_radar(fetch("fmi-20170509", radar_only=True)[0])
    return radar, open_terrain(fetch("dem-fmi")[0], radar)


def test_heights_of_finland_are_those_of_the_map(finland):
    """Lake Päijänne lies at 78 m, lake Inari at 119 m, Kuopio's lake at 82 m; Helsinki and the gulf by the sea."""
    radar, terrain = finland
    to_map = pyproj.Transformer.from_crs("EPSG:4326", crs_of(radar), always_xy=True)
    for longitude, latitude, low, high in (
        (25.50, 61.50, 76, 100),
        (27.80, 69.00, 117, 130),
        (24.94, 60.17, 0, 30),
        (25.00, 59.80, -1, 1),
        (20.00, 62.50, -1, 1),  # in a tile that is all sea
        (24.05, 68.06, 500, 810),  # the fells of Pallas
    ):
        x, y = to_map.transform(longitude, latitude)
        found = float(terrain.surface_altitude.sel(x=x, y=y, method="nearest"))
        assert low <= found <= high, (longitude, latitude, found)


def test_the_fells_rise_and_the_sea_is_flat(finland):
    radar, terrain = finland
    assert terrain.surface_altitude.shape == radar.shape[1:]
    still = compute_terrain_predictors(terrain, *np.zeros((2, *radar.shape[1:])))
    assert (still["terrain_upslope"][np.isfinite(still["terrain_upslope"])] == 0).all()
    assert 1000 < np.nanmax(still["terrain_height"]) < 1800
    # beyond 59 to 72 N and 19 to 32 E nothing is known, and only there
    x, y = np.meshgrid(radar.x.values, radar.y.values)
    longitude, latitude = pyproj.Transformer.from_crs(crs_of(radar), "EPSG:4326", always_xy=True).transform(x, y)
    inside = (longitude > 19.05) & (longitude < 31.95) & (latitude > 59.05) & (latitude < 71.95)
    outside = (longitude < 18.95) | (longitude > 32.05) | (latitude < 58.95) | (latitude > 72.05)
    assert np.isfinite(terrain.surface_altitude.values[inside]).all()
    assert np.isnan(terrain.surface_altitude.values[outside]).all()


def test_relief_of_meteonet_is_that_of_brittany_and_normandy(real):
    """The masks' second message; the sea is at 0, the Monts d'Arrée are 385 m high, and nothing is above 630 m."""
    masks = real("meteonet/masks/NW_masks.grib")[0]
    latitude, longitude = np.arange(51.5, 46.5, -0.01), np.arange(-5.5, 1.9, 0.01)
    field = precipitation(
        np.zeros((latitude.size, longitude.size)),
        time=[np.datetime64("2018-05-01")],
        y=latitude,
        x=longitude,
        crs="EPSG:4326",
    )
    height = open_terrain(masks, field).surface_altitude
    assert np.isfinite(height.values).all()
    assert float(height.max()) < 630
    assert abs(float(height.sel(y=49.8, x=-4.0, method="nearest"))) < 1
    arree = height.sel(y=slice(48.45, 48.35), x=slice(-4.0, -3.85))
    assert 220 < float(arree.max()) < 385
    with pytest.raises(ReadError, match="no message is a height"):
        open_terrain(real("meteonet/weather_models/arpege_2m*.grib")[0], field)


def test_heights_come_from_anywhere(tmp_path):
    path = geotiff(tmp_path / "heights.tif", sloping(500), spacing=500)
    expected = open_terrain(path, radar())["surface_altitude"]
    packed = tmp_path / "heights.tif.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with zipfile.ZipFile(tmp_path / "heights.zip", "w") as archive:
        archive.write(path, path.name)
    with serve({"heights.tif": path.read_bytes()}) as site:
        for place in (packed, tmp_path / "heights.zip", f"{site.url}/heights.tif"):
            np.testing.assert_array_equal(open_terrain(place, radar())["surface_altitude"], expected)
    with pytest.raises(InputError, match="heights are in one file"):
        open_terrain(str(tmp_path / "heights.*"), radar())
