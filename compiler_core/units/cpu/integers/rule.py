"""Rules that operators on integers share."""

from __future__ import annotations

from collections.abc import Callable

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.host_arithmetic import HostTrait

Rule = Callable[[Graph, Node], HostTrait | str]
"""What a node does with integers, or why not; shapes and types are known when it is asked."""


def pointwise(_graph: Graph, _node: Node) -> HostTrait | str:
    """Always one loop."""
    return HostTrait.POINTWISE


def moves(graph: Graph, node: Node) -> HostTrait | str:
    """Moves values, as long as where to is known."""
    for name in node.inputs[1:]:
        if name and name not in graph.constants and graph.types[name].dtype != "float32":
            return f"'{name}' is computed at run time"
    return HostTrait.MOVES


def computes(_graph: Graph, _node: Node) -> HostTrait | str:
    """Always a loop of its own."""
    return HostTrait.COMPUTES
