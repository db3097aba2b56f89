"""Operators without weights on integers: sums, products, pools, softmax."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler_core.units.cpu.c.arithmetic.fixed_point import (
    Ints,
    divide_by_power,
    exp_negative,
    high_product,
    leading_zeros,
    quantized_factor,
    reciprocal,
    requant,
    wrap32,
)
from compiler_core.units.cpu.c.arithmetic.weighted import AnyInts, Sliding

ADD_LEFT_SHIFT = {"int8": 20, "int16": 15}
"""Bits by which the addends grow before they are scaled."""

SOFTMAX_BITS = 26
"""Fractional bits of the exponent's argument."""


@dataclass(frozen=True)
class Addend:
    """One input of a sum.

    Attributes:
        offset: Its zero point, negated.
        multiplier, shift: Its factor.
    """

    offset: int
    multiplier: int
    shift: int

    def scaled(self, x: AnyInts) -> Ints:
        """The input in units of the sum."""
        left = ADD_LEFT_SHIFT[x.dtype.name]
        grown = wrap32((x.astype(np.int64) + self.offset) << left)
        return requant(grown, self.multiplier, self.shift)


def add(
    first: AnyInts,
    second: AnyInts,
    addends: tuple[Addend, Addend],
    multiplier: int,
    shift: int,
    *,
    subtract: bool = False,
) -> Ints:
    """The sum of two inputs that broadcast, before its zero point and clamp."""
    a, b = addends[0].scaled(first), addends[1].scaled(second)
    return requant(wrap32(a - b if subtract else a + b), multiplier, shift)


def multiply(
    first: AnyInts, second: AnyInts, offsets: tuple[int, int], multiplier: int, shift: int
) -> Ints:
    """The product of two inputs that broadcast, before its zero point and clamp."""
    a, b = first.astype(np.int64) + offsets[0], second.astype(np.int64) + offsets[1]
    return requant(a * b, multiplier, shift)


def max_pool(x: AnyInts, sliding: Sliding) -> Ints:
    """The largest of the positions of each window that exist, ``[N, rows, columns, C]``."""
    lowest = np.iinfo(np.int64).min
    found = np.full((len(x), *sliding.output, x.shape[3]), lowest)
    for seen, _ in _taps(x.astype(np.int64), sliding, lowest):
        found = np.maximum(found, seen)
    return found


def average_pool(x: AnyInts, sliding: Sliding) -> Ints:
    """The mean of the positions of each window that exist, ties away from zero."""
    total = np.zeros((len(x), *sliding.output, x.shape[3]), np.int64)
    count = np.zeros((1, *sliding.output, 1), np.int64)
    for seen, exists in _taps(x.astype(np.int64), sliding, 0):
        total = total + seen
        count = count + exists
    size = np.abs(total) + count // 2
    return np.asarray(np.sign(total) * (size // count), np.int64)


def _taps(x: Ints, sliding: Sliding, outside: int) -> list[tuple[Ints, Ints]]:
    """Per tap of the window: what every output sees there, and whether it exists."""
    height, width = x.shape[1:3]
    found = []
    for row in range(sliding.kernel[0]):
        for column in range(sliding.kernel[1]):
            y = _positions(sliding, 0, row)
            c = _positions(sliding, 1, column)
            exists = ((y >= 0) & (y < height))[:, None] & ((c >= 0) & (c < width))
            seen = x[:, np.clip(y, 0, height - 1)][:, :, np.clip(c, 0, width - 1)]
            where = exists[None, :, :, None]
            found.append((np.where(where, seen, outside), where.astype(np.int64)))
    return found


def _positions(sliding: Sliding, axis: int, tap: int) -> Ints:
    outputs = np.arange(sliding.output[axis], dtype=np.int64)
    return outputs * sliding.stride[axis] - sliding.pad[axis] + tap * sliding.dilation[axis]


@dataclass(frozen=True)
class SoftmaxFactors:
    """The factor of softmax's input: see :func:`softmax_factors`."""

    multiplier: int
    shift: int
    least: int


def softmax_factors(factor: float) -> SoftmaxFactors:
    """What :func:`softmax` needs to know of an input scale (times beta)."""
    whole = min(factor * 2.0**SOFTMAX_BITS, 2.0**31 - 1)
    multiplier, shift = quantized_factor(whole)
    if shift < 0:  # a scale so small that all of the exponent's argument lies below one bit
        multiplier, shift = int(whole * 2.0**31), 0
    return SoftmaxFactors(multiplier, shift, -int(31 * 2**SOFTMAX_BITS // 2**shift))


def softmax(x: AnyInts, factors: SoftmaxFactors, *, wide: bool = False) -> Ints:
    """Softmax along the last axis; the result has scale 1/256 and zero point −128, that of integers
    of 16 bits (``wide``) 1/32768 and 0."""
    numbers = x.astype(np.int64)
    below = numbers - numbers.max(axis=-1, keepdims=True)
    counted = below >= factors.least
    shifted = np.where(counted, below, 0) << factors.shift
    powers = exp_negative(high_product(shifted, factors.multiplier))
    parts = np.where(counted, divide_by_power(powers, 12), 0)
    total = wrap32(parts.sum(axis=-1, keepdims=True))
    zeros = leading_zeros(total)
    scale = reciprocal((total << zeros) - (1 << 31))
    if wide:
        found = divide_by_power(high_product(scale, powers), 28 - zeros)
        return np.where(counted, np.clip(found, 0, 32767), 0)
    found = divide_by_power(high_product(scale, powers), 35 - zeros) - 128
    return np.where(counted, np.clip(found, -128, 127), -128)


def softmax_powers(factors: SoftmaxFactors) -> Ints:
    """Exponentials of integers of 8 bits that lie 0, 1, 2, … below the largest, as far as they
    count."""
    below = -np.arange(min(256, 1 - factors.least), dtype=np.int64)
    return exp_negative(high_product(below << factors.shift, factors.multiplier))


WIDE_STEP = 7
"""Bits between two entries of a table for integers of 16 bits."""


def between_entries(x: AnyInts, entries: AnyInts) -> Ints:
    """A function of integers of 16 bits by 513 of its values, straight between them, half up."""
    places = x.astype(np.int64) + (1 << 15)
    first, share = places >> WIDE_STEP, places & ((1 << WIDE_STEP) - 1)
    table = np.asarray(entries, np.int64)
    rise = (table[first + 1] - table[first]) * share
    return np.asarray(table[first] + ((rise + (1 << WIDE_STEP - 1)) >> WIDE_STEP), np.int64)
