"""Einsum that no product of matrices is: operands side by side, multiplied, and summed."""

from __future__ import annotations

from math import prod
from string import ascii_letters

import numpy as np

from compiler_core.graph.spelled.spelling import Spelling

_MOST = 1 << 20
"""Elements of the product of all operands."""
_AXES_ARE_INPUT = 13
"""The operator set from which on those of ReduceSum are."""


def einsum(s: Spelling) -> bool:
    """Any Einsum: diagonals are taken out of operands, which then broadcast over all indices; those
    that the result lacks are summed."""
    shapes = [s.work.shape(name) for name in s.node.inputs]
    known = [shape for shape in shapes if shape is not None]
    text = s.text("equation", "").replace(" ", "")
    found = _terms(text, [len(shape) for shape in known]) if len(known) == len(shapes) else None
    if found is None:
        return False
    terms, result = found
    sizes = _sizes(terms, known)
    if sizes is None:
        return False
    labels = result + "".join(sorted(set(sizes) - set(result)))
    full = tuple(sizes[label] for label in labels)
    if not set(result) <= set(sizes) or not 0 < prod(full) <= _MOST:
        return False
    total, own = "", (1,) * len(labels)
    for name, term, shape in zip(s.node.inputs, terms, known, strict=True):
        part, size = _laid_out(s, name, term, shape, labels)
        own = tuple(np.broadcast_shapes(own, size))
        total = s.add("Mul", [total, part], own) if total else part
    if len(result) < len(labels):
        total = _summed(s, s.shaped(total, full), full, len(result))
    s.shaped(total, full[: len(result)])
    return s.end()


def _sizes(terms: list[str], shapes: list[tuple[int, ...]]) -> dict[str, int] | None:
    """Elements along each index; ``None`` where operands, or axes of a diagonal, contradict one
    another."""
    found: dict[str, int] = {}
    every = list(zip(terms, shapes, strict=True))
    for term, shape in every:
        if len({*zip(term, shape, strict=True)}) > len({*term}):
            return None
        for label, size in zip(term, shape, strict=True):
            found[label] = size if found.get(label, 1) == 1 else found[label]
    for term, shape in every:
        if any(size not in (1, found[label]) for label, size in zip(term, shape, strict=True)):
            return None
    return found


def _summed(s: Spelling, x: str, shape: tuple[int, ...], kept: int) -> str:
    """Sums over the last axes."""
    axes = tuple(range(kept, len(shape)))
    if s.opset < _AXES_ARE_INPUT:
        return s.add("ReduceSum", [x], shape[:kept], keepdims=0, axes=axes)
    named = s.constant("axes", np.array(axes, np.int64))
    return s.add("ReduceSum", [x, named], shape[:kept], keepdims=0)


def _terms(text: str, ranks: list[int]) -> tuple[list[str], str] | None:
    """Indices of the operands and of the result, an ellipsis written out."""
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        return None
    free = [letter for letter in ascii_letters if letter not in text]
    more = max((r - len(t) + 3 for t, r in zip(terms, ranks, strict=True) if "..." in t), default=0)
    if more > len(free):
        return None
    rest = "".join(free[:more])
    written = []
    for term, rank in zip(terms, ranks, strict=True):
        own = rank - len(term) + 3
        written.append(term.replace("...", rest[len(rest) - own :]) if "..." in term else term)
        if len(written[-1]) != rank:
            return None
    if not arrow:
        joined = "".join(written)
        result = rest + "".join(
            sorted(c for c in set(joined) if joined.count(c) == 1 and c not in rest)
        )
    return written, result.replace("...", rest)


def _laid_out(
    s: Spelling, name: str, term: str, shape: tuple[int, ...], labels: str
) -> tuple[str, tuple[int, ...]]:
    """An operand with an axis per index, of one element where it does not have it; its shape."""
    own = "".join(dict.fromkeys(term))
    kept = tuple(shape[term.index(label)] for label in own)
    if len(own) < len(term):
        flat = np.arange(prod(shape), dtype=np.int64).reshape(shape)
        grid = np.indices(kept, sparse=True)
        places = flat[tuple(grid[own.index(label)] for label in term)]
        chosen = s.constant("places", np.ascontiguousarray(places.ravel()))
        name = s.shaped(name, (prod(shape),))
        name = s.shaped(s.add("Gather", [name, chosen], (prod(kept),), axis=0), kept)
    order = tuple(sorted(range(len(own)), key=lambda at: labels.index(own[at])))
    if order != tuple(range(len(own))):
        name = s.turned(name, kept, order)
    full = tuple(kept[own.index(label)] if label in own else 1 for label in labels)
    return s.shaped(name, full), full
