"""How wet a forecast is to be where there is a model."""

from dataclasses import replace

import numpy as np
import pytest

from hybridcast.fusion.inflow import Inflow
from hybridcast.fusion.nwp_matching import LOG_FACTOR_PER_DECIBEL, NwpInformedTarget

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
    model = np.full((LEADS, *SHAPE), model_rate, np.float32)
    weights = np.full(LEADS, weight, np.float32)
    return NwpInformedTarget(frame, np.ones(SHAPE, bool), model, weights, Inflow(chances, rate, unknown))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_all_of_one_and_nothing_of_the_other(weight):
    values = made(weight=weight, outside=0).values(0, np.full(SHAPE, np.nan, np.float32))
    assert (values == 4).mean() == weight
    assert (values == 1).mean() == (1 - weight) / 2


def test_a_model_without_a_value_is_not_trusted():
    gone = replace(made(weight=1.0), nwp_rate=np.full((LEADS, *SHAPE), np.nan, np.float32))
    assert gone.nwp_weight.tolist() == [0.0, 0.0]
    assert made(weight=np.nan).nwp_weight.tolist() == [0.0, 0.0]


def test_chances_of_what_flows_in_are_put_beside_those_of_what_is_known():
    target = made()
    known = np.full((2, LEADS, *SHAPE), 0.1, np.float32)
    first, second = target.concatenate_cells(known)
    assert first.shape == (2, 600)
    assert second.shape == (2, 700)
    assert (second[:, 600:] == 0.5).all()


def test_values_are_those_of_frame_and_model_as_far_as_it_is_trusted():
    target = made(weight=0.25)
    rate = np.where(target.inflow.unknown[1], np.float32(8), np.float32(np.nan))
    values = target.values(1, rate)
    assert values.size == 700
    assert (np.diff(values) <= 0).all()
    assert [(values == rate).sum() for rate in (8, 4, 1, 0)] == [100, 150, 225, 225]


def test_nwp_rain_counts_as_far_as_it_is_weighted():
    target = made(weight=0.5)
    rain = np.where(np.arange(30) < 10, np.float32(10), np.float32(0)) * np.ones((LEADS, *SHAPE), np.float32)
    rain[0, :, 20:] = np.nan
    factor = target.nwp_factor(rain)
    np.testing.assert_allclose(factor[1, 0, [0, 10]], np.exp([LOG_FACTOR_PER_DECIBEL * 0.5 * 20, 0]), rtol=1e-6)
    np.testing.assert_allclose(factor[0, :, 20:], np.exp(LOG_FACTOR_PER_DECIBEL * 0.5 * 10), rtol=1e-6)


def test_nwp_of_no_weight_changes_no_rank():
    target = made(weight=0.0)
    assert (target.nwp_factor(np.full((LEADS, *SHAPE), 10, np.float32)) == 1).all()
    assert target.radar_weight.tolist() == [1.0, 1.0]


def test_dry_everywhere_gives_dry_values():
    target = made(frame_rate=0, model_rate=0, inflow_rate=0)
    assert not target.values(0, np.full(SHAPE, np.nan, np.float32)).any()
