"""Directions of wind on maps, compared with geodesy and known values."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest

from hybridcast.nwp.wind import north_direction, rotate_wind

ROTATED = pyproj.CRS.from_cf(
    {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": 40.0,
        "grid_north_pole_longitude": -170.0,
    }
)


@pytest.mark.parametrize("crs", [None, "EPSG:4326"])
def test_north_is_up_on_local_grids_and_longitude_and_latitude(crs):
    assert north_direction(None if crs is None else pyproj.CRS(crs), np.zeros(1), np.zeros(1)) is None


@pytest.mark.parametrize("longitude", [-20.0, 0.0, 25.0, 60.0])
def test_on_a_polar_stereographic_map_north_turns_with_longitude(longitude):
    """The convergence of the meridians is the longitude minus the central one."""
    crs = pyproj.CRS("+proj=stere +lat_0=90 +lat_ts=60 +lon_0=0 +R=6371229")
    x, y = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform(longitude, 50.0)
    nx, ny = north_direction(crs, np.array([x]), np.array([y]))[:, 0]
    assert (nx, ny) == pytest.approx((-np.sin(np.deg2rad(longitude)), np.cos(np.deg2rad(longitude))), abs=1e-4)


@pytest.mark.parametrize(
    ("crs", "longitude", "latitude"),
    [
        (ROTATED, 10.0, 50.0),
        (ROTATED, -5.0, 55.0),
        (ROTATED, 25.0, -30.0),
        ("EPSG:3035", 10.0, 50.0),
        ("EPSG:3035", -5.0, 55.0),
        ("EPSG:3035", 25.0, 45.0),
        ("EPSG:2193", 170.0, -40.0),
    ],
)
def test_wind_carries_air_to_the_same_place_on_the_globe_and_on_the_map(crs, longitude, latitude):
    """The map of Europe (EPSG:3035) is equal-area, so angles are correct within a degree only."""
    crs = pyproj.CRS(crs)
    to_map = pyproj.Transformer.from_crs("+proj=longlat +R=6371229", crs, always_xy=True)
    x, y = (np.array([v]) for v in to_map.transform(longitude, latitude))
    u, v = rotate_wind(np.array([3.0]), np.array([4.0]), None, north_direction(crs, x, y))
    there = to_map.transform(longitude + 3e-4 / np.cos(np.deg2rad(latitude)), latitude + 4e-4)
    moved = np.array([there[0] - x[0], there[1] - y[0]])
    if crs.is_geographic:
        moved[0] *= np.cos(np.deg2rad(y[0]))
    moved *= 5 / np.hypot(*moved)
    assert (u[0], v[0]) == pytest.approx(tuple(moved), abs=0.1)


def test_turning_to_and_fro_changes_nothing():
    x, y = np.meshgrid(np.linspace(4e6, 5e6, 5), np.linspace(2e6, 3e6, 4))
    north = north_direction(pyproj.CRS("EPSG:3035"), x, y)
    wind = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
    there = rotate_wind(*wind, None, north)
    np.testing.assert_allclose(rotate_wind(*there, north, None), wind, atol=1e-5)
    np.testing.assert_allclose(np.hypot(*there), np.hypot(*wind), rtol=1e-5)
