"""Convolutions on integers whose bias is rounded to their scale as the model runs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession


def quantized(scale: str = "steps") -> onnx.ModelProto:
    """As quantizers of 2020 wrote it; the sum is multiplied by ``scale``."""
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 13]>
        rounded (float[N,3,6,6] x) => (float[N,5,4,4] y) {{
            q, sx, zx = DynamicQuantizeLinear (x)
            steps = Mul (sx, sw)
            ratio = Div (b, steps)
            whole = Floor (ratio)
            bias = Cast <to = 6> (whole)
            row = Reshape (bias, shape)
            sums = ConvInteger (q, w, zx, zw)
            more = Add (sums, row)
            real = Cast <to = 1> (more)
            again = Mul (sx, sw)
            other = Add (sx, sw)
            y = Mul (real, {scale})
        }}
    """)
    random = np.random.default_rng(0)
    for name, array in {
        "sw": np.float32(0.01),
        "b": random.standard_normal(5).astype(np.float32),
        "w": random.integers(0, 255, (5, 3, 3, 3)).astype(np.uint8),
        "zw": np.uint8(120),
        "shape": np.array([1, 5, 1, 1], np.int64),
    }.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


@pytest.mark.parametrize("scale", ["steps", "again"])
def test_it_is_the_bias_of_a_float_convolution(scale: str) -> None:
    graph = import_model(quantized(scale))
    found = simplify(graph)
    assert [(node.op, len(node.inputs)) for node in found.nodes] == [("Conv", 3)]
    x = np.random.default_rng(1).standard_normal((1, 3, 6, 6)).astype(np.float32)
    expected, real = FloatSession(graph).run({"x": x})["y"], FloatSession(found).run({"x": x})["y"]
    assert np.abs(real - expected).max() < 0.02 * np.abs(expected).max()


def test_a_bias_of_another_scale_stays() -> None:
    found = simplify(import_model(quantized("other")))
    assert "ConvInteger" in {node.op for node in found.nodes}
