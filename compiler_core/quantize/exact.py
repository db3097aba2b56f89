"""Integer operators as a float32 ONNX graph that computes exactly their integers.

float32 holds every integer up to ``2**24``, and scaling by a power of two loses nothing. So a
convolution whose sums stay within that bound is exact in float32 in any order of summation: its
weights, bias and rounding constant are scaled by ``2**-shift`` beforehand, and ``floor`` is the
arithmetic shift (of each output channel its own where they differ). A convolution with larger sums
is cut along its reduction axis into parts that stay within the bound; the parts are added in
float64, which holds integers up to ``2**53``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from compiler_core.quantize.blocks import signed_sums
from compiler_core.quantize.ir import (
    IntegerConcat,
    IntegerConv,
    IntegerMaxPool,
    IntegerOperator,
    IntegerProduct,
    IntegerTranspose,
    QuantizedTensor,
)
from compiler_core.quantize.kept_results import kept

EXACT_FLOAT32 = 2**24
_OPSET = 17
_IR_VERSION = 10
_BATCH = "batch"


def exact_model(
    operators: Sequence[IntegerOperator],
    tensors: Mapping[str, QuantizedTensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """``operators`` as an ONNX model over float32 ``[batch, C, H, W]`` that hold integers."""
    writer = _Writer(tensors)
    for operator in operators:
        writer.add(operator)
    graph = helper.make_graph(
        writer.nodes,
        "integers",
        [_value(tensors[name]) for name in inputs],
        [_value(tensors[name]) for name in outputs],
        writer.initializers,
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)


@kept
def exact_parts(
    weight: npt.NDArray[np.int8], magnitude: int, limit: int = EXACT_FLOAT32
) -> list[npt.NDArray[np.int8]]:
    """Cut ``weight`` into addends whose sums with inputs up to ``magnitude`` stay below ``limit``.

    Args:
        weight: ``int8[O, ...]``.
        magnitude: Largest absolute input.
        limit: Bound of any partial sum.
    """
    flat = weight.reshape(len(weight), -1)
    sums = np.abs(flat.astype(np.int64)) * magnitude
    parts: list[npt.NDArray[np.int8]] = []
    start = 0
    while start < flat.shape[1]:
        over = (np.cumsum(sums[:, start:], axis=1) >= limit).any(axis=0)
        length = max(1, int(np.argmax(over)) if over.any() else over.size)
        part = np.zeros_like(flat)
        part[:, start : start + length] = flat[:, start : start + length]
        parts.append(part.reshape(weight.shape))
        start += length
    return parts


def right_shifts(operator: IntegerConv) -> npt.NDArray[np.int64]:
    """The right shift of every output channel."""
    if operator.channel_shifts is not None:
        return operator.channel_shifts.astype(np.int64)
    return np.full(len(operator.bias), operator.shift, np.int64)


def _value(tensor: QuantizedTensor) -> onnx.ValueInfoProto:
    # Tokens or windows along the first axis: one name for all sizes would be one size for all.
    batch = f"{_BATCH} of {tensor.shape[0]}"
    return helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, [batch, *tensor.shape[1:]])


class _Writer:
    def __init__(self, tensors: Mapping[str, QuantizedTensor]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._tensors = tensors
        self._taken = set(tensors)
        self._magnitude: dict[str, int] = {}

    def add(self, operator: IntegerOperator) -> None:
        if isinstance(operator, IntegerConcat):
            inputs = list(operator.inputs)
            self.nodes.append(helper.make_node("Concat", inputs, [operator.output], axis=1))
            self._magnitude[operator.output] = max(self._bound(name) for name in inputs)
            return
        if isinstance(operator, IntegerTranspose):
            turned = self._grouped(operator.input, operator.groups, swapped=True)
            self._reshape(turned, self._tensors[operator.output].shape, operator.output)
            self._magnitude[operator.output] = self._bound(operator.input)
            return
        self._magnitude[operator.output] = max(abs(operator.clip_min), abs(operator.clip_max))
        if isinstance(operator, IntegerProduct):
            self._product(operator)
            return
        if isinstance(operator, IntegerMaxPool):
            pooled = self._node(
                "MaxPool",
                [operator.input],
                kernel_shape=operator.kernel,
                strides=operator.strides,
                pads=operator.pads,
                dilations=operator.dilations,
            )
            self._clip(pooled, operator, np.float32)
            return
        self._conv(operator)

    def _bound(self, tensor: str) -> int:
        return self._magnitude.get(tensor, 128)

    def _conv(self, operator: IntegerConv) -> None:
        magnitude = self._bound(operator.input)
        shifts = right_shifts(operator)
        half = np.where(shifts > 0, 1 << np.maximum(shifts - 1, 0), 0)
        bias = operator.bias.astype(np.int64) + half
        positive, negative = signed_sums(operator.weight)
        bound = int(((positive - negative) * magnitude + np.abs(bias) + half).max(initial=0))
        if operator.residual is not None:
            bound += self._bound(operator.residual) << operator.residual_shift
        if bound < EXACT_FLOAT32:
            total = self._sum_float32(operator, bias)
            floor = self._node("Floor", [total]) if shifts.max(initial=0) > 0 else total
            self._clip(self._interleaved(floor, operator), operator, np.float32)
            return
        total = self._sum_float64(operator, bias, magnitude)
        scale = self._constant(np.ldexp(1.0, -shifts).reshape(1, -1, 1, 1))
        floor = self._node("Floor", [self._node("Mul", [total, scale])])
        self._clip(self._interleaved(floor, operator), operator, np.float64)

    def _interleaved(self, source: str, operator: IntegerConv) -> str:
        size = operator.interleave
        return source if size == 1 else self._node("DepthToSpace", [source], blocksize=size)

    def _product(self, operator: IntegerProduct) -> None:
        """In parts of so many products that float32 holds their sums, which float64 adds up."""
        terms = self._tensors[operator.input].shape[1] // operator.groups
        bound = self._bound(operator.input) * self._bound(operator.operand)
        most = max(1, EXACT_FLOAT32 // bound - 1)
        factors = (
            self._grouped(operator.operand, operator.groups, swapped=True),
            self._grouped(operator.input, operator.groups, swapped=False),
        )
        half = np.float64(1 << operator.shift >> 1)
        total = self._constant(half)
        for start in range(0, terms, most):
            part = self._node(
                "MatMul",
                [
                    self._range(factor, axis, start, min(start + most, terms))
                    for factor, axis in zip(factors, (3, 2), strict=True)
                ],
            )
            total = self._node("Add", [self._wide(part), total])
        scale = self._constant(np.float64(2.0**-operator.shift))
        floor = self._node("Floor", [self._node("Mul", [total, scale])])
        shaped = self._reshape(floor, self._tensors[operator.output].shape)
        self._clip(shaped, operator, np.float64)

    def _grouped(self, tensor: str, groups: int, *, swapped: bool) -> str:
        """``[N, groups, K, pixels]`` of a tensor, its last two axes ``swapped`` or not."""
        _, channels, height, width = self._tensors[tensor].shape
        split = self._reshape(tensor, (0, groups, channels // groups, height * width))
        return self._node("Transpose", [split], perm=(0, 1, 3, 2)) if swapped else split

    def _reshape(self, tensor: str, shape: Sequence[int], output: str | None = None) -> str:
        """Another shape of the samples, whose number stays."""
        sizes = self._constant(np.array([0, *shape[1:]], np.int64))
        name = output or self._fresh()
        self.nodes.append(helper.make_node("Reshape", [tensor, sizes], [name]))
        return name

    def _range(self, tensor: str, axis: int, first: int, end: int) -> str:
        limits = [self._constant(np.array([value], np.int64)) for value in (first, end, axis)]
        return self._node("Slice", [tensor, *limits])

    def _sum_float32(self, operator: IntegerConv, bias: npt.NDArray[np.int64]) -> str:
        scale = np.ldexp(1.0, -right_shifts(operator))
        scaled = operator.weight * scale.reshape(-1, 1, 1, 1)
        weight = self._constant(scaled.astype(np.float32))
        addend = self._constant((bias * scale).astype(np.float32))
        total = self._convolve(operator, [operator.input, weight, addend])
        if operator.residual is None:
            return total
        factor = np.float32(2.0 ** (operator.residual_shift - operator.shift))
        aligned = self._node("Mul", [operator.residual, self._constant(factor)])
        return self._node("Add", [total, aligned])

    def _sum_float64(
        self, operator: IntegerConv, bias: npt.NDArray[np.int64], magnitude: int
    ) -> str:
        total = self._constant(bias.astype(np.float64).reshape(1, -1, 1, 1))
        for part in exact_parts(operator.weight, magnitude):
            source, weight = self._channels(operator, part)
            inputs = [source, self._constant(weight.astype(np.float32))]
            addend = self._wide(self._convolve(operator, inputs))
            total = self._node("Add", [addend, total])
        if operator.residual is not None:
            factor = self._constant(np.float64(2.0**operator.residual_shift))
            aligned = self._node("Mul", [self._wide(operator.residual), factor])
            total = self._node("Add", [total, aligned])
        return total

    def _channels(
        self, operator: IntegerConv, part: npt.NDArray[np.int8]
    ) -> tuple[str, npt.NDArray[np.int8]]:
        """The input channels that a part of the weights reads, and its weights for them."""
        used = np.flatnonzero(part.any(axis=(0, 2, 3)))
        if operator.groups > 1 or not used.size:
            return operator.input, part
        first, last = int(used[0]), int(used[-1]) + 1
        if last - first == part.shape[1]:
            return operator.input, part
        limits = [self._constant(np.array([value], np.int64)) for value in (first, last, 1)]
        return self._node("Slice", [operator.input, *limits]), part[:, first:last]

    def _convolve(self, operator: IntegerConv, inputs: list[str]) -> str:
        return self._node(
            "Conv",
            inputs,
            kernel_shape=operator.weight.shape[2:],
            strides=operator.strides,
            pads=operator.pads,
            dilations=operator.dilations,
            group=operator.groups,
        )

    def _wide(self, tensor: str) -> str:
        return self._node("Cast", [tensor], to=TensorProto.DOUBLE)

    def _clip(
        self,
        source: str,
        operator: IntegerConv | IntegerMaxPool | IntegerProduct,
        dtype: type[np.float32] | type[np.float64],
    ) -> None:
        limits = [self._constant(dtype(v)) for v in (operator.clip_min, operator.clip_max)]
        if dtype is np.float32:
            self.nodes.append(helper.make_node("Clip", [source, *limits], [operator.output]))
            return
        clipped = self._node("Clip", [source, *limits])
        narrow = helper.make_node("Cast", [clipped], [operator.output], to=TensorProto.FLOAT)
        self.nodes.append(narrow)

    def _node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = self._fresh()
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def _constant(self, value: npt.NDArray[np.generic] | np.generic) -> str:
        name = self._fresh()
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _fresh(self) -> str:
        number = len(self.nodes) + len(self.initializers)
        name = f"%{number}"
        while name in self._taken:
            name += "%"
        self._taken.add(name)
        return name
