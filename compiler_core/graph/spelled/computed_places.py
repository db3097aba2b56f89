"""What moves elements to and from places that are computed, or meet there: rows of a flat tensor.

Places of several axes become one number per row (``flat``), so that every operator is one of two:
Gather of rows, or ScatterND into rows of ``[count, width]`` at ``[number, 1]``.

Source: the definitions of GatherND, ScatterElements, ScatterND and TensorScatter in ONNX.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.spelled.spelling import Spelling


def scattered_elements(s: Spelling) -> bool:
    """ScatterElements and Scatter."""
    chosen = _whole_shape(s, 1)
    if chosen is None or len(chosen) != len(s.shape) or not prod(chosen):
        return False
    axis = int(s.node.attributes.get("axis", 0)) % len(s.shape)
    places = _of_elements(s, chosen, axis)
    return _scattered(s, places, prod(chosen), prod(s.shape), 1, s.text("reduction", "none"))


def scattered_parts(s: Spelling) -> bool:
    """ScatterND."""
    chosen = _whole_shape(s, 1)
    if chosen is None or not chosen or not prod(chosen) or chosen[-1] > len(s.shape):
        return False
    depth = chosen[-1]
    if len(s.shape) == 2 and len(chosen) == 2 and depth == 1:
        return False  # is what this becomes
    places = _of_parts(s, chosen, s.shape[:depth], np.zeros(prod(chosen[:-1]), np.int64))
    ends = prod(s.shape[:depth]), prod(s.shape[depth:])
    return _scattered(s, places, prod(chosen[:-1]), *ends, s.text("reduction", "none"))


def gathered_parts(s: Spelling) -> bool:
    """GatherND."""
    chosen, result = _whole_shape(s, 1), s.work.shape(s.node.output)
    leading = int(s.node.attributes.get("batch_dims", 0))
    if chosen is None or result is None or not chosen or not prod(chosen):
        return False
    end = leading + chosen[-1]
    if end > len(s.shape):
        return False
    number, count = prod(chosen[:-1]), prod(s.shape[:end])
    batch = np.arange(prod(s.shape[:leading]), dtype=np.int64) * prod(s.shape[leading:end])
    each = number // max(1, batch.size)
    places = _of_parts(s, chosen, s.shape[leading:end], np.repeat(batch, each))
    return _gathered(s, places, number, count, prod(s.shape[end:]), result)


def gathered_elements(s: Spelling) -> bool:
    """GatherElements whose indices leave elements of other axes out."""
    chosen = _whole_shape(s, 1)
    if chosen is None or len(chosen) != len(s.shape) or not prod(chosen):
        return False
    axis = int(s.node.attributes.get("axis", 0)) % len(s.shape)
    if all(a == b for i, (a, b) in enumerate(zip(s.shape, chosen, strict=True)) if i != axis):
        return False  # has a kernel
    places = _of_elements(s, chosen, axis)
    return _gathered(s, places, prod(chosen), prod(s.shape), 1, chosen)


def cache_update(s: Spelling) -> bool:
    """TensorScatter: what comes in time is put into a cache, which may begin again at its end."""
    update, rank = s.work.shape(s.node.inputs[1]), len(s.shape)
    axis = int(s.node.attributes.get("axis", -2)) % rank
    if update is None or not 0 < axis < rank:
        return False
    batch, size, steps = s.shape[0], s.shape[axis], update[axis]
    rows = (batch, prod(s.shape[1:axis]), steps)
    far = np.broadcast_to(np.arange(steps, dtype=np.int64), rows)
    if s.given(2):
        first = s.shaped(s.node.inputs[2], (batch, 1, 1))
        places = _sum(s, first, np.ascontiguousarray(far), rows)
    else:
        places = s.constant("places", np.ascontiguousarray(far))
    if s.text("mode", "linear") == "circular":
        places = _whole(s, "Mod", places, np.array(size, np.int64), rows)
    base = np.arange(rows[0] * rows[1], dtype=np.int64).reshape(*rows[:2], 1) * size
    places = _sum(s, places, base, rows)
    places = s.shaped(places, (prod(rows),))
    count, width = prod(s.shape[: axis + 1]), prod(s.shape[axis + 1 :])
    return _scattered(s, places, prod(rows), count, width, "none", source=1)


def _whole_shape(s: Spelling, place: int) -> tuple[int, ...] | None:
    """Shape of places: whole numbers."""
    name = s.node.inputs[place]
    return s.work.shape(name) if s.work.dtype(name) in ("int32", "int64") else None


def _from_end(s: Spelling, places: str, shape: tuple[int, ...], size: int) -> str:
    """Places of which negative ones count from the end, as int64."""
    if s.work.dtype(places) != "int64":
        places = s.add("Cast", [places], shape, dtype="int64", to=7)
    zero = s.constant("zero", np.zeros((), np.int64))
    below = s.add("Less", [places, zero], shape, dtype="bool")
    moved = _sum(s, places, np.array(size, np.int64), shape)
    return s.add("Where", [below, moved, places], shape, dtype="int64")


def _of_elements(s: Spelling, chosen: tuple[int, ...], axis: int) -> str:
    """Flat places of elements that differ from their own place along one axis."""
    where: list[npt.NDArray[Any]] = list(np.indices(chosen, sparse=True))
    steps = np.cumprod([1, *s.shape[:0:-1]])[::-1]
    rest = (
        index * step for a, (index, step) in enumerate(zip(where, steps, strict=True)) if a != axis
    )
    base = np.broadcast_to(sum(rest, np.zeros((), np.int64)), chosen).astype(np.int64)
    along = _from_end(s, s.node.inputs[1], chosen, s.shape[axis])
    along = _whole(s, "Mul", along, np.array(steps[axis], np.int64), chosen)
    return s.shaped(_sum(s, along, base, chosen), (prod(chosen),))


def _of_parts(
    s: Spelling, chosen: tuple[int, ...], sizes: tuple[int, ...], base: npt.NDArray[np.int64]
) -> str:
    """Flat places of a coordinate per axis of ``sizes``, and where the rows of each begin."""
    number, depth = prod(chosen[:-1]), chosen[-1]
    rows = s.shaped(s.node.inputs[1], (number, depth))
    steps = np.cumprod([1, *sizes[:0:-1]])[::-1] if sizes else ()
    places = s.constant("base", base)
    for axis, (size, step) in enumerate(zip(sizes, steps, strict=True)):
        at = s.constant("axis", np.array(axis, np.int64))
        dtype = s.work.dtype(rows)
        one = s.add("Gather", [rows, at], (number,), dtype=dtype, axis=1)
        one = _from_end(s, one, (number,), size)
        one = _whole(s, "Mul", one, np.array(step, np.int64), (number,))
        places = s.add("Add", [places, one], (number,), dtype="int64")
    return places


def _sum(s: Spelling, a: str, b: npt.NDArray[np.int64], shape: tuple[int, ...]) -> str:
    return _whole(s, "Add", a, b, shape)


def _whole(s: Spelling, op: str, a: str, b: npt.NDArray[np.int64], shape: tuple[int, ...]) -> str:
    return s.add(op, [a, s.constant("number", np.asarray(b, np.int64))], shape, dtype="int64")


def _gathered(
    s: Spelling, places: str, number: int, count: int, width: int, result: tuple[int, ...]
) -> bool:
    dtype = s.work.dtype(s.node.inputs[0])
    rows = s.shaped(s.node.inputs[0], (count, width))
    found = s.add("Gather", [rows, places], (number, width), dtype=dtype, axis=0)
    s.shaped(found, result)
    return s.end()


def _scattered(
    s: Spelling,
    places: str,
    number: int,
    count: int,
    width: int,
    reduction: str,
    source: int = 2,
) -> bool:
    """Puts rows into those of the first input.

    Args:
        s: Of the node.
        places: ``int64[number]``.
        number, count, width: Rows that are put; rows that there are; elements of one.
        reduction: What two at one place become.
        source: Input that is put.
    """
    dtype = s.work.dtype(s.node.inputs[0])
    rows = s.shaped(s.node.inputs[0], (count, width))
    updates = s.shaped(s.node.inputs[source], (number, width))
    inputs = [rows, s.shaped(places, (number, 1)), updates]
    found = s.add("ScatterND", inputs, (count, width), dtype=dtype, reduction=reduction)
    s.shaped(found, s.shape)
    return s.end()
