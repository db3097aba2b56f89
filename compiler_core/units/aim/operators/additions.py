"""Additions behind dense layers: the CPU adds the other tensor, a residual, where it takes results
out of registers, in bfloat16 as EWADD would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from compiler_core.graph.ir import Graph, Node
from compiler_core.units.aim.operators.products import DENSE, node_products

_RELU = (0.0, float("inf"))


def product_of(graph: Graph, node: Node) -> Node | None:
    """The dense layer whose results an addition takes, nobody else reading them; of two the later
    one. ``None`` where it has none, or adds something of another shape."""
    if node.op != "Add" or node.clip not in (None, _RELU) or len(set(node.inputs)) != 2:
        return None
    known = [graph.types.get(name) for name in (*node.inputs, node.output)]
    shapes = {None if item is None else item.shape for item in known}
    if len(shapes) != 1 or None in shapes or any(n in graph.constants for n in node.inputs):
        return None
    found = [
        source
        for name in node.inputs
        if (source := graph.producer(name)) is not None and _is_taken(graph, source)
    ]
    if len(found) < 2:
        return found[0] if found else None
    return next(other for other in reversed(graph.nodes) if other in found)


def addition_of(graph: Graph, node: Node) -> Node | None:
    """The addition that takes the results of a dense layer; the inverse of :func:`product_of`."""
    if node.op not in DENSE:
        return None
    readers = graph.consumers(node.output)
    if len(readers) != 1 or product_of(graph, readers[0]) is not node:
        return None
    return readers[0]


def pairs(graph: Graph, nodes: Iterable[Node]) -> Iterator[Sequence[str]]:
    """Names of dense layers and their additions, where both are among some nodes."""
    own = {node.name: node for node in nodes}
    for node in own.values():
        source = product_of(graph, node)
        if source is not None and source.name in own:
            yield source.name, node.name


def other_operand(node: Node, product: Node) -> str:
    """What an addition adds to the results of a dense layer."""
    first, second = node.inputs
    return second if first == product.output else first


def _is_taken(graph: Graph, node: Node) -> bool:
    if node.op not in DENSE or node.output in graph.outputs:
        return False
    if len(graph.consumers(node.output)) != 1 or node.clip is not None:
        return False
    try:
        return bool(list(node_products(graph, node)))
    except ValueError:
        return False
