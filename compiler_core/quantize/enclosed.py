"""Operators that a unit could run, in the midst of what the CPU does.

``x + 0.045 * x**3`` within a GELU that is spelled out adds two activations, which an NPU can; but
all around it is the CPU's, and follows from ``x`` alone. On the NPU it would cost two borders and
break one table of 256 entries into two loops. So would a slice of what the CPU moves, on its way to
where the CPU moves it next: a launch for what its neighbours do on the way. A view between two
moves is part of one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.order import reads
from compiler_core.graph.views import looks
from compiler_core.quantize.host_arithmetic import HostTrait, host_arithmetic


def enclosed(graph: Graph, able: Collection[str]) -> Mapping[str, str]:
    """Why operators had better stay in a loop of the CPU, by node.

    One does if it is pointwise, all that reads it is a pointwise operator of the CPU, something
    that it reads is written by one, and all that it reads follows element by element from one
    tensor; or if it moves values between operators of the CPU alone that can work on integers.

    Args:
        graph: Simplified.
        able: Nodes that another unit can run.
    """
    key = (__name__, frozenset(able))
    known: Mapping[str, str] | None = graph.derived.get(key)
    if known is None:
        known = graph.derived[key] = _Search(graph, able).found()
    return known


class _Search:
    def __init__(self, graph: Graph, able: Collection[str]) -> None:
        arithmetic = host_arithmetic()
        traits = {node.name: arithmetic.trait(graph, node) for node in graph.nodes}
        pointwise = [n for n in graph.nodes if traits[n.name] is HostTrait.POINTWISE]
        self._moving = [
            node
            for node in graph.nodes
            if traits[node.name] is HostTrait.MOVES and node.name in able and not looks(node)
        ]
        self._hands_on = {name for name, trait in traits.items() if trait is HostTrait.MOVES}
        self._views = {node.name for node in graph.nodes if looks(node) and node.name in able}
        self._on_cpu = {
            name
            for name, trait in traits.items()
            if isinstance(trait, HostTrait) and name not in able
        }
        self._graph = graph
        self._candidates = [node for node in pointwise if node.name in able]
        self._inside = {node.name for node in pointwise if node.name not in able}
        self._nodes = {node.name: node for node in graph.nodes}
        self._producer = {name: node for node in graph.nodes for name in node.outputs if name}
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in reads(node):
                self._readers.setdefault(name, []).append(node)
        self._roots: dict[str, frozenset[str]] = {}

    def found(self) -> dict[str, str]:
        reasons: dict[str, str] = {}
        while fresh := [node for node in self._candidates if self._is_enclosed(node)]:
            for node in fresh:
                reasons[node.name] = (
                    f"{node.op} '{node.name}' is in the midst of a loop of the CPU over one tensor."
                )
            self._inside |= reasons.keys()
            self._candidates = [node for node in self._candidates if node.name not in reasons]
            self._roots.clear()
        self._on_cpu |= reasons.keys()
        while fresh := [node for node in self._moving if self._is_between(node)]:
            for node in fresh:
                reasons[node.name] = (
                    f"{node.op} '{node.name}' moves values between operators of the CPU."
                )
            self._on_cpu |= reasons.keys()
            self._moving = [node for node in self._moving if node.name not in reasons]
        for node in self._graph.nodes:
            if node.name in self._views and self._is_on_the_way(node):
                reasons[node.name] = f"{node.op} '{node.name}' lies between two moves of the CPU."
        return reasons

    def _is_on_the_way(self, node: Node) -> bool:
        """Whether a view of what the CPU moves is moved on by one loop alone."""
        writer, behind = self._writer(node.inputs[0]), list(self._behind(node.output))
        if not behind or not {writer, *behind} <= self._hands_on & self._on_cpu:
            return False
        return len({self._end(name) for name in behind if name}) == 1

    def _end(self, name: str) -> str:
        """The last of the moves of the CPU behind one, each the only reader of the one before."""
        while True:
            outputs = filter(None, self._nodes[name].outputs)
            readers = {r.name for output in outputs for r in self._readers.get(output, [])}
            if len(readers) != 1 or not readers <= self._hands_on & self._on_cpu:
                return name
            (name,) = readers

    def _is_between(self, node: Node) -> bool:
        sources = [self._writer(name) for name in reads(node) if name not in self._graph.constants]
        if not sources or any(source not in self._on_cpu for source in sources):
            return False
        behind = list(self._behind(node.output))
        return bool(behind) and all(name in self._on_cpu for name in behind)

    def _writer(self, tensor: str) -> str | None:
        """The node that computes a tensor, looking through views."""
        node = self._producer.get(tensor)
        while node is not None and node.name in self._views:
            node = self._producer.get(node.inputs[0])
        return None if node is None else node.name

    def _behind(self, tensor: str) -> Iterator[str | None]:
        """The nodes that read a tensor, looking through views; ``None`` for the caller."""
        if tensor in self._graph.outputs:
            yield None
        for node in self._readers.get(tensor, []):
            if node.name in self._views:
                yield from self._behind(node.output)
            else:
                yield node.name

    def _is_enclosed(self, node: Node) -> bool:
        names = [name for name in node.inputs if name and name not in self._graph.constants]
        readers = self._readers.get(node.output, [])
        if not readers or node.output in self._graph.outputs:
            return False
        if any(reader.name not in self._inside for reader in readers):
            return False
        if not any(self._is_inside(name) for name in names):
            return False
        sources = frozenset[str]().union(*(self._root(name) for name in names))
        if len(sources) != 1:
            return False
        types = self._graph.types
        return types[next(iter(sources))].shape == types[node.output].shape

    def _is_inside(self, tensor: str) -> bool:
        producer = self._producer.get(tensor)
        return producer is not None and producer.name in self._inside

    def _root(self, tensor: str) -> frozenset[str]:
        """Tensors from which one follows by pointwise operators of the CPU."""
        if tensor not in self._roots:
            found = frozenset((tensor,))
            if self._is_inside(tensor):
                read = [n for n in reads(self._producer[tensor]) if n not in self._graph.constants]
                found = frozenset[str]().union(*(self._root(name) for name in read))
            self._roots[tensor] = found
        return self._roots[tensor]
