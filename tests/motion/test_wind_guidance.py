"""Motion where there is no echo: near echo the method's, far from it the wind's, on a dry field the wind alone."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.synthetic import rain, translation
from hybridcast import Advection, estimate_motion, fetch, open_radar
from hybridcast.errors import InputError
from hybridcast.motion.estimate import DIS, DenseFlow, motion_dataset
from hybridcast.motion.wind_guidance import WindGuidedFlow, calibrate_wind, echo_proximity
from hybridcast.nwp import open_nwp, regrid_to_radar, steering_wind

FIVE = np.timedelta64(5, "m")


def steady(field, u, v):
    """Give the same wind everywhere, m/s."""
    made = motion_dataset(np.zeros((2, *field.shape[1:]), np.float32), field, FIVE, method="truth", status="known")
    return made.assign(u=made.u + np.float32(u), v=made.v + np.float32(v)).map(lambda a: a.assign_attrs(units="m s-1"))


@pytest.fixture(scope="module")
def scene():
    """Rain in the western third only, that moves 2 cells of 1 km to the east in 5 min: 6.7 m/s."""
    return rain((128, 300), translation(2.0, 0.0), share=lambda x, y: (x < 100).astype(float))


def test_near_echo_it_is_the_method_and_far_from_it_the_wind(scene):
    wind = steady(scene, 0, 10)
    plain = estimate_motion(scene)
    guided = estimate_motion(scene, method=WindGuidedFlow(wind=wind, calibrated=False, reach=30.0))
    echo = (scene.values >= 0.1).any(axis=0)
    np.testing.assert_array_equal(guided.u.values[echo], plain.u.values[echo])
    assert float(abs(guided.u[:, 250:]).max()) < 0.1
    np.testing.assert_allclose(guided.v[:, 250:], 10, atol=0.1)
    assert guided.attrs["status"] == "estimated, wind far from echo"
    assert guided.attrs["method"] == "dense flow guided by wind"


def test_at_its_reach_both_count_half(scene):
    echo = np.zeros(scene.shape[1:], bool)
    echo[:, :100] = True
    near = echo_proximity(echo, scene, 30.0)
    assert near[60, 99] == 1
    assert near[60, 99 + 30] == pytest.approx(0.5)
    assert near[60, 99 + 90] < 0.01


def test_the_wind_is_turned_and_scaled_as_the_motion_at_echo_tells(scene):
    """The wind is half as fast and 30 degrees to the left: put right, it is the motion."""
    angle = np.deg2rad(30)
    wind = steady(scene, 20 / 6 * np.cos(angle), 20 / 6 * np.sin(angle))
    guided = estimate_motion(scene, method=WindGuidedFlow(wind=wind, ridge=0.0))
    far = guided.isel(x=slice(250, None))
    assert float(far.u.mean()) == pytest.approx(20 / 3, abs=0.4)
    assert float(far.v.mean()) == pytest.approx(0, abs=0.4)


def test_little_echo_has_little_say():
    wind, motion = np.ones((2, 50, 50), np.float32), np.full((2, 50, 50), 2, np.float32)
    speck = np.zeros((50, 50), bool)
    speck[0, 0] = True
    np.testing.assert_allclose(calibrate_wind(wind, motion, speck, 0.05), 1, atol=0.01)
    np.testing.assert_allclose(calibrate_wind(wind, motion, ~speck, 0.05), 2, atol=0.06)
    np.testing.assert_array_equal(calibrate_wind(0 * wind, motion, speck, 0.05), 0)


def test_without_echo_it_is_the_wind_alone(scene):
    dry = scene.copy(data=np.zeros_like(scene.values))
    motion = estimate_motion(dry, method=WindGuidedFlow(wind=steady(scene, 3, -4)))
    assert (motion.u == 3).all()
    assert (motion.v == -4).all()
    assert motion.attrs["status"] == "wind alone (no motion: no echo)"


def test_one_frame_is_carried_by_the_wind(scene):
    alone = scene.isel(time=slice(-1, None))
    made = Advection(WindGuidedFlow(wind=steady(scene, 20 / 3, 0))).forecast(alone, np.array([FIVE]))
    moved = np.roll(scene.values[-1], 2, axis=1)
    np.testing.assert_allclose(made.precipitation_rate.values[0, :, 3:], moved[:, 3:], atol=1e-3)
    assert made.attrs["motion_status"].startswith("wind alone")


def test_without_a_wind_it_is_the_method(scene):
    guided = WindGuidedFlow(DIS("fast"))
    assert guided.name == "OpenCV DIS fast"
    np.testing.assert_array_equal(estimate_motion(scene, method=guided).u, estimate_motion(scene, method=DIS("fast")).u)


def test_a_wind_on_another_grid_is_refused(scene):
    other = steady(scene.isel(x=slice(0, 50)), 1, 1)
    with pytest.raises(InputError, match="share one grid"):
        estimate_motion(scene, method=WindGuidedFlow(wind=other))
    with pytest.raises(InputError, match="not negative"):
        WindGuidedFlow(reach=-1)


HALVES = [np.s_[:, :, 64:], np.s_[:, :, :64], np.s_[:, 64:], np.s_[:, :64]]


def hidden_errors(recent, half, value, method):
    """Hide the echo of one half; how far are motions there, without wind and with it, from that of all echo, m/s."""
    truth = DenseFlow().estimate(recent)
    hidden = recent.copy(deep=True)
    hidden[half] = value
    echo = (recent.values[-1] >= 0.1) & ~(hidden.values[-1] >= 0.1)
    found = (DenseFlow().estimate(hidden), method.estimate(hidden))
    return [float(np.sqrt(((m.u - truth.u) ** 2 + (m.v - truth.v) ** 2).values[echo].mean())) for m in found]


@pytest.mark.parametrize("name", ["meteonet-wind-20180312", "meteonet-wind-20160109"])
def test_on_real_rain_with_real_wind(real, name):
    """Where half is made dry or is not seen a wind close by does no harm; one frame moves rightly."""
    real("meteonet_wind/**/U/*.npz")
    radar = open_radar(fetch(name, radar_only=True))
    nwp = open_nwp([path for path in fetch(name) if path.parent.name in "UV"])
    there = regrid_to_radar(nwp, radar, radar.time.values)
    dry, unseen = [], []
    for last in (4, 7, 10):
        recent = radar.isel(time=slice(last - 3, last + 1))
        wind = steering_wind(there, recent.time.values[-1])
        dry += [hidden_errors(recent, half, 0.0, WindGuidedFlow(wind=wind, reach=30.0)) for half in HALVES]
        unseen += [hidden_errors(recent, half, np.nan, WindGuidedFlow(wind=wind)) for half in HALVES]
    without, guided = np.mean(dry, axis=0)
    assert max(without, guided) < 6.0  # 8.2 and 9.6 without wind where divergence was not bounded
    without, guided = np.mean(unseen, axis=0)
    assert guided < without + 0.3
    recent, later = radar.isel(time=slice(0, 4)), radar.isel(time=[6])
    wind = steering_wind(there, recent.time.values[-1])
    alone = recent.isel(time=[-1])
    moved = Advection(WindGuidedFlow(wind=wind)).forecast(alone, np.array([3 * FIVE])).precipitation_rate.values[0]
    seen = np.isfinite(moved)
    after, before = (np.corrcoef(a[seen], later.values[0][seen])[0, 1] for a in (moved, alone.values[0]))
    assert after > before + 0.05
