"""pysteps finds our methods by name, and they keep to its conventions: cells per step, x first, dBR or mm/h, NaN."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.contrib import pysteps_plugin
from hybridcast.errors import InputError
from hybridcast.nowcasters.pysteps._call import to_dbr

pysteps = pytest.importorskip("pysteps")
STEP = (2.0, -1.0)  # cells to the right and rows upwards, each time step


@pytest.fixture(scope="module", autouse=True)
def registered():
    return pysteps_plugin.register()


@pytest.fixture(scope="module")
def frames():
    """Smooth rain that moves by STEP, six frames, mm/h."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(4).normal(size=(160, 180)), 5)
    rain = 30 * np.maximum(noise / noise.std() - 0.4, 0)
    moved = [np.roll(rain, (round(STEP[1] * k), round(STEP[0] * k)), (0, 1)) for k in range(9)]
    return np.array([frame[40:120, 40:140] for frame in moved]) / 10


@pytest.fixture(scope="module")
def velocity(frames):
    return pysteps.motion.get_method("hybridcast")(frames[:4])


def test_names_are_known_to_pysteps_and_registering_twice_changes_nothing(registered):
    assert pysteps_plugin.register() == registered
    for name in registered:
        assert callable(pysteps.nowcasts.get_method(name))
    assert pysteps.nowcasts.get_method("extrapolation") is pysteps.nowcasts.extrapolation.forecast


def test_motion_is_in_cells_per_step_with_x_first(frames, velocity):
    assert velocity.shape == (2, *frames.shape[1:])
    inner = velocity[:, 15:-15, 15:-15].mean(axis=(1, 2))
    assert inner == pytest.approx(STEP, abs=0.15)


def test_motion_of_decibels_is_that_of_rates(frames, velocity):
    from_dbr = pysteps.motion.get_method("hybridcast")(to_dbr(frames[:4]))
    assert np.abs(from_dbr - velocity).mean() < 0.05


def test_advection_is_pysteps_extrapolation_of_the_same_velocity(frames, velocity):
    ours = pysteps.nowcasts.get_method("hybridcast_advection")(frames[3], velocity, 4)
    theirs = pysteps.nowcasts.get_method("extrapolation")(frames[3], velocity, 4)
    both = np.isfinite(ours) & np.isfinite(theirs)
    assert both.mean() > 0.85
    assert np.abs(ours - theirs)[both].max() < 0.05
    assert np.isnan(ours[-1]).any()
    assert np.nanmean(np.abs(ours - frames[4:8])) < 0.25 * np.abs(frames[3] - frames[7]).mean()


def test_lead_times_in_fractions_of_a_step_and_the_time_it_took(frames, velocity):
    method = pysteps.nowcasts.get_method("hybridcast_advection")
    whole = method(frames[:4], velocity, 2)
    some, seconds = method(frames[:4], velocity, [0.5, 2.0], measure_time=True)
    np.testing.assert_allclose(some[1], whole[1], atol=0.02)
    assert seconds > 0


@pytest.mark.parametrize("name", ["hybridcast_scales", "hybridcast"])
def test_nowcasts_keep_units_and_mask(frames, velocity, name):
    method = pysteps.nowcasts.get_method(name)
    rates = method(frames[:4], velocity, 3, kmperpixel=2.0, timestep=5)
    decibels = method(to_dbr(frames[:4]), velocity, 3, kmperpixel=2.0, timestep=5)
    assert rates.shape == decibels.shape == (3, *frames.shape[1:])
    assert (np.isnan(rates) == np.isnan(decibels)).all()
    known = np.isfinite(rates)
    assert known.mean() > 0.85
    assert decibels[known].min() == -15.0
    off = np.abs(to_dbr(rates)[known] - decibels[known])  # what is below 0.1 mm/h became dry on the way
    assert off.mean() < 0.05
    assert (off < 0.3).mean() > 0.99
    assert np.corrcoef(rates[known], frames[4:7][known])[0, 1] > 0.8


def test_masked_arrays_and_nan_stay_unknown(frames, velocity):
    with_gap = np.ma.masked_array(frames[3], mask=np.zeros_like(frames[3], bool))
    with_gap.mask[30:40, 30:40] = True
    moved = pysteps_plugin.forecast_advection(with_gap, velocity * 0, 1)
    assert np.isnan(moved[0, 31:39, 31:39]).all()


def test_what_does_not_fit_is_refused(frames, velocity):
    with pytest.raises(InputError, match="x first"):
        pysteps_plugin.forecast_advection(frames[3], velocity[:, 1:], 1)
    with pytest.raises(InputError, match="dBR"):
        pysteps_plugin.forecast_advection(frames[3], velocity, 1, units="dBZ")
    with pytest.raises(InputError, match="frame, y, x"):
        pysteps_plugin.estimate_dense_flow(frames[0, 0])
