"""A Ray cluster of three hosts: network namespaces of this machine, joined by address and token."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nest_tune.study.store.storage import StudyStorage
from tests.nest_tune.trials_digest import trials_digest

HOSTS = 3
NETWORK = "10.213.7"
PORT = 6399


def run(*words: str, check: bool = True) -> None:
    subprocess.run(words, check=check, capture_output=True)


class Hosts:
    """Namespaces on a bridge, each with an address of its own and no way out."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder, self._environment = folder, environment
        self._started: dict[int, subprocess.Popen[bytes]] = {}
        self._name = f"nt{os.getpid()}"

    def make(self) -> None:
        bridge = f"{self._name}b"
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "link", "set", bridge, "up")
        for host in range(HOSTS):
            space, ours = f"{self._name}-{host}", f"{self._name}v{host}"
            run("ip", "netns", "add", space)
            run("ip", "link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", space)
            run("ip", "link", "set", ours, "master", bridge, "up")
            inside = ("ip", "netns", "exec", space, "ip")
            run(*inside, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
            run(*inside, "link", "set", "eth0", "up")
            run(*inside, "link", "set", "lo", "up")

    @staticmethod
    def address(host: int) -> str:
        return f"{NETWORK}.{host + 1}"

    def popen(self, host: int, words: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen(
            ["ip", "netns", "exec", f"{self._name}-{host}", *words],
            cwd=self._folder,
            env=self._environment,
            start_new_session=True,
            **options,
        )

    def start(self, host: int) -> None:
        """A Ray node; the first is the head, without CPUs."""
        ray = str(Path(sys.executable).with_name("ray"))
        words = [ray, "start", "--node-ip-address", self.address(host), "--block"]
        words += ["--object-store-memory", str(80 << 20), "--disable-usage-stats"]
        if host == 0:
            words += ["--head", "--port", str(PORT), "--num-cpus", "0"]
            words += ["--include-dashboard", "false"]
        else:
            words += ["--address", f"{self.address(0)}:{PORT}", "--num-cpus", "2"]
        log = self._folder / f"ray{host}.log"
        with log.open("wb") as stream:
            self._started[host] = self.popen(host, words, stdout=stream, stderr=stream)
        end = time.monotonic() + 1500
        while "Ray runtime started" not in log.read_text():
            assert time.monotonic() < end, log.read_text()
            assert self._started[host].poll() is None, log.read_text()
            time.sleep(0.2)

    def kill(self, host: int) -> None:
        """Pulls the plug: everything in a namespace dies, unannounced."""
        listed = subprocess.run(
            ["ip", "netns", "pids", f"{self._name}-{host}"],
            capture_output=True,
            text=True,
            check=False,
        )
        for process in listed.stdout.split():
            subprocess.run(["kill", "-9", process], check=False, capture_output=True)
        if (started := self._started.pop(host, None)) is not None:
            started.wait(1500)

    def remove(self) -> None:
        for host in range(HOSTS):
            self.kill(host)
            run("ip", "link", "del", f"{self._name}v{host}", check=False)
            run("ip", "netns", "del", f"{self._name}-{host}", check=False)
        run("ip", "link", "del", f"{self._name}b", check=False)


@pytest.fixture
def hosts(tmp_path: Path, repository: Path) -> Iterator[Hosts]:
    tried = shutil.which("ip") and subprocess.run(
        ["ip", "netns", "add", "nt-try"], capture_output=True, check=False
    )
    if not tried or tried.returncode:
        pytest.skip("no network namespaces can be made here")
    run("ip", "netns", "del", "nt-try")
    environment = {
        **os.environ,
        "PYTHONPATH": str(repository),
        "NEST_TUNE_CACHE": str(tmp_path / "cache"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    environment.pop("RAY_ADDRESS", None)
    made = Hosts(tmp_path, environment)
    try:
        made.make()
        for host in range(HOSTS):
            made.start(host)
        yield made
    finally:
        made.remove()


@pytest.mark.slow
def test_a_study_on_three_hosts_one_lost_equals_the_local_one(
    hosts: Hosts, small_study: Any, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'hosts.db'}"
    words = [sys.executable, "-m", "nest_tune", "study", "start", "--name", "hosts"]
    words += ["--model", str(small_study.model), "--target", "vta", "--storage", url]
    words += ["--calibration", str(small_study.calibration)]
    words += ["--evaluation", str(small_study.evaluation), "--json"]
    words += ["--space", "quantization,partition", "--sampler", "random", "--trials", "17"]
    words += ["--constraint", "latency_ms<=0.5"]
    words += ["--runner", "ray", "--ray-address", f"{hosts.address(0)}:{PORT}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    driver = hosts.popen(0, words, **pipes)
    storage = StudyStorage(url)

    def stored() -> int:
        return sum(len(storage.trials(study)) for study in storage.studies())

    end = time.monotonic() + 1500
    while stored() < 1 and time.monotonic() < end:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.05)
    hosts.kill(2)
    _, errors = driver.communicate()
    assert driver.returncode == 0, errors
    expected = StudyStorage(small_study.storage)
    wanted = trials_digest(expected.trials(expected.find(small_study.name)))
    assert trials_digest(storage.trials(storage.find("hosts"))) == wanted
    storage.close()
    expected.close()
