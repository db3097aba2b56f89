"""Relu and Clip with constant bounds become the clamp of the node before them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node
from compiler_core.graph.passes.operands import clip_bounds
from compiler_core.graph.passes.rewriter import FLOATS, Rewriter, is_op, merge_clips

_FUSED = frozenset(
    {
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "Dense",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "MatMul",
        "MaxPool",
        "Mul",
        "Sub",
        "Sum",
    }
)


@dataclass(frozen=True)
class ActivationFusion:
    """Fuse a clamp where nothing else reads the unclamped tensor.

    A clamp after a Concat goes to all that it joins, or stays: joining then costs nothing.

    Attributes:
        ops: Operators that take a clamp.
    """

    name: ClassVar[str] = "activation-fusion"
    ops: frozenset[str] = _FUSED

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if not is_op(node, "Relu", "Clip") or rewriter.dtype(node.output) not in FLOATS:
                continue
            bounds = clip_bounds(rewriter, node)
            if bounds is None:
                continue
            if node.clip is not None:
                bounds = merge_clips(bounds, node.clip)
            producer = rewriter.producer(node.inputs[0])
            if producer is not None and self._takes(rewriter, producer.output):
                clip = merge_clips(producer.clip, bounds)
                rewriter.remove(node)
                rewriter.replace(producer, replace(producer, outputs=(node.output,), clip=clip))
            elif is_op(producer, "Concat") and producer is not None:
                self._clamp_parts(rewriter, producer, node, bounds)
        return rewriter.finish()

    def _clamp_parts(
        self, rewriter: Rewriter, concat: Node, node: Node, bounds: tuple[float, float]
    ) -> None:
        if not rewriter.private(concat.output) or concat.clip is not None:
            return
        if not all(self._takes(rewriter, name) for name in concat.inputs):
            return
        for name in concat.inputs:
            part = rewriter.producer(name)
            if part is not None:
                rewriter.replace(part, replace(part, clip=merge_clips(part.clip, bounds)))
        rewriter.bypass(node, concat.output)

    def _takes(self, rewriter: Rewriter, tensor: str) -> bool:
        """Whether ``tensor`` has a producer that can clamp it unseen by anyone else."""
        producer = rewriter.producer(tensor)
        if producer is None or producer.op not in self.ops:
            return False
        if producer.domain not in ("", NEST_DOMAIN) or any(producer.outputs[1:]):
            return False
        return rewriter.private(tensor)
