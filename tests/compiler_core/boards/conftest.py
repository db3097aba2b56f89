"""An ssh server on loopback, with keys of its own, started and ended by the tests."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from compiler_core.boards.ssh import CONFIG


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        folder: Of its keys and configurations.
        port: On loopback.
        process: Of the server.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def address(self, python: str = sys.executable, host: str = "127.0.0.1") -> str:
        """Of this server as a board with an interpreter."""
        return f"ssh://{getpass.getuser()}@{host}:{self.port}{python}"


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An ssh server that lets this user in with a key made for the tests."""
    program = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")
    if program is None or shutil.which("ssh") is None:
        pytest.skip("sshd is not installed")
    folder = tmp_path_factory.mktemp("sshd")
    folder.chmod(0o700)
    for name in ("host", "client"):
        path = str(folder / name)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path],
            check=True,
            stdin=subprocess.DEVNULL,
        )
    port = free_port()
    key = (folder / "host.pub").read_text().split()
    names = ",".join(f"[{name}]:{port}" for name in ("127.0.0.1", "localhost"))
    (folder / "known").write_text(f"{names} {key[0]} {key[1]}\n")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nPidFile {folder}/pid\n"
        f"AuthorizedKeysFile {folder}/client.pub\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nMaxStartups 50\n"
    )
    (folder / "config").write_text(
        f"IdentityFile {folder}/client\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\n"
        "GlobalKnownHostsFile /dev/null\nAddressFamily inet\n"
    )
    with suppress(OSError):  # a server of root's wants it; others do without
        Path("/run/sshd").mkdir(mode=0o755)
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "sshd_config")],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        while not _listens(port):
            if process.poll() is not None:
                pytest.fail(f"sshd ended: {(folder / 'log').read_text()}")
            time.sleep(0.05)
        yield Server(folder, port, process)
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


@pytest.fixture
def board(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, with ssh configured to know it and to log in."""
    monkeypatch.setenv(CONFIG, str(server.folder / "config"))
    return server
