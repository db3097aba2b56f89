"""Means and maxima over all rows and columns, however they are written, become pools."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.operands import axes_operand
from compiler_core.graph.passes.rewriter import Rewriter, is_op


@dataclass(frozen=True)
class GlobalPooling:
    """Unify means and maxima over all spatial axes of ``[N, C, L]`` and ``[N, C, H, W]``.

    ReduceMean, and AveragePool over the whole input, become GlobalAveragePool; ReduceMax and
    GlobalMaxPool become MaxPool. Without kept axes a Reshape follows. The means and maxima of a
    normalization that is spelled out stay what they are: they go back to where they come from. What
    a converter has made a GlobalAveragePool of them becomes ReduceMean again.
    """

    name: ClassVar[str] = "global-pooling"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if is_op(node, "ReduceMean", "ReduceMax"):
                _from_reduction(rewriter, node)
            elif is_op(node, "GlobalAveragePool"):
                _of_normalization(rewriter, node, graph.opsets.get("", _AXES_ARE_INPUTS))
            elif is_op(node, "GlobalMaxPool"):
                shape = rewriter.shape(node.inputs[0])
                if shape is not None and len(shape) in (3, 4):
                    rewriter.replace(node, _pool(node, shape))
            elif is_op(node, "AveragePool") and _covers_all(rewriter, node):
                pool = replace(node, op="GlobalAveragePool", inputs=node.inputs, attributes={})
                rewriter.replace(node, pool)
        return rewriter.finish()


_AXES_ARE_INPUTS = 18
_ARITHMETIC = frozenset(
    ("Abs", "Add", "Div", "Exp", "Log", "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal", "Sqrt")
) | {"Clip", "Sub"}


def _returns(rewriter: Rewriter, node: Node, shape: tuple[int, ...]) -> bool:
    """Whether plain arithmetic alone brings a reduction's results beside elements of ``shape``."""
    waiting, seen = [node.output], set[str]()
    while waiting:
        for reader in rewriter.readers(waiting.pop()):
            if not is_op(reader, *_ARITHMETIC) or reader.name in seen:
                continue
            if rewriter.shape(reader.output) == shape:
                return True
            seen.add(reader.name)
            waiting.append(reader.output)
    return False


def _of_normalization(rewriter: Rewriter, node: Node, opset: int) -> None:
    """A mean that goes back to where it comes from, as ReduceMean."""
    shape = rewriter.shape(node.inputs[0])
    if shape is None or len(shape) not in (3, 4) or not _returns(rewriter, node, shape):
        return
    axes, inputs = tuple(range(2, len(shape))), node.inputs[:1]
    attributes: dict[str, object] = {}
    if opset < _AXES_ARE_INPUTS:
        attributes["axes"] = axes
    else:
        held = rewriter.add_constant(f"{node.output}/axes", np.array(axes, np.int64))
        inputs = (*inputs, held)
    rewriter.replace(node, replace(node, op="ReduceMean", inputs=inputs, attributes=attributes))


def _covers_all(rewriter: Rewriter, node: Node) -> bool:
    shape = rewriter.shape(node.inputs[0])
    if shape is None or len(shape) != 4 or "auto_pad" in node.attributes:
        return False
    unpadded = not any(node.attributes.get("pads", ()))
    undilated = set(node.attributes.get("dilations", (1,))) == {1}
    return unpadded and undilated and node.attributes.get("kernel_shape") == shape[2:]


def _from_reduction(rewriter: Rewriter, node: Node) -> None:
    source = node.inputs[0]
    shape = rewriter.shape(source)
    # Runtimes have the pools of these for float32 alone.
    if shape is None or len(shape) not in (3, 4) or rewriter.dtype(source) != "float32":
        return
    if axes_operand(rewriter, node) != tuple(range(2, len(shape))):
        return
    if node.attributes.get("keepdims", 1):
        if _returns(rewriter, node, shape):
            return
        rewriter.replace(node, _pool(node, shape))
        return
    target: tuple[int, ...] = shape[:2]
    if rewriter.leads_with_batch(source):
        target = (0, shape[1])
    elif not rewriter.batch_free(source):
        return
    ones = (1,) * (len(shape) - 2)
    pooled = rewriter.add_tensor(f"{node.output}/pooled", (*shape[:2], *ones), source)
    name = rewriter.add_constant(f"{node.output}/shape", np.array(target, np.int64))
    pool = replace(_pool(node, shape), outputs=(pooled,))
    reshape = Node(
        rewriter.fresh_node(f"{node.name}/reshape"), "Reshape", (pooled, name), (node.output,)
    )
    rewriter.replace(node, pool, reshape)


def _pool(node: Node, shape: tuple[int, ...]) -> Node:
    """The pool over all of ``[N, C, ...]`` that a reduction is."""
    if node.op == "ReduceMean":
        return replace(node, op="GlobalAveragePool", inputs=node.inputs[:1], attributes={})
    attributes = {"kernel_shape": shape[2:]}
    return replace(node, op="MaxPool", inputs=node.inputs[:1], attributes=attributes)
