"""The handler of ScatterND into rows at places that may be computed."""

from __future__ import annotations

from math import prod

from compiler_core.graph.ir import Node
from compiler_core.units.cpu.c.convert.builder import PlacedValue, Refusal, plain_type
from compiler_core.units.cpu.c.convert.shapes import no_clamp
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.convert.whole import whole_value
from compiler_core.units.cpu.c.network import FLOAT
from compiler_core.units.cpu.c.operators.choosing import SCATTERED, ScatterRows


def scatter(sources: TensorReader, node: Node) -> None:
    """ScatterND with one place per row; others are spelled out as this.

    Integers that are quantized take the scale of the result; their sums and products are computed
    in float32.
    """
    no_clamp(node)
    builder = sources.builder
    shape, chosen = builder.shape(node.inputs[0]), builder.shape(node.inputs[1])
    text = node.attributes.get("reduction", "none")
    way = text.decode() if isinstance(text, bytes) else str(text)
    if len(chosen) != 2 or chosen[1] != 1 or way not in SCATTERED:
        raise Refusal("it has not one place per row")
    kind = plain_type(builder.graph.types[node.output].dtype)
    if kind is None:
        options, kind = builder.options, FLOAT
        exact = way not in ("add", "mul") and options.precision == "int8"
        if exact and node.name not in options.float_layers:
            kind = builder.type_of(node.output)
    elif way in ("add", "mul") and not kind.is_whole:
        raise Refusal(f"it joins elements of 8 bits by {way}")
    axes = tuple(range(len(shape)))
    names = []
    for tensor in (node.inputs[0], node.inputs[2]):
        place = sources.laid_out(tensor, tuple(range(len(builder.shape(tensor)))))
        names.append(builder.converted(place, kind).value.name)
    places = whole_value(sources, node.inputs[1])
    found = builder.value(node.output, shape, kind)
    inputs = (names[0], places.name, names[1])
    sizes = (shape[0], prod(shape[1:]))
    builder.add(ScatterRows(node.name, inputs, found.name, sizes, places.size, way))
    builder.places.setdefault(node.output, []).append(PlacedValue(found, axes))
