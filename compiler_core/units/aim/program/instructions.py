"""Instructions as structured data: one record of integers per instruction.

Records are wider than the fields of the file form, so that what a text or file says that is out of
range can be held, and refused by the verifier with the value that was seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler_core.units.aim.machine.machine import Command


class Opcode(IntEnum):
    """Instructions by the numbers of the file form."""

    W_GPR = 0
    R_GPR = 1
    W_CFR = 2
    W_MEM = 3
    R_MEM = 4
    WR_SBK = 5
    RD_SBK = 6
    WR_ABK = 7
    WR_GB = 8
    WR_BIAS = 9
    RD_MAC = 10
    RD_AF = 11
    COPY_BKGB = 12
    COPY_GBBK = 13
    MAC_SBK = 14
    MAC_ABK = 15
    AF = 16
    EWMUL = 17
    EWADD = 18
    SYNC = 19
    EOC = 20


NO_OPCODE: Final = -1
"""Opcode of a line that is no instruction."""

FIELDS: Final = ("op", "n", "bank", "col", "lane", "row", "mask", "gpr", "gpr2", "value")
WIDE: Final = np.dtype([(name, np.int64) for name in FIELDS])
"""A record in memory; ``mask`` of ``W_MEM`` and ``R_MEM`` is the *number* of the channel."""
Records = npt.NDArray[Any]
"""``WIDE[n]``."""

OPERANDS: Final[dict[Opcode, tuple[str, ...]]] = {
    Opcode.W_GPR: ("gpr",),
    Opcode.R_GPR: ("gpr",),
    Opcode.W_CFR: ("gpr", "value"),
    Opcode.EWADD: ("n", "gpr", "gpr2"),
    Opcode.W_MEM: ("mask", "bank", "row"),
    Opcode.R_MEM: ("mask", "bank", "row"),
    Opcode.WR_SBK: ("gpr", "mask", "bank", "row"),
    Opcode.RD_SBK: ("gpr", "mask", "bank", "row"),
    Opcode.WR_ABK: ("gpr", "mask", "row"),
    Opcode.WR_GB: ("n", "gpr", "mask"),
    Opcode.WR_BIAS: ("gpr", "mask"),
    Opcode.MAC_ABK: ("n", "mask", "row"),
    Opcode.MAC_SBK: ("n", "mask", "bank", "row"),
    Opcode.AF: ("mask",),
    Opcode.RD_MAC: ("gpr", "mask"),
    Opcode.RD_AF: ("gpr", "mask"),
    Opcode.EWMUL: ("n", "mask", "row"),
    Opcode.COPY_BKGB: ("n", "mask", "bank", "row"),
    Opcode.COPY_GBBK: ("n", "mask", "bank", "row"),
    Opcode.SYNC: (),
    Opcode.EOC: (),
}
"""Operands in the order of the text form."""

FINAL: Final[dict[Opcode, Command]] = {
    Opcode.W_MEM: Command.WR,
    Opcode.R_MEM: Command.RD,
    Opcode.WR_SBK: Command.WR,
    Opcode.RD_SBK: Command.RD,
    Opcode.WR_ABK: Command.WRA16,
    Opcode.WR_GB: Command.WRGB,
    Opcode.WR_BIAS: Command.WRMAC16,
    Opcode.MAC_ABK: Command.MAC16,
    Opcode.MAC_SBK: Command.MAC,
    Opcode.AF: Command.AF16,
    Opcode.RD_MAC: Command.RDMAC16,
    Opcode.RD_AF: Command.RDAF16,
    Opcode.EWMUL: Command.EWMUL16,
    Opcode.COPY_BKGB: Command.RDCP,
    Opcode.COPY_GBBK: Command.WRCP,
}
"""The command that does what an instruction asks of a channel."""

COUNTED: Final = frozenset(op for op, names in OPERANDS.items() if "n" in names)
"""Instructions that say how many columns."""

PER_CHANNEL: Final = (Opcode.WR_SBK, Opcode.RD_SBK, Opcode.COPY_BKGB, Opcode.COPY_GBBK)

BROADCAST, EWMUL_GROUPS, FUNCTION = 0, 1, 2
"""Numbers of the configuration registers."""
REGISTER_BOUNDS: Final = (1, 1, 7)
REGISTERS_AT_LAUNCH: Final = (0, 1, 0)


@dataclass(frozen=True, eq=False)
class Program:
    """A program as it was written, right or wrong.

    Attributes:
        records: ``WIDE[n]``; lines that are no instruction have :data:`NO_OPCODE`.
        complaints: Why a line is no instruction, by its index.
    """

    records: Records
    complaints: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)


def record(op: Opcode, **operands: int) -> tuple[int, ...]:
    """One instruction as the values of a record; what is not named is 0."""
    values = dict.fromkeys(FIELDS, 0)
    values.update(op=int(op), **operands)
    return tuple(values[name] for name in FIELDS)


def program_of(records: Iterable[Sequence[int]]) -> Program:
    """A program of values as :func:`record` gives them."""
    rows = [tuple(row) for row in records]
    return Program(np.array(rows, WIDE) if rows else np.zeros(0, WIDE))
