"""Tensors whose channels have to lie in one order, and whether it may be any.

A convolution, or a dense layer over rows of features, takes its input in any order of channels and
gives its output in any: columns and rows of its weights are permuted. Channelwise operators keep
the order, operands of an addition share one, and a concatenation has those of its inputs one behind
the other. Where something else reads or writes a tensor, or the model hands it out, channels lie as
the model has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.order import reads
from compiler_core.graph.views import VIEW_OPERATORS

Order = npt.NDArray[np.int64]
"""Of a tensor's channels: position ``i`` holds the channel ``order[i]`` of the model's tensor."""

_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool")
_CLAMPS = ("Relu", "Clip")


def channels_of(graph: Graph, tensor: str) -> int | None:
    """Size of axis 1; ``None`` where it is not known or there is none."""
    known = graph.types.get(tensor)
    shape = known.shape if known is not None else None
    return shape[1] if shape is not None and len(shape) > 1 else None


def is_convolution(graph: Graph, node: Node) -> bool:
    """Whether a node is a convolution of one group with constant weights."""
    weights = _are_constant(graph, node.inputs[1:])
    return node.op == "Conv" and int(node.attributes.get("group", 1)) == 1 and weights


def is_dense(graph: Graph, node: Node) -> bool:
    """Whether a node multiplies rows of features by a constant matrix."""
    rows = graph.types.get(node.output)
    weight = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    flat = rows is not None and len(rows.shape or ()) == 2 and weight is not None
    return node.op == "Dense" and flat and _are_constant(graph, node.inputs[1:])


def out_channels_first(graph: Graph, node: Node) -> npt.NDArray[np.generic]:
    """The constant weights of a convolution or a dense layer, ``[O, ...]``."""
    weight = graph.constants[node.inputs[1]]
    return weight.T if node.op == "Dense" else weight


def is_channelwise(graph: Graph, node: Node) -> bool:
    """Whether each output channel of a node depends on the same channel of its first input."""
    if node.op in _POOLS or node.op in _CLAMPS:
        alone = _are_constant(graph, node.inputs[1:]) and not any(node.outputs[1:])
        return alone and channels_of(graph, node.output) is not None
    if node.op != "Conv" or not _are_constant(graph, node.inputs[1:]):
        return False
    groups = int(node.attributes.get("group", 1))
    ends = channels_of(graph, node.inputs[0]), channels_of(graph, node.output)
    return groups > 1 and ends == (groups, groups)


def _are_constant(graph: Graph, tensors: tuple[str, ...]) -> bool:
    return all(not name or name in graph.constants for name in tensors)


def flattened_readers(graph: Graph, node: Node) -> tuple[Node, ...]:
    """The dense layers that alone read a view of images as rows of features, channels outermost;
    none where something else is so."""
    if node.op not in VIEW_OPERATORS or node.clip is not None or node.output in graph.outputs:
        return ()
    source, result = graph.types.get(node.inputs[0]), graph.types.get(node.output)
    before = () if source is None else source.shape or ()
    after = () if result is None else result.shape or ()
    if node.op == "Transpose" or len(before) < 2 or len(after) != 2:
        return ()
    features = int(np.prod([size or 0 for size in before[1:]], dtype=np.int64))
    readers = graph.consumers(node.output)
    fits = before[0] == after[0] and after[1] == features > 0 and bool(readers)
    return readers if fits and all(is_dense(graph, item) for item in readers) else ()


class ChannelClasses:
    """Classes of a graph's tensors.

    Args:
        graph: Simplified.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._parent: dict[str, str] = {}
        self._concats: list[Node] = []
        fixed = {*graph.inputs, *graph.outputs}
        for node in graph.nodes:
            fixed |= set(self._visit(node))
        self._derived: dict[str, Node] = {}
        for node in self._concats:
            root = self.of(node.output)
            if root in self._derived:
                fixed |= {node.output, self._derived[root].output}
            self._derived.setdefault(root, node)
        self._fixed = {self.of(name) for name in fixed}
        self._spread()

    def of(self, tensor: str) -> str:
        """The tensor that stands for the class of a tensor."""
        root = tensor
        while (above := self._parent.get(root, root)) != root:
            root = above
        while (above := self._parent.get(tensor, tensor)) != root:
            self._parent[tensor], tensor = root, above
        return root

    def is_free(self, tensor: str) -> bool:
        """Whether a tensor's channels may lie in any order that somebody chooses."""
        root = self.of(tensor)
        return root not in self._fixed and root not in self._derived

    def orders(self, chosen: Mapping[str, Order]) -> dict[str, Order]:
        """The order of every tensor that has another than the model's.

        Args:
            chosen: By what stands for the class, of free ones.
        """
        found = dict(chosen)
        for node in self._concats:  # in the graph's order: inputs before outputs
            if self.of(node.output) not in self._fixed:
                pieces, first = [], 0
                for name in node.inputs:
                    count = channels_of(self._graph, name) or 0
                    own = found.get(self.of(name), np.arange(count))
                    pieces.append(own + first)
                    first += count
                found[self.of(node.output)] = np.concatenate(pieces)
        names = {name for node in self._graph.nodes for name in node.outputs if name}
        orders = {name: found[self.of(name)] for name in sorted(names) if self.of(name) in found}
        return {n: order for n, order in orders.items() if (order != np.arange(len(order))).any()}

    def _visit(self, node: Node) -> Iterator[str]:
        """Joins what a node reads and writes; tensors whose order it fixes."""
        graph, data = self._graph, [n for n in node.inputs if n and n not in self._graph.constants]
        if is_channelwise(graph, node):
            self._join(node.inputs[0], node.output)
        elif is_convolution(graph, node) or is_dense(graph, node):
            yield from () if len(data) == 1 else (*data, node.output)
        elif node.op == "Add" and self._is_plain_sum(node):
            for name in data:
                self._join(name, node.output)
        elif node.op == "Concat" and self._joins_channels(node):
            self._concats.append(node)
        elif flattened_readers(graph, node):
            yield node.output  # never given an order: the weights behind it take that of its input
        else:
            yield from (*reads(node), *filter(None, node.outputs))

    def _is_plain_sum(self, node: Node) -> bool:
        shapes = [self._graph.types[name].shape for name in node.inputs if name]
        known = all(name not in self._graph.constants for name in node.inputs)
        return known and len(set(shapes)) == 1 and channels_of(self._graph, node.output) is not None

    def _joins_channels(self, node: Node) -> bool:
        sizes = [channels_of(self._graph, name) for name in node.inputs]
        known = all(size is not None for size in sizes)
        data = not any(name in self._graph.constants for name in node.inputs)
        return node.attributes.get("axis") == 1 and known and data

    def _join(self, first: str, second: str) -> None:
        self._parent[self.of(second)] = self.of(first)

    def _spread(self) -> None:
        """What a concatenation with a fixed order reads is fixed, too."""
        changed = True
        while changed:
            changed = False
            for node in self._concats:
                roots = {self.of(name) for name in node.inputs}
                if self.of(node.output) in (self._fixed | roots) and roots - self._fixed:
                    self._fixed |= roots
                    changed = True
