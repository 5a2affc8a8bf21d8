"""Sums over boosted trees: the predictions of LightGBM, several times as fast for many rows and few trees.

A block of rows descends a tree together, one level at a time, and rows that reach a leaf early stay there: short loops
without branches, of loads that do not wait for one another.
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
    """Boosted trees; the nodes of all trees are concatenated, and a leaf is a node that is its own child."""

    roots: NDArray[np.uint32]
    """First node of each tree, shape ``(tree,)``."""
    depths: NDArray[np.uint32]
    """Steps from the root to the deepest leaf of each tree, shape ``(tree,)``."""
    feature: NDArray[np.uint32]
    """Column of the rows that each node compares, shape ``(node,)``."""
    threshold: NDArray[np.float32]
    """Values at or below the threshold of a node go left, shape ``(node,)``."""
    missing_right: NDArray[np.uint32]
    """1 for nodes where NaN goes right, else 0, shape ``(node,)``."""
    children: NDArray[np.uint32]
    """Left and right child of each node, shape ``(2 * node,)``."""
    values: NDArray[np.float32]
    """Values of the leaves, shape ``(node,)``."""


@plain
def sum_rows(rows, roots, depths, feature, threshold, missing_right, children, values, out, first, last):
    """Write the sum of the leaves that each of the rows first..last reaches."""
    count = rows.shape[1]
    block = np.empty(count * BLOCK, np.float32)
    node = np.empty(BLOCK, np.uint32)
    total = np.empty(BLOCK, np.float32)
    one = np.uint32(1)
    for start in range(first, last, BLOCK):
        width = min(BLOCK, last - start)
        for k in range(BLOCK):
            row = min(start + k, last - 1)
            total[k] = np.float32(0)
            for f in range(count):
                block[f * BLOCK + k] = rows[row, f]
        for tree in range(roots.size):
            for k in range(BLOCK):
                node[k] = roots[tree]
            for _ in range(depths[tree]):
                for k in range(BLOCK):
                    n = node[k]
                    value = block[feature[n] * np.uint32(BLOCK) + np.uint32(k)]
                    right = np.uint32(value > threshold[n])  # false for NaN
                    right |= np.uint32(value != value) & missing_right[n]
                    node[k] = children[(n << one) + right]
            for k in range(BLOCK):
                total[k] += values[node[k]]
        for k in range(width):
            out[start + k] = total[k]


def raw_scores(rows: NDArray[np.float32], forest: Forest) -> NDArray[np.float32]:
    """Return the sum over all trees for each row, shape ``(row,)``.

    Parameters
    ----------
    rows
        C-contiguous float32, shape ``(row, feature)``, NaN where missing.
    forest
        The trees; features are columns of `rows`.

    Raises
    ------
    ValueError
        If `rows` have fewer columns than the trees need; the loops themselves check no bounds.
    """
    needed = int(forest.feature.max(initial=0)) + 1
    if rows.ndim != 2 or rows.shape[1] < needed:
        raise ValueError(f"rows have shape {rows.shape}; the trees need {needed} columns")
    out = np.empty(len(rows), np.float32)
    over_bands(lambda a, b: sum_rows(rows, *forest, out, a, b), len(rows), 8 * forest.roots.size)
    return out
