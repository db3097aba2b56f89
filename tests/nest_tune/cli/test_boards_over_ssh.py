"""Packages and studies for boards, on an ssh server on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.boards import timing
from compiler_core.clock.choices import RuntimeChoices
from compiler_core.configuration.configuration import parse_configuration
from compiler_core.configuration.runtime import Runtime
from nest_tune import Study
from tests.compiler_core.boards.conftest import Server, board, free_port, server

__all__ = ["board", "server"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(synthetic: ModuleType, tmp_path: Path) -> Path:
    """A model with data beside it."""
    synthetic.write("residual", tmp_path)
    np.savez(tmp_path / "calib.npz", x=synthetic.samples("residual", 8, seed=1)["x"])
    inputs = synthetic.samples("residual", 12, seed=2)["x"]
    np.savez(tmp_path / "eval.npz", x=inputs, y=np.arange(12) % 3)
    return tmp_path / "residual.onnx"


def test_a_package_is_timed_on_the_board(
    run: Run, model: Path, board: Server, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, text, err = run("compile", model, "--target", board.address(), "-o", out, "--json")
    assert code == 0, err
    found = json.loads(text)
    assert found["target"]["name"] == board.address()
    assert found["metrics"]["by_clock"]["machine"]["runtime"].startswith("onnxruntime")
    code, text, _ = run("profile", out)
    assert code == 0
    assert "Conv" in text
    code, text, _ = run("target", "show", board.address(), "--json")
    assert code == 0


def test_a_board_opens_the_model_as_its_configuration_says(
    run: Run, model: Path, board: Server, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    table = '[runtime]\nthreads = 2\nspinning = false\noptimization = "basic"\n'
    config.write_text(f'schema = "nest-tune/config/1"\n{table}')
    asked = ("compile", model, "--target", board.address(), "--config", config, "--json")
    code, text, err = run(*asked, "-o", tmp_path / "out")
    assert code == 0, err
    assert json.loads(text)["metrics"]["by_clock"]["machine"]["threads"] == 2
    assert "[runtime]" in (tmp_path / "out" / "config.toml").read_text()
    config.write_text(f'schema = "nest-tune/config/1"\n{table}provider = "AbacusProvider"\n')
    code, _, err = run(*asked, "-o", tmp_path / "other")
    assert code == 2
    assert "provider 'AbacusProvider' is not in onnxruntime" in err


@pytest.mark.usefixtures("board")
def test_a_board_that_is_off_ends_a_command_with_5(run: Run, model: Path, tmp_path: Path) -> None:
    away = f"ssh://user@127.0.0.1:{free_port()}"
    common = ("--model", model, "--storage", f"sqlite:///{tmp_path}/s.db", "--name", "b")
    for command in (
        ("compile", model, "--target", away, "-o", tmp_path / "out"),
        ("study", "start", "--target", away, "--calibration", tmp_path / "calib.npz", *common),
    ):
        code, _, err = run(*command)
        assert code == 5, err
        assert f"board {away}: cannot be reached" in err
        assert "hint:" in err
    code, _, err = run("compile", model, "--target", "ssh://-oProxyCommand=x", "-o", tmp_path / "o")
    assert code == 2
    assert "is needed" in err


@pytest.mark.slow
@pytest.mark.usefixtures("model")
def test_a_study_keeps_two_boards_busy(run: Run, board: Server, tmp_path: Path) -> None:
    hosts = [board.address(), board.address(host="localhost")]
    file = tmp_path / "study.toml"
    file.write_text(
        '[study]\nname = "boards"\ntrials = 4\n[model]\npath = "residual.onnx"\n'
        f"[target]\nhost = {json.dumps(hosts)}\n"
        '[data]\ncalibration = "calib.npz"\nevaluation = "eval.npz"\n'
        '[objectives]\nlatency_ms = "minimize"\naccuracy = "maximize"\n'
        f'[sampler]\nname = "random"\n[run]\nstorage = "sqlite:///{tmp_path}/s.db"\n'
    )
    code, text, err = run("study", "start", file, "--output", tmp_path / "best", "--json")
    assert code == 0, err
    found = json.loads(text)
    assert found["outcomes"] == {"complete": 4}
    assert "latency_ms" in found["chosen"]["intervals"]
    lock = tmp_path / "best.toml"
    storage = ("--storage", f"sqlite:///{tmp_path}/s.db")
    code, _, err = run("study", "export", "boards", "-o", lock, *storage)
    assert code == 0, err
    code, text, err = run("ci", "check", lock, "--tolerance", "latency_ms=90%", "--json")
    assert code == 0, (text, err)


def test_a_study_decides_how_the_board_opens_the_model(
    run: Run, model: Path, board: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What there is to decide follows from the board, not from this machine, and a resume needs not
    ask again."""
    away = RuntimeChoices((1, 2, 8), ("all", "basic"))
    monkeypatch.setattr(timing, "choices_of_boards", lambda _: away)
    storage = ("--storage", f"sqlite:///{tmp_path}/s.db")
    asked = (
        "--model",
        model,
        "--target",
        board.address(),
        "--name",
        "b",
        "--trials",
        "2",
        *storage,
    )
    data = ("--calibration", tmp_path / "calib.npz")
    pins = ("--value", "runtime.threads=2", "--value", "runtime.optimization=basic")
    code, _, err = run("study", "start", *asked, *data, *pins, "--json")
    assert code == 0, err
    found = Study.open("b", storage[1])
    parameters = dict(found.result.study.document["parameters"])
    assert parameters["runtime.threads"] == [1, 2, 8]
    assert found.result.study.document["runtime"]["threads"] == [1, 2, 8]
    monkeypatch.setattr(timing, "choices_of_boards", lambda _: pytest.fail("asked again"))
    code, _, err = run("study", "resume", "b", "--trials", "+1", *storage)
    assert code == 0, err
    lock = tmp_path / "best.toml"
    code, _, err = run("study", "export", "b:1", "-o", lock, *storage)
    assert code == 0, err
    assert parse_configuration(lock.read_bytes(), "lock").runtime == Runtime(
        2, optimization="basic"
    )


@pytest.mark.usefixtures("model")
def test_a_study_file_names_its_target_once(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    for host, words in (
        ('name = "vta"\nhost = "ssh://a"', "[target] has name and host"),
        ('host = "ssh://a;b"', "is needed"),
        ('host = ["ssh://a", "ssh://a"]', "twice"),
    ):
        file.write_text(f'[model]\npath = "residual.onnx"\n[target]\n{host}\n')
        code, _, err = run("study", "start", file, "--storage", f"sqlite:///{tmp_path}/s.db")
        assert code == 2
        assert words in err
