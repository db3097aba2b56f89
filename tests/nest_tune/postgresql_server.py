"""A PostgreSQL server of the tests' own."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from tests.nest_tune.own_server import PASSWORD, OwnServer


def programs() -> Path | None:
    """Folder of ``initdb`` and ``postgres``; ``None`` where they are not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


class PostgresqlServer(OwnServer):
    """One server, made by the programs of a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__("postgresql", "postgres", signal.SIGINT)
        self._programs = folder
        self._data = self._home / "data"
        secret = self._readable("password", PASSWORD)
        options = ["--username=tuner", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync"]
        self._run(folder / "initdb", "-D", self._data, *options)
        self.url = f"postgresql+psycopg://tuner:{PASSWORD}@127.0.0.1:{self._port}/postgres"
        self.start()

    def _command(self) -> list[object]:
        options = ["-h", "127.0.0.1", "-p", self._port, "-k", self._home, "-F"]
        return [self._programs / "postgres", "-D", self._data, *options]

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url.replace("+psycopg", "")).close()
        except psycopg.OperationalError:
            return False
        return True

    def empty(self) -> None:
        import psycopg

        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
