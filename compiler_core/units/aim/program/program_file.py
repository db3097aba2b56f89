"""Programs in files: the text form, or an ``.npz`` with a program and what it begins with.

Whoever wrote a file is not trusted: every array is checked before it is used. Whether the
*program* is right is the verifier's question, not this module's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.files.npz import MIB, NpzLimits, read_npz
from compiler_core.files.small_file import read_small_file
from compiler_core.units.aim.machine.machine import (
    BANKS,
    COLUMNS,
    LANES,
    MOST_CHANNELS,
    AimMachine,
)
from compiler_core.units.aim.program.instructions import FIELDS, WIDE, Opcode, Program, Records
from compiler_core.units.aim.program.text import parse_text

FILE_RECORD: Final = np.dtype(
    [
        ("op", "u1"), ("n", "u1"), ("bank", "u1"), ("col", "u1"), ("lane", "u1"),
        ("row", "<u2"), ("mask", "<u4"), ("gpr", "<u4"), ("gpr2", "<u4"), ("value", "<i4"),
    ]
)  # fmt: skip
"""A record of the file form; ``mask`` of ``W_MEM`` and ``R_MEM`` has the bit of the channel."""

INSTRUCTION_LIMIT: Final = 1 << 20
BLOCK_LIMIT: Final = 1 << 24
TEXT_LIMIT_BYTES: Final = 64 * MIB
_ARRAYS = ("program", "bank_addr", "bank_data", "gpr_addr", "gpr_data", "host_data")
_LIMITS = NpzLimits(total_bytes=1024 * MIB, array_count=64)
_HINT = "docs/aim.md lists the arrays of a program file"


@dataclass(frozen=True, eq=False)
class ProgramFile:
    """A program and what it begins with.

    Attributes:
        program: As it was written.
        bank_addresses: ``int64[n, 4]``: channel, bank, row, column.
        bank_blocks: ``uint16[n, 16]``.
        register_numbers: ``int64[n]``.
        register_blocks: ``uint16[n, 16]``.
        host_blocks: ``uint16[n, 16]`` that the program indexes; ``None`` for a text.
    """

    program: Program
    bank_addresses: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((0, 4), np.int64)
    )
    bank_blocks: npt.NDArray[np.uint16] = field(
        default_factory=lambda: np.zeros((0, LANES), np.uint16)
    )
    register_numbers: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    register_blocks: npt.NDArray[np.uint16] = field(
        default_factory=lambda: np.zeros((0, LANES), np.uint16)
    )
    host_blocks: npt.NDArray[np.uint16] | None = None


def read_program_file(path: Path, machine: AimMachine) -> ProgramFile:
    """Reads either form.

    Args:
        path: Of the file.
        machine: Which banks and registers there are.

    Raises:
        InputError: It is neither, damaged, or says what cannot be.
    """
    if _is_archive(path):
        return _of_arrays(path, machine)
    data = read_small_file(path, TEXT_LIMIT_BYTES)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: neither an .npz file nor text in UTF-8 (byte {error.start})", hint=_HINT
        ) from error
    lines = text.split("\n")
    if len(lines) > 4 * INSTRUCTION_LIMIT:
        raise InputError(f"{path}: {len(lines)} lines; at most {4 * INSTRUCTION_LIMIT} are read")
    program = parse_text(lines)
    _require_length(path, len(program))
    return ProgramFile(program)


def _is_archive(path: Path) -> bool:
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is no regular file; a program is a file", hint=_HINT)
        with path.open("rb") as stream:
            return stream.read(2) == b"PK"
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _require_length(path: Path, length: int) -> None:
    if length > INSTRUCTION_LIMIT:
        raise InputError(f"{path}: {length} instructions; at most {INSTRUCTION_LIMIT} are read")


def _of_arrays(path: Path, machine: AimMachine) -> ProgramFile:
    arrays = read_npz(path, names=_ARRAYS, limits=_LIMITS, records={"program": FILE_RECORD})
    if "program" not in arrays:
        raise InputError(f"{path}: has no array program", hint=_HINT)
    program = arrays["program"]
    if program.dtype != FILE_RECORD.newbyteorder("=") or program.ndim != 1:
        raise InputError(
            f"{path}: program has shape {program.shape} and type {str(program.dtype)[:80]}; "
            "allowed is one axis of records",
            hint=_HINT,
        )
    _require_length(path, len(program))
    banks = (machine.channels, BANKS, machine.rows, COLUMNS)
    addresses, blocks = _pair(path, arrays, "bank", banks)
    numbers, registers = _pair(path, arrays, "gpr", (machine.registers,))
    host = _blocks(path, "host_data", arrays["host_data"]) if "host_data" in arrays else None
    return ProgramFile(
        Program(widened(program)), addresses, blocks, numbers.reshape(-1), registers, host
    )


def _pair(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], name: str, bounds: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16]]:
    """Addresses and blocks that belong together, both checked."""
    given = [f"{name}_{part}" in arrays for part in ("addr", "data")]
    if not any(given):
        return np.zeros((0, len(bounds)), np.int64), np.zeros((0, LANES), np.uint16)
    if not all(given):
        raise InputError(f"{path}: has one of {name}_addr and {name}_data alone", hint=_HINT)
    addresses, blocks = arrays[f"{name}_addr"], _blocks(path, name, arrays[f"{name}_data"])
    shape = (len(blocks), len(bounds)) if len(bounds) > 1 else (len(blocks),)
    if addresses.dtype.kind not in "iu" or addresses.shape != shape:
        raise InputError(
            f"{path}: {name}_addr has shape {addresses.shape} and type {addresses.dtype}; "
            f"integers of shape {shape} are needed",
            hint=_HINT,
        )
    places = addresses.reshape(len(blocks), len(bounds))
    wrong = np.argwhere((places < 0) | (places >= np.array(bounds)))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise InputError(
            f"{path}: {name}_addr[{row}] holds {int(places[row, column])}; "
            f"allowed are 0 to {bounds[column] - 1}",
            hint=_HINT,
        )
    return places.astype(np.int64), blocks


def _blocks(path: Path, name: str, blocks: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    if blocks.dtype != np.uint16 or blocks.ndim != 2 or blocks.shape[1] != LANES:
        raise InputError(
            f"{path}: {name} has blocks of shape {blocks.shape} and type {blocks.dtype}; uint16 of "
            f"shape (n, {LANES}) is needed",
            hint=_HINT,
        )
    if len(blocks) > BLOCK_LIMIT:
        raise InputError(f"{path}: {name} has {len(blocks)} blocks; at most {BLOCK_LIMIT}")
    return blocks


def _memory(records: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.isin(records["op"], [int(Opcode.W_MEM), int(Opcode.R_MEM)])


def widened(records: npt.NDArray[Any]) -> Records:
    """Records of the file form as those in memory; a mask without exactly one bit names no
    channel where one channel is meant."""
    wide = np.zeros(len(records), WIDE)
    for name in FIELDS:
        wide[name] = records[name]
    memory = _memory(records)
    masks = wide["mask"][memory]
    single = (masks > 0) & (masks & (masks - 1) == 0)
    highest = np.log2(np.maximum(masks, 1)).astype(np.int64)
    wide["mask"][memory] = np.where(single, MOST_CHANNELS - 1 - highest, -1)
    return wide


def narrowed(records: Records) -> npt.NDArray[Any]:
    """Records of a legal program in the file form."""
    narrow = np.zeros(len(records), FILE_RECORD)
    wide = records.copy()
    memory = _memory(wide)
    wide["mask"][memory] = 1 << (MOST_CHANNELS - 1 - wide["mask"][memory])
    for name in FIELDS:
        narrow[name] = wide[name]
    return narrow
