"""ODIM as services write it: projections, corners, times, codes, attributes and quantities.

Places are computed by PROJ from the definition of the grid, not from the file.
"""

from __future__ import annotations

import h5py
import numpy as np
import pyproj
import pytest

from hybridcast.core.field import crs_of
from hybridcast.errors import InputError, InputWarning, ReadError
from hybridcast.radar import open_radar
from tests.helpers.odim import PROJDEF, corners, span, write_odim

TIMES = span("115500", "120000")
RATE = {"quantity": "RATE", "gain": 1.0, "offset": 0.0, "nodata": -9999000.0, "undetect": -8888000.0, **TIMES}
LAEA = "+proj=laea +lat_0=55.0 +lon_0=10.0 +x_0=1950000.0 +y_0=-2100000.0 +units=m +ellps=WGS84"
ROWS, COLUMNS = 5, 6


def place(field, row, column):
    """Return longitude and latitude of a cell."""
    to_earth = pyproj.Transformer.from_crs(crs_of(field), "EPSG:4326", always_xy=True)
    return to_earth.transform(field.x.values[column], field.y.values[row])


def write(path, raw=None, attrs=None, **options):
    raw = np.arange(30.0).reshape(ROWS, COLUMNS) if raw is None else raw
    return write_odim(path, [(raw, RATE | (attrs or {}))], **options)


# --- grids ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("projdef", "left", "top", "step"),
    [
        (LAEA, 1.9e6, -2.1e6, 2000.0),
        ("EPSG:3035", 4e6, 3e6, 2000.0),
        ("epsg:2056", 2.6e6, 1.2e6, 1000.0),
        ("+init=epsg:3035", 4e6, 3e6, 2000.0),
        ("EPSG:3857", 1.5e6, 6.4e6, 1500.0),
        ("+proj=stere +lat_ts=60 +lat_0=90 +lon_0=10 +x_0=543196.83521776402 +y_0=3622588.8619310022 +units=m "
         "+a=6378137 +b=6356752.3142451802 +no_defs", -500.0, 500.0, 1000.0),
        ("+proj=stere +lat_0=90 +lon_0=14 +lat_ts=60 +ellps=bessel +units=m", 0.0, -3.4e6, 2000.0),
        ("+proj=gnom +lat_0=49 +lon_0=15 +ellps=WGS84", -2e5, 2e5, 1000.0),
        ("+proj=aeqd +lat_0=-18 +lon_0=179.9 +ellps=WGS84", -6000.0, 5000.0, 2000.0),
    ],
)  # fmt: skip
def test_projections(tmp_path, projdef, left, top, step):
    path = write(tmp_path / "a.h5", where=corners(projdef, left, top, COLUMNS, ROWS, step))
    field = open_radar(path)
    np.testing.assert_allclose(field.x, left + step * (np.arange(COLUMNS) + 0.5), atol=0.5)
    np.testing.assert_allclose(field.y, top - step * (np.arange(ROWS) + 0.5), atol=0.5)
    assert float(field[0, 2, 3]) == 15


@pytest.mark.parametrize("scale", [2000.0, 2.0])
def test_projections_in_kilometres(tmp_path, scale):
    """The corners are in degrees, so only the unit of the map is another; the scale is in metres or in kilometres."""
    projdef = "+proj=stere +lat_0=90 +lon_0=25 +lat_ts=60 +units=km +ellps=WGS84"
    where = corners(projdef, -200.0, -3000.0, COLUMNS, ROWS, 2.0) | {"xscale": scale, "yscale": scale}
    field = open_radar(write(tmp_path / "a.h5", where=where))
    np.testing.assert_allclose(field.x, -200e3 + 2000 * (np.arange(COLUMNS) + 0.5), atol=0.1)
    np.testing.assert_allclose(place(field, 0, 0), pyproj.Proj(projdef)(-199.0, -3001.0, inverse=True), atol=1e-6)


def test_scales_in_kilometres_of_a_map_in_metres(tmp_path):
    where = corners(LAEA, 1.9e6, -2.1e6, COLUMNS, ROWS, 2000.0) | {"xscale": 2.0, "yscale": 2.0}
    np.testing.assert_allclose(np.diff(open_radar(write(tmp_path / "a.h5", where=where)).x), 2000, rtol=1e-6)


def test_swiss_rates_are_in_place_within_a_metre(tmp_path):
    """RZC of MeteoSwiss: oblique Mercator on Bessel with a shift of datum, corners in WGS84, NaN and 0 as codes."""
    swiss = (
        "+proj=somerc +lat_0=46.95240555555556 +lon_0=7.439583333333333 +k_0=1 +x_0=2600000 +y_0=1200000 "
        "+ellps=bessel +towgs84=674.374,15.056,405.346,0,0,0,0 +units=m +no_defs"
    )
    to_wgs84 = pyproj.Transformer.from_crs("EPSG:2056", "EPSG:4326", always_xy=True)
    where = {"projdef": swiss, "xsize": 71, "ysize": 64, "xscale": 10000.0, "yscale": 10000.0}
    for corner, x, y in (
        ("UL", 2255e3, 1480e3),
        ("UR", 2965e3, 1480e3),
        ("LL", 2255e3, 840e3),
        ("LR", 2965e3, 840e3),
    ):
        where[f"{corner}_lon"], where[f"{corner}_lat"] = to_wgs84.transform(x, y)
    rain = np.full((64, 71), np.nan)
    rain[10:50, 10:60] = 0
    rain[30, 30] = 12
    field = open_radar(write(tmp_path / "a.h5", rain, {"nodata": np.nan, "undetect": 0.0}, where=where))
    np.testing.assert_array_equal(np.isnan(field.values[0]), np.isnan(rain))
    assert float(field.max()) == 12
    geod = pyproj.Geod(ellps="WGS84")
    for row, column in ((0, 0), (30, 30), (63, 70)):
        truth = to_wgs84.transform(2260e3 + 10e3 * column, 1475e3 - 10e3 * row)
        assert geod.inv(*place(field, row, column), *truth)[2] < 1


@pytest.mark.parametrize(
    ("west", "east", "scale", "projdef"),
    [
        (179.94, -179.94, 0.02, "+proj=longlat +ellps=WGS84"),
        (179.94, 180.06, 0.02, "+proj=longlat +ellps=WGS84 +lon_wrap=180"),
        (179.94, -179.94, 0.02, "+proj=longlat +ellps=WGS84 +lon_wrap=180"),
        (359.94, 0.06, 0.02, "EPSG:4326"),
        (179.94, -179.94, 2100.0, "+proj=longlat +ellps=WGS84"),  # the scale in metres
        (-180.06, -179.94, 0.02, "EPSG:4326"),
    ],
)
def test_degrees_across_the_date_line_or_greenwich(tmp_path, west, east, scale, projdef):
    where = {
        "projdef": projdef,
        "xsize": COLUMNS,
        "ysize": ROWS,
        "xscale": scale,
        "yscale": 0.02 if scale < 1 else 2220.0,
    }
    where |= {"LL_lon": west, "LL_lat": -18.1, "UR_lon": east, "UR_lat": -18.0}
    field = open_radar(write(tmp_path / "a.h5", where=where))
    np.testing.assert_allclose(np.diff(field.x), 0.02, rtol=1e-6)
    np.testing.assert_allclose((field.x.values[[0, -1]] - [west + 0.01, east - 0.01]) % 360 % 359.9999999, 0, atol=1e-6)
    np.testing.assert_allclose(field.y.values[[0, -1]], [-18.01, -18.09])


@pytest.mark.parametrize("as_wkt", [False, True])
def test_a_rotated_pole(tmp_path, as_wkt):
    """Distances on the sphere from the rotated equator and meridian give the place independently of PROJ's rotation."""
    rotated = "+proj=ob_tran +o_proj=longlat +o_lat_p=39.25 +o_lon_p=0 +lon_0=18 +R=6371000"
    crs = pyproj.CRS(rotated)
    to_earth = pyproj.Transformer.from_crs(crs, crs.source_crs, always_xy=True)
    where = {"projdef": crs.to_wkt() if as_wkt else rotated, "xsize": COLUMNS, "ysize": ROWS}
    for corner, x, y in (("LL", -4.6, 4.5), ("UR", -4.48, 4.6)):
        where[f"{corner}_lon"], where[f"{corner}_lat"] = to_earth.transform(x, y)
    field = open_radar(write(tmp_path / "a.h5", where=where | {"xscale": 0.02, "yscale": 0.02}))
    np.testing.assert_allclose(field.x, -4.59 + 0.02 * np.arange(COLUMNS), atol=1e-6)
    np.testing.assert_allclose(field.y, 4.59 - 0.02 * np.arange(ROWS), atol=1e-6)
    longitude, latitude = (np.deg2rad(part) for part in to_earth.transform(field.x.values[0], field.y.values[0]))
    pole = np.deg2rad([18.0, 90.0 - 39.25])  # the rotated origin lies south of the rotated pole, on longitude 18
    cosine = np.sin(latitude) * np.sin(pole[1]) + np.cos(latitude) * np.cos(pole[1]) * np.cos(longitude - pole[0])
    assert np.rad2deg(np.arccos(cosine)) == pytest.approx(
        np.rad2deg(np.arccos(np.cos(np.deg2rad(4.59)) * np.cos(np.deg2rad(4.59)))), abs=1e-4
    )


def test_corners_that_say_that_the_first_row_is_in_the_south_are_followed(tmp_path):
    """Swapped, as GDAL does with a positive step in y: the "upper" corners in the south."""
    upright = corners(LAEA, 1.9e6, -2.1e6, COLUMNS, ROWS, 2000.0)
    swap = str.maketrans("UL", "LU")
    swapped = {key[:1].translate(swap) + key[1:] if key[:3] in {"UL_", "UR_", "LL_", "LR_"} else key: value
               for key, value in upright.items()}  # fmt: skip
    field = open_radar(write(tmp_path / "a.h5", where=swapped))
    assert field.y.values[0] < field.y.values[-1]
    back = open_radar(write(tmp_path / "b.h5", np.arange(30.0).reshape(ROWS, COLUMNS)[::-1], where=upright))
    np.testing.assert_allclose(field.sortby("y").values, back.sortby("y").values)


@pytest.mark.parametrize("kept", [("LL", "UR"), ("UL", "LR"), ("UL", "UR", "LL")])
def test_two_opposite_corners_are_enough(tmp_path, kept):
    where = corners(LAEA, 1.9e6, -2.1e6, COLUMNS, ROWS, 2000.0)
    where = {key: value for key, value in where.items() if key[2] != "_" or key[:2] in kept}
    np.testing.assert_allclose(open_radar(write(tmp_path / "a.h5", where=where)).x[0], 1.901e6, atol=0.1)


@pytest.mark.parametrize("name", ["proj4", "proj", "proj4string"])
def test_other_names_of_the_projection(tmp_path, name):
    where = corners(PROJDEF, 0, 0, COLUMNS, ROWS, 2000.0)
    where[name] = where.pop("projdef")
    assert crs_of(open_radar(write(tmp_path / "a.h5", where=where))) == pyproj.CRS(PROJDEF)


def test_an_epsg_code_as_a_number(tmp_path):
    where = corners("EPSG:3035", 4e6, 3e6, COLUMNS, ROWS, 2000.0) | {"epsg": 3035}
    del where["projdef"]
    assert crs_of(open_radar(write(tmp_path / "a.h5", where=where))).to_epsg() == 3035


def test_danish_sums_of_radar_and_gauges_are_not_upside_down(real):
    """Sindal (57.5 N) sees to 59.6 N at 10 E and nothing south of 53.0 N; the single radar is in the north."""
    with pytest.warns(InputWarning, match=r"kavrRAD\.03\.h5: its rows run from south to north"):
        field = open_radar(real("nwp_real/dk_2024/radar/202401022100.kavrRAD.03.h5"))
    assert field.attrs["rows"].startswith("from south to north")
    assert field.attrs["accumulation_interval_minutes"] == 180
    to_map = pyproj.Proj(crs_of(field))
    for longitude, latitude, seen in ((10.1, 59.4, True), (10.1, 52.7, False), (8.55, 53.1, True), (14.9, 53.1, True)):
        x, y = to_map(longitude, latitude)
        value = float(field.isel(time=0).sel(x=x, y=y, method="nearest"))
        assert np.isfinite(value) == seen, (longitude, latitude)


def test_a_danish_composite_the_right_way_up_stays(real, tmp_path):
    path = tmp_path / "a.h5"
    source = real("nwp_real/dk_2024/radar/202401022100.kavrRAD.03.h5")[0]
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        data = file["dataset1/data1/data"]
        data[...] = data[...][::-1]
    upright = open_radar(path)
    assert "rows" not in upright.attrs
    with pytest.warns(InputWarning, match="rows"):
        reversed_ = open_radar(source)
    np.testing.assert_array_equal(upright.sortby("y").values, reversed_.sortby("y").values)


# --- times ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "clock", "expected"),
    [
        ("20240601", "240000", "2024-06-02T00:00:00"),
        ("20240601", "120060", "2024-06-01T12:01:00"),
        ("20240601", "1205", "2024-06-01T12:05:00"),
        (20240601, 120500, "2024-06-01T12:05:00"),
        (20240601, 500, "2024-06-01T00:05:00"),
        (np.array([20240601]), np.array([120500]), "2024-06-01T12:05:00"),
        (np.array([b"20240601"]), np.array([b"120500"]), "2024-06-01T12:05:00"),
        ("2024-06-01", "12:05:00", "2024-06-01T12:05:00"),
        ("20240601", "120500.123", "2024-06-01T12:05:00"),
    ],
)
def test_ways_to_write_a_time(tmp_path, day, clock, expected):
    attrs = {"startdate": day, "starttime": clock, "enddate": day, "endtime": clock}
    field = open_radar(write(tmp_path / "a.h5", attrs=attrs, what={"date": day, "time": clock}))
    assert str(field.time.values[0])[:19] == expected


@pytest.mark.parametrize(
    ("day", "clock"), [("20240631", "120000"), ("20240601", "126000"), ("20240601", "250000"), ("1.6.2024", "120000")]
)
def test_what_is_no_time_is_named(tmp_path, day, clock):
    path = write(tmp_path / "a.h5", what={"date": day, "time": clock})
    with pytest.raises(ReadError, match=r"a\.h5.*(not of the form|no time of day)"):
        open_radar(path)


# --- codes and attributes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "nodata", "undetect", "in_file"),
    [
        ("f4", -9999.9, -8888.8, np.float64),  # float32 cannot hold the codes
        ("f8", -9999.9, -8888.8, np.float32),  # the attributes are less precise than the data
        ("f8", np.nan, -1.0, np.float64),
        ("f4", -1.0, np.nan, np.float64),
        ("f4", np.nan, 0.0, np.float32),
        ("u1", 255, 0, np.int64),
        ("u2", 65535, 0, np.float64),
        ("u4", 4294967295, 0, np.float32),  # becomes 4294967296
        ("u4", 4294967295, 0, np.float64),
        ("i2", -1, -2, np.int32),
        ("i4", -9999, -8888, np.float32),
        (">f4", -9999.9, -8888.8, np.float64),
        (">u2", 65535, 0, np.float64),
    ],
)
def test_codes_of_every_type_are_missing_and_dry(tmp_path, dtype, nodata, undetect, in_file):
    raw = np.full((ROWS, COLUMNS), 3, dtype)
    raw[0], raw[1] = np.array(nodata).astype(dtype), np.array(undetect).astype(dtype)
    path = write(tmp_path / "a.h5", raw, {"nodata": in_file(nodata), "undetect": in_file(undetect)})
    values = open_radar(path).values[0]
    assert np.isnan(values[0]).all()
    assert (values[1] == 0).all()
    assert (values[2:] == 3).all()


def test_one_code_for_both_meanings_is_unknown_and_said(tmp_path):
    raw = np.zeros((ROWS, COLUMNS), np.uint8)
    raw[2] = 100
    path = write(
        tmp_path / "a.h5", raw, {"quantity": "DBZH", "gain": 0.5, "offset": -32.0, "nodata": 0.0, "undetect": 0.0}
    )
    with pytest.warns(InputWarning, match=r"a\.h5: nodata and undetect are both 0"):
        values = open_radar(path).values[0]
    assert np.isnan(np.delete(values, 2, 0)).all()
    assert (values[2] > 0).all()


def test_without_undetect_the_values_decide(tmp_path):
    """-32 dBZ are dry whether or not the file calls the code undetected."""
    raw = np.zeros((ROWS, COLUMNS), np.uint8)
    raw[2], raw[3] = 100, 255
    attrs = {"quantity": "DBZH", "gain": 0.5, "offset": -32.0, "nodata": 255.0, **TIMES}
    values = open_radar(write_odim(tmp_path / "a.h5", [(raw, attrs)])).values[0]
    assert (values[:2] == 0).all()
    assert np.isnan(values[3]).all()


def test_a_code_that_the_file_does_not_state_is_no_rain(tmp_path):
    """255 is 95.5 dBZ, which would be the heaviest rain on record in a tenth of the cells."""
    raw = np.zeros((40, 40), np.uint8)
    raw[:4] = 255
    attrs = {"quantity": "DBZH", "gain": 0.5, "offset": -32.0, "undetect": 0.0, **TIMES}
    with pytest.raises(ReadError, match=r"a\.h5: 10% of the cells of DBZH .*nodata \(not stated\)"):
        open_radar(write_odim(tmp_path / "a.h5", [(raw, attrs)]))


def test_attributes_as_arrays_and_texts(tmp_path):
    raw = np.full((ROWS, COLUMNS), 10, np.uint8)
    raw[0], raw[1] = 255, 0
    attrs = {"gain": np.array([0.5]), "offset": "1.0", "nodata": b"255", "undetect": np.array([0], np.uint8)}
    values = open_radar(write(tmp_path / "a.h5", raw, attrs)).values[0]
    assert values[:3, 0].tolist() == pytest.approx([np.nan, 0, 6], nan_ok=True)


@pytest.mark.parametrize(
    ("quantity", "units", "factor"),
    [
        ("RATE", "mm/h", 1),
        ("RATE", "m s-1", 3.6e6),
        ("RATE", "kg m-2 s-1", 3600),
        ("RATE", "mm/min", 60),
        ("ACRR", "mm", 12),
        ("ACRR", "m", 12000),
        ("ACRR", "kg m-2", 12),
    ],
)
def test_stated_units(tmp_path, quantity, units, factor):
    raw = np.full((ROWS, COLUMNS), 2.0 / factor)
    path = write(tmp_path / "a.h5", raw, {"quantity": quantity, "units": units})
    np.testing.assert_allclose(open_radar(path).values, 2, rtol=1e-6)


@pytest.mark.parametrize("quantity", ["TH", "TV", "DBZV", "URATE"])
def test_uncorrected_quantities_are_read_for_want_of_better_ones_and_said(tmp_path, quantity):
    raw = np.full((ROWS, COLUMNS), 23.0103)
    path = write_odim(tmp_path / "a.h5", [(raw, RATE | {"quantity": quantity})])
    with pytest.warns(InputWarning, match=rf"a\.h5: holds {quantity} only"):
        field = open_radar(path)
    assert float(field.max()) == pytest.approx(23.0103 if quantity == "URATE" else 1, rel=1e-4)
    assert field.attrs["quantity"].startswith(f"{quantity}: ")
    both = [(raw, RATE | {"quantity": quantity}), (raw, RATE | {"quantity": "DBZH"})]
    assert "quantity" not in open_radar(write_odim(tmp_path / "b.h5", both)).attrs


@pytest.mark.parametrize("quantity", ["VRAD", "ZDR", "RHOHV", "VIL", "HGHT", "QIND", "CLASS", "POR"])
def test_other_quantities_are_refused_by_name(tmp_path, quantity):
    with pytest.raises(ReadError, match=rf"a\.h5: holds {quantity}, none of RATE, ACRR, DBZH"):
        open_radar(write(tmp_path / "a.h5", attrs={"quantity": quantity}))


# --- public reports ------------------------------------------------------------------------------------------------


def test_attributes_of_the_data_in_the_group_of_the_dataset(tmp_path):
    """The quantity in ``dataset1/what`` beside an empty ``data1/what``, or the reverse (pysteps issue 439)."""
    for emptied in ("dataset1/what", "dataset1/data1/what"):
        path = write(tmp_path / f"{emptied.replace('/', '-')}.h5")
        with h5py.File(path, "r+") as file:
            attrs = dict(file["dataset1/data1/what"].attrs)
            other = file.require_group("dataset1/what")
            if emptied != "dataset1/what":
                other.attrs.update(attrs)
                for name in attrs:
                    del file["dataset1/data1/what"].attrs[name]
        assert float(open_radar(path)[0, 2, 3]) == 15


def test_the_place_in_the_group_of_the_dataset(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.move("where", "dataset1/where")
        file.create_group("where")
    assert crs_of(open_radar(path)) == pyproj.CRS(PROJDEF)


@pytest.mark.parametrize("group", ["dataset1/quality1", "dataset1/data1/quality1", "dataset2/data1"])
def test_quality_is_passed_over_wherever_it_is(tmp_path, group):
    """DPC has it in the group of the rain, OPERA in a dataset of its own (pysteps issue 171)."""
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        quality = file.create_group(group)
        quality["data"] = np.ones((ROWS, COLUMNS))
        quality.create_group("what").attrs.update({"quantity": np.bytes_("QIND"), "gain": 1.0, "offset": 0.0})
    assert float(open_radar(path).max()) == 29


def test_times_without_seconds_and_with_a_terminator(tmp_path):
    """``0440`` in five bytes, which a reader of HHmmss took for 04:04:00 (arkimet issue 229)."""
    stamp = np.array(b"0440\0", "S5")
    path = write(tmp_path / "a.h5", attrs={"starttime": stamp, "endtime": stamp}, what={"time": stamp})
    assert str(open_radar(path).time.values[0])[11:19] == "04:40:00"


def test_a_rate_without_an_end_has_its_nominal_time(tmp_path):
    """Files without ``enddate`` and ``endtime`` (wradlib issue 563); a sum without them is refused."""
    for quantity in ("RATE", "ACRR"):
        path = write(tmp_path / f"{quantity}.h5", attrs={"quantity": quantity})
        with h5py.File(path, "r+") as file:
            for name in ("enddate", "endtime"):
                del file["dataset1/data1/what"].attrs[name]
    assert str(open_radar(tmp_path / "RATE.h5").time.values[0])[11:16] == "12:00"
    with pytest.raises(ReadError, match=r"ACRR\.h5.*no interval"):
        open_radar(tmp_path / "ACRR.h5")


def test_running_sums_have_their_interval_and_are_no_rates(tmp_path):
    """CombiPrecip and OPERA's ACRR: the sum over an hour, every five minutes; alone it is a mean rate."""
    for minute in (0, 5):
        attrs = {"quantity": "ACRR", **span(f"11{minute:02d}00", f"12{minute:02d}00")}
        what = {"time": f"12{minute:02d}00"}
        path = write(tmp_path / f"CPC{minute}.h5", attrs=attrs, what=what)
        assert open_radar(path).attrs["accumulation_interval_minutes"] == 60
    with pytest.raises(InputError, match="overlap"):
        open_radar(tmp_path / "CPC*.h5")


def test_two_radars_that_differ_by_their_number_are_not_mixed(tmp_path):
    what = {"quantity": "RATE", "gain": 1.0, "offset": 0.0, "nodata": -1.0, "undetect": -2.0}
    paths = [
        write_odim(
            tmp_path / f"{number}.h5",
            [(np.full((4, 6), 2.0), what | span(time))],
            what={"time": time, "source": f"WMO:{number},CMT:radar"},
        )
        for number, time in (("06234", "120000"), ("06260", "120500"))
    ]
    with pytest.raises(InputError, match=r"WMO:06234,CMT:radar, 06260\.h5 ODIM WMO:06260"):
        open_radar(paths)
