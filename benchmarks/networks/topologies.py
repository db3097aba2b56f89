"""The topologies of the end-to-end tests: modules of the tests, which are no package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType


def tests_module(name: str) -> ModuleType:
    """A module below ``tests``.

    Args:
        name: Path without suffix: ``e2e/topologies``.
    """
    path = Path(__file__).resolve().parents[2] / "tests" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
