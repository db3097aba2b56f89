"""A Pad of the height and width moves into the convolution or pool that reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.operands import pad_amounts, pad_value
from compiler_core.graph.passes.rewriter import Rewriter, is_op
from compiler_core.graph.passes.signs import is_never_negative


@dataclass(frozen=True)
class PadFolding:
    """Fold constant padding of spatial axes only, where it means the same.

    Conv: zeros. AveragePool: zeros that are counted, so ``count_include_pad`` must hold or become
    so without other pads. MaxPool: its padding never wins, so minus infinity; or zeros where every
    input is known to be at least zero and every window holds an input. A Transpose between the two,
    as models of NHWC origin have it, is looked through.
    """

    name: ClassVar[str] = "pad-folding"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if not is_op(node, "Conv", "MaxPool", "AveragePool"):
                continue
            pad = rewriter.producer(node.inputs[0])
            order: tuple[int, ...] | None = None
            transpose = pad
            if transpose is not None and is_op(transpose, "Transpose"):
                order = transpose.attributes.get("perm")
                pad = None if order is None else rewriter.producer(transpose.inputs[0])
            if pad is None or not is_op(pad, "Pad") or pad.clip is not None:
                continue
            attributes = _absorbed(rewriter, node, pad, order)
            if attributes is None:
                continue
            source = pad.inputs[0] if order is None else _transposed(rewriter, pad, order)
            if source is None:
                continue
            inputs = (source, *node.inputs[1:])
            rewriter.replace(node, replace(node, inputs=inputs, attributes=attributes))
            for dead in (transpose, pad):
                if dead is not None and not rewriter.readers(dead.output):
                    _remove_unread(rewriter, dead)
        return rewriter.finish()


def _remove_unread(rewriter: Rewriter, node: Node) -> None:
    if rewriter.producer(node.output) is node and not rewriter.pinned(node.output):
        rewriter.remove(node)


def _transposed(rewriter: Rewriter, pad: Node, order: tuple[int, ...]) -> str | None:
    """The input of ``pad`` in the order that the convolution reads."""
    source = pad.inputs[0]
    shape = rewriter.shape(source)
    if shape is None or order[0] != 0:
        return None
    result = rewriter.add_tensor(
        f"{pad.output}/unpadded", tuple(shape[axis] for axis in order), source
    )
    name = rewriter.fresh_node(f"{pad.name}/transpose")
    transpose = Node(name, "Transpose", (source,), (result,), {"perm": order})
    rewriter.replace(pad, transpose, pad)
    return result


def _absorbed(
    rewriter: Rewriter, node: Node, pad: Node, order: tuple[int, ...] | None
) -> dict[str, Any] | None:
    amounts, value = pad_amounts(rewriter, pad), pad_value(rewriter, pad)
    pads = node.attributes.get("pads")
    if amounts is None or value is None or pads is None or "auto_pad" in node.attributes:
        return None
    begins, ends = amounts
    if order is not None:
        begins = tuple(begins[axis] for axis in order)
        ends = tuple(ends[axis] for axis in order)
    if any((*begins[:2], *ends[:2])) or min(*begins, *ends) < 0 or len(begins) * 2 - 4 != len(pads):
        return None
    attributes = dict(node.attributes)
    attributes["pads"] = tuple(
        own + extra for own, extra in zip(pads, (*begins[2:], *ends[2:]), strict=True)
    )
    if node.op == "Conv":
        return attributes if value == 0 else None
    if attributes.get("ceil_mode", 0) or any(
        amount >= size
        for amount, size in zip(attributes["pads"], attributes["kernel_shape"] * 2, strict=True)
    ):
        return None
    if node.op == "AveragePool":
        counted = attributes.get("count_include_pad", 0)
        if value != 0 or (any(pads) and not counted):
            return None
        attributes["count_include_pad"] = 1
        return attributes
    never_wins = value == -math.inf or (value == 0 and is_never_negative(rewriter, pad.inputs[0]))
    return attributes if never_wins else None
