"""Networks as ONNX models in QDQ form, for runtimes and tools that take no C.

Equal to the network bit for bit: tables, maxima, everything that moves elements, conversions, and
clamps. The others round once, from float32, where the network rounds twice from exact integers:
results are apart by one step at most per operator, and rarely. Inputs and outputs are those of the
network, in its types and order of axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from compiler_core.errors import InputError
from compiler_core.units.cpu.c.arithmetic.weighted import Sliding, WeightedRequantization
from compiler_core.units.cpu.c.network import Array, Network, Operator, Type, Value
from compiler_core.units.cpu.c.operators import moves, pointwise, real, weighted

OPSET, IR = 17, 8
_WIDE_OPSET, _WIDE_IR = 21, 10
"""Where tensors are quantized to 16 bits."""

_NUMBERS = {
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "float32": TensorProto.FLOAT,
}


def to_onnx(network: Network) -> onnx.ModelProto:
    """The QDQ form of a network.

    Raises:
        InputError: An operator has no such form.
    """
    writer = _Writer(network)
    for operator in network.operators:
        writer.operator(operator)
    return writer.model()


class _Writer:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._nodes: list[onnx.NodeProto] = []
        self._arrays = [
            numpy_helper.from_array(array, name) for name, array in network.constants.items()
        ]
        self._count = 0
        self._wide = any(value.type.dtype == "int16" for value in network.values.values())
        self.opset = _WIDE_OPSET if self._wide else OPSET

    def operator(self, operator: Operator) -> None:
        way = _WAYS.get(type(operator))
        if way is None:
            raise InputError(f"node {operator.name!r}: {type(operator).__name__} has no QDQ form")
        result = way(self, operator)
        shape = np.array(self.value(operator.output).shape, np.int64)
        self.add("Reshape", [result, self.array(shape)], output=operator.output)

    def model(self) -> onnx.ModelProto:
        network = self._network
        ports = [
            [
                helper.make_tensor_value_info(
                    name, _NUMBERS[self.value(name).type.dtype], self.value(name).shape
                )
                for name in names
            ]
            for names in (network.inputs, network.outputs)
        ]
        graph = helper.make_graph(self._nodes, "network", ports[0], ports[1], self._arrays)
        opsets = [helper.make_opsetid("", self.opset)]
        version = _WIDE_IR if self._wide else IR
        return helper.make_model(graph, opset_imports=opsets, ir_version=version)

    def value(self, name: str) -> Value:
        return self._network.values[name]

    def array(self, array: npt.ArrayLike) -> str:
        self._count += 1
        name = f"c{self._count}"
        self._arrays.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(
        self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any
    ) -> str:
        self._count += 1
        result = output or f"t{self._count}"
        self._nodes.append(helper.make_node(op, list(inputs), [result], **attributes))
        return result

    def reshaped(self, name: str, shape: Sequence[int]) -> str:
        return self.add("Reshape", [name, self.array(np.array(shape, np.int64))])

    def real(self, name: str, kind: Type) -> str:
        """Real numbers of a tensor of integers."""
        return self.add("DequantizeLinear", [name, *self._numbers(kind)])

    def integers(self, name: str, kind: Type, low: int, high: int) -> str:
        """Integers of real numbers, clamped."""
        if kind.dtype == "int16" and (low, high) != kind.limits:  # runtimes clip no int16
            real = [
                self.array(np.float32((end - kind.zero_point) * kind.scale)) for end in (low, high)
            ]
            name = self.add("Clip", [name, *real])
            low, high = kind.limits
        found = self.add("QuantizeLinear", [name, *self._numbers(kind)])
        if (low, high) == kind.limits:
            return found
        ends = [self.array(np.array(end, kind.dtype)) for end in (low, high)]
        return self.add("Clip", [found, *ends])

    def _numbers(self, kind: Type) -> list[str]:
        scale = self.array(np.float32(kind.scale))
        return [scale, self.array(np.array(kind.zero_point, kind.dtype))]

    def inputs(self, operator: Operator) -> list[str]:
        """All inputs as real numbers."""
        return [self.real(name, self.value(name).type) for name in operator.inputs]

    def output_type(self, operator: Operator) -> Type:
        return self.value(operator.output).type


def _scales(
    scaling: WeightedRequantization, source: float, result: Type
) -> npt.NDArray[np.float32]:
    """Scales of weights, from the factors that they led to."""
    shifts = np.asarray(scaling.shift, np.float64)
    factors = np.asarray(scaling.multiplier, np.float64) * 2.0 ** (shifts - 31)
    found = (factors * result.scale / source).astype(np.float32)
    return np.maximum(found, np.float32(1e-30))


def _weights(
    writer: _Writer, operator: weighted.Convolution | weighted.Dense, array: Array
) -> tuple[str, str]:
    """Weights and bias as real numbers."""
    kind = writer.value(operator.inputs[0]).type
    scales = _scales(operator.scaling, kind.scale, writer.output_type(operator))
    weight = writer.add("DequantizeLinear", [writer.array(array), writer.array(scales)], axis=0)
    if operator.scaling.wide:
        real = operator.bias * scales.astype(np.float64) * kind.scale
        return weight, writer.array(real.astype(np.float32))
    whole = writer.array(operator.bias.astype(np.int32))
    units = writer.array((scales * np.float32(kind.scale)).astype(np.float32))
    return weight, writer.add("DequantizeLinear", [whole, units], axis=0)


def _clamped(writer: _Writer, found: str, operator: weighted.Convolution | weighted.Dense) -> str:
    ends = operator.scaling.low, operator.scaling.high
    return writer.integers(found, writer.output_type(operator), *ends)


def _window(sliding: Sliding, sizes: Sequence[int]) -> dict[str, Any]:
    ends = [
        max(0, (out - 1) * s + (k - 1) * d + 1 - size - pad)
        for out, s, k, d, size, pad in zip(
            sliding.output,
            sliding.stride,
            sliding.kernel,
            sliding.dilation,
            sizes,
            sliding.pad,
            strict=True,
        )
    ]
    return {
        "kernel_shape": list(sliding.kernel),
        "strides": list(sliding.stride),
        "dilations": list(sliding.dilation),
        "pads": [*sliding.pad, *ends],
    }


def _image(writer: _Writer, name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, int]]:
    """A tensor ``[N, H, W, C]`` or ``[N, W, C]`` with its channel first, and its rows, columns."""
    full = shape if len(shape) == 4 else (shape[0], 1, *shape[1:])
    image = writer.add("Transpose", [writer.reshaped(name, full)], perm=[0, 3, 1, 2])
    return image, (full[1], full[2])


def _convolution(writer: _Writer, operator: weighted.Convolution) -> str:
    source = writer.value(operator.inputs[0])
    image, sizes = _image(writer, writer.real(source.name, source.type), source.shape)
    weight = np.ascontiguousarray(operator.weights.transpose(0, 3, 1, 2))
    window = _window(operator.sliding, sizes)
    parts = [image, *_weights(writer, operator, weight)]
    found = writer.add("Conv", parts, group=operator.groups, **window)
    return _clamped(writer, writer.add("Transpose", [found], perm=[0, 2, 3, 1]), operator)


def _dense(writer: _Writer, operator: weighted.Dense) -> str:
    weight, bias = _weights(writer, operator, operator.weights)
    turned = writer.add("Transpose", [weight], perm=[1, 0])
    found = writer.add("MatMul", [*writer.inputs(operator), turned])
    return _clamped(writer, writer.add("Add", [found, bias]), operator)


def _product(writer: _Writer, operator: weighted.MatrixProduct) -> str:
    found = writer.add("MatMul", writer.inputs(operator))
    ends = operator.scaling.low, operator.scaling.high
    return writer.integers(found, writer.output_type(operator), *ends)


def _pair(writer: _Writer, operator: pointwise.Sum | pointwise.Product) -> str:
    op = "Sub" if isinstance(operator, pointwise.Sum) and operator.subtract else "Add"
    op = "Mul" if isinstance(operator, pointwise.Product) else op
    found = writer.add(op, writer.inputs(operator))
    ends = operator.result.low, operator.result.high
    return writer.integers(found, writer.output_type(operator), *ends)


def _pool(writer: _Writer, operator: pointwise.Pool) -> str:
    source = writer.value(operator.inputs[0])
    kind = writer.output_type(operator)
    real = operator.mean or kind.dtype == "int16"
    name = writer.real(source.name, source.type) if real else source.name
    image, sizes = _image(writer, name, source.shape)
    window = _window(operator.sliding, sizes)
    if operator.mean:
        del window["dilations"]
        if max(operator.sliding.dilation) > 1:
            raise InputError(f"node {operator.name!r}: a dilated mean has no QDQ form")
        found = writer.add("AveragePool", [image], **window)
        found = writer.integers(found, kind, operator.low, operator.high)
    else:
        found = writer.add("MaxPool", [image], **window)
        if real:
            found = writer.integers(found, kind, operator.low, operator.high)
        else:
            ends = [writer.array(np.int8(end)) for end in (operator.low, operator.high)]
            found = writer.add("Clip", [found, *ends])
    return writer.add("Transpose", [found], perm=[0, 2, 3, 1])


def _table(writer: _Writer, operator: pointwise.Table) -> str:
    index = writer.add("Cast", operator.inputs, to=TensorProto.INT32)
    moved = writer.add("Add", [index, writer.array(np.int32(128))])
    return writer.add("Gather", [writer.array(operator.entries), moved])


def _wide_table(writer: _Writer, operator: pointwise.WideTable) -> str:
    """The same integers: entry before, its rise, a division that rounds down."""

    def whole(value: int) -> str:
        return writer.array(np.int32(value))

    far = 1 << 17  # times a step more than any rise falls
    index = writer.add("Cast", operator.inputs, to=TensorProto.INT32)
    place = writer.add("Add", [index, whole(1 << 15)])
    first = writer.add("Div", [place, whole(128)])
    share = writer.add("Sub", [place, writer.add("Mul", [first, whole(128)])])
    entries = writer.array(operator.entries.astype(np.int32))
    before = writer.add("Gather", [entries, first])
    after = writer.add("Gather", [entries, writer.add("Add", [first, whole(1)])])
    rise = writer.add("Mul", [writer.add("Sub", [after, before]), share])
    moved = writer.add("Div", [writer.add("Add", [rise, whole(64 + far * 128)]), whole(128)])
    found = writer.add("Sub", [writer.add("Add", [before, moved]), whole(far)])
    return writer.add("Cast", [found], to=TensorProto.INT16)


def _rescale(writer: _Writer, operator: pointwise.Rescale) -> str:
    kind = writer.output_type(operator)
    return writer.integers(writer.inputs(operator)[0], kind, *kind.limits)


def _softmax(writer: _Writer, operator: pointwise.Softmax) -> str:
    rows = writer.reshaped(writer.inputs(operator)[0], operator.sizes)
    found = writer.add("Softmax", [rows], axis=1)
    kind = writer.output_type(operator)
    return writer.integers(found, kind, *kind.limits)


def _view(_writer: _Writer, operator: moves.View) -> str:
    return operator.inputs[0]


def _part(writer: _Writer, operator: moves.Part) -> str:
    flat = writer.reshaped(operator.inputs[0], [-1])
    ends = (np.array([end], np.int64) for end in (operator.start, operator.start + operator.size))
    return writer.add("Slice", [flat, *(writer.array(end) for end in ends)])


def _joined(writer: _Writer, operator: moves.Joined) -> str:
    parts = [writer.reshaped(name, [-1]) for name in operator.inputs]
    return writer.add("Concat", parts, axis=0)


def _copy(writer: _Writer, operator: moves.Copy) -> str:
    """Every element by its place among all inputs, and the fill behind them."""
    sizes = [writer.value(name).size for name in operator.inputs]
    starts = np.cumsum([0, *sizes])
    index = np.full(operator.size, starts[-1], np.int64)
    for block in operator.blocks:
        read = block.places(block.start, block.steps) + starts[block.source]
        index[block.places(block.target, block.target_steps)] = read
    parts = [writer.reshaped(name, [-1]) for name in operator.inputs]
    fill = np.array([operator.fill or 0], writer.output_type(operator).dtype)
    joined = writer.add("Concat", [*parts, writer.array(fill)], axis=0)
    return writer.add("Gather", [joined, writer.array(index)])


def _take(writer: _Writer, operator: moves.Take) -> str:
    rows = writer.reshaped(operator.inputs[0], operator.sizes)
    index = writer.array(operator.indices.astype(np.int64))
    return writer.add("Gather", [rows, index], axis=1)


def _interpolate(writer: _Writer, operator: moves.Interpolate) -> str:
    kind = writer.output_type(operator)
    name = operator.inputs[0] if kind.is_float else writer.inputs(operator)[0]
    rows = writer.reshaped(name, operator.sizes)
    first, second = (
        writer.add("Gather", [rows, writer.array(index.astype(np.int64))], axis=1)
        for index in (operator.low, operator.high)
    )
    unit = 1.0 if kind.is_float else 2.0**-moves.LINEAR_BITS
    share = writer.array((operator.weights[:, None] * unit).astype(np.float32))
    step = writer.add("Mul", [writer.add("Sub", [second, first]), share])
    found = writer.add("Add", [first, step])
    return found if kind.is_float else writer.integers(found, kind, *kind.limits)


def _resample(writer: _Writer, operator: moves.Resample) -> str:
    kind = writer.output_type(operator)
    outer, count, _ = operator.sizes
    name = operator.inputs[0] if kind.is_float else writer.inputs(operator)[0]
    rows = writer.reshaped(name, operator.sizes)
    chosen = len(operator.indices)
    matrix = np.zeros((chosen, count), np.float32)
    unit = 1.0 if kind.is_float else 2.0**-moves.LINEAR_BITS
    np.add.at(matrix, (np.arange(chosen)[:, None], operator.indices), operator.weights * unit)
    whole = writer.array(np.broadcast_to(matrix, (outer, chosen, count)))
    found = writer.add("MatMul", [whole, rows])
    return found if kind.is_float else writer.integers(found, kind, *kind.limits)


def _normalization(writer: _Writer, operator: real.Normalization) -> str:
    kind = writer.output_type(operator)
    unit = np.float32(kind.scale)
    scale, bias = writer.array(operator.scale * unit), writer.array(operator.bias * unit)
    rows = writer.reshaped(writer.inputs(operator)[0], [-1, len(operator.scale)])
    found = writer.add("LayerNormalization", [rows, scale, bias], axis=-1, epsilon=operator.epsilon)
    return writer.integers(found, kind, operator.low, operator.high)


def _quantize(writer: _Writer, operator: real.Quantize) -> str:
    return writer.integers(operator.inputs[0], operator.type, *operator.type.limits)


def _dequantize(writer: _Writer, operator: real.Dequantize) -> str:
    return writer.real(operator.inputs[0], operator.type)


def _real_pair(writer: _Writer, operator: real.RealPair) -> str:
    found = writer.add(operator.function.capitalize(), operator.inputs)
    ends = [writer.array(np.float32(end)) for end in (operator.low, operator.high)]
    return writer.add("Clip", [found, *ends])


def _real_reduction(writer: _Writer, operator: real.RealReduction) -> str:
    rows = writer.reshaped(operator.inputs[0], operator.sizes)
    op = f"Reduce{operator.function.capitalize()}"
    if op == "ReduceSum" or writer.opset > OPSET:
        return writer.add(op, [rows, writer.array(np.array([1], np.int64))], keepdims=0)
    return writer.add(op, [rows], axes=[1], keepdims=0)


_WAYS: dict[type, Callable[[_Writer, Any], str]] = {
    moves.Copy: _copy,
    moves.Interpolate: _interpolate,
    moves.Joined: _joined,
    moves.Part: _part,
    moves.Resample: _resample,
    moves.Take: _take,
    moves.View: _view,
    pointwise.Pool: _pool,
    pointwise.Product: _pair,
    pointwise.Rescale: _rescale,
    pointwise.Softmax: _softmax,
    pointwise.Sum: _pair,
    pointwise.Table: _table,
    pointwise.WideTable: _wide_table,
    real.Dequantize: _dequantize,
    real.Normalization: _normalization,
    real.Quantize: _quantize,
    real.RealPair: _real_pair,
    real.RealReduction: _real_reduction,
    weighted.Convolution: _convolution,
    weighted.Dense: _dense,
    weighted.MatrixProduct: _product,
}
