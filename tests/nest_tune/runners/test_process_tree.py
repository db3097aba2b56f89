"""What a worker's code has started ends with it, however it was started and whoever ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nest_tune.runners.local import LocalRunner
from nest_tune.runners.process_tree import children_of, nothing_left_by_failure
from nest_tune.runners.runner import Answer, Ending, Setup, Work

PLAIN, DETACHED, ORPHANED = range(3)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalRunner]:
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    made = LocalRunner(Setup("work_functions:prepare", 0), 1)
    yield made
    made.close()


def wait_for(runner: LocalRunner) -> Answer:
    while not (answers := runner.wait(1.0)):
        pass
    return answers[0]


def has_ended(process: int) -> bool:
    """Waits until a process is gone or a zombie, which nobody may have waited for yet."""
    end = time.monotonic() + 1500
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("way", [PLAIN, DETACHED, ORPHANED])
@pytest.mark.parametrize("then", ["hang", "die", "return"])
def test_children_end_with_the_worker(
    runner: LocalRunner, tmp_path: Path, way: int, then: str
) -> None:
    told = tmp_path / "child"
    payload = {"told": str(told), "way": way, "then": then}
    timeout_s = 1.0 if then == "hang" else 600.0
    ticket = 0
    while not told.exists():
        ticket, timeout_s = ticket + 1, 2 * timeout_s  # until a busy machine gets as far as that
        runner.submit(Work(ticket, "work_functions:start_child", payload, timeout_s))
        answer = wait_for(runner)
    expected = {"hang": Ending.TIMEOUT, "die": Ending.LOST, "return": Ending.DONE}
    assert answer.ending is expected[then]
    child = int(told.read_text())
    if then == "return":
        assert Path(f"/proc/{child}").exists()  # it may serve the next call
        runner.close()
    assert has_ended(child)


DRIVER = """
import os, signal, sys
from nest_tune.runners.local import LocalRunner
from nest_tune.runners.runner import Setup, Work
if __name__ == "__main__":
    told, way = sys.argv[1], int(sys.argv[2])
    runner = LocalRunner(Setup("work_functions:prepare", 0), 1)
    payload = {"told": told, "way": way, "then": "return"}
    runner.submit(Work(0, "work_functions:start_child", payload, 600.0))
    while not runner.wait(1.0):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("way", [PLAIN, DETACHED, ORPHANED])
def test_children_end_with_a_worker_whose_driver_was_killed(
    tmp_path: Path, repository: Path, way: int
) -> None:
    """As the workers of a cluster are when it ends."""
    (tmp_path / "driver.py").write_text(DRIVER)
    told = tmp_path / "child"
    paths = [str(Path(__file__).parent), str(repository)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(tmp_path / "driver.py"), str(told), str(way)]
    assert subprocess.run(command, env=environment).returncode == -signal.SIGKILL
    assert has_ended(int(told.read_text()))


SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
NESTED = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"


def start_and_fail(started: list[subprocess.Popen[bytes]], below: set[int]) -> None:
    with nothing_left_by_failure():
        started.append(subprocess.Popen([sys.executable, "-c", NESTED, *SLEEPS]))
        while not (found := children_of(started[0].pid)):
            time.sleep(0.01)
        below |= found
        raise RuntimeError("too slow")


def test_what_a_block_has_started_ends_where_it_fails() -> None:
    kept = subprocess.Popen(SLEEPS)
    started: list[subprocess.Popen[bytes]] = []
    below: set[int] = set()
    try:
        with pytest.raises(RuntimeError, match="too slow"):
            start_and_fail(started, below)
        assert has_ended(started[0].pid)
        assert below
        assert all(has_ended(child) for child in below)
        assert kept.poll() is None
        with nothing_left_by_failure():
            stays = subprocess.Popen(SLEEPS)
        assert stays.poll() is None
        stays.kill()
        stays.wait()
    finally:
        kept.kill()
        kept.wait()
        started[0].wait()
