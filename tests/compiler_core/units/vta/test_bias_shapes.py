"""Biases of other shapes than ONNX allows are left to the CPU, or refused where that does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nest_tune
from compiler_core.errors import InputError


@pytest.mark.parametrize("shape", [(16, 1, 3, 3), (144,), (1, 16), (1,)])
def test_a_bias_that_is_not_one_value_per_channel_is_not_for_the_npu(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    arrays = {"w": np.ones((16, 1, 3, 3), np.float32), "b": np.ones(shape, np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], name="conv")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 2, 2])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    try:
        made = nest_tune.compile(tmp_path / "m.onnx", "vta", tmp_path / "out")
    except InputError:
        return
    assert made.npu_segments == 0
