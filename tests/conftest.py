"""Fixtures of all tests: where the conformance vectors and the shared data are."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from tests.slow_cases import LIST, LONGEST_FILES, find_slow, slow_lines

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has its background jobs ignore interrupts, and their children inherit that; tests send
    # some to commands that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Every core has a test of its own: libraries that take all cores for one product wait in loops.
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

# No trial of a study is given up because this machine is busy.
os.environ["NEST_TUNE_TRIAL_TIMEOUT"] = "10h"

ROOT = Path(__file__).resolve().parent.parent

# `make test-all` draws as many examples as hypothesis does by default, `make test` fewer.
EXAMPLES = int(os.environ.get("NEST_TUNE_EXAMPLES", "40"))
settings.register_profile("default", deadline=None, max_examples=EXAMPLES)
settings.register_profile(
    "ci", deadline=None, derandomize=True, print_blob=True, max_examples=EXAMPLES
)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks cases that ``make test`` leaves out, where a line that names no test is an error, and
    begins with the files that take longest: nobody waits for one of them in the end."""
    found, stale = find_slow(slow_lines(LIST.read_text()), items)
    if stale and not any("::" in argument for argument in config.args):
        raise pytest.UsageError(f"{LIST.name}: no test is named {stale[0]}")
    for item in found:
        item.add_marker(pytest.mark.slow)
    places = {file: place for place, file in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


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
    return _module("synthetic_models")


def _module(name: str) -> ModuleType:
    """A module of this folder by name."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Gate:
    """A metric for studies of a folder, and when its calls wait.

    Attributes:
        options: Of ``nest-tune study start``: the metric, and a time of trials that never ends.
    """

    options = ("--metric", "gate_metric:top1", "--trial-timeout", "10h")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.copy(ROOT / "tests" / "gate_metric.py", folder)
        self._stored = _module("gate_metric").stored_trials

    @property
    def path(self) -> str:
        """For PYTHONPATH."""
        return os.pathsep.join([str(self._folder), str(ROOT)])

    def close(self, trials: int, database: str = "nest-tune.db") -> None:
        """Lets calls wait from now on, when so many trials are stored."""
        self._say({"database": str(self._folder / database), "trials": trials})

    def close_after(self, calls: int) -> None:
        """Lets calls wait from now on, when so many were made."""
        self._say({"calls": calls})

    def _say(self, document: object) -> None:
        fresh = self._folder / "gate.new"
        fresh.write_text(json.dumps(document))
        fresh.replace(self._folder / "gate.json")

    def open(self) -> None:
        """Lets all calls go on."""
        (self._folder / "gate.json").unlink()

    def wait(
        self, process: subprocess.Popen[str], trials: int, database: str = "nest-tune.db"
    ) -> None:
        """Returns when so many trials are stored; the study of ``process`` must not end before."""
        while self._stored(self._folder / database) < trials:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """For studies in the folder of a test."""
    return Gate(tmp_path)
