"""What a shell is offered: commands, options, names of targets, studies and trials."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = "from nest_tune.cli import main; main()"
Complete = Callable[..., list[str]]


@pytest.fixture
def complete(repository: Path, tmp_path: Path) -> Complete:
    """Asks as bash does; the last word is the incomplete one."""

    def ask(*words: str) -> list[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(repository),
            "_NEST_TUNE_COMPLETE": "complete_bash",
            "COMP_WORDS": shlex.join(("nest-tune", *words)),
            "COMP_CWORD": str(len(words)),
        }
        environment.pop("NEST_TUNE_STORAGE", None)
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout.split()

    return ask


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("dash",), {"dashboard"}),
        (("study", "st"), {"start", "stop"}),
        (("ci", "init", "git"), {"github", "gitlab"}),
        (("study", "start", "--max"), {"--max-accuracy-drop"}),
        (("study", "start", "--if-exists", "re"), {"resume", "replace"}),
        (("compile", "m.onnx", "--target", "vta-py"), {"vta-pynq"}),
        (("target", "show", "vta-x4-"), {"vta-x4-128", "vta-x4-256"}),
        (("task", "list", "m.onnx", "--target", "vta-z"), {"vta-zcu102"}),
        (("study", "start", "--objective", "lat"), {"latency_ms:min"}),
        (("study", "best", "x", "--pick", "kn"), {"knee"}),
        (("study", "show", "x"), set()),  # no storage here
        (("nonsense", "x"), set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_words_are_completed(complete: Complete, words: tuple[str, ...], offered: set[str]) -> None:
    assert set(complete(*words)) == offered


def test_names_come_from_the_storage(complete: Complete, small_study: Any) -> None:
    storage = ("--storage", small_study.storage)
    assert complete("study", "report", *storage, "sm") == ["small"]
    assert complete("study", "compare", *storage, "small", "s") == ["small"]
    assert complete("study", "show", *storage, "other") == []
    assert complete("study", "show", *storage, "small:1") == [
        f"small:{n}" for n in (1, *range(10, 17))
    ]


def test_own_target_files_are_offered(complete: Complete, tmp_path: Path) -> None:
    (tmp_path / "my-soc.toml").write_text("")
    assert complete("target", "check", "my") == ["my-soc.toml"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_for_the_shell_is_shown(shell: str, repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--show-completion", shell],
        env={
            **os.environ,
            "PYTHONPATH": str(repository),
            # The shell is named; the process that runs the tests need not have one.
            "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "_NEST_TUNE_COMPLETE" in done.stdout
    if shell == "bash":
        checked = subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False)
        assert checked.returncode == 0
