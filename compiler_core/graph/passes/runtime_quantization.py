"""Quantization as onnxruntime writes it itself: its own QuantizeLinear and DequantizeLinear, for
integers that the standard's had not yet, and integer operators with channels last."""

from __future__ import annotations

from dataclasses import replace

from compiler_core.graph.ir import Node, TensorType
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_MICROSOFT = "com.microsoft"
_LINEAR = {"QuantizeLinear": 2, "DequantizeLinear": 1}
"""The input that has the type of the result."""


def is_linear(node: Node | None, op: str) -> bool:
    """Whether a node quantizes or dequantizes; onnxruntime has both of its own, for more types."""
    return is_op(node, op) or (node is not None and node.domain == _MICROSOFT and node.op == op)


def type_linear(rewriter: Rewriter, node: Node) -> None:
    """The type of what a node of onnxruntime's own gives, which shape inference does not know."""
    place = _LINEAR.get(node.op)
    if node.domain != _MICROSOFT or place is None or not node.inputs:
        return
    known = rewriter.types.get(node.inputs[0])
    told = rewriter.types.get(node.inputs[place]) if len(node.inputs) > place else None
    if node.output not in rewriter.types and known is not None and told is not None:
        rewriter.types[node.output] = TensorType(told.dtype, known.shape)
        rewriter.changed = True


def move_before_split(rewriter: Rewriter, split: Node) -> None:
    """Dequantizes what a Split reads instead of each of its parts, where all are dequantized alike
    by one scale, and nothing else reads them."""
    source = split.inputs[0]
    shape = rewriter.shape(source)
    readers = [rewriter.readers(name) if name else [] for name in split.outputs]
    if shape is None or any(len(found) != 1 for found in readers):
        return
    linear = [found[0] for found in readers]
    scale = rewriter.constant(linear[0], 1)
    if scale is None or scale.size != 1 or any(map(rewriter.pinned, split.outputs)):
        return
    alike = {(node.op, node.domain, node.inputs[1:]) for node in linear}
    if len(alike) != 1 or not is_linear(linear[0], "DequantizeLinear"):
        return
    real = rewriter.add_tensor(f"{source}/real", shape, linear[0].output)
    name = rewriter.fresh_node(f"{split.name}/dequantize")
    before = replace(linear[0], name=name, inputs=(source, *linear[0].inputs[1:]), outputs=(real,))
    parts = tuple(node.output for node in linear)
    for node in linear:
        rewriter.remove(node)
    inputs = (real, *split.inputs[1:])
    rewriter.replace(split, before, replace(split, inputs=inputs, outputs=parts))


def channels_first(rewriter: Rewriter, node: Node) -> None:
    """Transposes around what reads and writes images with their channels last."""
    source = node.inputs[0] if node.inputs else ""
    shape = rewriter.shape(source)
    if shape is None or len(shape) < 3:
        return
    rank = len(shape)
    first, last = (0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)
    moved = rewriter.add_tensor(f"{source}/first", [shape[axis] for axis in first], source)
    found = rewriter.fresh(f"{node.output}/first")
    names = [rewriter.fresh_node(f"{node.name}/{side}") for side in ("first", "last")]
    own = {name: value for name, value in node.attributes.items() if name != "channels_last"}
    rewriter.replace(
        node,
        Node(names[0], "Transpose", (source,), (moved,), {"perm": first}),
        replace(node, inputs=(moved, *node.inputs[1:]), outputs=(found,), attributes=own),
        Node(names[1], "Transpose", (found,), node.outputs, {"perm": last}),
    )
