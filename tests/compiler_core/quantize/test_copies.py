"""What is read in two orders of memory is moved; no multiplication stays on the CPU for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import nest_tune
from compiler_core.compile.sources import load_model
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.assignment import cpu_reasons
from compiler_core.quantize.copies import with_copies


def weights(*shape):
    noise = np.random.default_rng(shape[0]).standard_normal(shape)
    return (noise / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def saved(path: Path, nodes, shape, constants) -> Path:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    given_ = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, given_)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def columns(path: Path, rows=6, width=20) -> Path:
    """A linear layer along the last axis of an image, between convolutions."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("MatMul", ["a", "m"], ["b"]),
        helper.make_node("Relu", ["b"], ["r"]),
        helper.make_node("MatMul", ["r", "n"], ["c"]),
        helper.make_node("Add", ["a", "c"], ["d"]),
        helper.make_node("Conv", ["d", "v"], ["y"]),
    ]
    constants = {
        "w": weights(16, 3, 3, 3),
        "m": weights(width, 8),
        "n": weights(8, width),
        "v": weights(5, 16, 1, 1),
    }
    return saved(path, nodes, ["N", 3, rows, width], constants)


def signal(path: Path) -> Path:
    """A layer over time behind a convolution over time, and the other way around."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[2, 2]),
        helper.make_node("MatMul", ["a", "m"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["y"]),
    ]
    constants = {"w": weights(8, 4, 5), "m": weights(24, 12), "v": weights(5, 8, 3)}
    return saved(path, nodes, [1, 4, 24], constants)


def two_readers(path: Path) -> Path:
    """The same samples are pixels in another order for one convolution, rows for another."""
    nodes = [
        helper.make_node("Reshape", ["x", "parts"], ["p"]),
        helper.make_node("Transpose", ["p"], ["t"], perm=[0, 1, 3, 5, 2, 4]),
        helper.make_node("Reshape", ["t", "whole"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["a"]),
        helper.make_node("Conv", ["x", "v"], ["b"], strides=[2, 2], group=3),
        helper.make_node("Concat", ["a", "b"], ["y"], axis=1),
    ]
    constants = {
        "w": weights(16, 12, 1, 1),
        "v": weights(3, 1, 2, 2),
        "parts": np.array([1, 3, 4, 2, 4, 2], np.int64),
        "whole": np.array([1, 12, 4, 4], np.int64),
    }
    return saved(path, nodes, [1, 3, 8, 8], constants)


@pytest.mark.parametrize("model", [columns, signal, two_readers])
def test_all_multiplications_are_on_the_npu(model, tmp_path: Path) -> None:
    path = model(tmp_path / "model.onnx")
    graph = load_model(path).graph
    random = np.random.default_rng(0)
    shape = tuple(size or 1 for size in graph.types["x"].shape or ())
    data = {"x": random.standard_normal((4, *shape[1:])).astype(np.float32)}
    made = nest_tune.compile(path, "vta", tmp_path / "pkg", calibration=data)
    assert made.macs_share_npu == 1.0
    assert nest_tune.run(tmp_path / "pkg", data, check=True).bit_exact
    moved = [reason for name, reason in made.cpu_reasons.items() if name.endswith("/copy")]
    assert moved
    assert all("lies in memory in another order" in reason for reason in moved)


@given(rows=st.integers(1, 5), width=st.integers(2, 20))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_same_function(rows, width, tmp_path: Path) -> None:
    graph = load_model(columns(tmp_path / "model.onnx", rows, width)).graph
    kept = {node.name for node in graph.nodes if node.op in ("Conv", "Dense")}
    assert not kept & cpu_reasons(graph).keys()
    x = np.random.default_rng(1).standard_normal((2, 3, rows, width)).astype(np.float32)
    expected = ReferenceEvaluator(str(tmp_path / "model.onnx")).run(None, {"x": x})
    found = FloatSession(graph).run({"x": x})["y"]
    np.testing.assert_allclose(found, expected[0], atol=1e-4)


def test_nothing_is_copied_that_lies_as_it_is_read(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["t", "m"], ["y"]),
    ]
    constants = {"w": weights(16, 3, 3, 3), "m": weights(16, 4)}
    path = saved(tmp_path / "model.onnx", nodes, [1, 3, 8, 8], constants)
    graph = load_model(path).graph
    assert all(node.op != "Identity" for node in graph.nodes)
    assert with_copies(graph) is graph
