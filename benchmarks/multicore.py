"""ResNet-18's convolutions sliced across cores that share one memory port, against one core.

Run as ``python benchmarks/multicore.py [target ...]``, or with ``--some`` for slices over some of
the cores alone: by number of cores, and beside a sibling on the others (the two expanding
convolutions of SqueezeNet's modules), against what plans can do.
All schedules are untuned. Per layer: cycles
of one core; for each target the fastest of both axes, its speed-up, and the bound of that slicing
(compute of the largest slice, or what the port has to move for all of them). Layers whose port time
is at most a quarter of their compute time on one core carry a star; their total is given apart.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.cores.multicore_layer import lower_sliced, measure_sliced
from compiler_core.units.vta.cores.multicore_schedule import (
    default_slice_schedules,
    default_slicings,
    sliced_bound,
)
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import lower_layer, measure_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.simulate.multicore import time_programs
from compiler_core.units.vta.simulate.timing import time_program
from compiler_core.units.vta.structure.slicing import SliceAxis, slice_workload

TARGETS = ("vta-x2", "vta-x4", "vta-x4-128", "vta-x4-256")
LAYERS = (
    ((64, 56, 64, 3, 1), 4),
    ((64, 56, 128, 3, 2), 1),
    ((64, 56, 128, 1, 2), 1),
    ((128, 28, 128, 3, 1), 3),
    ((128, 28, 256, 3, 2), 1),
    ((128, 28, 256, 1, 2), 1),
    ((256, 14, 256, 3, 1), 3),
    ((256, 14, 512, 3, 2), 1),
    ((256, 14, 512, 1, 2), 1),
    ((512, 7, 512, 3, 1), 3),
)
"""Input channels, size, output channels, kernel, stride; and how often ResNet-18 has it."""


def layer(channels: int, size: int, out: int, kernel: int, stride: int) -> ConvWorkload:
    window = Window((kernel, kernel), (stride, stride), (kernel // 2,) * 4)
    return ConvWorkload(1, channels, size, size, out, window, 1, Epilogue(17, True, True, True))


def report(target: Target, single: dict[ConvWorkload, int]) -> None:
    """Prints one line per layer and the totals of a target."""
    cores, core = target.npu_cores, target.npu
    print(f"\n{target.name}: {cores} cores, {core.timing.port_bytes * 8}-bit port")
    print(
        "  layer                   count   one core  axis        cycles  speed-up  port busy"
        "      bound (by)         cycles/bound  plain axis defaults (channels, rows)"
    )
    totals: Counter[tuple[str, str]] = Counter()
    for shape, count in LAYERS:
        workload = layer(*shape)
        alone = single[workload]
        bound = lower_bound(workload, core)
        # The port moves every byte at least once; a quarter of one core's compute hides it.
        fed = cores * max(bound.reads, bound.writes) <= bound.compute
        slicings = default_slicings(workload, core, cores).values()
        best = min(slicings, key=lambda slicing: slicing.result.cycles)
        limit = sliced_bound(best.slices, core)
        plain = []
        for axis in SliceAxis:
            slices = slice_workload(workload, cores, axis)
            schedules = default_slice_schedules(slices, core)
            plain.append(measure_sliced(workload, schedules, core, cores, axis).cycles)
        cycles = best.result.cycles
        for group in ("all", "fed") if fed else ("all",):
            totals[group, "one"] += count * alone
            totals[group, "many"] += count * cycles
            totals[group, "plain"] += count * min(plain)
        name = "{}x{}^2 -> {} k{} s{}".format(*shape)
        print(
            f"{'*' if fed else ' '} {name:24} {count:3} {alone:10} {best.axis.value:9} "
            f"{cycles:9} {alone / cycles:9.2f} {best.result.port.utilization:9.0%} "
            f"{limit.cycles:10} ({limit.limited_by:7}) {cycles / limit.cycles:16.2f}  "
            f"{alone / plain[0]:.2f}, {alone / plain[1]:.2f}"
        )
    for group, text in (("all", "all layers"), ("fed", "layers with a star")):
        one = totals[group, "one"]
        if one:
            print(
                f"  {text}: {one} -> {totals[group, 'many']} cycles, "
                f"{one / totals[group, 'many']:.2f}x "
                f"(axis alone chosen: {one / totals[group, 'plain']:.2f}x)"
            )


FIRE = ((16, 56, 64), (32, 28, 128), (48, 14, 192), (64, 14, 256))
"""Input channels, size and output channels of SqueezeNet's pairs; each twice."""


def streams(workload: ConvWorkload, core: VtaCore, cores: int) -> list[Any]:
    """What each of some cores runs of a layer, cut along the faster axis."""
    if cores == 1:
        schedule = default_schedule(workload, core)
        return [lower_layer(workload, schedule, core.geometry).lowered.instructions]
    found = default_slicings(workload, core, cores).values()
    best = min(found, key=lambda slicing: slicing.result.cycles)
    program = lower_sliced(workload, best.slices, best.schedules, core.geometry)
    return [part.instructions for part in program.programs]


def together(parts: list[tuple[ConvWorkload, int]], core: VtaCore) -> int:
    """Cycles of layers side by side, each on so many cores."""
    programs = [one for workload, cores in parts for one in streams(workload, core, cores)]
    return time_programs(programs, core.timing, core.geometry).cycles


def report_some(target: Target) -> None:
    """Prints what slices over some of the cores would give."""
    core, cores = target.npu, target.npu_cores
    print(f"\n{target.name}: cycles by number of cores")
    now = some = 0
    for shape, count in LAYERS:
        found = [together([(layer(*shape), n)], core) for n in range(1, cores + 1)]
        now += count * min(found[0], found[-1])
        some += count * min(found)
        print("  {}x{}^2 -> {} k{} s{}".format(*shape).ljust(28), *(f"{c:9}" for c in found))
    print(
        f"  all layers: {now} with one or all, {some} with any number ({1 - some / now:.2%} less)"
    )
    now = some = 0
    for channels, size, out in FIRE:
        one, other = (layer(channels, size, out, kernel, 1) for kernel in (1, 3))
        alone = [
            sum(together([(x, n)], core) for x, n in ((one, a), (other, b)))
            for a, b in ((cores, cores), (1, cores), (cores, 1))
        ]
        known = min(*alone, together([(one, 1), (other, 1)], core))
        apart = {n: together([(one, n), (other, cores - n)], core) for n in range(1, cores)}
        now += 2 * known
        some += 2 * min(known, *apart.values())
        print(f"  pair {channels}x{size}^2 -> {out}: {known} as now, apart {apart}")
    print(f"  all pairs: {now} as now, {some} with some cores each ({1 - some / now:.2%} less)")


def speed(target: Target) -> None:
    """Prints how long the simulation of four programs takes against that of one."""
    workload = layer(128, 28, 128, 3, 1)
    slices = slice_workload(workload, target.npu_cores, SliceAxis.CHANNELS)
    core = target.npu
    program = lower_sliced(workload, slices, default_slice_schedules(slices, core), core.geometry)
    streams = [lowered.instructions for lowered in program.programs]
    times: dict[str, list[float]] = {"one": [], "together": []}
    for _ in range(50):
        begin = time.perf_counter()
        time_program(streams[0], core.timing, core.geometry)
        middle = time.perf_counter()
        time_programs(streams, core.timing, core.geometry)
        times["one"].append((middle - begin) * 1e3)
        times["together"].append((time.perf_counter() - middle) * 1e3)
    one, together = median(times["one"]), median(times["together"])
    instructions = sum(len(stream) for stream in streams)
    print(
        f"\nsimulation of {len(streams)} programs, {instructions} instructions: "
        f"{together:.2f} ms; the first of them alone: {one:.2f} ms"
    )


def main() -> None:
    names = [name for name in sys.argv[1:] if name != "--some"]
    if "--some" in sys.argv:
        for name in names or ("vta-x4",):
            report_some(load_target(name))
        return
    base = load_target("vta").npu
    single = {}
    for shape, _ in LAYERS:
        workload = layer(*shape)
        single[workload] = measure_layer(workload, default_schedule(workload, base), base).cycles
    for name in names or TARGETS:
        report(load_target(name), single)
    speed(load_target("vta-x4"))


if __name__ == "__main__":
    main()
