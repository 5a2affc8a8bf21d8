"""GRIB messages: order of values, axes over Greenwich and the dateline, Earths, projections, missing values, damage."""

from __future__ import annotations

import bz2
import gzip

import numpy as np
import pyproj
import pytest

from helpers.grib import POLAR, degrees, encode, write
from hybridcast.core import grib
from hybridcast.errors import ReadError

CELLS = np.arange(12.0).reshape(3, 4)
EUROPE = degrees(52.0, 5.0, 51.0, 6.5)


def read_one(path):
    (message,) = grib.read_messages(path)
    return grib.read_values(message, path), grib.read_grid(message, path)


def made(tmp_path, values=CELLS, **keys):
    return read_one(write(tmp_path / "made.grib", encode(values, **keys)))


# --- order of values ------------------------------------------------------------------------------------------


def test_values_are_rows_from_the_first_point(tmp_path):
    values, grid = made(tmp_path, **EUROPE)
    np.testing.assert_allclose(values, CELLS, atol=1e-3)
    assert grid.y == pytest.approx([52, 51.5, 51])
    assert grid.x == pytest.approx([5, 5.5, 6, 6.5])
    assert grid.crs.to_epsg() == 4326


def test_rows_that_run_to_and_fro_are_put_in_one_direction(tmp_path):
    """As in NDFD and NBM, on projections too (cfgrib issues 240, 276, 295 and 358)."""
    there_and_back = CELLS.copy()
    there_and_back[1] = CELLS[1, ::-1]
    for grid in (EUROPE, POLAR):
        values, _ = made(tmp_path, there_and_back, alternativeRowScanning=1, **grid)
        np.testing.assert_allclose(values, CELLS, atol=1e-3)


@pytest.mark.parametrize("edition", [1, 2])
def test_values_by_columns_become_rows(tmp_path, edition):
    """The third bit of the scanning mode (pygrib pull request 213, cfgrib issue 236)."""
    by_columns = CELLS.T.reshape(3, 4)
    values, grid = made(tmp_path, by_columns, edition=edition, jPointsAreConsecutive=1, **EUROPE)
    np.testing.assert_allclose(values, CELLS, atol=1e-3)
    assert (grid.y.size, grid.x.size) == (3, 4)


@pytest.mark.parametrize("edition", [1, 2])
def test_axes_run_in_the_direction_of_scanning(tmp_path, edition):
    keys = degrees(51.0, 6.5, 52.0, 5.0)
    _, grid = made(tmp_path, edition=edition, iScansNegatively=1, jScansPositively=1, **keys)
    assert grid.y == pytest.approx([51, 51.5, 52])
    assert grid.x == pytest.approx([6.5, 6, 5.5, 5])


@pytest.mark.parametrize(
    ("left", "right", "westward", "axis"),
    [
        (359.0, 0.5, 0, [-1, -0.5, 0, 0.5]),
        (-1.0, 0.5, 0, [-1, -0.5, 0, 0.5]),
        (179.0, 180.5, 0, [179, 179.5, 180, 180.5]),
        (179.5, -179.0, 0, [-180.5, -180, -179.5, -179]),
        (0.5, 359.0, 1, [0.5, 0, -0.5, -1]),
    ],
)
def test_longitudes_run_on_over_greenwich_and_the_dateline(tmp_path, left, right, westward, axis):
    _, grid = made(tmp_path, iScansNegatively=westward, **degrees(52.0, left, 51.0, right))
    assert grid.x == pytest.approx(axis)


def test_increments_that_contradict_the_corners_are_refused(tmp_path):
    with pytest.raises(ReadError, match="3 cells every 1 degrees do not reach from 52 to 51"):
        made(tmp_path, **degrees(52.0, 5.0, 51.0, 6.5, step=1.0))


def test_a_scanning_mode_that_contradicts_the_corners_is_refused(tmp_path):
    with pytest.raises(ReadError, match="rows from 51 to 52 degrees north, but the scanning mode says the opposite"):
        made(tmp_path, **degrees(51.0, 5.0, 52.0, 6.5))


# --- missing values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edition", [1, 2])
def test_cells_outside_the_bit_map_are_missing_and_dry_stays_dry(tmp_path, edition):
    cells = CELLS.copy()
    cells[1, 2] = np.nan
    values, _ = made(tmp_path, cells, edition=edition, **EUROPE)
    assert np.isnan(values[1, 2])
    assert np.isnan(values).sum() == 1
    assert values[0, 0] == 0


def test_a_value_of_9999_is_a_value(tmp_path):
    """The default code of missing values in ecCodes; it means missing only where the bit map says so."""
    values, _ = made(tmp_path, np.full((3, 4), 9999.0), **EUROPE)
    assert (values == 9999).all()


def test_the_code_of_wgrib2_is_missing(tmp_path):
    cells = CELLS.copy()
    cells[0, 0] = 9.999e20
    values, _ = made(tmp_path, cells, packingType="grid_ieee", **EUROPE)
    assert np.isnan(values[0, 0])
    assert values[2, 3] == 11


# --- projections ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edition", [1, 2])
def test_hrap_is_true_at_60_north_with_105_west_upright(tmp_path, edition):
    """The grid of NCEP's Stage IV: its corner 23.117 N 119.023 W lies at (-401, -1601) HRAP cells from the pole.

    Reed and Maidment (1999) give HRAP from longitude and latitude on a sphere by the formula computed here.
    """
    keys = {**POLAR, **({} if edition == 1 else {"LaDInDegrees": 60.0, "shapeOfTheEarth": 6})}
    if edition == 1:
        keys["resolutionAndComponentFlags"] = 8
    _, grid = made(tmp_path, edition=edition, **keys)
    radius = 6371229.0 if edition == 2 else 6367470.0
    lat, lon = np.deg2rad(23.117), np.deg2rad(240.977 - 255.0)
    rho = radius * (1 + np.sin(np.deg2rad(60))) * np.cos(lat) / (1 + np.sin(lat))
    assert grid.x[0] == pytest.approx(rho * np.sin(lon), abs=1)
    assert grid.y[0] == pytest.approx(-rho * np.cos(lon), abs=1)
    assert np.diff(grid.x) == pytest.approx([4763] * 3)
    assert np.diff(grid.y) == pytest.approx([4763] * 2)


def test_the_south_pole_is_the_centre_if_the_file_says_so(tmp_path):
    keys = POLAR | {"latitudeOfFirstGridPointInDegrees": -71.0, "longitudeOfFirstGridPointInDegrees": 0.0}
    keys |= {"orientationOfTheGridInDegrees": 0.0, "projectionCentreFlag": 128, "LaDInDegrees": -71.0}
    _, grid = made(tmp_path, shapeOfTheEarth=5, **keys)
    assert grid.x[0] == pytest.approx(0, abs=1e-3)
    # WGS 84 / Antarctic Polar Stereographic, EPSG:3031, is the same projection
    assert grid.y[0] == pytest.approx(pyproj.Proj("EPSG:3031")(0, -71)[1], abs=0.1)


@pytest.mark.parametrize(
    ("earth", "axes"),
    [
        ({"shapeOfTheEarth": 0}, (6367470, 6367470)),
        ({"shapeOfTheEarth": 2}, (6378160, 6356775)),
        ({"shapeOfTheEarth": 5}, (6378137, 6356752.314)),
        ({"shapeOfTheEarth": 6}, (6371229, 6371229)),
        (
            {
                "shapeOfTheEarth": 1,
                "scaleFactorOfRadiusOfSphericalEarth": 2,
                "scaledValueOfRadiusOfSphericalEarth": 637120000,
            },
            (6371200, 6371200),
        ),
    ],
)
def test_the_earth_is_that_of_the_file(tmp_path, earth, axes):
    lambert = {
        "gridType": "lambert",
        "latitudeOfFirstGridPointInDegrees": 45.0,
        "longitudeOfFirstGridPointInDegrees": 5.0,
        **{f"{key}InDegrees": 48.0 for key in ("LaD", "Latin1", "Latin2")},
        "LoVInDegrees": 10.0,
        "DxInMetres": 2500,
        "DyInMetres": 2500,
    }
    _, grid = made(tmp_path, **lambert, **earth)
    ellipsoid = grid.crs.ellipsoid
    assert (ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre) == pytest.approx(axes, abs=0.01)
    lon, lat = pyproj.Proj(grid.crs)(grid.x[0], grid.y[0], inverse=True)
    assert (lon, lat) == pytest.approx((5, 45), abs=1e-6)


def test_an_earth_of_no_size_is_refused(tmp_path):
    earth = {"shapeOfTheEarth": 1, "scaleFactorOfRadiusOfSphericalEarth": 0, "scaledValueOfRadiusOfSphericalEarth": 6}
    with pytest.raises(ReadError, match="an Earth of shape 1"):
        made(tmp_path, **POLAR, **earth)


def test_a_mercator_grid_over_the_dateline_is_one_piece(tmp_path):
    step = 6371229 * np.cos(np.deg2rad(20)) * np.deg2rad(0.5)
    keys = degrees(20.0, 179.0, 19.06, 180.5)
    keys = {k: v for k, v in keys.items() if "Increment" not in k}
    keys |= {"LaDInDegrees": 20.0, "DiInMetres": round(step), "DjInMetres": round(step), "shapeOfTheEarth": 6}
    _, grid = made(tmp_path, gridType="mercator", **keys)
    assert np.diff(grid.x) == pytest.approx([step] * 3, abs=1)
    lon, _ = pyproj.Proj(grid.crs)(grid.x, np.full(4, grid.y[0]), inverse=True)
    assert np.asarray(lon) % 360 == pytest.approx([179, 179.5, 180, 180.5], abs=1e-3)
    x, _ = pyproj.Proj(grid.crs)([179.0, -179.5], [20.0, 20.0])
    assert x == pytest.approx(grid.x[[0, 3]], abs=2)


def test_a_rotated_grid_has_its_pole(tmp_path):
    keys = {"latitudeOfSouthernPoleInDegrees": -43.0, "longitudeOfSouthernPoleInDegrees": 10.0, "shapeOfTheEarth": 6}
    _, grid = made(tmp_path, gridType="rotated_ll", **degrees(0.5, 359.5, -0.5, 1.0), **keys)
    to_degrees = pyproj.Transformer.from_crs(grid.crs, grid.crs.source_crs, always_xy=True)
    assert to_degrees.transform(grid.x[1], grid.y[1]) == pytest.approx((10, 47), abs=1e-6)


@pytest.mark.parametrize("kind", ["reduced_gg", "space_view"])
def test_other_grids_are_named(tmp_path, kind):
    import eccodes

    handle = eccodes.codes_grib_new_from_samples("reduced_gg_pl_32_grib2" if kind == "reduced_gg" else "GRIB2")
    if kind == "space_view":
        eccodes.codes_set(handle, "gridType", kind)
    path = write(tmp_path / "other.grib", eccodes.codes_get_message(handle))
    eccodes.codes_release(handle)
    (message,) = grib.read_messages(path)
    with pytest.raises(ReadError, match=rf"other\.grib.*a grid of type '{kind}'"):
        grib.read_grid(message, path)


# --- messages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress])
def test_messages_of_both_editions_behind_headings_are_read(tmp_path, compress):
    """NOAA's bulletins put a heading before each message, and other files pad them with zeros."""
    heading = b"\x01\r\r\n123 \r\r\nZETA98 KWBC 010600\r\r\n"
    first, second, third = (encode(CELLS + k, edition=1 + k % 2, **EUROPE) for k in range(3))
    path = tmp_path / "bulletin"
    path.write_bytes(compress(heading + first + b"\r\r\n\x03" + heading + second + b"\0" * 300 + third + b"\r\n"))
    found = [grib.read_values(message, path)[0, 0] for message in grib.read_messages(path)]
    assert found == pytest.approx([0, 1, 2], abs=1e-3)
    assert grib.is_grib(heading + first)
    assert not grib.is_grib(b"<html>GRIB files</html>")


def test_the_fields_of_one_message_are_messages(tmp_path):
    """NCEP packs wind components as two fields of a message, the second with the bit map of the first."""
    cells = CELLS.copy()
    cells[1, 2] = np.nan
    first, second = (encode(cells + k, **EUROPE) for k in (0, 100))

    def sections(message):
        at = 16
        while at < len(message) - 4:
            length = int.from_bytes(message[at : at + 4], "big")
            yield message[at + 4], message[at : at + length]
            at += length

    again = [b"\0\0\0\x06\x06\xfe" if number == 6 else body for number, body in sections(second) if number >= 4]
    body = first[16:-4] + b"".join(again)
    path = write(tmp_path / "two", first[:8] + (20 + len(body)).to_bytes(8, "big") + body + b"7777")
    values = [grib.read_values(message, path) for message in grib.read_messages(path)]
    assert [v[2, 3] for v in values] == pytest.approx([11, 111], abs=0.01)
    assert all(np.isnan(v[1, 2]) for v in values)


def test_times_are_in_seconds_from_the_reference(tmp_path):
    path = write(tmp_path / "t", encode(CELLS, **EUROPE, second=39, shortName="2t", stepUnits="m", stepRange="10"))
    (message,) = grib.read_messages(path)
    assert grib.reference_time(message) == np.datetime64("2024-01-01T06:00:39")
    assert grib.step_range(message) == (np.timedelta64(10, "m"),) * 2


def test_hour_24_is_the_start_of_the_next_day():
    for hour, time in ((2400, "2024-01-02T00:00"), (2330, "2024-01-01T23:30")):
        assert grib.reference_time({"dataDate": 20240101, "dataTime": hour}) == np.datetime64(time)
    with pytest.raises(ValueError, match="24:30"):
        grib.reference_time({"dataDate": 20240101, "dataTime": 2430})


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[:-1],
        lambda data: data[:100],
        lambda data: data + b"GRIB",
        lambda data: data + b"rubbish that is longer",
        lambda data: data[:-4] + b"0000",
        lambda data: data[:16] + b"\0\0\0\x00" + data[20:],
        lambda data: data[:8] + b"\0" * 8 + data[16:],
    ],
)
def test_damage_is_named(tmp_path, harm):
    path = write(tmp_path / "damaged.grib", harm(encode(CELLS, **EUROPE)))
    with pytest.raises(ReadError, match=r"damaged\.grib: the GRIB file is (truncated or )?damaged"):
        list(grib.read_messages(path))


# --- damage with which ecCodes would end the process -----------------------------------------------------------------


def damaged(tmp_path, packing, at, value):
    """Return the path of a message with one byte of section 5 changed, or of section 7 if `at` is negative."""
    cells = np.random.default_rng(0).random((20, 30))
    data = bytearray(encode(cells, **POLAR, packingType=packing))
    start = 16
    while data[start + 4] != (5 if at >= 0 else 7):
        start += int.from_bytes(data[start : start + 4], "big")
    data[start + abs(at)] = value
    return write(tmp_path / "damaged.grib", bytes(data))


@pytest.mark.parametrize(
    ("packing", "at", "value", "reason"),
    [
        ("grid_complex", 19, 109, "values of 109 bits"),
        ("grid_complex", 35, 200, "groups of numbers"),
        ("grid_ccsds", 5, 62, "values for 600 points"),
        ("grid_jpeg", -16, 99, "in a JPEG 2000 image of"),
    ],
)
def test_numbers_that_would_end_the_process_are_refused(tmp_path, packing, at, value, reason):
    with pytest.raises(ReadError, match=rf"damaged\.grib.*{reason}"):
        list(grib.read_messages(damaged(tmp_path, packing, at, value)))
