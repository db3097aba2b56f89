"""Operands of operators that ONNX moved from attributes to inputs, read in either form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.graph.passes.rewriter import Rewriter


def clip_bounds(rewriter: Rewriter, node: Node) -> tuple[float, float] | None:
    """Constant ``(low, high)`` of a Relu or Clip; ``None`` where a bound is computed."""
    if node.op == "Relu":
        return (0.0, math.inf)
    bounds = [node.attributes.get("min", -math.inf), node.attributes.get("max", math.inf)]
    for position, name in enumerate(node.inputs[1:3]):
        if not name:
            continue
        value = rewriter.constant(node, position + 1)
        if value is None or value.size != 1:
            return None
        bounds[position] = float(value.reshape(()))
    # Older operator sets spell "no bound" as the largest float.
    largest = float(np.finfo(np.float32).max)
    low = -math.inf if bounds[0] <= -largest else bounds[0]
    high = math.inf if bounds[1] >= largest else bounds[1]
    return (low, high) if low <= high else None


def axes_operand(rewriter: Rewriter, node: Node) -> tuple[int, ...] | None:
    """Constant, non-negative, sorted axes of Squeeze, Unsqueeze or Reduce*; ``None`` if unknown.

    The rank that negative axes count from is that of the input, of the output for Unsqueeze.
    """
    value: Any = node.attributes.get("axes")
    if value is None:
        array = rewriter.constant(node, 1)
        if array is None:
            return None
        value = tuple(array.ravel().tolist())
    shape = rewriter.shape(node.output if node.op == "Unsqueeze" else node.inputs[0])
    if shape is None:
        return None
    return tuple(sorted(int(axis) % len(shape) for axis in value))


def pad_amounts(rewriter: Rewriter, node: Node) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Constant ``(begins, ends)`` of a Pad, one entry per axis; ``None`` where computed."""
    shape = rewriter.shape(node.inputs[0])
    value: Any = node.attributes.get("pads")
    if value is None:
        array = rewriter.constant(node, 1)
        value = None if array is None else tuple(array.ravel().tolist())
    if value is None or shape is None:
        return None
    axes: Any = tuple(range(len(shape)))
    if len(node.inputs) > 3 and node.inputs[3]:
        chosen = rewriter.constant(node, 3)
        if chosen is None:
            return None
        axes = tuple(int(axis) % len(shape) for axis in chosen.ravel())
    if len(value) != 2 * len(axes):
        return None
    begins, ends = [0] * len(shape), [0] * len(shape)
    for position, axis in enumerate(axes):
        begins[axis], ends[axis] = int(value[position]), int(value[len(axes) + position])
    return tuple(begins), tuple(ends)


def pad_value(rewriter: Rewriter, node: Node) -> float | None:
    """The constant that a Pad of mode ``constant`` writes; ``None`` for others."""
    if node.attributes.get("mode", "constant") != "constant":
        return None
    if len(node.inputs) > 2 and node.inputs[2]:
        value = rewriter.constant(node, 2)
        return None if value is None else float(value.reshape(()))
    return float(node.attributes.get("value", 0.0))
