"""Arithmetic of whole numbers as calls of portable kernels."""

from __future__ import annotations

from compiler_core.units.cpu.c.emit.calls import broadcast, call
from compiler_core.units.cpu.c.emit.context import Context
from compiler_core.units.cpu.c.emit.fixed import Fixed, fixed, kernel_call
from compiler_core.units.cpu.c.emit.text import SUFFIX
from compiler_core.units.cpu.c.operators import whole


def _function(name: str) -> Fixed:
    return Fixed(f"NT_{name.upper()}")


@call.register
def _(operator: whole.WholePair, context: Context) -> list[str]:
    walk = broadcast(operator, context)
    pointers = (*context.inputs(operator), context.pointer(operator.output))
    return kernel_call(context, "whole_pair", walk, _function(operator.function), *pointers)


@call.register
def _(operator: whole.Wrap, context: Context) -> list[str]:
    numbers = context.size(operator.output), (1 << operator.bits) - 1, operator.low, operator.base
    name = f"wrap_{SUFFIX[context.dtype(operator.output)]}"
    pointers = (*context.inputs(operator), context.pointer(operator.output))
    return kernel_call(context, name, *fixed(*numbers), *pointers)


@call.register
def _(operator: whole.WholeFold, context: Context) -> list[str]:
    ways = (int(operator.running), int(operator.exclusive), int(operator.reverse))
    return kernel_call(
        context,
        "whole_fold",
        *fixed(*operator.sizes),
        _function(operator.function),
        *fixed(*ways),
        *context.inputs(operator),
        context.pointer(operator.output),
    )
