"""A cluster of this machine: its ports, its token, its folder."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed")

from nest_tune.runners import ray_on_loopback
from nest_tune.runners.runner import RunnerOptions, Setup, Work, make_runner


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    mask = os.umask(0)
    yield tmp_path
    os.umask(mask)


def test_a_new_token_is_for_its_owner_only(home: Path) -> None:
    ray_on_loopback.guard_token()
    token = home / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch("[0-9a-f]{64}", token.read_text())
    assert [path.name for path in token.parent.iterdir()] == ["auth_token"]
    before = token.read_text()
    ray_on_loopback.guard_token()
    assert token.read_text() == before


def test_an_old_token_is_closed_and_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for token in (home / ".ray" / "auth_token", home / "elsewhere"):
        token.parent.mkdir(exist_ok=True)
        token.write_text("a" * 64)
        token.chmod(0o644)
        ray_on_loopback.guard_token()
        assert token.stat().st_mode & 0o777 == 0o600
        assert token.read_text() == "a" * 64
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "elsewhere"))


@pytest.mark.parametrize(("name", "value"), [("MODE", "disabled"), ("TOKEN", "b" * 64)])
def test_where_no_file_is_read_none_is_made(
    name: str, value: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"RAY_AUTH_{name}", value)
    ray_on_loopback.guard_token()
    assert list(home.iterdir()) == []


def test_folder_is_for_its_owner_only_and_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * 60)))
    assert ray_on_loopback.temporary_folder() is None
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    folder = ray_on_loopback.temporary_folder()
    assert folder is not None
    assert Path(folder).parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_a_cluster_of_this_machine_listens_on_loopback_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("DB_PASS", "geheimes")
    runner = make_runner("ray", Setup("work_functions:prepare", 40), RunnerOptions(jobs=2))
    try:
        runner.submit(Work(1, "work_functions:add", 2, 60.0))
        answers = []
        end = time.monotonic() + 1500
        while not answers and time.monotonic() < end:
            answers = runner.wait(1.0)
        processes = {os.getpid(), *descendants(os.getpid())}
        bound = listening(processes)
        environments = [environment_of(process) for process in processes - {os.getpid()}]
    finally:
        runner.close()
    assert [answer.value for answer in answers] == [42]
    assert len(bound) >= 4  # the cluster's services
    assert {address for address in bound if not address.startswith("127.")} == set()
    assert not any(b"geheimes" in environment for environment in environments)


def descendants(process: int) -> set[int]:
    """Processes that a process has started, and those that they have started."""
    try:
        lists = [p.read_text() for p in Path(f"/proc/{process}/task").glob("*/children")]
    except OSError:
        return set()
    children = {int(text) for text in " ".join(lists).split()}
    return children.union(*(descendants(child) for child in children))


def environment_of(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/environ").read_bytes()
    except OSError:  # it has ended
        return b""


def listening(processes: set[int]) -> list[str]:
    """Addresses at which processes listen."""
    text = subprocess.run(["ss", "-tlnpH"], capture_output=True, text=True, check=True).stdout
    found = []
    for line in text.splitlines():
        if {int(number) for number in re.findall(r"pid=(\d+)", line)} & processes:
            address = line.split()[3].rpartition(":")[0]
            found.append(address.strip("[]").removeprefix("::ffff:"))
    return found
