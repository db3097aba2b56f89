"""Operators on int8 tensors ``[N, C, H, W]`` with ``real = integer * 2**-exponent``.

Every operator's bits are defined here, in its docstring; the reference executor, the QDQ export and
the compiled program have to agree with that text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class IntegerConv:
    """Convolution, dense layer, depthwise convolution, average pool, copy, addition.

    A dense layer is a convolution whose kernel covers its input, or a 1x1 one over pixels.
    ``acc = sum(x * weight) + bias + residual * 2**residual_shift`` in int32 (never wraps: checked
    when built, with the rounding constant and a left shift counted);
    ``y = clip(round_shift(acc, shift), clip_min, clip_max)`` with
    ``round_shift(a, s) = (a + 2**(s-1)) >> s`` for ``s > 0`` (arithmetic, rounds half up), ``a``
    for ``s = 0`` and ``a << -s`` for ``s < 0``. With ``channel_shifts`` output channel ``o`` is
    shifted by ``channel_shifts[o]`` instead, and there is no residual.

    Attributes:
        name: Name of the graph node it comes from (the convolution of a fused group).
        input, output: Quantized tensors' names.
        weight: ``int8[O, I / groups, kh, kw]``.
        bias: ``int32[O]`` in the accumulator's scale.
        strides, dilations: ``(h, w)``.
        pads: ``(top, left, bottom, right)``, zero padding.
        groups: ``O`` and ``I`` are multiples of it.
        shift: Right shift of the requantization, -31..31.
        clip_min, clip_max: Within -128..127.
        residual: Name of an int8 tensor of the output's shape, added in the accumulator, or
            ``None``. Where it has one channel, row or column, that is added to all.
        residual_shift: Left shift of the residual, 0..24.
        sources: Names of all graph nodes that this operator replaces.
        channel_shifts: ``int32[O]`` right shifts, each 0..31, used instead of ``shift`` (which is
            their largest): weights with a power-of-two scale per output channel. ``None`` where
            one shift serves all.
        interleave: With ``b`` above 1 output channels are phases: channel ``(r * b + s) * C + c``
            at ``(h, w)`` is channel ``c`` of the output at ``(h * b + r, w * b + s)``; ``C`` is a
            multiple of 16, and there is no residual.
    """

    name: str
    input: str
    output: str
    weight: npt.NDArray[np.int8]
    bias: npt.NDArray[np.int32]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    groups: int
    shift: int
    clip_min: int
    clip_max: int
    residual: str | None = None
    residual_shift: int = 0
    sources: tuple[str, ...] = ()
    channel_shifts: npt.NDArray[np.int32] | None = None
    interleave: int = 1


@dataclass(frozen=True)
class IntegerMaxPool:
    """``y = clip(max over the window, clip_min, clip_max)``; padding never wins.

    Input and output share an exponent.
    """

    name: str
    input: str
    output: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int] = (1, 1)
    clip_min: int = -128
    clip_max: int = 127
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class IntegerConcat:
    """Concatenation along the channels: the producers write into its place, no program runs.

    All inputs share the output's exponent; every input but the last has a multiple of 16 channels.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class IntegerProduct:
    """Product of two activations, group by group: a convolution of pixels by a tensor.

    With ``K`` channels of a group, ``J`` pixels of the operand and ``m`` any pixel of the input,
    ``acc[g J + j, m] = sum over k of operand[g K + k, j] * x[g K + k, m]`` in int32 (never wraps:
    checked when built); ``y = clip(round_shift(acc, shift), clip_min, clip_max)`` as in
    :class:`IntegerConv`.

    Attributes:
        name: Name of the graph node it comes from.
        input: ``int8[N, groups * K, H, W]``.
        operand: ``int8[N, groups * K, h, w]`` with ``h * w = J``.
        output: ``int8[N, groups * J, H, W]``.
        groups: Of the channels; ``K`` and ``J`` are multiples of 16.
        shift: Right shift of the requantization, 0..31.
        clip_min, clip_max: Within -128..127.
        sources: Names of all graph nodes that this operator replaces.
    """

    name: str
    input: str
    operand: str
    output: str
    groups: int
    shift: int
    clip_min: int = -128
    clip_max: int = 127
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class IntegerTranspose:
    """Channels become pixels, pixels channels, group by group: ``y[g J + j, k] = x[g K + k, j]``.

    Input ``int8[N, groups * K, h, w]`` with ``h * w = J``, output ``int8[N, groups * J, 1, K]``;
    ``K`` and ``J`` are multiples of 16. Both share an exponent.
    """

    name: str
    input: str
    output: str
    groups: int
    sources: tuple[str, ...] = ()


IntegerOperator = IntegerConv | IntegerMaxPool | IntegerConcat | IntegerProduct | IntegerTranspose

ComputingOperator = IntegerConv | IntegerMaxPool | IntegerProduct | IntegerTranspose
"""An integer operator that a program runs for."""


def integers_read(operator: IntegerOperator) -> tuple[str, ...]:
    """What an integer operator reads."""
    if isinstance(operator, IntegerConcat):
        return operator.inputs
    if isinstance(operator, IntegerProduct):
        return operator.input, operator.operand
    residual = operator.residual if isinstance(operator, IntegerConv) else None
    return (operator.input,) if residual is None else (operator.input, residual)
