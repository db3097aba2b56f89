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
from compiler_core.quantize.ir import IntegerOperator, QuantizedTensor, integers_read
from compiler_core.quantize.skeleton import (
    ConcatStep,
    ConvStep,
    PoolStep,
    ProductStep,
    Step,
    TransposeStep,
)

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
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
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
    names = dict.fromkeys(integers_read(operator))
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


def _nodes(step: Step) -> tuple[list[onnx.NodeProto], dict[str, npt.NDArray[Any]]]:
    if isinstance(step, ConcatStep):
        return [helper.make_node("Concat", step.inputs, [step.output], axis=1)], {}
    if isinstance(step, TransposeStep):
        return _turned(step)
    constants: dict[str, npt.NDArray[Any]] = {}
    if isinstance(step, ProductStep):
        nodes = _product(step, constants)
        return _clamped(step, nodes, constants)
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
    return _clamped(step, nodes, constants)


def _clamped(
    step: ConvStep | PoolStep | ProductStep,
    nodes: list[onnx.NodeProto],
    constants: dict[str, npt.NDArray[Any]],
) -> tuple[list[onnx.NodeProto], dict[str, npt.NDArray[Any]]]:
    if step.clip is not None:
        constants["%low"], constants["%high"] = (np.array(v, np.float32) for v in step.clip)
        source = nodes[-1].output[0]
        nodes.append(helper.make_node("Clip", [source, "%low", "%high"], ["%clipped"]))
    nodes[-1].output[0] = step.output
    return nodes, constants


def _turned(
    step: TransposeStep,
) -> tuple[list[onnx.NodeProto], dict[str, npt.NDArray[Any]]]:
    constants: dict[str, npt.NDArray[Any]] = {}
    nodes = [
        *_by_pixel(step.input, "%0", step.groups, constants),
        helper.make_node("Transpose", ["%0"], ["%1"], perm=(0, 3, 2, 1)),
        *_as_image("%1", step.output),
    ]
    return nodes, constants


def _product(step: ProductStep, constants: dict[str, npt.NDArray[Any]]) -> list[onnx.NodeProto]:
    return [
        *_by_pixel(step.input, "%0", step.groups, constants),
        *_by_pixel(step.operand, "%1", step.groups, constants),
        helper.make_node("Transpose", ["%0"], ["%a"], perm=(0, 2, 1, 3)),
        helper.make_node("Transpose", ["%1"], ["%b"], perm=(0, 2, 3, 1)),
        helper.make_node("MatMul", ["%a", "%b"], ["%2"]),
        helper.make_node("Transpose", ["%2"], ["%3"], perm=(0, 2, 1, 3)),
        *_as_image("%3", "%4"),
    ]


def _by_pixel(
    tensor: str, output: str, groups: int, constants: dict[str, npt.NDArray[Any]]
) -> list[onnx.NodeProto]:
    """``[samples, pixels, groups, K]``."""
    constants["%pixels"] = np.array([0, 0, -1], np.int64)
    constants["%row"] = np.array([2], np.int64)
    constants["%groups"] = np.array([0, 0, groups, -1], np.int64)
    names = [f"{output}/pixels", f"{output}/turned"]
    return [
        helper.make_node("Reshape", [tensor, "%pixels"], names[:1]),
        helper.make_node("Transpose", names[:1], names[1:], perm=(0, 2, 1)),
        helper.make_node("Reshape", [names[1], "%groups"], [output]),
    ]


def _as_image(tensor: str, output: str) -> list[onnx.NodeProto]:
    """``[samples, groups * J, 1, pixels]`` of ``[samples, pixels, groups, J]``."""
    names = [f"{output}/flat", f"{output}/turned"]
    return [
        helper.make_node("Reshape", [tensor, "%pixels"], names[:1]),
        helper.make_node("Transpose", names[:1], names[1:], perm=(0, 2, 1)),
        helper.make_node("Unsqueeze", [names[1], "%row"], [output]),
    ]


def _convolution(
    step: ConvStep, shared: Mapping[str, Any], constants: dict[str, npt.NDArray[Any]]
) -> list[onnx.NodeProto]:
    constants["%weight"] = step.weight.astype(np.float32)
    constants["%bias"] = step.bias.astype(np.float32)
    inputs = [step.input, "%weight", "%bias"]
    nodes = [helper.make_node("Conv", inputs, ["%0"], group=step.groups, **shared)]
    if step.residual is not None:
        nodes.append(helper.make_node("Add", ["%0", step.residual], ["%1"]))
    if step.interleave > 1:
        nodes.append(helper.make_node("DepthToSpace", ["%0"], ["%1"], blocksize=step.interleave))
    return nodes


def _value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, _AXES)
