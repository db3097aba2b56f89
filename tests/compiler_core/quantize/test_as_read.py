"""What is read from a model says what the model says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.compile.sources import FloatModel, load_model
from compiler_core.graph.chance import depends_on_chance
from compiler_core.graph.importer import import_onnx
from compiler_core.quantize.as_read import holds_integers, reason_misread
from compiler_core.quantize.profile import profile_model
from nest_tune.api.quantizing import misread_warnings

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
    name, weight = next((n, v) for n, v in model.graph.constants.items() if v.ndim >= 2)
    changed = {**model.graph.constants, name: -weight}
    return replace(model, graph=replace(model.graph, constants=changed))


@pytest.mark.parametrize("linear", [False, True])
def test_what_is_read_rightly_says_the_same(tmp_path: Path, linear: bool) -> None:
    path = written(tmp_path / "model.onnx", linear=linear)
    imported, model = import_onnx(path), load_model(path)
    assert holds_integers(imported)
    assert not holds_integers(model.graph)
    assert reason_misread(imported, model.graph, SAMPLES) == ""


@pytest.mark.parametrize("linear", [False, True])
def test_what_is_read_wrongly_is_told(tmp_path: Path, linear: bool) -> None:
    path = written(tmp_path / "model.onnx", linear=linear)
    model = misread(load_model(path))
    reason = reason_misread(import_onnx(path), model.graph, SAMPLES)
    assert reason.startswith("output 'y' has SQNR -")
    profile = profile_model(model.graph, SAMPLES)
    (warning,) = misread_warnings(path, {}, model, profile)
    assert warning.startswith("the model is quantized already")
    assert reason in warning


def test_samples_that_do_not_fit_tell_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "model.onnx", linear=False)
    model = misread(load_model(path))
    assert reason_misread(import_onnx(path), model.graph, {"x": SAMPLES["x"][:, :3]}) == ""


DIGITS = Path("examples/digits")


def digits() -> dict[str, np.ndarray[Any, Any]]:
    """Calibration data of the example."""
    with np.load(DIGITS / "calib.npz") as file:
        return {"image": file["x"]}


def test_a_float_model_is_held_to_its_file() -> None:
    path, model = DIGITS / "model.onnx", load_model(DIGITS / "model.onnx")
    profile = profile_model(model.graph, digits())
    assert misread_warnings(path, {}, model, profile) == ()
    for wrong in (misread(model), replace(misread(model), imported=None)):
        (warning,) = misread_warnings(path, {}, wrong, profile)
        assert "other results than its file in onnxruntime: output " in warning
    assert not holds_integers(import_onnx(path))


def test_little_that_is_read_wrongly_in_float_is_told_too() -> None:
    """Such noise would be allowed to a quantization."""
    path, model = DIGITS / "model.onnx", load_model(DIGITS / "model.onnx")
    name, weight = next((n, v) for n, v in model.graph.constants.items() if v.ndim >= 2)
    changed = {**model.graph.constants, name: weight * np.float32(0.95)}
    changed[name].flags.writeable = False
    graph = replace(model.graph, constants=changed)
    assert reason_misread(import_onnx(path), graph, digits())


def test_another_file_by_then_tells_nothing(tmp_path: Path) -> None:
    model = load_model(written(tmp_path / "model.onnx", linear=True))
    profile = profile_model(model.graph, SAMPLES)
    path = written(tmp_path / "model.onnx", linear=False)
    large = replace(misread(model), imported=None)
    assert misread_warnings(path, {}, large, profile) == ()
    assert misread_warnings(path, {}, misread(model), profile)
    path.unlink()
    assert misread_warnings(path, {}, large, profile) == ()


def test_what_is_drawn_tells_nothing(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"]),
        helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 6]) for name in "xy"]
    graph = helper.make_graph(nodes, "drawn", ports[:1], ports[1:])
    path = tmp_path / "model.onnx"
    onnx.save(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path
    )
    model = load_model(path)
    assert depends_on_chance(model.graph)
    assert reason_misread(import_onnx(path), model.graph, SAMPLES) == ""
