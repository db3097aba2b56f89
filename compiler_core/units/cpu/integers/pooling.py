"""Pools and reductions over constant axes."""

from __future__ import annotations

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.host_arithmetic import HostTrait
from compiler_core.units.cpu.integers.rule import Rule, computes

_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
_REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")


def _pool(_graph: Graph, node: Node) -> HostTrait | str:
    if any(node.outputs[1:]):
        return f"'{node.outputs[1]}' is read too"
    return HostTrait.COMPUTES


def _reduction(graph: Graph, node: Node) -> HostTrait | str:
    axes = node.inputs[1] if len(node.inputs) > 1 else ""
    if axes and axes not in graph.constants:
        return f"'{axes}' is computed at run time"
    if node.clip is None and node.attributes.get("keepdims", 1):
        return HostTrait.REDUCES
    return computes(graph, node)


OPERATORS: dict[str, Rule] = {
    **dict.fromkeys(_POOLS, _pool),
    **dict.fromkeys(_REDUCTIONS, _reduction),
}
