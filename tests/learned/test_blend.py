"""Weights of members that are learned from forecasts for events left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.member_forecasts import THRESHOLDS, draw_forecasts, equal_blend
from hybridcast.learned.blend import concatenate_forecasts, fit_blend
from hybridcast.learned.logistic import probability


def renamed(forecasts, **members):
    """Forecasts of members that say what others do: by the name of each the name of the other."""
    return forecasts._replace(log_odds={name: forecasts.log_odds[other] for name, other in members.items()})


# --- learned --------------------------------------------------------------------------------------------------


def test_equal_members_have_equal_weights():
    same = renamed(draw_forecasts(), a="knows", b="knows", c="knows")
    blend = fit_blend(("a", "b", "c"), THRESHOLDS, [same])
    np.testing.assert_allclose(blend.weights[0, 0, :3], 1 / 3, atol=0.03)
    np.testing.assert_allclose(np.ptp(blend.weights[..., :3], axis=-1), 0, atol=1e-4)


def test_a_useless_member_has_no_weight_and_none_is_below_zero():
    blend = fit_blend(("knows", "guesses"), THRESHOLDS, [draw_forecasts(), draw_forecasts(lead=60.0, seed=1)])
    np.testing.assert_allclose(blend.weights[..., 0], 1, atol=0.1)
    assert (blend.weights[..., 1] >= 0).all()
    assert (blend.weights[..., 1] < 0.05).all()
    one = draw_forecasts()
    contrary = {"knows": one.log_odds["knows"], "denies": one.log_odds["guesses"] - one.log_odds["knows"]}
    assert (fit_blend(("knows", "denies"), THRESHOLDS, [one._replace(log_odds=contrary)]).weights[..., :2] >= 0).all()


def test_the_blend_is_never_more_certain_than_its_members():
    """A member that is three times too sure loses weight, and very small odds are not raised by a constant."""
    sure = [draw_forecasts(good=3.0, lead=lead, seed=int(lead)) for lead in (15.0, 30.0, 45.0, 60.0)]
    blend = fit_blend(("knows", "guesses"), THRESHOLDS, sure)
    assert (blend.weights[..., 0] < 0.8).all()
    np.testing.assert_allclose(blend.weights.sum(axis=-1), 1, atol=1e-6)
    assert (blend.weights[..., -1] == 0).all()
    stacked = np.stack(list(sure[0].log_odds.values()))
    mixed = blend.log_odds(sure[0].log_odds, 15.0)
    assert (mixed >= stacked.min(axis=0) - 1e-5).all()
    assert (mixed <= stacked.max(axis=0) + 1e-5).all()


def test_without_evidence_all_weigh_the_same():
    none = renamed(draw_forecasts(rows=0), a="knows", b="guesses")
    np.testing.assert_allclose(fit_blend(("a", "b"), THRESHOLDS, [none]).weights, [[[0.5, 0.5, 0]] * 2], atol=1e-6)


def test_weights_are_interpolated_in_lead_time():
    blend = equal_blend()
    blend.weights[1, :, 0] = 1.5
    assert blend.weights_at(45)[0].tolist() == [1, 0.5, 0]
    assert blend.weights_at(0)[0].tolist() == [0.5, 0.5, 0]
    assert blend.weights_at(999)[1].tolist() == [1.5, 0.5, 0]
    scores = np.random.default_rng(0).standard_normal((2, 2, 5)).astype(np.float32)
    log_odds = {"guesses": scores[1], "other": scores[0] * np.nan, "knows": scores[0]}  # by name, in any order
    np.testing.assert_allclose(blend.log_odds(log_odds, 45), scores[0] + 0.5 * scores[1], atol=1e-6)


def test_probabilities_of_log_odds():
    scores = np.array([0.0, 2.0, -1e9, 1e9, np.nan], np.float32)
    found = probability(scores)
    np.testing.assert_allclose(found, [0.5, 1 / (1 + np.exp(-2)), 0, 1, np.nan], atol=2e-4)
    assert found[2] > 0
    assert found[3] < 1


def test_forecasts_are_put_together_lead_by_lead_with_the_members_of_all():
    first, second, later = (
        draw_forecasts(rows=5),
        renamed(draw_forecasts(rows=3, seed=1), guesses="guesses"),
        draw_forecasts(rows=2, lead=60.0),
    )
    found = concatenate_forecasts([[first, later], [second]])
    assert [one.lead_minutes for one in found] == [30.0, 60.0]
    assert [list(one.log_odds) for one in found] == [["guesses"], ["knows", "guesses"]]
    assert found[0].log_odds["guesses"].shape == (2, 8)
    np.testing.assert_array_equal(found[0].observed, np.concatenate([first.observed, second.observed]))
    kept = found[0].select(found[0].observed > 0)
    assert (kept.observed > 0).all()
    assert kept.log_odds["guesses"].shape[1] == kept.observed.size == kept.weight.size


@settings(max_examples=40)
@given(
    st.integers(0, 40),
    st.sampled_from([0.0, 1.0, 9.0, 40.0]),
    st.sampled_from([0.0, 2.0, None]),
    st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_weights_are_never_nan(rows, scale, observed, weight):
    one = draw_forecasts(rows=rows, weight=weight)
    one = one._replace(log_odds={name: np.float32(scale) * values for name, values in one.log_odds.items()})
    if observed is not None:
        one = one._replace(observed=np.full(rows, observed, np.float32))
    weights = fit_blend(("knows", "guesses"), THRESHOLDS, [one]).weights
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6)
