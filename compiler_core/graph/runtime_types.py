"""Types of what operators of onnxruntime's own give, which ONNX's shape inference leaves open.

onnxruntime infers them as it loads a model: each operator is loaded alone, with the types of its
inputs, and asked for those of its results.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import onnx
from onnx import TensorProto, helper

from compiler_core.graph.runtime import RUNTIME_ERRORS, open_session

DOMAIN = "com.microsoft"
_IR = 8
_ELEMENTS = {
    "tensor(float)": "FLOAT",
    "tensor(float16)": "FLOAT16",
    "tensor(double)": "DOUBLE",
    "tensor(int64)": "INT64",
    "tensor(int32)": "INT32",
    "tensor(int8)": "INT8",
    "tensor(uint8)": "UINT8",
    "tensor(bool)": "BOOL",
}


def runtime_values(
    node: onnx.NodeProto,
    known: Mapping[str, onnx.ValueInfoProto],
    constants: Mapping[str, onnx.TensorProto],
    opset: int,
) -> list[onnx.ValueInfoProto]:
    """Types of an operator's results; none where those of its inputs are not known.

    Args:
        node: Of onnxruntime's own domain.
        known: Types by tensor.
        constants: What says more than its type, by tensor.
        opset: Of the standard's operators, by which types of elements are allowed.
    """
    names = dict.fromkeys(filter(None, node.input))
    if any(name not in known for name in names):
        return []
    ports = [known[name] for name in names if name not in constants]
    given = [constants[name] for name in names if name in constants]
    asked = [
        helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None)
        for name in filter(None, node.output)
    ]
    for value in asked:
        value.ClearField("type")
    graph = helper.make_graph([node], "one", ports, asked, given)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
    return [
        helper.make_tensor_value_info(name, element, shape)
        for name, element, shape in _results(model.SerializeToString())
    ]


@lru_cache(maxsize=1024)
def _results(content: bytes) -> tuple[tuple[str, int, tuple[int, ...]], ...]:
    """Name, element type and shape of results of which all is known."""
    model = onnx.ModelProto.FromString(content)
    try:
        session = open_session(model, optimize=False, portable=False, guarded=False)
    except RUNTIME_ERRORS:
        return ()
    found = []
    for value in session.get_outputs():
        sizes, element = tuple(value.shape or ()), _ELEMENTS.get(value.type)
        if element and sizes and all(isinstance(size, int) and size >= 0 for size in sizes):
            found.append((value.name, int(TensorProto.DataType.Value(element)), sizes))
    return tuple(found)
