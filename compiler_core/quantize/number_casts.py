"""Parts of models in numbers of a unit's own as ONNX: float32 operators between casts.

Every tensor that such a unit holds is cast to its format and back, so that it has the numbers that
the unit has; what is summed between is summed in float32, in an order of the runtime's.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx import TensorProto, helper

CASTS_FROM_OPSET = 13
"""Version of the default operator set since which ``Cast`` knows bfloat16."""


def with_casts(
    model: onnx.ModelProto, number: str, written: Collection[str], taken: Collection[str]
) -> onnx.ModelProto:
    """A part of a model with casts.

    Args:
        model: Its nodes in float32.
        number: Name of the format; one that ONNX does not have leaves the part as it is.
        written: Tensors of the model that its nodes write.
        taken: Names that casts may not have.
    """
    known = TensorProto.DataType.keys()
    if number.upper() not in known:
        return model
    to = TensorProto.DataType.Value(number.upper())
    constants = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    floats = {
        value.name
        for value in model.graph.input
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    held = floats | constants
    names: dict[str, str] = {}
    nodes = []
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            if name in held and name not in names:
                names[name] = _fresh(f"{name}/{number}", taken)
                nodes += _casts(name, names[name], to)
            node.input[position] = names.get(name, name)
        nodes.append(node)
        for position, name in enumerate(node.output):
            if name in written:
                node.output[position] = _fresh(f"{name}/sums", taken)
                nodes += _casts(node.output[position], name, to)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _fresh(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _casts(source: str, result: str, to: int) -> list[onnx.NodeProto]:
    narrow = f"{result}/narrow"
    return [
        helper.make_node("Cast", [source], [narrow], name=f"{result}/cast", to=to),
        helper.make_node("Cast", [narrow], [result], name=f"{result}/back", to=TensorProto.FLOAT),
    ]
