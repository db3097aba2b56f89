"""All operators that the CPU runs on integers, by type."""

from __future__ import annotations

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.host_arithmetic import HostTrait
from compiler_core.units.cpu.integers import (
    binary,
    moving,
    normalizing,
    pooling,
    product,
    resize,
    unary,
)
from compiler_core.units.cpu.integers.rule import Rule, has_known_tensors

OPERATORS: dict[str, Rule] = {
    **unary.OPERATORS,
    **binary.OPERATORS,
    **moving.OPERATORS,
    **resize.OPERATORS,
    **pooling.OPERATORS,
    **normalizing.OPERATORS,
    **product.OPERATORS,
}


class CpuIntegers:
    """See :class:`~compiler_core.quantize.host_arithmetic.HostArithmetic`."""

    def trait(self, graph: Graph, node: Node) -> HostTrait | str:
        rule = OPERATORS.get(node.op)
        if rule is None or node.domain not in ("", "ai.onnx") or node.opaque:
            return f"{node.op} is not an operator that the CPU runs on integers"
        return has_known_tensors(graph, node) or rule(graph, node)


INTEGERS = CpuIntegers()
