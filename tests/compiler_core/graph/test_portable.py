"""Float results that do not depend on the width of a processor's vectors."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.portable import spell_softmax
from compiler_core.graph.session import FloatSession

ROOT = Path(__file__).resolve().parents[3]


def scores(op: str, opset: int, axis: int | None) -> onnx.ModelProto:
    node = helper.make_node(op, ["x"], ["y"], **({} if axis is None else {"axis": axis}))
    x, y = (helper.make_tensor_value_info(name, 1, [3, 5, 7]) for name in "xy")
    graph = helper.make_graph([node], "scores", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model: onnx.ModelProto, x: np.ndarray, level: str = "ALL") -> np.ndarray:
    options = onnxruntime.SessionOptions()
    name = "ORT_DISABLE_ALL" if level == "NONE" else f"ORT_ENABLE_{level}"
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, name)
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x})
    return found


@pytest.mark.parametrize("opset", [11, 12, 13, 17, 18, 21])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1, -2])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_spelled_softmax_is_softmax(op: str, axis: int | None, opset: int) -> None:
    model = scores(op, opset, axis)
    x = 5 * np.random.default_rng(0).standard_normal((3, 5, 7)).astype(np.float32)
    x[0, 0, 0] = -np.inf
    expected = run(model, x)
    assert spell_softmax(model)
    assert not spell_softmax(model)
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(run(model, x), expected, rtol=2e-6, atol=1e-6)


def test_softmax_of_a_session_is_made_of_parts_that_add_in_one_order() -> None:
    """Of ReduceSum, not of a kernel whose sums have as many parts as a vector has lanes."""
    x = np.random.default_rng(1).standard_normal((40, 301)).astype(np.float32)
    graph = import_model(_one(helper.make_node("Softmax", ["x"], ["y"], axis=-1), x.shape))
    powers = run(_one(helper.make_node("Exp", ["x"], ["y"]), x.shape), x - x.max(1, keepdims=True))
    summed = _one(helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1), x.shape)
    summed.graph.initializer.append(helper.make_tensor("axes", 7, [1], [1]))
    found = FloatSession(graph).run({"x": x})["y"]
    np.testing.assert_array_equal(found, powers / run(summed, powers))


def _one(node: onnx.NodeProto, shape: tuple[int, ...]) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", 1, shape)
    graph = helper.make_graph([node], "one", [x], [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.graph.output[0].type.tensor_type.elem_type = 1
    return model


def test_convolutions_add_as_they_stand() -> None:
    """Not over blocks of channels, as many as a vector has lanes."""
    random = np.random.default_rng(2)
    x = random.standard_normal((1, 48, 12, 12)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)
    model = _one(node, x.shape)
    weight = random.standard_normal((64, 48, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    found = FloatSession(import_model(model)).run({"x": x})["y"]
    np.testing.assert_array_equal(found, run(model, x, "NONE"))


_OTHER = "Haswell"
"""AVX2 and FMA, vectors of eight; this machine may have more."""


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("qemu-x86_64") is None or platform.machine() != "x86_64",
    reason="another processor is emulated by qemu-x86_64",
)
def test_packages_are_those_of_an_emulated_processor(tmp_path: Path) -> None:
    """The digits and a transformer block, by every rung of the ladder and by GPTQ."""
    script = ROOT / "benchmarks" / "machines.py"
    command = [sys.executable, str(script), "--digests"]
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path)}
    here, there = (
        json.loads(subprocess.run(c, env=environment, check=True, capture_output=True).stdout)
        for c in (command, ["qemu-x86_64", "-cpu", _OTHER, *command])
    )
    assert here == there
    assert len(here) > 10
