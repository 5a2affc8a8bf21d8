"""Displacement of NWP rain: known shifts of simulated and real rain, gaps, and fields without known cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from helpers.synthetic import texture
from hybridcast import fetch, open_radar
from hybridcast.core.grid import coarsen
from hybridcast.nwp.displacement import MAX_SHIFT, estimate_displacement

CELL = (2.0, 2.0)


def moved(rain, x, y):
    """Move rain by km along columns and rows."""
    return ndimage.shift(rain, (y / CELL[0], x / CELL[1]), order=1).astype(np.float32)


def scene(size=200, seed=1):
    return texture((size, size), seed=seed, cell=5, wet=0.35).astype(np.float32)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (16, -8), (-30, 20), (0, 40)])
def test_a_known_shift_is_found(x, y):
    radar = scene()
    found = estimate_displacement(moved(radar, -x, -y), radar, CELL)[:, 40:-40, 40:-40]
    assert np.median(np.hypot(found[0] - x, found[1] - y)) < 3


def test_two_shifts_in_one_field_are_told_apart():
    radar = scene()
    model = np.concatenate([moved(radar, -24, 0)[:, :100], moved(radar, 0, -24)[:, 100:]], axis=1)
    found = estimate_displacement(model, radar, CELL)
    assert np.median(found[0, 60:-60, 20:50]) > 15
    assert abs(np.median(found[0, 60:-60, -50:-20])) < 6
    assert np.median(found[1, 60:-60, -50:-20]) > 15


def test_other_intensities_do_not_matter():
    radar = scene()
    found = estimate_displacement(3 * moved(radar, -16, 0), radar, CELL)[:, 40:-40, 40:-40]
    assert np.median(np.hypot(found[0] - 16, found[1])) < 3


def test_it_is_smooth_and_limited():
    found = estimate_displacement(scene(seed=3), scene(seed=4), CELL)
    assert np.abs(found).max() <= MAX_SHIFT + 1e-3
    assert np.abs(np.diff(found, axis=1)).max() < 3
    assert np.abs(np.diff(found, axis=2)).max() < 3
    assert found.dtype == np.float32


@pytest.mark.parametrize("model", [np.zeros((40, 50)), np.full((40, 50), np.nan)], ids=["dry", "unknown"])
def test_where_nothing_speaks_for_a_shift_there_is_none(model):
    radar = scene()[:40, :50]
    np.testing.assert_allclose(estimate_displacement(model.astype(np.float32), radar, CELL), 0, atol=1e-3)


def test_gaps_do_not_draw_it_aside():
    radar = scene()
    model = moved(radar, -16, 8)
    model[:, :60] = np.nan
    seen = np.where(np.hypot(*np.mgrid[-100:100, -100:100]) < 90, radar, np.nan).astype(np.float32)
    found = estimate_displacement(model, seen, CELL)[:, 60:-60, 80:-60]
    assert np.median(np.hypot(found[0] - 16, found[1] + 8)) < 4


def test_on_real_rain_with_the_faults_of_a_model(real):
    """The radar of Finland, shifted, smoothed, 1.5 times as strong, and multiplied by noise of 16 km."""
    real("fmi/20170509/*.gz")
    radar = coarsen(open_radar(fetch("fmi-20170509", radar_only=True)[20:21]), 2000.0).values[0]
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=radar.shape), 8)
    model = 1.5 * ndimage.gaussian_filter(moved(np.nan_to_num(radar), -20, 12), 3) * np.exp(0.7 * noise / noise.std())
    found = estimate_displacement(model.astype(np.float32), radar, CELL)
    wet = (model > 0.3) & np.isfinite(radar)
    assert wet.sum() > 3000
    assert np.median(np.hypot(found[0] - 20, found[1] + 12)[wet]) < 4
