"""Follows every on-chip element through a program (Numba).

Each buffer has one module that writes it and one other that reads it: inp and wgt are written by
load and read by compute, acc is written by compute and read by store. In program order, which is
consistent with happens-before, it is therefore enough to keep per element the position of the last
write and of the last read: an access conflicts with some earlier access of the other module exactly
when it conflicts with the last one, because the accesses of one module are ordered. This makes the
check exact and linear in the elements touched.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit
from compiler_core.units.vta.machine.isa import MemoryType
from compiler_core.units.vta.verify._bitmap import contains, touched_elements
from compiler_core.units.vta.verify._micro_ops import (
    ALU,
    DST,
    DST_IN,
    DST_OUT,
    GEMM,
    ITER_IN,
    ITER_OUT,
    LOAD,
    MEMORY_TYPE,
    OPCODE,
    RESET,
    SRAM_BASE,
    SRC,
    SRC_IN,
    SRC_OUT,
    UOP,
    UOP_BEGIN,
    UOP_END,
    USE_IMM,
    WGT,
    WGT_IN,
    WGT_OUT,
    X_PAD_0,
    X_PAD_1,
    X_SIZE,
    Y_PAD_0,
    Y_PAD_1,
    Y_SIZE,
    load_micro_ops,
)

INP_MEMORY, WGT_MEMORY, ACC_MEMORY = range(3)
"""Rows of the last-access tables."""

RACE, STORE_WITHOUT_RESULT, STORE_UNDEFINED, READ_UNLOADED = range(4)
"""Kinds of events: (instruction, other position, memory, first element, elements)."""
KINDS = 4
EVENT_FIELDS = 5

DEFINED, COMPUTED = 1, 2
"""State bits of an accumulator: its value is known; an ALU or GEMM wrote it last."""

EXACT_EXECUTIONS = 1 << 22
"""Executions of tensor ALUs per program up to which undefined sources are followed exactly."""

WRITER_MODULE = (0, 0, 1)
READER_MODULE = (1, 1, 2)
MEMORY_OF_TYPE = (-1, WGT_MEMORY, INP_MEMORY, ACC_MEMORY, ACC_MEMORY, -1, -1, -1)
ACC = int(MemoryType.ACC)

Array = npt.NDArray[Any]


@njit(cache=True)
def add_event(
    events: Array, counts: Array, kind: int, event: tuple[int, int, int, int, int]
) -> None:
    """Keeps an event unless its table is full; tables fill in program order."""
    at = counts[kind]
    if at < events.shape[1]:
        for k in range(EVENT_FIELDS):
            events[kind, at, k] = event[k]
        counts[kind] = at + 1


@njit(cache=True)
def access(
    last: Array, other_last: Array, sure: int, position: int, span: tuple[int, int], bits: Array
) -> tuple[int, int, int]:
    """Compares one access with the other module's last accesses and records it.

    Args:
        last: ``int32[depth]``, positions of this kind of access, updated.
        other_last: ``int32[depth]``, positions of the conflicting accesses by the other module.
        sure: Position up to which the other module is complete.
        position: Position of the accessing instruction.
        span: First and one-past-last element.
        bits: Bitmap of the elements within the span; empty for all of them.

    Returns:
        The first element in conflict (-1: none), how many, and the other instruction's position at
        the first.
    """
    first, count, other = -1, 0, 0
    dense = len(bits) == 0
    for e in range(span[0], span[1]):
        if dense or contains(bits, e):
            if other_last[e] > sure:
                if count == 0:
                    first = e
                    other = other_last[e]
                count += 1
            last[e] = position
    return first, count, other


@njit(cache=True)
def spread_undefined(row: Array, micro_ops: Array, bits: Array, state: Array, budget: int) -> int:
    """Makes destinations of a tensor ALU undefined where a source is.

    Beyond :data:`EXACT_EXECUTIONS` all destinations (``bits``) become undefined: a warning too
    many.
    """
    begin, end = row[UOP_BEGIN], row[UOP_END]
    executions = row[ITER_OUT] * row[ITER_IN] * (end - begin)
    if executions > budget:
        for e in range(len(state)):
            if contains(bits, e):
                state[e] &= COMPUTED
        return budget
    for o in range(row[ITER_OUT]):
        for i in range(row[ITER_IN]):
            for u in range(begin, end):
                source = micro_ops[SRC, u] + o * row[SRC_OUT] + i * row[SRC_IN]
                if not state[source] & DEFINED:
                    state[micro_ops[DST, u] + o * row[DST_OUT] + i * row[DST_IN]] &= COMPUTED
    return int(budget - executions)


@njit(cache=True)
def follow_elements(
    rows: Array,
    dram: Array,
    uop_bytes: int,
    depths: tuple[int, int, int, int],
    tokens: tuple[Array, Array],
    max_events: int,
) -> tuple[Array, Array]:
    """Finds races in SRAM, stores of what the store path does not hold, and uninitialised reads.

    Args:
        rows: ``int64[n, fields]``, decoded instructions whose ranges are all legal.
        dram: ``uint8[dram_size]`` before the launch.
        uop_bytes: Bytes of a micro-op in DRAM.
        depths: Elements of the inp, wgt, acc and uop buffers.
        tokens: Position ``int32[n]``, clocks ``int32[n, 3]``.
        max_events: Events kept of each kind.

    Returns:
        events: ``int64[KINDS, max_events, EVENT_FIELDS]``; the other "instruction" of a race is a
            position.
        counts: ``int64[KINDS]``, events kept of each kind.
    """
    position, clocks = tokens
    events = np.zeros((KINDS, max_events, EVENT_FIELDS), np.int64)
    counts = np.zeros(KINDS, np.int64)
    deepest = max(depths[0], depths[1], depths[2])
    written = np.zeros((3, deepest), np.int32)
    read = np.zeros((3, deepest), np.int32)
    state = np.zeros(deepest, np.uint8)
    micro_ops = np.zeros((3, depths[3]), np.int32)
    loaded = np.zeros(depths[3], np.bool_)
    bits = np.zeros((deepest + 63) // 64, np.uint64)
    source_bits = np.zeros((deepest + 63) // 64, np.uint64)
    dense = np.zeros(0, np.uint64)
    budget = EXACT_EXECUTIONS
    for i in range(len(rows)):
        row, opcode, at = rows[i], rows[i, OPCODE], position[i]
        if opcode <= 1:
            if row[X_SIZE] == 0:
                continue
            if opcode == LOAD and row[MEMORY_TYPE] == UOP:
                load_micro_ops(row, dram, uop_bytes, micro_ops, loaded)
                continue
            memory = MEMORY_OF_TYPE[row[MEMORY_TYPE]]
            width = row[X_PAD_0] + row[X_SIZE] + row[X_PAD_1]
            height = row[Y_PAD_0] + row[Y_SIZE] + row[Y_PAD_1]
            span = row[SRAM_BASE], row[SRAM_BASE] + width * height
            if opcode == LOAD:
                sure = clocks[i, READER_MODULE[memory]]
                race = access(written[memory], read[memory], sure, at, span, dense)
                if row[MEMORY_TYPE] == ACC:
                    state[span[0] : span[1]] = DEFINED
            else:
                sure = clocks[i, WRITER_MODULE[memory]]
                race = access(read[memory], written[memory], sure, at, span, dense)
                for kind, wanted in ((STORE_WITHOUT_RESULT, COMPUTED), (STORE_UNDEFINED, DEFINED)):
                    first, count = -1, 0
                    for e in range(span[0], span[1]):
                        if not state[e] & wanted:
                            if count == 0:
                                first = e
                            count += 1
                    if count:
                        add_event(events, counts, kind, (i, 0, memory, first, count))
            if race[1]:
                add_event(events, counts, RACE, (i, race[2], memory, race[0], race[1]))
        elif opcode in (GEMM, ALU):
            begin, end = row[UOP_BEGIN], row[UOP_END]
            loops = row[ITER_OUT], row[ITER_IN]
            if opcode == GEMM and row[RESET] == 0:
                for memory in (INP_MEMORY, WGT_MEMORY):
                    if memory == INP_MEMORY:
                        indices, factors = micro_ops[SRC, begin:end], (row[SRC_OUT], row[SRC_IN])
                    else:
                        indices, factors = micro_ops[WGT, begin:end], (row[WGT_OUT], row[WGT_IN])
                    low, high = touched_elements(bits, indices, loops, factors)
                    race = access(
                        read[memory], written[memory], clocks[i, 0], at, (low, high + 1), bits
                    )
                    if race[1]:
                        add_event(events, counts, RACE, (i, race[2], memory, race[0], race[1]))
                    first, count = -1, 0
                    for e in range(low, high + 1):
                        if written[memory, e] == 0 and contains(bits, e):
                            if count == 0:
                                first = e
                            count += 1
                    if count:
                        add_event(events, counts, READ_UNLOADED, (i, 0, memory, first, count))
            low, high = touched_elements(
                bits, micro_ops[DST, begin:end], loops, (row[DST_OUT], row[DST_IN])
            )
            race = access(
                written[ACC_MEMORY], read[ACC_MEMORY], clocks[i, 2], at, (low, high + 1), bits
            )
            if race[1]:
                add_event(events, counts, RACE, (i, race[2], ACC_MEMORY, race[0], race[1]))
            if opcode == GEMM and row[RESET] != 0:
                for e in range(low, high + 1):
                    if contains(bits, e):
                        state[e] = DEFINED
                continue
            for e in range(low, high + 1):
                if contains(bits, e):
                    state[e] |= COMPUTED
            if opcode == ALU and row[USE_IMM] == 0:
                low, high = touched_elements(
                    source_bits, micro_ops[SRC, begin:end], loops, (row[SRC_OUT], row[SRC_IN])
                )
                for e in range(low, high + 1):
                    if contains(source_bits, e) and not state[e] & DEFINED:
                        budget = spread_undefined(row, micro_ops, bits, state, budget)
                        break
    return events, counts
