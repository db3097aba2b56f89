"""One integer operator in QDQ form, as the writer of whole models puts it down."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto, helper

from compiler_core.graph.exporter import BATCH_AXIS
from compiler_core.quantize import qdq
from compiler_core.quantize.ir import IntegerOperator, QuantizedTensor, integers_read


def operator_model(
    operator: IntegerOperator, tensors: Mapping[str, QuantizedTensor]
) -> onnx.ModelProto:
    """One operator in QDQ form, from int8 inputs to its int8 output."""
    writer = qdq._Writer(tensors, {"": qdq._QDQ_OPSET})
    names = dict.fromkeys(integers_read(operator))
    writer.integers.update({name: name for name in names})
    writer.add(operator)
    last = writer.nodes[-1]
    last.output[0] = operator.output
    graph = helper.make_graph(
        writer.nodes,
        "operator",
        [_int8(tensors[name]) for name in names],
        [_int8(tensors[operator.output])],
        list(writer.initializers.values()),
    )
    return writer.model(graph, ())


def _int8(tensor: QuantizedTensor) -> onnx.ValueInfoProto:
    shape: list[str | int | None] = [BATCH_AXIS, *tensor.shape[1:]]
    return helper.make_tensor_value_info(tensor.name, TensorProto.INT8, shape)
