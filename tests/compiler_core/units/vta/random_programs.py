"""Random programs and machines for the timing simulators and their references."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.hardware import ElementBytes, LinearCost, VtaTiming
from compiler_core.units.vta.machine.isa import INSTRUCTION_DTYPE, AluOpcode, MemoryType, Opcode
from compiler_core.units.vta.machine.profiles import RTL2020, RTL_PIPELINED_32BIT

INT32 = ElementBytes(4, 64, 1024, 64, 64)
INT8 = ElementBytes(4, 16, 256, 64, 16)


def random_timing(rng: np.random.Generator) -> VtaTiming:
    base = RTL2020 if rng.random() < 0.5 else RTL_PIPELINED_32BIT
    port_bytes = int(rng.choice([8, 8, 16, 32]))
    burst_beats = int(rng.choice([16, 256, 256]))
    return replace(
        base,
        element_bytes=INT8 if rng.random() < 0.5 else INT32,
        port_bytes=port_bytes,
        burst_beats=burst_beats,
        burst_boundary_bytes=burst_beats * port_bytes * int(rng.choice([1, 1, 2])),
        memory_latency_cycles=int(rng.choice([0, 1, 4, 16, 40, 100])),
        outstanding_bursts=int(rng.choice([1, 2, 3, 16])),
        queue_depth=int(rng.choice([1, 2, 5, 512])),
        fetch_batch_instructions=int(rng.choice([1, 3, 16, 128])),
        costs=replace(base.costs, alu_immediate=LinearCost(2, 7), no_operation=3, finish=5),
    )


def random_program(rng: np.random.Generator) -> npt.NDArray[np.void]:
    """A program that runs to its FINISH in program order; it need not mean anything."""
    decoded = np.zeros(int(rng.integers(1, 40)), INSTRUCTION_DTYPE)
    tokens = dict.fromkeys(("l2c", "c2l", "c2s", "s2c"), 0)
    for row in decoded[:-1]:
        kind = rng.choice(["uop", "wgt", "inp", "acc", "out", "gemm", "alu"])
        if kind in ("gemm", "alu"):
            row["opcode"] = Opcode.GEMM if kind == "gemm" else Opcode.ALU
            row["uop_begin"] = rng.integers(0, 3)
            row["uop_end"] = row["uop_begin"] + rng.integers(1, 6)
            row["iter_out"], row["iter_in"] = rng.integers(1, 5, 2)
            if kind == "gemm":
                row["reset"] = rng.integers(2)
            else:
                row["use_imm"] = rng.integers(2)
                row["alu_opcode"] = AluOpcode.ADD
        else:
            row["opcode"] = Opcode.STORE if kind == "out" else Opcode.LOAD
            row["memory_type"] = MemoryType[str(kind).upper()]
            row["x_size"] = rng.integers(0, 8 if kind == "wgt" else 40)
            row["y_size"] = 1 if kind == "uop" else rng.integers(1, 5)
            row["x_stride"] = row["x_size"] + rng.integers(0, 9)
            row["dram_base"] = rng.integers(256, 1 << 20)
            row["sram_base"] = rng.integers(0, 64)
            if kind in ("inp", "acc", "wgt"):
                for pad in ("y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1"):
                    row[pad] = rng.integers(0, 16) if rng.random() < 0.3 else 0
        module = "load" if kind in ("wgt", "inp") else "store" if kind == "out" else "compute"
        pops = {"load": {"next": "c2l"}, "store": {"prev": "c2s"}}.get(
            module, {"prev": "l2c", "next": "s2c"}
        )
        pushes = {"load": {"next": "l2c"}, "store": {"prev": "s2c"}}.get(
            module, {"prev": "c2l", "next": "c2s"}
        )
        for side, counter in pops.items():
            if tokens[counter] and rng.random() < 0.7:
                tokens[counter] -= 1
                row[f"pop_{side}"] = 1
        for side, counter in pushes.items():
            if rng.random() < 0.5:
                tokens[counter] += 1
                row[f"push_{side}"] = 1
    decoded[-1]["opcode"] = Opcode.FINISH
    decoded[-1]["pop_prev"] = tokens["l2c"] > 0
    decoded[-1]["pop_next"] = tokens["s2c"] > 0
    return decoded
