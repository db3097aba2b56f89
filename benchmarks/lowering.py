"""What one step of the search costs: lowering and timing one layer of ResNet-18, warm.

Run as ``python benchmarks/lowering.py [repeats]``. Each line is one distinct convolution with its
default schedule; the first call, which compiles or loads kernels and fills caches, is left out. CPU
time is that of the thread, whatever else the machine does; the wall clock is given beside it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import lower_layer
from compiler_core.units.vta.simulate.timing import time_program

LAYERS = (
    (64, 56, 64, 3, 1),
    (64, 56, 128, 3, 2),
    (64, 56, 128, 1, 2),
    (128, 28, 128, 3, 1),
    (128, 28, 256, 3, 2),
    (128, 28, 256, 1, 2),
    (256, 14, 256, 3, 1),
    (256, 14, 512, 3, 2),
    (256, 14, 512, 1, 2),
    (512, 7, 512, 3, 1),
)
"""Input channels, size, output channels, kernel and stride of every convolution but the stem."""


def spread(times: list[float]) -> str:
    return f"{median(times):6.2f} ({min(times):.2f} to {max(times):.2f})"


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    core = load_target("vta").npu
    print(f"Lowering and timing, one core, {repeats} repeats: median (minimum to maximum) in ms")
    print("lowering and timing in CPU time, both together in CPU time and by the wall clock")
    cpu_sums, wall_sums = [], []
    for channels, size, out, kernel, stride in LAYERS:
        window = Window((kernel, kernel), (stride, stride), (kernel // 2,) * 4)
        epilogue = Epilogue(17, True, True, True)
        workload = ConvWorkload(1, channels, size, size, out, window, 1, epilogue)
        schedule = default_schedule(workload, core)
        lowering: list[float] = []
        timing: list[float] = []
        wall: list[float] = []
        for _ in range(repeats + 1):
            start, begin = time.perf_counter(), time.thread_time()
            instructions = lower_layer(workload, schedule, core.geometry).lowered.instructions
            middle = time.thread_time()
            result = time_program(instructions, core.timing, core.geometry, core.energy)
            timing.append((time.thread_time() - middle) * 1e3)
            wall.append((time.perf_counter() - start) * 1e3)
            lowering.append((middle - begin) * 1e3)
        del lowering[0], timing[0], wall[0]
        both = [a + b for a, b in zip(lowering, timing, strict=True)]
        cpu_sums += both
        wall_sums += wall
        share = lower_bound(workload, core).cycles / result.cycles
        print(
            f"{channels:4}x{size}x{size} to {out:3}, {kernel}x{kernel} stride {stride}  "
            f"{len(instructions):4} instructions  {result.cycles:7,} cycles  {share:5.1%} utilized"
            f"  lowering {spread(lowering)}  timing {spread(timing)}  both {spread(both)}  "
            f"wall {spread(wall)}"
        )
    print(f"all layers: both {spread(cpu_sums)}  wall {spread(wall_sums)}")


if __name__ == "__main__":
    main()
