"""Ranges of LOAD and STORE in SRAM and DRAM. Plain array code."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import MemoryType, Opcode, element_bytes_per_type
from compiler_core.units.vta.verify.fields import Decoded, first_rows, is_memory
from compiler_core.units.vta.verify.findings import Finding, FindingClass, finding

MAX_DRAM_BYTES = 1 << 32


def check_transfers(decoded: Decoded, geometry: VtaGeometry, dram_size: int) -> Iterator[Finding]:
    """LOAD and STORE stay inside the buffer of their memory type and inside DRAM.

    Padding is written to SRAM, not read from DRAM. Transfers with ``x_size`` 0 touch nothing.

    Args:
        decoded: Decoded instructions ``[n]``.
        geometry: Buffers and element sizes.
        dram_size: Bytes of DRAM.
    """
    depth = geometry.depth
    by_type = np.array([depth.uop, depth.wgt, depth.inp, depth.acc, depth.acc, 0, 0, 0], np.int64)
    memory_type = decoded["memory_type"]
    active = is_memory(decoded) & (decoded["x_size"] > 0) & (memory_type <= max(MemoryType))
    limit = by_type[memory_type]
    width = decoded["x_pad_0"] + decoded["x_size"] + decoded["x_pad_1"]
    height = decoded["y_pad_0"] + decoded["y_size"] + decoded["y_pad_1"]
    sram_end = decoded["sram_base"] + width * height
    for row in first_rows(active & (sram_end > limit)):
        name = MemoryType(int(memory_type[row])).name.lower()
        verb = "written" if decoded["opcode"][row] == Opcode.LOAD else "read"
        yield finding(
            FindingClass.SRAM_OUT_OF_RANGE,
            row,
            f"{name} SRAM",
            f"elements {decoded['sram_base'][row]}..{sram_end[row] - 1} {verb}",
            f"0..{limit[row] - 1}",
            "the transfer leaves the buffer",
        )

    scale = element_bytes_per_type(geometry.element_bytes)[memory_type]
    start = decoded["dram_base"] * scale
    last_row = np.maximum(decoded["y_size"] - 1, 0) * decoded["x_stride"]
    end = start + (last_row + decoded["x_size"]) * scale
    allowed = min(dram_size, MAX_DRAM_BYTES)
    moving = active & (decoded["y_size"] > 0)
    for row in first_rows(moving & (end > allowed)):
        yield finding(
            FindingClass.DRAM_OUT_OF_RANGE,
            row,
            "DRAM",
            f"bytes {int(start[row]):#x}..{int(end[row]) - 1:#x}",
            f"0x0..{allowed - 1:#x}" if allowed else "none",
            "the transfer leaves the memory",
        )
