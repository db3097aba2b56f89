"""One operator at a time through onnxruntime: in float, and in its exact integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from compiler_core.quantize.exact import exact_model
from compiler_core.quantize.ir import IntegerOperator, QuantizedTensor
from compiler_core.quantize.skeleton import ConcatStep, ConvStep, PoolStep, Step

_OPSET = 17
_IR_VERSION = 10
_AXES = ["samples", "channels", "height", "width"]


class OperatorSession:
    """An operator over float32 ``[samples, C, H, W]``, ready to run on one thread.

    Args:
        model: With one output.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """Its output by name."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))


def integer_session(
    operator: IntegerOperator, tensors: Mapping[str, QuantizedTensor]
) -> OperatorSession:
    """``operator`` over floats that hold its integers."""
    inputs = operator.inputs if hasattr(operator, "inputs") else (operator.input,)
    residual = getattr(operator, "residual", None)
    names = dict.fromkeys((*inputs, *([] if residual is None else [residual])))
    return OperatorSession(exact_model([operator], tensors, list(names), [operator.output]))


def real_session(step: Step) -> OperatorSession:
    """``step`` with its real weights, in float32."""
    nodes, constants = _nodes(step)
    graph = helper.make_graph(
        nodes,
        "step",
        [_value(name) for name in dict.fromkeys(step.inputs)],
        [_value(step.output)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    return OperatorSession(helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION))


def _nodes(step: Step) -> tuple[list[onnx.NodeProto], dict[str, npt.NDArray[np.float32]]]:
    if isinstance(step, ConcatStep):
        return [helper.make_node("Concat", step.inputs, [step.output], axis=1)], {}
    constants: dict[str, npt.NDArray[np.float32]] = {}
    shared: dict[str, Any] = {
        "strides": step.strides,
        "pads": step.pads,
        "dilations": step.dilations,
    }
    if isinstance(step, PoolStep):
        nodes = [
            helper.make_node("MaxPool", [step.input], ["%0"], kernel_shape=step.kernel, **shared)
        ]
    else:
        nodes = _convolution(step, shared, constants)
    if step.clip is not None:
        constants["%low"], constants["%high"] = (np.array(v, np.float32) for v in step.clip)
        source = nodes[-1].output[0]
        nodes.append(helper.make_node("Clip", [source, "%low", "%high"], ["%clipped"]))
    nodes[-1].output[0] = step.output
    return nodes, constants


def _convolution(
    step: ConvStep, shared: Mapping[str, Any], constants: dict[str, npt.NDArray[np.float32]]
) -> list[onnx.NodeProto]:
    constants["%weight"] = step.weight.astype(np.float32)
    constants["%bias"] = step.bias.astype(np.float32)
    inputs = [step.input, "%weight", "%bias"]
    nodes = [helper.make_node("Conv", inputs, ["%0"], group=step.groups, **shared)]
    if step.residual is not None:
        nodes.append(helper.make_node("Add", ["%0", step.residual], ["%1"]))
    return nodes


def _value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, _AXES)
