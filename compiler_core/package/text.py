"""The three levels of a compiled model as texts that read and diff well."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from compiler_core.compile.compile import CompiledModel
from compiler_core.files.plain import to_plain
from compiler_core.graph.text import graph_text
from compiler_core.quantize.ir import IntegerConv, IntegerMaxPool
from compiler_core.quantize.text import quantized_text
from compiler_core.units.names import SLICED_UNITS
from compiler_core.units.vta.cores.placed_layers import UNIT_OF_AXIS, slicing_key
from compiler_core.units.vta.link.linker import Launch, NpuSegment
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.machine.assembly import disassemble


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
        for name, placed in sorted(segment.layout.items()):
            yield f"  tensor {name}: {_place(placed)}"
        for launch in segment.launches:
            task = compiled.tasks[launch.task]
            yield f"  {launch.name} {launch.layer}"
            yield f"    task      {task.id}: {task.workload.operator} {task.workload.shape}"
            yield f"    workload  {_fields(to_plain(task.workload))}"
            yield from _schedules(compiled, launch)
            yield from _numbers(segment, launch.layer)


def _schedules(compiled: CompiledModel, launch: Launch) -> Iterator[str]:
    """The schedule of a layer on one core, or of each of its slices."""
    configuration = compiled.configuration
    units = {layer.name: layer.unit for layer in compiled.report.layers if layer.cycles}
    unit = units[launch.layer]
    if unit not in SLICED_UNITS:
        yield f"    schedule  {_fields(to_plain(configuration.schedules[launch.task]))}"
        return
    axis = next(axis for axis, name in UNIT_OF_AXIS.items() if name == unit)
    sliced = configuration.slicing[slicing_key(launch.task, axis)]
    yield f"    sliced    {axis.value}"
    for core, schedule in enumerate(sliced.schedules):
        yield f"    core-{core}    {_fields(to_plain(schedule))}"


def _place(placed: PlacedTensor) -> str:
    text = f"int8[{','.join(map(str, placed.shape))}] at {placed.address:#x}"
    text += f", {placed.size_bytes} bytes"
    if placed.sample_bytes != placed.size_bytes:
        text += f", {placed.sample_bytes} to the next sample"
    return text if placed.fold is None else f"{text}, folded by {placed.fold.variant.value}"


def _numbers(segment: NpuSegment, layer: str) -> Iterator[str]:
    for operator in segment.operators:
        if operator.name == layer and isinstance(operator, IntegerConv):
            shifts = operator.channel_shifts
            shift = operator.shift if shifts is None else ",".join(map(str, shifts.tolist()))
            text = f"shift={shift} clip=[{operator.clip_min}, {operator.clip_max}]"
            if operator.residual is not None:
                text += f" residual={operator.residual} << {operator.residual_shift}"
            yield f"    operands  {operator.input} -> {operator.output} {text}"
        elif operator.name == layer and isinstance(operator, IntegerMaxPool):
            text = f"clip=[{operator.clip_min}, {operator.clip_max}]"
            yield f"    operands  {operator.input} -> {operator.output} {text}"


def _fields(plain: object, prefix: str = "") -> str:
    if not isinstance(plain, dict):
        return f"{prefix}={plain}"
    return " ".join(
        _fields(value, f"{prefix}.{key}" if prefix else key) for key, value in plain.items()
    )


def _commands(compiled: CompiledModel) -> Iterator[str]:
    for segment in compiled.executable.npu_segments:
        for launch in segment.launches:
            title = f"# {segment.name} {launch.name} {launch.layer} ({launch.task})"
            for program in launch.programs:
                several = len(launch.programs) > 1 or program.core
                yield f"{title} core {program.core}" if several else title
                yield disassemble(program.instructions)
