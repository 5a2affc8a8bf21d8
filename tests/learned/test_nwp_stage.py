"""The stage with other sources: who speaks where, and what weights come out of what was left out."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.learned.blend import Blend, probability
from hybridcast.learned.boosting import BoostingSettings
from hybridcast.learned.nwp_stage import (
    ALONE,
    FUSED,
    OPTIONAL,
    NwpStage,
    _with_gaps,
    fit_stage,
    has_nwp,
    has_radar,
    nwp_rain_rate,
    source_answers,
    train_source_members,
)
from hybridcast.learned.training.samples import Samples
from hybridcast.predictors.registry import ALL_PREDICTORS, PREDICTORS

THRESHOLDS = (0.5, 1.0)
RATE, MODEL, LEAD = (ALL_PREDICTORS.index(name) for name in ("rate", "nwp_rate", "lead_time"))


def drawn(count=6000, *, truth="nwp", seed=0, case_size=100):
    """Rows on which rain follows the model, or the radar; half of the air is unknown to the radar."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count, len(ALL_PREDICTORS))).astype(np.float32)
    level = {"nwp": generator.uniform(0, 20, count), "radar": generator.uniform(0, 20, count)}
    rows[:, RATE] = level["radar"]
    for name in ("nwp_rate", "nwp_mean_8", "nwp_mean_32", "nwp_max_16", "nwp_shifted"):
        rows[:, ALL_PREDICTORS.index(name)] = level["nwp"]
    rows[::2, RATE] = np.nan
    lead = np.where(generator.random(count) < 0.5, 30.0, 120.0).astype(np.float32)
    rows[:, LEAD] = lead
    observed = (0.1 * 10 ** (level[truth] / 10)).astype(np.float32)
    ones = np.ones(count, np.float32)
    case = (np.arange(count) // case_size).astype(np.int32)
    return Samples(rows, observed, ones, lead, case, np.zeros((count, 2), np.float32))


def radar_scores(rows, lead):
    """One member of the radar: sure of rain where the radar has 10 dB or more."""
    odds = np.where(np.nan_to_num(rows[:, RATE]) >= 10, 4.0, -4.0).astype(np.float32)
    return [np.stack([odds, odds - 1])]


@pytest.fixture(scope="module", params=["nwp", "radar"])
def stage(request):
    settings = BoostingSettings(trees=15, leaves=8, least_rows=20)
    learned = drawn(truth=request.param)
    members = train_source_members(learned, learned.weight, settings, THRESHOLDS)
    left_out = drawn(truth=request.param, seed=1)
    answers = source_answers(members, radar_scores, left_out, left_out.weight)
    return request.param, fit_stage(members, ["radar"], answers, THRESHOLDS), left_out


def test_weights_go_to_who_is_right(stage):
    truth, made, _ = stage
    assert made.inside.members == ("radar", ALONE, FUSED)
    assert made.outside.members == (ALONE, FUSED)
    rows = drawn(seed=2).predictors
    odds = np.concatenate(radar_scores(rows, 30.0))
    _, weight = made.instead(odds, odds[None], rows, 30.0)
    assert weight > 0.6 if truth == "nwp" else weight < 0.4


def test_it_is_good_on_what_was_left_out(stage):
    truth, made, left_out = stage
    rows = left_out.predictors[left_out.lead == 30]
    happened = left_out.observed[left_out.lead == 30] >= 1
    odds = np.concatenate(radar_scores(rows, 30.0))
    chance = probability(made.instead(odds, odds[None], rows, 30.0)[0])[1]
    known = has_radar(rows)
    inside = np.mean((chance[known] - happened[known]) ** 2)
    outside = np.mean((chance[~known] - happened[~known]) ** 2)
    assert inside < 0.05
    assert outside < 0.05 if truth == "nwp" else outside < 0.27  # nobody knows: climate gives .25


def test_rows_without_a_model_are_left_as_they_were(stage):
    _, made, _ = stage
    rows = drawn(seed=3).predictors[:300]
    rows[:100, MODEL] = np.nan
    odds = np.concatenate(radar_scores(rows, 30.0))
    out, _ = made.instead(odds, odds[None], rows, 30.0)
    np.testing.assert_array_equal(out[:, :100], odds[:, :100])
    assert (out[:, 100:] != odds[:, 100:]).mean() > 0.9
    none, weight = made.instead(odds[:, :100], odds[None, :, :100], rows[:100], 30.0)
    np.testing.assert_array_equal(none, odds[:, :100])
    assert np.isnan(weight)


def test_what_the_radar_says_of_air_it_does_not_know_counts_nothing(stage):
    _, made, _ = stage
    rows = drawn(seed=4).predictors[:200]
    rows[:, RATE] = np.nan
    one = np.zeros((1, 2, 200), np.float32)
    first, _ = made.instead(one[0], one, rows, 60.0)
    second, _ = made.instead(one[0] + 5, one + 5, rows, 60.0)
    np.testing.assert_array_equal(first, second)


def test_groups_are_left_out_of_whole_issue_times():
    samples = drawn()
    out = _with_gaps(samples.predictors, samples.case, 0)
    for group in OPTIONAL:
        columns = [k for k, predictor in enumerate(PREDICTORS) if predictor.group == group]
        gone = np.isnan(out[:, columns]).all(axis=1)
        assert 0.1 < gone.mean() < 0.5
        for case in np.unique(samples.case):
            assert len(set(gone[samples.case == case])) == 1
    others = [k for k, predictor in enumerate(PREDICTORS) if predictor.group not in OPTIONAL]
    np.testing.assert_array_equal(out[:, others], samples.predictors[:, others])


def test_too_few_rows_make_no_stage():
    samples = drawn(200)
    assert train_source_members(samples, samples.weight, BoostingSettings(), (0.1,) * 5) is None
    members = train_source_members(drawn(1000), np.ones(1000, np.float32), BoostingSettings(trees=2), THRESHOLDS)
    few = drawn(20)
    assert fit_stage(members, ["radar"], source_answers(members, radar_scores, few, few.weight), THRESHOLDS) is None


def test_rain_of_the_model_from_rows():
    rows = np.full((3, len(ALL_PREDICTORS)), np.nan, np.float32)
    rows[:, MODEL] = [np.nan, 0, 10]
    np.testing.assert_allclose(nwp_rain_rate(rows), [np.nan, 0, 1])
    assert has_nwp(rows).tolist() == [False, True, True]


def test_blends_are_those_of_a_stage(stage):
    _, made, _ = stage
    assert isinstance(made, NwpStage)
    assert all(isinstance(blend, Blend) for blend in (made.inside, made.outside))
    assert all((blend.weights[..., :-1] >= 0).all() for blend in (made.inside, made.outside))
