"""Constants of wrong shapes and places that inference lets pass: no pass may fail at them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.spelled.spelled_out import SpelledOut

Constants = list[Any]


def model(operator: str, x: list[Any], constants: Constants, **attributes: Any) -> onnx.ModelProto:
    """One operator; a constant ``None`` is an input without a name."""
    value = helper.make_tensor_value_info
    names = ["" if array is None else f"c{at}" for at, array in enumerate(constants)]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *names], ["y"], **attributes)],
        "one",
        [value("x", onnx.TensorProto.FLOAT, x)],
        [value("y", onnx.TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(array, name)
            for array, name in zip(constants, names, strict=True)
            if array is not None
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("operator", "x", "constants", "attributes"),
    [
        ("InstanceNormalization", [1, 3, 6, 6], [ones(1, 3, 2), ones(3)], {}),
        ("InstanceNormalization", [1, 3, 6, 6], [ones(3), ones(0)], {}),
        ("LayerNormalization", [1, 4, 12, 2], [ones(12), ones(12)], {"axis": 1}),
        ("LayerNormalization", [1, 4, 12], [ones(2, 4, 12), ones(12)], {"axis": 1}),
        ("ScatterND", ["b", 12], [np.array([2, -2]), ones(12)], {}),
        ("ScatterND", [2, 3], [np.array([[5]]), ones(1, 3)], {}),
        ("GatherND", [2, 3], [np.array([[7]])], {}),
        ("ReverseSequence", [4, 3], [np.array([1, 2])], {}),
        ("Reshape", ["b", 3, 6], [np.array(-1)], {}),
    ],
)
def test_no_pass_fails(
    operator: str, x: list[Any], constants: Constants, attributes: dict[str, Any]
) -> None:
    try:
        graph = simplify(import_model(model(operator, x, constants, **attributes)))
        SpelledOut().apply(graph)
    except InputError:
        pass  # the runtime judges


@pytest.mark.parametrize(
    ("operator", "constants", "attributes"),
    [
        ("Einsum", [None], {"equation": "bi,ij->bj"}),
        ("Sum", [None, ones(12)], {}),
        ("Max", [None], {}),
        ("Concat", [None], {"axis": 1}),
    ],
)
def test_a_list_of_inputs_has_no_gaps(
    operator: str, constants: Constants, attributes: dict[str, Any]
) -> None:
    """onnxruntime reads what is not there, and the process ends."""
    with pytest.raises(InputError, match=rf"\({operator}\): input 1 has no name|{operator}"):
        import_model(model(operator, [1, 12], constants, **attributes))
