"""Plain interpreter and generator of VTA programs, written down straight from the format's tables.

Shares no code with the package: instruction words are Python integers, every loop is a Python loop,
every lane is an exact integer that is wrapped to 32 bits where the machine wraps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

LOAD, STORE, GEMM, FINISH, ALU = range(5)
UOP, WGT, INP, ACC, OUT = range(5)
MIN, MAX, ADD, SHR = range(4)
DEPTH = {UOP: 2048, WGT: 1024, INP: 2048, ACC: 2048, OUT: 2048}
BYTES = {UOP: 4, WGT: 256, INP: 16, ACC: 64, OUT: 16}

COMMON = {"opcode": (2, 0), "flags": (6, 3)}
MEMORY = {
    "memory_type": (9, 7),
    "sram_base": (25, 10),
    "dram_base": (57, 26),
    "y_size": (79, 64),
    "x_size": (95, 80),
    "x_stride": (111, 96),
    "y_pad_0": (115, 112),
    "y_pad_1": (119, 116),
    "x_pad_0": (123, 120),
    "x_pad_1": (127, 124),
}
LOOPS = {
    "reset": (7, 7),
    "uop_begin": (20, 8),
    "uop_end": (34, 21),
    "iter_out": (48, 35),
    "iter_in": (62, 49),
    "dst_out": (74, 64),
    "dst_in": (85, 75),
    "src_out": (96, 86),
    "src_in": (107, 97),
}
FIELDS = {
    LOAD: COMMON | MEMORY,
    STORE: COMMON | MEMORY,
    GEMM: COMMON | LOOPS | {"wgt_out": (117, 108), "wgt_in": (127, 118)},
    FINISH: COMMON,
    ALU: COMMON | LOOPS | {"alu_opcode": (110, 108), "use_imm": (111, 111), "imm": (127, 112)},
}

Bytes = npt.NDArray[np.uint8]


def pack(opcode: int, **values: int) -> int:
    """One 128-bit instruction word; values are cut to their fields."""
    word = opcode
    for name, value in values.items():
        high, low = FIELDS[opcode][name]
        word |= (value & ((1 << (high - low + 1)) - 1)) << low
    return word


def stream(*words: int) -> Bytes:
    """Instruction words as ``uint8[n, 16]``."""
    data = b"".join(word.to_bytes(16, "little") for word in words)
    return np.frombuffer(data, np.uint8).reshape(-1, 16).copy()


def micro_op(dst: int, src: int = 0, wgt: int = 0) -> int:
    return dst | src << 11 | wgt << 22


def unpack(word: int) -> dict[str, int]:
    fields = FIELDS[word & 7]
    return {
        name: word >> low & ((1 << (high - low + 1)) - 1) for name, (high, low) in fields.items()
    }


def wrap(value: Any) -> Any:
    """Cuts exact integers to signed 32 bits."""
    return (value + 2**31) % 2**32 - 2**31


@dataclass(frozen=True)
class Shape:
    """Output lanes and bits of a weight; inputs have 16 lanes."""

    lanes: int = 16
    weight_bits: int = 8

    @property
    def bytes(self) -> dict[int, int]:
        """Of an element, by memory type."""
        weight = self.lanes * 16 * self.weight_bits // 8
        return {UOP: 4, WGT: weight, INP: 16, ACC: self.lanes * 4, OUT: self.lanes}


INT8 = Shape()


def nibbles(data: bytes) -> list[int]:
    """Signed numbers of 4 bits, the low ones of each byte first."""
    numbers = [number for byte in data for number in (byte % 16, byte // 16)]
    return [number - 16 if number > 7 else number for number in numbers]


def interpret(instructions: Bytes, dram: Bytes, shape: Shape = INT8) -> None:
    """Executes a correct program in place on ``dram``; on-chip memory is zero at the start."""
    lanes, widths = shape.lanes, shape.bytes
    uop = [0] * DEPTH[UOP]
    inp = np.zeros((DEPTH[INP], 16), np.int64)
    wgt = np.zeros((DEPTH[WGT], lanes, 16), np.int64)
    acc = np.zeros((DEPTH[ACC], lanes), np.int64)

    def element(memory_type: int, index: int) -> Any:
        data = dram[index * widths[memory_type] : (index + 1) * widths[memory_type]].tobytes()
        if memory_type == UOP:
            return int.from_bytes(data, "little")
        if memory_type == ACC:
            return np.frombuffer(data, "<i4").astype(np.int64)
        if memory_type == WGT and shape.weight_bits == 4:
            return np.array(nibbles(data), np.int64).reshape(lanes, 16)
        values = np.frombuffer(data, np.int8).astype(np.int64)
        return values.reshape(lanes, 16) if memory_type == WGT else values

    memories: dict[int, Any] = {UOP: uop, INP: inp, WGT: wgt, ACC: acc}
    for row in instructions:
        f = unpack(int.from_bytes(row.tobytes(), "little"))
        opcode = f["opcode"]
        if opcode == FINISH:
            return
        if opcode == LOAD and f["x_size"]:
            sram = f["sram_base"]
            for y in range(-f["y_pad_0"], f["y_size"] + f["y_pad_1"]):
                for x in range(-f["x_pad_0"], f["x_size"] + f["x_pad_1"]):
                    inside = 0 <= y < f["y_size"] and 0 <= x < f["x_size"]
                    source = f["dram_base"] + y * f["x_stride"] + x
                    memories[f["memory_type"]][sram] = (
                        element(f["memory_type"], source) if inside else 0
                    )
                    sram += 1
        elif opcode == STORE:
            sram = f["sram_base"]
            for y in range(f["y_size"]):
                for x in range(f["x_size"]):
                    byte = (f["dram_base"] + y * f["x_stride"] + x) * lanes
                    dram[byte : byte + lanes] = acc[sram] % 256
                    sram += 1
        elif opcode in (GEMM, ALU):
            for o in range(f["iter_out"]):
                for i in range(f["iter_in"]):
                    for u in range(f["uop_begin"], f["uop_end"]):
                        dst = (uop[u] & 0x7FF) + o * f["dst_out"] + i * f["dst_in"]
                        src = (uop[u] >> 11 & 0x7FF) + o * f["src_out"] + i * f["src_in"]
                        if opcode == ALU:
                            acc[dst] = _alu(f, acc, dst, src)
                        elif f["reset"]:
                            acc[dst] = 0
                        else:
                            weight = (uop[u] >> 22) + o * f["wgt_out"] + i * f["wgt_in"]
                            acc[dst] = wrap(acc[dst] + wgt[weight] @ inp[src])


def _alu(f: dict[str, int], acc: Any, dst: int, src: int) -> Any:
    left = acc[dst]
    imm = f["imm"] - (1 << 16) if f["imm"] >= 1 << 15 else f["imm"]
    right = np.full_like(left, imm) if f["use_imm"] else acc[src]
    if f["alu_opcode"] == MIN:
        return np.minimum(left, right)
    if f["alu_opcode"] == MAX:
        return np.maximum(left, right)
    if f["alu_opcode"] == ADD:
        return wrap(left + right)
    if not f["use_imm"]:
        return left >> (right & 31)
    # Python integers: a shift may be as long as it likes.
    return np.array([wrap(int(a) >> imm if imm >= 0 else int(a) << -imm) for a in left])


DRAM_BYTES = 1 << 17
UOP_TABLE = 0x1000
UOP_COUNT = 128
STORE_BASE = DRAM_BYTES // 2

Choose = Callable[[int, int], int]
"""Inclusive random choice."""


def random_program(choose: Choose, length: int, shape: Shape = INT8) -> Bytes:
    """A program that stays inside all memories of :func:`random_dram`; tokens are arbitrary.

    All micro-ops come from the table: dst and src below 1024, wgt below 512, so that bounded
    factors suffice.
    """
    widths, room = shape.bytes, DRAM_BYTES - 0x1000
    words = [pack(LOAD, dram_base=UOP_TABLE // 4, y_size=1, x_size=64, x_stride=64)]
    # All on-chip memory that micro-ops reach holds data, and all accumulators are stored at the
    # end.
    for kind, count, bases in (
        (ACC, min(1024, room // widths[ACC]), (0, 1024)),
        (INP, 2048, (0,)),
        (WGT, min(448, room // widths[WGT]), (0, 448)),
    ):
        words += [
            pack(
                LOAD,
                memory_type=kind,
                sram_base=base,
                dram_base=0x1000 // widths[kind],
                y_size=1,
                x_size=count,
                x_stride=count,
            )
            for base in bases
        ]
    makers = (_random_load, _random_load, _random_load, _random_gemm, _random_gemm, _random_alu)
    makers += (_random_alu, _random_store)
    words += [makers[choose(0, len(makers) - 1)](choose, widths) for _ in range(length)]
    words.append(
        pack(
            STORE,
            memory_type=OUT,
            dram_base=STORE_BASE // widths[OUT],
            y_size=1,
            x_size=DEPTH[OUT],
            x_stride=DEPTH[OUT],
        )
    )
    words.append(pack(FINISH))
    return stream(*words)


def random_dram(rng: np.random.Generator) -> Bytes:
    dram = rng.integers(0, 256, DRAM_BYTES, np.uint8)
    dram[:UOP_TABLE] = 0
    words = [
        micro_op(int(d), int(s), int(w))
        for d, s, w in zip(
            rng.integers(0, 1024, UOP_COUNT),
            rng.integers(0, 1024, UOP_COUNT),
            rng.integers(0, 512, UOP_COUNT),
            strict=True,
        )
    ]
    dram[UOP_TABLE : UOP_TABLE + 4 * UOP_COUNT] = np.array(words, "<u4").view(np.uint8)
    return dram


def _random_load(choose: Choose, widths: dict[int, int]) -> int:
    kind = choose(UOP, ACC)
    if kind == UOP:
        x_size = choose(0, 16)
        return pack(
            LOAD,
            flags=choose(0, 15),
            sram_base=choose(0, 48),
            dram_base=UOP_TABLE // 4 + choose(0, UOP_COUNT - 16),
            y_size=1,
            x_size=x_size,
            x_stride=x_size,
        )
    y_size, x_size = choose(0, 4), choose(0, 6)
    pads = {name: choose(0, 2) for name in ("y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1")}
    if choose(0, 7) == 0:
        pads |= {"y_pad_0": 15, "x_pad_1": 15}
    elements = (y_size + pads["y_pad_0"] + pads["y_pad_1"]) * (
        x_size + pads["x_pad_0"] + pads["x_pad_1"]
    )
    x_stride = choose(0, 9)
    last = DRAM_BYTES // widths[kind] - (max(y_size - 1, 0) * x_stride + x_size)
    return pack(
        LOAD,
        flags=choose(0, 15),
        memory_type=kind,
        sram_base=choose(0, DEPTH[kind] - elements),
        dram_base=choose(0x1000 // widths[kind], last),
        y_size=y_size,
        x_size=x_size,
        x_stride=x_stride,
        **pads,
    )


def _random_store(choose: Choose, widths: dict[int, int]) -> int:
    y_size, x_size, x_stride = choose(1, 12), choose(0, 16), choose(0, 20)
    last = DRAM_BYTES // widths[OUT] - ((y_size - 1) * x_stride + x_size)
    return pack(
        STORE,
        flags=choose(0, 15),
        memory_type=OUT,
        sram_base=choose(0, DEPTH[OUT] - y_size * x_size),
        dram_base=choose(STORE_BASE // widths[OUT], last),
        y_size=y_size,
        x_size=x_size,
        x_stride=x_stride,
    )


def _loops(choose: Choose) -> dict[str, int]:
    iterations = {"iter_out": choose(0, 4), "iter_in": choose(1, 4)}
    begin = choose(0, 56)
    factors = {
        f"{name}_{level}": choose(0, 512 // max(iterations[f"iter_{level}"] - 1, 1))
        for name in ("dst", "src")
        for level in ("out", "in")
    }
    if choose(0, 1):
        # Few destinations: many updates of one accumulator, whose order then matters.
        factors |= {"dst_out": choose(0, 1), "dst_in": choose(0, 1)}
    return {"uop_begin": begin, "uop_end": begin + choose(0, 8)} | iterations | factors


def _random_gemm(choose: Choose, _widths: dict[int, int]) -> int:
    loops = _loops(choose)
    weights = {
        f"wgt_{level}": choose(0, 255 // max(loops[f"iter_{level}"] - 1, 1))
        for level in ("out", "in")
    }
    return pack(GEMM, flags=choose(0, 15), reset=int(choose(0, 5) == 0), **loops, **weights)


def _random_alu(choose: Choose, _widths: dict[int, int]) -> int:
    operation = choose(MIN, SHR)
    imm = choose(-40, 40) if operation == SHR or choose(0, 1) else choose(-(2**15), 2**15 - 1)
    return pack(
        ALU,
        flags=choose(0, 15),
        **_loops(choose),
        alu_opcode=operation,
        use_imm=choose(0, 1),
        imm=imm,
    )
