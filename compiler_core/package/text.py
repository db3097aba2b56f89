"""The three levels of a compiled model as texts that read and diff well."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from compiler_core.compile.compile import CompiledModel
from compiler_core.configuration.slicing import slicing_tables
from compiler_core.files.plain import to_plain
from compiler_core.graph.text import graph_text
from compiler_core.quantize.ir import (
    IntegerConv,
    IntegerMaxPool,
    IntegerProduct,
    IntegerTranspose,
    integers_read,
)
from compiler_core.quantize.text import quantized_text
from compiler_core.targets.unit_tasks import task_suffix
from compiler_core.units.facets.parts import parts_of
from compiler_core.units.facets.programs import UnitLaunch, UnitSegment


class Level(Enum):
    """A level of the compiler."""

    GRAPH = "graph"
    TENSOR = "tensor"
    COMMANDS = "commands"


def level_text(compiled: CompiledModel, level: Level) -> str:
    """The text of one level."""
    if level is Level.GRAPH:
        return "".join(_graph(compiled))
    lines = _tensor(compiled) if level is Level.TENSOR else _commands(compiled)
    return "\n".join(lines) + "\n"


def _graph(compiled: CompiledModel) -> Iterator[str]:
    yield graph_text(compiled.source.model.graph)
    yield "\n"
    yield quantized_text(compiled.source.quantized)
    reasons = sorted(compiled.source.cpu_reasons.items())
    if reasons:
        yield "\n"
        yield from (f"on the CPU: {node}: {reason}\n" for node, reason in reasons)


def _tensor(compiled: CompiledModel) -> Iterator[str]:
    for segment in compiled.executable.npu_segments:
        yield f"segment {segment.name}"
        yield from (f"  {line}" for line in parts_of(segment.kind).tensors(segment))
        for launch in segment.launches:
            name = _task_name(compiled, segment, launch)
            task = compiled.tasks[name]
            yield f"  {launch.name} {launch.layer}"
            yield f"    task      {name}: {task.workload.operator} {task.workload.shape}"
            yield f"    workload  {_fields(to_plain(task.workload))}"
            yield from _schedules(compiled, segment, launch)
            yield from _numbers(segment, launch.layer)


def _task_name(compiled: CompiledModel, segment: UnitSegment, launch: UnitLaunch) -> str:
    executable = compiled.executable
    return launch.task + task_suffix(executable.target, executable.placed[segment.name])


def _schedules(compiled: CompiledModel, segment: UnitSegment, launch: UnitLaunch) -> Iterator[str]:
    """The schedule of a layer on one core, or of each of its slices."""
    configuration = compiled.configuration
    cut = compiled.cuts.get(launch.layer)
    if cut is None:
        name = _task_name(compiled, segment, launch)
        yield f"    schedule  {_fields(to_plain(configuration.schedules[name]))}"
        return
    for key, value in slicing_tables({cut: configuration.slicing[cut]})[cut].items():
        yield f"    {key if isinstance(value, dict) else 'sliced':<10}{_fields(value)}"


def _numbers(segment: UnitSegment, layer: str) -> Iterator[str]:
    for operator in segment.operators:
        if operator.name == layer and isinstance(operator, IntegerConv):
            shifts = operator.channel_shifts
            shift = operator.shift if shifts is None else ",".join(map(str, shifts.tolist()))
            text = f"shift={shift} clip=[{operator.clip_min}, {operator.clip_max}]"
            if operator.residual is not None:
                text += f" residual={operator.residual} << {operator.residual_shift}"
            yield f"    operands  {operator.input} -> {operator.output} {text}"
        elif operator.name == layer and isinstance(operator, IntegerProduct):
            read = " x ".join(integers_read(operator))
            text = f"shift={operator.shift} clip=[{operator.clip_min}, {operator.clip_max}]"
            yield f"    operands  {read} -> {operator.output} groups={operator.groups} {text}"
        elif operator.name == layer and isinstance(operator, IntegerTranspose):
            yield f"    operands  {operator.input} -> {operator.output} groups={operator.groups}"
        elif operator.name == layer and isinstance(operator, IntegerMaxPool):
            text = f"clip=[{operator.clip_min}, {operator.clip_max}]"
            yield f"    operands  {operator.input} -> {operator.output} {text}"


def _fields(plain: object, prefix: str = "") -> str:
    if not isinstance(plain, dict):
        return f"{prefix}={plain}" if prefix else str(plain)
    return " ".join(
        _fields(value, f"{prefix}.{key}" if prefix else key) for key, value in plain.items()
    )


def _commands(compiled: CompiledModel) -> Iterator[str]:
    for segment in compiled.executable.npu_segments:
        for launch in segment.launches:
            yield from parts_of(segment.kind).commands(segment, launch)
