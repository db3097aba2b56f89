"""Old operator sets: what is raised to a newer one computes the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession

Array = npt.NDArray[np.float32]


def _rows(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).uniform(1, 2, shape).astype(np.float32)


def _placed(other: Array, axis: int, rank: int) -> Array:
    """``other`` with its first axis at ``axis`` of an array of ``rank`` axes."""
    return other.reshape(*other.shape, *[1] * (rank - axis % rank - other.ndim))


@pytest.mark.parametrize("opset", [1, 4, 5, 6])
@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize(
    ("op", "shape", "axis"),
    [
        ("Add", (3,), 1), ("Mul", (3,), -3), ("Sub", (3, 4), 1), ("Div", (4,), 2),
        ("Add", (5,), 3), ("Mul", (4, 5), 2), ("Add", (2, 3), 0),
    ],
)  # fmt: skip
def test_axes_of_the_second_input_lie_where_the_file_says(
    op: str, shape: tuple[int, ...], axis: int, computed: bool, opset: int
) -> None:
    data, other = _rows(2, 3, 4, 5), _rows(*shape)
    nodes = [helper.make_node(op, ["x", "b"], ["y"], broadcast=1, axis=axis)]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape)]
    if computed:
        nodes.insert(0, helper.make_node("Exp", ["c"], ["b"]))
        inputs.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, shape))
    else:
        inputs.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, shape))
    constants = [] if computed else [numpy_helper.from_array(other, "b")]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, data.shape)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)
    onnx.checker.check_model(model)
    feeds = {"x": data, "c": np.log(other)} if computed else {"x": data}
    found = FloatSession(simplify(import_model(model))).run(feeds)["y"]
    function = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[op]
    np.testing.assert_allclose(found, function(data, _placed(other, axis, 4)), rtol=1e-5)


def test_the_oldest_forms_of_operators_compute_the_same() -> None:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("Relu", ["c"], ["r"], consumed_inputs=[0]),
        node("Pad", ["r"], ["q"], mode="constant", paddings=[0, 0, 0, 1, 0, 0, 0, 1], value=0.0),
        node("MaxPool", ["q"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Dropout", ["p"], ["d"], is_test=1, consumed_inputs=[0]),
        node("Concat", ["d", "d"], ["t"]),
        node("Cast", ["t"], ["i"], to="INT32"),
        node("Cast", ["i"], ["f"], to="FLOAT"),
        node("Reshape", ["f"], ["y"], shape=[1, -1]),
    ]
    weight = _rows(4, 1, 3, 3)
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4]),
        helper.make_tensor_value_info("w", TensorProto.FLOAT, weight.shape),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        ends,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 48])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 1)], ir_version=3)
    data = _rows(1, 1, 4, 4)
    found = FloatSession(simplify(import_model(model))).run({"x": data})["y"]
    padded = np.pad(data[0, 0], 1)
    layers = np.array(
        [
            [[(padded[i : i + 3, j : j + 3] * w[0]).sum() for j in range(4)] for i in range(4)]
            for w in weight
        ]
    )
    wide = np.pad(np.maximum(layers, 0), [(0, 0), (0, 0), (1, 1)])
    pooled = wide.reshape(4, 2, 2, 3, 2).max(axis=(2, 4))
    wanted = np.trunc(np.concatenate([pooled, pooled])).reshape(1, -1)
    np.testing.assert_array_equal(found, wanted)
