"""Real factors on whole tensors, so that power-of-two scales fit as well as any scale would.

A power of two wastes up to half of the integers. But a convolution may write its output times any
``s > 0`` if what reads it divides by ``s``: pools, averages, copies, concatenations and additions
hand a common factor on, and the weights of convolutions take it up on both sides. Tensors that have
to share a factor are one class; a class that float code or a product of two activations writes or
reads keeps 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from compiler_core.quantize.exponents import fitting_exponent
from compiler_core.quantize.range_methods import MOST_CLIPPING, squared_error, with_room
from compiler_core.quantize.scheme import RangeMethod
from compiler_core.quantize.skeleton import (
    ConcatStep,
    ConvKind,
    ConvStep,
    ProductStep,
    Skeleton,
    Step,
    StepSegment,
    TransposeStep,
)
from compiler_core.quantize.statistics import ChannelStatistics, TensorRange
from compiler_core.sums import float_sum

_LEVELS = 127
_FACTORS = tuple(float(2.0 ** (step / 16)) for step in range(-8, 8))


def rescale(
    skeleton: Skeleton, ranges: Mapping[str, TensorRange], method: RangeMethod
) -> tuple[Skeleton, dict[str, TensorRange]]:
    """Scale every class of tensors by the factor with the least relative error.

    Args:
        skeleton: The operators.
        ranges: Statistics per tensor.
        method: How exponents will follow from statistics.

    Returns:
        The same function with other weights, and the statistics of its tensors.
    """
    factors = _factors(skeleton, ranges, method)
    segments = tuple(
        replace(part, steps=tuple(_scaled_step(step, factors) for step in part.steps))
        if isinstance(part, StepSegment)
        else part
        for part in skeleton.segments
    )
    known = {
        name: _scaled_range(found, factors[name]) if factors.get(name, 1.0) != 1.0 else found
        for name, found in ranges.items()
    }
    return replace(skeleton, segments=segments), known


def _factors(
    skeleton: Skeleton, ranges: Mapping[str, TensorRange], method: RangeMethod
) -> dict[str, float]:
    parent = {name: name for name in skeleton.shapes}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    kept = set(skeleton.views)
    for step in skeleton.steps:
        if isinstance(step, ProductStep):
            kept |= {step.output, *step.inputs}
            continue
        if isinstance(step, ConvStep) and step.kind is ConvKind.WEIGHTS:
            names = (step.output, *([step.residual] if step.residual else []))
        else:
            names = (step.output, *step.inputs)
        for name in names:
            parent[root(name)] = root(step.output)
    classes: dict[str, list[str]] = {}
    for name in skeleton.shapes:
        classes.setdefault(root(name), []).append(name)
    found = dict.fromkeys(skeleton.shapes, 1.0)
    for members in classes.values():
        known = [ranges[name] for name in members if name in ranges]
        if any(name in kept for name in members) or not known:
            continue
        best = min(
            _FACTORS, key=lambda factor: float_sum(_cost(item, factor, method) for item in known)
        )
        found.update(dict.fromkeys(members, best))
    return found


def _cost(known: TensorRange, factor: float, method: RangeMethod) -> float:
    """Error of a scaled tensor relative to its power."""
    if known.absmax == 0:
        return 0.0
    if method is RangeMethod.ROOMY:
        known = with_room(known)
    fitting = fitting_exponent(known.absmax * factor)
    magnitudes = known.magnitudes
    if magnitudes is None or not magnitudes.counts.any():
        # Without a histogram, the step alone tells: the finer the better.
        return float((2.0**-fitting / (known.absmax * factor)) ** 2)
    clipping = 0 if method is RangeMethod.MAX else MOST_CLIPPING
    errors = [
        squared_error(magnitudes, _LEVELS * 2.0**-exponent / factor, _LEVELS)
        for exponent in range(fitting, fitting + clipping + 1)
    ]
    return min(errors) / magnitudes.power_sum


def _scaled_step(step: Step, factors: Mapping[str, float]) -> Step:
    by = factors[step.output]
    if isinstance(step, ConcatStep | TransposeStep):
        return step
    clip = None if step.clip is None else (step.clip[0] * by, step.clip[1] * by)
    if not isinstance(step, ConvStep) or step.kind is not ConvKind.WEIGHTS:
        return replace(step, clip=clip)
    weight = step.weight * np.float64(by / factors[step.input])  # not in float32
    return replace(step, weight=weight, bias=step.bias * by, clip=clip)


def _scaled_range(known: TensorRange, factor: float) -> TensorRange:
    channels = {
        axis: ChannelStatistics(item.low * factor, item.high * factor, item.mean * factor)
        for axis, item in known.channels.items()
    }
    return TensorRange(
        known.low * factor,
        known.high * factor,
        None if known.positive is None else known.positive.scaled(factor),
        None if known.negative is None else known.negative.scaled(factor),
        channels,
    )
