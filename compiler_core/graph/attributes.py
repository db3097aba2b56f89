"""Attributes of nodes as Python values and back; what a subgraph reads from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from compiler_core.graph.ir import Node

_PLAIN = {
    onnx.AttributeProto.FLOAT,
    onnx.AttributeProto.INT,
    onnx.AttributeProto.STRING,
    onnx.AttributeProto.FLOATS,
    onnx.AttributeProto.INTS,
    onnx.AttributeProto.STRINGS,
    onnx.AttributeProto.TENSOR,
}


def freeze(array: npt.NDArray[Any]) -> npt.NDArray[np.generic]:
    """A read-only array with the same content; it never aliases a writable one."""
    frozen = np.array(array, copy=True, order="C") if array.flags.writeable else array
    frozen.setflags(write=False)
    return frozen


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def read_attributes(
    protos: Iterable[onnx.AttributeProto],
) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """Split a node's attributes into Python values and opaque serialized ones.

    Subgraphs, types, sparse tensors and empty lists (whose element type a Python value would lose)
    stay opaque.
    """
    plain: dict[str, Any] = {}
    opaque: list[bytes] = []
    for proto in protos:
        if proto.type not in _PLAIN:
            opaque.append(proto.SerializeToString(deterministic=True))
            continue
        if proto.type == onnx.AttributeProto.TENSOR:
            plain[proto.name] = freeze(onnx.numpy_helper.to_array(proto.t))
            continue
        value = onnx.helper.get_attribute_value(proto)
        if proto.type == onnx.AttributeProto.STRING:
            plain[proto.name] = _text(value)
        elif proto.type in (onnx.AttributeProto.FLOAT, onnx.AttributeProto.INT):
            plain[proto.name] = value
        elif not value:
            opaque.append(proto.SerializeToString(deterministic=True))
        elif proto.type == onnx.AttributeProto.STRINGS:
            plain[proto.name] = tuple(_text(item) for item in value)
        else:
            plain[proto.name] = tuple(value)
    return plain, tuple(opaque)


def write_attributes(
    attributes: Mapping[str, Any], opaque: Iterable[bytes]
) -> list[onnx.AttributeProto]:
    """The inverse of :func:`read_attributes`."""
    protos = []
    for name, value in attributes.items():
        if isinstance(value, np.ndarray):
            value = onnx.numpy_helper.from_array(value)
        protos.append(onnx.helper.make_attribute(name, value))
    return protos + [onnx.AttributeProto.FromString(item) for item in opaque]


def _graph_reads(graph: onnx.GraphProto, found: set[str]) -> None:
    defined = {item.name for item in graph.input} | {item.name for item in graph.initializer}
    defined |= {item.values.name for item in graph.sparse_initializer}
    for node in graph.node:
        inner: set[str] = set(node.input)
        for attribute in node.attribute:
            _attribute_reads(attribute, inner)
        found |= inner - defined - {""}
        defined |= set(node.output)
    found |= {item.name for item in graph.output} - defined


def _attribute_reads(proto: onnx.AttributeProto, found: set[str]) -> None:
    if proto.HasField("g"):
        _graph_reads(proto.g, found)
    for graph in proto.graphs:
        _graph_reads(graph, found)


@lru_cache(maxsize=4096)
def _opaque_reads(opaque: bytes) -> frozenset[str]:
    found: set[str] = set()
    _attribute_reads(onnx.AttributeProto.FromString(opaque), found)
    return frozenset(found)


def names_read(nodes: Iterable[Node], outputs: Iterable[str]) -> set[str]:
    """Tensors that nodes, their subgraphs or the caller of a graph read."""
    found = set(outputs)
    for node in nodes:
        found.update(node.inputs)
        if node.opaque:
            found |= implicit_inputs(node)
    return found


def implicit_inputs(node: Node) -> frozenset[str]:
    """Tensors that the subgraphs of ``node`` read from the graph around it."""
    if not node.opaque:  # almost every node
        return frozenset()
    return frozenset().union(*(_opaque_reads(item) for item in node.opaque))
