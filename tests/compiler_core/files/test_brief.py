"""Values as messages show them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.files.brief import brief


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((100, 3), np.float32), "ndarray float32[100, 3]"),
        (
            (np.zeros((4, 2)), np.zeros(4, np.int64)),
            "tuple of 2 (ndarray float64[4, 2], ndarray int64[4])",
        ),
        ([np.zeros(2)] * 5, "list of 5 (" + "ndarray float64[2], " * 3 + "…)"),
        ({"x": np.zeros(3)}, "dict of 1 ('x': ndarray float64[3])"),
        (["a", 1, None], "['a', 1, None]"),
        (list(range(10_000)), "list of 10000 (0, 1, 2, …)"),
        ("vta", "'vta'"),
        (2.5, "2.5"),
        (np.float32, "<class 'numpy.float32'>"),
        (onnx.ModelProto(producer_name="a", domain="b"), "an object of type ModelProto"),
        pytest.param(10**9999, "an int too long to show", id="digits"),
    ],
)
def test_what_is_shown(value: Any, text: str) -> None:
    """Arrays by type and shape, what is small as it is."""
    assert brief(value) == text


_VALUES = st.recursive(
    st.none() | st.integers() | st.text() | st.binary() | st.just(np.zeros((7, 9))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(_VALUES)
def test_it_is_short(value: Any) -> None:
    """However much a value holds, and however deep."""
    assert len(brief(value)) <= 600
