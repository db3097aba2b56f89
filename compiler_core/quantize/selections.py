"""Outputs behind a selection, and what the selection reads.

A detector that ends in TopK or non-maximum suppression gives back values in an order that noise of
any size changes: where two scores are nearly equal they change places, and so does all that is
gathered by them, and the place of the largest value of a heat map (ArgMax). Beside the float
network value by value such outputs tell nothing. What the selection reads are the real values that
quantization has to keep, and by those the network is judged. What is lost
behind a selection is measured apart (:mod:`compiler_core.quantize.behind_selections`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from compiler_core.graph.attributes import names_read
from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.ir import FloatSegment, IntegerSegment, QuantizedGraph

_SELECT = ("TopK", "NonMaxSuppression", "ArgMax", "ArgMin")
_REPEAT = ("Expand", "Tile")
_COMPARE = "Equal"
"""Two computed tensors compared value by value, as where peaks are what a max pool leaves as it
is."""


def selected(graph: Graph) -> Mapping[str, tuple[str, ...]]:
    """Per output behind a selection, the real tensors before it that the output is made of.

    Args:
        graph: The float graph.

    Returns:
        Names of tensors that nodes outside of all selections compute, in the order of the graph;
        nothing for outputs that no selection is before, or that nothing real is made of.
    """
    behind = _tensors_behind(graph)
    found = {}
    for output in graph.outputs:
        names = _before(graph, behind, output) if output in behind else ()
        if names:
            found[output] = names
    return found


def nodes_behind(graph: Graph) -> frozenset[str]:
    """Names of nodes that read what a selection made, or what is made of that."""
    behind = _tensors_behind(graph)
    return frozenset(node.name for node in graph.nodes if behind & names_read([node], ()))


def _tensors_behind(graph: Graph) -> set[str]:
    behind: set[str] = set()
    for node in graph.nodes:
        if _is_selection(graph, node) or behind & names_read([node], ()):
            behind |= {*filter(None, node.outputs)}
    return behind


def _is_selection(graph: Graph, node: Node) -> bool:
    if node.op == _COMPARE:
        return all(_is_real(graph, name) for name in node.inputs)
    return node.op in _SELECT and any(_is_real(graph, name) for name in node.inputs)


def _is_real(graph: Graph, name: str) -> bool:
    """Whether a node computes real values there."""
    tensor = graph.types.get(name)
    return graph.producer(name) is not None and tensor is not None and "float" in tensor.dtype


def _before(graph: Graph, behind: set[str], output: str) -> tuple[str, ...]:
    open_, seen, found = [output], {output}, set()
    while open_:
        node = graph.producer(open_.pop())
        for name in names_read([node], ()) if node is not None else ():
            if name in behind and name not in seen:
                open_.append(name)
            elif name not in behind and _is_real(graph, name):
                found.add(_before_repeats(graph, name))
            seen.add(name)
    return tuple(name for node in graph.nodes for name in node.outputs if name in found)


def _before_repeats(graph: Graph, name: str) -> str:
    """What a tensor repeats, which says as much in fewer values, where it is computed."""
    node = graph.producer(name)
    while node is not None and node.op in _REPEAT and _is_real(graph, node.inputs[0]):
        name = node.inputs[0]
        node = graph.producer(name)
    return name


def exposing(quantized: QuantizedGraph, names: Iterable[str]) -> QuantizedGraph | None:
    """The same computation with more outputs.

    Args:
        quantized: The quantized graph.
        names: Tensors of the float graph that are no outputs of it.

    Returns:
        ``None`` where the quantized graph does not hold one of them as a real tensor.
    """
    wanted = tuple(names)
    shown = {*quantized.views} & {*quantized.tensors}
    segments: list[FloatSegment | IntegerSegment] = []
    for segment in quantized.segments:
        if isinstance(segment, FloatSegment):
            own = {name for node in segment.graph.nodes for name in node.outputs}
            shown |= own if segment.number is None else {*segment.graph.outputs}
            more = [n for n in wanted if n in own and n not in segment.graph.outputs]
            if more and segment.number is None:
                outputs = (*segment.graph.outputs, *more)
                segment = replace(segment, graph=replace(segment.graph, outputs=outputs))
        segments.append(segment)
    if not shown >= {*wanted}:
        return None
    source = replace(quantized.source, outputs=(*quantized.source.outputs, *wanted))
    return replace(quantized, source=source, segments=tuple(segments))
