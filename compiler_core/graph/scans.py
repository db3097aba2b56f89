"""What a Scan runs, and how often: as a graph of its own, so that its work can be counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx

from compiler_core.errors import InputError
from compiler_core.graph.attributes import implicit_inputs
from compiler_core.graph.containers import is_container
from compiler_core.graph.dtypes import array_dtype_name, dtype_number
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph, Node, TensorType

_STATES_FIRST = 9
"""Scan has no batch of its own since then."""


@dataclass(frozen=True)
class ScanBody:
    """What a Scan does.

    Attributes:
        graph: One time; what it reads from around it is an input.
        times: How often.
    """

    graph: Graph
    times: int


def scan_body(graph: Graph, node: Node) -> ScanBody | None:
    """The body of a Scan over an axis of known length; ``None`` for other nodes, and where shapes
    in the body follow only from values."""
    if node.op != "Scan" or node.domain or graph.opsets.get("", 0) < _STATES_FIRST:
        return None
    key = (__name__, node.name)
    if key not in graph.derived:
        graph.derived[key] = _read(graph, node)
    found: ScanBody | None = graph.derived[key]
    return found


def _read(graph: Graph, node: Node) -> ScanBody | None:
    protos = [onnx.AttributeProto.FromString(item) for item in node.opaque]
    count = int(node.attributes.get("num_scan_inputs", 0))
    if len(protos) != 1 or protos[0].name != "body" or not 0 < count <= len(node.inputs):
        return None
    body = onnx.GraphProto.FromString(protos[0].g.SerializeToString())
    if len(body.input) != len(node.inputs):
        return None
    axes = node.attributes.get("scan_input_axes") or (0,) * count
    types = [_type(graph, name) for name in node.inputs]
    first, times = len(node.inputs) - count, set[int | None]()
    for place, (value, known) in enumerate(zip(body.input, types, strict=True)):
        if known is None or known.shape is None:
            return None
        shape = list(known.shape)
        if place >= first:
            axis = int(axes[place - first])
            if not -len(shape) <= axis < len(shape):
                return None
            times.add(shape.pop(axis))
        _declare(value, known.dtype, shape)
    for name in sorted(implicit_inputs(node)):
        outer = _type(graph, name)
        if outer is None or outer.shape is None:
            return None
        _declare(body.input.add(name=name), outer.dtype, list(outer.shape))
    known_times = times.pop() if len(times) == 1 else None
    if known_times is None:
        return None
    opsets = [onnx.helper.make_opsetid(*item) for item in graph.opsets.items()]
    try:
        inner = import_model(onnx.helper.make_model(body, opset_imports=opsets))
    except InputError:
        return None
    return None if any(_open_results(inner)) else ScanBody(inner, known_times)


def _open_results(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        for name in filter(None, node.outputs):
            known = graph.types.get(name)
            if known is None or known.shape is None or None in known.shape:
                yield name


def _type(graph: Graph, name: str) -> TensorType | None:
    if name in graph.constants:
        array = graph.constants[name]
        return TensorType(array_dtype_name(array), array.shape)
    known = graph.types.get(name)
    return None if known is None or is_container(known.dtype) else known


def _declare(value: onnx.ValueInfoProto, dtype: str, shape: Sequence[int | None]) -> None:
    value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, dtype_number(dtype), shape))
