"""What programs compute once more, written plainly: a number at a time, in NumPy's float32."""

from __future__ import annotations

import math
import struct
from collections import defaultdict
from typing import Any

import numpy as np

from tests.compiler_core.units.aim.reference_verifier import OPS, channels
from tests.compiler_core.units.aim.vectors import FOLDER

F = np.float32
TABLES = np.load(FOLDER / "af_tables.npy")


def value(bits: int) -> np.float32:
    return F(struct.unpack("<f", struct.pack("<I", bits << 16))[0])


def bits(x: np.float32) -> int:
    if math.isnan(x):
        return 0x7FC0
    (word,) = struct.unpack("<I", struct.pack("<f", x))
    upper, lower = word >> 16, word & 0xFFFF
    up = lower > 0x8000 or (lower == 0x8000 and upper & 1)
    return int(upper + up)


def dot(one: list[int], other: list[int]) -> np.float32:
    terms = [value(a) * value(b) for a, b in zip(one, other, strict=True)]
    while len(terms) > 1:
        terms = [terms[2 * k] + terms[2 * k + 1] for k in range(len(terms) // 2)]
    return F(terms[0])


def activation(x: np.float32, mode: int) -> np.float32:
    if mode == 3:
        return x if x > 0 else F(0)
    if mode == 4:
        return x if x >= 0 else F(x * F(0.01))
    if mode == 6:
        return x
    if mode == 7 or math.isnan(x):
        return F(math.nan)
    if mode in (2, 5) and x > 10:
        return x
    clamped = min(max(x, F(-10)), F(10))
    t = F(F(clamped + F(10)) * F(25.6))
    k = min(max(math.floor(t), 0), 511)
    below, above = TABLES[mode][k], TABLES[mode][k + 1]
    return F(below + F(F(t - F(k)) * F(above - below)))


class Device:
    def __init__(self, host: list[list[int]]) -> None:
        self.banks: dict[tuple[int, int, int, int], list[int]] = defaultdict(lambda: [0] * 16)
        self.gpr: dict[int, list[int]] = defaultdict(lambda: [0] * 16)
        self.buffer: dict[tuple[int, int], list[int]] = {}
        self.acc: dict[tuple[int, int], np.float32] = {}
        self.af: dict[tuple[int, int], int] = {}
        self.cfr = {0: 0, 1: 1, 2: 0}
        self.host, self.read = host, []  # type: ignore[var-annotated]

    def run(self, records: Any) -> None:
        with np.errstate(all="ignore"):
            for record in records:
                i = {name: int(record[name]) for name in records.dtype.names}
                self.step(OPS[i["op"]], i)

    def step(self, name: str, i: dict[str, int]) -> None:
        g, n, bank, col, row = i["gpr"], i["n"], i["bank"], i["col"], i["row"]
        if name == "W_GPR":
            self.gpr[g] = list(self.host[i["value"]])
        elif name == "R_GPR":
            self.read.append(list(self.gpr[g]))
        elif name == "W_CFR":
            self.cfr[g] = i["value"]
        elif name == "W_MEM":
            self.banks[i["mask"], bank, row, col] = list(self.host[i["value"]])
        elif name == "R_MEM":
            self.read.append(list(self.banks[i["mask"], bank, row, col]))
        elif name == "EWADD":
            for k in range(n):
                pair = zip(self.gpr[g + k], self.gpr[i["gpr2"] + k], strict=True)
                self.gpr[g + k] = [bits(F(value(a) + value(b))) for a, b in pair]
        elif name not in ("SYNC", "EOC"):
            for k, c in enumerate(channels(i["mask"])):
                self.channel(name, i, c, k)

    def channel(self, name: str, i: dict[str, int], c: int, k: int) -> None:
        g, n, bank, col, row = i["gpr"], i["n"], i["bank"], i["col"], i["row"]
        if name == "WR_SBK":
            self.banks[c, bank, row, col] = list(self.gpr[g])
        elif name == "RD_SBK":
            self.gpr[g + k] = list(self.banks[c, bank, row, col])
        elif name == "WR_ABK":
            for b in range(16):
                block = list(self.banks[c, b, row, col])
                block[i["lane"]] = self.gpr[g][b]
                self.banks[c, b, row, col] = block
        elif name == "WR_GB":
            for j in range(n):
                self.buffer[c, col + j] = list(self.gpr[g + j])
        elif name == "WR_BIAS":
            for b in range(16):
                self.acc[c, b] = value(self.gpr[g + k][b])
        elif name in ("MAC_ABK", "MAC_SBK"):
            for b in range(16) if name == "MAC_ABK" else [bank]:
                self.multiply(c, b, row, col, n)
        elif name == "AF":
            for b in range(16):
                self.af[c, b] = bits(activation(self.acc[c, b], self.cfr[2]))
        elif name == "RD_MAC":
            self.gpr[g + k] = [bits(self.acc[c, b]) for b in range(16)]
        elif name == "RD_AF":
            self.gpr[g + k] = [self.af[c, b] for b in range(16)]
        elif name == "EWMUL":
            for q in range(4 if self.cfr[1] else 1):
                for j in range(col, col + n):
                    one, other = self.banks[c, 4 * q, row, j], self.banks[c, 4 * q + 1, row, j]
                    product = [
                        bits(F(value(a) * value(b))) for a, b in zip(one, other, strict=True)
                    ]
                    self.banks[c, 4 * q + 2, row, j] = product
        elif name == "COPY_BKGB":
            for j in range(col, col + n):
                self.buffer[c, j] = list(self.banks[c, bank, row, j])
        elif name == "COPY_GBBK":
            for j in range(col, col + n):
                self.banks[c, bank, row, j] = list(self.buffer[c, j])

    def multiply(self, c: int, b: int, row: int, col: int, n: int) -> None:
        if self.cfr[0] and b % 2:
            return
        for j in range(col, col + n):
            other = self.banks[c, b + 1, row, j] if self.cfr[0] else self.buffer[c, j]
            self.acc[c, b] = F(self.acc[c, b] + dot(self.banks[c, b, row, j], other))
