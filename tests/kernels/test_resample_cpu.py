"""Enlarging against NumPy's interpolation, row by row and column by column."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast_kernels.resample_cpu import block_counts, block_means, block_summary, enlarge


def interpolated(plane, factor, offset, shape):
    """Interpolate with `numpy.interp` along both axes, which holds the ends too."""
    y, x = ((np.arange(size) - offset) / factor for size in shape)
    wide = np.array([np.interp(x, np.arange(plane.shape[1]), row) for row in plane])
    return np.array([np.interp(y, np.arange(plane.shape[0]), column) for column in wide.T]).T


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("coarse", "factor", "offset", "fine"),
    [
        ((6, 8), 4, 0.5, (24, 32)),
        ((6, 8), 4, 1.5, (27, 30)),  # a ragged edge, and cells left out
        ((6, 8), 1, 0.0, (6, 8)),
        ((1, 5), 3, 1.0, (3, 15)),
        ((5, 1), 3, 1.0, (15, 3)),
        ((1, 1), 8, 3.5, (5, 9)),
        ((3, 4), 2, 0.5, (20, 30)),
    ],
)
def test_it_is_linear_interpolation_along_both_axes(set_threads, threads, coarse, factor, offset, fine):
    set_threads(threads)
    planes = np.random.default_rng(0).standard_normal((3, *coarse)).astype(np.float32)
    out = np.full((3, *fine), np.nan, np.float32)
    assert enlarge(planes, factor, offset, out) is out
    for found, plane in zip(out, planes, strict=True):
        np.testing.assert_allclose(found, interpolated(plane, factor, offset, fine), atol=2e-6)


def test_coarse_cells_keep_their_values_and_nothing_overshoots():
    planes = np.random.default_rng(1).random((2, 5, 6)).astype(np.float32)
    out = enlarge(planes, 4, 0.0, np.empty((2, 20, 24), np.float32))
    np.testing.assert_array_equal(out[:, ::4, ::4], planes)
    assert out.min() >= planes.min()
    assert out.max() <= planes.max()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("shape", "rows", "columns"), [((3, 8, 9), 4, 3), ((2, 6, 10), 3, 2), ((1, 1, 6), 1, 2)])
def test_means_leave_out_what_is_unknown(set_threads, threads, shape, rows, columns):
    set_threads(threads)
    generator = np.random.default_rng(3)
    planes = generator.random(shape).astype(np.float32)
    planes[generator.random(shape) < 0.4] = np.nan
    high, wide = shape[1] // rows, shape[2] // columns
    found = block_means(planes, rows, columns, 0.5)
    for k, i, j in np.ndindex(shape[0], rows, columns):
        block = planes[k, i * high : (i + 1) * high, j * wide : (j + 1) * wide]
        if np.isfinite(block).mean() >= 0.5:
            assert found[k, i, j] == pytest.approx(np.nanmean(block), rel=1e-5)
        else:
            assert np.isnan(found[k, i, j])


def test_blocks_that_do_not_part_the_cells_are_refused():
    with pytest.raises(ValueError, match="evenly"):
        block_means(np.zeros((1, 11, 4), np.float32), 2, 2, 0.5)


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


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("shape", "size", "every"), [((12, 16), 4, 1), ((19, 25), 8, 2), ((3, 9), 1, 1), ((5, 7), 3, 1)]
)
def test_the_summary_of_blocks_has_means_and_largest_components(set_threads, threads, shape, size, every):
    set_threads(threads)
    rng = np.random.default_rng(1)
    flow, rate = rng.normal(size=(2, *shape)).astype(np.float32), rng.random(shape).astype(np.float32)
    rate[rng.random(shape) < 0.3] = np.nan
    rate[:size, :size] = np.nan
    flow[1, -1, -1] = -9  # beyond the last whole block
    means, largest = block_summary(flow, rate, size, every)
    assert means.shape == (3, shape[0] // size, shape[1] // size)
    np.testing.assert_array_equal(largest, np.abs(flow).max(axis=(1, 2)))
    for i, j in np.ndindex(means.shape[1:]):
        block = np.s_[i * size : (i + 1) * size : every, j * size : (j + 1) * size : every]
        known = rate[block][np.isfinite(rate[block])]
        expected = [flow[0][block].mean(), flow[1][block].mean(), known.mean() if known.size else 0]
        np.testing.assert_allclose(means[:, i, j], expected, atol=1e-5)
