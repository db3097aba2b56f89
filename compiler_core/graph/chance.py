"""Operators that draw numbers: what they give differs from node to node, and from run to run."""

from __future__ import annotations

from compiler_core.graph.ir import Graph, Node

DRAWING = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
_DROPOUT = "Dropout"
_TRAINING_MODE = 2
"""Input of Dropout without which it gives what it reads."""


def draws(node: Node) -> bool:
    """Whether two nodes like this one may give different results for the same inputs."""
    return node.op in DRAWING or node.op == _DROPOUT


def depends_on_chance(graph: Graph) -> bool:
    """Whether two runs of a graph may differ: something in it draws numbers, in bodies of loops and
    functions, too."""
    names = [name.encode() for name in (*DRAWING, _DROPOUT)]
    inner = [*graph.functions, *(text for node in graph.nodes for text in node.opaque)]
    return any(map(_trains_or_draws, graph.nodes)) or any(
        name in text for text in inner for name in names
    )


def _trains_or_draws(node: Node) -> bool:
    trains = node.op == _DROPOUT and any(node.inputs[_TRAINING_MODE:])
    return trains or node.op in DRAWING
