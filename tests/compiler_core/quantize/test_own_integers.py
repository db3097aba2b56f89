"""What is read from a quantized model says what the model says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.compile.sources import FloatModel, load_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.quantize.own_integers import holds_integers, reason_misread
from compiler_core.quantize.profile import profile_model
from nest_tune.api.quantizing import compile_warnings

SAMPLES = {"x": np.random.default_rng(1).standard_normal((12, 6)).astype(np.float32)}


def written(path: Path, *, linear: bool) -> Path:
    """A dense layer on int8, between conversions or as an operator of integers."""
    random = np.random.default_rng(0)
    values = {
        "s": np.array(2.0**-5, np.float32),
        "z": np.array(0, np.int8),
        "w": random.integers(-127, 128, (6, 5)).astype(np.int8),
        "ws": np.array(2.0**-7, np.float32),
        "ys": np.array(2.0**-4, np.float32),
    }
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"])]
    if linear:
        inputs = ["xq", "s", "z", "w", "ws", "z", "ys", "z"]
        nodes.append(helper.make_node("QLinearMatMul", inputs, ["yq"]))
    else:
        nodes += [
            helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xr"]),
            helper.make_node("DequantizeLinear", ["w", "ws", "z"], ["wr"]),
            helper.make_node("MatMul", ["xr", "wr"], ["yr"]),
            helper.make_node("QuantizeLinear", ["yr", "ys", "z"], ["yq"]),
        ]
    nodes.append(helper.make_node("DequantizeLinear", ["yq", "ys", "z"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opsets), path)
    return path


def misread(model: FloatModel) -> FloatModel:
    """One of its weights with the other sign."""
    name, weight = next((n, v) for n, v in model.graph.constants.items() if v.ndim == 2)
    changed = {**model.graph.constants, name: -weight}
    return replace(model, graph=replace(model.graph, constants=changed))


@pytest.mark.parametrize("linear", [False, True])
def test_what_is_read_rightly_says_the_same(tmp_path: Path, linear: bool) -> None:
    model = load_model(written(tmp_path / "model.onnx", linear=linear))
    assert model.own is not None
    assert holds_integers(model.own)
    assert not holds_integers(model.graph)
    assert reason_misread(model.own, model.graph, SAMPLES) == ""


@pytest.mark.parametrize("linear", [False, True])
def test_what_is_read_wrongly_is_told(tmp_path: Path, linear: bool) -> None:
    model = misread(load_model(written(tmp_path / "model.onnx", linear=linear)))
    assert model.own is not None
    reason = reason_misread(model.own, model.graph, SAMPLES)
    assert reason.startswith("output 'y' has SQNR -")
    profile = profile_model(model.graph, SAMPLES)
    (warning, *_) = compile_warnings(Configuration(), model, profile)
    assert warning.startswith("the model is quantized already")
    assert reason in warning


def test_samples_that_do_not_fit_tell_nothing(tmp_path: Path) -> None:
    model = misread(load_model(written(tmp_path / "model.onnx", linear=False)))
    assert model.own is not None
    assert reason_misread(model.own, model.graph, {"x": SAMPLES["x"][:, :3]}) == ""


def test_a_float_model_has_no_integers_of_its_own() -> None:
    assert load_model(Path("examples/digits/model.onnx")).own is None
