"""Programs of products of matrices in the banks with vectors.

General registers hold the vectors, what accumulators begin with and end as, and rows of matrices
that are written before. Where these are more than there are, the work is cut into launches, between
which the host changes registers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from compiler_core.errors import InfeasibleError
from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.lower.rows import RowWrites, row_writes
from compiler_core.units.aim.machine.machine import COLUMNS, AimMachine, mask_of
from compiler_core.units.aim.program.instructions import (
    FUNCTION,
    Opcode,
    Program,
    program_of,
    record,
)
from compiler_core.units.aim.schedule.legality import registers_needed, violations
from compiler_core.units.aim.schedule.schedule import Order, ProductSchedule, Side, Start
from compiler_core.units.aim.schedule.workload import MatrixVector

Rows = list[tuple[int, ...]]
NOTHING = range(0)


@dataclass(frozen=True)
class Extent:
    """What one launch computes: some vectors, one or all rounds of heads, some passes."""

    vectors: range
    rounds: range
    passes: range


@dataclass(frozen=True)
class MatrixVectorLaunch:
    """One program of a product.

    Attributes:
        layout: Of the product.
        extent: What it computes.
        writes: Rows that are written before.
        written: Which of these writes it does.
    """

    layout: BankLayout
    extent: Extent
    writes: RowWrites | None = None
    written: range = NOTHING

    @property
    def input_registers(self) -> int:
        """Blocks of vectors, which lie in the first registers."""
        layout, extent = self.layout, self.extent
        heads = len(extent.rounds) * layout.schedule.heads
        return len(extent.vectors) * heads * layout.input_blocks

    @property
    def zero_registers(self) -> int:
        """Blocks of zero after them, where there is no bias."""
        if self.layout.workload.bias or not self.extent.vectors:
            return 0
        return self.layout.mapping.used

    @property
    def first_result(self) -> int:
        """First register of what accumulators begin with and end as."""
        return self.input_registers + self.zero_registers

    @property
    def result_registers(self) -> int:
        """Blocks of results."""
        extent = self.extent
        count = len(extent.vectors) * len(extent.rounds) * len(extent.passes)
        return count * self.layout.mapping.used

    @property
    def first_written(self) -> int:
        """First register of what is written to the banks."""
        return self.first_result + self.result_registers

    @property
    def registers(self) -> int:
        """Blocks in use."""
        return self.first_written + len(self.written)

    def result(self, vector: int, round_: int, of_pass: int) -> int:
        """First register of the results of a pass."""
        extent = self.extent
        place = extent.vectors.index(vector) * len(extent.rounds) + extent.rounds.index(round_)
        place = place * len(extent.passes) + extent.passes.index(of_pass)
        return self.first_result + place * self.layout.mapping.used

    def input(self, vector: int, head: int, group: int) -> int:
        """First register of the inputs of a group, for a head of all rounds."""
        extent, s = self.extent, self.layout.schedule
        heads = len(extent.rounds) * s.heads
        place = extent.vectors.index(vector) * heads + head - extent.rounds.start * s.heads
        return place * self.layout.input_blocks + group * self.layout.mapping.width

    @cached_property
    def program(self) -> Program:
        """The program."""
        return program_of(_Emitter(self).rows())


def launches(
    layout: BankLayout, machine: AimMachine, places: Sequence[int] | None = None
) -> tuple[MatrixVectorLaunch, ...]:
    """The programs of a product, as few as registers allow.

    Args:
        layout: Of the product.
        machine: The unit.
        places: Rows that are written before; see
            :func:`~compiler_core.units.aim.lower.rows.row_writes`.

    Raises:
        InfeasibleError: The schedule is not legal.
    """
    found = violations(layout.workload, layout.schedule, machine)
    if found:
        raise InfeasibleError(f"schedule for {layout.workload.operator}: {found[0]}")
    writes = row_writes(layout, places)
    if writes is None:
        return _products(layout, machine)
    every = range(len(writes))
    first, *rest = _products(layout, machine)
    joined = replace(first, writes=writes, written=every)
    if joined.registers <= machine.registers:
        return (joined, *rest)
    before = (
        MatrixVectorLaunch(layout, Extent(NOTHING, NOTHING, NOTHING), writes, part)
        for part in _cut(len(writes), machine.registers)
    )
    return (*before, first, *rest)


def _products(layout: BankLayout, machine: AimMachine) -> tuple[MatrixVectorLaunch, ...]:
    m, w, s = layout.mapping, layout.workload, layout.schedule
    whole = Extent(range(w.vectors), range(m.rounds), range(m.passes))
    if _fits(MatrixVectorLaunch(layout, whole), machine):
        return (MatrixVectorLaunch(layout, whole),)
    inputs = layout.input_blocks * s.heads
    least = int(registers_needed(w, m.width, s.groups, s.heads, m.used))
    spare = machine.registers - least
    vectors = min(w.vectors, 1 + spare // (inputs + m.used))
    left = machine.registers - vectors * inputs - (0 if w.bias else m.used)
    passes = min(m.passes, left // (vectors * m.used))
    return tuple(
        MatrixVectorLaunch(layout, Extent(v, range(r, r + 1), p))
        for v in _cut(w.vectors, vectors)
        for r in range(m.rounds)
        for p in _cut(m.passes, passes)
    )


def _fits(launch: MatrixVectorLaunch, machine: AimMachine) -> bool:
    return launch.registers <= machine.registers


def _cut(total: int, most: int) -> list[range]:
    """Even parts of at most ``most``."""
    parts = -(-total // most)
    edges = [total * number // parts for number in range(parts + 1)]
    return [range(a, b) for a, b in pairwise(edges)]


class _Emitter:
    """Writes the instructions of a launch."""

    def __init__(self, launch: MatrixVectorLaunch) -> None:
        self._launch, self._layout = launch, launch.layout
        self._s: ProductSchedule = launch.layout.schedule
        self._w: MatrixVector = launch.layout.workload
        self._m = launch.layout.mapping
        layout = launch.layout
        self._every = mask_of(
            list(range(layout.first_channel, layout.first_channel + self._m.used))
        )
        self._function = 0
        self._owed: Rows = []
        """Sums of groups that can be added while the channels multiply."""

    def rows(self) -> Rows:
        found: Rows = []
        launch = self._launch
        extent = launch.extent
        if launch.writes is not None:
            found += launch.writes.records(launch.written, launch.first_written)
        if self._s.order is Order.ROW:
            for round_ in extent.rounds:
                found += self._by_row(round_)
        else:
            for vector in extent.vectors:
                for round_ in extent.rounds:
                    found += self._by_vector(vector, round_)
        return [*found, *self._owed, record(Opcode.EOC)]

    def _by_vector(self, vector: int, round_: int) -> Rows:
        m, passes = self._m, self._launch.extent.passes
        found: Rows = []
        rewriting = self._s.order in (Order.OUTPUT, Order.SERPENTINE) and m.chunks > 1
        if not rewriting:
            for chunk in range(m.chunks):
                fill = self._fill(vector, round_, chunk, self._copies(chunk, passes))
                for of_pass in passes:
                    found += self._sum(vector, round_, of_pass, [chunk], [fill])
                    fill = []
            return found
        held: int | None = None
        for number, of_pass in enumerate(passes):
            chunks = list(range(m.chunks))
            if self._s.order is Order.SERPENTINE and number % 2:
                chunks.reverse()
            fills = []
            for chunk in chunks:
                _, column = self._layout.row_of(round_, chunk, of_pass)
                place = column // m.last if chunk == m.chunks - 1 else 0
                kept = chunk == held
                fills.append(
                    [] if kept else self._fill(vector, round_, chunk, range(place, place + 1))
                )
                held = chunk
            if self._s.order is Order.OUTPUT:
                held = None
            found += self._sum(vector, round_, of_pass, chunks, fills)
        return found

    def _by_row(self, round_: int) -> Rows:
        m, found = self._m, []
        for chunk in range(m.chunks):
            together = m.copies if chunk == m.chunks - 1 else 1
            for passes in self._together(together):
                for vector in self._launch.extent.vectors:
                    fill = self._fill(vector, round_, chunk, self._copies(chunk, passes))
                    for of_pass in passes:
                        found += self._sum(vector, round_, of_pass, [chunk], [fill])
                        fill = []
        return found

    def _together(self, count: int) -> Iterator[range]:
        """Passes that lie in the same row."""
        passes, start = self._launch.extent.passes, self._launch.extent.passes.start
        while start < passes.stop:
            stop = min(passes.stop, (start // count + 1) * count)
            yield range(start, stop)
            start = stop

    def _copies(self, chunk: int, passes: range) -> range:
        """Which copies of the last chunk passes read."""
        m = self._m
        if chunk < m.chunks - 1:
            return range(1)
        if len(passes) >= m.copies:
            return range(m.copies)
        places = [of_pass % m.copies for of_pass in passes]
        return range(min(places), max(places) + 1)

    def _fill(self, vector: int, round_: int, chunk: int, copies: range) -> Rows:
        """Writes a chunk to the buffers, piece by piece, each to one group after another."""
        m, s, layout = self._m, self._s, self._layout
        size = m.last if chunk == m.chunks - 1 else COLUMNS
        found: Rows = []
        heads = range(round_ * s.heads, min(self._w.heads, (round_ + 1) * s.heads))
        for copy in copies:
            for start in range(0, size, s.buffer_cut):
                for place, head in enumerate(heads):
                    for group in range(s.groups):
                        first = self._launch.input(vector, head, group)
                        channels = [layout.channel(place, group, c) for c in range(s.channels)]
                        found.append(
                            record(
                                Opcode.WR_GB,
                                n=min(s.buffer_cut, size - start),
                                gpr=first + chunk * COLUMNS + start,
                                mask=mask_of(channels),
                                col=copy * m.last * (chunk == m.chunks - 1) + start,
                            )
                        )
        return found

    def _sum(
        self, vector: int, round_: int, of_pass: int, chunks: list[int], fills: list[Rows]
    ) -> Rows:
        """One group of accumulators: biases in, products, sums out."""
        m, launch = self._m, self._launch
        result = launch.result(vector, round_, of_pass)
        fresh = (len(chunks) == 1 and chunks[0] == 0) or len(chunks) > 1
        source = result if self._w.bias or not fresh else launch.input_registers
        bias = record(Opcode.WR_BIAS, gpr=source, mask=self._mask(round_))
        first = [bias, *fills[0]] if self._s.start is Start.BIAS else [*fills[0], bias]
        found: Rows = list(first)
        for number, chunk in enumerate(chunks):
            if number:
                found += fills[number]
            found += self._products(round_, of_pass, chunk)
        found += self._owed
        self._owed = []
        last = len(chunks) > 1 or chunks[0] == m.chunks - 1
        found += self._out(round_, of_pass, result, last)
        return found

    def _products(self, round_: int, of_pass: int, chunk: int) -> Rows:
        size = self._m.last if chunk == self._m.chunks - 1 else COLUMNS
        row, column = self._layout.row_of(round_, chunk, of_pass)
        cut, mask = self._s.product_cut, self._mask(round_)
        return [
            record(Opcode.MAC_ABK, n=min(cut, size - start), mask=mask, row=row, col=column + start)
            for start in range(0, size, cut)
        ]

    def _mask(self, round_: int) -> int:
        """Channels of the heads of a round."""
        s, layout = self._s, self._layout
        heads = min(s.heads, self._w.heads - round_ * s.heads)
        if heads == s.heads:
            return self._every
        used = heads * s.groups * s.channels
        return mask_of(list(range(layout.first_channel, layout.first_channel + used)))

    def _out(self, round_: int, of_pass: int, result: int, last: bool) -> Rows:
        mask, s = self._mask(round_), self._s
        if last and s.activation is Side.UNIT and self._w.activations:
            part = of_pass // self._m.part_passes
            function = int(self._w.activations[part].function)
            found = [record(Opcode.AF, mask=mask), record(Opcode.RD_AF, gpr=result, mask=mask)]
            if function != self._function:
                found.insert(0, record(Opcode.W_CFR, gpr=FUNCTION, value=function))
                self._function = function
            return found
        if last and s.reduction is Side.UNIT:
            heads = min(s.heads, self._w.heads - round_ * s.heads)
            for place in range(heads):
                first = result + place * s.groups * s.channels
                self._owed += [
                    record(Opcode.EWADD, n=s.channels, gpr=first, gpr2=first + group * s.channels)
                    for group in range(1, s.groups)
                ]
        return [record(Opcode.RD_MAC, gpr=result, mask=mask)]
