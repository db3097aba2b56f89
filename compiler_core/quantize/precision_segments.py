"""Segments of the CPU whose operators a plan gives number formats of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.quantize.input_moments import input_moments
from compiler_core.quantize.ir import FloatSegment, QuantizedGraph
from compiler_core.quantize.precision_lowering import Moments, lower_precisions
from compiler_core.quantize.precisions import (
    Precision,
    Rounding,
    Static,
    WeightOnly,
    precisions_of,
    refusal,
)
from compiler_core.quantize.scheme import CpuPrecision, QuantizationScheme
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.names import CPU


def with_precisions(
    quantized: QuantizedGraph,
    assignment: Mapping[str, str],
    ranges: Mapping[str, TensorRange],
    scheme: QuantizationScheme,
    samples: Mapping[str, npt.NDArray[Any]] | None,
) -> QuantizedGraph:
    """A quantized graph whose nodes on the CPU compute in the formats of their places.

    Args:
        quantized: What is on the CPU is float.
        assignment: Place of every node.
        ranges: Statistics of float tensors.
        scheme: How scales follow from them.
        samples: Calibration samples, for weights rounded by GPTQ.

    Raises:
        InputError: A place is no format of the CPU, an operator cannot have it, statistics or
            samples are missing, or the scheme says another format for all operators.
    """
    asked = precisions_of(assignment)
    if not asked:
        return quantized
    if scheme.cpu_precision is not CpuPrecision.FLOAT:
        raise InputError(
            f"the plan gives {len(asked)} operators number formats and the scheme all of them "
            f"cpu_precision = {scheme.cpu_precision.value!r}",
            hint="leave cpu_precision of the scheme at 'float', or the plan out",
        )
    _check(quantized, asked, assignment, ranges)
    moments = _moments(quantized, asked, samples)
    segments = []
    for segment in quantized.segments:
        if isinstance(segment, FloatSegment) and not segment.unit:
            own = {n.name: asked[n.name] for n in segment.graph.nodes if n.name in asked}
            if own:
                lowered = lower_precisions(segment.graph, own, ranges, scheme, moments)
                segment = replace(segment, graph=lowered, qdq=lowered, planned=segment.priced)
        segments.append(segment)
    return replace(quantized, segments=tuple(segments))


def _check(
    quantized: QuantizedGraph,
    asked: Mapping[str, Precision],
    assignment: Mapping[str, str],
    ranges: Mapping[str, TensorRange],
) -> None:
    graph = quantized.source
    for node in graph.nodes:
        precision = asked.get(node.name)
        reason = None if precision is None else refusal(graph, node, precision, ranges)
        if reason is not None:
            hint = f"leave the operator at {CPU}"
            if not ranges and isinstance(precision, Static):
                hint = f"give calibration data, or {hint}"
            raise InputError(
                f"plan: {node.op} {node.name!r} cannot run at {assignment[node.name]!r}: {reason}",
                hint=hint,
            )


def _moments(
    quantized: QuantizedGraph,
    asked: Mapping[str, Precision],
    samples: Mapping[str, npt.NDArray[Any]] | None,
) -> Moments | None:
    tensors = {node.inputs[0] for node in quantized.source.nodes if _by_gptq(asked.get(node.name))}
    if not tensors:
        return None
    if samples is None:
        raise InputError(
            "the plan rounds weights by GPTQ: that takes calibration samples, not their statistics",
            hint="give --calibration calib.npz in place of a profile",
        )
    return input_moments(quantized.source, samples, tensors).__getitem__


def _by_gptq(precision: Precision | None) -> bool:
    return isinstance(precision, WeightOnly) and precision.rounding is Rounding.GPTQ
