"""compile, run, evaluate, profile and task: documents, exit codes, files, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nest_tune.cli.app import _run

Run = Callable[..., tuple[int, str, str]]

LAYERS = 6
"""Operators of the model ``residual``, all on the NPU."""


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Run:
    """Commands with one cache for all tests."""
    monkeypatch.setenv("NEST_TUNE_CACHE", str(cache))
    return run


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model ``residual``, calibration and labelled evaluation data."""
    folder: Path = tmp_path_factory.mktemp("data")
    synthetic.write("residual", folder)
    np.savez(folder / "calib.npz", x=synthetic.samples("residual", 8, seed=1)["x"])
    labels = np.arange(20) % 7
    np.savez(folder / "eval.npz", x=synthetic.samples("residual", 20)["x"], y=labels)
    np.savez(folder / "unlabelled.npz", x=synthetic.samples("residual", 20)["x"])
    return folder


@pytest.fixture(scope="module")
def package(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("packages") / "residual"
    options = ["--calibration", str(data / "calib.npz"), "-o", str(folder)]
    options += ["--emit", "graph,tensor,commands"]
    command = ["compile", str(data / "residual.onnx"), "--target", "vta", *options]
    assert _run(command, debug=False, as_json=False) == 0
    return folder


def document(output: str, name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(output)
    assert next(iter(parsed)) == "schema"
    assert parsed["schema"] == f"nest-tune/{name}/1"
    return parsed


def test_compile_within_a_limit_on_damage_says_what_is_done(
    run: Run, data: Path, tmp_path: Path
) -> None:
    options = ["--calibration", data / "calib.npz", "-o", tmp_path / "p", "--most-damage", "50%"]
    code, out, _ = run("compile", data / "residual.onnx", "--target", "vta-duo", *options)
    assert code == 0
    assert "of what fewest bits do to all weights" in out
    code, _, err = run("compile", data / "residual.onnx", "--target", "vta", *options)
    assert code == 2
    assert "as many bits" in err
    code, _, err = run("compile", data / "residual.onnx", "--target", "cortex-m4", *options)
    assert code == 2
    assert "--most-damage" in err


def test_compile_reports_metrics_and_progress_apart(run: Run, data: Path, tmp_path: Path) -> None:
    code, out, err = run(
        "compile", data / "residual.onnx", "--target", "vta", "--calibration", data / "calib.npz",
        "-o", tmp_path / "p", "--json",
    )  # fmt: skip
    assert code == 0
    result = document(out, "compile")
    assert result["metrics"]["npu_cycles"] > 0
    assert result["metrics"]["launches"] == 1
    assert result["segments"] == ["00-vta"]
    assert "verifying" in err
    code, out, err = run(
        "compile", data / "residual.onnx", "--target", "vta",
        "--config", tmp_path / "p" / "config.toml", "-o", tmp_path / "q",
    )  # fmt: skip
    assert code == 0
    assert "in 1 launch," in out
    first, again = ((tmp_path / name / "package.json").read_bytes() for name in "pq")
    assert first == again


def test_emit_adds_texts_of_each_level(package: Path) -> None:
    assert (package / "graph.txt").read_text().startswith("graph ")
    assert "schedule" in (package / "tensor.txt").read_text()
    assert "finish" in (package / "commands.txt").read_text()


def test_run_checks_bit_for_bit_and_writes_outputs(
    run: Run, data: Path, package: Path, tmp_path: Path
) -> None:
    code, out, _ = run(
        "run", package, "--inputs", data / "eval.npz", "--outputs", tmp_path / "y.npz",
        "--check", "--json",
    )  # fmt: skip
    assert code == 0
    result = document(out, "run")
    assert result["bit_exact"] is True
    assert result["samples"] == 20
    with np.load(tmp_path / "y.npz") as outputs:
        assert outputs.files == ["y"]
        assert outputs["y"].shape == (20, 7)
        assert len(np.unique(outputs["y"].argmax(axis=1))) > 1
    code, out, _ = run(
        "run", package, "--inputs", data / "eval.npz", "--outputs", tmp_path / "z.npz"
    )
    assert code == 0
    assert "not checked" in out
    assert (tmp_path / "z.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()


def test_a_check_needs_no_file_for_outputs(
    run: Run, data: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("run", package, "--inputs", data / "eval.npz", "--check")
    assert code == 0
    assert "bit-exact" in out
    code, _, err = run("run", package, "--inputs", data / "eval.npz")
    assert code == 2
    assert "--outputs y.npz" in err
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.parametrize("launches", ["merged", "apart"])
def test_dumped_launches_execute_as_they_stand(
    run: Run, data: Path, package: Path, tmp_path: Path, launches: str
) -> None:
    from compiler_core.targets.load import load_target
    from compiler_core.units.vta.simulate.functional import execute
    from compiler_core.units.vta.simulate.timing import time_program

    folder = tmp_path / "launches"
    if launches == "apart":
        config, package = package / "config.toml", tmp_path / "apart"
        code, _, _ = run(
            "compile", data / "residual.onnx", "--target", "vta", "--config", config, "-o", package,
            "--launches", launches,
        )  # fmt: skip
        assert code == 0
    count = 1 if launches == "merged" else LAYERS
    code, _, _ = run(
        "run", package, "--inputs", data / "eval.npz", "--outputs", tmp_path / "y.npz",
        "--dump-launches", folder,
    )  # fmt: skip
    assert code == 0
    core = load_target("vta").npu
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 4 * count
    for number in range(count):
        stem = folder / f"{number:03d}"
        instructions = np.fromfile(f"{stem}.insn.bin", np.uint8).reshape(-1, 16)
        memory = np.fromfile(f"{stem}.dram-before.bin", np.uint8)
        after = np.fromfile(f"{stem}.dram-after.bin", np.uint8)
        assert not np.array_equal(memory, after)
        execute(instructions, core.geometry, memory)
        assert np.array_equal(memory, after)
        described = json.loads(Path(f"{stem}.json").read_text())
        cycles = time_program(instructions, core.timing, core.geometry).cycles
        assert (described["target"], described["cycles"]) == ("vta", cycles)
        assert described["segment"] == "00-vta"
    code, _, err = run(
        "run", package, "--inputs", data / "eval.npz", "--outputs", tmp_path / "y.npz",
        "--dump-launches", folder,
    )  # fmt: skip
    assert code == 2
    assert "is not empty" in err


def test_a_difference_exits_with_4_and_names_the_tensor(
    run: Run, data: Path, package: Path, tmp_path: Path
) -> None:
    import hashlib
    import shutil

    from compiler_core.package.seal import sealed_bytes

    folder = tmp_path / "broken"
    shutil.copytree(package, folder)
    name = "segments/00-vta/operators.bin"
    content = bytearray((folder / name).read_bytes())
    content[: len(content) // 2] = bytes(len(content) // 2)
    (folder / name).write_bytes(bytes(content))
    manifest = json.loads((folder / "package.json").read_text())
    manifest["files"][name]["sha256"] = hashlib.sha256(bytes(content)).hexdigest()
    (folder / "package.json").write_bytes(sealed_bytes(manifest))
    code, out, err = run(
        "run", folder, "--inputs", data / "eval.npz", "--outputs", tmp_path / "y.npz",
        "--check", "--json",
    )  # fmt: skip
    assert code == 4
    assert "differs from the integer reference: integer tensor 'y', sample 0" in err
    assert document(out, "error")["error"]["class"] == "CheckError"
    assert not (tmp_path / "y.npz").exists()


def test_evaluate_gives_the_same_accuracy_on_both_executors(
    run: Run, data: Path, package: Path
) -> None:
    results = {}
    for executor in ("simulator", "reference"):
        code, out, _ = run(
            "evaluate", package, "--data", data / "eval.npz", "--executor", executor,
            "--against", data / "residual.onnx", "--json",
        )  # fmt: skip
        assert code == 0
        results[executor] = document(out, "evaluate")
        assert results[executor].pop("executor") == executor
    assert results["simulator"] == results["reference"]
    assert results["simulator"]["samples"] == 20
    assert results["simulator"]["agreement"] >= 0.8
    code, out, _ = run(
        "evaluate", package, "--data", data / "unlabelled.npz",
        "--against", data / "residual.onnx", "--json", "--limit", 8,
    )  # fmt: skip
    result = document(out, "evaluate")
    assert (result["metric"], result["samples"]) == ("agreement", 8)
    assert result["accuracy"] is None  # nothing was compared with labels
    assert result["agreement"] >= 0.8
    code, _, err = run("evaluate", package, "--data", data / "unlabelled.npz")
    assert code == 2
    assert "needs the float model" in err


@pytest.mark.parametrize(
    "words",
    [("run", "--on", "qemu", "--inputs", "{data}", "--check"), ("profile", "--picture", "a.svg")],
)
def test_a_folder_that_is_not_there_is_no_package_of_another_kind(
    run: Run, tmp_path: Path, data: Path, words: tuple[str, ...]
) -> None:
    filled = [word.format(data=data / "eval.npz") for word in words]
    code, _, err = run(filled[0], tmp_path / "none", *filled[1:])
    assert code == 2
    assert "no such folder" in err
    assert "nest-tune compile" in err


def test_options_of_generated_c_are_refused_for_programs(
    run: Run, package: Path, data: Path
) -> None:
    for words in (
        ("run", "--inputs", data / "eval.npz", "--check", "--on", "qemu"),
        ("profile", "--picture", "a.svg"),
    ):
        code, _, err = run(words[0], package, *words[1:])
        assert code == 2
        assert "not of generated C" in err


def test_profile_tables_documents_and_trace(run: Run, package: Path, tmp_path: Path) -> None:
    told: dict[str, bool] = {}
    for by in ("layer", "unit", "instruction"):
        code, out, _ = run("profile", package, "--by", by)
        assert code == 0
        assert "cycles" in out
        told = {**told, by: "over 100 % of its roof" in out}
    code, out, _ = run(
        "profile", package, "--json", "--by", "instruction", "--trace", tmp_path / "t.json"
    )
    assert code == 0
    result = document(out, "profile")
    layers = [layer for layer in result["layers"] if layer["unit"] == "vta"]
    assert len(layers) == LAYERS
    for layer in layers:
        assert 0 < layer["bound_cycles"] <= layer["cycles"]
        assert layer["utilization"] == layer["bound_cycles"] / layer["cycles"]
        assert layer["roofline"]["achieved_macs_per_cycle"] <= 256
    roofs = [layer["roofline"] for layer in layers]
    over = any(r["achieved_macs_per_cycle"] > r["attainable_macs_per_cycle"] > 0 for r in roofs)
    assert told == {"layer": over, "unit": False, "instruction": False}
    assert over  # a layer's data are loaded while the layer before it still runs
    assert sum(layer["cycles"] for layer in layers) == result["metrics"]["npu_cycles"]
    assert sum(unit["latency_share"] for unit in result["units"]) == pytest.approx(1)
    assert any(item["name"] == "GEMM" for item in result["instructions"])
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    end = max(event["ts"] + event["dur"] for event in events if event["ph"] == "X")
    assert end == pytest.approx(result["metrics"]["latency_ms"] * 1e3, rel=1e-3)
    names = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert names == {"cpu", "fetch", "load", "compute", "store"}


def test_tasks_are_listed_and_measured_by_id(run: Run, data: Path, package: Path) -> None:
    code, out, _ = run(
        "task", "list", data / "residual.onnx", "--target", "vta",
        "--calibration", data / "calib.npz", "--json",
    )  # fmt: skip
    assert code == 0
    tasks = document(out, "task-list")["tasks"]
    assert sum(task["count"] for task in tasks) == LAYERS
    assert all(len(task["layers"]) == task["count"] for task in tasks)
    assert sum(task["share_of_time"] for task in tasks) == pytest.approx(1)
    for task in tasks:
        assert 0 < task["bound_cycles"] <= task["default_cycles"]
        code, out, _ = run(
            "task", "measure", task["id"], "--target", "vta",
            "--schedule", package / "config.toml", "--json",
        )  # fmt: skip
        assert code == 0
        assert document(out, "task-measure")["cycles"] == task["default_cycles"]
    code, out, err = run("task", "list", data / "residual.onnx", "--target", "vta")
    assert code == 0
    assert "seeded noise" in err
    assert "share of time" in out


def test_schedules_that_do_not_fit_say_why(run: Run, data: Path, tmp_path: Path) -> None:
    _, out, _ = run(
        "task", "list", data / "residual.onnx", "--target", "vta",
        "--calibration", data / "calib.npz", "--json",
    )  # fmt: skip
    task = document(out, "task-list")["tasks"][0]["id"]
    path = tmp_path / "schedule.toml"
    good = {"tile_height": 1, "tile_width": 1, "tile_out_blocks": 1, "tile_in_blocks": 1}
    for change, code, words in (
        ({"tile_height": 99}, 3, "tile_height: 99 rows demanded"),
        ({"tile_hight": 1}, 2, "unknown key 'tile_hight'"),
        ({"tile_width": "x"}, 2, "an integer is needed"),
    ):
        lines = [f"{key} = {json.dumps(value)}" for key, value in (good | change).items()]
        path.write_text("\n".join(lines))
        seen, _, err = run("task", "measure", task, "--target", "vta", "--schedule", path)
        assert seen == code
        assert words in err
    path.write_text("tile_height = 1\ntile_width = 1\ntile_blocks = 1\n")
    seen, _, err = run("task", "measure", task, "--target", "vta", "--schedule", path)
    assert seen == 2
    assert "MaxPoolSchedule does not schedule" in err
    seen, _, err = run("task", "measure", "conv2d-none", "--target", "vta", "--schedule", path)
    assert seen == 2
    assert "hint: nest-tune task list" in err


def dense_model(**changes: Any) -> bytes:
    weight = changes.get("weight", np.ones((4, 3), "f4"))
    shape = changes.get("shape", ["n", 4])
    kind = changes.get("kind", TensorProto.FLOAT)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")]
    graph = helper.make_graph(
        changes.get("nodes", nodes),
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(
        graph, opset_imports=opsets, ir_version=10
    ).SerializeToString()
    return content


NAN = np.full((4, 3), np.nan, "f4")


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (b"not a model at all", [], "not an ONNX model, or truncated"),
        (b"", [], "the file is empty"),
        (dense_model()[:-40], [], "truncated"),
        (dense_model(nodes=[]), [], "the graph is empty"),
        (dense_model(weight=NAN), [], "holds NaN or infinite values"),
        (dense_model(shape=["n", "k"]), [], "input 'x', axis 1 (k) is dynamic"),
        (dense_model(), ["--shape", "z=1,4"], "--shape names 'z', which is no input"),
        (dense_model(), ["--shape", "x=1,a"], "NAME=SIZE,SIZE"),
        (dense_model(), ["--emit", "graph,asm"], "'asm'; allowed are graph, tensor, commands"),
        (dense_model(), ["--target", "nope"], "nope"),
        (dense_model(), [], "there are no calibration data (first tensor without a range: 'x')"),
    ],
    ids=[
        "no model", "empty", "truncated", "no nodes", "nan", "dynamic", "unknown shape",
        "wrong shape", "emit", "target", "no calibration",
    ],
)  # fmt: skip
def test_bad_input_is_one_error_and_no_package(
    run: Run, tmp_path: Path, content: bytes, options: list[str], words: str
) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    target = [] if "--target" in options else ["--target", "vta"]
    code, out, err = run("compile", tmp_path / "m.onnx", *target, "-o", tmp_path / "p", *options)
    assert code == 2
    assert out == ""
    assert words in err
    assert err.count("error:") == 1
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_calibration_that_does_not_fit_is_named(run: Run, data: Path, tmp_path: Path) -> None:
    x = np.zeros((2, 3, 12, 10), "f4")
    for arrays, words in (
        ({"x": x[:, :, :5]}, "input 'x' has shape (2, 3, 5, 10); expected (samples, 3, 12, 10)"),
        ({"x": x.astype("c8")}, "array x has type <c8; allowed are booleans, integers"),
        ({"z": x}, "input 'x' is missing; it holds 'z'"),
        ({"x": x[:0]}, "samples"),
        ({"x": np.full_like(x, np.nan)}, "input 'x' is NaN in sample 0"),
    ):
        np.savez(tmp_path / "c.npz", **arrays)
        code, _, err = run(
            "compile", data / "residual.onnx", "--target", "vta",
            "--calibration", tmp_path / "c.npz", "-o", tmp_path / "p",
        )  # fmt: skip
        assert code == 2
        assert words in err
        assert not (tmp_path / "p").exists()


def test_configurations_for_something_else_are_refused(
    run: Run, data: Path, package: Path, synthetic: ModuleType, tmp_path: Path
) -> None:
    other = synthetic.write("depthwise", tmp_path)
    text = (package / "config.toml").read_text()
    task = next(line for line in text.splitlines() if line.startswith("[schedule."))
    cases = (
        (other, "vta", text, "the configuration is for model 'residual'"),
        (data / "residual.onnx", "vta-pynq", text, "the configuration is for target 'vta'"),
        (
            data / "residual.onnx",
            "vta",
            text.replace(task, "[schedule.conv2d-other]"),
            "schedule.conv2d-other: the model has no such task",
        ),
        (
            data / "residual.onnx",
            "vta",
            text.replace("[plan]", '[plan]\nnowhere = "cpu"'),
            "plan: the model has no node 'nowhere'",
        ),
        (data / "residual.onnx", "vta", text + "\n[extra]\n", "unknown key 'extra'"),
    )
    for model, target, content, words in cases:
        (tmp_path / "c.toml").write_text(content)
        code, _, err = run(
            "compile", model, "--target", target, "--config", tmp_path / "c.toml",
            "-o", tmp_path / "p",
        )  # fmt: skip
        assert code == 2
        assert words in err
        assert not (tmp_path / "p").exists()


def test_wrong_packages_and_inputs_exit_with_2(
    run: Run, data: Path, package: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3, 5, 10), "f4"))
    cases = (
        (tmp_path / "none", data / "eval.npz", "no such folder"),
        (data, data / "eval.npz", "not a package"),
        (package, tmp_path / "x.npz", "input 'x' has shape (2, 3, 5, 10)"),
        (package, data / "residual.onnx", "an .npz file of array"),
    )
    for folder, inputs, words in cases:
        code, _, err = run("run", folder, "--inputs", inputs, "--outputs", tmp_path / "y.npz")
        assert code == 2
        assert words in err
        assert not (tmp_path / "y.npz").exists()
