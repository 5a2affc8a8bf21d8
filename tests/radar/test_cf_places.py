"""Axes and CRS of CF files: stated in many ways, checked by places in longitude and latitude."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import xarray as xr

from helpers.cf_files import LAEA, TIMES, VALUES, dataset, saved
from helpers.geostationary import goes_place
from hybridcast.core.field import crs_of
from hybridcast.errors import InputWarning, ReadError
from hybridcast.radar import cf

PLACE = pyproj.Transformer.from_crs(LAEA, 4326, always_xy=True).transform(4_002_000, 2_999_000)  # of the value 6


def value_at(field, longitude, latitude):
    x, y = pyproj.Transformer.from_crs(4326, crs_of(field), always_xy=True).transform(longitude, latitude)
    return float(field[0].sel(x=x, y=y, method="nearest", tolerance=600 if abs(x) > 400 else 0.6))


def degrees(longitude, latitude=(50.0, 50.1, 50.2), **units):
    data = dataset().drop_vars(["laea", "x", "y"]).rename(x="lon", y="lat")
    del data["rr"].attrs["grid_mapping"]
    return data.assign_coords(
        lon=("lon", np.asarray(longitude, float), {"units": units.get("lon", "degrees_east")}),
        lat=("lat", np.asarray(latitude, float), {"units": units.get("lat", "degrees_north")}),
    )


def unmapped(**attrs):
    data = dataset().drop_vars("laea")
    del data["rr"].attrs["grid_mapping"]
    return data.assign_attrs(attrs)


# --- the CRS, where it is stated ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attrs",
    [
        {"proj4": pyproj.CRS(LAEA).to_proj4()},
        {"proj_string": pyproj.CRS(LAEA).to_proj4()},
        {"epsg": 3035},
        {"EPSG": "3035"},
        {"epsg_code": "EPSG:3035"},
        {"crs_wkt": pyproj.CRS(LAEA).to_wkt()},
        {"spatial_ref": pyproj.CRS(LAEA).to_wkt("WKT1_GDAL")},
        {"esri_pe_string": pyproj.CRS(LAEA).to_wkt("WKT1_ESRI")},
        {"projection": pyproj.CRS(LAEA).to_proj4()},
    ],
    ids=lambda attrs: next(iter(attrs)),
)
@pytest.mark.parametrize("where", ["mapping", "variable", "file"])
@pytest.mark.filterwarnings("ignore:You will likely lose important projection information")
def test_crs_as_text_or_code(tmp_path, attrs, where):
    data = unmapped(**(attrs if where == "file" else {}))
    if where == "variable":
        data["rr"].attrs |= attrs
    if where == "mapping":
        data["rr"].attrs["grid_mapping"] = "laea"
        data["laea"] = ((), 0, attrs)
    assert value_at(cf.read(saved(data, tmp_path / "a.nc")), *PLACE) == 6


@pytest.mark.parametrize("stated", ["laea: x y", "wgs84: lat lon laea: x y", "laea: x y wgs84: lat lon", "laea: y x"])
def test_grid_mappings_in_the_extended_form(tmp_path, stated):
    data = dataset()
    data["wgs84"] = ((), 0, pyproj.CRS(4326).to_cf())
    data["rr"].attrs["grid_mapping"] = stated
    assert value_at(cf.read(saved(data, tmp_path / "a.nc")), *PLACE) == 6


def test_grid_mapping_that_no_variable_names(tmp_path):
    data = dataset()
    del data["rr"].attrs["grid_mapping"]
    assert value_at(cf.read(saved(data, tmp_path / "a.nc")), *PLACE) == 6


def test_names_of_projections_are_no_crs(tmp_path):
    assert crs_of(cf.read(saved(unmapped(projection="Mercator", crs="lat/lon"), tmp_path / "a.nc"))) is None


def test_grid_mapping_that_cannot_be_read_is_refused(tmp_path):
    data = dataset()
    data["laea"] = ((), 0, {"grid_mapping_name": "flat_earth"})
    with pytest.raises(ReadError, match="grid mapping 'laea' cannot be read"):
        cf.read(saved(data, tmp_path / "a.nc"))


def test_grid_mapping_without_its_parameters_is_refused(tmp_path):
    data = dataset()
    data["laea"] = (
        (),
        0,
        {"grid_mapping_name": "lambert_azimuthal_equal_area", "longitude_of_projection_origin": 10.0},
    )
    with pytest.raises(ReadError, match="grid mapping 'laea' cannot be read"):
        cf.read(saved(data, tmp_path / "a.nc"))


def test_crs_that_cannot_be_read_is_reported(tmp_path):
    with pytest.warns(InputWarning, match=r"its CRS, '\+proj=flat', cannot be read"):
        assert crs_of(cf.read(saved(unmapped(proj4="+proj=flat"), tmp_path / "a.nc"))) is None


def test_transform_of_gdal_instead_of_axes(tmp_path):
    # corners, as rasterio and GDAL write them: the first cell centre is half a cell further
    data = dataset().drop_vars(["x", "y"])
    data["laea"].attrs |= {"GeoTransform": "3999500 1000 0 3000500 0 -1000"}
    field = cf.read(saved(data, tmp_path / "a.nc"))
    assert value_at(field, *PLACE) == 6
    assert field.x.values[0] == 4_000_000
    data["laea"].attrs["GeoTransform"] = "3999500 1000 5 3000500 0 -1000"
    with pytest.raises(ReadError, match="do not run along x"):
        cf.read(saved(data, tmp_path / "b.nc"))


# --- groups ---------------------------------------------------------------------------------------------------


def in_group(data, path, group, mode="a"):
    data.to_netcdf(path, group=group, mode=mode)
    return path


def test_one_group_with_a_grid_is_read_with_what_encloses_it(tmp_path):
    path = in_group(dataset()[["laea"]].drop_vars(["x", "y", "time"], errors="ignore"), tmp_path / "a.nc", "/", "w")
    in_group(dataset().drop_vars("laea"), path, "composite/level")
    field = cf.read(path)
    assert value_at(field, *PLACE) == 6
    assert field.time.values.tolist() == TIMES.tolist()


def test_several_groups_with_grids_are_named(tmp_path):
    path = in_group(dataset(), in_group(dataset(), tmp_path / "a.nc", "first", "w"), "second")
    with pytest.raises(ReadError, match=r"grids in the groups first, second\. Write the right one"):
        cf.read(path)


@pytest.mark.filterwarnings("ignore")
def test_group_of_a_zarr_store(tmp_path):
    dataset().to_zarr(tmp_path / "a.zarr", group="inner", consolidated=False)
    assert value_at(cf.read(tmp_path / "a.zarr"), *PLACE) == 6


# --- degrees --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("longitude", "place", "value"),
    [
        ([350, 355, 0, 5], -10, 0),
        ([355, 0, 5, 10], 10, 3),
        ([0, 5, 350, 355], 5, 1),  # 0..360 in one row, as a cut from a global grid
        ([0, 5, 350, 355], -5, 3),
        ([175, -180, -175, -170], -170, 3),
        ([190, 191, 192, 193], -169, 1),
        ([10, 5, 0, -5], -5, 3),
        ([0, 90, 180, 270], -90, 3),  # around the globe
        ([45, 135, 225, 315], 45, 0),
    ],
)
def test_longitudes_over_greenwich_and_the_dateline(tmp_path, longitude, place, value):
    placed = cf.place(*_opened(degrees(longitude, [10.0, 5.0, 0.0]), tmp_path))
    steps = np.diff(placed.x)
    np.testing.assert_allclose(steps, steps[0], atol=1e-9)
    at = int(np.argmin(np.abs((placed.x - place + 180) % 360 - 180)))
    assert abs((placed.x[at] - place + 180) % 360 - 180) < 1e-6
    assert float(placed.variable.isel(time=0, y=0, x=at)) == value


def _opened(data, tmp_path):
    path = saved(data, tmp_path / "a.nc")
    opened = cf.open_cf(path)
    return opened, opened["rr"], path


def test_latitudes_from_north_to_south(tmp_path):
    field = cf.read(saved(degrees([7.0, 7.1, 7.2, 7.3], [50.2, 50.1, 50.0]), tmp_path / "a.nc"))
    assert value_at(field, 7.2, 50.1) == 6


@pytest.mark.parametrize("names", [("rlon", "rlat"), ("lon", "lat"), ("x", "y")])
def test_rotated_degrees_without_a_grid_mapping_are_refused(tmp_path, names):
    data = degrees([0.0, 0.1, 0.2, 0.3], lon="degrees", lat="degrees")
    for axis, new, name in zip(("lon", "lat"), names, ("grid_longitude", "grid_latitude"), strict=True):
        data[axis].attrs["standard_name"] = name
        data = data.rename({axis: new}) if axis != new else data
    with pytest.raises(ReadError, match=r"degrees of a rotated grid, without a grid mapping\. Add it"):
        cf.read(saved(data, tmp_path / "a.nc"))


def test_degrees_of_unknown_meaning_are_refused(tmp_path):
    data = degrees([0.0, 0.1, 0.2, 0.3], lon="degrees", lat="degrees").rename(lon="x", lat="y")
    with pytest.raises(ReadError, match="degrees of an unknown grid"):
        cf.read(saved(data, tmp_path / "a.nc"))


def test_rotated_degrees_with_their_grid_mapping(tmp_path):
    pole = {"grid_north_pole_longitude": -170.0, "grid_north_pole_latitude": 40.0}  # of EURO-CORDEX: 39.25, -162
    data = degrees([0.0, 0.1, 0.2, 0.3], [0.0, 0.1, 0.2], lon="degrees", lat="degrees").rename(lon="rlon", lat="rlat")
    data["pole"] = ((), 0, {"grid_mapping_name": "rotated_latitude_longitude", **pole})
    data["rr"].attrs["grid_mapping"] = "pole"
    field = cf.read(saved(data, tmp_path / "a.nc"))
    # the origin of the rotated grid lies 90 degrees from its north pole, on the meridian opposite to it
    assert value_at(field, 10.0, 50.0) == 0


def test_rows_of_longitude_and_latitude_of_all_cells_become_axes(tmp_path):
    longitude, latitude = np.meshgrid([7.0, 7.1, 7.2, 7.3], [50.2, 50.1, 50.0])
    data = dataset().drop_vars(["laea", "x", "y"])
    del data["rr"].attrs["grid_mapping"]
    data = data.assign_coords(lon=(("y", "x"), longitude), lat=(("y", "x"), latitude))
    assert value_at(cf.read(saved(data, tmp_path / "a.nc")), 7.2, 50.1) == 6
    bent = data.assign_coords(lat=(("y", "x"), latitude + 0.2 * longitude))
    with pytest.raises(ReadError, match=r"two-dimensional coordinates \(lon, lat\) of no even grid"):
        cf.read(saved(bent, tmp_path / "b.nc"))


@pytest.mark.parametrize("numbered", [False, True])
def test_places_of_all_cells_give_the_axes_of_a_projection(tmp_path, numbered):
    # as models and pysteps write them; x and y may be numbers of columns and rows
    x, y = np.meshgrid(4e6 + 1000.0 * np.arange(4), 3e6 - 1000.0 * np.arange(3))
    longitude, latitude = pyproj.Transformer.from_crs(LAEA, 4326, always_xy=True).transform(x, y)
    data = dataset().drop_vars(["x", "y"])
    data = data.assign_coords(lon=(("y", "x"), longitude), lat=(("y", "x"), latitude))
    if numbered:
        data = data.assign_coords(x=np.arange(4), y=np.arange(3))
    field = cf.read(saved(data, tmp_path / "a.nc"))
    assert value_at(field, *PLACE) == 6
    np.testing.assert_allclose(np.diff(field.x), 1000, rtol=1e-4)


# --- metres, kilometres and angles ----------------------------------------------------------------------------


def test_axes_without_units_are_in_those_of_the_projection(tmp_path):
    data = dataset(km=True)
    data["laea"] = ((), 0, {"proj4": pyproj.CRS(LAEA).to_proj4().replace("units=m", "units=km")})
    for axis in "xy":
        del data[axis].attrs["units"]
    assert value_at(cf.read(saved(data, tmp_path / "a.nc")), *PLACE) == 6


# Unidata/thredds #1008: the full disk of GOES-16 in microradians, where CF has radians
@pytest.mark.parametrize(("unit", "per_radian"), [("rad", 1), ("microradian", 1e6), ("degree", 180 / np.pi)])
def test_scanning_angles_of_a_geostationary_satellite(tmp_path, unit, per_radian):
    height, step = 35_786_023.0, 56e-6
    mapping = {
        "grid_mapping_name": "geostationary",
        "perspective_point_height": height,
        "semi_major_axis": 6378137.0,
        "semi_minor_axis": 6356752.31414,
        "longitude_of_projection_origin": -75.0,
        "latitude_of_projection_origin": 0.0,
        "sweep_angle_axis": "x",
    }
    data = dataset().drop_vars(["laea", "x", "y"])
    data["rr"].attrs["grid_mapping"] = "goes"
    data["goes"] = ((), 0, mapping)
    angles = {"x": step * np.arange(4), "y": 0.05 - step * np.arange(3)}
    names = {axis: {"units": unit, "standard_name": f"projection_{axis}_coordinate"} for axis in "xy"}
    data = data.assign_coords({axis: (axis, angles[axis] * per_radian, names[axis]) for axis in "xy"})
    field = cf.read(saved(data, tmp_path / "a.nc"))
    # the equations of the Product Definition and User's Guide of GOES-R, volume 3, section 5.1.2.8.1
    longitude, latitude = goes_place(angles["x"][2], angles["y"][1], height)
    assert value_at(field, longitude, latitude) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": "rad"}, "'x' is in 'rad'; metres"),
        ({"x": "degrees_east", "y": "degrees_north"}, "'[xy]' is in 'degrees_.*'; metres"),
        ({"x": "1"}, "'x' is in '1'"),
    ],
)
def test_units_of_axes_that_do_not_fit_the_projection_are_refused(tmp_path, change, message):
    data = dataset()
    for axis, units in change.items():
        data[axis].attrs["units"] = units
    with pytest.raises(ReadError, match=message):
        cf.read(saved(data, tmp_path / "a.nc"))


def test_metres_with_a_grid_mapping_of_degrees_are_refused(tmp_path):
    data = dataset()
    data["laea"] = ((), 0, pyproj.CRS(4326).to_cf())
    with pytest.raises(ReadError, match="its grid mapping is of longitude and latitude"):
        cf.read(saved(data, tmp_path / "a.nc"))


# --- further dimensions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("realization", {"standard_name": "realization"}),
        ("number", {}),
        ("percentile", {"units": "%"}),
        ("height", {"units": "m"}),
    ],
)
def test_members_percentiles_and_heights_are_refused_and_the_remedy_works(tmp_path, name, attrs):
    data = dataset()
    data["rr"] = xr.concat([data["rr"], data["rr"] * 3], name).assign_coords({name: (name, [10.0, 90.0], attrs)})
    path = saved(data, tmp_path / "a.nc")
    with pytest.raises(ReadError, match=rf"dimension '{name}' of size 2 \(10.0, 90.0\)\. Select one.*isel\({name}=0\)"):
        cf.read(path)
    with xr.open_dataset(path) as opened:
        opened.isel({name: 1}).to_netcdf(tmp_path / "b.nc")
        opened.isel({name: [1]}).to_netcdf(tmp_path / "c.nc")
    for one in ("b.nc", "c.nc"):
        field = cf.read(tmp_path / one)
        np.testing.assert_array_equal(field, VALUES * 3)
        assert field.attrs[name] == f"90.0 {attrs.get('units', '')}".strip()


@pytest.mark.filterwarnings("ignore:You will likely lose important projection information")
def test_axes_and_flags_as_met_norway_writes_them(tmp_path):
    data = dataset("mm/h", "lwe_precipitation_rate").rename(x="Xc", y="Yc", laea="projection_laea")
    data["rr"].attrs["grid_mapping"] = "projection_laea"
    data["projection_laea"].attrs["proj4"] = pyproj.CRS(LAEA).to_proj4()
    data["block_percent"] = (data["rr"].dims, VALUES, {"units": "%"})
    data["is_nodata"] = (data["rr"].dims, np.zeros(VALUES.shape, "i1"), {"flag_values": np.array([0, 1], "i1")})
    assert value_at(cf.read(saved(data, tmp_path / "a.nc")), *PLACE) == 6


# --- places stated twice, or in units that depend -----------------------------------------------------------------


def laea_in_kilometres(offsets):
    data = dataset(km=True)
    attrs = {"grid_mapping_name": "lambert_azimuthal_equal_area", "semi_major_axis": 6378137.0}
    attrs |= {"inverse_flattening": 298.257222101, "latitude_of_projection_origin": 52.0}
    attrs |= {"longitude_of_projection_origin": 10.0, "false_easting": offsets[0], "false_northing": offsets[1]}
    data["laea"] = ((), 0, attrs)
    return data


@pytest.mark.parametrize("offsets", [(4321.0, 3210.0), (4321000.0, 3210000.0)])
def test_false_eastings_are_in_the_units_of_the_axes_or_in_metres(tmp_path, offsets):
    # CF, appendix F: in the units of the axes; pyproj.CRS.from_cf takes them as metres, as many files have them
    assert value_at(cf.read(saved(laea_in_kilometres(offsets), tmp_path / "a.nc")), *PLACE) == 6


def with_places(flip):
    x, y = 4e6 + 1000.0 * np.arange(24), 3e6 - 1000.0 * np.arange(20)
    data = xr.Dataset(
        {"rr": (("time", "y", "x"), np.ones((1, 20, 24)), dataset()["rr"].attrs), "laea": dataset()["laea"]},
        coords={"time": dataset()["time"][:1], "y": ("y", y, dataset()["y"].attrs)},
    ).assign_coords(x=("x", x, dataset()["x"].attrs))
    lon, lat = pyproj.Transformer.from_crs(LAEA, 4326, always_xy=True).transform(
        *np.meshgrid(x, y[:: -1 if flip else 1])
    )
    return data.assign_coords(
        lon=(("y", "x"), lon, {"units": "degrees_east"}), lat=(("y", "x"), lat, {"units": "degrees_north"})
    )


def test_axes_that_contradict_the_places_of_all_cells_are_refused(tmp_path, recwarn):
    cf.read(saved(with_places(flip=False), tmp_path / "a.nc"))
    assert not recwarn
    with pytest.raises(ReadError, match=r"differ by up to 19\.0 cells: one is wrong"):
        cf.read(saved(with_places(flip=True), tmp_path / "b.nc"))


def test_axes_that_differ_a_little_from_the_places_of_all_cells_are_noted(tmp_path):
    data = with_places(flip=False)
    data = data.assign_coords(lat=data["lat"] + 0.018)  # 2 km
    data["lat"].attrs["units"] = "degrees_north"
    with pytest.warns(InputWarning, match=r"differ by up to 2\.0 cells; the axes are used"):
        cf.read(saved(data, tmp_path / "a.nc"))


def test_a_polar_map_without_its_true_latitude_is_refused(tmp_path):
    data = dataset()
    attrs = {"grid_mapping_name": "polar_stereographic", "straight_vertical_longitude_from_pole": 10.0}
    attrs |= {"latitude_of_projection_origin": 90.0, "earth_radius": 6370040.0}
    data["laea"] = ((), 0, attrs)
    with pytest.raises(ReadError, match=r"its grid mapping 'laea' cannot be read .*: it lacks standard_parallel"):
        cf.read(saved(data, tmp_path / "a.nc"))
    data["laea"].attrs["standard_parallel"] = 60.0
    cf.read(saved(data, tmp_path / "b.nc"))


def test_a_map_without_a_figure_of_the_earth_is_noted(tmp_path):
    data = dataset()
    attrs = {"grid_mapping_name": "lambert_azimuthal_equal_area", "latitude_of_projection_origin": 52.0}
    data["laea"] = ((), 0, {**attrs, "longitude_of_projection_origin": 10.0})
    with pytest.warns(InputWarning, match="states no figure of the earth: WGS 84 is taken"):
        cf.read(saved(data, tmp_path / "a.nc"))
