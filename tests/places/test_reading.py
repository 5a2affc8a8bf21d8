"""Places from TOML, GeoJSON and vector files; what cannot be read in one way is refused."""

from __future__ import annotations

import json
import os

import numpy as np
import pyproj
import pytest

from helpers.small_ensembles import box, build_ensemble
from hybridcast.errors import DependencyError, InputError, ReadError
from hybridcast.nightly.config import load_places
from hybridcast.places import WarningLevel, at_places, read_places
from hybridcast.places.levels import parse_level

WEST, SOUTH, CRS = 300_000.0, 6_700_000.0, "EPSG:3067"


def point(x, y):
    return {"type": "Point", "coordinates": [x, y]}


def feature(geometry, **properties):
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def collection(*features, **more):
    return {"type": "FeatureCollection", "features": list(features), **more}


def area_of(place):
    """Return the area of the polygons of a place on Earth, m2."""
    geod = pyproj.Geod(ellps="WGS84")
    return sum(abs(geod.polygon_area_perimeter(*ring.T)[0]) for polygon in place.polygons for ring in polygon)


PLACES = """
levels = ["5 mm/h"]

[[level]]
name = "flash flood"
amount = 25.0
window = "1h"
raise_at = 0.4
clear_at = 0.2
hold = "15min"
statistic = "maximum"

[[place]]
name = "Helsinki-Vantaa, lentoasema ✈"
latitude = 60.32
longitude = 24.96
levels = ["flash flood", "10 mm in 30min"]

[[place]]
name = "grid point"
x = 5.0
y = 7.0
crs = "grid"

[[place]]
name = "square"
polygon = [[24.0, 60.0], [24.1, 60.0], [24.1, 60.1]]
levels = []

[[file]]
path = "rivers.geojson"
label = "river"
"""


def test_places_are_read_again_when_a_file_that_they_name_has_changed(tmp_path):
    towns, path = tmp_path / "towns.geojson", tmp_path / "places.toml"
    path.write_text('[[file]]\npath = "towns.geojson"\n')
    for number, name in enumerate(("old", "new")):
        towns.write_text(json.dumps(collection(feature(box(24, 60, 25, 61), name=name))))
        os.utime(towns, (number, number))
        assert [place.name for place in load_places(str(path))] == [name]


def test_half_a_list_of_levels_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"levels = '\[20 mm in 1h\]'.*list of texts"):
        read_places(collection(feature(box(24, 60, 25, 61), name="a", levels="[20 mm in 1h]")))


def test_a_places_file_has_points_areas_files_and_levels(tmp_path):
    rivers = collection(feature(box(24, 60, 25, 61), river="Aura", levels="flash flood; 2 mm/h"))
    (tmp_path / "rivers.geojson").write_text(json.dumps(rivers))
    (tmp_path / "places.toml").write_text(PLACES, encoding="utf-8")
    airport, grid, square, river = read_places(tmp_path / "places.toml")
    assert (airport.name, airport.kind, airport.point) == ("Helsinki-Vantaa, lentoasema ✈", "point", (24.96, 60.32))
    assert [level.name for level in airport.levels] == ["flash flood", "10 mm in 30min"]
    assert airport.levels[0].statistic == "maximum"
    assert airport.levels[0].hold_time == np.timedelta64(15, "m")
    assert grid.crs is None
    assert [level.rate for level in grid.levels] == [5.0]
    assert square.kind == "area"
    assert square.levels == ()
    assert [level.name for level in river.levels] == ["flash flood", "2 mm/h"]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('[[place]]\nname = "A"\nlatitude = 60.0', "has one coordinate"),
        ('[[place]]\nname = "A"\nx = 1.0\ny = 2.0', "without a CRS"),
        ('[[place]]\nname = "A"', "has 0 of them"),
        ('[[place]]\nname = "A"\nlatitude = 120.0\nlongitude = 60.0', "latitude is -90 to 90"),
        ('[[place]]\nname = "A"\nlatitud = 60.0', "Did you mean 'latitude'"),
        ('[[place]]\nname = " "\nlatitude = 60.0\nlongitude = 24.0', "a name is text of one line"),
        ('[[place]]\nname = "A"\nlatitude = 60.0\nlongitude = 24.0\nlevels = ["heavy"]', "warning level is 'heavy'"),
        ('[[place]]\nname = "A"\nline = [[24.0, 60.0], [25.0, 60.0]]', "Give buffer="),
        ('[[level]]\nname = "A"\namount = 3.0', "an amount with its window, or a rate"),
        ('[[level]]\nname = "A"\nrate = 3.0\nraise_at = 0.2\nclear_at = 0.4', "clear_at <= raise_at"),
        ("levels = []", "there is no place"),
    ],
)
def test_mistakes_in_a_places_file_are_named(tmp_path, toml, message):
    (tmp_path / "places.toml").write_text(toml)
    with pytest.raises(InputError, match=message):
        read_places(tmp_path / "places.toml")


def test_geojson_features_are_named_by_a_property_or_their_id():
    found = read_places(collection(feature(point(24, 60), name="A"), {**feature(point(25, 61)), "id": 7}))
    assert [place.name for place in found] == ["A", "7"]
    assert found[0].crs == pyproj.CRS("OGC:CRS84")
    with pytest.raises(InputError, match=r"place 1 has no 'name' \(properties: river\)"):
        read_places(collection(feature(point(24, 60), river="Aura")))


def test_names_are_unique_also_in_another_unicode_form():
    twice = collection(feature(point(24, 60), name="Jyväskylä"), feature(point(25, 60), name="Jyva\u0308skyla\u0308"))
    with pytest.raises(InputError, match="2 places are named 'Jyväskylä'"):
        read_places(twice)


def test_an_error_in_a_geometry_names_the_place():
    broken = feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, name="B")
    with pytest.raises(InputError, match="place 'B': a ring is"):
        read_places(collection(feature(point(24, 60), name="A"), broken))


def test_geojson_that_states_another_crs_is_in_it():
    stated = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3067"}}
    (place,) = read_places(collection(feature(point(WEST, SOUTH), name="A"), crs=stated))
    assert place.crs == pyproj.CRS("EPSG:3067")


def test_a_level_is_an_amount_in_a_window_or_a_rate():
    assert parse_level(" 20mm in 90min ") == WarningLevel("20 mm in 90min", amount=20.0, window="90min")
    assert parse_level("0.5 mm / h") == WarningLevel("0.5 mm/h", rate=0.5)
    for text in ("20", "20 mm", "20 mm in", "mm/h", "-5 mm/h"):
        with pytest.raises(InputError, match="amount in a window"):
            parse_level(text)
    with pytest.raises(InputError, match="duration"):
        parse_level("20 mm in an hour")


# --- buffers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("longitude", [24.0, 180.0, -60.0])
def test_a_buffer_around_a_point_is_a_disc_in_metres(longitude):
    (place,) = read_places({"A": point(longitude, 60.0)}, buffer=5000.0)
    assert place.kind == "area"
    assert area_of(place) == pytest.approx(np.pi * 5000.0**2, rel=0.01)  # a polygon of many corners
    assert np.ptp(place.polygons[0][0][:, 0]) < 0.2  # no jump at the date line


@pytest.mark.parametrize("crs", [None, CRS])
def test_a_buffered_line_is_a_strip(crs):
    """A line of 40 km with 1 km on either side: 40 km x 2 km, and a disc of its two ends."""
    to_degrees = pyproj.Transformer.from_crs(CRS, "OGC:CRS84", always_xy=True).transform
    ends = [(WEST + 2e5, SOUTH), (WEST + 2e5, SOUTH + 40_000.0)]  # near the central meridian, where the scale is 0.9996
    line = {"type": "LineString", "coordinates": ends if crs else [to_degrees(*end) for end in ends]}
    (place,) = read_places({"A1": line}, buffer=1000.0, crs=crs)
    assert area_of(place) == pytest.approx(40_000 * 2000 + np.pi * 1000**2, rel=0.005)


def test_on_a_grid_without_crs_a_buffer_is_in_its_units():
    (place,) = read_places({"A": point(5000.0, 5000.0)}, buffer=1000.0, crs="grid")
    assert place.crs is None
    (ring,) = place.polygons[0]
    assert np.hypot(*(ring - 5000.0).T).max() == pytest.approx(1000.0)


# --- vector files ---------------------------------------------------------------------------------------------


def write_layer(path, shapes, names, *, layer="places", crs=CRS, append=False):
    pyogrio = pytest.importorskip("pyogrio")
    shapely = pytest.importorskip("shapely")
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(shapes, dtype=object)),
        [np.array(names, dtype=object)],
        ["name"],
        geometry_type="Unknown",
        crs=crs,
        layer=layer,
        driver="GPKG",
        append=append,
    )


def test_a_geopackage_is_read_in_its_own_crs(tmp_path):
    shapely = pytest.importorskip("shapely")
    path = tmp_path / "districts.gpkg"
    square = shapely.box(WEST + 2000, SOUTH + 4000, WEST + 5000, SOUTH + 8000)
    holed = square.difference(shapely.box(WEST + 3000, SOUTH + 5000, WEST + 4000, SOUTH + 6000))
    both = shapely.MultiPolygon([holed, shapely.box(WEST + 7000, SOUTH + 9000, WEST + 8000, SOUTH + 10000)])
    write_layer(path, [both, shapely.Point(WEST + 500, SOUTH + 500)], ["north", "mast"])
    rates = np.random.default_rng(0).gamma(1.0, 2.0, (2, 3, 12, 9))
    table = at_places(build_ensemble(rates), read_places(path))
    inside = np.zeros((12, 9), bool)
    inside[4:8, 2:5], inside[5, 3], inside[9, 7] = True, False, True
    field = rates.mean(axis=0)
    found = table.precipitation_rate.sel(place="north")
    np.testing.assert_allclose(found.sel(statistic="mean"), field[:, inside].mean(axis=1), rtol=1e-3)
    np.testing.assert_allclose(found.sel(statistic="maximum"), field[:, inside].max(axis=1), rtol=1e-6)
    np.testing.assert_allclose(table.precipitation_rate.sel(place="mast", statistic="mean"), field[:, 0, 0], rtol=1e-6)


def test_of_several_layers_one_is_chosen_and_a_file_without_crs_needs_one(tmp_path):
    shapely = pytest.importorskip("shapely")
    path = tmp_path / "two.gpkg"
    write_layer(path, [shapely.Point(1, 2)], ["A"], layer="one", crs=None)
    write_layer(path, [shapely.Point(3, 4)], ["B"], layer="two", append=True)
    with pytest.raises(InputError, match=r"2 layers of geometries \(one, two\)"):
        read_places(path)
    with pytest.raises(InputError, match="layer"):
        read_places(path, layer="three")
    assert read_places(path, layer="two")[0].point == (3.0, 4.0)
    with pytest.raises(InputError, match="state no CRS"):
        read_places(path, layer="one")
    assert read_places(path, layer="one", crs="grid")[0].crs is None


def test_no_vector_file_is_a_read_error(tmp_path):
    pytest.importorskip("pyogrio")
    (tmp_path / "broken.gpkg").write_text("no database")
    for name in ("broken.gpkg", "absent.gpkg"):
        with pytest.raises(ReadError, match=name):
            read_places(tmp_path / name)
    (tmp_path / "broken.geojson").write_text("{")
    with pytest.raises(ReadError, match="no GeoJSON"):
        read_places(tmp_path / "broken.geojson")


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyogrio", None)
    (tmp_path / "a.gpkg").touch()
    with pytest.raises(DependencyError, match=r"hybridcast\[places\]"):
        read_places(tmp_path / "a.gpkg")
    assert read_places({"A": point(24, 60)}, buffer=100.0)[0].name == "A"
