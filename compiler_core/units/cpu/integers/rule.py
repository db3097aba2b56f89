"""Rules that operators on integers share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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


def has_known_tensors(graph: Graph, node: Node) -> str | None:
    """Why the tensors of a node are none of real numbers whose shapes are known."""
    for name in filter(None, (*node.inputs, *node.outputs)):
        constant = graph.constants.get(name)
        if constant is not None:
            if constant.dtype.kind == "f" and not np.isfinite(constant).all():
                return f"'{name}' holds NaN or infinity"
            continue
        known = graph.types.get(name)
        if known is None or known.shape is None or None in known.shape:
            return f"'{name}' is of unknown shape"
        if known.dtype != "float32":
            return f"'{name}' is {known.dtype}"
        if 0 in known.shape:
            return f"'{name}' is empty"
    return None
