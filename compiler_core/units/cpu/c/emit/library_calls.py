"""Operators as calls of CMSIS-NN, each in a function of its own with its sizes."""

from __future__ import annotations

import numpy as np

from compiler_core.errors import InternalError
from compiler_core.units.cpu.c.arithmetic.packing import pack_int4
from compiler_core.units.cpu.c.emit.calls import image_sizes
from compiler_core.units.cpu.c.emit.context import Context
from compiler_core.units.cpu.c.emit.fixed import statement
from compiler_core.units.cpu.c.network import Array, Operator
from compiler_core.units.cpu.c.operators.pointwise import Pool, Product, Softmax, Sum
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense
from compiler_core.units.cpu.c.schedules.library import library_scratch
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule, KernelUnit
from compiler_core.units.cpu.c.schedules.shapes import KernelShape, shape_of

_WEIGHTED = (
    "static void @(const int8_t *weights, const int32_t *bias, const int32_t *multiplier,",
    "              const int32_t *shift, const int8_t *x, int8_t *y, void *buffer) {",
)
_SCALING = "(int32_t *)multiplier, (int32_t *)shift"
"""The library's structures have no ``const``; it does not write there."""


def library_call(operator: Operator, schedule: KernelSchedule, context: Context) -> list[str]:
    """The lines of C that run an operator by the library.

    Raises:
        InternalError: The library has none of the kind.
    """
    context.library = True
    source = context.network.values[operator.inputs[0]]
    size = library_scratch(operator, source, schedule.unit)
    buffer = [context.scratch("int8")] if size else []
    if isinstance(operator, Convolution | Dense):
        return _weighted_call(operator, schedule, context, size, buffer)
    text = _plain_text(operator, context, size)
    places = [*context.inputs(operator), context.pointer(operator.output)]
    return statement(context.function(text), *places, *buffer)


def _weighted_call(
    operator: Convolution | Dense,
    schedule: KernelSchedule,
    context: Context,
    size: int,
    buffer: list[str],
) -> list[str]:
    shape = shape_of(operator, context.network.values[operator.inputs[0]])
    if isinstance(operator, Dense) and operator.bits == 8:
        text = _dense_text(shape, sums=schedule.unit is KernelUnit.LIBRARY_MVE)
        if schedule.unit is KernelUnit.LIBRARY_MVE:
            sums = operator.weights.astype(np.int64).sum(axis=1) * operator.offset
            buffer = [context.constant(operator.bias + sums, "int32")]
        buffer = buffer or ["0"]
    elif isinstance(operator, Convolution) and operator.depthwise:
        text = _depthwise_text(shape, operator.bits, size)
    else:
        text = _convolution_text(shape, operator.bits, size)
    outputs = len(operator.weights)
    scaling = operator.scaling
    factors = [np.broadcast_to(a, outputs) for a in (scaling.multiplier, scaling.shift)]
    return statement(
        context.function(text),
        context.constant(_stored(operator), "int8"),
        context.constant(operator.bias, "int32"),
        *(context.constant(array, "int32") for array in factors),
        *context.inputs(operator),
        context.pointer(operator.output),
        *(f"(void *){item}" if item != "0" else item for item in buffer),
    )


def _stored(operator: Convolution | Dense) -> Array:
    """Weights in the library's order; two per byte where they have 4 bits."""
    weights = operator.weights
    if isinstance(operator, Convolution) and operator.depthwise:
        weights = np.ascontiguousarray(weights[..., 0].transpose(1, 2, 0))
    return pack_int4(weights).view(np.int8) if operator.bits == 4 else weights


def _swapped(pair: tuple[int, int]) -> str:
    """Rows and columns as the library has them: columns first."""
    return f"{{{pair[1]}, {pair[0]}}}"


def _dims(*sizes: int) -> str:
    return "{" + ", ".join(map(str, sizes)) + "}"


def _window(shape: KernelShape) -> str:
    """Stride, padding, dilation and clamp."""
    pairs = (shape.stride, shape.pad, shape.dilation)
    return ", ".join((*map(_swapped, pairs), f"{{{shape.low}, {shape.high}}}"))


def _text(head: tuple[str, ...], lines: list[str]) -> str:
    return "\n".join([*head, *(f"  {line}" for line in lines), "}", ""])


def _convolution_text(shape: KernelShape, bits: int, size: int) -> str:
    kind = f"arm_convolve_wrapper_s{bits}"
    lines = [
        f"const cmsis_nn_context context = {{buffer, {size}}};",
        f"const cmsis_nn_conv_params window = {{{-shape.zero}, {shape.offset}, {_window(shape)}}};",
        *_weighted_lines(shape, _dims(shape.outputs, *shape.kernel, shape.sizes[3])),
        f"(void){kind}(&context, &window, &scaling, &input, x, &filter, weights, &biases, bias, "
        "&output, y);",
    ]
    return _text(_WEIGHTED, lines)


def _depthwise_text(shape: KernelShape, bits: int, size: int) -> str:
    kind = f"arm_depthwise_conv_wrapper_s{bits}"
    each = shape.outputs // shape.sizes[3]
    lines = [
        f"const cmsis_nn_context context = {{buffer, {size}}};",
        f"const cmsis_nn_dw_conv_params window = {{{-shape.zero}, {shape.offset}, {each}, "
        f"{_window(shape)}}};",
        *_weighted_lines(shape, _dims(1, *shape.kernel, shape.outputs)),
        f"(void){kind}(&context, &window, &scaling, &input, x, &filter, weights, &biases, bias, "
        "&output, y);",
    ]
    return _text(_WEIGHTED, lines)


def _weighted_lines(shape: KernelShape, filters: str) -> list[str]:
    output = _dims(shape.sizes[0], *shape.output, shape.outputs)
    return [
        f"const cmsis_nn_per_channel_quant_params scaling = {{{_SCALING}}};",
        f"const cmsis_nn_dims input = {_dims(*shape.sizes)}, filter = {filters};",
        f"const cmsis_nn_dims biases = {_dims(1, 1, 1, shape.outputs)}, output = {output};",
    ]


def _dense_text(shape: KernelShape, *, sums: bool) -> str:
    rows, depth = shape.output[1], shape.sizes[3]
    lines = [
        f"const cmsis_nn_context context = {{buffer, {4 * shape.outputs if sums else 0}}};",
        f"const cmsis_nn_fc_params clamp = {{{-shape.zero}, 0, {shape.offset}, "
        f"{{{shape.low}, {shape.high}}}}};",
        f"const cmsis_nn_quant_params scaling = {{{_SCALING}, 1}};",
        f"const cmsis_nn_dims input = {_dims(rows, 1, 1, depth)}, "
        f"filter = {_dims(depth, 1, 1, shape.outputs)};",
        f"const cmsis_nn_dims biases = {_dims(1, 1, 1, shape.outputs)}, "
        f"output = {_dims(rows, 1, 1, shape.outputs)};",
        "(void)arm_fully_connected_wrapper_s8(&context, &clamp, &scaling, &input, x, &filter, "
        "weights, &biases, bias, &output, y);",
    ]
    return _text(_WEIGHTED, lines)


def _plain_text(operator: Operator, context: Context, size: int) -> str:
    """The function of an operator without weights.

    Raises:
        InternalError: See :func:`library_call`.
    """
    count = context.size(operator.output)
    if isinstance(operator, Pool):
        return _pool_text(operator, context, size)
    one = ("static void @(const int8_t *x, int8_t *y) {",)
    two = ("static void @(const int8_t *a, const int8_t *b, int8_t *y) {",)
    if isinstance(operator, Softmax):
        rows, each, _ = operator.sizes
        f = operator.factors
        numbers = f"{rows}, {each}, {f.multiplier}, {f.shift}, {f.least}"
        return _text(one, [f"arm_softmax_s8(x, {numbers}, y);"])
    if isinstance(operator, Product):
        r = operator.result
        offsets = ", ".join(map(str, operator.offsets))
        last = f"{r.offset}, {r.multiplier}, {r.shift}, {r.low}, {r.high}, {count}"
        return _text(two, [f"(void)arm_elementwise_mul_s8(a, b, {offsets}, y, {last});"])
    if isinstance(operator, Sum):
        r = operator.result
        added = ", ".join(f"{a.offset}, {a.multiplier}, {a.shift}" for a in operator.addends)
        last = f"{r.offset}, {r.multiplier}, {r.shift}, {r.low}, {r.high}, {count}"
        return _text(two, [f"(void)arm_elementwise_add_s8(a, b, {added}, 20, y, {last});"])
    raise InternalError(f"{type(operator).__name__} has no call of the library")


def _pool_text(operator: Pool, context: Context, size: int) -> str:
    sizes, window = image_sizes(context.shape(operator.inputs[0])), operator.sliding
    head = "static void @(const int8_t *x, int8_t *y"
    lines = [
        f"const cmsis_nn_context context = {{{'buffer' if size else 0}, {size}}};",
        f"const cmsis_nn_pool_params window = {{{_swapped(window.stride)}, "
        f"{_swapped(window.pad)}, {{{operator.low}, {operator.high}}}}};",
        f"const cmsis_nn_dims input = {_dims(*sizes)}, "
        f"filter = {_dims(1, *window.kernel, 1)}, "
        f"output = {_dims(sizes[0], *window.output, sizes[3])};",
        f"(void){'arm_avgpool_s8' if operator.mean else 'arm_max_pool_s8'}(&context, &window, "
        "&input, x, &filter, &output, y);",
    ]
    return _text((f"{head}{', void *buffer' if size else ''}) {{",), lines)
