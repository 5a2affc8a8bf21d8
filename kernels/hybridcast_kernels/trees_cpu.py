"""Sums over boosted trees: the predictions of LightGBM, several times as fast for many rows and few trees.

A block of rows descends a tree together, one level at a time, and rows that reach a leaf early stay there: short loops
without branches, of loads that do not wait for one another. Columns of a block are kept twice, with missing values
below and above all others, and a node takes the one that sends them where they belong, so that one comparison is
enough.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels.parallel import over_bands

BLOCK = 128

plain = njit(nogil=True, cache=True, error_model="numpy")


class Forest(NamedTuple):
    """Boosted trees; the nodes of all trees are concatenated, and a leaf is a node that is its own left child."""

    roots: NDArray[np.uint32]
    """First node of each tree, shape ``(tree,)``."""
    depths: NDArray[np.uint32]
    """Steps from the root to the deepest leaf of each tree, shape ``(tree,)``."""
    feature: NDArray[np.uint32]
    """Twice the column of the rows that each node compares, and 1 more where NaN goes right, shape ``(node,)``."""
    threshold: NDArray[np.float32]
    """Values at or below the threshold of a node go left, shape ``(node,)``; infinite for leaves alone."""
    left: NDArray[np.uint32]
    """Left child of each node, which its right one follows, shape ``(node,)``."""
    values: NDArray[np.float32]
    """Values of the leaves, shape ``(node,)``."""


@plain
def sum_rows(rows, roots, depths, feature, threshold, left, values, out, first, last):
    """Write the sum of the leaves that each of the rows first..last reaches."""
    count = rows.shape[1]
    block = np.empty(2 * count * BLOCK, np.float32)
    node = np.empty(BLOCK, np.uint32)
    total = np.empty(BLOCK, np.float32)
    lowest, highest = np.float32(-np.inf), np.float32(np.inf)
    for start in range(first, last, BLOCK):
        width = min(BLOCK, last - start)
        for k in range(BLOCK):
            row = min(start + k, last - 1)
            total[k] = np.float32(0)
            for f in range(count):
                value = rows[row, f]
                block[2 * f * BLOCK + k] = value if value == value else lowest
                block[(2 * f + 1) * BLOCK + k] = value if value == value else highest
        for tree in range(roots.size):
            # all rows compare the same column at the root
            root = roots[tree]
            column, limit, child = np.uintp(feature[root]) * np.uintp(BLOCK), threshold[root], left[root]
            for k in range(BLOCK):
                node[k] = child + np.uint32(block[column + np.uintp(k)] > limit)
            for _ in range(np.int64(depths[tree]) - 1):
                for k in range(BLOCK):
                    n = node[k]
                    value = block[feature[n] * np.uint32(BLOCK) + np.uint32(k)]
                    node[k] = left[n] + np.uint32(value > threshold[n])
            for k in range(BLOCK):
                total[k] += values[node[k]]
        for k in range(width):
            out[start + k] = total[k]


def raw_scores(rows: NDArray[np.float32], forest: Forest) -> NDArray[np.float32]:
    """Return the sum over all trees for each row, shape ``(row,)``.

    Parameters
    ----------
    rows
        C-contiguous float32, shape ``(row, feature)``, finite, or NaN where missing.
    forest
        The trees; features are columns of `rows`.

    Raises
    ------
    ValueError
        If `rows` have fewer columns than the trees need; the loops themselves check no bounds.
    """
    needed = int(forest.feature.max(initial=0)) // 2 + 1
    if rows.ndim != 2 or rows.shape[1] < needed:
        raise ValueError(f"rows have shape {rows.shape}; the trees need {needed} columns")
    out = np.empty(len(rows), np.float32)
    over_bands(lambda a, b: sum_rows(rows, *forest, out, a, b), len(rows), 8 * forest.roots.size)
    return out
