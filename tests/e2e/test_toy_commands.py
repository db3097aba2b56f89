"""A kind of unit from outside the packages, through every command that the others do not try."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from nest_tune.cli.app import app
from tests.toy_unit.plugin import TARGET, run

HERE = Path(__file__).resolve().parent
DIGITS = HERE.parents[1] / "examples" / "digits"
MODEL = str(DIGITS / "model.onnx")
CALIBRATION, EVALUATION = str(DIGITS / "calib.npz"), str(DIGITS / "eval.npz")
TESTS = ("test_toy_unit.py", "test_toy_models.py", "test_toy_commands.py")

WITHOUT_UNITS = {
    "dashboard": "serves the studies of a storage as they are",
    "doctor": "checks this installation with a bundled target",
    "profile-cpu": "measures the CPU",
    "study import": "copies studies of an older form, of before there were kinds",
}
"""Commands that no unit takes part in."""


def leaves(command: Any, words: tuple[str, ...] = ()) -> list[str]:
    """All commands by their words."""
    below = getattr(command, "commands", None)
    if below is None:
        return [" ".join(words)]
    return [name for word in below for name in leaves(below[word], (*words, word))]


def test_every_command_is_tried() -> None:
    text = "".join((HERE / name).read_text() for name in TESTS)
    tried = set()
    for command in leaves(typer.main.get_command(app)):
        words = r",\s*".join(f'"{word}"' for word in command.split())
        if re.search(rf"\(\s*(\w+,\s*)?{words}", text):
            tried.add(command)
    known = set(leaves(typer.main.get_command(app)))
    assert known - tried == set(WITHOUT_UNITS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the target, few samples, a package and a study of four trials."""
    path = tmp_path_factory.mktemp("toy-commands")
    (path / "toy.toml").write_text(TARGET.read_text())
    with np.load(EVALUATION) as data:
        np.savez(path / "few.npz", x=data["x"][:40], y=data["y"][:40])
    (path / "board.py").write_text("def measure(package):\n    return {'latency_ms': 1.5}\n")
    done(path, "compile", MODEL, "--target", "toy.toml", "--calibration", CALIBRATION, "-o", "out")
    done(
        path, "study", "start", "--model", MODEL, "--target", "toy.toml", "--name", "s",
        "--calibration", CALIBRATION, "--evaluation", "few.npz", "--trials", "3", "--seed", "1",
        "--jobs", "1", "--space", "partition", "--space", "tiling",
    )  # fmt: skip
    return path


def done(folder: Path, *arguments: str) -> str:
    found = run(folder, *arguments)
    assert found.returncode == 0, found.stderr
    return found.stdout


def document(folder: Path, *arguments: str) -> Any:
    return json.loads(done(folder, *arguments, "--json"))


@pytest.mark.slow
def test_studies_are_looked_at(folder: Path) -> None:
    assert "s" in done(folder, "study", "list")
    assert "toy" in done(folder, "study", "show", "s")
    assert len(document(folder, "study", "trials", "s")["trials"]) == 3
    document(folder, "study", "best", "s", "-o", "best")
    assert (folder / "best" / "segments" / "00-toy").is_dir()
    done(folder, "study", "verify", "s")
    assert "s" in done(folder, "study", "compare", "s", "s")


@pytest.mark.slow
def test_studies_go_on_and_end(folder: Path) -> None:
    done(folder, "study", "export", "s", "-o", "first.toml")
    done(folder, "study", "enqueue", "s", "--config", "first.toml")
    done(folder, "study", "resume", "s", "--trials", "5")
    assert len(document(folder, "study", "trials", "s")["trials"]) == 5
    done(folder, "study", "export", "s", "-o", "second.toml")
    done(folder, "ci", "diff", "first.toml", "second.toml")
    done(folder, "ci", "init", "github", "first.toml", "--data", "few.npz", "-o", "a.yml")
    done(folder, "ci", "init", "gitlab", "first.toml", "--data", "few.npz", "-o", "b.yml")
    for asked in (("study", "stop", "s"), ("study", "cancel", "s")):
        assert run(folder, *asked).returncode == 2  # nobody runs it
    done(folder, "study", "delete", "s", "--yes")


@pytest.mark.slow
def test_models_are_quantized_and_planned(folder: Path) -> None:
    target = ("--target", "toy.toml")
    done(folder, "quantize", "profile", MODEL, "--calibration", CALIBRATION, "-o", "p.npz")
    data = ("--calibration", CALIBRATION, "--data", "few.npz")
    done(folder, "quantize", "search", MODEL, *target, *data, "--uniform", "-o", "scheme.toml")
    assert "toy" in done(folder, "plan", "show", MODEL, *target)
    assert "network" in done(folder, "cost-model", "eval", *target)
    assert "vta" in done(folder, "target", "list")


@pytest.mark.slow
def test_packages_are_measured_by_others_and_not_driven(folder: Path) -> None:
    found = document(folder, "measure", "out", "--measurer", "board:measure")
    assert found["measured"]["latency_ms"] == 1.5
    refused = run(folder, "bundle", "out", "-o", "sources")
    assert refused.returncode == 2
    assert "toy" in refused.stderr
