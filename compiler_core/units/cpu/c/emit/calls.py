"""Operators as calls of portable kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import numpy as np

from compiler_core.errors import InternalError
from compiler_core.units.cpu.c.arithmetic.packing import pack_int4
from compiler_core.units.cpu.c.arithmetic.pointwise import softmax_powers
from compiler_core.units.cpu.c.arithmetic.weighted import Sliding
from compiler_core.units.cpu.c.emit.context import Context
from compiler_core.units.cpu.c.emit.fixed import (
    FilledStructure,
    Given,
    clamp,
    fixed,
    kernel_call,
    zero_point,
)
from compiler_core.units.cpu.c.emit.text import SUFFIX, number
from compiler_core.units.cpu.c.network import Operator
from compiler_core.units.cpu.c.operators import moves, pointwise, weighted

_MANY_POWERS = 1024
"""Elements from which on a Softmax has a table of exponentials: 1 KiB of flash at most, for about
150 instructions an element."""


@singledispatch
def call(operator: object, context: Context) -> list[str]:  # noqa: ARG001
    """The lines of C that run an operator; none for a view.

    Operators in float32 are registered by :mod:`compiler_core.units.cpu.c.emit.real_calls`.
    """
    raise InternalError(f"{type(operator).__name__} has no kernel")


def image_sizes(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """``N, H, W, C`` of a value's shape."""
    n, *middle, c = shape
    return (n, 1, middle[0], c) if len(middle) == 1 else (n, middle[0], middle[1], c)


def window(
    context: Context,
    operator: Operator,
    sliding: Sliding,
    own: int,
    each: int,
    channels: int,
    last: Sequence[int | Given],
) -> FilledStructure:
    """The structure of a window."""
    sizes = image_sizes(context.shape(operator.inputs[0]))
    fields = (
        *sizes,
        *sliding.output,
        channels,
        *sliding.kernel,
        *sliding.stride,
        *sliding.dilation,
        *sliding.pad,
        own,
        each,
        *last,
    )
    return FilledStructure("nt_window", fields)


def packed(weights: weighted.Int8s, bits: int, context: Context) -> str:
    """Weights as they are stored."""
    if bits == 4:
        return context.constant(pack_int4(weights), "uint8")
    return context.weights(weights)


def scaling_arguments(
    operator: weighted.Convolution | weighted.Dense, context: Context
) -> list[str]:
    """Bias, multiplier and shift per output channel."""
    wide = operator.scaling.wide
    return [
        context.constant(operator.bias, "int64" if wide else "int32"),
        context.constant(operator.scaling.multiplier, "int32"),
        context.constant(operator.scaling.shift, "int8"),
    ]


@call.register
def _(operator: weighted.Convolution, context: Context) -> list[str]:
    outputs, *_, own = operator.weights.shape
    each = outputs // operator.groups
    last = [zero_point(operator.offset), *_ends(operator, context)]
    kind = f"conv_s{operator.bits}"
    if context.dtype(operator.output) == "int16":
        kind = "conv_s16" if operator.scaling.wide else "conv_s16_s32"
    return kernel_call(
        context,
        kind,
        window(context, operator, operator.sliding, own, each, outputs, last),
        packed(operator.weights, operator.bits, context),
        *scaling_arguments(operator, context),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: weighted.Dense, context: Context) -> list[str]:
    columns, depth = operator.weights.shape
    rows = context.size(operator.inputs[0]) // depth
    last = (zero_point(operator.offset), 0, *_ends(operator, context), 0, 0)
    return kernel_call(
        context,
        "dense_s16" if operator.scaling.wide else f"dense_s{operator.bits}",
        FilledStructure("nt_matrix", (1, rows, depth, columns, *last)),
        packed(operator.weights, operator.bits, context),
        *scaling_arguments(operator, context),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: weighted.MatrixProduct, context: Context) -> list[str]:
    batch, rows, depth = context.shape(operator.inputs[0])
    columns = context.shape(operator.inputs[1])[2]
    scaling = operator.scaling
    factor = Given(int(scaling.multiplier)), Given(int(scaling.shift))
    last = (*map(zero_point, operator.offsets), *_ends(operator, context), *factor)
    return kernel_call(
        context,
        f"matmul_{SUFFIX[context.dtype(operator.output)]}",
        FilledStructure("nt_matrix", (batch, rows, depth, columns, *last)),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


def walk(sizes: Sequence[int], first: Sequence[int], second: Sequence[int]) -> FilledStructure:
    """The structure of a walk over two operands, of as few axes as describe it."""
    joined: list[list[int]] = []
    for size, a, b in zip(sizes, first, second, strict=True):
        last = joined[-1] if joined else None
        if size == 1:
            continue
        if last and last[1] == size * a and last[2] == size * b:
            last[:] = [last[0] * size, a, b]
        else:
            joined.append([size, a, b])
    if len(joined) > moves.MOST_AXES:
        raise InternalError(f"a walk over {len(joined)} axes")
    padded = [*([1, 0, 0] for _ in range(moves.MOST_AXES - len(joined))), *joined]
    return FilledStructure("nt_walk", tuple(axis[k] for k in range(3) for axis in padded))


def broadcast(operator: Operator, context: Context) -> FilledStructure:
    shape = context.shape(operator.output)
    steps = []
    for name in operator.inputs:
        own = context.shape(name)
        steps.append(
            [
                0 if size == 1 and full != 1 else step
                for size, full, step in zip(own, shape, moves.row_steps(own), strict=True)
            ]
        )
    return walk(shape, steps[0], steps[1])


def _ends(operator: Operator, context: Context) -> tuple[int | Given, ...]:
    """Zero point of the result and both ends of its clamp."""
    scaling = operator.scaling  # type: ignore[attr-defined]
    dtype = context.dtype(operator.output)
    return (zero_point(scaling.offset), *clamp(scaling.low, scaling.high, dtype))


def last_step(result: pointwise.Output, dtype: str) -> tuple[int | Given, ...]:
    """Factor, zero point and clamp of a result."""
    ends = clamp(result.low, result.high, dtype)
    return (Given(result.multiplier), result.shift, zero_point(result.offset), *ends)


def sum_record(operator: pointwise.Sum, context: Context) -> FilledStructure:
    """The structure of a sum."""
    first, second = (
        (zero_point(item.offset), Given(item.multiplier), item.shift) for item in operator.addends
    )
    sign = -1 if operator.subtract else 1
    last = last_step(operator.result, context.dtype(operator.output))
    return FilledStructure("nt_sum", (*first, *second, sign, *last))


@call.register
def _(operator: pointwise.Sum, context: Context) -> list[str]:
    return kernel_call(
        context,
        f"add_{SUFFIX[context.dtype(operator.output)]}",
        broadcast(operator, context),
        sum_record(operator, context),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: pointwise.Product, context: Context) -> list[str]:
    dtype = context.dtype(operator.output)
    fields = (*map(zero_point, operator.offsets), *last_step(operator.result, dtype))
    return kernel_call(
        context,
        f"mul_{SUFFIX[dtype]}",
        broadcast(operator, context),
        FilledStructure("nt_product", fields),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: pointwise.Pool, context: Context) -> list[str]:
    channels, dtype = context.shape(operator.output)[-1], context.dtype(operator.output)
    last = (0, 0, *clamp(operator.low, operator.high, dtype))
    return kernel_call(
        context,
        f"{'mean' if operator.mean else 'max'}_{SUFFIX[dtype]}",
        window(context, operator, operator.sliding, 1, 1, channels, last),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: pointwise.Table, context: Context) -> list[str]:
    return kernel_call(
        context,
        "table_s8",
        *fixed(context.size(operator.output)),
        context.constant(operator.entries, "int8"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: pointwise.WideTable, context: Context) -> list[str]:
    return kernel_call(
        context,
        "table_s16",
        *fixed(context.size(operator.output)),
        context.constant(operator.entries, "int16"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: pointwise.Rescale, context: Context) -> list[str]:
    dtypes = [context.dtype(name) for name in (operator.inputs[0], operator.output)]
    last = last_step(operator.result, dtypes[1])
    return kernel_call(
        context,
        f"rescale_{SUFFIX[dtypes[0]]}_{SUFFIX[dtypes[1]]}",
        *fixed(context.size(operator.output)),
        FilledStructure("nt_rescale", (zero_point(operator.offset), operator.left, *last)),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: pointwise.Softmax, context: Context) -> list[str]:
    factors = operator.factors
    if not operator.wide and context.size(operator.output) >= _MANY_POWERS:
        powers = softmax_powers(factors)
        return kernel_call(
            context,
            "softmax_table_s8",
            *fixed(*operator.sizes, len(powers)),
            context.constant(powers, "int32"),
            *context.inputs(operator),
            context.pointer(operator.output),
        )
    return kernel_call(
        context,
        f"softmax_{SUFFIX[context.dtype(operator.output)]}",
        *fixed(*operator.sizes),
        str(factors.multiplier),
        *fixed(factors.shift),
        str(factors.least),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: moves.View, context: Context) -> list[str]:  # noqa: ARG001
    return []


@call.register
def _(operator: moves.Copy, context: Context) -> list[str]:
    dtype = context.dtype(operator.output)
    lines = []
    target = context.pointer(operator.output)
    if operator.fill is not None:
        fill = number(operator.fill, dtype)
        if dtype == "float32" and np.isinf(operator.fill):
            context.kernel("infinity")
        name = f"fill_{SUFFIX[dtype]}"
        lines += kernel_call(context, name, *fixed(operator.size), fill, target)
    for block in operator.blocks:
        source = context.pointer(operator.inputs[block.source])
        lines += kernel_call(
            context,
            f"copy_{SUFFIX[dtype]}",
            walk(block.sizes, block.steps, block.target_steps),
            f"{source} + {block.start}" if block.start else source,
            f"{target} + {block.target}" if block.target else target,
        )
    return lines


@call.register
def _(operator: moves.Take, context: Context) -> list[str]:
    return kernel_call(
        context,
        f"take_{SUFFIX[context.dtype(operator.output)]}",
        *fixed(*operator.sizes, len(operator.indices)),
        context.constant(operator.indices, "int32"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: moves.Interpolate, context: Context) -> list[str]:
    dtype = context.dtype(operator.output)
    return kernel_call(
        context,
        f"linear_{SUFFIX[dtype]}",
        *fixed(*operator.sizes, len(operator.low)),
        context.constant(operator.low, "int32"),
        context.constant(operator.high, "int32"),
        context.constant(operator.weights, "float32" if dtype == "float32" else "int32"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: moves.Resample, context: Context) -> list[str]:
    dtype = context.dtype(operator.output)
    return kernel_call(
        context,
        f"resample_{SUFFIX[dtype]}",
        *fixed(*operator.sizes, *operator.indices.shape),
        context.constant(operator.indices, "int32"),
        context.constant(operator.weights, "float32" if dtype == "float32" else "int32"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )
