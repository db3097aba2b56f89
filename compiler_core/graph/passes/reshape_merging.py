"""Flatten, Squeeze, Unsqueeze and Reshape become one Reshape to a constant shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_RESHAPES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class ReshapeMerging:
    """Write every change of shape as ``Reshape`` with a constant target, and merge chains of them.

    A leading batch axis is written 0 ("as the input has it"), so any batch stays possible. Where a
    Transpose moves only axes of size 1, it is such a change of shape, too.
    """

    name: ClassVar[str] = "reshape-merging"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if not (is_op(node, *_RESHAPES) or _moves_nothing(rewriter, node)) or node.clip:
                continue
            source = node.inputs[0]
            before = rewriter.producer(source)
            if before is not None and is_op(before, "Reshape") and not before.clip:
                further = before.inputs[0]
                if _target(rewriter, further, node.output) is not None:
                    source = further
            target = _target(rewriter, source, node.output)
            if target is None or _is_written(rewriter, node, source, target):
                continue
            shape = rewriter.add_constant(f"{node.output}/shape", np.array(target, np.int64))
            reshape = replace(node, op="Reshape", inputs=(source, shape), attributes={}, opaque=())
            rewriter.replace(node, reshape)
        return rewriter.finish()


def _target(rewriter: Rewriter, source: str, result: str) -> tuple[int, ...] | None:
    """What a Reshape from ``source`` to ``result`` has to say; ``None`` if that is not constant."""
    before, after = rewriter.shape(source), rewriter.shape(result)
    if before is None or after is None or 0 in before or 0 in after:
        return None
    if rewriter.leads_with_batch(source) and rewriter.leads_with_batch(result):
        return (0, *after[1:])
    if rewriter.batch_free(source) and rewriter.batch_free(result):
        return after
    return None


def _is_written(rewriter: Rewriter, node: Node, source: str, target: tuple[int, ...]) -> bool:
    if node.op != "Reshape" or node.inputs[0] != source or node.attributes:
        return False
    shape = rewriter.constant(node, 1)
    return shape is not None and shape.ndim == 1 and tuple(shape.tolist()) == target


def _moves_nothing(rewriter: Rewriter, node: Node) -> bool:
    """Whether a Transpose keeps the order of all axes that are longer than one."""
    if not is_op(node, "Transpose"):
        return False
    shape, order = rewriter.shape(node.inputs[0]), node.attributes.get("perm")
    if shape is None or order is None:
        return False
    leads = rewriter.leads_with_batch(node.inputs[0])
    long = [axis for axis in order if shape[axis] != 1 or (leads and axis == 0)]
    return long == sorted(long)
