"""A factor on all of a tensor goes into the weights that it comes from.

Attention scales its scores, or queries and keys before their product, by one number. Behind it are
views and products alone, which hand factors on, down to the projections: these compute the scaled
numbers for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node
from compiler_core.graph.passes.channel_affine import fold_affine, is_foldable
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_VIEWS = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True)
class ScalarFactors:
    """Fold Mul and Div by a single number into the layer before, through views and products of two
    tensors that nobody else reads."""

    name: ClassVar[str] = "scalar-factors"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if is_op(node, "Mul", "Div") and node.clip is None:
                _fold(rewriter, node)
        return rewriter.finish()


def _fold(rewriter: Rewriter, node: Node) -> None:
    position = 1 if rewriter.constant(node, 1) is not None else 0
    value, source = rewriter.constant(node, position), node.inputs[1 - position]
    if value is None or value.size != 1 or value.dtype.kind != "f":
        return
    if position == 0 and node.op == "Div":
        return
    if rewriter.shape(source) is None or rewriter.shape(source) != rewriter.shape(node.output):
        return
    number = np.float64(value.reshape(()))
    if number == 0 or not np.isfinite(number):
        return
    layer = _layer(rewriter, source)
    if layer is None or layer.output == source or source in rewriter.kept:
        return  # right behind it, it is a matter of every channel
    channels = (rewriter.shape(layer.output) or (0, 0))[-1 if layer.domain == NEST_DOMAIN else 1]
    factor = np.full(channels, 1 / number if node.op == "Div" else number)
    first = node if position == 1 else replace(node, inputs=(source, node.inputs[0]))
    if first is not node:
        rewriter.replace(node, first)
    fold_affine(rewriter, layer, first, factor, np.zeros(channels))


def _layer(rewriter: Rewriter, tensor: str) -> Node | None:
    """The layer whose weights a factor on ``tensor`` may go into."""
    producer = rewriter.producer(tensor)
    if producer is None or producer.clip is not None or producer.opaque:
        return None
    if is_foldable(rewriter, producer):
        return producer
    if not rewriter.private(tensor):
        return None
    if is_op(producer, *_VIEWS):
        return _layer(rewriter, producer.inputs[0])
    if is_op(producer, "MatMul"):
        return _layer(rewriter, producer.inputs[0]) or _layer(rewriter, producer.inputs[1])
    return None
