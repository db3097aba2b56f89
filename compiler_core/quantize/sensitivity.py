"""How much damage each layer does when it alone is quantized."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy.typing as npt

from compiler_core.accuracy.float_model import float_outputs, stacked
from compiler_core.accuracy.intervals import Estimate, sqnr
from compiler_core.accuracy.judge import Judge, judges
from compiler_core.accuracy.metric import Metric
from compiler_core.accuracy.noise import noise
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.sampling import count_samples
from compiler_core.graph.session import FloatSession
from compiler_core.graph.windows import sample_shape
from compiler_core.quantize.accuracy import Accuracy, measure
from compiler_core.quantize.apply import apply_scheme, weighted_layers
from compiler_core.quantize.assemble import CPU
from compiler_core.quantize.borders import dequantize_array, from_nchw
from compiler_core.quantize.ir import FloatSegment, IntegerSegment, QuantizedGraph
from compiler_core.quantize.reference import IntegerRun, ReferenceExecutor
from compiler_core.quantize.scheme import CpuPrecision, QuantizationScheme, WeightRounding
from compiler_core.quantize.statistics import TensorRange
from compiler_core.quantize.unit_arithmetics import Computing
from compiler_core.quantize.unit_cuts import cut_over_units

Samples = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class LayerSensitivity:
    """What one layer does alone.

    Attributes:
        name, operator: Of its node.
        macs: Multiplications for one sample.
        accuracy: Of the model with this layer alone in integers.
        own: SQNR in dB of what the layer itself writes.
    """

    name: str
    operator: str
    macs: int
    accuracy: Accuracy
    own: Estimate


def layer_macs(graph: Graph) -> dict[str, int]:
    """Multiplications for one sample by weighted layer; 0 where shapes are unknown."""
    nodes = {node.name: node for node in graph.nodes}
    return {name: _macs(graph, nodes[name]) for name in weighted_layers(graph)}


def _macs(graph: Graph, node: Node) -> int:
    weight = graph.constants[node.inputs[1]]
    shape = sample_shape(graph, node.output) or ()
    if node.op == "Conv":
        return prod(shape) * prod(weight.shape[1:])
    reduction = weight.shape[-1] if node.attributes.get("transB") else weight.shape[-2:][0]
    return prod(shape) * int(reduction)


def sensitivities(
    graph: Graph,
    assignment: Mapping[str, str],
    ranges: Mapping[str, TensorRange],
    scheme: QuantizationScheme,
    samples: Samples,
    labels: npt.NDArray[Any] | None,
    *,
    judged: Mapping[str, Judge] | None = None,
    arithmetic: Computing | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[LayerSensitivity, ...]:
    """Quantize every weighted layer alone; the most damaging first.

    Args:
        graph: The float graph, simplified.
        assignment: Where each node runs when all are quantized; a layer on the CPU is measured
            with the integers of the CPU.
        ranges: Statistics per tensor.
        scheme: Decisions for the layer; equalization is left out, for it needs neighbours, and
            weights are rounded to nearest.
        samples: Inputs.
        labels: ``int64[samples]`` or ``None``.
        judged: Outputs that count; by default all that are computed.
        arithmetic: Of the NPUs; by default one of the usual kind.
        progress: Told after every layer.

    Raises:
        InputError: Samples, labels or statistics do not fit.
    """
    cut = cut_over_units(graph, assignment, ranges, arithmetic)
    graph, assignment, ranges = cut.graph, cut.assignment, cut.ranges
    counting = judges(graph) if judged is None else judged
    expected = float_outputs(graph, samples, list(counting))
    count = count_samples(graph, samples)
    nodes = {node.name: node for node in graph.nodes}
    layers = weighted_layers(graph)
    macs = layer_macs(graph)
    everywhere = dict.fromkeys(nodes, CPU)
    found = []
    for number, name in enumerate(layers):
        alone = replace(
            scheme,
            equalization=False,
            weight_rounding=WeightRounding.NEAREST,
            first_last_float=False,
            float_layers=tuple(other for other in layers if other != name),
            cpu_precision=CpuPrecision.FLOAT,
        )
        if assignment[name] == CPU:
            alone = replace(alone, cpu_precision=_integers(scheme))
        applied = apply_scheme(
            graph, everywhere | {name: assignment[name]}, ranges, alone, arithmetic=arithmetic
        )
        run = ReferenceExecutor(applied.quantized).run_integer(samples)
        ours = stacked(graph, run.outputs, list(counting), count)
        accuracy = measure(counting, ours, expected, labels, count)
        own = _own_noise(graph, nodes[name], applied.quantized, samples, run)
        found.append(LayerSensitivity(name, nodes[name].op, macs[name], accuracy, own))
        progress(number + 1, len(layers))
    return ranked(found)


def _own_noise(
    graph: Graph, node: Node, quantized: QuantizedGraph, samples: Samples, run: IntegerRun
) -> Estimate:
    """SQNR of what ``node``, alone in integers, writes."""
    operators = [
        operator
        for part in quantized.segments
        if isinstance(part, IntegerSegment)
        for operator in part.operators
        if node.name in operator.sources
    ]
    if operators:
        name = operators[-1].output
        shape = graph.types[name].shape
        assert shape is not None  # of an operator that the NPU runs
        real = dequantize_array(run.tensors[name], quantized.tensors[name])
        values = from_nchw(real, quantized.views[name], shape)
    else:
        name = node.output
        parts = [part for part in quantized.segments if isinstance(part, FloatSegment)]
        if len(parts) == 1 and not parts[0].unit:  # all on the CPU is one part
            values = FloatSession(parts[0].graph, [name]).run(samples, sample_wise=True)[name]
        else:
            values = ReferenceExecutor(_with_output(quantized, name)).run(samples)[name]
    expected = float_outputs(graph, samples, [name])[name]
    count = count_samples(graph, samples)
    return sqnr(noise(stacked(graph, {name: values}, [name], count)[name], expected, count, name))


def _with_output(quantized: QuantizedGraph, name: str) -> QuantizedGraph:
    """A model whose only output is a tensor that one of its float segments writes."""
    segments: list[FloatSegment | IntegerSegment] = []
    for part in quantized.segments:
        if isinstance(part, FloatSegment) and name not in part.outputs:
            written = {output for node in part.graph.nodes for output in node.outputs}
            if name in written:
                outputs = (*part.outputs, name)
                part = replace(part, graph=replace(part.graph, outputs=outputs))
        segments.append(part)
    source = replace(quantized.source, outputs=(name,))
    return replace(quantized, source=source, segments=tuple(segments))


def _integers(scheme: QuantizationScheme) -> CpuPrecision:
    """Of a layer that is alone in integers: what others write stays float."""
    given = scheme.cpu_precision
    wide = given is CpuPrecision.INT8_ACTIVATIONS_16
    return given if wide else CpuPrecision.INT8


def ranked(found: Sequence[LayerSensitivity]) -> tuple[LayerSensitivity, ...]:
    """The lowest SQNR first; equal ones by name."""
    return tuple(
        sorted(found, key=lambda item: (item.accuracy.metrics[Metric.SQNR].value, item.name))
    )
