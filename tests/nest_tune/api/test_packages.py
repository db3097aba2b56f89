"""Functions on packages: the same numbers as the command line, errors instead of messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import nest_tune
from compiler_core.errors import InputError
from compiler_core.files.npz import read_npz
from nest_tune.api.compiling import Compilation


def test_compile_gives_what_the_command_prints(
    compiled: Compilation,
    digits: Path,
    tmp_path: Path,
    nest_tune: Callable[..., tuple[int, str, str]],
) -> None:
    words = ["compile", digits / "model.onnx", "--target", "vta", "-o", tmp_path / "package"]
    code, out, _ = nest_tune(*words, "--calibration", digits / "calib.npz", "--json")
    assert code == 0
    printed = json.loads(out)
    assert printed["metrics"]["latency_ms"] == compiled.metrics.latency_ms
    assert printed["tasks"] == list(compiled.tasks)
    assert printed["segments"] == list(compiled.segments)
    assert compiled.npu_segments == 1
    for name in ("package.json", "config.toml"):
        assert (tmp_path / "package" / name).read_bytes() == (compiled.folder / name).read_bytes()


def test_data_that_do_not_fit_are_refused_before_anything_is_planned(
    digits: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    wrong = {"x": np.ones((8, 1, 8, 9), np.float32)}
    with pytest.raises(InputError, match=r"has shape \(8, 1, 8, 9\)"):
        nest_tune.compile(
            digits / "model.onnx",
            "vta-x2",  # of several cores: layers are timed for the default plan
            tmp_path / "package",
            calibration=wrong,
            progress=told.append,
        )
    assert told == ["importing model.onnx"]


def test_texts_and_configurations(compiled: Compilation, digits: Path, tmp_path: Path) -> None:
    """A configuration value compiles to the bytes of the configuration file, without data."""
    again = nest_tune.compile(
        digits / "model.onnx",
        nest_tune.load_target("vta"),
        tmp_path / "again",
        config=compiled.configuration,
        emit=["tensor"],
    )
    assert again.metrics == compiled.metrics
    assert "conv2d" in (tmp_path / "again" / "tensor.txt").read_text()
    with pytest.raises(nest_tune.InputError, match="emit 'tenser'; allowed are graph"):
        nest_tune.compile(digits / "model.onnx", "vta", tmp_path / "x", emit=["tenser"])
    assert not (tmp_path / "x").exists()


def test_arrays_and_files_give_the_same_outputs(
    compiled: Compilation, digits: Path, tmp_path: Path
) -> None:
    data = {name: array[:32] for name, array in read_npz(digits / "eval.npz").items()}
    np.savez(tmp_path / "few.npz", **data)
    from_file = nest_tune.run(compiled.folder, tmp_path / "few.npz")
    package = nest_tune.load_package(compiled)
    from_arrays = nest_tune.run(package, {"x": data["x"]}, check=True)
    assert from_file.bit_exact is None
    assert from_arrays.bit_exact is True
    assert from_file.samples == 32
    (name,) = from_file.outputs
    np.testing.assert_array_equal(from_file.outputs[name], from_arrays.outputs[name])
    right = (from_file.outputs[name].argmax(axis=1) == data["y"]).mean()
    found = nest_tune.evaluate(
        package, data, executor="reference", against=digits / "model.onnx", limit=32
    )
    assert found.accuracy == right
    assert found.float_accuracy is not None
    assert found.accuracy_drop == found.float_accuracy - found.accuracy


def test_wrong_arguments_are_input_errors(compiled: Compilation, tmp_path: Path) -> None:
    with pytest.raises(nest_tune.InputError, match=r"'image' \(or 'x'\) is missing; it holds 'z'"):
        nest_tune.run(compiled, {"z": np.zeros((1, 1, 8, 8), np.float32)})
    data = {"x": np.zeros((2, 1, 8, 8), np.float32), "y": np.zeros(2, np.int64)}
    with pytest.raises(
        nest_tune.InputError, match="'gpu' is not known; known are reference, simulator"
    ):
        nest_tune.evaluate(compiled, data, executor="gpu")  # type: ignore[arg-type]
    with pytest.raises(nest_tune.InputError, match="metric 'f1' is not known; known are agreement"):
        nest_tune.evaluate(compiled, data, metric="f1")  # type: ignore[arg-type]
    with pytest.raises(nest_tune.InputError, match="no such folder"):
        nest_tune.load_package(tmp_path / "nowhere")


def test_profile_holds_every_layer_and_writes_a_trace(
    compiled: Compilation, tmp_path: Path
) -> None:
    found = nest_tune.profile(compiled)
    assert found.layers == compiled.layers
    on_npu = [layer.unit == "vta" for layer in found.layers]
    assert [place is not None for place in found.rooflines] == on_npu
    found.write_trace(tmp_path / "trace.json")
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    with pytest.raises(nest_tune.InputError, match="there is no folder"):
        found.write_trace(tmp_path / "nowhere" / "trace.json")


def test_models_of_other_outputs_are_refused(
    compiled: Compilation, digits: Path, tmp_path: Path
) -> None:
    other = onnx.load(digits / "model.onnx")
    (name,) = (item.name for item in other.graph.output)
    other.graph.node.add().CopyFrom(onnx.helper.make_node("Neg", [name], ["negated"]))
    other.graph.output[0].name = "negated"
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(InputError, match="the package has no output 'negated'; it has logits"):
        nest_tune.evaluate(compiled, digits / "eval.npz", against=tmp_path / "other.onnx", limit=4)
