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

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import FLOATS, Rewriter

_MICROSOFT = "com.microsoft"
_Array = npt.NDArray[Any]


@dataclass(frozen=True)
class QuantizedWeights:
    """MatMulNBits, DynamicQuantizeMatMul and DynamicQuantizeLSTM become MatMul and LSTM with real
    weights."""

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
            elif node.op == "DynamicQuantizeLSTM":
                _from_cell(rewriter, node)
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
