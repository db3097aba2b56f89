"""What a segment computes, operator by operator: products in the banks, and what the CPU does
between them. Programs and the reference differ in who multiplies alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from compiler_core.files.plain import ONLY_WHERE_OTHER
from compiler_core.units.aim.operators.caches import Update, cache_workload, updated
from compiler_core.units.aim.operators.cell import CellShape
from compiler_core.units.aim.operators.recurrent import CELLS, part_workloads, step_order
from compiler_core.units.aim.schedule.workload import MatrixVector
from compiler_core.units.aim.simulate.numbers import Bits, to_bits, to_float
from compiler_core.units.aim.simulate.numbers import added as sums

Floats = npt.NDArray[np.float32]


class Multiply(Protocol):
    """Computes a product of the segment: ``float32[vectors, heads, inputs]`` to ``float32[vectors,
    heads, outputs]``, with ``uint16[heads, outputs, inputs]`` where the matrix is a tensor. Of
    elements: ``float32[1, 1, elements]`` times ``uint16[1, 1, elements]``."""

    def __call__(self, number: int, vectors: Floats, matrix: Bits | None = None) -> Floats: ...


class _OneProduct:
    """What has one product, launched once."""

    product: int

    @property
    def products(self) -> tuple[int, ...]:
        """Numbers of its products."""
        return (self.product,)

    def launched(self) -> Iterator[int]:
        """The product of each launch, in order."""
        yield self.product


@dataclass(frozen=True)
class DenseWork(_OneProduct):
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


@dataclass(frozen=True)
class CacheWork(_OneProduct):
    """Attention of few tokens over a key-value cache that stays in the banks: the unit writes the
    rows of new tokens and multiplies.

    Attributes:
        name: Of the node that multiplies.
        before: Names of those that update and transpose the cache.
        vectors, past, new, places: Tensors that it reads: rows that are multiplied, the cache as it
            was, rows that it gains, and where they go; the last is empty for a window.
        output, present: That it writes; the second is the cache.
        vectors_shape, cache_shape, new_shape, places_shape: Of one run.
        update: How new rows come in.
        axis: Of the cache along which its rows lie.
        order: Of its axes, as it is multiplied.
        product: Its number in the segment.
    """

    name: str
    before: tuple[str, ...]
    vectors: str
    past: str
    new: str
    places: str
    output: str
    present: str
    vectors_shape: tuple[int, ...]
    cache_shape: tuple[int, ...]
    new_shape: tuple[int, ...]
    places_shape: tuple[int, ...]
    update: Update
    axis: int
    order: tuple[int, ...]
    product: int

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the graph nodes that it computes."""
        return (*self.before, self.name)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads."""
        read = (self.vectors, self.past, self.new, self.places)
        return tuple(dict.fromkeys(name for name in read if name))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensors that it writes."""
        return (self.output, self.present)

    @property
    def workload(self) -> MatrixVector:
        """What it computes."""
        rows = self.new_shape[self.axis]
        return cache_workload(
            self.vectors_shape, self.cache_shape, rows, self.axis, self.order, self.update
        )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of its tensors, in one run."""
        found = {
            self.vectors: self.vectors_shape,
            self.past: self.cache_shape,
            self.new: self.new_shape,
            self.places: self.places_shape,
            self.present: self.cache_shape,
            self.output: (*self.vectors_shape[:-1], self.cache_shape[self.order[-1]]),
        }
        found.pop("", None)
        return found

    def run(self, held: Mapping[str, npt.NDArray[Any]], multiply: Multiply) -> dict[str, Floats]:
        """Its outputs."""
        past = to_bits(held[self.past]).reshape(self.cache_shape)
        new = to_bits(held[self.new]).reshape(self.new_shape)
        places = np.asarray(held[self.places], np.int64) if self.places else None
        if places is not None:
            places = places.reshape(self.places_shape)
        present = updated(self.update, self.axis, past, new, places, self.past)
        turned = present.transpose(self.order)
        matrix = turned.reshape(-1, *turned.shape[-2:]).swapaxes(1, 2)
        # Heads of queries that share a head of the cache are vectors of it.
        vectors = np.asarray(held[self.vectors], np.float32)
        vectors = vectors.reshape(len(matrix), -1, self.vectors_shape[-1])
        found = multiply(self.product, vectors.swapaxes(0, 1), matrix)
        output = np.ascontiguousarray(found.swapaxes(0, 1)).reshape(self.shapes[self.output])
        return {self.output: output, self.present: to_float(present)}


@dataclass(frozen=True)
class ElementWork(_OneProduct):
    """A product of two tensors, element by element.

    Attributes:
        name: Of the graph node.
        left, right, output: Tensors of the model.
        shape: Of all of them, in one run.
        product: Its number in the segment.
    """

    name: str
    left: str
    right: str
    output: str
    shape: tuple[int, ...]
    product: int

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the graph nodes that it computes."""
        return (self.name,)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads."""
        return tuple(dict.fromkeys((self.left, self.right)))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensors that it writes."""
        return (self.output,)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of its tensors, in one run."""
        return dict.fromkeys((self.left, self.right, self.output), self.shape)

    def run(self, held: Mapping[str, Floats], multiply: Multiply) -> dict[str, Floats]:
        """Its output."""
        left, right = (
            np.asarray(held[name], np.float32).reshape(1, 1, -1) for name in (self.left, self.right)
        )
        return {self.output: multiply(self.product, left, to_bits(right)).reshape(self.shape)}


@dataclass(frozen=True)
class ViewWork:
    """A tensor in another shape that leaves the segment so: nothing is computed or moved.

    Attributes:
        name: Of the graph node.
        input, output: Tensors of the model.
        shape: Of the output, in one run.
    """

    name: str
    input: str
    output: str
    shape: tuple[int, ...]
    products: ClassVar[tuple[int, ...]] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the graph nodes that it computes."""
        return (self.name,)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads."""
        return (self.input,)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensors that it writes."""
        return (self.output,)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of its output, in one run."""
        return {self.output: self.shape}

    def launched(self) -> Iterator[int]:
        """The product of each launch: none."""
        return iter(())

    def run(self, held: Mapping[str, Floats], multiply: Multiply) -> dict[str, Floats]:
        """Its output."""
        del multiply
        return {self.output: np.asarray(held[self.input], np.float32).reshape(self.shape)}


Work = DenseWork | CellWork | CacheWork | ElementWork | ViewWork
