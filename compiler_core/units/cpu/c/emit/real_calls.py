"""Operators in float32, and conversions to and from it, as calls of portable kernels."""

from __future__ import annotations

import numpy as np

from compiler_core.units.cpu.c.emit.calls import (
    SUFFIX,
    broadcast,
    call,
    statement,
    window_fields,
)
from compiler_core.units.cpu.c.emit.context import Context
from compiler_core.units.cpu.c.emit.text import real
from compiler_core.units.cpu.c.network import Operator
from compiler_core.units.cpu.c.operators import real as reals


def call_of(operator: Operator, context: Context) -> list[str]:
    """The lines of C that run any operator; none for a view."""
    return call(operator, context)


def _limits(context: Context, low: float, high: float) -> list[str]:
    if np.isinf(low) or np.isinf(high):
        context.kernel("infinity")
    return [real(low), real(high)]


@call.register
def _(operator: reals.Quantize, context: Context) -> list[str]:
    return statement(
        context.kernel(f"quantize_{SUFFIX[operator.type.dtype]}"),
        str(context.size(operator.output)),
        real(operator.type.scale),
        str(operator.type.zero_point),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.Dequantize, context: Context) -> list[str]:
    return statement(
        context.kernel(f"dequantize_{SUFFIX[operator.type.dtype]}"),
        str(context.size(operator.output)),
        real(operator.type.scale),
        str(operator.type.zero_point),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealConvolution, context: Context) -> list[str]:
    outputs, *_, own = operator.weights.shape
    each = outputs // operator.groups
    fields = window_fields(context, operator, operator.sliding, own, each, outputs, (0,) * 4)
    return statement(
        context.kernel("conv_f32"),
        context.structure("nt_window", fields),
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
    return statement(
        context.kernel("dense_f32"),
        *map(str, (rows, depth, columns)),
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
    return statement(
        context.kernel("matmul_f32"),
        *map(str, (batch, rows, depth, columns)),
        *_limits(context, operator.low, operator.high),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealMap, context: Context) -> list[str]:
    return statement(
        context.kernel(f"map_{operator.function}"),
        str(context.size(operator.output)),
        *_limits(context, operator.a, operator.b),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealPair, context: Context) -> list[str]:
    return statement(
        context.kernel(f"pair_{operator.function}"),
        broadcast(operator, context),
        *_limits(context, operator.low, operator.high),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealPool, context: Context) -> list[str]:
    channels = context.shape(operator.output)[-1]
    fields = window_fields(context, operator, operator.sliding, 1, 1, channels, (0,) * 4)
    return statement(
        context.kernel("mean_f32" if operator.mean else "max_f32"),
        context.structure("nt_window", fields),
        *_limits(context, operator.low, operator.high),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealReduction, context: Context) -> list[str]:
    return statement(
        context.kernel(f"reduce_{operator.function}"),
        *map(str, operator.sizes),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealSoftmax, context: Context) -> list[str]:
    return statement(
        context.kernel("softmax_f32"),
        *map(str, operator.sizes),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: reals.RealNormalization, context: Context) -> list[str]:
    count = len(operator.scale)
    return statement(
        context.kernel("norm_f32"),
        *map(str, (context.size(operator.output) // count, count)),
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
    return statement(
        context.kernel(f"norm_{SUFFIX[context.dtype(operator.output)]}"),
        *map(str, (context.size(operator.output) // count, count)),
        context.structure("nt_norm", f"{{{floats}, {ends}}}"),
        context.constant(operator.scale, "float32"),
        context.constant(operator.bias, "float32"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )
