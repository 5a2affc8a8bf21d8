"""The stage with NWP: which members count where, and the weights that come from events left out."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.datasets.events import Event
from hybridcast.learned.blend import Blend
from hybridcast.learned.boosting import BoostingSettings
from hybridcast.learned.logistic import probability
from hybridcast.learned.member import MemberInputs, evaluate_members
from hybridcast.learned.members import NWP_MEMBERS
from hybridcast.learned.nwp_stage import NEAR_COVERAGE, NwpStage, fit_nwp_weight
from hybridcast.learned.predictor_rows import has_nwp, has_radar, nwp_rain_rate
from hybridcast.learned.training.cross_validation import forecast_samples, train_members
from hybridcast.learned.training.event_samples import EventSamples
from hybridcast.learned.training.samples import Samples
from hybridcast.learned.training.settings import TrainingSettings
from hybridcast.learned.training.weights import fit_nwp_stage
from hybridcast.predictors.registry import ALL_PREDICTORS, RADAR_PREDICTORS

THRESHOLDS = (0.5, 1.0)
RATE, NWP, LEAD = (ALL_PREDICTORS.index(name) for name in ("rate", "nwp_rate", "lead_time"))
SETTINGS = TrainingSettings(boosting=BoostingSettings(trees=15, leaves=8, min_rows=20), thresholds=THRESHOLDS)


def drawn(count=6000, *, truth="nwp", seed=0, case_size=100):
    """Rows on which rain follows NWP, or the radar; half of the air is unknown to the radar."""
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


def event(samples):
    return [EventSamples(Event("event", "region", radar="x"), samples, samples.weight)]


class Radar:
    """One member of the radar: sure of rain where the radar has 10 dB or more."""

    name = "radar"
    predictors = ("rate",)
    thresholds = THRESHOLDS

    def log_odds(self, inputs, lead_minutes):
        odds = np.where(np.nan_to_num(inputs.predictors[:, RATE]) >= 10, 4.0, -4.0).astype(np.float32)
        return np.stack([odds, odds - 1])


def evaluated(members, rows, lead):
    """Log odds of the members by name, and those of the radar."""
    found = evaluate_members(members.values(), MemberInputs(rows, np.zeros((len(rows), 2))), lead)
    return found["radar"], found


@pytest.fixture(scope="module", params=["nwp", "radar"])
def stage(request):
    members = {"radar": Radar(), **train_members(event(drawn(truth=request.param)), SETTINGS, NWP_MEMBERS)}
    left_out = drawn(truth=request.param, seed=1)
    validation = forecast_samples(members, event(left_out))
    return request.param, fit_nwp_stage(validation, THRESHOLDS, ["radar"]), left_out, members


def test_weights_go_to_who_is_right(stage):
    truth, made, _, members = stage
    assert made.with_radar.members == ("radar", "nwp", "fused")
    assert made.without_radar.members == ("nwp", "fused")
    assert made.members == ("radar", "nwp", "fused")
    rows = drawn(seed=2).predictors
    _, overlap = made.reblend(*evaluated(members, rows, 30.0), rows, 30.0)
    weight = fit_nwp_weight([overlap])
    assert weight > 0.6 if truth == "nwp" else weight < 0.4


def test_it_is_good_on_what_was_left_out(stage):
    truth, made, left_out, members = stage
    rows = left_out.predictors[left_out.lead == 30]
    happened = left_out.observed[left_out.lead == 30] >= 1
    chance = probability(made.reblend(*evaluated(members, rows, 30.0), rows, 30.0)[0])[1]
    known = has_radar(rows)
    inside = np.mean((chance[known] - happened[known]) ** 2)
    outside = np.mean((chance[~known] - happened[~known]) ** 2)
    assert inside < 0.05
    assert outside < 0.05 if truth == "nwp" else outside < 0.27  # nobody knows: climate gives .25


def test_far_from_any_coverage_nwp_alone_counts(stage):
    _, made, _, members = stage
    rows = drawn(seed=4).predictors
    rows = rows[~has_radar(rows)][:400]
    known = ALL_PREDICTORS.index("known_64")
    rows[:200, known], rows[200:, known] = 0.0, 2 * NEAR_COVERAGE
    rows[:100, known] = np.nan
    radar, found = evaluated(members, rows, 30.0)
    result, _ = made.reblend(radar, found, rows, 30.0)
    np.testing.assert_allclose(result[:, :200], found["nwp"][:, :200], atol=1e-5)
    near = made.without_radar.log_odds({name: found[name] for name in made.without_radar.members}, 30.0)
    np.testing.assert_allclose(result[:, 200:], near[:, 200:], atol=1e-5)


def test_rows_without_nwp_are_left_as_they_were(stage):
    _, made, _, members = stage
    rows = drawn(seed=3).predictors[:300]
    rows[:100, NWP] = np.nan
    odds, every = evaluated(members, rows, 30.0)
    assert np.isnan(every["fused"][:, :100]).all()
    out, _ = made.reblend(odds, every, rows, 30.0)
    np.testing.assert_array_equal(out[:, :100], odds[:, :100])
    assert (out[:, 100:] != odds[:, 100:]).any(axis=0).mean() > 0.9
    none, overlap = made.reblend(*evaluated(members, rows[:100], 30.0), rows[:100], 30.0)
    np.testing.assert_array_equal(none, odds[:, :100])
    assert np.isnan(fit_nwp_weight([overlap]))


def test_what_the_radar_says_of_air_it_does_not_know_counts_nothing(stage):
    _, made, _, members = stage
    rows = drawn(seed=4).predictors[:200]
    rows[:, RATE] = np.nan
    odds, every = evaluated(members, rows, 60.0)
    first, _ = made.reblend(odds, every, rows, 60.0)
    second, _ = made.reblend(odds + 5, {**every, "radar": every["radar"] + 5}, rows, 60.0)
    np.testing.assert_array_equal(first, second)


def test_too_few_rows_make_no_stage():
    many = TrainingSettings(thresholds=(0.1, 0.2, 0.3, 0.4, 0.5))
    assert train_members(event(drawn(200)), many, NWP_MEMBERS) == {}
    few = TrainingSettings(boosting=BoostingSettings(trees=2), thresholds=THRESHOLDS)
    members = {"radar": Radar(), **train_members(event(drawn(1000)), few, NWP_MEMBERS)}
    assert fit_nwp_stage(forecast_samples(members, event(drawn(20))), THRESHOLDS, ["radar"]) is None


def test_rain_of_nwp_from_rows():
    rows = np.full((3, len(ALL_PREDICTORS)), np.nan, np.float32)
    rows[:, NWP] = [np.nan, 0, 10]
    np.testing.assert_allclose(nwp_rain_rate(rows), [np.nan, 0, 1])
    assert has_nwp(rows).tolist() == [False, True, True]
    of_radar = rows[:, : len(RADAR_PREDICTORS)]
    assert not has_nwp(of_radar).any()
    assert np.isnan(nwp_rain_rate(of_radar)).all()


def test_blends_are_those_of_a_stage(stage):
    _, made, *_ = stage
    assert isinstance(made, NwpStage)
    assert all(isinstance(blend, Blend) for blend in (made.with_radar, made.without_radar))
    assert all((blend.weights[..., :-1] >= 0).all() for blend in (made.with_radar, made.without_radar))
