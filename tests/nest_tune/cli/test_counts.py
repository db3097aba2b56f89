"""Counts of any size as text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nest_tune.cli.counts import plain_count, shown_count


@pytest.mark.parametrize(
    ("base", "exponent", "change", "text"),
    [
        (10, 0, -1, "0"), (10, 12, -1, "999,999,999,999"), (10, 12, 0, "1.00e+12"),
        (10, 300, -1, "9.99e+299"), (10, 5000, 0, "1.00e+5000"), (10, 5000, -1, "9.99e+4999"),
        (2, 20_000, 0, "3.98e+6020"),
    ],
)  # fmt: skip
def test_counts_of_any_size_have_a_text(base: int, exponent: int, change: int, text: str) -> None:
    count = base**exponent + change
    assert shown_count(count) == text
    assert json.dumps(plain_count(count))


@given(st.integers(10**12, 10**200))
def test_the_digits_are_those_of_the_count(count: int) -> None:
    digits, _, exponent = shown_count(count).partition("e+")
    assert int(exponent) == len(str(count)) - 1
    assert digits.replace(".", "") == str(count)[:3]
