"""Softmax over so many equal elements that each becomes next to nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import nest_tune
from nest_tune.bundling import bundles_for


@pytest.mark.parametrize("count", [511, 512, 2048])
def test_equal_elements_are_the_same_in_c(count: int, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 13]>
        heat (float[1,2,{count}] x) => (float[1,2,{count}] y) {{ y = Softmax (x) }}
    """)
    x = np.zeros((3, 2, count), np.float32)
    x[1:, 1, 0] = 0.5
    x[2, 0] = np.linspace(-1, 1, count)
    nest_tune.compile_bundle(model, "c99", tmp_path / "out", calibration={"x": x})
    opened = bundles_for("c99").open(tmp_path / "out")
    found, expected = (run({"x": x})["y"] for run in (opened.run, opened.reference))
    np.testing.assert_array_equal(found, expected)
