"""Inputs and outputs of element types that NumPy and ``.npz`` files lack, as types that they have.

bfloat16 and floats of 8 and 4 bits become float32, integers of 4 and 2 bits int8 or uint8: the
caller feeds and gets those, and a Cast inside the model converts. Every value of the narrow type is
one of the wide type, so nothing is lost.

Lists of dictionaries, which ZipMap makes of a classifier's scores, stay the scores: a column per
class, in the order in which the model lists its classes.
"""

from __future__ import annotations

import onnx

_IDENTITY_OPSET = 13
"""Where a model imports classical learners alone."""
_INTEGERS = {"INT4": "INT8", "UINT4": "UINT8", "INT2": "INT8", "UINT2": "UINT8"}


def _wide() -> dict[int, int]:
    names = dict(onnx.TensorProto.DataType.items())
    narrow = {name: "FLOAT" for name in names if name == "BFLOAT16" or name.startswith("FLOAT8")}
    narrow |= {name: "FLOAT" for name in names if name.startswith("FLOAT4")} | _INTEGERS
    return {names[name]: names[wide] for name, wide in narrow.items() if name in names}


_WIDE = _wide()


def plain_ports(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with casts at inputs and outputs of narrow types, and scores in place of their
    dictionaries; itself where there are none."""
    model = _without_maps(model)
    fed = {item.name for item in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if _is_narrow(value, fed)]
    outputs = [value.name for value in model.graph.output if _is_narrow(value, set())]
    if not inputs and not outputs:
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    taken = _names(graph)
    new: dict[str, str] = {}
    for name in dict.fromkeys((*inputs, *outputs)):
        inner = f"{name}/narrow"
        while inner in taken:
            inner += "_"
        taken.add(inner)
        new[name] = inner
    _rename(graph, new)
    for tensor in graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    for name, inner in new.items():
        if name in inputs:
            value = next(item for item in graph.input if item.name == name)
            number = value.type.tensor_type.elem_type
            graph.node.insert(0, _cast(name, inner, number))
            value.type.tensor_type.elem_type = _WIDE[number]
    for name in outputs:
        value = next(item for item in graph.output if item.name == name)
        wide = _WIDE[value.type.tensor_type.elem_type]
        if name not in inputs:
            graph.node.append(_cast(new[name], name, wide))
        value.type.tensor_type.elem_type = wide
    del graph.value_info[:]
    return changed


def _without_maps(model: onnx.ModelProto) -> onnx.ModelProto:
    zipped = {
        node.output[0]: place
        for place, node in enumerate(model.graph.node)
        if node.op_type == "ZipMap" and len(node.input) == len(node.output) == 1
    }
    outputs = [value.name for value in model.graph.output if value.name in zipped]
    if not outputs:
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value in changed.graph.output:
        if value.name in outputs:
            node = changed.graph.node[zipped[value.name]]
            scores = onnx.helper.make_node("Identity", node.input, node.output, name=node.name)
            node.CopyFrom(scores)
            value.type.Clear()
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    if not any(item.domain in ("", "ai.onnx") for item in changed.opset_import):
        changed.opset_import.append(onnx.helper.make_opsetid("", _IDENTITY_OPSET))
    return changed


def _is_narrow(value: onnx.ValueInfoProto, fed: set[str]) -> bool:
    return value.name not in fed and value.type.tensor_type.elem_type in _WIDE


def _cast(source: str, result: str, number: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [source], [result], name=f"{result}/cast", to=number)


def _names(graph: onnx.GraphProto) -> set[str]:
    names = {item.name for item in (*graph.input, *graph.output, *graph.initializer)}
    for node in graph.node:
        names.update(node.input, node.output)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                names |= _names(inner)
    return names


def _rename(graph: onnx.GraphProto, new: dict[str, str]) -> None:
    """Renames tensors wherever nodes read or write them; subgraphs see those around them."""
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, new)
                for value in inner.output:
                    value.name = new.get(value.name, value.name)
