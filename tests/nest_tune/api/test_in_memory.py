"""Models and arrays in memory where functions of the Python interface take files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import nest_tune
from compiler_core.errors import InputError
from compiler_core.files.npz import read_npz


def test_compile_run_and_evaluate(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They say the same as of files; one array is the only input's."""
    monkeypatch.chdir(tmp_path)
    model = onnx.load(digits / "model.onnx")
    (samples,) = (v for k, v in read_npz(digits / "calib.npz").items() if k != "y")
    data = read_npz(digits / "eval.npz")
    (inputs,) = (v[:16] for k, v in data.items() if k != "y")
    made = nest_tune.compile(model, "vta", tmp_path / "ours", calibration=samples)
    other = nest_tune.compile(
        digits / "model.onnx", "vta", tmp_path / "theirs", calibration=digits / "calib.npz"
    )
    assert made.metrics == other.metrics
    assert made.configuration.scheme == other.configuration.scheme
    ours = nest_tune.run(made, inputs).outputs
    theirs = nest_tune.run(other, {"x": inputs}).outputs
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
    found = nest_tune.evaluate(made, inputs, against=model, executor="reference")
    again = nest_tune.evaluate(
        other, {"x": inputs}, against=digits / "model.onnx", executor="reference"
    )
    assert found.accuracy == again.accuracy
    assert nest_tune.show_plan(model, "vta").latency_ms == (
        nest_tune.show_plan(digits / "model.onnx", "vta").latency_ms
    )


@pytest.mark.parametrize(
    ("model", "calibration", "message"),
    [
        (3, None, "model: 3 is neither a path nor an onnx.ModelProto"),
        (np.zeros((5, 4)), None, "model: .* is neither a path nor"),
        (None, 7, "data: 7 is neither a path"),
        (None, [np.zeros((500, 4))], r"data: list of 1 \(ndarray float64\[500, 4\]\) is neither"),
        (None, (np.zeros(2), np.zeros(1)), r"data: tuple of 2 \(.*\) is neither a path"),
    ],
)
def test_what_is_neither(
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: Any,
    calibration: Any,
    message: str,
) -> None:
    """One error that says what was given, by type and shape."""
    monkeypatch.chdir(tmp_path)
    given = digits / "model.onnx" if model is None else model
    data = digits / "calib.npz" if calibration is None else calibration
    for function in (nest_tune.compile, nest_tune.compile_bundle):
        with pytest.raises(InputError, match=message):
            function(given, "vta" if function is nest_tune.compile else "c99", tmp_path / "out",
                     calibration=data)  # fmt: skip
    with pytest.raises(InputError, match=message):
        nest_tune.tasks(given, "vta", calibration=data)


def test_a_package_that_is_none(digits: Path) -> None:
    """Neither a path nor a package."""
    given: Any = 3
    with pytest.raises(InputError, match="package: 3 is no path"):
        nest_tune.run(given, digits / "calib.npz")


@pytest.mark.parametrize("wrong", [[np.zeros((400, 64))], (np.zeros((400, 64)), np.zeros(400))])
def test_a_study_of_arrays_without_names(digits: Path, wrong: Any) -> None:
    """They are told by type and shape."""
    for name in ("calibration", "evaluation"):
        with pytest.raises(
            InputError, match=r"ndarray float64\[400, 64\].* arrays by name"
        ) as seen:
            nest_tune.Study.start(digits / "model.onnx", target="vta", **{name: wrong})
        assert len(str(seen.value)) < 200


@pytest.mark.parametrize("name", ["target", "trials", "objectives", "shapes", "metric"])
def test_a_wrong_setting_is_shown_short(name: str) -> None:
    """Whatever was given for it."""
    with pytest.raises(InputError, match=rf"{name} ndarray float64\[100, 100\]: .* is needed"):
        nest_tune.StudyRequest.of(**{name: np.ones((100, 100))})


@pytest.mark.parametrize(("graph", "name"), [("Key words", "key_words"), ("main_graph", "model")])
def test_functions_are_named_by_the_graph(
    graph: str, name: str, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = onnx.load(digits / "model.onnx")
    model.graph.name = graph
    made = nest_tune.compile_bundle(
        model, "rv32imc", tmp_path / "b", calibration=digits / "calib.npz"
    )
    assert made.report.name == name


def test_errors_name_arrays_in_memory_by_their_argument(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by the file that keeps them; a file is still named."""
    monkeypatch.chdir(tmp_path)
    model, x = onnx.load(digits / "model.onnx"), np.zeros((4, 1, 8, 8), np.float32)
    few = {"x": x, "y": np.zeros(2, np.int64)}
    with pytest.raises(InputError, match=r"^evaluation: labels 'y' are int64\[2\]"):
        nest_tune.Study.start(model, target="vta", calibration=x, evaluation=few, trials=1)
    with pytest.raises(InputError, match=r"^calibration: input .* has shape") as caught:
        nest_tune.Study.start(model, target="vta", calibration=x[..., :7], trials=1)
    assert caught.value.args == (caught.value.message,)
    np.savez(tmp_path / "few.npz", **few)
    with pytest.raises(InputError, match=r"few\.npz: labels 'y'"):
        nest_tune.Study.start(model, target="vta", calibration=x, evaluation="few.npz", trials=1)


def test_an_input_without_samples_says_how_to_go_on(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is missing; it holds 'other'") as caught:
        nest_tune.compile(digits / "model.onnx", "vta", "out", calibration={"other": np.zeros(3)})
    assert "add an array" in (caught.value.hint or "")
    assert "--fix-input" not in (caught.value.hint or "")
    one = helper.make_tensor_value_info("rate", TensorProto.FLOAT, [])
    many = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "rate"], ["y"])], "g", [many, one], [out]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(InputError, match="'rate' is missing") as caught:
        nest_tune.compile(model, "vta", "out", calibration={"x": np.zeros((2, 4), np.float32)})
    assert "--fix-input rate=VALUE" in (caught.value.hint or "")


def test_what_is_returned_is_short_to_read(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages and trials tell their figures, not what they are made of."""
    monkeypatch.chdir(tmp_path)
    made = nest_tune.compile(digits / "model.onnx", "vta", "out", calibration=digits / "calib.npz")
    assert repr(made).startswith("<package out: latency_ms=")
    study = nest_tune.Study.start(
        digits / "model.onnx",
        target="vta",
        calibration=digits / "calib.npz",
        evaluation=digits / "eval.npz",
        spaces=["quantization"],
        trials=1,
    )
    assert repr(study.default).startswith("<trial 0, complete: latency_ms=")
    assert len(repr(study.trials)) < 300


def test_calibration_data_are_refused_in_the_words_of_evaluations(
    digits: Path, tmp_path: Path
) -> None:
    """With the name of their file, before anything runs."""
    samples = read_npz(digits / "eval.npz")["x"][:4].copy()
    told: list[str] = []

    def refused(wrong: np.ndarray) -> str:
        np.savez(tmp_path / "own.npz", x=wrong)
        with pytest.raises(InputError) as caught:
            nest_tune.compile(
                digits / "model.onnx",
                "vta",
                tmp_path / "out",
                calibration=tmp_path / "own.npz",
                progress=told.append,
            )
        return str(caught.value.message)

    flat = refused(samples.reshape(4, -1))
    assert flat.startswith(f"{tmp_path / 'own.npz'}: input 'image' has shape (4, 64)")
    assert told == ["importing model.onnx"]
    samples[2, 0, 3, 3] = np.nan
    assert refused(samples).startswith(
        f"{tmp_path / 'own.npz'}: input 'image' is NaN in sample 2; "
    )
