"""The rules between commands: how many cycles lie at least between two of them.

A rule holds within a channel, or, between commands that name a bank, within a bank group or bank.
Of several rules the largest wins. The tables are matrices: row the earlier command, column the
later one, -1 where no rule pairs them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from compiler_core.units.aim.machine.machine import AimTiming, Command

Table = npt.NDArray[np.int64]

C = Command
BANK_COMMANDS = (C.ACT, C.PRE, C.RD, C.WR, C.MAC, C.RDCP, C.WRCP)
"""Commands that name one bank."""
REGISTER_COMMANDS = (C.WRGB, C.WRMAC16, C.RDMAC16, C.RDAF16)
"""Commands of register mode; all others want bank mode."""
_READS = (C.RD, C.MAC, C.RDCP, C.MAC16, C.EWMUL16, C.RDMAC16, C.RDAF16)
_WRITES = (C.WR, C.WRCP, C.WRGB, C.WRMAC16, C.WRA16)
_BANK_WRITES = (C.WR, C.WRCP, C.WRMAC16, C.WRA16)
_OPENING = (C.ACT, C.ACT16)
_EVERY_OTHER = tuple(command for command in C if command is not C.TMOD)

Rule = tuple[Iterable[Command], Iterable[Command], int]


@dataclass(frozen=True, eq=False)
class TimingRules:
    """Tables of one set of constants.

    Attributes:
        channel, group, bank: ``int64[18, 18]``, least cycles from the command of the row to that
            of the column, by the scope of the rule.
        completion: ``int64[18]``, cycles from issue to the end of a request.
    """

    channel: Table
    group: Table
    bank: Table
    completion: Table


@lru_cache(maxsize=16)
def timing_rules(t: AimTiming) -> TimingRules:
    """The tables that constants give."""
    return TimingRules(
        _table([*_column_rules(t), *_bus_rules(t), *_row_rules(t), *_opened_rules(t)]),
        _table([((C.WR,), (C.RD,), t.n_cwl + t.n_bl + t.n_wtrl), ((C.ACT,), (C.ACT,), t.n_rrdl)]),
        _table(_bank_rules(t)),
        _completion(t),
    )


def _column_rules(t: AimTiming) -> list[Rule]:
    return [
        (_READS, _READS, t.n_ccds),
        (_WRITES, _WRITES, t.n_ccds),
        ((C.EWMUL16,), _BANK_WRITES, t.n_ccdl),
        (_BANK_WRITES, (C.EWMUL16,), t.n_ccdl),
    ]


def _bus_rules(t: AimTiming) -> list[Rule]:
    turn = t.n_bl + 3 + t.n_wpre
    registers = (C.RDMAC16, C.RDAF16)
    return [
        ((C.RD,), (C.WR, C.WRA16), t.n_cl + turn - t.n_cwl),
        ((C.RD,), (C.WRGB, C.WRMAC16), t.n_cl + turn - t.n_cwlgb),
        (registers, (C.WRGB, C.WRMAC16), t.n_clreg + turn - t.n_cwlgb),
        ((C.WR,), (C.RD,), t.n_cwl + t.n_bl + t.n_wtrs),
        ((C.WR,), registers, t.n_cwl + t.n_bl + t.n_wtrl),
        ((C.WRA16,), (C.RD, *registers), t.n_cwl + t.n_bl + t.n_wtrl),
        ((C.WRGB,), (C.RD, *registers), t.n_cwlgb + t.n_bl + t.n_wtrs),
        ((C.WRMAC16,), (C.RD, *registers), t.n_cwlreg + t.n_bl + t.n_wtrl),
    ]


def _row_rules(t: AimTiming) -> list[Rule]:
    return [
        ((C.ACT,), (C.ACT,), t.n_rrds),
        (_OPENING, (C.ACT16,), t.n_rc),
        ((C.ACT16,), (C.ACT,), t.n_rc),
        (_OPENING, (C.PREA,), t.n_ras),
        ((C.ACT16,), (C.PRE,), t.n_ras),
        ((C.PRE, C.PREA), (C.ACT16,), t.n_rp),
        ((C.PREA,), (C.ACT, C.PRE, C.PREA), t.n_rp),
        ((C.PRE,), (C.PREA,), t.n_rp),
        ((C.RD, C.RDCP, C.MAC, C.MAC16, C.AF16), (C.PREA,), t.n_rtp),
        ((C.MAC16, C.AF16), (C.PRE,), t.n_rtp),
        ((C.WR, C.WRCP), (C.PREA,), t.n_cwl + t.n_bl + t.n_wr),
        ((C.EWMUL16,), (C.PRE, C.PREA), t.n_cwl + t.n_wr),
        ((C.WRA16,), _OPENING, t.n_cwl + t.n_bl + t.n_wr + t.n_rp),
        ((C.TMOD,), _EVERY_OTHER, t.n_modch),
    ]


def _opened_rules(t: AimTiming) -> list[Rule]:
    one = (C.ACT16,)
    return [
        (_OPENING, (C.MAC16,), t.n_rcdrdmac),
        (_OPENING, (C.AF16,), t.n_rcdrdaf),
        (_OPENING, (C.EWMUL16,), t.n_rcdewmul),
        (_OPENING, (C.WRA16,), t.n_rcdwr),
        (one, (C.MAC,), t.n_rcdrdmac),
        (one, (C.RDCP,), t.n_rcdrdcp),
        (one, (C.RD,), t.n_rcdrd),
        (one, (C.WRCP,), t.n_rcdwrcp),
        (one, (C.WR,), t.n_rcdwr),
    ]


def _bank_rules(t: AimTiming) -> list[Rule]:
    one = (C.ACT,)
    return [
        (one, (C.ACT,), t.n_rc),
        (one, (C.PRE,), t.n_ras),
        ((C.PRE,), (C.ACT, C.PRE), t.n_rp),
        (one, (C.MAC,), t.n_rcdrdmac),
        (one, (C.RDCP,), t.n_rcdrdcp),
        (one, (C.RD,), t.n_rcdrd),
        (one, (C.WRCP,), t.n_rcdwrcp),
        (one, (C.WR,), t.n_rcdwr),
        ((C.RD, C.RDCP, C.MAC), (C.PRE,), t.n_rtp),
        ((C.WR, C.WRCP), (C.PRE,), t.n_cwl + t.n_bl + t.n_wr),
    ]


def _table(rules: list[Rule]) -> Table:
    table = np.full((len(C), len(C)), -1, np.int64)
    for earlier, later, cycles in rules:
        for before in earlier:
            for after in later:
                table[before, after] = max(table[before, after], cycles)
    return table


def _completion(t: AimTiming) -> Table:
    cycles = np.ones(len(C), np.int64)
    cycles[C.WR] = t.n_cwl + t.n_bl
    cycles[C.RD] = t.n_cl + t.n_bl
    cycles[C.WRGB] = t.n_cwlgb + t.n_bl
    cycles[C.WRMAC16] = t.n_cwlreg + t.n_bl
    cycles[C.RDMAC16] = cycles[C.RDAF16] = t.n_clreg + t.n_bl
    cycles[C.WRA16] = t.n_cwl + t.n_bl + t.n_rp
    return cycles
