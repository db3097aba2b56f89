"""The final compile: a quantized graph, a target and a configuration become an executable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from compiler_core.configuration import Configuration, Subject
from compiler_core.errors import InfeasibleError, InputError
from compiler_core.frontend import QuantizedModel
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.ir import Graph
from compiler_core.package.executable import CONSTANTS, CpuSegment, Executable, Segment
from compiler_core.package.report import LayerReport, Metrics, Report, launch_report, totals
from compiler_core.quantize.ir import FloatSegment, IntegerSegment, QuantizedGraph, QuantizedTensor
from compiler_core.system.compiled import compiled_timeline
from compiler_core.system.latency import Cost, conversion_cost, node_cost
from compiler_core.targets.target import Target
from compiler_core.targets.vta.default_schedule import default_schedule
from compiler_core.targets.vta.dram_plan import ALIGNMENT, DramPlan, align
from compiler_core.targets.vta.legality import violations
from compiler_core.targets.vta.linker import (
    ConstantPool,
    Launch,
    NpuSegment,
    PlacedTensor,
    link_segment,
    place_activations,
    plan_activations,
    verify_launches,
)
from compiler_core.targets.vta.schedule import Schedule
from compiler_core.targets.vta.segment import SegmentLayers, segment_layers
from compiler_core.targets.vta.timing import time_program
from compiler_core.tensor.task import Task

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
    """

    source: QuantizedModel
    configuration: Configuration
    executable: Executable
    tasks: Mapping[str, Task]
    report: Report
    metrics: Metrics


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
    layers = model_layers(source.quantized)
    tasks = model_tasks(layers)
    progress(f"{sum(len(part.layers) for part in layers)} layers, {len(tasks)} tasks")
    schedules = choose_schedules(tasks, source.configuration.schedules, target)
    linked = _Linked(source.quantized, layers, schedules, target)
    progress(f"{sum(len(part) for part in linked.launches)} programs, verifying")
    executable = linked.executable()
    dram = executable.dram()
    for segment in executable.npu_segments:
        verify_launches(segment.launches, dram, target.npu.geometry)
    progress("timing")
    report = _report(source.quantized, executable, tasks, schedules)
    timeline = compiled_timeline(source.quantized, executable, report)
    metrics = _metrics(executable, linked.plans, report, timeline.latency_ms)
    configuration = replace(
        source.configuration,
        schedules=dict(sorted(schedules.items())),
        target=Subject(target.name, target.digest),
        measured={
            "npu_cycles": float(metrics.npu_cycles),
            "latency_ms": metrics.latency_ms,
            "energy_mj": metrics.energy_mj,
        },
    )
    return CompiledModel(source, configuration, executable, tasks, report, metrics)


def model_layers(quantized: QuantizedGraph) -> tuple[SegmentLayers, ...]:
    """The layers of every integer segment, in execution order."""
    parts = [part for part in quantized.segments if isinstance(part, IntegerSegment)]
    computed = {operator.output for part in parts for operator in part.operators}
    from_cpu = set(quantized.views) - computed
    return tuple(segment_layers(part, quantized.tensors, from_cpu) for part in parts)


def model_tasks(layers: tuple[SegmentLayers, ...]) -> dict[str, Task]:
    """Distinct tasks by id, in order of first use."""
    return {layer.task.id: layer.task for part in layers for layer in part.layers}


def choose_schedules(
    tasks: Mapping[str, Task], given: Mapping[str, Schedule], target: Target
) -> dict[str, Schedule]:
    """The given schedule of each task, else the untuned default.

    Raises:
        InputError: A schedule is for a task that the model does not have, or for another operator.
        InfeasibleError: A schedule does not fit.
    """
    for name in given:
        if name not in tasks:
            raise InputError(
                f"schedule.{name}: the model has no such task; it has {', '.join(sorted(tasks))}",
                hint="nest-tune task list shows the tasks of a model",
            )
    chosen = {}
    for name, task in tasks.items():
        schedule = given.get(name) or default_schedule(task.workload, target.npu)
        if name in given:
            check_schedule(task, schedule, target)
        chosen[name] = schedule
    return chosen


def check_schedule(task: Task, schedule: Schedule, target: Target) -> None:
    """Refuses a schedule that does not fit its task.

    Raises:
        InputError: It is for another kind of operator.
        InfeasibleError: It breaks a rule; says which.
    """
    try:
        broken = violations(task.workload, schedule, target.npu.geometry)
    except TypeError as error:
        raise InputError(f"schedule of task {task.id}: {error}") from error
    if broken:
        raise InfeasibleError(f"schedule of task {task.id}: {broken[0]}")


class _Linked:
    """All integer segments in one DRAM: activations first, then each segment's constants."""

    def __init__(
        self,
        quantized: QuantizedGraph,
        layers: tuple[SegmentLayers, ...],
        schedules: Mapping[str, Schedule],
        target: Target,
    ) -> None:
        geometry = target.npu.geometry
        self._quantized, self._target = quantized, target
        self.plans = tuple(plan_activations(part, schedules, geometry) for part in layers)
        address = ALIGNMENT + align(max((plan.size for plan in self.plans), default=0))
        self.layouts: list[Mapping[str, PlacedTensor]] = []
        self.launches: list[tuple[Launch, ...]] = []
        self.pools: list[ConstantPool] = []
        for part, plan in zip(layers, self.plans, strict=True):
            layout = place_activations(part, plan, schedules, geometry)
            pool = ConstantPool(address)
            self.launches.append(link_segment(part, schedules, layout, pool, geometry))
            self.layouts.append(layout)
            self.pools.append(pool)
            address = pool.end
        self._dram_bytes = address

    def executable(self) -> Executable:
        dram = np.zeros(self._dram_bytes, np.uint8)
        for pool in self.pools:
            pool.write(dram)
        segments: list[Segment] = []
        quantized, number = self._quantized, 0
        for part in quantized.segments:
            if isinstance(part, FloatSegment):
                if part.graph.outputs:
                    segments.append(_cpu_segment(part))
                continue
            pool = self.pools[number]
            # The first image begins at address 0 and so holds the activations' region too.
            start = pool.start if number else 0
            segments.append(
                NpuSegment(
                    part.name,
                    part.operators,
                    part.inputs,
                    part.outputs,
                    self.layouts[number],
                    start,
                    dram[start : pool.end].copy(),
                    self.launches[number],
                )
            )
            number += 1
        segments += _constant_outputs(quantized.source)
        return Executable(
            self._target,
            signature_of(quantized),
            _border_tensors(quantized),
            dict(sorted(quantized.views.items())),
            tuple(segments),
            self._dram_bytes,
        )


def _cpu_segment(segment: FloatSegment) -> CpuSegment:
    graph = segment.graph
    model = export_onnx(graph).SerializeToString(deterministic=True)
    return CpuSegment(segment.name, graph.inputs, graph.outputs, model)


def _constant_outputs(source: Graph) -> list[CpuSegment]:
    """A segment that only hands out the model's constant outputs, where there are any."""
    names = tuple(name for name in source.outputs if name in source.constants)
    if not names:
        return []
    graph = replace(
        source,
        nodes=(),
        inputs=(),
        outputs=names,
        constants={name: source.constants[name] for name in names},
    )
    model = export_onnx(graph).SerializeToString(deterministic=True)
    return [CpuSegment(CONSTANTS, (), names, model)]


def _border_tensors(quantized: QuantizedGraph) -> dict[str, QuantizedTensor]:
    names = set(quantized.views)
    for part in quantized.segments:
        if isinstance(part, IntegerSegment):
            names |= {*part.inputs, *part.outputs}
            for operator in part.operators:
                names.add(operator.output)
    return {name: quantized.tensors[name] for name in sorted(names)}


def signature_of(quantized: QuantizedGraph) -> Graph:
    """The model's interface and the types of its border tensors, without nodes."""
    source = quantized.source
    names = {*source.inputs, *source.outputs, *quantized.views}
    return replace(
        source,
        nodes=(),
        constants={},
        types={name: source.types[name] for name in sorted(names) if name in source.types},
        functions=(),
        dynamic_batch=source.dynamic_batch & names,
        batch_dependent=source.batch_dependent & names,
    )


def _report(
    quantized: QuantizedGraph,
    executable: Executable,
    tasks: Mapping[str, Task],
    schedules: Mapping[str, Schedule],
) -> Report:
    layers: list[LayerReport] = []
    compiled = {segment.name: segment for segment in executable.npu_segments}
    on_npu: set[str] = set()
    for part in quantized.segments:
        if isinstance(part, FloatSegment):
            layers += _node_reports(part, executable.target)
            continue
        entering = [name for name in part.inputs if name not in on_npu]
        layers += _conversions(compiled[part.name], entering, "quantize", executable)
        layers += _launch_reports(compiled[part.name], tasks, schedules, executable.target)
        leaving = [name for name in part.outputs if name in quantized.views]
        layers += _conversions(compiled[part.name], leaving, "dequantize", executable)
        on_npu |= set(part.outputs)
    return Report(tuple(layers))


def _launch_reports(
    segment: NpuSegment, tasks: Mapping[str, Task], schedules: Mapping[str, Schedule], chip: Target
) -> list[LayerReport]:
    core = chip.npu
    return [
        launch_report(
            launch,
            segment.name,
            tasks[launch.task],
            schedules[launch.task].digest,
            time_program(launch.instructions, core.timing, core.geometry, core.energy),
            core,
            chip.launch_overhead_s,
        )
        for launch in segment.launches
    ]


def _node_reports(segment: FloatSegment, chip: Target) -> list[LayerReport]:
    reports = []
    for node in segment.graph.nodes:
        known = segment.graph.types.get(node.output)
        shape = "x".join("?" if n is None else str(n) for n in (known.shape or ())) if known else ""
        cost = node_cost(chip.cpu, segment.graph, node)
        reports.append(_cpu_report(node.name, segment.name, node.op, shape, cost))
    return reports


def _conversions(
    segment: NpuSegment, names: list[str], kind: str, executable: Executable
) -> list[LayerReport]:
    reports = []
    for name in names:
        placed = segment.layout[name]
        batch, channels, height, width = placed.shape
        values = batch * channels * height * width
        moved = 4 * values + batch * placed.size_bytes
        cost = conversion_cost(executable.target.cpu, values, moved)
        shape = f"{batch}x{channels}x{height}x{width}"
        reports.append(_cpu_report(name, segment.name, kind, shape, cost))
    return reports


def _cpu_report(name: str, segment: str, operator: str, shape: str, cost: Cost) -> LayerReport:
    return LayerReport(name, segment, "cpu", operator, shape, cost.seconds * 1e3, cost.energy_mj)


def _metrics(
    executable: Executable, plans: tuple[DramPlan, ...], report: Report, latency_ms: float
) -> Metrics:
    activations = align(max((plan.size for plan in plans), default=0))
    constants = executable.dram_bytes - ALIGNMENT - activations
    launches = [launch for part in executable.npu_segments for launch in part.launches]
    models = [part.model for part in executable.segments if isinstance(part, CpuSegment)]
    sums = totals(report.layers)
    return Metrics(
        npu_cycles=sums["npu_cycles"],
        latency_ms=latency_ms,
        energy_mj=sums["energy_mj"],
        size_bytes=constants
        + sum(launch.instructions.nbytes for launch in launches)
        + sum(map(len, models)),
        dram_peak_bytes=constants + activations,
        dram_constant_bytes=constants,
        dram_activation_bytes=activations,
        dram_activation_bytes_without_reuse=sum(plan.size_without_reuse for plan in plans),
        instructions=sums["instructions"],
        launches=len(launches),
    )
