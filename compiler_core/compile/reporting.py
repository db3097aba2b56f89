"""What each step of a compiled model costs, and when it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from compiler_core.compile.host_layers import HostPricing
from compiler_core.executable.executable import Executable
from compiler_core.executable.report import LayerReport, Report, launch_report
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.quantize.layout import plain_shape
from compiler_core.quantize.skeleton import Shape
from compiler_core.sums import float_sum
from compiler_core.system.compiled import CompiledTimeline
from compiler_core.system.jobs import JobKind
from compiler_core.system.steps import ExecutionStep
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import unit_task
from compiler_core.units.facets.host import Cost, host_costs
from compiler_core.units.facets.placing import PlacedLayers
from compiler_core.units.facets.programs import LaunchCost, UnitLaunch, UnitLayer, UnitSegment
from compiler_core.units.names import CPU
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.ways import ways_of

_PICOSECONDS_PER_MILLISECOND = 10**9


def model_report(
    quantized: QuantizedGraph,
    executable: Executable,
    placed: PlacedLayers,
    schedules: Mapping[str, Any],
    timings: Sequence[LaunchCost],
    steps: Sequence[ExecutionStep],
) -> Report:
    """Costs of every step, in their order.

    Args:
        quantized: The model.
        executable: Its programs.
        placed: Its layers.
        schedules: By their names in configurations.
        timings: Of the launches, in order.
        steps: Of the whole model.
    """
    layers: list[LayerReport] = []
    compiled = {segment.name: segment for segment in executable.npu_segments}
    launches = {segment.name: iter(segment.launches) for segment in executable.npu_segments}
    timed = iter(timings)
    pricing = HostPricing(quantized, executable.target)
    for step in steps:
        segment = compiled.get(step.segment)
        if step.layer is not None and segment is not None:
            launch = next(launches[step.segment])
            layers.append(
                _launch_report(
                    segment, launch, step.layer, placed, schedules, next(timed), executable
                )
            )
        elif step.host is not None:
            layers.append(pricing.layer(step, step.host))
        elif step.kind is JobKind.DEQUANTIZE:
            layers.append(_conversion(step.name, segment, None, quantized, executable))
        else:
            source = compiled[step.source] if step.source else None
            layers.append(_conversion(step.name, source, segment, quantized, executable))
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
    name, target = layer.operator.name, executable.target
    unit = executable.unit_of(segment)
    task = unit_task(target, unit.name, layer.task)
    cut = placed.cuts.get(name)
    schedule = schedules[task.name] if cut is None else placed.slicing[cut]
    bound = placed.bounds.get(name)
    if bound is None:
        tasks = kind_of_machine(unit.machine).tasks
        bound = tasks.bound(layer.task.workload, unit.machine)
    return launch_report(
        launch,
        segment.name,
        placed.units[name],
        task,
        schedule.digest,
        cost,
        bound,
        target.launch_overhead_s,
    )


def _conversion(
    name: str,
    source: UnitSegment | None,
    result: UnitSegment | None,
    quantized: QuantizedGraph,
    executable: Executable,
) -> LayerReport:
    """What the CPU takes to bring a tensor from one form to another; ``None`` is its own."""
    held, known = executable.tensors.get(name), quantized.source.types.get(name)
    extents = plain_shape(known) if held is None else held.shape
    # Integers may be padded beyond the numbers that there are.
    real = extents if known is None else plain_shape(known)
    sides = [_side(name, real, part, executable) for part in (source, result)]
    cost = host_costs().conversion(
        executable.target.cpu, prod(real), sum(size for size, _ in sides)
    )
    seconds = cost.seconds + float_sum(extra for _, extra in sides)
    shape = "x".join(map(str, extents))
    kind = "convert"
    if source is None:
        kind = "quantize"
    elif result is None:
        kind = "dequantize"
    segment = result or source
    assert segment is not None  # the CPU converts nothing for itself
    return _cpu_report(name, segment.name, kind, shape, Cost(seconds, cost.energy_pj))


def _side(
    name: str, shape: Shape, part: UnitSegment | None, executable: Executable
) -> tuple[int, float]:
    """Bytes of a tensor on one side of a border, and time that it takes there beside copying."""
    if part is None:
        return 4 * prod(shape), 0.0
    machine = executable.unit_of(part).machine
    ways = ways_of(machine)
    form = ways.form(shape, ways.formats(machine)[0], machine)
    return (part.tensor_bytes(name) if part.operators else form.bytes), form.extra_s


def _cpu_report(name: str, segment: str, operator: str, shape: str, cost: Cost) -> LayerReport:
    return LayerReport(name, segment, CPU, operator, shape, cost.seconds * 1e3, cost.energy_mj)


def with_times(report: Report, found: CompiledTimeline, target: Target) -> Report:
    """The report with start, end and core of each step; one core needs no number."""
    layers = []
    begun = dict(enumerate(found.timeline.start_ps))
    begun |= {span.job: span.start_ps for span in found.timeline.spans if span.track > 0}
    for number, layer in enumerate(report.layers):
        core = found.timeline.core[number]
        place, shares = layer.unit, layer.cores
        unit = target.unit_at(layer.unit)
        if unit is not None and unit.cores == 1:
            shares = ()
        elif unit is not None and core >= 0:
            place = f"{unit.name}{core}"
            shares = tuple(replace(share, core=core) for share in shares)
        layers.append(
            replace(
                layer,
                unit=place,
                start_ms=begun[number] / _PICOSECONDS_PER_MILLISECOND,
                end_ms=found.timeline.end_ps[number] / _PICOSECONDS_PER_MILLISECOND,
                cores=shares,
            )
        )
    return Report(tuple(layers))
