"""Fixtures of all tests: where the conformance vectors and the shared data are."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has its background jobs ignore interrupts, and their children inherit that; tests send
    # some to commands that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def vta_vectors() -> Path:
    """Folder of the VTA conformance vectors."""
    return ROOT / "tests" / "vectors" / "vta"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of trained models and raw data beside the repository; skips where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("shared data: no folder ../shared/data beside the repository")
    return folder


@pytest.fixture(scope="session")
def prepared_model(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Folder of a trained model by name: model.onnx, calib.npz, eval.npz; written once."""
    folder = tmp_path_factory.mktemp("trained")

    def prepare(name: str) -> Path:
        if not (folder / name).exists():
            command = [sys.executable, str(shared_data / "prepare.py"), str(folder), name]
            subprocess.run(command, check=True, capture_output=True)
        return folder / name

    return prepare


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """The module of small seeded models, ``tests/synthetic_models.py``."""
    path = ROOT / "tests" / "synthetic_models.py"
    spec = importlib.util.spec_from_file_location("synthetic_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
