"""Program builder: instructions in sequential meaning in, a command stream with tokens and
micro-ops out.

The caller emits instructions in an order in which they could run one after another, and names for
each the instruction of another module that it has to follow. The builder turns these dependences
into tokens: along each of the four token queues the requirement of the consumers never decreases,
so each producer that raises it pushes once and its consumer pops once. The n-th pop then takes the
n-th push, the tokens balance, and since the emission order itself is executable, the stream cannot
deadlock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_core.errors import NestTuneError
from compiler_core.units.vta.lower.loops import LoopNest, MicroOpTable
from compiler_core.units.vta.machine.isa import (
    ALU_FIELDS,
    COMMON_FIELDS,
    GEMM_FIELDS,
    MEMORY_FIELDS,
    AluOpcode,
    MemoryType,
    Opcode,
)

NOTHING = -1
"""No instruction: a dependence on it holds at once."""

_LOAD, _COMPUTE, _STORE = range(3)
_POP_PREV, _POP_NEXT, _PUSH_PREV, _PUSH_NEXT = (
    1 << COMMON_FIELDS[name].low for name in ("pop_prev", "pop_next", "push_prev", "push_next")
)
# producer module, consumer module, the producer's push flag, the consumer's pop flag
_EDGES = (
    (_LOAD, _COMPUTE, _PUSH_NEXT, _POP_PREV),
    (_COMPUTE, _LOAD, _PUSH_PREV, _POP_NEXT),
    (_COMPUTE, _STORE, _PUSH_NEXT, _POP_PREV),
    (_STORE, _COMPUTE, _PUSH_PREV, _POP_NEXT),
)
_M = {name: field.low for name, field in MEMORY_FIELDS.items()}
_G = {name: field.low for name, field in GEMM_FIELDS.items()}
_A = {name: field.low for name, field in ALU_FIELDS.items()}
_WORD = (1 << 64) - 1
_UNSIGNED_16 = (1 << 16) - 1
_TOKENS_MAX = 255
"""Tokens between two modules that the machine counts."""
_GEMM = int(Opcode.GEMM)
_BEGIN, _END = _G["uop_begin"], _G["uop_end"]
_RESET = _GEMM | 1 << _G["reset"]


@dataclass(frozen=True)
class LoweredProgram:
    """What a lowering produces.

    Attributes:
        instructions: ``uint8[n, 16]``.
        micro_ops: ``uint32[m]``, to be placed where the program loads its micro-ops from.
    """

    instructions: npt.NDArray[np.uint8]
    micro_ops: npt.NDArray[np.uint32]


class Padding(NamedTuple):
    """Zeros that a LOAD writes around its one row, in elements, and rows of them after it."""

    before: int
    after: int
    rows_after: int


class ProgramBuilder:
    """Collects instructions and their dependences.

    Every emitting method returns the instruction's number, to be named in later dependences. DRAM
    positions are in elements of the memory type, SRAM positions in elements of the buffer.

    Args:
        micro_op_base: DRAM position of the micro-ops, in micro-ops (even).
        micro_op_depth: Elements of the micro-op buffer.
        preload: Load all micro-ops at the start where they fit together, else each table before its
            first use.
    """

    def __init__(self, micro_op_base: int, micro_op_depth: int, *, preload: bool) -> None:
        self._micro_op_base = micro_op_base
        self._micro_op_depth = micro_op_depth
        self._preload = preload
        self._words: list[int] = []
        self._module: list[int] = []
        self._needs: list[
            tuple[int, int]
        ] = []  # of another module: (prev or load side, next or store side)
        self._table_of: list[int] = []
        self._tables: dict[tuple[MicroOpTable, int], int] = {}
        self._marks: list[tuple[int, int]] = []

    def load(
        self,
        memory: MemoryType,
        sram: int,
        dram: int,
        x_size: int,
        y_size: int = 1,
        x_stride: int = 0,
        *,
        after_compute: int = NOTHING,
    ) -> int:
        """LOAD of inputs or weights (load module), or of accumulators (compute module)."""
        module = _COMPUTE if memory is MemoryType.ACC else _LOAD
        word = Opcode.LOAD | self._memory(memory, sram, dram, x_size, y_size, x_stride)
        return self._emit(word, module, (NOTHING, after_compute))

    def load_accumulators(
        self,
        sram: int,
        dram: int,
        x_size: int,
        y_size: int = 1,
        x_stride: int = 0,
        *,
        padding: Padding | None = None,
        after_store: int = NOTHING,
    ) -> int:
        """LOAD into the accumulators, zeros around it, after a STORE that still reads them."""
        word = Opcode.LOAD | self._memory(MemoryType.ACC, sram, dram, x_size, y_size, x_stride)
        if padding is not None:
            word |= padding.before << _M["x_pad_0"] | padding.after << _M["x_pad_1"]
            word |= padding.rows_after << _M["y_pad_1"]
        return self._emit(word, _COMPUTE, (NOTHING, after_store))

    def load_micro_ops(self) -> None:
        """The micro-ops of what follows, up to the next such call, are loaded here; those of what
        came before the first call at the start. Without a call, and where they do not fit their
        buffer together, it makes no difference."""
        self._marks.append((len(self._words), len(self._tables)))

    def store(
        self, sram: int, dram: int, x_size: int, y_size: int, x_stride: int, *, after_compute: int
    ) -> int:
        """STORE of output elements."""
        word = Opcode.STORE | self._memory(MemoryType.OUT, sram, dram, x_size, y_size, x_stride)
        return self._emit(word, _STORE, (after_compute, NOTHING))

    def gemm(
        self,
        nest: LoopNest,
        base: int,
        *,
        reset: bool = False,
        after_load: int = NOTHING,
        after_store: int = NOTHING,
    ) -> int:
        """GEMM, or accumulator reset, over a loop nest at a packed base."""
        word = _RESET if reset else _GEMM
        table = self._number(nest, base)
        return self._emit(word | nest.word, _COMPUTE, (after_load, after_store), table)

    def alu(
        self,
        opcode: AluOpcode,
        nest: LoopNest,
        base: int,
        immediate: int | None = None,
        *,
        after_store: int = NOTHING,
    ) -> int:
        """ALU over a loop nest; with an immediate, or tensor-tensor."""
        word = Opcode.ALU | nest.word | opcode << _A["alu_opcode"]
        if immediate is not None:
            if not -(1 << 15) <= immediate < 1 << 15:
                raise NestTuneError(f"ALU immediate {immediate} does not fit 16 bits")
            word |= 1 << _A["use_imm"] | (immediate & _UNSIGNED_16) << _A["imm"]
        return self._emit(word, _COMPUTE, (NOTHING, after_store), self._number(nest, base))

    def build(self) -> LoweredProgram:
        """Ends the program with FINISH, places micro-ops, adds tokens and encodes."""
        last = [NOTHING, NOTHING, NOTHING]
        for number, module in enumerate(self._module):
            last[module] = number
        self._emit(int(Opcode.FINISH), _COMPUTE, (last[_LOAD], last[_STORE]))
        words, table_words = list(self._words), self._place_micro_ops()
        for producer, consumer, _, _ in _EDGES:
            self._bound_tokens(producer, consumer)
        for producer, consumer, push, pop in _EDGES:
            for needed, number in self._tokens(producer, consumer):
                words[needed] |= push
                words[number] |= pop
        stream: list[int] = []
        for number, word in enumerate(words):
            loads = table_words.before.get(number)
            if loads is not None:
                stream.append(loads)
            stream.append(word | table_words.ranges[number])
        pairs = np.array([(word & _WORD, word >> 64) for word in stream], np.uint64)
        return LoweredProgram(pairs.view(np.uint8).reshape(-1, 16), table_words.micro_ops)

    def _tokens(self, producer: int, consumer: int) -> list[tuple[int, int]]:
        """Instructions of ``producer`` that push a token and those of ``consumer`` that pop it."""
        side = 0 if producer < consumer else 1
        synchronized = NOTHING
        found = []
        for number, module in enumerate(self._module):
            if module == consumer and (needed := self._needs[number][side]) > synchronized:
                found.append((needed, number))
                synchronized = needed
        return found

    def _bound_tokens(self, producer: int, consumer: int) -> None:
        """Lets ``producer`` wait where else more tokens could lie between the two than the machine
        counts: for the instruction of ``consumer`` that pops the token of half as many before."""
        tokens = self._tokens(producer, consumer)
        if len(tokens) <= _TOKENS_MAX:
            return
        side = 0 if consumer < producer else 1
        pops = [number for _, number in tokens]
        pushes = {number: index for index, (number, _) in enumerate(tokens)}
        synchronized = NOTHING
        for number, module in enumerate(self._module):
            if module != producer:
                continue
            synchronized = max(synchronized, self._needs[number][side])
            index = pushes.get(number)
            if index is None or index + 1 - bisect_right(pops, synchronized) <= _TOKENS_MAX:
                continue
            awaited = pops[index - _TOKENS_MAX // 2]
            if awaited < number:  # else every order of the program holds them all
                needs = list(self._needs[number])
                needs[side] = synchronized = awaited
                self._needs[number] = (needs[0], needs[1])

    def _emit(self, word: int, module: int, needs: tuple[int, int], table: int = NOTHING) -> int:
        self._words.append(word)
        self._module.append(module)
        self._needs.append(needs)
        self._table_of.append(table)
        return len(self._words) - 1

    def _memory(
        self, memory: MemoryType, sram: int, dram: int, x_size: int, y_size: int, x_stride: int
    ) -> int:
        if max(x_size, y_size, x_stride, sram) > _UNSIGNED_16:
            raise NestTuneError(
                f"{memory.name} transfer of {y_size} x {x_size} elements, stride {x_stride}: "
                f"a field holds at most {_UNSIGNED_16}"
            )
        return (
            memory << _M["memory_type"]
            | sram << _M["sram_base"]
            | dram << _M["dram_base"]
            | y_size << _M["y_size"]
            | x_size << _M["x_size"]
            | (x_stride or x_size) << _M["x_stride"]
        )

    def _number(self, nest: LoopNest, base: int) -> int:
        return self._tables.setdefault((nest.table, base + nest.base), len(self._tables))

    def _place_micro_ops(self) -> _Placed:
        starts: list[int] = []
        words: list[int] = []
        for table, base in self._tables:
            starts.append(len(words))
            words += [offset + base for offset in table.offsets]
            words += [0] * (len(words) % 2)
        micro_ops = np.array(words, np.uint32)
        lengths = [len(table.offsets) for table, _ in self._tables]
        before: dict[int, int] = {}
        if self._preload and len(words) <= self._micro_op_depth:
            places_of = [*starts, len(words)]
            marks = [(0, 0), *self._marks, (0, len(starts))]
            for (number, first), (_, last) in pairwise(marks):
                begin, end = places_of[first], places_of[last]
                if begin < end:
                    before[number] = self._load_micro_ops(begin, begin, end - begin)
            places = [starts[number] if number >= 0 else 0 for number in self._table_of]
        else:
            places = self._place_on_demand(starts, lengths, before)
        ranges = [
            place << _BEGIN | (place + lengths[number]) << _END if number >= 0 else 0
            for number, place in zip(self._table_of, places, strict=True)
        ]
        return _Placed(micro_ops, ranges, before)

    def _place_on_demand(
        self, starts: list[int], lengths: list[int], before: dict[int, int]
    ) -> list[int]:
        # Tables in the buffer by their start. The ring holds (start, table) in the order in which
        # the head will overwrite them: what an earlier lap left behind it, then this lap's.
        resident: dict[int, int] = {}
        ring: deque[tuple[int, int]] = deque()
        head = 0
        places = []
        for number, table in enumerate(self._table_of):
            if table >= 0 and table not in resident:
                size = lengths[table] + lengths[table] % 2
                if head + size > self._micro_op_depth:
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
                before[number] = self._load_micro_ops(begin, starts[table], size)
            places.append(resident[table] if table >= 0 else 0)
        return places

    def _load_micro_ops(self, sram: int, position: int, count: int) -> int:
        dram = self._micro_op_base + position
        return Opcode.LOAD | self._memory(MemoryType.UOP, sram, dram, count, 1, count)


@dataclass(frozen=True)
class _Placed:
    micro_ops: npt.NDArray[np.uint32]
    ranges: list[int]
    before: dict[int, int]
