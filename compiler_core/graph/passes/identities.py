"""Operators that return their input unchanged are removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.operands import pad_amounts
from compiler_core.graph.passes.rewriter import Rewriter, is_op


@dataclass(frozen=True)
class Identities:
    """Remove Identity, Dropout in inference and whatever does nothing to its input.

    That is: a Cast to the same type, Pad by nothing, Slice of everything, Reshape, Squeeze or
        Expand
    to the same shape, Transpose in order, Concat, Sum, Max, Min, Mean of one tensor, a 1x1 pool,
    multiplication by one and addition of zero. A Sum of two tensors becomes an Add.
    """

    name: ClassVar[str] = "identities"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if node.domain or node.clip is not None or any(node.outputs[1:]):
                if not is_op(node, "Dropout") or any(map(rewriter.readers, node.outputs[1:])):
                    continue
                if any(map(rewriter.pinned, node.outputs[1:])):
                    continue
            source = _unchanged(rewriter, node)
            if source is not None:
                rewriter.bypass(node, source)
            elif is_op(node, "Sum") and len(node.inputs) == 2:
                rewriter.replace(node, replace(node, op="Add"))
        return rewriter.finish()


def _unchanged(rewriter: Rewriter, node: Node) -> str | None:
    """The tensor that equals the first output of ``node``."""
    if not node.inputs or node.opaque:
        return None
    source = node.inputs[0]
    if node.op in ("Mul", "Add", "Sub", "Div"):
        return _neutral(rewriter, node)
    rule = _RULES.get(node.op)
    return source if rule is not None and rule(rewriter, node) else None


def is_inference(rewriter: Rewriter, node: Node) -> bool:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return True
    training = rewriter.constant(node, 2)
    return training is not None and not training.any()


def _same_type(rewriter: Rewriter, node: Node) -> bool:
    dtype = rewriter.dtype(node.inputs[0])
    return dtype is not None and dtype == rewriter.dtype(node.output)


def _same_shape(rewriter: Rewriter, node: Node) -> bool:
    source, target = node.inputs[0], node.output
    shape = rewriter.shape(source)
    if shape is None or shape != rewriter.shape(target):
        return False
    both_lead = rewriter.leads_with_batch(source) and rewriter.leads_with_batch(target)
    return both_lead or (rewriter.batch_free(source) and rewriter.batch_free(target))


def _forward_slice(rewriter: Rewriter, node: Node) -> bool:
    """Whether no step is negative: a reversal keeps the shape, but not the order."""
    if len(node.inputs) < 5 or not node.inputs[4]:
        return True
    steps = rewriter.constant(node, 4)
    return steps is not None and bool((steps > 0).all())


def _in_order(rewriter: Rewriter, node: Node) -> bool:
    shape = rewriter.shape(node.inputs[0])
    permutation = node.attributes.get("perm")
    return permutation is not None and shape is not None and permutation == tuple(range(len(shape)))


def _is_unit_pool(rewriter: Rewriter, node: Node) -> bool:
    kernel = node.attributes.get("kernel_shape", (0,))
    return set(kernel) == {1} and _same_shape(rewriter, node)


def _neutral(rewriter: Rewriter, node: Node) -> str | None:
    """The other operand of a multiplication by one or addition of zero that broadcasts nothing."""
    neutral = 1 if node.op in ("Mul", "Div") else 0
    for position in (1, 0) if node.op in ("Mul", "Add") else (1,):
        value = rewriter.constant(node, position)
        other = node.inputs[1 - position]
        if value is None or value.dtype.kind != "f" or other in rewriter.constants:
            continue
        shape = rewriter.shape(other)
        if shape is None or shape != rewriter.shape(node.output):
            continue
        if bool(np.all(value == neutral)):
            return other
    return None


def _pads_nothing(rewriter: Rewriter, node: Node) -> bool:
    amounts = pad_amounts(rewriter, node)
    return amounts is not None and not any((*amounts[0], *amounts[1]))


def _single(_: Rewriter, node: Node) -> bool:
    return len(node.inputs) == 1


def _slices_nothing(rewriter: Rewriter, node: Node) -> bool:
    return _same_shape(rewriter, node) and _forward_slice(rewriter, node)


_RULES: dict[str, Callable[[Rewriter, Node], bool]] = {
    "AveragePool": _is_unit_pool,
    "Cast": _same_type,
    "Concat": _single,
    "Dropout": is_inference,
    "Expand": _same_shape,
    "Flatten": _same_shape,
    "Identity": _single,
    "Max": _single,
    "MaxPool": _is_unit_pool,
    "Mean": _single,
    "Min": _single,
    "Pad": _pads_nothing,
    "Reshape": _same_shape,
    "Slice": _slices_nothing,
    "Squeeze": _same_shape,
    "Sum": _single,
    "Transpose": _in_order,
}
