"""How graph tensors lie over the ``[N, C, H, W]`` tensors of integer operators.

A *root* is a tensor that an NPU operator writes or that enters from float code. Reshapes and
transposes behind it make further graph tensors out of the same bytes: each is a :class:`Placement`
on its root, and no operator runs for it.

| symbol | meaning |
|---|---|
| ``chw`` | shape of one sample of the root |
| ``index`` | for each element of the graph tensor's sample: its flat position in ``chw`` |
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.windows import sample_shape
from compiler_core.quantize.ir import TensorView

Chw = tuple[int, int, int]
Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Placement:
    """A graph tensor as a view of a root.

    Attributes:
        root: Name of the quantized tensor that holds the values.
        chw: Shape of the root without its batch axis.
        index: ``int64[sample shape of the graph tensor]``; ``None`` for the order of memory.
    """

    root: str
    chw: Chw
    index: Index | None

    def positions(self, shape: tuple[int, ...]) -> Index:
        """:attr:`index`, made explicit for a graph tensor with sample ``shape``."""
        return np.arange(prod(shape)).reshape(shape) if self.index is None else self.index

    def same_order(self, other: Placement) -> bool:
        """Whether equal positions of two graph tensors are equal positions of their roots."""
        if self.chw != other.chw:
            return False
        if self.index is None or other.index is None:
            return self.index is other.index
        return np.array_equal(self.index, other.index)


@dataclass(frozen=True, eq=False)
class ChannelAxis:
    """Where the channels of a root lie in a graph tensor.

    Attributes:
        axis: Axis of the graph tensor, the batch being 0.
        channel: ``int64[size of that axis]``: the root's channel of each index.
    """

    axis: int
    channel: Index

    def spread(self, values: npt.NDArray[np.float64], channels: int) -> npt.NDArray[np.float64]:
        """The mean of ``float64[size of that axis]`` over each of the root's ``channels``."""
        sums = np.bincount(self.channel, values, channels)
        return sums / np.maximum(np.bincount(self.channel, minlength=channels), 1)


def plain_shape(known: TensorType | None) -> tuple[int, int, int, int]:
    """``(N, C, H, W)`` of a tensor that no integer operator lays out."""
    sizes = [size or 1 for size in (known.shape or ())] if known else []
    batch, channels, *rest = [*sizes, 1, 1][: max(2, len(sizes))]
    return batch, channels, 1, prod(rest)


def compact(index: Index) -> Index | None:
    """``None`` for the order of memory, else ``index`` itself."""
    return None if np.array_equal(index.reshape(-1), np.arange(index.size)) else index


def laid_out(index: Index, chw: Chw) -> Index | None:
    """:func:`compact` of an index that may leave room in its root."""
    return compact(index) if index.size == prod(chw) else index


def through_view(graph: Graph, node: Node, index: Index) -> Index:
    """The index of a view node's output, given that of its input."""
    if node.op == "Transpose":
        rank = index.ndim + 1
        order = node.attributes.get("perm") or tuple(reversed(range(rank)))
        return np.transpose(index, [axis - 1 for axis in order[1:]])
    return index.reshape(sample_shape(graph, node.output) or ())


def pixels_of(shape: tuple[int, ...]) -> Chw:
    """Root of a dense layer's tensor ``[N, ..., K]``: features become channels, the rest pixels."""
    leading = shape[:-1]
    if len(leading) == 2:
        return shape[-1], leading[0], leading[1]
    return shape[-1], 1, prod(leading)


def pixel_index(shape: tuple[int, ...]) -> Index | None:
    """Index of ``[N, ..., K]`` on the root :func:`pixels_of`."""
    features, count = shape[-1], prod(shape[:-1])
    index = np.arange(features * count).reshape(features, count).T.reshape(shape)
    return compact(index)


def channels_of(positions: Index, chw: Chw) -> ChannelAxis | None:
    """The axis along which the channels of the root lie, if it is a single one.

    Args:
        positions: Flat position on the root of every element of a graph tensor's sample.
        chw: Sample shape of the root.
    """
    channel = positions // (chw[1] * chw[2])
    for axis in range(channel.ndim):
        lines = np.moveaxis(channel, axis, 0).reshape(channel.shape[axis], -1)
        if (lines == lines[:, :1]).all():
            return ChannelAxis(axis + 1, np.ascontiguousarray(lines[:, 0]))
    return None


def _factors(line: Index) -> tuple[int, ...]:
    """Sizes of the axes that an axis is made of, the outermost first, each of even steps.

    Args:
        line: ``int64[size of the axis]``, positions along it.
    """
    steps = np.diff(line)
    uneven = np.flatnonzero(steps != steps[:1])
    if not uneven.size:
        return (len(line),)
    inner = int(uneven[0]) + 1
    if len(line) % inner or inner == 1:
        return (len(line),)
    return (*_factors(line[::inner]), inner)


def _axes_view(batch: int, shape: tuple[int, ...], index: Index, chw: Chw) -> TensorView | None:
    """The view of a graph tensor whose own axes, or what they are made of, are those of its root in
    another order, with zeros behind some where they do not fill it."""
    lines = (np.moveaxis(index, axis, -1).reshape(-1, size)[0] for axis, size in enumerate(shape))
    shape = tuple(size for line in lines for size in _factors(line))
    index = index.reshape(shape)
    strides = [
        int(np.take(index, 1, axis).flat[0] - index.flat[0]) if size > 1 else 0
        for axis, size in enumerate(shape)
    ]
    expected = sum(
        (np.arange(size) * stride).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        for axis, (size, stride) in enumerate(zip(shape, strides, strict=True))
    )
    if not np.array_equal(index, np.broadcast_to(expected, shape)):
        return None
    outer_first = sorted(range(len(shape)), key=lambda axis: -strides[axis])
    padded, room = [], prod(chw)
    for axis in outer_first:
        stride = strides[axis] or room  # of an axis of one
        if room % stride or room // stride < shape[axis]:
            return None
        padded.append(room // stride)
        room = stride
    if room != 1:
        if strides[outer_first[-1]]:
            return None
        padded[-1] *= room
    order = (0, *(1 + axis for axis in outer_first))
    fills = index.size == prod(chw)
    return TensorView((batch, *shape), order, () if fills else (batch, *padded))


def view_of(batch: int, shape: tuple[int, ...], index: Index | None, chw: Chw) -> TensorView | None:
    """The view of a graph tensor with sample ``shape``, if a transposition expresses it.

    Args:
        batch: Samples in one run of the program.
        shape: Sample shape of the graph tensor.
        index: Its positions on the root; ``None`` for the order of memory.
        chw: Sample shape of the root.
    """
    if index is None:
        return TensorView((batch, *chw), (0, 1, 2, 3))
    if index.size < prod(chw):
        return _axes_view(batch, shape, index, chw)
    source = np.empty(prod(chw), dtype=np.int64)
    source[index.reshape(-1)] = np.arange(index.size)
    cube = source.reshape(chw)
    strides = [
        int(np.take(cube, 1, axis).flat[0] - cube.flat[0]) if size > 1 else 0
        for axis, size in enumerate(chw)
    ]
    expected = sum(
        (np.arange(size) * stride).reshape([-1 if i == axis else 1 for i in range(3)])
        for axis, (size, stride) in enumerate(zip(chw, strides, strict=True))
    )
    if not np.array_equal(cube, np.broadcast_to(expected, chw)):
        return _axes_view(batch, shape, index, chw)
    outer_first = sorted(range(3), key=lambda axis: -strides[axis])
    split = (batch, *(chw[axis] for axis in outer_first))
    permutation = (0, *(1 + outer_first.index(axis) for axis in range(3)))
    view = TensorView(split, permutation)
    flat = np.arange(prod(shape)).reshape(split[1:])
    ordered = np.transpose(flat, [axis - 1 for axis in permutation[1:]])
    return view if np.array_equal(ordered, cube) else None
