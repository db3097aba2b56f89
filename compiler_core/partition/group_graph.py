"""A model as groups of nodes, the unit of placement, and the tensors between them.

Dependences are between *base tensors*: a tensor that is only a view of another counts as that one.
A state that stays where the only group is that updates and reads it crosses no border, and is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.order import reads
from compiler_core.quantize.ir import HostGroup
from compiler_core.quantize.skeleton import Skeleton
from compiler_core.quantize.unit_arithmetics import UnitArithmetics

OUTSIDE = -1
"""Producer of a tensor that the caller of the model feeds."""


@dataclass(frozen=True)
class Group:
    """Nodes that run on one unit, together.

    Attributes:
        index: Position in topological order.
        name: Of its main node.
        operator: Of its main node.
        nodes: Names, in topological order, views included.
        npu_reason: Why the NPU cannot run it, ``None`` where it can.
        reads: Indices of the base tensors read, ascending.
        writes: Indices of the base tensors written and read elsewhere, ascending.
        views: ``(node name, index of its base tensor)`` of the nodes that move nothing.
        host: The loop that it is where the CPU runs it on integers; ``None`` where it cannot.
        host_reason: Why it cannot.
    """

    index: int
    name: str
    operator: str
    nodes: tuple[str, ...]
    npu_reason: str | None
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    views: tuple[tuple[str, int], ...]
    host: HostGroup | None = None
    host_reason: str = ""


@dataclass(frozen=True)
class Alias:
    """One of the shapes in which a base tensor is read.

    Attributes:
        views: Nodes that lead to it from the base tensor, in order; none for its own shape.
        readers: Indices of the groups that read it so, ascending.
        is_output: Whether the caller of the model does.
    """

    views: tuple[str, ...]
    readers: tuple[int, ...]
    is_output: bool


@dataclass(frozen=True)
class BaseTensor:
    """An activation that crosses between groups, or between the model and its caller.

    Attributes:
        name: In the graph.
        producer: Index of the group that writes it, or :data:`OUTSIDE`.
        consumers: Indices of the groups that read it, ascending.
        is_output: Whether the caller of the model reads it (or a view of it).
        values: Elements.
        shape: ``(N, C, H, W)`` as the NPU would hold it.
        aliases: The shapes in which it is read.
    """

    name: str
    producer: int
    consumers: tuple[int, ...]
    is_output: bool
    values: int
    shape: tuple[int, int, int, int]
    aliases: tuple[Alias, ...]


@dataclass(frozen=True, eq=False)
class GroupsOnUnit:
    """A model with everything on one unit that can run there, and the rest where it is untuned.

    Attributes:
        skeleton: Its integer operators.
        reasons: Why nodes cannot run on the unit, by node.
    """

    skeleton: Skeleton
    reasons: Mapping[str, str]

    def reason(self, group: Group) -> str | None:
        """Why a group cannot run on the unit; ``None`` where it can."""
        views = {name for name, _ in group.views}
        computing = [name for name in group.nodes if name not in views]
        return next((self.reasons[name] for name in computing if name in self.reasons), None)


@dataclass(frozen=True, eq=False)
class GroupGraph:
    """A model as groups and the tensors between them.

    Attributes:
        graph: The model, simplified.
        skeleton: Its integer operators when everything that can runs on the NPU.
        groups: In topological order.
        tensors: All base tensors.
        group_of: Index of the group of each node.
        base_of: Index of the base tensor of each tensor that is one or a view of one.
        views_of: For each of those tensors the nodes that lead to it from its base tensor.
        arithmetic: Of the NPUs that they are for.
        on_unit: What each of these runs where it can, by its name.
        untuned: Unit of each node that can run on one, by name; the CPU for the others.
    """

    graph: Graph
    skeleton: Skeleton
    groups: tuple[Group, ...]
    tensors: tuple[BaseTensor, ...]
    group_of: Mapping[str, int]
    base_of: Mapping[str, int]
    views_of: Mapping[str, tuple[str, ...]]
    arithmetic: UnitArithmetics
    on_unit: Mapping[str, GroupsOnUnit]
    untuned: Mapping[str, str]

    def computing(self, index: int) -> tuple[Node, ...]:
        """The nodes of a group that are not views, in topological order."""
        group = self.groups[index]
        views = {name for name, _ in group.views}
        return tuple(self._nodes[name] for name in group.nodes if name not in views)

    @cached_property
    def _nodes(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.graph.nodes}

    def reads_of(self, node: Node) -> tuple[int, ...]:
        """Indices of the base tensors that a node reads."""
        return tuple(sorted({self.base_of[name] for name in reads(node) if name in self.base_of}))
