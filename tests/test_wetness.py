"""How wet a forecast is to be where there is a model."""

import numpy as np
import pytest

from hybridcast.inflow import Inflow
from hybridcast.wetness import Wetness
from hybridcast_kernels import scales_cpu

SHAPE, LEADS = (20, 30), 2
THRESHOLDS = (0.5, 2.0)


def made(*, weight=0.25, frame_rate=1.0, model_rate=4.0, inflow_rate=8.0, outside=5):
    """A frame that is wet in its lower half, a model that is wet everywhere, and `outside` columns that flow in."""
    frame = np.zeros(SHAPE, np.float32)
    frame[10:] = frame_rate
    unknown = np.zeros((LEADS, *SHAPE), bool)
    unknown[1, :, :outside] = True
    chances = np.where(unknown[None], np.float32(0.5), np.float32(np.nan)) * np.ones((2, 1, 1, 1), np.float32)
    rate = np.where(unknown, np.float32(inflow_rate), np.float32(np.nan))
    model = [np.full(400, model_rate, np.float32) for _ in range(LEADS)]
    weights = np.full(LEADS, weight, np.float32)
    return Wetness(frame, np.ones(SHAPE, bool), model, weights, Inflow(chances, rate, unknown))


def test_shares_are_those_of_frame_and_model_as_far_as_it_is_trusted():
    shares = made().shares(THRESHOLDS)
    np.testing.assert_allclose(shares[0], [0.75 * 0.5 + 0.25, 0.25])
    inside, outside = 600, 100
    np.testing.assert_allclose(shares[1], (inside * shares[0] + outside * np.ones(2)) / (inside + outside), rtol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_all_of_one_and_nothing_of_the_other(weight):
    shares = made(weight=weight).shares(THRESHOLDS)
    np.testing.assert_allclose(shares[0], [1.0, 1.0] if weight else [0.5, 0.0])


def test_a_model_without_a_value_is_not_trusted():
    wetness = made(weight=1.0)
    gone = wetness._replace(model=[np.full(400, np.nan, np.float32)] * LEADS)
    np.testing.assert_allclose(gone.shares(THRESHOLDS)[0], [0.5, 0.0])
    unweighed = made(weight=np.nan)
    np.testing.assert_allclose(unweighed.shares(THRESHOLDS)[0], [0.5, 0.0])


def test_chances_of_what_flows_in_are_put_beside_those_of_what_is_known():
    wetness = made()
    known = np.full((2, LEADS, *SHAPE), 0.1, np.float32)
    first, second = wetness.chances(known)
    assert first.shape == (2, 600)
    assert second.shape == (2, 700)
    assert (second[:, 600:] == 0.5).all()


def test_values_are_given_by_rank_to_both():
    """The highest ranks flow in, so they get the highest values, which are the model's there."""
    wetness = made(weight=0.25)
    ranking = np.linspace(0, 1, 600, dtype=np.float32).reshape(SHAPE)
    rate = np.where(wetness.inflow.unknown[1], np.float32(8), np.float32(np.nan))
    coming = np.where(np.isfinite(rate), np.float32(2), np.float32(np.nan))
    matching = wetness.matching(1, ranking, coming, rate)
    given = scales_cpu.matched(ranking[None].copy(), matching)[0]
    assert (scales_cpu.matched(np.nan_to_num(coming)[None], matching)[0][:, :5] == 8).all()
    assert (given == 4).mean() == pytest.approx(0.25, abs=0.02)
    assert (given == 1).mean() == pytest.approx(0.375, abs=0.02)
    assert (np.diff(given.ravel()) >= 0).all()


def test_dry_everywhere_gives_nothing_to_match():
    wetness = made(frame_rate=0, model_rate=0, inflow_rate=0)
    ranking = np.zeros(SHAPE, np.float32)
    assert wetness.matching(0, ranking, ranking, np.full(SHAPE, np.nan, np.float32)) == []
