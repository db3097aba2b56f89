"""What groups and views cost on the CPU, in float and on integers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from compiler_core.graph.ir import Node
from compiler_core.graph.macs import node_bytes, weight_bytes
from compiler_core.graph.order import reads
from compiler_core.partition.costs import CpuCost, CpuPart, GroupCost, LaunchOrder, UnitCost
from compiler_core.partition.group_graph import GroupGraph
from compiler_core.system.jobs import picoseconds
from compiler_core.system.positions import Positions
from compiler_core.targets.target import Target
from compiler_core.units.facets.host import NodeCosts, integer_costs
from compiler_core.units.launches import Launch
from compiler_core.units.names import CPU_INT8


def with_host_integers(
    costs: Sequence[GroupCost], groups: GroupGraph, target: Target, positions: Positions
) -> Iterator[GroupCost]:
    """Costs with those of the CPU on integers."""
    place = target.places.numbers.get(CPU_INT8)
    cost_of, graph = integer_costs().of_target(target), groups.graph
    for group, cost in zip(groups.groups, costs, strict=True):
        if place is None or group.host is None:
            yield cost
            continue
        found = cost_of(graph, group.host)
        sizes = [groups.tensors[tensor].values for tensor in (*group.reads, *group.writes)]
        written = sum(groups.tensors[tensor].values for tensor in group.writes)
        launch = Launch(
            group.name,
            "",
            0,
            picoseconds(found.seconds * 1e3),
            found.energy_pj,
            sum(sizes) - written,
            written,
            0,
            0,
            cost.cpu.constant_bytes,
            0,
            parts=0,
        )
        order = LaunchOrder(group.reads, (), positions.of_node(group.host.name))
        yield replace(cost, at={**cost.at, place: UnitCost((launch,), (launch,), (order,))})


def view_costs(
    groups: GroupGraph, node_costs: NodeCosts
) -> tuple[dict[str, int], dict[str, float]]:
    """Time and energy of views on the CPU, by name."""
    nodes = {node.name: node for node in groups.graph.nodes}
    costs = {name: node_costs(groups.graph, nodes[name]) for name in view_names(groups)}
    return (
        {name: picoseconds(cost.seconds * 1e3) for name, cost in costs.items()},
        {name: cost.energy_pj for name, cost in costs.items()},
    )


def view_names(groups: GroupGraph) -> Iterable[str]:
    """Names of the views through which groups read."""
    return dict.fromkeys(name for chain in groups.views_of.values() for name in chain)


def cpu_cost(
    groups: GroupGraph, index: int, node_costs: NodeCosts, positions: Positions
) -> CpuCost:
    """What a group costs on the CPU."""
    graph, group = groups.graph, groups.groups[index]
    energy, moved, constants = 0.0, 0, 0
    parts: list[CpuPart] = []
    for node in groups.computing(index):
        cost = node_costs(graph, node)
        bases = tuple(tensor for tensor in groups.reads_of(node) if tensor in group.reads)
        time, position = picoseconds(cost.seconds * 1e3), positions.of_node(node.name)
        parts.append(CpuPart(time, bases, _views_before(groups, node), position))
        energy += cost.energy_pj
        moved += node_bytes(graph, node)
        constants += weight_bytes(graph, node)
    return CpuCost(tuple(parts), energy, moved, constants)


def _views_before(groups: GroupGraph, node: Node) -> tuple[tuple[int, tuple[str, ...]], ...]:
    found = {
        name: (groups.base_of[name], groups.views_of[name])
        for name in sorted(reads(node))
        if groups.views_of.get(name)
    }
    return tuple(found.values())
