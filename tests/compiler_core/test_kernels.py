"""Machine code of hot loops, where there is a place to keep it and where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import loop
print(loop.doubled(21), loop.doubled.stats.cache_path)
"""
LOOP = """
from compiler_core.kernels import njit

@njit(cache=True, nogil=True)
def doubled(value):
    return 2 * value
"""


@pytest.mark.parametrize("kept", [True, False])
def test_kernels_are_compiled_where_nothing_can_be_kept(
    kept: bool, tmp_path: Path, repository: Path
) -> None:
    """As for a user without a home, whom the folder of the source does not belong to."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "loop.py").write_text(LOOP)
    # A file where a folder should be made stops everybody, also those who may write anywhere.
    (source / "__pycache__").touch()
    (tmp_path / "home").touch()
    environment = {**os.environ, "PYTHONPATH": str(repository), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home" / "c")}
    environment.pop("NUMBA_CACHE_DIR", None)
    if kept:
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / "kernels")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(source)],
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("42 ")
    assert (tmp_path / "kernels").is_dir() == kept
    shutil.rmtree(tmp_path / "kernels", ignore_errors=True)
