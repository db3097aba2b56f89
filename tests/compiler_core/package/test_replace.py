"""Replacing a folder survives a kill before and after every rename."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler_core.compile.compile import CompiledModel
from compiler_core.errors import InputError
from compiler_core.package import replace
from compiler_core.package.reader import read_package
from compiler_core.package.replace import replace_folder, restore
from compiler_core.package.writer import require_free, write_package

Compile = Callable[[str], CompiledModel]

KILLED = """
import os, pathlib, signal, sys
from compiler_core.package import replace

fresh, folder, exchange, survived = sys.argv[1:]
calls = []

def after(rename):
    def step(*arguments, **options):
        if len(calls) == int(survived):
            os.kill(os.getpid(), signal.SIGKILL)
        calls.append(arguments)
        return rename(*arguments, **options)
    return step

pathlib.Path.rename = after(pathlib.Path.rename)
replace.shutil.rmtree = after(replace.shutil.rmtree)
if exchange == "no":
    replace._exchanged = lambda one, other: False
replace.replace_folder(pathlib.Path(fresh), pathlib.Path(folder))
"""


def replace_and_kill(fresh: Path, folder: Path, exchange: str, survived: int) -> int:
    """Replaces in a process that is killed after a number of steps of the file system."""
    command = [sys.executable, "-c", KILLED, str(fresh), str(folder), exchange, str(survived)]
    root = Path(__file__).parents[3]
    return subprocess.run(command, cwd=root, check=False).returncode


def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("fresh", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text(name)
    return tmp_path / "fresh", tmp_path / "out"


def test_a_kill_between_the_renames_keeps_the_old_package(
    compiled_model: Compile, tmp_path: Path
) -> None:
    compiled = compiled_model("float_only")
    fresh, out = tmp_path / "fresh", tmp_path / "out"
    for found_by in (read_package, require_free):
        write_package(compiled, fresh, {})
        write_package(compiled, out, {"old.txt": "old"})
        assert replace_and_kill(fresh, out, "no", 1) == -signal.SIGKILL
        assert not out.exists()
        found_by(out)
        assert "old.txt" in read_package(out).manifest.files
        assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "out"]


@pytest.mark.parametrize(("survived", "found"), [(0, "out"), (1, "out"), (2, "fresh")])
def test_a_kill_at_any_step_leaves_one_of_the_two(
    tmp_path: Path, survived: int, found: str
) -> None:
    fresh, out = folders(tmp_path)
    assert replace_and_kill(fresh, out, "no", survived) == -signal.SIGKILL
    restore(out)
    assert (out / "text").read_text() == found
    # What is left of it does not hinder the next one.
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "text").write_text("next")
    replace_and_kill(tmp_path / "next", out, "no", 99)
    assert (out / "text").read_text() == "next"
    assert not list(tmp_path.glob(".*"))


def test_where_there_is_an_exchange_the_place_is_never_empty(tmp_path: Path) -> None:
    fresh, out = folders(tmp_path)
    if not replace._exchanged(fresh, out):
        pytest.skip("this file system cannot exchange folders")
    assert (out / "text").read_text() == "fresh"
    assert (fresh / "text").read_text() == "out"
    # No rename and no deletion takes part: a kill at the first would be seen.
    assert replace_and_kill(fresh, out, "yes", 0) == 0
    assert (out / "text").read_text() == "out"


def test_a_failed_rename_restores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, out = folders(tmp_path)
    monkeypatch.setattr(replace, "_exchanged", lambda *_: False)
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "none", out)
    assert (out / "text").read_text() == "out"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "out"]
    replace_folder(fresh, tmp_path / "new")
    assert (tmp_path / "new" / "text").read_text() == "fresh"


def test_nothing_is_restored_over_what_is_there(tmp_path: Path) -> None:
    fresh, out = folders(tmp_path)
    fresh.rename(tmp_path / ".out.replaced")
    restore(out)
    assert (out / "text").read_text() == "out"
    with pytest.raises(InputError, match="no such folder"):
        read_package(tmp_path / "none")
