"""Branches that a constant decides, against onnxruntime on the model as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from compiler_core.compile.sources import load_model
from compiler_core.graph.session import FloatSession

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
m (float[2,3] x) => (float[2,3] y, float[2,3] z) <bool c = {%s}, float o = {1.0}>
{
    a = Relu (x)
    y = If (c) <
        then_branch = t () => (float[2,3] r) { k = Constant <value_float = 2.0> () u = Mul (a, k)
            r = Add (u, x) },
        else_branch = e () => (float[2,3] r) { r = Identity (a) }
    >
    d = ReduceSum <keepdims = 0> (x)
    g = Greater (d, o)
    z = If (c) <
        then_branch = v () => (float[2,3] q) { u = Neg (x) q = If (g) <
            then_branch = w () => (float[2,3] s) { s = Sub (u, a) },
            else_branch = n () => (float[2,3] s) { s = Add (u, a) }
        > },
        else_branch = f () => (float[2,3] a2) { a2 = Neg (y) }
    >
}
"""


@pytest.mark.parametrize("taken", [0, 1])
def test_the_branch_that_is_taken_is_written_out(tmp_path: Path, taken: int) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(TEXT % taken), path)
    graph = load_model(path).graph
    # What is decided when the model runs, and reads what the branch computes, stays an If.
    assert [node.op for node in graph.nodes].count("If") == taken
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for seed in range(4):
        x = np.random.default_rng(seed).standard_normal((2, 3)).astype(np.float32)
        found = FloatSession(graph).run({"x": x})
        for name, value in zip("yz", session.run(["y", "z"], {"x": x}), strict=True):
            np.testing.assert_array_equal(found[name], value)


def test_a_shape_that_becomes_known_decides(tmp_path: Path) -> None:
    """As exported for ``squeeze`` of an axis that may be longer than one."""
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    m (float[N,1,4] x) => (float[N,4] y) <int64[1] one = {1}>
    {
        s = Shape (x)
        n = Gather (s, one)
        h = Equal (n, one)
        y = If (h) <
            then_branch = t () => (float[N,4] r) { r = Squeeze (x, one) },
            else_branch = e () => (float[N,4] r) { r = Identity (x) }
        >
    }
    """
    path = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    graph = load_model(path).graph
    assert not any(node.opaque for node in graph.nodes)
    assert graph.types["y"].shape == (1, 4)
