"""Values as files hold them: rates in half precision or as whole multiples of a step, and rounded probabilities.

numpy converts to half precision a value at a time, which takes longer than compressing the result.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels.parallel import over_bands

Array = NDArray[np.float32]

SIGN, MAGNITUDE, INFINITY = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(0x7F800000)
SMALLEST, OVERFLOW = np.uint32(0x38800000), np.uint32(0x477FF000)  # 2^-14, the smallest normal half; 65520
ROUND, ODD, REBIAS, SHIFT = np.uint32(0xFFF), np.uint32(1), np.uint32(112 << 23), np.uint32(13)
HALF_NAN = np.uint32(0x7E00)
MISSING, END = np.int32(-1), np.float32(2**31)

kernel = njit(nogil=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)


@kernel
def _to_half(values, bits, halves):
    """Fill `halves`; return whether every value is within their range."""
    too_large = np.uint32(0)
    for i in range(bits.size):
        sign = (bits[i] & SIGN) >> np.uint32(16)
        size = bits[i] & MAGNITUDE
        half = (size + ROUND + ((size >> SHIFT) & ODD) - REBIAS) >> SHIFT  # a tie goes to the even number
        tiny = np.uint32(np.int32(np.rint(np.float32(min(abs(values[i]), np.float32(1))) * np.float32(1 << 24))))
        half = tiny if size < SMALLEST else half
        half = HALF_NAN if size > INFINITY else half
        too_large |= np.uint32(size >= OVERFLOW and size <= INFINITY)
        halves[i] = np.uint16(sign | half)
    return too_large == 0


@kernel
def _to_multiples(values, per_step, codes):
    """Fill `codes`; return whether every value is within their range."""
    outside = np.uint32(0)
    for i in range(values.size):
        code = np.rint(values[i] * per_step)
        fits = code >= np.float32(0) and code < END
        codes[i] = np.int32(code) if fits else MISSING
        outside |= np.uint32(not fits and code == code)
    return outside == 0


@kernel
def _round(values, per_unit, unit, rounded):
    """Fill `rounded` with whole multiples of `unit`, a power of two."""
    for i in range(values.size):
        rounded[i] = np.rint(values[i] * per_unit) * unit


def round_to_bits(values: Array, bits: int) -> Array:
    """Return the nearest whole multiples of 2 to the power of minus `bits`, any shape; NaN stays NaN."""
    plain = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    rounded = np.empty(plain.size, np.float32)
    per_unit, unit = np.float32(2.0**bits), np.float32(2.0**-bits)
    over_bands(lambda a, b: _round(plain[a:b], per_unit, unit, rounded[a:b]), plain.size, 1)
    return rounded.reshape(values.shape)


def to_half(values: Array) -> NDArray[np.float16]:
    """Return values in half precision, rounded to the nearest, any shape.

    Raises
    ------
    OverflowError
        If a value is too large for half precision.
    """
    plain = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    halves = np.empty(plain.size, np.uint16)
    bits = plain.view(np.uint32)
    _run(lambda part: _to_half(plain[part], bits[part], halves[part]), plain.size, "half precision is at most 65504")
    return halves.view(np.float16).reshape(values.shape)


def to_multiples(values: Array, step: float) -> NDArray[np.int32]:
    """Return the nearest whole multiples of `step`, any shape; `MISSING` for NaN.

    Raises
    ------
    OverflowError
        If a value is negative, or its multiple is 2^31 or more.
    """
    plain = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    codes = np.empty(plain.size, np.int32)
    per_step = np.float32(1 / step)
    _run(lambda part: _to_multiples(plain[part], per_step, codes[part]), plain.size, "multiples are from 0 to 2^31")
    return codes.reshape(values.shape)


def _run(convert: Callable[[slice], bool], size: int, rule: str) -> None:
    """Convert bands of values in threads; raise `OverflowError` with the rule unless all of them fit."""
    fits: list[bool] = []
    over_bands(lambda first, last: fits.append(convert(slice(first, last))), size, 1)
    if not all(fits):
        raise OverflowError(rule)
