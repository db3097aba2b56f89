"""The default quantization: symmetric int8, power-of-two scales per tensor, from ranges."""

from __future__ import annotations

from collections.abc import Mapping
from math import isinf, ldexp

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.exponents import (
    ConvNumbers,
    Granularity,
    RangeChoice,
    Solver,
    wanted_exponents,
)
from compiler_core.quantize.ir import (
    FloatSegment,
    IntegerConcat,
    IntegerConv,
    IntegerMaxPool,
    IntegerOperator,
    IntegerProduct,
    IntegerSegment,
    IntegerTranspose,
    QuantizedGraph,
    QuantizedTensor,
)
from compiler_core.quantize.skeleton import (
    ConcatStep,
    ConvStep,
    PoolStep,
    ProductStep,
    Skeleton,
    Step,
    TransposeStep,
)
from compiler_core.quantize.statistics import TensorRange
from compiler_core.quantize.unit_arithmetics import Computing
from compiler_core.units.names import CPU
from compiler_core.units.residents import residents_of


def quantize(
    graph: Graph,
    assignment: Mapping[str, str],
    ranges: Mapping[str, TensorRange],
    choice: RangeChoice = RangeChoice.LEAST_ERROR,
    granularity: Granularity = Granularity.TENSOR,
    *,
    bias_correction: bool = False,
    arithmetic: Computing | None = None,
) -> QuantizedGraph:
    """Quantize ``graph``.

    Args:
        graph: The float graph, simplified.
        assignment: Unit of every node name.
        ranges: Range of every tensor in ``assemble(graph, assignment).calibrated``.
        choice: How scales follow from ranges; a range without magnitudes just fits.
        granularity: Weights that share a scale.
        bias_correction: Whether biases take back what rounded weights do to the mean of outputs.
        arithmetic: Of the NPUs; by default one of the usual kind.

    Raises:
        InputError: The assignment does not fit the graph, or a range is missing or not finite.
    """
    skeleton = assemble(graph, assignment, arithmetic)
    exponents = wanted_exponents(skeleton, ranges, choice)
    means = channel_means(skeleton, ranges) if bias_correction else None
    return with_exponents(skeleton, exponents, choice, granularity, means)


def channel_means(
    skeleton: Skeleton, ranges: Mapping[str, TensorRange]
) -> dict[str, npt.NDArray[np.float64]]:
    """Mean per channel of the tensors of ``skeleton`` for which it is known."""
    found = {}
    for name, lies in skeleton.channels.items():
        known = ranges[name].channels.get(lies.axis) if name in ranges else None
        if known is not None:
            found[name] = lies.spread(known.mean, skeleton.shapes[name][1])
    return found


def with_exponents(
    skeleton: Skeleton,
    exponents: Mapping[str, int],
    choice: RangeChoice = RangeChoice.LEAST_ERROR,
    granularity: Granularity = Granularity.TENSOR,
    means: Mapping[str, npt.NDArray[np.float64]] | None = None,
) -> QuantizedGraph:
    """Give ``skeleton`` its numbers.

    Args:
        skeleton: The operators.
        exponents: Wanted exponent per calibrated tensor; lowered where operators need it.
        choice: For the weights.
        granularity: Weights that share a scale.
        means: Mean per channel of tensors, to correct biases with.

    Raises:
        InputError: An operator's ranges are too far apart for any exponents.
    """
    solver = Solver(skeleton, exponents, choice, granularity, means)
    numbers = solver.solve()
    segments: list[FloatSegment | IntegerSegment] = []
    for position, part in enumerate(skeleton.segments):
        if isinstance(part, Graph):
            own = skeleton.elsewhere.get(position)
            name = f"{position:02d}-{CPU if own is None else own.name}"
            states = () if own is None else residents_of(own.kind, part)
            staying = frozenset(n for state in states for n in (state.past, state.present))
            segments.append(FloatSegment(name, part, number=own, residents=staying))
            continue
        operators = tuple(_operator(step, solver, numbers) for step in part.steps)
        segments.append(
            IntegerSegment(
                f"{position:02d}-{part.unit}",
                skeleton.kinds[part.unit],
                operators,
                part.inputs,
                part.outputs,
                part.unit,
            )
        )
    tensors = {
        name: QuantizedTensor(name, shape, solver[name]) for name, shape in skeleton.shapes.items()
    }
    return QuantizedGraph(skeleton.source, tuple(segments), tensors, dict(skeleton.views))


def _operator(step: Step, solver: Solver, numbers: Mapping[str, ConvNumbers]) -> IntegerOperator:
    if isinstance(step, ConcatStep):
        return IntegerConcat(step.name, step.inputs, step.output, step.sources)
    if isinstance(step, TransposeStep):
        return IntegerTranspose(step.name, step.input, step.output, step.groups, step.sources)
    low, high = integer_clip(step.clip, solver[step.output])
    if isinstance(step, PoolStep):
        return IntegerMaxPool(
            name=step.name,
            input=step.input,
            output=step.output,
            kernel=step.kernel,
            strides=step.strides,
            pads=step.pads,
            dilations=step.dilations,
            clip_min=low,
            clip_max=high,
            sources=step.sources,
        )
    if isinstance(step, ProductStep):
        return IntegerProduct(
            step.name,
            step.input,
            step.operand,
            step.output,
            step.groups,
            solver.shift(step),
            low,
            high,
            step.sources,
        )
    return _conv(numbers[step.name], low, high)


def _conv(found: ConvNumbers, low: int, high: int) -> IntegerConv:
    step: ConvStep = found.step
    return IntegerConv(
        name=step.name,
        input=step.input,
        output=step.output,
        weight=found.weight,
        bias=found.bias,
        strides=step.strides,
        pads=step.pads,
        dilations=step.dilations,
        groups=step.groups,
        shift=found.shift,
        clip_min=low,
        clip_max=high,
        residual=step.residual,
        residual_shift=found.residual_shift,
        sources=step.sources,
        channel_shifts=found.channel_shifts,
        interleave=step.interleave,
    )


def integer_clip(clip: tuple[float, float] | None, exponent: int) -> tuple[int, int]:
    """A clamp of real values as one of int8 values at ``exponent``, rounded to nearest."""
    limits = [-128, 127]
    for position, real in enumerate(clip or ()):
        if not isinf(real):
            limits[position] = max(-128, min(127, round(ldexp(real, exponent))))
        elif (real > 0) == (position == 0):
            limits[position] = 127 if real > 0 else -128
    return limits[0], limits[1]
