"""Sizes that are computed of sizes are followed node by node, as deep as they go.

Exports with open axes compute the padding of a window, or where a tensor is cut, from the shape of
what the window reads: the shape of a layer's result is known when the sizes before it are
constants, and the sizes behind it when that shape is. Shape inference follows values through few
operators, so that it and folding would have to take turns once a layer. Here one walk does both:
shapes that are known become constants, small results over constants are computed where a type
waits for them, and the type of a node is inferred from its own inputs alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.attributes import freeze, implicit_inputs
from compiler_core.graph.dtypes import array_dtype_name
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.passes.constant_folding import QUANTIZATION, is_pure, shape_value
from compiler_core.graph.passes.rewriter import is_op
from compiler_core.graph.session import FloatSession
from compiler_core.graph.shapes import types_of_results
from compiler_core.graph.work import elements

_SMALL = 1024
"""Elements of the largest value that is followed."""


@dataclass(frozen=True)
class FollowedShapes:
    """Replaces shapes, and what is computed of them, by constants, in the order of the nodes."""

    name: ClassVar[str] = "followed-shapes"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        if all(_is_known(graph.types.get(n)) for node in graph.nodes for n in node.outputs if n):
            return graph
        walk = _Walk(graph)
        for node in graph.nodes:
            walk.visit(node)
        return walk.finish()


class _Walk:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types = dict(graph.types)
        self.small = {k: v for k, v in graph.constants.items() if v.size <= _SMALL}
        self.found: dict[str, npt.NDArray[Any]] = {}
        self.waiting: dict[str, Node] = {}

    def visit(self, node: Node) -> None:
        """Finds the value of a shape, the type of a result, or that its value could be found."""
        source = node.inputs[0] if node.inputs else ""
        if is_op(node, "Shape", "Size") and self._is_free(source):
            shape = tuple(size or 0 for size in self.types[source].shape or ())
            self._hold(node.output, shape_value(node, shape))
            return
        if not all(_is_known(self.types.get(name)) for name in node.outputs if name):
            self._infer(node)
        read = [name for name in node.inputs if name]
        if not is_pure(node) or node.op in QUANTIZATION:
            return
        if all(name in self.small or name in self.waiting for name in read):
            sizes = [elements(self.types.get(name)) for name in node.outputs if name]
            if all(size is not None and size <= _SMALL for size in sizes):
                self.waiting |= dict.fromkeys(filter(None, node.outputs), node)

    def finish(self) -> Graph:
        """The graph without the nodes whose values are known."""
        graph = self.graph
        gone = self.found.keys() - {*graph.outputs}
        kept = tuple(n for n in graph.nodes if not {*filter(None, n.outputs)} <= gone)
        if len(kept) == len(graph.nodes):
            return graph
        used = {name for node in kept for name in (*node.inputs, *implicit_inputs(node))}
        constants = {**graph.constants, **self.found}
        own = {name for node in kept for name in node.outputs}
        return replace(
            graph,
            nodes=kept,
            constants={
                k: v for k, v in constants.items() if k not in own and k in {*used, *graph.outputs}
            },
            types={k: v for k, v in graph.types.items() if k not in gone}
            | {k: TensorType(array_dtype_name(self.found[k]), self.found[k].shape) for k in gone},
        )

    def _is_free(self, name: str) -> bool:
        return _is_known(self.types.get(name)) and self.graph.batch_free(name)

    def _hold(self, name: str, value: npt.NDArray[Any]) -> None:
        self.found[name] = self.small[name] = freeze(value)
        self.types[name] = TensorType(array_dtype_name(value), value.shape)

    def _infer(self, node: Node) -> None:
        """The types of a node's results, from the types and values of what it reads."""
        read = tuple(dict.fromkeys(filter(None, node.inputs)))
        if node.opaque or not all(self._is_free(name) for name in read):
            return
        self._compute(read)
        found = types_of_results(self._part((node,), node.outputs))
        self.types |= {n: found[n] for n in node.outputs if n and _is_known(found.get(n))}

    def _compute(self, names: tuple[str, ...]) -> None:
        """Values of what waits to be computed, all nodes that they need in one session."""
        needed: dict[str, Node] = {}
        open_ = [name for name in names if name in self.waiting]
        while open_:
            node = self.waiting.pop(open_.pop(), None)
            if node is not None:
                needed[node.name] = node
                open_ += [name for name in node.inputs if name in self.waiting]
        nodes = self.graph.named(needed)
        results = [name for node in nodes for name in node.outputs if name]
        try:
            values = (
                FloatSession(self._part(nodes, results), optimize=False).run({}) if nodes else {}
            )
        except InputError:  # they stay computed
            return
        for name, value in values.items():
            self._hold(name, value)

    def _part(self, nodes: Sequence[Node], outputs: Sequence[str]) -> Graph:
        """Nodes as a graph, over constants where values are known."""
        own = {name for node in nodes for name in node.outputs}
        read = dict.fromkeys(name for node in nodes for name in node.inputs if name)
        outside = [name for name in read if name not in own]
        return replace(
            self.graph,
            inputs=tuple(name for name in outside if name not in self.small),
            outputs=tuple(filter(None, outputs)),
            nodes=tuple(nodes),
            constants={name: self.small[name] for name in outside if name in self.small},
            types={name: self.types[name] for name in (*read, *own) if name in self.types},
            dynamic_batch=frozenset(),
            batch_dependent=frozenset(),
            sample_axes={},
        )


def _is_known(known: TensorType | None) -> bool:
    return known is not None and known.shape is not None and None not in known.shape
