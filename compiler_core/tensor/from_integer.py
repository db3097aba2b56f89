"""From an integer operator to its workload, the values of its epilogue and the constants of its
accumulators."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.blocks import signed_sums
from compiler_core.quantize.ir import (
    IntegerConv,
    IntegerMaxPool,
    IntegerProduct,
    IntegerTranspose,
)
from compiler_core.tensor.workload import (
    ConvWorkload,
    Epilogue,
    MaxPoolWorkload,
    Requantization,
    Spread,
    Window,
)

Shape = tuple[int, int, int, int]

_USUAL_BIAS_BITS = 17
DIRECT_RESIDUAL_BITS = 6
FAR_RESIDUAL_BITS = 7
"""What a workload notes of a residual's shift: whether it needs a pass of its own."""


@dataclass(frozen=True)
class ConvTerms:
    """An integer convolution as the lowering sees it.

    Attributes:
        workload: What the cycles depend on.
        requantization: Values of the epilogue.
        constants: ``int64[O]``, added to each accumulator: bias and rounding.
    """

    workload: ConvWorkload
    requantization: Requantization
    constants: npt.NDArray[np.int64]


def conv_terms(
    operator: IntegerConv,
    input_shape: Shape,
    input_range: tuple[int, int] = (-128, 127),
    *,
    entry: bool = False,
    residual_shape: Shape | None = None,
) -> ConvTerms:
    """Derives the workload of an integer convolution.

    A pass of the requantization is in the workload if the range of the accumulators, from weights,
    bias and ``input_range``, does not prove it needless.

    Args:
        operator: The convolution.
        input_shape: ``(N, C, H, W)`` of its input.
        input_range: Smallest and largest input value, 0 included.
        entry: The CPU lays out the input, and for this operator alone.
        residual_shape: ``(N, C, H, W)`` of its residual, by default that of its output.
    """
    shifts = operator.channel_shifts
    if shifts is None:
        shifts = np.full(len(operator.bias), operator.shift, np.int32)
    right, left = np.maximum(shifts, 0).astype(np.int64), np.maximum(-shifts, 0).astype(np.int64)
    constants = operator.bias.astype(np.int64) + ((1 << right) >> 1)
    lows, highs = _accumulator_range(operator, constants, input_range)
    low = int((lows >> right << left).min(initial=0))
    high = int((highs >> right << left).max(initial=0))
    window = Window(
        (operator.weight.shape[2], operator.weight.shape[3]),
        operator.strides,
        operator.pads,
        operator.dilations,
    )
    residual_bits = None
    if operator.residual is not None:
        direct = operator.residual_shift <= DIRECT_RESIDUAL_BITS
        residual_bits = DIRECT_RESIDUAL_BITS if direct else FAR_RESIDUAL_BITS
    largest = int(np.abs(constants).max(initial=0))
    bias_bits = max(_USUAL_BIAS_BITS, largest.bit_length()) if largest else 0
    n, channels, height, width = input_shape
    workload = ConvWorkload(
        n,
        channels,
        height,
        width,
        operator.weight.shape[0],
        window,
        operator.groups,
        Epilogue(
            bias_bits,
            operator.channel_shifts is None and operator.shift != 0,
            low < operator.clip_min,
            high > operator.clip_max,
            residual_bits,
            operator.channel_shifts is not None,
        ),
        uniform=_is_uniform(operator, constants),
        entry=entry,
        interleave=operator.interleave,
    )
    if residual_shape is not None:
        workload = replace(workload, spread=_spread(workload, residual_shape))
    values = Requantization(
        operator.shift, operator.clip_min, operator.clip_max, operator.residual_shift
    )
    return ConvTerms(workload, values, constants)


def max_pool_terms(
    operator: IntegerMaxPool, input_shape: Shape
) -> tuple[MaxPoolWorkload, Requantization]:
    """Derives the workload of an integer max pool and the values of its clamp."""
    n, channels, height, width = input_shape
    window = Window(operator.kernel, operator.strides, operator.pads, operator.dilations)
    workload = MaxPoolWorkload(
        n,
        channels,
        height,
        width,
        window,
        clip_low=operator.clip_min > -128,
        clip_high=operator.clip_max < 127,
    )
    return workload, Requantization(0, operator.clip_min, operator.clip_max)


def product_terms(operator: IntegerProduct, input_shape: Shape, output_shape: Shape) -> ConvTerms:
    """Derives the workload of a product of two activations."""
    n, channels, height, width = input_shape
    half = 1 << operator.shift >> 1
    largest = channels // operator.groups * 128 * 128 + half >> operator.shift
    workload = ConvWorkload(
        n,
        channels,
        height,
        width,
        output_shape[1],
        Window((1, 1)),
        operator.groups,
        Epilogue(
            max(_USUAL_BIAS_BITS, half.bit_length()) if half else 0,
            operator.shift != 0,
            -largest < operator.clip_min,
            largest > operator.clip_max,
        ),
        operand=True,
    )
    values = Requantization(operator.shift, operator.clip_min, operator.clip_max)
    return ConvTerms(workload, values, np.full(output_shape[1], half, np.int64))


def transpose_terms(operator: IntegerTranspose, output_shape: Shape) -> ConvTerms:
    """Derives the workload of a transposition: the product by a matrix with a diagonal of ones."""
    n, channels, height, width = output_shape
    workload = ConvWorkload(
        n,
        operator.groups * width,
        height,
        width,
        channels,
        Window((1, 1)),
        operator.groups,
        Epilogue(0, shift=False, clip_low=False, clip_high=False),
        operand=True,
    )
    return ConvTerms(workload, Requantization(0, -128, 127), np.zeros(channels, np.int64))


def _accumulator_range(
    operator: IntegerConv, constants: npt.NDArray[np.int64], input_range: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Smallest and largest accumulator of each output channel, ``int64[O]``."""
    positive, negative = signed_sums(operator.weight)
    smallest, largest = min(0, input_range[0]), max(0, input_range[1])
    low = positive * smallest + negative * largest + constants
    high = positive * largest + negative * smallest + constants
    if operator.residual is not None:
        low = low - (128 << operator.residual_shift)
        high = high + (127 << operator.residual_shift)
    return low, high


def _spread(workload: ConvWorkload, residual: Shape) -> Spread | None:
    result = (workload.out_channels, workload.out_height, workload.out_width)
    found = Spread(*(own < size for own, size in zip(residual[1:], result, strict=True)))
    return None if found == Spread() else found


def _is_uniform(operator: IntegerConv, constants: npt.NDArray[np.int64]) -> bool:
    depthwise = operator.groups == operator.weight.shape[0] and operator.weight.shape[1] == 1
    same = bool((operator.weight == operator.weight.reshape(-1)[:1]).all())
    if operator.channel_shifts is not None:
        return False
    return depthwise and same and bool((constants == constants[:1]).all())
