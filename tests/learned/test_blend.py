"""Weights of members: what is learned, and what hindcasts change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridcast.learned.blend import Blend, HindcastSettings, Scored, corrected, fit_blend, probability

THRESHOLDS = (0.5, 1.0)
LIVE = HindcastSettings()


def made(rows=4000, lead=30.0, seed=0, good=1.0, weight=1.0):
    """Log odds of a member that knows the odds (times `good`), and of one that guesses; what came."""
    generator = np.random.default_rng(seed)
    odds = (2 * generator.standard_normal(rows)).astype(np.float32)
    came = 2.0 * (generator.random(rows) < 1 / (1 + np.exp(-odds)))
    guessed = (2 * generator.standard_normal(rows)).astype(np.float32)
    scores = np.stack([np.stack([good * odds] * 2), np.stack([guessed] * 2)]).astype(np.float32)
    return Scored(lead, scores, came.astype(np.float32), np.full(rows, weight, np.float32))


def equal_blend(members=("knows", "guesses")):
    weights = np.zeros((2, 2, len(members) + 1), np.float32)
    weights[..., :-1] = 1 / len(members)
    return Blend(members, THRESHOLDS, (30.0, 60.0), weights)


def loss(blend, scored):
    """Mean of minus the logarithm of the probability given to what came, at the first threshold."""
    odds = blend.scores(scored.scores, scored.lead)[0]
    return np.logaddexp(0, np.where(scored.observed >= 0.5, -odds, odds)).mean()


# --- learned --------------------------------------------------------------------------------------------------


def test_equal_members_have_equal_weights():
    one = made()
    same = one._replace(scores=np.repeat(one.scores[:1], 3, axis=0))
    blend = fit_blend(("a", "b", "c"), THRESHOLDS, [same])
    np.testing.assert_allclose(blend.weights[0, 0, :3], 1 / 3, atol=0.03)
    np.testing.assert_allclose(np.ptp(blend.weights[..., :3], axis=-1), 0, atol=1e-4)


def test_a_useless_member_has_no_weight_and_none_is_below_zero():
    blend = fit_blend(("knows", "guesses"), THRESHOLDS, [made(), made(lead=60.0, seed=1)])
    np.testing.assert_allclose(blend.weights[..., 0], 1, atol=0.1)
    assert (blend.weights[..., 1] >= 0).all()
    assert (blend.weights[..., 1] < 0.05).all()
    contrary = made()
    contrary.scores[1] = -contrary.scores[0] + contrary.scores[1]
    assert (fit_blend(("knows", "denies"), THRESHOLDS, [contrary]).weights[..., :2] >= 0).all()


def test_too_sure_members_are_calibrated():
    blend = fit_blend(("knows", "guesses"), THRESHOLDS, [made(good=3.0)])
    assert blend.weights[0, 0, 0] == pytest.approx(1 / 3, rel=0.1)


def test_without_evidence_all_weigh_the_same():
    none = made(rows=0)
    np.testing.assert_allclose(fit_blend(("a", "b"), THRESHOLDS, [none]).weights, [[[0.5, 0.5, 0]] * 2], atol=1e-6)


def test_weights_are_interpolated_in_lead_time():
    blend = equal_blend()
    blend.weights[1, :, 0] = 1.5
    assert blend.at(45)[0].tolist() == [1, 0.5, 0]
    assert blend.at(0)[0].tolist() == [0.5, 0.5, 0]
    assert blend.at(999)[1].tolist() == [1.5, 0.5, 0]
    scores = np.random.default_rng(0).standard_normal((2, 2, 5)).astype(np.float32)
    np.testing.assert_allclose(blend.scores(scores, 45), scores[0] + 0.5 * scores[1], atol=1e-6)


def test_probabilities_of_log_odds():
    scores = np.array([0.0, 2.0, -1e9, 1e9, np.nan], np.float32)
    found = probability(scores)
    np.testing.assert_allclose(found, [0.5, 1 / (1 + np.exp(-2)), 0, 1, np.nan], atol=2e-4)
    assert found[2] > 0
    assert found[3] < 1


# --- corrected ------------------------------------------------------------------------------------------------


def test_without_hindcasts_nothing_changes():
    blend = equal_blend()
    assert corrected(blend, [], LIVE) is blend
    assert corrected(blend, [made(rows=0)], LIVE) is blend


def test_little_evidence_changes_little_and_much_more():
    blend = equal_blend()

    def change(rows, settings=LIVE, count=1):
        hindcasts = [made(rows=rows, seed=k) for k in range(count)]
        return np.abs(corrected(blend, hindcasts, settings).weights - blend.weights).max()

    assert change(3) < 0.1
    assert change(3) < change(3000) < change(3000, count=20)
    assert change(3000, replace(LIVE, strength=1e6)) < 1e-2
    assert change(3000, replace(LIVE, evidence=1.0)) < 0.1


def test_neighbours_count_no_more_than_the_evidence_allows():
    """Three times the rows of one hindcast tell hardly more than one time."""
    blend = equal_blend()
    one = made(rows=3000)
    three = one._replace(
        scores=np.tile(one.scores, 3), observed=np.tile(one.observed, 3), weight=np.tile(one.weight, 3)
    )
    np.testing.assert_allclose(
        corrected(blend, [one], LIVE).weights, corrected(blend, [three], LIVE).weights, atol=1e-3
    )


def test_much_evidence_moves_towards_the_better_member_at_all_lead_times():
    blend = equal_blend()
    hindcasts = [made(rows=3000, seed=k) for k in range(20)]
    after = corrected(blend, hindcasts, LIVE)
    assert (after.weights[..., 0] > 0.8).all()
    assert (after.weights[..., 1] < 0.2).all()
    fresh = made(rows=20_000, seed=99)
    assert loss(after, fresh) < loss(blend, fresh) - 0.02
    np.testing.assert_array_equal(blend.weights, equal_blend().weights)  # the model is left as it is


def test_too_wet_members_are_made_drier():
    blend = equal_blend(("a", "b"))
    one = made(rows=3000)
    wet = one._replace(scores=np.repeat(one.scores[:1] + 2, 2, axis=0))
    after = corrected(blend, [wet] * 5, LIVE)
    assert (after.weights[..., -1] < -1).all()
    assert loss(after, wet) < loss(blend, wet) - 0.1


@settings(max_examples=40)
@given(
    st.integers(0, 40),
    st.sampled_from([0.0, 1.0, 9.0, 40.0]),
    st.sampled_from([0.0, 2.0, None]),
    st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_weights_are_never_nan(rows, scale, observed, weight):
    one = made(rows=rows, weight=weight)
    one = one._replace(scores=(scale * one.scores).astype(np.float32))
    if observed is not None:
        one = one._replace(observed=np.full(rows, observed, np.float32))
    assert np.isfinite(corrected(equal_blend(), [one, made(rows=10)], LIVE).weights).all()
    assert np.isfinite(fit_blend(("a", "b"), THRESHOLDS, [one]).weights).all()
