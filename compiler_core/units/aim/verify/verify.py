"""Whether a program is legal: every rule of the instruction set, in one pass.

Rules of operands come first, then those of what earlier instructions did. An instruction that
breaks a rule gives one finding, of the first rule that it breaks, and does nothing; those after it
are judged all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from compiler_core.units.aim.machine.machine import (
    BANKS,
    COLUMNS,
    LANES,
    MOST_CHANNELS,
    AimMachine,
    channels_of,
)
from compiler_core.units.aim.program.instructions import (
    BROADCAST,
    COUNTED,
    OPERANDS,
    REGISTER_BOUNDS,
    REGISTERS_AT_LAUNCH,
    Opcode,
    Program,
)
from compiler_core.units.aim.verify.findings import Finding, FindingClass

MOST_FINDINGS: Final = 100
"""Findings that are kept; the first one counts."""

_EVERY = set(Opcode)
_NAMED = (Opcode.W_MEM, Opcode.R_MEM)
_MASKED = {op for op, names in OPERANDS.items() if "mask" in names} - set(_NAMED)
_WITH_BANK = {op for op, names in OPERANDS.items() if "bank" in names}
_WITH_ROW = {op for op, names in OPERANDS.items() if "row" in names}
_WITH_COLUMN = _WITH_ROW | {Opcode.WR_GB}
_PER_CHANNEL = {Opcode.RD_SBK, Opcode.WR_BIAS, Opcode.RD_MAC, Opcode.RD_AF}
_WITH_GPR = {op for op, names in OPERANDS.items() if "gpr" in names} - {Opcode.W_CFR}
_FROM_HOST = (Opcode.W_GPR, Opcode.W_MEM)
_MULTIPLYING = (Opcode.MAC_ABK, Opcode.MAC_SBK)

Broken = tuple[FindingClass, str, int, int]


class Verifier:
    """State of one pass.

    Args:
        machine: What the program is for.
        host_blocks: Blocks that the host may write; ``None`` where that is not known.
    """

    def __init__(self, machine: AimMachine, host_blocks: int | None = None) -> None:
        self._machine, self._host_blocks = machine, host_blocks
        self._outside = ((1 << MOST_CHANNELS) - 1) ^ machine.every_channel
        self._configuration = list(REGISTERS_AT_LAUNCH)
        self._buffered = [0] * MOST_CHANNELS
        """Columns of each channel's buffer that were written, a bit per column."""
        self._known_buffered: set[tuple[int, int]] = set()
        self._summing = self._unread = self._activated = 0
        """Channels, as masks: with accumulators written, with sums not taken, with AF done."""
        self._pending = 0
        """General registers on their way from a bank, a bit per register."""

    def broken(self, op: Opcode, row: tuple[int, ...]) -> Broken | None:
        """The first rule that an instruction breaks; one that breaks none takes effect."""
        found = self._operands(op, row) or self._order(op, row)
        if found is None:
            self._take(op, row)
        return found

    def _operands(self, op: Opcode, row: tuple[int, ...]) -> Broken | None:
        _, n, bank, col, lane, place, mask, gpr, gpr2, value = row
        machine = self._machine
        if op in _MASKED:
            if not 0 < mask < 1 << MOST_CHANNELS or mask & self._outside:
                return FindingClass.MASK, "channel mask", mask, machine.every_channel
            if op is Opcode.WR_ABK and mask & (mask - 1):
                return FindingClass.MASK_SINGLE, "channels of WR_ABK", mask.bit_count(), 1
        elif op in _NAMED and not 0 <= mask < machine.channels:
            return FindingClass.CHANNEL, "channel", mask, machine.channels - 1
        if op in _WITH_COLUMN and not 0 <= col < COLUMNS:
            return FindingClass.COUNT, "first column", col, COLUMNS - 1
        if op is Opcode.WR_ABK and not 0 <= lane < LANES:
            return FindingClass.COUNT, "lane", lane, LANES - 1
        if op in COUNTED:
            most = COLUMNS if op is Opcode.EWADD else COLUMNS - col
            if not 1 <= n <= most:
                return FindingClass.COUNT, "columns", n, most
        if op in _WITH_BANK and not 0 <= bank < BANKS:
            return FindingClass.BANK, "bank", bank, BANKS - 1
        if op is Opcode.MAC_SBK and self._configuration[BROADCAST] and bank % 2:
            return FindingClass.BANK, "odd bank while BROADCAST is 1", bank, BANKS - 2
        if op in _WITH_ROW and not 0 <= place < machine.rows:
            return FindingClass.ROW, "row", place, machine.rows - 1
        if op is Opcode.W_CFR:
            if not 0 <= gpr < len(REGISTER_BOUNDS):
                return FindingClass.CFR, "configuration register", gpr, len(REGISTER_BOUNDS) - 1
            if not 0 <= value <= REGISTER_BOUNDS[gpr]:
                return FindingClass.CFR, f"value of CFR {gpr}", value, REGISTER_BOUNDS[gpr]
        return self._registers(op, n, mask, gpr, gpr2, value)

    def _registers(
        self, op: Opcode, n: int, mask: int, gpr: int, gpr2: int, value: int
    ) -> Broken | None:
        most = self._machine.registers - 1
        if op in _WITH_GPR:
            last = gpr + _blocks(op, n, mask) - 1
            if gpr < 0 or last > most:
                return FindingClass.GPR, "general register", gpr if gpr < 0 else last, most
        if op is Opcode.EWADD and (gpr2 < 0 or gpr2 + n - 1 > most):
            return FindingClass.GPR, "general register", gpr2 if gpr2 < 0 else gpr2 + n - 1, most
        held = self._host_blocks
        if op in _FROM_HOST and held is not None and not 0 <= value < held:
            return FindingClass.HOST_DATA, "block of the host", value, held - 1
        return None

    def _order(self, op: Opcode, row: tuple[int, ...]) -> Broken | None:
        n, col, mask = row[1], row[3], row[6]
        if self._pending and op in _WITH_GPR and op is not Opcode.RD_SBK:
            waiting = self._pending & _used(op, row)
            if waiting:
                number = (waiting & -waiting).bit_length() - 1
                return FindingClass.GPR_PENDING, f"GPR {number} before SYNC", 1, 0
        multiplies = op in _MULTIPLYING
        if op is Opcode.COPY_GBBK or (multiplies and not self._configuration[BROADCAST]):
            lacking = self._unbuffered(mask, ((1 << n) - 1) << col)
            if lacking:
                return FindingClass.GB_UNWRITTEN, lacking[0], n, lacking[1]
        if multiplies or op in (Opcode.AF, Opcode.RD_MAC):
            lacks = mask & ~self._summing
            if lacks:
                return FindingClass.ACC_UNWRITTEN, *_channels("no WR_BIAS", mask, lacks)
        if op is Opcode.WR_BIAS and mask & self._unread:
            lost = mask & self._unread
            return FindingClass.ACC_LOST, *_channels("sums nobody took", mask, lost)
        if op is Opcode.RD_AF and mask & ~self._activated:
            lacks = mask & ~self._activated
            return FindingClass.AF_UNWRITTEN, *_channels("no AF", mask, lacks)
        return None

    def _unbuffered(self, mask: int, wanted: int) -> tuple[str, int] | None:
        """Which column of a buffer was never written, and how many of those wanted were; they stay
        written once they are."""
        if (mask, wanted) in self._known_buffered:
            return None
        for channel in channels_of(mask):
            lacking = wanted & ~self._buffered[channel]
            if lacking:
                column = (lacking & -lacking).bit_length() - 1
                what = f"buffer column {column} of channel {channel} was never written"
                return what, (wanted & self._buffered[channel]).bit_count()
        self._known_buffered.add((mask, wanted))
        return None

    def _take(self, op: Opcode, row: tuple[int, ...]) -> None:
        n, col, mask, gpr, value = row[1], row[3], row[6], row[7], row[9]
        if op is Opcode.W_CFR:
            self._configuration[gpr] = value
        elif op in (Opcode.WR_GB, Opcode.COPY_BKGB):
            columns = ((1 << n) - 1) << col
            for channel in channels_of(mask):
                self._buffered[channel] |= columns
        elif op is Opcode.WR_BIAS:
            self._summing |= mask
        elif op in _MULTIPLYING:
            self._unread |= mask
        elif op is Opcode.RD_MAC:
            self._unread &= ~mask
        elif op is Opcode.AF:
            self._unread &= ~mask
            self._activated |= mask
        elif op is Opcode.RD_SBK:
            self._pending |= _used(op, row)
        elif op is Opcode.SYNC:
            self._pending = 0


def _blocks(op: Opcode, n: int, mask: int) -> int:
    """General registers that an instruction touches from its first one on."""
    if op in (Opcode.WR_GB, Opcode.EWADD):
        return n
    return mask.bit_count() if op in _PER_CHANNEL else 1


def _used(op: Opcode, row: tuple[int, ...]) -> int:
    n, mask, gpr, gpr2 = row[1], row[6], row[7], row[8]
    used = ((1 << _blocks(op, n, mask)) - 1) << gpr
    return used | ((1 << n) - 1) << gpr2 if op is Opcode.EWADD else used


def _channels(what: str, mask: int, lacking: int) -> tuple[str, int, int]:
    """What is wrong in some channels; how many are meant, and in how many all is right."""
    named = channels_of(lacking)
    more = f" and {len(named) - 1} more" if len(named) > 1 else ""
    return f"{what} in channel {named[0]}{more}", mask.bit_count(), (mask & ~lacking).bit_count()


def verify(
    program: Program, machine: AimMachine, *, host_blocks: int | None = None
) -> tuple[Finding, ...]:
    """Judges a program.

    Args:
        program: As it was written.
        machine: What it is for.
        host_blocks: Blocks that the host may write; ``None`` where that is not known.

    Returns:
        The first findings, in the order of the program; empty for a legal one.
    """
    found: list[Finding] = []
    verifier = Verifier(machine, host_blocks)
    ended = False
    known: Callable[[int], bool] = {int(op) for op in _EVERY}.__contains__
    for index, row in enumerate(program.records.tolist()):
        if ended:
            left = len(program) - index
            found.append(
                Finding(FindingClass.EOC_NOT_LAST, index, "instructions after EOC", left, 0)
            )
            break
        if not known(row[0]):
            what = program.complaints.get(index, f"opcode {row[0]} is no instruction")
            found.append(Finding(FindingClass.SYNTAX, index, what, 1, 0))
        elif row[0] == Opcode.EOC:
            ended = True
        else:
            broken = verifier.broken(Opcode(row[0]), row)
            if broken is not None:
                kind, what, demand, bound = broken
                found.append(Finding(kind, index, what, demand, bound))
        if len(found) >= MOST_FINDINGS:
            break
    if not ended and len(found) < MOST_FINDINGS:
        found.append(Finding(FindingClass.NO_EOC, len(program), "EOC instructions", 0, 1))
    return tuple(found)
