"""The mean over height and width, however it is written, becomes GlobalAveragePool."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.operands import axes_operand
from compiler_core.graph.passes.rewriter import FLOATS, Rewriter, is_op


@dataclass(frozen=True)
class GlobalPooling:
    """Unify ReduceMean over H and W, and AveragePool over the whole input, of ``[N, C, H, W]``.

    Without kept axes a Reshape follows.
    """

    name: ClassVar[str] = "global-pooling"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if is_op(node, "ReduceMean"):
                _from_reduction(rewriter, node)
            elif is_op(node, "AveragePool") and _covers_all(rewriter, node):
                pool = replace(node, op="GlobalAveragePool", inputs=node.inputs, attributes={})
                rewriter.replace(node, pool)
        return rewriter.finish()


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
    if shape is None or len(shape) != 4 or rewriter.dtype(source) not in FLOATS:
        return
    if axes_operand(rewriter, node) != (2, 3):
        return
    if node.attributes.get("keepdims", 1):
        pool = replace(node, op="GlobalAveragePool", inputs=(source,), attributes={})
        rewriter.replace(node, pool)
        return
    target: tuple[int, ...] = shape[:2]
    if rewriter.leads_with_batch(source):
        target = (0, shape[1])
    elif not rewriter.batch_free(source):
        return
    pooled = rewriter.add_tensor(f"{node.output}/pooled", (*shape[:2], 1, 1), source)
    name = rewriter.add_constant(f"{node.output}/shape", np.array(target, np.int64))
    pool = Node(node.name, "GlobalAveragePool", (source,), (pooled,), clip=node.clip)
    reshape = Node(
        rewriter.fresh_node(f"{node.name}/reshape"), "Reshape", (pooled, name), (node.output,)
    )
    rewriter.replace(node, pool, reshape)
