"""Exceedance probabilities by boosted trees: one LightGBM model for each threshold, made consistent.

Late fusion by boosting as IMPROVER's RainForests has it, with the lead time as a predictor instead of a model each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.types import Array
from hybridcast.errors import InputError
from hybridcast.learned.training.samples import Samples
from hybridcast.predictors.registry import RADAR_PREDICTORS, select_columns
from hybridcast_kernels.trees_cpu import Forest, raw_scores

#: mm/h
THRESHOLDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class BoostingSettings:
    """Settings of the trees. Large leaves and few trees, because there are few events, however many rows."""

    trees: int = 60
    leaves: int = 24
    depth: int = 6
    learning_rate: float = 0.12
    least_rows: int = 1000
    """Rows in a leaf, at least, where there are 300,000 or more; a share of as much of fewer."""
    feature_share: float = 0.5
    row_share: float = 0.6
    ridge: float = 10.0
    bins: int = 63
    seed: int = 0
    threads: int = 1
    """More are faster where nothing else runs, and far slower where something does."""


@dataclass(frozen=True)
class Boosting:
    """Trained trees; `scores` gives the logarithm of the odds of each threshold.

    `predictors` names its inputs: those of the radar alone, those of all sources, or, in an older model, fewer and in
    another order.
    """

    texts: tuple[str, ...]
    """LightGBM's own text of each model."""
    thresholds: tuple[float, ...] = THRESHOLDS
    """mm h-1, increasing."""
    predictors: tuple[str, ...] = RADAR_PREDICTORS

    def __post_init__(self) -> None:
        """Refuse models that do not fit together."""
        if len(self.texts) != len(self.thresholds) or list(self.thresholds) != sorted(set(self.thresholds)):
            raise InputError(
                f"{len(self.texts)} models for the thresholds {self.thresholds}",
                "there is a model for each threshold, and thresholds increase",
                "Train the model again",
            )

    @cached_property
    def forests(self) -> tuple[Forest, ...]:
        """The trees as arrays."""
        return tuple(parse_forest(text) for text in self.texts)

    def scores(self, rows: Array) -> Array:
        """Return log odds that each threshold is reached.

        Parameters
        ----------
        rows
            Predictors, shape ``(row, predictor)``, in the order of `hybridcast.predictors.registry.ALL_PREDICTORS`.

        Returns
        -------
        ndarray
            float32, shape ``(threshold, row)``, decreasing along the thresholds.
        """
        rows = np.ascontiguousarray(select_columns(rows, self.predictors), np.float32)
        return decreasing(np.stack([raw_scores(rows, forest) for forest in self.forests]))


def decreasing(scores: Array) -> Array:
    """Make scores fall along the first axis: the middle between the closest falling bounds from below and above."""
    above, below = scores.copy(), scores.copy()
    for k in range(1, len(scores)):  # several times as fast as the ufuncs' accumulate along a first axis
        np.maximum(above[-k - 1], above[-k], out=above[-k - 1])
        np.minimum(below[k], below[k - 1], out=below[k])
    above += below
    above *= np.float32(0.5)
    return above


def train_boosting(
    samples: Samples,
    weight: Array,
    settings: BoostingSettings | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    predictors: tuple[str, ...] = RADAR_PREDICTORS,
) -> Boosting:
    """Train a model for each threshold.

    Parameters
    ----------
    samples
        Predictors and observations.
    weight
        How much each row counts, shape ``(row,)``, instead of the samples' own.
    predictors
        Names of the predictors that the trees use.
    """
    import lightgbm

    settings = settings or BoostingSettings()
    parameters: dict[str, Any] = {
        "objective": "binary",
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "max_depth": settings.depth,
        "min_data_in_leaf": max(20, min(settings.least_rows, len(weight) // 300)),
        "feature_fraction": settings.feature_share,
        "bagging_fraction": settings.row_share,
        "bagging_freq": 1,
        "lambda_l2": settings.ridge,
        "max_bin": settings.bins,
        "feature_pre_filter": False,
        "num_threads": settings.threads,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(
        np.ascontiguousarray(select_columns(samples.predictors, predictors)),
        np.zeros(len(weight), np.float32),
        weight=weight / weight.mean(),
        feature_name=list(predictors),
        params=parameters,
        free_raw_data=False,
    )
    texts = []
    for threshold in thresholds:
        data.set_label((samples.observed >= np.float32(threshold)).astype(np.float32))
        booster = lightgbm.train(parameters, data, num_boost_round=settings.trees)
        texts.append(booster.model_to_string())
    return Boosting(tuple(texts), tuple(map(float, thresholds)), predictors)


# --- from LightGBM's text to arrays ---------------------------------------------------------------------------

#: Bits of LightGBM's decision types: a default to the left, and what counts as missing (2: NaN).
_LEFT, _MISSING, _NAN = 2, 12, 8


def parse_forest(text: str) -> Forest:
    """Read the trees out of LightGBM's model text.

    Raises
    ------
    InputError
        If it is no such text, or holds what these trees do not have (categories, linear leaves, zero as missing).
    """
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\nTree=")]
    if len(blocks) < 2:
        raise InputError("the text holds no tree", "it is LightGBM's model text", "Train the model again")
    trees: list[dict[str, NDArray[Any]]] = []
    nodes = 0
    for block in blocks[1:]:
        trees.append(_tree(block, nodes))
        nodes += trees[-1]["feature"].size
    return Forest(**{name: np.concatenate([tree[name] for tree in trees]) for name in Forest._fields})


def _tree(block: dict[str, str], first: int) -> dict[str, NDArray[Any]]:
    """Read one tree whose nodes start at `first`: splits, then leaves."""
    if block.get("num_cat", "0") != "0" or block.get("is_linear", "0") != "0":
        raise InputError("a tree has categories or linear leaves", "trees are plain", "Train the model again")
    leaves = np.array(block["leaf_value"].split(), np.float64)
    splits = leaves.size - 1  # one leaf alone is a stump
    decision = np.array(block.get("decision_type", "").split(), np.int32)
    threshold = np.array(block.get("threshold", "").split(), np.float64)
    missing = decision & _MISSING
    if not np.isin(missing, (0, _NAN)).all():
        raise InputError("a tree takes zero as missing", "only NaN is missing", "Train the model again")
    # where nothing was missing in training, LightGBM takes NaN as zero
    missing_left = np.where(missing == _NAN, (decision & _LEFT) > 0, threshold >= 0)
    children = np.empty((splits + leaves.size, 2), np.int64)
    for side, name in enumerate(("left_child", "right_child")):
        child = np.array(block.get(name, "").split(), np.int64)
        children[:splits, side] = np.where(child >= 0, child, splits + ~child)
    children[splits:] = np.arange(splits, splits + leaves.size)[:, None]
    no_split = np.zeros(leaves.size)
    return {
        "roots": np.array([first], np.uint32),
        "depths": np.array([_depth(children, splits)], np.uint32),
        "feature": np.append(np.array(block.get("split_feature", "").split(), np.uint32), no_split).astype(np.uint32),
        "threshold": _not_above(np.append(threshold, no_split)),
        "missing_right": np.append(~missing_left, no_split).astype(np.uint32),
        "children": (children + first).astype(np.uint32).ravel(),
        "values": np.append(np.zeros(splits), leaves).astype(np.float32),
    }


def _depth(children: NDArray[np.int64], splits: int) -> int:
    """Steps from the root, the first node, to the deepest leaf."""
    depth, level = 0, np.array([0])
    while (level < splits).any():
        level = np.unique(children[level[level < splits]])
        depth += 1
    return depth


def _not_above(threshold: NDArray[np.float64]) -> Array:
    """Largest float32 not above each threshold: for float32 values, comparisons come out the same."""
    nearest = threshold.astype(np.float32)
    too_high = nearest.astype(np.float64) > threshold
    return np.where(too_high, np.nextafter(nearest, np.float32(-np.inf)), nearest).astype(np.float32)
