"""What operators that only move or limit values do, in numbers: views, clamps, strided slices,
padding with zeros."""

from __future__ import annotations

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.windows import sample_shape

VIEW_OPERATORS = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity")
"""Operators that only look at the same values in another shape."""


def looks(node: Node) -> bool:
    """Whether a node only looks at its input in another shape."""
    return node.op in VIEW_OPERATORS and node.clip is None


def clip_limits(graph: Graph, node: Node) -> tuple[float, float] | None:
    """``(low, high)`` of a Relu or Clip node with constant limits, else ``None``."""
    if node.op == "Relu":
        return 0.0, float("inf")
    limits = [
        float(node.attributes.get("min", -float("inf"))),
        float(node.attributes.get("max", float("inf"))),
    ]
    for position, tensor in enumerate(node.inputs[1:3]):
        if tensor:
            value = graph.constants.get(tensor)
            if value is None or value.size != 1 or np.isnan(value).any():
                return None
            limits[position] = float(value.reshape(-1)[0])
    return limits[0], limits[1]


def slice_steps(graph: Graph, node: Node) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """``(first row, first column), (row step, column step)`` of a strided image, else ``None``."""
    source, result = sample_shape(graph, node.inputs[0]), sample_shape(graph, node.output)
    if source is None or result is None or len(source) != 3 or source[0] != result[0]:
        return None
    bounds = _slice_bounds(graph, node)
    if bounds is None:
        return None
    first, step = [0, 0], [1, 1]
    for axis, start, _, by in bounds:
        size = (graph.types[node.inputs[0]].shape or ())[axis] or 1
        length = (graph.types[node.output].shape or ())[axis]
        begin = min(max(start + size if start < 0 else start, 0), size)
        if axis < 2 and (begin, by, length) != (0, 1, size):
            return None
        if by < 1 or begin >= size or (size - begin - 1) // by + 1 != length:
            return None
        if axis >= 2:
            first[axis - 2], step[axis - 2] = begin, by
    return (first[0], first[1]), (step[0], step[1])


def slice_of_axis(graph: Graph, node: Node) -> tuple[int, range] | None:
    """The axis that a Slice takes some places of, and these; ``None`` where it is the batch, or
    where there are several."""
    source, result = graph.types[node.inputs[0]].shape, graph.types[node.output].shape
    bounds = _slice_bounds(graph, node)
    if bounds is None or source is None or result is None or len(source) != len(result):
        return None
    found = {}
    for axis, start, end, by in bounds:
        size = source[axis]
        if size is None or not by:
            return None
        taken = range(size)[start:end:by]
        if taken != range(size):
            found[axis] = taken
    ((axis, taken),) = found.items() if len(found) == 1 else ((0, range(0)),)
    return (axis, taken) if axis and len(taken) == result[axis] else None


def _slice_bounds(graph: Graph, node: Node) -> list[tuple[int, int, int, int]] | None:
    """Axis, start, end and step of each axis that a Slice names."""
    values: list[list[int]] = []
    for position, name in enumerate(("starts", "ends", "axes", "steps")):
        if len(node.inputs) > 1 + position and node.inputs[1 + position]:
            constant = graph.constants.get(node.inputs[1 + position])
            if constant is None:
                return None
            values.append([int(v) for v in constant.reshape(-1)])
        else:
            values.append([int(v) for v in node.attributes.get(name) or ()])
    starts, ends, axes, steps = values
    axes = axes or list(range(len(starts)))
    steps = steps or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        return None
    rank = len(graph.types[node.inputs[0]].shape or ())
    return list(zip((axis % rank for axis in axes), starts, ends, steps, strict=True))


def pad_amounts(
    graph: Graph, node: Node
) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
    """Zeros before and after ``(C, H, W)``, or ``None`` for any other padding."""
    source = sample_shape(graph, node.inputs[0])
    mode = node.text("mode", "constant")
    amounts = node.attributes.get("pads") or node.attributes.get("paddings")
    if len(node.inputs) > 1 and node.inputs[1]:
        constant = graph.constants.get(node.inputs[1])
        amounts = None if constant is None else constant.reshape(-1)
    value = node.attributes.get("value", 0.0)
    if len(node.inputs) > 2 and node.inputs[2]:
        filler = graph.constants.get(node.inputs[2])
        value = float(filler.reshape(-1)[0]) if filler is not None and filler.size == 1 else None
    axes = len(node.inputs) > 3 and node.inputs[3]
    if source is None or len(source) != 3 or amounts is None or len(amounts) != 8 or axes:
        return None
    pads = [int(amount) for amount in amounts]
    if mode != "constant" or value != 0.0 or pads[0] or pads[4] or min(pads) < 0:
        return None
    return (pads[1], pads[2], pads[3]), (pads[5], pads[6], pads[7])
