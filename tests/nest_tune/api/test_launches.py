"""Launches of a compile, named at the call: over what the configuration says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import nest_tune
from compiler_core.configuration.configuration import read_configuration
from compiler_core.errors import InputError
from nest_tune import compile as compile_package


def test_a_compile_is_told_how_layers_become_launches(tmp_path: Path, repository: Path) -> None:
    digits = repository / "examples" / "digits"
    model, data = digits / "model.onnx", digits / "calib.npz"
    merged = nest_tune.compile(
        model, "vta", tmp_path / "merged", calibration=data, launches="merged"
    )
    assert merged.metrics.launches == 1
    config = tmp_path / "merged" / "config.toml"
    assert read_configuration(config).launches.borders
    apart = nest_tune.compile(model, "vta", tmp_path / "apart", config=config, launches="apart")
    assert apart.metrics.launches == 8
    plain = nest_tune.compile(model, "vta", tmp_path / "plain", calibration=data)
    assert plain.metrics == merged.metrics
    again = nest_tune.compile(
        model, "vta", tmp_path / "again", config=tmp_path / "apart" / "config.toml"
    )
    assert again.metrics == apart.metrics
    assert merged.metrics.latency_ms < 0.5 * apart.metrics.latency_ms
    checked = nest_tune.run(tmp_path / "merged", data, check=True)
    assert checked.bit_exact
    with pytest.raises(InputError, match="launches: 'joined'; allowed are apart, merged"):
        nest_tune.compile(model, "vta", tmp_path / "x", calibration=data, launches="joined")


def test_a_dumped_program_names_all_of_its_layers(
    tmp_path: Path, repository: Path, nest_tune: Callable[..., tuple[int, str, str]]
) -> None:
    digits = repository / "examples" / "digits"
    data = digits / "calib.npz"
    made = compile_package(
        digits / "model.onnx", "vta", tmp_path / "out", calibration=data, launches="merged"
    )
    code, _, errors = nest_tune(
        *("run", tmp_path / "out", "--inputs", data, "--outputs", tmp_path / "y.npz"),
        *("--dump-launches", tmp_path / "dump"),
    )
    assert code == 0, errors
    assert sorted(path.name for path in (tmp_path / "dump").glob("*.json")) == ["000.json"]
    document = json.loads((tmp_path / "dump" / "000.json").read_text())
    assert document["layers"] == [layer.name for layer in made.layers if layer.task]
    assert document["cycles"] == made.metrics.npu_cycles
