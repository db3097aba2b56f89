"""The final compile: a quantized graph, a target and a configuration become an executable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from compiler_core.compile.joining import require_joinable, slower_runs
from compiler_core.compile.linking import executable_of, link_steps
from compiler_core.compile.sources import QuantizedModel
from compiler_core.configuration.configuration import Configuration, Subject
from compiler_core.configuration.launches import Launches
from compiler_core.errors import InputError
from compiler_core.executable.executable import CpuSegment, Executable, Segment, units_of
from compiler_core.executable.report import LayerReport, Metrics, Report, launch_report, totals
from compiler_core.graph.macs import float_macs
from compiler_core.quantize.arithmetic import arithmetic_of
from compiler_core.quantize.assemble import without_room
from compiler_core.quantize.ir import FloatSegment, IntegerSegment, QuantizedGraph
from compiler_core.system.compiled import CompiledTimeline, compiled_timeline
from compiler_core.system.jobs import JobKind
from compiler_core.system.joinable import joinable_steps
from compiler_core.system.positions import Positions
from compiler_core.system.steps import Step, model_steps
from compiler_core.targets.target import Target
from compiler_core.targets.this_machine import require_one_unit
from compiler_core.tensor.choice import choose_schedules, require_known_tasks
from compiler_core.tensor.task import Task
from compiler_core.units.facets.host import Cost, NodeCosts, host_costs
from compiler_core.units.facets.placing import PlacedLayers, placing_of
from compiler_core.units.facets.programs import (
    LaunchCost,
    LinkedSegments,
    LinkRequest,
    MemoryUse,
    UnitLaunch,
    UnitLayer,
    UnitLayers,
    UnitSegment,
    continues,
    programs_of,
)
from compiler_core.units.names import CPU
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine

_PICOSECONDS_PER_MILLISECOND = 10**9

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """The result of a compile.

    Attributes:
        source: What was compiled.
        configuration: Complete: what compiles to the same bytes again.
        executable: The programs.
        tasks: By id.
        report: Layer by layer.
        metrics: Totals.
        timeline: When each layer of the report runs, and why not earlier.
        cuts: Key in the configuration of how a layer is cut, by name of the layer that is.
    """

    source: QuantizedModel
    configuration: Configuration
    executable: Executable
    tasks: Mapping[str, Task]
    report: Report
    metrics: Metrics
    timeline: CompiledTimeline
    cuts: Mapping[str, str] = field(default_factory=dict)


def compile_model(
    source: QuantizedModel, target: Target, *, progress: Progress = lambda _: None
) -> CompiledModel:
    """Compiles a quantized model with the schedules of its configuration.

    Args:
        source: Quantized graph and configuration.
        target: The machine.
        progress: Told what is being done, one line at a time.

    Raises:
        InputError: The configuration is for another target or holds unknown tasks.
        InfeasibleError: A schedule does not fit.
        InternalError: A program breaks a rule of the machine.
    """
    made_for = source.configuration.target
    if made_for.digest and made_for.digest != target.digest:
        raise InputError(
            f"the configuration is for target {made_for.name!r} with digest "
            f"{made_for.digest[:16]}…; {target.name!r} has {target.digest[:16]}…",
            hint="compile for the target that it was made for, or remove digest from its [target]",
        )
    given, slicing = source.configuration.schedules, source.configuration.slicing
    units = units_of(target)
    placing = placing_of(units)
    if target.by_clock:
        require_known_tasks(given, {})
        placing.require_known(slicing, ())
        return _on_host(source, target, progress)
    require_one_unit(target)
    source = _with_reasons(source, target)
    found = model_layers(source.quantized, target.npu)
    require_known_tasks(given, model_tasks(found))
    placing.require_known(slicing, found)
    placed = placing.place(found, source.configuration.plan, slicing, units)
    tasks = model_tasks(placed.layers)
    progress(f"{sum(len(part.layers) for part in placed.layers)} layers, {len(tasks)} tasks")
    schedules = _whole_schedules(placed, given, target)
    model = _PlacedModel(
        source, target, placed, schedules, model_steps(source.quantized, placed.layers)
    )
    fastest = _fastest(model, progress)
    linked, executable, timeline = fastest.linked, fastest.executable, fastest.timeline
    report = _with_times(fastest.report, timeline, target)
    executable = _on_cores(executable, timeline, model.steps)
    metrics = _metrics(executable, linked.memory, report, timeline.latency_ms)
    configuration = replace(
        source.configuration,
        plan=placed.plan,
        schedules=dict(sorted(schedules.items())),
        slicing=placed.slicing,
        launches=_launches(source.configuration.launches, linked, target),
        target=Subject(target.name, target.digest),
        measured={
            "npu_cycles": float(metrics.npu_cycles),
            "latency_ms": metrics.latency_ms,
            "energy_mj": metrics.energy_mj,
        },
    )
    return CompiledModel(
        source, configuration, executable, tasks, report, metrics, timeline, placed.cuts
    )


@dataclass(frozen=True, eq=False)
class _PlacedModel:
    """A model whose layers have places and schedules."""

    source: QuantizedModel
    target: Target
    placed: PlacedLayers
    schedules: Mapping[str, Any]
    steps: tuple[Step, ...]

    def joinable(self) -> list[str]:
        """Layers that may continue the one before."""
        names = [step.layer.operator.name for step in self.steps if step.layer is not None]
        cuts, units = self.placed.cuts, self.placed.units
        places = [None if name in cuts else units[name] for name in names]
        found = joinable_steps(self.steps, places, chains=self.target.npu_cores > 1)
        layers = (self.steps[number].layer for number in found)
        return [layer.operator.name for layer in layers if layer is not None]


@dataclass(frozen=True, eq=False)
class _TimedModel:
    """A model as programs."""

    linked: LinkedSegments
    request: LinkRequest
    executable: Executable
    report: Report
    timeline: CompiledTimeline


def _fastest(model: _PlacedModel, progress: Progress) -> _TimedModel:
    """The programs of a model, verified: as the configuration joins layers, or where it leaves that
    open, joined wherever that is not slower than one launch after another."""
    given = model.source.configuration.launches
    names = model.joinable() if given.merge else []
    kind = kind_of_machine(model.target.npu)
    given.require_version(kind.name, kind.lowering_version)
    borders: dict[str, Mapping[str, int] | None] = {}
    if given.borders is not None and given.merge:
        require_joinable(given.borders, names)
        borders = {name: dict(border) for name, border in given.borders.items()}
    found = _timed(model, borders)
    if names and given.borders is None:
        found = _joined(model, found, names)
    count = sum(map(_launch_count, found.linked.segments))
    progress(f"{count} launches, verifying")
    programs_of(model.target.npu.kind).verify(found.linked, found.request)
    return found


def _joined(model: _PlacedModel, apart: _TimedModel, names: Sequence[str]) -> _TimedModel:
    """The faster of a model with a launch for each layer and with some joined."""
    found = _timed(model, dict.fromkeys(names))
    slow = slower_runs(
        [layer for layer in apart.report.layers if layer.task],
        [layer for layer in found.report.layers if layer.task],
        found.linked.borders,
    )
    if slow:
        found = _timed(model, dict.fromkeys(name for name in names if name not in slow))
    return min((found, apart), key=lambda item: item.timeline.timeline.latency_ps)


def _timed(model: _PlacedModel, borders: Mapping[str, Mapping[str, int] | None]) -> _TimedModel:
    """The programs of a model and their times, with some layers joined to the one before."""
    source, target, placed, steps = model.source, model.target, model.placed, model.steps
    request = LinkRequest(
        placed.layers,
        model.schedules,
        placed.pieces,
        link_steps(steps, placed.layers),
        units_of(target),
        borders,
    )
    programs = programs_of(target.npu.kind)
    linked = programs.link(request)
    executable = executable_of(source.quantized, linked, target)
    launches = [launch for part in executable.npu_segments for launch in part.launches]
    timings = [programs.time(launch, target.npu) for launch in launches]
    costs = host_costs().of_target(target, source.model.graph)
    report = _report(source.quantized, executable, placed, model.schedules, timings, costs)
    places = [placed.units[step.layer.operator.name] for step in steps if step.layer is not None]
    timeline = compiled_timeline(
        steps,
        report.layers,
        timings,
        [continues(launch) for launch in launches],
        places,
        Positions(source.model.graph),
        target,
    )
    return _TimedModel(linked, request, executable, report, timeline)


def _launches(given: Launches, linked: LinkedSegments, target: Target) -> Launches:
    """How layers became launches, where they could be joined."""
    if not given.merge:
        return given
    return Launches(True, kind_of_machine(target.npu).lowering_version, linked.borders)


def _launch_count(segment: UnitSegment) -> int:
    """How often the CPU starts programs of a segment."""
    return sum(not continues(launch) for launch in segment.launches)


def _with_reasons(source: QuantizedModel, target: Target) -> QuantizedModel:
    """A model that also says which nodes the buffers of the target kept on the CPU."""
    plan, graph = source.configuration.plan, source.model.graph
    found = without_room(graph, arithmetic_of(target.npu)) if target.npu_cores else {}
    own = {name: reason for name, reason in found.items() if plan.get(name) == CPU}
    return replace(source, cpu_reasons={**own, **source.cpu_reasons}) if own else source


def _on_host(source: QuantizedModel, target: Target, progress: Progress) -> CompiledModel:
    """This machine measures by the clock, and has no programs."""
    from compiler_core.compile.this_machine import compile_for_host

    executable, report, metrics, timeline = compile_for_host(source, target, progress)
    configuration = replace(
        source.configuration,
        schedules={},
        slicing={},
        target=Subject(target.name, target.digest),
        measured={"latency_ms": metrics.latency_ms},
    )
    return CompiledModel(source, configuration, executable, {}, report, metrics, timeline)


def model_layers(quantized: QuantizedGraph, machine: Machine) -> tuple[UnitLayers, ...]:
    """The layers of every integer segment on machines of that kind, in execution order."""
    parts = [part for part in quantized.segments if isinstance(part, IntegerSegment)]
    alone, known = quantized.read_by_one_segment(), kind_of_machine(machine).layers
    return tuple(known.layers(part, quantized.tensors, alone, machine) for part in parts)


def model_tasks(layers: Sequence[UnitLayers]) -> dict[str, Task]:
    """Distinct tasks by id, in order of first use."""
    return {layer.task.id: layer.task for part in layers for layer in part.layers}


def _whole_schedules(
    placed: PlacedLayers, given: Mapping[str, Any], target: Target
) -> dict[str, Any]:
    """Schedules of the tasks that some layer runs on one core."""
    tasks = {
        layer.task.id: layer.task
        for part in placed.layers
        for layer in part.layers
        if layer.operator.name not in placed.cuts
    }
    used = {name: schedule for name, schedule in given.items() if name in tasks}
    return choose_schedules(tasks, used, target.npu)


def _report(
    quantized: QuantizedGraph,
    executable: Executable,
    placed: PlacedLayers,
    schedules: Mapping[str, Any],
    timings: Sequence[LaunchCost],
    costs: NodeCosts,
) -> Report:
    layers: list[LayerReport] = []
    compiled = {segment.name: segment for segment in executable.npu_segments}
    parts = {part.segment.name: part for part in placed.layers}
    timed = iter(timings)
    entering = quantized.entering()
    for part in quantized.segments:
        if isinstance(part, FloatSegment):
            layers += _node_reports(part, costs)
            continue
        segment = compiled[part.name]
        layers += _conversions(segment, entering[part.name], "quantize", executable)
        layers += [
            _launch_report(segment, launch, layer, placed, schedules, next(timed), executable)
            for launch, layer in zip(segment.launches, parts[part.name].layers, strict=True)
        ]
        leaving = [name for name in part.outputs if name in quantized.views]
        layers += _conversions(segment, leaving, "dequantize", executable)
    return Report(tuple(layers))


def _launch_report(
    segment: UnitSegment,
    launch: UnitLaunch,
    layer: UnitLayer,
    placed: PlacedLayers,
    schedules: Mapping[str, Any],
    cost: LaunchCost,
    executable: Executable,
) -> LayerReport:
    name, machine = layer.operator.name, executable.target.npu
    cut = placed.cuts.get(name)
    schedule = schedules[layer.task.id] if cut is None else placed.slicing[cut]
    bound = placed.bounds.get(name)
    if bound is None:
        bound = kind_of_machine(machine).tasks.bound(layer.task.workload, machine)
    return launch_report(
        launch,
        segment.name,
        placed.units[name],
        layer.task,
        schedule.digest,
        cost,
        bound,
        machine.clock_hz,
        executable.target.launch_overhead_s,
    )


def _with_times(report: Report, found: CompiledTimeline, target: Target) -> Report:
    """The report with start, end and core of each step; one core needs no number."""
    layers = []
    begun = dict(enumerate(found.timeline.start_ps))
    begun |= {span.job: span.start_ps for span in found.timeline.spans if span.track > 0}
    for number, layer in enumerate(report.layers):
        core = found.timeline.core[number]
        unit, shares = layer.unit, layer.cores
        if target.npu_cores == 1:
            shares = ()
        elif core >= 0:
            unit = f"{target.npu.kind}{core}"
            shares = tuple(replace(share, core=core) for share in shares)
        layers.append(
            replace(
                layer,
                unit=unit,
                start_ms=begun[number] / _PICOSECONDS_PER_MILLISECOND,
                end_ms=found.timeline.end_ps[number] / _PICOSECONDS_PER_MILLISECOND,
                cores=shares,
            )
        )
    return Report(tuple(layers))


def _on_cores(executable: Executable, found: CompiledTimeline, steps: Sequence[Step]) -> Executable:
    """Every program that is not sliced on the core that the timeline gave it."""
    cores = iter(
        core
        for step, core in zip(steps, found.timeline.core, strict=True)
        if step.kind is JobKind.PROGRAM
    )
    segments: list[Segment] = []
    for segment in executable.segments:
        if not isinstance(segment, CpuSegment):
            placed = [(launch, next(cores)) for launch in segment.launches]
            segment = segment.with_launches(
                [launch if core < 0 else launch.on_core(core) for launch, core in placed]
            )
        segments.append(segment)
    return replace(executable, segments=tuple(segments))


def _node_reports(segment: FloatSegment, costs: NodeCosts) -> list[LayerReport]:
    reports = []
    for node in segment.graph.nodes:
        known = segment.graph.types.get(node.output)
        shape = "x".join("?" if n is None else str(n) for n in (known.shape or ())) if known else ""
        cost = costs(segment.graph, node)
        report = _cpu_report(node.name, segment.name, node.op, shape, cost)
        reports.append(replace(report, macs=float_macs(segment.graph, node)))
    return reports


def _conversions(
    segment: UnitSegment, names: Iterable[str], kind: str, executable: Executable
) -> list[LayerReport]:
    reports = []
    for name in names:
        batch, channels, height, width = executable.tensors[name].shape
        values = batch * channels * height * width
        moved = 4 * values + segment.tensor_bytes(name)
        cost = host_costs().conversion(executable.target.cpu, values, moved)
        shape = f"{batch}x{channels}x{height}x{width}"
        reports.append(_cpu_report(name, segment.name, kind, shape, cost))
    return reports


def _cpu_report(name: str, segment: str, operator: str, shape: str, cost: Cost) -> LayerReport:
    return LayerReport(name, segment, CPU, operator, shape, cost.seconds * 1e3, cost.energy_mj)


def _metrics(
    executable: Executable, memory: MemoryUse, report: Report, latency_ms: float
) -> Metrics:
    launches = [launch for part in executable.npu_segments for launch in part.launches]
    models = [part.model for part in executable.segments if isinstance(part, CpuSegment)]
    sums = totals(report.layers)
    return Metrics(
        npu_cycles=sums["npu_cycles"],
        latency_ms=latency_ms,
        energy_mj=sums["energy_mj"],
        size_bytes=memory.constant_bytes
        + sum(len(launch.code) for launch in launches)
        + sum(map(len, models)),
        dram_peak_bytes=memory.constant_bytes + memory.activation_bytes,
        dram_constant_bytes=memory.constant_bytes,
        dram_activation_bytes=memory.activation_bytes,
        dram_activation_bytes_without_reuse=memory.activation_bytes_without_reuse,
        instructions=sums["instructions"],
        launches=sum(map(_launch_count, executable.npu_segments)),
    )
