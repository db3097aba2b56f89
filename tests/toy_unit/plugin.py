"""The toy kind as a user has it: installed beside the packages, on the path of a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compiler_core.units.registry import forget_kinds

FOLDER = Path(__file__).resolve().parent
TARGET = FOLDER / "toy.toml"


@contextmanager
def installed(*folders: Path) -> Iterator[None]:
    """Plug-ins in such folders can be found in this process."""
    added = [str(folder) for folder in folders]
    sys.path[:0] = added
    forget_kinds()
    try:
        yield
    finally:
        for folder in added:
            sys.path.remove(folder)
        forget_kinds()


def run(folder: Path, *arguments: str, plugin: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs ``nest-tune`` in a folder, with the toy kind or without."""
    path = [str(FOLDER.parents[1]), *([str(FOLDER)] if plugin else [])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "NEST_TUNE_CACHE": str(folder / "cache"),
    }
    environment.pop("NEST_TUNE_STORAGE", None)
    return subprocess.run(
        [sys.executable, "-m", "nest_tune", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
    )
