"""Offsets that let int8 hold a tensor without negative values in all of its 256 integers.

Behind a Relu half of int8 is unused. A convolution may write ``y - z`` instead of ``y`` where
everything that reads it is a convolution without padding: the offset is a constant of their sums
and goes into their biases. With padding it would not be one, because padding adds the integer 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from compiler_core.quantize.coarse import coarse
from compiler_core.quantize.range_methods import clipped_magnitude, with_room
from compiler_core.quantize.scheme import RangeMethod
from compiler_core.quantize.skeleton import ConvKind, ConvStep, Skeleton, Step, StepSegment
from compiler_core.quantize.statistics import ChannelStatistics, TensorRange

_LEVELS = 255


def offset(
    skeleton: Skeleton, ranges: Mapping[str, TensorRange], method: RangeMethod
) -> tuple[Skeleton, dict[str, TensorRange]]:
    """Centre tensors around 0 where that changes no function.

    Args:
        skeleton: The operators.
        ranges: Statistics per tensor.
        method: How far to clip the largest values.

    Returns:
        The same function with other biases and clamps, and the statistics of its tensors.
    """
    known = dict(ranges)
    steps: dict[str, Step] = {step.name: step for step in skeleton.steps}
    for name, top in _candidates(skeleton, ranges, method).items():
        middle = top / 2
        for step in list(steps.values()):
            if not isinstance(step, ConvStep):
                continue
            if step.output == name:
                clip = (-middle, min(_upper(step), top) - middle)
                steps[step.name] = replace(step, bias=step.bias - middle, clip=clip)
            elif step.input == name:
                sums = step.weight.reshape(len(step.weight), -1).sum(axis=1, dtype=np.float64)
                steps[step.name] = replace(step, bias=step.bias + middle * sums)
        channels = {
            axis: ChannelStatistics(item.low - middle, item.high - middle, item.mean - middle)
            for axis, item in known[name].channels.items()
        }
        known[name] = TensorRange(-middle, middle, channels=channels)
    segments = tuple(
        replace(part, steps=tuple(steps[step.name] for step in part.steps))
        if isinstance(part, StepSegment)
        else part
        for part in skeleton.segments
    )
    return replace(skeleton, segments=segments), known


def _upper(step: ConvStep) -> float:
    return np.inf if step.clip is None else step.clip[1]


def _candidates(
    skeleton: Skeleton, ranges: Mapping[str, TensorRange], method: RangeMethod
) -> dict[str, float]:
    """The largest value to hold, by tensor that can have an offset."""
    readers: dict[str, list[Step]] = {}
    for step in skeleton.steps:
        for name in step.inputs:
            readers.setdefault(name, []).append(step)
    found = {}
    own = RangeMethod.MSE if method is RangeMethod.ROOMY else method
    for step in skeleton.steps:
        name = step.output
        if (
            isinstance(step, ConvStep)
            and step.kind is ConvKind.WEIGHTS
            and step.clip is not None
            and step.clip[0] == 0
            and name in ranges
            and name not in skeleton.views
            and readers.get(name)
            and all(_takes_offset(reader, name) for reader in readers[name])
        ):
            known = ranges[name]
            if method is RangeMethod.ROOMY:
                known = with_room(known)
            high = min(known.high, step.clip[1])
            top = min(high, clipped_magnitude(known.positive, high, own, _LEVELS))
            if top > 0:
                found[name] = min(coarse(float(top)), step.clip[1])
    return found


def _takes_offset(step: Step, tensor: str) -> bool:
    return (
        isinstance(step, ConvStep)
        and step.kind is ConvKind.WEIGHTS
        and not any(step.pads)
        and step.residual != tensor
    )
