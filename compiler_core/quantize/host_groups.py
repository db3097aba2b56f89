"""What the CPU runs as one loop on integers: groups of operators, found from the graph alone.

Pointwise operators whose results nobody else reads belong to the group of their reader, so that a
chain and a diamond (``x * sigmoid(x)``) are one loop. So do sums and means over rows: a
normalization that is spelled out is one loop, too, and no square or deviation becomes an integer.
A Softmax takes in what scales or masks its scores.
What moves values one after another moves them once: slices that are concatenated, a transposition
that is split, and parts of what is split that are moved on each.
Each other operator is a group of its own.
Views (reshapes and the like) belong to nobody: a tensor that is a view of another counts as that
one, its *base*.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.order import reads
from compiler_core.graph.views import looks
from compiler_core.quantize.assemble import moved_views
from compiler_core.quantize.enclosed import enclosed
from compiler_core.quantize.host_arithmetic import HostTrait, host_arithmetic
from compiler_core.quantize.ir import HostGroup
from compiler_core.quantize.unit_arithmetics import UnitArithmetics
from compiler_core.units.registry import unnamed_kind

_EITHER = ("MatMul", "DepthToSpace")
"""What is a group though another unit may run it, too: the plan has the choice. Products of two
activations and phases that are put side by side; they join no others."""
_JOINING = (HostTrait.POINTWISE, HostTrait.REDUCES)
_TAKING = (*_JOINING, HostTrait.NORMALIZES)


def bases_of(graph: Graph, views: Collection[str]) -> dict[str, str]:
    """What each tensor is a view of; itself where it is none.

    Args:
        graph: The model.
        views: Names of the nodes that only look at their input.
    """
    found: dict[str, str] = {name: name for name in graph.inputs}
    for node in graph.nodes:
        source = found.get(node.inputs[0]) if node.name in views and node.inputs else None
        for name in filter(None, node.outputs):
            found[name] = source or name
    return found


@dataclass(frozen=True, eq=False)
class HostGroups:
    """All operators of a model that the CPU can run on integers.

    Attributes:
        groups: In topological order.
        reasons: Why operators of the CPU cannot, by node.
        bases: See :func:`bases_of`.
    """

    groups: tuple[HostGroup, ...]
    reasons: Mapping[str, str]
    bases: Mapping[str, str]

    @cached_property
    def tensors(self) -> frozenset[str]:
        """Bases that they read or write."""
        names = {name for group in self.groups for name in (*group.inputs, *group.outputs)}
        return frozenset(self.bases.get(name, name) for name in names)

    @cached_property
    def of_node(self) -> dict[str, HostGroup]:
        """The group of each node that is in one."""
        return {node: group for group in self.groups for node in group.nodes}


def host_groups(graph: Graph, apart: Collection[str], either: Collection[str] = ()) -> HostGroups:
    """Finds the groups.

    Args:
        graph: Simplified.
        apart: Nodes that another unit can run: they belong to no group, but for views, which are
            looked through.
        either: Nodes that it can run, too, each a group of its own.
    """
    return _Finder(graph, frozenset(apart), frozenset(either)).find()


def _has_integers(units: UnitArithmetics) -> bool:
    return [own.kind for _, own in units.units] == [unnamed_kind().name]


def groups_beside(graph: Graph, units: UnitArithmetics) -> HostGroups:
    """The groups of a model beside a unit, whatever fits its memories; none beside several units,
    which may hold integers in several ways.

    Args:
        graph: Simplified.
        units: What is beside the CPU.
    """
    if not _has_integers(units):
        return HostGroups((), {}, {})
    able = [
        node.name
        for node in graph.nodes
        if node.op not in _EITHER and units.unsupported(graph, node) is None
    ]
    left = {*moved_views(graph, units), *in_loops(graph, units)}
    either = [
        node.name
        for node in graph.nodes
        if node.op in _EITHER and units.unsupported(graph, node) is None
    ]
    found = host_groups(graph, [name for name in able if name not in left], either)
    states = units.residents(graph)
    if not states:
        return found
    kept = tuple(group for group in found.groups if not states.keys() & {*group.nodes})
    return replace(found, groups=kept)


def in_loops(graph: Graph, units: UnitArithmetics) -> Mapping[str, str]:
    """Why operators that a unit can run had better stay in loops of the CPU, by node; none beside
    several units, where it has no loops on integers.

    Args:
        graph: Simplified.
        units: What is beside the CPU.
    """
    if not _has_integers(units):
        return {}
    able = {node.name for node in graph.nodes if units.unsupported(graph, node) is None}
    return enclosed(graph, able - moved_views(graph, units).keys())


class _Finder:
    def __init__(self, graph: Graph, apart: frozenset[str], either: frozenset[str]) -> None:
        self._graph, self._apart, self._either = graph, apart, either
        self._views = {n.name for n in graph.nodes if n.name in apart and looks(n)}
        self._bases = bases_of(graph, self._views)
        self._handed_out = {self._bases.get(name, name) for name in graph.outputs}
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in reads(node):
                self._readers.setdefault(name, []).append(node)
        self._position = {node.name: at for at, node in enumerate(graph.nodes)}
        self._forks: dict[str, str] = {}
        """What moves values to several readers in one loop, by the last of those."""

    def find(self) -> HostGroups:
        arithmetic = host_arithmetic()
        traits: dict[str, HostTrait] = {}
        reasons: dict[str, str] = {}
        for node in self._graph.nodes:
            if node.name in self._apart:
                continue
            trait = arithmetic.trait(self._graph, node)
            if isinstance(trait, HostTrait) and any(n in self._handed_out for n in node.outputs):
                trait = "the caller of the model reads what it computes"
            if isinstance(trait, str):
                reasons[node.name] = trait
            else:
                traits[node.name] = trait
        leader = self._leaders(traits)
        members: dict[str, list[Node]] = {}
        for node in self._graph.nodes:
            if node.name in leader:
                members.setdefault(leader[node.name], []).append(node)
        last = {nodes[-1].name: nodes[-1].name for nodes in members.values()}
        last = {self._forks.get(name, name): name for name in last}
        order = [last[node.name] for node in self._graph.nodes if node.name in last]
        groups = []
        for name in order:
            found = self._group(members[name], traits)
            if found.inputs:
                groups.append(found)
            else:
                reasons |= dict.fromkeys(found.nodes, "it reads constants alone")
        return HostGroups(tuple(groups), reasons, self._bases)

    def _leaders(self, traits: Mapping[str, HostTrait]) -> dict[str, str]:
        """For each node the last node of its group."""
        leader: dict[str, str] = {}
        for node in reversed(self._graph.nodes):
            if node.name not in traits:
                continue
            leader[node.name] = node.name
            names = filter(None, node.outputs)
            readers = [reader for name in names for reader in self._readers.get(name, [])]
            owners = {leader.get(reader.name, "") for reader in readers}
            owner = owners.pop() if len(owners) == 1 else ""
            alone = not self._either.isdisjoint((node.name, owner))
            if owner and not alone and self._joins(node, traits[node.name], traits[owner]):
                leader[node.name] = owner
            elif len(readers) > 1 and all(
                self._moves_alone(one, traits) and leader[one.name] == one.name
                for one in (node, *readers)
            ):
                last = max(readers, key=lambda reader: self._position[reader.name]).name
                leader |= dict.fromkeys([node.name, *(r.name for r in readers)], last)
                self._forks[last] = node.name
        return leader

    def _moves_alone(self, node: Node, traits: Mapping[str, HostTrait]) -> bool:
        """Whether a node moves values of one tensor, and may be part of a loop that does."""
        read = {name for name in reads(node) if name not in self._graph.constants}
        moves = traits.get(node.name) is HostTrait.MOVES and node.clip is None
        return moves and len(read) == 1 and node.name not in self._either

    @staticmethod
    def _joins(node: Node, trait: HostTrait, owner: HostTrait) -> bool:
        """Whether a node is part of the loop that alone reads what it writes."""
        if trait is HostTrait.MOVES:
            return owner is HostTrait.MOVES and node.clip is None
        return trait in _JOINING and owner in _TAKING

    def _group(self, nodes: list[Node], traits: Mapping[str, HostTrait]) -> HostGroup:
        inside = {name for node in nodes for name in node.outputs}
        names = dict.fromkeys(name for node in nodes for name in node.inputs if name)
        inputs = tuple(n for n in names if n not in inside and n not in self._graph.constants)
        trait = traits[nodes[-1].name]
        pointwise = all(traits[node.name] is HostTrait.POINTWISE for node in nodes)
        scalars = all(
            self._graph.constants[name].size == 1 for name in names if name in self._graph.constants
        )
        if pointwise and len(inputs) == 1:
            types = self._graph.types
            scalars = scalars and types[inputs[0]].shape == types[nodes[-1].output].shape
        fork = self._forks.get(nodes[-1].name)
        read = {name for node in nodes for name in node.inputs}
        ends = nodes[-1:] if fork is None else [n for n in nodes if read.isdisjoint(n.outputs)]
        return HostGroup(
            fork or nodes[-1].name,
            tuple(node.name for node in nodes),
            inputs,
            tuple(name for node in ends for name in node.outputs if name),
            pointwise and len(inputs) == 1 and scalars,
            trait is HostTrait.MOVES and nodes[-1].clip is None,
        )
