"""Program builder: instructions in sequential meaning in, a command stream with tokens and
micro-ops out.

The caller emits instructions in an order in which they could run one after another, and names for
each the instruction of another module that it has to follow. What it makes is a
:class:`~compiler_core.units.vta.lower.draft.Draft`; tokens follow from the dependences
(:mod:`~compiler_core.units.vta.lower.tokens`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_core.errors import NestTuneError
from compiler_core.units.vta.lower.draft import Draft, encoded
from compiler_core.units.vta.lower.loops import LoopNest, MicroOpTable
from compiler_core.units.vta.lower.tokens import COMPUTE, LOAD, NOTHING, STORE, finished
from compiler_core.units.vta.machine.isa import (
    ALU_FIELDS,
    GEMM_FIELDS,
    MEMORY_FIELDS,
    AluOpcode,
    MemoryType,
    Opcode,
)

_M = {name: field.low for name, field in MEMORY_FIELDS.items()}
_G = {name: field.low for name, field in GEMM_FIELDS.items()}
_A = {name: field.low for name, field in ALU_FIELDS.items()}
_UNSIGNED_16 = (1 << 16) - 1
_GEMM = int(Opcode.GEMM)
_RESET = _GEMM | 1 << _G["reset"]


@dataclass(frozen=True)
class LoweredProgram:
    """What a lowering produces.

    Attributes:
        draft: To be placed, or moved and joined with others.
        micro_op_base: DRAM position of the micro-ops, in micro-ops (even).
        micro_op_depth: Elements of the micro-op buffer.
    """

    draft: Draft = field(repr=False)
    micro_op_base: int
    micro_op_depth: int

    @cached_property
    def instructions(self) -> npt.NDArray[np.uint8]:
        """``uint8[n, 16]``, with tokens and FINISH."""
        placed = self.draft.placed(self.micro_op_base, self.micro_op_depth)
        return encoded(finished(placed.steps))

    @cached_property
    def micro_ops(self) -> npt.NDArray[np.uint32]:
        """``uint32[m]``, to be placed where the program loads its micro-ops from."""
        return self.draft.micro_ops


class Padding(NamedTuple):
    """Zeros that a LOAD writes around its one row, in elements, and rows of them after it."""

    before: int
    after: int
    rows_after: int


MOST_STRIDE = (1 << 16) - 1
"""Elements from one row of a transfer to the next."""


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
        """LOAD of inputs or weights (load module), or of accumulators (compute module); one a row
        where rows are further apart than an instruction can say."""
        if x_stride > MOST_STRIDE:
            return max(
                self.load(memory, sram + y * x_size, row, x_size, after_compute=after_compute)
                for y, row in enumerate(range(dram, dram + y_size * x_stride, x_stride))
            )
        module = COMPUTE if memory is MemoryType.ACC else LOAD
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
        return self._emit(word, COMPUTE, (NOTHING, after_store))

    def load_micro_ops(self) -> None:
        """The micro-ops of what follows, up to the next such call, are loaded here; those of what
        came before the first call at the start. Without a call, and where they do not fit their
        buffer together, it makes no difference."""
        self._marks.append((len(self._words), len(self._tables)))

    def store(
        self, sram: int, dram: int, x_size: int, y_size: int, x_stride: int, *, after_compute: int
    ) -> int:
        """STORE of output elements; one a row where rows are further apart than an instruction can
        say."""
        if x_stride > MOST_STRIDE:
            return max(
                self.store(sram + y * x_size, row, x_size, 1, 0, after_compute=after_compute)
                for y, row in enumerate(range(dram, dram + y_size * x_stride, x_stride))
            )
        word = Opcode.STORE | self._memory(MemoryType.OUT, sram, dram, x_size, y_size, x_stride)
        return self._emit(word, STORE, (after_compute, NOTHING))

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
        return self._emit(word | nest.word, COMPUTE, (after_load, after_store), table)

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
        return self._emit(word, COMPUTE, (NOTHING, after_store), self._number(nest, base))

    def build(self) -> LoweredProgram:
        """What was emitted."""
        draft = Draft(
            tuple(self._words),
            tuple(self._module),
            tuple(self._needs),
            tuple(self._table_of),
            tuple(self._tables),
            tuple(self._marks),
            self._preload,
        )
        return LoweredProgram(draft, self._micro_op_base, self._micro_op_depth)

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
