"""Fixed-point arithmetic against exact fractions and against floating point."""

from __future__ import annotations

from fractions import Fraction
from math import exp, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.units.cpu.c.arithmetic.fixed_point import (
    divide_by_power,
    exp_negative,
    leading_zeros,
    quantized_factor,
    reciprocal,
    requant,
)
from compiler_core.units.cpu.c.arithmetic.packing import pack_int4
from compiler_core.units.cpu.c.arithmetic.pointwise import softmax, softmax_factors
from tests.compiler_core.units.cpu.c.int4 import unpack_int4

INT32 = st.integers(-(2**31), 2**31 - 1)
MULTIPLIER = st.integers(2**30, 2**31 - 1)


def away(value: Fraction) -> int:
    """To nearest, ties away from zero."""
    rounded = floor(abs(value) + Fraction(1, 2))
    return rounded if value >= 0 else -rounded


@given(INT32, MULTIPLIER, st.integers(-31, 0))
def test_requant_is_two_roundings(value: int, multiplier: int, shift: int) -> None:
    first = floor(Fraction(value * multiplier, 2**31) + Fraction(1, 2))
    assert requant(value, multiplier, shift) == away(Fraction(first, 2**-shift))


@given(st.integers(-(2**20), 2**20), MULTIPLIER, st.integers(0, 10))
def test_requant_shifts_left_first(value: int, multiplier: int, shift: int) -> None:
    exact = Fraction(value * 2**shift * multiplier, 2**31)
    assert requant(value, multiplier, shift) == floor(exact + Fraction(1, 2))


@given(st.floats(2.0**-31, 2.0**30))
def test_factor_is_near(factor: float) -> None:
    multiplier, shift = quantized_factor(factor)
    assert 2**30 <= multiplier < 2**31
    assert abs(multiplier * 2.0 ** (shift - 31) - factor) <= factor * 2.0**-31


@pytest.mark.parametrize("factor", [-1.0, float("nan"), float("inf"), 2.0**31])
def test_factor_is_refused(factor: float) -> None:
    with pytest.raises(InputError, match="of a requantization"):
        quantized_factor(factor)


def test_small_factors_are_zero() -> None:
    assert quantized_factor(0.0) == (0, 0)
    assert quantized_factor(2.0**-40) == (0, 0)
    assert quantized_factor(1.0 - 2.0**-40) == (1 << 30, 1)


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 31))
def test_division_rounds_away(value: int, exponent: int) -> None:
    assert divide_by_power(value, exponent) == away(Fraction(value, 2**exponent))


@given(st.integers(-31 * 2**26, 0))
def test_exp_is_near(value: int) -> None:
    assert abs(int(exp_negative(value)) / 2**31 - exp(value / 2**26)) < 1e-6


@given(st.integers(0, 2**31 - 1))
def test_reciprocal_is_near(value: int) -> None:
    assert abs(int(reciprocal(value)) / 2**31 - 1 / (1 + value / 2**31)) < 1e-8


@given(st.integers(1, 2**31 - 1))
def test_leading_zeros(value: int) -> None:
    assert leading_zeros(value) == 32 - value.bit_length()


@given(st.lists(st.integers(-8, 7), max_size=33))
def test_int4_round_trip(values: list[int]) -> None:
    packed = pack_int4(np.array(values, np.int8))
    assert len(packed) == (len(values) + 1) // 2
    assert unpack_int4(packed, len(values)).tolist() == values


@given(
    st.lists(st.integers(-128, 127), min_size=1, max_size=40),
    st.floats(-33, 8).map(lambda power: 2.0**power),
)
def test_softmax_is_near(values: list[int], scale: float) -> None:
    found = softmax(np.array([values], np.int8), softmax_factors(scale))[0]
    powers = [exp((value - max(values)) * scale) for value in values]
    real = np.array(powers) / sum(powers)
    assert np.abs((found + 128) / 256 - real).max() <= 1 / 256 + 1e-6
