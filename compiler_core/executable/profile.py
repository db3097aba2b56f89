"""Where the time of a package goes: layers against their roofline, units, instructions, a timeline.

Roofline: ``min(MACs of all arrays per cycle, port bytes per cycle * MACs per DRAM byte)``. Where
the port reads and writes at once, the bytes are those of the direction that moves more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from compiler_core.executable.executable import Executable
from compiler_core.executable.report import LayerReport, Report
from compiler_core.files.trace import Slice
from compiler_core.targets.target import Target
from compiler_core.units.names import NPU
from compiler_core.units.vta.link.launch_timing import time_launch
from compiler_core.units.vta.link.linker import Launch
from compiler_core.units.vta.machine.hardware import TimingProfile
from compiler_core.units.vta.machine.isa import decode
from compiler_core.units.vta.simulate.timeline import TRACKS as NPU_TRACKS
from compiler_core.units.vta.simulate.timeline import timeline

TRACKS = ("cpu", *NPU_TRACKS)


@dataclass(frozen=True)
class Roofline:
    """A layer on the roofline of the cores that it runs on.

    Attributes:
        macs_per_byte: Arithmetic intensity on the DRAM traffic that bounds the program.
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
    moved = _port_bytes(layer, target)
    if not layer.cycles or not moved:
        return None
    geometry = target.npu.geometry
    cores = max(1, len(layer.cores))
    peak = float(cores * geometry.batch * geometry.block_in * geometry.block_out)
    intensity = layer.macs / moved
    memory = target.npu.timing.port_bytes * intensity
    achieved = layer.macs / layer.cycles
    roof = "compute" if memory >= peak else "memory"
    return Roofline(intensity, min(peak, memory), achieved, roof)


def _port_bytes(layer: LayerReport, target: Target) -> int:
    """Bytes that the port moves one after another: one channel, or the busier of two."""
    moved, written = sum(layer.bytes.values()), layer.bytes.get("out", 0)
    if target.npu.timing.profile is TimingProfile.RTL2020:
        return moved
    return max(moved - written, written)


def by_unit(report: Report) -> tuple[UnitProfile, ...]:
    """Sums per unit, in order of first use; what is sliced counts on every core that takes part."""
    shares = [share for layer in report.layers for share in _shares(layer)]
    latency = sum(share.latency_ms for share in shares) or 1.0
    energy = sum(share.energy_mj for share in shares) or 1.0
    profiles = []
    for unit in dict.fromkeys(share.unit for share in shares):
        own = [share for share in shares if share.unit == unit]
        time = sum(share.latency_ms for share in own)
        spent = sum(share.energy_mj for share in own)
        profiles.append(
            UnitProfile(
                unit,
                len(own),
                time,
                time / latency,
                spent,
                spent / energy,
                sum(share.cycles for share in own),
                sum(share.bytes for share in own),
            )
        )
    return tuple(profiles)


@dataclass(frozen=True)
class _Share:
    """What one layer asks of one unit."""

    unit: str
    latency_ms: float
    energy_mj: float
    cycles: int
    bytes: int


def _shares(layer: LayerReport) -> Iterator[_Share]:
    if len(layer.cores) < 2:
        moved = sum(layer.bytes.values())
        yield _Share(layer.unit, layer.latency_ms, layer.energy_mj, layer.cycles, moved)
        return
    for core in layer.cores:
        # The launches and the slowest core take the layer's time; another core is done earlier.
        time = layer.latency_ms * core.cycles / layer.cycles
        moved = sum(core.bytes.values())
        yield _Share(f"{NPU}{core.core}", time, core.energy_mj, core.cycles, moved)


def by_instruction(executable: Executable) -> tuple[InstructionProfile, ...]:
    """Counts and cycles per module and kind of instruction, the longest first."""
    sums: dict[tuple[str, str, str], tuple[int, int]] = {}
    clock = executable.target.npu.clock_hz
    for segment in executable.npu_segments:
        for launch in segment.launches:
            for _, item in _launch_slices(launch, executable.target):
                key = NPU_TRACKS[item.track], item.name, item.category
                if item.name.startswith("read "):
                    key = key[0], "read instructions", key[2]
                count, cycles = sums.get(key, (0, 0))
                spent = item.arguments.get(
                    "cycles", round((item.end_ns - item.start_ns) * clock / 1e9)
                )
                sums[key] = count + 1, cycles + int(spent)
    profiles = [InstructionProfile(*key, *value) for key, value in sums.items()]
    return tuple(sorted(profiles, key=lambda item: (-item.cycles, item.module, item.name)))


def _launch_slices(launch: Launch, target: Target) -> Iterator[tuple[int, Slice]]:
    """Slices of a launch's programs, each with its core."""
    core = target.npu
    timing = time_launch(launch, core, trace=True)
    for program, run in zip(launch.programs, timing.cores, strict=True):
        assert run.trace is not None
        for item in timeline(
            decode(program.instructions),
            run.trace,
            cycles=run.cycles,
            clock_hz=core.clock_hz,
            fetch_batch_instructions=core.timing.fetch_batch_instructions,
        ):
            yield program.core, item


def tracks(target: Target) -> tuple[str, ...]:
    """Tracks of :func:`trace_slices`: the CPU, then the modules of each core."""
    if target.npu_cores == 1:
        return ("cpu", *NPU_TRACKS)
    cores = range(target.npu_cores)
    return ("cpu", *(f"{NPU}{core} {name}" for core in cores for name in NPU_TRACKS))


def trace_slices(executable: Executable, report: Report) -> Iterator[Slice]:
    """One run of the model as the system timeline has it.

    A program that others slow down on the shared port is stretched as a whole; a CPU step that
    launches interrupt is shown from its beginning to its end.
    """
    target = executable.target
    launches = {segment.name: iter(segment.launches) for segment in executable.npu_segments}
    for layer in report.layers:
        # In picoseconds what ends and what begins at once meet; rounded apart, they may overlap by
        # a nanosecond, and viewers drop what overlaps.
        start_ps, end_ps = round(layer.start_ms * 1e9), round(layer.end_ms * 1e9)
        start, end = start_ps // 1000, end_ps // 1000
        arguments = {"segment": layer.segment, "shape": layer.shape}
        if layer.unit == "cpu":
            name = f"{layer.operator} {layer.name}"
            yield Slice(0, name, layer.operator, start, end, arguments=arguments)
            continue
        launch = next(launches[layer.segment])
        overhead_ps = round(target.launch_overhead_s * 1e12) * len(launch.programs)
        launched = (start_ps - overhead_ps) // 1000
        yield Slice(0, f"launch {layer.name}", "launch", launched, start, arguments=arguments)
        alone = layer.cycles / target.npu.clock_hz * 1e9
        scale = (end - start) / alone if target.npu_cores > 1 else 1.0
        for core, item in _launch_slices(launch, target):
            yield replace(
                item,
                track=1 + len(NPU_TRACKS) * (core if target.npu_cores > 1 else 0) + item.track,
                start_ns=start + round(item.start_ns * scale),
                end_ns=start + round(item.end_ns * scale),
                arguments={**item.arguments, "layer": layer.name},
            )
