"""Operators as calls of kernels that are generated for their sizes and schedule."""

from __future__ import annotations

from dataclasses import replace

from compiler_core.units.cpu.c.arithmetic.packing import pack_groups
from compiler_core.units.cpu.c.emit.calls import sum_record
from compiler_core.units.cpu.c.emit.context import Context
from compiler_core.units.cpu.c.emit.every_call import call_of
from compiler_core.units.cpu.c.emit.fixed import fixed, kernel_call, statement
from compiler_core.units.cpu.c.emit.library_calls import library_call
from compiler_core.units.cpu.c.network import Operator
from compiler_core.units.cpu.c.operators.pointwise import Sum
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense, MatrixProduct
from compiler_core.units.cpu.c.plan.packing import aligned
from compiler_core.units.cpu.c.schedules.blocks import block_kernel
from compiler_core.units.cpu.c.schedules.depthwise import deep_scales, depthwise_kernel
from compiler_core.units.cpu.c.schedules.products import product_kernel
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule
from compiler_core.units.cpu.c.schedules.shapes import (
    is_deep,
    kernel_weights,
    patch_bytes,
    patch_dtype,
    product_sizes,
    shape_of,
    stored_scales,
)


def scheduled_call(operator: Operator, schedule: KernelSchedule, context: Context) -> list[str]:
    """The lines of C that run an operator by a schedule that is legal for it."""
    if schedule.unit.is_library:
        return library_call(operator, schedule, context)
    if isinstance(operator, Sum) and schedule.unit == "mve" and _is_flat(operator, context):
        return kernel_call(
            context,
            "add_lanes",
            *fixed(context.size(operator.output)),
            sum_record(operator, context),
            *context.inputs(operator),
            context.pointer(operator.output),
        )
    if isinstance(operator, MatrixProduct) and schedule.unit.has_blocks:
        return _product_call(operator, schedule, context)
    if not isinstance(operator, Convolution | Dense):
        return call_of(operator, context)
    source = context.network.values[operator.inputs[0]]
    if schedule.unpacked:
        return _unpacked_call(operator, schedule, context)
    if schedule.unit == "portable":
        return call_of(operator, context)
    shape = shape_of(operator, source)
    arguments: list[str] = []
    if isinstance(operator, Convolution) and operator.depthwise:
        kernel = depthwise_kernel(shape, schedule)
        if is_deep(shape, schedule):
            single = replace(schedule, outputs=1)
            scales = deep_scales(stored_scales(operator, single, folded=True))
        else:
            scales = stored_scales(operator, schedule, folded=False)
    else:
        kernel = block_kernel(shape, schedule)
        scales = stored_scales(operator, schedule, folded=True)
        arguments = [context.scratch(patch_dtype(shape, schedule))]
    weights = kernel_weights(operator, source, schedule)
    for name in kernel.needs:
        context.kernel(name)
    return statement(
        context.function(kernel.text),
        *([context.given(kernel.given)] if kernel.given else []),
        context.weights(weights),
        context.constant(scales, "int32"),
        *context.inputs(operator),
        context.pointer(operator.output),
        *arguments,
    )


def _product_call(operator: MatrixProduct, schedule: KernelSchedule, context: Context) -> list[str]:
    """The lines that multiply two activations."""
    values = (context.network.values[name] for name in operator.inputs)
    kernel = product_kernel(operator, product_sizes(*values), schedule)
    for name in kernel.needs:
        context.kernel(name)
    return statement(
        context.function(kernel.text),
        context.given(kernel.given),
        *context.inputs(operator),
        context.pointer(operator.output),
        context.scratch("uint32" if schedule.unit == "dsp" else "int8"),
    )


def _unpacked_call(
    operator: Convolution | Dense, schedule: KernelSchedule, context: Context
) -> list[str]:
    """The lines that unpack weights of 4 bits into the arena, and run the operator as one of 8."""
    source = context.network.values[operator.inputs[0]]
    as_bytes = replace(operator, bits=8)
    weights = kernel_weights(as_bytes, source, schedule)
    behind = aligned(patch_bytes(as_bytes, source, schedule))
    unpack = kernel_call(
        context,
        "unpack_s4",
        *fixed(-(-weights.size // 8)),
        context.constant(pack_groups(weights), "uint8"),
        context.scratch("int8", behind),
    )
    with context.unpacked(context.scratch("int8", behind)):
        return [*unpack, *scheduled_call(as_bytes, replace(schedule, unpacked=False), context)]


def _is_flat(operator: Sum, context: Context) -> bool:
    """Whether nothing is repeated, and all of it is of 8 bits."""
    names = (*operator.inputs, operator.output)
    sizes = {context.size(name) for name in names}
    return len(sizes) == 1 and all(context.dtype(name) == "int8" for name in names)
