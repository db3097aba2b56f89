"""Cross-layer equalization: what one convolution multiplies a channel by, the next divides it by.

Between two convolutions with nothing but a Relu in between, channel ``c`` may be scaled by any
``1 / s[c] > 0`` without changing the function. ``s[c] = sqrt(first[c] / second[c])``, of the
largest weights that write and read the channel, makes both use their scale alike.

Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.skeleton import (
    ConvKind,
    ConvStep,
    Skeleton,
    Step,
    StepSegment,
)
from compiler_core.quantize.statistics import ChannelStatistics, TensorRange

_PASSES = 4
_MOST = 2.0**8
"""A channel is scaled by this much at most in one pass: a dead one would be scaled without end."""

_Floats = npt.NDArray[np.float64]


def equalize(
    skeleton: Skeleton, ranges: Mapping[str, TensorRange]
) -> tuple[Skeleton, dict[str, TensorRange]]:
    """Even out the channels between convolutions.

    Args:
        skeleton: The operators.
        ranges: Statistics per tensor.

    Returns:
        The same function with other weights, and the statistics of its tensors. An equalized
        tensor keeps no histogram: how its channels were distributed alone is not known.
    """
    steps = {step.name: step for step in skeleton.steps}
    known = dict(ranges)
    pairs = _pairs(skeleton, ranges)
    for _ in range(_PASSES):
        for first_name, second_name in pairs:
            first, second = steps[first_name], steps[second_name]
            assert isinstance(first, ConvStep)
            assert isinstance(second, ConvStep)
            scale = _scales(first, second)
            steps[first_name] = replace(
                first,
                weight=first.weight / scale.reshape(-1, 1, 1, 1),
                bias=first.bias / scale,
            )
            steps[second_name] = replace(second, weight=second.weight * _by_input(second, scale))
            lies = skeleton.channels[first.output]
            known[first.output] = _divided(
                known[first.output], lies.axis, scale[lies.channel], first.clip is not None
            )
    segments = tuple(
        _replaced(part, steps) if isinstance(part, StepSegment) else part
        for part in skeleton.segments
    )
    return replace(skeleton, segments=segments), known


def _replaced(part: StepSegment, steps: Mapping[str, Step]) -> StepSegment:
    return replace(part, steps=tuple(steps[step.name] for step in part.steps))


def _pairs(skeleton: Skeleton, ranges: Mapping[str, TensorRange]) -> list[tuple[str, str]]:
    """Names of convolutions that follow one another with nothing but a Relu in between."""
    readers: dict[str, list[Step]] = {}
    for step in skeleton.steps:
        for name in step.inputs:
            readers.setdefault(name, []).append(step)
    found = []
    for step in skeleton.steps:
        if not _weighted(step) or step.residual is not None or step.clip not in (None, (0.0, inf)):
            continue
        if step.interleave > 1:  # a channel of the output is several of the weights
            continue
        using = readers.get(step.output, [])
        lies = skeleton.channels.get(step.output)
        if step.output in skeleton.views or len(using) != 1 or lies is None:
            continue
        (reader,) = using
        known = ranges.get(step.output)
        if (
            _weighted(reader)
            and reader.residual != step.output
            and known is not None
            and lies.axis in known.channels
        ):
            found.append((step.name, reader.name))
    return found


def _weighted(step: Step) -> TypeGuard[ConvStep]:
    return isinstance(step, ConvStep) and step.kind is ConvKind.WEIGHTS


def _by_input(step: ConvStep, scale: _Floats) -> _Floats:
    """``scale`` of the input channels, shaped to multiply the step's weights."""
    outputs, inputs = step.weight.shape[:2]
    grouped = np.repeat(scale.reshape(step.groups, inputs), outputs // step.groups, axis=0)
    return grouped.reshape(outputs, inputs, 1, 1)


def _scales(first: ConvStep, second: ConvStep) -> _Floats:
    wrote = np.abs(first.weight).reshape(len(first.weight), -1).max(axis=1).astype(np.float64)
    outputs, inputs = second.weight.shape[:2]
    taps = np.abs(second.weight).max(axis=(2, 3)).astype(np.float64)
    read = taps.reshape(second.groups, outputs // second.groups, inputs).max(axis=1).reshape(-1)
    alive = (wrote > 0) & (read > 0)
    ratio = np.sqrt(np.where(alive, wrote, 1.0) / np.where(alive, read, 1.0))
    # Only ratios between channels matter; the common factor would move both tensors' exponents.
    ratio = np.where(alive, ratio / np.exp(np.log(ratio[alive]).mean()) if alive.any() else 1, 1.0)
    return np.asarray(np.clip(ratio, 1 / _MOST, _MOST), np.float64)


def _divided(known: TensorRange, axis: int, scale: _Floats, clipped: bool) -> TensorRange:
    old = known.channels[axis]
    low, high = old.low / scale, old.high / scale
    channels = {axis: ChannelStatistics(low, high, old.mean / scale)}
    least = 0.0 if clipped else float(low.min())
    return TensorRange(least, float(high.max()), channels=channels)
