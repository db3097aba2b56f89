"""Transposes cancelled, and pushed down so that they meet: models of NHWC origin lose them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.operands import axes_operand, pad_amounts
from compiler_core.graph.passes.rewriter import Rewriter, is_op

# fmt: off
_ELEMENTWISE = frozenset({
    "Abs", "Add", "Cast", "Ceil", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mish",
    "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Softplus",
    "Softsign", "Sqrt", "Sub", "Sum", "Tanh", "ThresholdedRelu",
})
# fmt: on
_HALF = (10, 16)
"""Types that nothing inside a model has: the Cast to one stays the last before an output."""
_PERMUTED = _ELEMENTWISE | {"Concat", "Pad", "ReduceMax", "ReduceMean", "Transpose"}


@dataclass(frozen=True)
class TransposeMerging:
    """Two Transposes in a row become one; in :class:`Identities` one that keeps order
    disappears."""

    name: ClassVar[str] = "transpose-merging"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            second = _permutation(rewriter, node)
            before = rewriter.producer(node.inputs[0]) if second else None
            first = None if before is None else _permutation(rewriter, before)
            if second is None or before is None or first is None:
                continue
            order = tuple(first[axis] for axis in second)
            if order == tuple(range(len(order))) and rewriter.bypass(node, before.inputs[0]):
                continue
            rewriter.replace(node, replace(node, inputs=before.inputs, attributes={"perm": order}))
        return rewriter.finish()


@dataclass(frozen=True)
class TransposePushing:
    """Move a Transpose from the inputs of an operator that works in any layout to its output.

    Elementwise operators (all computed inputs transposed alike; constants are transposed instead),
    Concat, Pad and reductions. Only where everything that reads the transposed tensors could take
    the Transpose, too: else pushing would only copy it. The batch axis stays the first.
    """

    name: ClassVar[str] = "transpose-pushing"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if node.domain or node.op not in _PERMUTED - {"Transpose"} or any(node.outputs[1:]):
                continue
            if node.op == "Cast" and node.attributes.get("to") in _HALF:
                continue
            order = _common_permutation(rewriter, node)
            if order is not None:
                _push(rewriter, node, order)
        return rewriter.finish()


def _permutation(rewriter: Rewriter, node: Node) -> tuple[int, ...] | None:
    if not is_op(node, "Transpose") or node.clip:
        return None
    order: tuple[int, ...] | None = node.attributes.get("perm")
    if order is None:
        shape = rewriter.shape(node.inputs[0])
        return None if shape is None else tuple(reversed(range(len(shape))))
    return order


def _data_inputs(node: Node) -> tuple[str, ...]:
    all_are_data = node.op in _ELEMENTWISE - {"Clip"} or node.op == "Concat"
    return node.inputs if all_are_data else node.inputs[:1]


def _common_permutation(rewriter: Rewriter, node: Node) -> tuple[int, ...] | None:
    orders = set()
    for name in _data_inputs(node):
        if name in rewriter.constants:
            if node.op == "Concat":
                return None
            continue
        producer = rewriter.producer(name)
        order = None if producer is None else _permutation(rewriter, producer)
        if order is None or order[0] != 0 or rewriter.pinned(name):
            return None
        if any(reader.domain or reader.op not in _PERMUTED for reader in rewriter.readers(name)):
            return None
        orders.add(order)
    if len(orders) != 1:
        return None
    order = orders.pop()
    shape = rewriter.shape(_data_inputs(node)[0])
    return order if shape is None or len(shape) <= len(order) else None


def _push(rewriter: Rewriter, node: Node, order: tuple[int, ...]) -> None:
    shape = rewriter.shape(node.output)
    inverse = tuple(int(axis) for axis in np.argsort(order))
    sources = []
    for name in _data_inputs(node):
        if name not in rewriter.constants:
            producer = rewriter.producer(name)
            sources.append(name if producer is None else producer.inputs[0])
            continue
        array = rewriter.constants[name]
        if array.ndim > len(order):
            return
        if array.ndim:
            full = array.reshape((1,) * (len(order) - array.ndim) + array.shape)
            name = rewriter.add_constant(name, full.transpose(inverse))
        sources.append(name)
    inputs = (*sources, *node.inputs[len(sources) :])
    if node.op.startswith("Reduce"):
        if shape is not None:
            _push_reduction(rewriter, node, order, inputs)
        return
    if shape is None or len(shape) != len(order):
        return
    moved = replace(node, inputs=inputs)
    if node.op == "Concat":
        axis = order[node.attributes["axis"] % len(order)]
        moved = replace(moved, attributes={**node.attributes, "axis": axis})
    elif node.op == "Pad":
        padded = _permuted_pad(rewriter, moved, node, inverse)
        if padded is None:
            return
        moved = padded
    _finish_push(rewriter, node, moved, order)


def _finish_push(rewriter: Rewriter, node: Node, moved: Node, order: tuple[int, ...]) -> None:
    shape = rewriter.shape(node.output) or ()
    inverse = np.argsort(order)
    inner = rewriter.add_tensor(
        f"{node.output}/moved", tuple(shape[axis] for axis in inverse), node.output
    )
    name = rewriter.fresh_node(f"{node.name}/transpose")
    transpose = Node(name, "Transpose", (inner,), (node.output,), {"perm": order})
    rewriter.replace(node, replace(moved, outputs=(inner,)), transpose)


def _permuted_pad(
    rewriter: Rewriter, moved: Node, node: Node, inverse: tuple[int, ...]
) -> Node | None:
    amounts = pad_amounts(rewriter, node)
    if amounts is None:
        return None
    pads = tuple(side[axis] for side in amounts for axis in inverse)
    if "pads" in node.attributes:
        return replace(moved, attributes={**node.attributes, "pads": pads})
    name = rewriter.add_constant(node.inputs[1], np.array(pads, np.int64))
    return replace(moved, inputs=(moved.inputs[0], name, *node.inputs[2:3]))


def _push_reduction(
    rewriter: Rewriter, node: Node, order: tuple[int, ...], inputs: tuple[str, ...]
) -> None:
    axes = axes_operand(rewriter, node)
    if axes is None or 0 in axes:
        return
    mapped = tuple(sorted(order[axis] for axis in axes))
    attributes: dict[str, Any] = dict(node.attributes)
    if "axes" in attributes:
        attributes["axes"] = mapped
    else:
        inputs = (inputs[0], rewriter.add_constant(node.inputs[1], np.array(mapped, np.int64)))
    moved = replace(node, inputs=inputs, attributes=attributes)
    if attributes.get("keepdims", 1):
        _finish_push(rewriter, node, moved, order)
        return
    kept = [order[axis] for axis in range(len(order)) if axis not in axes]
    if kept == sorted(kept):
        rewriter.replace(node, moved)
