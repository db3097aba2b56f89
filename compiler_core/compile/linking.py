"""Placed layers to linked segments, and these to an executable with those of the CPU around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from compiler_core.executable.executable import (
    CONSTANTS,
    CpuSegment,
    Executable,
    Segment,
    units_of,
)
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.ir import Graph
from compiler_core.quantize.ir import (
    FloatSegment,
    IntegerSegment,
    QuantizedGraph,
    QuantizedTensor,
    tensors_of,
)
from compiler_core.system.steps import ExecutionStep
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import of_unit
from compiler_core.units.facets.placing import PlacedLayers
from compiler_core.units.facets.programs import (
    LinkedSegments,
    LinkRequest,
    LinkStep,
    UnitLayers,
)


def executable_of(
    quantized: QuantizedGraph, linked: Mapping[str, LinkedSegments], target: Target
) -> Executable:
    """Linked segments and those of the CPU, in execution order.

    Args:
        quantized: The model.
        linked: Its integer segments, by name of their unit.
        target: The machine.
    """
    own = {segment.name: segment for parts in linked.values() for segment in parts.segments}
    segments: list[Segment] = []
    for part in quantized.segments:
        if part.unit:
            segments.append(own[part.name])
        elif isinstance(part, FloatSegment) and part.graph.outputs:
            segments.append(_cpu_segment(part))
    segments += constant_outputs(quantized.source)
    return Executable(
        target,
        signature_of(quantized),
        _border_tensors(quantized),
        dict(sorted(quantized.views.items())),
        tuple(segments),
        {name: parts.memory.size_bytes for name, parts in linked.items()},
        {segment.name: name for name, parts in linked.items() for segment in parts.segments},
    )


def link_requests(
    placed: PlacedLayers,
    schedules: Mapping[str, Any],
    steps: Sequence[ExecutionStep],
    target: Target,
    borders: Mapping[str, Mapping[str, int] | None],
) -> dict[str, LinkRequest]:
    """What is linked for each unit that runs something, by its name: each in a memory of its own.

    Args:
        placed: All layers.
        schedules: By their names in configurations.
        steps: Of the whole model.
        target: The machine.
        borders: Layers that may continue the one before, as
            :class:`~compiler_core.units.facets.programs.LinkRequest` has them.
    """
    found = {}
    for unit in target.units:
        own = [part for part in placed.layers if part.segment.unit == unit.name]
        # A target of one unit has a memory even where nothing runs there.
        if own or len(target.units) == 1:
            names = {layer.operator.name for part in own for layer in part.layers}
            found[unit.name] = LinkRequest(
                own,
                of_unit(schedules, target, unit.name),
                {name: pieces for name, pieces in placed.pieces.items() if name in names},
                link_steps(steps, own),
                units_of(target, unit),
                {name: border for name, border in borders.items() if name in names},
            )
    return found


def link_steps(
    steps: Sequence[ExecutionStep], layers: Sequence[UnitLayers]
) -> tuple[LinkStep, ...]:
    """The steps of a model as far as the memory of a unit goes.

    Args:
        steps: Of the whole model.
        layers: Of the unit's segments.
    """
    inside = {part.segment.name for part in layers}
    found = []
    for step in steps:
        tensors: tuple[str, ...] = (step.name,) if step.unit else ()
        if step.layer is not None:
            tensors = tensors_of(step.layer.operator)
        elif step.host is not None:
            tensors = step.touched
        is_launch = step.layer is not None and step.segment in inside
        found.append(LinkStep(step.segment, tensors, step.after, is_launch=is_launch))
    return tuple(found)


def _cpu_segment(segment: FloatSegment) -> CpuSegment:
    graph = segment.graph
    model = export_onnx(graph).SerializeToString(deterministic=True)
    return CpuSegment(segment.name, graph.inputs, graph.outputs, model)


def constant_outputs(source: Graph) -> list[CpuSegment]:
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
