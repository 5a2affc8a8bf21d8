"""What users of other tools reported about motion, put through ours: each test names where it was reported."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import synthetic
from hybridcast import forecast
from hybridcast.motion.estimate import DenseFlow, estimate_motion
from hybridcast.motion.screening import screen_frames
from hybridcast.nowcasters import Advection, ScaleFilter

SIZE = 240
MOTION = synthetic.translation(3, -1)  # 10 m/s and, with rows that run south, 3.3 m/s north


def scene(**options):
    return synthetic.rain((SIZE, SIZE), MOTION, **{"frames": 6, "cell": 8.0} | options)


def inner(motion) -> tuple[float, float]:
    there = motion.isel(y=slice(40, -40), x=slice(40, -40))
    return float(there.u.mean()), float(there.v.mean())


def test_new_rain_in_the_south_does_not_turn_the_motion():
    """PySTEPS/pysteps issue 183: growth in the lower part of the domain, and the nowcast flows south."""
    rain = scene(wet=0.2).where(np.arange(SIZE)[None, :, None] < 150, 0)
    y, x = np.mgrid[:SIZE, :SIZE]
    values = rain.values.copy()
    for k, peak in enumerate((0, 0, 1, 4, 10, 20)):
        for column in (40, 90, 150, 200):
            values[k] += peak * np.exp(-((y - 160 - 8 * k + k) ** 2 + (x - column - 3 * k) ** 2) / (2 * 6.0**2))
    motion = estimate_motion(rain.copy(data=np.where(values < 0.1, 0, values)))
    north = motion.isel(y=slice(30, 110), x=slice(40, -40))
    assert (float(north.u.mean()), float(north.v.mean())) == pytest.approx((10, 10 / 3), abs=1.5)


@pytest.mark.parametrize("order", [[0, 0, 1, 2, 2, 3], [0, 1, 1, 1, 2, 2], [0, 1, 2, 2, 3, 3]])
def test_a_server_that_snaps_times_to_its_last_image(order):
    """jpettitt/weather-radar-card pull request 183: images every 7 min, asked for every 5 min, come twice."""
    moving = scene()
    screened = screen_frames(moving.copy(data=moving.values[order])).field
    kept = np.isfinite(screened.values).any(axis=(1, 2))
    assert kept.tolist() == [k == 0 or order[k] != order[k - 1] for k in range(6)]


@pytest.mark.parametrize("nowcaster", [Advection(), ScaleFilter()], ids=["advection", "scale filter"])
@pytest.mark.parametrize("frame", [2, 4])
def test_one_frame_without_rain_among_the_inputs(nowcaster, frame):
    """PySTEPS/pysteps issue 468: one empty frame among the inputs makes STEPS fail."""
    rain = scene()
    empty = forecast(rain.where(rain.time != rain.time[frame], 0), lead_time="30min", nowcaster=nowcaster)
    whole = forecast(rain, lead_time="30min", nowcaster=nowcaster)
    total = empty.precipitation_rate.sum() / whole.precipitation_rate.sum()
    assert float(total) == pytest.approx(1, abs=0.05)
    assert inner(empty) == pytest.approx(inner(whole), abs=1.0)


@pytest.mark.parametrize("frame", [4, 5])
def test_a_radial_of_interference_does_not_move_the_rain(frame):
    """Interference of radio networks, a radial of strong echo (Schaper et al. 2022, Atmos. Meas. Tech. 15, 6625)."""
    rain = scene()
    values = rain.values.copy()
    values[frame, 118:122, 120:] = 150
    assert inner(estimate_motion(rain.copy(data=values))) == pytest.approx(inner(estimate_motion(rain)), abs=1.0)


@pytest.mark.parametrize("first", [1, 3, 5])
def test_coverage_that_changes_between_frames(first):
    """Gus-A/RAINSTORM issue 19: what happens where NaN comes and goes."""
    rain = scene()
    seen = np.ones((6, SIZE, SIZE), bool)
    seen[first:, :100] = False
    motion = estimate_motion(rain.where(seen))
    assert motion.attrs["status"] == "estimated"
    assert inner(motion) == pytest.approx((10, 10 / 3), abs=1.0)


def test_small_holes_of_a_composite():
    """metoppv/improver pull request 1250: small holes within the composite."""
    holes = np.random.default_rng(0).random((6, SIZE // 4, SIZE // 4)) < 0.05
    rain = scene()
    motion = estimate_motion(rain.where(~holes.repeat(4, axis=1).repeat(4, axis=2)))
    assert inner(motion) == pytest.approx((10, 10 / 3), abs=1.0)


def test_no_zero_motion_where_there_is_rain_that_moves():
    """metoppv/improver issue 571: velocities of zero at rain, as from a feed that repeats its last image."""
    rain = scene()
    motion = estimate_motion(rain.copy(data=rain.values[[0, 1, 2, 3, 3, 3]]), method=DenseFlow())
    speed = np.hypot(motion.u, motion.v).values[rain.values[3] >= 0.1]
    assert (speed < 1).mean() < 0.02
