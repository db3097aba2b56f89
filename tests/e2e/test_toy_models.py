"""A kind of unit from outside the packages, through the commands that take whole models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.toy_unit.plugin import TARGET, run

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
MODEL = str(DIGITS / "model.onnx")
CALIBRATION, EVALUATION = str(DIGITS / "calib.npz"), str(DIGITS / "eval.npz")


def document(folder: Path, *arguments: str) -> Any:
    done = run(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the target, samples and a package."""
    path = tmp_path_factory.mktemp("toy-models")
    (path / "toy.toml").write_text(TARGET.read_text())
    np.savez(path / "few.npz", x=np.load(EVALUATION)["x"][:12])
    asked = ("compile", MODEL, "--target", "toy.toml", "--calibration", CALIBRATION, "-o", "out")
    made = document(path, *asked, "--emit", "graph,tensor,commands")
    (path / "compiled.json").write_text(json.dumps(made))
    return path


def test_packages_hold_the_kind_s_own_files(folder: Path) -> None:
    segments = sorted(path.name for path in (folder / "out" / "segments").iterdir())
    assert segments == ["00-toy", "01-cpu.onnx", "02-toy", "03-cpu.onnx", "04-toy"]
    manifest = json.loads((folder / "out" / "package.json").read_text())
    assert {entry["unit"] for entry in manifest["segments"]} == {"cpu", "toy"}
    assert "segments/00-toy/toy.json" in manifest["files"]
    assert "tensor image: int8[1, 1, 8, 8]" in (folder / "out" / "tensor.txt").read_text()
    assert "MATVEC 16 9 1 0" in (folder / "out" / "commands.txt").read_text()
    reasons = {entry["reason"] for entry in json.loads((folder / "compiled.json").read_text())[
        "cpu_reasons"]}  # fmt: skip
    assert any("no product with a matrix" in reason for reason in reasons)


def test_packages_run_bit_for_bit(folder: Path) -> None:
    asked = ("run", "out", "--inputs", "few.npz", "--outputs", "y.npz")
    done = document(folder, *asked, "--check", "--dump-launches", "dump")
    assert done["bit_exact"] is True
    assert done["samples"] == 12
    assert np.load(folder / "y.npz")["logits"].shape == (12, 10)
    assert len(list((folder / "dump").glob("*.vector.bin"))) == 6
    launch = json.loads((folder / "dump" / "000.json").read_text())
    assert launch["target"] == "toy-chip"


def test_packages_are_evaluated(folder: Path) -> None:
    found = document(folder, "evaluate", "out", "--data", EVALUATION, "--against", MODEL)
    assert found["accuracy"] > found["float_accuracy"] - 0.02


def test_profiles_name_the_kind_s_modules(folder: Path) -> None:
    found = document(folder, "profile", "out", "--by", "instruction", "--trace", "trace.json")
    assert {(item["module"], item["name"]) for item in found["instructions"]} == {
        ("array", "MATVEC")
    }
    cycles = found["metrics"]["npu_cycles"]
    assert sum(item["cycles"] for item in found["instructions"]) == cycles > 0
    on_unit = [layer for layer in found["layers"] if layer["unit"] == "toy"]
    assert all(layer["bytes"].keys() == {"matrix"} for layer in on_unit)
    assert all(layer["roofline"]["achieved_macs_per_cycle"] > 0 for layer in on_unit)
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    names = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert names == {"cpu", "array"}


def test_plans_place_on_the_kind(folder: Path) -> None:
    best = document(folder, "plan", "best", MODEL, "--target", "toy.toml", "-o", "plan.toml")
    metrics = json.loads((folder / "out" / "package.json").read_text())["metrics"]
    assert best["baselines"]["all_npu"] == pytest.approx(metrics["latency_ms"], rel=0.01)
    assert best["latency_ms"] <= min(best["baselines"].values()) + 1e-9
    asked = ("--target", "toy.toml")
    (folder / "mine.toml").write_text(
        'schema = "nest-tune/plan/1"\n[units]\nstem = "toy"\nclassifier = "cpu"\n'
    )
    checked = document(folder, "plan", "check", MODEL, "--plan", "mine.toml", *asked)
    assert checked["ok"] is True


@pytest.mark.slow
def test_studies_report_and_lock_files(folder: Path) -> None:
    storage = ("--storage", "sqlite:///studies.db")
    asked = ("study", "start", "--model", MODEL, "--target", "toy.toml", "--name", "s", *storage)
    data = ("--calibration", CALIBRATION, "--evaluation", EVALUATION)
    found = document(folder, *asked, *data, "--trials", "4", "--seed", "1", "--jobs", "1")
    default, chosen = found["default"]["metrics"], found["chosen"]["metrics"]
    assert chosen["latency_ms"] < default["latency_ms"]
    assert run(folder, "study", "report", "s", *storage, "-o", "r.html").returncode == 0
    page = (folder / "r.html").read_text()
    assert "is left out" not in page
    assert "toy" in page
    assert run(folder, "study", "explain", "s", *storage).returncode == 0
    assert run(folder, "study", "export", "s", *storage, "-o", "best.toml").returncode == 0
    assert document(folder, "ci", "check", "best.toml", "--data", EVALUATION)["ok"] is True


@pytest.mark.slow
def test_layers_are_ranked(folder: Path) -> None:
    asked = ("quantize", "sensitivity", MODEL, "--target", "toy.toml", "--limit", "8")
    found = document(folder, *asked, "--calibration", CALIBRATION)
    assert len(found["layers"]) == 6


def test_without_the_plug_in_packages_name_the_kind(folder: Path) -> None:
    refused = run(folder, "profile", "out", plugin=False)
    assert refused.returncode == 2
    assert "unit kind 'toy' is not known" in refused.stderr
