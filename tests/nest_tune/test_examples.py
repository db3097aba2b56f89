"""Every example does what it says, with fewer trials."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nest_tune

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STUDIES = sorted((EXAMPLES / "targets").glob("*.toml"))

Run = Callable[..., tuple[int, str, str]]


def test_there_is_one_for_each_class_of_targets() -> None:
    assert {path.stem for path in STUDIES} == {"cortex-m4", "host", "own", "vta-aim", "vta-duo"}


@pytest.mark.parametrize("name", ["host", "vta-aim", "vta-duo"])
def test_a_study_ends_in_a_package(name: str, tmp_path: Path) -> None:
    study = nest_tune.Study.start(
        EXAMPLES / "targets" / f"{name}.toml", trials=1, storage=f"sqlite:///{tmp_path}/a.db"
    )
    study.compile(tmp_path / "package")
    nest_tune.run(tmp_path / "package", EXAMPLES / "digits/eval.npz", check=name != "host")


def test_a_study_ends_in_sources(nest_tune: Run, tmp_path: Path) -> None:
    words = ["--trials", "1", "--storage", f"sqlite:///{tmp_path}/a.db", "-o", tmp_path / "m4"]
    code, output, errors = nest_tune("study", "start", EXAMPLES / "targets/cortex-m4.toml", *words)
    if code == 5:
        pytest.skip(f"cross-compiler or QEMU are not installed: {errors.splitlines()[0]}")
    assert code == 0, errors
    assert "instructions" in output
    assert (tmp_path / "m4" / "model.c").is_file()


def test_a_target_of_ones_own_compiles(nest_tune: Run, tmp_path: Path) -> None:
    target = EXAMPLES / "targets/own.toml"
    assert nest_tune("target", "check", target)[0] == 0
    words = ["--target", target, "--calibration", EXAMPLES / "digits/calib.npz"]
    out = tmp_path / "own"
    code, _, errors = nest_tune("compile", EXAMPLES / "digits/model.onnx", *words, "-o", out)
    assert code == 0, errors
    data = ["--inputs", EXAMPLES / "digits/eval.npz", "--outputs", tmp_path / "y.npz"]
    assert nest_tune("run", out, *data, "--check")[0] == 0


def test_a_script_starts_a_study_of_arrays(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    found = subprocess.run(
        [sys.executable, EXAMPLES / "arrays.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert len(found.stdout.split()) == 3
