"""A database in one file to which lines are only ever added: ``journal:///path.log``.

For folders where SQLite's locks cannot be trusted, such as network drives. Each line holds the
writing statements of one transaction with a checksum. Every process keeps the whole database in
memory, reads the lines that others have added before each transaction, and adds its own after it.

Nothing goes stale: the file is locked by the system for the length of one transaction, and a
process that dies lets go of it. A line that it left unfinished is no line: readers pass it over and
the next writer cuts it off.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from compiler_core.errors import InputError
from nest_tune.records.storage_errors import text_of

SCHEMA = "nest-tune/journal/1"
_LOCK_WAIT_S = 10.0
_LOCK_PAUSE_S = 0.005
_READING = ("SELECT", "PRAGMA", "EXPLAIN")


class Journal:
    """See the module.

    Args:
        path: Of the file; made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.RLock()
        self._captured: list[list[Any]] | None = None
        self._forget()

    @contextmanager
    def transaction(self) -> Iterator[sql.Connection]:
        """A transaction that sees what all processes have committed.

        Raises:
            sqlalchemy.exc.OperationalError: The file cannot be opened, locked or written.
            InputError: It is no journal, of a newer version, or damaged.
        """
        with self._mutex, self._locked() as file:
            self._catch_up(file)
            self._captured = []
            try:
                with self._engine.begin() as connection:
                    yield connection
                written, self._captured = self._captured, None
                self._append(file, written)
            except BaseException:
                # Memory may hold what the file does not.
                self._forget()
                raise

    def close(self) -> None:
        """Gives the memory back."""
        self._engine.dispose()

    def _forget(self) -> None:
        self._end = self._lines = 0
        self._captured = None
        self._engine = sql.create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
        sql.event.listen(self._engine, "connect", _confine)
        sql.event.listen(self._engine, "before_cursor_execute", self._capture)

    def _capture(
        self,
        _connection: Any,
        _cursor: Any,
        statement: str,
        parameters: Any,
        _context: Any,
        executemany: bool,
    ) -> None:
        if self._captured is None or statement.lstrip().upper().startswith(_READING):
            return
        rows = [list(row) for row in parameters] if executemany else list(parameters)
        self._captured.append([statement, rows, executemany])

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        try:
            file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise OperationalError("open", None, error) from error
        with file:
            end = time.monotonic() + _LOCK_WAIT_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if time.monotonic() >= end:
                        held = OSError(f"locked by another process for {_LOCK_WAIT_S:g} s")
                        raise OperationalError("lock", None, held) from error
                time.sleep(_LOCK_PAUSE_S)
            yield file

    def _catch_up(self, file: IO[bytes]) -> None:
        """Does in memory what others have done."""
        if os.fstat(file.fileno()).st_size < self._end:  # another file of that name
            self._forget()
        file.seek(self._end)
        text = file.read()
        # What follows the last line end was never finished.
        for line in text[: text.rfind(b"\n") + 1].splitlines(keepends=True):
            self._lines += 1
            document = self._read(line)
            try:
                self._replay(document)
            except (SQLAlchemyError, ValueError, TypeError) as error:
                what = text_of(error) if isinstance(error, DBAPIError) else str(error)
                where = f"storage journal {self.path}: line {self._lines}"
                self._forget()
                raise InputError(
                    f"{where}: cannot be done after the lines before it: {what}",
                    hint="restore the file",
                ) from error
            self._end += len(line)

    def _replay(self, statements: list[Any]) -> None:
        with self._engine.begin() as connection:
            for statement, rows, executemany in statements:
                given = [tuple(row) for row in rows] if executemany else tuple(rows)
                connection.exec_driver_sql(statement, given)

    def _read(self, line: bytes) -> list[Any]:
        checksum, _, text = line.rstrip(b"\n").partition(b" ")
        where = f"storage journal {self.path}: line {self._lines}"
        if checksum != _checksum(text):
            if self._lines == 1:
                raise InputError(f"{where}: not a journal of nest-tune", hint="use another path")
            raise InputError(f"{where}: its checksum does not hold", hint="restore the file")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not JSON", hint="restore the file") from error
        if self._lines > 1:
            return list(document) if isinstance(document, list) else [document]
        seen = document.get("schema") if isinstance(document, dict) else document
        if seen != SCHEMA:
            raise InputError(
                f"{where}: schema {seen!r}; this version reads {SCHEMA!r}", hint="update nest-tune"
            )
        return []

    def _append(self, file: IO[bytes], statements: list[list[Any]]) -> None:
        if not statements:
            return
        lines = [_line(statements)]
        if self._end == 0:
            lines.insert(0, _line({"schema": SCHEMA}))
        added = b"".join(lines)
        try:
            file.truncate(self._end)  # an unfinished line of a process that died
            left = memoryview(added)
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            raise OperationalError("write", None, error) from error
        self._end += len(added)
        self._lines += len(lines)


def _confine(connection: sqlite3.Connection, _record: object) -> None:
    """What lines say is done in memory alone: they open no file, and none of it runs for ever."""
    refused = (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_RECURSIVE)

    def authorize(action: int, *_: object) -> int:
        return sqlite3.SQLITE_DENY if action in refused else sqlite3.SQLITE_OK

    connection.set_authorizer(authorize)


def _line(document: Any) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    return _checksum(text) + b" " + text + b"\n"


def _checksum(text: bytes) -> bytes:
    return f"{zlib.crc32(text):08x}".encode()
