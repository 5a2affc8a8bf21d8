"""Schema of NWP fields: accepted and refused datasets, and the error messages."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hybridcast.core.field import crs_of
from hybridcast.errors import InputError
from hybridcast.nwp.schema import DIMS, RATE, VARIABLES, check_nwp, nwp_fields

HOUR = np.timedelta64(1, "h")


def fields(**changes):
    values = np.ones((2, 3, 4, 5), np.float32)
    given = {
        "variables": {RATE: values, "x_wind": values, "y_wind": -values},
        "reference_time": np.array(["2020-01-01T00", "2020-01-01T06"], "datetime64[h]"),
        "lead_time": np.arange(1, 4) * HOUR,
        "y": 50 - 0.1 * np.arange(4),
        "x": 10 + 0.1 * np.arange(5),
        "crs": "EPSG:4326",
    }
    return nwp_fields(**(given | changes))


def test_a_good_dataset_is_given_back_in_canonical_order():
    nwp = fields(vertical_levels={"x_wind": "700 hPa"})
    shuffled = nwp.transpose("x", "lead_time", "y", "reference_time").astype(np.float64, keep_attrs=True)
    checked = check_nwp(shuffled.assign(other=shuffled[RATE] * 2))
    assert set(checked.data_vars) == {RATE, "x_wind", "y_wind"}
    for name, variable in checked.data_vars.items():
        assert variable.dims == DIMS
        assert variable.dtype == np.float32
        assert variable.attrs["units"] == VARIABLES[name].units
        assert variable.attrs["grid_mapping"] == "spatial_ref"
    assert checked.x_wind.attrs["vertical_level"] == "700 hPa"
    assert crs_of(checked).is_geographic
    assert checked.x.attrs["units"] == "degrees_east"
    assert checked.lead_time.attrs["standard_name"] == "forecast_period"


def test_nan_is_allowed_and_no_run_at_all_too():
    values = np.full((2, 3, 4, 5), np.nan, np.float32)
    assert np.isnan(fields(variables={RATE: values})[RATE].values).all()
    assert check_nwp(fields().isel(reference_time=[])).sizes["reference_time"] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda nwp: nwp[RATE], "found DataArray"),
        (lambda nwp: nwp.rename({RATE: "rain"})[["rain"]], "there is one at least of precipitation_rate"),
        (lambda nwp: nwp.isel(reference_time=0), "add a run with"),
        (lambda nwp: nwp.drop_vars("lead_time"), "'lead_time' has no coordinate"),
        (lambda nwp: nwp.drop_vars("y_wind"), "both parts are there"),
        (lambda nwp: nwp.isel(lead_time=[1, 0, 2]), "they rise"),
        (lambda nwp: nwp.isel(reference_time=[0, 0]), "each run comes once"),
        (lambda nwp: nwp.assign_coords(lead_time=[1, 2, 3]), "lead_time is of type int64"),
        (lambda nwp: nwp.assign_coords(x=[1.0, 2, 3, 5, 8]), "evenly spaced"),
        (lambda nwp: nwp.assign({RATE: -nwp[RATE].assign_attrs(units="mm h-1")}), "units"),
        (lambda nwp: nwp.assign({RATE: (nwp[RATE] - 2).assign_attrs(units="mm h-1")}), "lies between 0 and"),
        (lambda nwp: nwp.assign(x_wind=(nwp.x_wind * 9999).assign_attrs(units="m s-1")), "code for missing"),
    ],
)
def test_what_is_wrong_is_named(change, words):
    with pytest.raises(InputError, match=words):
        check_nwp(change(fields()))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(InputError, match=r"precipitation_rate.*\(2, 3, 4\)"):
        fields(variables={RATE: np.ones((2, 3, 4), np.float32)})


def test_it_comes_back_from_a_file(tmp_path):
    from hybridcast.nwp import open_nwp

    nwp = fields(vertical_levels={"x_wind": "700 hPa", "y_wind": "700 hPa", RATE: "surface"})
    nwp.to_netcdf(tmp_path / "nwp.nc", engine="h5netcdf")
    again = open_nwp(tmp_path / "nwp.nc")
    for name in nwp.data_vars:
        np.testing.assert_array_equal(again[name].values, nwp[name].values)
        assert again[name].attrs["vertical_level"] == nwp[name].attrs["vertical_level"]
    assert (again.reference_time == nwp.reference_time).all()
    assert (again.lead_time == nwp.lead_time).all()
    assert crs_of(again) == crs_of(nwp)


# --- arrays as users hand them in ------------------------------------------------------------------------------


def rain(values, **given):
    grid = {"y": [0.0, 1e3, 2e3], "x": [0.0, 1e3, 2e3, 3e3], "crs": None}
    made = {"reference_time": ["2024-06-01"], "lead_time": ["1h", "2h"], **grid}
    return nwp_fields({RATE: values}, **(made | given))


def test_times_and_lead_times_as_users_write_them():
    aware = pd.Timestamp("2024-06-01T02:00", tz="Europe/Berlin")
    made = rain(np.ones((1, 2, 3, 4)), reference_time=[aware], lead_time=[timedelta(0), timedelta(hours=1)])
    assert made.reference_time.values.tolist() == [np.datetime64("2024-06-01", "ns").astype(int)]
    assert made.lead_time.values.tolist() == [0, 3600 * 10**9]
    assert rain(np.ones((1, 2, 3, 4)), lead_time=["0h", "90min"]).lead_time.values.tolist() == [0, 5400 * 10**9]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"lead_time": [1, 2]}, "lead times of type int64"),
        ({"lead_time": np.arange(2).astype("m8")}, "lead times of type timedelta64"),
        ({"reference_time": [2024060100]}, "not in ISO 8601"),
    ],
)
def test_numbers_are_no_times(given, found):
    """numpy would take them for nanoseconds."""
    with pytest.raises(InputError, match=found):
        rain(np.ones((1, 2, 3, 4)), **given)


def test_labelled_fields_are_converted_and_put_in_order():
    values = np.arange(24.0).reshape(1, 2, 3, 4)
    flux = xr.DataArray(values / 3600, dims=DIMS, attrs={"units": "kg m-2 s-1"}).transpose("x", "y", ...)
    np.testing.assert_allclose(rain(flux)[RATE], values, rtol=1e-5)
    with pytest.raises(InputError, match=r"precipitation_rate is in 'mm'"):
        rain(xr.DataArray(values, dims=DIMS, attrs={"units": "mm"}))


def test_names_that_are_not_known_are_refused():
    with pytest.raises(InputError, match=r"variables u; known are precipitation_rate, x_wind"):
        nwp_fields({"u": np.ones((1, 1, 3, 3))}, reference_time=[], lead_time=["1h"], y=[0], x=[0], crs=None)
