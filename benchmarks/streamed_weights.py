"""What streaming saves where weights recur through few slots, by how many loads more it takes.

Convolutions are drawn, and schedules of each: those with the least predicted cycles, and others at
random. Every schedule whose weights may stream is lowered and timed both ways.

Run: ``python benchmarks/streamed_weights.py [--seed N] [--layers N]`` prints, for each share of
loads that may be added, the cycles of all schedules that some share changes, against none streamed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.lower import lower_conv, slots
from compiler_core.units.vta.lower.layer import lower_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import Schedule
from compiler_core.units.vta.simulate.timing import time_program
from cost_models.vta.pipeline import predict
from search_spaces.vta.tiling import TilingSpace

_SHARES = (1.0, 1.02, 1.05, 1.08, 1.1, 1.12, 1.15, 1.2, 1.3, 1.5, 9.0)
_SAMPLED, _BEST, _OTHERS = 3000, 5, 50


def _drawn(generator: np.random.Generator) -> ConvWorkload:
    channels, outputs = (int(16 * generator.choice([1, 2, 3, 4, 6, 8, 16])) for _ in range(2))
    size, kernel = int(generator.choice([4, 7, 8, 14, 16, 28])), int(generator.choice([1, 3, 5]))
    stride = int(generator.choice([1, 1, 2]))
    window = Window((kernel, kernel), (stride, stride), (kernel // 2,) * 4)
    epilogue = Epilogue(17, shift=True, clip_low=True, clip_high=True)
    return ConvWorkload(1, channels, size, size, outputs, window, 1, epilogue)


def _schedules(
    workload: ConvWorkload, core: VtaCore, generator: np.random.Generator
) -> Iterator[Schedule]:
    space = TilingSpace(workload, core.geometry)
    points = space.sample(generator, _SAMPLED)
    best = np.argsort(predict(workload, space.rows(points), core).cycles, kind="stable")[:_BEST]
    others = generator.choice(len(points), min(_OTHERS, len(points)), replace=False)
    yield from (space.decode(tuple(points[at])) for at in dict.fromkeys([*best, *others]))


def _cycles(
    workload: ConvWorkload, schedule: Schedule, core: VtaCore, share: float
) -> tuple[int, float]:
    """Cycles where streaming may take so many times the loads, and how many it would take."""
    seen = [1.0]

    def streams(uses: Sequence[object], count: int) -> bool:
        if count > 1 and len(set(uses)) > count:
            streamed, least = (
                slots._loads(uses, count, streamed=spares) for spares in (True, False)
            )
            seen.append(streamed / least)
        return len(seen) > 1 and seen[-1] <= share

    with mock.patch.object(lower_conv, "streams", streams):
        program = lower_layer(workload, schedule, core.geometry)
    timing = time_program(program.lowered.instructions, core.timing, core.geometry)
    return timing.cycles, seen[-1]


def main() -> None:
    """Prints a table for each target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--layers", type=int, default=20)
    given = parser.parse_args()
    for target in ("vta", "vta-pynq"):
        core, generator = load_target(target).npu, np.random.default_rng(given.seed)
        found = []
        for _ in range(given.layers):
            workload = _drawn(generator)
            for schedule in _schedules(workload, core, generator):
                (never, _), (always, loads) = (
                    _cycles(workload, schedule, core, share) for share in (0.0, _SHARES[-1])
                )
                if never != always:
                    found.append((loads, always / never))
        loads_of, ratios = np.array(found).T
        print(f"{target}: {len(ratios)} schedules that streaming changes")
        for share in _SHARES:
            taken = np.where(loads_of <= share, ratios, 1.0)
            mean = float(np.exp(np.log(taken).mean()))
            print(
                f"  up to {share:4.2f} times the loads: {mean:.4f} of the cycles, "
                f"{taken.min():.3f} to {taken.max():.3f}, {np.mean(taken > 1.005):.0%} slower"
            )


if __name__ == "__main__":
    main()
