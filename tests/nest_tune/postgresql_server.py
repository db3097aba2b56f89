"""A PostgreSQL server of the tests' own: on loopback, in a folder that goes away with it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PASSWORD = "pa55-word"


def programs() -> Path | None:
    """Folder of ``initdb`` and ``postgres``; ``None`` where they are not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


class PostgresqlServer:
    """One server; it runs as another user where the tests run as root, which it refuses.

    Attributes:
        url: Of its database, with the password.
    """

    def __init__(self, folder: Path) -> None:
        self._programs = folder
        self._home = Path(tempfile.mkdtemp(prefix="nest-tune-postgresql-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, int | list[int]] = {}
        if os.getuid() == 0:
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            user = names.get("postgres") or names["nobody"]
            self._user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self._home, user.pw_uid, user.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        secret = self._home / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = ["--username=tuner", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync"]
        self._run("initdb", "-D", str(self._home / "data"), *options)
        self.url = f"postgresql+psycopg://tuner:{PASSWORD}@127.0.0.1:{self._port}/postgres"
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, *arguments],
            cwd=self._home,
            check=True,
            capture_output=True,
            **self._user,
        )

    def start(self) -> None:
        """Starts it and waits until it answers."""
        options = ["-h", "127.0.0.1", "-p", str(self._port), "-k", str(self._home), "-F"]
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", self._home / "data", *options],
            cwd=self._home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._user,
        )
        end = time.monotonic() + 1500
        while not self._answers():
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.1)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url.replace("+psycopg", "")).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Ends it at once; all connections are lost, nothing that was committed is."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(1500)
            self._process = None

    def empty(self) -> None:
        """Removes all tables."""
        import psycopg

        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")

    def remove(self) -> None:
        """Ends it and deletes its folder."""
        self.stop()
        shutil.rmtree(self._home)
