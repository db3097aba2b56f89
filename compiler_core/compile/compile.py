"""The final compile: a quantized graph, a target and a configuration become an executable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from compiler_core.compile.joined_programs import (
    PlacedModel,
    fastest_programs,
    found_launches,
    launch_count,
)
from compiler_core.compile.reporting import with_times
from compiler_core.compile.sources import QuantizedModel
from compiler_core.compile.unit_layers import model_layers, model_tasks, place_layers
from compiler_core.configuration.configuration import Configuration, Subject
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.errors import InputError
from compiler_core.executable.executable import CpuSegment, Executable, Segment
from compiler_core.executable.report import Metrics, Report, totals
from compiler_core.quantize.assemble import without_room
from compiler_core.system.compiled import CompiledTimeline
from compiler_core.system.jobs import JobKind
from compiler_core.system.priorities import require_order
from compiler_core.system.steps import ExecutionStep, model_steps
from compiler_core.targets.integer_units import integer_forms, target_arithmetic
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import choose_unit_schedules, unit_task
from compiler_core.tensor.choice import require_known_tasks
from compiler_core.tensor.task import Task
from compiler_core.units.facets.placing import PlacedLayers
from compiler_core.units.facets.programs import (
    LinkedSegments,
)
from compiler_core.units.names import CPU

_PICOSECONDS_PER_MILLISECOND = 10**9

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """The result of a compile.

    Attributes:
        source: What was compiled.
        configuration: Complete: what compiles to the same bytes again.
        executable: The programs.
        tasks: By their names in the configuration.
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
    source: QuantizedModel,
    target: Target,
    *,
    verifies: bool = True,
    progress: Progress = lambda _: None,
) -> CompiledModel:
    """Compiles a quantized model with the schedules of its configuration.

    Args:
        source: Quantized graph and configuration.
        target: The machine.
        verifies: Whether programs are held against the machine's rules; not where nothing but
            their times is asked for.
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
    if target.by_clock:
        require_known_tasks(given, {})
        place_layers((), {}, slicing, target)  # refuses ways of cutting
        return _on_host(source, target, progress)
    require_order(source.configuration.order, source.model.graph)
    source = _with_reasons(source, target)
    found = model_layers(source.quantized, target)
    require_known_tasks(given, model_tasks(found, target))
    placed = place_layers(found, source.configuration.plan, slicing, target)
    tasks = model_tasks(placed.layers, target)
    layers = sum(len(part.layers) for part in placed.layers)
    progress(f"{layers} layer{'s'[layers == 1 :]}, {len(tasks)} task{'s'[len(tasks) == 1 :]}")
    schedules = _whole_schedules(placed, given, target)
    steps = model_steps(source.quantized, placed.layers, integer_forms(target))
    parts = PlacedModel(source, target, placed, schedules, steps)
    fastest = fastest_programs(parts, progress, verifies=verifies)
    linked, executable, timeline = fastest.linked, fastest.executable, fastest.timeline
    report = with_times(fastest.report, timeline, target)
    executable = _on_cores(executable, timeline, steps)
    metrics = _metrics(executable, linked, report, timeline.latency_ms)
    configuration = replace(
        source.configuration,
        plan=placed.plan,
        schedules=dict(sorted(schedules.items())),
        slicing=placed.slicing,
        launches=found_launches(source.configuration.launches, fastest),
        target=Subject(target.name, target.digest),
        measured={
            "npu_cycles": float(metrics.npu_cycles),
            "latency_ms": metrics.latency_ms,
            "energy_mj": metrics.energy_mj,
        },
    )
    return CompiledModel(
        source,
        configuration,
        executable,
        {name: found.task for name, found in tasks.items()},
        report,
        metrics,
        timeline,
        placed.cuts,
    )


def _with_reasons(source: QuantizedModel, target: Target) -> QuantizedModel:
    """A model that also says which nodes the buffers of the target kept on the CPU."""
    plan, graph = source.configuration.plan, source.model.graph
    found = without_room(graph, target_arithmetic(target)) if target.npu_cores else {}
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
        launches=LaunchSettings(merge=False),
        target=Subject(target.name, target.digest),
        measured={"latency_ms": metrics.latency_ms},
    )
    return CompiledModel(source, configuration, executable, {}, report, metrics, timeline)


def _whole_schedules(
    placed: PlacedLayers, given: Mapping[str, Any], target: Target
) -> dict[str, Any]:
    """Schedules of the tasks that some layer runs on one core."""
    whole = [
        (part.segment.unit, layer.task)
        for part in placed.layers
        for layer in part.layers
        if layer.operator.name not in placed.cuts
    ]
    tasks = {found.name: found for found in (unit_task(target, *item) for item in whole)}
    used = {name: schedule for name, schedule in given.items() if name in tasks}
    return choose_unit_schedules(tasks, used)


def _on_cores(
    executable: Executable, found: CompiledTimeline, steps: Sequence[ExecutionStep]
) -> Executable:
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


def _metrics(
    executable: Executable,
    linked: Mapping[str, LinkedSegments],
    report: Report,
    latency_ms: float,
) -> Metrics:
    launches = [launch for part in executable.npu_segments for launch in part.launches]
    models = [part.model for part in executable.segments if isinstance(part, CpuSegment)]
    sums, used = totals(report.layers), [found.memory for found in linked.values()]
    constants = sum(memory.constant_bytes for memory in used)
    activations = sum(memory.activation_bytes for memory in used)
    return Metrics(
        npu_cycles=sums["npu_cycles"],
        latency_ms=latency_ms,
        energy_mj=sums["energy_mj"],
        size_bytes=constants + sum(len(launch.code) for launch in launches) + sum(map(len, models)),
        dram_peak_bytes=constants + activations,
        dram_constant_bytes=constants,
        dram_activation_bytes=activations,
        dram_activation_bytes_without_reuse=sum(
            memory.activation_bytes_without_reuse for memory in used
        ),
        instructions=sums["instructions"],
        launches=sum(map(launch_count, executable.npu_segments)),
    )
