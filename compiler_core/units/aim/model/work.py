"""What a segment computes, operator by operator: products in the banks, and what the CPU does
between them. Programs and the reference differ in who multiplies alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from compiler_core.files.plain import ONLY_WHERE_OTHER
from compiler_core.units.aim.operators.cell import CellShape
from compiler_core.units.aim.operators.recurrent import CELLS, part_workloads, step_order
from compiler_core.units.aim.simulate.numbers import added as sums
from compiler_core.units.aim.simulate.numbers import to_bits, to_float

Floats = npt.NDArray[np.float32]
Multiply = Callable[[int, Floats], Floats]
"""Number of a product of the segment and ``float32[vectors, 1, inputs]`` to
``float32[vectors, 1, outputs]``."""


@dataclass(frozen=True)
class DenseWork:
    """A dense layer.

    Attributes:
        name: Of the graph node.
        input, output: Tensors of the model.
        input_shape, output_shape: Of one run.
        product: Its number in the segment.
        added: Tensor that is added to the results, rounded to bfloat16 as its sums are; empty for
            none.
        sum: Name of the graph node that adds it.
        rectifies: Whether sums below zero become zero.
    """

    name: str
    input: str
    output: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    product: int
    added: str = field(default="", metadata={ONLY_WHERE_OTHER: True})
    sum: str = field(default="", metadata={ONLY_WHERE_OTHER: True})
    rectifies: bool = field(default=False, metadata={ONLY_WHERE_OTHER: True})

    @property
    def products(self) -> tuple[int, ...]:
        """Numbers of its products."""
        return (self.product,)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the graph nodes that it computes."""
        return (self.name, self.sum) if self.sum else (self.name,)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads."""
        return tuple(dict.fromkeys(name for name in (self.input, self.added) if name))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensors that it writes."""
        return (self.output,)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of its tensors, in one run."""
        found = {self.input: self.input_shape, self.output: self.output_shape}
        return {self.added: self.output_shape, **found} if self.added else found

    def launched(self) -> Iterator[int]:
        """The product of each launch, in order."""
        yield self.product

    def run(self, held: Mapping[str, Floats], multiply: Multiply) -> dict[str, Floats]:
        """Its outputs."""
        vectors = np.ascontiguousarray(held[self.input], np.float32)
        found = multiply(self.product, vectors.reshape(-1, 1, self.input_shape[-1]))
        found = found.reshape(self.output_shape)
        if self.added:
            other = np.asarray(held[self.added], np.float32).reshape(self.output_shape)
            found = to_float(sums(to_bits(found), to_bits(other)))
            found = np.maximum(found, np.float32(0)) if self.rectifies else found
        return {self.output: found}


@dataclass(frozen=True)
class CellWork:
    """A recurrent layer: a launch for each product of each step. The CPU multiplies what gates let
    through and keeps the state, in float32 and with the functions of the unit.

    Attributes:
        name: Of the graph node.
        input: Sequence, ``[steps, batch, features]``.
        state, cell: What both begin as, ``[directions, batch, size]``; empty for zero.
        sequence, last, last_cell: What it writes: all states ``[steps, directions, batch, size]``,
            the last ones, and those of the cell; empty where nobody wants them.
        shape: But for its numbers.
        products: Numbers in the segment, direction by direction.
    """

    name: str
    input: str
    state: str
    cell: str
    sequence: str
    last: str
    last_cell: str
    shape: CellShape
    products: tuple[int, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the graph nodes that it computes."""
        return (self.name,)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads."""
        return tuple(name for name in (self.input, self.state, self.cell) if name)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensors that it writes."""
        return tuple(name for name in (self.sequence, self.last, self.last_cell) if name)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of its tensors, in one run."""
        s = self.shape
        states = (len(s.backward), s.batch, s.size)
        found = {self.input: (s.steps, s.batch, s.inputs), self.sequence: (s.steps, *states)}
        found |= dict.fromkeys((self.state, self.cell, self.last, self.last_cell), states)
        found.pop("", None)
        return found

    def launched(self) -> Iterator[int]:
        """The product of each launch, in order."""
        each = len(part_workloads(self.shape))
        for direction, number in step_order(self.shape):
            yield self.products[direction * each + number]

    def run(self, held: Mapping[str, Floats], multiply: Multiply) -> dict[str, Floats]:
        """Its outputs."""
        s, shapes = self.shape, self.shapes
        states = (len(s.backward), s.batch, s.size)
        x = np.ascontiguousarray(held[self.input], np.float32).reshape(shapes[self.input])
        begin, cells = (
            np.array(held[name], np.float32).reshape(states)
            if name
            else np.zeros(states, np.float32)
            for name in (self.state, self.cell)
        )
        each = len(part_workloads(s))
        every = np.zeros((s.steps, *states), np.float32)
        for direction, backward in enumerate(s.backward):
            own = self.products[direction * each : (direction + 1) * each]
            state, cell = begin[direction], cells[direction]
            steps = range(s.steps)
            for step in reversed(steps) if backward else steps:
                state, cell = self._step(x[step], state, cell, own, multiply)
                every[step, direction] = state
            begin[direction], cells[direction] = state, cell
        found = {self.sequence: every, self.last: begin, self.last_cell: cells}
        found.pop("", None)
        return found

    def _step(
        self, x: Floats, state: Floats, cell: Floats, own: tuple[int, ...], multiply: Multiply
    ) -> tuple[Floats, Floats]:
        """State and cell after a step, ``float32[batch, size]``."""

        def product(number: int, *parts: Floats) -> Floats:
            return multiply(own[number], np.concatenate(parts, axis=1)[:, None])[:, 0]

        return CELLS[self.shape.operator].step(self.shape, x, state, cell, product)


Work = DenseWork | CellWork
