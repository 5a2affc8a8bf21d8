from __future__ import annotations

import warnings

import h5py
import numpy as np
import pyproj
import pytest
import xarray as xr

from helpers.cf_files import LAEA, TIMES, VALUES, dataset, saved
from hybridcast.core.field import check_precipitation, crs_of, precipitation
from hybridcast.errors import ForecastFileError, InputWarning, ReadError
from hybridcast.radar import cf, open_radar


def test_netcdf_lazily(tmp_path):
    field = open_radar(saved(dataset(), tmp_path / "a.nc"))
    assert field.chunks is not None
    np.testing.assert_array_equal(field, VALUES)
    assert field.time.values.tolist() == TIMES.tolist()
    assert field.attrs["format"] == "cf"
    assert field.attrs["source"] == "a test"
    assert crs_of(field).equals(pyproj.CRS(LAEA), ignore_axis_order=True)


@pytest.mark.parametrize(
    "options", [{"format": "NETCDF3_CLASSIC"}, {"format": "NETCDF3_64BIT"}, {"engine": "h5netcdf"}]
)
def test_all_netcdf_versions(tmp_path, options):
    np.testing.assert_array_equal(open_radar(saved(dataset(), tmp_path / "a.nc", **options)), VALUES)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
def test_zarr(tmp_path, version, consolidated):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset().to_zarr(tmp_path / "a.zarr", zarr_format=version, consolidated=consolidated)
    field = open_radar(tmp_path / "a.zarr")
    assert field.chunks is not None
    np.testing.assert_array_equal(field, VALUES)
    assert crs_of(field) is not None


def test_own_field_opens_again(tmp_path):
    field = precipitation(
        VALUES, time=TIMES, y=np.arange(3) * 1e3, x=np.arange(4) * 1e3, crs=LAEA, attrs={"source": "s"}
    )
    again = open_radar(saved(field.to_dataset(), tmp_path / "a.nc"))
    xr.testing.assert_allclose(again.drop_vars("spatial_ref"), field.drop_vars("spatial_ref"))
    assert crs_of(again) == crs_of(field)
    local = precipitation(VALUES, time=TIMES, y=np.arange(3) * 1e3, x=np.arange(4) * 1e3, crs=None)
    assert crs_of(open_radar(saved(local.to_dataset(), tmp_path / "b.nc"))) is None


@pytest.mark.parametrize("km", [False, True])
def test_places_in_metres_or_kilometres(tmp_path, km):
    field = open_radar(saved(dataset(km=km), tmp_path / "a.nc"))
    lon, lat = pyproj.Transformer.from_crs(LAEA, 4326, always_xy=True).transform(4_002_000, 2_999_000)
    x, y = pyproj.Transformer.from_crs(4326, crs_of(field), always_xy=True).transform(lon, lat)
    assert (x, y) == pytest.approx((4_002_000, 2_999_000), abs=0.1)
    assert float(field[0].sel(x=x, y=y, method="nearest")) == 6


@pytest.mark.parametrize(("west", "expected"), [(10, 10), (350, -10), (359.98, -0.02), (179.98, 179.98), (-5, -5)])
def test_longitude_and_latitude_by_any_name(tmp_path, west, expected):
    data = dataset().drop_vars("laea").rename(x="breite", y="hoehe")
    del data["rr"].attrs["grid_mapping"]
    data["breite"] = ("breite", west + 0.01 * np.arange(4), {"units": "degrees_east"})
    data["hoehe"] = ("hoehe", 50 + 0.01 * np.arange(3), {"units": "degrees_north"})
    field = open_radar(saved(data, tmp_path / "a.nc"))
    assert crs_of(field).to_epsg() == 4326
    assert float(field.x[0]) == pytest.approx(expected)
    np.testing.assert_array_equal(field, VALUES)


def test_order_of_dimensions_does_not_matter(tmp_path):
    field = open_radar(saved(dataset().transpose("x", "time", "y"), tmp_path / "a.nc"))
    np.testing.assert_array_equal(field, VALUES)


def test_one_frame_with_scalar_time_or_time_in_its_name(tmp_path):
    one = dataset().isel(time=0)
    assert open_radar(saved(one, tmp_path / "a.nc")).time.values[0] == TIMES[0]
    bare = one.drop_vars("time")
    assert open_radar(saved(bare, tmp_path / "rr_202002020300.nc")).time.values[0] == np.datetime64("2020-02-02T03:00")
    with pytest.raises(ReadError, match="no time"):
        open_radar(saved(bare, tmp_path / "b.nc"))


# --- units and intervals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "standard_name", "factor"),
    [
        ("mm/h", "rainfall_rate", 1),
        ("kg m-2 s-1", "precipitation_flux", 3600),
        ("m s-1", "lwe_precipitation_rate", 3.6e6),
        ("mm", "rainfall_amount", 12),
        ("kg m-2", "precipitation_amount", 12),
        ("m", "lwe_thickness_of_precipitation_amount", 12_000),
        ("mm/h", None, 1),
        ("mm", None, 12),
    ],
)
def test_units(tmp_path, units, standard_name, factor):
    stated = {"accumulation_interval_minutes": 5} if factor % 12 == 0 and factor != 3600 else {}
    path = saved(dataset(units, standard_name, VALUES.astype(float) / factor, **stated), tmp_path / "a.nc")
    np.testing.assert_allclose(open_radar(path), VALUES, rtol=1e-5)


def test_reflectivity(tmp_path):
    path = saved(dataset("dBZ", "equivalent_reflectivity_factor", np.full_like(VALUES, 23.0103)), tmp_path / "a.nc")
    np.testing.assert_allclose(open_radar(path), 1, rtol=1e-4)


def test_bounds_of_time_give_interval_and_end(tmp_path):
    starts = TIMES - np.timedelta64(7, "m")  # stamps in the middle of intervals that overlap
    bounds = np.stack([starts, starts + np.timedelta64(15, "m")], axis=1)
    field = cf.read(saved(dataset("mm", "rainfall_amount", bounds=bounds), tmp_path / "a.nc"))
    np.testing.assert_allclose(field, VALUES * 4)
    assert field.time.values.tolist() == bounds[:, 1].tolist()
    assert field.attrs["accumulation_interval_minutes"] == 15
    bounds[1, 0] -= np.timedelta64(1, "m")
    with pytest.raises(ReadError, match="bounds of time"):
        open_radar(saved(dataset("mm", "rainfall_amount", bounds=bounds), tmp_path / "b.nc"))


def test_interval_of_one_frame_from_cell_methods(tmp_path):
    one = dataset("mm", "rainfall_amount", cell_methods="time: sum (interval: 10 minutes)").isel(time=[0])
    np.testing.assert_allclose(open_radar(saved(one, tmp_path / "a.nc")), VALUES[:1] * 6)
    one["rr"].attrs["cell_methods"] = "time: sum"
    with pytest.raises(ReadError, match="bounds of time"):
        open_radar(saved(one, tmp_path / "b.nc"))


def test_interval_that_contradicts_the_time_step_is_refused(tmp_path):
    data = dataset("mm", "rainfall_amount", cell_methods="time: sum (interval: 1 minute)")
    with pytest.raises(ReadError, match="is not the time step"):
        open_radar(saved(data, tmp_path / "a.nc"))


# --- coverage -------------------------------------------------------------------------------------------------


def test_fill_values_and_valid_range_are_missing(tmp_path):
    values = VALUES.copy()
    values[0, 0, 0] = np.nan
    data = dataset(values=values)
    data["rr"].encoding = {"dtype": "int16", "scale_factor": 0.1, "_FillValue": -99}
    data["rr"].attrs["valid_range"] = np.array([0, 300], dtype=np.int16)  # packed: up to 30 mm/h
    field = open_radar(saved(data, tmp_path / "a.nc")).values
    assert np.isnan(field[0, 0, 0])
    assert (np.isnan(field) == (np.isnan(values) | (values > 30))).all()


@pytest.mark.parametrize(("code", "message"), [(-9999, "a code"), (65535, "more than ever fell")])
def test_undeclared_codes_are_refused_when_loaded(tmp_path, code, message):
    values = VALUES.copy()
    values[2, 0, 0] = code
    data = dataset(values=values)
    data["rr"].encoding["chunksizes"] = (1, 3, 4)
    field = open_radar(saved(data, tmp_path / "a.nc"))
    field.isel(time=0).load()
    with pytest.raises(ReadError, match=message):
        field.load()


# --- what is refused ------------------------------------------------------------------------------------------


def test_several_candidates_are_listed(tmp_path):
    data = dataset(standard_name=None)
    data["rate"] = data["rr"].assign_attrs(units="mm/h")
    with pytest.raises(ReadError, match=r"several variables .* rr \(mm h-1\), rate \(mm/h\)"):
        open_radar(saved(data, tmp_path / "a.nc"))
    data["rr"].attrs["standard_name"] = "rainfall_rate"
    np.testing.assert_array_equal(open_radar(saved(data, tmp_path / "b.nc")), VALUES)


def test_wind_is_no_rain_though_its_units_convert(tmp_path):
    with pytest.raises(ReadError, match=r"no variable has a standard_name .* holds rr \(m s-1\)"):
        open_radar(saved(dataset("m s-1", "eastward_wind"), tmp_path / "a.nc"))


def test_forecasts_are_refused(tmp_path):
    data = dataset().rename(time="lead_time").assign_coords(reference_time=TIMES[0] - np.timedelta64(5, "m"))
    with pytest.raises(ForecastFileError, match=r"a\.nc: a forecast \(\+5 to \+15 min\)"):
        open_radar(saved(data, tmp_path / "a.nc"))


def test_two_dimensional_coordinates_alone_are_refused(tmp_path):
    data = (
        dataset()
        .drop_vars(["x", "y"])
        .assign_coords(
            lat=(("y", "x"), np.ones((3, 4)), {"units": "degrees_north"}),
            lon=(("y", "x"), np.ones((3, 4)), {"units": "degrees_east"}),
        )
    )
    with pytest.raises(ReadError, match=r"only two-dimensional coordinates .* Add x and y"):
        open_radar(saved(data, tmp_path / "a.nc"))
    with pytest.raises(ReadError, match="has no x coordinate"):
        open_radar(saved(dataset().drop_vars("x"), tmp_path / "b.nc"))


def test_units_are_needed_and_must_be_known(tmp_path):
    data = dataset()
    del data["rr"].attrs["units"]
    with pytest.raises(ReadError, match="has no units"):
        open_radar(saved(data, tmp_path / "a.nc"))
    with pytest.raises(ReadError, match="neither a rain rate"):
        open_radar(saved(dataset("inch of hat"), tmp_path / "b.nc"))
    data = dataset()
    data["x"].attrs["units"] = "pixels"
    with pytest.raises(ReadError, match="pixels"):
        open_radar(saved(data, tmp_path / "c.nc"))


def test_further_dimensions(tmp_path):
    data = dataset()
    data["rr"] = data["rr"].expand_dims(height=[1000.0])
    assert open_radar(saved(data, tmp_path / "a.nc")).shape == (3, 3, 4)
    data = xr.concat([data, data.assign_coords(height=[2000.0])], "height", data_vars="minimal")
    with pytest.raises(ReadError, match="further dimension 'height' of size 2"):
        open_radar(saved(data, tmp_path / "b.nc"))


def test_other_calendars_are_refused(tmp_path):
    data = dataset()
    data["time"] = ("time", [0.0, 1.0, 2.0], {"units": "hours since 2001-01-01", "calendar": "360_day"})
    with pytest.raises(ReadError, match="cannot be decoded"):
        open_radar(saved(data, tmp_path / "a.nc"))


def test_grid_mapping_that_is_not_there_is_reported(tmp_path):
    with pytest.warns(InputWarning, match="'laea' is not there"):
        field = open_radar(saved(dataset().drop_vars("laea"), tmp_path / "a.nc"))
    assert crs_of(field) is None


@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_CLASSIC"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.95])
def test_damaged_file_is_named(tmp_path, form, share):
    good = saved(dataset(), tmp_path / "good.nc", format=form).read_bytes()
    bad = tmp_path / "bad.nc"
    bad.write_bytes(good[: int(len(good) * share)])
    with pytest.raises(ReadError, match=r"bad\.nc"):
        open_radar(bad).load()


def test_damaged_zarr_is_named(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset().to_zarr(tmp_path / "bad.zarr", zarr_format=3)
    (tmp_path / "bad.zarr" / "zarr.json").write_text("{")
    with pytest.raises(ReadError, match=r"bad\.zarr"):
        open_radar(tmp_path / "bad.zarr")


def test_what_is_recognised(tmp_path):
    assert not cf.recognises(tmp_path, b"")
    assert not cf.recognises(tmp_path / "a", b"GRIB")
    (tmp_path / ".zgroup").write_text("{}")
    assert cf.recognises(tmp_path, b"")


def test_a_real_field_comes_back(real, tmp_path):
    source = open_radar(real("fmi/20170509/*11[0-1]*.gz"))
    again = open_radar(saved(source.to_dataset(), tmp_path / "a.nc"))
    np.testing.assert_array_equal(again, source)
    assert crs_of(again) == crs_of(source)
    check_precipitation(again.load())


@pytest.mark.parametrize(("low", "high"), [(0.0, 30.0), (np.int16(0), np.int16(3000))], ids=["unpacked", "packed"])
def test_valid_range_is_unpacked_if_of_floats(tmp_path, low, high):
    packed = {"rr": {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -1}}
    data = dataset(valid_min=low, valid_max=high)
    np.testing.assert_allclose(
        open_radar(saved(data, tmp_path / "a.nc", encoding=packed)), np.where(VALUES <= 30, VALUES, np.nan), atol=1e-3
    )


def test_latitude_and_longitude_without_units_are_known_by_name(tmp_path):
    axes = {"time": TIMES, "lat": [50.0, 50.1, 50.2], "lon": [7.0, 7.1, 7.2, 7.3]}
    data = xr.Dataset({"rain": (("time", "lat", "lon"), VALUES, {"units": "mm/h"})}, coords=axes)
    field = open_radar(saved(data, tmp_path / "a.nc"))
    assert crs_of(field).is_geographic
    np.testing.assert_allclose(field.x, axes["lon"])


def test_an_amount_without_its_interval_is_refused_and_the_remedy_works(tmp_path):
    path = saved(dataset("mm", "rainfall_amount"), tmp_path / "a.nc")
    with pytest.raises(ReadError, match=r"time it fell in\. State it: .*accumulation_interval_minutes"):
        open_radar(path)
    with xr.open_dataset(path) as data:
        data["rr"].attrs["accumulation_interval_minutes"] = 5
        data.to_netcdf(tmp_path / "b.nc")
    np.testing.assert_allclose(open_radar(tmp_path / "b.nc"), VALUES * 12, rtol=1e-6)


@pytest.mark.parametrize("version", ["NETCDF4", "zarr"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_values_are_named_when_they_are_loaded(tmp_path, version):
    data = dataset(values=np.random.default_rng(1).random((3, 30, 40), np.float32)[:, :3, :4])
    if version == "zarr":
        data.to_zarr(tmp_path / "bad.zarr", zarr_format=3)
        for chunk in (tmp_path / "bad.zarr" / "rr" / "c").rglob("0"):
            if chunk.is_file():
                chunk.write_bytes(b"damaged!")
        path = tmp_path / "bad.zarr"
    else:
        path = saved(data, tmp_path / "bad.nc", encoding={"rr": {"zlib": True, "complevel": 9, "fletcher32": True}})
        with h5py.File(path) as file:
            chunk = file["rr"].id.get_chunk_info(0)
        content = bytearray(path.read_bytes())
        content[chunk.byte_offset + 20 : chunk.byte_offset + 28] = b"damaged!"
        path.write_bytes(content)
    field = open_radar(path)
    with pytest.raises(ReadError, match=r"bad\.(nc|zarr): its values are damaged"):
        field.load()


def test_units_under_the_name_that_wradlib_gives_them(tmp_path):
    data = dataset()
    data["rr"].attrs["unit"] = data["rr"].attrs.pop("units")
    np.testing.assert_array_equal(open_radar(saved(data, tmp_path / "a.nc")), VALUES)
