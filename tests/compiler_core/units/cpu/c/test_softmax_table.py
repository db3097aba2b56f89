"""Exponentials of a Softmax in a table are those that are computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiler_core.units.cpu.c.arithmetic.pointwise import softmax_factors
from compiler_core.units.cpu.c.bundles.bundle import scheduled_bundle, write_bundle
from compiler_core.units.cpu.c.network import Network, Type, Value
from compiler_core.units.cpu.c.operators.pointwise import Softmax


@pytest.mark.parametrize("rows", [13, 4])
@pytest.mark.parametrize("scale", [1e-5, 0.1, 0.4, 3.0, 40.0])
def test_same_bits(
    scale: float, rows: int, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    shape = (2, rows, 41)
    values = {
        "x": Value("x", "x", shape, Type("int8", scale)),
        "y": Value("y", "y", shape, Type("int8", 1 / 256, -128)),
    }
    operator = Softmax("softmax", ("x",), "y", shape, softmax_factors(scale))
    axes = dict.fromkeys(values, (0, 1, 2))
    network = Network("softmax", values, ("x",), ("y",), ("x", "y"), axes, (operator,))
    x = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    x[0, :, 0], x[1, :, 1] = -128, 127
    bundle = scheduled_bundle(network, "softmax", {})
    assert ("nt_softmax_table_s8(" in bundle.sources.files["model.c"]) == (rows == 13)
    write_bundle(bundle, tmp_path, [{"x": x}])
    assert "1 of 1" in check_bundle(tmp_path, "gcc", "-O1", "-fsanitize=address,undefined")
