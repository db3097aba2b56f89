"""Plain NumPy meaning of the integer operators, from their definition, and random cases of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.ir import IntegerConv, IntegerMaxPool
from compiler_core.tensor.from_integer import ConvTerms, conv_terms

Int8 = npt.NDArray[np.int8]


def conv(op: IntegerConv, x: Int8, residual: Int8 | None = None) -> Int8:
    """The integer convolution, in int64."""
    n, _, h, w = x.shape
    out_channels, group_in, kh, kw = op.weight.shape
    top, left, bottom, right = op.pads
    padded = np.zeros((n, x.shape[1], h + top + bottom, w + left + right), np.int64)
    padded[:, :, top : top + h, left : left + w] = x
    oh = (h + top + bottom - op.dilations[0] * (kh - 1) - 1) // op.strides[0] + 1
    ow = (w + left + right - op.dilations[1] * (kw - 1) - 1) // op.strides[1] + 1
    acc = np.zeros((n, out_channels, oh, ow), np.int64)
    group_out = out_channels // op.groups
    for o in range(out_channels):
        first = o // group_out * group_in
        for i in range(group_in):
            for a in range(kh):
                for b in range(kw):
                    y, z = a * op.dilations[0], b * op.dilations[1]
                    taps = padded[
                        :,
                        first + i,
                        y : y + (oh - 1) * op.strides[0] + 1 : op.strides[0],
                        z : z + (ow - 1) * op.strides[1] + 1 : op.strides[1],
                    ]
                    acc[:, o] += int(op.weight[o, i, a, b]) * taps
    acc += op.bias.astype(np.int64)[None, :, None, None]
    if residual is not None:
        acc += residual.astype(np.int64) * 2**op.residual_shift
    half = 2 ** (op.shift - 1) if op.shift > 0 else 0
    if op.channel_shifts is not None:
        powers = (2 ** op.channel_shifts.astype(np.int64))[None, :, None, None]
        acc = np.floor_divide(acc + powers // 2, powers)
    else:
        acc = np.floor_divide(acc + half, 2**op.shift) if op.shift > 0 else acc * 2**-op.shift
    return np.clip(acc, op.clip_min, op.clip_max).astype(np.int8)


def max_pool(op: IntegerMaxPool, x: Int8) -> Int8:
    """The integer max pool, point by point."""
    n, c, h, w = x.shape
    top, left, bottom, right = op.pads
    oh = (h + top + bottom - op.dilations[0] * (op.kernel[0] - 1) - 1) // op.strides[0] + 1
    ow = (w + left + right - op.dilations[1] * (op.kernel[1] - 1) - 1) // op.strides[1] + 1
    result = np.full((n, c, oh, ow), -128, np.int8)
    for y in range(oh):
        for z in range(ow):
            for a in range(op.kernel[0]):
                for b in range(op.kernel[1]):
                    r = y * op.strides[0] + a * op.dilations[0] - top
                    s = z * op.strides[1] + b * op.dilations[1] - left
                    if 0 <= r < h and 0 <= s < w:
                        result[:, :, y, z] = np.maximum(result[:, :, y, z], x[:, :, r, s])
    return np.clip(result, op.clip_min, op.clip_max)


@dataclass(frozen=True)
class ConvCase:
    """A random convolution with operands."""

    operator: IntegerConv
    inputs: Int8
    residual: Int8 | None
    terms: ConvTerms


def stem_case(out_channels: int) -> ConvCase:
    """A seeded 7x7 convolution of stride 2 over two images of three channels, as networks begin."""
    numbers = np.random.default_rng(0)
    operator = IntegerConv(
        "stem",
        "x",
        "y",
        numbers.integers(-50, 50, (out_channels, 3, 7, 7)).astype(np.int8),
        numbers.integers(-500, 500, out_channels).astype(np.int32),
        (2, 2),
        (3, 3, 2, 2),
        (1, 1),
        1,
        9,
        0,
        127,
    )
    inputs = numbers.integers(-128, 128, (2, 3, 23, 24)).astype(np.int8)
    return ConvCase(operator, inputs, None, conv_terms(operator, inputs.shape, entry=True))


def random_stem(r: random.Random) -> ConvCase:
    """Draws a convolution of few channels whose input the CPU lays out, over a small image."""
    numbers, channels = np.random.default_rng(r.randrange(1 << 30)), r.randint(1, 15)
    kernel = r.choice([(3, 3), (2, 3), (5, 2), (1, 4)])
    outputs = r.choice([3, 16, 20, 40])
    operator = IntegerConv(
        "stem",
        "x",
        "y",
        numbers.integers(-50, 50, (outputs, channels, *kernel)).astype(np.int8),
        numbers.integers(-500, 500, outputs).astype(np.int32),
        (r.randint(1, 3), r.randint(1, 3)),
        (r.randint(0, 2), r.randint(0, 2), r.randint(0, 2), r.randint(0, 2)),
        (1, r.randint(1, 2)),
        1,
        9,
        r.choice([-128, 0]),
        127,
    )
    inputs = numbers.integers(-128, 128, (2, channels, 9, r.randint(7, 10))).astype(np.int8)
    return ConvCase(operator, inputs, None, conv_terms(operator, inputs.shape, entry=True))


def random_conv(r: random.Random) -> ConvCase:
    """Draws a small convolution of any kind that the lowering knows."""
    while True:
        kernel = r.choice([(1, 1), (3, 3), (2, 3), (5, 5), (1, 3)])
        size = r.randint(1, 13), r.randint(1, 13)
        dilations = r.randint(1, 2), r.randint(1, 2)
        pads = (r.randint(0, 2), r.randint(0, 2), r.randint(0, 2), r.randint(0, 2))
        room = (
            size[axis] + pads[axis] + pads[axis + 2] - dilations[axis] * (kernel[axis] - 1)
            for axis in (0, 1)
        )
        if all(extent >= 1 for extent in room):
            break
    kind = r.choice(["dense", "dense", "depthwise", "grouped", "uniform"])
    channels, out_channels, groups = r.choice([3, 16, 20, 48]), r.choice([1, 10, 33, 48]), 1
    if kind in ("depthwise", "uniform"):
        groups = out_channels = channels
    if kind == "grouped":
        groups = r.choice([2, 4])
        channels, out_channels = groups * r.choice([2, 6, 16]), groups * r.choice([2, 6, 16, 32])
    numbers = np.random.default_rng(r.randrange(1 << 30))
    weight = numbers.integers(-127, 128, (out_channels, channels // groups, *kernel))
    bias = numbers.integers(-5000, 5000, out_channels) * r.choice([1, 1, 60])
    if kind == "uniform":
        weight[:], bias[:] = r.randint(1, 127), r.choice([0, 77])
    operator = IntegerConv(
        "conv",
        "x",
        "y",
        weight.astype(np.int8),
        bias.astype(np.int32),
        (r.randint(1, 3), r.randint(1, 3)),
        pads,
        dilations,
        groups,
        r.choice([0, 3, 9, 12, -1]),
        r.choice([-128, -127, 0]),
        r.choice([127, 127, 96]),
    )
    shape = (r.choice([1, 1, 2]), channels, *size)
    inputs = numbers.integers(-128, 128, shape).astype(np.int8)
    entry = r.random() < 0.3
    residual = None
    terms = conv_terms(operator, shape, entry=entry)
    if r.random() < 0.4:
        operator = replace(operator, residual="r", residual_shift=r.choice([0, 3, 6, 7, 11]))
        terms = conv_terms(operator, shape, entry=entry)
        out_shape = (shape[0], out_channels, terms.workload.out_height, terms.workload.out_width)
        residual = numbers.integers(-128, 128, out_shape).astype(np.int8)
    elif r.random() < 0.3:
        shifts = numbers.integers(0, 14, out_channels).astype(np.int32)
        operator = replace(operator, channel_shifts=shifts, shift=int(shifts.max()))
        terms = conv_terms(operator, shape, entry=entry)
    return ConvCase(operator, inputs, residual, terms)
