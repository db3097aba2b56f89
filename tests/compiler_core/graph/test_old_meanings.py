"""Operators that meant something else in older operator sets, or that onnxruntime has earlier than
the standard, compute what onnxruntime computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession

_X = np.random.default_rng(0).standard_normal((1, 4, 6, 5)).astype(np.float32)


def check(
    opset: int,
    op: str,
    constants: dict[str, npt.NDArray[Any]],
    further: tuple[str, ...] = (),
    **attributes: Any,
) -> None:
    """An operator, and others of onnxruntime's own behind it, with which a model stays old."""
    nodes = [helper.make_node(op, ["x", *constants], ["y0"], **attributes)]
    for place, own in enumerate(further):
        names = [f"y{place}"], [f"y{place + 1}"]
        nodes.append(helper.make_node(own, *names, domain="com.microsoft"))
    nodes[-1].output[0] = "y"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, _X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=6)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = FloatSession(simplify(import_model(model))).run({"x": _X})["y"]
    np.testing.assert_allclose(found, session.run(None, {"x": _X})[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [7, 9, 10])
@pytest.mark.parametrize(
    "scales", [(1, 1, 2, 2), (1, 1, 1.6, 2.4), (1, 1, 3, 1), (1, 1, 0.7, 0.6), (1, 1, 1.7, 0.6)]
)
def test_sizes_are_changed_from_the_corners_of_pixels(
    scales: tuple[float, ...], opset: int, mode: str
) -> None:
    if opset < 10:  # Upsample only grows
        scales = tuple(max(scale, 1) for scale in scales)
    if opset < 9:
        check(opset, "Upsample", {}, mode=mode, scales=[float(scale) for scale in scales])
    else:
        op = "Upsample" if opset == 9 else "Resize"
        check(opset, op, {"s": np.array(scales, np.float32)}, mode=mode)


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("opset", [7, 12, 13])
def test_the_largest_is_of_all_axes(axis: int, opset: int) -> None:
    check(opset, "Hardmax", {}, axis=axis)


@pytest.mark.parametrize("opset", [9, 12, 13, 16, 17])
@pytest.mark.parametrize("biased", [True, False])
def test_layers_are_normalized(opset: int, biased: bool) -> None:
    constants = {"g": np.arange(1, 6, dtype=np.float32)}
    if biased:
        constants["b"] = np.arange(5, dtype=np.float32)
    check(opset, "LayerNormalization", constants, epsilon=1e-3)


@pytest.mark.parametrize("opset", [18, 20, 21])
def test_groups_are_normalized(opset: int) -> None:
    size = 4 if opset >= 21 else 2
    constants = {"g": np.arange(1, size + 1), "b": np.arange(size)}
    given = {name: array.astype(np.float32) for name, array in constants.items()}
    check(opset, "GroupNormalization", given, num_groups=2)


@pytest.mark.parametrize(
    ("op", "opset"), [("ThresholdedRelu", 9), ("MeanVarianceNormalization", 8)]
)
def test_others(op: str, opset: int) -> None:
    check(opset, op, {})


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("opset", [7, 9, 10, 12])
def test_pools_of_models_that_stay_old(op: str, opset: int) -> None:
    check(opset, op, {}, ("QuickGelu",), kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_UPPER")
