"""Operators in float32, and conversions to and from it, as calls of portable kernels."""

from __future__ import annotations

import numpy as np

from compiler_core.units.cpu.c.emit.calls import broadcast, call, window
from compiler_core.units.cpu.c.emit.context import Context
from compiler_core.units.cpu.c.emit.fixed import Argument, Fixed, fixed, kernel_call
from compiler_core.units.cpu.c.emit.text import SUFFIX, real
from compiler_core.units.cpu.c.operators import real as reals


def _limits(context: Context, *ends: float) -> list[Argument]:
    """Ends of a clamp: those that are none are written into the function."""
    if np.isinf(ends).any():
        context.kernel("infinity")
    return [Fixed(real(end)) if np.isinf(end) else real(end) for end in ends]


@call.register
def _(operator: reals.Quantize, context: Context) -> list[str]:
    return kernel_call(
        context,
        f"quantize_{SUFFIX[operator.type.dtype]}",
        *fixed(context.size(operator.output)),
        real(operator.type.scale),
        str(operator.type.zero_point),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.Dequantize, context: Context) -> list[str]:
    return kernel_call(
        context,
        f"dequantize_{SUFFIX[operator.type.dtype]}",
        *fixed(context.size(operator.output)),
        real(operator.type.scale),
        str(operator.type.zero_point),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealConvolution, context: Context) -> list[str]:
    outputs, *_, own = operator.weights.shape
    each = outputs // operator.groups
    return kernel_call(
        context,
        "conv_f32",
        window(context, operator, operator.sliding, own, each, outputs, (0,) * 4),
        *_limits(context, operator.low, operator.high),
        context.constant(operator.weights, "float32"),
        context.constant(operator.bias, "float32"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealDense, context: Context) -> list[str]:
    columns, depth = operator.weights.shape
    rows = context.size(operator.inputs[0]) // depth
    return kernel_call(
        context,
        "dense_f32",
        *fixed(rows, depth, columns),
        *_limits(context, operator.low, operator.high),
        context.constant(operator.weights, "float32"),
        context.constant(operator.bias, "float32"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealProduct, context: Context) -> list[str]:
    batch, rows, depth = context.shape(operator.inputs[0])
    columns = context.shape(operator.inputs[1])[2]
    return kernel_call(
        context,
        "matmul_f32",
        *fixed(batch, rows, depth, columns),
        *_limits(context, operator.low, operator.high),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealMap, context: Context) -> list[str]:
    return kernel_call(
        context,
        f"map_{operator.function}",
        *fixed(context.size(operator.output)),
        *_limits(context, operator.a, operator.b),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealPair, context: Context) -> list[str]:
    return kernel_call(
        context,
        f"pair_{operator.function}",
        broadcast(operator, context),
        *_limits(context, operator.low, operator.high),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealPool, context: Context) -> list[str]:
    channels = context.shape(operator.output)[-1]
    return kernel_call(
        context,
        "mean_f32" if operator.mean else "max_f32",
        window(context, operator, operator.sliding, 1, 1, channels, (0,) * 4),
        *_limits(context, operator.low, operator.high),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealReduction, context: Context) -> list[str]:
    return kernel_call(
        context,
        f"reduce_{operator.function}",
        *fixed(*operator.sizes),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealSoftmax, context: Context) -> list[str]:
    return kernel_call(
        context,
        "softmax_f32",
        *fixed(*operator.sizes),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealNormalization, context: Context) -> list[str]:
    count = len(operator.scale)
    return kernel_call(
        context,
        "norm_f32",
        *fixed(context.size(operator.output) // count, count),
        real(operator.epsilon),
        context.constant(operator.scale, "float32"),
        context.constant(operator.bias, "float32"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.Normalization, context: Context) -> list[str]:
    count = len(operator.scale)
    floats = ", ".join(map(real, (operator.spread, operator.step, operator.epsilon)))
    ends = ", ".join(map(str, (operator.offset, operator.low, operator.high)))
    return kernel_call(
        context,
        f"norm_{SUFFIX[context.dtype(operator.output)]}",
        *fixed(context.size(operator.output) // count, count),
        context.structure("nt_norm", f"{{{floats}, {ends}}}"),
        context.constant(operator.scale, "float32"),
        context.constant(operator.bias, "float32"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )
