"""Operators of the CPU in their own number formats, written as plain ONNX.

Integers stand in QDQ form, which onnxruntime fuses to integer kernels and any other runtime
computes as it stands; weights in few bits are MatMulNBits; activations whose scales are found as
they run are DynamicQuantizeLinear and MatMulInteger. The bits are those of the runtime that
executes it: where its kernels round or saturate, that is what accuracy is measured of.

| tensor | what it is |
|---|---|
| written by an operator on integers | int8 between QuantizeLinear and DequantizeLinear |
| read in another format than it was written in | converted once for all readers of that format |
| written by a matrix product on integers that nobody reads as integers | float at once |
| passing through an operator that only moves values | of one scale before and behind |
| read by a concatenation that copies integers | of its scale \
(:mod:`compiler_core.quantize.joined_scales`) |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize.affine import (
    NARROW_LEVELS,
    WEIGHT_LEVELS,
    AffineType,
    activation_integers,
    weight_scales,
)
from compiler_core.quantize.exponents import Granularity, mean_change
from compiler_core.quantize.float_weights import keep_float_weights
from compiler_core.quantize.integer_rewriter import MIDDLE, IntegerRewriter
from compiler_core.quantize.joined_scales import joined_integers
from compiler_core.quantize.precisions import (
    CLAMPS,
    SAME_VALUES,
    Dynamic,
    Half,
    Precision,
    Rounding,
    Static,
    WeightOnly,
)
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod, Scales
from compiler_core.quantize.statistics import TensorRange
from compiler_core.quantize.weight_blocks import weight_blocks

Moments = Callable[[str], npt.NDArray[np.float64]]
"""Second moments of a tensor's last axis over calibration samples, by its name."""

_MICROSOFT = "com.microsoft"
_Real = npt.NDArray[np.float64]


def lower_precisions(
    graph: Graph,
    precisions: Mapping[str, Precision],
    ranges: Mapping[str, TensorRange],
    scheme: QuantizationScheme,
    moments: Moments | None = None,
) -> Graph:
    """A graph whose nodes compute in the formats that are asked for; others stay as they are.

    Args:
        graph: Simplified, or a part of such a graph.
        precisions: Format by node; each as :func:`~compiler_core.quantize.precisions.refusal`
            allows it.
        ranges: Statistics of float tensors.
        scheme: How ranges of activations and scales of weights follow from statistics, and whether
            biases are corrected.
        moments: For weights rounded by GPTQ.
    """
    work = _PrecisionRewriter(graph, precisions, ranges, scheme, moments)
    for node in graph.nodes:
        precision = precisions.get(node.name)
        if precision is None:
            work.nodes.append(node)
        elif isinstance(precision, Static):
            work.add_static(node, precision)
        elif isinstance(precision, Dynamic):
            work.add_dynamic(node, precision)
        elif isinstance(precision, WeightOnly):
            work.add_blocks(node, precision)
        else:
            work.add_half(node, precision)
    return keep_float_weights(work.graph())


class _PrecisionRewriter(IntegerRewriter):
    def __init__(
        self,
        graph: Graph,
        precisions: Mapping[str, Precision],
        ranges: Mapping[str, TensorRange],
        scheme: QuantizationScheme,
        moments: Moments | None,
    ) -> None:
        super().__init__(graph)
        self._ranges, self._scheme, self._moments = ranges, scheme, moments
        self._wanted = precisions
        self._joined = joined_integers(graph, precisions, ranges, scheme.activation_range)
        self._written: dict[str, AffineType] = {}
        self._read: dict[tuple[str, str], str] = {}

    # Tensors -------------------------------------------------------------------------------------

    def _affine(self, tensor: str, dtype: str) -> AffineType:
        written = self._written.get(tensor)
        if written is not None and written.dtype == dtype:
            return written
        if (tensor, dtype) in self._joined:
            return self._joined[tensor, dtype]
        return activation_integers(self._ranges[tensor], dtype, self._scheme.activation_range)

    def _integers_of(self, tensor: str, dtype: str) -> str:
        """``tensor`` as an operator on integers of ``dtype`` reads it."""
        written = self._written.get(tensor)
        if written is not None and written.dtype == dtype:
            return tensor
        if (tensor, dtype) not in self._read:
            if tensor in self._constants and tensor not in self._ranges:
                found = self._constant_integers(tensor, dtype)
            else:
                found = self._through(tensor, tensor, self._affine(tensor, dtype))
            self._read[tensor, dtype] = found
        return self._read[tensor, dtype]

    def _constant_integers(self, tensor: str, dtype: str) -> str:
        value = np.asarray(self._constants[tensor], np.float64)
        low, high = float(value.min(initial=0.0)), float(value.max(initial=0.0))
        own = activation_integers(TensorRange(low, high), dtype, RangeMethod.MAX)
        affine = self._joined.get((tensor, dtype), own)
        least, most = affine.limits
        integers = np.clip(np.rint(value / affine.scale), least, most) + affine.zero_point
        stored = self._constant(tensor, integers.astype(dtype))
        inputs = (stored, *self._scale_and_zero(tensor, affine))
        return self._node("DequantizeLinear", inputs, tensor, domain=self._domain(dtype))

    def _scale_and_zero(self, tensor: str, affine: AffineType) -> tuple[str, str]:
        scale = self._constant(tensor, np.asarray(affine.scale, np.float32))
        return scale, self._constant(tensor, np.asarray(affine.zero_point, affine.dtype))

    def _through(
        self, tensor: str, like: str, affine: AffineType, output: str | None = None
    ) -> str:
        """``tensor`` through QuantizeLinear and DequantizeLinear."""
        numbers = self._scale_and_zero(like, affine)
        domain = self._domain(affine.dtype)
        integers = self._node(
            "QuantizeLinear", (tensor, *numbers), like, affine.dtype, domain=domain
        )
        return self._node(
            "DequantizeLinear", (integers, *numbers), like, domain=domain, output=output
        )

    def _is_read_as(self, tensor: str, dtype: str) -> bool:
        for reader in self._source.consumers(tensor):
            wanted = self._wanted.get(reader.name)
            if isinstance(wanted, Static) and wanted.activations == dtype:
                return True
        return False

    # Operators -----------------------------------------------------------------------------------

    def add_static(self, node: Node, precision: Static) -> None:
        """The operator between DequantizeLinear and QuantizeLinear."""
        dtype = precision.activations
        if node.op in SAME_VALUES:
            passed = self._affine(node.inputs[0], dtype)
            inputs = (self._integers_of(node.inputs[0], dtype), *node.inputs[1:])
            self._write(replace(node, inputs=inputs), dict.fromkeys(node.outputs, passed))
            return
        results = {n: self._affine(n, dtype) for n in node.outputs if n in self._ranges}
        if node.op in CLAMPS:
            inputs = (self._integers_of(node.inputs[0], dtype), *node.inputs[1:])
            self._write(replace(node, inputs=inputs), results)
            return
        if not precision.weights:
            inputs = tuple(self._integers_of(n, dtype) if n else n for n in node.inputs)
            self._write(replace(node, inputs=inputs), results)
            return
        read = self._affine(node.inputs[0], dtype)
        inputs = (self._integers_of(node.inputs[0], dtype), *self._weights(node, precision, read))
        asis = node.op != "Conv" and not self._is_read_as(node.output, dtype)
        product = replace(node, inputs=inputs[: 3 if node.op != "MatMul" else 2])
        if asis:
            self.nodes.append(product)
            return
        self._write(product, results)

    def _write(self, node: Node, results: Mapping[str, AffineType]) -> None:
        """The node, its results as integers."""
        inner = {name: self._fresh_like(name) for name in node.outputs if name}
        self.nodes.append(replace(node, outputs=tuple(inner.get(n, n) for n in node.outputs)))
        for name, own in inner.items():
            self._through(own, name, results[name], output=name)
            self._written[name] = results[name]

    def _fresh_like(self, tensor: str) -> str:
        name = self._fresh(tensor)
        self._types[name] = self._types[tensor]
        if tensor in self._dynamic:
            self._dynamic.add(name)
        return name

    def _weights(self, node: Node, precision: Static, read: AffineType) -> tuple[str, ...]:
        """Weights and, where there is one, the bias."""
        weight = _outputs_first(node, self._constants[node.inputs[1]])
        scales = self._weight_scales(weight, precision.per_channel)
        most = WEIGHT_LEVELS
        if precision.narrow:
            most = NARROW_LEVELS
            scales = (scales * (WEIGHT_LEVELS / most)).astype(np.float32).astype(np.float64)
        levels, error = _rounded(weight, scales, most)
        bias = self._bias(node, weight.shape[0], error)
        stored = _as_stored(node, levels)
        zero = MIDDLE if precision.weights == "uint8" else 0
        name = self._constant(node.inputs[1], (stored + zero).astype(precision.weights))
        axis = _output_axis(node)
        real = self._dequantized(name, scales, precision.per_channel, axis, precision.weights, zero)
        if bias is None:
            return (real,)
        if node.op == "Dense" and len(self._types[node.inputs[0]].shape or ()) != 2:
            return real, self._constant(node.inputs[1], bias.astype(np.float32))
        steps = scales * read.scale
        whole = np.clip(np.rint(bias / steps), -(2**31) + 1, 2**31 - 1).astype(np.int32)
        held = self._constant(node.inputs[1], whole)
        return real, self._dequantized(held, steps, precision.per_channel, 0, None, 0)

    def _weight_scales(self, weight: _Real, per_channel: bool) -> _Real:
        grain = Granularity.CHANNEL if per_channel else Granularity.TENSOR
        return weight_scales(weight, Scales.SYMMETRIC, grain, self._scheme.weight_range)

    def _bias(self, node: Node, outputs: int, error: _Real) -> _Real | None:
        """The bias with what rounding the weights does to the mean of the outputs taken back."""
        bias = np.zeros(outputs)
        has_bias = len(node.inputs) > 2 and bool(node.inputs[2])
        if has_bias:
            bias = bias + np.asarray(self._constants[node.inputs[2]], np.float64).reshape(-1)
        if self._scheme.bias_correction and node.op != "MatMul":
            bias = bias + self._correction(node, error)
            has_bias = has_bias or bool(bias.any())
        return bias if has_bias else None

    def _correction(self, node: Node, error: _Real) -> _Real | float:
        statistics = self._ranges.get(node.inputs[0])
        known = {} if statistics is None else statistics.channels
        groups = int(node.attributes.get("group", 1))
        for axis in [1] if node.op == "Conv" else sorted(known, reverse=True):
            found = known.get(axis)
            if found is not None and len(found.mean) == error.shape[1] * groups:
                taps = error.reshape(*error.shape[:2], -1).sum(axis=2)
                return mean_change(taps, found.mean, groups)
        return 0.0

    def _dequantized(
        self,
        integers: str,
        scales: _Real,
        several: bool,
        axis: int,
        dtype: str | None,
        zero: int,
    ) -> str:
        scale = np.asarray(scales if several else scales[0], np.float32)
        inputs: tuple[str, ...] = (integers, self._constant(integers, scale))
        if dtype is not None:
            inputs = (*inputs, self._constant(integers, np.full(scale.shape, zero, dtype)))
        attributes = {"axis": axis} if several else {}
        domain = self._domain("int8")
        return self._node(
            "DequantizeLinear", inputs, integers, domain=domain, attributes=attributes
        )

    def add_dynamic(self, node: Node, precision: Dynamic) -> None:
        """A product of integers whose scale is found as it runs."""
        weight = _outputs_first(node, self._constants[node.inputs[1]])
        scales = self._weight_scales(weight, precision.per_channel)
        levels, error = _rounded(weight, scales)
        stored = self._constant(node.inputs[1], np.ascontiguousarray(levels.T).astype(np.int8))
        source = node.inputs[0]
        integers, scale, zero = (self._fresh_like(source) for _ in range(3))
        self._types[integers] = TensorType("uint8", self._types[source].shape)
        self._types[scale], self._types[zero] = TensorType("float32", ()), TensorType("uint8", ())
        outputs = (integers, scale, zero)
        name = f"{node.name}/DynamicQuantizeLinear"
        self.nodes.append(Node(name, "DynamicQuantizeLinear", (source,), outputs))
        grain = scales if precision.per_channel else scales[:1]
        column = self._constant(node.inputs[1], grain.astype(np.float32))
        none = self._constant(node.inputs[1], np.zeros(grain.shape, np.int8))
        step = self._node("Mul", (scale, column), column)
        product = (integers, stored, zero, none)
        sums = self._node("MatMulInteger", product, node.output, "int32")
        real = self._node("Cast", (sums,), node.output, attributes={"to": 1})
        self._finish(node, (real, step), self._bias(node, len(weight), error), op="Mul")

    def add_blocks(self, node: Node, precision: WeightOnly) -> None:
        """A product of floats and weights in few bits."""
        weight = _outputs_first(node, self._constants[node.inputs[1]])
        moments = None
        if precision.rounding is Rounding.GPTQ and self._moments is not None:
            moments = self._moments(node.inputs[0])
        blocks = weight_blocks(weight, precision, moments)
        inputs: tuple[str, ...] = (
            node.inputs[0],
            self._constant(node.inputs[1], blocks.packed()),
            self._constant(node.inputs[1], blocks.scales),
        )
        if precision.zero_points:
            inputs = (*inputs, self._constant(node.inputs[1], blocks.packed_zeros()))
        attributes = {
            "K": weight.shape[1],
            "N": weight.shape[0],
            "bits": precision.bits,
            "block_size": precision.block,
            "accuracy_level": precision.level,
        }
        self._microsoft = True
        bias = self._bias(node, len(weight), weight - blocks.real())
        self._finish(node, inputs, bias, op="MatMulNBits", domain=_MICROSOFT, attributes=attributes)

    def _finish(
        self,
        node: Node,
        inputs: tuple[str, ...],
        bias: _Real | None,
        *,
        op: str,
        domain: str = "",
        attributes: Mapping[str, object] | None = None,
    ) -> None:
        """The last operator in place of a node, with its bias and clamp."""
        own = dict(attributes or {})
        if bias is None:
            self.nodes.append(Node(node.name, op, inputs, node.outputs, own, domain, node.clip))
            return
        total = self._fresh_like(node.output)
        self.nodes.append(Node(node.name, op, inputs, (total,), own, domain))
        added = self._constant(node.output, bias.astype(np.float32))
        self._node("Add", (total, added), node.output, output=node.output, clip=node.clip)

    def add_half(self, node: Node, _precision: Half) -> None:
        """The operator between casts."""
        halves = []
        for name in node.inputs:
            if name in self._constants:
                with np.errstate(over="ignore"):
                    halves.append(self._constant(name, self._constants[name].astype(np.float16)))
            elif name:
                code = {"to": 10}
                halves.append(self._node("Cast", (name,), name, "float16", attributes=code))
            else:
                halves.append(name)
        inner = self._fresh_like(node.output)
        self._types[inner] = TensorType("float16", self._types[node.output].shape)
        self.nodes.append(replace(node, inputs=tuple(halves), outputs=(inner,), clip=None))
        self._node(
            "Cast",
            (inner,),
            node.output,
            output=node.output,
            clip=node.clip,
            attributes={"to": 1},
        )


def _outputs_first(node: Node, weight: npt.NDArray[np.generic]) -> _Real:
    """Weights with their outputs first, ``float64[O, ...]``."""
    real = np.asarray(weight, np.float64)
    if node.op == "Conv" or (node.op == "Gemm" and node.attributes.get("transB")):
        return real
    return np.ascontiguousarray(real.T)


def _as_stored(node: Node, levels: _Real) -> npt.NDArray[np.int16]:
    """The inverse of :func:`_outputs_first`."""
    turned = levels if _output_axis(node) == 0 else levels.T
    return np.ascontiguousarray(turned).astype(np.int16)


def _output_axis(node: Node) -> int:
    """Axis of the outputs in the weights as they are stored."""
    return 0 if node.op == "Conv" or bool(node.attributes.get("transB")) else 1


def _rounded(weight: _Real, scales: _Real, most: int = WEIGHT_LEVELS) -> tuple[_Real, _Real]:
    """Integers of symmetric int8 up to some magnitude, and what they differ by."""
    column = scales.reshape(-1, *[1] * (weight.ndim - 1))
    # Divided in float32, as QuantizeLinear does: in float64 some ties fall otherwise.
    scaled = weight.astype(np.float32) / column.astype(np.float32)
    levels = np.clip(np.rint(scaled), -most, most).astype(np.float64)
    return levels, weight - levels * column
