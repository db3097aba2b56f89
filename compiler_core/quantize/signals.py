"""Tensors of three axes that are signals, ``[N, channels, steps]``, and not tokens,
``[N, tokens, features]``.

What is computed element by element says nothing of its axes. What does, as a convolution or a
product, says it for all that is joined to it by such operators.
"""

from __future__ import annotations

from collections.abc import Iterator

from compiler_core.graph.ir import Graph
from compiler_core.graph.views import VIEW_OPERATORS

_OF_SIGNALS = frozenset(
    (
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "BatchNormalization",
        "InstanceNormalization",
        "Resize",
    )
)
_FOREIGN = 2
"""Axes in which tensors differ that have nothing to do with each other; one is sliced or joined."""
_OF_TOKENS = frozenset(("MatMul", "Gemm", "Einsum", "LayerNormalization", "Attention"))


def signals(graph: Graph) -> frozenset[str]:
    """Names of the tensors that are signals: joined to an operator that takes them, and to none
    that takes tokens.

    Args:
        graph: Simplified.
    """
    found: frozenset[str] | None = graph.derived.get(__name__)
    if found is None:
        found = graph.derived[__name__] = frozenset(_found(graph))
    return found


def _found(graph: Graph) -> Iterator[str]:
    parent: dict[str, str] = {}
    votes: dict[str, set[bool]] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for node in graph.nodes:
        tensors = [name for name in (*node.inputs, *node.outputs) if _has_three_axes(graph, name)]
        if node.op in _OF_SIGNALS | _OF_TOKENS:
            for name in tensors:
                votes.setdefault(name, set()).add(node.op in _OF_SIGNALS)
        elif node.op not in VIEW_OPERATORS:
            for name in tensors[1:]:
                if _differ(graph, name, tensors[0]) < _FOREIGN:
                    parent[root(name)] = root(tensors[0])
    joined: dict[str, set[bool]] = {}
    for name, own in votes.items():
        joined.setdefault(root(name), set()).update(own)
    yield from (name for name in (*parent, *votes) if joined.get(root(name)) == {True})


def _has_three_axes(graph: Graph, name: str) -> bool:
    known = graph.types.get(name)
    return name not in graph.constants and known is not None and len(known.shape or ()) == 3


def _differ(graph: Graph, left: str, right: str) -> int:
    """Axes of different sizes, of two tensors of as many axes."""
    shapes = (graph.types[name].shape or () for name in (left, right))
    return sum(one != other for one, other in zip(*shapes, strict=True))
