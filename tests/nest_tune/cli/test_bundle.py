"""``nest-tune bundle``: sources that build, check and count themselves; errors."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nest_tune.cli.app import app


def bundle(repository: Path, output: Path, *words: str, data: bool = True) -> Result:
    digits = repository / "examples" / "digits"
    given = ["--calibration", str(digits / "calib.npz")] if data else []
    command = ["bundle", str(digits / "model.onnx"), *given, "-o", str(output), *words]
    return CliRunner().invoke(app, command)


def need(command: str) -> None:
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")


def test_sources_check_themselves(repository: Path, tmp_path: Path) -> None:
    need("cc")
    folder = tmp_path / "board"
    result = bundle(repository, folder, "--target", "c99", "--name", "digits", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["schema"] == "nest-tune/bundle/1"
    assert document["name"] == "digits"
    assert document["arena_bytes"] == document["arena_bound_bytes"]
    assert document["flash_bytes"] > document["constant_bytes"] > 0
    assert "int digits_run(void *arena, const int8_t *input0" in (folder / "model.h").read_text()
    made = subprocess.run(["make", "-C", str(folder), "check"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert "2 of 2 samples equal" in made.stdout
    assert subprocess.run(["make", "-C", str(folder), "clean"]).returncode == 0
    assert not (folder / "selftest").exists()


def test_check_and_count_on_an_emulated_core(repository: Path, tmp_path: Path) -> None:
    need("arm-none-eabi-gcc")
    need("qemu-system-arm")
    words = ["--target", "cortex-m4", "--check", "--count", "--json"]
    result = bundle(repository, tmp_path / "board", *words)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert "2 of 2 samples equal" in document["check"]
    assert all(item["instructions"] > 0 for item in document["operators"])
    shown = bundle(repository, tmp_path / "board", *words[:-1])
    assert "they are not cycles" in shown.stdout


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--target", "cortex-m9"], 2, "cortex-m9"),
        (["--target", "c99", "--name", "int"], 2, "--name model_int"),
        (["--target", "c99", "--precision", "int2"], 2, "int2"),
        (["--target", "c99", "--int4", "nothing"], 2, "no node 'nothing'"),
        (["--target", "c99", "--int16", "nothing"], 2, "no node 'nothing'"),
        (["--target", "c99", "--patches", "stem"], 2, "patches 'stem': NODE=N is needed"),
        (["--target", "c99", "--patches", "nothing=2"], 2, "no node 'nothing'"),
        (["--target", "c99", "--patches", "stem=999"], 2, "999 stripes; from 2 to"),
        (["--target", "none.toml"], 2, "none.toml"),
        (["--target", "c99", "--count"], 2, "nothing counts"),
        (["--target", "rv32imc", "--tune"], 2, "nothing counts"),
    ],
)
def test_errors(repository: Path, tmp_path: Path, words: list[str], code: int, text: str) -> None:
    result = bundle(repository, tmp_path / "board", *words)
    error = result.exception
    assert error is not None
    assert getattr(error, "exit_code", None) == code
    assert text in f"{error} {getattr(error, 'hint', '')}"


def test_int8_needs_data(repository: Path, tmp_path: Path) -> None:
    result = bundle(repository, tmp_path / "board", "--target", "c99", data=False)
    assert "calibration" in str(result.exception)
    words = ["--target", "c99", "--precision", "float32"]
    assert bundle(repository, tmp_path / "board", *words, data=False).exit_code == 0


def test_what_does_not_fit_says_demand_and_bound(repository: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.toml"
    small.write_text(
        'schema = "nest-tune/board/1"\nname = "small"\ncore = "c99"\nram_bytes = 2048\n'
    )
    result = bundle(repository, tmp_path / "board", "--target", str(small))
    error = result.exception
    assert getattr(error, "exit_code", None) == 3
    assert "2,048 are there" in str(error)
    assert not (tmp_path / "board").exists()
