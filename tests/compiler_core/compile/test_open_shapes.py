"""Sizes that a model leaves open, as the samples have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import nest_tune
from compiler_core.compile.open_shapes import load_with_samples
from compiler_core.errors import InputError, OpenShapeError

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
m (float[N,4,H,W] x, float[N,2,H] z) => (float[N,4,H,W] y) { r = Relu (x) s = Neg (r) y = Abs (s) }
"""
ONE = """
<ir_version: 8, opset_import: ["" : 17]>
m (float[N,4,H,W] image) => (float[N,5,H,W] y) <float[5,4,1,1] w> { y = Conv (image, w) }
"""


def sizes(arrays: dict[str, np.ndarray]) -> Callable[[], dict[str, tuple[int, ...]]]:
    return lambda: {name: array.shape for name, array in arrays.items()}


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
    model, shapes = load_with_samples(path, None, sizes(arrays))
    assert shapes == {"x": (1, 4, 6, 9), "z": (1, 2, 6)}
    assert model.graph.types["y"].shape == (1, 4, 6, 9)
    assert model.graph.dynamic_batch >= {"x", "z", "y"}
    stacked = {name: array[:, None] for name, array in arrays.items()}
    assert load_with_samples(path, None, sizes(stacked))[1] == shapes
    given = {"x": (1, 4, 3, 3)}
    assert load_with_samples(path, given, sizes(arrays))[1]["x"] == (1, 4, 3, 3)


def test_what_samples_do_not_say_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", TEXT)
    for samples in (None, lambda: {"x": (7, 4, 6)}, dict):
        with pytest.raises(OpenShapeError, match="is dynamic: give its size"):
            load_with_samples(path, None, samples)


def test_data_without_the_input_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", TEXT)
    with pytest.raises(OpenShapeError, match="the data hold 'image', which do not say it") as said:
        load_with_samples(path, None, lambda: {"image": (7, 4, 6, 9)})
    assert said.value.hint == "--shape x=1,4,1,1 (one number per axis; open: 0, 2, 3)"


def test_images_with_their_channel_last_say_the_sizes_and_how_they_are_moved(
    tmp_path: Path,
) -> None:
    path = saved(tmp_path / "m.onnx", ONE)
    data = {"image": np.zeros((6, 5, 3, 4), np.float32)}
    assert load_with_samples(path, None, sizes(data))[1] == {"image": (1, 4, 5, 3)}
    with pytest.raises(InputError, match=r"expected \(samples, 4, 5, 3\)") as said:
        nest_tune.compile(path, "vta", tmp_path / "out", calibration=data)
    assert "numpy.transpose(x, (0, 3, 1, 2))" in str(said.value.hint)


def test_compile_run_and_evaluate_take_them_from_the_data(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", ONE)
    data = {"x": np.random.default_rng(1).standard_normal((6, 4, 5, 3)).astype(np.float32)}
    told: list[str] = []
    package = tmp_path / "out"
    nest_tune.compile(path, "vta", package, calibration=data, progress=told.append)
    assert "shapes as the calibration data have them: image=1,4,5,3" in told
    assert nest_tune.run(package, data, check=True).bit_exact
    assert nest_tune.evaluate(package, data, against=path).samples == 6


STATE = """
<ir_version: 8, opset_import: ["" : 17]>
m (float[N,4] x, float[1,B,4] s) => (float[N,4] y, float[1,B,4] t) { y = Abs (x) t = Neg (s) }
"""


def test_a_package_says_what_shapes_it_is_compared_in(tmp_path: Path) -> None:
    """Nothing but the package knows the size of what is fed back."""
    path, package = saved(tmp_path / "m.onnx", STATE), tmp_path / "out"
    data = {"x": np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)}
    states = {"t": "s"}
    with pytest.raises(OpenShapeError, match="is dynamic: give its size"):
        nest_tune.compile(path, "vta", package, calibration=data, states=states)
    given = {"s": (1, 1, 4)}
    nest_tune.compile(path, "vta", package, calibration=data, states=states, shapes=given)
    assert nest_tune.evaluate(package, data, against=path, states=states).samples == 6


RECURRENT = """
<ir_version: 8, opset_import: ["" : 17]>
m (float[T,1,4] steps) => (float[T,1,1,3] y) <float[1,12,4] w, float[1,12,3] r> {
    y = LSTM <hidden_size = 3> (steps, w, r)
}
"""


@pytest.mark.parametrize(
    ("text", "array", "shape"),
    [
        ("m (float[T] x) => (float[T] y) { y = Abs (x) }", (6, 40), (40,)),
        ("m (float[N,3] x) => (float[3,N] y) { y = Transpose (x) }", (6, 20, 3), (20, 3)),
        ("m (float x) => (float y) { y = Abs (x) }", None, None),
        # Rows that every result follows are samples, however they are stacked.
        ("m (float[N,3] x) => (float[N,3] y) { y = Abs (x) }", (6, 20, 3), (1, 3)),
        ("m (float[T] x) => (float[T] y) { y = Abs (x) }", (6,), (1,)),
    ],
)
def test_a_first_axis_that_is_no_batch_is_as_long_as_every_sample(
    tmp_path: Path, text: str, array: tuple[int, ...] | None, shape: tuple[int, ...] | None
) -> None:
    header = '<ir_version: 8, opset_import: ["" : 17]>\n'
    if array is None or shape is None:
        model = onnx.parser.parse_model(header + text)
        model.graph.input[0].type.tensor_type.ClearField("shape")
        onnx.save(model, tmp_path / "m.onnx")
        array, shape = (5, 2, 7), (1, 2, 7)
    else:
        saved(tmp_path / "m.onnx", header + text)
    model = load_with_samples(tmp_path / "m.onnx", None, lambda: {"x": array})[0]
    assert model.graph.types["x"].shape == shape


def test_steps_of_a_sequence_are_no_batch(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(RECURRENT)
    random = np.random.default_rng(0)
    for name, size in (("w", 4), ("r", 3)):
        weight = random.standard_normal((1, 12, size)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    data = {"steps": random.standard_normal((8, 11, 1, 4)).astype(np.float32)}
    nest_tune.compile(path, "vta", tmp_path / "out", calibration=data)
    found = nest_tune.run(tmp_path / "out", data, check=True)
    assert found.bit_exact
    assert found.outputs["y"].size == 8 * 11 * 3


def test_every_verb_takes_them_from_the_data(tmp_path: Path) -> None:
    path, data = saved(tmp_path / "m.onnx", ONE), tmp_path / "calib.npz"
    samples = np.random.default_rng(1).standard_normal((6, 4, 5, 3)).astype(np.float32)
    np.savez(data, image=samples)
    found = nest_tune.best_plan(path, "vta", calibration=data)
    assert found.latency_ms <= nest_tune.show_plan(path, "vta", calibration=data).latency_ms
    assert nest_tune.tasks(path, "vta", calibration=data)
    assert nest_tune.space(path, "vta", calibration=data).size > 1
    plan = tmp_path / "plan.toml"
    found.write_plan(plan)
    assert nest_tune.check_plan(path, "vta", plan, calibration={"x": samples}).pinned
