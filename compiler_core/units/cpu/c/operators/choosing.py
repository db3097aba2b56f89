"""Operators of whole numbers: places of largest values, what is looked up at places, comparisons.

Whole numbers are ``int32``, truths ``int8`` of 0 and 1. Places outside of what they point into are
moved to its nearest end, so that no input reads or writes other memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.network import Array

COMPARISONS: dict[str, Callable[[Array, Array], Array]] = {
    "less": np.less,
    "less_equal": np.less_equal,
    "equal": np.equal,
    "both": np.logical_and,
    "either": np.logical_or,
    "one": np.logical_xor,
}
"""Of two elements; the last three of truths."""


def within(places: Array, count: int) -> npt.NDArray[np.int64]:
    """Places ``0 … count - 1``: negative ones count from the end, others go to the nearest end."""
    found = places.astype(np.int64)
    return np.asarray(np.clip(np.where(found < 0, found + count, found), 0, count - 1), np.int64)


@dataclass(frozen=True, eq=False)
class LargestPlaces:
    """Places of the ``number`` largest elements of the middle axis of ``[outer, count, inner]``.

    The first of equal ones comes first, unless ``last``.

    Attributes:
        least: The smallest instead.
        last: The last of equal ones; with ``number`` 1.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int, int]
    number: int
    least: bool = False
    last: bool = False

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        x = inputs[0].reshape(self.sizes)
        count = self.sizes[1]
        found: list[npt.NDArray[np.int32]] = []
        most, before = x[:, 0], np.zeros_like(x[:, 0], np.int32)
        for _ in range(self.number):
            limit, place = most, np.full_like(before, -1)
            for index in range(count):
                seen = x[:, index]
                free = np.ones(seen.shape, bool)
                if found:
                    free = self._above(limit, seen) | ((seen == limit) & (index > before))
                over = self._above(seen, most) | ((seen == most) & self.last)
                better = free & ((place < 0) | over)
                most = np.where(better, seen, most)
                place = np.where(better, np.int32(index), place)
            before = np.maximum(place, 0)
            found.append(before)
        return np.stack(found, axis=1)

    def _above(self, a: Array, b: Array) -> npt.NDArray[np.bool_]:
        return np.asarray(a < b if self.least else a > b, np.bool_)


@dataclass(frozen=True, eq=False)
class Pick:
    """Elements of ``[outer, count, inner]`` at places ``[outer, number, inner]``."""

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int, int]
    number: int

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        outer, count, inner = self.sizes
        places = within(inputs[1], count).reshape(outer, self.number, inner)
        return np.take_along_axis(inputs[0].reshape(self.sizes), places, axis=1)


@dataclass(frozen=True, eq=False)
class Lookup:
    """Rows of the middle axis of ``[outer, count, inner]`` at places that are computed."""

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int, int]
    number: int

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        places = within(inputs[1].ravel(), self.sizes[1])
        return inputs[0].reshape(self.sizes)[:, places]


SCATTERED = ("none", "add", "mul", "min", "max")
"""What stands at a place where another element comes: that one, or what both become."""


@dataclass(frozen=True, eq=False)
class ScatterRows:
    """Rows ``[count, width]`` with others, ``[number, width]``, put in at places, one after the
    other.

    Attributes:
        way: Of :data:`SCATTERED`.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int]
    number: int
    way: str

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        rows = inputs[0].reshape(self.sizes).copy()
        places = within(inputs[1].ravel(), self.sizes[0])
        with np.errstate(all="ignore"):
            for place, row in zip(places, inputs[2].reshape(self.number, -1), strict=True):
                rows[place] = _joined(self.way, rows[place], row)
        return rows


def _joined(way: str, a: Array, b: Array) -> Array:
    if way in ("add", "mul"):
        return np.asarray(a + b if way == "add" else a * b)
    if way == "none":
        return b
    return np.where(b < a if way == "min" else b > a, b, a)


@dataclass(frozen=True, eq=False)
class OneHot:
    """A row of ``depth`` per place: ``on`` there, ``off`` elsewhere and for places outside."""

    name: str
    inputs: tuple[str, ...]
    output: str
    depth: int
    off: float
    on: float

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        places = inputs[0].ravel().astype(np.int64)
        places = np.where(places < 0, places + self.depth, places)
        return np.where(places[:, None] == np.arange(self.depth), self.on, self.off)


@dataclass(frozen=True, eq=False)
class ElementComparison:
    """A truth of two elements that broadcast, by its name in :data:`COMPARISONS`."""

    name: str
    inputs: tuple[str, ...]
    output: str
    function: str

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return COMPARISONS[self.function](inputs[0], inputs[1])


@dataclass(frozen=True, eq=False)
class Select:
    """Elements of the second input where the first is true, else of the third; of one size."""

    name: str
    inputs: tuple[str, ...]
    output: str

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return np.where(inputs[0] != 0, inputs[1], inputs[2])


@dataclass(frozen=True, eq=False)
class Whole:
    """Whole numbers: of real ones without their fraction, saturated (NaN is 0), or of 8 bits."""

    name: str
    inputs: tuple[str, ...]
    output: str
    zero_point: int = 0

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        if inputs[0].dtype != np.float32:
            return inputs[0].astype(np.int32) - np.int32(self.zero_point)
        x = np.trunc(np.nan_to_num(inputs[0], nan=0.0)).astype(np.float64)
        return np.asarray(np.clip(x, -(1 << 31), (1 << 31) - 1), np.int32)


@dataclass(frozen=True, eq=False)
class Running:
    """Sums or products of the elements so far along the middle axis of ``[outer, count, inner]``,
    in float32.

    Attributes:
        exclusive: Without the element itself.
        reverse: From the last to the first.
        product: Products; else sums.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int, int]
    exclusive: bool
    reverse: bool
    product: bool = False

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        x = inputs[0].reshape(self.sizes)
        found = np.empty_like(x)
        total = (np.ones_like if self.product else np.zeros_like)(x[:, 0])
        order = range(self.sizes[1])
        with np.errstate(all="ignore"):
            for index in reversed(order) if self.reverse else order:
                after = total * x[:, index] if self.product else total + x[:, index]
                found[:, index] = total if self.exclusive else after
                total = after
        return found
