"""Lines with fewer points are as close to the line as they have to be, and shorter."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast_kernels.lines import find_corners


def distances(points, line):
    """Distance of each point to the nearest segment of a line."""
    start, along = line[:-1], np.diff(line, axis=0)
    length = np.maximum((along**2).sum(axis=1), 1e-300)
    share = np.clip(((points[:, None] - start) * along).sum(axis=2) / length, 0, 1)
    return np.linalg.norm(points[:, None] - start - share[..., None] * along, axis=2).min(axis=1)


@pytest.mark.parametrize("tolerance", [0.3, 1.0, 5.0])
def test_what_is_left_out_is_near_the_line(tolerance):
    line = np.random.default_rng(3).normal(size=(400, 2)).cumsum(axis=0)
    needed = find_corners(line, tolerance)
    assert needed[[0, -1]].all()
    assert needed.sum() < len(line)
    assert distances(line, line[needed]).max() <= tolerance


def test_a_smaller_tolerance_keeps_more():
    line = np.random.default_rng(4).normal(size=(400, 2)).cumsum(axis=0)
    counts = [find_corners(line, tolerance).sum() for tolerance in (0.0, 0.5, 2.0, 1e6)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 400
    assert counts[-1] == 2


def test_a_ring_keeps_the_corner_opposite_its_start():
    ring = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    assert find_corners(ring, 0.9).tolist() == [True, False, True, False, True]
    assert find_corners(ring, 0.1).all()


@pytest.mark.parametrize("count", [1, 2])
def test_short_lines_are_kept(count):
    assert find_corners(np.zeros((count, 2)), 1.0).tolist() == [True] * count
