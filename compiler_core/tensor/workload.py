"""Workloads: one operator with its fused epilogue, all shapes and types fixed.

A workload holds whatever the cycles of a program depend on and nothing that only its bits depend
on: two layers with equal workloads are one task. Notation: N batch, C channels, H rows, W columns;
O, I output and input channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from compiler_core.files.plain import ONLY_WHERE_OTHER
from compiler_core.hashed_once import hashed_once
from compiler_core.tensor.digest import digest


def output_extent(size: int, kernel: int, stride: int, pads: int, dilation: int) -> int:
    """Outputs of a window operator along one axis (ONNX floor mode)."""
    return (size + pads - dilation * (kernel - 1) - 1) // stride + 1


@dataclass(frozen=True)
class Window:
    """How a window slides over an image.

    Attributes:
        kernel, strides, dilations: ``(h, w)``.
        pads: ``(top, left, bottom, right)``.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns that the window produces from an image."""
        top, left, bottom, right = self.pads
        return (
            output_extent(height, self.kernel[0], self.strides[0], top + bottom, self.dilations[0]),
            output_extent(width, self.kernel[1], self.strides[1], left + right, self.dilations[1]),
        )


@dataclass(frozen=True)
class Epilogue:
    """What happens to the accumulators before they are stored, as far as it costs time.

    Attributes:
        bias_bits: Bits of the largest constant added to an accumulator (bias and rounding), 0 where
            there is none; rounded up to 17 so that layers that differ in their biases alone are
            equal.
        shift, clip_low, clip_high: Whether the requantization needs that pass.
        residual_bits: Left shift of the residual, ``None`` without one.
        channel_shift: The shift differs between output channels, which takes a tensor-tensor pass.
    """

    bias_bits: int
    shift: bool
    clip_low: bool
    clip_high: bool
    residual_bits: int | None = None
    channel_shift: bool = False

    @property
    def passes(self) -> int:
        """Immediate passes over the outputs that the requantization cannot do without."""
        return self.shift + self.clip_low + self.clip_high


@hashed_once
@dataclass(frozen=True)
class Requantization:
    """Values of an epilogue that change bits and not cycles.

    Attributes:
        shift: Arithmetic right shift (left where negative).
        clip_min, clip_max: Clamp after the shift.
        residual_shift: Left shift of the residual.
    """

    shift: int
    clip_min: int
    clip_max: int
    residual_shift: int = 0


@dataclass(frozen=True)
class Vectors:
    """Of a workload that counts in the vectors of one machine: 16 channels stand for one vector,
    whatever it holds, and the taps of a window for the vectors that it reads.

    Attributes:
        lanes: Channels of an output vector; input vectors have 16.
        operator: The field's name for what it computes.
        macs: Multiply-accumulates of that.
        groups: Of its channels.
    """

    lanes: int
    operator: str
    macs: int
    groups: int = 1

    @property
    def halves(self) -> int:
        """Input vectors that an output vector is, read again."""
        return self.lanes // 16


@dataclass(frozen=True)
class Spread:
    """Axes along which a residual has one element, which is added to all of an output's.

    Attributes:
        channels, rows, columns: Whether it is spread along them.
    """

    channels: bool = False
    rows: bool = False
    columns: bool = False

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the residual of an output."""
        return 1 if self.rows else height, 1 if self.columns else width


class _OverWindows:
    """What follows from the extents of an operator that reads its input through a window."""

    batch: int
    in_height: int
    in_width: int
    window: Window
    vectors: Vectors | None

    @property
    def halves(self) -> int:
        """Input vectors that an output vector is, read again."""
        return 1 if self.vectors is None else self.vectors.halves

    @property
    def out_height(self) -> int:
        return self.window.output_size(self.in_height, self.in_width)[0]

    @property
    def out_width(self) -> int:
        return self.window.output_size(self.in_height, self.in_width)[1]

    @property
    def _channels(self) -> tuple[int, int, int]:
        """Channels that are read and written, and groups of them."""
        raise NotImplementedError

    @property
    def shape(self) -> str:
        """Extents in one line: input, kernel, strides, output; groups where there are.

        Example: ``1x64x56x56 k3x3 s1x1 -> 64x56x56``.
        """
        window = self.window
        channels, result, groups = self._channels
        text = f"{self.batch}x{channels}x{self.in_height}x{self.in_width}"
        text += f" k{window.kernel[0]}x{window.kernel[1]} s{window.strides[0]}x{window.strides[1]}"
        if window.dilations != (1, 1):
            text += f" d{window.dilations[0]}x{window.dilations[1]}"
        if groups > 1:
            text += f" g{groups}"
        text += f" -> {result}x{self.out_height}x{self.out_width}"
        return text if self.vectors is None else f"{text} of {self.vectors.lanes} lanes"

    @cached_property
    def digest(self) -> str:
        """Key of the workload."""
        return _digest_of(self)


@lru_cache(maxsize=1024)
def _digest_of(workload: _OverWindows) -> str:
    """Of equal workloads once: a network repeats few shapes in many layers."""
    return digest(workload)


@hashed_once
@dataclass(frozen=True)
class ConvWorkload(_OverWindows):
    """A convolution, dense, depthwise, average-pool, copy or add operator with int8 operands.

    Attributes:
        batch, in_channels, in_height, in_width, out_channels: Extents of input and output.
        window: Kernel geometry.
        groups: Divides both channel counts.
        uniform: All weights are one constant on the diagonal (average pool, copy, add): one weight
        tile serves all.
        epilogue: The fused tail.
        entry: The CPU lays out the input, so that taps may be folded into its channels.
        vectors: Of a machine whose vectors the extents count; ``None`` where they are channels.
        operand: The weights are an activation: an image whose pixels are the output channels of a
            group, so that every 16 pixels of a block of channels are a tile of weights.
        spread: How a residual that is smaller than the output is added to it.
        interleave: Output channels are phases that lie side by side, in so many rows and columns.
    """

    batch: int
    in_channels: int
    in_height: int
    in_width: int
    out_channels: int
    window: Window
    groups: int
    epilogue: Epilogue
    uniform: bool = False
    entry: bool = False
    vectors: Vectors | None = field(default=None, metadata={ONLY_WHERE_OTHER: True})
    operand: bool = field(default=False, metadata={ONLY_WHERE_OTHER: True})
    spread: Spread | None = field(default=None, metadata={ONLY_WHERE_OTHER: True})
    interleave: int = field(default=1, metadata={ONLY_WHERE_OTHER: True})

    @property
    def _channels(self) -> tuple[int, int, int]:
        return self.in_channels, self.out_channels, self.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the operator itself, padding taps included."""
        if self.vectors is not None:
            return self.vectors.macs
        taps = self.window.kernel[0] * self.window.kernel[1]
        outputs = self.batch * self.out_channels * self.out_height * self.out_width
        return outputs * taps * self.in_channels // self.groups

    @property
    def operator(self) -> str:
        """The field's name for what this is."""
        if self.vectors is not None:
            return self.vectors.operator
        if self.operand:
            return "matmul"
        if self.uniform:
            taps = self.window.kernel[0] * self.window.kernel[1]
            if taps > 1:
                return "average_pool"
            return "copy" if self.epilogue.residual_bits is None else "add"
        if self.groups == 1:
            points = self.out_height * self.out_width
            return "dense" if points == 1 else "conv2d"
        return "depthwise_conv2d" if self.groups == self.in_channels else "grouped_conv2d"


@dataclass(frozen=True)
class MaxPoolWorkload(_OverWindows):
    """Maximum over a window, per channel.

    Attributes:
        batch, channels, in_height, in_width: Extents of the input.
        window: Pool geometry; padding never wins.
        clip_low, clip_high: Whether a fused clamp needs that pass.
        vectors: Of a machine whose vectors the channels count; ``None`` where they are channels.
    """

    batch: int
    channels: int
    in_height: int
    in_width: int
    window: Window
    clip_low: bool = False
    clip_high: bool = False
    vectors: Vectors | None = field(default=None, metadata={ONLY_WHERE_OTHER: True})

    @property
    def _channels(self) -> tuple[int, int, int]:
        return self.channels, self.channels, 1

    @property
    def macs(self) -> int:
        return 0

    @property
    def operator(self) -> str:
        return "max_pool"


Workload = ConvWorkload | MaxPoolWorkload
