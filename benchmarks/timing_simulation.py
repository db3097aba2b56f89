"""How fast the timing simulator is: milliseconds per program and instructions per second, warm.

Run as ``python benchmarks/timing_simulation.py [repeats]``. Decoding is part of the first figure of
each line; the second is the simulation of an already decoded program.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from compiler_core.targets.load import load_target
from compiler_core.units.vta.machine.isa import decode
from compiler_core.units.vta.machine.profiles import RTL2020, RTL_PIPELINED_32BIT
from compiler_core.units.vta.simulate.timing import time_decoded, time_program

ROOT = Path(__file__).resolve().parent.parent

PROGRAMS = (
    "conv3_64x56_to64_0",
    "conv3_64x56_to64_1",
    "conv3_256x14_to256",
    "conv3_16x28_to32_2",
    "random_3",
)


def milliseconds(call: Callable[[], object], repeats: int) -> list[float]:
    """Wall-clock times of ``repeats`` calls after one that warms up, in ms."""
    call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e3)
    return times


def spread(times: list[float]) -> str:
    return f"{median(times):7.3f} ({min(times):.3f} to {max(times):.3f})"


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    geometry = load_target("vta").npu.geometry
    print(f"Timing simulation, one core, {repeats} repeats: median (minimum to maximum)")
    begin = time.perf_counter()
    time_program(np.array([[3] + [0] * 15], np.uint8), RTL2020, geometry)
    print(f"first call, compiling or loading the kernel: {time.perf_counter() - begin:.2f} s")
    for name in PROGRAMS:
        with np.load(ROOT / "tests" / "vectors" / "vta" / f"{name}.npz") as file:
            streams = {"rtl2020": file["insn"], "rtl-pipelined": file["insn_pipelined"]}
        for profile, timing in (("rtl2020", RTL2020), ("rtl-pipelined", RTL_PIPELINED_32BIT)):
            instructions = streams[profile]
            decoded = decode(instructions)
            cycles = time_decoded(decoded, timing, geometry).cycles
            with_decode = milliseconds(
                lambda i=instructions, t=timing: time_program(i, t, geometry), repeats
            )
            alone = milliseconds(lambda d=decoded, t=timing: time_decoded(d, t, geometry), repeats)
            rate = len(decoded) / median(alone) * 1e3
            print(
                f"{name:20} {profile:14} {len(decoded):5} instructions {cycles:8} cycles  "
                f"with decoding {spread(with_decode)} ms  "
                f"decoded {spread(alone)} ms  {rate / 1e6:.2f} M instructions/s"
            )


if __name__ == "__main__":
    main()
