"""What one execution of a node takes, from shapes alone: bytes of its results and operations.

The numbers bound what a model from outside may cost before any of it is computed; they are right
to a small factor, which is all that a bound needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from compiler_core.graph.ir import Node, TensorType
from compiler_core.graph.recurrence import GATES

Types = Mapping[str, TensorType]

_WEIGHT = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "DeformConv": 1}
_CONTRACTING = {"MatMul": 0, "MatMulInteger": 0, "QLinearMatMul": 0, "Dense": 0, "Attention": 0}
_POOLS = {"MaxPool", "AveragePool", "LpPool"}
_TRANSFORMS = {"DFT", "STFT"}
_INDEX_BYTES = 8


def elements(known: TensorType | None) -> int | None:
    """Elements of a tensor; ``None`` where its shape is not known."""
    if known is None or known.shape is None or None in known.shape:
        return None
    return math.prod(size or 0 for size in known.shape)


def tensor_bytes(known: TensorType | None) -> int | None:
    """Bytes of a tensor; ``None`` where its shape is not known."""
    count = elements(known)
    if count is None or known is None:
        return None
    try:
        width = 16 if known.dtype == "string" else np.dtype(known.dtype).itemsize
    except TypeError:
        return None
    return count * width


def result_bytes(node: Node, types: Types) -> int | None:
    """Bytes of all results of ``node``; ``None`` where the shape of one is not known."""
    total = 0
    for name in filter(None, node.outputs):
        size = tensor_bytes(types.get(name))
        if size is None:
            return None
        total += size
    return total


def most_bytes(node: Node, types: Types) -> int:
    """Bytes that an operator whose results are as large as its data say may take at most; 0 for
    others, and where shapes are not known."""
    count = elements(types.get(node.inputs[0])) if node.inputs and node.inputs[0] else None
    shape = _shape(types.get(node.inputs[0])) if count else None
    if count is None or shape is None:
        return 0
    if node.op == "NonZero":  # found first, then written in the order of axes
        return 2 * _INDEX_BYTES * count * max(1, len(shape))
    if node.op == "Unique":
        return (tensor_bytes(types[node.inputs[0]]) or 0) + 3 * _INDEX_BYTES * count
    if node.op == "NonMaxSuppression":
        scores = elements(types.get(node.inputs[1])) or 0 if len(node.inputs) > 1 else 0
        return 3 * _INDEX_BYTES * scores
    return 0


def operations(node: Node, types: Types) -> int:
    """Multiply-adds, or steps of a like cost, of one execution; 0 where shapes are not known."""
    shapes = [_shape(types.get(name)) for name in node.inputs]
    results = elements(types.get(node.outputs[0])) or 0
    return max(results, _operations(node, shapes, results))


def _operations(node: Node, shapes: list[tuple[int, ...]], results: int) -> int:
    first = shapes[0] if shapes else ()
    if node.op in _WEIGHT and len(shapes) > _WEIGHT[node.op]:
        return results * math.prod(shapes[_WEIGHT[node.op]][1:])
    if node.op == "ConvTranspose" and len(shapes) > 1:
        return math.prod(first) * math.prod(shapes[1][1:])
    if node.op in _CONTRACTING and first:
        return results * first[-1]
    if node.op == "Gemm" and len(first) == 2:
        return results * first[0 if node.attributes.get("transA", 0) else 1]
    if node.op in _POOLS:
        return results * math.prod(_sizes(node.attributes.get("kernel_shape", ())))
    if node.op == "LRN":
        return results * max(1, int(node.attributes.get("size", 1)))
    if node.op in GATES and len(shapes) > 2 and len(first) == 3 and len(shapes[2]) == 3:
        hidden = shapes[2][2]
        steps = first[0] * first[1] * shapes[2][0]
        return steps * GATES[node.op] * hidden * (hidden + first[2])
    if node.op in _TRANSFORMS:
        return results * results  # not every length has a fast algorithm
    if node.op == "Einsum":
        return _einsum(node, shapes)
    return 0


def _einsum(node: Node, shapes: list[tuple[int, ...]]) -> int:
    """The product of the sizes of all letters."""
    equation = node.text("equation", "").replace(" ", "").partition("->")[0]
    sizes: dict[str, int] = {}
    for letters, shape in zip(equation.split(","), shapes, strict=False):
        if "." in letters or len(letters) != len(shape):
            return math.prod(math.prod(shape) for shape in shapes)
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return math.prod(sizes.values())


def _shape(known: TensorType | None) -> tuple[int, ...]:
    return tuple(size or 1 for size in (known.shape or ())) if known is not None else ()


def _sizes(value: object) -> tuple[int, ...]:
    return tuple(max(1, size) for size in value) if isinstance(value, tuple) else ()
