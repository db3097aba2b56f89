"""Ports of float16 as ports of float32, and models with them as generated C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import nest_tune
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.passes.wide_ports import WidePorts
from compiler_core.graph.session import FloatSession


@pytest.fixture
def half() -> onnx.ModelProto:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        half (float16[N,8] x, float16[N,8] other) => (float16[N,8] sum, float16[N,8] y) {
            sum = Add (x, other)
            z = MatMul (sum, w)
            y = Relu (z)
        }
    """)
    weight = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float16)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model


def test_ports_become_float32(half: onnx.ModelProto) -> None:
    graph = simplify(import_model(half))
    wide = simplify(WidePorts().apply(graph))
    assert {wide.types[name].dtype for name in (*wide.inputs, *wide.outputs)} == {"float32"}
    assert not any(node.op == "Cast" for node in wide.nodes)
    feed = {
        name: np.random.default_rng(1).random((1, 8)).astype(np.float16) for name in graph.inputs
    }
    narrow = FloatSession(graph).run(feed)
    found = FloatSession(wide).run({k: v.astype(np.float32) for k, v in feed.items()})
    for name in graph.outputs:
        np.testing.assert_allclose(found[name], narrow[name], rtol=2e-3, atol=2e-3)
    assert WidePorts().apply(wide) is wide


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_models_of_float16_are_written_as_c(
    half: onnx.ModelProto, precision: str, tmp_path: Path
) -> None:
    x = np.random.default_rng(2).standard_normal((2, 8, 8)).astype(np.float16)
    data = {"x": x[0], "other": x[1]}
    made = nest_tune.compile_bundle(
        half, "c99", tmp_path / "out", calibration=data, precision=precision
    )
    assert made.quality is not None
    assert made.quality.sqnr_db > 25
