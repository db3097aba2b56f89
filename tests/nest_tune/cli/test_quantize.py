"""``nest-tune quantize`` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.files.toml_file import read_toml

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = "import sys; sys.argv[0] = 'nest-tune'; from nest_tune.cli import main; main()"


def run(*arguments, cwd):
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, check=False, env=environment
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantize")
    random = np.random.default_rng(0)
    weights = {"w": (8, 3, 3, 3), "v": (8, 8, 1, 1)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["h"], name="first"),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("Conv", ["r", "v"], ["y"], name="second"),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8, 2, 2])],
        [
            numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "small.onnx")
    x = random.standard_normal((6, 3, 4, 4)).astype(np.float32)
    np.savez(folder / "calib.npz", x=x)
    labels = random.integers(0, 8, (6, 2, 2))
    np.savez(folder / "eval.npz", x=x, y=labels)
    np.savez(folder / "wrong.npz", x=x, y=labels[:5])
    np.savez(folder / "empty.npz", x=x[:0])
    x[4, 0, 0, 0] = np.inf
    np.savez(folder / "infinite.npz", x=x)
    return folder


def test_profile_then_sensitivity(files):
    arguments = ["--calibration", "calib.npz", "-o", "profile", "--size", "2", "--json"]
    done = run("quantize", "profile", "small.onnx", *arguments, cwd=files)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "nest-tune/quantize-profile/1"
    assert document["sizes"] == [1, 2, 3, 6]
    common = ["quantize", "sensitivity", "small.onnx", "--target", "vta", "--profile", "profile"]
    done = run(*common, "--data", "eval.npz", "--plot", "layers.svg", "--json", cwd=files)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {layer["name"] for layer in document["layers"]} == {"first", "second"}
    assert all(10 < layer["own_sqnr_db"]["value"] < 80 for layer in document["layers"])
    assert set(document["layers"][0]["metrics"]) == {
        "top1",
        "top5",
        "agreement",
        "sqnr_db",
        "cosine",
    }
    assert (files / "layers.svg").read_text().startswith("<svg")
    table = run(*common, "--data", "calib.npz", cwd=files)
    assert "most damage first" in table.stdout
    assert "agreement" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profile", "small.onnx", "--calibration", "empty.npz", "-o", "p"], "hold 0 samples"),
        (
            ["profile", "small.onnx", "--calibration", "infinite.npz", "-o", "p"],
            "is infinite in sample 4",
        ),
        (["profile", "small.onnx", "--calibration", "calib.npz", "-o", "no/p"], "no folder no"),
        (
            ["profile", "small.onnx", "--calibration", "calib.npz", "-o", "p", "--size", "9"],
            "statistics of 9 samples; there are 6",
        ),
        (["sensitivity", "small.onnx", "--target", "vta"], "no samples to measure with"),
        (["sensitivity", "small.onnx", "--target", "host", "--data", "eval.npz"], "has no NPU"),
        (
            [
                "search",
                "small.onnx",
                "--target",
                "host",
                "--data",
                "eval.npz",
                "--calibration",
                "calib.npz",
                "-o",
                "best.toml",
            ],
            "has no NPU",
        ),
        (
            [
                "search",
                "small.onnx",
                "--target",
                "vta",
                "--data",
                "wrong.npz",
                "--calibration",
                "calib.npz",
                "-o",
                "best.toml",
            ],
            "wrong.npz: labels 'y' are int64[5, 2, 2]; int64[6, 2, 2] is needed",
        ),
        (
            ["sensitivity", "small.onnx", "--target", "vta", "--data", "wrong.npz"],
            "wrong.npz: labels 'y' are int64[5, 2, 2]; int64[6, 2, 2] is needed",
        ),
    ],
)
def test_bad_input(files, arguments, message):
    done = run("quantize", *arguments, cwd=files)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_search_writes_a_configuration_that_compiles(files):
    common = ["--target", "vta", "--calibration", "calib.npz"]
    arguments = ["small.onnx", *common, "--data", "eval.npz", "-o", "best.toml", "--json"]
    found = run("quantize", "search", *arguments, cwd=files)
    # Labels drawn by chance: accuracies mean nothing here, documents do.
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    assert document["schema"] == "nest-tune/quantize-search/1"
    assert document["uniform"]["npu_share"] == 1.0
    assert 0.9 <= document["mixed"]["npu_share"] <= 1.0
    assert document["mixed"]["scheme"]["split_inputs"] is True
    assert document["float"]["sqnr_db"]["value"] == 200.0
    made = run("compile", "small.onnx", *common, "--config", "best.toml", "-o", "out", cwd=files)
    assert made.returncode == 0, made.stderr
    again = run(
        "compile", "small.onnx", *common, "--config", "out/config.toml", "-o", "again", cwd=files
    )
    assert again.returncode == 0, again.stderr
    for path in (files / "out").rglob("*"):
        if path.is_file():
            assert (
                path.read_bytes()
                == (files / "again" / path.relative_to(files / "out")).read_bytes()
            )
    table = run("quantize", "search", *arguments[:-1], "--uniform", cwd=files)
    assert table.returncode == 0, table.stderr
    assert "best.toml: the uniform one" in table.stdout


def test_compile_takes_a_profile(files):
    done = run(
        "quantize", "profile", "small.onnx", "--calibration", "calib.npz", "-o", "known", cwd=files
    )
    assert done.returncode == 0, done.stderr
    common = ["compile", "small.onnx", "--target", "vta"]
    for name, given in (("one", ["--profile", "known"]), ("two", ["--calibration", "calib.npz"])):
        made = run(*common, *given, "-o", name, cwd=files)
        assert made.returncode == 0, made.stderr
    one, two = (read_toml(files / name / "config.toml") for name in ("one", "two"))
    # Only samples tell how good a quantization is.
    assert two["scheme"].pop("quality")
    assert two["scheme"].pop("ladder")["good_enough"]
    assert one == two
    both = run(*common, "--profile", "known", "--calibration", "calib.npz", "-o", "x", cwd=files)
    assert both.returncode == 2
    assert "calibration and profile are both given" in both.stderr
