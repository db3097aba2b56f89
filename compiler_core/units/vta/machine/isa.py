"""The VTA instruction set: 128-bit instructions and 32-bit micro-ops as NumPy structured data.

An instruction stream is ``uint8[n, 16]``, little-endian, as it lies in DRAM. :func:`decode` turns
it into one structured row per instruction with every field of every format as ``int64`` (fields
that an opcode does not have are 0), so that checks and simulators are plain array code;
:func:`encode` is its inverse.

Bit positions: the field tables below. Source: VTA hardware 0.0.2, 128-bit instruction words.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.hardware import ElementBytes

INSTRUCTION_BYTES = 16
MICRO_OP_BYTES = 4


class Opcode(IntEnum):
    LOAD = 0
    STORE = 1
    GEMM = 2
    FINISH = 3
    ALU = 4


class MemoryType(IntEnum):
    UOP = 0
    WGT = 1
    INP = 2
    ACC = 3
    OUT = 4


class AluOpcode(IntEnum):
    MIN = 0
    MAX = 1
    ADD = 2
    SHR = 3


class Field(NamedTuple):
    """Bits ``[high:low]`` of an instruction word, inclusive."""

    high: int
    low: int
    signed: bool = False

    @property
    def width(self) -> int:
        return self.high - self.low + 1

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest value that fits."""
        lowest = -(1 << (self.width - 1)) if self.signed else 0
        return lowest, lowest + (1 << self.width) - 1


COMMON_FIELDS = {
    "opcode": Field(2, 0),
    "pop_prev": Field(3, 3),
    "pop_next": Field(4, 4),
    "push_prev": Field(5, 5),
    "push_next": Field(6, 6),
}
MEMORY_FIELDS = {
    "memory_type": Field(9, 7),
    "sram_base": Field(25, 10),
    "dram_base": Field(57, 26),
    "y_size": Field(79, 64),
    "x_size": Field(95, 80),
    "x_stride": Field(111, 96),
    "y_pad_0": Field(115, 112),
    "y_pad_1": Field(119, 116),
    "x_pad_0": Field(123, 120),
    "x_pad_1": Field(127, 124),
}
LOOP_FIELDS = {
    "reset": Field(7, 7),
    "uop_begin": Field(20, 8),
    "uop_end": Field(34, 21),
    "iter_out": Field(48, 35),
    "iter_in": Field(62, 49),
    "dst_out": Field(74, 64),
    "dst_in": Field(85, 75),
    "src_out": Field(96, 86),
    "src_in": Field(107, 97),
}
GEMM_FIELDS = LOOP_FIELDS | {"wgt_out": Field(117, 108), "wgt_in": Field(127, 118)}
ALU_FIELDS = LOOP_FIELDS | {
    "alu_opcode": Field(110, 108),
    "use_imm": Field(111, 111),
    "imm": Field(127, 112, signed=True),
}
FORMATS = {
    Opcode.LOAD: MEMORY_FIELDS,
    Opcode.STORE: MEMORY_FIELDS,
    Opcode.GEMM: GEMM_FIELDS,
    Opcode.FINISH: {},
    Opcode.ALU: ALU_FIELDS,
}
"""Fields beside the common ones, per opcode."""

INSTRUCTION_DTYPE = np.dtype(
    [
        (name, np.int64)
        for name in dict.fromkeys([*COMMON_FIELDS, *MEMORY_FIELDS, *GEMM_FIELDS, *ALU_FIELDS])
    ]
)
"""One decoded instruction: every field as ``int64``."""

COLUMN = {name: index for index, name in enumerate(INSTRUCTION_DTYPE.names or ())}
"""Column of a field where decoded instructions are viewed as ``int64[n, len(COLUMN)]``."""

MICRO_OP_DTYPE = np.dtype([("dst", np.int32), ("src", np.int32), ("wgt", np.int32)])
MICRO_OP_FIELDS = {"dst": Field(10, 0), "src": Field(21, 11), "wgt": Field(31, 22)}


class _Layout:
    """Fields of one format, taken out of all instructions at once.

    Args:
        fields: By name.
    """

    def __init__(self, fields: Mapping[str, Field]) -> None:
        halves, lows = zip(*(divmod(field.low, 64) for field in fields.values()), strict=True)
        self.columns = np.array([COLUMN[name] for name in fields])
        self._halves = np.array(halves)
        self._lows = np.array(lows, np.uint64)
        self._masks = np.array([(1 << field.width) - 1 for field in fields.values()], np.uint64)
        self._signs = [
            (index, field.width) for index, field in enumerate(fields.values()) if field.signed
        ]

    def extract(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """``int64[n, fields]`` of ``uint64[n, 2]`` words."""
        values = ((words[:, self._halves] >> self._lows) & self._masks).astype(np.int64)
        for index, width in self._signs:
            values[:, index] -= (values[:, index] >> (width - 1)) << width
        return values


def _members(*opcodes: Opcode) -> npt.NDArray[np.bool_]:
    """Which values of the opcode's field are among some, ``bool[8]``."""
    members = np.zeros(1 << COMMON_FIELDS["opcode"].width, bool)
    members[list(opcodes)] = True
    return members


_COMMON = _Layout(COMMON_FIELDS)
_LAYOUTS = (
    (_Layout(MEMORY_FIELDS), _members(Opcode.LOAD, Opcode.STORE)),
    (_Layout(GEMM_FIELDS), _members(Opcode.GEMM)),
    (_Layout(ALU_FIELDS), _members(Opcode.ALU)),
)


def as_words(instructions: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Views ``uint8[n, 16]`` as ``uint64[n, 2]`` words, the low one first."""
    return np.ascontiguousarray(instructions).view("<u8").reshape(-1, 2)


def decode(instructions: npt.NDArray[np.uint8]) -> npt.NDArray[np.void]:
    """Decodes an instruction stream.

    Args:
        instructions: ``uint8[n, 16]``; any bytes. An unknown opcode decodes to its common fields
            only.

    Returns:
        Structured array ``[n]`` of :data:`INSTRUCTION_DTYPE`.
    """
    words = as_words(instructions)
    table = np.zeros((len(words), len(COLUMN)), np.int64)
    table[:, _COMMON.columns] = _COMMON.extract(words)
    opcodes = table[:, COLUMN["opcode"]]
    for layout, members in _LAYOUTS:
        rows = np.flatnonzero(members[opcodes])
        if rows.size:
            table[rows[:, None], layout.columns] = layout.extract(words[rows])
    return table.view(INSTRUCTION_DTYPE).reshape(len(words))


def encode(decoded: npt.NDArray[np.void]) -> npt.NDArray[np.uint8]:
    """Encodes decoded instructions; the inverse of :func:`decode`.

    Args:
        decoded: Structured array ``[n]`` of :data:`INSTRUCTION_DTYPE`.

    Returns:
        ``uint8[n, 16]``.

    Raises:
        ValueError: A value does not fit its field, or a field that the opcode does not have is not
            0.
    """
    words = np.zeros((len(decoded), 2), np.uint64)
    _insert(words, decoded, np.arange(len(decoded)), COMMON_FIELDS)
    for opcode, fields in FORMATS.items():
        rows = np.flatnonzero(decoded["opcode"] == opcode)
        if rows.size:
            _insert(words, decoded, rows, fields)
            for name in COLUMN.keys() - COMMON_FIELDS.keys() - fields.keys():
                if decoded[name][rows].any():
                    raise ValueError(f"{opcode.name} has no field {name}")
    return words.view(np.uint8).reshape(-1, INSTRUCTION_BYTES)


def _insert(
    words: npt.NDArray[np.uint64],
    decoded: npt.NDArray[np.void],
    rows: npt.NDArray[np.intp],
    fields: dict[str, Field],
) -> None:
    for name, field in fields.items():
        values = decoded[name][rows]
        low_limit, high_limit = field.limits
        if values.size and (values.min() < low_limit or values.max() > high_limit):
            wrong = values[(values < low_limit) | (values > high_limit)][0]
            raise ValueError(f"{name} = {wrong} is outside {low_limit}..{high_limit}")
        bits = values.astype(np.uint64) & np.uint64((1 << field.width) - 1)
        half, low = divmod(field.low, 64)
        words[rows, half] |= bits << np.uint64(low)


def reserved_bits(
    decoded: npt.NDArray[np.void], instructions: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """Says which instructions have bits set that their format does not define.

    Args:
        decoded: ``decode(instructions)``.
        instructions: ``uint8[n, 16]``.

    Returns:
        ``bool[n]``.
    """
    words = as_words(instructions)
    result = np.zeros(len(words), np.bool_)
    for opcode in range(8):
        fields = COMMON_FIELDS | FORMATS.get(Opcode(opcode), {}) if opcode <= 4 else COMMON_FIELDS
        mask = sum(((1 << f.width) - 1) << f.low for f in fields.values())
        rows = decoded["opcode"] == opcode
        low, high = np.uint64(~mask & (2**64 - 1)), np.uint64(~mask >> 64 & (2**64 - 1))
        result |= rows & (((words[:, 0] & low) | (words[:, 1] & high)) != 0)
    return result


def decode_micro_ops(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.void]:
    """Decodes ``uint8[4 k]`` into a structured array ``[k]`` of :data:`MICRO_OP_DTYPE`."""
    words = np.ascontiguousarray(data).view("<u4")
    decoded = np.empty(len(words), MICRO_OP_DTYPE)
    for name, field in MICRO_OP_FIELDS.items():
        decoded[name] = (words >> np.uint32(field.low)) & np.uint32((1 << field.width) - 1)
    return decoded


def encode_micro_ops(decoded: npt.NDArray[np.void]) -> npt.NDArray[np.uint8]:
    """Encodes micro-ops; the inverse of :func:`decode_micro_ops`.

    Raises:
        ValueError: An index does not fit its field.
    """
    words = np.zeros(len(decoded), np.uint32)
    for name, field in MICRO_OP_FIELDS.items():
        values = decoded[name]
        if values.size and (values.min() < 0 or values.max() >= 1 << field.width):
            raise ValueError(f"micro-op {name} is outside 0..{(1 << field.width) - 1}")
        words |= values.astype(np.uint32) << np.uint32(field.low)
    return words.view(np.uint8)


def element_bytes_per_type(element_bytes: ElementBytes) -> npt.NDArray[np.int64]:
    """Bytes of an element, indexed by memory type code; 1 for codes that do not exist."""
    by_code = [getattr(element_bytes, memory_type.name.lower()) for memory_type in MemoryType]
    return np.array(by_code + [1] * (8 - len(by_code)), np.int64)
