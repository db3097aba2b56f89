"""Which tensors are never negative, by what computes them."""

from __future__ import annotations

from compiler_core.graph.ir import Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op
from compiler_core.graph.views import VIEW_OPERATORS

_FUNCTIONS = ("Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus")
_MOVING = (
    *VIEW_OPERATORS,
    *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Slice", "Split"),
    *("DequantizeLinear", "QuantizeLinear"),
)
"""Operators whose results are as little negative as their first input."""


def is_never_negative(rewriter: Rewriter, tensor: str) -> bool:
    """Whether all values of a tensor are known to be at least 0."""
    waiting, seen = [tensor], set[str]()
    while waiting:
        name = waiting.pop()
        producer = rewriter.producer(name)
        if producer is None:
            return False
        if producer.clip is not None and producer.clip[0] >= 0:
            continue
        if producer.clip is None and (
            is_op(producer, *_FUNCTIONS) or _is_clipped(rewriter, producer)
        ):
            continue
        if is_op(producer, *_MOVING):
            inputs = producer.inputs[:1]
        elif is_op(producer, "Concat"):
            inputs = producer.inputs
        else:
            return False
        waiting += [name for name in inputs if name not in seen]
        seen |= {*inputs}
    return True


def _is_clipped(rewriter: Rewriter, node: Node) -> bool:
    if not is_op(node, "Clip"):
        return False
    least = rewriter.constant(node, 1) if len(node.inputs) > 1 and node.inputs[1] else None
    if least is not None:
        return bool((least >= 0).all())
    return float(node.attributes.get("min", -1.0)) >= 0
