"""A MariaDB or MySQL server of the tests' own: on loopback, in a folder that goes away with it."""

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


def programs() -> tuple[Path, Path] | None:
    """``mariadb-install-db`` and ``mariadbd``; ``None`` where they are not installed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = [shutil.which(name, path=path) for name in ("mariadb-install-db", "mariadbd")]
    if None in found:
        return None
    make, serve = (Path(str(name)) for name in found)
    return make, serve


class MysqlServer:
    """One server; it runs as another user where the tests run as root, which it refuses.

    Attributes:
        url: Of its database, with the password.
    """

    def __init__(self, found: tuple[Path, Path]) -> None:
        make, self._serve = found
        self._home = Path(tempfile.mkdtemp(prefix="nest-tune-mysql-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, int | list[int]] = {}
        if os.getuid() == 0:
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            user = names.get("mysql") or names["nobody"]
            self._user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self._home, user.pw_uid, user.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._run(
            make, "--no-defaults", f"--datadir={self._home / 'data'}", "--skip-test-db",
            "--auth-root-authentication-method=normal",
        )  # fmt: skip
        begin = self._home / "begin.sql"
        begin.write_text(
            "CREATE DATABASE IF NOT EXISTS tuning;\n"
            f"CREATE USER IF NOT EXISTS tuner@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON tuning.* TO tuner@'127.0.0.1';\n"
        )
        begin.chmod(0o644)
        self.url = f"mysql+pymysql://tuner:{PASSWORD}@127.0.0.1:{self._port}/tuning"
        self.start()

    def _run(self, *command: object) -> None:
        subprocess.run(
            list(map(str, command)),
            cwd=self._home,
            check=True,
            capture_output=True,
            **self._user,
        )

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self._process = subprocess.Popen(
            [
                self._serve,
                "--no-defaults",
                f"--datadir={self._home / 'data'}",
                f"--socket={self._home / 'socket'}",
                f"--pid-file={self._home / 'pid'}",
                f"--port={self._port}",
                f"--init-file={self._home / 'begin.sql'}",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-buffer-pool-size=32M",
            ],
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
        import pymysql

        try:
            self.execute("SELECT 1")
        except pymysql.err.OperationalError:
            return False
        return True

    def execute(self, *statements: str) -> None:
        """Runs statements in its database."""
        import pymysql

        with pymysql.connect(
            host="127.0.0.1", port=self._port, user="tuner", password=PASSWORD, database="tuning"
        ) as connection:
            for statement in statements:
                connection.cursor().execute(statement)

    def stop(self) -> None:
        """Ends it; all connections are lost, nothing that was committed is."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(1500)
            self._process = None

    def empty(self) -> None:
        """Removes all tables."""
        self.execute("DROP DATABASE tuning", "CREATE DATABASE tuning")

    def remove(self) -> None:
        """Ends it and deletes its folder."""
        self.stop()
        shutil.rmtree(self._home)
