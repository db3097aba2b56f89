"""The digits example, compiled once, and a folder to work in."""

from __future__ import annotations

from pathlib import Path

import pytest

import nest_tune
from nest_tune.api.compiling import Compilation


@pytest.fixture(scope="session")
def digits(repository: Path) -> Path:
    """Folder of the bundled example."""
    return repository / "examples" / "digits"


@pytest.fixture(scope="session")
def compiled(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Compilation:
    """The example as a package."""
    folder = tmp_path_factory.mktemp("api") / "package"
    calibration = digits / "calib.npz"
    return nest_tune.compile(digits / "model.onnx", "vta", folder, calibration=calibration)


@pytest.fixture
def workplace(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the examples in it, a cache and a storage of its own."""
    (tmp_path / "examples").symlink_to(repository / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NEST_TUNE_STORAGE", f"sqlite:///{tmp_path}/studies.db")
    return tmp_path
