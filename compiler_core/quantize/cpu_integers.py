"""Weighted operators on the CPU in integers: written out exactly, and in QDQ form.

An operator reads ``x`` and writes ``y`` as real numbers; between, with ``q(v) = clip(
round_half_even(v / scale), limits)`` and the zero point folded into the limits,

    ``acc = sum(q(x) * weight) + bias`` (exact integers), ``y = sy * clip(round_half_even(
    float32(acc) * float32(sx * sw / sy)), limits)``

which is what ONNX defines for QLinearConv and QLinearMatMul. The exact form needs no integer
operator of a runtime: float32 holds the integers of every sum up to ``2**24``, and larger sums are
cut as in :mod:`compiler_core.quantize.exact`. So the bits are the same on every machine, also where
8-bit dot products saturate.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.quantize.affine import AffineType, activation_type, weight_scales
from compiler_core.quantize.exact import EXACT_FLOAT32, exact_parts
from compiler_core.quantize.exponents import mean_change
from compiler_core.quantize.float_weights import keep_float_weights
from compiler_core.quantize.integer_rewriter import MIDDLE, IntegerRewriter
from compiler_core.quantize.scheme import CpuPrecision, QuantizationScheme
from compiler_core.quantize.statistics import TensorRange

WEIGHTED = ("Conv", "Dense", "MatMul", "Gemm")
_SAME_VALUES = (*VIEW_OPERATORS, "Transpose", "Slice", "Pad", "MaxPool", "Relu", "Clip")
"""Operators that write values that they read, or limits: int8 stays int8."""


@dataclass(frozen=True)
class IntegerParts:
    """A part of a graph whose weighted operators compute in integers.

    Attributes:
        exact: The definition of the bits.
        qdq: For runtimes with integer kernels.
    """

    exact: Graph
    qdq: Graph


def float_reason(graph: Graph, node: Node, ranges: Mapping[str, TensorRange]) -> str | None:
    """Why a weighted node of the CPU cannot compute in integers; ``None`` when it can."""
    if node.op not in WEIGHTED:
        return f"{node.op} has no weights."
    weight = graph.constants.get(node.inputs[1])
    if weight is None or weight.dtype != np.float32 or not np.isfinite(weight).all():
        return "Weights are not constant, finite float32 numbers."
    if node.op != "Conv" and weight.ndim != 2:
        return "Weights are not a matrix."
    if node.inputs[0] in graph.constants or any(
        name not in ranges or not isfinite(ranges[name].absmax)
        for name in (node.inputs[0], node.output)
    ):
        return "There are no statistics of its input or output."
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = graph.constants.get(node.inputs[2])
        outputs = _matrix(node, weight).shape[0]
        if bias is None or bias.size not in (1, outputs) or not np.isfinite(bias).all():
            return "The bias is not one constant, finite number per output."
    if node.op == "Gemm" and (
        node.attributes.get("transA")
        or node.attributes.get("alpha", 1.0) != 1.0
        or node.attributes.get("beta", 1.0) != 1.0
    ):
        return "The Gemm transposes its input or has factors."
    return None


def writes_new_values(graph: Graph, node: Node, ranges: Mapping[str, TensorRange]) -> bool:
    """Whether ``node``, without weights, writes one float tensor that could become int8."""
    return (
        node.op not in (*WEIGHTED, *_SAME_VALUES)
        and len(node.outputs) == 1
        and graph.types[node.output].dtype == "float32"
        and node.output in ranges
        and isfinite(ranges[node.output].absmax)
    )


def lower_integers(
    graph: Graph,
    nodes: Collection[str],
    ranges: Mapping[str, TensorRange],
    scheme: QuantizationScheme,
) -> IntegerParts:
    """Make ``nodes`` of ``graph`` compute in integers, those without weights what they write.

    The others stay as they are.
    """
    exact, qdq = _Rewriter(graph), _Rewriter(graph)
    for node in graph.nodes:
        if node.name in nodes and node.op not in WEIGHTED:
            known = activation_type(ranges[node.output], scheme.scales, scheme.activation_range)
            exact.add_exact_result(node, known)
            qdq.add_qdq_result(node, known)
            continue
        if node.name not in nodes:
            exact.nodes.append(node)
            qdq.nodes.append(node)
            continue
        numbers = _numbers(graph, node, ranges, scheme)
        exact.add_exact(node, numbers)
        qdq.add_qdq(node, numbers)
    return IntegerParts(exact.graph(), keep_float_weights(qdq.graph()))


@dataclass(frozen=True, eq=False)
class _Numbers:
    """Integers of one operator: ``weight`` is ``int8[O, ...]``, the others are per output."""

    source: AffineType
    result: AffineType
    weight: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float64]
    bias: npt.NDArray[np.int64]
    several: bool


def _matrix(node: Node, weight: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """The weights with their outputs first."""
    if node.op == "Conv" or (node.op == "Gemm" and node.attributes.get("transB")):
        return weight
    return weight.T


def _numbers(
    graph: Graph, node: Node, ranges: Mapping[str, TensorRange], scheme: QuantizationScheme
) -> _Numbers:
    bits = 16 if scheme.cpu_precision is CpuPrecision.INT8_ACTIVATIONS_16 else 8
    source, result = (
        activation_type(ranges[name], scheme.scales, scheme.activation_range, bits)
        for name in (node.inputs[0], node.output)
    )
    weight = np.asarray(_matrix(node, graph.constants[node.inputs[1]]), np.float64)
    scales = weight_scales(weight, scheme.scales, scheme.granularity, scheme.weight_range)
    column = scales.reshape(-1, *[1] * (weight.ndim - 1))
    # Divided in float32, as QuantizeLinear does: in float64 some ties fall otherwise.
    scaled = weight.astype(np.float32) / column.astype(np.float32)
    integers = np.clip(np.rint(scaled), -127, 127).astype(np.float64)
    bias = np.zeros(len(weight))
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = bias + np.asarray(graph.constants[node.inputs[2]], np.float64).reshape(-1)
    if scheme.bias_correction:
        bias = bias + _correction(node, weight - integers * column, ranges[node.inputs[0]])
    whole = np.clip(np.rint(bias / (source.scale * scales)), -(2**31) + 1, 2**31 - 1)
    return _Numbers(
        source,
        result,
        integers.astype(np.int8),
        scales,
        whole.astype(np.int64),
        bool((scales != scales[0]).any()),
    )


def _correction(
    node: Node, difference: npt.NDArray[np.float64], known: TensorRange
) -> npt.NDArray[np.float64] | float:
    axes = [1] if node.op == "Conv" else sorted(known.channels, reverse=True)
    groups = int(node.attributes.get("group", 1))
    for axis in axes:
        found = known.channels.get(axis)
        if found is not None and len(found.mean) == difference.shape[1] * groups:
            taps = difference.reshape(*difference.shape[:2], -1).sum(axis=2)
            return mean_change(taps, found.mean, groups)
    return 0.0


class _Rewriter(IntegerRewriter):
    """Weighted operators in place of nodes."""

    # Exact form ----------------------------------------------------------------------------------

    def add_exact(self, node: Node, numbers: _Numbers) -> None:
        """The operator over floats that hold its integers."""
        output = node.output
        source = self._integers(node.inputs[0], numbers.source)
        total = self._sum(node, numbers, source)
        factor = (numbers.source.scale * numbers.scales / numbers.result.scale).astype(np.float32)
        factors = self._constant(output, _per_output(node, factor, numbers.weight.ndim - 2))
        low, high = numbers.result.limits
        if node.clip is not None:
            real = np.asarray(node.clip, np.float64) / numbers.result.scale
            low, high = (int(v) for v in np.clip(np.rint(real), low, high))
        scaled = self._node("Mul", (total, factors), output, clip=(low - 1.0, high + 1.0))
        rounded = self._round(scaled, output, (low, high))
        scale = self._constant(output, np.asarray(numbers.result.scale, np.float32))
        self._node("Mul", (rounded, scale), output, output=output)

    def _sum(self, node: Node, numbers: _Numbers, source: str) -> str:
        magnitude = max(abs(limit) for limit in numbers.source.limits)
        flat = np.abs(numbers.weight.astype(np.int64)).reshape(len(numbers.bias), -1)
        bound = int((flat.sum(axis=1) * magnitude + np.abs(numbers.bias)).max(initial=0))
        if bound < EXACT_FLOAT32:
            total = self._multiply(node, numbers.weight, source)
            bias = _per_output(node, numbers.bias.astype(np.float32), numbers.weight.ndim - 2)
            return self._node("Add", (total, self._constant(node.output, bias)), node.output)
        pieces = [(source, 1.0, magnitude)]
        if magnitude > 2**8:
            pieces = self._bytes(node.inputs[0], source)
        bias = _per_output(node, numbers.bias.astype(np.float64), numbers.weight.ndim - 2)
        sum_ = self._constant(node.output, bias)
        for piece, weight_of, largest in pieces:
            for part in exact_parts(numbers.weight, largest):
                wide = self._cast(self._multiply(node, part, piece), node.output, "float64")
                if weight_of != 1.0:
                    by = self._constant(node.output, np.asarray(weight_of))
                    wide = self._node("Mul", (wide, by), node.output, "float64")
                sum_ = self._node("Add", (wide, sum_), node.output, "float64")
        return self._cast(sum_, node.output, "float32")

    def _bytes(self, tensor: str, source: str) -> list[tuple[str, float, int]]:
        """16-bit integers as ``high * 256 + low``."""
        by = self._constant(tensor, np.asarray(256, np.float32))
        high = self._node("Floor", (self._node("Div", (source, by), tensor),), tensor)
        low = self._node("Sub", (source, self._node("Mul", (high, by), tensor)), tensor)
        return [(high, 256.0, 256), (low, 1.0, 256)]

    def _multiply(self, node: Node, weight: npt.NDArray[np.int8], source: str) -> str:
        stored = _matrix(node, weight) if node.op != "Conv" else weight
        name = self._constant(node.output, np.ascontiguousarray(stored).astype(np.float32))
        return self._node(
            node.op,
            (source, name),
            node.output,
            domain=node.domain,
            attributes=node.attributes,
        )

    def _cast(self, tensor: str, like: str, dtype: str) -> str:
        code = {"float32": 1, "float64": 11}[dtype]
        return self._node("Cast", (tensor,), like, dtype, attributes={"to": code})

    # QDQ form ------------------------------------------------------------------------------------

    def add_qdq(self, node: Node, numbers: _Numbers) -> None:
        """The operator between DequantizeLinear and QuantizeLinear."""
        source = self._quantized(node.inputs[0], node.inputs[0], numbers.source)
        stored = np.ascontiguousarray(_matrix(node, numbers.weight))
        first = stored.shape[0] == numbers.weight.shape[0] and (
            node.op == "Conv" or bool(node.attributes.get("transB"))
        )
        # As uint8 with zero point 128, like the activations: products of int8 weights saturate in
        # runtimes on CPUs without 8-bit dot products.
        shifted = (stored.astype(np.int16) + MIDDLE).astype(np.uint8)
        weight = self._constant(node.inputs[1], shifted)
        axis = 0 if first else 1
        real = self._dequantize(weight, numbers.scales, numbers.several, axis, MIDDLE)
        inputs: tuple[str, ...] = (source, real)
        if numbers.bias.any():
            bias = self._constant(node.inputs[1], numbers.bias.astype(np.int32))
            scales = numbers.scales * numbers.source.scale
            added = self._dequantize(bias, scales, numbers.several, 0, None)
            if node.op == "MatMul":
                total = self._node("MatMul", inputs, node.output)
                result = self._node("Add", (total, added), node.output, clip=node.clip)
                self._quantized(result, node.output, numbers.result, output=node.output)
                return
            inputs = (*inputs, added)
        result = self._node(
            node.op,
            inputs,
            node.output,
            clip=node.clip,
            domain=node.domain,
            attributes=node.attributes,
        )
        self._quantized(result, node.output, numbers.result, output=node.output)

    def _dequantize(
        self,
        integers: str,
        scales: npt.NDArray[np.float64],
        several: bool,
        axis: int,
        zero: int | None,
    ) -> str:
        scale = scales if several else scales[0]
        inputs: tuple[str, ...] = (
            integers,
            self._constant(integers, np.asarray(scale, np.float32)),
        )
        if zero is not None:
            inputs = (*inputs, self._constant(integers, np.full(np.shape(scale), zero, np.uint8)))
        domain = self._domain("int8")
        attributes = {"axis": axis} if several else {}
        return self._node(
            "DequantizeLinear", inputs, integers, domain=domain, attributes=attributes
        )


def _per_output(
    node: Node, values: npt.NDArray[np.generic], spatial: int
) -> npt.NDArray[np.generic]:
    """``[O]``, shaped so that it broadcasts to the output of ``node``."""
    if node.op != "Conv":
        return values
    return values.reshape(-1, *[1] * spatial)
