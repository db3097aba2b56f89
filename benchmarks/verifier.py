"""How fast the verifier is: milliseconds per program, warm, decoding included.

Run as ``python benchmarks/verifier.py [repeats]``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import numpy.typing as npt

from compiler_core.targets.load import load_target
from compiler_core.units.vta.machine.assembly import assemble, disassemble
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.verify import verify

ROOT = Path(__file__).resolve().parent.parent

VECTORS = ROOT / "tests" / "vectors" / "vta"
PROGRAMS = (
    "random_3",
    "conv3_256x14_to256",
    "conv3_64x56_to64_0",
    "conv3_64x56_to64_1",
    "conv3_16x28_to32_2",
)
LONG_INSTRUCTIONS = 100_000


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    geometry = load_target("vta").npu.geometry
    programs = json.loads((VECTORS / "manifest.json").read_text())["programs"]
    sizes = {program["name"]: program["dram_size"] for program in programs}
    print(f"Verifier, one core, {repeats} repeats: median (minimum to maximum) in ms")
    begin = time.perf_counter()
    finish = np.array([[3] + [0] * 15], np.uint8)
    verify(finish, geometry, np.zeros(8192, np.uint8))
    print(f"first call, loading or compiling the kernels: {time.perf_counter() - begin:.2f} s")
    for name in PROGRAMS:
        with np.load(VECTORS / f"{name}.npz") as file:
            instructions, data = file["insn"], file["pre_data"]
            addresses, lengths = file["pre_addr"].tolist(), file["pre_len"].tolist()
        image = np.zeros(sizes[name], np.uint8)
        at = 0
        for address, length in zip(addresses, lengths, strict=True):
            image[address : address + length] = data[at : at + length]
            at += length
        measure(name, instructions, image, geometry, repeats)
    # The last program, whose micro-ops stay in the buffer, again and again without its FINISH.
    count = LONG_INSTRUCTIONS // (len(instructions) - 1)
    long = np.concatenate([np.tile(instructions[:-1], (count, 1)), instructions[-1:]])
    measure(f"{name} x {count}", long, image, geometry, max(3, repeats // 20))
    begin = time.perf_counter()
    text = disassemble(long)
    middle = time.perf_counter()
    assemble(text)
    end = time.perf_counter()
    print(f"disassemble {len(long)} instructions: {(middle - begin) * 1e3:.0f} ms; ", end="")
    print(f"assemble: {(end - middle) * 1e3:.0f} ms")


def measure(
    name: str,
    instructions: npt.NDArray[np.uint8],
    image: npt.NDArray[np.uint8],
    geometry: VtaGeometry,
    repeats: int,
) -> None:
    verify(instructions, geometry, image)
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        findings = verify(instructions, geometry, image)
        times.append((time.perf_counter() - begin) * 1e3)
    span = f"{median(times):8.2f} ({min(times):.2f} to {max(times):.2f})"
    print(f"{name:24} {len(instructions):7} instructions {span}  {len(findings)} findings")


if __name__ == "__main__":
    main()
