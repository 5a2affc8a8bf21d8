"""Arrays as libraries hand them out: masks, lazy arrays, small and odd types, undecoded files.

The masked ones are as `netCDF4` and `rasterio.read(masked=True)` return them, with anything under the mask.
"""

from __future__ import annotations

import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hybridcast import dbz_from_rate, precipitation, rate_from_accumulation, rate_from_dbz
from hybridcast.core.arrays import as_floats, refuse_stored_codes
from hybridcast.core.field import as_rate, check_precipitation
from hybridcast.errors import InputError

START = np.datetime64("2024-06-01T12:00", "ns")
FIVE_MINUTES = np.timedelta64(5, "m")
MASKED = np.ma.masked_array([30.0, 99.0], mask=[False, True])


def build(values, rows=2, columns=3):
    return precipitation(values, time=START, y=1e3 * np.arange(rows), x=1e3 * np.arange(columns), crs=None)


def masked(dtype, under=99):
    return np.ma.masked_array(np.array([[1, 2, under], [3, 4, 5]], dtype), mask=[[0, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize("dtype", ["u1", "i2", "i8", "f2", "f4", "f8", ">f4", ">i2"])
def test_what_is_masked_is_missing_in_a_field(dtype):
    made = build(masked(dtype)).values[0]
    np.testing.assert_array_equal(made, np.array([[1, 2, np.nan], [3, 4, 5]], np.float32))
    assert made.dtype == np.float32


@pytest.mark.parametrize("under", [0, -9999, np.nan, np.inf])
def test_what_lies_under_the_mask_does_not_matter(under):
    field = build(masked("f8", under))
    assert float(field.isnull().sum()) == 1
    check_precipitation(field)


def test_lists_of_masked_frames_keep_their_masks():
    """``numpy.stack`` and ``numpy.asarray`` of masked arrays drop the masks, and a list of frames is common."""
    field = precipitation(
        [masked("f4"), masked("f4")], time=[START, START + FIVE_MINUTES], y=[0, 1e3], x=[0, 1e3, 2e3], crs=None
    )
    assert np.isnan(field.values[:, 0, 2]).all()
    assert np.isnan(as_floats([[1.0, 2.0], np.ma.masked_array([3.0, 4.0], mask=[True, False])])[1, 0])


def test_lazy_masked_arrays_stay_lazy_and_masked():
    field = build(dask.array.from_array(masked("f8"), chunks=(1, 3), asarray=False))
    assert field.chunks is not None
    assert np.isnan(field.values[0, 0, 2])
    assert not isinstance(field.values, np.ma.MaskedArray)


def test_other_containers():
    plain = [[1, 2, 3], [4, 5, 6]]
    for values in (plain, tuple(map(tuple, plain)), np.matrix(plain), pd.DataFrame(plain), memoryview(np.array(plain))):
        np.testing.assert_array_equal(build(values).values[0], plain)
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(build(torch.tensor(plain)).values[0], plain)
    assert float(build(torch.tensor(plain, dtype=torch.float16))[0, 1, 2]) == 6


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((2, 3), bool),
        np.zeros((2, 3), complex),
        np.zeros((2, 3), "datetime64[s]"),
        [["1", "2", "3"], ["4", "5", "6"]],
        [[1, 2, 3], [4, 5]],
        np.array([[None, 2, 3], [4, "x", 6]], object),
        {"rain": 1},
    ],
    ids=repr,
)
def test_what_are_no_numbers_is_refused(values):
    with pytest.raises(InputError, match=r"values are numbers in an array"):
        build(values)


# --- conversions ------------------------------------------------------------------------------------------------


def test_conversions_of_masked_arrays():
    np.testing.assert_allclose(rate_from_dbz(MASKED), [2.73436353, np.nan])
    np.testing.assert_allclose(rate_from_accumulation(MASKED, FIVE_MINUTES), [360, np.nan])
    np.testing.assert_allclose(dbz_from_rate(np.ma.masked_array([1.0, 9.0], mask=[False, True])), [23.0103, np.nan])
    for made in (rate_from_dbz(MASKED), rate_from_accumulation(MASKED, FIVE_MINUTES), dbz_from_rate(MASKED)):
        assert not isinstance(made, np.ma.MaskedArray)


@pytest.mark.parametrize("dtype", ["u1", "i4", "f2", "f4", "f8"])
def test_conversions_of_every_number_type(dtype):
    np.testing.assert_allclose(rate_from_dbz(np.array([0, 23, 53], dtype)), [0.036463, 0.998519, 74.878348], rtol=1e-4)
    np.testing.assert_allclose(rate_from_accumulation(np.array([0, 3], dtype), np.timedelta64(1, "h")), [0, 3])
    np.testing.assert_allclose(dbz_from_rate(np.array([0, 1], dtype)), [-8.9897, 23.0103], rtol=1e-4)


def test_conversions_of_plain_numbers_lists_and_lazy_arrays():
    assert rate_from_dbz(23.0103) == pytest.approx(1, rel=1e-6)
    assert rate_from_dbz(-32) == 0
    np.testing.assert_allclose(rate_from_dbz([23.0103, np.nan]), [1, np.nan])
    assert rate_from_accumulation(0.5, FIVE_MINUTES.item()) == pytest.approx(6)
    assert dbz_from_rate(1) == pytest.approx(23.0103)
    refused = dask.array.from_array(np.array([23.0103, -9999.0], "f4"), chunks=1)
    for lazy in (rate_from_dbz(refused), rate_from_dbz(xr.DataArray(refused, dims="x")), dbz_from_rate(refused)):
        with pytest.raises(InputError, match="missing"):
            lazy.compute()
    with pytest.raises(InputError, match="0 or more"):
        dbz_from_rate([1.0, -1.0])
    lazy = rate_from_dbz(dask.array.from_array(np.array([23.0103, -32.0, np.nan], "f4")))
    assert isinstance(lazy, dask.array.Array)
    np.testing.assert_allclose(lazy.compute(), [1, 0, np.nan], rtol=1e-5)


@pytest.mark.parametrize("interval", [5, 5.0, "5min", np.timedelta64(0, "s"), -FIVE_MINUTES, np.timedelta64("NaT")])
def test_an_interval_is_a_positive_duration(interval):
    with pytest.raises(InputError, match=r"the interval is .*timedelta64\(5, 'm'\)"):
        rate_from_accumulation(1.0, interval)


@pytest.mark.parametrize(
    ("convert", "units"),
    [
        (rate_from_dbz, "mm h-1"),
        (rate_from_dbz, "mm"),
        (rate_from_dbz, "kg m-2"),
        (lambda rain: rate_from_accumulation(rain, FIVE_MINUTES), "mm/h"),
        (lambda rain: rate_from_accumulation(rain, FIVE_MINUTES), "m"),
        (lambda rain: rate_from_accumulation(rain, FIVE_MINUTES), "dBZ"),
        (dbz_from_rate, "dBZ"),
        (dbz_from_rate, "mm"),
        (dbz_from_rate, "m s-1"),
        (as_rate, "dBZ"),
    ],
)
def test_a_conversion_from_another_quantity_is_refused(convert, units):
    """ERA5 has its precipitation in metres, and a rate given for dBZ makes 1e9 mm/h of a downpour."""
    with pytest.raises(InputError, match=f"{units}"):
        convert(xr.DataArray([1.0], name="tp", attrs={"units": units}))


@pytest.mark.parametrize("units", ["mm", "kg m-2", "kg", ""])
def test_amounts_in_millimetres_convert(units):
    rain = xr.DataArray([0.5], attrs={"units": units} if units else {})
    assert float(rate_from_accumulation(rain, FIVE_MINUTES)[0]) == 6


# --- files that were not decoded -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attrs", "values", "found"),
    [
        ({"_FillValue": -9999.0}, [1.0, -9999.0], "-9999, its _FillValue"),
        ({"missing_value": np.array([255, 254])}, [1.0, 255.0], "255, its missing_value"),
        ({"_FillValue": np.float32(2000)}, [1.0, 2000.0], "2000, its _FillValue"),
        ({"scale_factor": 0.01}, [1.0, 2.0], "scale_factor 0.01"),
        ({"scale_factor": 1, "add_offset": -32.0}, [1.0, 2.0], "add_offset -32"),
    ],
)
def test_values_as_they_are_stored_are_named(attrs, values, found):
    """Opened with ``mask_and_scale=False``: codes and packed numbers with the attributes that would decode them."""
    data = xr.DataArray(values, dims="x", name="rain", attrs={"units": "mm h-1", **attrs})
    for refuse in (refuse_stored_codes, as_rate, dbz_from_rate):
        with pytest.raises(InputError, match=rf"{found}.*mask_and_scale=True"):
            refuse(data)


def test_attributes_of_decoded_values_are_harmless():
    """rioxarray keeps scale_factor 1 and add_offset 0 as attributes, and a code that no value has."""
    attrs = {"units": "mm h-1", "_FillValue": -9999.0, "scale_factor": 1.0, "add_offset": 0.0}
    field = build(np.ones((2, 3))).assign_attrs(attrs)
    assert check_precipitation(field) is not None
    with pytest.raises(InputError, match="mask_and_scale"):
        check_precipitation(field.where(field.x < 1500, -9999.0))


# --- codes, units and durations that numpy would let pass -----------------------------------------------------------


@pytest.mark.parametrize("code", [-9999.0, -999.0, -8888000.0, 300.0])
def test_codes_among_reflectivities_are_neither_dry_nor_missing(code):
    for values in (np.array([30.0, code]), [30.0, code], xr.DataArray([30.0, code]), code):
        with pytest.raises(InputError, match=r"missing values to NaN, and that of dry ones to -inf"):
            rate_from_dbz(values)
    np.testing.assert_allclose(rate_from_dbz([30.0, -np.inf, -99.0, np.nan]), [2.734364, 0, 0, np.nan], rtol=1e-6)


def test_linear_reflectivity_is_no_decibel():
    with pytest.raises(InputError, match="'mm6 m-3'"):
        rate_from_dbz(xr.DataArray([1000.0], attrs={"units": "mm6 m-3"}))


@pytest.mark.parametrize("interval", [np.timedelta64(5), np.timedelta64(1, "M"), np.timedelta64(1, "Y")])
def test_intervals_of_no_certain_length_are_refused(interval):
    with pytest.raises(InputError, match="positive time"):
        rate_from_accumulation(0.5, interval)
