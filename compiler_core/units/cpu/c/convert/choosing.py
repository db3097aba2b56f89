"""Handlers of whole numbers and truths: largest places, lookups, comparisons, casts; and trees."""

from __future__ import annotations

from math import prod

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.graph.spelled.elements import LARGE
from compiler_core.units.cpu.c.convert.builder import (
    Axes,
    PlacedValue,
    Refusal,
    constant_type,
    plain_type,
)
from compiler_core.units.cpu.c.convert.shapes import around, no_clamp
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.convert.whole import whole_value, wrapped
from compiler_core.units.cpu.c.network import FLOAT, TRUTH, WHOLE, Array, Type, Value
from compiler_core.units.cpu.c.operators.choosing import (
    ElementComparison,
    LargestPlaces,
    Lookup,
    OneHot,
    Pick,
    Running,
    Select,
    Whole,
)
from compiler_core.units.cpu.c.operators.moves import Block, Copy, row_steps
from compiler_core.units.cpu.c.operators.real import Dequantize

_MOST_STEPS = 1 << 24
"""Elements that a search for the largest ones looks at: as many for each of them."""

_COMPARED = {
    "And": ("both", False),
    "Equal": ("equal", False),
    "Greater": ("less", True),
    "GreaterOrEqual": ("less_equal", True),
    "Less": ("less", False),
    "LessOrEqual": ("less_equal", False),
    "Or": ("either", False),
    "Xor": ("one", False),
}
"""Function, and whether the operands change places."""


def largest_place(sources: TensorReader, node: Node) -> None:
    """ArgMax and ArgMin."""
    builder = sources.builder
    source = sources.any(node.inputs[0])
    axis = int(node.attributes.get("axis", 0)) % len(source.axes)
    at = source.axes.index(axis)
    sizes = around(source.value.shape, at)
    found = builder.value(node.output, (sizes[0], 1, sizes[2]), WHOLE)
    last = bool(node.attributes.get("select_last_index", 0))
    least = node.op == "ArgMin"
    builder.add(LargestPlaces(node.name, (source.value.name,), found.name, sizes, 1, least, last))
    order = source.axes
    if not node.attributes.get("keepdims", 1):
        kept = [a for a in source.axes if a != axis]
        order = tuple(sorted(kept).index(a) for a in kept)
    _lie(sources, node.output, found, order)


def largest(sources: TensorReader, node: Node) -> None:
    """TopK of a constant number of elements."""
    builder = sources.builder
    source = sources.any(node.inputs[0])
    axis = int(node.attributes.get("axis", -1)) % len(source.axes)
    at = source.axes.index(axis)
    sizes = around(source.value.shape, at)
    number = int(builder.constant(node.inputs[1]).ravel()[0])
    if prod(sizes) * number > _MOST_STEPS:
        raise Refusal(
            f"it looks for {number} of {sizes[1]} elements, {sizes[0] * sizes[2]} times: more than "
            f"{_MOST_STEPS} steps"
        )
    least = not node.attributes.get("largest", 1)
    found = builder.value(node.name, (sizes[0], number, sizes[2]), WHOLE)
    builder.add(LargestPlaces(node.name, (source.value.name,), found.name, sizes, number, least))
    values, places = node.outputs
    if values:
        names = (source.value.name, found.name)
        picked = builder.value(values, found.shape, source.value.type)
        builder.add(Pick(node.name, names, picked.name, sizes, number))
        _lie(sources, values, picked, source.axes)
    if places:
        _lie(sources, places, found, source.axes)


def lookup(sources: TensorReader, node: Node) -> None:
    """Gather with indices that are computed: rows of an embedding."""
    no_clamp(node)
    builder = sources.builder
    rank = len(builder.shape(node.inputs[0]))
    axis = int(node.attributes.get("axis", 0)) % rank
    source = sources.laid_out(node.inputs[0], tuple(range(rank)))
    places = whole_value(sources, node.inputs[1])
    shape = builder.shape(node.output)
    place = builder.place(node.output, tuple(range(len(shape))), source.value.type)
    names = (source.value.name, places.name), place.value.name
    sizes = around(source.value.shape, axis)
    builder.add(Lookup(node.name, *names, sizes, places.size))


def pick(sources: TensorReader, node: Node) -> None:
    """GatherElements whose indices have the sizes of the input along all other axes."""
    no_clamp(node)
    builder = sources.builder
    shape, chosen = builder.shape(node.inputs[0]), builder.shape(node.output)
    axis = int(node.attributes.get("axis", 0)) % len(shape)
    if any(a != b for i, (a, b) in enumerate(zip(shape, chosen, strict=True)) if i != axis):
        raise Refusal("its indices leave elements of other axes out")
    source = sources.laid_out(node.inputs[0], tuple(range(len(shape))))
    places = whole_value(sources, node.inputs[1])
    place = builder.place(node.output, source.axes, source.value.type)
    names = (source.value.name, places.name), place.value.name
    builder.add(Pick(node.name, *names, around(shape, axis), chosen[axis]))


def one_hot(sources: TensorReader, node: Node) -> None:
    """OneHot of a constant depth."""
    builder = sources.builder
    places = _whole_places(sources, node.inputs[0])
    depth = int(builder.constant(node.inputs[1]).ravel()[0])
    numbers = builder.constant(node.inputs[2]).ravel()
    off, on = (float(value) for value in numbers)
    is_float = builder.options.precision == "float32" or node.name in builder.options.float_layers
    kind = plain_type(str(numbers.dtype))
    if kind is None:
        kind = FLOAT if is_float else constant_type(numbers)
    rank = len(builder.shape(node.output))
    axis = int(node.attributes.get("axis", -1)) % rank
    order = (*(a for a in range(rank) if a != axis), axis)
    found = builder.value(node.output, (places.size, depth), kind)
    ends = (float(kind.quantize(off)), float(kind.quantize(on)))
    builder.add(OneHot(node.name, (places.name,), found.name, depth, *ends))
    _lie(sources, node.output, found, order)


def _whole_places(sources: TensorReader, tensor: str) -> Value:
    """Places that may be real numbers, in the model's order."""
    builder = sources.builder
    if builder.graph.types[tensor].dtype != FLOAT.dtype:
        return whole_value(sources, tensor)
    source = sources.real(tensor, tuple(range(len(builder.shape(tensor)))))
    found = builder.value(tensor, source.value.shape, WHOLE)
    builder.add(Whole(tensor, (source.value.name,), found.name))
    return found


def comparison(sources: TensorReader, node: Node) -> None:
    """Comparisons of two tensors, and what joins two truths."""
    builder = sources.builder
    function, crossed = _COMPARED[node.op]
    rank = len(builder.shape(node.output))
    axes: Axes = tuple(range(rank))
    for name in node.inputs:
        if name not in builder.graph.constants and len(builder.shape(name)) == rank:
            axes = sources.any(name).axes
            break
    kind = plain_type(builder.graph.types[node.inputs[0]].dtype)
    dtype = FLOAT.dtype if kind is None else kind.dtype
    a, b = (sources.broadcast(name, rank, axes, dtype) for name in node.inputs)
    if a.type != b.type:
        raise Refusal("it compares integers of different scales")
    names = (b.name, a.name) if crossed else (a.name, b.name)
    place = builder.place(node.output, axes, TRUTH)
    builder.add(ElementComparison(node.name, names, place.value.name, function))


def negation(sources: TensorReader, node: Node) -> None:
    """Not: a truth that is compared with none."""
    builder = sources.builder
    source = sources.any(node.inputs[0])
    ones = (1,) * len(source.axes)
    none = builder.held(node.name, np.zeros(ones, np.bool_), TRUTH)
    place = builder.place(node.output, source.axes, TRUTH)
    names = (source.value.name, none.name), place.value.name
    builder.add(ElementComparison(node.name, *names, "equal"))


def where(sources: TensorReader, node: Node) -> None:
    """Where: elements of the type that those which are computed have."""
    builder = sources.builder
    rank = len(builder.shape(node.output))
    axes: Axes = tuple(range(rank))
    kind = plain_type(builder.graph.types[node.output].dtype)
    if kind is None:
        kind = _selected_type(sources, node)
    computed = [name for name in node.inputs if name not in builder.graph.constants]
    whole = [name for name in computed if len(builder.shape(name)) == rank]
    if whole:
        axes = sources.any(whole[-1]).axes
    operands = []
    for name, wanted in zip(node.inputs, (TRUTH, kind, kind), strict=True):
        if name in builder.graph.constants:
            array = _bounded(builder.graph.constants[name])
            full = array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(axes)
            value = builder.held(name, full, wanted)
        else:
            value = sources.broadcast(name, rank, axes, wanted.dtype)
            value = builder.converted(PlacedValue(value, axes), wanted).value
        operands.append(value)
    place = builder.place(node.output, axes, kind)
    names = tuple(_spread(sources, node, value, place.value.shape).name for value in operands)
    builder.add(Select(node.name, names, place.value.name))


def _selected_type(sources: TensorReader, node: Node) -> Type:
    """The integers of what is computed: a constant beside it may be far outside (a mask's -10000)
    and saturates, where a Softmax that follows still makes nothing of it."""
    builder = sources.builder
    options = builder.options
    if options.precision == "float32" or node.name in options.float_layers:
        return FLOAT
    computed = [name for name in node.inputs[1:] if name not in builder.graph.constants]
    constants = [builder.graph.constants[name] for name in node.inputs[1:] if name not in computed]
    if not computed or any(sources.any(name).value.type.is_float for name in computed):
        return FLOAT
    kinds = [builder.type_of(name) for name in computed]
    low = min((kind.limits[0] - kind.zero_point) * kind.scale for kind in kinds)
    high = max((kind.limits[1] - kind.zero_point) * kind.scale for kind in kinds)
    outside = [float(np.min(array)) for array in constants if float(np.min(array)) < low]
    if any(float(np.max(array)) > high for array in constants):
        return builder.type_of(node.output)
    if outside:
        readers = [other for other in builder.graph.nodes if node.output in other.inputs]
        if not readers or any(other.op != "Softmax" for other in readers):
            return builder.type_of(node.output)
        low = max(min(outside), low - _NOTHING)
    return builder.state_type(node.output, low, high)


def _bounded(array: Array) -> Array:
    """Infinities as numbers, which constants of C have to be."""
    if array.dtype != np.float32:
        return array
    if np.isnan(array).any():
        raise Refusal("a constant is not a number")
    return np.clip(array, -LARGE, LARGE)


_NOTHING = 8.0
"""A power of e that is less than a step of what an integer Softmax gives."""


def cast(sources: TensorReader, node: Node) -> None:
    """Cast between float32, whole numbers and truths."""
    builder = sources.builder
    source = sources.any(node.inputs[0])
    old, new = (builder.graph.types[name].dtype for name in (node.inputs[0], node.output))
    kind = plain_type(new)
    if new == "float32" or old == new:
        if source.value.type == WHOLE:
            place = builder.place(node.output, source.axes, FLOAT)
            names = (source.value.name,), place.value.name
            builder.add(Dequantize(node.name, *names, WHOLE))
        else:
            builder.places.setdefault(node.output, []).append(source)
    elif kind is not None and new != "bool":
        if old == "float32":
            source = sources.real(node.inputs[0])
        found = source.value
        if found.type != WHOLE:
            found = builder.value(node.output, found.shape, WHOLE)
            zero = source.value.type.zero_point
            builder.add(Whole(node.name, (source.value.name,), found.name, zero))
        found = wrapped(sources, node, found)
        builder.places.setdefault(node.output, []).append(PlacedValue(found, source.axes))
    else:
        raise Refusal(f"{old} to {new} has no kernel")


def running(sources: TensorReader, node: Node) -> None:
    """CumSum and CumProd along a constant axis."""
    builder = sources.builder
    source = sources.real(node.inputs[0])
    axis = int(builder.constant(node.inputs[1]).ravel()[0]) % len(source.axes)
    sizes = around(source.value.shape, source.axes.index(axis))
    place = builder.place(node.output, source.axes, FLOAT)
    ways = [bool(node.attributes.get(name, 0)) for name in ("exclusive", "reverse")]
    ways.append(node.op == "CumProd")
    builder.add(Running(node.name, (source.value.name,), place.value.name, sizes, *ways))


def _lie(sources: TensorReader, tensor: str, found: Value, order: Axes) -> None:
    """Places a tensor that lies in an order of its axes."""
    builder = sources.builder
    shape = builder.shape(tensor)
    value = builder.viewed(found, tuple(shape[axis] for axis in order))
    builder.places.setdefault(tensor, []).append(PlacedValue(value, order))


def _spread(sources: TensorReader, node: Node, value: Value, shape: tuple[int, ...]) -> Value:
    """A value repeated to a shape."""
    if value.shape == shape:
        return value
    builder = sources.builder
    steps = tuple(
        0 if own != full else step
        for own, full, step in zip(value.shape, shape, row_steps(value.shape), strict=True)
    )
    block = Block(0, 0, 0, shape, steps, row_steps(shape)).simplified()
    found = builder.value(value.source, shape, value.type)
    builder.add(Copy(node.name, (value.name,), found.name, found.size, (block,), None))
    return found
