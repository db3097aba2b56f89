"""A MariaDB or MySQL server of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from tests.nest_tune.own_server import PASSWORD, OwnServer


def programs() -> tuple[Path, Path] | None:
    """``mariadb-install-db`` and ``mariadbd``; ``None`` where they are not installed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = [shutil.which(name, path=path) for name in ("mariadb-install-db", "mariadbd")]
    if None in found:
        return None
    make, serve = (Path(str(name)) for name in found)
    return make, serve


class MysqlServer(OwnServer):
    """One server, made and served by two programs."""

    def __init__(self, found: tuple[Path, Path]) -> None:
        super().__init__("mysql", "mysql", signal.SIGTERM)
        make, self._serve = found
        self._data = f"--datadir={self._home / 'data'}"
        login = "--auth-root-authentication-method=normal"
        self._run(make, "--no-defaults", self._data, "--skip-test-db", login)
        self._begin = self._readable(
            "begin.sql",
            "CREATE DATABASE IF NOT EXISTS tuning;\n"
            f"CREATE USER IF NOT EXISTS tuner@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON tuning.* TO tuner@'127.0.0.1';\n",
        )
        self.url = f"mysql+pymysql://tuner:{PASSWORD}@127.0.0.1:{self._port}/tuning"
        self.start()

    def _command(self) -> list[object]:
        return [
            self._serve,
            "--no-defaults",
            self._data,
            f"--socket={self._home / 'socket'}",
            f"--pid-file={self._home / 'pid'}",
            f"--port={self._port}",
            f"--init-file={self._begin}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M",
        ]

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

    def empty(self) -> None:
        self.execute("DROP DATABASE tuning", "CREATE DATABASE tuning")
