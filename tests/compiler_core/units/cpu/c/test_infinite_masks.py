"""Causal attention as PyTorch exports it: a constant of zeros and −∞ is added before a Softmax."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import nest_tune
from nest_tune.bundling import bundles_for


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_scores_with_an_infinite_mask_are_written(precision: str, tmp_path: Path) -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 13]>
        causal (float[1,2,6,6] x) => (float[1,2,6,6] y) {
            masked = Add (x, mask)
            y = Softmax (masked)
        }
    """)
    mask = np.where(np.triu(np.ones((6, 6)), 1) > 0, -np.inf, 0.0).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(mask, "mask"))
    x = np.random.default_rng(0).standard_normal((8, 2, 6, 6)).astype(np.float32)
    made = nest_tune.compile_bundle(
        model, "c99", tmp_path / "out", calibration={"x": x}, precision=precision
    )
    assert made.quality is not None
    assert made.quality.sqnr_db > 35
    opened = bundles_for("c99").open(tmp_path / "out")
    rows = opened.reference({"x": x})["y"]
    found = opened.real("y", rows).reshape(8, 2, 6, 6)
    assert not found[..., mask < 0].any()
