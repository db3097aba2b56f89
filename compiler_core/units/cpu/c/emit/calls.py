"""Operators as calls of portable kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import numpy as np

from compiler_core.errors import InternalError
from compiler_core.units.cpu.c.arithmetic.packing import pack_int4
from compiler_core.units.cpu.c.arithmetic.weighted import Sliding
from compiler_core.units.cpu.c.emit.context import Context, numbers
from compiler_core.units.cpu.c.emit.text import number
from compiler_core.units.cpu.c.network import Operator
from compiler_core.units.cpu.c.operators import moves, pointwise, weighted

SUFFIX = {"int8": "s8", "int16": "s16", "float32": "f32"}


@singledispatch
def call(operator: object, context: Context) -> list[str]:  # noqa: ARG001
    """The lines of C that run an operator; none for a view.

    Operators in float32 are registered by :mod:`compiler_core.units.cpu.c.emit.real_calls`.
    """
    raise InternalError(f"{type(operator).__name__} has no kernel")


def statement(function: str, *arguments: str) -> list[str]:
    """A call as lines of at most about 100 columns."""
    line = f"{function}({', '.join(arguments)});"
    if len(line) < 96:
        return [line]
    lines, current = [], f"{function}("
    for position, argument in enumerate(arguments):
        text = argument + (");" if position == len(arguments) - 1 else ",")
        if len(current) + len(text) > 94:
            lines.append(current)
            current = "    " + text
        else:
            current += text if current.endswith("(") else " " + text
    return [*lines, current]


def image_sizes(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """``N, H, W, C`` of a value's shape."""
    n, *middle, c = shape
    return (n, 1, middle[0], c) if len(middle) == 1 else (n, middle[0], middle[1], c)


def window_fields(
    context: Context,
    operator: Operator,
    sliding: Sliding,
    own: int,
    each: int,
    channels: int,
    last: Sequence[int],
) -> str:
    """The initializer of a window."""
    sizes = image_sizes(context.shape(operator.inputs[0]))
    return numbers(
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
    last = (operator.offset, operator.scaling.offset, operator.scaling.low, operator.scaling.high)
    each = outputs // operator.groups
    fields = window_fields(context, operator, operator.sliding, own, each, outputs, last)
    kind = f"conv_s{operator.bits}"
    if context.dtype(operator.output) == "int16":
        kind = "conv_s16" if operator.scaling.wide else "conv_s16_s32"
    return statement(
        context.kernel(kind),
        context.structure("nt_window", fields),
        packed(operator.weights, operator.bits, context),
        *scaling_arguments(operator, context),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: weighted.Dense, context: Context) -> list[str]:
    columns, depth = operator.weights.shape
    rows = context.size(operator.inputs[0]) // depth
    scaling = operator.scaling
    last = (operator.offset, 0, scaling.offset, scaling.low, scaling.high, 0, 0)
    fields = numbers(1, rows, depth, columns, *last)
    kind = "dense_s16" if operator.scaling.wide else f"dense_s{operator.bits}"
    return statement(
        context.kernel(kind),
        context.structure("nt_matrix", fields),
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
    factor = int(scaling.multiplier), int(scaling.shift)
    last = (*operator.offsets, scaling.offset, scaling.low, scaling.high, *factor)
    fields = numbers(batch, rows, depth, columns, *last)
    return statement(
        context.kernel(f"matmul_{SUFFIX[context.dtype(operator.output)]}"),
        context.structure("nt_matrix", fields),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


def walk(
    sizes: Sequence[int], first: Sequence[int], second: Sequence[int], context: Context
) -> str:
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
    joined = joined or [[1, 0, 0]]
    if len(joined) > moves.MOST_AXES:
        raise InternalError(f"a walk over {len(joined)} axes")
    padded = [*joined, *([1, 0, 0] for _ in range(moves.MOST_AXES - len(joined)))]
    columns = (numbers(*(axis[k] for axis in padded)) for k in range(3))
    context.kernel("walk")
    return context.structure("nt_walk", f"{{{len(joined)}, {', '.join(columns)}}}")


def broadcast(operator: Operator, context: Context) -> str:
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
    return walk(shape, steps[0], steps[1], context)


def sum_fields(operator: pointwise.Sum) -> str:
    """The initializer of a sum."""
    first, second = operator.addends
    result = operator.result
    return numbers(
        *(first.offset, first.multiplier, first.shift),
        *(second.offset, second.multiplier, second.shift, -1 if operator.subtract else 1),
        *(result.multiplier, result.shift, result.offset, result.low, result.high),
    )


@call.register
def _(operator: pointwise.Sum, context: Context) -> list[str]:
    return statement(
        context.kernel(f"add_{SUFFIX[context.dtype(operator.output)]}"),
        broadcast(operator, context),
        context.structure("nt_sum", sum_fields(operator)),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: pointwise.Product, context: Context) -> list[str]:
    result = operator.result
    fields = numbers(
        *operator.offsets,
        *(result.multiplier, result.shift, result.offset, result.low, result.high),
    )
    return statement(
        context.kernel(f"mul_{SUFFIX[context.dtype(operator.output)]}"),
        broadcast(operator, context),
        context.structure("nt_product", fields),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: pointwise.Pool, context: Context) -> list[str]:
    channels = context.shape(operator.output)[-1]
    last = (0, 0, operator.low, operator.high)
    fields = window_fields(context, operator, operator.sliding, 1, 1, channels, last)
    return statement(
        context.kernel(
            f"{'mean' if operator.mean else 'max'}_{SUFFIX[context.dtype(operator.output)]}"
        ),
        context.structure("nt_window", fields),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: pointwise.Table, context: Context) -> list[str]:
    return statement(
        context.kernel("table_s8"),
        str(context.size(operator.output)),
        context.constant(operator.entries, "int8"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: pointwise.WideTable, context: Context) -> list[str]:
    return statement(
        context.kernel("table_s16"),
        str(context.size(operator.output)),
        context.constant(operator.entries, "int16"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: pointwise.Rescale, context: Context) -> list[str]:
    result = operator.result
    fields = numbers(
        *(operator.offset, operator.left, result.multiplier, result.shift),
        *(result.offset, result.low, result.high),
    )
    kinds = [SUFFIX[context.dtype(name)] for name in (operator.inputs[0], operator.output)]
    return statement(
        context.kernel(f"rescale_{kinds[0]}_{kinds[1]}"),
        str(context.size(operator.output)),
        context.structure("nt_rescale", fields),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: pointwise.Softmax, context: Context) -> list[str]:
    factors = operator.factors
    return statement(
        context.kernel(f"softmax_{SUFFIX[context.dtype(operator.output)]}"),
        *map(str, (*operator.sizes, factors.multiplier, factors.shift, factors.least)),
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
        function = context.kernel(f"fill_{SUFFIX[dtype]}")
        lines += statement(function, str(operator.size), fill, target)
    for block in operator.blocks:
        source = context.pointer(operator.inputs[block.source])
        lines += statement(
            context.kernel(f"copy_{SUFFIX[dtype]}"),
            walk(block.sizes, block.steps, block.target_steps, context),
            f"{source} + {block.start}" if block.start else source,
            f"{target} + {block.target}" if block.target else target,
        )
    return lines


@call.register
def _(operator: moves.Take, context: Context) -> list[str]:
    return statement(
        context.kernel(f"take_{SUFFIX[context.dtype(operator.output)]}"),
        *map(str, (*operator.sizes, len(operator.indices))),
        context.constant(operator.indices, "int32"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: moves.Interpolate, context: Context) -> list[str]:
    dtype = context.dtype(operator.output)
    return statement(
        context.kernel(f"linear_{SUFFIX[dtype]}"),
        *map(str, (*operator.sizes, len(operator.low))),
        context.constant(operator.low, "int32"),
        context.constant(operator.high, "int32"),
        context.constant(operator.weights, "float32" if dtype == "float32" else "int32"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )


@call.register
def _(operator: moves.Resample, context: Context) -> list[str]:
    dtype = context.dtype(operator.output)
    return statement(
        context.kernel(f"resample_{SUFFIX[dtype]}"),
        *map(str, (*operator.sizes, *operator.indices.shape)),
        context.constant(operator.indices, "int32"),
        context.constant(operator.weights, "float32" if dtype == "float32" else "int32"),
        *context.inputs(operator),
        context.pointer(operator.output),
    )
