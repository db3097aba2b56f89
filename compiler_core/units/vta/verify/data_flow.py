"""Findings about data: races on chip and in DRAM, stores without a result, uninitialised reads."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import Opcode, element_bytes_per_type
from compiler_core.units.vta.verify import _dram, _sram
from compiler_core.units.vta.verify.fields import MODULE_NAMES, Decoded, is_memory
from compiler_core.units.vta.verify.findings import (
    MAX_FINDINGS_PER_CLASS,
    Finding,
    FindingClass,
    Severity,
    finding,
)
from compiler_core.units.vta.verify.tokens import TokenMatching

MEMORY_NAMES = {_sram.INP_MEMORY: "inp", _sram.WGT_MEMORY: "wgt", _sram.ACC_MEMORY: "acc"}


def check_sram(
    decoded: Decoded,
    dram: npt.NDArray[np.uint8],
    geometry: VtaGeometry,
    matching: TokenMatching,
) -> Iterator[Finding]:
    """Races, stores and uninitialised reads of on-chip elements.

    Args:
        decoded: Decoded instructions ``[n]`` whose codes, flags, loops and ranges are all legal.
        dram: ``uint8[dram_size]`` before the launch, contiguous.
        geometry: Buffers and element sizes.
        matching: Clocks of the token matching.
    """
    depth = geometry.depth
    events, counts = _sram.follow_elements(
        decoded.view(np.int64).reshape(len(decoded), -1),
        dram,
        geometry.element_bytes.uop,
        (depth.inp, depth.wgt, depth.acc, depth.uop),
        (matching.position, matching.clocks),
        MAX_FINDINGS_PER_CLASS,
    )
    for kind in range(_sram.KINDS):
        for row, other, memory, first, count in events[kind, : counts[kind]].tolist():
            resource = f"{MEMORY_NAMES[memory]} SRAM"
            elements = f"{count} elements from {first} on"
            if kind == _sram.RACE:
                module = _other_module(int(matching.module[row]), memory)
                yield _race(matching, row, module, other, resource, elements)
            elif kind == _sram.STORE_WITHOUT_RESULT:
                yield finding(
                    FindingClass.HARDWARE_RULE,
                    row,
                    resource,
                    elements,
                    "elements that an ALU or non-reset GEMM wrote since their last LOAD or reset",
                    "the store path does not hold a value that was only loaded or reset",
                )
            else:
                stored = kind == _sram.STORE_UNDEFINED
                yield finding(
                    FindingClass.UNINITIALISED_READ,
                    row,
                    resource,
                    elements,
                    "accumulators reset or loaded first" if stored else "elements loaded first",
                    "the stored result derives from an accumulator that nothing has set"
                    if stored
                    else "the GEMM reads elements that nothing has loaded",
                    severity=Severity.WARNING,
                )


def _other_module(module: int, memory: int) -> int:
    writer, reader = _sram.WRITER_MODULE[memory], _sram.READER_MODULE[memory]
    return reader if module == writer else writer


def _race(
    matching: TokenMatching, row: int, module: int, position: int, resource: str, demanded: str
) -> Finding:
    members = np.flatnonzero(matching.module == module)
    other = int(members[position - 1])
    return finding(
        FindingClass.DATA_RACE,
        row,
        resource,
        demanded,
        "accesses ordered by tokens",
        f"no token orders it after instruction {other} of the {MODULE_NAMES[module]} module",
    )


def check_dram(
    decoded: Decoded, geometry: VtaGeometry, matching: TokenMatching, dram_size: int
) -> Iterator[Finding]:
    """Races on DRAM bytes, and micro-ops that the program itself stored.

    Such micro-ops cannot be known before the run, so what they touch cannot be checked: the program
    is rejected.

    Args:
        decoded: Decoded instructions ``[n]`` whose codes, flags, loops and ranges are all legal.
        geometry: Buffers and element sizes.
        matching: Clocks of the token matching.
        dram_size: Bytes of DRAM.
    """
    type_bytes = element_bytes_per_type(geometry.element_bytes)
    members = _transfers_that_may_meet(decoded, type_bytes)
    if not members.size:
        return
    rows = decoded.view(np.int64).reshape(len(decoded), -1)
    pages = -(-dram_size // _dram.PAGE_BYTES)
    granule = math.gcd(
        _dram.PAGE_BYTES, *(int(type_bytes[t]) for t in np.unique(decoded["memory_type"][members]))
    )
    events, counts = _dram.follow_bytes(
        rows,
        members,
        type_bytes,
        granule,
        _dram.shared_pages(rows, members, type_bytes, pages),
        (matching.module, matching.position, matching.clocks),
        MAX_FINDINGS_PER_CLASS,
    )
    for row, position, module, first, count in events[_dram.RACE, : counts[_dram.RACE]].tolist():
        demanded = f"{count} bytes from {first:#x} on"
        yield _race(matching, row, module, position, "DRAM", demanded)
    kind = _dram.STORED_MICRO_OPS
    for row, position, module, first, count in events[kind, : counts[kind]].tolist():
        other = int(np.flatnonzero(matching.module == module)[position - 1])
        yield finding(
            FindingClass.HARDWARE_RULE,
            row,
            "micro-ops in DRAM",
            f"{count} bytes from {first:#x} on, written by instruction {other}",
            "micro-ops that are in DRAM before the launch",
            "micro-ops that the program computes cannot be checked",
        )


def _transfers_that_may_meet(
    decoded: Decoded, type_bytes: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Transfers whose DRAM hull overlaps that of one in the other direction, in order."""
    moving = is_memory(decoded) & (decoded["x_size"] > 0) & (decoded["y_size"] > 0)
    scale = type_bytes[decoded["memory_type"]]
    start = decoded["dram_base"] * scale
    end = start + ((decoded["y_size"] - 1) * decoded["x_stride"] + decoded["x_size"]) * scale
    stores = np.flatnonzero(moving & (decoded["opcode"] == Opcode.STORE))
    loads = np.flatnonzero(moving & (decoded["opcode"] == Opcode.LOAD))
    meeting = [
        mine[_overlaps(start[mine], end[mine], start[theirs], end[theirs])]
        for mine, theirs in ((stores, loads), (loads, stores))
    ]
    return np.sort(np.concatenate(meeting))


def _overlaps(
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    other_start: npt.NDArray[np.int64],
    other_end: npt.NDArray[np.int64],
) -> npt.NDArray[np.bool_]:
    """Which intervals ``[start, end)`` overlap any of the others."""
    # An interval is free of others when those that start before its end all end before its start.
    begun = np.searchsorted(np.sort(other_start), end, side="left")
    ended = np.searchsorted(np.sort(other_end), start, side="right")
    return np.asarray(begun > ended)
