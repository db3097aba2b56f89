"""A tiny network with seeded weights, for a run from import to verified program."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = (1, 16, 6, 6)
"""Of its input ``x``."""


def sample_model() -> onnx.ModelProto:
    """Convolution with ReLU, residual addition, global pool, dense layer."""
    random = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        values = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return numpy_helper.from_array(values.astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "first relu"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "x"], ["s"], "sum"),
        helper.make_node("GlobalAveragePool", ["s"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w3"], ["y"], "dense", transB=1),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 10))]
    weights = [weight("w1", 16, 16, 3, 3), weight("w2", 16, 16, 3, 3), weight("w3", 10, 16)]
    graph = helper.make_graph(nodes, "sample", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def sample_inputs(count: int) -> dict[str, npt.NDArray[np.float32]]:
    """Inputs with a standard normal distribution, ``float32[count, 16, 6, 6]``."""
    values = np.random.default_rng(1).standard_normal((count, *SHAPE[1:]))
    return {"x": values.astype(np.float32)}
