"""Rates in half precision and as multiples of a step, and rounded probabilities, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast_kernels.packing_cpu import MISSING, round_to_bits, to_half, to_multiples


def test_half_precision_is_that_of_numpy():
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [
            np.array([0, -0.0, np.nan, 65504, 65519.99, -65504, 1e-9, 250, 0.1], np.float32),
            rng.gamma(0.2, 10, 5000).astype(np.float32),
            np.exp(rng.uniform(-25, 11, 5000)).astype(np.float32) * rng.choice([-1, 1], 5000).astype(np.float32),
            np.arange(1, 4000, dtype=np.float32) * np.float32(2**-25),  # below the smallest normal number, and ties
            1 + np.arange(4000, dtype=np.float32) * np.float32(2**-12),
        ]
    )
    expected = values.astype(np.float16)
    np.testing.assert_array_equal(to_half(values), expected)
    np.testing.assert_array_equal(np.signbit(to_half(values)), np.signbit(expected))


@pytest.mark.parametrize("shape", [(0,), (1, 1), (3, 300, 200)])
def test_probabilities_are_rounded_as_by_numpy(shape):
    values = np.random.default_rng(2).random(shape, np.float32)
    values[..., :1] = np.nan
    values[..., -1:] = 1.0
    given = values.copy()
    np.testing.assert_array_equal(round_to_bits(values, 14), np.rint(values * np.float32(2**14)) / np.float32(2**14))
    np.testing.assert_array_equal(values, given)


@pytest.mark.parametrize("shape", [(0,), (1, 1), (3, 5, 7)])
def test_multiples_of_a_step(shape):
    values = np.random.default_rng(1).gamma(0.5, 20, shape).astype(np.float32)
    values[..., :1] = np.nan
    codes = to_multiples(values, 0.01)
    assert codes.dtype == np.int32
    assert codes.shape == shape
    np.testing.assert_array_equal(codes == MISSING, np.isnan(values))
    apart = np.abs(codes * 0.01 - values)[~np.isnan(values)]
    assert (apart <= 0.005 + 1e-4).all()
    np.testing.assert_array_equal(
        to_multiples(np.float32([0, 0.1, 0.0049, 0.0051, 2000]), 0.01), [0, 10, 0, 1, 200_000]
    )


def test_arrays_that_are_not_contiguous_keep_their_order():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2].T
    np.testing.assert_array_equal(to_half(values), values)
    np.testing.assert_array_equal(round_to_bits(values, 0), values)
    np.testing.assert_array_equal(to_multiples(values, 1.0), values)


def test_what_does_not_fit_is_an_error():
    many = np.full(500_000, 3, np.float32)  # several bands
    for value in (65520, np.inf, -1e9):
        many[400_000] = value
        with pytest.raises(OverflowError, match="65504"):
            to_half(many)
    for value in (2.2e7, 1e30, np.inf, -0.01):
        many[400_000] = value
        with pytest.raises(OverflowError, match="multiples"):
            to_multiples(many, 0.01)
