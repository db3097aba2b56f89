"""What a compile says of its quantization, and that it can be had again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import nest_tune
from compiler_core.quantize.ladder import ROOM
from nest_tune.cli.app import app

CASES = Path(__file__).parents[2] / "cases" / "default-compile-silently-destroys"
DIGITS = Path(__file__).parents[3] / "examples" / "digits"


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["outlier", "scale_1e20", "scale_1e-20"])
def test_a_default_compile_does_not_destroy_a_network(name: str, tmp_path: Path) -> None:
    made = nest_tune.compile(
        CASES / f"{name}.onnx", "vta", tmp_path / "out", calibration=CASES / f"{name}.npz"
    )
    assert made.quality is not None
    assert made.quality.sqnr_db > 30
    assert made.ladder is not None
    assert made.ladder.good_enough
    assert not made.warnings
    checked = nest_tune.run(tmp_path / "out", CASES / f"{name}.npz", check=True)
    assert checked.bit_exact


def test_its_configuration_compiles_to_the_same_bytes(tmp_path: Path) -> None:
    source, data = CASES / "outlier.onnx", CASES / "outlier.npz"
    first = nest_tune.compile(source, "vta", tmp_path / "one", calibration=data)
    assert first.ladder is not None
    assert first.ladder.latency_ms is not None
    assert first.ladder.first_latency_ms is not None
    assert first.ladder.latency_ms == first.metrics.latency_ms
    nest_tune.compile(
        source, "vta", tmp_path / "two", config=tmp_path / "one" / "config.toml", calibration=data
    )
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_exponents_alone_carry_on_what_was_measured(tmp_path: Path) -> None:
    model, data = DIGITS / "model.onnx", DIGITS / "calib.npz"
    first = nest_tune.compile(model, "vta", tmp_path / "one", calibration=data)
    again = nest_tune.compile(
        model, "vta", tmp_path / "two", config=tmp_path / "one" / "config.toml"
    )
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert again.quality == first.quality is not None


def test_a_second_compile_finds_the_ladder_where_the_first_left_it(tmp_path: Path) -> None:
    source, data = CASES / "outlier.onnx", CASES / "outlier.npz"
    lines: list[list[str]] = [[], []]
    for number, kept in enumerate(lines):
        nest_tune.compile(
            source, "vta", tmp_path / str(number), calibration=data, progress=kept.append
        )
    assert any(line.startswith("default quantization") for line in lines[0])
    assert not any(line.startswith("default quantization") for line in lines[1])
    assert files(tmp_path / "0") == files(tmp_path / "1")


def command(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_json_text_and_report_say_it(tmp_path: Path) -> None:
    given = (
        "compile", CASES / "outlier.onnx", "--target", "vta",
        "--calibration", CASES / "outlier.npz", "-o", tmp_path / "out",
    )  # fmt: skip
    document = json.loads(command(*given, "--json"))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert document["quality"]["output"] == "y"
    assert document["quality"]["samples"] == 8
    assert document["quality"] == report["quality"]
    assert document["scheme_ladder"] == report["scheme_ladder"]
    rungs = [rung["name"] for rung in document["scheme_ladder"]["rungs"]]
    assert rungs[-2:] == [document["scheme_ladder"]["taken"], ROOM]
    assert document["scheme_ladder"]["decisions"]["granularity"] == "channel"
    text = command(*given)
    assert "SQNR" in text
    assert f"with {ROOM}" in text
    assert "% latency against weights per tensor" in text


def test_an_explicit_scheme_is_measured_and_left_as_it_is(tmp_path: Path) -> None:
    config = tmp_path / "scheme.toml"
    config.write_text(
        'schema = "nest-tune/config/1"\n[scheme.decisions]\ngranularity = "tensor"\n'
        'weight_range = "max"\n'
    )
    made = nest_tune.compile(
        CASES / "outlier.onnx", "vta", tmp_path / "out",
        config=config, calibration=CASES / "outlier.npz",
    )  # fmt: skip
    assert made.ladder is None
    assert made.quality is not None
    assert made.quality.sqnr_db < 3


def test_zeros_alone_and_a_profile_alone_are_warned_of(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(CASES / "outlier.onnx", model)
    zeros = {"x": np.zeros((4, 3, 8, 8), np.float32)}
    made = nest_tune.compile(model, "vta", tmp_path / "out", calibration=zeros)
    assert any("is 0 throughout all 4 calibration samples" in line for line in made.warnings)
    command(
        "quantize", "profile", model, "--calibration", CASES / "outlier.npz",
        "-o", tmp_path / "profile.npz",
    )  # fmt: skip
    made = nest_tune.compile(model, "vta", tmp_path / "out", profile=tmp_path / "profile.npz")
    assert made.quality is None
    assert any("--calibration measures it" in line for line in made.warnings)
