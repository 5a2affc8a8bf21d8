"""Means over polygons and blocks: the right cells with the right weights, and unknown where too little is known."""

from __future__ import annotations

import json

import numpy as np
import pyproj
import pytest
import xarray as xr

from helpers.small_ensembles import box, build_ensemble, make_lazy
from hybridcast.core.field import metres_per_cell
from hybridcast.core.forecast_schema import ENSEMBLE
from hybridcast.ensembles import accumulate, exceedance, over_blocks, over_regions
from hybridcast.errors import InputError, ReadError

WEST, SOUTH = 300_000.0, 6_700_000.0  # corner of the grid of `ensemble`, whose rows run north
CRS = "EPSG:3067"


def cells(first_row, first_column, last_row, last_column):
    """Return the rectangle around cells, the last ones included, in coordinates of the grid."""
    return box(
        WEST + 1e3 * first_column, SOUTH + 1e3 * first_row, WEST + 1e3 * last_column + 1e3, SOUTH + 1e3 * last_row + 1e3
    )


def to_degrees(geometry):
    """Return a polygon of the grid in longitude and latitude."""
    transform = pyproj.Transformer.from_crs(CRS, "OGC:CRS84", always_xy=True).transform
    return {
        "type": "Polygon",
        "coordinates": [[list(transform(*corner)) for corner in ring] for ring in geometry["coordinates"]],
    }


# --- polygons -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [False, True])
def test_a_polygon_of_one_cell_is_that_cell(ensemble, flip):
    result = ensemble.isel(y=slice(None, None, -1), x=slice(None, None, -1)) if flip else ensemble
    found = over_regions(result, cells(5, 3, 5, 3), crs=CRS)
    assert found.dims == ("realization", "lead_time", "region")
    np.testing.assert_allclose(found[..., 0], ensemble[ENSEMBLE][..., 5, 3], rtol=1e-5)
    assert "spatial_ref" not in found.coords
    assert "grid_mapping" not in found.attrs
    assert found.attrs["units"] == "mm h-1"
    assert found.attrs["cell_methods"].endswith("area: mean")


def test_cells_count_by_the_area_within():
    result = build_ensemble(np.arange(4.0).reshape(1, 1, 2, 2))
    half = box(WEST + 500, SOUTH, WEST + 2000, SOUTH + 1000)  # half of the first cell and the second
    assert over_regions(result, half, crs=CRS).item() == pytest.approx((0.5 * 0 + 1.0 * 1) / 1.5, rel=1e-3)
    triangle = {"type": "Polygon", "coordinates": [[[WEST, SOUTH], [WEST + 2000, SOUTH], [WEST, SOUTH + 2000]]]}
    expected = (1.0 * 0 + 0.5 * 1 + 0.5 * 2 + 0.0 * 3) / 2
    assert over_regions(result, triangle, crs="grid").item() == pytest.approx(expected, rel=1e-3)


def test_a_polygon_around_all_is_the_mean_of_all_and_the_block(ensemble):
    known = ensemble.isel(y=slice(3, 12))
    whole = over_regions(known, cells(3, 0, 11, 8), crs=CRS)[..., 0]
    np.testing.assert_allclose(whole, known[ENSEMBLE].mean(("y", "x")), rtol=1e-3)
    np.testing.assert_allclose(whole, over_blocks(known, 9.0)[..., 0, 0], rtol=1e-3)


def test_a_union_is_the_sum_of_its_parts(ensemble):
    left, right = box(WEST + 1300, SOUTH + 3000, WEST + 4550, SOUTH + 9700), cells(3, 5, 9, 7)
    both = {"type": "MultiPolygon", "coordinates": [left["coordinates"], right["coordinates"]]}
    found = over_regions(ensemble, {"left": left, "right": right, "both": both}, crs="grid")
    area_left, area_right = 3250.0 * 6700.0, 3000.0 * 7000.0
    expected = (found.sel(region="left") * area_left + found.sel(region="right") * area_right) / (
        area_left + area_right
    )
    np.testing.assert_allclose(found.sel(region="both"), expected, rtol=2e-3)  # the scale of the map varies a little


def test_longitude_and_latitude_are_the_default(ensemble):
    polygon = {
        "type": "Polygon",
        "coordinates": [[[WEST, SOUTH + 4e3], [WEST + 5e3, SOUTH + 4e3], [WEST, SOUTH + 9e3]]],
    }
    found = over_regions(ensemble, to_degrees(polygon))
    np.testing.assert_allclose(found, over_regions(ensemble, polygon, crs=CRS), rtol=1e-4)


def test_edges_are_straight_in_the_coordinates_of_the_polygon():
    """A parallel of 10 degrees is a curve on the map: 4.5 km from its chord."""
    y, x = 7_000_500.0 - 1000.0 * np.arange(20), 500_500.0 + np.zeros(2) + [0, 1000]
    result = build_ensemble(np.zeros((1, 1, 20, 2)), y=y, x=x)
    latitude = pyproj.Transformer.from_crs(CRS, "OGC:CRS84", always_xy=True).transform(x[0], y[10])[1]
    rain = result.assign({ENSEMBLE: result[ENSEMBLE] + xr.DataArray(np.arange(20.0), dims="y")})
    found = over_regions(rain, box(22, latitude, 32, latitude + 0.02), least_known=0.0)
    assert found.item() == pytest.approx(10 - 0.02 * 111.5 / 2, abs=0.3)


def test_on_a_grid_of_degrees_cells_count_by_their_area():
    rates = np.array([1.0, 5.0]).reshape(1, 1, 2, 1) * np.ones((1, 1, 2, 2))
    result = build_ensemble(rates, crs="EPSG:4326", y=np.array([30.0, 60.0]), x=np.array([10.0, 40.0]) / 100)
    result = result.assign_coords(y=[59.9, 60.1])
    weights = np.abs(np.multiply(*metres_per_cell(result)))[:, 0]
    found = over_regions(result, box(-0.05, 59.8, 0.55, 60.2))
    assert found.item() == pytest.approx((weights * [1.0, 5.0]).sum() / weights.sum(), rel=1e-6)


def test_longitudes_beyond_the_date_line():
    rates = np.arange(4.0).reshape(1, 1, 1, 4) * np.ones((1, 1, 2, 4))
    result = build_ensemble(rates, crs="EPSG:4326", y=np.array([-18.0, -17.9]), x=179.85 + 0.1 * np.arange(4))
    second = box(-180.0, -18.05, -179.9, -17.85)  # the third column
    assert over_regions(result, second).item() == pytest.approx(2.0)
    assert over_regions(result, box(179.9, -18.05, 180.1, -17.85)).item() == pytest.approx(1.5)
    cut = {"type": "MultiPolygon", "coordinates": [box(179.9, -18.05, 180.0, -17.85)["coordinates"]]}
    cut["coordinates"].append(second["coordinates"])
    assert over_regions(result, cut).item() == pytest.approx(1.5)
    assert np.isnan(over_regions(result, box(-100.0, -30.0, 100.0, 0.0))).all()  # the long way, over Greenwich


# --- unknown --------------------------------------------------------------------------------------------------


def test_a_region_is_unknown_if_too_little_of_it_is_known(ensemble):
    """The first two rows are unknown."""
    regions = {"2 of 10": cells(0, 0, 9, 3), "2 of 4": cells(0, 0, 3, 3), "none": cells(0, 0, 1, 3)}
    found = over_regions(ensemble, regions, crs="grid", least_known=0.79)
    expected = ensemble[ENSEMBLE][..., 2:10, :4].mean(("y", "x"))
    np.testing.assert_allclose(found.sel(region="2 of 10"), expected, rtol=1e-3)
    assert np.isnan(found.sel(region=["2 of 4", "none"])).all()
    lenient = over_regions(ensemble, regions, crs="grid", least_known=0.4)
    assert np.isfinite(lenient.sel(region="2 of 4")).all()
    assert np.isnan(over_regions(ensemble, regions, crs="grid", least_known=0.0).sel(region="none")).all()
    assert found.attrs["least_known_fraction"] == 0.79


def test_a_region_outside_the_grid_is_unknown_not_dry():
    result = build_ensemble(np.ones((2, 1, 4, 4)))
    regions = {"half": box(WEST + 2000, SOUTH, WEST + 6000, SOUTH + 1000), "out": box(0, 0, 1000, 1000)}
    found = over_regions(result, regions, crs="grid")
    assert np.isnan(found).all()
    lenient = over_regions(result, regions, crs="grid", least_known=0.5)
    np.testing.assert_allclose(lenient.sel(region="half"), 1.0)
    assert np.isnan(lenient.sel(region="out")).all()


def test_dry_is_dry():
    result = build_ensemble(np.zeros((3, 2, 4, 4)))
    assert (over_regions(result, cells(0, 0, 2, 2), crs="grid") == 0).all()
    assert (exceedance(accumulate(over_regions(result, cells(0, 0, 2, 2), crs="grid")), 0.1) == 0).all()


# --- forms of regions -----------------------------------------------------------------------------------------


def test_features_of_a_file_and_their_names(ensemble, tmp_path):
    names = ("Aura", "Vantaa")
    features = [
        {"type": "Feature", "id": k, "properties": {"name": name, "code": f"c{k}"}, "geometry": to_degrees(polygon)}
        for k, (name, polygon) in enumerate(zip(names, (cells(4, 1, 5, 2), cells(6, 3, 9, 7)), strict=True))
    ]
    path = tmp_path / "catchments.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    found = over_regions(ensemble, path)
    assert found.region.values.tolist() == ["Aura", "Vantaa"]
    assert over_regions(ensemble, str(path), label="code").region.values.tolist() == ["c0", "c1"]
    expected = ensemble[ENSEMBLE][..., 4:6, 1:3].mean(("y", "x"))
    np.testing.assert_allclose(found.sel(region="Aura"), expected, rtol=1e-3)
    features[1]["properties"]["name"] = "Aura"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with pytest.raises(InputError, match="label="):
        over_regions(ensemble, path)


def test_the_crs_that_a_file_states(ensemble, tmp_path):
    path = tmp_path / "grid.geojson"
    stated = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3067"}}
    feature = {"type": "Feature", "properties": None, "geometry": cells(5, 3, 5, 3)}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": stated, "features": [feature]}))
    found = over_regions(ensemble, path)
    assert found.region.values.tolist() == [0]
    np.testing.assert_allclose(found[..., 0], ensemble[ENSEMBLE][..., 5, 3], rtol=1e-5)


def test_objects_with_a_geo_interface(ensemble):
    class Geometry:
        __geo_interface__ = cells(5, 3, 5, 3)

    class Frame(Geometry):
        crs = pyproj.CRS(CRS)

    expected = ensemble[ENSEMBLE].values[..., 5, 3]
    np.testing.assert_allclose(over_regions(ensemble, [Geometry()], crs=CRS)[..., 0], expected, rtol=1e-5)
    found = over_regions(ensemble, Frame())
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-5)
    with pytest.raises(InputError, match="one CRS"):
        over_regions(ensemble, [Frame(), Geometry()])


def test_a_geometry_of_shapely(ensemble):
    shapely = pytest.importorskip("shapely")
    ring = shapely.Point(WEST + 4500, SOUTH + 6500).buffer(2500).difference(shapely.box(*(WEST, SOUTH) * 2))
    found = over_regions(ensemble, {"circle": ring}, crs=CRS).sel(region="circle")
    y, x = np.meshgrid(ensemble.y.values, ensemble.x.values, indexing="ij")
    areas = [
        ring.intersection(shapely.box(a - 500, b - 500, a + 500, b + 500)).area
        for a, b in zip(x.ravel(), y.ravel(), strict=True)
    ]
    weights = xr.DataArray(np.reshape(areas, y.shape), dims=("y", "x"))
    expected = (ensemble[ENSEMBLE].fillna(0) * weights).sum(("y", "x")) / weights.sum()
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_what_holds_no_polygon_is_refused(ensemble, tmp_path):
    cases = {
        "is Point": {"type": "Point", "coordinates": [1, 2]},
        "no polygon": {"type": "FeatureCollection", "features": []},
        "is None": {"type": "Feature", "properties": {}, "geometry": None},
        "three finite corners": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]},
        "no corners": {"type": "Polygon", "coordinates": []},
        "list of places": {"type": "Polygon", "coordinates": [[0, 1, 2]]},
        "regions are int": 3,
    }
    for said, given in cases.items():
        with pytest.raises(InputError, match=said):
            over_regions(ensemble, given)
    with pytest.raises(InputError, match="crs='grid'"):
        over_regions(ensemble.drop_vars("spatial_ref"), cells(1, 1, 2, 2))
    with pytest.raises(InputError, match="pyproj reads"):
        over_regions(ensemble, cells(1, 1, 2, 2), crs="EPSG:nothing")
    with pytest.raises(InputError, match="place on the map"):
        over_regions(ensemble, cells(1, 1, 2, 2))  # metres are no longitudes
    with pytest.raises(InputError, match="one cell along y"):
        over_regions(ensemble.isel(y=[5]), cells(5, 1, 5, 2), crs=CRS)
    (tmp_path / "shapes.gpkg").write_bytes(b"SQLite\xff")
    for name in ("shapes.gpkg", "nothing.geojson"):
        with pytest.raises(ReadError, match=name):
            over_regions(ensemble, tmp_path / name)


# --- blocks ---------------------------------------------------------------------------------------------------


def test_blocks_are_means_of_their_cells(ensemble):
    found = over_blocks(ensemble, 3.0)
    assert found.dims == ("realization", "lead_time", "y", "x")
    assert found.sizes["y"] == 4
    assert found.y.values.tolist() == ensemble.y.values.reshape(4, 3).mean(axis=1).tolist()
    assert "spatial_ref" in found.coords
    assert np.isnan(found[..., 0, :]).all()  # two thirds of them are unknown
    expected = ensemble[ENSEMBLE][..., 3:6, 6:9].mean(("y", "x"))
    np.testing.assert_allclose(found[..., 1, 2], expected, rtol=1e-5)
    assert np.isfinite(over_blocks(ensemble, 3.0, least_known=0.3)).all()
    assert found.attrs["grid_mapping"] == "spatial_ref"


def test_blocks_of_cells_that_are_no_squares():
    result = build_ensemble(np.ones((1, 1, 8, 8)), crs="EPSG:4326", y=60 + 0.01 * np.arange(8), x=0.01 * np.arange(8))
    found = over_blocks(result, 2.2)  # 1.11 x 0.55 km
    assert (found.sizes["y"], found.sizes["x"]) == (4, 2)


def test_blocks_that_do_not_fit_are_refused(ensemble):
    for size in (0.4, 10.0, np.nan, np.inf):
        with pytest.raises(InputError, match="size between"):
            over_blocks(ensemble, size)
    assert over_blocks(ensemble.isel(y=[5]), 3.0).sizes["x"] == 3
    for fraction in (80, -0.1, np.nan):
        with pytest.raises(InputError, match=r"least_known.*from 0 to 1"):
            over_blocks(ensemble, 3.0, least_known=fraction)


def test_lazy_means_are_those_in_memory(ensemble):
    lazy, computed = make_lazy(ensemble)
    found = over_blocks(lazy, 3.0), over_regions(lazy, cells(3, 3, 6, 6), crs=CRS)
    assert computed == []
    np.testing.assert_array_equal(found[0], over_blocks(ensemble, 3.0))
    np.testing.assert_array_equal(found[1], over_regions(ensemble, cells(3, 3, 6, 6), crs=CRS))
    assert sorted(computed) == sorted(2 * list(range(6)))
