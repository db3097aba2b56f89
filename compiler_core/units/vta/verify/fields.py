"""Checks of single instructions: codes, place of FINISH, flags, loops, fields. Array code."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import (
    AluOpcode,
    MemoryType,
    Opcode,
    element_bytes_per_type,
    reserved_bits,
)
from compiler_core.units.vta.verify.findings import (
    MAX_FINDINGS_PER_CLASS,
    Finding,
    FindingClass,
    finding,
)

LOAD_MODULE, COMPUTE_MODULE, STORE_MODULE = range(3)
MODULE_NAMES = ("load", "compute", "store")

LOWEST_DRAM_ADDRESS = 0x1000
RTL_MICRO_OPS = 2048
MAX_SHIFT = 31
_IS_LOADED = np.zeros(256, np.bool_)
_IS_LOADED[[MemoryType.UOP, MemoryType.WGT, MemoryType.INP, MemoryType.ACC]] = True

Decoded = npt.NDArray[np.void]
Mask = npt.NDArray[np.bool_]


def first_rows(mask: Mask) -> list[int]:
    """Indices of the first set entries, no more than a report shows."""
    if not mask.any():  # as in nearly every program
        return []
    rows: list[int] = np.flatnonzero(mask)[:MAX_FINDINGS_PER_CLASS].tolist()
    return rows


def is_memory(decoded: Decoded) -> Mask:
    """LOAD and STORE instructions."""
    return np.asarray(decoded["opcode"] <= Opcode.STORE)


def is_loop(decoded: Decoded) -> Mask:
    """GEMM and ALU instructions."""
    return np.asarray((decoded["opcode"] == Opcode.GEMM) | (decoded["opcode"] == Opcode.ALU))


def modules(decoded: Decoded) -> npt.NDArray[np.int8]:
    """The module that runs each instruction.

    Args:
        decoded: Decoded instructions ``[n]``.

    Returns:
        ``int8[n]`` of ``LOAD_MODULE``, ``COMPUTE_MODULE``, ``STORE_MODULE``.
    """
    result = np.full(len(decoded), COMPUTE_MODULE, np.int8)
    by_load = (decoded["memory_type"] == MemoryType.INP) | (
        decoded["memory_type"] == MemoryType.WGT
    )
    result[(decoded["opcode"] == Opcode.LOAD) & by_load] = LOAD_MODULE
    result[decoded["opcode"] == Opcode.STORE] = STORE_MODULE
    return result


def check_codes(decoded: Decoded) -> Iterator[Finding]:
    """Codes that nothing has; a multiply and an int8 accumulator load are among them."""
    for column, finding_class, rows, highest in (
        (
            "opcode",
            FindingClass.UNKNOWN_OPCODE,
            np.ones(len(decoded), np.bool_),
            max(Opcode),
        ),
        (
            "alu_opcode",
            FindingClass.UNKNOWN_ALU_OPCODE,
            decoded["opcode"] == Opcode.ALU,
            max(AluOpcode),
        ),
        (
            "memory_type",
            FindingClass.UNKNOWN_MEMORY_TYPE,
            is_memory(decoded),
            max(MemoryType),
        ),
    ):
        for row in first_rows(rows & (decoded[column] > highest)):
            yield finding(
                finding_class,
                row,
                column,
                int(decoded[column][row]),
                f"0..{int(highest)}",
                "code does not exist",
            )


def check_finish_position(decoded: Decoded) -> Iterator[Finding]:
    """Exactly one FINISH, at the end."""
    finishes = decoded["opcode"] == Opcode.FINISH
    if not finishes.any():
        yield finding(
            FindingClass.MISSING_FINISH,
            None,
            "opcode",
            f"{len(decoded)} instructions without FINISH",
            "FINISH as the last instruction",
            "the program never ends",
        )
    for row in first_rows(finishes[:-1]):
        yield finding(
            FindingClass.FINISH_NOT_LAST,
            row,
            "opcode",
            f"FINISH at {row}",
            f"only at {len(decoded) - 1}, the last instruction",
            f"FINISH is followed by {len(decoded) - 1 - row} instructions",
        )


def check_flags(decoded: Decoded) -> Iterator[Finding]:
    """The load module has no neighbour before it, the store module none after it."""
    module = modules(decoded)
    for side_module, side, other in (
        (LOAD_MODULE, "prev", "next"),
        (STORE_MODULE, "next", "prev"),
    ):
        for name in (f"pop_{side}", f"push_{side}"):
            for row in first_rows((module == side_module) & (decoded[name] != 0)):
                yield finding(
                    FindingClass.ILLEGAL_DEPENDENCE_FLAG,
                    row,
                    name,
                    1,
                    f"pop_{other} and push_{other} only",
                    f"the {MODULE_NAMES[side_module]} module has no token counter on that side",
                )


def check_loops(decoded: Decoded) -> Iterator[Finding]:
    """Loops run at least once."""
    loops = is_loop(decoded)
    for name in ("iter_out", "iter_in"):
        for row in first_rows(loops & (decoded[name] == 0)):
            yield finding(
                FindingClass.ZERO_LENGTH_LOOP, row, name, 0, "at least 1", "the loop is empty"
            )
    for row in first_rows(loops & (decoded["uop_end"] <= decoded["uop_begin"])):
        begin, end = int(decoded["uop_begin"][row]), int(decoded["uop_end"][row])
        yield finding(
            FindingClass.ZERO_LENGTH_LOOP,
            row,
            "uop_begin..uop_end",
            f"{begin}..{end}",
            "uop_end above uop_begin",
            "the micro-op range is empty",
        )


def check_fields(
    decoded: Decoded, instructions: npt.NDArray[np.uint8], geometry: VtaGeometry
) -> Iterator[Finding]:
    """Values that an instruction's format can hold and its meaning cannot.

    DRAM bases are counted in elements, so that a misaligned base cannot be written down; what is
    checked is that the first byte lies at or above 0x1000.
    """
    memory = is_memory(decoded)
    store = decoded["opcode"] == Opcode.STORE
    active = memory & (decoded["x_size"] > 0)
    memory_type = decoded["memory_type"]
    wrong_type = np.where(store, memory_type != MemoryType.OUT, ~_IS_LOADED[memory_type])
    padded = sum(decoded[name] for name in ("y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1")) > 0
    address = decoded["dram_base"] * element_bytes_per_type(geometry.element_bytes)[memory_type]
    rules: tuple[tuple[Mask, str, Callable[[int], str], str, str], ...] = (
        (
            reserved_bits(decoded, instructions),
            "reserved bits",
            lambda _: "set",
            "0",
            "bits that the format does not define are set",
        ),
        (
            memory & wrong_type & (memory_type <= max(MemoryType)),
            "memory_type",
            lambda row: MemoryType(int(memory_type[row])).name.lower(),
            "STORE out; LOAD uop, wgt, inp, acc",
            "the memory type is not for this opcode",
        ),
        (
            store & padded,
            "padding",
            lambda _: "padded STORE",
            "0 on every side",
            "a STORE cannot pad",
        ),
        (
            active & (decoded["y_size"] == 0),
            "y_size",
            lambda _: "0",
            "at least 1 where x_size > 0",
            "a transfer without rows",
        ),
        (
            active & (memory_type <= max(MemoryType)) & (address < LOWEST_DRAM_ADDRESS),
            "dram_base",
            lambda row: f"byte {int(address[row]):#x}",
            f"{LOWEST_DRAM_ADDRESS:#x} and above",
            "the transfer starts in the part of DRAM that is never used",
        ),
    )
    for mask, resource, demanded, allowed, message in rules:
        for row in first_rows(mask):
            yield finding(
                FindingClass.ILLEGAL_FIELD, row, resource, demanded(row), allowed, message
            )


def check_hardware_fields(decoded: Decoded) -> Iterator[Finding]:
    """Rules of the hardware that a single instruction can break, whatever its micro-ops."""
    load = (decoded["opcode"] == Opcode.LOAD) & (decoded["x_size"] > 0)
    alu = decoded["opcode"] == Opcode.ALU
    immediate = alu & (decoded["use_imm"] != 0)
    shift = alu & (decoded["alu_opcode"] == AluOpcode.SHR)
    padded = sum(decoded[name] for name in ("y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1")) > 0
    for memory_type, allowed in ((MemoryType.WGT, "none"), (MemoryType.UOP, "none")):
        for row in first_rows(load & padded & (decoded["memory_type"] == memory_type)):
            name = memory_type.name.lower()
            yield finding(
                FindingClass.HARDWARE_RULE,
                row,
                f"{name} padding",
                "padding",
                allowed,
                f"the hardware cannot pad a LOAD {name}",
            )
    for row in first_rows(
        load & (decoded["memory_type"] == MemoryType.UOP) & (decoded["y_size"] > 1)
    ):
        yield finding(
            FindingClass.HARDWARE_RULE,
            row,
            "y_size",
            int(decoded["y_size"][row]),
            1,
            "the hardware loads micro-ops in one row",
        )
    for outer, source in (("dst_out", "src_out"), ("dst_in", "src_in")):
        for row in first_rows(immediate & (decoded[outer] != decoded[source])):
            yield finding(
                FindingClass.HARDWARE_RULE,
                row,
                source,
                int(decoded[source][row]),
                f"{outer} = {int(decoded[outer][row])}",
                "an immediate ALU instruction reads and writes the same place",
            )
    for row in first_rows(immediate & shift & (np.abs(decoded["imm"]) > MAX_SHIFT)):
        yield finding(
            FindingClass.HARDWARE_RULE,
            row,
            "imm",
            int(decoded["imm"][row]),
            f"-{MAX_SHIFT}..{MAX_SHIFT}",
            "shift amount beyond the accumulator's width",
        )
