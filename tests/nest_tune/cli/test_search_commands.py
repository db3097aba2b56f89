"""``task tune``, ``record`` and ``cost-model`` as a user runs them."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from nest_tune.stores.task_store import task_text

ROOT = Path(__file__).resolve().parents[3]
TASK = Task("vta", ConvWorkload(1, 32, 8, 8, 32, Window((1, 1)), 1, Epilogue(17, True, True, True)))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nest_tune", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("NEST_TUNE_STORAGE", None)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task and the records of one tuning."""
    path = tmp_path_factory.mktemp("search")
    (path / "task.json").write_text(task_text(TASK))
    tuned = run(path, "task", "tune", "task.json", "--target", "vta", "--trials", "20", "--json",
                "-o", "best.toml")  # fmt: skip
    assert tuned.returncode == 0, tuned.stderr
    (path / "tuned.json").write_text(tuned.stdout)
    (path / "progress.txt").write_text(tuned.stderr)
    return path


def test_task_tune_anneals_layers_that_stay_on_chip(folder: Path) -> None:
    window = Window((3, 3), (1, 1), (1, 1, 1, 1))
    layer = ConvWorkload(1, 48, 7, 7, 48, window, 48, Epilogue(17, True, True, True))
    (folder / "layer.json").write_text(task_text(Task("vta", layer)))
    asked = ("--target", "vta", "--trials", "2", "--sampler", "random", "--anneal", "60")
    places = ("--storage", "sqlite:///annealed.db", "-o", "annealed.toml")
    tuned = run(folder, "task", "tune", "layer.json", *asked, *places, "--json")
    assert tuned.returncode == 0, tuned.stderr
    document = json.loads(tuned.stdout)
    assert document["annealed_programs"] >= 60
    assert document["schedule"]["loads"].count("W") >= 1
    assert 'steps = "B0-2' in (folder / "annealed.toml").read_text()
    assert (
        f"{document['annealed_programs']} programs: best {document['best_cycles']:,}"
        in tuned.stderr
    )
    other = run(folder, "task", "tune", "task.json", *asked, "--storage", "sqlite:///annealed.db")
    assert other.returncode == 0, other.stderr
    assert "nothing annealed: resident" in other.stderr


def test_task_tune_reports_what_it_found(folder: Path) -> None:
    document = json.loads((folder / "tuned.json").read_text())
    assert document["schema"] == "nest-tune/task-tune/1"
    assert document["task"] == TASK.id
    assert document["measurements"] == len(document["history"]) == 20
    assert document["history"][0] == document["default_cycles"]
    assert document["history"][-1] == document["best_cycles"]
    assert document["bound_cycles"] <= document["best_cycles"]
    assert "optimum_cycles" not in document
    assert "20 schedules: best" in (folder / "progress.txt").read_text()
    measured = run(folder, "task", "measure", "task.json", "--target", "vta", "--schedule",
                   "best.toml", "--json")  # fmt: skip
    assert json.loads(measured.stdout)["cycles"] == document["best_cycles"]


def test_records_are_listed_exported_and_imported(folder: Path) -> None:
    listed = json.loads(run(folder, "record", "list", "--json").stdout)
    assert (listed["records"], listed["corrupt"]) == (20, 0)
    assert listed["tasks"][0]["task"] == TASK.workload.digest
    assert run(folder, "record", "export", "-o", "all.jsonl").returncode == 0
    other = ("--storage", "sqlite:///other.db")
    imported = json.loads(run(folder, "record", "import", "all.jsonl", *other, "--json").stdout)
    assert (imported["imported"], imported["skipped"]) == (20, 0)
    assert json.loads(run(folder, "record", "list", *other, "--json").stdout) == {
        **listed,
        "storage": "sqlite:///other.db",
    }
    checked = run(folder, "record", "verify", *other, "--target", "vta", "--remeasure", "3")
    assert checked.returncode == 0, checked.stderr
    with sqlite3.connect(folder / "other.db") as raw:
        raw.execute("UPDATE nest_tune_record SET cycles = cycles + 1 WHERE number <= 2")
    raw.close()
    checked = run(folder, "record", "verify", *other)
    assert checked.returncode == 4
    assert "2 rows are corrupt" in checked.stderr


def test_cost_model_shows_saves_and_evaluates(folder: Path) -> None:
    shown = run(folder, "cost-model", "show", "--save", "model.json", "--json")
    document = json.loads(shown.stdout)
    assert document["rows"] == 20
    assert all(f["unit"] and f["meaning"] for f in document["features"])
    again = run(folder, "cost-model", "show", "--model", "model.json", "--json")
    assert json.loads(again.stdout) == document
    quality = json.loads(run(folder, "cost-model", "eval", "--json").stdout)
    assert quality["records"] == 20
    assert 0 < quality["walk"]["error"] < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sampler", "tp"), "sampler 'tp' is not known; known are exhaustive"),
        (("--timeout", "5"), "--timeout '5': a duration such as 90s"),
        (("--storage", "oracle://x/y"), "records are kept in "),
    ],
)
def test_wrong_options_are_refused(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    refused = run(folder, "task", "tune", "task.json", "--target", "vta", *arguments)
    assert refused.returncode == 2
    assert message in refused.stderr
