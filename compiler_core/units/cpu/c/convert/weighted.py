"""Handlers of operators with weights: convolutions, dense layers, matrix products."""

from __future__ import annotations

from dataclasses import replace
from math import inf, prod

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.graph.windows import NodeWindow, window_of
from compiler_core.units.cpu.c.arithmetic.fixed_point import quantized_factor
from compiler_core.units.cpu.c.arithmetic.weighted import Sliding, WeightedRequantization
from compiler_core.units.cpu.c.convert.builder import (
    PlacedValue,
    Refusal,
    channels_last,
    finite,
)
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.convert.weights import MOST_WIDE_SHIFT, clamp, integer_weights
from compiler_core.units.cpu.c.network import FLOAT, Array, Type, Value
from compiler_core.units.cpu.c.operators.moves import Block, Copy, row_steps
from compiler_core.units.cpu.c.operators.real import RealConvolution, RealDense, RealProduct
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense, MatrixProduct

_MOST_PRODUCTS = 65_000
"""Products of two int8 with offsets that a sum of 32 bits holds in any case."""

_MOST_WIDE_PRODUCTS = 1 << 16
"""Products of two int16 whose sum times a multiplier of 16 bits 64 bits hold in any case."""


def sliding_of(window: NodeWindow, output: tuple[int, int]) -> Sliding:
    """A window as the kernels take it."""
    return Sliding(window.kernel, window.strides, window.dilations, window.pads[:2], output)


def window(sources: TensorReader, node: Node) -> Sliding:
    """The window of a node.

    Raises:
        Refusal: It is not one of one or two dimensions.
    """
    found = window_of(sources.builder.graph, node)
    if found is None:
        raise Refusal("its window is not one of one or two fixed dimensions")
    if min(found.pads) < 0:
        raise Refusal(f"its pads {found.pads} are negative")
    shape = sources.builder.shape(node.output)
    rows, columns = (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])
    return sliding_of(found, (rows, columns))


def _bias(sources: TensorReader, node: Node, position: int, outputs: int) -> Array | None:
    if len(node.inputs) <= position or not node.inputs[position]:
        return None
    name = node.inputs[position]
    found = finite(sources.builder.constant(name), f"the bias {name!r}")
    if found.size not in (1, outputs):
        raise Refusal(f"its bias has {found.size} numbers; it has {outputs} channels")
    return np.broadcast_to(found.ravel(), (outputs,)).copy()


def limits(node: Node) -> tuple[float, float]:
    """The clamp of real results."""
    return node.clip if node.clip is not None else (-inf, inf)


def _dtype(sources: TensorReader, node: Node) -> str:
    """The integers of the activations that a node reads and writes."""
    return "int16" if node.name in sources.builder.options.int16_layers else "int8"


def _image(
    sources: TensorReader, node: Node, axes: tuple[int, ...], *, is_float: bool
) -> PlacedValue:
    """The input of a node in the type that it computes in."""
    if is_float:
        return sources.real(node.inputs[0], axes)
    return sources.integer(node.inputs[0], axes, _dtype(sources, node))


def convolution(sources: TensorReader, node: Node, *, is_float: bool) -> None:
    """Conv of one or two dimensions, of any number of groups."""
    builder = sources.builder
    weight = finite(builder.constant(node.inputs[1]), f"the weight {node.inputs[1]!r}")
    sliding = window(sources, node)
    axes = channels_last(weight.ndim)
    groups = int(node.attributes.get("group", 1))
    full = weight.reshape(*weight.shape[:2], *sliding.kernel).transpose(0, 2, 3, 1)
    bias = _bias(sources, node, 2, len(weight))
    source = _image(sources, node, axes, is_float=is_float)
    if len(weight) % groups or source.value.shape[-1] != full.shape[3] * groups:
        raise Refusal(f"its weight of shape {weight.shape} does not fit {groups} groups")
    place_convolution(sources, node, source.value, full, bias, sliding, groups, is_float=is_float)


def place_convolution(
    sources: TensorReader,
    node: Node,
    source: Value,
    weight: Array,
    bias: Array | None,
    sliding: Sliding,
    groups: int,
    *,
    is_float: bool,
) -> None:
    """Adds a convolution with weights ``[O, kh, kw, C / groups]`` that writes the node's output."""
    builder = sources.builder
    axes = channels_last(len(builder.shape(node.output)))
    if is_float:
        place = builder.place(node.output, axes, FLOAT)
        zeros = np.zeros(len(weight), np.float32)
        builder.add(
            RealConvolution(
                node.name,
                (source.name,),
                place.value.name,
                np.ascontiguousarray(weight),
                zeros if bias is None else bias,
                sliding,
                groups,
                *limits(node),
            )
        )
        return
    kind = builder.type_of(node.output, _dtype(sources, node))
    bits = builder.options.weight_bits.get(node.name, 8)
    method = builder.options.weight_range
    numbers = integer_weights(weight, bias, bits, source.type, kind, node.clip, method)
    place = builder.place(node.output, axes, kind)
    builder.add(
        Convolution(
            node.name,
            (source.name,),
            place.value.name,
            numbers.weights,
            numbers.bias,
            sliding,
            groups,
            -source.type.zero_point,
            numbers.scaling,
            bits,
        )
    )


def transposed_convolution(sources: TensorReader, node: Node, *, is_float: bool) -> None:
    """ConvTranspose: the input with zeros between, then a convolution with turned weights."""
    builder = sources.builder
    weight = finite(builder.constant(node.inputs[1]), f"the weight {node.inputs[1]!r}")
    if weight.ndim not in (3, 4):
        raise Refusal(f"it has {weight.ndim - 2} dimensions; one and two are supported")
    spatial = weight.ndim - 2
    groups = int(node.attributes.get("group", 1))
    own, each = weight.shape[0] // groups, weight.shape[1]
    kernel = (1,) * (2 - spatial) + weight.shape[2:]
    strides, dilations = (
        (1,) * (2 - spatial) + tuple(node.attributes.get(key) or (1,) * spatial)
        for key in ("strides", "dilations")
    )
    axes = channels_last(weight.ndim)
    source = _image(sources, node, axes, is_float=is_float)
    shape = builder.shape(node.output)
    output = (1,) * (2 - spatial) + shape[2:]
    begins = _transposed_pads(node, source.value, spatial, kernel, strides, dilations, output)
    pads = tuple((k - 1) * d - p for k, d, p in zip(kernel, dilations, begins, strict=True))
    if min(pads) < 0:
        raise Refusal("it pads more than its kernel reaches")
    spread = _spread(sources, node, source.value, strides)
    turned = weight.reshape(groups, own, each, *kernel)[..., ::-1, ::-1]
    full = turned.transpose(0, 2, 3, 4, 1).reshape(groups * each, *kernel, own)
    sliding = Sliding(kernel, (1, 1), dilations, pads, output)  # type: ignore[arg-type]
    bias = _bias(sources, node, 2, groups * each)
    place_convolution(sources, node, spread, full, bias, sliding, groups, is_float=is_float)


def _transposed_pads(
    node: Node,
    source: Value,
    spatial: int,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    output: tuple[int, ...],
) -> list[int]:
    mode = node.text("auto_pad", "NOTSET")
    if "output_shape" not in node.attributes and mode in ("NOTSET", "VALID"):
        pads = tuple(node.attributes.get("pads") or (0,) * 2 * spatial)
        return [0] * (2 - spatial) + [int(pad) for pad in pads[:spatial]]
    sizes = (1,) * (2 - spatial) + source.shape[1:-1]
    extra = node.attributes.get("output_padding") or (0,) * spatial
    extra = (0,) * (2 - spatial) + tuple(extra)
    totals = [
        max(0, s * (n - 1) + e + (k - 1) * d + 1 - o)
        for s, n, e, k, d, o in zip(strides, sizes, extra, kernel, dilations, output, strict=True)
    ]
    return [total - total // 2 if mode == "SAME_LOWER" else total // 2 for total in totals]


def _spread(sources: TensorReader, node: Node, source: Value, strides: tuple[int, ...]) -> Value:
    """The input with ``stride - 1`` zeros between its rows and columns."""
    if max(strides) == 1:
        return source
    builder = sources.builder
    steps = strides[2 - (len(source.shape) - 2) :]
    sizes = [(n - 1) * s + 1 for n, s in zip(source.shape[1:-1], steps, strict=True)]
    shape = (source.shape[0], *sizes, source.shape[-1])
    value = builder.value(source.source, shape, source.type)
    target = row_steps(shape)
    apart = (target[0], *(t * s for t, s in zip(target[1:-1], steps, strict=True)), target[-1])
    block = Block(0, 0, 0, source.shape, row_steps(source.shape), apart).simplified()
    zero = float(source.type.zero_point)
    builder.add(Copy(node.name, (source.name,), value.name, value.size, (block,), zero))
    return value


def dense(sources: TensorReader, node: Node, *, is_float: bool) -> None:
    """Dense and MatMul with constant weights, Gemm."""
    builder = sources.builder
    if node.inputs[1] not in builder.graph.constants:
        if node.op != "MatMul":
            raise Refusal("its weights are not constant")
        return matrix_product(sources, node, is_float=is_float)
    weight = finite(builder.constant(node.inputs[1]), f"the weight {node.inputs[1]!r}")
    if weight.ndim != 2 or node.inputs[0] in builder.graph.constants:
        if node.op != "MatMul":
            raise Refusal("its weights are no matrix")
        return matrix_product(sources, node, is_float=is_float)
    if node.op == "Gemm":
        if node.attributes.get("transA"):
            raise Refusal("its input is transposed")
        weight = weight.T if node.attributes.get("transB") else weight
        weight = weight * np.float32(node.attributes.get("alpha", 1.0))
    rows = np.ascontiguousarray(weight.T)
    bias = _bias(sources, node, 2, len(rows))
    if bias is not None and node.op == "Gemm":
        bias = bias * np.float32(node.attributes.get("beta", 1.0))
    axes = tuple(range(len(builder.shape(node.inputs[0]))))
    result = tuple(range(len(builder.shape(node.output))))
    if is_float:
        source = sources.real(node.inputs[0], axes)
        place = builder.place(node.output, result, FLOAT)
        zeros = np.zeros(len(rows), np.float32)
        known = rows, zeros if bias is None else bias
        builder.add(
            RealDense(node.name, (source.value.name,), place.value.name, *known, *limits(node))
        )
        return None
    source = sources.integer(node.inputs[0], axes, _dtype(sources, node))
    kind = builder.type_of(node.output, _dtype(sources, node))
    bits = builder.options.weight_bits.get(node.name, 8)
    method = builder.options.weight_range
    numbers = integer_weights(rows, bias, bits, source.value.type, kind, node.clip, method)
    place = builder.place(node.output, result, kind)
    builder.add(
        Dense(
            node.name,
            (source.value.name,),
            place.value.name,
            numbers.weights,
            numbers.bias,
            -source.value.type.zero_point,
            numbers.scaling,
            bits,
        )
    )
    return None


def matrix_product(sources: TensorReader, node: Node, *, is_float: bool) -> None:
    """MatMul of two computed tensors, or with a constant that is no matrix."""
    builder = sources.builder
    shapes = [builder.shape(name) for name in node.inputs]
    if min(map(len, shapes)) < 2:
        raise Refusal("an operand is a vector")
    rank = max(map(len, shapes))
    axes = tuple(range(rank))
    dtype = FLOAT.dtype if is_float else sources.common_dtype(node.inputs)
    operands = [sources.broadcast(name, rank, axes, dtype) for name in node.inputs]
    lead = np.broadcast_shapes(*(value.shape[:-2] for value in operands))
    operands = [_expanded(sources, node, value, lead) for value in operands]
    batch = prod(lead)
    first, second = (builder.viewed(value, (batch, *value.shape[-2:])) for value in operands)
    shape = (batch, first.shape[1], second.shape[2])
    kind = FLOAT if is_float else builder.type_of(node.output, dtype)
    product = builder.value(node.output, shape, kind)
    names = (first.name, second.name)
    if is_float:
        builder.add(RealProduct(node.name, names, product.name, *limits(node)))
    else:
        scaling = _product_scaling(first, second, kind, node.clip)
        offsets = (-first.type.zero_point, -second.type.zero_point)
        builder.add(MatrixProduct(node.name, names, product.name, offsets, scaling))
    value = builder.viewed(product, builder.shape(node.output))
    place = PlacedValue(replace(value), tuple(range(len(value.shape))))
    builder.places.setdefault(node.output, []).append(place)


def _product_scaling(
    first: Value, second: Value, kind: Type, clip: tuple[float, float] | None
) -> WeightedRequantization:
    """From sums of products of two activations to the integers of the result.

    Raises:
        Refusal: Sums may exceed their bits, or the factor is too large.
    """
    wide = kind.dtype == "int16"
    most = _MOST_WIDE_PRODUCTS if wide else _MOST_PRODUCTS // 2
    if first.shape[2] > most:
        raise Refusal(f"sums of {first.shape[2]} products may exceed {47 if wide else 32} bits")
    multiplier, shift = quantized_factor(first.type.scale * second.type.scale / kind.scale)
    if wide and shift > MOST_WIDE_SHIFT:
        raise Refusal(f"it is scaled by 2**{MOST_WIDE_SHIFT} and more")
    low, high = clamp(kind, clip)
    numbers = np.array(multiplier, np.int64), np.array(shift, np.int64)
    return WeightedRequantization(*numbers, kind.zero_point, low, high, wide)


def _expanded(sources: TensorReader, node: Node, value: Value, lead: tuple[int, ...]) -> Value:
    """A value with its leading axes repeated."""
    if value.shape[:-2] == lead:
        return value
    builder = sources.builder
    shape = (*lead, *value.shape[-2:])
    found = builder.value(value.source, shape, value.type)
    steps = tuple(
        0 if own == 1 else step
        for own, step in zip(value.shape, row_steps(value.shape), strict=True)
    )
    block = Block(0, 0, 0, shape, steps, row_steps(shape)).simplified()
    builder.add(Copy(node.name, (value.name,), found.name, found.size, (block,), None))
    return found
