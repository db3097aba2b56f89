"""The structure of a model from outside, bounded before anything walks through it.

Subgraphs nest, and functions call functions: a few bytes can stand for a graph of any size. Both
are counted here from the file alone; nothing is expanded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from compiler_core.errors import InputError

Key = tuple[str, str]

_DEFAULT_DOMAINS = ("", "ai.onnx")
SUBGRAPH_DEPTH_MAX = 16
"""Subgraphs within subgraphs; exporters stay below five."""

FUNCTION_DEPTH_MAX = 64
"""Functions that call functions; exporters follow the modules of a network, below twenty."""


def check_structure(model: onnx.ModelProto, nodes_max: int) -> None:
    """Refuses a model whose nodes, with subgraphs and functions written out, are too many.

    Args:
        model: As parsed.
        nodes_max: Nodes in all.

    Raises:
        InputError: Too many nodes, too deep, or a function calls itself.
    """
    functions = {(_domain(item.domain), item.name): item for item in model.functions}
    counter = _Counter(functions, nodes_max)
    for key in functions:
        counter.function(key, ())  # also one that nothing calls may call itself
    count, own = counter.nodes(model.graph.node, 0, ()), len(model.graph.node)
    if count > nodes_max:
        rest = ", with those of its subgraphs and functions" if count > own else ""
        raise InputError(
            f"{count} nodes{rest}; at most {nodes_max} are read",
            hint="export the model without repeating its parts",
        )


@dataclass
class _Counter:
    functions: Mapping[Key, onnx.FunctionProto]
    nodes_max: int

    def __post_init__(self) -> None:
        self._sizes: dict[Key, int] = {}

    def nodes(self, nodes: Iterable[onnx.NodeProto], depth: int, calls: tuple[Key, ...]) -> int:
        """Nodes with all that they stand for."""
        if depth > SUBGRAPH_DEPTH_MAX:
            raise InputError(
                f"subgraphs nest deeper than {SUBGRAPH_DEPTH_MAX} levels",
                hint="export the model without nested control flow",
            )
        total = 0
        for node in nodes:
            total += 1
            for attribute in node.attribute:
                for graph in (attribute.g, *attribute.graphs):
                    if graph.node:
                        total += self.nodes(graph.node, depth + 1, calls)
            key = (_domain(node.domain), node.op_type)
            if key in self.functions:
                total += self.function(key, calls)
        return total

    def function(self, key: Key, calls: tuple[Key, ...]) -> int:
        """Nodes that one call stands for."""
        if key in calls:
            cycle = " -> ".join(repr("::".join(item)) for item in (*calls[calls.index(key) :], key))
            raise InputError(
                f"function {'::'.join(key)!r} calls itself: {cycle}; functions of a model may not "
                "be recursive",
                hint="remove the function, or give it another name than the operator inside",
            )
        if len(calls) >= FUNCTION_DEPTH_MAX:
            raise InputError(f"functions call functions deeper than {FUNCTION_DEPTH_MAX} levels")
        if key not in self._sizes:
            # Never larger than asked for: the sizes of calling functions would grow without end.
            size = self.nodes(self.functions[key].node, 0, (*calls, key))
            self._sizes[key] = min(size, self.nodes_max + 1)
        return self._sizes[key]


def _domain(domain: str) -> str:
    return "" if domain in _DEFAULT_DOMAINS else domain
