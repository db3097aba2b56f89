"""Handlers of operators that move elements: of int8 and float32 alike."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.units.cpu.c.convert.builder import PlacedValue, Refusal, plain_type
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.network import FLOAT, Array, Value
from compiler_core.units.cpu.c.operators.moves import MOST_AXES, Block, Copy, Take, row_steps


def around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """``[outer, count, inner]`` of an axis and what lies before and behind it."""
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


def no_clamp(node: Node) -> None:
    """Refuses a fused clamp.

    Raises:
        Refusal: There is one.
    """
    if node.clip is not None:
        raise Refusal("it has a clamp")


def reshape(sources: TensorReader, node: Node) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: the same elements in the model's order."""
    no_clamp(node)
    builder = sources.builder
    axes = tuple(range(len(builder.shape(node.inputs[0]))))
    source = sources.laid_out(node.inputs[0], axes)
    shape = builder.shape(node.output)
    value = builder.viewed(source.value, shape)
    place = PlacedValue(replace(value), tuple(range(len(shape))))
    builder.places.setdefault(node.output, []).append(place)


def transpose(sources: TensorReader, node: Node) -> None:
    """Transpose: nothing moves, the axes are called otherwise."""
    no_clamp(node)
    builder = sources.builder
    rank = len(builder.shape(node.inputs[0]))
    order = tuple(node.attributes.get("perm") or reversed(range(rank)))
    source = sources.any(node.inputs[0])
    axes = tuple(order.index(axis) for axis in source.axes)
    builder.places.setdefault(node.output, []).append(PlacedValue(source.value, axes))


def identity(sources: TensorReader, node: Node) -> None:
    """Identity: another name."""
    no_clamp(node)
    source = sources.any(node.inputs[0])
    sources.builder.places.setdefault(node.output, []).append(source)


def copied(
    sources: TensorReader, node: Node, tensor: str, source: PlacedValue, blocks: tuple[Block, ...]
) -> None:
    """Places ``tensor`` as blocks of a source of the same order of axes.

    Raises:
        Refusal: A block has too many axes.
    """
    place = sources.builder.place(tensor, source.axes, source.value.type)
    add_copy(sources, node, (source.value,), place.value, blocks, None)


def add_copy(
    sources: TensorReader,
    node: Node,
    inputs: tuple[Value, ...],
    result: Value,
    blocks: tuple[Block, ...],
    fill: float | None,
) -> None:
    """Adds a copy of blocks.

    Raises:
        Refusal: A block has too many axes.
    """
    simple = tuple(block.simplified() for block in blocks)
    if any(len(block.sizes) > MOST_AXES for block in simple):
        raise Refusal(f"it moves blocks of more than {MOST_AXES} axes")
    names = tuple(value.name for value in inputs)
    sources.builder.add(Copy(node.name, names, result.name, result.size, simple, fill))


def slice_(sources: TensorReader, node: Node) -> None:
    """Slice with constant bounds."""
    no_clamp(node)
    builder = sources.builder
    shape = builder.shape(node.inputs[0])
    starts, ends, axes, steps = _bounds(sources, node, len(shape))
    begin, by = [0] * len(shape), [1] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index = range(shape[axis])[slice(start, end, step)]
        begin[axis], by[axis] = (index.start if len(index) else 0), step
    _part(sources, node, node.output, begin, by)


def _bounds(sources: TensorReader, node: Node, rank: int) -> list[list[int]]:
    builder = sources.builder
    names = (*node.inputs, "", "")[1:5]
    starts, ends = (builder.constant(name).ravel().tolist() for name in names[:2])
    axes = builder.constant(names[2]).ravel().tolist() if names[2] else list(range(len(starts)))
    steps = builder.constant(names[3]).ravel().tolist() if names[3] else [1] * len(starts)
    if 0 in steps or not len(starts) == len(ends) == len(axes) == len(steps):
        raise Refusal("its bounds do not fit each other")
    smallest = -(1 << 62)
    ends = [None if e < smallest and s < 0 else e for e, s in zip(ends, steps, strict=True)]
    return [starts, ends, [int(axis) % rank for axis in axes], steps]


def _part(sources: TensorReader, node: Node, tensor: str, begin: list[int], by: list[int]) -> None:
    """Places ``tensor`` as every ``by``-th element of the input from ``begin`` on."""
    builder = sources.builder
    source = sources.any(node.inputs[0])
    sizes = builder.shape(tensor)
    old = row_steps(source.value.shape)
    shape = tuple(sizes[axis] for axis in source.axes)
    start = sum(begin[axis] * step for axis, step in zip(source.axes, old, strict=True))
    steps = tuple(by[axis] * step for axis, step in zip(source.axes, old, strict=True))
    block = Block(0, start, 0, shape, steps, row_steps(shape))
    copied(sources, node, tensor, source, (block,))


def split(sources: TensorReader, node: Node) -> None:
    """Split along one axis."""
    no_clamp(node)
    builder = sources.builder
    shape = builder.shape(node.inputs[0])
    axis = int(node.attributes.get("axis", 0)) % len(shape)
    start = 0
    for output in node.outputs:
        if not output:
            raise Refusal("it leaves a part out")
        begin = [0] * len(shape)
        begin[axis] = start
        _part(sources, node, output, begin, [1] * len(shape))
        start += builder.shape(output)[axis]


def pad(sources: TensorReader, node: Node) -> None:
    """Pad with a constant; negative pads cut."""
    no_clamp(node)
    builder = sources.builder
    mode = node.text("mode", "constant")
    if mode != "constant":
        raise Refusal(f"mode {mode!r} is not supported")
    shape = builder.shape(node.inputs[0])
    rank = len(shape)
    amounts = builder.constant(node.inputs[1]).ravel().tolist()
    named = len(node.inputs) > 3 and node.inputs[3]
    axes = builder.constant(node.inputs[3]).ravel().tolist() if named else range(rank)
    before, after = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        before[int(axis) % rank] = int(amounts[position])
        after[int(axis) % rank] = int(amounts[position + len(amounts) // 2])
    has_value = len(node.inputs) > 2 and node.inputs[2]
    number = float(builder.constant(node.inputs[2]).ravel()[0]) if has_value else 0.0
    source = sources.any(node.inputs[0])
    place = builder.place(node.output, source.axes, source.value.type)
    sizes = [
        size + min(low, 0) + min(high, 0)
        for size, low, high in zip(shape, before, after, strict=True)
    ]
    old, new = row_steps(source.value.shape), row_steps(place.value.shape)
    start = sum(max(-before[a], 0) * s for a, s in zip(source.axes, old, strict=True))
    target = sum(max(before[a], 0) * s for a, s in zip(source.axes, new, strict=True))
    kind = source.value.type
    fill = float(kind.quantize(np.float32(number)))
    if min(sizes, default=0) <= 0:
        raise Refusal("it leaves nothing")
    block = Block(0, start, target, tuple(sizes[a] for a in source.axes), old, new)
    add_copy(sources, node, (source.value,), place.value, (block,), fill)


def expand(sources: TensorReader, node: Node) -> None:
    """Expand and Tile."""
    no_clamp(node)
    builder = sources.builder
    shape, result = builder.shape(node.inputs[0]), builder.shape(node.output)
    rank = len(result)
    source = sources.laid_out(node.inputs[0], tuple(range(len(shape))))
    full = (1,) * (rank - len(shape)) + shape
    steps = row_steps(full)
    target = row_steps(result)
    sizes: list[int] = []
    reads: list[int] = []
    writes: list[int] = []
    for own, size, step, write in zip(full, result, steps, target, strict=True):
        sizes += [size // own, own]
        reads += [0, step]
        writes += [write * own, write]
    place = builder.place(node.output, tuple(range(rank)), source.value.type)
    block = Block(0, 0, 0, tuple(sizes), tuple(reads), tuple(writes))
    add_copy(sources, node, (source.value,), place.value, (block,), None)


def gather(sources: TensorReader, node: Node) -> None:
    """Gather of one axis, with constant indices."""
    no_clamp(node)
    builder = sources.builder
    shape = builder.shape(node.inputs[0])
    rank = len(shape)
    axis = int(node.attributes.get("axis", 0)) % rank
    indices = builder.constant(node.inputs[1])
    flat = indices.astype(np.int64).ravel() % shape[axis]
    source = sources.laid_out(node.inputs[0], tuple(range(rank)))
    result = builder.shape(node.output)
    sizes = around(shape, axis)
    place = builder.place(node.output, tuple(range(len(result))), source.value.type)
    names = (source.value.name,), place.value.name
    builder.add(Take(node.name, *names, sizes, flat.astype(np.int32)))


def shuffle(sources: TensorReader, node: Node) -> None:
    """DepthToSpace and SpaceToDepth."""
    no_clamp(node)
    builder = sources.builder
    shape, result = builder.shape(node.inputs[0]), builder.shape(node.output)
    size = int(node.attributes["blocksize"])
    place = sources.laid_out(node.inputs[0], (0, 1, 2, 3))
    n, c, h, w = shape
    mode = node.text("mode", "DCR")
    if mode not in ("CRD", "DCR"):
        raise Refusal(f"mode {mode!r} is not supported")
    depth_first = mode == "DCR"
    if node.op == "SpaceToDepth":
        old = (n, c, h // size, size, w // size, size)
        order = (0, 3, 5, 1, 2, 4) if depth_first else (0, 1, 3, 5, 2, 4)
    elif depth_first:
        old, order = (n, size, size, c // size**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        old, order = (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3)
    steps = row_steps(old)
    sizes = tuple(old[i] for i in order)
    block = Block(0, 0, 0, sizes, tuple(steps[i] for i in order), row_steps(sizes))
    found = builder.place(node.output, (0, 1, 2, 3), place.value.type)
    assert found.value.shape == result
    add_copy(sources, node, (place.value,), found.value, (block,), None)


def concat(sources: TensorReader, node: Node, *, is_float: bool) -> None:
    """Concat; integers of other scales are scaled first, to 16 bits where all have them."""
    no_clamp(node)
    builder = sources.builder
    rank = len(builder.shape(node.output))
    computed = [name for name in node.inputs if name not in builder.graph.constants]
    if not computed:
        raise Refusal("all its inputs are constant")
    axes = sources.any(computed[0]).axes
    dtype = sources.common_dtype(computed)
    plain = plain_type(builder.graph.types[node.output].dtype)
    kind = plain or (FLOAT if is_float else builder.type_of(node.output, dtype))
    values = []
    for name in node.inputs:
        if name in builder.graph.constants:
            array: Array = builder.graph.constants[name].transpose(axes)
            values.append(builder.held(name, array, kind))
        elif plain is not None:
            values.append(sources.laid_out(name, axes).value)
        elif is_float:
            values.append(sources.real(name, axes).value)
        else:
            values.append(builder.rescaled(sources.integer(name, axes, dtype).value, kind))
    place = builder.place(node.output, axes, kind)
    axis = axes.index(int(node.attributes["axis"]) % rank)
    steps = row_steps(place.value.shape)
    blocks, start = [], 0
    for position, value in enumerate(values):
        target = start * steps[axis]
        own = row_steps(value.shape)
        blocks.append(Block(position, 0, target, value.shape, own, steps))
        start += value.shape[axis]
    add_copy(sources, node, tuple(values), place.value, tuple(blocks), None)
