"""Fixtures: compilers and how to build a bundle with them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

WARNINGS = ["-std=c99", "-ffp-contract=off", "-Wall", "-Wextra", "-Wconversion", "-Werror"]


def compiler(name: str) -> str:
    """Path of a compiler; skips where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def build(folder: Path, command: list[str]) -> Path:
    """Compiles a bundle's self test with all warnings."""
    target = folder / "test-program"
    sources = [str(folder / name) for name in ("selftest.c", "model.c", "weights.c")]
    made = subprocess.run(
        [*command, *WARNINGS, *sources, "-o", str(target)], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    return target


def run(command: list[str]) -> str:
    """Runs a self test, which has to find every bit equal."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="session")
def check_bundle() -> Callable[..., str]:
    """Builds and runs a bundle's self test: ``check(folder, compiler, *flags)``."""

    def check(folder: Path, name: str, *flags: str) -> str:
        return run([str(build(folder, [compiler(name), *flags]))])

    return check
