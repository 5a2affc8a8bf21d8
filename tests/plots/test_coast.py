"""Coastlines: where they are on the field's projection, and nothing where they cannot be had."""

from __future__ import annotations

import sys
from urllib.error import URLError

import numpy as np
import pyproj
import pytest

from helpers.drawing import field_of
from hybridcast.plots import coast, plot_precipitation

CRS = pyproj.CRS("EPSG:3067")
EXTENT = (300_000.0, 400_000.0, 6_600_000.0, 6_700_000.0)


@pytest.fixture
def no_shapes_yet():
    coast._load_shapes.cache_clear()
    yield
    coast._load_shapes.cache_clear()


@pytest.fixture
def island(tmp_path, monkeypatch, no_shapes_yet):
    """A coastline of our own where cartopy looks: a meridian through the extent, and a line far away."""
    cartopy = pytest.importorskip("cartopy")
    shapefile = pytest.importorskip("shapefile")
    for category, name in coast.SHAPES:
        path = tmp_path / "shapefiles" / "natural_earth" / category / f"ne_10m_{name}"
        path.parent.mkdir(parents=True)
        with shapefile.Writer(str(path), shapeType=shapefile.POLYLINE) as writer:
            writer.field("name", "C")
            if category == "physical":
                writer.line([[[24.5, lat] for lat in np.arange(58.0, 62.0, 0.05)], [[100.0, -40.0], [101.0, -41.0]]])
                writer.record("island")
    monkeypatch.setitem(cartopy.config, "pre_existing_data_dir", tmp_path)


def test_a_line_is_where_its_longitude_says(island):
    (line,) = coast.find_outlines(CRS, EXTENT)
    x, y = line.T
    assert y.min() < EXTENT[2] + 1000
    assert y.max() > EXTENT[3] - 1000
    back, _ = pyproj.Transformer.from_crs(CRS, "EPSG:4326", always_xy=True).transform(x, y)
    assert back == pytest.approx(np.full(x.size, 24.5), abs=1e-9)


def test_a_line_beyond_the_date_line_is_on_a_map_that_goes_on_there(monkeypatch):
    """Fiji's 179.95 W on a map from 179.4 to 180.6 E, and on one from 180.6 to 179.4 W."""
    meridian = np.column_stack([np.full(5, -179.95), np.linspace(-18.2, -17.8, 5)])
    monkeypatch.setattr(coast, "_load_shapes", lambda *_: [meridian])
    for west, expected in ((179.4, 180.05), (-180.6, -179.95)):
        line = coast.find_outlines(pyproj.CRS("EPSG:4326"), (west, west + 1.2, -18.5, -17.5))[0]
        np.testing.assert_allclose(line[:, 0], expected)


def test_a_map_has_it_in_kilometres(island):
    field = field_of(np.zeros((100, 100)), y0=6_600_500.0, x0=300_500.0)
    with_coast, without = (plot_precipitation(field, coast=wanted).axes[0] for wanted in (True, False))
    (collection,) = with_coast.collections
    assert 300 < collection.get_paths()[0].vertices[:, 0].mean() < 400
    assert with_coast.get_xlim() == without.get_xlim()
    assert not without.collections


def test_no_place_no_cartopy_no_network_no_lines(no_shapes_yet, monkeypatch):
    assert coast.find_outlines(None, EXTENT) == []
    monkeypatch.setitem(sys.modules, "cartopy.io", None)
    assert coast.find_outlines(CRS, EXTENT) == []
    assert not plot_precipitation(field_of(np.zeros((4, 5)))).axes[0].collections


def test_shapes_that_cannot_be_brought_are_left_out(no_shapes_yet, monkeypatch):
    shapereader = pytest.importorskip("cartopy.io.shapereader")

    def fail(*_):
        raise URLError("no route to host")

    monkeypatch.setattr(shapereader, "natural_earth", fail)
    assert coast.find_outlines(CRS, EXTENT) == []
