"""Operators as calls of kernels that are generated for their sizes and schedule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler_core.units.cpu.c.emit.calls import statement, sum_fields
from compiler_core.units.cpu.c.emit.context import Context
from compiler_core.units.cpu.c.emit.real_calls import call_of
from compiler_core.units.cpu.c.network import Operator
from compiler_core.units.cpu.c.operators.pointwise import Sum
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense
from compiler_core.units.cpu.c.schedules.blocks import block_kernel
from compiler_core.units.cpu.c.schedules.depthwise import (
    deep_scales,
    deep_weights,
    depthwise_kernel,
    is_deep,
)
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule
from compiler_core.units.cpu.c.schedules.shapes import shape_of, stored_scales, stored_weights


def scheduled_call(operator: Operator, schedule: KernelSchedule, context: Context) -> list[str]:
    """The lines of C that run an operator by a schedule that is legal for it."""
    if isinstance(operator, Sum) and schedule.unit == "mve" and _is_flat(operator, context):
        return statement(
            context.kernel("add_lanes"),
            str(context.size(operator.output)),
            context.structure("nt_sum", sum_fields(operator)),
            *context.inputs(operator),
            context.pointer(operator.output),
        )
    if schedule.unit == "portable" or not isinstance(operator, Convolution | Dense):
        return call_of(operator, context)
    source = context.network.values[operator.inputs[0]]
    shape = shape_of(operator, source)
    arguments: list[str] = []
    if isinstance(operator, Convolution) and operator.depthwise:
        needs, text = depthwise_kernel(shape, schedule)
        rows = operator.weights.reshape(shape.outputs, -1)
        weights = np.ascontiguousarray(rows.T)
        if is_deep(shape, schedule):
            weights = deep_weights(rows)
            single = replace(schedule, outputs=1)
            scales = deep_scales(stored_scales(operator, single, folded=True))
        else:
            scales = stored_scales(operator, schedule, folded=False)
    else:
        needs, text = block_kernel(shape, schedule)
        weights = stored_weights(operator, shape, schedule)
        scales = stored_scales(operator, schedule, folded=True)
        arguments = [context.scratch("int8" if schedule.unit == "mve" else "int16")]
    for name in needs:
        context.kernel(name)
    return statement(
        context.function(text),
        context.constant(weights, "int8"),
        context.constant(scales, "int32"),
        *context.inputs(operator),
        context.pointer(operator.output),
        *arguments,
    )


def _is_flat(operator: Sum, context: Context) -> bool:
    """Whether nothing is repeated."""
    sizes = {context.size(name) for name in (*operator.inputs, operator.output)}
    return len(sizes) == 1
