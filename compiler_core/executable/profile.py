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
from compiler_core.units.facets.profiles import LaunchSlice, Profiles, profiles_of
from compiler_core.units.facets.programs import UnitLaunch, continues
from compiler_core.units.names import CPU, kind_of


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
    """Where a layer stands; ``None`` for what does not run on the NPU, or where its kind does not
    say what bounds it."""
    known = profiles_of(target.npu) if layer.cycles else None
    if known is None:
        return None
    roof = known.roof(target.npu)
    moved = roof.channel_bytes(layer.bytes)
    if not moved:
        return None
    peak = max(1, len(layer.cores)) * roof.macs_per_cycle
    intensity = layer.macs / moved
    memory = roof.bytes_per_cycle * intensity
    achieved = layer.macs / layer.cycles
    limit = "compute" if memory >= peak else "memory"
    return Roofline(intensity, min(peak, memory), achieved, limit)


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
    kind = kind_of(layer.unit)
    for core in layer.cores:
        # The launches and the slowest core take the layer's time; another core is done earlier.
        time = layer.latency_ms * core.cycles / layer.cycles
        moved = sum(core.bytes.values())
        yield _Share(f"{kind}{core.core}", time, core.energy_mj, core.cycles, moved)


def by_instruction(executable: Executable) -> tuple[InstructionProfile, ...]:
    """Counts and cycles per module and kind of instruction, the longest first; none where the kind
    of the NPU does not say."""
    sums: dict[tuple[str, str, str], tuple[int, int]] = {}
    machine = executable.target.npu
    known = profiles_of(machine)
    if known is None:
        return ()
    names, clock = known.tracks(machine), machine.clock_hz
    for segment in executable.npu_segments:
        for launch in segment.launches:
            for found in known.slices(launch, machine):
                item = found.slice
                key = names[item.track], found.group, item.category
                count, cycles = sums.get(key, (0, 0))
                spent = item.arguments.get(
                    "cycles", round((item.end_ns - item.start_ns) * clock / 1e9)
                )
                sums[key] = count + 1, cycles + int(spent)
    profiles = [InstructionProfile(*key, *value) for key, value in sums.items()]
    return tuple(sorted(profiles, key=lambda item: (-item.cycles, item.module, item.name)))


def tracks(target: Target) -> tuple[str, ...]:
    """Tracks of :func:`trace_slices`: the CPU, then the modules of each core."""
    names = _modules(target)
    if target.npu_cores == 1:
        return (CPU, *names)
    cores = range(target.npu_cores)
    return (CPU, *(f"{target.npu.kind}{core} {name}" for core in cores for name in names))


def _modules(target: Target) -> tuple[str, ...]:
    """Tracks of one core: those of its modules, or one for its launches."""
    if not target.npu_cores:
        return ()
    known = profiles_of(target.npu)
    return (target.npu.kind,) if known is None else known.tracks(target.npu)


def trace_slices(executable: Executable, report: Report) -> Iterator[Slice]:
    """One run of the model as the system timeline has it.

    A program that others slow down on the shared port is stretched as a whole; a CPU step that
    launches interrupt is shown from its beginning to its end.
    """
    target = executable.target
    known, names = profiles_of(target.npu), _modules(target)
    launches = {segment.name: iter(segment.launches) for segment in executable.npu_segments}
    for layer in report.layers:
        # In picoseconds what ends and what begins at once meet; rounded apart, they may overlap by
        # a nanosecond, and viewers drop what overlaps.
        start_ps, end_ps = round(layer.start_ms * 1e9), round(layer.end_ms * 1e9)
        start, end = start_ps // 1000, end_ps // 1000
        arguments = {"segment": layer.segment, "shape": layer.shape}
        if layer.unit == CPU:
            name = f"{layer.operator} {layer.name}"
            yield Slice(0, name, layer.operator, start, end, arguments=arguments)
            continue
        launch = next(launches[layer.segment])
        if not continues(launch):
            overhead_ps = round(target.launch_overhead_s * 1e12) * len(launch.cores)
            launched = (start_ps - overhead_ps) // 1000
            yield Slice(0, f"launch {layer.name}", "launch", launched, start, arguments=arguments)
        alone = layer.cycles / target.npu.clock_hz * 1e9
        scale = (end - start) / alone if target.npu_cores > 1 else 1.0
        for found in _launch_slices(launch, layer, target, known):
            item, core = found.slice, found.core if target.npu_cores > 1 else 0
            yield replace(
                item,
                track=1 + len(names) * core + item.track,
                start_ns=start + round(item.start_ns * scale),
                end_ns=start + round(item.end_ns * scale),
                arguments={**item.arguments, "layer": layer.name},
            )


def _launch_slices(
    launch: UnitLaunch, layer: LayerReport, target: Target, known: Profiles | None
) -> Iterator[LaunchSlice]:
    """The timeline of a launch; one span per core where the kind says no more."""
    if known is not None:
        yield from known.slices(launch, target.npu)
        return
    for core, share in zip(launch.cores, layer.cores, strict=False):
        end = round(share.cycles / target.npu.clock_hz * 1e9)
        yield LaunchSlice(core, Slice(0, layer.operator, layer.operator, 0, end), layer.operator)
