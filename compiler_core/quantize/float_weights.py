"""Keeps operators with float weights in float where they stand between integers.

onnxruntime takes a convolution or a dense operator that reads a DequantizeLinear and is read by a
QuantizeLinear for one whose weights somebody forgot, and quantizes them, with one scale for the
whole tensor (WeightBiasQuantization, from its first level of rewriting on, through whatever moves
values, and after it has made Gemms of MatMul and Add). That destroys what was left in float because
integers destroy it, and it is slower than float where kernels for integers are.

It does so where the DequantizeLinear has one scale. So these operators read one that has the same
scale for every channel: the same values, and no operator more. Where no axis has a fixed size, a
clamp that clips nothing stands between them instead.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.quantize.integer_rewriter import IntegerRewriter

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Dense")
_MOVING = (
    *(*VIEW_OPERATORS, "MaxPool", "Slice", "Split", "Gather", "GatherElements", "Expand", "Tile"),
    *("DepthToSpace", "SpaceToDepth", "Pad", "Resize"),
)
"""Operators behind which onnxruntime repeats a DequantizeLinear, and others that move values."""


def keep_float_weights(graph: Graph) -> Graph:
    """The same graph, in QDQ form, with all that onnxruntime would quantize behind its back read
    in a way that it leaves alone."""
    first = {name for node in graph.nodes if _is_float(graph, node) for name in _first(graph, node)}
    if not first:
        return graph
    return _Guard(graph).guarded(first)


def _is_float(graph: Graph, node: Node) -> bool:
    """Whether a node multiplies by constant float weights."""
    if node.op not in _WEIGHTED or node.domain not in ("", NEST_DOMAIN) or len(node.inputs) < 2:
        return False
    weight = graph.constants.get(node.inputs[1])
    return weight is not None and weight.dtype == np.float32


def _first(graph: Graph, node: Node) -> list[str]:
    """The node that reads a DequantizeLinear so that ``node`` has its values, by name."""
    while (before := graph.producer(node.inputs[0])) is not None:
        if before.op == "DequantizeLinear":
            return [node.name] if _has_one_scale(graph, before) else []
        if before.op not in _MOVING or before.clip is not None:
            break
        node = before
    return []


def _has_one_scale(graph: Graph, node: Node) -> bool:
    scale = graph.constants.get(node.inputs[1])
    return scale is not None and scale.size == 1 and node.inputs[0] not in graph.constants


class _Guard(IntegerRewriter):
    def guarded(self, first: set[str]) -> Graph:
        """The graph with what nodes of these names read guarded."""
        source = self._source
        renamed: dict[str, str] = {}
        for node in source.nodes:
            if node.name in first:
                inputs = (renamed.get(node.inputs[0], node.inputs[0]), *node.inputs[1:])
                self.nodes.append(replace(node, inputs=inputs))
                continue
            readers = source.consumers(node.output) if node.op == "DequantizeLinear" else ()
            asking = [reader.name in first for reader in readers]
            whole = any(asking) and all(asking) and node.output not in source.outputs
            if not whole:
                self.nodes.append(node)
            if any(asking):
                renamed[node.output] = self._guard(node, node.output if whole else None)
        return self.graph()

    def _guard(self, node: Node, output: str | None) -> str:
        """A DequantizeLinear of the same values; what it writes."""
        attributes, inputs = dict(node.attributes), node.inputs
        clip = None
        found = _fixed_axis(self._source, node.output)
        if found is None:
            clip = self._limits(node)
        else:
            attributes["axis"], size = found
            inputs = (inputs[0], *(self._spread(name, size) for name in inputs[1:]))
        return self._node(
            node.op,
            inputs,
            node.output,
            output=output,
            clip=clip,
            domain=node.domain,
            attributes=attributes,
        )

    def _spread(self, constant: str, size: int) -> str:
        return self._constant(constant, np.full((size,), self._constants[constant].reshape(-1)[0]))

    def _limits(self, node: Node) -> tuple[float, float]:
        zero = self._constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(1, np.uint8)
        scale, middle = (
            float(value.reshape(-1)[0]) for value in (self._constants[node.inputs[1]], zero)
        )
        info = np.iinfo(zero.dtype.name)
        low, high = (np.float32(scale * (end - middle)) for end in (info.min, info.max))
        return float(low), float(high)


def _fixed_axis(graph: Graph, tensor: str) -> tuple[int, int] | None:
    """The first axis behind the batch of more than one entry, and how many it has; ``None`` too
    where sizes depend on the batch in another way than by the first axis."""
    known = graph.types.get(tensor)
    if known is None or tensor in graph.batch_dependent:
        return None
    for axis, size in enumerate(known.shape or ()):
        if axis and size is not None and size > 1:
            return axis, size
    return None
