"""Boosted trees: consistent over thresholds, repeatable, and as LightGBM says."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from hybridcast.errors import InputError
from hybridcast.learned.boosting import BoostedTrees, BoostingSettings, drop_groups, enforce_decreasing, train_trees
from hybridcast.learned.member import MemberInputs
from hybridcast.learned.training.samples import Samples
from hybridcast.predictors.registry import ALL_PREDICTORS, PREDICTORS, RADAR_PREDICTORS

SETTINGS = BoostingSettings(trees=6, leaves=8, threads=1)
THRESHOLDS = (0.1, 1.0, 5.0)
ANY = of_numpy.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(-30, 30, width=32)
)


def samples(rows=3000, seed=0):
    generator = np.random.default_rng(seed)
    predictors = generator.standard_normal((rows, len(RADAR_PREDICTORS))).astype(np.float32)
    predictors[generator.random(predictors.shape) < 0.05] = np.nan
    observed = np.exp(1.5 * np.nan_to_num(predictors[:, 0]) + generator.standard_normal(rows)).astype(np.float32)
    ones = np.ones(rows, np.float32)
    return Samples(predictors, observed, ones, 15 * ones, np.zeros(rows, np.int32), np.zeros((rows, 2), np.float32))


def log_odds(trees, rows):
    return trees.log_odds(MemberInputs(rows, np.zeros((len(rows), 2))), 15.0)


@pytest.fixture(scope="module")
def boosting():
    return train_trees("boosting", RADAR_PREDICTORS, samples(), np.ones(3000, np.float32), SETTINGS, THRESHOLDS)


@given(ANY)
def test_made_decreasing_scores_fall_and_stay_within_what_was_said(scores):
    found = enforce_decreasing(scores)
    assert (np.diff(found, axis=0) <= 1e-5).all()
    assert (found <= scores.max(axis=0) + 1e-5).all()
    assert (found >= scores.min(axis=0) - 1e-5).all()


@given(ANY)
def test_making_decreasing_twice_is_as_once_and_falling_scores_stay(scores):
    once = enforce_decreasing(scores)
    np.testing.assert_allclose(enforce_decreasing(once), once, atol=1e-5)
    falling = np.sort(scores, axis=0)[::-1]
    np.testing.assert_array_equal(enforce_decreasing(falling), falling)


def test_scores_decrease_along_thresholds_for_any_row(boosting):
    rows = samples(500, seed=4).predictors * 3
    found = log_odds(boosting, rows)
    assert found.shape == (3, 500)
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=0) <= 1e-5).all()


def test_scores_are_those_of_lightgbm_made_decreasing(boosting):
    rows = samples(300, seed=5).predictors
    theirs = [lightgbm.Booster(model_str=text).predict(rows, raw_score=True) for text in boosting.texts]
    np.testing.assert_allclose(log_odds(boosting, rows), enforce_decreasing(np.array(theirs)), atol=1e-5)


def test_it_learns_and_does_so_the_same_way_twice(boosting):
    again = train_trees("boosting", RADAR_PREDICTORS, samples(), np.ones(3000, np.float32), SETTINGS, THRESHOLDS)
    assert again.texts == boosting.texts
    other = samples(1000, seed=6)
    wet = other.observed >= 1
    scores = log_odds(boosting, other.predictors)[1]
    assert scores[wet].mean() > scores[~wet].mean() + 0.3


def test_weights_count():
    drawn = samples()
    wet_counts = np.where(drawn.observed >= 1, 10, 1).astype(np.float32)
    heavy = train_trees("boosting", RADAR_PREDICTORS, drawn, wet_counts, SETTINGS, THRESHOLDS)
    light = train_trees("boosting", RADAR_PREDICTORS, drawn, np.ones(3000, np.float32), SETTINGS, THRESHOLDS)
    assert log_odds(heavy, drawn.predictors)[1].mean() > log_odds(light, drawn.predictors)[1].mean() + 1


def test_a_threshold_never_reached_is_no_trouble():
    found = train_trees("boosting", RADAR_PREDICTORS, samples(), np.ones(3000, np.float32), SETTINGS, (0.1, 1e6))
    scores = log_odds(found, samples(50).predictors)
    assert np.isfinite(scores).all()
    assert scores[1].max() < -9


def test_fewer_predictors_in_another_order_are_taken_by_name(boosting):
    names = ("lead_time", "rate", "mean_4")
    drawn = samples()
    columns = [RADAR_PREDICTORS.index(name) for name in names]
    data = lightgbm.Dataset(drawn.predictors[:, columns], (drawn.observed > 1).astype(np.float32))
    booster = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, num_boost_round=3)
    small = BoostedTrees("small", (booster.model_to_string(),), (1.0,), names)
    expected = booster.predict(drawn.predictors[:, columns], raw_score=True)
    np.testing.assert_allclose(log_odds(small, drawn.predictors)[0], expected, atol=1e-5)


def test_groups_are_left_out_of_whole_issue_times():
    groups = ("station", "terrain")
    rows = np.random.default_rng(0).normal(size=(6000, len(ALL_PREDICTORS))).astype(np.float32)
    case = (np.arange(6000) // 100).astype(np.int32)
    out = drop_groups(rows, case, groups, 0)
    for group in groups:
        columns = [k for k, predictor in enumerate(PREDICTORS) if predictor.group == group]
        gone = np.isnan(out[:, columns]).all(axis=1)
        assert 0.1 < gone.mean() < 0.5
        for one in np.unique(case):
            assert len(set(gone[case == one])) == 1
    others = [k for k, predictor in enumerate(PREDICTORS) if predictor.group not in groups]
    np.testing.assert_array_equal(out[:, others], rows[:, others])


@pytest.mark.parametrize("thresholds", [(0.1, 1.0), (0.1, 5.0, 1.0), (0.1, 1.0, 1.0)])
def test_models_that_do_not_fit_their_thresholds_are_refused(boosting, thresholds):
    with pytest.raises(InputError, match="there is a model for each threshold"):
        BoostedTrees("boosting", boosting.texts, thresholds)
