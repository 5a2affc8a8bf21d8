"""ODIM: rates of OPERA, written files of amounts and reflectivity, corners, codes, and refused files."""

from __future__ import annotations

import h5py
import numpy as np
import pyproj
import pytest

from hybridcast.core.field import HIGHEST_RATE, crs_of
from hybridcast.errors import InputWarning, ReadError
from hybridcast.radar import open_radar

FILES = "opera/20180824/*.hdf"
PROJDEF = "+proj=aeqd +lat_0=50 +lon_0=5 +x_0=0 +y_0=0 +ellps=WGS84"
TIMES = {"startdate": "20200614", "starttime": "115500", "enddate": "20200614", "endtime": "120000"}


def write(
    path,
    layers,
    *,
    kind="COMP",
    corners="edges",
    projdef=PROJDEF,
    scale=2000.0,
    shape=(4, 6),
    what=None,
    how=None,
    stated=None,
    **where,
):
    """Write a composite; `layers` are (raw, what) of dataset1, dataset2, ..."""
    rows, columns = shape
    inset = 0.0 if corners == "edges" else 0.5 * scale
    to_lonlat = pyproj.Proj(projdef)
    with h5py.File(path, "w") as file:
        file.attrs["Conventions"] = np.bytes_("ODIM_H5/V2_2")
        origin = {"object": np.bytes_(kind), "source": "WMO:06477,CMT:Somewhere", "date": "20200614", "time": "1200"}
        file.create_group("what").attrs.update({**origin, **(what or {})})
        file.create_group("how").attrs.update(how or {})
        place = file.create_group("where").attrs
        place.update(
            {"projdef": np.bytes_(stated or projdef), "xsize": columns, "ysize": rows, "xscale": scale, "yscale": scale}
        )
        width, height = columns * scale, rows * scale
        for name, x, y in (("LL", inset, -height + inset), ("UR", width - inset, -inset)):
            place[f"{name}_lon"], place[f"{name}_lat"] = to_lonlat(x, y, inverse=True)
        place.update(where)
        for number, (raw, attrs) in enumerate(layers, 1):
            data = file.create_group(f"dataset{number}/data1")
            data["data"] = raw
            data.create_group("what").attrs.update(attrs)
            quality = data.create_group("quality1")
            quality["data"] = np.ones(shape, np.uint8)
            quality.create_group("what").attrs["quantity"] = "RATE"  # as no quality should be called
    return path


def amounts(**more):
    raw = np.arange(24, dtype=np.uint16).reshape(4, 6)
    raw[0, 0], raw[0, 1] = 65535, 0
    what = {"quantity": "ACRR", "gain": 0.1, "offset": 0.5, "nodata": 65535.0, "undetect": 0.0, **TIMES, **more}
    return raw, what


def reflectivity(**more):
    raw = np.full((4, 6), 126, np.uint8)
    raw[0, 0], raw[0, 1] = 255, 0
    what = {"quantity": "DBZH", "gain": 0.5, "offset": -32.0, "nodata": 255.0, "undetect": 0.0, **TIMES, **more}
    return raw, what


def rates(**more):
    raw = np.full((4, 6), 2.5, np.float32)
    raw[0, 0], raw[0, 1], raw[0, 2] = -9999000.0, -8888000.0, -0.5
    what = {"quantity": "RATE", "gain": 1.0, "offset": 0.0, "nodata": -9999000.0, "undetect": -8888000.0, **TIMES}
    return raw, {**what, **more}


# --- OPERA ----------------------------------------------------------------------------------------------------


def test_opera_frames_are_fifteen_minutes_apart(real):
    field = open_radar(real(FILES)[:2])
    assert field.shape == (2, 2200, 1900)
    assert field.attrs["format"] == "odim-hdf5"
    assert (field.time.values == np.array(["2018-08-24T18:00", "2018-08-24T18:15"], "M8[ns]")).all()
    assert field.attrs["institution"] == "EUMETNET OPERA"


def test_opera_corners_are_those_stated_in_the_file(real):
    field = open_radar(real(FILES)[0])
    with h5py.File(real(FILES)[0]) as file:
        where = dict(file["where"].attrs)
    x, y = field.x.values, field.y.values
    places = {"LL": (x[0], y[-1]), "LR": (x[-1], y[-1]), "UL": (x[0], y[0]), "UR": (x[-1], y[0])}
    outward = {"LL": (-1000, -1000), "LR": (1000, -1000), "UL": (-1000, 1000), "UR": (1000, 1000)}
    for corner, place in places.items():
        lon, lat = pyproj.Proj(crs_of(field))(*np.add(place, outward[corner]), inverse=True)
        stated = where[f"{corner}_lon"], where[f"{corner}_lat"]
        assert pyproj.Geod(ellps="WGS84").inv(lon, lat, *stated)[2] < 1.0


def test_opera_rates_and_codes(real):
    path = real(FILES)[0]
    with h5py.File(path) as file:
        raw = file["dataset1/data1/data"][...]
    rate = open_radar(path).values[0]
    assert (np.isnan(rate) == (raw == -9999000.0)).all()
    assert (rate[raw == -8888000.0] == 0).all()
    seen = raw >= 0
    np.testing.assert_allclose(rate[seen], raw[seen], rtol=1e-6)
    assert np.isnan(rate).mean() == pytest.approx(0.50, abs=0.01)
    assert (rate > 0.1).mean() == pytest.approx(0.05, abs=0.03)
    assert rate[rate > 0.1].mean() == pytest.approx(1.2, abs=0.7)


def test_opera_agrees_with_pysteps(real):
    importers = pytest.importorskip("pysteps.io.importers")
    expected, _, meta = importers.import_odim_hdf5(str(real(FILES)[0]))
    field = open_radar(real(FILES)[0])
    np.testing.assert_allclose(field.values[0], expected, rtol=1e-6)
    assert field.x.values[0] == pytest.approx(meta["x1"] + 1000, abs=1)
    assert field.y.values[0] == pytest.approx(meta["y2"] - 1000, abs=1)


# --- made files -----------------------------------------------------------------------------------------------


def test_amounts_are_divided_by_the_interval_in_the_file(tmp_path):
    field = open_radar(write(tmp_path / "a.h5", [amounts()]))
    assert field.attrs["accumulation_interval_minutes"] == 5
    assert str(field.time.values[0])[:16] == "2020-06-14T12:00"
    assert np.isnan(field.values[0, 0, 0])
    assert field.values[0, 0, 1] == 0  # undetect is dry, whatever the offset
    assert field.values[0, 3, 5] == pytest.approx((23 * 0.1 + 0.5) * 12)
    hourly = open_radar(
        write(
            tmp_path / "b.h5", [amounts(startdate="20200613", starttime="2359", endtime="005900", enddate="20200614")]
        )
    )
    assert hourly.values[0, 3, 5] == pytest.approx(23 * 0.1 + 0.5)
    assert str(hourly.time.values[0])[:16] == "2020-06-14T00:59"


def test_reflectivity_by_the_relation_in_the_file(tmp_path):
    path = write(tmp_path / "a.h5", [reflectivity()])
    field = open_radar(path)
    assert np.isnan(field.values[0, 0, 0])
    assert field.values[0, 0, 1] == 0
    assert field.values[0, 1, 1] == pytest.approx((10**3.1 / 200) ** (1 / 1.6), rel=1e-4)
    with h5py.File(path, "r+") as file:
        file["how"].attrs.update({"zr_a": 256.0, "zr_b": 1.42})
    assert open_radar(path).values[0, 1, 1] == pytest.approx((10**3.1 / 256) ** (1 / 1.42), rel=1e-4)


def test_rate_is_preferred_to_amount_to_reflectivity(tmp_path):
    everything = [reflectivity(), amounts(), rates()]
    assert open_radar(write(tmp_path / "a.h5", everything)).values[0, 1, 1] == pytest.approx(2.5)
    assert "accumulation_interval_minutes" in open_radar(write(tmp_path / "b.h5", everything[:2])).attrs


def test_codes_and_negative_rates(tmp_path):
    raw, what = rates()
    raw[0, 3] = np.inf
    values = open_radar(write(tmp_path / "a.h5", [(raw, what)])).values[0, 0]
    np.testing.assert_array_equal(values[:5], np.array([np.nan, 0, np.nan, np.nan, 2.5], np.float32))


def test_interference_is_clipped_and_counted(tmp_path):
    raw, what = reflectivity()
    raw[2, 2:4] = 250  # 93 dBZ
    field = open_radar(write(tmp_path / "a.h5", [(raw, what)]))
    assert float(field.max()) == HIGHEST_RATE
    assert field.attrs["clipped_cells"] == 2


def test_several_datasets_are_frames_by_time(tmp_path):
    later = {"startdate": "20200614", "starttime": "120000", "enddate": "20200614", "endtime": "120500"}
    field = open_radar(write(tmp_path / "a.h5", [amounts(**later), amounts()], what={"time": "120500"}))
    assert [str(time)[11:16] for time in field.time.values] == ["12:00", "12:05"]


def test_a_second_height_is_left_out_aloud(tmp_path):
    raw, what = rates()
    path = write(tmp_path / "a.h5", [(raw, what | {"prodpar": 1000.0}), (raw + 1, what | {"prodpar": 2000.0})])
    with pytest.warns(InputWarning, match="dataset2/data1 left out"):
        field = open_radar(path)
    assert field.values[0, 1, 1] == 2.5


def test_members_that_nothing_tells_apart_are_refused(tmp_path):
    raw, what = rates()
    path = write(tmp_path / "a.h5", [(raw, what), (raw + 1, what)])
    with pytest.raises(ReadError, match="dataset1/data1 and dataset2/data1 are different RATE of one time"):
        open_radar(path)
    with pytest.warns(InputWarning, match="dataset2/data1 left out"):  # the same twice
        assert open_radar(write(tmp_path / "b.h5", [(raw, what), (raw, what)])).values[0, 1, 1] == 2.5


@pytest.mark.parametrize("corners", ["edges", "centres"])
def test_cells_are_centred_with_either_meaning_of_corners(tmp_path, corners):
    field = open_radar(write(tmp_path / "a.h5", [rates()], corners=corners))
    assert field.x.values == pytest.approx(np.arange(6) * 2000 + 1000, abs=0.1)
    assert field.y.values == pytest.approx(-np.arange(4) * 2000 - 1000, abs=0.1)


def test_grid_of_longitude_and_latitude(tmp_path):
    path = write(
        tmp_path / "a.h5",
        [rates()],
        projdef="+proj=longlat +ellps=WGS84",
        scale=0.02,
        LL_lon=5.0,
        LL_lat=50.0,
        UR_lon=5.12,
        UR_lat=50.08,
        xscale=1400.0,
        yscale=2200.0,
    )
    field = open_radar(path)
    assert crs_of(field).is_geographic
    assert field.x.values == pytest.approx(5.01 + 0.02 * np.arange(6))
    assert field.y.values == pytest.approx(50.07 - 0.02 * np.arange(4))


# --- refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "options", "reason"),
    [
        ([reflectivity()], {"kind": "PVOL"}, "polar"),
        ([reflectivity()], {"kind": "SCAN"}, "polar"),
        ([reflectivity()], {"kind": "VP"}, "no map"),
        ([rates(quantity="VRAD")], {}, "VRAD"),
        ([amounts(startdate="x")], {}, "not of the form"),
        ([amounts(starttime=b"")], {}, "not of the form"),
        ([amounts(endtime="115500")], {}, "no interval"),
        ([rates()], {"xsize": 7}, "stated"),
        ([rates()], {"xscale": 1000.0}, "do not fit"),
        ([rates()], {"UR_lat": 51.0}, "do not fit"),
        ([rates()], {"stated": "+proj=nonsense"}, "not known to PROJ"),
        ([rates()], {"UL_lon": 5.0, "UL_lat": 50.5}, "no rectangle"),
        ([rates(gain=0.0)], {}, "the gain of RATE is 0"),
        ([rates(gain="strange")], {}, "'strange', no number"),
        ([rates(units="furlong")], {}, "'furlong'"),
        ([(np.ones((4, 6), np.uint8), {"quantity": "DBZH", **TIMES})], {}, "its gain is missing"),
        ([(np.ones((5, 6)), {"quantity": "RATE"})], {}, "stated"),
        ([], {}, "nothing"),
    ],
)
def test_refusals_give_the_reason(tmp_path, layers, options, reason):
    path = write(tmp_path / "odd.h5", layers, **options)
    with pytest.raises(ReadError, match=rf"odd\.h5.*{reason}"):
        open_radar(path)


def test_truncated_and_corrupt_files_are_named(real, tmp_path):
    data = real(FILES)[0].read_bytes()
    cut = tmp_path / "cut.hdf"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(ReadError, match=r"cut\.hdf.*truncated"):
        open_radar(cut)
    with h5py.File(real(FILES)[0]) as file:
        chunk = file["dataset1/data1/data"].id.get_chunk_info(8)
    harmed = bytearray(data)
    harmed[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    flipped = tmp_path / "flipped.hdf"
    flipped.write_bytes(harmed)
    with pytest.raises(ReadError, match=r"flipped\.hdf"):
        open_radar(flipped)
