"""Equal large constants become one."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify


def steps_of_one_cell(count=4):
    """A cell written out: every step multiplies by the same matrix, given transposed."""
    weight = np.random.default_rng(0).standard_normal((40, 40)).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", [f"h{t}", "w"], [f"p{t}"], transB=1) for t in range(count)
    ] + [helper.make_node("Tanh", [f"p{t}"], [f"h{t + 1}"]) for t in range(count)]
    nodes = [node for pair in zip(nodes[:count], nodes[count:], strict=True) for node in pair]
    real = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "cell",
        [helper.make_tensor_value_info("h0", real, [1, 40])],
        [helper.make_tensor_value_info(f"h{count}", real, [1, 40])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def test_steps_of_a_cell_share_their_weights_when_each_was_rewritten():
    graph = simplify(import_model(steps_of_one_cell()))
    products = [node for node in graph.nodes if node.op == "Dense"]
    assert len(products) == 4
    assert len({node.inputs[1] for node in products}) == 1
    assert len(graph.constants) == 1
