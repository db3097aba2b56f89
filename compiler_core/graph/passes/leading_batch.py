"""A batch of one stays the first axis.

Attention modules of some frameworks compute sequence first: ``[1, tokens, features]`` becomes
``[tokens, 1, features]`` on the way in, heads become a leading axis of ``[heads, tokens, width]``
between, and all comes back at the end. For one sample nothing of this moves anything, but a unit
that takes the first axis for samples sees tokens and heads in their place, and what it could look
at as it lies is copied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_ALONG_THE_LAST = ("LayerNormalization", "LogSoftmax", "Softmax")
_ELEMENTWISE = ("Add", "Clip", "Div", "Erf", "Exp", "Max", "Min", "Mul", "Relu", "Sqrt", "Sub")
_HANDS_ON = ("Reshape", "Split", "Slice", "Gather", "Transpose", "Div", "Mul")
_MATRICES = 3
"""Axes from which a product has matrices side by side."""


@dataclass(frozen=True)
class LeadingBatch:
    """Let operators work behind a leading axis of one where a Reshape has dropped or moved it.

    - A Transpose that moves a first axis of one keeps it there; a Reshape moves it.
    - A Transpose of what a Reshape made of a tensor with such an axis has that axis, too.
    - A dense layer over rows of such a tensor computes the rows of one sample.
    - Products, their scales, masks and Softmax keep the axis where a Reshape did nothing but drop
      it.
    - Elementwise operators and what works along the last axis do over rows of one sample.

    A Reshape behind each gives the shape that others read. Only for shapes without a batch axis
    that is open.
    """

    name: ClassVar[str] = "leading-batch"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if node.opaque or any(node.outputs[1:]) or node.output in rewriter.kept:
                continue
            if is_op(node, "Transpose"):
                _transpose(rewriter, node)
            elif node.op == "Dense" and node.domain == NEST_DOMAIN:
                _dense(rewriter, node)
            elif is_op(node, "MatMul", *_ALONG_THE_LAST, *_ELEMENTWISE):
                _keep(rewriter, node)
        return rewriter.finish()


def _single(rewriter: Rewriter, tensor: str) -> tuple[int, ...] | None:
    """The shape of a tensor whose first axis is one, whatever is fed, and no part that was taken
    out of a longer one."""
    shape = rewriter.shape(tensor)
    if not shape or shape[0] != 1 or not rewriter.batch_free(tensor):
        return None
    return None if _is_taken(rewriter, tensor) else shape


def _is_taken(rewriter: Rewriter, tensor: str) -> bool:
    """Whether the first axis of a tensor is one because a part of a longer one was taken."""
    node = rewriter.producer(tensor)
    while node is not None and node.inputs:
        source = node.inputs[0]
        shape = rewriter.shape(source)
        if shape is None or (node.op == "Reshape" and shape[0] != 1):
            return False
        if is_op(node, "Split", "Slice", "Gather") and shape[0] != 1:
            return True
        if not is_op(node, *_HANDS_ON):
            return False
        node = rewriter.producer(source)
    return False


def _reshaped(rewriter: Rewriter, tensor: str) -> str | None:
    """What a Reshape took the first axis, one, from to write ``tensor``."""
    before, shape = rewriter.producer(tensor), rewriter.shape(tensor)
    if before is None or not is_op(before, "Reshape") or before.clip or not shape:
        return None
    if shape[0] == 1 or not rewriter.batch_free(tensor) or tensor in rewriter.kept:
        return None
    source = before.inputs[0]
    return source if _single(rewriter, source) is not None else None


def _transpose(rewriter: Rewriter, node: Node) -> None:
    order, source = node.attributes.get("perm"), node.inputs[0]
    if order is None or node.clip or not rewriter.batch_free(node.output):
        return
    if _single(rewriter, source) is not None:
        if order[0] != 0:
            kept = (0, *(axis for axis in order if axis != 0))
            _write(rewriter, node, (source,), perm=kept)
        return
    further, shape = _reshaped(rewriter, source), rewriter.shape(source)
    if further is not None and shape is not None:
        name, before = _view(rewriter, further, (1, *shape), source)
        _write(rewriter, node, (name,), before, perm=(0, *(axis + 1 for axis in order)))


def _dense(rewriter: Rewriter, node: Node) -> None:
    source, shape = _reshaped(rewriter, node.inputs[0]), rewriter.shape(node.inputs[0])
    if source is None or shape is None:
        return
    rows = [size for size in shape[:-1] if size != 1]
    if len(rows) == 1:
        name, before = _view(rewriter, source, (1, *rows, shape[-1]), node.inputs[0])
        _write(rewriter, node, (name, *node.inputs[1:]), before)


def _keep(rewriter: Rewriter, node: Node) -> None:
    """An operator of a product behind Reshapes that only dropped the axis, or one over rows of one
    sample."""
    result = rewriter.shape(node.output)
    if not result or not rewriter.batch_free(node.output):
        return
    attributes, data = dict(node.attributes), node.inputs
    if is_op(node, *_ALONG_THE_LAST):
        if attributes.get("axis", -1) not in (-1, len(result) - 1):
            return
        attributes["axis"] = -1
    if is_op(node, *_ALONG_THE_LAST, "Clip"):
        data = node.inputs[:1]
    if is_op(node, "MatMul") and len(result) < _MATRICES:
        return
    rows = [size for size in result[:-1] if size != 1]
    computed = sum(name not in rewriter.constants for name in data)
    of_product = is_op(node, "MatMul") or (computed == 1 and node.op != "LayerNormalization")
    shapes = [(1, *result)] if of_product else []
    shapes += [(1, *rows, result[-1])] if len(rows) == 1 else []
    for shape in shapes:
        exact = shape == (1, *result)
        found = [_lifted(rewriter, node, name, shape, exact=exact) for name in data]
        names = [name for name, _ in filter(None, found)]
        if len(names) < len(found) or set(names) <= rewriter.constants.keys():
            continue
        before = [view for _, view in filter(None, found) if view is not None]
        inputs = (*names, *node.inputs[len(data) :])
        _write(rewriter, replace(node, attributes=attributes), inputs, *before, shape=shape)
        return


def _lifted(
    rewriter: Rewriter, node: Node, name: str, shape: tuple[int, ...], *, exact: bool
) -> tuple[str, Node | None] | None:
    """An operand with the leading axis, and the Reshape that makes it; ``None`` where it has none.

    Args:
        rewriter: The graph.
        node: The operator.
        name: Of its operand.
        shape: Of its result.
        exact: Whether that is the shape of before behind an axis of one.
    """
    if name in rewriter.constants and not is_op(node, "MatMul"):
        return (name, None) if exact else (_constant_rows(rewriter, node, name), None)
    source, own = _reshaped(rewriter, name), rewriter.shape(name)
    if source is None or own is None:
        return None
    if exact:
        same = rewriter.shape(source) == (1, *own) and len(own) == len(shape) - 1
        return (source, None) if same else None
    if is_op(node, "MatMul") or own != rewriter.shape(node.output):
        return None
    return (
        (source, None) if rewriter.shape(source) == shape else _view(rewriter, source, shape, name)
    )


def _constant_rows(rewriter: Rewriter, node: Node, name: str) -> str:
    """A constant operand as it is beside rows of one sample."""
    value, result = rewriter.constants[name], rewriter.shape(node.output) or ()
    if value.ndim <= 1:
        return name
    full = (1,) * (len(result) - value.ndim) + value.shape
    rows = (size for size, of in zip(full[:-1], result[:-1], strict=True) if of != 1)
    return rewriter.add_constant(f"{name}/rows", value.reshape(1, *rows, full[-1]))


def _view(rewriter: Rewriter, source: str, shape: tuple[int, ...], like: str) -> tuple[str, Node]:
    """A Reshape of ``source``, and what it writes."""
    name = rewriter.add_tensor(f"{like}/batch", shape, like)
    to = rewriter.add_constant(f"{name}/shape", np.array(shape, np.int64))
    return name, Node(rewriter.fresh_node(name), "Reshape", (source, to), (name,))


def _write(
    rewriter: Rewriter,
    node: Node,
    inputs: tuple[str, ...],
    *before: Node,
    perm: tuple[int, ...] | None = None,
    shape: tuple[int, ...] = (),
) -> None:
    """Lets a node read tensors with the leading axis; a Reshape takes it from what it writes."""
    result = rewriter.shape(node.output)
    if result is None:
        return
    attributes = node.attributes if perm is None else {"perm": perm}
    shape = shape or _written(rewriter, before[0].output if before else inputs[0], result, perm)
    inner = rewriter.add_tensor(f"{node.output}/batch", shape, node.output)
    to = rewriter.add_constant(f"{node.output}/shape", np.array(result, np.int64))
    view = Node(rewriter.fresh_node(f"{node.name}/view"), "Reshape", (inner, to), node.outputs)
    moved = replace(node, inputs=inputs, outputs=(inner,), attributes=attributes)
    rewriter.replace(node, *before, moved, view)


def _written(
    rewriter: Rewriter, source: str, result: tuple[int, ...], perm: tuple[int, ...] | None
) -> tuple[int, ...]:
    """What a dense layer or a Transpose makes of ``source``."""
    shape = rewriter.shape(source) or ()
    if perm is not None:
        return tuple(shape[axis] for axis in perm)
    return (*shape[:-1], result[-1])
