"""Differences are told with as few digits as tell them apart, and in per cent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nest_tune.ci.difference import Difference, Value, within

NUMBERS = st.floats(1e-6, 1e9) | st.integers(-(10**9), 10**9)


@pytest.mark.parametrize(
    ("expected", "measured", "said"),
    [
        (1000, 1012, "here: x is 1,012, was 1,000 (+1.20 %)"),
        (0.24345512345, 0.2, "here: x is 0.2, was 0.243455 (-17.85 %)"),
        (0.1, 0.1000000001, "here: x is 0.1000000001, was 0.1 (less than +0.01 %)"),
        (0, 5, "here: x is 5, was 0"),
        (None, 5, "here: x is 5, was missing"),
        ("vta", "cpu", "here: x is cpu, was vta"),
        ("a" * 64, "b" * 64, f"here: x is {'b' * 16}…, was {'a' * 16}…"),
    ],
)
def test_how_it_is_told(expected: Value, measured: Value, said: str) -> None:
    assert str(Difference("x", expected, measured, "here")) == said


@given(expected=NUMBERS, measured=NUMBERS)
def test_texts_tell_different_numbers_apart(expected: float, measured: float) -> None:
    one, other = Difference("x", expected, measured, "here").texts()
    assert (one == other) == (f"{expected:,}" == f"{measured:,}" or expected == measured)


@given(expected=NUMBERS, share=st.floats(0, 0.5))
def test_tolerance_holds_on_both_sides(expected: float, share: float) -> None:
    for sign in (-1, 1):
        less = Difference("x", expected, expected * (1 + sign * share * 0.99), "here")
        more = Difference("x", expected, expected * (1 + sign * (share * 1.01 + 1e-9)), "here")
        assert within(less, {"x": share + 1e-12}) or not expected
        assert not within(more, {"x": share})
        assert not within(less, {"y": 1.0})
