"""A kind of unit from outside the packages, through the commands of the task level."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler_core.targets.load import load_target
from nest_tune.testing.unit_kinds import UnitCase, check_unit_kind
from nest_tune.testing.unit_models import check_unit_models
from tests.toy_unit.plugin import FOLDER, TARGET, installed, run

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
MODEL = (str(DIGITS / "model.onnx"), "--target", "toy.toml")
CALIBRATION = ("--calibration", str(DIGITS / "calib.npz"))


def document(folder: Path, *arguments: str) -> Any:
    done = run(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the target, the tasks of a model and the records of one tuning."""
    path = tmp_path_factory.mktemp("toy")
    (path / "toy.toml").write_text(TARGET.read_text())
    tasks = document(path, "task", "list", *MODEL, *CALIBRATION)["tasks"]
    (path / "tasks.json").write_text(json.dumps(tasks))
    task = max(tasks, key=lambda entry: entry["macs"])["id"]
    asked = ("--target", "toy.toml", "--trials", "40", "--jobs", "2", "-o", "best.toml")
    (path / "tuned.json").write_text(json.dumps(document(path, "task", "tune", task, *asked)))
    return path


def test_the_kind_passes_the_suite() -> None:
    with installed(FOLDER):
        from toy_unit import MatVec

        work = [MatVec(32, 288, 16), MatVec(10, 32, 1), MatVec(7, 13, 5)]
        check_unit_kind("toy", UnitCase(load_target(TARGET).npu, work))
        check_unit_models(load_target(TARGET))


@pytest.mark.parametrize(
    ("owner", "method", "wrong", "complaint"),
    [
        ("Session", "run", lambda given: {n: a ^ 1 for n, a in given.items()}, "other bits"),
        (
            "Programs",
            "time",
            lambda given: replace(given, cycles=given.cycles + 1),
            "ends with its last program",
        ),
        ("Parts", "files", lambda given: {**given, "other": os.urandom(9)}, "files repeat"),
        ("Profiles", "tracks", lambda given: given * 2, "different names"),
    ],
)
def test_the_suite_finds_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
    owner: str,
    method: str,
    wrong: Callable[[Any], Any],
    complaint: str,
) -> None:
    with installed(FOLDER):
        import toy_unit

        kept = getattr(getattr(toy_unit, owner), method)
        monkeypatch.setattr(getattr(toy_unit, owner), method, lambda *asked: wrong(kept(*asked)))
        with pytest.raises(AssertionError, match=complaint):
            check_unit_models(load_target(TARGET))


def test_a_kind_may_know_no_energies(monkeypatch: pytest.MonkeyPatch) -> None:
    with installed(FOLDER):
        import toy_unit

        kept = toy_unit.CoreCost
        without = lambda cycles, energy, *others: kept(cycles, None, *others)  # noqa: E731, ARG005
        monkeypatch.setattr(toy_unit, "CoreCost", without)
        check_unit_models(load_target(TARGET))


@pytest.mark.usefixtures("folder")
def test_a_layer_is_counted_once_however_many_plans_have_it(tmp_path: Path) -> None:
    beside = TARGET.read_text().partition("[npu]")[2].partition("[cpu]")[0]
    text = f'schema = "nest-tune/target/1"\nname = "both"\ninherit = "vta"\n[units.toy]\n{beside}'
    (tmp_path / "both.toml").write_text(text)
    model = (str(DIGITS / "model.onnx"), "--target", "both.toml", *CALIBRATION)
    tasks = document(tmp_path, "task", "list", *model)["tasks"]
    assert {task["unit"] for task in tasks} == {"vta", "toy"}
    for task in tasks:
        assert task["count"] == len(task["layers"]) == len(set(task["layers"]))


def test_tasks_name_their_kind(folder: Path) -> None:
    tasks = json.loads((folder / "tasks.json").read_text())
    assert len(tasks) > 3
    for task in tasks:
        assert task["id"].startswith("toy_matrix-vector-")
        assert task["unit"] == "toy"
        assert 0 < task["bound_cycles"] <= task["default_cycles"]


def test_a_tuned_schedule_is_measured_again(folder: Path) -> None:
    tuned = json.loads((folder / "tuned.json").read_text())
    assert tuned["best_cycles"] < tuned["default_cycles"]
    asked = ("--target", "toy.toml", "--schedule", "best.toml")
    measured = document(folder, "task", "measure", tuned["task"], *asked)
    assert measured["cycles"] == tuned["best_cycles"]
    assert measured["bytes"].keys() == {"matrix"}
    assert measured["modules"] == {"array": {"busy_cycles": measured["cycles"]}}


def test_samplers_agree_on_the_optimum(folder: Path) -> None:
    task = json.loads((folder / "tuned.json").read_text())["task"]
    asked = ("task", "tune", task, "--target", "toy.toml", "--storage", "sqlite:///other.db")
    proven = document(folder, *asked, "--exhaustive")
    assert proven["proven_optimal"] is True
    found = document(folder, *asked, "--sampler", "tpe", "--trials", "30", "--anneal", "5")
    assert found["best_cycles"] >= proven["optimum_cycles"]
    assert found["annealed_programs"] == 0


def test_space_shows_rules_and_parameters(folder: Path) -> None:
    task = json.loads((folder / "tuned.json").read_text())["task"]
    space = document(folder, "space", "show", *MODEL, *CALIBRATION, "--task", task)
    assert [parameter["name"] for parameter in space["parameters"]] == ["rows", "columns", "order"]
    assert [rule["rule"] for rule in space["pruned"]] == ["rows", "columns", "duplicate"]
    assert 0 < space["size"] < space["product_size"]


def test_records_teach_a_cost_model(folder: Path) -> None:
    (row,) = document(folder, "record", "list")["tasks"]
    assert row["task"].startswith("toy_")
    assert row["lowering"] == 7
    assert run(folder, "record", "export", "-o", "records.jsonl").returncode == 0
    copied = document(folder, "record", "import", "records.jsonl", "--storage", "sqlite:///b.db")
    assert copied == {**copied, "imported": row["records"], "skipped": 0}
    checked = document(folder, "record", "verify", "--target", "toy.toml", "--remeasure", "5")
    assert checked["different"] == []
    shown = document(folder, "cost-model", "show", "--target", "toy.toml", "--save", "model.json")
    assert {feature["name"] for feature in shown["features"]} == {
        "log_steps", "fill", "tiles_outside",
    }  # fmt: skip
    assert shown["rows"] == row["records"]
    foreign = run(folder, "cost-model", "show", "--target", "vta", "--model", "model.json")
    assert foreign.returncode == 2
    assert "features of schema" in foreign.stderr


def test_raw_programs_are_simulated(folder: Path) -> None:
    np.savez(folder / "right.npz", insn=np.array([[4, 8], [16, 64]]))
    np.savez(folder / "wrong.npz", insn=np.array([[4, 8], [17, 64]]))
    asked = ("--target", "toy.toml")
    assert document(folder, "simulate", "right.npz", *asked)["cycles"] == 3 + 4 + 3 + 128
    wrong = run(folder, "simulate", "wrong.npz", *asked)
    assert wrong.returncode == 1
    assert "tile_too_large: instruction 1: tile [17 64]" in wrong.stderr


def test_tasks_and_targets_of_different_kinds_are_kept_apart(folder: Path) -> None:
    task = json.loads((folder / "tuned.json").read_text())["task"]
    other = run(folder, "task", "tune", task, "--target", "vta")
    assert other.returncode == 2
    assert "it is for units of kind 'toy'; target 'vta' has vta (vta)" in other.stderr


def test_targets_show_what_matters_of_a_unit(folder: Path) -> None:
    shown = document(folder, "target", "show", "toy.toml")
    assert (shown["npu"], shown["array"]) == ("toy", "16x64")
    assert {entry["key"] for entry in shown["quantities"]} >= {"npu.rows", "npu.port_bytes"}
    assert "16 x 64" in run(folder, "target", "show", "toy.toml").stdout
    assert document(folder, "target", "check", "toy.toml")["ok"] is True


def test_without_the_plug_in_the_kind_is_named(folder: Path) -> None:
    task = json.loads((folder / "tuned.json").read_text())["task"]
    for arguments in (("task", "tune", task, "--target", "vta"), ("task", "list", *MODEL)):
        refused = run(folder, *arguments, plugin=False)
        assert refused.returncode == 2
        assert "unit kind 'toy' is not known; known are" in refused.stderr
