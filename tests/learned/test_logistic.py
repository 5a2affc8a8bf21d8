"""Logistic regressions against Newton's method written out, and what bounds and ridge promise."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.learned.logistic import (
    MAX_LOG_ODDS,
    NEIGHBOURHOOD,
    SCALE_FILTER,
    LogisticMember,
    fit_logistic,
    fit_logistic_member,
    transform_predictors,
)
from hybridcast.learned.member import MemberInputs
from hybridcast.predictors.registry import RADAR_PREDICTORS

TRUTH = np.array([1.5, -0.8, 0.3])  # the constant last


def drawn(rows=20_000, seed=0, offset=0.0):
    generator = np.random.default_rng(seed)
    inputs = generator.standard_normal((rows, 2))
    odds = inputs @ TRUTH[:2] + TRUTH[2] + offset
    return inputs, generator.random(rows) < 1 / (1 + np.exp(-odds))


def newton(inputs, event, weight, ridge, centre, offset=0.0):
    """Solve for the zero of the slope of the penalised likelihood."""
    design = np.column_stack([inputs, np.ones(len(inputs))])
    coefficients = np.array(centre, float)
    for _ in range(30):
        chance = 1 / (1 + np.exp(-(design @ coefficients + offset)))
        slope = design.T @ (weight * (chance - event)) + ridge * (coefficients - centre)
        curvature = (design * (weight * chance * (1 - chance))[:, None]).T @ design + ridge * np.eye(design.shape[1])
        coefficients = coefficients - np.linalg.solve(curvature, slope)
    return coefficients


def test_known_coefficients_are_found():
    inputs, event = drawn()
    np.testing.assert_allclose(fit_logistic(inputs, event, np.ones(20_000)), TRUTH, atol=0.06)


@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("ridge", [0.5, 20.0, 2000.0])
def test_it_is_the_minimum_that_newton_finds(ridge, offset):
    inputs, event = drawn(500, offset=offset)
    weight = np.random.default_rng(3).uniform(0.1, 3, 500)
    centre = np.array([1.0, 1.0, -1.0])
    shift = np.full(500, offset)
    found = fit_logistic(inputs, event, weight, centre=centre, ridge=ridge, offset=shift)
    np.testing.assert_allclose(found, newton(inputs, event, weight, ridge, centre, shift), atol=2e-3)


def test_weights_are_so_many_observations():
    inputs, event = drawn(300)
    twice = fit_logistic(np.vstack([inputs, inputs]), np.tile(event, 2), np.ones(600))
    np.testing.assert_allclose(fit_logistic(inputs, event, np.full(300, 2.0)), twice, atol=1e-3)


def test_fractions_of_events_count_as_events_and_the_ridge_may_differ_between_coefficients():
    inputs, event = drawn(300)
    both = fit_logistic(np.vstack([inputs, inputs]), np.append(event, np.ones(300)), np.ones(600), ridge=5.0)
    fractions = fit_logistic(inputs, (event + 1) / 2, np.full(300, 2.0), ridge=np.full(3, 5.0))
    np.testing.assert_allclose(fractions, both, atol=1e-3)
    held = fit_logistic(inputs, event, np.ones(300), ridge=np.array([1e6, 0.0, 0.0]))
    assert abs(held[0]) < 1e-3 < abs(held[1])


def test_a_strong_ridge_holds_the_centre_and_no_rows_give_it():
    inputs, event = drawn(100)
    centre = np.array([0.5, 0.5, 0.0])
    held = fit_logistic(inputs, event, np.ones(100), centre=centre, ridge=1e6)
    np.testing.assert_allclose(held, centre, atol=1e-3)
    nothing = fit_logistic(inputs[:0], event[:0], np.ones(0), centre=centre, ridge=10.0)
    np.testing.assert_allclose(nothing, centre, atol=1e-9)
    nearness = [
        np.abs(fit_logistic(inputs, event, np.ones(100), centre=centre, ridge=s) - centre).sum()
        for s in (1, 10, 100, 1000)
    ]
    assert nearness == sorted(nearness, reverse=True)


@pytest.mark.parametrize("always", [True, False])
def test_what_always_or_never_happens_stays_finite(always):
    inputs, _ = drawn(1000)
    found = fit_logistic(1e3 * inputs, np.full(1000, always), np.ones(1000))
    assert np.isfinite(found).all()
    assert (found[-1] > 0) == always


# --- members --------------------------------------------------------------------------------------------------


def log_odds(member, rows, lead):
    return member.log_odds(MemberInputs(rows, np.zeros((len(rows), 2))), lead)


def test_inputs_are_finite_and_shares_are_spread():
    rows = np.full((4, len(RADAR_PREDICTORS)), np.nan, np.float32)
    share = RADAR_PREDICTORS.index("wet_1_8")
    rows[:, share] = [0, 0.5, 1, np.nan]
    rows[:, RADAR_PREDICTORS.index("filter")] = 7
    kept = rows.copy()
    found = transform_predictors(rows, ("filter", "wet_1_8", "mean_8"), ("none", "logit", "none"))
    np.testing.assert_allclose(found[:, 0], 7)
    np.testing.assert_allclose(found[:, 1], [np.log(0.01 / 1.01), 0, np.log(1.01 / 0.01), 0], atol=1e-5)
    np.testing.assert_array_equal(found[:, 2], 0)
    np.testing.assert_array_equal(rows, kept)


def test_a_member_keeps_the_transforms_it_was_fitted_with():
    rows = np.zeros((3, len(RADAR_PREDICTORS)), np.float32)
    rows[:, RADAR_PREDICTORS.index("wet_1_8")] = [0, 0.5, 1]
    coefficients = np.array([[[2.0, 0.5]]], np.float32)
    plain, logit = (
        LogisticMember("one", ("wet_1_8",), (kind,), (1.0,), (60.0,), coefficients) for kind in ("none", "logit")
    )
    np.testing.assert_allclose(log_odds(plain, rows, 60.0)[0], [0.5, 1.5, 2.5], rtol=1e-6)
    expected = 0.5 + 2 * np.log([0.01 / 1.01, 1, 1.01 / 0.01])
    np.testing.assert_allclose(
        log_odds(logit, rows, 60.0)[0], np.clip(expected, -MAX_LOG_ODDS, MAX_LOG_ODDS), rtol=1e-5
    )


def test_columns_of_members_are_predictors():
    assert set(NEIGHBOURHOOD) | set(SCALE_FILTER) <= set(RADAR_PREDICTORS)


def test_a_member_is_fitted_lead_by_lead_and_is_never_too_sure():
    generator = np.random.default_rng(0)
    rows = np.zeros((6000, len(RADAR_PREDICTORS)), np.float32)
    value = generator.standard_normal(6000).astype(np.float32)
    rows[:, RADAR_PREDICTORS.index("filter")] = value
    lead = np.repeat(np.array([15, 60], np.float32), 3000)
    skill = np.where(lead == 15, 3.0, 1.0)
    observed = (generator.random(6000) < 1 / (1 + np.exp(-skill * value))).astype(np.float32)
    member = fit_logistic_member("m", ("filter",), rows, observed, np.full(6000, 10, np.float32), lead, (0.5, 2.0))
    assert member.leads == (15.0, 60.0)
    assert member.coefficients.shape == (2, 2, 2)
    np.testing.assert_allclose(member.coefficients[:, 0, 0], [3, 1], rtol=0.15)
    middle = log_odds(member, rows[:5], 37.5)
    np.testing.assert_allclose(middle, (log_odds(member, rows[:5], 15) + log_odds(member, rows[:5], 60)) / 2, atol=1e-3)
    rows[:, RADAR_PREDICTORS.index("filter")] = 1e4
    assert log_odds(member, rows, 15).max() == MAX_LOG_ODDS
    assert isinstance(member, LogisticMember)
