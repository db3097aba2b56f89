"""Compiling for this machine: the quantized model as onnxruntime runs it, timed by the clock.

Operators that compute in integers take their QDQ form, which onnxruntime turns into integer
kernels; the latency is the median of rounds with the float model, on one thread. Per operator it
comes from onnxruntime's own profile, scaled so that the operators add up to the latency. Energy is
not measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from compiler_core.compile.host_timing import time_on_host
from compiler_core.compile.linking import constant_outputs, signature_of
from compiler_core.compile.sources import QuantizedModel, noise_samples
from compiler_core.errors import InputError
from compiler_core.executable.executable import CONSTANTS, CpuSegment, Executable, Segment
from compiler_core.executable.report import ClockTiming, LayerReport, Metrics, Report
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.ir import Graph
from compiler_core.graph.macs import float_macs
from compiler_core.quantize.ir import FloatSegment
from compiler_core.system.compiled import CompiledTimeline
from compiler_core.system.jobs import Job, JobKind, ranks
from compiler_core.system.timeline import simulate
from compiler_core.targets.places import ON_HOST
from compiler_core.targets.target import Target
from compiler_core.units.names import CPU

Arrays = Mapping[str, npt.NDArray[Any]]

_PROFILED_RUNS = 5
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
    feeds = noise_samples(source.model.graph, 1)
    progress("measuring on this machine")
    latency_ms, timing = time_on_host(source, executable)
    layers = tuple(_layers(parts, graphs, feeds, latency_ms))
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
    return executable, report, _metrics(parts, latency_ms, timing), timeline


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
    parts: list[CpuSegment], graphs: Mapping[str, Graph], feeds: Arrays, latency_ms: float
) -> Iterator[LayerReport]:
    """One row per kernel that onnxruntime runs, in order of execution."""
    known = dict(feeds)
    kernels: list[tuple[str, str, str, float]] = []
    for part in parts:
        if part.name == CONSTANTS:
            continue
        inputs = {name: known[name] for name in part.inputs}
        found, outputs = _profile(part, inputs)
        known |= outputs
        kernels += [(part.name, name, operator, us) for name, operator, us in found]
    total = sum(kernel[3] for kernel in kernels) or 1.0
    for segment, name, operator, spent in kernels:
        shape, macs = _shape_and_macs(graphs[segment], name)
        time = latency_ms * spent / total
        yield LayerReport(name, segment, CPU, operator, shape, time, macs=macs)


def _shape_and_macs(graph: Graph, name: str) -> tuple[str, int]:
    """Of the node that a kernel is named after; onnxruntime has kernels of its own names, too."""
    for node in graph.nodes:
        if node.name == name:
            known = graph.types.get(node.output)
            shape = "x".join(str(size or "?") for size in known.shape or ()) if known else ""
            return shape, float_macs(graph, node)
    return "", 0


def _profile(part: CpuSegment, feeds: Arrays) -> tuple[list[tuple[str, str, float]], Arrays]:
    """Name, operator and microseconds per run of each kernel."""
    with TemporaryDirectory(prefix="nest-tune-") as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(
            part.model, options, providers=["CPUExecutionProvider"]
        )
        for _ in range(_PROFILED_RUNS):
            results = session.run(list(part.outputs), dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        name = event["name"].removesuffix("_kernel_time")
        spent.setdefault((name, event["args"]["op_name"]), []).append(float(event["dur"]))
    kernels = [(name, kind, float(np.median(times))) for (name, kind), times in spent.items()]
    return kernels, dict(zip(part.outputs, results, strict=True))


def _timed(layers: tuple[LayerReport, ...], found: CompiledTimeline) -> Iterator[LayerReport]:
    for number, layer in enumerate(layers):
        start, end = found.timeline.start_ps[number], found.timeline.end_ps[number]
        yield replace(layer, start_ms=start / _PS_PER_MS, end_ms=end / _PS_PER_MS)


def _metrics(parts: list[CpuSegment], latency_ms: float, timing: ClockTiming) -> Metrics:
    return Metrics(
        latency_ms=latency_ms,
        size_bytes=sum(len(part.model) for part in parts),
        by_clock=timing,
    )
