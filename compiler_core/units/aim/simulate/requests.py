"""What instructions ask of channels, as arrays that the timing kernel reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from compiler_core.units.aim.machine.machine import MOST_CHANNELS, TABLE_ROW
from compiler_core.units.aim.program.instructions import (
    COUNTED,
    FINAL,
    FUNCTION,
    REGISTERS_AT_LAUNCH,
    Opcode,
    Records,
)

Ints = npt.NDArray[np.int64]

NO_REQUEST: Final = 0
AIM: Final = 1
BARRIER: Final = 2
READ: Final = 3
WRITE: Final = 4

_ALL_BANKS = (Opcode.WR_ABK, Opcode.MAC_ABK, Opcode.EWMUL)
_ONE_BANK = (
    Opcode.W_MEM, Opcode.R_MEM, Opcode.WR_SBK, Opcode.RD_SBK,
    Opcode.MAC_SBK, Opcode.COPY_BKGB, Opcode.COPY_GBBK,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Requests:
    """The requests of each instruction.

    Attributes:
        kind: ``int64[n]``, one of the kinds above.
        final: ``int64[n]``, command that ends each request.
        bank, row: ``int64[n]``, -1 where there is none.
        count: ``int64[n]``, requests per channel.
        blocking: ``int64[n]``, 1 where the host waits.
        members: ``int64[n]``, bit per class of channels.
        sizes: ``int64[classes]``, channels of each class.
        class_of: ``int64[channels]``, the class of each channel.
    """

    kind: Ints
    final: Ints
    bank: Ints
    row: Ints
    count: Ints
    blocking: Ints
    members: Ints
    sizes: Ints
    class_of: Ints


def requests_of(records: Records, channels: int) -> Requests:
    """The requests of a legal program.

    Channels that the same instructions select behave alike: they form a class.

    Args:
        records: The program.
        channels: Of the machine.
    """
    op = records["op"]
    kind = np.full(len(op), AIM, np.int64)
    final = np.zeros(len(op), np.int64)
    for code, command in FINAL.items():
        final[op == code] = command
    kind[_is(op, Opcode.W_GPR, Opcode.R_GPR, Opcode.W_CFR, Opcode.EWADD)] = NO_REQUEST
    kind[_is(op, Opcode.SYNC, Opcode.EOC)] = BARRIER
    kind[_is(op, Opcode.R_MEM, Opcode.RD_SBK)] = READ
    kind[_is(op, Opcode.W_MEM, Opcode.WR_SBK)] = WRITE
    one, every = _is(op, *_ONE_BANK), _is(op, *_ALL_BANKS)
    row = np.where(one | every, records["row"], -1)
    row[op == Opcode.AF] = TABLE_ROW + _functions(records)[op == Opcode.AF]
    members, class_of = _classes(records, kind, channels)
    return Requests(
        kind,
        final,
        np.where(one, records["bank"], -1),
        row,
        np.where(_is(op, *COUNTED), records["n"], 1),
        (kind == BARRIER).astype(np.int64) + _is(op, Opcode.RD_MAC, Opcode.RD_AF),
        members,
        np.bincount(class_of),
        class_of,
    )


def selected(records: Records, channels: int) -> npt.NDArray[np.bool_]:
    """Which channels each instruction selects, ``bool[n, channels]``."""
    op, mask = records["op"], records["mask"]
    memory = _is(op, Opcode.W_MEM, Opcode.R_MEM)
    numbers = np.arange(channels)
    bits = (mask[:, None] >> (MOST_CHANNELS - 1 - numbers)) & 1 == 1
    chosen = np.where(memory[:, None], mask[:, None] == numbers, bits)
    chosen[_is(op, Opcode.SYNC, Opcode.EOC)] = True
    chosen[_is(op, Opcode.W_GPR, Opcode.R_GPR, Opcode.W_CFR, Opcode.EWADD)] = False
    return np.asarray(chosen, np.bool_)


def _classes(records: Records, kind: Ints, channels: int) -> tuple[Ints, Ints]:
    chosen = selected(records, channels)
    _, class_of = np.unique(np.packbits(chosen, axis=0), axis=1, return_inverse=True)
    class_of = np.asarray(class_of, np.int64).reshape(-1)
    members = np.zeros(len(kind), np.int64)
    for channel, number in enumerate(class_of.tolist()):
        members |= chosen[:, channel].astype(np.int64) << number
    return members, class_of


def _functions(records: Records) -> Ints:
    """The register of the activation function as each instruction finds it."""
    sets = (records["op"] == Opcode.W_CFR) & (records["gpr"] == FUNCTION)
    last = np.maximum.accumulate(np.where(sets, np.arange(len(sets)), -1))
    found = np.where(last >= 0, records["value"][last], REGISTERS_AT_LAUNCH[FUNCTION])
    return np.asarray(found, np.int64)


def _is(op: Ints, *codes: Opcode) -> npt.NDArray[np.bool_]:
    return np.isin(op, [int(code) for code in codes])
