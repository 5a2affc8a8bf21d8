"""Convolutions of stacks of planes: those of scipy, with the same bits for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate

from hybridcast_kernels.convolution_cpu import convolve


def draw(inputs, outputs, side, shape, seed=0):
    generator = np.random.default_rng(seed)
    sizes = (inputs, *shape), (outputs, inputs, side, side), (outputs,)
    return tuple(generator.standard_normal(size).astype(np.float32) for size in sizes)


def expect(planes, weight, bias):
    """Sums of correlations, in double precision."""
    sums = [
        sum(
            correlate(plane.astype(float), kernel.astype(float), mode="constant")
            for plane, kernel in zip(planes, one, strict=True)
        )
        for one in weight
    ]
    return np.array(sums) + bias[:, None, None]


@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (5, 6), (4, 8)])
@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (40, 61)])
def test_against_scipy(side, inputs, outputs, shape):
    given = draw(inputs, outputs, side, shape)
    np.testing.assert_allclose(convolve(*given), expect(*given), atol=1e-4)


def test_planes_that_are_not_contiguous():
    planes, weight, bias = draw(4, 5, 3, (30, 40))
    np.testing.assert_array_equal(
        convolve(planes[:, ::2, ::-1], weight, bias), convolve(planes[:, ::2, ::-1].copy(), weight, bias)
    )


def test_the_same_bits_for_any_number_of_threads(set_threads):
    given = draw(7, 6, 3, (130, 90))
    found = []
    for count in (1, 2, 5):
        set_threads(count)
        found.append(convolve(*given))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (10, 10)])
def test_what_is_unknown_stays_in_its_surroundings(side, row, column):
    planes, weight, bias = draw(2, 3, side, (20, 20))
    planes[0, row, column] = np.nan
    reached = np.hypot(*np.ogrid[-row : 20 - row, -column : 20 - column]) < side / 2
    np.testing.assert_array_equal(np.isnan(convolve(planes, weight, bias)), np.broadcast_to(reached, (3, 20, 20)))
