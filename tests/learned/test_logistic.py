"""Logistic regressions against Newton's method written out, and what bounds and ridge promise."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.learned.logistic import (
    MAX_LOG_ODDS,
    NEIGHBOURHOOD,
    SCALES,
    LogisticMember,
    fit_logistic,
    fit_logistic_member,
    transform_predictors,
)
from hybridcast.predictors.registry import RADAR_PREDICTORS

TRUTH = np.array([1.5, -0.8, 0.3])  # the constant last


def drawn(rows=20_000, seed=0, offset=0.0):
    generator = np.random.default_rng(seed)
    inputs = generator.standard_normal((rows, 2))
    odds = inputs @ TRUTH[:2] + TRUTH[2] + offset
    return inputs, generator.random(rows) < 1 / (1 + np.exp(-odds))


def newton(inputs, happened, weight, strength, centre, offset=0.0):
    """Solve for the zero of the slope of the penalised likelihood."""
    design = np.column_stack([inputs, np.ones(len(inputs))])
    coefficients = np.array(centre, float)
    for _ in range(30):
        chance = 1 / (1 + np.exp(-(design @ coefficients + offset)))
        slope = design.T @ (weight * (chance - happened)) + strength * (coefficients - centre)
        curvature = (design * (weight * chance * (1 - chance))[:, None]).T @ design + strength * np.eye(design.shape[1])
        coefficients = coefficients - np.linalg.solve(curvature, slope)
    return coefficients


def test_known_coefficients_are_found():
    inputs, happened = drawn()
    np.testing.assert_allclose(fit_logistic(inputs, happened, np.ones(20_000)), TRUTH, atol=0.06)


@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("strength", [0.5, 20.0, 2000.0])
def test_it_is_the_minimum_that_newton_finds(strength, offset):
    inputs, happened = drawn(500, offset=offset)
    weight = np.random.default_rng(3).uniform(0.1, 3, 500)
    centre = np.array([1.0, 1.0, -1.0])
    shift = np.full(500, offset)
    found = fit_logistic(inputs, happened, weight, centre=centre, strength=strength, offset=shift)
    np.testing.assert_allclose(found, newton(inputs, happened, weight, strength, centre, shift), atol=2e-3)


def test_weights_are_so_many_observations():
    inputs, happened = drawn(300)
    twice = fit_logistic(np.vstack([inputs, inputs]), np.tile(happened, 2), np.ones(600))
    np.testing.assert_allclose(fit_logistic(inputs, happened, np.full(300, 2.0)), twice, atol=1e-3)


def test_a_strong_ridge_holds_the_centre_and_no_rows_give_it():
    inputs, happened = drawn(100)
    centre = np.array([0.5, 0.5, 0.0])
    held = fit_logistic(inputs, happened, np.ones(100), centre=centre, strength=1e6)
    np.testing.assert_allclose(held, centre, atol=1e-3)
    nothing = fit_logistic(inputs[:0], happened[:0], np.ones(0), centre=centre, strength=10.0)
    np.testing.assert_allclose(nothing, centre, atol=1e-9)
    nearness = [
        np.abs(fit_logistic(inputs, happened, np.ones(100), centre=centre, strength=s) - centre).sum()
        for s in (1, 10, 100, 1000)
    ]
    assert nearness == sorted(nearness, reverse=True)


def test_bounds_hold_and_the_rest_is_fitted_given_them():
    inputs, happened = drawn()
    lowest = np.array([0.0, 0.0, -np.inf])
    found = fit_logistic(inputs, happened, np.ones(20_000), lowest=lowest)
    assert found[1] == 0  # the truth is below
    alone = fit_logistic(inputs[:, :1], happened, np.ones(20_000))
    np.testing.assert_allclose(found[[0, 2]], alone, atol=2e-3)


@pytest.mark.parametrize("always", [True, False])
def test_what_always_or_never_happens_stays_finite(always):
    inputs, _ = drawn(1000)
    found = fit_logistic(1e3 * inputs, np.full(1000, always), np.ones(1000))
    assert np.isfinite(found).all()
    assert (found[-1] > 0) == always


# --- members --------------------------------------------------------------------------------------------------


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
    plain, logit = (LogisticMember("one", ("wet_1_8",), (kind,), (60.0,), coefficients) for kind in ("none", "logit"))
    np.testing.assert_allclose(plain.scores(rows, 60.0)[0], [0.5, 1.5, 2.5], rtol=1e-6)
    expected = 0.5 + 2 * np.log([0.01 / 1.01, 1, 1.01 / 0.01])
    np.testing.assert_allclose(logit.scores(rows, 60.0)[0], np.clip(expected, -MAX_LOG_ODDS, MAX_LOG_ODDS), rtol=1e-5)


def test_columns_of_members_are_predictors():
    assert set(NEIGHBOURHOOD) | set(SCALES) <= set(RADAR_PREDICTORS)


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
    middle = member.scores(rows[:5], 37.5)
    np.testing.assert_allclose(middle, (member.scores(rows[:5], 15) + member.scores(rows[:5], 60)) / 2, atol=1e-3)
    rows[:, RADAR_PREDICTORS.index("filter")] = 1e4
    assert member.scores(rows, 15).max() == MAX_LOG_ODDS
    assert isinstance(member, LogisticMember)
