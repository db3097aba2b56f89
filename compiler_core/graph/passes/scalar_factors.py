"""A factor on all of a tensor goes into the weights that it comes from.

Attention scales its scores, or queries and keys before their product, by one number. Behind it are
views and products alone, which hand factors on, down to the projections: these compute the scaled
numbers for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node
from compiler_core.graph.passes.channel_affine import fold_affine, is_foldable
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_MOST_VALUES = 1 << 24
"""Of a layer whose channels are followed through a Split."""
_VIEWS = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True)
class ScalarFactors:
    """Fold Mul and Div by a single number into the layer before, through views and products of two
    tensors that nobody else reads, and into those of its channels that a Split takes."""

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
    found = _layer(rewriter, source, [])
    if found is None or found[0].output == source:
        return  # right behind it, it is a matter of every channel
    layer, path = found
    channels = _channels(rewriter, layer, path)
    if channels is None:
        return
    factor = np.where(channels, 1 / number if node.op == "Div" else number, 1.0)
    first = node if position == 1 else replace(node, inputs=(source, node.inputs[0]))
    if first is not node:
        rewriter.replace(node, first)
    fold_affine(rewriter, layer, first, factor, np.zeros(len(factor)))


def _layer(rewriter: Rewriter, tensor: str, path: list[str]) -> tuple[Node, list[str]] | None:
    """The layer whose weights a factor on ``tensor`` may go into, and the tensors behind it through
    which what it computes is handed on, up to that one or to the factor of a product.

    Args:
        rewriter: The graph.
        tensor: Read by one operator.
        path: Tensors behind it.
    """
    producer = rewriter.producer(tensor)
    if producer is None or producer.clip is not None or producer.opaque or tensor in rewriter.kept:
        return None
    if is_foldable(rewriter, producer):
        return producer, path
    if not rewriter.private(tensor):
        return None
    if is_op(producer, *_VIEWS, "Split"):
        return _layer(rewriter, producer.inputs[0], [tensor, *path])
    if is_op(producer, "MatMul"):
        found = (_layer(rewriter, name, []) for name in producer.inputs)
        return next(filter(None, found), None)
    return None


def _channels(rewriter: Rewriter, layer: Node, path: list[str]) -> npt.NDArray[np.bool_] | None:
    """Which channels of a layer the last tensor of a path holds; ``None`` where it holds only some
    of the values of one, or that is not known."""
    shape = rewriter.shape(layer.output)
    if not shape:
        return None
    axis = len(shape) - 1 if layer.domain == NEST_DOMAIN else 1
    if not any(is_op(rewriter.producer(tensor), "Split") for tensor in path):
        return np.ones(shape[axis], np.bool_)
    if prod(shape) > _MOST_VALUES:
        return None
    index = np.arange(prod(shape)).reshape(shape)
    for tensor in path:
        taken = _handed_on(rewriter, tensor, index)
        if taken is None:
            return None
        index = taken
    each = prod(shape[axis + 1 :])
    counts = np.bincount(index.reshape(-1) // each % shape[axis], minlength=shape[axis])
    held = counts > 0
    return held if (counts[held] == prod(shape) // shape[axis]).all() else None


def _handed_on(
    rewriter: Rewriter, tensor: str, index: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64] | None:
    """Which values of a layer a view or a Split writes, given those that it reads."""
    node, shape = rewriter.producer(tensor), rewriter.shape(tensor)
    if node is None or shape is None:
        return None
    if node.op == "Split":
        axis = int(node.attributes.get("axis", 0))
        sizes = [rewriter.shape(name) for name in node.outputs]
        if not all(sizes):
            return None
        first = sum(size[axis] for size in sizes[: node.outputs.index(tensor)] if size is not None)
        index = np.take(index, np.arange(first, first + shape[axis]), axis)
    elif node.op == "Transpose":
        index = np.transpose(index, node.attributes.get("perm"))
    return index.reshape(shape) if index.size == prod(shape) else None
