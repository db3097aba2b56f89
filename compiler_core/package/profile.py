"""Where the time of a package goes: layers against their roofline, units, instructions, a timeline.

Roofline of a core: ``min(MACs of the array per cycle, port bytes per cycle * MACs per DRAM byte)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from compiler_core.package.executable import Executable
from compiler_core.package.report import LayerReport, Report
from compiler_core.targets.target import Target
from compiler_core.targets.vta.isa import decode
from compiler_core.targets.vta.linker import Launch
from compiler_core.targets.vta.timeline import TRACKS as NPU_TRACKS
from compiler_core.targets.vta.timeline import timeline
from compiler_core.targets.vta.timing import time_program
from compiler_core.trace import Slice

TRACKS = ("cpu", *NPU_TRACKS)


@dataclass(frozen=True)
class Roofline:
    """A layer on the roofline of one core.

    Attributes:
        macs_per_byte: Arithmetic intensity on the DRAM traffic of the program.
        attainable_macs_per_cycle: The roof at that intensity.
        achieved_macs_per_cycle: Of the program, start to end.
        roof: ``compute`` or ``memory``.
    """

    macs_per_byte: float
    attainable_macs_per_cycle: float
    achieved_macs_per_cycle: float
    roof: str


@dataclass(frozen=True)
class UnitProfile:
    """Sums over the layers of one unit; shares are of the whole model."""

    unit: str
    layers: int
    latency_ms: float
    latency_share: float
    energy_mj: float
    energy_share: float
    cycles: int
    bytes: int


@dataclass(frozen=True)
class InstructionProfile:
    """One kind of instruction or stall, summed over all programs."""

    module: str
    name: str
    category: str
    count: int
    cycles: int


def roofline(layer: LayerReport, target: Target) -> Roofline | None:
    """Where a layer stands; ``None`` for what does not run on the NPU."""
    moved = sum(layer.bytes.values())
    if not layer.cycles or not moved:
        return None
    geometry = target.npu.geometry
    peak = float(geometry.batch * geometry.block_in * geometry.block_out)
    intensity = layer.macs / moved
    memory = target.npu.timing.port_bytes * intensity
    achieved = layer.macs / layer.cycles
    roof = "compute" if memory >= peak else "memory"
    return Roofline(intensity, min(peak, memory), achieved, roof)


def by_unit(report: Report) -> tuple[UnitProfile, ...]:
    """Sums per unit, in order of first use."""
    latency = sum(layer.latency_ms for layer in report.layers) or 1.0
    energy = sum(layer.energy_mj for layer in report.layers) or 1.0
    profiles = []
    for unit in dict.fromkeys(layer.unit for layer in report.layers):
        layers = [layer for layer in report.layers if layer.unit == unit]
        time = sum(layer.latency_ms for layer in layers)
        spent = sum(layer.energy_mj for layer in layers)
        profiles.append(
            UnitProfile(
                unit,
                len(layers),
                time,
                time / latency,
                spent,
                spent / energy,
                sum(layer.cycles for layer in layers),
                sum(sum(layer.bytes.values()) for layer in layers),
            )
        )
    return tuple(profiles)


def by_instruction(executable: Executable) -> tuple[InstructionProfile, ...]:
    """Counts and cycles per module and kind of instruction, the longest first."""
    sums: dict[tuple[str, str, str], tuple[int, int]] = {}
    for segment in executable.npu_segments:
        for launch in segment.launches:
            for item in _launch_slices(launch, executable.target):
                key = NPU_TRACKS[item.track], item.name, item.category
                if item.name.startswith("read "):
                    key = key[0], "read instructions", key[2]
                count, cycles = sums.get(key, (0, 0))
                clock = executable.target.npu.clock_hz
                spent = item.arguments.get(
                    "cycles", round((item.end_ns - item.start_ns) * clock / 1e9)
                )
                sums[key] = count + 1, cycles + int(spent)
    profiles = [InstructionProfile(*key, *value) for key, value in sums.items()]
    return tuple(sorted(profiles, key=lambda item: (-item.cycles, item.module, item.name)))


def _launch_slices(launch: Launch, target: Target) -> Iterator[Slice]:
    core = target.npu
    timing = time_program(launch.instructions, core.timing, core.geometry, trace=True)
    assert timing.trace is not None
    yield from timeline(
        decode(launch.instructions),
        timing.trace,
        cycles=timing.cycles,
        clock_hz=core.clock_hz,
        fetch_batch_instructions=core.timing.fetch_batch_instructions,
    )


def trace_slices(executable: Executable, report: Report) -> Iterator[Slice]:
    """One run of the model as a timeline, in the order of the sequential latency model."""
    target = executable.target
    launches = {segment.name: iter(segment.launches) for segment in executable.npu_segments}
    overhead_ns = round(target.launch_overhead_s * 1e9)
    now = 0
    for layer in report.layers:
        length = round(layer.latency_ms * 1e6)
        arguments = {"segment": layer.segment, "shape": layer.shape}
        if layer.unit == "cpu":
            name = f"{layer.operator} {layer.name}"
            yield Slice(0, name, layer.operator, now, now + length, arguments=arguments)
            now += length
            continue
        yield Slice(
            0, f"launch {layer.name}", "launch", now, now + overhead_ns, arguments=arguments
        )
        now += overhead_ns
        for item in _launch_slices(next(launches[layer.segment]), target):
            yield replace(
                item,
                track=item.track + 1,
                start_ns=item.start_ns + now,
                end_ns=item.end_ns + now,
                arguments={**item.arguments, "layer": layer.name},
            )
        now += length - overhead_ns
