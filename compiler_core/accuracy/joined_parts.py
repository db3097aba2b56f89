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
    shape = _shape(graph, output)
    if shape is None:
        return ()
    cuts = _Joined(graph).cuts(output)
    axes = []
    for axis in sorted(cuts):
        if cuts[axis] and not (batched and axis == 0):
            ends = [0, *sorted(cuts[axis]), shape[axis]]
            axes.append([(axis, start, stop) for start, stop in pairwise(ends)])
    return tuple(product(*axes)) if 1 < prod(map(len, axes)) <= MOST_PARTS else ()


def is_probability(graph: Graph, output: str, part: Part) -> bool:
    """Whether a part of an output is what a Sigmoid gives, as it is: scores of a detector.

    Args:
        graph: The float model.
        output: Its name.
        part: One that :func:`parts_of` names.
    """
    cut: dict[int, tuple[int, int]] | None = {axis: (start, stop) for axis, start, stop in part}
    node = graph.producer(output)
    for _ in range(_DEEPEST):
        if node is None or node.domain or node.op == "Sigmoid" or cut is None:
            break
        source: str | None = node.inputs[0] if node.inputs else ""
        shape = _shape(graph, node.output)
        if shape is None:
            return False
        cut = {axis: ends for axis, ends in cut.items() if ends != (0, shape[axis])}
        if node.op == "Concat":
            source, cut = _joined_from(graph, node, cut)
        elif node.op == "Transpose":
            order = node.attributes.get("perm", tuple(reversed(range(len(shape)))))
            cut = {int(order[axis]): ends for axis, ends in cut.items()}
        elif node.op in _RESHAPES:
            cut = _before_reshape(_shape(graph, node.inputs[0]) or (), shape, cut)
        elif node.op not in ("Identity", "Cast", "Dropout"):
            return False
        node = graph.producer(source) if source else None
    is_sigmoid = node is not None and not node.domain and node.op == "Sigmoid"
    return is_sigmoid and cut is not None


def _before_reshape(
    before: tuple[int, ...], shape: tuple[int, ...], cut: Mapping[int, tuple[int, int]]
) -> dict[int, tuple[int, int]] | None:
    """Where a part lies in what is reshaped; ``None`` where it is no part of it."""
    axes = {_same_axis(before, shape, source): source for source in range(len(before))}
    return {axes[axis]: ends for axis, ends in cut.items()} if cut.keys() <= axes.keys() else None


def _joined_from(
    graph: Graph, node: Node, cut: Mapping[int, tuple[int, int]]
) -> tuple[str | None, dict[int, tuple[int, int]]]:
    """Which tensor of a concatenation holds a part, and where; ``None`` for several."""
    rank = len(_shape(graph, node.output) or ())
    along, start = int(node.attributes["axis"]) % max(1, rank), 0
    first, last = cut.get(along, (0, 0))
    for name in node.inputs:
        shape = _shape(graph, name)
        if shape is None or len(shape) != rank:
            break
        if start <= first < last <= start + shape[along]:
            return name, {**cut, along: (first - start, last - start)}
        start += shape[along]
    return None, {}


def _shape(graph: Graph, tensor: str) -> tuple[int, ...] | None:
    """Its sizes; 0 for one that is open; ``None`` where not even their number is known."""
    known = graph.types.get(tensor)
    if known is None or known.shape is None:
        return None
    return tuple(size if isinstance(size, int) else 0 for size in known.shape)


class _Joined:
    """Where concatenations have joined the tensors of a graph.

    Args:
        graph: The float model.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._producers = {name: node for node in graph.nodes for name in node.outputs if name}
        self._known: dict[str, _Cuts] = {}

    def cuts(self, tensor: str, deepest: int = _DEEPEST) -> _Cuts:
        """Of a tensor, by axis, as far as so many operators on the way back tell."""
        if tensor not in self._known:
            node = self._producers.get(tensor)
            self._known[tensor] = {}
            if node is not None and deepest:
                self._known[tensor] = self._through(tensor, node, deepest - 1)
        return self._known[tensor]

    def _through(self, tensor: str, node: Node, deepest: int) -> _Cuts:
        shape = _shape(self._graph, tensor)
        if shape is None:
            return {}
        if node.op == "Concat":
            return self._concatenated(node, len(shape), deepest)
        sources = [name for name in node.inputs if name]
        if node.op in _WITH_CONSTANT:
            sources = [name for name in sources if name not in self._graph.constants]
        elif node.op not in _KEEPS and node.op not in _RESHAPES and node.op != "Transpose":
            return {}
        before = _shape(self._graph, sources[0]) if sources else None
        if before is None or (node.op in _WITH_CONSTANT and (len(sources) > 1 or before != shape)):
            return {}
        found = self.cuts(sources[0], deepest)
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

    def _concatenated(self, node: Node, rank: int, deepest: int) -> _Cuts:
        along = int(node.attributes["axis"]) % max(1, rank)
        found: dict[int, set[int]] = {along: set()}
        start = 0
        for name in node.inputs:
            shape = _shape(self._graph, name)
            if shape is None or len(shape) != rank or not shape[along]:
                return {}
            for axis, cuts in self.cuts(name, deepest).items():
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
