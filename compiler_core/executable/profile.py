"""Where the time of a package goes: layers against their roofline, units, instructions, a timeline.

Roofline: ``min(MACs of all arrays per cycle, port bytes per cycle * MACs per DRAM byte)``. Where
the port reads and writes at once, the bytes are those of the direction that moves more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from compiler_core.executable.executable import Executable
from compiler_core.executable.report import LayerReport, Metrics, Report
from compiler_core.files.trace import TraceSlice
from compiler_core.sums import float_sum
from compiler_core.targets.target import Target, Unit
from compiler_core.units.facets.profiles import LaunchSlice, profiles_of
from compiler_core.units.facets.programs import UnitLaunch, continues
from compiler_core.units.names import CPU


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


def unit_document(unit: UnitProfile, metrics: Metrics) -> dict[str, Any]:
    """Sums of a unit as plain values; by the clock without what is not known then."""
    plain = asdict(unit)
    if metrics.by_clock is None:
        return plain
    return {name: plain[name] for name in ("unit", "layers", "latency_ms", "latency_share")}


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
    unit = target.unit_at(layer.unit) if layer.cycles else None
    known = None if unit is None else profiles_of(unit.machine)
    if unit is None or known is None:
        return None
    roof = known.roof(unit.machine)
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
    latency = float_sum(share.latency_ms for share in shares) or 1.0
    energy = float_sum(share.energy_mj for share in shares) or 1.0
    profiles = []
    for unit in dict.fromkeys(share.unit for share in shares):
        own = [share for share in shares if share.unit == unit]
        time = float_sum(share.latency_ms for share in own)
        spent = float_sum(share.energy_mj for share in own)
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
    name = layer.unit.rpartition("-")[0]  # behind it stands how it is cut
    for core in layer.cores:
        # The launches and the slowest core take the layer's time; another core is done earlier.
        time = layer.latency_ms * core.cycles / (layer.cycles or 1)
        moved = sum(core.bytes.values())
        yield _Share(f"{name}{core.core}", time, core.energy_mj, core.cycles, moved)


def by_instruction(executable: Executable) -> tuple[InstructionProfile, ...]:
    """Counts and cycles per module and kind of instruction, the longest first; none of units whose
    kind does not say."""
    sums: dict[tuple[str, str, str], tuple[int, int]] = {}
    several = len(executable.target.units) > 1
    for segment in executable.npu_segments:
        unit = executable.unit_of(segment)
        known = profiles_of(unit.machine)
        if known is None:
            continue
        names, clock = known.tracks(unit.machine), unit.machine.clock_hz
        for launch in segment.launches:
            for found in known.slices(launch, unit.machine):
                item = found.slice
                module = f"{unit.name} {names[item.track]}" if several else names[item.track]
                key = module, found.group, item.category
                count, cycles = sums.get(key, (0, 0))
                spent = item.arguments.get(
                    "cycles", round((item.end_ns - item.start_ns) * clock / 1e9)
                )
                sums[key] = count + 1, cycles + int(spent)
    profiles = [InstructionProfile(*key, *value) for key, value in sums.items()]
    return tuple(sorted(profiles, key=lambda item: (-item.cycles, item.module, item.name)))


def tracks(target: Target) -> tuple[str, ...]:
    """Tracks of :func:`trace_slices`: the CPU, then the modules of each core."""
    found = [CPU]
    for unit in target.units:
        names = _modules(unit)
        if unit.cores == 1 and len(target.units) == 1:
            found += names
        elif unit.cores == 1:
            found += [name if name == unit.name else f"{unit.name} {name}" for name in names]
        else:
            found += [f"{unit.name}{core} {name}" for core in range(unit.cores) for name in names]
    return tuple(found)


def _modules(unit: Unit) -> tuple[str, ...]:
    """Tracks of one core: those of its modules, or one for its launches."""
    if not unit.cores:
        return ()
    known = profiles_of(unit.machine)
    return (unit.name,) if known is None else known.tracks(unit.machine)


def trace_slices(executable: Executable, report: Report) -> Iterator[TraceSlice]:
    """One run of the model as the system timeline has it.

    A program that others slow down on the shared port is stretched as a whole; a CPU step that
    launches interrupt is shown from its beginning to its end.
    """
    target, first = executable.target, _first_tracks(executable.target)
    launches = {segment.name: iter(segment.launches) for segment in executable.npu_segments}
    alone_on_port = len(target.units) == 1 and target.npu_cores == 1
    for layer in report.layers:
        # In picoseconds what ends and what begins at once meet; rounded apart, they may overlap by
        # a nanosecond, and viewers drop what overlaps.
        start_ps, end_ps = round(layer.start_ms * 1e9), round(layer.end_ms * 1e9)
        start, end = start_ps // 1000, end_ps // 1000
        arguments = {"segment": layer.segment, "shape": layer.shape}
        if layer.unit == CPU:
            name = f"{layer.operator} {layer.name}"
            yield TraceSlice(0, name, layer.operator, start, end, arguments=arguments)
            continue
        unit = target.unit(executable.placed[layer.segment])
        names = _modules(unit)
        launch = next(launches[layer.segment])
        if not continues(launch):
            overhead_ps = round(target.launch_overhead_s * 1e12) * len(launch.cores)
            launched = (start_ps - overhead_ps) // 1000
            yield TraceSlice(
                0, f"launch {layer.name}", "launch", launched, start, arguments=arguments
            )
        alone = layer.cycles / unit.machine.clock_hz * 1e9
        scale = 1.0 if alone_on_port or not alone else (end - start) / alone
        for found in _launch_slices(launch, layer, unit):
            item, core = found.slice, found.core if unit.cores > 1 else 0
            yield replace(
                item,
                track=first[unit.name] + len(names) * core + item.track,
                start_ns=start + round(item.start_ns * scale),
                end_ns=start + round(item.end_ns * scale),
                arguments={**item.arguments, "layer": layer.name},
            )


def _first_tracks(target: Target) -> dict[str, int]:
    """Number of the first track of each unit."""
    found, number = {}, 1
    for unit in target.units:
        found[unit.name] = number
        number += len(_modules(unit)) * unit.cores
    return found


def _launch_slices(launch: UnitLaunch, layer: LayerReport, unit: Unit) -> Iterator[LaunchSlice]:
    """The timeline of a launch; one span per core where the kind says no more."""
    known, clock = profiles_of(unit.machine), unit.machine.clock_hz
    if known is not None:
        yield from known.slices(launch, unit.machine)
        return
    cycles = [share.cycles for share in layer.cores] or [layer.cycles]
    for core, spent in zip(launch.cores, cycles, strict=False):
        end = round(spent / clock * 1e9)
        yield LaunchSlice(
            core, TraceSlice(0, layer.operator, layer.operator, 0, end), layer.operator
        )
