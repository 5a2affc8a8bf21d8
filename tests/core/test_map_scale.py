"""True distances on maps, against the factors of PROJ, spherical trigonometry and a rain cell of known speed."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest

from hybridcast.core.field import metres_per_cell, precipitation
from hybridcast.core.grid import block_size, cell_kilometres, cell_size
from hybridcast.core.map_scale import map_scale
from hybridcast.motion.estimate import cells_per_step, estimate_motion, motion_dataset

POLAR = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=-111 +R=6371229"
OPERA = "+proj=laea +lat_0=55 +lon_0=10 +x_0=1950000 +y_0=-2100000 +ellps=WGS84"
START = np.datetime64("2024-06-01T12:00", "ns")
FIVE_MINUTES = np.timedelta64(5, "m")


def grid(crs, x, y, values=0.0, times=1):
    shape = times, len(y), len(x)
    stamps = START + np.arange(times) * FIVE_MINUTES
    return precipitation(np.broadcast_to(values, shape), time=stamps, y=y, x=x, crs=crs)


@pytest.mark.parametrize(
    ("crs", "x", "y"),
    [
        ("+proj=merc +R=6378137", (-2e6, 4e6), (4e6, 11e6)),
        ("+proj=merc +lat_ts=60 +ellps=WGS84", (0, 5e5), (2e6, 6e6)),
        (POLAR, (-3e6, 3e6), (-6e6, -5e5)),
        ("+proj=lcc +lat_1=38.5 +lat_2=38.5 +lat_0=38.5 +lon_0=-97.5 +R=6371229", (-2.7e6, 2.7e6), (-1.6e6, 1.6e6)),
        ("+proj=omerc +lat_0=4 +lonc=115 +alpha=53 +k=0.99984 +ellps=evrstSS", (-5e5, 5e5), (-5e5, 5e5)),
    ],
)
def test_conformal_maps_have_the_factors_of_proj(crs, x, y):
    """On a conformal map the scale is the same in every direction: PROJ's scale along the meridian."""
    x, y = np.linspace(*x, 61), np.linspace(*y, 51)
    places = np.meshgrid(x, y)
    longitude, latitude = pyproj.Proj(crs)(*places, inverse=True)
    expected = 1 / pyproj.Proj(crs).get_factors(longitude, latitude).meridional_scale
    expected = np.where(np.abs(expected - 1).max() < 0.005, 1.0, expected)
    for scale in map_scale(pyproj.CRS(crs), x, y):
        np.testing.assert_allclose(np.broadcast_to(scale, expected.shape), expected, rtol=6e-4)


def test_an_equal_area_map_is_stretched_across_and_squeezed_outwards():
    """East of the centre of a Lambert azimuthal equal-area map at distance c: cos(c/2) outwards, 1/cos(c/2) across."""
    crs = pyproj.CRS("+proj=laea +lat_0=0 +lon_0=0 +R=6371000")
    c = np.deg2rad(25.0)
    far = 2 * 6371000 * np.sin(c / 2)
    along_y, along_x = map_scale(crs, np.linspace(0, far, 200), np.linspace(-1e4, 1e4, 3))
    assert along_x[1, -1] == pytest.approx(1 / np.cos(c / 2), rel=2e-4)
    assert along_y[1, -1] == pytest.approx(np.cos(c / 2), rel=2e-4)
    assert along_x[1, 0] == pytest.approx(1, abs=1e-4)


def test_maps_that_are_true_stay_exactly_true_and_rows_share_a_value_where_they_can():
    near = np.arange(100) * 1e3
    for crs in ("EPSG:2056", "EPSG:3067", "+proj=aeqd +lat_0=50 +lon_0=5"):
        origin = {"EPSG:2056": (2.6e6, 1.2e6), "EPSG:3067": (4e5, 6.8e6)}.get(crs, (0, 0))
        dy, dx = metres_per_cell(grid(crs, origin[0] + near, origin[1] - near))
        assert (dy.tolist(), dx.tolist()) == ([[-1000.0]], [[1000.0]])
    dy, dx = metres_per_cell(grid("EPSG:3857", near, 8e6 + near[:40]))
    assert dy.shape == dx.shape == (40, 1)
    assert metres_per_cell(grid(OPERA, 2e3 * np.arange(1900), -2e3 * np.arange(2200)))[0].shape == (2200, 1900)


def test_a_map_over_the_pole_and_a_disc_seen_from_space_have_no_gap():
    for crs in ("+proj=stere +lat_0=90 +lat_ts=60 +R=6371229", "+proj=geos +h=35785831 +lon_0=0 +ellps=WGS84"):
        axis = np.linspace(-6e6, 6e6, 101)
        for scale in map_scale(pyproj.CRS(crs), axis, axis):
            assert np.isfinite(scale).all()
            assert (scale > 0).all()


def test_rotated_degrees_are_true_on_the_sphere():
    """Distances between neighbours of a rotated grid far from the rotated equator, by the haversine formula."""
    crs = pyproj.CRS.from_cf(
        {
            "grid_mapping_name": "rotated_latitude_longitude",
            "grid_north_pole_latitude": 39.25,
            "grid_north_pole_longitude": -162.0,
        }
    )
    field = grid(crs, 20 + 0.02 * np.arange(30), 40 + 0.02 * np.arange(20))
    dy, dx = (np.broadcast_to(step, (20, 30)) for step in metres_per_cell(field))
    to_earth = pyproj.Transformer.from_crs(crs, crs.source_crs, always_xy=True)
    here, east, north = (to_earth.transform(20.1 + a, 40.1 + b) for a, b in ((0, 0), (0.02, 0), (0, 0.02)))
    geod = pyproj.Geod("+a=6371008.8 +b=6371008.8")
    assert dx[5, 5] == pytest.approx(geod.inv(*here, *east)[2], rel=1e-3)
    assert dy[5, 5] == pytest.approx(geod.inv(*here, *north)[2], rel=1e-3)


def test_windows_and_blocks_are_in_true_kilometres():
    """Cells of 2 km on Web Mercator at 60 N are 1 km wide on Earth."""
    middle = 8_399_738.0
    field = grid("EPSG:3857", 2e3 * np.arange(50), middle + 2e3 * np.arange(-25, 25))
    assert cell_size(field) == pytest.approx(1000, rel=0.01)
    assert cell_kilometres(field) == pytest.approx((1.0, 1.0), rel=0.01)
    assert block_size(field, 2000.0) == 2


@pytest.mark.parametrize(
    ("crs", "longitude", "latitude"),
    [("EPSG:3857", 20.0, 60.0), ("EPSG:3857", 20.0, 49.0), (POLAR, -111.0, 35.0), ("EPSG:3035", 30.0, 68.0)],
)
def test_a_cell_at_twelve_metres_per_second_has_that_speed(crs, longitude, latitude):
    """The frames are cut out of one field on Earth that moves east by 12 m/s, whatever the map."""
    to_map = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    x0, y0 = to_map.transform(longitude, latitude)
    east = np.subtract(to_map.transform(longitude + 0.01, latitude), (x0, y0))
    metres = pyproj.Geod(ellps="WGS84").inv(longitude, latitude, longitude + 0.01, latitude)[2]
    spacing = 1000.0 * np.hypot(*east) / metres
    x, y = x0 + spacing * np.arange(-60, 60), y0 + spacing * np.arange(-50, 50)
    columns, rows = np.meshgrid(x - x0, y - y0)
    frames = []
    for k in range(4):
        dx, dy = east / metres * 12 * 300 * k
        at = columns / spacing - dx / spacing, rows / spacing - dy / spacing
        parts = [(20, -10, 0, 8), (10, 12, -20, 6), (15, -5, 18, 7)]
        rain = sum(a * np.exp(-((at[0] - i) ** 2 + (at[1] - j) ** 2) / (2 * s * s)) for a, i, j, s in parts)
        frames.append(np.where(rain < 0.1, 0, rain))
    field = grid(crs, x, y, np.array(frames), times=4)
    motion = estimate_motion(field)
    wet = frames[-1] > 1
    speed = np.hypot(motion["u"], motion["v"]).values[wet]
    assert speed.mean() == pytest.approx(12, rel=0.03)


@pytest.mark.parametrize("crs", ["EPSG:3857", POLAR, "EPSG:3035", "EPSG:4326"])
def test_motion_in_metres_and_in_cells_are_inverse(crs):
    step, at = (0.02, (10, 50)) if crs == "EPSG:4326" else (2e3, (3e6, 5e6))
    field = grid(crs, at[0] + step * np.arange(40), at[1] - step * np.arange(30))
    flow = np.random.default_rng(0).normal(size=(2, 30, 40)).astype(np.float32)
    back = cells_per_step(motion_dataset(flow, field, FIVE_MINUTES), FIVE_MINUTES)
    np.testing.assert_allclose(back, flow, rtol=1e-6)
