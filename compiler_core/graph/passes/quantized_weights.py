"""Operators of onnxruntime with packed or integer weights become those of the standard.

Weights of 2, 4 or 8 bits in blocks (MatMulNBits), and integers that meet inputs that are quantized
as they come (dynamic quantization), stand for real numbers; only these are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.passes.dynamic_sources import dynamic_source
from compiler_core.graph.passes.rewriter import FLOATS, Rewriter

_MICROSOFT = "com.microsoft"
_Array = npt.NDArray[Any]


@dataclass(frozen=True)
class QuantizedWeights:
    """MatMulNBits, products and cells of dynamic quantization, and attention and embeddings that
    were quantized after they had been fused, have real weights."""

    name: ClassVar[str] = "quantized-weights"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if node.domain != _MICROSOFT:
                continue
            if node.op == "MatMulNBits":
                _from_blocks(rewriter, node)
            elif node.op == "DynamicQuantizeMatMul":
                _from_product(rewriter, node, (1, 2, 3, 4))
            elif node.op == "MatMulIntegerToFloat":
                _from_integers(rewriter, node)
            elif node.op == "DynamicQuantizeLSTM":
                _from_cell(rewriter, node)
            elif node.op == "QAttention":
                _from_attention(rewriter, node)
            elif node.op == "QEmbedLayerNormalization":
                _from_embedding(rewriter, node)
        return rewriter.finish()


def _constants(rewriter: Rewriter, node: Node, positions: tuple[int, ...]) -> list[Any] | None:
    """Constants at inputs, ``None`` for absent ones; ``None`` for all where one is computed."""
    found: list[Any] = []
    for position in positions:
        given = position < len(node.inputs) and node.inputs[position]
        found.append(rewriter.constants.get(node.inputs[position]) if given else None)
        if given and found[-1] is None:
            return None
    return found


def unpacked(packed: _Array, bits: int, count: int) -> _Array:
    """``count`` numbers of ``bits`` each along the last axis of bytes, the lowest bits first."""
    parts = [(packed >> np.uint8(shift)) & np.uint8(2**bits - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, -1).reshape(*packed.shape[:-1], -1)[..., :count]


def _from_blocks(rewriter: Rewriter, node: Node) -> None:
    known = _constants(rewriter, node, (1, 2, 3, 4))
    numbers = [int(node.attributes.get(key, 0)) for key in ("K", "N", "bits", "block_size")]
    terms, outputs, bits, block = numbers[0], numbers[1], numbers[2] or 4, numbers[3]
    if known is None or bits not in (2, 4, 8) or min(terms, outputs, block) < 1:
        return
    packed, scales, zeros, order = known
    blocks, bias = -(-terms // block), node.inputs[5] if len(node.inputs) > 5 else ""
    if packed is None or scales is None or order is not None or packed.dtype != np.uint8:
        return
    if packed.size != outputs * blocks * block * bits // 8 or scales.size != outputs * blocks:
        return
    levels = unpacked(packed.reshape(outputs, blocks, -1), bits, block).astype(np.float32)
    middle = _middles(zeros, bits, (outputs, blocks))
    if middle is None:
        return
    by = scales.astype(np.float32).reshape(outputs, blocks, 1)
    real = ((levels - middle[..., None]) * by).reshape(outputs, -1)[:, :terms].T
    _multiply(rewriter, node, real, bias, node.inputs[1])


def _middles(zeros: _Array | None, bits: int, shape: tuple[int, int]) -> _Array | None:
    """The integers that stand for 0, one per block; ``None`` where they have another size."""
    outputs, blocks = shape
    if zeros is None:
        return np.full(shape, 2.0 ** (bits - 1), np.float32)
    if zeros.dtype.kind == "f":
        return zeros.astype(np.float32).reshape(shape) if zeros.size == outputs * blocks else None
    if zeros.dtype != np.uint8 or zeros.size != outputs * -(-blocks * bits // 8):
        return None
    return unpacked(zeros.reshape(outputs, -1), bits, blocks).astype(np.float32)


def _multiply(rewriter: Rewriter, node: Node, weight: _Array, bias: str, name: str) -> None:
    kind = rewriter.dtype(node.inputs[0])
    real = weight.astype(kind if kind in FLOATS else np.float32)
    inputs = (node.inputs[0], rewriter.add_constant(f"{name}/real", real))
    product = replace(node, op="MatMul", domain="", inputs=inputs, attributes={})
    if not bias:
        rewriter.replace(node, product)
        return
    # Its shape is found with the next inference.
    inner = rewriter.fresh(f"{node.output}/product")
    added = Node(rewriter.fresh_node(f"{node.name}/bias"), "Add", (inner, bias), node.outputs)
    rewriter.replace(node, replace(product, outputs=(inner,)), added)


def _real(
    integers: _Array, scale: _Array, zero: _Array | None, forms: Sequence[tuple[int, ...]]
) -> _Array | None:
    """``(integers - zero) * scale``; ``None`` where these have none of the sizes of ``forms``."""
    parts = []
    for part in (scale, np.zeros(1, np.float32) if zero is None else zero):
        form = next((form for form in forms if prod(form) == part.size), None)
        if form is None:
            return None
        parts.append(part.astype(np.float32).reshape(form))
    real: _Array = (integers.astype(np.float32) - parts[1]) * parts[0]
    return real


def _from_product(rewriter: Rewriter, node: Node, positions: tuple[int, int, int, int]) -> None:
    weight, scale, zero, bias = positions
    known = _constants(rewriter, node, (weight, scale, zero))
    if known is None or known[0] is None or known[1] is None or known[0].ndim != 2:
        return
    real = _real(known[0], known[1], known[2], ((1, 1), (1, known[0].shape[1])))
    if real is not None:
        name = node.inputs[bias] if len(node.inputs) > bias else ""
        _multiply(rewriter, node, real, name, node.inputs[weight])


def _real_source(rewriter: Rewriter, node: Node, scale: int, zero: int) -> str:
    """The real numbers that the integers at the first input stand for; nothing where they are not
    quantized as the node takes them."""
    names = [*node.inputs, *[""] * 9]
    found = dynamic_source(rewriter, names[0])
    if found is not None:
        source, moved, moves = found
        if (names[scale], names[zero]) != source.outputs[1:3]:
            return ""
        rewriter.replace(node, *moves, node)
        return moved
    step = rewriter.constants.get(names[scale])
    if step is None or step.size != 1 or step.dtype.name not in FLOATS:
        return ""
    real = rewriter.fresh(f"{names[0]}/real")
    inputs = (names[0], names[scale], *([names[zero]] if names[zero] else []))
    rewriter.replace(
        node,
        Node(rewriter.fresh_node(f"{node.name}/dequantize"), "DequantizeLinear", inputs, (real,)),
        node,
    )
    known = rewriter.types.get(names[0])
    rewriter.types[real] = TensorType(step.dtype.name, None if known is None else known.shape)
    return real


def _from_integers(rewriter: Rewriter, node: Node) -> None:
    """A product of integers that is multiplied by both scales."""
    known = _constants(rewriter, node, (1, 3, 5))
    if known is None or known[0] is None or known[1] is None or known[0].ndim < 2:
        return
    real = _real(known[0], known[1], known[2], ((1,) * 2, (1, known[0].shape[-1])))
    source = "" if real is None else _real_source(rewriter, node, 2, 4)
    if real is not None and source:
        bias = node.inputs[6] if len(node.inputs) > 6 else ""
        given = replace(node, inputs=(source, *node.inputs[1:]))
        rewriter.replace(node, given)
        _multiply(rewriter, given, real, bias, node.inputs[1])


def _from_attention(rewriter: Rewriter, node: Node) -> None:
    """Attention whose input and weight are integers."""
    known = _constants(rewriter, node, (1, 2, 4, 7))
    names = [*node.inputs, *[""] * 9]
    if known is None or known[0] is None or known[2] is None or known[0].ndim != 2 or names[8]:
        return
    real = _real(known[0], known[2], known[3], ((1, 1), (1, known[0].shape[1])))
    source = "" if real is None else _real_source(rewriter, node, 3, 6)
    if real is None or not source:
        return
    weight = rewriter.add_constant(f"{names[1]}/real", real)
    inputs = (source, weight, names[2], *([names[5]] if names[5] else []))
    rewriter.replace(node, replace(node, op="Attention", inputs=inputs))


def _from_embedding(rewriter: Rewriter, node: Node) -> None:
    """EmbedLayerNormalization whose tables, scale and bias are integers."""
    names = [*node.inputs, *[""] * 18][:18]
    inputs = [*names[:2]]
    for part in range(5):
        known = _constants(rewriter, node, (2 + part, 8 + part, 13 + part))
        if known is None:
            return
        if known[0] is None:  # of segments
            inputs.append("")
            continue
        real = None if known[1] is None else _real(known[0], known[1], known[2], ((1,),))
        if real is None:
            return
        inputs.append(rewriter.add_constant(f"{names[2 + part]}/real", real))
    inputs += [names[7]] if names[7] else []
    rewriter.replace(node, replace(node, op="EmbedLayerNormalization", inputs=tuple(inputs)))


def _from_cell(rewriter: Rewriter, node: Node) -> None:
    """``[directions, inputs, 4 * size]`` of integers to the standard's ``[directions, 4 * size,
    inputs]``."""
    inputs = [*node.inputs, *[""] * 12][:12]
    reals = []
    for weight, scale, zero in ((1, 8, 9), (2, 10, 11)):
        known = _constants(rewriter, node, (weight, scale, zero))
        if known is None or known[0] is None or known[1] is None or known[0].ndim != 3:
            return
        directions, _, gates = known[0].shape
        forms = ((1, 1, 1), (directions, 1, 1), (directions, 1, gates))
        real = _real(known[0], known[1], known[2], forms)
        if real is None:
            return
        reals.append(np.ascontiguousarray(real.transpose(0, 2, 1)))
    for position, real in zip((1, 2), reals, strict=True):
        inputs[position] = rewriter.add_constant(f"{inputs[position]}/real", real)
    kept = tuple(inputs[:8])
    while kept and not kept[-1]:
        kept = kept[:-1]
    rewriter.replace(node, replace(node, op="LSTM", domain="", inputs=kept))
