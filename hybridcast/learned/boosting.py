"""Boosted trees as a member: a LightGBM model for each threshold, made consistent with each other.

Late fusion by boosting as IMPROVER's RainForests has it, with the lead time as a predictor instead of a model each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.extras import extra
from hybridcast.core.types import Array
from hybridcast.errors import InputError
from hybridcast.learned.member import MemberInputs, StoredParts
from hybridcast.predictors.predictor import Group
from hybridcast.predictors.registry import RADAR_PREDICTORS, index_of, names, select_columns
from hybridcast_kernels.trees_cpu import Forest, raw_scores

if TYPE_CHECKING:
    from hybridcast.learned.training.event_samples import TrainingData
    from hybridcast.learned.training.samples import Samples

#: Rain rates that members are trained for, mm/h.
THRESHOLDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Fraction of the issue times without a group of predictors in a training that has to do without it.
_DROPPED = 0.3


@dataclass(frozen=True)
class BoostingSettings:
    """Settings of the trees: large leaves and few trees, because the rows come from few events."""

    trees: int = 60
    """Number of trees for each threshold."""
    leaves: int = 24
    """Maximum number of leaves of a tree."""
    depth: int = 6
    """Maximum depth of a tree."""
    learning_rate: float = 0.12
    """Factor of the contribution of each tree."""
    min_rows: int = 1000
    """Minimum number of rows in a leaf for 300,000 rows or more; proportionally less for fewer."""
    predictor_fraction: float = 0.5
    """Fraction of the predictors that each tree is grown with."""
    row_fraction: float = 0.6
    """Fraction of the rows that each tree is grown with."""
    ridge: float = 10.0
    """L2 regularisation of the values of leaves."""
    bins: int = 63
    """Maximum number of bins of a predictor."""
    seed: int = 0
    """Seed of all random choices."""
    threads: int = 1
    """Number of threads. More are faster on an idle machine, and far slower on a busy one."""


@dataclass(frozen=True)
class BoostedTrees:
    """Trained trees."""

    name: str
    texts: tuple[str, ...]
    """LightGBM's own text of the model for each threshold."""
    thresholds: tuple[float, ...] = THRESHOLDS
    """mm h-1, increasing."""
    predictors: tuple[str, ...] = RADAR_PREDICTORS
    """Predictors that the trees use, in the order of the training."""

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

    def log_odds(self, inputs: MemberInputs, lead_minutes: float) -> Array:
        """Return the log odds that each threshold is reached, shape ``(threshold, row)``.

        They decrease along the thresholds. The lead time is one of the predictors.
        """
        rows = np.ascontiguousarray(select_columns(inputs.predictors, self.predictors), np.float32)
        return enforce_decreasing(np.stack([raw_scores(rows, forest) for forest in self.forests]))

    def to_parts(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return the entry in the manifest of a model and the parts, see `hybridcast.learned.member.Member`."""
        parts = {f"{self.name}-{t:g}.txt": text.encode() for t, text in zip(self.thresholds, self.texts, strict=True)}
        return {"kind": "trees"}, parts

    @classmethod
    def from_parts(cls, entry: Mapping[str, Any], stored: StoredParts) -> BoostedTrees:
        """Return the member of an entry in the manifest."""
        texts = tuple(stored.text(part) for part in entry["parts"])
        return cls(entry["name"], texts, stored.thresholds, tuple(entry["predictors"]))


def enforce_decreasing(log_odds: Array) -> Array:
    """Make log odds decrease along the first axis: the mean of the closest decreasing bounds from below and above."""
    above, below = log_odds.copy(), log_odds.copy()
    for k in range(1, len(log_odds)):  # several times as fast as the ufuncs' accumulate along a first axis
        np.maximum(above[-k - 1], above[-k], out=above[-k - 1])
        np.minimum(below[k], below[k - 1], out=below[k])
    above += below
    above *= np.float32(0.5)
    return above


# --- training -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TreesBuilder:
    """Training of boosted trees."""

    name: str
    predictors: tuple[str, ...]
    optional: bool = False
    dropped_groups: tuple[Group, ...] = ()
    """Groups of predictors left out of some issue times in training, so that the trees can do without them."""

    def train(self, data: TrainingData) -> BoostedTrees:
        """Train the trees on samples."""
        settings, samples = data.settings.boosting, data.samples
        if self.dropped_groups:
            predictors = drop_groups(samples.predictors, samples.case, self.dropped_groups, settings.seed)
            samples = samples._replace(predictors=predictors)
        return train_trees(self.name, self.predictors, samples, data.weight, settings, data.settings.thresholds)


def drop_groups(predictors: Array, case: NDArray[np.int32], groups: Sequence[Group], seed: int) -> Array:
    """Set each of some groups of predictors to NaN in some issue times, independently.

    Parameters
    ----------
    predictors
        Shape ``(row, predictor)``.
    case
        Number of the issue time of each row, shape ``(row,)``.
    groups
        Groups of predictors.
    seed
        Seed of the random choice.
    """
    out = predictors.copy()
    generator = np.random.default_rng(seed)
    count = int(case.max(initial=0)) + 1
    for group in groups:
        columns = [index_of(name) for name in names(group)]
        dropped = (generator.random(count) < _DROPPED)[case]
        for column in columns:
            out[dropped, column] = np.nan
    return out


def train_trees(
    name: str,
    predictors: tuple[str, ...],
    samples: Samples,
    weight: Array,
    settings: BoostingSettings | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> BoostedTrees:
    """Train a LightGBM model for each threshold.

    Parameters
    ----------
    name
        Name of the member.
    predictors
        Names of the predictors to use.
    samples
        Values of all predictors, and observations.
    weight
        Weight of each row, shape ``(row,)``, instead of the samples' own.
    settings
        `BoostingSettings()` by default.
    thresholds
        mm h-1, increasing.
    """
    with extra("train", "training"):
        import lightgbm

    settings = settings or BoostingSettings()
    parameters: dict[str, Any] = {
        "objective": "binary",
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "max_depth": settings.depth,
        "min_data_in_leaf": max(20, min(settings.min_rows, len(weight) // 300)),
        "feature_fraction": settings.predictor_fraction,
        "bagging_fraction": settings.row_fraction,
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
    return BoostedTrees(name, tuple(texts), tuple(map(float, thresholds)), predictors)


# --- from LightGBM's text to arrays ---------------------------------------------------------------------------

#: Bits of LightGBM's decision types: default to the left, and the kind of missing values (8: NaN).
_LEFT, _MISSING, _NAN = 2, 12, 8


def parse_forest(text: str) -> Forest:
    """Read the trees out of LightGBM's model text.

    Raises
    ------
    InputError
        If the text is no such model, or has categories, linear leaves, or zero as missing value.
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
    column = 2 * np.array(block.get("split_feature", "").split(), np.int64) + ~missing_left
    no_split = np.zeros(leaves.size)
    levels = _levels(children, splits)
    order = np.concatenate(levels)
    place = np.argsort(order)
    return {
        "roots": np.array([first], np.uint32),
        "depths": np.array([len(levels) - 1], np.uint32),
        "feature": np.append(column, no_split)[order].astype(np.uint32),
        "threshold": np.append(_not_above(threshold), np.full(leaves.size, np.float32(np.inf)))[order],
        "left": (place[children[order, 0]] + first).astype(np.uint32),
        "values": np.append(np.zeros(splits), leaves)[order].astype(np.float32),
    }


def _levels(children: NDArray[np.int64], splits: int) -> list[NDArray[np.int64]]:
    """Return the nodes of each level from the root, the first node, to the deepest leaves, right after left children.

    Splits come before all leaves among the nodes.
    """
    levels = [np.array([0])]
    while (inner := levels[-1][levels[-1] < splits]).size:
        levels.append(children[inner].ravel())
    return levels


def _not_above(threshold: NDArray[np.float64]) -> Array:
    """Largest finite float32 not above each threshold: for float32 values, comparisons come out the same."""
    nearest = threshold.astype(np.float32)
    too_high = nearest.astype(np.float64) > threshold
    below: Array = np.where(too_high, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    return np.minimum(below, np.finfo(np.float32).max)
