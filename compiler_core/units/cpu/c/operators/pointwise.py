"""Operators without weights in integers: sums, products, pools, tables, softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.arithmetic.fixed_point import requant
from compiler_core.units.cpu.c.arithmetic.pointwise import (
    Addend,
    SoftmaxFactors,
    add,
    average_pool,
    between_entries,
    max_pool,
    multiply,
    softmax,
)
from compiler_core.units.cpu.c.arithmetic.weighted import Sliding
from compiler_core.units.cpu.c.network import Array, as_image


@dataclass(frozen=True)
class Output:
    """The last step of an operator.

    Attributes:
        multiplier, shift: The factor of the result.
        offset: Zero point of the result, added.
        low, high: The clamp.
    """

    multiplier: int
    shift: int
    offset: int
    low: int
    high: int

    def clamp(self, values: Array) -> Array:
        """Adds the zero point and clamps."""
        return np.asarray(np.clip(values + self.offset, self.low, self.high))


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum, or the difference, of two inputs that broadcast."""

    name: str
    inputs: tuple[str, ...]
    output: str
    addends: tuple[Addend, Addend]
    result: Output
    subtract: bool = False

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        known = self.result
        found = add(
            inputs[0],
            inputs[1],
            self.addends,
            known.multiplier,
            known.shift,
            subtract=self.subtract,
        )
        return known.clamp(found)


@dataclass(frozen=True, eq=False)
class Product:
    """The product of two inputs that broadcast.

    Attributes:
        offsets: Zero points of both inputs, negated.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    offsets: tuple[int, int]
    result: Output

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        known = self.result
        found = multiply(inputs[0], inputs[1], self.offsets, known.multiplier, known.shift)
        return known.clamp(found)


@dataclass(frozen=True, eq=False)
class Pool:
    """The largest or the mean of the positions of a window, ``[N, H, W, C]``."""

    name: str
    inputs: tuple[str, ...]
    output: str
    sliding: Sliding
    mean: bool
    low: int
    high: int

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        pool = average_pool if self.mean else max_pool
        return np.clip(pool(as_image(inputs[0]), self.sliding), self.low, self.high)


@dataclass(frozen=True, eq=False)
class Table:
    """Any function of one element: entry ``i`` is the result of ``i − 128``."""

    name: str
    inputs: tuple[str, ...]
    output: str
    entries: npt.NDArray[np.int8]

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return np.asarray(self.entries[inputs[0].astype(np.int64) + 128])


@dataclass(frozen=True, eq=False)
class WideTable:
    """A function of one element of 16 bits, straight between values that lie 128 integers apart.

    Attributes:
        entries: ``int16[513]``: results of −32768, −32640, … 32768.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    entries: npt.NDArray[np.int16]

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return between_entries(inputs[0], self.entries)


@dataclass(frozen=True, eq=False)
class Rescale:
    """The same real numbers in another type: of 8 or 16 bits.

    Attributes:
        offset: Zero point of the input, negated.
        left: Bits by which the input grows before it is scaled.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    offset: int
    left: int
    result: Output

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        known = self.result
        grown = (inputs[0].astype(np.int64) + self.offset) << self.left
        return known.clamp(requant(grown, known.multiplier, known.shift))


@dataclass(frozen=True, eq=False)
class Softmax:
    """Softmax along the middle axis of ``[outer, count, inner]``, of 8 or 16 bits (``wide``)."""

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int, int]
    factors: SoftmaxFactors
    wide: bool = False

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        rows = np.moveaxis(inputs[0].reshape(self.sizes), 1, 2)
        found = softmax(np.ascontiguousarray(rows), self.factors, wide=self.wide)
        return np.moveaxis(found, 2, 1)
