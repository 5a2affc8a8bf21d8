"""Rain of members: a sample of every cell's curve, at the place that the air comes from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtri

from hybridcast_kernels.lattice_noise_cpu import LatticeWindow
from hybridcast_kernels.realizations_cpu import CurvePlanes, Nodes, RainCurve, draw

THRESHOLDS = np.array([0.1, 1.0, 10.0], np.float32)
EVERY_CELL = Nodes(1, 0.0)
CURVE = RainCurve(THRESHOLDS, excess=7.0, highest=200.0)


def drawn(
    probabilities, noise, *, shift=(0.0, 0.0), inflow=None, advected=None, known=None, nodes=EVERY_CELL, curve=CURVE
):
    """Draw members from planes ``(threshold, y, x)`` at every cell and noise of the window of the grid."""
    rows, columns = noise.shape[1:]
    places = np.indices(probabilities.shape[1:]) * nodes.factor + nodes.offset
    departures = (places - np.reshape(shift, (2, 1, 1))).astype(np.float32)
    planes = CurvePlanes(probabilities.astype(np.float32), inflow, nodes, departures, departures, nodes)
    zeros = np.zeros((rows, columns), np.float32)
    advected = zeros if advected is None else advected
    out = np.empty(noise.shape, np.float32)
    window, factor = LatticeWindow(0, 0, rows, columns), np.ones((rows, columns), np.float32)
    return draw(
        planes, curve, advected, zeros if known is None else known, noise.astype(np.float32), window, factor, out
    )


def uniform(probabilities, shape):
    return np.broadcast_to(np.reshape(probabilities, (-1, 1, 1)), (len(probabilities), *shape))


def test_rain_is_the_quantile_of_the_noise():
    p = np.array([0.5, 0.2, 0.05])
    z = np.linspace(-2, 3, 150).reshape(1, 1, 150)
    cutoffs = -ndtri(p)
    logs = np.log(THRESHOLDS)
    expected = np.exp(np.interp(z, cutoffs, logs))
    expected = np.where(z > cutoffs[-1], 10 + 7 * (log_ndtr(-cutoffs[-1]) - log_ndtr(-z)), expected)
    expected = np.where(z < cutoffs[0], 0, expected)
    found = drawn(uniform(p, (1, 150)), z)
    clear = np.abs(z - cutoffs[0]) > 1e-3
    np.testing.assert_allclose(found[clear], expected[clear], rtol=5e-3)


def test_the_highest_rate_is_held():
    noise = np.full((1, 1, 4), 6.0)
    assert (drawn(uniform([0.9, 0.8, 0.7], (1, 4)), noise, curve=RainCurve(THRESHOLDS, 40.0, 50.0)) == 50.0).all()


def test_certainty_and_impossibility():
    noise = np.random.default_rng(0).standard_normal((200, 3, 70))
    assert (drawn(uniform([0, 0, 0], (3, 70)), noise) == 0).all()
    assert (drawn(uniform([1, 0, 0], (3, 70)), noise) >= 0.0999).all()
    wet = drawn(uniform([1, 0, 0], (3, 70)), noise)
    assert (wet < 1.0).mean() > 0.999


def test_the_share_of_members_is_the_probability():
    generator = np.random.default_rng(1)
    p = np.sort(generator.uniform(0, 1, (3, 20, 70)), axis=0)[::-1]
    members = drawn(p, generator.standard_normal((2000, 20, 70)))
    for k, threshold in enumerate(THRESHOLDS):
        share = (members >= threshold * (1 - 1e-3)).mean(axis=0)
        z = (share - p[k]) / np.sqrt(p[k] * (1 - p[k]) / 2000 + 1e-9)
        assert abs(z.mean()) < 0.15
        assert abs(z.std() - 1) < 0.1


def test_air_brings_its_curve_and_its_noise():
    p = np.zeros((3, 12, 80))
    p[:, 4, 30] = 0.9, 0.5, 0.1
    noise = np.zeros((1, 12, 80))
    noise[0, 4, 30] = 0.4
    found = drawn(p, noise, shift=(3.0, 20.0))
    assert (found > 0.1).sum() == 1
    assert found[0, 7, 50] > 1.0


def test_between_nodes_probabilities_are_interpolated():
    p = np.zeros((3, 3, 5))
    p[:, :, 2:] = 1.0
    noise = np.zeros((1, 9, 17))
    found = drawn(p, noise, nodes=Nodes(4, 1.5))
    assert (found[0, :, :7] == 0).all()
    assert (found[0, :, 8:] >= 10).all()


def test_unknown_is_unknown_in_all_members():
    noise = np.random.default_rng(2).standard_normal((5, 6, 100))
    advected = np.zeros((6, 100), np.float32)
    advected[:, :30] = np.nan
    known = advected.copy()
    inflow = np.full((3, 6, 100), 0.9, np.float32)
    inflow[:, :, :10] = np.nan
    known[:, 10:30] = 0
    without = drawn(uniform([0.5, 0.2, 0.1], (6, 100)), noise, advected=advected)
    assert np.isnan(without[:, :, :30]).all()
    assert np.isfinite(without[:, :, 30:]).all()
    with_inflow = drawn(uniform([0.5, 0.2, 0.1], (6, 100)), noise, advected=advected, inflow=inflow, known=known)
    assert np.isnan(with_inflow[:, :, :10]).all()
    assert (with_inflow[:, :, 11:30] > 0.1).mean() > 0.8
    np.testing.assert_array_equal(with_inflow[:, :, 30:], without[:, :, 30:])
    hidden = drawn(uniform([0.5, 0.2, 0.1], (6, 100)), noise, known=np.full((6, 100), np.nan, np.float32))
    assert np.isnan(hidden).all()


def test_threads_change_nothing(set_threads):
    generator = np.random.default_rng(3)
    p = np.sort(generator.uniform(0, 1, (3, 150, 90)), axis=0)[::-1]
    noise = generator.standard_normal((6, 150, 90))
    set_threads(1)
    one = drawn(p, noise, shift=(2.3, -4.7))
    set_threads(2)
    np.testing.assert_array_equal(drawn(p, noise, shift=(2.3, -4.7)), one)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (5, 1), (130, 65)])
def test_any_grid(shape):
    noise = np.random.default_rng(4).standard_normal((2, *shape))
    found = drawn(uniform([0.9, 0.8, 0.7], shape), noise)
    assert np.isfinite(found).all()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        drawn(uniform([0.5, 0.2, 0.1], (4, 4)), np.zeros((1, 4, 4)), known=np.zeros((3, 4), np.float32))
