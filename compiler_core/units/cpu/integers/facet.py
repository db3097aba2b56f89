"""All operators that the CPU runs on integers, by type."""

from __future__ import annotations

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.host_arithmetic import HostTrait
from compiler_core.units.cpu.integers import (
    binary,
    masking,
    moving,
    normalizing,
    pooling,
    product,
    resize,
    unary,
)
from compiler_core.units.cpu.integers.rule import Rule

OPERATORS: dict[str, Rule] = {
    **unary.OPERATORS,
    **binary.OPERATORS,
    **masking.OPERATORS,
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
        return _unknown(graph, node) or rule(graph, node)


def _unknown(graph: Graph, node: Node) -> str | None:
    """Why the tensors of a node are none of real numbers whose shapes are known."""
    for name in filter(None, (*node.inputs, *node.outputs)):
        constant = graph.constants.get(name)
        if constant is not None:
            finite = constant.dtype.kind != "f" or np.isfinite(constant).all()
            if not finite and not masking.masks_scores(graph, node):
                return f"'{name}' holds NaN or infinity"
            continue
        known = graph.types.get(name)
        if known is None or known.shape is None or None in known.shape:
            return f"'{name}' is of unknown shape"
        if known.dtype != "float32":
            return f"'{name}' is {known.dtype}"
        if 0 in known.shape:
            return f"'{name}' is empty"
    return None


INTEGERS = CpuIntegers()
