"""Key-value caches as numbers: what a product with one computes, and how new rows come in.

Keys, transposed or as they are, and values are multiplied per head. Which nodes of a model are such
a product is found in :mod:`compiler_core.units.aim.operators.cached_products`.
"""

from __future__ import annotations

from enum import Enum
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.units.aim.schedule.workload import MatrixVector
from compiler_core.units.aim.simulate.numbers import Bits

Sizes = tuple[int, ...]

MOST_TOKENS: Final = 64
"""Rows of a product up to which a matrix in the banks can pay."""
_SLIDING_INPUTS: Final = 1024
"""Of keys that slide without being moved: each is summed in one chunk, wherever it lies."""


class Update(Enum):
    """How new rows come into a cache."""

    ELEMENTS = "elements"
    ND = "nd"
    WINDOW = "window"


def cache_workload(
    sizes: Sizes, cache: Sizes, rows: int, axis: int, order: Sizes, update: Update
) -> MatrixVector:
    """What a product with a cache computes.

    Args:
        sizes: Of the rows that are multiplied, ``[…, rows, inputs]``.
        cache: Of the cache.
        rows: That it gains in a run, along ``axis``.
        order: Of its axes as it is multiplied, ``[…, inputs, outputs]``.
        update: How they come in.
    """
    turned = [cache[at] for at in order]
    inputs, outputs = turned[-2:]
    keys = order.index(axis) == len(order) - 1
    if update is Update.WINDOW and not (keys and inputs <= _SLIDING_INPUTS):
        rows = cache[axis]  # everything moves
    return MatrixVector(
        outputs,
        inputs,
        vectors=sizes[-2] * queries_per_head(sizes, tuple(turned)),
        heads=prod(turned[:-2]),
        written_outputs=rows if keys else 0,
        written_inputs=0 if keys else rows,
    )


def updated(
    update: Update, axis: int, past: Bits, new: Bits, places: npt.NDArray[Any] | None, name: str
) -> Bits:
    """A cache with new rows.

    Args:
        update, axis: Of the product.
        past, new, places: As its nodes read them.
        name: Of the cache, for messages.

    Raises:
        InputError: A place is none of the cache.
    """
    if update is Update.WINDOW:
        kept = np.take(past, range(new.shape[axis], past.shape[axis]), axis)
        return np.concatenate([kept, new], axis)
    assert places is not None
    sizes = past.shape[axis] if update is Update.ELEMENTS else past.shape[: places.shape[-1]]
    bounds = np.asarray(sizes, np.int64)
    if np.any(places < -bounds) or np.any(places >= bounds):
        raise InputError(f"cache {name!r}: {places.max()} is none of its places, {sizes}")
    found = past.copy()
    at = np.where(places < 0, places + bounds, places)
    if update is Update.ELEMENTS:
        np.put_along_axis(found, at, new, axis)
    else:
        found[tuple(np.moveaxis(at, -1, 0))] = new
    return found


def misfit(
    update: Update,
    axis: int,
    order: Sizes,
    sizes: Sizes,
    cache: Sizes,
    new: Sizes,
    places: Sizes,
) -> str | None:
    """Why sizes are none of a product with a cache; ``None`` where they are.

    Args:
        update, axis, order: As in :class:`CachedProduct`.
        sizes: Of the rows that are multiplied.
        cache, new, places: Of the cache, of its new rows, and of where they go.
    """
    if axis_of(cache, new) != axis:
        return f"rows of shape {new} along axis {axis} of a cache of shape {cache}"
    if sorted(order) != list(range(len(cache))) or not multiplies(sizes, cache, order, axis):
        return f"a cache of shape {cache}, its axes in order {order}, times {sizes}"
    if not places_fit(update, places, cache, new):
        return f"places of shape {places} for rows of shape {new}"
    return None


def axis_of(past: Sizes, new: Sizes) -> int | None:
    """The axis along which new rows are fewer than those of the cache, all else being equal."""
    if not past or len(past) != len(new) or min((*past, *new)) < 1:
        return None
    differing = [at for at, (one, other) in enumerate(zip(past, new, strict=True)) if one != other]
    return differing[0] if len(differing) == 1 and new[differing[0]] < past[differing[0]] else None


def multiplies(sizes: Sizes, cache: Sizes, order: Sizes, axis: int) -> bool:
    """Whether rows and a cache are multiplied head by head, and rows of the cache are outputs or
    inputs of the product."""
    if len(sizes) != len(cache) or len(cache) < 2 or min(sizes) < 1:
        return False
    turned = tuple(cache[at] for at in order)
    vectors = sizes[-2] * queries_per_head(sizes, turned)
    alike = 1 <= vectors <= MOST_TOKENS and sizes[-1] == turned[-2]
    return alike and order.index(axis) >= len(order) - 2


def queries_per_head(sizes: Sizes, turned: Sizes) -> int:
    """How many heads of queries read each head of a cache, those that follow one another; 0 where
    the sizes do not fit.

    Args:
        sizes: Of the rows that are multiplied, ``[…, heads, rows, inputs]``.
        turned: Of the cache as it is multiplied.
    """
    if len(sizes) < 3:
        return 1
    if sizes[:-3] != turned[:-3] or sizes[-3] % turned[-3]:
        return 0
    return sizes[-3] // turned[-3]


def places_fit(kind: Update, places: Sizes, past: Sizes, new: Sizes) -> bool:
    """Whether places of a shape say where rows of another go."""
    if kind is Update.WINDOW:
        return not places
    if kind is Update.ELEMENTS:
        return places == new
    depth = places[-1] if places else 0
    return 1 <= depth <= len(past) and new == (*places[:-1], *past[depth:])
