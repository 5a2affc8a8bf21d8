"""Counts of cells in blocks, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast_kernels.counts_cpu import block_counts


@pytest.mark.parametrize(("shape", "size"), [((2, 12, 16), 4), ((1, 13, 17), 5), ((3, 1, 9), 1), ((1, 3, 3), 8)])
def test_counts_are_those_of_numpy(shape, size):
    rng = np.random.default_rng(0)
    planes = rng.gamma(0.5, 1, shape).astype(np.float32)
    planes[rng.random(shape) < 0.3] = np.nan
    found = block_counts(planes, size, 0.1, 0.5)
    assert found.shape == (shape[0], -(-shape[1] // size), -(-shape[2] // size), 3)
    for plane, i, j in np.ndindex(found.shape[:3]):
        block = planes[plane, i * size : (i + 1) * size, j * size : (j + 1) * size]
        expected = [np.isfinite(block).sum(), (block >= np.float32(0.1)).sum(), (block >= np.float32(0.5)).sum()]
        assert found[plane, i, j].tolist() == expected
