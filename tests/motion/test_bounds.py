"""Growth is no divergence: the rain in total stays, whatever grows or dies, and the motion has the speed of weather."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hybridcast import advect, open_radar
from hybridcast.core.field import precipitation
from hybridcast.motion.bounds import MAX_SPEED, bound_flow
from hybridcast.motion.estimate import DIS, UNBOUNDED, DenseFlow, estimate_motion
from hybridcast.motion.status import is_estimated

SIZE = 240
FIVE = np.timedelta64(5, "m")
#: Peak (mm/h), row, column and size (km) of cells that keep their strength.
STEADY = ((15, 40, 30, 9), (25, 90, 50, 6), (10, 200, 40, 12), (20, 180, 120, 7), (12, 60, 150, 10))


def storms(peaks, *, others: bool = False, size: float = 5.0, speed: float = 1.5):
    """Return one cell with a peak for each frame, alone or with five steady ones, all moving `speed` km per 5 min."""
    y, x = np.mgrid[:SIZE, :SIZE]
    rough = np.exp(2.5 * gaussian_filter(np.random.default_rng(2).normal(size=(SIZE, SIZE)), 1.5))
    rates = []
    for k, peak in enumerate(peaks):
        rate = np.zeros((SIZE, SIZE))
        for a, row, column, s in (*(STEADY if others else ()), (peak, 130, 170, size)):
            rate += a * np.exp(-((y - row) ** 2 + (x - column - speed * k) ** 2) / (2 * s**2))
        rate *= np.roll(rough, int(speed * k), 1)
        rates.append(np.where(rate < 0.1, 0, rate))
    times = np.datetime64("2024-06-01T12:00") + np.arange(len(peaks)) * FIVE
    axis = 1000.0 * np.arange(SIZE)
    return precipitation(np.array(rates, np.float32), time=times, y=3e6 + axis, x=4e6 + axis, crs="EPSG:3035")


GROWTH = {
    "new": (0, 0, 0, 0, 10, 30),
    "growing": (2, 5, 10, 15, 22, 30),
    "slowly growing": (20, 22, 24, 26, 28, 30),
    "steady": (30,) * 6,
    "dying": (30, 25, 18, 12, 6, 3),
    "appearing at once": (0, 0, 0, 0, 0, 30),
}


@pytest.mark.parametrize(("method", "most"), [(DenseFlow(), 1.4), (DIS(), 1.6)], ids=["dense", "DIS"])
@pytest.mark.parametrize("others", [False, True], ids=["alone", "with others"])
@pytest.mark.parametrize("case", GROWTH)
def test_a_cell_that_grows_or_dies_keeps_its_rain(case, others, method, most):
    """Of these the first grew to 9.5 times as much in half an hour, and the dying one shrank to a tenth."""
    rain = storms(GROWTH[case], others=others)
    moved = advect(rain[-1], estimate_motion(rain, method=method), np.arange(1, 7) * 2 * FIVE)
    y, x = np.mgrid[:SIZE, :SIZE]
    near = np.hypot(y - 130, x - 180) < 45
    change = (moved.where(near).sum(("y", "x")) / rain[-1].where(near).sum()).values
    assert change.min() > 0.7
    assert change.max() < most


def test_what_was_bounded_is_stated():
    growing = estimate_motion(storms(GROWTH["new"]))
    assert "growth or decay taken out over" in growing.attrs["status"]
    assert "area on" in growing.attrs["motion_bounded"]
    assert is_estimated(growing)
    steady = estimate_motion(storms(GROWTH["steady"], others=True))
    assert steady.attrs["status"] == "estimated"
    assert steady.attrs["motion_bounded"] == UNBOUNDED


def test_a_large_storm_that_grows_keeps_its_motion():
    """Its edges move outwards by 1 km in 5 min, and all of it by 3 km: that is the motion."""
    motion = estimate_motion(storms((3, 4, 5, 7, 9, 12), size=20.0, speed=3.0))
    there = motion.isel(y=slice(115, 145), x=slice(165, 205))
    assert float(there.u.mean()) == pytest.approx(10.0, abs=1.5)
    assert float(there.v.mean()) == pytest.approx(0.0, abs=1.0)


# --- the bounds of a given flow -------------------------------------------------------------------------------

METRES = (np.full((1, 1), 1000.0, np.float32), np.full((1, 1), 1000.0, np.float32))


def bounded(flow, rate):
    return bound_flow(np.asarray(flow, np.float32), 5.0, np.asarray(rate, np.float32), METRES, (1.0, 1.0))


def uniform(u: float, v: float):
    return np.stack([np.full((SIZE, SIZE), u), np.full((SIZE, SIZE), v)]).astype(np.float32)


def test_flow_within_the_bounds_is_returned_itself():
    flow, rate = uniform(12, -12), np.ones((SIZE, SIZE), np.float32)  # 57 m/s
    found = bound_flow(flow, 5.0, rate, METRES, (1.0, 1.0))
    assert found.flow is flow
    assert found[1:] == (0, 0)


def test_rotation_and_shear_keep_areas_and_stay():
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    for flow in ((-0.05 * y, 0.05 * x), (0.05 * y, 0 * x)):
        assert bounded(flow, np.ones((SIZE, SIZE))).too_divergent == 0


def test_vectors_that_are_too_fast_take_the_motion_around_them():
    flow = uniform(4, 2)
    flow[:, 100:110, 100:110] = 200
    found = bounded(flow, np.ones((SIZE, SIZE)))
    assert found.too_fast == pytest.approx(100 / SIZE**2)
    np.testing.assert_allclose(found.flow[0], 4, atol=0.05)
    np.testing.assert_allclose(found.flow[1], 2, atol=0.05)


def test_the_limit_of_speed_is_in_metres_whatever_the_cells():
    flow, rate = uniform(17, 0), np.ones((SIZE, SIZE), np.float32)
    assert bound_flow(flow, 5.0, rate, METRES, (1.0, 1.0)).too_fast == 0  # 56.7 m/s
    half = (METRES[0], METRES[1] * 1.2)
    assert bound_flow(flow, 5.0, rate, half, (1.0, 1.2)).too_fast == 1  # 68 m/s: nothing is left
    assert bound_flow(flow, 10.0, rate, half, (1.0, 1.2)).too_fast == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_what_flows_apart_everywhere_is_brought_to_rest(sign):
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    found = bounded((sign * 0.05 * x, sign * 0.05 * y), np.ones((SIZE, SIZE)))
    assert found.too_divergent > 0.9
    apart = np.gradient(found.flow[0], axis=1) + np.gradient(found.flow[1], axis=0)
    assert abs(apart.mean()) < (0.03 if sign > 0 else 0.05)  # was 0.1 per 5 min; decay has the wider limits


def test_air_that_flows_together_has_the_wider_limits():
    """Areas change by the factor 1.4 in an hour: rain that decays goes on with it, rain that grows does not."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    rate = np.exp(-(x**2 + y**2) / (2 * 40**2))
    apart = np.log(1.42) / 24 * np.array([x, y])
    assert bounded(-apart, rate).too_divergent == 0
    assert bounded(apart, rate).too_divergent > 0.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3), (5, 200), (33, 47)])
def test_small_grids_are_bounded_too(shape):
    flow = np.random.default_rng(0).normal(0, 30, (2, *shape)).astype(np.float32)
    found = bound_flow(flow, 5.0, np.ones(shape, np.float32), METRES, (1.0, 1.0)).flow
    assert found.shape == flow.shape
    assert np.isfinite(found).all()
    assert np.hypot(*found).max() * 1000 / 300 <= MAX_SPEED * 1.001


@pytest.mark.parametrize("rate", [np.zeros((60, 60)), np.full((60, 60), np.nan)])
def test_without_rain_only_the_speed_is_bounded(rate):
    y, x = np.mgrid[:60, :60] - 30
    flow = np.array([0.05 * x, 0.05 * y], np.float32)
    assert bound_flow(flow, 5.0, rate.astype(np.float32), METRES, (1.0, 1.0)).flow is flow


def test_motion_of_ordinary_rain_stays(real):
    """On ordinary frames the bounds change little, and no vector is faster than the fastest rain seen there."""
    radar = open_radar(real("fmi/20160928/*.pgm.gz")[8:14]).load()
    motion = estimate_motion(radar)
    assert motion.attrs["status"] == "estimated"
    assert float(np.hypot(motion.u, motion.v).max()) < 30
