"""A database behind a URL: transactions that are made again where it is gone for a while.

A storage that has answered once is waited for when it is lost, so that a restarted server costs a
study some minutes and nothing else. What a transaction does must therefore stand being done twice:
whether one was committed is not known when the connection is lost in that moment.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy as sql
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    SQLAlchemyError,
)

from compiler_core.errors import InputError, NestTuneError, StorageLostError
from compiler_core.files.exhausted import lack_of
from nest_tune.records.dialects import DIALECTS, dialect_of, is_conflict, is_gone
from nest_tune.records.journal import Journal
from nest_tune.records.storage_errors import storage_error, text_of
from nest_tune.records.storage_url import HINT, StorageUrl

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

PATIENCE_S = 600.0
"""Time that a storage may be gone."""
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
_SILENCE_S = 30.0
_RACES = 40
_RACED = ("already exists", "locked", "UNIQUE constraint", "duplicate column")
_UNFIT = (AttributeError, OSError, TypeError, ValueError)
"""What drivers raise of parameters that they do not know, or cannot read."""
_CONFLICTS = 20
"""Deadlocks and lost races that one transaction may meet; each ends by itself."""


class Connection:
    """One database.

    Args:
        url: As SQLAlchemy reads it; see :class:`~nest_tune.records.storage_url.StorageUrl`.
        patience_s: How long a storage that has answered before may be gone.

    Attributes:
        url: As given.
        shown: The URL without secrets.
        dialect: ``sqlite`` (that of a journal, too), ``postgresql``, ``mysql`` or another one.
        rules: What differs by it.
        file: Of an SQLite database, or ours beside a journal; ``None`` for one in memory and for
            others.

    Raises:
        InputError: The URL is none.
        sqlalchemy.exc.ArgumentError: It is of an unknown kind.
        ModuleNotFoundError: Its driver is not installed.
        OSError: The path is relative, and the working folder no longer exists.
    """

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        self.url = StorageUrl(url)
        self.shown = str(self.url)
        parsed = _parsed(self.url)
        self._journal: Journal | None = None
        self.file: Path | None = None
        if parsed.get_backend_name() in ("sqlite", "journal"):
            self.file = _file_of(parsed.database)
        if parsed.drivername == "journal":
            self._journal = Journal(self.file or Path())
            self.file = self._journal.path
            parsed = sql.make_url("sqlite://")
        self.dialect = parsed.get_backend_name()
        self.rules = dialect_of(self.dialect)
        if self.dialect == "sqlite" and self.file is not None and self._journal is None:
            parsed = _sqlite_url(self.file)
        # Without a driver in its URL, SQLAlchemy takes one that no extra brings.
        if self.rules.driver and parsed.drivername in DIALECTS:
            parsed = parsed.set(drivername=f"{parsed.drivername}+{self.rules.driver}")
        try:
            self._engine = sql.create_engine(
                parsed, connect_args=dict(self.rules.arguments), **self.rules.options
            )
        except _UNFIT as error:
            raise self._unfit(error) from error
        self._patience_s = patience_s
        self._has_answered = False
        self._identity: tuple[int, int] | None = None
        if self.dialect == "sqlite":
            reads = "mode" in parsed.query
            sql.event.listen(self._engine, "connect", _set_up_reading if reads else _set_up_sqlite)

    @property
    def revealed(self) -> str:
        """The URL with its secrets and a driver: for opening the database, for nothing else."""
        return self._engine.url.render_as_string(hide_password=False)

    @property
    def optuna_journal(self) -> Path | None:
        """The file that Optuna keeps a journal's studies in; ``None`` of databases."""
        return None if self._journal is None else self._journal.optuna_path

    @property
    def damaged(self) -> Mapping[int, str]:
        """What is wrong with lines of a journal that were passed over, by number."""
        return {} if self._journal is None else self._journal.damaged

    def drop_damaged(self) -> None:
        """Writes a journal anew without the lines that were passed over."""
        if self._journal is not None and self._journal.damaged:
            self._journal.drop_damaged()
            self._identity = None

    def run(self, work: Callable[[sql.Connection], T]) -> T:
        """The result of ``work`` in a transaction of its own, which is committed.

        Args:
            work: May be called again after it has been committed unnoticed.

        Raises:
            sqlalchemy.exc.IntegrityError: The database refuses what would contradict it.
            NestTuneError: As :func:`~nest_tune.records.storage_errors.storage_error`, after all
                patience where it is gone.
        """
        if self._identity is not None:
            self._require_file()
        try:
            result = self._run(work)
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise storage_error(self.shown, error) from error
        except UnicodeError as error:  # SQLite says what it was made of, too
            raise self._damaged(error) from error
        self._require_file()
        return result

    def _damaged(self, error: Exception) -> InputError:
        return InputError(f"storage {self.shown}: damaged: {error}", hint="restore it from a copy")

    def _run(self, work: Callable[[sql.Connection], T]) -> T:
        end = time.monotonic() + self._patience_s
        pause, next_word, conflicts = _FIRST_PAUSE_S, 0.0, 0
        while True:
            try:
                with self._transaction() as connection:
                    result = work(connection)
            except DBAPIError as error:
                conflicts += is_conflict(error, self.rules)
                final = not self._is_gone(error) or time.monotonic() >= end
                if final if not is_conflict(error, self.rules) else conflicts > _CONFLICTS:
                    raise
                if not is_conflict(error, self.rules) and time.monotonic() >= next_word:
                    _LOG.warning(
                        "storage %s does not answer (%s): trying again for %.0f s",
                        self.shown,
                        text_of(error),
                        end - time.monotonic(),
                    )
                    next_word = time.monotonic() + _SILENCE_S
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                if next_word:
                    _LOG.warning("storage %s answers again", self.shown)
                self._has_answered = True
                return result

    def _transaction(self) -> AbstractContextManager[sql.Connection]:
        return self._begun() if self._journal is None else self._journal.transaction()

    @contextmanager
    def _begun(self) -> Iterator[sql.Connection]:
        try:
            connection = self._engine.connect()
        except UnicodeError:  # what SQLite says of a damaged file
            raise
        except _UNFIT as error:
            raise self._unfit(error) from error
        with connection, connection.begin():
            yield connection

    def _unfit(self, error: Exception) -> NestTuneError:
        """What a driver says of a URL that it cannot use: by errors of any kind."""
        return lack_of(error) or InputError(
            f"storage {self.shown}: {error}",
            hint="check the address and what stands behind its '?'",
        )

    def make_tables(self, work: Callable[[sql.Connection], T]) -> T:
        """As :meth:`run`, for making and changing tables: one driver after the other does it.

        Raises:
            NestTuneError: As :meth:`run`.
        """

        def alone(connection: sql.Connection) -> T:
            with self.rules.alone(connection):
                return work(connection)

        for _ in range(_RACES):
            try:
                return self._run(alone)
            except DBAPIError as error:
                # SQLite has no such lock: another driver may be making the same tables.
                if not any(part in text_of(error) for part in _RACED):
                    break
                time.sleep(0.05)
            except (SQLAlchemyError, UnicodeError):
                break
        return self.run(alone)

    def _require_file(self) -> None:
        """Refuses to go on where the file has another inode than at first: what is written to one
        that was removed, alone or with its folder, is lost when this process ends."""
        if self.file is None:
            return
        try:
            found = self.file.stat()
        except OSError as error:
            raise StorageLostError(
                f"storage {self.shown}: the file {self.file} is gone: {error.strerror}",
                hint="bring it back from a copy, or begin again elsewhere",
            ) from error
        identity = (found.st_dev, found.st_ino)
        if self._identity not in (None, identity):
            raise StorageLostError(
                f"storage {self.shown}: the file {self.file} has been replaced by another one",
                hint="begin this command again",
            )
        self._identity = identity

    def _is_gone(self, error: DBAPIError) -> bool:
        return self._has_answered and is_gone(error, self.rules)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()
        if self._journal is not None:
            self._journal.close()


def _parsed(url: StorageUrl) -> sql.URL:
    try:
        return sql.make_url(url.reveal())
    except ValueError as error:  # the message may hold a secret
        raise InputError("storage: not a database URL", hint=HINT) from error


def _file_of(database: str | None) -> Path | None:
    """The file of a database; ``None`` for one in memory and for what SQLite reads as a URI."""
    if not database or database == ":memory:" or database.startswith("file:"):
        return None
    # Absolute, so that it stays the same file whatever becomes of the working folder.
    return Path(database).absolute()


def _sqlite_url(file: Path) -> sql.URL:
    """How to open a file: one that cannot be written, for reading."""
    if not os.path.exists(file) or (  # noqa: PTH110 - False also for names that no file can have
        os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
    ):
        return sql.URL.create("sqlite", database=str(file))
    log = Path(f"{file}-wal")
    query = {"mode": "ro", "uri": "true"}
    if not log.exists() or not log.stat().st_size:
        query["immutable"] = "1"  # SQLite would make files beside it, else
    return sql.URL.create("sqlite", database=f"file:{quote(str(file))}", query=query)


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _set_up_reading(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA busy_timeout=10000")
