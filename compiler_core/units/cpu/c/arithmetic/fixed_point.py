"""Fixed-point arithmetic of the integer kernels, on arrays of ``int64`` that hold ``int32`` values.

| symbol | meaning |
|---|---|
| multiplier, shift | a positive factor: ``multiplier * 2**(shift - 31)`` |
| ``a ⊗ b`` | :func:`high_product`: ``a * b / 2**31``, ties towards +∞ |
| ``>>`` | arithmetic |

Source: the integer reference kernels of TensorFlow Lite with double rounding, its default.
"""

from __future__ import annotations

from math import frexp, isfinite

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError

Ints = npt.NDArray[np.int64]

MOST_SHIFT, LEAST_SHIFT = 31, -31
"""Limits of a shift: by more, nothing but zero or overflow is left."""

_LARGEST = (1 << 31) - 1
_EXP_STEPS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(-2**(k - 2)) in 31 fractional bits, k = 0 … 6."""


_APART = "check the model's constants, or --precision float32 of nest-tune bundle"


def quantized_factor(factor: float) -> tuple[int, int]:
    """The multiplier and shift of a real factor.

    Args:
        factor: Positive and finite; below ``2**-32`` it becomes zero.

    Returns:
        ``(multiplier, shift)``; ``(0, 0)`` for what rounds to zero.

    Raises:
        InputError: It is negative, not finite, or ``2**31`` and more.
    """
    if not isfinite(factor) or factor < 0:
        raise InputError(
            f"factor {factor} of a requantization is no finite number from 0 on", hint=_APART
        )
    fraction, shift = frexp(factor)
    multiplier = int(np.rint(fraction * 2.0**31))
    if multiplier == 1 << 31:
        multiplier, shift = 1 << 30, shift + 1
    if shift > MOST_SHIFT:
        raise InputError(
            f"factor {factor:.3g} of a requantization is 2**{MOST_SHIFT} or more: the ranges of "
            "two tensors are too far apart",
            hint=_APART,
        )
    return (0, 0) if shift < LEAST_SHIFT else (multiplier, shift)


def wrap32(values: npt.ArrayLike) -> Ints:
    """Values modulo 2^32, from −2^31 on."""
    return np.asarray(values, np.int64).astype(np.int32).astype(np.int64)


def requant(values: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike) -> Ints:
    """``values`` times the factor, rounded twice: first ties upwards, then away from zero.

    Args:
        values: ``int32``; where ``shift`` is positive, the shift to the left wraps.
        multiplier, shift: Broadcast against ``values``.
    """
    shifts = np.asarray(shift, np.int64)
    left = np.maximum(shifts, 0)
    shifted = wrap32(np.left_shift(np.asarray(values, np.int64), left))
    product = (shifted * np.asarray(multiplier, np.int64) + (1 << 30)) >> 31
    return divide_by_power(product, np.maximum(-shifts, 0))


def divide_by_power(values: npt.ArrayLike, exponent: npt.ArrayLike) -> Ints:
    """``values / 2**exponent`` to nearest, ties away from zero."""
    numbers, right = np.asarray(values, np.int64), np.asarray(exponent, np.int64)
    mask = np.left_shift(np.int64(1), right) - 1
    threshold = (mask >> 1) + (numbers < 0)
    return np.asarray((numbers >> right) + ((numbers & mask) > threshold), np.int64)


def requant64(values: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike) -> Ints:
    """``values`` times the factor with a multiplier of 16 bits, rounded once, ties upwards.

    Args:
        values: ``int64`` of at most 48 bits.
        multiplier, shift: Broadcast against ``values``; the shift is at most 14.
    """
    product = np.asarray(values, np.int64) * narrow_multiplier(multiplier)
    return np.asarray(wrap32(wrap32(product >> (14 - np.asarray(shift, np.int64))) + 1) >> 1)


def narrow_multiplier(multiplier: npt.ArrayLike) -> Ints:
    """A multiplier of 31 bits as one of 15."""
    factors = np.asarray(multiplier, np.int64)
    return np.where(factors >= 0x7FFF0000, 0x7FFF, (factors + (1 << 15)) >> 16)


def high_product(first: npt.ArrayLike, second: npt.ArrayLike) -> Ints:
    """``first ⊗ second``, saturated."""
    product = np.asarray(first, np.int64) * np.asarray(second, np.int64)
    return np.asarray(np.minimum((product + (1 << 30)) >> 31, _LARGEST), np.int64)


def exp_negative(values: npt.ArrayLike) -> Ints:
    """The exponential of ``values / 2**26`` ≤ 0, in 31 fractional bits."""
    numbers = np.asarray(values, np.int64)
    quarter = (numbers & ((1 << 24) - 1)) - (1 << 24)
    rest = quarter - numbers
    x = 32 * quarter + (1 << 28)
    square = high_product(x, x)
    inner = divide_by_power(high_product(square, square), 2) + high_product(square, x)
    series = divide_by_power(high_product(inner, 715827883) + square, 1)
    found = 1895147668 + high_product(1895147668, x + series)
    for step, factor in enumerate(_EXP_STEPS):
        found = np.where((rest >> (24 + step)) & 1, high_product(found, factor), found)
    return np.where(numbers == 0, _LARGEST, found)


def reciprocal(values: npt.ArrayLike) -> Ints:
    """``1 / (1 + values / 2**31)`` in 31 fractional bits, for values from 0 on."""
    total = np.asarray(values, np.int64) + _LARGEST
    total = total + np.where(total >= 0, 1, -1)
    half = np.sign(total) * (np.abs(total) // 2)
    found = 1515870810 + high_product(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - high_product(half, found)
        found = wrap32(found + _saturated(4 * high_product(found, error)))
    return _saturated(2 * found)


def leading_zeros(values: npt.ArrayLike) -> Ints:
    """Leading zero bits of positive ``int32`` values."""
    _, exponent = np.frexp(np.asarray(values, np.float64))
    return 32 - exponent.astype(np.int64)


def _saturated(values: Ints) -> Ints:
    return np.clip(values, -(1 << 31), _LARGEST)
