"""Our tables in one file to which lines are only ever added: beside ``journal:///path.log``.

For folders where SQLite's locks cannot be trusted, such as network drives. ``path.log`` is the
journal that Optuna keeps its studies in; what is ours stands in ``path.log.records``. Each line
holds the rows that one transaction has put and dropped, with a checksum: values for known columns
of known tables, never statements, so that a file from elsewhere can do nothing but hold rows. Every
process keeps these tables in memory, reads the lines that others have added before each
transaction, and adds its own after it.

Nothing goes stale: the file is locked by the system for the length of one transaction, and a
process that dies lets go of it. A line that it left unfinished is no line: readers pass it over and
the next writer cuts it off. A line whose checksum does not hold is passed over, too, and named.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sql
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from compiler_core.errors import InputError
from compiler_core.files.whole_file import write_atomically
from nest_tune.records.journal_rows import RowError, Rows

SCHEMA = "nest-tune/journal/2"
SUFFIX = ".records"
"""Of the file beside Optuna's journal."""

_OLD_SCHEMA = b"nest-tune/journal/1"
_LOCK_WAIT_S = 10.0
_LOCK_PAUSE_S = 0.005
_LOG = logging.getLogger(__name__)


class Journal:
    """See the module.

    Args:
        path: Of Optuna's journal; the file beside it is made where it is missing.

    Attributes:
        path: Of the file beside it.
        damaged: What is wrong with each line that was passed over, by its number.
    """

    def __init__(self, path: Path) -> None:
        self.optuna_path = path
        self.path = Path(f"{path}{SUFFIX}")
        self.damaged: dict[int, str] = {}
        self._mutex = threading.RLock()
        self._forget()

    @contextmanager
    def transaction(self) -> Iterator[sql.Connection]:
        """A transaction that sees what all processes have committed.

        Raises:
            sqlalchemy.exc.OperationalError: The file cannot be opened, locked or written.
            InputError: It is no journal, or of another version.
        """
        with self._mutex, self._locked() as file:
            if not self._rows.is_complete:
                self._forget()
            self._catch_up(file)
            try:
                with self._engine.begin() as connection, self._rows.noting():
                    yield connection
                    changes = self._rows.take_changes(connection)
                self._append(file, changes)
            except BaseException:
                # Memory may hold what the file does not.
                self._forget()
                raise

    def drop_damaged(self) -> None:
        """Writes the file anew without the lines that were passed over; other processes end."""
        with self._mutex, self._locked() as file:
            self._catch_up(file)
            file.seek(0)
            lines = file.read().splitlines(keepends=True)
            kept = [line for n, line in enumerate(lines, 1) if n not in self.damaged]
            write_atomically(self.path, lambda stream: stream.write(b"".join(kept)))
            self.damaged.clear()
            self._forget()

    def close(self) -> None:
        """Gives the memory back."""
        self._engine.dispose()

    def _forget(self) -> None:
        self._end = self._lines = 0
        self._engine = sql.create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
        self._rows = Rows(self._engine)

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        try:
            _refuse_old(self.optuna_path)
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
        whole = text[: text.rfind(b"\n") + 1]
        if not whole:
            return
        with self._engine.begin() as connection:
            for line in whole.splitlines(keepends=True):
                self._lines += 1
                if self._lines == 1:
                    self._check_head(line)
                else:
                    self._replay(connection, line)
                self._end += len(line)

    def _check_head(self, line: bytes) -> None:
        where = f"storage journal {self.path}"
        try:
            document = read_line(line)
        except RowError as error:
            raise InputError(
                f"{where}: not a journal of nest-tune", hint="use another path"
            ) from error
        seen = document.get("schema") if isinstance(document, dict) else None
        if seen != SCHEMA:
            raise InputError(
                f"{where}: schema {seen!r}; this version reads {SCHEMA!r}", hint="update nest-tune"
            )

    def _replay(self, connection: sql.Connection, line: bytes) -> None:
        try:
            self._rows.replay(connection, read_line(line))
        except RowError as error:
            if self._lines not in self.damaged:
                self.damaged[self._lines] = str(error)
                _LOG.warning(
                    "storage journal %s: line %d is passed over: %s", self.path, self._lines, error
                )

    def _append(self, file: IO[bytes], changes: list[Any]) -> None:
        if not changes:
            return
        lines = [line_of(changes)]
        if self._end == 0:
            lines.insert(0, line_of({"schema": SCHEMA}))
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


def is_old(path: Path) -> bool:
    """Whether a file is a journal of the first schema, whose lines were statements.

    Raises:
        OSError: It cannot be read.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _OLD_SCHEMA in file.readline(200)


def _refuse_old(path: Path) -> None:
    if is_old(path):
        raise InputError(
            f"storage journal {path}: written by an older nest-tune, as statements that are not "
            "executed any more",
            hint=f"nest-tune study import {path} --storage journal:///new.log",
        )


def line_of(document: Any) -> bytes:
    """A document as a line with its checksum."""
    text = json.dumps(document, separators=(",", ":")).encode()
    return _checksum(text) + b" " + text + b"\n"


def read_line(line: bytes) -> Any:
    """Inverse of :func:`line_of`.

    Raises:
        RowError: The checksum does not hold, or it is not JSON.
    """
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if checksum != _checksum(text):
        raise RowError("its checksum does not hold")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError("not JSON") from error


def _checksum(text: bytes) -> bytes:
    return f"{zlib.crc32(text):08x}".encode()
