"""Sizes that a model leaves open, as the samples have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import nest_tune
from compiler_core.compile.open_shapes import load_with_samples
from compiler_core.errors import OpenShapeError

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
m (float[N,4,H,W] x, float[N,2,H] z) => (float[N,4,H,W] y) { r = Relu (x) s = Neg (r) y = Abs (s) }
"""
ONE = """
<ir_version: 8, opset_import: ["" : 17]>
m (float[N,4,H,W] image) => (float[N,5,H,W] y) <float[5,4,1,1] w> { y = Conv (image, w) }
"""


def saved(path: Path, text: str) -> Path:
    model = onnx.parser.parse_model(text)
    for value in list(model.graph.value_info):
        if value.name == "w":
            weight = np.random.default_rng(0).standard_normal((5, 4, 1, 1)).astype(np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, path)
    return path


def test_every_input_gets_the_sizes_of_its_array(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", TEXT)
    arrays = {"x": np.zeros((7, 4, 6, 9)), "z": np.zeros((7, 2, 6))}
    model, shapes = load_with_samples(path, None, lambda: arrays)
    assert shapes == {"x": (1, 4, 6, 9), "z": (1, 2, 6)}
    assert model.graph.types["y"].shape == (1, 4, 6, 9)
    assert model.graph.dynamic_batch >= {"x", "z", "y"}
    stacked = {name: array[:, None] for name, array in arrays.items()}
    assert load_with_samples(path, None, lambda: stacked)[1] == shapes
    given = {"x": (1, 4, 3, 3)}
    assert load_with_samples(path, given, lambda: arrays)[1]["x"] == (1, 4, 3, 3)


def test_what_samples_do_not_say_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", TEXT)
    for samples in (None, lambda: {"x": np.zeros((7, 4, 6))}, dict):
        with pytest.raises(OpenShapeError, match="is dynamic: give its size"):
            load_with_samples(path, None, samples)


def test_compile_run_and_evaluate_take_them_from_the_data(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", ONE)
    data = {"x": np.random.default_rng(1).standard_normal((6, 4, 5, 3)).astype(np.float32)}
    told: list[str] = []
    package = tmp_path / "out"
    nest_tune.compile(path, "vta", package, calibration=data, progress=told.append)
    assert "shapes as the calibration data have them: image=1,4,5,3" in told
    assert nest_tune.run(package, data, check=True).bit_exact
    assert nest_tune.evaluate(package, data, against=path).samples == 6
