"""What the CPU takes for operators on int8 tensors, each group of them one loop.

``time = operator overhead + cycles / clock``, with

- a table: an element per cycle;
- what moves: bytes read and written at the CPU's copy bandwidth; rescaling by a power of two is a
  shift on the way;
- other loops: what their operators take in float, integers being multiplied at the rate of int8.

A group whose time a table of the target has is priced by it.
"""

from __future__ import annotations

from math import prod

from compiler_core.graph.ir import Graph
from compiler_core.graph.macs import element_operations, float_macs
from compiler_core.quantize.ir import HostGroup
from compiler_core.targets.target import Cpu, Target
from compiler_core.units.cpu.cost_table import group_signature
from compiler_core.units.facets.host import Cost, GroupCosts

TABLE_ELEMENTS_PER_CYCLE = 1.0
"""Assumed: a load of the index, one of the entry and a store each."""


def integer_cost(cpu: Cpu, graph: Graph, group: HostGroup) -> Cost:
    """One group on integers.

    Args:
        cpu: The processor.
        graph: The group is of.
        group: Its operators.
    """
    members = graph.named(group.nodes)
    written = sum(_elements(graph, name) for name in group.outputs)
    read = sum(_elements(graph, name) for name in group.inputs)
    macs = sum(float_macs(graph, node) for node in members)
    elements = sum(element_operations(graph, node) for node in members)
    if group.moves:
        read = min(read, written)
    cycles = (read + written) / cpu.copy_bytes_per_cycle
    if group.is_table:
        elements = written
        cycles = written / TABLE_ELEMENTS_PER_CYCLE
    elif not group.moves:
        work = max(macs / cpu.int8_macs_per_cycle, elements / cpu.elements_per_cycle)
        cycles = work
    energy = (macs + elements) * cpu.operation_overhead_pj + macs * cpu.float_multiply_add_pj
    return Cost(cpu.operator_overhead_s + cycles / cpu.clock_hz, energy)


def _elements(graph: Graph, tensor: str) -> int:
    known = graph.types[tensor].shape or ()
    return prod(size or 1 for size in known)


class CpuIntegerCosts:
    """See :class:`~compiler_core.units.facets.host.IntegerCosts`."""

    def of_target(self, target: Target) -> GroupCosts:
        cpu = target.cpu
        rows = target.cpu_table.rows if target.cpu_table is not None else {}

        def cost(graph: Graph, group: HostGroup) -> Cost:
            assumed = integer_cost(cpu, graph, group)
            row = rows.get(group_signature(graph, group)) if rows else None
            return assumed if row is None else Cost(row.median_us * 1e-6, assumed.energy_pj)

        return cost


INTEGER_COSTS = CpuIntegerCosts()
