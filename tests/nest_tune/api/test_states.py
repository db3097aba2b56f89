"""Outputs that are fed back as inputs: in calibration, runs, evaluation and studies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import nest_tune
from compiler_core.accuracy.states import unrolled
from compiler_core.compile.sources import load_model
from compiler_core.errors import InputError
from nest_tune.api.values import float_run
from nest_tune.cli.app import app

STATES = {"hn": "h"}


def cell(path: Path, state: tuple[object, ...] = (1, 8)) -> Path:
    """``hn = tanh(x W + h U)``, ``y = hn V``: one step of a recurrent network."""
    random = np.random.default_rng(0)
    shapes = {"w": (6, 8), "u": (8, 8), "v": (8, 3)}
    weights = [
        numpy_helper.from_array((random.standard_normal(s) * 0.4).astype(np.float32), n)
        for n, s in shapes.items()
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["h", "u"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("Tanh", ["s"], ["hn"]),
        helper.make_node("MatMul", ["hn", "v"], ["y"]),
    ]
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in {"x": (state[0], 6), "h": state, "hn": state, "y": (state[0], 3)}.items()
    }
    graph = helper.make_graph(
        nodes, "cell", [values["x"], values["h"]], [values["y"], values["hn"]], weights
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def steps(path: Path, x: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
    """The float model fed by hand: states before each sample, outputs after it."""
    session = onnxruntime.InferenceSession(str(path))
    state, before, outputs = np.zeros((1, 8), np.float32), [], []
    for row in x:
        before.append(state)
        y, state = session.run(["y", "hn"], {"x": row[None], "h": state})
        outputs.append(y)
    return {"h": np.concatenate(before), "y": np.concatenate(outputs)}


def with_rate(path: Path) -> Path:
    """The same with a scalar input beside, as speech models have one."""
    model = onnx.load(path)
    rate = helper.make_tensor_value_info("rate", TensorProto.INT64, ())
    model.graph.input.append(rate)
    more = [
        helper.make_node("Cast", ["rate"], ["r"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["y0", "r"], ["y"]),
    ]
    model.graph.node[-1].output[0] = "y0"
    model.graph.node.extend(more)
    onnx.save(model, path)
    return path


@pytest.fixture
def x() -> npt.NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal((12, 6)).astype(np.float32)


@pytest.mark.parametrize("state", [(1, 8), ("n", 8)])
def test_states_are_what_the_model_gave_for_the_sample_before(
    tmp_path: Path, x: npt.NDArray[np.float32], state: tuple[object, ...]
) -> None:
    path = cell(tmp_path / "cell.onnx", state)
    graph = load_model(path).graph
    for arrays in ({"x": x}, {"x": x, "h": np.zeros((1, 8), np.float32)}):
        found = unrolled(graph, arrays, STATES, float_run(graph), "samples")
        assert np.allclose(found["h"], steps(path, x)["h"], atol=1e-6)


def test_a_state_begins_as_the_data_say(tmp_path: Path, x: npt.NDArray[np.float32]) -> None:
    graph = load_model(cell(tmp_path / "cell.onnx")).graph
    first = np.full((1, 8), 0.5, np.float32)
    found = unrolled(graph, {"x": x, "h": first}, STATES, float_run(graph), "samples")
    assert np.array_equal(found["h"][:1], first)


def test_a_package_has_states_of_its_own(tmp_path: Path, x: npt.NDArray[np.float32]) -> None:
    path = cell(tmp_path / "cell.onnx")
    made = nest_tune.compile(path, "vta", tmp_path / "out", calibration={"x": x}, states=STATES)
    assert made.npu_segments
    found = nest_tune.run(made, {"x": x}, states=STATES, check=True)
    state = np.zeros((1, 8), np.float32)
    for number in range(len(x)):
        one = nest_tune.run(made, {"x": x[number : number + 1], "h": state})
        assert np.array_equal(one.outputs["y"], found.outputs["y"][number : number + 1])
        state = np.asarray(one.outputs["hn"])
    wanted = steps(path, x)["y"]
    assert np.abs(found.outputs["y"] - wanted).max() < 0.1 * np.abs(wanted).max()
    measured = nest_tune.evaluate(
        made, {"x": x}, states=STATES, against=path, metric="sqnr_db", output="y"
    )
    noise = found.outputs["y"] - wanted
    expected = 10 * np.log10((wanted**2).sum() / (noise**2).sum())
    assert measured.value == pytest.approx(expected, abs=0.05)


def test_the_commands(tmp_path: Path, x: npt.NDArray[np.float32]) -> None:
    path, data, package = cell(tmp_path / "cell.onnx"), tmp_path / "x.npz", tmp_path / "out"
    np.savez(data, x=x)
    runner = CliRunner()

    def done(*args: object) -> Any:
        result = runner.invoke(app, [str(arg) for arg in args])
        assert result.exit_code == 0, result.output
        return result

    state = ("--state", "hn=h")
    done("compile", path, "--target", "vta", "--calibration", data, "-o", package, *state)
    outputs = tmp_path / "y.npz"
    done("run", package, "--inputs", data, "--outputs", outputs, "--check", *state)
    with np.load(outputs) as written:
        assert written["y"].shape == (12, 3)
    shown = done(
        "evaluate",
        package,
        "--data",
        data,
        "--against",
        path,
        "--json",
        "--output",
        "y",
        "--metric",
        "sqnr_db",
        *state,
    )
    assert json.loads(shown.stdout)["value"] > 15
    result = runner.invoke(
        app, ["run", str(package), "--inputs", str(data), "--outputs", str(outputs)]
    )
    assert result.exit_code != 0


def test_data_for_studies_hold_the_states(tmp_path: Path, x: npt.NDArray[np.float32]) -> None:
    path, data = cell(tmp_path / "cell.onnx"), tmp_path / "x.npz"
    np.savez(data, x=x, y=np.arange(12))
    result = CliRunner().invoke(
        app,
        ["study", "start", "--model", str(path), "--target", "vta", "--calibration", str(data),
         "--evaluation", str(data), "--judged-output", "y", "--metric", "sqnr_db", "--state",
         "hn=h", "--dry-run", "--storage", f"sqlite:///{tmp_path}/s.db"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "x.unrolled.npz") as written:
        assert np.allclose(written["h"], steps(path, x)["h"], atol=1e-6)
        assert np.array_equal(written["y"], np.arange(12))


def test_labels_are_about_what_is_no_state(tmp_path: Path, x: npt.NDArray[np.float32]) -> None:
    path, data, out = cell(tmp_path / "cell.onnx"), tmp_path / "x.npz", tmp_path / "out"
    np.savez(data, x=x, y=np.arange(12) % 3)
    runner, state = CliRunner(), ("--state", "hn=h")
    start = ["study", "start", "--model", str(path), "--target", "vta", "--calibration", str(data),
             "--evaluation", str(data), "--dry-run", "--storage",
             f"sqlite:///{tmp_path}/s.db"]  # fmt: skip
    result = runner.invoke(app, [*start, *state])
    assert result.exit_code == 0, result.output
    assert "the labels are about output 'y'; the others are states" in result.output
    nest_tune.compile(path, "vta", out, calibration={"x": x}, states=STATES)
    evaluate = ["evaluate", str(out), "--data", str(data), "--json"]
    whole = runner.invoke(app, [*evaluate, *state])
    assert whole.exit_code == 0, whole.output
    alone = runner.invoke(app, [*evaluate, *state, "--output", "y"])
    assert json.loads(whole.stdout)["value"] == json.loads(alone.stdout)["value"]


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"hx": "h"}, "no output 'hx'"),
        ({"hn": "g"}, "no input 'g'"),
        ({"y": "h"}, "has shape"),
    ],
)
def test_what_cannot_be_fed_back_is_refused(
    tmp_path: Path, x: npt.NDArray[np.float32], states: dict[str, str], message: str
) -> None:
    path = cell(tmp_path / "cell.onnx")
    with pytest.raises(InputError, match=message):
        nest_tune.compile(path, "vta", tmp_path / "out", calibration={"x": x}, states=states)


def test_options_that_read_otherwise_are_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["run", "p", "--inputs", "x", "--outputs", str(tmp_path / "y.npz"), "--state", "hn"]
    )
    assert isinstance(result.exception, InputError)


def test_scalars_beside_states(tmp_path: Path, x: npt.NDArray[np.float32]) -> None:
    path = with_rate(cell(tmp_path / "cell.onnx"))
    data = {"x": x, "rate": np.array(2, np.int64)}
    made = nest_tune.compile(path, "vta", tmp_path / "out", calibration=data, states=STATES)
    outputs = nest_tune.run(made, data, states=STATES, check=True).outputs
    wanted = 2 * steps(cell(tmp_path / "plain.onnx"), x)["y"]
    assert np.abs(outputs["y"] - wanted).max() < 0.1 * np.abs(wanted).max()
    measured = nest_tune.evaluate(
        made, data, states=STATES, against=path, metric="sqnr_db", output="y"
    )
    assert measured.value > 15


def test_sources_are_calibrated_along_the_states(
    tmp_path: Path, x: npt.NDArray[np.float32]
) -> None:
    """What the caller of the function hands on is what it was calibrated with."""
    path = cell(tmp_path / "cell.onnx")
    whole = steps(path, x)["h"]
    made = {}
    for name, given, states in (("fed", {"x": x}, STATES), ("whole", {"x": x, "h": whole}, None)):
        folder = tmp_path / name
        nest_tune.compile_bundle(path, "c99", folder, calibration=given, states=states)
        made[name] = (folder / "config.toml").read_text()
    assert made["fed"] == made["whole"]


def test_compile_takes_states_for_sources(tmp_path: Path, x: npt.NDArray[np.float32]) -> None:
    path, data = cell(tmp_path / "cell.onnx"), tmp_path / "x.npz"
    np.savez(data, x=x)
    where = ["--target", "cortex-m4", "--calibration", str(data), "--state", "hn=h"]
    out = str(tmp_path / "out")
    assert app(["compile", str(path), *where, "-o", out], standalone_mode=False) is None
