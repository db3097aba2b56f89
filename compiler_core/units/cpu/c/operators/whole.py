"""Operators that compute with whole numbers of 32 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler_core.units.cpu.c.arithmetic.whole import computed
from compiler_core.units.cpu.c.network import Array


@dataclass(frozen=True, eq=False)
class WholePair:
    """A function of two elements that broadcast, by its name in
    :data:`~…arithmetic.whole.FUNCTIONS`."""

    name: str
    inputs: tuple[str, ...]
    output: str
    function: str

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return computed(self.function, inputs[0], inputs[1])


@dataclass(frozen=True, eq=False)
class Wrap:
    """The lowest 8 or 16 bits of whole numbers: what leaves the range comes in at its other end.

    Attributes:
        bits: How many.
        low: The least number that there is.
        base: How it is stored.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    bits: int
    low: int
    base: int

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        mask = (1 << self.bits) - 1
        return ((inputs[0].astype(np.int64) - self.low) & mask) + self.base


@dataclass(frozen=True, eq=False)
class WholeFold:
    """A function of all elements along the middle axis of ``[outer, count, inner]``: the last
    result, or every one.

    Attributes:
        function: ``add``, ``mul``, ``min`` or ``max``.
        running: Every result is kept.
        exclusive: Without the element itself; of sums and products that run.
        reverse: From the last to the first.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int, int]
    function: str
    running: bool = False
    exclusive: bool = False
    reverse: bool = False

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        x = inputs[0].reshape(self.sizes)
        x = x[:, ::-1] if self.reverse else x
        found = [x[:, 0]]
        for index in range(1, self.sizes[1]):
            found.append(computed(self.function, found[-1], x[:, index]))
        if not self.running:
            return np.asarray(found[-1])
        if self.exclusive:
            none = np.ones_like if self.function == "mul" else np.zeros_like
            found = [none(found[0]), *found[:-1]]
        every = np.stack(found, axis=1)
        return every[:, ::-1] if self.reverse else every
