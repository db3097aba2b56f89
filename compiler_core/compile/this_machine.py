"""Compiling for this machine, or a board: the quantized model as onnxruntime runs it, by the clock.

Operators that compute in integers take their QDQ form, which onnxruntime turns into integer
kernels; the latency is the median of rounds with the float model, on one thread. Per operator it
comes from onnxruntime's own profile, scaled so that the operators add up to the latency. Energy is
not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from compiler_core.compile.host_timing import HostTimes, time_on_host, timed_parts
from compiler_core.compile.linking import constant_outputs, signature_of
from compiler_core.compile.sources import QuantizedModel
from compiler_core.errors import InputError
from compiler_core.executable.executable import CpuSegment, Executable, Segment
from compiler_core.executable.report import LayerReport, Metrics, Report
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.ir import Graph
from compiler_core.graph.macs import float_macs
from compiler_core.quantize.ir import FloatSegment
from compiler_core.sums import float_sum
from compiler_core.system.compiled import CompiledTimeline
from compiler_core.system.jobs import Job, JobKind, ranks
from compiler_core.system.timeline import simulate
from compiler_core.targets.places import ON_HOST
from compiler_core.targets.target import Target
from compiler_core.units.names import CPU

_PS_PER_MS = 10**9


def compile_for_host(
    source: QuantizedModel, target: Target, progress: Callable[[str], None]
) -> tuple[Executable, Report, Metrics, CompiledTimeline]:
    """Builds and measures a model that runs on this machine alone.

    Raises:
        InputError: The plan places nodes on an NPU, or onnxruntime cannot run the model.
    """
    graphs = _graphs(source, target)
    segments: list[Segment] = [_segment(name, graph) for name, graph in graphs.items()]
    segments += constant_outputs(source.quantized.source)
    executable = Executable(target, signature_of(source.quantized), {}, {}, tuple(segments), {}, {})
    parts = [part for part in executable.segments if isinstance(part, CpuSegment)]
    progress(f"measuring on {target.board or 'this machine'}")
    times = time_on_host(source, executable)
    layers = tuple(_layers(executable, graphs, times))
    jobs = tuple(
        Job(
            number,
            JobKind.OPERATOR,
            ON_HOST,
            round(layer.latency_ms * _PS_PER_MS),
            0,
            (number - 1,) if number else (),
        )
        for number, layer in enumerate(layers)
    )
    timeline = CompiledTimeline(jobs, simulate(jobs, ranks(jobs)))
    report = Report(tuple(_timed(layers, timeline)))
    return executable, report, _metrics(parts, times), timeline


def _graphs(source: QuantizedModel, target: Target) -> dict[str, Graph]:
    """Every segment in the form that onnxruntime runs fastest, by name."""
    found = {}
    for part in source.quantized.segments:
        if not isinstance(part, FloatSegment):
            name = part.operators[0].name
            raise InputError(
                f"target {target.name!r} has no NPU; the plan places {name!r} on one",
                hint="remove [plan] from the configuration, or compile for the target it is for",
            )
        if part.graph.outputs:
            found[part.name] = part.graph if part.qdq is None else part.qdq
    return found


def _segment(name: str, graph: Graph) -> CpuSegment:
    model = export_onnx(graph).SerializeToString(deterministic=True)
    return CpuSegment(name, graph.inputs, graph.outputs, model)


def _layers(
    executable: Executable, graphs: Mapping[str, Graph], times: HostTimes
) -> Iterator[LayerReport]:
    """One row per kernel that onnxruntime runs, in order of execution."""
    total = float_sum(kernel.us for part in times.kernels for kernel in part) or 1.0
    for segment, kernels in zip(timed_parts(executable), times.kernels, strict=True):
        for kernel in kernels:
            shape, macs = _shape_and_macs(graphs[segment.name], kernel.name)
            yield LayerReport(
                kernel.name,
                segment.name,
                CPU,
                kernel.operator,
                shape,
                times.latency_ms * kernel.us / total,
                macs=macs,
            )


def _shape_and_macs(graph: Graph, name: str) -> tuple[str, int]:
    """Of the node that a kernel is named after; onnxruntime has kernels of its own names, too."""
    for node in graph.nodes:
        if node.name == name:
            known = graph.types.get(node.output)
            shape = "x".join(str(size or "?") for size in known.shape or ()) if known else ""
            return shape, float_macs(graph, node)
    return "", 0


def _timed(layers: tuple[LayerReport, ...], found: CompiledTimeline) -> Iterator[LayerReport]:
    for number, layer in enumerate(layers):
        start, end = found.timeline.start_ps[number], found.timeline.end_ps[number]
        yield replace(layer, start_ms=start / _PS_PER_MS, end_ms=end / _PS_PER_MS)


def _metrics(parts: list[CpuSegment], times: HostTimes) -> Metrics:
    return Metrics(
        latency_ms=times.latency_ms,
        size_bytes=sum(len(part.model) for part in parts),
        by_clock=times.clock,
    )
