"""A network while it grows: where the graph's tensors lie, in which order of axes and type.

| symbol | meaning |
|---|---|
| axes | per axis in memory, the axis of the tensor; ``(0, 2, 3, 1)``: channel last |
| place | one value that holds a tensor: the same tensor may have several, of other axes or types |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.affine import activation_type
from compiler_core.quantize.scheme import Scales
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.cpu.c.arithmetic.fixed_point import quantized_factor
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.network import (
    FLOAT,
    TRUTH,
    WHOLE,
    Array,
    Operator,
    Type,
    Value,
)
from compiler_core.units.cpu.c.operators.moves import Block, Copy, View, row_steps
from compiler_core.units.cpu.c.operators.pointwise import Output, Rescale
from compiler_core.units.cpu.c.operators.real import Dequantize, Quantize

Axes = tuple[int, ...]

_RESCALE_LEFT = {"int8": 20, "int16": 14}
"""Bits by which integers grow before they become others: what int32 has room for."""


class Refusal(Exception):  # noqa: N818
    """A node cannot become an operator of this kind; the message is the reason."""


@dataclass(frozen=True)
class PlacedValue:
    """A value that holds a tensor, and the order of its axes."""

    value: Value
    axes: Axes


class Builder:
    """What handlers of nodes add operators to.

    Args:
        graph: The model, simplified, with all shapes known.
        ranges: Statistics per tensor; may be empty for float networks.
        options: See :class:`Options`.
        types: Types of tensors that are fixed already, by tensor.
    """

    def __init__(
        self,
        graph: Graph,
        ranges: Mapping[str, TensorRange],
        options: Options,
        types: Mapping[str, Type],
    ) -> None:
        self.graph = graph
        self.options = options
        self.values: dict[str, Value] = {}
        self.constants: dict[str, Array] = {}
        self.operators: list[Operator] = []
        self.places: dict[str, list[PlacedValue]] = {}
        self.node: Node | None = None
        self.real_inputs: frozenset[str] = frozenset()
        self._ranges = ranges
        self._types = dict(types)
        self._wide: dict[str, Type] = {}

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Shape of the model's tensor.

        Raises:
            Refusal: It is not known in full.
        """
        known = self.graph.types.get(tensor)
        if known is None or known.shape is None or any(size is None for size in known.shape):
            raise Refusal(f"the shape of {tensor!r} is not fixed")
        shape = tuple(int(size) for size in known.shape if size is not None)
        if not all(shape):
            raise Refusal(f"{tensor!r} of shape {shape} has no elements")
        return shape

    def constant(self, tensor: str) -> Array:
        """A constant that a node needs at compile time.

        Raises:
            Refusal: It is computed.
        """
        found = self.graph.constants.get(tensor)
        if found is None:
            raise Refusal(f"{tensor!r} is not constant")
        return found

    def type_of(self, tensor: str, dtype: str = "int8") -> Type:
        """The integers of a tensor, ``int8`` or ``int16``.

        Raises:
            Refusal: There are no statistics of it, or it is not finite.
        """
        plain = plain_type(self.graph.types[tensor].dtype) if tensor in self.graph.types else None
        if plain is not None:
            return plain
        types = self._types if dtype == "int8" else self._wide
        if tensor not in types:
            known = self._ranges.get(tensor)
            if known is None or not known.bounded:
                raise Refusal(f"there are no finite statistics of {tensor!r}")
            typed = int8_type if dtype == "int8" else int16_type
            types[tensor] = typed(known, self.options)
        return types[tensor]

    def state_type(self, tensor: str, low: float, high: float) -> Type:
        """Integers of 8 bits of a tensor for other ends than those of its statistics."""
        self._types[tensor] = int8_type(TensorRange(low, high), self.options)
        return self._types[tensor]

    def input(self, tensor: str, axes: Axes, dtype: str = "int8") -> PlacedValue:
        """A graph input, placed when it is first asked for, in the order and in the integers that
        are wanted then."""
        if not self.options.channels_last:
            axes = tuple(range(len(axes)))
        plain = plain_type(self.graph.types[tensor].dtype)
        if plain is not None:
            return self.place(tensor, axes, plain)
        if self.graph.types[tensor].dtype != "float32":
            dtype = self.graph.types[tensor].dtype
            raise Refusal(f"input {tensor!r} is {dtype}; float32 is supported")
        is_float = self.options.float_ports or self.options.precision == "float32"
        is_float = is_float or tensor in self.real_inputs
        kind = FLOAT if is_float else self.type_of(tensor, dtype)
        return self.place(tensor, axes, kind)

    def place(self, tensor: str, axes: Axes, kind: Type) -> PlacedValue:
        """A new value for a tensor, in the given order and type."""
        shape = self.shape(tensor)
        value = self.value(tensor, tuple(shape[axis] for axis in axes), kind)
        found = PlacedValue(value, axes)
        self.places.setdefault(tensor, []).append(found)
        return found

    def value(self, source: str, shape: tuple[int, ...], kind: Type) -> Value:
        """A new value."""
        name = f"v{len(self.values)}"
        self.values[name] = Value(name, source, shape, kind)
        return self.values[name]

    def add(self, operator: Operator) -> None:
        """Puts an operator behind the others."""
        self.operators.append(operator)

    @property
    def label(self) -> str:
        """Name of the node that is converted."""
        return self.node.name if self.node is not None else "port"

    def moved(self, place: PlacedValue, axes: Axes) -> PlacedValue:
        """The same elements in another order of axes: a view where nothing moves."""
        if place.axes == axes:
            return place
        order = [place.axes.index(axis) for axis in axes]
        old = place.value
        value = self.value(old.source, tuple(old.shape[i] for i in order), old.type)
        steps = row_steps(old.shape)
        moved = Block(0, 0, 0, value.shape, tuple(steps[i] for i in order), row_steps(value.shape))
        block = moved.simplified()
        if len(block.sizes) == 0 or (len(block.sizes) == 1 and block.steps == (1,)):
            self.add(View(self.label, (old.name,), value.name))
        else:
            self.add(Copy(self.label, (old.name,), value.name, value.size, (block,), None))
        return PlacedValue(value, axes)

    def viewed(self, value: Value, shape: tuple[int, ...]) -> Value:
        """The same memory in another shape."""
        return value if value.shape == shape else self.again(value, shape)

    def again(self, value: Value, shape: tuple[int, ...] | None = None) -> Value:
        """The same memory under another name, in its own shape where none is given."""
        found = self.value(value.source, value.shape if shape is None else shape, value.type)
        self.add(View(self.label, (value.name,), found.name))
        return found

    def converted(self, place: PlacedValue, kind: Type) -> PlacedValue:
        """The same tensor in another type."""
        old = place.value
        if old.type == kind:
            return place
        if old.type.is_whole and not kind.is_float:
            return self.converted(self.converted(place, FLOAT), kind)
        if not (old.type.is_float or kind.is_float):
            return PlacedValue(self.rescaled(old, kind), place.axes)
        value = self.value(old.source, old.shape, kind)
        if kind.is_float:
            self.add(Dequantize(self.label, (old.name,), value.name, old.type))
        else:
            self.add(Quantize(self.label, (old.name,), value.name, kind))
        return PlacedValue(value, place.axes)

    def rescaled(self, old: Value, kind: Type) -> Value:
        """The same real numbers in other integers."""
        if old.type == kind:
            return old
        left = _RESCALE_LEFT[old.type.dtype]
        factor = quantized_factor(old.type.scale / (2**left * kind.scale))
        result = Output(*factor, kind.zero_point, *kind.limits)
        value = self.value(old.source, old.shape, kind)
        offset = -old.type.zero_point
        self.add(Rescale(self.label, (old.name,), value.name, offset, left, result))
        return value

    def held(self, tensor: str, array: Array, kind: Type) -> Value:
        """A constant as a value, quantized where ``kind`` is of integers."""
        value = self.value(tensor, array.shape, kind)
        self.constants[value.name] = kind.quantize(array)
        return value


_PLAIN = {
    **dict.fromkeys(("int64", "int32", "int16", "uint16", "uint32"), WHOLE),
    "bool": TRUTH,
    "int8": Type("int8"),
    "uint8": Type("int8", 1.0, -128),
}


def plain_type(dtype: str) -> Type | None:
    """How what is not float32 in the model lies in memory: as it is; ``None`` for other types."""
    return _PLAIN.get(dtype)


def int8_type(known: TensorRange, options: Options) -> Type:
    """int8 with a zero point for a tensor's statistics."""
    found = activation_type(known, Scales.ASYMMETRIC, options.activation_range)
    if found.dtype == "uint8":
        return Type("int8", found.scale, found.zero_point - 128)
    return Type("int8", found.scale, found.zero_point)


def int16_type(known: TensorRange, options: Options) -> Type:
    """int16 around zero for a tensor's statistics."""
    return Type(
        "int16", activation_type(known, Scales.SYMMETRIC, options.activation_range, 16).scale
    )


def constant_type(array: Array, dtype: str = "int8") -> Type:
    """Integers for the values of a constant: int8 with a zero point, or int16 around zero."""
    if dtype == "int16":
        most = float(np.abs(array).max(initial=0))
        return int16_type(TensorRange(-most, most), Options())
    low, high = float(array.min(initial=0)), float(array.max(initial=0))
    found = activation_type(TensorRange(low, high), Scales.ASYMMETRIC, Options().activation_range)
    if found.dtype == "uint8":
        return Type("int8", found.scale, found.zero_point - 128)
    return Type("int8", found.scale, found.zero_point)


def channels_last(rank: int) -> Axes:
    """Axes of an image, or of a row, with its channel last; of other ranks as they are."""
    if rank in (3, 4):
        return (0, *range(2, rank), 1)
    return tuple(range(rank))


def finite(array: Array, what: str) -> Array:
    """A constant of float32 that is finite.

    Raises:
        Refusal: It is not.
    """
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise Refusal(f"{what} is not of finite float32 numbers")
    return array
