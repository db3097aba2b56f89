"""Handlers of the conversions at ports of integers: what quantized models take and give.

Inside a model they are gone by then; at its inputs and outputs the caller's integers are those of
the network, with the scale that the model says.
"""

from __future__ import annotations

from compiler_core.graph.ir import Node
from compiler_core.units.cpu.c.convert.builder import PlacedValue, Refusal, plain_type
from compiler_core.units.cpu.c.convert.shapes import no_clamp
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.network import Type, Value
from compiler_core.units.cpu.c.operators.moves import View


def real_numbers(sources: TensorReader, node: Node) -> None:
    """DequantizeLinear: the same integers, with a scale."""
    no_clamp(node)
    builder = sources.builder
    place = sources.any(node.inputs[0])
    kind = _scaled(sources, node, builder.graph.types[node.inputs[0]].dtype)
    if place.value.type.dtype != kind.dtype:
        raise Refusal("it reads no integers of 8 bits")
    found = _named(sources, node, place.value, kind)
    builder.places.setdefault(node.output, []).append(PlacedValue(found, place.axes))


def integers(sources: TensorReader, node: Node) -> None:
    """QuantizeLinear: integers of a scale, which the caller reads as such."""
    builder = sources.builder
    dtype = builder.graph.types[node.output].dtype
    kind, plain = _scaled(sources, node, dtype), plain_type(dtype)
    assert plain is not None
    place = builder.converted(sources.any(node.inputs[0]), kind)
    found = _named(sources, node, place.value, plain)
    builder.places.setdefault(node.output, []).append(PlacedValue(found, place.axes))


def _scaled(sources: TensorReader, node: Node, dtype: str) -> Type:
    """Integers of 8 bits with a scale and a zero point, as they lie in memory."""
    builder = sources.builder
    plain = plain_type(dtype)
    scale = builder.constant(node.inputs[1])
    zero = builder.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if plain is None or plain.dtype != "int8" or dtype == "bool":
        raise Refusal(f"its integers are {dtype}; int8 and uint8 are supported")
    if scale.size != 1 or (zero is not None and zero.size != 1):
        raise Refusal("it has a scale per channel")
    shift = 0 if zero is None else int(zero.item())
    return Type("int8", float(scale.item()), shift + plain.zero_point)


def _named(sources: TensorReader, node: Node, value: Value, kind: Type) -> Value:
    """The same memory as numbers of another scale."""
    builder = sources.builder
    found = builder.value(node.output, value.shape, kind)
    builder.add(View(node.name, (value.name,), found.name))
    return found
