"""Missing and dry values of CF files: neither becomes the other, and no code becomes rain."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import xarray as xr

from helpers.cf_files import VALUES, dataset, saved
from hybridcast.errors import InputWarning, ReadError
from hybridcast.radar import cf

PACKED = {"dtype": "int16", "scale_factor": 0.1, "add_offset": 0.0}


def stored(path, raw, **attrs):
    """Write packed numbers and their attributes exactly as given."""
    data = dataset()
    raw = np.broadcast_to(np.asarray(raw), (3, 3, 4))
    data["rr"] = (("time", "y", "x"), raw, {**data["rr"].attrs, **attrs})
    data["rr"].encoding["_FillValue"] = None
    data.to_netcdf(path)
    return path


def read(path):
    return cf.read(path).values


def test_unsigned_bytes_with_a_valid_range(tmp_path):
    # GOES-R: numbers above 32767 are stored as negative ones, and so is the end of the valid range
    raw = np.array([0, 1000, -6, -1], "i2")
    attrs = {"_Unsigned": "true", "_FillValue": np.int16(-1), "scale_factor": np.float32(0.00152602)}
    path = stored(tmp_path / "a.nc", raw, **attrs, add_offset=np.float32(0), valid_range=np.array([0, -6], "i2"))
    np.testing.assert_allclose(read(path)[0, 0], [0, 1.52602, 65530 * 0.00152602, np.nan], rtol=1e-6)


@pytest.mark.parametrize(
    ("attrs", "codes"),
    [
        ({"_FillValue": np.int16(-1), "missing_value": np.int16(-2)}, [-1, -2]),
        ({"missing_value": np.array([-1, -2], "i2")}, [-1, -2]),
        ({"missing_value": "-9999"}, [-9999, -9999]),
        ({"missing_value": -9999.0}, [-9999, -9999]),
    ],
)
def test_codes_in_any_attribute_and_type(tmp_path, attrs, codes):
    path = stored(tmp_path / "a.nc", np.array([0, 50, *codes], "i2"), scale_factor=0.1, **attrs)
    np.testing.assert_allclose(read(path)[0, 0], [0, 5, np.nan, np.nan], rtol=1e-6)


def test_fill_value_as_text(tmp_path):
    path = stored(tmp_path / "a.nc", np.array([0, 5, -9999, -9999], "f4"))
    with h5py.File(path, "r+") as file:
        file["rr"].attrs["_FillValue"] = "-9999.0"
    np.testing.assert_allclose(read(path)[0, 0], [0, 5, np.nan, np.nan])


def test_flags_are_missing_or_dry_by_their_meaning(tmp_path):
    attrs = {"flag_values": np.array([-1, -2], "i2"), "scale_factor": 0.1}
    path = stored(tmp_path / "a.nc", np.array([0, 50, -1, -2], "i2"), flag_meanings="no_coverage undetect", **attrs)
    np.testing.assert_allclose(read(path)[0, 0], [0, 5, np.nan, 0], rtol=1e-6)
    odd = stored(tmp_path / "b.nc", np.array([0, 50, -1, -2], "i2"), flag_meanings="no_coverage clutter", **attrs)
    with pytest.raises(ReadError, match="flag -2 means 'clutter', neither missing nor dry"):
        read(odd)


def test_values_taken_out_by_a_valid_range_are_counted(tmp_path):
    path = stored(tmp_path / "a.nc", np.array([0, 5, 80, np.nan], "f4"), valid_range=np.array([0, 60], "f4"))
    with pytest.warns(InputWarning, match=r"a\.nc: 9 values outside its valid range, 0 to 60, are missing"):
        np.testing.assert_array_equal(read(path)[0, 0], [0, 5, np.nan, np.nan])


@pytest.mark.parametrize("name", ["_FillValue", "missing_value"])
def test_zero_declared_missing_is_refused_and_the_remedy_works(tmp_path, name):
    # xarray would make all dry cells missing
    path = stored(tmp_path / "a.nc", np.array([0, 50, 7, 0], "i2"), scale_factor=0.1, **{name: np.int16(0)})
    with pytest.raises(ReadError, match=r"declares 0 as missing .* cannot be told apart"):
        read(path)
    with xr.open_dataset(path, mask_and_scale=False) as data:
        del data["rr"].attrs[name]
        data.to_netcdf(tmp_path / "b.nc", encoding={"rr": {"_FillValue": -1}})
    np.testing.assert_allclose(read(tmp_path / "b.nc")[0, 0], [0, 5, 0.7, 0], rtol=1e-6)


def test_zero_of_reflectivity_as_declared(tmp_path):
    attrs = {"units": "dBZ", "standard_name": "equivalent_reflectivity_factor", "_FillValue": np.uint8(0)}
    path = stored(tmp_path / "a.nc", np.array([0, 1, 110, 120], "u1"), scale_factor=0.5, add_offset=-32.0, **attrs)
    with pytest.warns(InputWarning, match="cells where nothing was detected are missing too"):
        values = read(path)[0, 0]
    assert np.isnan(values[0])
    np.testing.assert_allclose(values[1:], [0, (10**2.3 / 200) ** 0.625, (10**2.8 / 200) ** 0.625], rtol=1e-5)


@pytest.mark.parametrize("code", [-999.0, -9999.0, -99.9])
def test_codes_among_reflectivities_are_not_dry(tmp_path, code):
    attrs = {"units": "dBZ", "standard_name": "equivalent_reflectivity_factor"}
    path = stored(tmp_path / "a.nc", np.array([-32, 20, 30, code], "f4"), **attrs)
    with pytest.raises(ReadError, match="a code for 'no echo' or 'not observed'"):
        read(path)


@pytest.mark.parametrize(("dtype", "highest"), [("u1", 255), ("u2", 65535), ("i2", 32767)])
def test_the_highest_number_undeclared_is_refused(tmp_path, dtype, highest):
    path = stored(tmp_path / "a.nc", np.array([0, 50, 7, highest], dtype), scale_factor=0.01)
    with pytest.raises(ReadError, match="holds its highest number"):
        read(path)
    declared = stored(
        tmp_path / "b.nc",
        np.array([0, 50, 7, highest], dtype),
        scale_factor=0.01,
        _FillValue=np.array(highest, dtype)[()],
    )
    np.testing.assert_allclose(read(declared)[0, 0], [0, 0.5, 0.07, np.nan], rtol=1e-5)


def test_default_fill_value_of_netcdf_needs_no_declaration(tmp_path):
    path = stored(tmp_path / "a.nc", np.array([0, 5, 9.969209968386869e36, np.nan], "f4"))
    np.testing.assert_array_equal(read(path)[0, 0], [0, 5, np.nan, np.nan])


@pytest.mark.parametrize("code", [-99.9, -32768 * 0.1, 9999.0, np.inf])
def test_undeclared_codes_are_refused(tmp_path, code):
    with pytest.raises(ReadError, match="code"):
        read(stored(tmp_path / "a.nc", np.array([0, 5, 7, code], "f4")))


def test_packed_and_lazy_as_before(tmp_path):
    path = saved(dataset(), tmp_path / "a.nc", encoding={"rr": {**PACKED, "_FillValue": -1, "chunksizes": (1, 3, 4)}})
    field = cf.read(path)
    assert field.chunks is not None
    np.testing.assert_allclose(field, VALUES, atol=1e-5)


@pytest.mark.parametrize(("scale", "factor"), [(np.int64(2), 2), ("0.1", 0.1), (np.float32(0.1), 0.1)])
def test_scale_factors_of_any_type(tmp_path, scale, factor):
    path = stored(tmp_path / "a.nc", np.array([0, 50, 7, -1], "i2"), _FillValue=np.int16(-1))
    with h5py.File(path, "r+") as file:
        file["rr"].attrs["scale_factor"] = scale
    np.testing.assert_allclose(read(path)[0, 0], [0, 50 * factor, 7 * factor, np.nan], rtol=1e-6)


@pytest.mark.parametrize("scale", ["abc", 0.0, np.nan, np.array([1.0, 2.0])])
def test_scale_factors_that_are_no_numbers_are_refused(tmp_path, scale):
    path = stored(tmp_path / "a.nc", np.array([0, 50, 7, -1], "i2"), _FillValue=np.int16(-1))
    with h5py.File(path, "r+") as file:
        file["rr"].attrs["scale_factor"] = scale
    with pytest.raises(ReadError, match=r"a\.nc: 'rr' cannot be unpacked with"):
        read(path)


# --- cases of public reports ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_zeros_of_a_zarr_array_with_the_default_fill_value(tmp_path):
    # pydata/xarray #4930 and #5475: zarr writes the fill_value 0, and open_zarr makes all zeros NaN
    data = dataset()
    data["rr"].encoding = {"_FillValue": 0.0}
    data.to_zarr(tmp_path / "a.zarr", zarr_format=2)
    with pytest.raises(ReadError, match=r"default is 0.*open_zarr\(path, mask_and_scale=False\)"):
        read(tmp_path / "a.zarr")
    with xr.open_zarr(tmp_path / "a.zarr", mask_and_scale=False) as again:
        del again["rr"].attrs["_FillValue"]
        again.to_zarr(tmp_path / "b.zarr", zarr_format=2)
    np.testing.assert_array_equal(read(tmp_path / "b.zarr"), VALUES)


@pytest.mark.parametrize("name", ["_Undetect", "undetect"])
@pytest.mark.parametrize("units", ["dBZ", "mm h-1"])
def test_undetected_is_dry_and_not_missing(tmp_path, name, units):
    # openradar/xradar #70 and #103: _Undetect of WMO FM 301 is not decoded by xarray
    reflectivity = units == "dBZ"
    attrs = {"units": units, "standard_name": "equivalent_reflectivity_factor" if reflectivity else "rainfall_rate"}
    scale = {"scale_factor": 0.5, "add_offset": -32.0} if reflectivity else {"scale_factor": 0.1}
    raw = np.array([0, 110, 255, 1], "u1")
    path = stored(tmp_path / "a.nc", raw, _FillValue=np.uint8(255), **{name: np.uint8(0)}, **scale, **attrs)
    values = read(path)[0, 0]
    assert values[0] == 0
    assert np.isnan(values[2])
    assert values[1] == pytest.approx((10**2.3 / 200) ** 0.625 if reflectivity else 11, rel=1e-5)


def test_missing_values_of_amounts_in_metres(tmp_path):
    # NVIDIA/earth2studio #1031: undetected cells of OPERA as -99 mm, which become -0.099 m
    attrs = {"units": "m", "standard_name": "rainfall_amount", "accumulation_interval_minutes": 60}
    path = stored(tmp_path / "a.nc", np.array([0, 0.001, -0.099, 0.002], "f4"), **attrs)
    with pytest.raises(ReadError, match="holds -99 mm/h, a code"):
        read(path)


def test_values_of_a_lost_fill_value_are_refused(tmp_path):
    # dhis2/open-climate-service #103: -999.99 in a Zarr array whose fill value is NaN
    data = dataset(values=np.where(VALUES > 30, np.float32(-999.99), VALUES))
    with pytest.raises(ReadError, match=r"holds -999\.99 mm/h, a code"):
        read(saved(data, tmp_path / "a.nc"))
