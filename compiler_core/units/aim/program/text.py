"""The text form: one instruction per line, which simulators of the device read.

Tokens are separated by blanks, numbers decimal or hexadecimal. Empty lines, and those whose first
token is ``#``, are skipped. First columns and lanes have no place in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import numpy as np

from compiler_core.units.aim.program.instructions import (
    FIELDS,
    NO_OPCODE,
    OPERANDS,
    WIDE,
    Opcode,
    Program,
    Records,
)

_NUMBER = re.compile(r"-?(0[xX][0-9a-fA-F]+|[0-9]+)")
_MOST = 1 << 62
_MOST_DIGITS = 18
_HOST: Final = {Opcode.W_GPR, Opcode.R_GPR, Opcode.W_CFR, Opcode.W_MEM, Opcode.R_MEM}
"""They are called by two words; all others are ``AiM NAME``."""
_MOST_SHOWN = 40


def _name(op: Opcode) -> tuple[str, str]:
    first, _, second = op.name.partition("_")
    return (first, second) if op in _HOST else ("AiM", op.name)


NAMES: Final = {_name(op): op for op in Opcode}


def parse_text(lines: Iterable[str]) -> Program:
    """Reads the text form; lines that are no instruction are kept as such."""
    rows: list[tuple[int, ...]] = []
    complaints: dict[int, str] = {}
    for line in lines:
        tokens = line.split()
        if not tokens or tokens[0] == "#":
            continue
        row = _record(tokens)
        if isinstance(row, str):
            complaints[len(rows)] = row
            row = (NO_OPCODE,) + (0,) * (len(FIELDS) - 1)
        rows.append(row)
    return Program(np.array(rows, WIDE) if rows else np.zeros(0, WIDE), complaints)


_PLACES: Final = {name: place for place, name in enumerate(FIELDS)}


def _record(tokens: list[str]) -> tuple[int, ...] | str:
    op = NAMES.get((tokens[0], tokens[1])) if len(tokens) > 1 else None
    if op is None:
        return f"{_shown(' '.join(tokens[:2]))} is no instruction"
    names, values = OPERANDS[op], tokens[2:]
    if len(values) != len(names):
        wanted = " ".join(names) or "nothing"
        return f"{' '.join(tokens[:2])} has {len(values)} operands; it takes {wanted}"
    row = [0] * len(FIELDS)
    row[0] = int(op)
    for name, text in zip(names, values, strict=True):
        if not text.isascii() or not _NUMBER.fullmatch(text):
            return f"{name} = {_shown(text)} is no number; allowed are 12 or 0xc"
        row[_PLACES[name]] = _number(text)
    return tuple(row)


def _number(text: str) -> int:
    """A number; those beyond all bounds are made equal, because their digits cost time."""
    sign, digits = (-1 if text[0] == "-" else 1), text.lstrip("-").lower()
    base = 16 if digits.startswith("0x") else 10
    digits = digits.removeprefix("0x").lstrip("0") or "0"
    return sign * (_MOST if len(digits) > _MOST_DIGITS else min(_MOST, int(digits, base)))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…")


def format_text(records: Records) -> list[str]:
    """Writes the text form, a line per instruction; what it has no place for is left out."""
    return [format_record(row) for row in records.tolist()]


def format_record(row: tuple[int, ...]) -> str:
    """One instruction as text."""
    op = Opcode(row[0])
    parts = list(_name(op))
    for name in OPERANDS[op]:
        value = row[_PLACES[name]]
        channel = op in (Opcode.W_MEM, Opcode.R_MEM)
        parts.append(hex(value) if name == "mask" and not channel else str(value))
    return " ".join(parts)
