"""Old operator sets: what is raised to a newer one computes the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.session import FloatSession
from compiler_core.graph.simplify import simplify

Array = npt.NDArray[np.float32]


def _rows(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).uniform(1, 2, shape).astype(np.float32)


def _placed(other: Array, axis: int, rank: int) -> Array:
    """``other`` with its first axis at ``axis`` of an array of ``rank`` axes."""
    return other.reshape(*other.shape, *[1] * (rank - axis % rank - other.ndim))


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize(
    ("op", "shape", "axis"),
    [
        ("Add", (3,), 1), ("Mul", (3,), -3), ("Sub", (3, 4), 1), ("Div", (4,), 2),
        ("Add", (5,), 3), ("Mul", (4, 5), 2), ("Add", (2, 3), 0),
    ],
)  # fmt: skip
def test_axes_of_the_second_input_lie_where_the_file_says(
    op: str, shape: tuple[int, ...], axis: int, computed: bool
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
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3)
    onnx.checker.check_model(model)
    feeds = {"x": data, "c": np.log(other)} if computed else {"x": data}
    found = FloatSession(simplify(import_model(model))).run(feeds)["y"]
    function = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[op]
    np.testing.assert_allclose(found, function(data, _placed(other, axis, 4)), rtol=1e-5)
