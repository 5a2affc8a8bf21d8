"""Coastlines: where they are on the field's projection, and none where the projection is unknown."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest

from helpers.drawing import field_of
from hybridcast.plots import coast, plot_precipitation

CRS = pyproj.CRS("EPSG:3067")
EXTENT = (300_000.0, 400_000.0, 6_600_000.0, 6_700_000.0)


@pytest.fixture(autouse=True)
def nothing_is_remembered():
    coast.find_outlines.cache_clear()
    yield
    coast.find_outlines.cache_clear()


@pytest.fixture
def island(monkeypatch):
    """A coastline of our own: a meridian through the extent; and a line far away."""
    meridian = np.column_stack([np.full(80, 24.5), np.linspace(58.0, 62.0, 80)])
    far = np.array([[100.0, -40.0], [101.0, -41.0]])
    monkeypatch.setattr(coast, "find_coast", lambda _: [meridian, far])
    monkeypatch.setattr(coast, "find_borders", lambda _: [])


def test_a_line_is_where_its_longitude_says(island):
    (line,) = coast.find_outlines(CRS, EXTENT)
    x, y = line.T
    assert y.min() < EXTENT[2] + 1000
    assert y.max() > EXTENT[3] - 1000
    back, _ = pyproj.Transformer.from_crs(CRS, "EPSG:4326", always_xy=True).transform(x, y)
    assert back == pytest.approx(np.full(x.size, 24.5), abs=1e-9)


def test_the_coast_of_the_gulf_of_finland_is_within_the_map():
    west, east, south, north = EXTENT
    lines = coast.find_outlines(CRS, EXTENT)
    x, y = np.concatenate(lines).T
    assert sum(map(len, lines)) > 50
    assert ((x > west - 6e3) & (x < east + 6e3) & (y > south - 6e3) & (y < north + 6e3)).all()
    distance = np.hypot(x - 385_500.0, y - 6_671_500.0)  # Helsinki lies on it
    assert distance.min() < 5e3


@pytest.mark.parametrize(("west", "expected"), [(179.4, 180.05), (-180.6, -179.95)])
def test_a_line_beyond_the_date_line_is_on_a_map_that_goes_on_there(monkeypatch, west, expected):
    """Fiji's 179.95 W on a map from 179.4 to 180.6 E, and on one from 180.6 to 179.4 W."""
    meridian = np.column_stack([np.full(5, -179.95), np.linspace(-18.2, -17.8, 5)])
    monkeypatch.setattr(coast, "find_coast", lambda _: [meridian])
    line = coast.find_outlines(pyproj.CRS("EPSG:4326"), (west, west + 1.2, -18.5, -17.5))[0]
    np.testing.assert_allclose(line[:, 0], expected)


@pytest.mark.parametrize(
    ("crs", "extent"),
    [
        ("+proj=laea +lat_0=55 +lon_0=10 +x_0=1950000 +y_0=-2100000", (0.0, 3.8e6, -4.4e6, 0.0)),  # Europe
        ("EPSG:3411", (-4e6, 4e6, -4e6, 4e6)),  # around the pole
        ("+proj=geos +h=35785831 +lon_0=0", (-5.5e6, 5.5e6, -5.5e6, 5.5e6)),  # the corners are no places
        ("EPSG:4326", (0.0, 360.0, -90.0, 90.0)),
    ],
)
def test_large_extents_have_finite_lines_within_them(crs, extent):
    west, east, south, north = extent
    x, y = np.concatenate(coast.find_outlines(pyproj.CRS(crs), extent)).T
    margin = 0.051 * max(east - west, north - south)
    assert x.size > 1000
    assert ((x > west - margin) & (x < east + margin) & (y > south - margin) & (y < north + margin)).all()


def test_a_map_has_it_in_kilometres(island):
    field = field_of(np.zeros((100, 100)), y0=6_600_500.0, x0=300_500.0)
    with_coast, without = (plot_precipitation(field, coast=wanted).axes[0] for wanted in (True, False))
    (collection,) = with_coast.collections
    assert 300 < collection.get_paths()[0].vertices[:, 0].mean() < 400
    assert with_coast.get_xlim() == without.get_xlim()
    assert not without.collections


def test_an_unknown_projection_has_none():
    assert coast.find_outlines(None, EXTENT) == []
