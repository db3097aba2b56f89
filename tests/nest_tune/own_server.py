"""A database server of the tests' own: on loopback, in a folder that goes away with it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path

PASSWORD = "pa55-word"
_PATIENCE_S = 1500


class OwnServer(ABC):
    """One server; it runs as another user where the tests run as root, which it refuses.

    Args:
        name: Of the product, in its folder's name.
        user: Who it runs as then, where there is such a user.
        end: Signal that ends it at once.

    Attributes:
        url: Of its database, with the password.
    """

    url: str

    def __init__(self, name: str, user: str, end: signal.Signals) -> None:
        self._end = end
        self._home = Path(tempfile.mkdtemp(prefix=f"nest-tune-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, int | list[int]] = {}
        if os.getuid() == 0:
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            found = names.get(user) or names["nobody"]
            self._user = {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
            os.chown(self._home, found.pw_uid, found.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]

    @abstractmethod
    def _command(self) -> list[object]:
        """What serves."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it takes connections."""

    @abstractmethod
    def empty(self) -> None:
        """Removes all tables."""

    def _readable(self, name: str, text: str) -> Path:
        """A file that the server's user reads."""
        path = self._home / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def _run(self, *command: object) -> None:
        subprocess.run(
            list(map(str, command)), cwd=self._home, check=True, capture_output=True, **self._user
        )

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self._process = subprocess.Popen(
            list(map(str, self._command())),
            cwd=self._home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._user,
        )
        end = time.monotonic() + _PATIENCE_S
        while not self._answers():
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends it; all connections are lost, nothing that was committed is."""
        if self._process is not None:
            self._process.send_signal(self._end)
            self._process.wait(_PATIENCE_S)
            self._process = None

    def remove(self) -> None:
        """Ends it and deletes its folder."""
        self.stop()
        shutil.rmtree(self._home)
