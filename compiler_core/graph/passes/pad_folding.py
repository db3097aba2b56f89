"""A Pad of the height and width moves into the convolution or pool that reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.operands import pad_amounts, pad_value
from compiler_core.graph.passes.rewriter import Rewriter, is_op


@dataclass(frozen=True)
class PadFolding:
    """Fold constant padding of spatial axes only, where it means the same.

    Conv: zeros. AveragePool: zeros that are counted, so ``count_include_pad`` must hold or become
    so without other pads. MaxPool: its padding never wins, so minus infinity; or zeros where every
    input is known to be at least zero and every window holds an input.
    """

    name: ClassVar[str] = "pad-folding"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if not is_op(node, "Conv", "MaxPool", "AveragePool"):
                continue
            pad = rewriter.producer(node.inputs[0])
            if pad is None or not is_op(pad, "Pad") or pad.clip is not None:
                continue
            attributes = _absorbed(rewriter, node, pad)
            if attributes is not None:
                inputs = (pad.inputs[0], *node.inputs[1:])
                rewriter.replace(node, replace(node, inputs=inputs, attributes=attributes))
                if not rewriter.readers(pad.output) and not rewriter.pinned(pad.output):
                    rewriter.remove(pad)
        return rewriter.finish()


def _absorbed(rewriter: Rewriter, node: Node, pad: Node) -> dict[str, Any] | None:
    amounts, value = pad_amounts(rewriter, pad), pad_value(rewriter, pad)
    pads = node.attributes.get("pads")
    if amounts is None or value is None or pads is None or "auto_pad" in node.attributes:
        return None
    begins, ends = amounts
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
    never_wins = value == -math.inf or (value == 0 and _non_negative(rewriter, pad.inputs[0]))
    return attributes if never_wins else None


def _non_negative(rewriter: Rewriter, tensor: str) -> bool:
    producer = rewriter.producer(tensor)
    if producer is None:
        return False
    if producer.clip is not None:
        return producer.clip[0] >= 0
    if is_op(producer, "MaxPool", "AveragePool", "GlobalAveragePool"):
        return _non_negative(rewriter, producer.inputs[0])
    return is_op(producer, "Relu", "Sigmoid", "Softmax")
