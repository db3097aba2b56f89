"""Channels that are split become slices: each part goes its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_SLICE_INPUTS_OPSET = 10
_SEQUENCE_RANK = 3


@dataclass(frozen=True)
class SplitChannels:
    """Unify Split of channels, or of the features of sequences, with Slice.

    A part is then a choice of channels, which an NPU makes on the way, or a move that joins those
    behind it; a Split is one move, whoever reads its parts.
    """

    name: ClassVar[str] = "split-channels"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        if graph.opsets.get("", 0) < _SLICE_INPUTS_OPSET:
            return graph
        for node in rewriter.nodes():
            if is_op(node, "Split") and node.clip is None:
                _take_apart(rewriter, node)
        return rewriter.finish()


def _take_apart(rewriter: Rewriter, node: Node) -> None:
    source = rewriter.shape(node.inputs[0])
    parts = [rewriter.shape(name) for name in node.outputs]
    if source is None or len(source) < _SEQUENCE_RANK or any(part is None for part in parts):
        return
    axis = int(node.attributes.get("axis", 0)) % len(source)
    channels = (1, 2) if len(source) == _SEQUENCE_RANK else (1,)
    sizes = [part[axis] for part in parts if part is not None]
    if axis not in channels or sum(sizes) != source[axis]:
        return
    ends = np.cumsum(sizes)
    made = []
    for name, size, end in zip(node.outputs, sizes, ends, strict=True):
        limits = {"starts": end - size, "ends": end, "axes": axis}
        inputs = [
            rewriter.add_constant(f"{name}/{what}", np.array([value], np.int64))
            for what, value in limits.items()
        ]
        own = rewriter.fresh_node(f"{node.name}/{name}")
        made.append(Node(own, "Slice", (node.inputs[0], *inputs), (name,)))
    rewriter.replace(node, *made)
