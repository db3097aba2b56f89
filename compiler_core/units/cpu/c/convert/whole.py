"""Handlers of what computes with whole numbers: positions, counts, places, bits.

All are computed in 32 bits; those of 8 and 16 keep their lowest bits at once.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.units.cpu.c.convert.builder import Axes, PlacedValue, Refusal, plain_type
from compiler_core.units.cpu.c.convert.pointwise import reduced_axes
from compiler_core.units.cpu.c.convert.shapes import around
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.network import WHOLE, Value
from compiler_core.units.cpu.c.operators.choosing import Whole
from compiler_core.units.cpu.c.operators.whole import WholeFold, WholePair, Wrap

_PAIRS = {
    "Add": "add",
    "BitwiseAnd": "and",
    "BitwiseOr": "or",
    "BitwiseXor": "xor",
    "Div": "div",
    "Max": "max",
    "Min": "min",
    "Mul": "mul",
    "Pow": "pow",
    "Sub": "sub",
}
_FOLDS = {
    "ReduceMax": "max",
    "ReduceMean": "add",
    "ReduceMin": "min",
    "ReduceProd": "mul",
    "ReduceSum": "add",
}


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


def wrapped(sources: TensorReader, node: Node, value: Value) -> Value:
    """Whole numbers as those of the type of a node's output: of 8 and 16 bits the lowest ones."""
    builder = sources.builder
    dtype = builder.graph.types[node.output].dtype
    kind = plain_type(dtype)
    if kind is None or dtype not in ("int8", "uint8", "int16", "uint16"):
        return value
    known = np.iinfo(dtype)
    low = int(known.min)
    found = builder.value(node.output, value.shape, kind)
    names = (value.name,), found.name
    builder.add(Wrap(node.name, *names, known.bits, low, low + kind.zero_point))
    return found


def _ends(sources: TensorReader, node: Node, value: Value) -> None:
    """Places what was computed, in the model's order of axes."""
    found = wrapped(sources, node, value)
    axes = tuple(range(len(found.shape)))
    sources.builder.places.setdefault(node.output, []).append(PlacedValue(found, axes))


def _pair(sources: TensorReader, node: Node) -> None:
    function = _PAIRS.get(node.op) or ("fmod" if node.attributes.get("fmod") else "mod")
    if len(node.inputs) != 2:
        raise Refusal("it has not two inputs")
    if node.op == "Pow":
        _require_whole_powers(sources, node)
    _add_pair(sources, node, function, *(_operand(sources, node, name) for name in node.inputs))


def _require_whole_powers(sources: TensorReader, node: Node) -> None:
    graph, power = sources.builder.graph, node.inputs[1]
    if graph.types[power].dtype != "float32":
        return
    known = graph.constants.get(power)
    if known is None or (known != np.rint(known)).any():
        raise Refusal("its powers have fractions")


def _shift(sources: TensorReader, node: Node) -> None:
    """BitShift; to the right, numbers with a sign keep it."""
    way = node.text("direction", "")
    if way not in ("LEFT", "RIGHT"):
        raise Refusal(f"its direction is {way!r}")
    signed = sources.builder.graph.types[node.output].dtype.startswith("int")
    function = "arithmetic" if signed and way == "RIGHT" else way.lower()
    operands = (_operand(sources, node, name) for name in node.inputs)
    _add_pair(sources, node, function, *operands)


def _inverted(sources: TensorReader, node: Node) -> None:
    """BitwiseNot."""
    every = _number(sources, node, -1)
    _add_pair(sources, node, "xor", _operand(sources, node, node.inputs[0]), every)


def _sign(sources: TensorReader, node: Node) -> None:
    x = _operand(sources, node, node.inputs[0])
    for function, limit in (("max", -1), ("min", 1)):
        x = _limited(sources, node, x, function, limit)
    _ends(sources, node, x)


def _positive(sources: TensorReader, node: Node) -> None:
    """Relu."""
    x = _operand(sources, node, node.inputs[0])
    _ends(sources, node, _limited(sources, node, x, "max", 0))


def _limited(sources: TensorReader, node: Node, x: Value, function: str, limit: int) -> Value:
    found = sources.builder.value(node.output, x.shape, WHOLE)
    names = (x.name, _number(sources, node, limit).name)
    sources.builder.add(WholePair(node.name, names, found.name, function))
    return found


def _add_pair(sources: TensorReader, node: Node, function: str, a: Value, b: Value) -> None:
    builder = sources.builder
    found = builder.value(node.output, builder.shape(node.output), WHOLE)
    builder.add(WholePair(node.name, (a.name, b.name), found.name, function))
    _ends(sources, node, found)


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
            x = _limited(sources, node, x, function, limit)
    _ends(sources, node, x)


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
    if node.op == "ReduceMean":
        total = found
        count = builder.held(node.name, np.full(1, sizes[1], np.int64), WHOLE)
        found = builder.value(node.output, total.shape, WHOLE)
        builder.add(WholePair(node.name, (total.name, count.name), found.name, "div"))
    _ends(sources, node, builder.viewed(found, builder.shape(node.output)))


def _running(sources: TensorReader, node: Node) -> None:
    """CumSum and CumProd along a constant axis."""
    builder = sources.builder
    shape = builder.shape(node.inputs[0])
    axis = int(builder.constant(node.inputs[1]).ravel()[0]) % len(shape)
    x = whole_value(sources, node.inputs[0])
    sizes = around(shape, axis)
    found = builder.value(node.output, shape, WHOLE)
    ways = (bool(node.attributes.get(name, 0)) for name in ("exclusive", "reverse"))
    function = "mul" if node.op == "CumProd" else "add"
    builder.add(WholeFold(node.name, (x.name,), found.name, sizes, function, True, *ways))
    _ends(sources, node, found)


HANDLERS: dict[str, Callable[[TensorReader, Node], None]] = {
    "Abs": _size,
    "BitShift": _shift,
    "BitwiseNot": _inverted,
    "Clip": _clip,
    "CumProd": _running,
    "CumSum": _running,
    "Mod": _pair,
    "Neg": _negative,
    "Relu": _positive,
    "Sign": _sign,
    **dict.fromkeys(_PAIRS, _pair),
    **dict.fromkeys(_FOLDS, _fold),
}
"""By operator."""
