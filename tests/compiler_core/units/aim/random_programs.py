"""Random programs, legal ones and others, for comparison with the plain references."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler_core.units.aim.program.instructions import FIELDS, WIDE, Opcode, Records
from tests.compiler_core.units.aim.reference_verifier import OPS, State, error_of

FLAVOURS = {
    "mixed": dict.fromkeys(OPS[:20], 1.0),
    "products": {
        "WR_GB": 2.0, "WR_BIAS": 3.0, "MAC_ABK": 5.0, "MAC_SBK": 1.0, "RD_MAC": 3.0, "AF": 1.0,
        "RD_AF": 1.0, "W_CFR": 0.5, "EWADD": 0.5,
    },
    "accesses": {
        "W_MEM": 4.0, "R_MEM": 4.0, "WR_SBK": 2.0, "RD_SBK": 2.0, "SYNC": 0.3, "MAC_SBK": 0.5,
        "WR_BIAS": 0.5, "WR_GB": 0.3, "EWMUL": 0.5, "WR_ABK": 0.3,
    },
    "banks": {
        "COPY_BKGB": 2.0, "COPY_GBBK": 2.0, "EWMUL": 2.0, "WR_ABK": 1.0, "MAC_SBK": 2.0,
        "WR_BIAS": 1.0, "WR_SBK": 1.0, "R_MEM": 1.0, "W_CFR": 0.5, "RD_MAC": 1.0,
    },
}  # fmt: skip
_MASKS = (0x80000000, 0xC0000001, 0xFFFFFFFF, 0xFFFF0000, 0x0000FFFF, 0x10, 0xF0F0)


def candidate(rng: np.random.Generator, name: str, most: int) -> dict[str, int]:
    i = dict.fromkeys(FIELDS, 0)
    i["op"] = int(Opcode[name])
    i["mask"] = int(rng.choice(_MASKS)) if name != "WR_ABK" else 1 << int(rng.integers(32))
    i["col"] = int(rng.choice([0, 0, rng.integers(64)]))
    i["n"] = int(rng.integers(1, min(most, 64 - i["col"]) + 1))
    i["bank"], i["row"] = int(rng.integers(16)), int(rng.integers(3))
    i["lane"], i["gpr"], i["gpr2"] = (int(rng.integers(k)) for k in (16, 200, 200))
    if name == "W_CFR":
        i["gpr"] = int(rng.integers(3))
        i["value"] = int(rng.integers((2, 2, 7)[i["gpr"]]))
    elif name in ("W_MEM", "R_MEM"):
        i["mask"] = int(rng.choice([0, 1, 31]))
    if name in ("W_GPR", "W_MEM"):
        i["value"] = int(rng.integers(8))
    return i


def _records(rows: list[dict[str, int]]) -> Records:
    return np.array([tuple(row[name] for name in FIELDS) for row in rows], WIDE)


def legal_program(rng: np.random.Generator, length: int, flavour: str, most: int = 64) -> Records:
    """A legal program of about that many instructions, the last one EOC."""
    weights = FLAVOURS[flavour]
    names, share = list(weights), np.array(list(weights.values()))
    state, rows = State(), []
    for name in rng.choice(names, 4 * length, p=share / share.sum()):
        row = candidate(rng, str(name), most)
        if error_of(str(name), row, state) is None:
            rows.append(row)
        if len(rows) == length:
            break
    return _records([*rows, {**dict.fromkeys(FIELDS, 0), "op": int(Opcode.EOC)}])


def changed(rng: np.random.Generator, records: Records) -> Records:
    """A program with a few fields or instructions changed, mostly to what is wrong."""
    found = records.copy()
    for _ in range(int(rng.integers(1, 3))):
        place, kind = int(rng.integers(len(found))), int(rng.integers(8))
        if kind == 0:
            found = np.delete(found, place)
        elif kind == 1:
            found = np.insert(found, place, found[int(rng.integers(len(found)))])
        else:
            field: Any = rng.choice(FIELDS)
            extremes = [
                -1,
                0,
                1,
                15,
                16,
                31,
                32,
                63,
                64,
                65,
                4095,
                4096,
                16383,
                16384,
                2**32,
                2**62,
            ]
            found[field][place] = int(rng.choice(extremes))
        if len(found) == 0:
            break
    return found
