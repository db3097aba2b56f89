"""Values that are compared with a selection of themselves, as where peaks of a heat map are what a
max pool leaves as it is.

``x == max_pool(x)`` says nothing any more where one side was rounded to int8 and the other not, or
to another scale. What lies between the two sides of such a comparison has to hand on the very
numbers that it reads: it stays in float on the CPU, wherever it is placed.
"""

from __future__ import annotations

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.views import VIEW_OPERATORS

_COMPARE = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
_SELECT = ("MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin", "Max", "Min", "TopK")
_MOVE = ("Slice", "Expand", "Tile", "Concat", "Split", "Gather", "Pad")
_HAND_ON = {*_SELECT, *_MOVE, *VIEW_OPERATORS}
_REASON = "Its values are compared with those that it takes them from: both stay the same numbers."


def compared(graph: Graph) -> dict[str, str]:
    """Operators between a tensor and its comparison with itself, and why they stay in float.

    Args:
        graph: Simplified.

    Returns:
        Reason by name of the node.
    """
    found: dict[str, str] = {}
    for node in graph.nodes:
        if node.op in _COMPARE:
            one, other = (_handed_on(graph, name) for name in node.inputs[:2])
            apart = one.symmetric_difference(other) if one & other else set()
            makers = (graph.producer(name) for name in apart)
            found |= {maker.name: _REASON for maker in makers if maker is not None}
    return found


def _handed_on(graph: Graph, tensor: str) -> set[str]:
    """A tensor and all that its values are taken from as they are."""
    open_, found = [tensor], {tensor}
    while open_:
        node = graph.producer(open_.pop())
        if node is not None and _hands_on(node):
            fresh = {name for name in node.inputs if name and name not in graph.constants} - found
            found |= fresh
            open_ += sorted(fresh)
    return found


def _hands_on(node: Node) -> bool:
    return node.op in _HAND_ON and node.clip is None
