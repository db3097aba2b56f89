"""Speed of the functional simulator on a 3x3, 64 to 64 channel, 56x56 layer (115.6 MMAC), on one
core.

Prints the median and the spread over repeated warm runs of the whole program (loads, GEMM,
requantization and stores), and in the same run two NumPy peers for the multiply-accumulates alone:
the convolution as one matrix product in float32 (BLAS on one thread, exact here because 576
products of int8 stay below 2**24) and in int32. Usage:

    python benchmarks/functional_simulation.py [RUNS]
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
# Before NumPy loads its BLAS: one core is what is compared.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np

from compiler_core.targets.load import load_target
from compiler_core.units.vta.machine.program_file import read_program_file
from compiler_core.units.vta.simulate.functional import prepare

ROOT = Path(__file__).resolve().parent.parent

LAYER = ROOT / "tests" / "vectors" / "vta" / "conv3_64x56_to64_0.npz"
MACS = 56 * 56 * 64 * 64 * 9
GEOMETRY = load_target("vta").npu.geometry


def report(name: str, run: Callable[[], object], runs: int) -> None:
    """Prints the median, the quartiles and the best of ``runs`` warm runs."""
    run()
    rates = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        rates.append(MACS / (time.perf_counter() - started) / 1e9)
    low, median, high = statistics.quantiles(rates, n=4)
    print(
        f"{name:38} {median:6.2f} GMAC/s median, quartiles {low:.2f} to {high:.2f}, "
        f"best {max(rates):.2f}, {runs} runs"
    )


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    program = read_program_file(LAYER)
    prepared = prepare(program.instructions, GEOMETRY)
    image = program.dram()
    prepared.run(image)
    if not np.array_equal(image, program.expected_dram()):
        raise SystemExit("the layer's result is wrong: no speed to report")
    # Running again on its own output is the same work: the program does not read what it stores.
    report("functional simulator, whole program", lambda: prepared.run(image), runs)

    rng = np.random.default_rng(0)
    activations = rng.integers(-128, 128, (64, 58, 58))
    windows = np.lib.stride_tricks.sliding_window_view(activations, (3, 3), axis=(1, 2))
    columns = windows.transpose(1, 2, 0, 3, 4).reshape(56 * 56, 64 * 9)
    weights = rng.integers(-128, 128, (64 * 9, 64))
    floats = columns.astype(np.float32), weights.astype(np.float32)
    report("NumPy float32 product (BLAS)", lambda: floats[0] @ floats[1], runs)
    integers = columns.astype(np.int32), weights.astype(np.int32)
    report("NumPy int32 product", lambda: integers[0] @ integers[1], max(runs // 10, 3))


if __name__ == "__main__":
    main()
