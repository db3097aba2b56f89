"""Tables and functions against the tables of the vectors and against mathematics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from compiler_core.units.aim.simulate.activation import Function, activated, table
from tests.compiler_core.units.aim.vectors import FOLDER

TABLES = np.load(FOLDER / "af_tables.npy")


@pytest.mark.parametrize("name", ["SIGMOID", "TANH", "GELU", "SILU"])
def test_tables(name: str) -> None:
    function = Function[name]
    assert table(function).tobytes() == TABLES[function].tobytes()


@pytest.mark.parametrize(
    ("name", "exact", "most"),
    [
        ("SIGMOID", lambda x: 1 / (1 + math.exp(-x)), 5e-5),
        ("TANH", math.tanh, 2e-4),
        ("GELU", lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2, 2e-4),
        ("SILU", lambda x: x / (1 + math.exp(-x)), 5e-4),
        ("RELU", lambda x: max(x, 0.0), 0.0),
        ("LEAKY_RELU", lambda x: x if x > 0 else x * 0.01, 1e-6),
        ("IDENTITY", lambda x: x, 0.0),
    ],
)
def test_functions(name: str, exact: object, most: float) -> None:
    x = np.linspace(-12, 12, 1001).astype(np.float32)
    found = activated(x, Function[name])
    expected = np.array([exact(float(v)) for v in x])  # type: ignore[operator]
    assert np.abs(found - expected).max() <= most
