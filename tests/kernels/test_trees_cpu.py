"""Sums over trees against LightGBM's own predictions."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from hybridcast.errors import InputError
from hybridcast.learned.boosting import parse_forest
from hybridcast_kernels.trees_cpu import BLOCK, raw_scores

COLUMNS = 6


def rows_of(count, missing=0.2, seed=0):
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((count, COLUMNS)).astype(np.float32)
    rows[:, 3] = np.round(rows[:, 3])  # many equal values, zero among them
    rows[generator.random(rows.shape) < missing] = np.nan
    return rows


def trained(rows, *, rounds=5, labels=None, **options):
    """A booster of labels that depend on all columns, missing ones too."""
    if labels is None:
        odds = np.nan_to_num(rows, nan=0.7) @ np.array([1, -1, 0.5, 1, 0.2, 2.0]) + 2 * np.isnan(rows[:, 0])
        labels = odds > np.random.default_rng(1).standard_normal(len(rows))
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": 0, "min_data_in_leaf": 3} | options
    return lightgbm.train(parameters, lightgbm.Dataset(rows, labels.astype(np.float32)), num_boost_round=rounds)


def same(booster, rows):
    found = raw_scores(rows, parse_forest(booster.model_to_string()))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, booster.predict(rows, raw_score=True, num_threads=1), atol=1e-5)
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"num_leaves": 2},
        {"num_leaves": 24, "max_depth": 6},
        {"num_leaves": 200, "max_depth": -1, "min_data_in_leaf": 1},
        {"use_missing": False},
    ],
    ids=["stumps", "as trained", "deep", "missing as zero"],
)
def test_scores_are_lightgbms_with_values_missing(options):
    found = same(trained(rows_of(2000), **options), rows_of(3 * BLOCK + 7, seed=5))
    assert found.std() > 0.1


def test_deep_trees_are_deep():
    forest = parse_forest(trained(rows_of(2000), num_leaves=200, min_data_in_leaf=1).model_to_string())
    assert forest.depths.max() > 10


@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
def test_a_predictor_missing_for_the_first_time_goes_where_lightgbm_sends_it(shift):
    """Nothing was missing in training: LightGBM takes NaN as zero then, left or right of all thresholds or between."""
    seen = rows_of(2000, missing=0.0) + np.float32(shift)
    same(trained(seen), np.vstack([rows_of(400, missing=0.5) + np.float32(shift), np.full((1, COLUMNS), np.nan)]))


def test_values_at_the_thresholds_go_the_same_way():
    booster = trained(rows_of(2000), rounds=3)
    forest = parse_forest(booster.model_to_string())
    of_splits = forest.threshold[np.abs(forest.threshold) < np.finfo(np.float32).max]
    at = np.unique(of_splits[np.abs(of_splits) > 1e-30])  # LightGBM rounds what is smaller to zero
    near = np.concatenate([at, np.nextafter(at, np.float32(-np.inf)), np.nextafter(at, np.float32(np.inf))])
    same(booster, np.ascontiguousarray(np.repeat(near[:, None], COLUMNS, axis=1)))


def test_trees_of_one_leaf_give_their_constant():
    rows = rows_of(200)
    for labels in (np.zeros(200, bool), np.ones(200, bool), np.arange(200) % 2 > 0):
        found = same(trained(rows, labels=labels, min_data_in_leaf=150), rows)
        assert np.ptp(found) == 0


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_any_number_of_rows_by_any_number_of_threads(set_threads, count):
    booster = trained(rows_of(500))
    rows = rows_of(count, seed=2)
    forest = parse_forest(booster.model_to_string())
    set_threads(2)
    shared = raw_scores(rows, forest)
    set_threads(1)
    np.testing.assert_array_equal(shared, raw_scores(rows, forest))
    if count:
        same(booster, rows)


@pytest.mark.parametrize("rows", [np.zeros((4, 3), np.float32), np.zeros(6, np.float32)])
def test_too_few_columns_are_refused(rows):
    forest = parse_forest(trained(rows_of(500)).model_to_string())
    with pytest.raises(ValueError, match="the trees need 6 columns"):
        raw_scores(rows, forest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "nothing", "no tree"),
        (lambda text: text.replace("num_cat=0", "num_cat=1"), "categories"),
        (lambda text: text.replace("is_linear=0", "is_linear=1"), "linear leaves"),
        (lambda text: text.replace("decision_type=", "decision_type=4 ", 1), "zero as missing"),
    ],
)
def test_text_that_is_no_plain_forest_is_refused(change, message):
    text = trained(rows_of(500), rounds=1, num_leaves=3).model_to_string()
    changed = change(text)
    assert changed != text
    with pytest.raises(InputError, match=message):
        parse_forest(changed)


def test_zero_as_missing_is_refused():
    booster = trained(np.nan_to_num(rows_of(2000)), zero_as_missing=True)
    with pytest.raises(InputError, match="only NaN is missing"):
        parse_forest(booster.model_to_string())
