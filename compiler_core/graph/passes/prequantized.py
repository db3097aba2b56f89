"""Models that are quantized already become float models again, to be quantized for the target.

A quantized model is a float model that rounds: QuantizeLinear and DequantizeLinear around its
operators, or operators of their own on integers. What is rounded is taken apart here: weights are
dequantized, roundings of activations go, and of their saturation stays what is meant, the clamp of
a zero point at the end of its range (a fused Relu). Calibration then finds scales that the target
can execute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.passes.dynamic_sources import dynamic_source
from compiler_core.graph.passes.meant_clamps import (
    clamp_node,
    has_uneven_ranges,
    integer_limits,
    meant_clamp,
)
from compiler_core.graph.passes.rewriter import FLOATS, Rewriter, is_op
from compiler_core.graph.passes.rounded_bias import rounded_bias, same_product
from compiler_core.graph.passes.runtime_quantization import (
    channels_first,
    is_linear,
    move_before_split,
    type_linear,
)
from compiler_core.graph.passes.signs import is_never_negative

_MICROSOFT = "com.microsoft"
_SAME_VALUES = (
    *("DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Resize"),
    *("Slice", "SpaceToDepth", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
"""Operators whose results are among their first input's values, or between them, whatever these
stand for."""


@dataclass(frozen=True)
class IntegerOperators:
    """QLinear operators become DequantizeLinear, the float operator and QuantizeLinear."""

    name: ClassVar[str] = "integer-operators"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            type_linear(rewriter, node)
            form = _form(node)
            if form is not None and node.attributes.get("channels_last"):
                channels_first(rewriter, node)
            elif form is not None:
                _take_apart(rewriter, node, form)
            elif is_op(node, "MatMulInteger", "ConvInteger"):
                _from_dynamic(rewriter, node)
        return rewriter.finish()


@dataclass(frozen=True)
class QuantizationRemoval:
    """Weights are dequantized; QuantizeLinear and DequantizeLinear around a tensor go."""

    name: ClassVar[str] = "quantization-removal"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        uneven = has_uneven_ranges(rewriter)
        for node in rewriter.nodes():
            if not is_linear(node, "DequantizeLinear"):
                continue
            if rewriter.dtype(node.output) not in FLOATS:
                continue
            if node.inputs[0] in rewriter.constants:
                _dequantize_weight(rewriter, node)
                continue
            producer = rewriter.producer(node.inputs[0])
            if producer is None:
                continue
            if is_linear(producer, "QuantizeLinear") and _equal_steps(rewriter, producer, node):
                _remove_pair(rewriter, producer, node, uneven=uneven)
            elif is_op(producer, "Split"):
                move_before_split(rewriter, producer)
            elif is_op(producer, *_SAME_VALUES) and not _merge_equal(rewriter, node):
                _move_before(rewriter, producer, node)
        return rewriter.finish()


def _dequantize_weight(rewriter: Rewriter, node: Node) -> None:
    value = dequantized(
        rewriter.constants[node.inputs[0]],
        rewriter.constant(node, 1),
        rewriter.constant(node, 2) if len(node.inputs) > 2 and node.inputs[2] else None,
        node.attributes,
        given=len(node.inputs) > 2 and bool(node.inputs[2]),
    )
    if value is not None and not rewriter.pinned(node.output):
        rewriter.bypass(node, rewriter.add_constant(node.output, value))


def dequantized(
    value: npt.NDArray[Any],
    scale: npt.NDArray[Any] | None,
    zero: npt.NDArray[Any] | None,
    attributes: Any,
    *,
    given: bool,
) -> npt.NDArray[Any] | None:
    """``(value - zero) * scale`` per tensor, channel or block; ``None`` where one is computed.

    Args:
        value: Integers (or 8-bit floats) of any shape.
        scale: One, one per index of ``axis``, or one per block along it.
        zero: In the shape of ``scale``; zeros where ``given`` is false.
        attributes: ``axis`` and ``block_size`` of DequantizeLinear.
        given: Whether there is a zero point.
    """
    if scale is None or (given and zero is None) or scale.dtype.name not in FLOATS:
        return None
    parts = [np.asarray(scale), np.zeros_like(scale) if zero is None else np.asarray(zero)]
    if parts[1].size != scale.size or (scale.size > 1 and parts[1].shape != scale.shape):
        return None
    if scale.size == 1:
        parts = [part.reshape(()) for part in parts]
    else:
        axis = int(attributes.get("axis", 1)) % max(value.ndim, 1)
        block = int(attributes.get("block_size", 0))
        if scale.ndim == 1 and not block and value.ndim and len(scale) == value.shape[axis]:
            shape = [-1 if index == axis else 1 for index in range(value.ndim)]
            parts = [part.reshape(shape) for part in parts]
        elif block > 0 and scale.shape == _blocks(value.shape, axis, block):
            parts = [
                np.take(part, np.arange(value.shape[axis]) // block, axis=axis) for part in parts
            ]
        else:
            return None
    real = (value.astype(np.float32) - parts[1].astype(np.float32)) * parts[0].astype(np.float32)
    return np.asarray(real.astype(scale.dtype))


def _blocks(shape: tuple[int, ...], axis: int, block: int) -> tuple[int, ...]:
    return tuple(-(-size // block) if index == axis else size for index, size in enumerate(shape))


def _equal_steps(rewriter: Rewriter, first: Node, second: Node) -> bool:
    """Whether a tensor is dequantized by what it was quantized with."""
    axes = [node.attributes.get("axis", 1) for node in (first, second)]
    for position in (1, 2):
        names = [
            node.inputs[position] if len(node.inputs) > position else "" for node in (first, second)
        ]
        if names[0] == names[1]:
            continue
        values = [rewriter.constants.get(name) for name in names]
        if values[0] is None or values[1] is None or not np.array_equal(values[0], values[1]):
            return False
    scale = rewriter.constant(first, 1)
    same_axis = axes[0] == axes[1] or (scale is not None and scale.size == 1)
    return same_axis and rewriter.dtype(first.inputs[0]) == rewriter.dtype(second.output)


def _remove_pair(rewriter: Rewriter, quantize: Node, dequantize: Node, *, uneven: bool) -> None:
    source = quantize.inputs[0]
    clamp = meant_clamp(rewriter, quantize, uneven=uneven)
    if clamp is not None and clamp[0] == 0 and is_never_negative(rewriter, source):
        clamp = None
    exponent = _kept_exponent(rewriter, quantize)
    if clamp is None:
        # The name that stays, of the two, takes it over.
        _keep(rewriter, dequantize.output, exponent)
        rewriter.bypass(dequantize, source)
        return
    clamped = f"{source}/clamped"
    made = next(
        (
            reader
            for reader in rewriter.readers(source)
            if reader.name.startswith(f"{quantize.name}/clamp")
        ),
        None,
    )
    if made is not None:
        rewriter.bypass(dequantize, made.output)
        return
    name = rewriter.fresh_node(f"{quantize.name}/clamp")
    shape = rewriter.shape(source)
    if shape is None:
        return
    result = rewriter.add_tensor(clamped, shape, source)
    node = clamp_node(rewriter, name, source, result, clamp)
    rewriter.replace(quantize, node, quantize)
    rewriter.bypass(dequantize, result)
    _keep(rewriter, result, exponent)


def _kept_exponent(rewriter: Rewriter, quantize: Node) -> int | None:
    """The power of two by which int8 holds what a QuantizeLinear gives: the same integers, or ones
    at most half of its steps away; ``None`` where there is none."""
    scale = rewriter.constant(quantize, 1)
    if scale is None or scale.size != 1:
        return None
    step, limits = float(scale.reshape(-1)[0]), integer_limits(rewriter, quantize)
    if limits is None or not math.isfinite(step) or step <= 0:
        return None
    low, high = (limit * step for limit in limits)
    least = max(-low / 128.5, high / 127.5)
    exponent = -math.ceil(math.log2(least))
    return exponent if abs(exponent) <= 100 and 2.0**-exponent <= step else None


def _keep(rewriter: Rewriter, tensor: str, exponent: int | None) -> None:
    """Remembers a scale; of several for one tensor the coarsest, and none beside an unknown one."""
    if exponent is not None:
        rewriter.kept[tensor] = min(exponent, rewriter.kept.get(tensor, exponent))


def _merge_equal(rewriter: Rewriter, node: Node) -> bool:
    """Let one of several equal dequantizations of a tensor serve all its readers."""
    for other in rewriter.readers(node.inputs[0]):
        same = other.inputs == node.inputs and _axis(rewriter, other) == _axis(rewriter, node)
        if other.name != node.name and other.op == node.op and same:
            return rewriter.bypass(node, other.output)
    return False


def _axis(rewriter: Rewriter, node: Node) -> tuple[int, ...]:
    """Along which axis, and in which blocks, a tensor is dequantized; nothing for all at once."""
    scale = rewriter.constant(node, 1)
    if scale is not None and scale.size == 1:
        return ()
    return tuple(int(node.attributes.get(key, given)) for key, given in _ALONG)


_ALONG = (("axis", 1), ("block_size", 0))


def _move_before(rewriter: Rewriter, moved: Node, dequantize: Node) -> None:
    """Dequantize what an operator reads instead of what it gives."""
    scale = rewriter.constant(dequantize, 1)
    if scale is None or scale.size != 1 or not rewriter.private(moved.output):
        return
    if any(moved.outputs[1:]) or rewriter.dtype(moved.inputs[0]) is None:
        return
    if moved.inputs[0] in rewriter.constants:  # a table of integers, as the file has it
        return
    source = moved.inputs[0]
    shape = rewriter.shape(source)
    if shape is None or rewriter.dtype(dequantize.output) != scale.dtype.name:
        return
    real = rewriter.add_tensor(f"{source}/real", shape, dequantize.output)
    before = replace(
        dequantize,
        name=rewriter.fresh_node(f"{dequantize.name}/before"),
        inputs=(source, *dequantize.inputs[1:]),
        outputs=(real,),
    )
    after = replace(moved, inputs=(real, *moved.inputs[1:]), outputs=(dequantize.output,))
    rewriter.remove(dequantize)
    rewriter.replace(moved, before, after)


# Operators on integers


@dataclass(frozen=True)
class _Form:
    """Where an integer operator has what: data as (value, scale, zero), the result's, the rest;
    inputs that are no data, which come first, stay."""

    op: str
    data: tuple[tuple[int, int, int], ...]
    result: tuple[int, int]
    bias: int | None = None
    first: tuple[int, ...] = ()


_OWN = ("channels_last", "opset")
"""Attributes that only the integer operator has."""
_UNARY = ((0, 1, 2),)
_BINARY = ((0, 1, 2), (3, 4, 5))
_FORMS: dict[tuple[str, str], _Form] = {
    ("", "QLinearConv"): _Form("Conv", _BINARY, (6, 7), 8),
    ("", "QLinearMatMul"): _Form("MatMul", _BINARY, (6, 7)),
    (_MICROSOFT, "QLinearConv"): _Form("Conv", _BINARY, (6, 7), 8),
    (_MICROSOFT, "QLinearAdd"): _Form("Add", _BINARY, (6, 7)),
    (_MICROSOFT, "QLinearMul"): _Form("Mul", _BINARY, (6, 7)),
    (_MICROSOFT, "QLinearSigmoid"): _Form("Sigmoid", _UNARY, (3, 4)),
    (_MICROSOFT, "QLinearSoftmax"): _Form("Softmax", _UNARY, (3, 4)),
    (_MICROSOFT, "QLinearLeakyRelu"): _Form("LeakyRelu", _UNARY, (3, 4)),
    (_MICROSOFT, "QLinearAveragePool"): _Form("AveragePool", _UNARY, (3, 4)),
    (_MICROSOFT, "QLinearGlobalAveragePool"): _Form("GlobalAveragePool", _UNARY, (3, 4)),
    (_MICROSOFT, "QLinearWhere"): _Form("Where", ((1, 2, 3), (4, 5, 6)), (7, 8), first=(0,)),
    (_MICROSOFT, "QGemm"): _Form("Gemm", _BINARY, (7, 8), 6),
}


def _form(node: Node) -> _Form | None:
    if (node.domain, node.op) == (_MICROSOFT, "QLinearConcat"):
        parts = range(2, len(node.inputs) - 2, 3)
        return _Form("Concat", tuple((part, part + 1, part + 2) for part in parts), (0, 1))
    if node.op == "QLinearSoftmax" and int(node.attributes.get("opset", 13)) < 13:
        return None  # over all axes from one on, which no operator of today does
    return _FORMS.get((node.domain, node.op))


def _take_apart(rewriter: Rewriter, node: Node, form: _Form) -> None:
    names = [*node.inputs, *[""] * 12]
    scales = [rewriter.constants.get(names[scale]) for _, scale, _ in form.data]
    if not scales or any(s is None for s in scales):
        return
    if not names[form.result[0]]:
        return
    parts: list[Node] = []
    reals: list[str] = [names[position] for position in form.first]
    for position, (value, scale, zero) in enumerate(form.data):
        real = _announce(rewriter, f"{node.name}/real{position}", names[value])
        inputs = [names[value], names[scale], *([names[zero]] if names[zero] else [])]
        axis = {"axis": _weight_axis(rewriter, form.op, node, names[value])} if position else {}
        parts.append(Node(f"{real}/dequantize", "DequantizeLinear", tuple(inputs), (real,), axis))
        reals.append(real)
    if form.bias is not None and names[form.bias]:
        bias = rewriter.constants.get(names[form.bias])
        if bias is None or scales[0] is None or scales[1] is None:
            return
        if scales[0].size != 1 or scales[1].size not in (1, bias.size):
            return
        step = scales[0].astype(np.float64) * scales[1].astype(np.float64)
        real_bias = (bias.astype(np.float64) * step.reshape(-1)).astype(np.float32)
        reals.append(rewriter.add_constant(f"{node.name}/bias", real_bias))
    result = _announce(rewriter, f"{node.name}/result", node.output)
    attributes = {key: value for key, value in node.attributes.items() if key not in _OWN}
    parts.append(Node(node.name, form.op, tuple(reals), (result,), attributes))
    last = [result, *(names[position] for position in form.result if names[position])]
    parts.append(Node(f"{result}/quantize", "QuantizeLinear", tuple(last), (node.output,)))
    rewriter.replace(node, *parts)


def _announce(rewriter: Rewriter, wanted: str, like: str) -> str:
    """A float tensor that stands for integers; what is not known of them is inferred later."""
    shape = rewriter.shape(like)
    if shape is None:
        name = rewriter.fresh(wanted)
        rewriter.types[name] = TensorType("float32", None)
        return name
    name = rewriter.add_tensor(wanted, shape, like)
    rewriter.types[name] = TensorType("float32", shape)
    return name


def _weight_axis(rewriter: Rewriter, op: str, node: Node, weight: str) -> int:
    """The output channels of a weight."""
    if op == "Gemm":
        return 0 if node.attributes.get("transB") else 1
    return 0 if op == "Conv" else len(rewriter.shape(weight) or (0,)) - 1


def _from_dynamic(rewriter: Rewriter, node: Node) -> None:
    """``Cast(MatMulInteger(DynamicQuantizeLinear(x), w)) * scales`` is ``MatMul(x, w * scale)``; a
    bias that is rounded and added to the integers of a convolution is its bias."""
    weight = rewriter.constant(node, 1)
    found = None if weight is None else dynamic_source(rewriter, node.inputs[0])
    if found is None or weight is None:
        return
    source, data, moves = found
    bias = rounded_bias(rewriter, node.output) if node.op == "ConvInteger" else None
    cast = _only_reader(rewriter, bias.add.output if bias else node.output, "Cast")
    product = None if cast is None else _only_reader(rewriter, cast.output, "Mul")
    if cast is None or product is None or product.output not in rewriter.types:
        return
    scale = _static_factor(rewriter, product, cast.output, source.outputs[1])
    zero = rewriter.constant(node, 3) if len(node.inputs) > 3 and node.inputs[3] else None
    if scale is None or (len(node.inputs) > 3 and node.inputs[3] and zero is None):
        return
    if len(node.inputs) > 2 and node.inputs[2] and node.inputs[2] != source.outputs[2]:
        return
    if bias is not None:
        (factor,) = [name for name in product.inputs if name != cast.output]
        if len(bias.real) != len(weight) or not same_product(rewriter, bias.scale, factor):
            return
    axis = 0 if node.op == "ConvInteger" else weight.ndim - 1
    shape = [-1 if index == axis else 1 for index in range(weight.ndim)]
    offset = np.zeros(1) if zero is None else zero.astype(np.float64)
    if scale.size not in (1, weight.shape[axis]) or offset.size not in (1, weight.shape[axis]):
        return
    columns = [
        part.reshape(shape if part.size > 1 else [1] * weight.ndim) for part in (scale, offset)
    ]
    real = ((weight.astype(np.float64) - columns[1]) * columns[0]).astype(np.float32)
    name = rewriter.add_constant(f"{node.inputs[1]}/real", real)
    op = "Conv" if node.op == "ConvInteger" else "MatMul"
    inputs: tuple[str, ...] = (data, name)
    if bias is not None:
        inputs += (rewriter.add_constant(f"{node.name}/bias", bias.real.astype(np.float32)),)
    made = replace(node, op=op, inputs=inputs, outputs=product.outputs)
    for old in (product, cast) if bias is None else (product, cast, bias.add):
        rewriter.remove(old)
    rewriter.replace(node, *moves, made)


def _only_reader(rewriter: Rewriter, tensor: str, op: str) -> Node | None:
    if not rewriter.private(tensor):
        return None
    reader = rewriter.readers(tensor)[0]
    return reader if is_op(reader, op) else None


def _static_factor(
    rewriter: Rewriter, product: Node, integers: str, scale: str
) -> npt.NDArray[Any] | None:
    """The constant part of what the integers are multiplied by, beside the dynamic ``scale``."""
    others = [name for name in product.inputs if name != integers]
    if len(others) != 1:
        return None
    if others[0] == scale:
        return np.ones(1)
    factor = rewriter.producer(others[0])
    if not is_op(factor, "Mul") or factor is None or scale not in factor.inputs:
        return None
    rest = [name for name in factor.inputs if name != scale]
    value = rewriter.constants.get(rest[0]) if len(rest) == 1 else None
    return None if value is None else value.astype(np.float64).reshape(-1)
