"""Double precision becomes float32, for whoever has no such numbers: generated sources."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import onnx

from compiler_core.graph.attributes import freeze
from compiler_core.graph.ir import Graph, Node

_FLOAT, _DOUBLE = 1, 11
_LARGEST = float(np.finfo(np.float32).max)


def has_doubles(graph: Graph) -> bool:
    """Whether anything that a graph computes or holds is float64."""
    return any(known.dtype == "float64" for known in graph.types.values()) or any(
        array.dtype == np.float64 for array in graph.constants.values()
    )


@dataclass(frozen=True)
class DoublesToFloat:
    """Ports, constants, casts and tensors of float64 become float32.

    Finite constants beyond the range of float32 become its ends. A graph with subgraphs or calls of
    functions is left alone: they may depend on the type.
    """

    name: ClassVar[str] = "doubles-to-float"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`compiler_core.graph.passes.rewriter.GraphPass`."""
        if not has_doubles(graph) or any(node.opaque for node in graph.nodes):
            return graph
        functions = map(onnx.FunctionProto.FromString, graph.functions)
        own = {(function.domain, function.name) for function in functions}
        if any((node.domain, node.op) in own for node in graph.nodes):
            return graph
        types = {
            name: replace(known, dtype="float32") if known.dtype == "float64" else known
            for name, known in graph.types.items()
        }
        constants = {name: _narrowed(array) for name, array in graph.constants.items()}
        nodes = tuple(_node(node) for node in graph.nodes)
        return replace(graph, nodes=nodes, constants=constants, types=types)


def _narrowed(value: Any) -> Any:
    """An array of float64 as one of float32; anything else as it is."""
    if not isinstance(value, np.ndarray) or value.dtype != np.float64:
        return value
    within = np.clip(value, -_LARGEST, _LARGEST)
    return freeze(np.where(np.isfinite(value), within, value).astype(np.float32))


def _node(node: Node) -> Node:
    known = {key: _narrowed(value) for key, value in node.attributes.items()}
    for key in ("to", "dtype", "stash_type", "softmax_precision"):
        if known.get(key) == _DOUBLE:
            known[key] = _FLOAT
    return replace(node, attributes=known)
