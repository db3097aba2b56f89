"""Handlers of sums, products, pools, reductions, softmax and normalization."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.graph.shapes import spreads_over
from compiler_core.graph.windows import window_of
from compiler_core.units.cpu.c.arithmetic.fixed_point import quantized_factor
from compiler_core.units.cpu.c.arithmetic.pointwise import (
    ADD_LEFT_SHIFT,
    Addend,
    softmax_factors,
)
from compiler_core.units.cpu.c.arithmetic.weighted import Sliding
from compiler_core.units.cpu.c.convert.builder import (
    Axes,
    Builder,
    PlacedValue,
    Refusal,
    channels_last,
    finite,
)
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.convert.weighted import limits, window
from compiler_core.units.cpu.c.convert.weights import clamp
from compiler_core.units.cpu.c.network import FLOAT, Type, Value
from compiler_core.units.cpu.c.operators.moves import Block, Copy, row_steps
from compiler_core.units.cpu.c.operators.pointwise import Output, Pool, Product, Softmax, Sum
from compiler_core.units.cpu.c.operators.real import (
    Normalization,
    RealNormalization,
    RealPair,
    RealPool,
    RealReduction,
    RealSoftmax,
)

_MOST_MEAN = 1 << 15
"""Elements of 16 bits whose sum surely fits 32."""

_PAIRS = {
    "Add": "add",
    "Div": "div",
    "Max": "max",
    "Min": "min",
    "Mul": "mul",
    "Pow": "pow",
    "Sub": "sub",
}


def pair(sources: TensorReader, node: Node, *, is_float: bool) -> None:
    """Add, Sub, Mul and, in float32, Div, Min, Max, Mod and Pow of two tensors."""
    if is_float:
        real_pair(sources, node)
        return
    if node.op not in ("Add", "Sub", "Mul"):
        raise Refusal(f"{node.op} of two tensors has no integer kernel")
    builder = sources.builder
    dtype = sources.common_dtype(node.inputs)
    kind = builder.type_of(node.output, dtype)
    axes, a, b = _operands(sources, node, dtype)
    low, high = clamp(kind, node.clip)
    offsets = (-a.type.zero_point, -b.type.zero_point)
    scales = a.type.scale, b.type.scale
    names = (a.name, b.name)
    if node.op == "Mul":
        factor = quantized_factor(scales[0] * scales[1] / kind.scale)
        result = Output(*factor, kind.zero_point, low, high)
        place = builder.place(node.output, axes, kind)
        builder.add(Product(node.name, names, place.value.name, offsets, result))
        return
    twice = 2 * max(scales)
    factor = quantized_factor(twice / (2 ** ADD_LEFT_SHIFT[dtype] * kind.scale))
    first, second = (
        Addend(offset, *quantized_factor(scale / twice))
        for offset, scale in zip(offsets, scales, strict=True)
    )
    result = Output(*factor, kind.zero_point, low, high)
    place = builder.place(node.output, axes, kind)
    subtract = node.op == "Sub"
    builder.add(Sum(node.name, names, place.value.name, (first, second), result, subtract=subtract))


def real_pair(sources: TensorReader, node: Node) -> PlacedValue:
    """A function of two tensors in float32."""
    function = _PAIRS.get(node.op)
    if node.op == "Mod":
        function = "fmod" if node.attributes.get("fmod") else "mod"
    if function is None or len(node.inputs) != 2:
        raise Refusal(f"{node.op} of {len(node.inputs)} tensors has no float32 kernel")
    axes, a, b = _operands(sources, node, FLOAT.dtype)
    place = sources.builder.place(node.output, axes, FLOAT)
    names = (a.name, b.name)
    sources.builder.add(RealPair(node.name, names, place.value.name, function, *limits(node)))
    return place


def _operands(sources: TensorReader, node: Node, dtype: str) -> tuple[Axes, Value, Value]:
    builder = sources.builder
    if len(node.inputs) != 2:
        raise Refusal(f"it has {len(node.inputs)} inputs; 2 are supported")
    rank = len(builder.shape(node.output))
    axes: Axes = tuple(range(rank))
    for name in node.inputs:
        if name not in builder.graph.constants and len(builder.shape(name)) == rank:
            axes = sources.any(name).axes
            break
    a, b = (sources.broadcast(name, rank, axes, dtype) for name in node.inputs)
    return axes, a, b


def pool(sources: TensorReader, node: Node, *, is_float: bool) -> None:
    """MaxPool and AveragePool."""
    builder = sources.builder
    if len(node.outputs) > 1 and node.outputs[1]:
        raise Refusal("it writes indices")
    sliding = window(sources, node)
    axes = channels_last(len(builder.shape(node.output)))
    dtype = FLOAT.dtype if is_float else sources.common_dtype(node.inputs[:1])
    source = sources.typed(node.inputs[0], axes, dtype)
    value = source.value
    mean = node.op == "AveragePool"
    if mean and node.attributes.get("count_include_pad"):
        value, sliding = _with_border(sources, node, value, sliding)
    _check_windows(value, sliding)
    add_pool(builder, node, value, axes, sliding, mean=mean)


def add_pool(
    builder: Builder, node: Node, source: Value, axes: Axes, sliding: Sliding, *, mean: bool
) -> None:
    """Adds a pool that writes the node's output in the type of its input."""
    place = builder.place(node.output, axes, source.type)
    names = (source.name,), place.value.name
    taps = sliding.kernel[0] * sliding.kernel[1]
    if mean and source.type.dtype == "int16" and taps >= _MOST_MEAN:
        raise Refusal(f"it sums {taps} elements of 16 bits; fewer than {_MOST_MEAN} fit 32 bits")
    if source.type.is_float:
        builder.add(RealPool(node.name, *names, sliding, mean, *limits(node)))
    else:
        builder.add(Pool(node.name, *names, sliding, mean, *clamp(source.type, node.clip)))


def _with_border(
    sources: TensorReader, node: Node, value: Value, sliding: Sliding
) -> tuple[Value, Sliding]:
    """The input with its padding written out; what windows reach behind it, where the size is
    rounded up, counts for nothing."""
    builder = sources.builder
    full = value.shape if len(value.shape) == 4 else (value.shape[0], 1, *value.shape[1:])
    stated = {key: known for key, known in node.attributes.items() if key != "ceil_mode"}
    known = window_of(builder.graph, replace(node, attributes=stated))
    assert known is not None
    sizes = []
    for axis in range(2):
        reach = (sliding.kernel[axis] - 1) * sliding.dilation[axis] + 1
        end = (sliding.output[axis] - 1) * sliding.stride[axis] + reach
        least = full[1 + axis] + sliding.pad[axis]
        sizes.append(max(least, min(end, least + known.pads[axis + 2])))
    shape = (full[0], *sizes, full[3])
    if shape == full:
        return value, sliding
    steps = row_steps(shape)
    start = sliding.pad[0] * steps[1] + sliding.pad[1] * steps[2]
    block = Block(0, 0, start, full, row_steps(full), steps).simplified()
    found = builder.value(value.source, shape, value.type)
    zero = float(value.type.zero_point)
    builder.add(Copy(node.name, (value.name,), found.name, found.size, (block,), zero))
    free = Sliding(sliding.kernel, sliding.stride, sliding.dilation, (0, 0), sliding.output)
    return found, free


def _check_windows(value: Value, sliding: Sliding) -> None:
    sizes = value.shape[1:3] if len(value.shape) == 4 else (1, value.shape[1])
    for axis in range(2):
        starts = np.arange(sliding.output[axis]) * sliding.stride[axis] - sliding.pad[axis]
        taps = starts[:, None] + np.arange(sliding.kernel[axis]) * sliding.dilation[axis]
        if not ((taps >= 0) & (taps < sizes[axis])).any(axis=1).all():
            raise Refusal("a window lies in the padding altogether")


def global_pool(sources: TensorReader, node: Node, *, is_float: bool) -> None:
    """GlobalAveragePool and GlobalMaxPool."""
    builder = sources.builder
    rank = len(builder.shape(node.inputs[0]))
    if rank not in (3, 4):
        raise Refusal(f"its input has {rank} axes; 3 and 4 are supported")
    axes = channels_last(rank)
    dtype = FLOAT.dtype if is_float else sources.common_dtype(node.inputs[:1])
    source = sources.typed(node.inputs[0], axes, dtype)
    sizes = source.value.shape[1:-1]
    kernel = (sizes[0], sizes[1]) if rank == 4 else (1, sizes[0])
    sliding = Sliding(kernel, (1, 1), (1, 1), (0, 0), (1, 1))
    mean = node.op == "GlobalAveragePool"
    add_pool(builder, node, source.value, axes, sliding, mean=mean)


_REDUCTIONS = {
    "ReduceMean": "mean",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "mul",
    "ReduceSum": "sum",
}


def reduction(sources: TensorReader, node: Node, *, is_float: bool) -> None:
    """ReduceMean, ReduceMax and, in float32, ReduceMin and ReduceSum over any axes."""
    builder = sources.builder
    if not is_float and node.op not in ("ReduceMean", "ReduceMax"):
        raise Refusal(f"{node.op} has no integer kernel")
    rank = len(builder.shape(node.inputs[0]))
    reduced = reduced_axes(sources, node, rank)
    place = sources.any(node.inputs[0])
    positions = sorted(place.axes.index(axis) for axis in reduced)
    axes = place.axes
    if positions and positions[-1] - positions[0] >= len(positions):
        kept = tuple(axis for axis in range(rank) if axis not in reduced)
        axes, positions = (*kept, *reduced), list(range(len(kept), rank))
    dtype = FLOAT.dtype if is_float else sources.common_dtype(node.inputs[:1])
    source = sources.typed(node.inputs[0], axes, dtype)
    shape = source.value.shape
    first, last = (positions[0], positions[-1] + 1) if positions else (0, 0)
    outer, count, inner = prod(shape[:first]), prod(shape[first:last]), prod(shape[last:])
    kind = source.value.type
    if is_float:
        found = builder.value(node.output, (outer, inner), kind)
        sizes = (outer, count, inner)
        if node.clip is not None:
            raise Refusal("it has a clamp")
        function = _REDUCTIONS[node.op]
        names = (source.value.name,), found.name
        builder.add(RealReduction(node.name, *names, sizes, function))
    else:
        image = builder.viewed(source.value, (outer, count, 1, inner))
        found = builder.value(node.output, (outer, 1, 1, inner), kind)
        sliding = Sliding((count, 1), (1, 1), (1, 1), (0, 0), (1, 1))
        mean = node.op == "ReduceMean"
        ends = clamp(kind, node.clip)
        if mean and kind.dtype == "int16" and count >= _MOST_MEAN:
            raise Refusal(f"it sums {count} elements; fewer than {_MOST_MEAN} fit 32 bits")
        builder.add(Pool(node.name, (image.name,), found.name, sliding, mean, *ends))
    _place_reduced(builder, node, found, axes, reduced)


def reduced_axes(sources: TensorReader, node: Node, rank: int) -> tuple[int, ...]:
    """The axes that a reduction takes away, in order; where it names none, all, or none.

    Raises:
        Refusal: They are computed.
    """
    builder = sources.builder
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1]:
        axes = builder.constant(node.inputs[1]).ravel().tolist()
    if not axes:
        axes = () if node.attributes.get("noop_with_empty_axes") else range(rank)
    return tuple(sorted({int(axis) % rank for axis in axes}))


def _place_reduced(
    builder: Builder, node: Node, found: Value, axes: Axes, reduced: tuple[int, ...]
) -> None:
    """The result in the order of its kept axes, which may keep the others as ones."""
    shape = builder.shape(node.output)
    if node.attributes.get("keepdims", 1):
        order = axes
    else:
        kept = [axis for axis in axes if axis not in reduced]
        order = tuple(sorted(kept).index(axis) for axis in kept)
    value = builder.viewed(found, tuple(shape[axis] for axis in order))
    builder.places.setdefault(node.output, []).append(PlacedValue(value, order))


def softmax(sources: TensorReader, node: Node, *, is_float: bool) -> None:
    """Softmax along one axis."""
    builder = sources.builder
    dtype = FLOAT.dtype if is_float else sources.common_dtype(node.inputs[:1])
    place = sources.typed(node.inputs[0], None, dtype)
    shape, rank = place.value.shape, len(place.axes)
    if node.clip is not None:
        raise Refusal("it has a clamp")
    axis = place.axes.index(int(node.attributes.get("axis", -1)) % rank)
    sizes = (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))
    names = (place.value.name,)
    if is_float:
        result = builder.place(node.output, place.axes, FLOAT)
        builder.add(RealSoftmax(node.name, names, result.value.name, sizes))
        return
    if sizes[1] > 1 << 11:
        raise Refusal(f"it sums {sizes[1]} elements; an integer softmax sums at most {1 << 11}")
    wide = dtype == "int16"
    kind = Type("int16", 1 / (1 << 15), 0) if wide else Type("int8", 1 / 256, -128)
    result = builder.place(node.output, place.axes, kind)
    factors = softmax_factors(place.value.type.scale)
    builder.add(Softmax(node.name, names, result.value.name, sizes, factors, wide))


def normalization(sources: TensorReader, node: Node, *, is_float: bool) -> None:
    """LayerNormalization over trailing axes."""
    builder = sources.builder
    if any(node.outputs[1:]):
        raise Refusal("it writes its mean or deviation")
    shape = builder.shape(node.inputs[0])
    axis = int(node.attributes.get("axis", -1)) % len(shape)
    count = prod(shape[axis:])
    axes = tuple(range(len(shape)))
    scale = finite(builder.constant(node.inputs[1]), "its scale")
    has_bias = len(node.inputs) > 2 and node.inputs[2]
    bias = (
        finite(builder.constant(node.inputs[2]), "its bias")
        if has_bias
        else np.zeros(1, np.float32)
    )
    for array in (scale, bias):
        if not spreads_over(array.shape, shape[axis:]):
            raise Refusal(f"numbers of shape {list(array.shape)} do not fit its axes")
    gamma, beta = (
        np.broadcast_to(array, shape[axis:]).reshape(count).astype(np.float32)
        for array in (scale, bias)
    )
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    if node.clip is not None:
        raise Refusal("it has a clamp")
    if is_float:
        source = sources.real(node.inputs[0], axes)
        place = builder.place(node.output, axes, FLOAT)
        names = (source.value.name,), place.value.name
        builder.add(RealNormalization(node.name, *names, gamma, beta, epsilon))
        return
    dtype = sources.common_dtype(node.inputs[:1])
    most = 1 << (14 if dtype == "int16" else 15)
    if count > most:
        raise Refusal(f"it normalizes {count} elements; an integer sum takes {most}")
    source = sources.integer(node.inputs[0], axes, dtype)
    kind = builder.type_of(node.output, dtype)
    place = builder.place(node.output, axes, kind)
    step = source.value.type.scale / count
    builder.add(
        Normalization(
            node.name,
            (source.value.name,),
            place.value.name,
            float(np.float32(step * step)),
            float(np.float32(step)),
            float(np.float32(epsilon)),
            (gamma / np.float32(kind.scale)).astype(np.float32),
            (beta / np.float32(kind.scale)).astype(np.float32),
            kind.zero_point,
            *kind.limits,
        )
    )
