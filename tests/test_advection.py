"""Advection with labels: units, directions, attributes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers import reference, synthetic
from hybridcast.advection import advect
from hybridcast.core.durations import check_lead_times
from hybridcast.errors import InputError
from hybridcast.motion.estimate import cells_per_step, estimate_motion, motion_dataset
from hybridcast.radar import open_radar
from hybridcast.settings import AdvectionSettings

MINUTE = np.timedelta64(1, "m")
LEADS = np.arange(1, 7) * 5 * MINUTE
INTERPOLATIONS = ["nearest", "linear", "cubic"]


def moving(u, v, shape=(40, 50), **scene):
    """The latest frame and its motion, in cells per 5 min."""
    rain = synthetic.rain(shape, synthetic.translation(u, v), frames=1, **scene)
    flow = synthetic.translation(u, v).flow(shape)
    return rain[0], motion_dataset(flow, rain, 5 * MINUTE, method="truth", status="known")


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("y_down", [True, False])
def test_rain_arrives_where_its_motion_carries_it(interpolation, y_down):
    latest, motion = moving(2, -1, y_down=y_down)
    result = advect(latest, motion, LEADS, settings=AdvectionSettings(interpolation))
    assert result.dims == ("lead_time", "y", "x")
    for k in range(1, 7):
        np.testing.assert_allclose(result[k - 1, :-k, 2 * k :], latest.values[k:, : -2 * k], atol=1e-3)
        assert np.isnan(result.values[k - 1, -k:]).all() or interpolation != "linear"
        assert np.isnan(result[k - 1, :, : 2 * k - 1]).all()


def test_a_northerly_wind_carries_rain_south_in_both_directions_of_y():
    for y_down in (True, False):
        rain = synthetic.rain((40, 50), frames=1, y_down=y_down)
        spot = xr.zeros_like(rain[0]).drop_vars("time")
        spot.loc[{"y": 20_000, "x": 25_000}] = 5.0
        motion = motion_dataset(np.zeros((2, 40, 50), np.float32), rain, MINUTE)
        motion["v"] = motion.v - 10  # m/s, towards smaller y
        later = advect(spot, motion, [np.timedelta64(500, "s")])
        assert float(later.sel(lead_time=np.timedelta64(500, "s"), y=15_000, x=25_000)) == pytest.approx(5, abs=1e-4)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_it_is_the_oracle_with_labels(interpolation):
    shape = (60, 70)
    rain = synthetic.rain(shape, frames=1, seen=synthetic.disc(shape), crs="EPSG:3035")
    flow = synthetic.rotation(0.04, (35, 30)).flow(shape)
    result = advect(rain[0], motion_dataset(flow, rain, 5 * MINUTE), LEADS, settings=AdvectionSettings(interpolation))
    order = {"nearest": 0, "linear": 1, "cubic": 3}[interpolation]
    expected = reference.advect(rain.values[0], flow, np.arange(1.0, 7), order, guess="extrapolated")
    both = np.isfinite(result.values) & np.isfinite(expected)
    assert (np.abs(result.values - expected)[both] > 1e-3).mean() <= (1e-3 if order == 0 else 0)
    assert (np.isfinite(result.values) != np.isfinite(expected)).sum() <= 3


@pytest.mark.parametrize(("interpolation", "order", "share"), [("linear", 1, 0), ("cubic", 3, 0), ("nearest", 0, 2e-3)])
def test_a_real_field_equals_pysteps(real, interpolation, order, share):
    """FMI 2017-05-09, 30 min at 5 min steps: at most 0.03 mm/h from pysteps for the same flow; a share is allowed more.

    Nearest takes another cell where the position lies half way between two.
    """
    extrapolate = pytest.importorskip("pysteps.extrapolation.semilagrangian").extrapolate
    rain = open_radar(real("fmi/20170509/*.pgm.gz")[:4]).isel(y=slice(400, 800), x=slice(200, 600))
    motion = estimate_motion(rain)
    result = advect(rain[-1], motion, LEADS, settings=AdvectionSettings(interpolation)).values
    flow = cells_per_step(motion, 5 * MINUTE).astype(float)
    theirs = extrapolate(rain.values[-1].astype(float), flow, 6, interp_order=order, allow_nonfinite_values=True)
    both = np.isfinite(result) & np.isfinite(theirs)
    assert both.mean() > 0.8
    assert result[both].max() > 10
    assert (np.abs(result - theirs.clip(min=0))[both] > 0.03).mean() <= share
    assert (np.isfinite(theirs) & ~np.isfinite(result)).mean() < 1e-4


def test_a_dataset_gives_a_dataset_of_the_same_fields():
    latest, motion = moving(2.4, -1.3)
    other = (latest * 2 + 1).rename("other").assign_attrs(units="K", long_name="something else")
    both = advect(xr.Dataset({"rain": latest, "other": other}, attrs={"title": "two"}), motion, LEADS)
    assert isinstance(both, xr.Dataset)
    assert list(both) == ["rain", "other"]
    assert both.attrs == {"title": "two"}
    assert both.other.attrs == other.attrs
    np.testing.assert_array_equal(both.rain, advect(latest, motion, LEADS))
    np.testing.assert_array_equal(both.other, advect(other, motion, LEADS))


def test_labels_and_attributes_are_kept():
    latest, motion = moving(1, 1, crs="EPSG:3035")
    result = advect(latest, motion, LEADS)
    assert result.name == "precipitation_rate"
    assert result.attrs == latest.attrs
    assert "time" not in result.coords
    np.testing.assert_array_equal(result.lead_time, LEADS.astype("timedelta64[ns]"))
    assert result.lead_time.attrs["standard_name"] == "forecast_period"
    for name in ("y", "x", "spatial_ref"):
        xr.testing.assert_identical(result[name].reset_coords(drop=True), latest[name].reset_coords(drop=True))


def test_one_time_is_dropped_and_order_of_dims_does_not_matter():
    latest, motion = moving(2.4, -1.3)
    expected = advect(latest, motion, LEADS)
    xr.testing.assert_identical(advect(latest.expand_dims("time"), motion, LEADS), expected)
    xr.testing.assert_identical(advect(latest.transpose("x", "y"), motion.transpose("x", "y"), LEADS), expected)


def test_inputs_are_left_as_they_are():
    latest, motion = moving(2.4, -1.3)
    before, before_motion = latest.copy(deep=True), motion.copy(deep=True)
    advect(latest, motion, LEADS)
    xr.testing.assert_identical(latest, before)
    xr.testing.assert_identical(motion, before_motion)


def test_results_stay_their_own():
    """A later call does not write into what an earlier one gave."""
    latest, motion = moving(2.4, -1.3)
    first = advect(latest, motion, LEADS)
    kept = first.copy(deep=True)
    advect(latest * 3, motion, LEADS)
    xr.testing.assert_identical(first, kept)


def test_lead_times_may_be_of_any_unit_and_unevenly_spaced():
    latest, motion = moving(2, -1)
    seconds = advect(latest, motion, np.array([300, 900, 1800], "timedelta64[s]"))
    minutes = advect(latest, motion, LEADS)
    np.testing.assert_allclose(seconds, minutes.isel(lead_time=[0, 2, 5]), atol=1e-3)
    assert advect(latest, motion, np.timedelta64(5, "m")).sizes["lead_time"] == 1


@pytest.mark.parametrize(
    ("leads", "message"),
    [
        ([5, 10], "lead times are of type int64; they are timedelta64. Give, for example"),
        ([0 * MINUTE, 5 * MINUTE], "above zero and increase"),
        ([-5 * MINUTE], "above zero"),
        ([10 * MINUTE, 5 * MINUTE], "above zero and increase"),
        ([5 * MINUTE, 5 * MINUTE], "above zero and increase"),
        (np.array([], "timedelta64[m]"), "above zero"),
        ([np.timedelta64("NaT", "m")], "above zero"),
        ([5 * MINUTE, np.timedelta64("NaT", "m")], "above zero"),
    ],
)
def test_lead_times_that_do_not_fit_are_refused(leads, message):
    with pytest.raises(InputError) as error:
        check_lead_times(leads)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("field", "change_motion", "message"),
    [
        (lambda f: f.expand_dims(time=2), lambda m: m, "found 2 frames; one frame is advected. Select the latest"),
        (lambda f: f.rename(x="column"), lambda m: m, "dims are ('y', 'column')"),
        (lambda f: f.isel(x=0), lambda m: m, "dims are ('y',)"),
        (lambda f: f, lambda m: m.isel(x=slice(3, None)), "'x' has 47 and 50 cells"),
        (lambda f: f, lambda m: m.assign(u=m.u.assign_attrs(units="km h-1")), "u has units 'km h-1'"),
        (lambda f: f, lambda m: m.u, "found DataArray"),
    ],
)
def test_fields_and_motion_that_do_not_fit_are_refused(field, change_motion, message):
    latest, motion = moving(1, 1)
    latest = latest.drop_vars("time")
    with pytest.raises(InputError) as error:
        advect(field(latest), change_motion(motion), LEADS)
    assert message in str(error.value)


def test_missing_is_carried_along_and_never_dry():
    latest, motion = moving(1, 0, seen=synthetic.disc((40, 50)))
    result = advect(latest + 1, motion, LEADS)
    assert float(result.min()) >= 1 - 2e-3
    for k in range(1, 7):
        np.testing.assert_array_equal(np.isnan(result[k - 1, :, k:]), np.isnan(latest[:, :-k]))
