"""Operators with weights on integers: convolutions of all kinds, dense layers, products.

| symbol | meaning |
|---|---|
| N, H, W, C | sample, row, column, channel of an activation, in this order |
| O | output channel |
| offset | added to the input: its zero point, negated |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.arithmetic.fixed_point import Ints, requant, requant64, wrap32

AnyInts = npt.NDArray[Any]


@dataclass(frozen=True)
class Sliding:
    """How a window slides: all pairs are ``(rows, columns)``.

    Attributes:
        kernel: Taps.
        stride, dilation: From output to output, from tap to tap.
        pad: Before the first row and column; what is behind the last ones follows from ``output``.
        output: Size of the result.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int]
    output: tuple[int, int]


@dataclass(frozen=True)
class WeightedRequantization:
    """From accumulators to the integers of the result.

    Attributes:
        multiplier, shift: ``int64[O]`` or one number for all.
        offset: Zero point of the result, added.
        low, high: The clamp.
        wide: Accumulators are ``int64``, the multiplier has 16 bits.
    """

    multiplier: AnyInts
    shift: AnyInts
    offset: int
    low: int
    high: int
    wide: bool = False

    def apply(self, accumulators: Ints) -> Ints:
        """The result of accumulators whose last axis is O."""
        if self.wide:
            scaled = requant64(accumulators, self.multiplier, self.shift)
        else:
            scaled = requant(wrap32(accumulators), self.multiplier, self.shift)
        return np.clip(scaled + self.offset, self.low, self.high)


def convolution(
    x: AnyInts,
    weights: AnyInts,
    bias: AnyInts | None,
    sliding: Sliding,
    offset: int,
    groups: int = 1,
) -> Ints:
    """Accumulators of a convolution; positions outside contribute nothing.

    Args:
        x: ``[N, H, W, C]``.
        weights: ``[O, kh, kw, C / groups]``; a depthwise one has ``groups = C``.
        bias: ``[O]``.
        sliding: The window.
        offset: Of the input.
        groups: Blocks of channels that do not mix.

    Returns:
        ``int64[N, rows, columns, O]``, exact.
    """
    samples, channels = len(x), x.shape[3]
    outputs, own = len(weights), channels // groups
    rows, columns = sliding.output
    grouped = weights.reshape(groups, outputs // groups, *sliding.kernel, own).astype(np.float64)
    total = np.zeros((groups, samples * rows * columns, outputs // groups))
    padded = _padded(x, sliding, offset)
    for row in range(sliding.kernel[0]):
        for column in range(sliding.kernel[1]):
            top, left = row * sliding.dilation[0], column * sliding.dilation[1]
            seen = padded[
                :,
                top : top + (rows - 1) * sliding.stride[0] + 1 : sliding.stride[0],
                left : left + (columns - 1) * sliding.stride[1] + 1 : sliding.stride[1],
            ]
            flat = seen.reshape(-1, groups, own).transpose(1, 0, 2)
            # Sums of products below 2^53 are exact in float64, in any order.
            total += flat @ grouped[:, :, row, column].transpose(0, 2, 1)
    found = total.transpose(1, 0, 2).reshape(samples, rows, columns, outputs).astype(np.int64)
    return found if bias is None else found + bias.astype(np.int64)


def _padded(x: AnyInts, sliding: Sliding, offset: int) -> npt.NDArray[np.float64]:
    """The input with its offset, zeros around it, as large as the window reaches."""
    sizes = [
        (output - 1) * stride + (kernel - 1) * dilation + 1
        for output, stride, kernel, dilation in zip(
            sliding.output, sliding.stride, sliding.kernel, sliding.dilation, strict=True
        )
    ]
    spare = [
        (pad, max(0, size - pad - have))
        for pad, size, have in zip(sliding.pad, sizes, x.shape[1:3], strict=True)
    ]
    return np.pad(x.astype(np.float64) + offset, ((0, 0), *spare, (0, 0)))


def dense(x: AnyInts, weights: AnyInts, bias: AnyInts | None, offset: int) -> Ints:
    """Accumulators of a dense layer.

    Args:
        x: ``[..., I]``.
        weights: ``[O, I]``.
        bias: ``[O]``.
        offset: Of the input.

    Returns:
        ``int64[..., O]``, exact.
    """
    found = (x.astype(np.float64) + offset) @ weights.astype(np.float64).T
    whole = found.astype(np.int64)
    return whole if bias is None else whole + bias.astype(np.int64)


def product(first: AnyInts, second: AnyInts, first_offset: int, second_offset: int) -> Ints:
    """Accumulators of a matrix product of two activations, ``[..., M, K]`` by ``[..., K, N]``."""
    found = (first.astype(np.float64) + first_offset) @ (second.astype(np.float64) + second_offset)
    return found.astype(np.int64)
