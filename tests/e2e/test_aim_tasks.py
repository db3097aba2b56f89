"""A target that computes in memory, through the commands of the task level."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import pytest

from tests.compiler_core.units.aim.small_models import lstm_model
from tests.toy_unit.plugin import run

TARGET = ("--target", "aim-gddr6")


def document(folder: Path, *arguments: str) -> Any:
    done = run(folder, *arguments, "--json", plugin=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _save_model(path: Path) -> None:
    """Two dense layers, of which one is ragged."""
    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.normal(size=(300, 700), scale=0.05), "b0": rng.normal(size=700),
        "w1": rng.normal(size=(700, 90), scale=0.05), "b1": rng.normal(size=90),
    }  # fmt: skip
    nodes = [
        oh.make_node("Gemm", ["x", "w0", "b0"], ["h"], "first"),
        oh.make_node("Relu", ["h"], ["a"], "relu"),
        oh.make_node("Gemm", ["a", "w1", "b1"], ["y"], "second"),
    ]
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info("x", 1, (1, 300))],
        [oh.make_tensor_value_info("y", 1, (1, 90))],
        [onnx.numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and the records of one tuning."""
    path = tmp_path_factory.mktemp("aim")
    _save_model(path / "m.onnx")
    tasks = document(path, "task", "list", "m.onnx", *TARGET)["tasks"]
    (path / "tasks.json").write_text(json.dumps(tasks))
    task = max(tasks, key=lambda entry: entry["macs"])["id"]
    asked = ("task", "tune", task, *TARGET, "--trials", "32", "-o", "best.toml")
    (path / "tuned.json").write_text(json.dumps(document(path, *asked)))
    return path


def test_tasks(folder: Path) -> None:
    tasks = json.loads((folder / "tasks.json").read_text())
    assert [task["shape"] for task in tasks] == ["700x300", "90x700"]
    for task in tasks:
        assert task["id"].startswith("aim_matrix-vector-")
        assert 0 < task["bound_cycles"] <= task["default_cycles"]


def test_a_tuned_schedule_is_measured_again_and_proven(folder: Path) -> None:
    tuned = json.loads((folder / "tuned.json").read_text())
    assert tuned["best_cycles"] <= tuned["default_cycles"]
    measured = document(
        folder, "task", "measure", tuned["task"], *TARGET, "--schedule", "best.toml"
    )
    assert measured["cycles"] == tuned["best_cycles"]
    proven = document(folder, "task", "tune", tuned["task"], *TARGET, "--exhaustive")
    assert proven["proven_optimal"] is True
    assert tuned["best_cycles"] <= 1.01 * proven["optimum_cycles"]


def test_space_and_records(folder: Path) -> None:
    task = json.loads((folder / "tuned.json").read_text())["task"]
    space = document(folder, "space", "show", "m.onnx", *TARGET, "--task", task)
    names = [parameter["name"] for parameter in space["parameters"]]
    assert {"groups", "channels", "order", "packed", "buffer_cut"} <= set(names)
    (row,) = document(folder, "record", "list")["tasks"]
    assert row["task"].startswith("aim_")
    checked = document(folder, "record", "verify", *TARGET, "--remeasure", "5")
    assert checked["different"] == []


def test_targets(folder: Path) -> None:
    shown = document(folder, "target", "show", "aim-gddr6")
    assert (shown["npu"], shown["channels"]) == ("aim", 32)
    origins = {entry["key"]: entry["origin"] for entry in shown["quantities"]}
    assert origins["npu.energy.act_pj"] == "published"
    listed = document(folder, "target", "list")["targets"]
    assert "aim-gddr6" in [entry["name"] for entry in listed]


def test_cells_are_listed_and_tuned(tmp_path: Path) -> None:
    onnx.save(lstm_model(40, 90), tmp_path / "m.onnx")
    for target in ("aim-gddr6", "vta-aim"):
        listed = document(tmp_path, "task", "list", "m.onnx", "--target", target)["tasks"]
        shapes = {entry["shape"] for entry in listed if entry["id"].startswith("aim_")}
        assert shapes == {"160x80", "90x40"}
    cell = next(entry for entry in listed if entry["shape"] == "160x80")
    asked = ("task", "tune", cell["id"], "--target", "vta-aim", "--trials", "4")
    tuned = document(tmp_path, *asked, "--storage", "sqlite:///r.db")
    assert tuned["default_cycles"] == cell["default_cycles"]
