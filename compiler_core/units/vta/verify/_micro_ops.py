"""Walks the micro-op buffer through a program (Numba).

LOAD uop, GEMM and ALU run on one module in program order, so what the micro-op buffer holds at each
of them is known without running anything. Loops are never enumerated: indices are affine in the two
loop counters, hence extremes, and pairs of neighbouring micro-op executions, follow from the
micro-ops and the loop factors alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit
from compiler_core.units.vta.machine.isa import COLUMN, MemoryType, Opcode

DST, SRC, WGT = range(3)
"""Rows of the decoded micro-op buffer ``int32[3, depth]``."""

NO_INDEX = -1

OPCODE = COLUMN["opcode"]
MEMORY_TYPE = COLUMN["memory_type"]
SRAM_BASE = COLUMN["sram_base"]
DRAM_BASE = COLUMN["dram_base"]
Y_SIZE, X_SIZE, X_STRIDE = COLUMN["y_size"], COLUMN["x_size"], COLUMN["x_stride"]
Y_PAD_0, Y_PAD_1 = COLUMN["y_pad_0"], COLUMN["y_pad_1"]
X_PAD_0, X_PAD_1 = COLUMN["x_pad_0"], COLUMN["x_pad_1"]
RESET, USE_IMM = COLUMN["reset"], COLUMN["use_imm"]
UOP_BEGIN, UOP_END = COLUMN["uop_begin"], COLUMN["uop_end"]
ITER_OUT, ITER_IN = COLUMN["iter_out"], COLUMN["iter_in"]
DST_OUT, DST_IN = COLUMN["dst_out"], COLUMN["dst_in"]
SRC_OUT, SRC_IN = COLUMN["src_out"], COLUMN["src_in"]
WGT_OUT, WGT_IN = COLUMN["wgt_out"], COLUMN["wgt_in"]

LOAD, GEMM, ALU = int(Opcode.LOAD), int(Opcode.GEMM), int(Opcode.ALU)
UOP = int(MemoryType.UOP)

Array = npt.NDArray[Any]


@njit(cache=True)
def load_micro_ops(
    row: Array, dram: Array, uop_bytes: int, micro_ops: Array, loaded: Array
) -> None:
    """Executes a LOAD uop on the decoded buffer; what lies outside SRAM or DRAM is skipped.

    Args:
        row: ``int64[fields]``, one decoded instruction.
        dram: ``uint8[dram_size]``.
        uop_bytes: Bytes of a micro-op in DRAM.
        micro_ops: ``int32[3, depth]``, changed in place.
        loaded: ``bool[depth]``, changed in place.
    """
    if row[X_SIZE] == 0:
        return
    depth = len(loaded)
    sram = row[SRAM_BASE]
    width = row[X_PAD_0] + row[X_SIZE] + row[X_PAD_1]
    for y in range(row[Y_PAD_0] + row[Y_SIZE] + row[Y_PAD_1]):
        data_y = y - row[Y_PAD_0]
        for x in range(width):
            if sram >= depth:
                return
            data_x = x - row[X_PAD_0]
            word = np.int64(0)
            if 0 <= data_y < row[Y_SIZE] and 0 <= data_x < row[X_SIZE]:
                at = (row[DRAM_BASE] + data_y * row[X_STRIDE] + data_x) * uop_bytes
                if at + 4 <= len(dram):
                    word = (
                        np.int64(dram[at])
                        | np.int64(dram[at + 1]) << 8
                        | np.int64(dram[at + 2]) << 16
                        | np.int64(dram[at + 3]) << 24
                    )
            micro_ops[DST, sram] = word & 0x7FF
            micro_ops[SRC, sram] = (word >> 11) & 0x7FF
            micro_ops[WGT, sram] = word >> 22
            loaded[sram] = True
            sram += 1


@njit(cache=True)
def repeated_destination(
    dst: Array,
    begin: int,
    end: int,
    loops: tuple[int, int],
    factors: tuple[int, int],
    distance: int,
) -> int:
    """Finds two micro-op executions ``distance`` (1 or 2) apart that write one accumulator.

    Executions run through the micro-ops ``begin..end-1`` once per pass; consecutive passes differ
    by a constant: the inner factor, or at the end of an inner loop the outer factor less what the
    inner loop added.

    Args:
        dst: ``int32[depth]``, destinations of the micro-ops.
        begin: First micro-op.
        end: One past the last micro-op.
        loops: Outer and inner iterations.
        factors: Outer and inner destination factor.
        distance: Executions between the two.

    Returns:
        The micro-op index of the first of the two, or ``NO_INDEX``.
    """
    outer, inner = loops
    step = factors[1]
    wrap = factors[0] - (inner - 1) * factors[1]
    count = end - begin
    for u in range(begin, end - distance):
        if dst[u] == dst[u + distance]:
            return u
    for u in range(max(begin, end - distance), end):
        ahead, second = divmod(u - begin + distance, count)
        gap = np.int64(dst[u]) - dst[begin + second]
        if ahead == 1:
            if (inner > 1 and gap == step) or (outer > 1 and gap == wrap):
                return u
        elif ahead == 2:
            if inner > 2 and gap == 2 * step:
                return u
            if inner > 1 and outer > 1 and gap == step + wrap:
                return u
            if inner == 1 and outer > 2 and gap == 2 * wrap:
                return u
    return NO_INDEX


@njit(cache=True)
def inspect_micro_ops(
    rows: Array, dram: Array, uop_bytes: int, depth: int, gemm_distance: int
) -> tuple[Array, Array]:
    """Says, for each GEMM and ALU, what its micro-ops reach and which micro-op rules they break.

    Args:
        rows: ``int64[n, fields]``, decoded instructions.
        dram: ``uint8[dram_size]`` before the launch.
        uop_bytes: Bytes of a micro-op in DRAM.
        depth: Micro-ops that the buffer holds.
        gemm_distance: Executions of a GEMM within which an accumulator must not be repeated.

    Returns:
        extremes: ``int64[n, 6]``, lowest and highest dst, src, wgt index over all loops;
            ``NO_INDEX`` where the instruction has no (legal) loops.
        broken: ``int64[n, 3]``, the first micro-op that was never loaded; whose src is not dst in
            an immediate ALU; whose destination is repeated too soon; or ``NO_INDEX``.
    """
    n = len(rows)
    extremes = np.full((n, 6), NO_INDEX, np.int64)
    broken = np.full((n, 3), NO_INDEX, np.int64)
    micro_ops = np.zeros((3, depth), np.int32)
    loaded = np.zeros(depth, np.bool_)
    for i in range(n):
        row = rows[i]
        opcode = row[OPCODE]
        if opcode == LOAD and row[MEMORY_TYPE] == UOP:
            load_micro_ops(row, dram, uop_bytes, micro_ops, loaded)
        if opcode not in (GEMM, ALU):
            continue
        begin, end = row[UOP_BEGIN], row[UOP_END]
        outer, inner = row[ITER_OUT], row[ITER_IN]
        if outer == 0 or inner == 0 or begin >= end or end > depth:
            continue
        for u in range(begin, end):
            if not loaded[u]:
                broken[i, 0] = u
                break
        for role in range(3):
            values = micro_ops[role, begin:end]
            reach = (outer - 1) * row[DST_OUT] + (inner - 1) * row[DST_IN]
            if role == SRC:
                reach = (outer - 1) * row[SRC_OUT] + (inner - 1) * row[SRC_IN]
            elif role == WGT:
                reach = (outer - 1) * row[WGT_OUT] + (inner - 1) * row[WGT_IN]
            extremes[i, 2 * role] = values.min()
            extremes[i, 2 * role + 1] = values.max() + reach
        immediate = opcode == ALU and row[USE_IMM] != 0
        if immediate:
            for u in range(begin, end):
                if micro_ops[SRC, u] != micro_ops[DST, u]:
                    broken[i, 1] = u
                    break
        distances = 0
        if immediate:
            distances = 1
        elif opcode == GEMM:
            distances = gemm_distance
        for distance in range(1, distances + 1):
            if broken[i, 2] == NO_INDEX:
                broken[i, 2] = repeated_destination(
                    micro_ops[DST],
                    begin,
                    end,
                    (outer, inner),
                    (row[DST_OUT], row[DST_IN]),
                    distance,
                )
    return extremes, broken
