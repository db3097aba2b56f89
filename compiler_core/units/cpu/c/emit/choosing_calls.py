"""Operators of whole numbers and of trees as calls of portable kernels."""

from __future__ import annotations

from compiler_core.units.cpu.c.emit.calls import broadcast, call
from compiler_core.units.cpu.c.emit.context import Context
from compiler_core.units.cpu.c.emit.fixed import Argument, fixed, kernel_call
from compiler_core.units.cpu.c.emit.text import SUFFIX, number
from compiler_core.units.cpu.c.network import Operator
from compiler_core.units.cpu.c.operators import choosing
from compiler_core.units.cpu.c.operators.coupling import Coupling
from compiler_core.units.cpu.c.operators.sampling import PADDINGS, GridSample
from compiler_core.units.cpu.c.operators.trees import Trees


def _called(operator: Operator, context: Context, name: str, *arguments: Argument) -> list[str]:
    """A kernel whose last arguments are the operator's inputs and its output."""
    pointers = (*context.inputs(operator), context.pointer(operator.output))
    return kernel_call(context, name, *arguments, *pointers)


@call.register
def _(operator: choosing.LargestPlaces, context: Context) -> list[str]:
    suffix = SUFFIX[context.dtype(operator.inputs[0])]
    numbers = (*operator.sizes, operator.number, int(operator.least), int(operator.last))
    return _called(operator, context, f"places_{suffix}", *fixed(*numbers))


@call.register
def _(operator: choosing.Pick, context: Context) -> list[str]:
    suffix = SUFFIX[context.dtype(operator.output)]
    return _called(operator, context, f"pick_{suffix}", *fixed(*operator.sizes, operator.number))


@call.register
def _(operator: choosing.Lookup, context: Context) -> list[str]:
    suffix = SUFFIX[context.dtype(operator.output)]
    return _called(operator, context, f"lookup_{suffix}", *fixed(*operator.sizes, operator.number))


@call.register
def _(operator: choosing.ScatterRows, context: Context) -> list[str]:
    way = choosing.SCATTERED.index(operator.way)
    sizes = fixed(*operator.sizes, operator.number, way)
    return _called(
        operator, context, f"scatter_rows_{SUFFIX[context.dtype(operator.output)]}", *sizes
    )


@call.register
def _(operator: choosing.OneHot, context: Context) -> list[str]:
    dtype = context.dtype(operator.output)
    sizes = fixed(context.size(operator.inputs[0]), operator.depth)
    ends = (number(operator.off, dtype), number(operator.on, dtype))
    return _called(operator, context, f"one_hot_{SUFFIX[dtype]}", *sizes, *ends)


@call.register
def _(operator: choosing.ElementComparison, context: Context) -> list[str]:
    suffix = SUFFIX[context.dtype(operator.inputs[0])]
    walk = broadcast(operator, context)
    return _called(operator, context, f"truth_{operator.function}_{suffix}", walk)


@call.register
def _(operator: choosing.Select, context: Context) -> list[str]:
    name = f"select_{SUFFIX[context.dtype(operator.output)]}"
    return _called(operator, context, name, *fixed(context.size(operator.output)))


@call.register
def _(operator: choosing.Whole, context: Context) -> list[str]:
    name = f"whole_{SUFFIX[context.dtype(operator.inputs[0])]}"
    count = fixed(context.size(operator.output))
    return _called(operator, context, name, *count, str(operator.zero_point))


@call.register
def _(operator: choosing.Running, context: Context) -> list[str]:
    ways = (int(operator.exclusive), int(operator.reverse))
    return _called(
        operator,
        context,
        f"running_{'product' if operator.product else 'sum'}",
        *fixed(*operator.sizes, *ways),
    )


@call.register
def _(operator: Coupling, context: Context) -> list[str]:
    rows = context.size(operator.output) // operator.classes
    return _called(operator, context, "couple", *fixed(rows, operator.classes))


@call.register
def _(operator: GridSample, context: Context) -> list[str]:
    padding = PADDINGS.index(operator.padding)
    ways = (operator.points, operator.axes, operator.taps, padding, int(operator.align))
    return _called(operator, context, "grid_sample", *fixed(*operator.sizes, *ways))


@call.register
def _(operator: Trees, context: Context) -> list[str]:
    rows, width = context.shape(operator.inputs[0])
    name = f"trees_{operator.test.removeprefix('BRANCH_').lower()}"
    return _called(
        operator,
        context,
        name,
        *fixed(rows, width, len(operator.base), len(operator.roots)),
        context.constant(operator.roots, "int32"),
        context.constant(operator.columns, "int16"),
        context.constant(operator.values, "float32"),
        context.constant(operator.jumps, "int16"),
        context.constant(operator.base, "float32"),
    )
