"""Persistence and advection: what they carry on, and how results are labelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from hybridcast.advection import advect
from hybridcast.core.forecast_schema import forecast_dataset
from hybridcast.errors import InputError
from hybridcast.motion.estimate import DIS, DenseFlow, estimate_motion, zero_motion
from hybridcast.nowcasters.base import Advection, Persistence, latest_frame
from hybridcast.settings import AdvectionSettings, MotionSettings

LEADS = np.arange(1, 7) * np.timedelta64(5, "m")
BOTH = [Persistence(), Advection()]


def scene(shape=(64, 72), **options):
    return synthetic.rain(shape, synthetic.translation(3, -2), **options)


def late(rain: xr.DataArray, frames: int) -> xr.DataArray:
    """The last frames missing."""
    rain = rain.copy()
    rain[-frames:] = np.nan
    return rain


# --- labels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crs", [None, "EPSG:3035"])
def test_a_forecast_is_labelled(crs):
    rain = scene(crs=crs)
    result = forecast_dataset(np.zeros((6, 64, 72)), rain, LEADS, nowcaster="test", status="ok")
    rate = result.precipitation_rate
    assert rate.dims == ("lead_time", "y", "x")
    assert rate.dtype == np.float32
    assert rate.attrs["units"] == "mm h-1"
    assert rate.attrs["standard_name"] == "lwe_precipitation_rate"
    assert result.attrs == {"nowcaster": "test", "status": "ok"}
    assert result.reference_time.values == rain.time.values[-1]
    assert result.reference_time.dims == ()
    np.testing.assert_array_equal(result.lead_time, LEADS)
    np.testing.assert_array_equal(result.time, rain.time.values[-1] + LEADS)
    assert result.time.dims == ("lead_time",)
    np.testing.assert_array_equal(result.x, rain.x)
    np.testing.assert_array_equal(result.y, rain.y)
    assert ("spatial_ref" in result.coords) == (crs is not None)
    assert rate.attrs.get("grid_mapping") == ("spatial_ref" if crs else None)


def test_lead_times_are_checked():
    with pytest.raises(InputError, match="above zero and increase"):
        forecast_dataset(np.zeros((2, 64, 72)), scene(), LEADS[1::-1])


@pytest.mark.parametrize("nowcaster", BOTH, ids=lambda n: n.name)
def test_every_nowcaster_names_itself_and_labels_alike(nowcaster):
    rain = scene(crs="EPSG:3035")
    result = nowcaster.forecast(rain, LEADS)
    assert result.attrs["nowcaster"] == nowcaster.name
    assert result.attrs["status"] == "ok"
    expected = forecast_dataset(np.zeros((6, 64, 72)), rain, LEADS)
    xr.testing.assert_identical(result.precipitation_rate * 0 == 1, expected.precipitation_rate == 1)


@pytest.mark.parametrize("nowcaster", BOTH, ids=lambda n: n.name)
def test_the_input_is_left_as_it_is(nowcaster):
    rain = scene(seen=synthetic.disc((64, 72)))
    before = rain.copy(deep=True)
    result = nowcaster.forecast(rain, LEADS)
    result.precipitation_rate.values[:1] = 7  # its own memory too
    xr.testing.assert_identical(rain, before)


# --- persistence ----------------------------------------------------------------------------------------------


def test_persistence_keeps_the_latest_frame():
    rain = scene(seen=synthetic.disc((64, 72)))
    result = Persistence().forecast(rain, LEADS)
    for k in range(6):
        np.testing.assert_array_equal(result.precipitation_rate[k], rain[-1])


def test_persistence_takes_an_older_frame_if_the_radar_is_late():
    rain = late(scene(), 2)
    result = Persistence().forecast(rain, LEADS)
    np.testing.assert_array_equal(result.precipitation_rate[0], rain[-3])
    assert result.attrs["status"] == "radar is late: latest frame is 10 min old"


# --- advection ------------------------------------------------------------------------------------------------


def test_advection_is_motion_and_advect():
    rain = scene()
    result = Advection().forecast(rain, LEADS)
    motion = estimate_motion(rain)
    np.testing.assert_array_equal(result.precipitation_rate, advect(rain[-1], motion, LEADS))
    for name in ("u", "v"):
        xr.testing.assert_identical(result[name].reset_coords(drop=True), motion[name].reset_coords(drop=True))
    assert result.attrs["motion_method"] == "dense flow"
    assert result.attrs["motion_status"] == "estimated"


@pytest.mark.parametrize("late_frames", [1, 2])
def test_a_late_radar_is_carried_on_that_much_longer(late_frames):
    """The same as the forecast made in time, at the same valid times."""
    rain = scene(frames=6)
    early = Advection().forecast(rain.isel(time=slice(None, -late_frames)), np.arange(1, 9) * np.timedelta64(5, "m"))
    result = Advection().forecast(late(rain, late_frames), LEADS)
    assert result.attrs["status"] == f"radar is late: latest frame is {5 * late_frames} min old"
    assert result.reference_time.values == rain.time.values[-1]
    np.testing.assert_array_equal(result.time, early.time[late_frames : late_frames + 6])
    expected = early.precipitation_rate.values[late_frames : late_frames + 6]
    # its first step is longer by the delay
    got = result.precipitation_rate.values
    both = np.isfinite(got) & np.isfinite(expected)
    assert both.mean() > 0.6
    assert (np.isfinite(got) != np.isfinite(expected)).mean() < 0.005
    assert np.abs(got - expected)[both].mean() < 0.01 < 0.05 * expected[both].mean()


def test_settings_and_motion_are_those_given():
    @dataclass(frozen=True)
    class Standing:
        name: str = "standing"

        def estimate(self, recent):
            return zero_motion(recent, self.name, "it stands")

    rain = scene()
    standing = Advection(motion=Standing(), settings=AdvectionSettings("nearest"))
    assert standing.name == "advection (standing, nearest)"
    result = standing.forecast(rain, LEADS)
    np.testing.assert_array_equal(result.precipitation_rate[5], rain[-1])
    assert result.attrs["motion_status"] == "no motion: it stands"
    assert Advection(motion=DIS()).name == "advection (OpenCV DIS fast, linear)"
    few = Advection(motion=DenseFlow(MotionSettings(frames=2))).forecast(rain, LEADS)
    assert not few.u.equals(Advection().forecast(rain, LEADS).u)


def test_nearest_keeps_the_values_of_the_frame():
    rain = scene()
    result = Advection(settings=AdvectionSettings("nearest")).forecast(rain, LEADS).precipitation_rate.values
    assert np.isin(result[np.isfinite(result)], rain.values[-1]).all()


# --- little or nothing seen -----------------------------------------------------------------------------------


@pytest.mark.parametrize("nowcaster", BOTH, ids=lambda n: n.name)
def test_nothing_seen_is_unknown(nowcaster):
    result = nowcaster.forecast(scene() * np.nan, LEADS)
    assert np.isnan(result.precipitation_rate).all()
    assert result.attrs["status"] == "no radar data in any frame: all unknown"


@pytest.mark.parametrize("nowcaster", BOTH, ids=lambda n: n.name)
def test_one_frame_stays(nowcaster):
    rain = scene(frames=1)
    np.testing.assert_array_equal(nowcaster.forecast(rain, LEADS).precipitation_rate[5], rain[0])


@pytest.mark.parametrize("nowcaster", BOTH, ids=lambda n: n.name)
def test_dry_stays_dry_and_unseen_stays_unknown(nowcaster):
    rain = scene(seen=synthetic.disc((64, 72))) * 0
    result = nowcaster.forecast(rain, LEADS)
    for k in range(6):
        np.testing.assert_array_equal(result.precipitation_rate[k], rain[-1])


def test_the_latest_frame_is_the_last_that_holds_any_value():
    rain = late(scene(), 2)
    frame, age = latest_frame(rain)
    assert frame.time.values == rain.time.values[1]
    assert age == np.timedelta64(10, "m")
    frame, age = latest_frame(scene())
    assert age == np.timedelta64(0)
    frame, age = latest_frame(rain * np.nan)
    assert frame.time.values == rain.time.values[-1]
    assert age == np.timedelta64(0)
