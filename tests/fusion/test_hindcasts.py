"""Hindcasts, and weights adapted by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import synthetic
from helpers.member_forecasts import draw_forecasts, equal_blend
from hybridcast.core.grid import coarsen
from hybridcast.fusion.hindcasts import HindcastSettings, adapt_weights, make_hindcasts
from hybridcast.learned.blend import concatenate_forecasts

SETTINGS = HindcastSettings()


def loss(blend, forecasts):
    """Return the mean of minus the logarithm of the probability given to what came, at the first threshold."""
    odds = blend.log_odds(forecasts.log_odds, forecasts.lead_minutes)[0]
    return np.logaddexp(0, np.where(forecasts.observed >= 0.5, -odds, odds)).mean()


def test_hindcasts_use_frames_up_to_the_issue_time_only(small_model):
    """And the members of a hindcast get nothing later than its own issue time."""
    rain = synthetic.rain(
        (64, 72), synthetic.translation(1.5, -1.0), frames=25, later=6, seen=synthetic.disc((64, 72), 0.6), cell=5.0
    )
    members = [small_model.members[name] for name in small_model.blend.members]
    few_cells = HindcastSettings(cells=200)
    known = coarsen(rain[:25], small_model.spacing)
    found = make_hindcasts(members, known, few_cells)
    assert [one.lead_minutes for one in found] == [30, 30, 60]
    values = known.values.copy()
    values[19:] = np.where(np.isnan(values[19:]), np.nan, 80)  # after the issue time of the hindcast of 30 min ago
    other = make_hindcasts(members, known.copy(data=values), few_cells)
    for name in small_model.blend.members:
        np.testing.assert_array_equal(found[0].log_odds[name], other[0].log_odds[name])
    assert (other[0].observed == 80).all()
    assert not (found[0].observed == 80).any()
    for one in found:
        assert np.isfinite(one.observed).all()
        assert one.observed.size == one.weight.size <= 200
        for log_odds in one.log_odds.values():
            assert np.isfinite(log_odds).all()
            assert log_odds.shape[1] == one.observed.size


# --- adapted ------------------------------------------------------------------------------------------------


def test_without_hindcasts_nothing_changes():
    blend = equal_blend()
    assert adapt_weights(blend, [], SETTINGS) is blend
    assert adapt_weights(blend, [draw_forecasts(rows=0)], SETTINGS) is blend


def test_little_evidence_changes_little_and_much_more():
    blend = equal_blend()

    def change(rows, settings=SETTINGS, count=1):
        hindcasts = [draw_forecasts(rows=rows, seed=k) for k in range(count)]
        return np.abs(adapt_weights(blend, hindcasts, settings).weights - blend.weights).max()

    assert change(3) < 0.1
    assert change(3) < change(3000) < change(3000, count=20)
    assert change(3000, replace(SETTINGS, ridge=1e6)) < 1e-2
    assert change(3000, replace(SETTINGS, evidence=1.0)) < 0.1


def test_neighbours_count_no_more_than_the_evidence_allows():
    """Three times the rows of one hindcast tell hardly more than one time."""
    blend = equal_blend()
    one = draw_forecasts(rows=3000)
    three = concatenate_forecasts([[one]] * 3)[0]
    np.testing.assert_allclose(
        adapt_weights(blend, [one], SETTINGS).weights, adapt_weights(blend, [three], SETTINGS).weights, atol=1e-3
    )


def test_much_evidence_moves_towards_the_better_member_at_all_lead_times():
    blend = equal_blend()
    hindcasts = [draw_forecasts(rows=3000, seed=k) for k in range(20)]
    after = adapt_weights(blend, hindcasts, SETTINGS)
    assert (after.weights[..., 0] > 0.8).all()
    assert (after.weights[..., 1] < 0.2).all()
    fresh = draw_forecasts(rows=20_000, seed=99)
    assert loss(after, fresh) < loss(blend, fresh) - 0.02
    np.testing.assert_array_equal(blend.weights, equal_blend().weights)  # the model is left as it is


def test_too_wet_members_are_made_drier():
    blend = equal_blend(("a", "b"))
    one = draw_forecasts(rows=3000)
    wet = one._replace(log_odds={name: one.log_odds["knows"] + 2 for name in ("a", "b")})
    after = adapt_weights(blend, [wet] * 5, SETTINGS)
    assert (after.weights[..., -1] < -1).all()
    assert loss(after, wet) < loss(blend, wet) - 0.1


@settings(max_examples=40)
@given(
    st.integers(0, 40),
    st.sampled_from([0.0, 1.0, 9.0, 40.0]),
    st.sampled_from([0.0, 2.0, None]),
    st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_adapted_weights_are_never_nan(rows, scale, observed, weight):
    one = draw_forecasts(rows=rows, weight=weight)
    one = one._replace(log_odds={name: np.float32(scale) * values for name, values in one.log_odds.items()})
    if observed is not None:
        one = one._replace(observed=np.full(rows, observed, np.float32))
    assert np.isfinite(adapt_weights(equal_blend(), [one, draw_forecasts(rows=10)], SETTINGS).weights).all()
