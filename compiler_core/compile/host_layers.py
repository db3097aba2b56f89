"""What the steps of the CPU cost, as layers of the report."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from compiler_core.executable.report import LayerReport
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.macs import float_macs
from compiler_core.quantize.ir import FloatSegment, HostGroup, QuantizedGraph
from compiler_core.quantize.layout import plain_shape
from compiler_core.system.host_steps import HostStep
from compiler_core.system.steps import ExecutionStep
from compiler_core.targets.integer_units import integer_units
from compiler_core.targets.target import Target
from compiler_core.units.facets.host import Cost, host_costs, integer_costs
from compiler_core.units.names import CPU
from compiler_core.units.ways import INT8, ways_of

_FLOAT_BYTES = 4


class HostPricing:
    """Prices steps of the CPU.

    Args:
        quantized: The model.
        target: The machine.
    """

    def __init__(self, quantized: QuantizedGraph, target: Target) -> None:
        self._quantized, self._target = quantized, target
        self._nodes = host_costs().of_target(target, quantized.source)
        self._groups = integer_costs().of_target(target)
        self._graphs = {
            part.name: part.priced for part in quantized.segments if isinstance(part, FloatSegment)
        }

    def layer(self, step: ExecutionStep, host: HostStep) -> LayerReport:
        """One step as a layer of the report.

        Args:
            step: The step.
            host: What it is of the CPU's own work.
        """
        if host.group is not None:
            return self._group(step, host.group)
        if host.node is not None:
            return self._node(step, self._graphs[step.segment], host.node)
        return self._conversion(step)

    def _node(self, step: ExecutionStep, graph: Graph, node: Node) -> LayerReport:
        cost = self._nodes(graph, node)
        report = _layer(step, node.op, _shape(graph, node.output), cost)
        return replace(report, macs=float_macs(graph, node))

    def _group(self, step: ExecutionStep, group: HostGroup) -> LayerReport:
        graph = self._quantized.source
        members = graph.named(group.nodes)
        operator = "int8 " + "+".join(node.op for node in members)
        shape = _shape(graph, group.outputs[0])
        report = _layer(step, operator, shape, self._groups(graph, group))
        return replace(report, macs=sum(float_macs(graph, node) for node in members))

    def _conversion(self, step: ExecutionStep) -> LayerReport:
        host = self._quantized.host
        base, machine = host.base(step.name), self._machine
        tensor = host.tensors[base]
        size = ways_of(machine).form(tensor.shape, INT8, machine).bytes
        # They may be padded beyond the numbers that there are.
        values = prod(plain_shape(self._quantized.source.types.get(base)))
        cost = host_costs().conversion(self._target.cpu, values, _FLOAT_BYTES * values + size)
        shape = "x".join(map(str, tensor.shape))
        return _layer(step, step.kind.name.lower(), shape, cost)

    @property
    def _machine(self) -> Any:
        """That whose integers they are."""
        return integer_units(self._target)[0].machine


def _layer(step: ExecutionStep, operator: str, shape: str, cost: Cost) -> LayerReport:
    seconds, energy = cost.seconds * 1e3, cost.energy_mj
    return LayerReport(step.name, step.segment, CPU, operator, shape, seconds, energy)


def _shape(graph: Graph, tensor: str) -> str:
    known = graph.types.get(tensor)
    return "x".join("?" if n is None else str(n) for n in (known.shape or ())) if known else ""
