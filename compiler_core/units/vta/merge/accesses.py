"""What each instruction of a program touches: ranges of the on-chip buffers and of DRAM.

Ranges of a GEMM or ALU are hulls over its loops and micro-ops.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.lower.loops import DST_SHIFT, SRC_SHIFT, WGT_SHIFT, MicroOpTable
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import (
    MICRO_OP_FIELDS,
    MemoryType,
    Opcode,
    decode,
    element_bytes_per_type,
)

(
    READ_INP,
    READ_INP_END,
    READ_WGT,
    READ_WGT_END,
    WRITE_INP,
    WRITE_INP_END,
    WRITE_WGT,
    WRITE_WGT_END,
    WRITE_ACC,
    WRITE_ACC_END,
    READ_ACC,
    READ_ACC_END,
    DRAM_FIRST,
    DRAM_ROWS,
    DRAM_ROW_BYTES,
    DRAM_PITCH,
) = range(16)
"""Columns of :func:`accesses`: half-open ranges of elements, empty where both are 0; bytes of
DRAM. ``READ_ACC`` is what a STORE reads."""
COLUMNS = 16

Array = npt.NDArray[Any]


@lru_cache(maxsize=65536)
def _extremes(table: MicroOpTable) -> tuple[int, int, int, int, int, int]:
    words = np.array(table.offsets, np.int64)
    found: list[int] = []
    for name, shift in (("dst", DST_SHIFT), ("src", SRC_SHIFT), ("wgt", WGT_SHIFT)):
        values = words >> shift & ((1 << MICRO_OP_FIELDS[name].width) - 1)
        found += [int(values.min()), int(values.max())]
    return (found[0], found[1], found[2], found[3], found[4], found[5])


def accesses(
    instructions: npt.NDArray[np.uint8],
    tables: Sequence[tuple[MicroOpTable, int] | None],
    geometry: VtaGeometry,
) -> Array:
    """Ranges that each instruction touches.

    Args:
        instructions: ``uint8[n, 16]``.
        tables: The micro-op table of each with its packed base, or None.
        geometry: Element widths.

    Returns:
        ``int64[n, COLUMNS]``.
    """
    rows = decode(instructions)
    result = np.zeros((len(rows), COLUMNS), np.int64)
    _transfers(rows, result, geometry)
    _computations(rows, tables, result)
    return result


def _transfers(rows: Array, result: Array, geometry: VtaGeometry) -> None:
    opcode, kind = rows["opcode"], rows["memory_type"]
    moves = (opcode == Opcode.LOAD) | (opcode == Opcode.STORE)
    moves &= (rows["x_size"] > 0) & (rows["y_size"] > 0)
    width = rows["x_pad_0"] + rows["x_size"] + rows["x_pad_1"]
    height = rows["y_pad_0"] + rows["y_size"] + rows["y_pad_1"]
    first, end = rows["sram_base"], rows["sram_base"] + width * height
    for column, memory, wanted in (
        (WRITE_INP, MemoryType.INP, Opcode.LOAD),
        (WRITE_WGT, MemoryType.WGT, Opcode.LOAD),
        (WRITE_ACC, MemoryType.ACC, Opcode.LOAD),
        (READ_ACC, MemoryType.OUT, Opcode.STORE),
    ):
        mine = moves & (kind == memory) & (opcode == wanted)
        result[mine, column], result[mine, column + 1] = first[mine], end[mine]
    scale = element_bytes_per_type(geometry.element_bytes)[np.where(moves, kind, 0)]
    result[moves, DRAM_FIRST] = (rows["dram_base"] * scale)[moves]
    result[moves, DRAM_ROWS] = rows["y_size"][moves]
    result[moves, DRAM_ROW_BYTES] = (rows["x_size"] * scale)[moves]
    result[moves, DRAM_PITCH] = (rows["x_stride"] * scale)[moves]


def _computations(
    rows: Array, tables: Sequence[tuple[MicroOpTable, int] | None], result: Array
) -> None:
    mine = np.array([n for n, table in enumerate(tables) if table is not None], np.int64)
    if not mine.size:
        return
    used = [table for table in tables if table is not None]
    low_high = np.array([_extremes(table) for table, _ in used], np.int64)
    base = np.array([packed for _, packed in used], np.int64)
    some = rows[mine]
    outer, inner = some["iter_out"] - 1, some["iter_in"] - 1
    gemm = some["opcode"] == Opcode.GEMM
    reads = gemm & (some["reset"] == 0)
    for column, role, shift, name, who in (
        (WRITE_ACC, 0, DST_SHIFT, "dst", np.ones(len(mine), np.bool_)),
        (READ_INP, 1, SRC_SHIFT, "src", reads),
        (READ_WGT, 2, WGT_SHIFT, "wgt", reads),
    ):
        own = base >> shift & ((1 << MICRO_OP_FIELDS[name].width) - 1)
        reach = outer * some[f"{name}_out"] + inner * some[f"{name}_in"]
        low = own + low_high[:, 2 * role]
        high = own + low_high[:, 2 * role + 1] + reach + 1
        result[mine[who], column], result[mine[who], column + 1] = low[who], high[who]
