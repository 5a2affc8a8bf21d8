"""Axes as people hand them in: units, meshes, float32, turns of longitude."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from hybridcast import forecast, precipitation
from hybridcast.core.axes import nearest_turn, unroll
from hybridcast.core.field import check_precipitation, check_same_grid
from hybridcast.errors import InputError
from hybridcast.nowcasters import Advection
from hybridcast.plots.meteogram import find_point
from hybridcast.stations import collocate, station_reports

START = np.datetime64("2024-06-01T12:00", "ns")


def build(y, x, crs="EPSG:4326", values=None):
    shape = (1, np.shape(y)[0], np.shape(x)[-1])
    return precipitation(np.zeros(shape) if values is None else values, time=START, y=y, x=x, crs=crs)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([179.8, 179.9, -180.0, -179.9], [179.8, 179.9, 180.0, 180.1]),
        ([359.8, 359.9, 0.0, 0.1], [359.8, 359.9, 360.0, 360.1]),
        ([-179.9, 180.0, 179.9], [-179.9, -180.0, -180.1]),
        ([10.0, 10.1, 10.2], [10.0, 10.1, 10.2]),
    ],
)
def test_longitudes_that_jump_by_a_turn_are_continued(given, expected):
    np.testing.assert_allclose(unroll(np.array(given)), expected)
    field = check_precipitation(build(np.array([-18.0, -17.9]), np.array(given)))
    np.testing.assert_allclose(field.x, expected)


def test_a_gauge_beyond_the_date_line_is_in_its_cell():
    """Fiji: the gauge at 179.95 W is in the last column, and one at 170 E outside."""
    field = build(np.array([-18.0, -17.9]), np.array([179.85, 179.95, -179.95]))
    gauges = station_reports(
        [[0.0], [0.0]],
        station=["A", "B"],
        time=[START],
        interval=np.timedelta64(5, "m"),
        coords={"longitude": [-179.95, 170.0], "latitude": [-17.9, -17.9]},
    )
    np.testing.assert_allclose(collocate(gauges, field), [[1, 2], [np.nan, np.nan]], atol=1e-3)
    place = find_point(field, x=None, y=None, longitude=-179.95, latitude=-17.9)
    assert (place.row, place.column) == (1, 2)
    np.testing.assert_allclose(nearest_turn(np.array([-179.95, 530.0]), field.x.values), [180.05, 170.0])


def test_meshes_are_refused_with_the_row_to_give():
    longitude, latitude = np.meshgrid(10 + 0.01 * np.arange(4), 50 + 0.01 * np.arange(3))
    with pytest.raises(InputError, match=r"'y' has the shape \(3, 4\).*give y=lat\[:, 0\]"):
        build(latitude, longitude)
    with pytest.raises(InputError, match=r"'x' has the shape \(3, 4\).*give x=lon\[0\]"):
        build(latitude[:, 0], longitude)
    with pytest.raises(InputError, match="no regular grid"):
        build(latitude + 0.001 * longitude, longitude)


def test_units_of_labelled_axes_are_converted_or_refused():
    kilometres = xr.DataArray(20.0 * np.arange(4), dims="x", attrs={"units": "km"})
    np.testing.assert_allclose(build(1e4 * np.arange(3), kilometres, "EPSG:3035").x, 2e4 * np.arange(4))
    radians = xr.DataArray(np.deg2rad(10 + 0.01 * np.arange(4)), dims="x", attrs={"units": "rad"})
    np.testing.assert_allclose(build(50 + 0.01 * np.arange(3), radians).x, 10 + 0.01 * np.arange(4))
    degrees = xr.DataArray(10 + 0.01 * np.arange(4), dims="x", attrs={"units": "degrees_east"})
    np.testing.assert_allclose(build(50 + 0.01 * np.arange(3), degrees).x, degrees)
    with pytest.raises(InputError, match=r"'x' is in 'degrees_east'.*in m.*EPSG:4326"):
        build(1e3 * np.arange(3), degrees, "EPSG:3035")
    with pytest.raises(InputError, match=r"'x' is in 'km'.*in degrees"):
        build(50 + 0.01 * np.arange(3), kilometres)


@pytest.mark.parametrize(
    ("crs", "found"),
    [
        ("EPSG:4978", "Geocentric"),
        ("EPSG:5773", "Vertical"),
        ('LOCAL_CS["here",UNIT["metre",1]]', "Engineering"),
        ("EPSG:2263", "units of 0.3048"),
        ("+proj=laea +lat_0=52 +lon_0=10 +units=km", "units of 1000 m"),
        (3.5, "pyproj reads"),
        ("nonsense", "pyproj reads"),
    ],
)
def test_a_crs_that_is_no_map_in_metres_is_refused(crs, found):
    with pytest.raises(InputError, match=found):
        build(1e3 * np.arange(3), 1e3 * np.arange(4), crs)


@pytest.mark.parametrize(
    ("y", "x", "found"),
    [
        (120 + 0.01 * np.arange(3), 30 + 0.01 * np.arange(4), "'y' runs from 120 .*latitude lies within 90"),
        (50 + 0.01 * np.arange(3), 700 + 0.01 * np.arange(4), "'x' runs from 700 .*longitude lies within 540"),
    ],
)
def test_degrees_that_are_no_place_are_refused(y, x, found):
    with pytest.raises(InputError, match=found):
        check_precipitation(build(y, x))


def test_an_axis_must_be_numbers_and_known():
    with pytest.raises(InputError, match="values are numbers"):
        build(1e3 * np.arange(3), ["a", "b", "c", "d"], None)
    masked = np.ma.masked_array(1e3 * np.arange(4), mask=[1, 0, 0, 0])
    with pytest.raises(InputError, match="'x' has missing"):
        check_precipitation(build(1e3 * np.arange(3), masked, None))


def test_axes_in_single_precision_are_even():
    """Northings of RADOLAN-like maps and longitudes with steps of 100 m, rounded to seven digits."""
    exact = 7_000_000.0 - 100.0 * np.arange(300) - 50.3
    field = build(exact.astype(np.float32), 3e5 + 100.0 * np.arange(3), "EPSG:3067", np.zeros((1, 300, 3)))
    check_precipitation(field)
    check_same_grid(field, field.assign_coords(y=exact), "rounded and exact")
    fine = (-120 + 0.001 * np.arange(300)).astype(np.float32)
    check_precipitation(build(np.array([50.0, 50.001]), fine, values=np.zeros((1, 2, 300))))
    with pytest.raises(InputError, match="steps from"):
        check_precipitation(build(exact, 3e5 + 100.0 * np.array([0, 1, 2.1]), "EPSG:3067", np.zeros((1, 300, 3))))


def test_rows_and_columns_in_either_direction_make_one_forecast():
    """A field and its mirror images, with the axes mirrored too, are the same field on Earth."""
    rows, columns = np.mgrid[:40, :50]
    rain = np.stack([20 * np.exp(-((rows - 20) ** 2 + (columns - 20 - 2 * k) ** 2) / 30) for k in range(3)])
    times = START + np.arange(3) * np.timedelta64(5, "m")
    field = precipitation(rain, time=times, y=1e3 * np.arange(40), x=1e3 * np.arange(50), crs="EPSG:3035")
    made = forecast(field, lead_time="10min", nowcaster=Advection())
    for axes in (("x",), ("y",), ("x", "y")):
        mirrored = field.isel({axis: slice(None, None, -1) for axis in axes})
        back = forecast(mirrored, lead_time="10min", nowcaster=Advection()).sortby(["y", "x"])
        np.testing.assert_allclose(back["u"], made["u"], atol=0.3)
        np.testing.assert_allclose(back["precipitation_rate"], made["precipitation_rate"], atol=0.3)


@pytest.mark.parametrize(("shape", "order"), [((1, 30, 20), "transpose(0, 2, 1)"), ((20, 30, 1), "transpose(2, 0, 1)")])
def test_values_in_another_order_of_axes_are_refused_with_the_transposition(shape, order):
    with pytest.raises(InputError) as error:
        precipitation(np.zeros(shape), time=START, y=1e3 * np.arange(20), x=1e3 * np.arange(30), crs=None)
    assert order in str(error.value)


def test_a_labelled_array_is_put_in_order_and_must_not_be_upside_down():
    y, x = 1e3 * np.arange(3)[::-1], 1e3 * np.arange(3)
    values = xr.DataArray(np.arange(9.0).reshape(3, 3), dims=("x", "y"), coords={"y": y, "x": x})
    field = precipitation(values, time=START, y=y, x=x, crs=None)
    assert field.values[0, 0].tolist() == [0, 3, 6]
    with pytest.raises(InputError, match="y runs from 0 to 2000, but the rows from 2000 to 0"):
        precipitation(values, time=START, y=y[::-1], x=x, crs=None)
    with pytest.raises(InputError, match="'dBZ'"):
        precipitation(values.assign_attrs(units="dBZ"), time=START, y=y, x=x, crs=None)
