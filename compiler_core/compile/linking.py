"""Linked segments to an executable, with the segments of the CPU around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compiler_core.executable.executable import CONSTANTS, CpuSegment, Executable, Segment
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.ir import Graph
from compiler_core.quantize.ir import (
    FloatSegment,
    IntegerSegment,
    QuantizedGraph,
    QuantizedTensor,
    tensors_of,
)
from compiler_core.system.steps import Step
from compiler_core.targets.target import Target
from compiler_core.units.facets.programs import LinkedSegments, LinkStep, UnitLayers


def executable_of(quantized: QuantizedGraph, linked: LinkedSegments, target: Target) -> Executable:
    """Linked segments and those of the CPU, in execution order.

    Args:
        quantized: The model.
        linked: Its integer segments.
        target: The machine.
    """
    own = {segment.name: segment for segment in linked.segments}
    segments: list[Segment] = []
    for part in quantized.segments:
        if not isinstance(part, FloatSegment):
            segments.append(own[part.name])
        elif part.graph.outputs:
            segments.append(_cpu_segment(part))
    segments += constant_outputs(quantized.source)
    return Executable(
        target,
        signature_of(quantized),
        _border_tensors(quantized),
        dict(sorted(quantized.views.items())),
        tuple(segments),
        linked.memory.size_bytes,
    )


def link_steps(steps: Sequence[Step], layers: Sequence[UnitLayers]) -> tuple[LinkStep, ...]:
    """The steps of a model as far as the memory of the units goes.

    Args:
        steps: Of the whole model.
        layers: Of its integer segments.
    """
    inside = {part.segment.name for part in layers}
    found = []
    for step in steps:
        tensors: tuple[str, ...] = (step.name,) if step.segment in inside else ()
        if step.layer is not None:
            tensors = tensors_of(step.layer.operator)
        found.append(LinkStep(step.segment, tensors, step.after, is_launch=step.layer is not None))
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
