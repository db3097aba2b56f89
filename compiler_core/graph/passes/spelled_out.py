"""Operators that generated sources have no kernel for, as others that they have.

It is no part of :func:`~compiler_core.graph.passes.simplify.simplify`: where a runtime has the
operator, one is better than several.

| operator | becomes |
|---|---|
| PRelu with a slope per channel | x where positive, plus slope times x where negative |
| LogSoftmax | x less its maximum, less the logarithm of the sum of exponentials |
| InstanceNormalization | LayerNormalization of every channel, then scale and bias (from opset 17) |
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op
from compiler_core.graph.passes.simplify import simplify

_HAS_LAYER_NORMALIZATION = 17
_AXES_ARE_INPUTS = 18
"""Of ReduceMax; of ReduceSum since 13."""


def spelled_out(graph: Graph) -> Graph:
    """The graph without these operators, simplified; where a shape is not fixed they stay."""
    work = SpelledOut().apply(graph)
    return graph if work is graph else simplify(work)


@dataclass(frozen=True)
class SpelledOut:
    """The pass."""

    name: ClassVar[str] = "spelled-out"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`compiler_core.graph.passes.rewriter.GraphPass`."""
        work = Rewriter(graph)
        for node in work.nodes():
            if not is_op(node, *_WAYS) or work.dtype(node.inputs[0]) != "float32":
                continue
            shape = work.shape(node.inputs[0])
            if shape and _WAYS[node.op](_Spelling(work, node, shape)):
                work.changed = True
        return work.finish()


class _Spelling:
    """Writes what a node becomes.

    Args:
        work: The graph.
        node: Of it.
        shape: Of its first input.
    """

    def __init__(self, work: Rewriter, node: Node, shape: tuple[int, ...]) -> None:
        self.work, self.node, self.shape = work, node, shape
        self.opset = work.graph.opsets.get("", 0)
        self._nodes: list[Node] = []

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any) -> str:
        """An operator; the name of its result."""
        base = f"{self.node.name}/{op.lower()}{len(self._nodes)}"
        result = self.work.add_tensor(base, shape, self.node.inputs[0])
        name = self.work.fresh_node(base)
        self._nodes.append(Node(name, op, tuple(inputs), (result,), attributes))
        return result

    def constant(self, what: str, array: Any) -> str:
        """A constant."""
        return self.work.add_constant(f"{self.node.name}/{what}", np.asarray(array))

    def end(self) -> bool:
        """Puts what was written into the place of the node; the last result has its name."""
        last = self._nodes.pop()
        outputs, clip = self.node.outputs, self.node.clip
        self._nodes.append(
            Node(last.name, last.op, last.inputs, outputs, last.attributes, clip=clip)
        )
        self.work.replace(self.node, *self._nodes)
        return True


def _prelu(s: _Spelling) -> bool:
    slope = s.work.constant(s.node, 1)
    if slope is None or slope.size == 1:
        return False
    x = s.node.inputs[0]
    above = s.add("Relu", [x], s.shape)
    below = s.add("Min", [x, s.constant("zero", np.zeros((), np.float32))], s.shape)
    scaled = s.add("Mul", [below, s.node.inputs[1]], s.shape)
    s.add("Add", [above, scaled], s.shape)
    return s.end()


def _log_softmax(s: _Spelling) -> bool:
    axis = int(s.node.attributes.get("axis", -1)) % len(s.shape)
    rest = tuple(1 if i == axis else size for i, size in enumerate(s.shape))
    x, axes = s.node.inputs[0], s.constant("axes", np.array([axis], np.int64))
    if s.opset >= _AXES_ARE_INPUTS:
        most = s.add("ReduceMax", [x, axes], rest, keepdims=1)
    else:
        most = s.add("ReduceMax", [x], rest, axes=(axis,), keepdims=1)
    less = s.add("Sub", [x, most], s.shape)
    total = s.add("ReduceSum", [s.add("Exp", [less], s.shape), axes], rest, keepdims=1)
    s.add("Sub", [less, s.add("Log", [total], rest)], s.shape)
    return s.end()


def _instance_normalization(s: _Spelling) -> bool:
    scale, bias = s.work.constant(s.node, 1), s.work.constant(s.node, 2)
    if s.opset < _HAS_LAYER_NORMALIZATION or scale is None or bias is None or len(s.shape) < 3:
        return False
    samples, channels, *axes = s.shape
    size = prod(axes)
    epsilon = float(s.node.attributes.get("epsilon", 1e-5))
    whole = s.constant("shape", np.array([samples, channels, size], np.int64))
    flat = s.add("Reshape", [s.node.inputs[0], whole], (samples, channels, size))
    ones = s.constant("ones", np.ones(size, np.float32))
    zeros = s.constant("zeros", np.zeros(size, np.float32))
    normal = s.add(
        "LayerNormalization",
        [flat, ones, zeros],
        (samples, channels, size),
        axis=-1,
        epsilon=epsilon,
    )
    back = s.constant("back", np.array(s.shape, np.int64))
    found = s.add("Reshape", [normal, back], s.shape)
    row = (channels, *(1 for _ in axes))
    scaled = s.add("Mul", [found, s.constant("scale", scale.reshape(row))], s.shape)
    s.add("Add", [scaled, s.constant("bias", bias.reshape(row))], s.shape)
    return s.end()


_WAYS = {
    "PRelu": _prelu,
    "LogSoftmax": _log_softmax,
    "InstanceNormalization": _instance_normalization,
}
