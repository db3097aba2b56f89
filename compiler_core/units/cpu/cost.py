"""End-to-end time and energy, sequential model: one thing at a time, nothing overlaps.

``latency = sum(NPU cycles / clock + launch overhead) + sum(border conversions) + sum(CPU nodes)``:

- a conversion at a border moves ``bytes read + bytes written`` at the CPU's copy bandwidth;
- a CPU node takes its operator overhead and ``max(MACs / MAC rate, elements / element rate)``; a
  Scan that of every node of its body, as often as it runs;
- NPU energy is that of the timing simulation; a CPU multiply-add costs its arithmetic and one
  instruction, any other element or converted value one instruction.
"""

from __future__ import annotations

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.macs import element_operations, float_macs, node_bytes
from compiler_core.graph.scans import scan_body
from compiler_core.sums import float_sum
from compiler_core.targets.target import Cpu
from compiler_core.units.facets.host import Cost

MOVES = frozenset(
    ("Concat", "Transpose", "Slice", "Pad", "Split", "Gather", "Resize", "Upsample", "Expand")
).union(("Tile", "SpaceToDepth", "DepthToSpace", "Cast"))
"""Operators that move data and compute nothing."""


def conversion_cost(cpu: Cpu, values: int, bytes_moved: int) -> Cost:
    """The CPU quantizes, dequantizes or lays out a tensor at a border.

    Args:
        cpu: The processor.
        values: Elements converted.
        bytes_moved: Bytes read and written.
    """
    seconds = bytes_moved / (cpu.copy_bytes_per_cycle * cpu.clock_hz)
    return Cost(seconds, values * cpu.operation_overhead_pj)


def node_cost(cpu: Cpu, graph: Graph, node: Node) -> Cost:
    """One float operator on the CPU; of a Scan all that it runs, an operator at a time."""
    body = scan_body(graph, node)
    if body is not None:
        inner = [node_cost(cpu, body.graph, one) for one in body.graph.nodes]
        times = body.times
        return Cost(
            cpu.operator_overhead_s + times * float_sum(cost.seconds for cost in inner),
            times * float_sum(cost.energy_pj for cost in inner),
        )
    macs = float_macs(graph, node)
    elements = element_operations(graph, node)
    cycles = max(macs / cpu.float_macs_per_cycle, elements / cpu.elements_per_cycle)
    if node.op in MOVES:
        cycles = max(cycles, node_bytes(graph, node) / cpu.copy_bytes_per_cycle)
    operations = macs + elements
    energy = operations * cpu.operation_overhead_pj + macs * cpu.float_multiply_add_pj
    return Cost(cpu.operator_overhead_s + cycles / cpu.clock_hz, energy)
