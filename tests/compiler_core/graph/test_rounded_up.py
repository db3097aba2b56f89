from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession

_OPSETS = {"AveragePool": (10, 11, 18, 19, 22), "MaxPool": (10, 12, 18, 22), "LpPool": (18, 22)}
_DILATED = {"AveragePool": 19, "MaxPool": 10, "LpPool": 18}


def drawn_pool(random: np.random.Generator) -> tuple[ModelProto, tuple[int, ...]]:
    """A pool whose size is rounded up, and one of its result."""
    op = str(random.choice([*_OPSETS]))
    opset, axes = int(random.choice(_OPSETS[op])), int(random.integers(1, 4))
    kernel = random.integers(1, 5, axes).tolist()
    known: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": random.integers(1, 7, axes).tolist(),
        "ceil_mode": 1,
    }
    if random.random() < 0.1 and op != "LpPool":
        known["auto_pad"] = "VALID"
    elif random.random() < 0.6:
        known["pads"] = [int(random.integers(0, k)) for k in kernel * 2]
    if opset >= _DILATED[op]:
        known["dilations"] = random.integers(1, 3, axes).tolist()
    if op == "AveragePool":
        known["count_include_pad"] = int(random.integers(2))
    shape = (1, 2, *(int(size) for size in random.integers(7, 14, axes)))
    nodes = [
        helper.make_node(op, ["x"], ["a"], **known),
        helper.make_node("MaxPool", ["a"], ["y"], kernel_shape=[1] * axes, strides=[2] * axes,
                         ceil_mode=1),
    ]  # fmt: skip
    ports = (
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(
        helper.make_graph(nodes, "g", *ports), opset_imports=imports, ir_version=8
    ), shape


def test_pads_that_follow_from_the_size_leave_nothing_to_round() -> None:
    for auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        known = {"kernel_shape": [3, 1], "strides": [2, 3], "ceil_mode": 1, "auto_pad": auto_pad}
        ports = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
            for name, shape in (("x", (1, 2, 6, 2)), ("y", None))
        ]
        node = helper.make_node("MaxPool", ["x"], ["y"], **known)
        graph = helper.make_graph([node], "g", *ports)
        opsets = [helper.make_opsetid("", 18)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        assert import_model(model).types["y"].shape == (1, 2, 3, 1)


@pytest.mark.parametrize("seed", range(2))
def test_sizes_are_those_of_the_runtime(seed: int) -> None:
    random = np.random.default_rng(seed)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    for _ in range(32):
        model, shape = drawn_pool(random)
        x = random.normal(size=shape).astype(np.float32)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        [wanted] = session.run(None, {"x": x})
        graph = import_model(model)
        found = graph.types["y"].shape
        assert found == wanted.shape, model.graph.node[0]
        simple = simplify(graph)
        assert simple.types["y"].shape == wanted.shape
        [given] = FloatSession(simple).run({"x": x}).values()
        np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=1e-6)
