"""Operators that move elements of any type: views, copies of blocks, resizing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.network import Array

MOST_AXES = 6
"""Axes of a block that is copied."""


@dataclass(frozen=True, eq=False)
class View:
    """The same memory in another shape: no code."""

    name: str
    inputs: tuple[str, ...]
    output: str

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Part(View):
    """Elements of its input that follow each other, where they lie: no code.

    Attributes:
        start: The first one.
        size: How many.
    """

    start: int
    size: int

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return inputs[0].ravel()[self.start : self.start + self.size]


@dataclass(frozen=True, eq=False)
class Joined(View):
    """Its inputs, one behind another in memory, which they are written to: no code."""

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return np.concatenate([array.ravel() for array in inputs])


@dataclass(frozen=True)
class Block:
    """Elements of one input that go to places of the output.

    Attributes:
        source: Position among the inputs.
        start, target: First element read, first element written.
        sizes: Per axis, at most :data:`MOST_AXES`.
        steps, target_steps: Elements from one index of an axis to the next, in the input and in
            the output.
    """

    source: int
    start: int
    target: int
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    target_steps: tuple[int, ...]

    def simplified(self) -> Block:
        """The same block with as few axes as describe it."""
        axes = [
            list(axis)
            for axis in zip(self.sizes, self.steps, self.target_steps, strict=True)
            if axis[0] != 1
        ]
        joined: list[list[int]] = []
        for size, step, target in axes:
            last = joined[-1] if joined else None
            if last and last[1] == size * step and last[2] == size * target:
                last[:] = [last[0] * size, step, target]
            else:
                joined.append([size, step, target])
        sizes, steps, targets = zip(*joined, strict=True) if joined else ((), (), ())
        return Block(self.source, self.start, self.target, sizes, steps, targets)

    def places(self, start: int, steps: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Positions of all elements, in order."""
        found = np.array([start], np.int64)
        for size, step in zip(self.sizes, steps, strict=True):
            found = (found[:, None] + np.arange(size, dtype=np.int64) * step).ravel()
        return found


@dataclass(frozen=True, eq=False)
class Copy:
    """Blocks copied into an output that is filled before: pads, slices, transposes, joins.

    Attributes:
        size: Elements of the output.
        blocks: In order.
        fill: What the output holds where no block writes; ``None`` where they write everything.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    size: int
    blocks: tuple[Block, ...]
    fill: float | None

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        found = np.full(self.size, self.fill or 0).astype(inputs[0].dtype)
        for block in self.blocks:
            read = inputs[block.source].ravel()[block.places(block.start, block.steps)]
            found[block.places(block.target, block.target_steps)] = read
        return found


def row_steps(shape: Sequence[int]) -> tuple[int, ...]:
    """Elements from one index of each axis to the next, in row order."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


@dataclass(frozen=True, eq=False)
class Take:
    """Chosen indices of the middle axis of ``[outer, count, inner]``."""

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int, int]
    indices: npt.NDArray[np.int32]

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return inputs[0].reshape(self.sizes)[:, self.indices]


LINEAR_BITS = 11
"""Fractional bits of a weight of integer interpolation."""


@dataclass(frozen=True, eq=False)
class Interpolate:
    """Linear interpolation along the middle axis of ``[outer, count, inner]``.

    Attributes:
        low, high: Per output index, the two input indices.
        weights: Per output index, the share of ``high``: ``int32`` of :data:`LINEAR_BITS` bits for
            integers, ``float32`` for float.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int, int]
    low: npt.NDArray[np.int32]
    high: npt.NDArray[np.int32]
    weights: Array

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        x = inputs[0].reshape(self.sizes)
        first, second, share = x[:, self.low], x[:, self.high], self.weights[:, None]
        if x.dtype == np.float32:
            return np.asarray(first + (second - first) * share, np.float32)
        a, b = first.astype(np.int64), second.astype(np.int64)
        whole = (a << LINEAR_BITS) + (b - a) * share
        return np.asarray((whole + (1 << (LINEAR_BITS - 1))) >> LINEAR_BITS)


@dataclass(frozen=True, eq=False)
class Resample:
    """Weighted sums of chosen indices of the middle axis of ``[outer, count, inner]``.

    Attributes:
        indices: ``int32[chosen, taps]``.
        weights: Their shares: ``int32`` of :data:`LINEAR_BITS` bits, which add up to 1, for
            integers, which saturate; ``float32`` for float, summed from the first to the last.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, int, int]
    indices: npt.NDArray[np.int32]
    weights: Array

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        x = inputs[0].reshape(self.sizes)
        if x.dtype == np.float32:
            total: Array = np.zeros((self.sizes[0], len(self.indices), self.sizes[2]), np.float32)
            for tap in range(self.indices.shape[1]):
                total = total + x[:, self.indices[:, tap]] * self.weights[:, tap, None]
            return total
        seen = x[:, self.indices].astype(np.int64) * self.weights[..., None]
        whole = (seen.sum(axis=2) + (1 << (LINEAR_BITS - 1))) >> LINEAR_BITS
        ends = np.iinfo(x.dtype)
        return np.asarray(np.clip(whole, ends.min, ends.max))
