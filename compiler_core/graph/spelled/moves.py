"""What moves elements to places that are known when the model is read.

Whatever the operator, its result is elements of its inputs, flat and one behind the other, at
places that are constant: a Gather. ``places`` below are numbers of those elements.
"""

from __future__ import annotations

from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from compiler_core.graph.spelled.spelling import Spelling

Places = npt.NDArray[np.int64]

_MOST = 1 << 20
"""Elements whose places are written down, 4 bytes each."""

_PAD_MODES: dict[str, Literal["reflect", "edge", "wrap"]] = {
    "reflect": "reflect",
    "edge": "edge",
    "wrap": "wrap",
}


def pad(s: Spelling) -> bool:
    """Pad in which elements come again: a Gather per axis."""
    mode = s.text("mode", "constant")
    amounts, rank = s.work.constant(s.node, 1), len(s.shape)
    axes = s.work.constant(s.node, 3) if s.given(3) else np.arange(rank)
    if amounts is None and "pads" in s.node.attributes:
        amounts = np.asarray(s.node.attributes["pads"])
    if mode not in _PAD_MODES or amounts is None or axes is None:
        return False
    found, known = s.node.inputs[0], list(s.shape)
    pairs = amounts.reshape(2, -1).T.tolist()
    for axis, (before, after) in zip((axes.ravel() % rank).tolist(), pairs, strict=True):
        if not before and not after:
            continue
        index = np.arange(known[axis])
        index = index[max(-before, 0) : len(index) + min(after, 0)]
        if not len(index):
            return False
        around = (max(before, 0), max(after, 0))
        index = np.pad(index, around, mode=_PAD_MODES[mode])
        known[axis] = len(index)
        places = s.constant("places", index.astype(np.int64))
        found = s.add("Gather", [found, places], tuple(known), axis=axis)
    return found != s.node.inputs[0] and s.end()


def triangle(s: Spelling) -> bool:
    """Trilu: zeros above or below a diagonal."""
    offset = s.work.constant(s.node, 1) if s.given(1) else np.zeros((), np.int64)
    if offset is None or len(s.shape) < 2:
        return False
    cut = np.triu if s.node.attributes.get("upper", 1) else np.tril
    stays = cut(np.ones(s.shape[-2:], np.bool_), int(offset.ravel()[0]))
    stays = stays.reshape((1,) * (len(s.shape) - 2) + stays.shape)
    zero = np.zeros((), np.dtype(s.work.dtype(s.node.inputs[0])))
    s.add(
        "Where", [s.constant("stays", stays), s.node.inputs[0], s.constant("zero", zero)], s.shape
    )
    return s.end()


def gathered_elements(s: Spelling) -> bool:
    """GatherElements at constant places."""
    chosen = s.work.constant(s.node, 1)
    if chosen is None or chosen.ndim != len(s.shape):
        return False
    axis = int(s.node.attributes.get("axis", 0)) % len(s.shape)
    return _taken(s, _along(s.shape, axis, chosen))


def gathered_parts(s: Spelling) -> bool:
    """GatherND at constant places."""
    chosen = s.work.constant(s.node, 1)
    if chosen is None or not chosen.ndim:
        return False
    leading = int(s.node.attributes.get("batch_dims", 0))
    flat = np.arange(prod(s.shape), dtype=np.int64).reshape(s.shape)
    chosen, depth = chosen.astype(np.int64), chosen.shape[-1]
    if leading + depth > len(s.shape) or not _within(chosen, s.shape[leading : leading + depth]):
        return False
    batch = np.indices((*chosen.shape[:leading], *(1 for _ in chosen.shape[leading:-1])))[:leading]
    places = flat[(*batch, *np.moveaxis(chosen, -1, 0))]
    return _taken(s, places)


def _within(places: npt.NDArray[Any], shape: tuple[int, ...]) -> bool:
    """Whether places, a coordinate per axis, are in a tensor; of others the runtime says it."""
    sizes = np.array(shape, np.int64)
    return bool(((places >= -sizes) & (places < sizes)).all())


def scattered_elements(s: Spelling) -> bool:
    """ScatterElements and Scatter to constant places."""
    chosen = s.work.constant(s.node, 1)
    if chosen is None or chosen.ndim != len(s.shape) or s.text("reduction", "none") != "none":
        return False
    axis = int(s.node.attributes.get("axis", 0)) % len(s.shape)
    return _put(s, _along(s.shape, axis, chosen))


def scattered_parts(s: Spelling) -> bool:
    """ScatterND to constant places: what exporters make of an assignment to a slice."""
    chosen = s.work.constant(s.node, 1)
    if chosen is None or not chosen.ndim or s.text("reduction", "none") != "none":
        return False
    depth = chosen.shape[-1]
    if depth > len(s.shape) or not _within(chosen, s.shape[:depth]):
        return False
    flat = np.arange(prod(s.shape), dtype=np.int64).reshape(s.shape)
    return _put(s, flat[tuple(np.moveaxis(chosen.astype(np.int64), -1, 0))])


def reversed_sequences(s: Spelling) -> bool:
    """ReverseSequence of constant lengths."""
    lengths = s.work.constant(s.node, 1)
    time, batch = (
        int(s.node.attributes.get(f"{n}_axis", d)) for n, d in (("time", 0), ("batch", 1))
    )
    if lengths is None or len(s.shape) < 2:
        return False
    flat = np.arange(prod(s.shape), dtype=np.int64).reshape(s.shape)
    moved = np.moveaxis(flat, (batch, time), (0, 1)).copy()
    if lengths.size != len(moved):
        return False
    for row, length in zip(moved, lengths.ravel().tolist(), strict=True):
        row[:length] = row[:length][::-1].copy()
    return _taken(s, np.moveaxis(moved, (0, 1), (batch, time)))


def compressed(s: Spelling) -> bool:
    """Compress by constant truths."""
    truths = s.work.constant(s.node, 1)
    if truths is None or not truths.any():
        return False
    flat = np.arange(prod(s.shape), dtype=np.int64).reshape(s.shape)
    axis = s.node.attributes.get("axis")
    kept = np.flatnonzero(truths)
    return _taken(s, flat.ravel()[kept] if axis is None else np.take(flat, kept, axis=int(axis)))


def _along(shape: tuple[int, ...], axis: int, chosen: npt.NDArray[Any]) -> Places:
    """Places of elements that differ from their own by their place along one axis."""
    flat = np.arange(prod(shape), dtype=np.int64).reshape(shape)
    where: list[npt.NDArray[Any]] = list(np.indices(chosen.shape, sparse=True))
    where[axis] = chosen.astype(np.int64)
    return np.asarray(flat[tuple(where)])


def _taken(s: Spelling, places: Places) -> bool:
    """Elements of the first input."""
    if not places.size or places.size > _MOST:
        return False
    flat = s.shaped(s.node.inputs[0], (prod(s.shape),))
    found = s.add("Gather", [flat, s.constant("places", places.ravel())], (places.size,), axis=0)
    s.shaped(found, places.shape)
    return s.end()


def _put(s: Spelling, places: Places) -> bool:
    """The first input with elements of the third one at places; later ones win."""
    size = prod(s.shape)
    if size > _MOST or not places.size:
        return False
    origin = np.arange(size, dtype=np.int64)
    origin[places.ravel()] = size + np.arange(places.size)
    both = [s.shaped(s.node.inputs[0], (size,)), s.shaped(s.node.inputs[2], (places.size,))]
    joined = s.add("Concat", both, (size + places.size,), axis=0)
    found = s.add("Gather", [joined, s.constant("places", origin)], (size,), axis=0)
    s.shaped(found, s.shape)
    return s.end()


def joined(s: Spelling) -> bool:
    """Concat of parts, some of which have no elements."""
    result = s.work.shape(s.node.output)
    kept = [name for name in s.node.inputs if s.work.shape(name) is None or _has_elements(s, name)]
    if len(kept) in (0, len(s.node.inputs)) or result is None:
        return False
    s.add("Concat", kept, result, **s.node.attributes)
    return s.end()


def split(s: Spelling) -> bool:
    """Split some of whose parts have no elements: a Gather for each of the others."""
    axis = int(s.node.attributes.get("axis", 0)) % max(1, len(s.shape))
    shapes = [s.work.shape(name) for name in s.node.outputs]
    sizes = [shape[axis] for shape in shapes if shape is not None]
    if len(sizes) != len(shapes) or all(sizes) or not any(sizes):
        return False
    if any(
        s.work.readers(n) or s.work.pinned(n)
        for n, z in zip(s.node.outputs, sizes, strict=True)
        if not z
    ):
        return False
    names, start = {}, 0
    for tensor, shape, size in zip(s.node.outputs, shapes, sizes, strict=True):
        if size and shape is not None:
            places = s.constant("places", np.arange(start, start + size))
            names[s.add("Gather", [s.node.inputs[0], places], shape, axis=axis)] = tensor
        start += size
    return s.end_as(names)


def _has_elements(s: Spelling, name: str) -> bool:
    return prod(s.work.shape(name) or ()) > 0
