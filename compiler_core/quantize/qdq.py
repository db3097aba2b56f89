"""The quantized graph as an ONNX model in QDQ form, for any ONNX runtime.

Every int8 tensor is a QuantizeLinear and DequantizeLinear pair with a power-of-two scale and zero
point 0; weights are int8 behind a DequantizeLinear, per channel where shifts are. Float segments
stay float, operators of the CPU that compute in integers are in QDQ form too.

A runtime rounds half to even where the integer operators round half up. So the bias, added in float
behind the convolution, holds a quarter of an accumulator unit more: no sum lies between two
integers any more, and all others round as before. In float32, which holds every sum up to ``2**22``
with its quarter, a runtime then computes the very integers. One that fuses the convolution into an
integer kernel regardless drops the quarter, and may differ by 1 per operator; kernels that saturate
8-bit products (those of CPUs without 8-bit dot products) differ by more, which is why the bias is
not one that they recognize. Below operator set 13 the quantization operators are those of the
``com.microsoft`` domain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from compiler_core.graph.exporter import IR_VERSION, write_model
from compiler_core.graph.ir import Graph
from compiler_core.quantize.ir import (
    FloatSegment,
    IntegerConcat,
    IntegerConv,
    IntegerMaxPool,
    IntegerOperator,
    IntegerProduct,
    IntegerTranspose,
    QuantizedGraph,
    QuantizedTensor,
    TensorView,
)
from compiler_core.quantize.number_casts import CASTS_FROM_OPSET, with_casts

_QDQ_OPSET = 13
_CLIP_INPUTS_OPSET = 11
_PAD_INPUTS_OPSET = 11
_SLICE_INPUTS_OPSET = 10
_ZERO_POINTS_OF_INT8_FAIL = 21
"""Operator set from which on onnxruntime 1.32 refuses, at its default optimization, models in which
something else than a quantization operator follows a view of what was int8 with a zero point: it
moves DequantizeLinear behind the view and takes the zero point of its copy for uint8."""
_TIE_BREAKER = 0.25
"""Added to accumulators before they are rounded, in their units."""
_MICROSOFT = "com.microsoft"


def qdq_model(quantized: QuantizedGraph) -> onnx.ModelProto:
    """The whole model; inputs, outputs and batch axis are those of the float graph."""
    source = quantized.source
    opsets = dict(source.opsets)
    if not any(isinstance(segment, FloatSegment) for segment in quantized.segments):
        opsets = {"": max(opsets.get("", _QDQ_OPSET), _QDQ_OPSET)}
    writer = _Writer(quantized.tensors, opsets)
    for segment in quantized.segments:
        if isinstance(segment, FloatSegment) and segment.qdq is not None:
            writer.require(segment.qdq.opsets)
            writer.taken |= set(segment.qdq.types)
    writer.taken |= set(source.types) | set(source.constants)
    read = _float_inputs(quantized)
    floats = read | set(source.outputs)
    for segment in quantized.segments:
        if isinstance(segment, FloatSegment):
            part = write_model(segment.qdq or segment.graph)
            if segment.number is not None and opsets.get("", 0) >= CASTS_FROM_OPSET:
                written = {name for node in segment.graph.nodes for name in node.outputs}
                part = with_casts(part, segment.number.number, written, writer.taken)
            writer.add_model(part)
            continue
        for name in segment.inputs:
            if name not in writer.integers:
                nchw = writer.to_nchw(name, quantized.views[name])
                writer.quantize(nchw, quantized.tensors[name])
        for operator in segment.operators:
            writer.add(operator)
        for name in segment.outputs:
            if name in floats:
                shape = source.types[name].shape or ()
                writer.from_nchw(name, quantized.views[name], shape, guarded=name in read)
    written = {name for node in writer.nodes for name in node.output}
    for name in source.outputs:
        if name in source.constants and name not in written:
            writer.constant(source.constants[name], name)
    template = write_model(_interface(source))
    graph = helper.make_graph(
        writer.nodes,
        source.name or "graph",
        list(template.graph.input),
        list(template.graph.output),
        list(writer.initializers.values()),
    )
    return writer.model(graph, source.functions)


def _float_inputs(quantized: QuantizedGraph) -> set[str]:
    """Tensors that float segments read."""
    return {
        name
        for segment in quantized.segments
        if isinstance(segment, FloatSegment)
        for name in segment.graph.inputs
    }


def _interface(graph: Graph) -> Graph:
    """The graph's inputs and outputs alone."""
    return Graph(
        graph.name,
        graph.inputs,
        graph.outputs,
        (),
        {},
        graph.types,
        graph.opsets,
        (),
        graph.dynamic_batch,
        graph.batch_dependent,
    )


class _Writer:
    def __init__(self, tensors: Mapping[str, QuantizedTensor], opsets: Mapping[str, int]) -> None:
        self._tensors = tensors
        self._opsets = dict(opsets)
        self._opset = self._opsets.get("", _QDQ_OPSET)
        self._domain = "" if self._opset >= _QDQ_OPSET else _MICROSOFT
        if self._domain:
            self._opsets.setdefault(_MICROSOFT, 1)
        self._reals: dict[str, str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.integers: dict[str, str] = {}
        self.taken: set[str] = set(tensors)

    def model(self, graph: onnx.GraphProto, functions: Sequence[bytes]) -> onnx.ModelProto:
        """Wrap a graph made of what was written."""
        if self._opset >= _ZERO_POINTS_OF_INT8_FAIL:
            self._leave_out_zero_points(graph)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(d, v) for d, v in sorted(self._opsets.items())],
            functions=[onnx.FunctionProto.FromString(item) for item in functions],
            ir_version=IR_VERSION,
            producer_name="nest-tune",
        )

    @staticmethod
    def _leave_out_zero_points(graph: onnx.GraphProto) -> None:
        """DequantizeLinear of int8 takes 0 where none is given."""
        zeros = {
            tensor.name
            for tensor in graph.initializer
            if tensor.data_type == TensorProto.INT8 and not numpy_helper.to_array(tensor).any()
        }
        for node in graph.node:
            is_dequantized = node.op_type == "DequantizeLinear" and not node.domain
            if is_dequantized and len(node.input) > 2 and node.input[2] in zeros:
                del node.input[2]

    def require(self, opsets: Mapping[str, int]) -> None:
        """Declare the operator sets of a float segment."""
        for domain, version in opsets.items():
            self._opsets.setdefault(domain, version)

    def add_model(self, model: onnx.ModelProto) -> None:
        """A float segment, under the names it has."""
        self.nodes.extend(model.graph.node)
        for tensor in model.graph.initializer:
            self.initializers.setdefault(tensor.name, tensor)
        self.taken |= {name for node in model.graph.node for name in node.output}

    def add(self, operator: IntegerOperator) -> None:
        """An integer operator between its dequantized inputs and its quantized output."""
        output = self._tensors[operator.output]
        if isinstance(operator, IntegerConcat):
            reals = [self._real(name) for name in operator.inputs]
            self.quantize(self._node("Concat", reals, operator.name, axis=1), output)
            return
        if isinstance(operator, IntegerTranspose):
            self.quantize(self._transpose(operator), output)
            return
        if isinstance(operator, IntegerProduct):
            result = self._product(operator)
        elif isinstance(operator, IntegerMaxPool):
            result = self._node(
                "MaxPool",
                [self._real(operator.input)],
                operator.name,
                kernel_shape=operator.kernel,
                strides=operator.strides,
                pads=operator.pads,
                dilations=operator.dilations,
            )
        else:
            result = self._conv(operator)
        self.quantize(self._clip(result, operator, output), output)

    def _conv(self, operator: IntegerConv) -> str:
        shifts = operator.channel_shifts
        output = self._tensors[operator.output].exponent
        accumulator = output + (operator.shift if shifts is None else shifts)
        weight_exponent = accumulator - self._tensors[operator.input].exponent
        inputs = [
            self._real(operator.input),
            self._dequantized(self.constant(operator.weight), weight_exponent),
        ]
        result = self._node(
            "Conv",
            inputs,
            operator.name,
            kernel_shape=operator.weight.shape[2:],
            strides=operator.strides,
            pads=operator.pads,
            dilations=operator.dilations,
            group=operator.groups,
        )
        quarter = operator.bias.astype(np.float64) + (operator.shift > 0) * _TIE_BREAKER
        bias = np.ldexp(quarter, -accumulator).astype(np.float32).reshape(-1, 1, 1)
        result = self._node("Add", [result, self.constant(bias)])
        if operator.interleave > 1:
            return self._node("DepthToSpace", [result], blocksize=operator.interleave)
        if operator.residual is None:
            return result
        return self._node("Add", [result, self._real(operator.residual)])

    def _grouped(self, tensor: str, groups: int, *, swapped: bool) -> str:
        """``[N, groups, K, pixels]`` of a tensor, its last two axes ``swapped`` or not."""
        _, channels, height, width = self._tensors[tensor].shape
        split = self._reshape(self._real(tensor), (groups, channels // groups, height * width))
        return self._node("Transpose", [split], perm=(0, 1, 3, 2)) if swapped else split

    def _transpose(self, operator: IntegerTranspose) -> str:
        turned = self._grouped(operator.input, operator.groups, swapped=True)
        return self._reshape(turned, self._tensors[operator.output].shape[1:])

    def _product(self, operator: IntegerProduct) -> str:
        factors = [
            self._grouped(operator.operand, operator.groups, swapped=True),
            self._grouped(operator.input, operator.groups, swapped=False),
        ]
        result = self._node("MatMul", factors, operator.name)
        output = self._tensors[operator.output]
        quarter = (operator.shift > 0) * _TIE_BREAKER
        bias = np.float32(np.ldexp(quarter, -output.exponent - operator.shift))
        result = self._node("Add", [result, self.constant(bias)])
        return self._reshape(result, output.shape[1:])

    def _clip(
        self,
        source: str,
        operator: IntegerConv | IntegerMaxPool | IntegerProduct,
        output: QuantizedTensor,
    ) -> str:
        integers = (operator.clip_min, operator.clip_max)
        if integers == (-128, 127):
            return source
        if integers == (0, 127):
            return self._node("Relu", [source])
        low, high = (np.float32(limit * 2.0**-output.exponent) for limit in integers)
        return self._clamp(source, low, high)

    def _clamp(
        self, source: str, low: np.float32, high: np.float32, output: str | None = None
    ) -> str:
        if self._opset < _CLIP_INPUTS_OPSET:
            return self._node("Clip", [source], output=output, min=float(low), max=float(high))
        limits = [self.constant(low), self.constant(high)]
        return self._node("Clip", [source, *limits], output=output)

    def quantize(self, source: str, tensor: QuantizedTensor) -> None:
        """``source`` becomes the int8 ``tensor``."""
        inputs = [source, *self._scale(tensor.exponent)]
        self.integers[tensor.name] = self._node("QuantizeLinear", inputs, quantization=True)

    def _real(self, tensor: str) -> str:
        if tensor not in self._reals:
            exponent = self._tensors[tensor].exponent
            self._reals[tensor] = self._dequantized(self.integers[tensor], exponent)
        return self._reals[tensor]

    def _dequantized(self, integers: str, exponent: int | npt.NDArray[np.integer]) -> str:
        if not isinstance(exponent, int):
            scales = self.constant(np.ldexp(np.float32(1), -exponent))
            # The zero points, all 0, are left out.
            inputs = [integers, scales]
            return self._node("DequantizeLinear", inputs, quantization=True, axis=0)
        # Zero points are left out for int32, which knows none but 0.
        scale, zero = self._scale(exponent)
        wide = integers in self.initializers and (
            self.initializers[integers].data_type == TensorProto.INT32
        )
        inputs = [integers, scale] if wide else [integers, scale, zero]
        return self._node("DequantizeLinear", inputs, quantization=True)

    def _scale(self, exponent: int) -> list[str]:
        scale = np.float32(2.0**-exponent)
        return [
            self.constant(scale, f"%scale{exponent}"),
            self.constant(np.int8(0), "%zero_point"),
        ]

    def to_nchw(self, tensor: str, view: TensorView) -> str:
        """A float graph tensor as ``[N, C, H, W]``."""
        name = self._reshape(tensor, view.split[1:])
        if view.permutation != tuple(range(len(view.permutation))):
            name = self._node("Transpose", [name], perm=view.permutation)
        if view.padded:
            name = self._padded(name, view)
        return self._reshape(name, self._tensors[tensor].shape[1:])

    def _padded(self, tensor: str, view: TensorView) -> str:
        """Zeros behind each axis."""
        behind = [most - size for most, size in zip(view.padded, view.permuted, strict=True)]
        amounts = [0] * len(behind) + behind
        if self._opset < _PAD_INPUTS_OPSET:
            return self._node("Pad", [tensor], pads=amounts)
        return self._node("Pad", [tensor, self.constant(np.array(amounts, np.int64))])

    def _cut(self, tensor: str, view: TensorView) -> str:
        """The inverse of :meth:`_padded`."""
        sizes = list(view.permuted[1:])
        axes = list(range(1, len(sizes) + 1))
        if self._opset < _SLICE_INPUTS_OPSET:
            starts = [0] * len(sizes)
            return self._node("Slice", [tensor], starts=starts, ends=sizes, axes=axes)
        limits = ([0] * len(sizes), sizes, axes)
        return self._node(
            "Slice", [tensor, *(self.constant(np.array(v, np.int64)) for v in limits)]
        )

    def from_nchw(
        self, tensor: str, view: TensorView, shape: Sequence[int | None], *, guarded: bool
    ) -> None:
        """The dequantized ``tensor`` under its name in the float graph.

        A clamp that clips nothing guards it: onnxruntime takes a float convolution right between
        DequantizeLinear and QuantizeLinear for one whose weights somebody forgot, and quantizes
        them.
        """
        name = self._real(tensor)
        name = self._reshape(name, (view.padded or view.permuted)[1:])
        if view.padded:
            name = self._cut(name, view)
        if view.permutation != tuple(range(len(view.permutation))):
            inverse = [int(axis) for axis in np.argsort(view.permutation)]
            name = self._node("Transpose", [name], perm=inverse)
        sizes = self.constant(np.array([0, *(size or 1 for size in shape[1:])], np.int64))
        if not guarded:
            self.nodes.append(helper.make_node("Reshape", [name, sizes], [tensor]))
            return
        name = self._node("Reshape", [name, sizes])
        step = np.float32(2.0 ** -self._tensors[tensor].exponent)
        self._clamp(name, step * np.float32(-128), step * np.float32(127), tensor)

    def _reshape(self, tensor: str, sample: Sequence[int]) -> str:
        sizes = self.constant(np.array([0, *sample], dtype=np.int64))
        return self._node("Reshape", [tensor, sizes])

    def constant(self, value: npt.NDArray[np.generic] | np.generic, name: str | None = None) -> str:
        """An initializer; a given ``name`` is written once."""
        name = self._fresh() if name is None else name
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def _node(
        self,
        op: str,
        inputs: Sequence[str],
        name: str = "",
        *,
        quantization: bool = False,
        output: str | None = None,
        **attributes: Any,
    ) -> str:
        output = self._fresh() if output is None else output
        domain = self._domain if quantization else ""
        node = helper.make_node(op, inputs, [output], name=name, domain=domain, **attributes)
        self.nodes.append(node)
        return output

    def _fresh(self) -> str:
        number = len(self.nodes) + len(self.initializers)
        while f"%{number}" in self.taken:
            number += 1
        self.taken.add(f"%{number}")
        return f"%{number}"
