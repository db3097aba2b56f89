"""Elements in another order, as operators: from a map that says where each comes from.

| symbol | meaning |
|---|---|
| map | per element of the result, the element of the source, -1 for zero |
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.network import Operator, Value
from compiler_core.units.cpu.c.operators.moves import MOST_AXES, Block, Copy, Take, View

Map = npt.NDArray[np.int64]


def moved(name: str, source: Value, result: Value, places: Map, spare: Value) -> list[Operator]:
    """Operators that write ``result`` from ``source``.

    Args:
        name: For people.
        source, result: Values of one type.
        places: The map, in a shape of the result whose axes have steps in the source.
        spare: Of one element more than the source, used where the map is of no few blocks.
    """
    blocks = blocks_of(places)
    size = places.size
    if blocks is None:
        whole = Block(0, 0, 0, (source.size,), (1,), (1,))
        padded = Copy(name, (source.name,), spare.name, source.size + 1, (whole,), 0.0)
        indices = np.where(places < 0, source.size, places).ravel().astype(np.int32)
        sizes = (1, source.size + 1, 1)
        return [padded, Take(name, (spare.name,), result.name, sizes, indices)]
    if size == source.size and blocks == [Block(0, 0, 0, (size,), (1,), (1,))]:
        return [View(name, (source.name,), result.name)]
    fill = 0.0 if (places < 0).any() else None
    return [Copy(name, (source.name,), result.name, size, tuple(blocks), fill)]


def blocks_of(places: Map) -> list[Block] | None:
    """Blocks of a map; ``None`` where it is none with one step per axis, but for the last index of
    its first axis, which may end sooner."""
    if places.ndim > MOST_AXES:
        return None
    whole = _block(places, 0)
    if whole is not None:
        return [whole]
    *_, last = places
    ends = np.argwhere(last >= 0)
    if not ends.size:
        return None
    box = tuple(slice(0, int(end) + 1) for end in ends.max(axis=0))
    if (last >= 0).sum() != last[box].size:
        return None
    found = []
    first = _block(places[:-1], 0) if len(places) > 1 else None
    if len(places) > 1:
        if first is None:
            return None
        found.append(first)
    tail = _block(last[box], (len(places) - 1) * last.size, last.shape)
    return None if tail is None else [*found, tail]


def _block(places: Map, target: int, whole: tuple[int, ...] | None = None) -> Block | None:
    """A map with one step per axis as a block; ``None`` where it is none."""
    if (places < 0).any():
        return None
    corner = (0,) * places.ndim
    start = int(places[corner])
    steps = [
        int(places[(*corner[:axis], 1, *corner[axis + 1 :])]) - start if size > 1 else 0
        for axis, size in enumerate(places.shape)
    ]
    expected = np.full((1,) * places.ndim, start)
    for axis, (size, step) in enumerate(zip(places.shape, steps, strict=True)):
        shape = [1] * places.ndim
        shape[axis] = size
        expected = expected + (np.arange(size) * step).reshape(shape)
    if not np.array_equal(np.broadcast_to(expected, places.shape), places):
        return None
    full = whole or places.shape
    targets = tuple(int(np.prod(full[axis + 1 :])) for axis in range(len(full)))
    return Block(0, start, target, places.shape, tuple(steps), targets).simplified()
