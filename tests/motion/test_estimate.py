"""Motion in metres per second, its signs, and what is said where there is none."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import xarray as xr

from helpers import synthetic
from hybridcast.core.field import precipitation
from hybridcast.errors import InputError
from hybridcast.motion.estimate import (
    DIS,
    DenseFlow,
    cells_per_step,
    check_motion,
    estimate_motion,
    find_usable_frames,
    motion_dataset,
    zero_motion,
)
from hybridcast.settings import MotionSettings

FIVE = np.timedelta64(5, "m")
METHODS = [DenseFlow(), DIS("medium")]


def middle(motion: xr.Dataset) -> tuple[float, float]:
    """Mean u and v away from the edges."""
    inner = motion.isel(y=slice(15, -15), x=slice(15, -15))
    return float(inner.u.mean()), float(inner.v.mean())


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("y_down", [True, False])
def test_motion_is_in_metres_per_second_towards_growing_x_and_y(method, y_down):
    """3 cells of 1 km to the right and 2 rows up in 5 min are 10 m/s and 6.7 m/s, whichever way y runs."""
    rain = synthetic.rain((96, 96), synthetic.translation(3, -2), y_down=y_down)
    motion = estimate_motion(rain, method=method)
    up = 1 if y_down else -1
    assert middle(motion) == pytest.approx((10, up * 20 / 3), abs=0.3)
    assert motion.u.attrs["units"] == motion.v.attrs["units"] == "m s-1"
    assert motion.u.dims == motion.v.dims == ("y", "x")
    assert motion.u.dtype == np.float32
    assert motion.attrs["status"] == "estimated"
    assert motion.attrs["method"] == method.name


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_x_may_run_backwards(method):
    rain = synthetic.rain((96, 96), synthetic.translation(3, -2))
    rain = rain.assign_coords(x=-rain.x.values)
    assert middle(estimate_motion(rain, method=method)) == pytest.approx((-10, 20 / 3), abs=0.3)


@pytest.mark.parametrize("y_down", [True, False])
def test_degrees_are_as_long_as_they_are_at_that_latitude(y_down):
    """At 60 degrees north a degree of longitude is half as long as one of latitude."""
    scene = synthetic.rain((96, 96), synthetic.translation(3, -2))
    latitude = 60 + 0.01 * (np.arange(96) - 48)
    rain = precipitation(
        scene.values,
        time=scene.time.values,
        y=latitude[::-1] if y_down else latitude,
        x=20 + 0.02 * np.arange(96),
        crs="EPSG:4326",
    )
    degree = 6_371_008.8 * np.pi / 180
    u, v = middle(estimate_motion(rain))
    assert u == pytest.approx(3 * 0.02 * degree * 0.5 / 300, rel=0.02)
    assert v == pytest.approx((1 if y_down else -1) * 2 * 0.01 * degree / 300, rel=0.02)
    # the ends of one cell, by geodesy
    _, _, length = pyproj.Geod(ellps="sphere").inv(20, 60, 20.02, 60)
    assert length == pytest.approx(0.02 * degree * 0.5, rel=0.001)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_time_step_counts(method):
    rain = synthetic.rain((96, 96), synthetic.translation(3, -2), minutes=10)
    assert middle(estimate_motion(rain, method=method)) == pytest.approx((5, 10 / 3), abs=0.2)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("missing", [[1], [2], [3], [0, 2], [1, 2]])
def test_missing_frames_are_skipped(method, missing):
    rain = synthetic.rain((96, 96), synthetic.translation(3, -2)).copy()
    rain[missing] = np.nan
    assert middle(estimate_motion(rain, method=method)) == pytest.approx((10, 20 / 3), abs=0.6)


def test_only_the_latest_frames_count():
    rain = synthetic.rain((64, 64), frames=6)
    settings = DenseFlow(MotionSettings(frames=3))
    changed = rain.copy()
    changed[:3] = changed.values[2::-1]
    xr.testing.assert_identical(estimate_motion(rain, method=settings), estimate_motion(changed, method=settings))
    assert not estimate_motion(changed, method=DenseFlow(MotionSettings(frames=6))).equals(
        estimate_motion(rain, method=DenseFlow(MotionSettings(frames=6)))
    )


def test_settings_reach_the_kernel():
    rain = synthetic.rain((64, 64)) * 0.01
    rain.attrs["units"] = "mm h-1"
    assert (
        estimate_motion(rain, method=DenseFlow(MotionSettings(lowest_rate=5.0))).attrs["status"].startswith("no motion")
    )
    assert estimate_motion(rain, method=DenseFlow(MotionSettings(lowest_rate=0.001))).attrs["status"] == "estimated"


@pytest.mark.parametrize("method", [*METHODS, None], ids=["dense", "DIS", "default"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r * 0, "no echo"),
        (lambda r: r.isel(time=[-1]), ""),
        (lambda r: r * np.nan, ""),
        (lambda r: r.where(r.time == r.time[1]), ""),
    ],
    ids=["dry", "one frame", "all missing", "one frame with data"],
)
def test_without_motion_it_is_zero_and_says_why(method, change, reason):
    rain = change(synthetic.rain((40, 50))).assign_attrs(units="mm h-1")
    motion = estimate_motion(rain, method=method)
    assert motion.attrs["status"].startswith("no motion: ")
    assert reason in motion.attrs["status"]
    assert (motion.u == 0).all()
    assert (motion.v == 0).all()
    check_motion(motion, rain)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (7, 9), (16, 17), (17, 200)])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_small_grids_have_a_finite_motion(method, shape):
    rain = synthetic.rain(shape)
    motion = estimate_motion(rain, method=method)
    assert motion.u.shape == shape
    check_motion(motion, rain)


def test_time_may_lie_last_in_memory():
    rain = synthetic.rain((40, 50))
    turned = rain.transpose("x", "time", "y")
    np.testing.assert_allclose(estimate_motion(turned).u, estimate_motion(rain).u, atol=1e-4)


def test_a_field_that_breaks_the_contract_is_refused():
    with pytest.raises(InputError, match="no units"):
        estimate_motion(synthetic.rain((20, 20)).assign_attrs(units=""))


# --- conversions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crs", [None, "EPSG:3035", "EPSG:4326"])
@pytest.mark.parametrize("y_down", [True, False])
def test_cells_per_step_is_the_inverse_of_motion_dataset(crs, y_down):
    spacing = 0.01 if crs == "EPSG:4326" else 2000.0
    rain = synthetic.rain((9, 12), y_down=y_down, spacing=spacing, crs=crs)
    flow = np.random.default_rng(0).normal(size=(2, 9, 12)).astype(np.float32)
    motion = motion_dataset(flow, rain, FIVE, method="test")
    np.testing.assert_allclose(cells_per_step(motion, FIVE), flow, rtol=1e-6)
    np.testing.assert_allclose(cells_per_step(motion, np.timedelta64(1, "m")), flow / 5, rtol=1e-6)
    assert cells_per_step(motion, FIVE).dtype == np.float32
    turned = motion.transpose("x", "y")
    np.testing.assert_array_equal(cells_per_step(turned, FIVE), cells_per_step(motion, FIVE))


def test_one_cell_per_step_is_its_length_over_the_step():
    rain = synthetic.rain((5, 6), y_down=True, spacing=600.0)
    motion = motion_dataset(np.ones((2, 5, 6), np.float32), rain, FIVE)
    assert float(motion.u[2, 3]) == pytest.approx(2.0)
    assert float(motion.v[2, 3]) == pytest.approx(-2.0)  # down the rows is towards smaller y


def test_the_grid_mapping_is_named_where_there_is_one():
    motion = zero_motion(synthetic.rain((5, 6), crs="EPSG:3035"), "test", "none")
    assert motion.u.attrs["grid_mapping"] == "spatial_ref"
    assert "crs_wkt" in motion.spatial_ref.attrs
    assert "grid_mapping" not in zero_motion(synthetic.rain((5, 6)), "test", "none").u.attrs


def test_usable_frames_are_the_last_that_hold_any_value():
    rain = synthetic.rain((5, 6), frames=6).copy()
    rain[[0, 3, 5]] = np.nan
    rain[4, 1:] = np.nan  # a part is enough
    indices, offsets = find_usable_frames(rain, 2)
    assert indices.tolist() == [2, 4]
    assert offsets.tolist() == [-2, 0]
    assert find_usable_frames(rain, 9)[0].tolist() == [1, 2, 4]
    assert [array.size for array in find_usable_frames(rain * np.nan, 3)] == [0, 0]


# --- checks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.u, "found DataArray; motion is a Dataset with u and v. Use estimate_motion"),
        (lambda m: m.drop_vars("v"), "motion is a Dataset with u and v"),
        (lambda m: m.assign(u=m.u.assign_attrs(units="km/h")), "u has units 'km/h'; motion is in m s-1"),
        (lambda m: m.assign(v=m.v.assign_attrs(units="")), "v has units ''"),
        (lambda m: m.expand_dims(time=2), "u has dims"),
        (lambda m: m.assign(u=m.u.where(m.u.x > 0).assign_attrs(m.u.attrs)), "u holds NaN or infinity"),
        (lambda m: m.assign(v=(m.v + np.inf).assign_attrs(m.v.attrs)), "v holds NaN or infinity"),
        (lambda m: m.isel(y=slice(1, None)), "'y' has 4 and 5 cells; motion and field share one grid"),
        (lambda m: m.assign_coords(x=m.x + 500), "'x' starts at 500 and 0"),
        (lambda m: m.isel(y=slice(None, None, -1)), "'y' starts at"),
    ],
)
def test_motion_that_does_not_fit_is_refused(change, message):
    rain = synthetic.rain((5, 6))
    motion = zero_motion(rain, "test", "none")
    assert check_motion(motion, rain) is motion
    with pytest.raises(InputError) as error:
        check_motion(change(motion), rain)
    assert message in str(error.value)


def test_motion_of_another_projection_is_refused():
    with pytest.raises(InputError, match="CRS differ"):
        check_motion(
            zero_motion(synthetic.rain((5, 6), crs="EPSG:3035"), "a", "b"), synthetic.rain((5, 6), crs="EPSG:3067")
        )


def test_any_object_with_estimate_is_a_method():
    class Standing:
        name = "standing"

        def estimate(self, recent):
            return zero_motion(recent, self.name, "it stands")

    assert estimate_motion(synthetic.rain((5, 6)), method=Standing()).attrs["method"] == "standing"


@pytest.mark.parametrize("method", ["dense", DIS])
def test_a_name_or_a_class_is_no_method(method):
    rain = precipitation(
        np.zeros((2, 20, 20)),
        time=np.array(["2020-01-01T00:00", "2020-01-01T00:05"], "datetime64[ns]"),
        y=np.arange(20) * 1e3,
        x=np.arange(20) * 1e3,
        crs=None,
    )
    with pytest.raises(InputError, match="motion method, an object"):
        estimate_motion(rain, method=method)
