"""Handlers of what computes with whole numbers: positions, counts, places."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.units.cpu.c.convert.builder import Axes, PlacedValue, Refusal
from compiler_core.units.cpu.c.convert.pointwise import reduced_axes
from compiler_core.units.cpu.c.convert.shapes import around
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.network import WHOLE, Value
from compiler_core.units.cpu.c.operators.choosing import Whole
from compiler_core.units.cpu.c.operators.whole import WholeFold, WholePair

_PAIRS = {"Add": "add", "Div": "div", "Max": "max", "Min": "min", "Mul": "mul", "Sub": "sub"}
_FOLDS = {"ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "mul", "ReduceSum": "add"}


def whole_value(sources: TensorReader, tensor: str, axes: Axes | None = None) -> Value:
    """A tensor of whole numbers, in the model's order or another one.

    Raises:
        Refusal: It holds none.
    """
    rank = len(sources.builder.shape(tensor))
    place = sources.laid_out(tensor, tuple(range(rank)) if axes is None else axes)
    if place.value.type == WHOLE:
        return place.value
    if place.value.type.is_float:
        raise Refusal(f"{tensor!r} holds no whole numbers")
    found = sources.builder.value(tensor, place.value.shape, WHOLE)
    zero = place.value.type.zero_point
    sources.builder.add(Whole(tensor, (place.value.name,), found.name, zero))
    return found


def _pair(sources: TensorReader, node: Node) -> None:
    function = _PAIRS.get(node.op) or ("fmod" if node.attributes.get("fmod") else "mod")
    if len(node.inputs) != 2:
        raise Refusal("it has not two inputs")
    _add_pair(sources, node, function, *(_operand(sources, node, name) for name in node.inputs))


def _add_pair(sources: TensorReader, node: Node, function: str, a: Value, b: Value) -> None:
    builder = sources.builder
    rank = len(builder.shape(node.output))
    place = builder.place(node.output, tuple(range(rank)), WHOLE)
    builder.add(WholePair(node.name, (a.name, b.name), place.value.name, function))


def _operand(sources: TensorReader, node: Node, tensor: str) -> Value:
    """One of the operands that broadcast, with leading axes of one."""
    builder = sources.builder
    rank = len(builder.shape(node.output))
    if tensor in builder.graph.constants:
        array = builder.graph.constants[tensor]
        return builder.held(tensor, array.reshape((1,) * (rank - array.ndim) + array.shape), WHOLE)
    value = whole_value(sources, tensor)
    return builder.viewed(value, (1,) * (rank - len(value.shape)) + value.shape)


def _number(sources: TensorReader, node: Node, value: int) -> Value:
    ones = (1,) * len(sources.builder.shape(node.output))
    return sources.builder.held(node.name, np.full(ones, value, np.int64), WHOLE)


def _negative(sources: TensorReader, node: Node) -> None:
    zero = _number(sources, node, 0)
    _add_pair(sources, node, "sub", zero, _operand(sources, node, node.inputs[0]))


def _size(sources: TensorReader, node: Node) -> None:
    builder = sources.builder
    x, zero = _operand(sources, node, node.inputs[0]), _number(sources, node, 0)
    other = builder.value(node.output, x.shape, WHOLE)
    builder.add(WholePair(node.name, (zero.name, x.name), other.name, "sub"))
    _add_pair(sources, node, "max", x, other)


def _clip(sources: TensorReader, node: Node) -> None:
    """Clip between constants, either of which may be absent."""
    builder = sources.builder
    x = _operand(sources, node, node.inputs[0])
    for tensor, function in zip(node.inputs[1:], ("max", "min"), strict=False):
        if tensor:
            limit = int(builder.constant(tensor).ravel()[0])
            limit = min(max(limit, WHOLE.limits[0]), WHOLE.limits[1])
            found = builder.value(node.output, x.shape, WHOLE)
            names = (x.name, _number(sources, node, limit).name)
            builder.add(WholePair(node.name, names, found.name, function))
            x = found
    axes = tuple(range(len(x.shape)))
    builder.places.setdefault(node.output, []).append(PlacedValue(x, axes))


def _fold(sources: TensorReader, node: Node) -> None:
    """Reductions over axes that lie side by side."""
    builder = sources.builder
    shape = builder.shape(node.inputs[0])
    reduced = reduced_axes(sources, node, len(shape))
    kept = tuple(axis for axis in range(len(shape)) if axis not in reduced)
    x = whole_value(sources, node.inputs[0], (*kept, *reduced))
    sizes = (prod(shape[a] for a in kept), prod(shape[a] for a in reduced), 1)
    found = builder.value(node.output, sizes[:1], WHOLE)
    builder.add(WholeFold(node.name, (x.name,), found.name, sizes, _FOLDS[node.op]))
    result = builder.shape(node.output)
    place = PlacedValue(builder.viewed(found, result), tuple(range(len(result))))
    builder.places.setdefault(node.output, []).append(place)


def _running(sources: TensorReader, node: Node) -> None:
    """CumSum along a constant axis."""
    builder = sources.builder
    shape = builder.shape(node.inputs[0])
    axis = int(builder.constant(node.inputs[1]).ravel()[0]) % len(shape)
    x = whole_value(sources, node.inputs[0])
    sizes = around(shape, axis)
    place = builder.place(node.output, tuple(range(len(shape))), WHOLE)
    ways = (bool(node.attributes.get(name, 0)) for name in ("exclusive", "reverse"))
    names = (x.name,), place.value.name
    builder.add(WholeFold(node.name, *names, sizes, "add", True, *ways))


HANDLERS: dict[str, Callable[[TensorReader, Node], None]] = {
    "Abs": _size,
    "Clip": _clip,
    "CumSum": _running,
    "Mod": _pair,
    "Neg": _negative,
    **dict.fromkeys(_PAIRS, _pair),
    **dict.fromkeys(_FOLDS, _fold),
}
"""By operator."""
