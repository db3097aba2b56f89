"""The handler of ScatterND into rows at places that may be computed."""

from __future__ import annotations

from math import prod

from compiler_core.graph.ir import Node
from compiler_core.units.cpu.c.convert.builder import PlacedValue, Refusal, plain_type
from compiler_core.units.cpu.c.convert.shapes import no_clamp
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.convert.whole import whole_value, wrapped
from compiler_core.units.cpu.c.network import FLOAT, WHOLE
from compiler_core.units.cpu.c.operators.choosing import SCATTERED, ScatterRows


def scatter(sources: TensorReader, node: Node) -> None:
    """ScatterND with one place per row; others are spelled out as this.

    Integers that are quantized take the scale of the result; their sums and products are computed
    in float32, those of whole numbers in 32 bits.
    """
    no_clamp(node)
    builder = sources.builder
    shape, chosen = builder.shape(node.inputs[0]), builder.shape(node.inputs[1])
    way = node.text("reduction", "none")
    if len(chosen) != 2 or chosen[1] != 1 or way not in SCATTERED:
        raise Refusal("it has not one place per row")
    dtype, joins = builder.graph.types[node.output].dtype, way in ("add", "mul")
    kind = plain_type(dtype)
    if kind is None:
        options, kind = builder.options, FLOAT
        exact = not joins and options.precision == "int8"
        if exact and node.name not in options.float_layers:
            kind = builder.type_of(node.output)
    elif joins:
        if dtype == "bool":
            raise Refusal(f"it joins truths by {way}")
        kind = WHOLE
    axes = tuple(range(len(shape)))
    names = []
    for tensor in (node.inputs[0], node.inputs[2]):
        if kind == WHOLE:
            names.append(whole_value(sources, tensor).name)
            continue
        place = sources.laid_out(tensor, tuple(range(len(builder.shape(tensor)))))
        names.append(builder.converted(place, kind).value.name)
    places = whole_value(sources, node.inputs[1])
    found = builder.value(node.output, shape, kind)
    inputs = (names[0], places.name, names[1])
    sizes = (shape[0], prod(shape[1:]))
    builder.add(ScatterRows(node.name, inputs, found.name, sizes, places.size, way))
    if joins:
        found = wrapped(sources, node, found)
    builder.places.setdefault(node.output, []).append(PlacedValue(found, axes))
