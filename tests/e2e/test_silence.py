"""No process connects to anything or writes outside its folders, whatever libraries would like."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits"
COMPILE = (
    *("compile", str(DIGITS / "model.onnx"), "--target", "vta"),
    *("--calibration", str(DIGITS / "calib.npz"), "-o", "out"),
)
STUDY = (
    "study",
    "start",
    str(DIGITS / "study.toml"),
    "--trials",
    "3",
    "--storage",
    "sqlite:///s.db",
)
CALLS = "connect,sendto,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2"
OPENED = re.compile(r'\b(?:openat|mkdirat)\(\w+<([^>]*)>, "([^"]*)", ?([^\n]*)')
NAMED = re.compile(r'\b(?:open|creat|mkdir|rename)\("([^"]*)"(?:, )?([^\n]*)')
SESSION = """
import numpy as np, onnx
from onnx import TensorProto, helper
value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value("x")], [value("y")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": np.zeros(1, np.float32)})
"""


@dataclass(frozen=True)
class Folders:
    """The only places that a command may write to, but for caches of bytecode."""

    home: Path
    temporary: Path
    work: Path

    @property
    def cache(self) -> Path:
        return self.home / ".cache" / "nest-tune"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        left_out = ("XDG_CACHE_HOME", "NEST_TUNE_", "RAY_", "ORT_", "PYTHONPATH")
        environment = {n: v for n, v in os.environ.items() if not n.startswith(left_out)}
        environment |= {
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.run(
            words, cwd=self.work, env=environment, capture_output=True, text=True, check=True
        )

    def strangers(self) -> list[Path]:
        """Files in the home folder that are not of the cache."""
        files = [path for path in self.home.rglob("*") if not path.is_dir()]
        return [path for path in files if not path.is_relative_to(self.cache)]


@pytest.fixture
def folders() -> Iterator[Folders]:
    # Sockets of a cluster lie below: pytest's own folders have too long names.
    with tempfile.TemporaryDirectory(prefix="nt-", dir="/tmp") as made:
        found = Folders(*(Path(made) / name for name in ("h", "t", "w")))
        for folder in (found.home, found.temporary, found.work):
            folder.mkdir()
        yield found


@pytest.mark.parametrize("package", ["nest_tune", "compiler_core", "search_spaces", "cost_models"])
def test_onnxruntime_that_is_imported_after_a_package_keeps_no_queue(
    package: str, folders: Folders
) -> None:
    folders.run(sys.executable, "-c", f"import {package}\nimport onnxruntime\n{SESSION}")
    assert folders.strangers() == []


def test_onnxruntime_that_was_imported_before_is_told_to_record_nothing(folders: Folders) -> None:
    program = """
import sys, types
told = []
sys.modules["onnxruntime"] = types.SimpleNamespace(disable_telemetry_events=lambda: told.append(1))
import nest_tune
import os
assert told == [1] and os.environ["ORT_DISABLE_TELEMETRY"] == "1"
"""
    folders.run(sys.executable, "-c", program)


def test_compile_writes_its_package_and_its_cache(folders: Folders) -> None:
    folders.run(sys.executable, "-m", "nest_tune", *COMPILE)
    assert (folders.work / "out" / "package.json").is_file()
    assert folders.cache.is_dir()
    assert folders.strangers() == []
    assert list(folders.temporary.iterdir()) == []


def watched(folders: Folders, *words: str) -> list[str]:
    """System calls of a command and all that it starts, which are neither local nor its own."""
    tried = shutil.which("strace") and subprocess.run(
        ["strace", "-f", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False
    )
    if not tried or tried.returncode:
        pytest.skip("strace is not installed or may not trace")
    trace = folders.work / "trace"
    options = (
        "-f",
        "--seccomp-bpf",
        "-y",
        "-qq",
        "-s",
        "4096",
        "-e",
        f"trace={CALLS}",
        "-e",
        "signal=none",
    )
    folders.run("strace", *options, "-o", str(trace), sys.executable, "-m", "nest_tune", *words)
    lines = trace.read_text(errors="replace").splitlines()
    assert any("calib.npz" in line for line in lines)
    trace.unlink()
    return [line for line in lines if connects(line) or writes_elsewhere(line, folders)]


def connects(line: str) -> bool:
    if "sa_family=AF_INET" not in line:
        return False
    return not re.search(r'inet_addr\("127\.|"::1"|"::ffff:127\.', line)


def writes_elsewhere(line: str, folders: Folders) -> bool:
    found = OPENED.search(line)
    if found is not None:
        path, rest = Path(found[1], found[2]), found[3]
    elif (found := NAMED.search(line)) is not None:
        path, rest = folders.work / found[1], found[2]
    else:
        return False
    is_open = re.search(r"\bopen(at)?\(", line) is not None
    if is_open and not re.search(r"O_WRONLY|O_RDWR|O_CREAT", rest):
        return False
    if re.search(r"= -1 E(EXIST|NOENT|NOTDIR)", rest) or "__pycache__" in path.parts:
        return False
    own = (folders.work, folders.temporary, folders.cache, folders.home / ".ray")
    above = (folders.cache, *folders.cache.parents)  # made on the way to it
    system = (Path("/dev"), Path("/proc"))  # null, shared memory, the process itself
    path = Path(os.path.normpath(path))
    return not (path in above or any(path.is_relative_to(place) for place in (*own, *system)))


@pytest.mark.slow
def test_no_system_call_of_compile_and_run_leads_elsewhere(folders: Folders) -> None:
    assert watched(folders, *COMPILE) == []
    assert (
        watched(folders, "run", "out", "--inputs", str(DIGITS / "calib.npz"), "--outputs", "y.npz")
        == []
    )


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["local", "ray"])
def test_no_system_call_of_a_study_leads_elsewhere(runner: str, folders: Folders) -> None:
    if runner == "ray":
        pytest.importorskip("ray", reason="ray is not installed")
    assert watched(folders, *STUDY, "--runner", runner, "--jobs", "2") == []
    token = folders.home / ".ray" / "auth_token"
    assert token.exists() == (runner == "ray")
    if runner == "ray":
        assert token.stat().st_mode & 0o777 == 0o600
