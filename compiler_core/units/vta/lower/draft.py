"""A program before it has addresses of micro-ops and tokens, as lowerings make it.

A draft can be moved to other places of the on-chip buffers and be put behind another one, so that
several layers become one program.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.lower.loops import MicroOpTable, pack
from compiler_core.units.vta.lower.tokens import COMPUTE, BareInstruction
from compiler_core.units.vta.machine.isa import GEMM_FIELDS, MEMORY_FIELDS, MemoryType, Opcode

_WORD = (1 << 64) - 1
_BEGIN, _END = GEMM_FIELDS["uop_begin"].low, GEMM_FIELDS["uop_end"].low
_OPCODE = (1 << 3) - 1
_TYPE, _SRAM = MEMORY_FIELDS["memory_type"].low, MEMORY_FIELDS["sram_base"].low
_DRAM = MEMORY_FIELDS["dram_base"].low
_DRAM_MASK = (1 << MEMORY_FIELDS["dram_base"].width) - 1
_GEMM = int(Opcode.GEMM)
_TRANSFERS = (int(Opcode.LOAD), int(Opcode.STORE))
_TYPE_MASK = (1 << MEMORY_FIELDS["memory_type"].width) - 1


class BufferOrigin(NamedTuple):
    """First element of each on-chip buffer that a program uses."""

    inp: int = 0
    wgt: int = 0
    acc: int = 0


class Placed(NamedTuple):
    """A draft with addresses of its micro-ops.

    Attributes:
        steps: Its instructions, those that load micro-ops included.
        tables: The micro-op table of each with its packed base, or None.
        micro_ops: ``uint32[m]``.
    """

    steps: list[BareInstruction]
    tables: list[tuple[MicroOpTable, int] | None]
    micro_ops: npt.NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Draft:
    """Instructions in sequential meaning, and what each has to follow.

    Attributes:
        words: Instruction words without tokens and micro-op ranges.
        modules: The module that runs each.
        needs: Numbers of the last instructions of the module before and after its own that it has
            to follow, or ``NOTHING``.
        table_of: Number of its micro-op table, or ``NOTHING``.
        tables: Micro-op tables with their packed bases, by number.
        marks: Instructions before which micro-ops are loaded, with the first table that is loaded
            there.
        preload: Whether the micro-ops are loaded together where they fit, else each table before
            its first use.
        home: The same program with its arrays elsewhere in DRAM, of which this one was made.
    """

    words: tuple[int, ...]
    modules: tuple[int, ...]
    needs: tuple[tuple[int, int], ...]
    table_of: tuple[int, ...]
    tables: tuple[tuple[MicroOpTable, int], ...]
    marks: tuple[tuple[int, int], ...]
    preload: bool
    home: Draft | None = None

    @cached_property
    def micro_op_count(self) -> int:
        """Micro-ops of all tables, each padded to an even number."""
        return sum(_even(len(table.offsets)) for table, _ in self.tables)

    @property
    def micro_ops(self) -> npt.NDArray[np.uint32]:
        """Of all tables: ``uint32[m]``."""
        return np.array(self._packed()[1], np.uint32)

    @property
    def table_by_instruction(self) -> list[tuple[MicroOpTable, int] | None]:
        """The micro-op table of each instruction with its packed base, or None."""
        return [self.tables[number] if number >= 0 else None for number in self.table_of]

    def resident(self, depth: int) -> bool:
        """Whether a buffer of ``depth`` micro-ops holds them all at once, and is to."""
        return self.preload and self.micro_op_count <= depth

    def moved(self, origin: BufferOrigin) -> Draft:
        """The same program at another place of the on-chip buffers."""
        if origin == BufferOrigin():
            return self
        first = {
            int(MemoryType.INP): origin.inp,
            int(MemoryType.WGT): origin.wgt,
            int(MemoryType.ACC): origin.acc,
            int(MemoryType.OUT): origin.acc,
        }
        by_gemm = pack(origin.acc, origin.inp, origin.wgt)
        by_alu = pack(origin.acc, origin.acc)
        tables: dict[tuple[MicroOpTable, int], int] = {}
        words, table_of, first_new = [], [], []
        for word, number in zip(self.words, self.table_of, strict=True):
            opcode = word & _OPCODE
            if number >= 0:
                table, base = self.tables[number]
                key = table, base + (by_gemm if opcode == _GEMM else by_alu)
                number = tables.setdefault(key, len(tables))
            elif opcode in _TRANSFERS:
                word += first[word >> _TYPE & _TYPE_MASK] << _SRAM
            words.append(word)
            table_of.append(number)
            first_new.append(len(tables))
        marks = tuple((at, first_new[at - 1] if at else 0) for at, _ in self.marks)
        return Draft(
            tuple(words),
            self.modules,
            self.needs,
            tuple(table_of),
            tuple(tables),
            marks,
            self.preload,
        )

    def elsewhere(
        self, region_bytes: int, moves: Sequence[int], bytes_per_type: Sequence[int]
    ) -> Draft:
        """The same program whose arrays lie elsewhere in DRAM.

        Args:
            region_bytes: DRAM is cut into regions of as many bytes, in each of them one array.
            moves: Bytes by which each array lies further on, by region; multiples of its elements.
            bytes_per_type: Bytes of an element, by memory type.
        """
        by_type = [
            (region_bytes // width, [move // width for move in moves]) for width in bytes_per_type
        ]
        words = []
        for word in self.words:
            if word & _OPCODE in _TRANSFERS:
                region, further = by_type[word >> _TYPE & _TYPE_MASK]
                array = (word >> _DRAM & _DRAM_MASK) // region
                word += further[array] << _DRAM
            words.append(word)
        return replace(self, words=tuple(words), home=self.home or self)

    def placed(self, address: int, depth: int, begin: int = 0) -> Placed:
        """Gives the micro-ops their places in DRAM and on chip.

        Args:
            address: DRAM position of the first one, in micro-ops (even).
            depth: Elements of the micro-op buffer.
            begin: First element that a resident draft uses.
        """
        starts, micro_ops = self._packed()
        before: dict[int, tuple[int, int, int]] = {}  # place on chip, position, count
        if self.resident(depth):
            ends = [*starts, len(micro_ops)]
            marks = [(0, 0), *self.marks, (0, len(starts))]
            for (number, first), (_, last) in pairwise(marks):
                low, high = ends[first], ends[last]
                if low < high:
                    before[number] = begin + low, low, high - low
            places = [begin + starts[n] if n >= 0 else 0 for n in self.table_of]
        else:
            places = self._on_demand(starts, depth, before)
        steps: list[BareInstruction] = []
        tables: list[tuple[MicroOpTable, int] | None] = []
        new_number: list[int] = []
        for number, word in enumerate(self.words):
            if number in before:
                place, position, count = before[number]
                load = _memory_word(place, address + position, count)
                steps.append(BareInstruction(load, COMPUTE))
                tables.append(None)
            table = self.table_of[number]
            if table >= 0:
                length = len(self.tables[table][0].offsets)
                word |= places[number] << _BEGIN | (places[number] + length) << _END
            new_number.append(len(steps))
            previous, following = self.needs[number]
            previous = new_number[previous] if previous >= 0 else previous
            following = new_number[following] if following >= 0 else following
            steps.append(BareInstruction(word, self.modules[number], previous, following))
            tables.append(self.tables[table] if table >= 0 else None)
        return Placed(steps, tables, np.array(micro_ops, np.uint32))

    def _packed(self) -> tuple[list[int], list[int]]:
        """First micro-op of each table, and all of them."""
        starts: list[int] = []
        words: list[int] = []
        for table, base in self.tables:
            starts.append(len(words))
            words += [offset + base for offset in table.offsets]
            words += [0] * (len(words) % 2)
        return starts, words

    def _on_demand(
        self, starts: list[int], depth: int, before: dict[int, tuple[int, int, int]]
    ) -> list[int]:
        # Tables in the buffer by their start. The ring holds (start, table) in the order in which
        # the head will overwrite them: what an earlier lap left behind it, then this lap's.
        resident: dict[int, int] = {}
        ring: deque[tuple[int, int]] = deque()
        head = 0
        places = []
        for number, table in enumerate(self.table_of):
            if table >= 0 and table not in resident:
                size = _even(len(self.tables[table][0].offsets))
                if head + size > depth:
                    for _ in range(len(ring)):
                        if ring[0][0] < head:
                            break
                        ring.rotate(-1)
                    head = 0
                begin, head = head, head + size
                while ring and begin <= ring[0][0] < head:
                    del resident[ring.popleft()[1]]
                ring.append((begin, table))
                resident[table] = begin
                before[number] = begin, starts[table], size
            places.append(resident[table] if table >= 0 else 0)
        return places


def _even(count: int) -> int:
    return count + count % 2


def _memory_word(sram: int, dram: int, count: int) -> int:
    m = {name: field.low for name, field in MEMORY_FIELDS.items()}
    return (
        Opcode.LOAD
        | MemoryType.UOP << m["memory_type"]
        | sram << m["sram_base"]
        | dram << m["dram_base"]
        | 1 << m["y_size"]
        | count << m["x_size"]
        | count << m["x_stride"]
    )


def encoded(words: list[int]) -> npt.NDArray[np.uint8]:
    """Instruction words as they lie in DRAM: ``uint8[n, 16]``."""
    pairs = np.array([(word & _WORD, word >> 64) for word in words], np.uint64)
    return pairs.view(np.uint8).reshape(-1, 16)
