"""Pixels of a web map: a cell lands where its longitude and latitude say, on grids of all kinds, or is refused."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest

from helpers.web_maps import make_radar
from hybridcast.errors import InputError
from hybridcast.webmap.canvas import OUTSIDE, make_canvas

#: Name of a grid, its CRS, first cell centre and step along y and x, and number of rows and columns.
GRIDS = {
    "projected": ("EPSG:3067", (6_600_000.0, 1000.0, 60), (300_000.0, 1000.0, 50)),
    "rows from the north": ("EPSG:3067", (6_600_000.0, -1000.0, 60), (300_000.0, 1000.0, 50)),
    "polar stereographic": (
        "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +R=6370040",
        (-4_650_000.0, 2000.0, 80),
        (-500_000.0, 2000.0, 70),
    ),
    "longitude and latitude": ("EPSG:4326", (40.0, 0.02, 60), (-5.0, 0.02, 70)),
    "oblong cells": ("EPSG:4326", (60.0, 0.01, 80), (10.0, 0.03, 50)),
    "across the date line": ("EPSG:4326", (-20.0, 0.05, 50), (178.0, 0.05, 90)),
    "date line, projected": ("+proj=laea +lat_0=-18 +lon_0=179", (-80_000.0, 2000.0, 80), (-90_000.0, 2000.0, 90)),
    "south": ("EPSG:3031", (1_500_000.0, 4000.0, 60), (900_000.0, 4000.0, 50)),
}


def axes_of(name):
    crs, *described = GRIDS[name]
    y, x = (first + step * np.arange(count) for first, step, count in described)
    return crs, y, x


def to_pixel(canvas, longitude, latitude):
    """Row and column of a place by the formula of Web Mercator, as a browser computes them."""
    project = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform
    (south, west), (north, east) = canvas.south_west, canvas.north_east
    longitude += 360 * np.round(((west + east) / 2 - longitude) / 360)
    height = [project(0.0, one)[1] for one in (south, latitude, north)]
    rows, columns = canvas.shape
    row = (height[2] - height[1]) / (height[2] - height[0]) * rows
    return int(row), int((longitude - west) / (east - west) * columns)


@pytest.mark.parametrize("name", GRIDS)
def test_a_cell_is_where_its_longitude_and_latitude_say(name):
    crs, y, x = axes_of(name)
    canvas = make_canvas(make_radar(np.zeros((y.size, x.size)), y=y, x=x, crs=crs))
    to_earth = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    for row, column in ((5, 7), (y.size // 2, x.size // 2), (y.size - 6, 8), (9, x.size - 4)):
        pixel = to_pixel(canvas, *to_earth.transform(x[column], y[row]))
        found = divmod(int(canvas.cells[pixel]), x.size)
        assert np.abs(np.subtract(found, (row, column))).max() <= 1, (row, column, found)


@pytest.mark.parametrize("name", GRIDS)
def test_every_cell_is_within_the_picture(name):
    crs, y, x = axes_of(name)
    canvas = make_canvas(make_radar(np.zeros((y.size, x.size)), y=y, x=x, crs=crs), 400)
    shown = np.unique(canvas.cells[canvas.cells != OUTSIDE])
    for edge in (0, y.size - 1):  # the rows and columns at the edges are shown too
        assert np.isin(edge * x.size + np.arange(x.size), shown).mean() > 0.3
    for edge in (0, x.size - 1):
        assert np.isin(edge + x.size * np.arange(y.size), shown).mean() > 0.3
    assert shown.min() >= 0
    assert shown.max() < y.size * x.size


def test_the_date_line_is_no_seam():
    crs, y, x = axes_of("across the date line")
    canvas = make_canvas(make_radar(np.zeros((y.size, x.size)), y=y, x=x, crs=crs))
    assert canvas.south_west[1] % 360 == pytest.approx(177.975)
    assert canvas.north_east[1] - canvas.south_west[1] == pytest.approx(4.5, abs=0.05)
    assert (canvas.cells != OUTSIDE).mean() > 0.97


def test_large_grids_have_larger_pixels():
    radar = make_radar(np.zeros((300, 200)), y=6.6e6 + 1000.0 * np.arange(300), x=3e5 + 1000.0 * np.arange(200))
    canvas = make_canvas(radar, 100)
    assert max(canvas.shape) == 100
    assert canvas.pixel_cells > 2.9


def test_a_grid_of_unknown_place_is_shown_as_it_is():
    radar = make_radar(np.zeros((4, 3)), y=[3000.0, 2000.0, 1000.0, 0.0], x=[0.0, 1000.0, 2000.0], crs=None)
    canvas = make_canvas(radar)
    assert canvas.is_local
    assert canvas.cells.tolist() == np.arange(12).reshape(4, 3).tolist()
    assert (canvas.south_west, canvas.north_east) == ((-500.0, -500.0), (3500.0, 2500.0))


def test_a_grid_around_a_pole_is_refused():
    axis = 100_000.0 * np.arange(-5, 6)
    for crs, pole in (("EPSG:3413", "north"), ("EPSG:3031", "south")):
        with pytest.raises(InputError, match=f"holds the {pole} pole"):
            make_canvas(make_radar(np.zeros((11, 11)), y=axis, x=axis, crs=crs))


def test_a_map_ends_at_85_degrees():
    y, x = np.arange(80.0, 90.0, 0.5), np.arange(0.0, 20.0, 0.5)
    canvas = make_canvas(make_radar(np.zeros((y.size, x.size)), y=y, x=x, crs="EPSG:4326"))
    assert canvas.north_east[0] == pytest.approx(85.0, abs=0.5)
    with pytest.raises(InputError, match="85 degrees"):
        make_canvas(make_radar(np.zeros((4, 4)), y=np.arange(86.0, 88.0, 0.5), x=x[:4], crs="EPSG:4326"))


def test_what_a_satellite_does_not_see_is_outside():
    crs = "+proj=geos +h=35785831 +lon_0=0 +sweep=y"
    axis = np.linspace(-5.4e6, 5.4e6, 121)
    canvas = make_canvas(make_radar(np.zeros((121, 121)), y=axis, x=axis, crs=crs), 200)
    assert -85 <= canvas.south_west[0] < -70
    middle = divmod(int(canvas.cells[canvas.shape[0] // 2, canvas.shape[1] // 2]), 121)
    assert np.abs(np.subtract(middle, 60)).max() <= 1
    assert (canvas.cells == OUTSIDE).mean() > 0.03
