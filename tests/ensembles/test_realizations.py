"""Where the noise of members comes from."""

from __future__ import annotations

import numpy as np

from hybridcast.ensembles.noise import FITTED, MemberCount, MemberNoise
from hybridcast.ensembles.realizations import NOISE_SMOOTHING, Realizations, origins_of_noise
from hybridcast_kernels.realizations_cpu import CurvePlanes, Nodes, RainCurve

NODES = Nodes(4, 1.5)
STARTS = (np.indices((40, 50)) * NODES.factor + NODES.offset).astype(np.float32)


def test_uniform_motion_carries_noise_with_the_air():
    departures = (STARTS - np.reshape([7.5, -31.0], (2, 1, 1)))[None].astype(np.float32)
    np.testing.assert_allclose(origins_of_noise(departures, NODES, 2.0), departures, atol=1e-3)


def test_noise_is_not_deformed_by_narrow_features_of_the_motion():
    wave = 20 * np.sin(2 * np.pi * STARTS[1] / (NOISE_SMOOTHING / 2.0))  # as long as the deviation
    departures = STARTS[None].copy()
    departures[0, 1] += wave.astype(np.float32)
    origins = origins_of_noise(departures, NODES, 2.0)
    assert np.abs(origins - STARTS)[..., 15:-15].max() < 1  # beyond, the end of the grid cuts a wave


def test_noise_from_outside_the_grid_is_not_that_of_its_edge():
    shape, leads = (24, 30), np.array([60.0], np.float32)
    places = Nodes(1, 0.0)
    here = np.indices(shape).astype(np.float32)
    origins = here - np.reshape([9.0, 12.0], (2, 1, 1)).astype(np.float32)  # a third of the grid is outside
    curve = np.broadcast_to(np.float32(0.999), (1, *shape)).copy()
    known = np.zeros((1, *shape), np.float32)
    noise = MemberNoise(FITTED.on_grid(2.0, 4, leads.astype(np.float64)), MemberCount(2, 0))
    planes = CurvePlanes(curve, None, places, here, origins, places)
    found = Realizations(
        lambda _: planes, RainCurve(np.array([0.1], np.float32), 8.0, 200.0), noise, leads, known, known
    ).at(0)
    assert (np.abs(np.diff(found[:, :9, :12], axis=2)) > 0).mean() > 0.9
    assert (np.abs(np.diff(found[:, :9, :12], axis=1)) > 0).mean() > 0.9
