"""Finding the fused groups of a graph: what runs together and is never split.

Groups follow from the graph and the units alone: the operators that a unit would run if everything
that can runs there, each with the nodes that it absorbs (an addition in the accumulator, a padding,
views), and every other node on its own. A view between CPU nodes belongs to its reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from math import prod

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.order import reads
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.partition.group_graph import (
    OUTSIDE,
    Alias,
    BaseTensor,
    Group,
    GroupGraph,
    GroupsOnUnit,
)
from compiler_core.quantize.assemble import CPU, assemble, roomy_units, without_room
from compiler_core.quantize.host_groups import groups_beside, in_loops
from compiler_core.quantize.layout import plain_shape
from compiler_core.quantize.unit_arithmetics import Computing, UnitArithmetics, unit_arithmetics


def build_groups(graph: Graph, arithmetic: Computing | None = None) -> GroupGraph:
    """Finds groups, dependences and legality.

    Args:
        graph: Simplified.
        arithmetic: Of the NPUs; by default one of the usual kind.
    """
    return _Builder(graph, unit_arithmetics(arithmetic)).build()


class _Builder:
    def __init__(self, graph: Graph, units: UnitArithmetics) -> None:
        self._graph, self._units = graph, units
        chosen, self._reasons = roomy_units(graph, units)
        for node in graph.nodes:
            reason = units.unsupported(graph, node)
            if reason is not None:
                self._reasons[node.name] = reason
        self._reasons |= in_loops(graph, units)
        self._chosen = {
            n.name: CPU if n.name in self._reasons else chosen[n.name] for n in graph.nodes
        }
        self._skeleton = assemble(graph, self._chosen, units)
        self._reasons |= self._skeleton.cpu_reasons
        self._on_unit = {name: self._everything_on(name) for name in units.names}
        self._views = {
            node.output: node
            for node in graph.nodes
            if node.op in VIEW_OPERATORS and node.clip is None and node.name not in self._reasons
        }
        self._producer = {name: node for node in graph.nodes for name in node.outputs if name}
        self._host = groups_beside(graph, units)
        self._residents = units.residents(graph)

    def build(self) -> GroupGraph:
        leader = self._leaders()
        members: dict[str, list[Node]] = {}
        for node in self._graph.nodes:
            members.setdefault(leader[node.name], []).append(node)
        edges = {name: self._sources(nodes, leader) for name, nodes in members.items()}
        order = _topological(edges, {name: at for at, name in enumerate(members)})
        position = {name: at for at, name in enumerate(order)}
        group_of = {node: position[first] for node, first in leader.items()}
        tensors = self._tensors(group_of)
        number = {tensor.name: at for at, tensor in enumerate(tensors)}
        reads, writes = _crossing(tensors)
        groups = tuple(
            self._group(at, members[name], reads.get(at, ()), writes.get(at, ()), number)
            for at, name in enumerate(order)
        )
        names = (*self._graph.inputs, *self._producer)
        base_of = {n: number[self._base(n)] for n in names if self._base(n) in number}
        views_of = {name: self._chain(name) for name in base_of}
        return GroupGraph(
            self._graph,
            self._skeleton,
            groups,
            tensors,
            group_of,
            base_of,
            views_of,
            self._units,
            self._on_unit,
            self._chosen,
        )

    def _everything_on(self, unit: str) -> GroupsOnUnit:
        """What a unit can run there; the rest as untuned."""
        if len(self._units.units) == 1:
            return GroupsOnUnit(self._skeleton, self._reasons)
        own, wanted, reasons = self._units[unit], dict(self._chosen), dict[str, str]()
        for node in self._graph.nodes:
            reason = own.unsupported(self._graph, node)
            if node.name in self._units.residents(self._graph):
                reason = self._reasons[node.name]
            if reason is None:
                wanted[node.name] = unit
            else:
                reasons[node.name] = reason
        lacking = without_room(self._graph, self._units, wanted)
        for name, reason in lacking.items():
            if wanted[name] == unit:
                reasons[name] = reason
            chosen = self._chosen[name]
            wanted[name] = CPU if wanted[name] == chosen else chosen
        skeleton = assemble(self._graph, wanted, self._units)
        own_reasons = {n: why for n, why in skeleton.cpu_reasons.items() if wanted[n] == unit}
        return GroupsOnUnit(skeleton, {**reasons, **own_reasons})

    def _base(self, tensor: str) -> str:
        while tensor in self._views:
            tensor = self._views[tensor].inputs[0]
        return tensor

    def _chain(self, tensor: str) -> tuple[str, ...]:
        """Views that lead to a tensor from its base tensor."""
        chain: list[str] = []
        while tensor in self._views:
            chain.insert(0, self._views[tensor].name)
            tensor = self._views[tensor].inputs[0]
        return tuple(chain)

    def _leaders(self) -> dict[str, str]:
        """For each node the first node of its group."""
        parent = {node.name: node.name for node in self._graph.nodes}

        def find(name: str) -> str:
            while parent[name] != name:
                parent[name] = parent[parent[name]]
                name = parent[name]
            return name

        grouped: set[str] = set()
        # What any unit runs together is placed together.
        skeletons = [self._skeleton, *(on.skeleton for on in self._on_unit.values())]
        for step in [step for skeleton in skeletons for step in skeleton.steps]:
            grouped.update(step.sources)
            for other in step.sources[1:]:
                parent[find(other)] = find(step.sources[0])
        for group in self._host.groups:
            grouped.update(group.nodes)
            for name in group.nodes[1:]:
                parent[find(name)] = find(group.nodes[0])
        for name, state in self._residents.items():
            grouped.add(name)
            parent[find(name)] = find(state.nodes[0])
        # Readers first: a chain of views ends up with the reader of the last one.
        for node in reversed(self._graph.nodes):
            if node.output in self._views and node.name not in grouped:
                neighbour = self._neighbour(node)
                if neighbour is not None:
                    parent[find(node.name)] = find(neighbour)
        return {name: find(name) for name in parent}

    def _neighbour(self, view: Node) -> str | None:
        readers = self._graph.consumers(view.output)
        if readers:
            return readers[0].name
        source = self._producer.get(self._base(view.output))
        return None if source is None else source.name

    def _sources(self, nodes: list[Node], leader: Mapping[str, str]) -> set[str]:
        own = leader[nodes[0].name]
        found = set()
        for node in nodes:
            for tensor in reads(node):
                source = self._producer.get(self._base(tensor))
                if source is not None and leader[source.name] != own:
                    found.add(leader[source.name])
        return found

    def _tensors(self, group_of: Mapping[str, int]) -> tuple[BaseTensor, ...]:
        consumers: dict[str, set[int]] = {}
        aliases: dict[str, dict[str, set[int]]] = {}
        for node in self._graph.nodes:
            if node.output in self._views:
                continue
            for tensor in reads(node):
                consumers.setdefault(self._base(tensor), set()).add(group_of[node.name])
                named = aliases.setdefault(self._base(tensor), {})
                named.setdefault(tensor, set()).add(group_of[node.name])
        outputs = {self._base(name) for name in self._graph.outputs}
        for name in self._graph.outputs:
            aliases.setdefault(self._base(name), {}).setdefault(name, set())
        staying = {n for own in self._residents.values() for n in (own.past, own.present)}
        found = []
        for name in dict.fromkeys((*self._graph.inputs, *self._producer)):
            source = self._producer.get(name)
            producer = OUTSIDE if source is None else group_of[source.name]
            readers = consumers.get(name, set()) - {producer}
            if name in self._views or (not readers and name not in outputs):
                continue
            if name in staying:
                continue
            shape = self._shape(name, aliases[name])
            found.append(
                BaseTensor(
                    name,
                    producer,
                    tuple(sorted(readers)),
                    name in outputs,
                    self._values(name),
                    shape,
                    tuple(
                        Alias(self._chain(n), tuple(sorted(r)), n in self._graph.outputs)
                        for n, r in aliases[name].items()
                    ),
                )
            )
        return tuple(found)

    def _values(self, tensor: str) -> int:
        known = self._graph.types.get(tensor)
        return prod(size or 1 for size in (known.shape or ())) if known else 1

    def _shape(self, tensor: str, aliases: Iterable[str]) -> tuple[int, int, int, int]:
        for name in (tensor, *sorted(aliases)):
            if name in self._skeleton.shapes:
                return self._skeleton.shapes[name]
        return plain_shape(self._graph.types.get(tensor))

    def _group(
        self,
        index: int,
        nodes: list[Node],
        reads: Sequence[int],
        writes: Sequence[int],
        number: Mapping[str, int],
    ) -> Group:
        computing = [node for node in nodes if node.output not in self._views] or nodes
        main = computing[0]
        if main.name in self._residents:
            main = computing[-1]  # what multiplies with the state
        reason = next((self._reasons[n.name] for n in computing if n.name in self._reasons), None)
        if reason is None and computing is nodes:
            reason = f"{main.op} '{main.name}' computes nothing."
        views = tuple(
            (node.name, number[self._base(node.output)])
            for node in nodes
            if node.output in self._views and self._base(node.output) in number
        )
        host = None if main.name in self._residents else self._host.of_node.get(main.name)
        why = "" if host else self._host.reasons.get(main.name, "another unit can run it")
        return Group(
            index,
            main.name,
            main.op,
            tuple(node.name for node in nodes),
            reason,
            tuple(reads),
            tuple(writes),
            views,
            host,
            why,
        )


def _crossing(
    tensors: Sequence[BaseTensor],
) -> tuple[Mapping[int, list[int]], Mapping[int, list[int]]]:
    """Indices of the tensors that each group reads, and that it writes, ascending."""
    reads: dict[int, list[int]] = {}
    writes: dict[int, list[int]] = {}
    for at, tensor in enumerate(tensors):
        for group in tensor.consumers:
            reads.setdefault(group, []).append(at)
        writes.setdefault(tensor.producer, []).append(at)
    return reads, writes


def _topological(edges: Mapping[str, set[str]], position: Mapping[str, int]) -> list[str]:
    """Groups so that sources come first; among ready ones the earliest of the graph.

    Raises:
        InputError: The groups depend on one another in a circle.
    """
    open_sources = {name: len(sources) for name, sources in edges.items()}
    readers: dict[str, list[str]] = {}
    for name, sources in edges.items():
        for source in sources:
            readers.setdefault(source, []).append(name)
    ready = [(position[name], name) for name, count in open_sources.items() if not count]
    heapify(ready)
    order: list[str] = []
    while ready:
        _, name = heappop(ready)
        order.append(name)
        for reader in readers.get(name, ()):
            open_sources[reader] -= 1
            if not open_sources[reader]:
                heappush(ready, (position[reader], reader))
    if len(order) < len(edges):
        waiting = sorted(edges.keys() - set(order))
        raise InputError(f"the groups {', '.join(waiting)} depend on one another")
    return order
