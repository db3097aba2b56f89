"""Fixtures of all tests: where the conformance vectors and the shared data are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
