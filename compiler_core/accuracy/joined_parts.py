"""The tensors that an output is joined of: boxes beside scores in one output of a detector.

Where their values are of other sizes, the noise of the small ones drowns in that of the large ones;
so each is known, and its noise counted apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise, product
from math import prod

from compiler_core.graph.ir import Graph, Node

Part = tuple[tuple[int, int, int], ...]
"""Of one part of an output: axis, first entry and entry behind the last, for axes that are cut."""

MOST_PARTS = 64
"""An output of more is taken as one."""
_DEEPEST = 32
"""Operators on the way back."""
_KEEPS = frozenset({"Identity", "Cast", "Dropout", "Relu", "Sigmoid", "Clip", "Neg", "Abs", "Exp"})
_WITH_CONSTANT = frozenset(["Add", "Sub", "Mul", "Div"])
_RESHAPES = frozenset(["Reshape", "Flatten", "Squeeze", "Unsqueeze"])

_Cuts = Mapping[int, frozenset[int]]
"""Entries at which an axis is cut, 0 and its size not among them."""


def parts_of(graph: Graph, output: str, *, batched: bool) -> tuple[Part, ...]:
    """Parts of an output that concatenations have joined, along all axes but that of the samples;
    none where there is only one.

    Args:
        graph: The float model.
        output: Its name.
        batched: Whether the first axis counts samples.
    """
    producers = {name: node for node in graph.nodes for name in node.outputs if name}
    shape = _shape(graph, output)
    if shape is None:
        return ()
    cuts = _cuts(graph, output, producers, {}, _DEEPEST)
    axes = []
    for axis in sorted(cuts):
        if cuts[axis] and not (batched and axis == 0):
            ends = [0, *sorted(cuts[axis]), shape[axis]]
            axes.append([(axis, start, stop) for start, stop in pairwise(ends)])
    return tuple(product(*axes)) if 1 < prod(map(len, axes)) <= MOST_PARTS else ()


def _shape(graph: Graph, tensor: str) -> tuple[int, ...] | None:
    """Its sizes; 0 for one that is open; ``None`` where not even their number is known."""
    known = graph.types.get(tensor)
    if known is None or known.shape is None:
        return None
    return tuple(size if isinstance(size, int) else 0 for size in known.shape)


def _cuts(
    graph: Graph,
    tensor: str,
    producers: Mapping[str, Node],
    known: dict[str, _Cuts],
    left: int,
) -> _Cuts:
    """Where concatenations have joined a tensor, by axis."""
    if tensor not in known:
        node = producers.get(tensor)
        known[tensor] = {}
        if node is not None and left:
            known[tensor] = _through(graph, tensor, node, producers, known, left - 1)
    return known[tensor]


def _through(
    graph: Graph,
    tensor: str,
    node: Node,
    producers: Mapping[str, Node],
    known: dict[str, _Cuts],
    left: int,
) -> _Cuts:
    shape = _shape(graph, tensor)
    if shape is None:
        return {}
    if node.op == "Concat":
        return _joined(graph, node, len(shape), producers, known, left)
    sources = [name for name in node.inputs if name]
    if node.op in _WITH_CONSTANT:
        sources = [name for name in sources if name not in graph.constants]
    elif node.op not in _KEEPS and node.op not in _RESHAPES and node.op != "Transpose":
        return {}
    before = _shape(graph, sources[0]) if sources else None
    if before is None or (node.op in _WITH_CONSTANT and (len(sources) > 1 or before != shape)):
        return {}
    found = _cuts(graph, sources[0], producers, known, left)
    if node.op == "Transpose":
        order = node.attributes.get("perm", tuple(reversed(range(len(before)))))
        return {axis: found[source] for axis, source in enumerate(order) if source in found}
    if node.op in _RESHAPES:
        return {
            axis: cuts
            for source, cuts in found.items()
            if (axis := _same_axis(before, shape, source)) is not None
        }
    return found


def _joined(
    graph: Graph,
    node: Node,
    rank: int,
    producers: Mapping[str, Node],
    known: dict[str, _Cuts],
    left: int,
) -> _Cuts:
    along = int(node.attributes["axis"]) % max(1, rank)
    found: dict[int, set[int]] = {along: set()}
    start = 0
    for name in node.inputs:
        shape = _shape(graph, name)
        if shape is None or len(shape) != rank or not shape[along]:
            return {}
        for axis, cuts in _cuts(graph, name, producers, known, left).items():
            first = start if axis == along else 0
            found.setdefault(axis, set()).update(first + cut for cut in cuts)
        start += shape[along]
        found[along].add(start)
    found[along].discard(start)
    return {axis: frozenset(cuts) for axis, cuts in found.items()}


def _same_axis(before: tuple[int, ...], shape: tuple[int, ...], source: int) -> int | None:
    """The axis behind a reshape that is still what ``source`` was; ``None`` for none."""
    for axis, size in enumerate(shape):
        ahead, behind = shape[:axis], shape[axis + 1 :]
        if (
            size == before[source]
            and prod(ahead) == prod(before[:source])
            and prod(behind) == prod(before[source + 1 :])
        ):
            return axis
    return None
