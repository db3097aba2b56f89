"""Half precision inside a model becomes float32, from which any unit's numbers are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from compiler_core.graph.attributes import freeze
from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node, TensorType

_HALF = ("float16", "bfloat16")
_FLOAT, _FLOAT16, _BFLOAT16 = 1, 10, 16


@dataclass(frozen=True)
class HalfToFloat:
    """Constants, casts and tensors of float16 and bfloat16 become float32.

    Inputs and outputs of the model keep their type, behind a Cast. A graph with subgraphs or
    operators of other domains, as functions are, is left alone: they may depend on the type.
    """

    name: ClassVar[str] = "half-to-float"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        if not any(known.dtype in _HALF for known in graph.types.values()):
            return graph
        if any(map(_is_foreign, graph.nodes)):
            return graph
        inner = {
            name
            for name, known in graph.types.items()
            if known.dtype in _HALF and name not in (*graph.inputs, *graph.outputs)
        }
        borders = [
            name
            for name in (*graph.inputs, *graph.outputs)
            if name in graph.types and graph.types[name].dtype in _HALF
        ]
        if not inner and all(_is_border_cast(node, borders) for node in graph.nodes):
            return graph
        return _Widening(graph, borders).graph()


def _is_foreign(node: Node) -> bool:
    """Whether it may depend on types in a way that is not known here."""
    return bool(node.opaque) or node.domain not in ("", NEST_DOMAIN)


def _is_border_cast(node: Node, borders: list[str]) -> bool:
    touched = {*node.inputs, *node.outputs} & set(borders)
    return node.op == "Cast" or not touched


class _Widening:
    def __init__(self, graph: Graph, borders: list[str]) -> None:
        self._graph = graph
        self._names = {*graph.types, *graph.constants, *graph.inputs}
        self._names |= {name for node in graph.nodes for name in (node.name, *node.outputs)}
        self._wide = {name: self._fresh(f"{name}/float32") for name in borders}
        self._types = {
            name: replace(known, dtype="float32") if self._narrow(name, known) else known
            for name, known in graph.types.items()
        }

    def _narrow(self, name: str, known: TensorType) -> bool:
        return known.dtype in _HALF and name not in self._wide

    def graph(self) -> Graph:
        graph = self._graph
        constants = {
            name: freeze(array.astype(np.float32)) if str(array.dtype) in _HALF else array
            for name, array in graph.constants.items()
        }
        before = [
            self._cast(name, self._wide[name], _FLOAT)
            for name in graph.inputs
            if name in self._wide
        ]
        after = []
        for name in graph.outputs:
            if name in self._wide and name not in graph.inputs and name not in graph.constants:
                number = _FLOAT16 if graph.types[name].dtype == "float16" else _BFLOAT16
                after.append(self._cast(self._wide[name], name, number))
        for name, wide in self._wide.items():
            self._types[wide] = replace(graph.types[name], dtype="float32")
        dynamic = {self._wide[name] for name in graph.dynamic_batch if name in self._wide}
        return replace(
            graph,
            nodes=(*before, *(self._node(node) for node in graph.nodes), *after),
            constants=constants,
            types=self._types,
            dynamic_batch=graph.dynamic_batch | dynamic,
        )

    def _node(self, node: Node) -> Node:
        attributes: dict[str, Any] = dict(node.attributes)
        for key in ("to", "dtype"):
            if attributes.get(key) in (_FLOAT16, _BFLOAT16):
                attributes[key] = _FLOAT
        value = attributes.get("value")
        if isinstance(value, np.ndarray) and str(value.dtype) in _HALF:
            attributes["value"] = freeze(value.astype(np.float32))
        return replace(
            node,
            inputs=tuple(self._wide.get(name, name) for name in node.inputs),
            outputs=tuple(self._wide.get(name, name) for name in node.outputs),
            attributes=attributes,
        )

    def _cast(self, source: str, target: str, number: int) -> Node:
        name = self._fresh(f"{target}/cast")
        return Node(name, "Cast", (source,), (target,), {"to": number})

    def _fresh(self, wanted: str) -> str:
        name = wanted
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name
