from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta, timezone

import cf_xarray  # noqa: F401
import dask.array
import numpy as np
import pyproj
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridcast.core.field import (
    as_rate,
    check_precipitation,
    check_same_grid,
    crs_of,
    dbz_from_rate,
    metres_per_cell,
    precipitation,
    rate_factor,
    rate_from_accumulation,
    rate_from_dbz,
    with_crs,
)
from hybridcast.core.time_steps import regular_times, time_step
from hybridcast.core.times import as_datetime64
from hybridcast.errors import InputError

START = np.datetime64("2020-01-01", "ns")
FIVE_MINUTES = np.timedelta64(5, "m")


def field(times=3, crs="EPSG:3035", values=1.0, **coords):
    y = np.asarray(coords.get("y", 3e6 - 1000.0 * np.arange(4)))
    x = np.asarray(coords.get("x", 4e6 + 1000.0 * np.arange(5)))
    time = START + FIVE_MINUTES * np.arange(times) if isinstance(times, int) else times
    return precipitation(np.full((len(time), y.size, x.size), values), time=time, y=y, x=x, crs=crs)


# --- building -------------------------------------------------------------------------------------------------


def test_precipitation_keeps_the_contract():
    data = field()
    assert data.name == "precipitation_rate"
    assert data.dims == ("time", "y", "x")
    assert data.dtype == np.float32
    assert data.attrs["units"] == "mm h-1"
    assert check_precipitation(data) is data or check_precipitation(data).identical(data)


def test_one_frame_may_come_without_time_axis_and_lazy_values_stay_lazy():
    one = precipitation(np.zeros((2, 3)), time=START, y=[0, 1e3], x=[0, 1e3, 2e3], crs=None)
    assert one.shape == (1, 2, 3)
    lazy = precipitation(dask.array.zeros((1, 2, 3)), time=START, y=[0, 1e3], x=[0, 1e3, 2e3], crs=None)
    assert lazy.chunks is not None
    assert lazy.dtype == np.float32


def test_attributes_follow_cf():
    data = field()
    assert data.attrs["standard_name"] == "lwe_precipitation_rate"
    assert data.attrs["cell_methods"] == "time: mean"
    assert data.attrs["grid_mapping"] == "spatial_ref"
    assert data.cf.axes == {"X": ["x"], "Y": ["y"], "T": ["time"]}
    assert data.x.attrs["standard_name"] == "projection_x_coordinate"
    assert data.x.attrs["units"] == data.y.attrs["units"] == "m"
    assert data.spatial_ref.attrs["grid_mapping_name"] == "lambert_azimuthal_equal_area"


def test_attributes_of_longitude_and_latitude_and_of_a_local_grid():
    degrees = field(crs="EPSG:4326", y=50 + 0.01 * np.arange(4), x=10 + 0.01 * np.arange(5))
    assert (degrees.x.attrs["units"], degrees.y.attrs["units"]) == ("degrees_east", "degrees_north")
    assert degrees.y.attrs["standard_name"] == "latitude"
    local = field(crs=None)
    assert crs_of(local) is None
    assert "grid_mapping" not in local.attrs


def test_with_crs_leaves_its_input_alone():
    local = field(crs=None)
    before = local.copy(deep=True)
    placed = with_crs(local, "EPSG:4326")
    assert crs_of(placed).to_epsg() == 4326
    xr.testing.assert_identical(local, before)


@pytest.mark.parametrize(
    "crs", ["EPSG:3035", "EPSG:4326", "EPSG:21781", "EPSG:28992", "+proj=stere +lat_0=90 +lon_0=10"]
)
def test_crs_survives_a_file(tmp_path, crs):
    data = field(crs=crs, **({"y": [50, 50.01], "x": [10, 10.01]} if crs == "EPSG:4326" else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", decode_coords="all") as again:
        assert crs_of(again) == pyproj.CRS(crs)


# --- checking -------------------------------------------------------------------------------------------------


def test_other_order_name_type_and_spelling_of_units_are_put_right():
    data = field().astype(np.float64).transpose("x", "time", "y").rename("rain").assign_attrs(units="mm/h")
    checked = check_precipitation(data)
    assert checked.dims == ("time", "y", "x")
    assert checked.dtype == np.float32
    assert checked.name == "precipitation_rate"
    assert checked.attrs["units"] == "mm h-1"


def test_all_missing_and_rows_in_either_direction_are_legal():
    check_precipitation(field(values=np.nan))
    check_precipitation(field().isel(y=slice(None, None, -1)))
    check_precipitation(field().isel(time=[0], y=[0], x=[0]))


def without_time_order(data):
    return data.isel(time=[1, 0, 2])


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda d: d.values, "found ndarray; a precipitation field is an xarray.DataArray"),
        (lambda d: d.isel(time=0, drop=True), r"dims are \('y', 'x'\); .*expand_dims"),
        (lambda d: d.expand_dims("member"), "dims are"),
        (lambda d: d.drop_vars("y"), "'y' has no coordinate"),
        (lambda d: d.isel(time=slice(0)), "'time' has length 0"),
        (lambda d: d.assign_attrs(units=""), "no units"),
        (lambda d: d.assign_attrs(units="dBZ"), r"units are 'dBZ'.*rate_from_dbz"),
        (lambda d: d.assign_attrs(units="kg m-2 s-1"), r"'kg m-2 s-1'.*as_rate"),
        (lambda d: d.assign_attrs(units="mm"), r"'mm'.*rate_from_accumulation"),
        (lambda d: d.assign_coords(x=[0, 1, np.nan, 3, 4]), "'x' has missing"),
        (lambda d: d.assign_coords(x=("x", d.x.values, {"units": "km"})), "'x' is in 'km'.*metres"),
        (lambda d: d.assign_coords(y=[0, 1000, 2000, 3500]), r"'y' steps from 1000 to 1500.*evenly"),
        (lambda d: d.assign_coords(x=np.arange(5.0)), "spacing of 'x' is 1; .*bare index"),
        (lambda d: d.assign_coords(x=np.zeros(5)), "'x' steps from 0 to 0"),
        (lambda d: d.assign_coords(x=1e6 * np.arange(5)), "spacing of 'x' is 1e\\+06"),
        (lambda d: d.assign_coords(time=[0, 1, 2]), "time is of type int64"),
        (without_time_order, "time does not increase"),
        (lambda d: d.isel(time=[0, 0, 1]), "time does not increase at 2020-01-01T00:00:00"),
        (
            lambda d: d.assign_coords(time=START + FIVE_MINUTES * np.array([0, 1, 3])),
            r"steps differ \(5 min, .*00:15:00",
        ),
        (lambda d: d.assign_coords(time=np.array(["NaT"] * 3, "datetime64[ns]")), "NaT"),
        (lambda d: d - 1.5, "the lowest value is -0.5.*not negative"),
        (lambda d: d * 1e4, "the highest value is 10000.*2500"),
        (lambda d: d.where(d < 0, np.inf), "the highest value is inf"),
        (lambda d: d.astype(str), "values are of type <U"),
    ],
)
def test_what_breaks_the_contract_is_named(break_it, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        broken = break_it(field())
    if isinstance(broken, xr.DataArray) and "units" not in broken.attrs:
        broken.attrs["units"] = "mm h-1"  # arithmetic drops attributes
    with pytest.raises(InputError, match=message):
        check_precipitation(broken)


def test_degrees_have_bounds_of_their_own():
    check_precipitation(field(crs="EPSG:4326", y=50 + 0.01 * np.arange(4), x=10 + 0.01 * np.arange(5)))
    with pytest.raises(InputError, match="degrees"):
        check_precipitation(field(crs="EPSG:4326"))


def test_lazy_values_are_not_computed():
    def explode(block):
        raise AssertionError("computed")

    data = field()
    data = data.copy(
        data=dask.array.map_blocks(explode, dask.array.zeros(data.shape), dtype=np.float32, meta=np.zeros(0))
    )
    check_precipitation(data)


# --- time -----------------------------------------------------------------------------------------------------


def test_time_step():
    assert time_step(START + FIVE_MINUTES * np.arange(3)) == FIVE_MINUTES
    assert time_step([START]) is None
    assert time_step([]) is None


def test_a_gap_becomes_frames_of_nan():
    data = field(START + FIVE_MINUTES * np.array([0, 1, 4]))
    filled = regular_times(data)
    assert filled.sizes["time"] == 5
    assert filled.isnull().all(("y", "x")).values.tolist() == [False, False, True, True, False]
    assert filled.attrs == data.attrs
    check_precipitation(filled)


def test_regular_times_leaves_regular_frames_alone_and_takes_a_step():
    data = field()
    assert regular_times(data) is data
    assert regular_times(data.isel(time=[0])).sizes["time"] == 1
    assert regular_times(data, np.timedelta64(150, "s")).sizes["time"] == 5


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([0, 1, 1, 2], "time does not increase"),
        ([0, 2, 1], "time does not increase"),
        ([0, 1, 2, 2.5, 3, 4], "00:12:30 is off the 5 min steps"),
        ([0, 1, 1000], "3 frames are scattered over 1001 steps .* one frame in ten"),
    ],
)
def test_times_that_cannot_be_put_on_steps(steps, message):
    times = START + (np.array(steps) * 300).astype("timedelta64[s]")
    with pytest.raises(InputError, match=message):
        regular_times(field(times))


@given(
    kept=st.sets(st.integers(0, 40), min_size=5),
    step=st.sampled_from([1, 2, 5, 10, 15, 60]),
)
@settings(max_examples=60)
def test_regular_times_keep_every_frame_and_add_only_missing_ones(kept, step):
    numbers = np.array(sorted(kept))
    times = START + numbers * np.timedelta64(step, "m")
    data = field(times, y=[0, 1e3], x=[0, 1e3]) * xr.DataArray(numbers, dims="time")
    filled = regular_times(data, np.timedelta64(step, "m"))
    np.testing.assert_array_equal(filled.sel(time=times), data)
    assert time_step(filled.time.values) in (None, np.timedelta64(step, "m"))
    added = filled.drop_sel(time=times)
    assert bool(added.isnull().all())
    assert filled.sizes["time"] == numbers[-1] - numbers[0] + 1
    xr.testing.assert_identical(regular_times(filled, np.timedelta64(step, "m")), filled)


@pytest.mark.parametrize(
    "time",
    [
        datetime(2020, 1, 1, 12),
        datetime(2020, 1, 1, 12, tzinfo=UTC),
        datetime(2020, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        "2020-01-01T12:00",
        np.datetime64("2020-01-01T12"),
    ],
)
def test_as_datetime64_is_utc(time):
    assert as_datetime64(time) == np.datetime64("2020-01-01T12:00")
    assert as_datetime64(time).dtype == "datetime64[ns]"


# --- place ----------------------------------------------------------------------------------------------------


def test_metres_per_cell():
    dy, dx = metres_per_cell(field())
    assert (dy.tolist(), dx.tolist()) == ([[-1000]], [[1000]])
    assert metres_per_cell(field().isel(x=[0], y=[0]))[0] == 1


@pytest.mark.parametrize("latitude", [-60.0, 0.0, 45.0, 70.0])
def test_metres_per_cell_of_degrees_agree_with_geodesy(latitude):
    data = field(crs="EPSG:4326", y=latitude + 0.01 * np.arange(4), x=10 + 0.01 * np.arange(5))
    dy, dx = metres_per_cell(data)
    geodesy = pyproj.Geod(ellps="WGS84")
    north = geodesy.inv(10, latitude, 10, latitude + 0.01)[2]
    east = geodesy.inv(10, latitude, 10.01, latitude)[2]
    assert dy[0, 0] == pytest.approx(north, rel=0.006)  # a sphere for the ellipsoid
    assert dx[0, 0] == pytest.approx(east, rel=0.006)


def test_check_same_grid():
    check_same_grid(field(), field(values=2), "a and b")
    check_same_grid(field(), field(x=4e6 + 1000.0 * np.arange(5) + 1), "a and b")  # a thousandth of a cell
    for other, message in (
        (field(x=4e6 + 1000.0 * np.arange(6)), "'x' has 5 and 6 cells; a and b share one grid"),
        (field(y=2e6 - 1000.0 * np.arange(4)), r"'y' starts at 3e\+06 and 2e\+06"),
        (field(crs="EPSG:3067"), "the CRS differ; a and b share one projection"),
        (field(crs=None), "the CRS differ"),
    ):
        with pytest.raises(InputError, match=message):
            check_same_grid(field(), other, "a and b")


# --- conversions ----------------------------------------------------------------------------------------------


@given(rate=st.floats(0.02, 300), a=st.floats(100, 400), b=st.floats(1.2, 1.8))
def test_reflectivity_and_rate_are_inverse(rate, a, b):
    assert rate_from_dbz(dbz_from_rate(np.float64(rate), a, b), a, b) == pytest.approx(rate, rel=1e-9)


@given(st.lists(st.floats(-40, 60), min_size=2, max_size=20))
def test_rate_grows_with_reflectivity_and_is_never_negative(dbz):
    rate = rate_from_dbz(np.sort(np.array(dbz)))
    assert (rate >= 0).all()
    assert (np.diff(rate) >= 0).all()


def test_conversions_keep_missing_labels_and_attributes():
    dbz = field(values=23.0103).assign_attrs(units="dBZ", standard_name="equivalent_reflectivity_factor", source="s")
    dbz[0, 0, 0] = np.nan
    rate = rate_from_dbz(dbz)
    assert np.isnan(rate[0, 0, 0])
    assert float(rate[0, 0, 1]) == pytest.approx(1, rel=1e-4)
    assert rate.attrs["source"] == "s"
    check_precipitation(rate)
    back = dbz_from_rate(rate)
    assert back.attrs["units"] == "dBZ"
    np.testing.assert_allclose(back, dbz, rtol=1e-5)
    assert float(rate_from_dbz(np.float32(-10))) == 0
    assert rate_from_dbz(np.float32(30)).dtype == np.float32


def test_zero_becomes_the_least_reflectivity():
    assert dbz_from_rate(np.float64(0)) == dbz_from_rate(np.float64(0.01))


def test_accumulations():
    amount = field(values=0.5).assign_attrs(units="mm")
    rate = rate_from_accumulation(amount, FIVE_MINUTES)
    np.testing.assert_allclose(rate, 6)
    check_precipitation(rate)
    for interval in (np.timedelta64(0, "m"), np.timedelta64(-5, "m")):
        with pytest.raises(InputError, match="positive"):
            rate_from_accumulation(amount, interval)


@pytest.mark.parametrize(
    ("units", "factor"),
    [
        ("mm h-1", 1),
        ("mm/h", 1),
        ("mm hr-1", 1),
        ("mm hour**-1", 1),
        ("m s-1", 3.6e6),
        ("kg m-2 s-1", 3600),
        ("mm d-1", 1 / 24),
        ("mm/s", 3600),
        ("mm", None),
        ("dBZ", None),
        ("", None),
        ("furlong", None),
        ("mm/5min", None),
        ("K", None),
        ("1", None),
    ],
)
def test_rate_factor(units, factor):
    assert rate_factor(units) == (None if factor is None else pytest.approx(factor, rel=1e-7))


@given(st.text(max_size=12))
def test_rate_factor_bears_any_text(text):
    assert rate_factor(text) is None or rate_factor(text) > 0 or rate_factor(text) <= 0


def test_as_rate():
    data = field(values=1 / 3600).assign_attrs(units="kg m-2 s-1")
    np.testing.assert_allclose(as_rate(data), 1, rtol=1e-5)
    check_precipitation(as_rate(data))
    assert as_rate(field()).attrs["units"] == "mm h-1"
    with pytest.raises(InputError, match="only rates convert"):
        as_rate(field().assign_attrs(units="mm"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.arange(2) * 1e3}, r"shape \(1, 3, 4\), but there are 1 times, 2 y and 4 x"),
        ({"time": [np.datetime64("2020-01-01"), np.datetime64("2020-01-02")]}, "2 times"),
        ({"time": [0]}, "times of type int64"),
        ({"time": ["noon"]}, "noon.*in UTC"),
        ({"crs": "EPSG:99999999"}, "EPSG:99999999.*one that pyproj reads"),
    ],
)
def test_a_field_that_cannot_be_built_is_refused_by_name(change, message):
    right = {"time": ["2020-01-01"], "y": np.arange(3) * 1e3, "x": np.arange(4) * 1e3, "crs": None}
    values = np.zeros((3, 4)).tolist()
    assert precipitation(values, **right).shape == (1, 3, 4)
    with pytest.raises(InputError, match=message):
        precipitation(values, **{**right, **change})


@pytest.mark.parametrize(("factor", "warned"), [(1.0, False), (100.0, True)])
def test_hundredths_called_millimetres_are_suspicious_and_a_storm_is_not(factor, warned):
    rates = np.random.default_rng(0).gamma(0.3, 4.0, (2, 50, 60)) * factor
    rates[0, 0, 0] = 300.0  # one core, or hail
    field = precipitation(
        rates.clip(max=2000.0),
        time=np.datetime64("2024-06-01") + np.arange(2) * np.timedelta64(5, "m"),
        y=np.arange(50) * 1e3,
        x=np.arange(60) * 1e3,
        crs=None,
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_precipitation(field)
    assert any("units really mm/h" in str(one.message) for one in said) == warned
