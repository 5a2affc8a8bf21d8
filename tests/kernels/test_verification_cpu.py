"""Counters of verification against numpy, on random fields with gaps."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast_kernels import verification_cpu as kernels

LEVELS = np.array([0.5, 1.0, 4.0], np.float32)


@pytest.fixture
def fields():
    rng = np.random.default_rng(0)
    f, o = (np.where(rng.random(900) < 0.4, 0, rng.gamma(1, 2, 900)).astype(np.float32).round(1) for _ in range(2))
    valid = (rng.random(900) < 0.8).astype(np.uint8)
    f[rng.random(900) < 0.1] = np.nan
    return f, o, np.where(np.isnan(f), 0, valid).astype(np.uint8)


def classes(rate, valid):
    out = np.empty(rate.shape, np.uint8)
    kernels.classes(rate, valid, LEVELS, out)
    return out


def test_classes_count_the_levels_reached(fields):
    f, _, valid = fields
    expected = np.where(valid > 0, (f[:, None] >= LEVELS).sum(axis=1), 0)
    np.testing.assert_array_equal(classes(f, valid), expected)


def test_moments_skip_what_is_not_valid(fields):
    f, o, valid = fields
    a, b = (v[valid > 0].astype(float) for v in (f, o))
    expected = [a.size, a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum(), np.abs(a - b).sum()]
    np.testing.assert_allclose(kernels.pair_sums(f, o, valid), expected, rtol=1e-12)


def test_joint_counts_are_a_histogram(fields):
    f, o, valid = fields
    cf, co = classes(f, valid), classes(o, valid)
    expected = np.histogram2d(cf[valid > 0], co[valid > 0], bins=np.arange(5) - 0.5)[0]
    np.testing.assert_array_equal(kernels.joint_counts(cf, co, valid, 3), expected)


def test_counts_above_and_at_a_cut(fields):
    f, o, valid = fields
    cuts = np.array([0.0, 1.3, np.inf], np.float32)
    counts = kernels.counts_at_cuts(f, classes(o, valid), valid, cuts)
    for k, cut in enumerate(cuts):
        event = o >= LEVELS[k]
        for column, chosen in ((0, f > cut), (2, f == cut)):
            assert counts[k, column] == (chosen & (valid > 0)).sum()
            assert counts[k, column + 1] == (chosen & event & (valid > 0)).sum()


def test_probabilities_outside_0_and_1_are_held_at_them():
    p = np.array([-0.1, 0.024, 0.026, 0.5, 1.2], np.float32)
    sums = kernels.probability_sums(p, np.array([0, 0, 1, 1, 1], np.uint8), 0, np.ones(5, np.uint8), 21)
    assert sums[0].nonzero()[0].tolist() == [0, 1, 10, 20]
    assert sums[0, 0] == 2
    assert sums[1].sum() == 3
    assert sums[2].sum() == pytest.approx(0.024 + 0.026 + 0.5 + 1)
    assert sums[4].sum() == pytest.approx(0.026 + 0.5 + 1)


@pytest.mark.parametrize("reach", [(0, 0), (1, 2), (3, 0), (9, 40)])
def test_windows_are_those_of_looking_at_each(reach):
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 3, (8, 13)).astype(np.uint8) for _ in range(2))
    valid = (rng.random((8, 13)) < 0.7).astype(np.uint8)
    a, b = a * valid, b * valid
    difference, squares, share = kernels.fraction_sums(a, b, valid, 2, [reach])
    size = (2 * reach[0] + 1) * (2 * reach[1] + 1)
    for level in range(2):
        expected = np.zeros(3)
        for y, x in zip(*valid.nonzero(), strict=True):
            rows = slice(max(y - reach[0], 0), y + reach[0] + 1)
            columns = slice(max(x - reach[1], 0), x + reach[1] + 1)
            in_a, in_b = (a[rows, columns] > level).sum() / size, (b[rows, columns] > level).sum() / size
            expected += (in_a - in_b) ** 2, in_a**2 + in_b**2, valid[rows, columns].sum() / size
        np.testing.assert_allclose((difference[0, level], squares[0, level], share[0]), expected, rtol=1e-12)
