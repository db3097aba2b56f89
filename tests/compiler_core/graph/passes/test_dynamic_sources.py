"""Integers that were quantized as the model runs, and moved since, have real weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.compile.sources import load_model
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.assignment import cpu_reasons


@pytest.mark.parametrize("to_float", [True, False])
@pytest.mark.parametrize("moved", [True, False])
def test_moved_integers(to_float: bool, moved: bool, tmp_path: Path) -> None:
    """Two products of the same integers, one of them transposed first."""
    random = np.random.default_rng(0)
    weight = random.integers(-100, 100, (8, 4)).astype(np.int8)
    order = [0, 1, 2] if not moved else [0, 2, 1]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("Transpose", ["q"], ["t"], perm=order),
        helper.make_node("Mul", ["s", "w_scale"], ["both"]),
    ]
    if to_float:
        nodes.append(
            helper.make_node(
                "MatMulIntegerToFloat", ["t", "w", "s", "w_scale", "z"], ["y"],
                domain="com.microsoft",
            )
        )  # fmt: skip
    else:
        nodes += [
            helper.make_node("MatMulInteger", ["t", "w", "z"], ["i"]),
            helper.make_node("Cast", ["i"], ["f"], to=1),
            helper.make_node("Mul", ["f", "both"], ["y"]),
        ]
    shape = [1, 8, 8]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 4])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(np.float32(0.01), "w_scale"),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    read = load_model(tmp_path / "m.onnx").graph
    (dense,) = [node for node in read.nodes if node.op == "Dense"]
    assert dense.name not in cpu_reasons(read)
    x = random.standard_normal(shape).astype(np.float32)
    expected = x.transpose(order) @ (weight * np.float32(0.01))
    np.testing.assert_allclose(FloatSession(read).run({"x": x})["y"], expected, atol=1e-4)
