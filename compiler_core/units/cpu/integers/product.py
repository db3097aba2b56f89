"""MatMul of two activations, summed in float32, which holds the sums of integers exactly."""

from __future__ import annotations

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.host_arithmetic import HostTrait
from compiler_core.units.cpu.integers.rule import Rule

_MOST_TERMS = 1024
"""``128 * 128`` times as many are ``2**24``."""


def _product(graph: Graph, node: Node) -> HostTrait | str:
    if any(name in graph.constants for name in node.inputs):
        return "an operand is constant"
    terms = (graph.types[node.inputs[0]].shape or (1,))[-1] or 1
    if terms > _MOST_TERMS:
        return f"sums of {terms} products are beyond what float32 holds exactly"
    return HostTrait.COMPUTES


OPERATORS: dict[str, Rule] = {"MatMul": _product}
