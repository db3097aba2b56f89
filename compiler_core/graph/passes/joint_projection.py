"""Projections that are computed together and taken apart again become one each.

Attention often computes queries, keys and values as one dense layer, whose features are then split
over an axis of their own: ``[tokens, 3 * heads * width]`` to ``[3, heads, tokens, width]``. What is
taken apart there are features, and so are columns of the weights: a layer for each part writes it
where it is wanted, and nothing is moved. Heads that fill no whole vectors are moved in any case, so
they stay together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_VECTOR = 16
"""Features of whole vectors."""
_VIEWS = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten")

_Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class JointProjection:
    """Unify dense layers whose features are split behind reshapes with a layer for each part."""

    name: ClassVar[str] = "joint-projection"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if node.op in ("Dense", "MatMul") and not node.opaque:
                _take_apart(rewriter, node)
        return rewriter.finish()


@dataclass(frozen=True, eq=False)
class _Part:
    """What one layer is to write.

    Attributes:
        target: The tensor.
        features: Columns of the weights, ascending.
        sizes: Axes of the target, those that lie outermost in the layer's output first.
        order: Position of each axis of the target among them.
        gone: Nodes that compute it now.
    """

    target: str
    features: _Index
    sizes: tuple[int, ...]
    order: tuple[int, ...]
    gone: tuple[Node, ...]


def _take_apart(rewriter: Rewriter, dense: Node) -> None:
    weight, shape = rewriter.constant(dense, 1), rewriter.shape(dense.output)
    if weight is None or weight.ndim != 2 or shape is None or dense.output in rewriter.kept:
        return
    index: _Index = np.arange(prod(shape)).reshape(shape)
    tensor, views = dense.output, 0
    while rewriter.private(tensor) and is_op(reader := rewriter.readers(tensor)[0], *_VIEWS):
        if reader.clip is not None:
            return
        tensor, views = reader.output, views + 1
        size = rewriter.shape(tensor)
        if size is None or prod(size) != index.size:
            return
        turned = reader.attributes.get("perm")
        if reader.op == "Transpose":
            index = np.transpose(index, turned)
        index = index.reshape(size)
    if not views or rewriter.pinned(tensor):
        return
    selected = list(_selections(rewriter, tensor, index))
    if len(selected) < len(rewriter.readers(tensor)) or not selected:
        return
    parts = [_part(rewriter, dense, shape, *found) for found in selected]
    whole = [part for part in parts if part is not None]
    if 1 < len(whole) == len(parts):
        _write(rewriter, dense, weight, whole)


def _selections(
    rewriter: Rewriter, tensor: str, index: _Index
) -> Iterator[tuple[str, _Index, Node]]:
    """Tensors that hold a part of one along an axis, which of its values, and who takes them."""
    for reader in rewriter.readers(tensor):
        axis = int(reader.attributes.get("axis", 0))
        if is_op(reader, "Split"):
            first = 0
            for output in filter(None, reader.outputs):
                size = (rewriter.shape(output) or (0,) * index.ndim)[axis]
                places = np.arange(first, min(first + size, index.shape[axis]))
                yield output, np.take(index, places, axis), reader
                first += size
        elif is_op(reader, "Gather") and reader.inputs[0] == tensor:
            at = rewriter.constant(reader, 1)
            if at is None or at.ndim:
                return
            yield reader.output, np.take(index, int(at), axis), reader
        elif is_op(reader, "Slice") and (taken := _sliced(rewriter, reader, index)) is not None:
            yield reader.output, taken, reader
        else:
            return


def _sliced(rewriter: Rewriter, node: Node, index: _Index) -> _Index | None:
    """What a slice along one axis takes."""
    given = [rewriter.constant(node, position) for position in range(1, len(node.inputs))]
    if len(given) < 3 or any(value is None or value.size != 1 for value in given):
        return None
    start, end, axis, *step = (int(value.reshape(-1)[0]) for value in given if value is not None)
    if step not in ([], [1]):
        return None
    where = [slice(None)] * index.ndim
    where[axis] = slice(start, end)
    return index[tuple(where)]


def _part(
    rewriter: Rewriter, dense: Node, shape: tuple[int, ...], target: str, index: _Index, node: Node
) -> _Part | None:
    """How a layer of its own writes what ``node`` takes; ``None`` where none can."""
    gone: tuple[Node, ...] = (node,)
    dynamic = rewriter.leads_with_batch(dense.output)
    if rewriter.leads_with_batch(target) != dynamic:
        # Behind an axis of parts the batch comes first again.
        reader = rewriter.readers(target)[0] if rewriter.private(target) else None
        size = None if reader is None else rewriter.shape(reader.output)
        if reader is None or not is_op(reader, "Reshape") or reader.clip or size is None:
            return None
        gone, target, index = (node, reader), reader.output, index.reshape(size)
    if node.clip is not None or rewriter.leads_with_batch(target) != dynamic:
        return None
    if not dynamic and not rewriter.batch_free(dense.output):
        return None
    width, leading = shape[-1], prod(shape[:-1])
    features = np.unique(index % width)
    ranks = np.searchsorted(features, index % width)
    own = index // width * len(features) + ranks
    if own.size != leading * len(features) or not len(features):
        return None
    strides = [
        int(np.take(own, 1, axis).flat[0] - own.flat[0]) if size > 1 else 0
        for axis, size in enumerate(own.shape)
    ]
    outer = sorted(range(own.ndim), key=lambda axis: (-(strides[axis] or own.size), axis))
    if dynamic and outer[0] != 0:
        return None
    order = tuple(outer.index(axis) for axis in range(own.ndim))
    sizes = tuple(own.shape[axis] for axis in outer)
    if sizes[-1] % _VECTOR:
        return None
    if not np.array_equal(np.arange(own.size).reshape(sizes).transpose(order), own):
        return None
    return _Part(target, features, sizes, order, gone)


def _write(rewriter: Rewriter, dense: Node, weight: npt.NDArray[Any], parts: list[_Part]) -> None:
    transposed = bool(dense.attributes.get("transB"))
    bias = rewriter.constant(dense, 2)
    if len(dense.inputs) > 2 and dense.inputs[2] and bias is None:
        return
    shape = rewriter.shape(dense.output) or ()
    made: list[Node] = []
    for number, part in enumerate(parts):
        own = weight[part.features] if transposed else weight[:, part.features]
        names = [dense.inputs[0], rewriter.add_constant(f"{dense.inputs[1]}/part{number}", own)]
        if bias is not None:
            few = bias if bias.size == 1 else bias.reshape(-1)[part.features]
            names.append(rewriter.add_constant(f"{dense.inputs[2]}/part{number}", few))
        sizes = (*shape[:-1], len(part.features))
        output = rewriter.add_tensor(f"{dense.output}/part{number}", sizes, dense.output)
        split = rewriter.add_tensor(f"{output}/split", part.sizes, dense.output)
        kept = 0 if rewriter.leads_with_batch(dense.output) else part.sizes[0]
        asked = np.array([kept, *part.sizes[1:]], np.int64)
        to = rewriter.add_constant(f"{split}/shape", asked)
        base = rewriter.fresh_node(f"{dense.name}/part{number}")
        made += [
            replace(dense, name=base, inputs=tuple(names), outputs=(output,)),
            Node(f"{base}/split", "Reshape", (output, to), (split,)),
            Node(f"{base}/order", "Transpose", (split,), (part.target,), {"perm": part.order}),
        ]
    first = parts[0].gone[0]
    for node in {node.name: node for part in parts for node in part.gone}.values():
        if node is not first:
            rewriter.remove(node)
    rewriter.replace(first, *made)
