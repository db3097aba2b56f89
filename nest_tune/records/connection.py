"""A database behind a URL: transactions that are made again where it is gone for a while.

A storage that has answered once is waited for when it is lost, so that a restarted server costs a
study some minutes and nothing else. What a transaction does must therefore stand being done twice:
whether one was committed is not known when the connection is lost in that moment.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from nest_tune.records.journal import Journal

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

PATIENCE_S = 600.0
"""Time that a storage may be gone."""
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
_SILENCE_S = 30.0
_SCHEMA_LOCK = 0x6E657374
_RACES = 40
_RACED = ("already exists", "locked", "UNIQUE constraint", "duplicate column")
_CONFLICTS = 20
"""Deadlocks and lost races that one transaction may meet; each ends by itself."""

_GONE_STATES = ("08", "57P", "53300", "55P03")
"""Beginnings of SQL states: connection, operator intervention, too many connections, locked."""
_CONFLICT_STATES = ("40001", "40P01")
_FINAL_TEXTS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "role ")
_SQLITE_GONE = ("locked", "busy", "unable to open")

_POSTGRESQL: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""A server that vanished without a word is noticed within a minute."""


class Connection:
    """One database.

    Args:
        url: As SQLAlchemy reads it.
        patience_s: How long a storage that has answered before may be gone.

    Attributes:
        shown: The URL without its password.
        dialect: ``sqlite`` (that of a journal, too), ``postgresql`` or another one.
        file: Of an SQLite database or a journal; ``None`` for one in memory and for others.

    Raises:
        sqlalchemy.exc.ArgumentError: The URL is none, or of an unknown kind.
        ModuleNotFoundError: Its driver is not installed.
    """

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        parsed = sql.make_url(url)
        self.shown = parsed.render_as_string(hide_password=True)
        self._journal: Journal | None = None
        if parsed.drivername == "journal":
            self._journal = Journal(Path(parsed.database or ""))
            parsed = sql.make_url("sqlite://")
        self.dialect = parsed.get_backend_name()
        arguments = _POSTGRESQL if self.dialect == "postgresql" else {}
        self._engine = sql.create_engine(parsed, connect_args=arguments)
        self._patience_s = patience_s
        self._has_answered = False
        self.file: Path | None = None
        if self.dialect == "sqlite":
            sql.event.listen(self._engine, "connect", _set_up_sqlite)
            if parsed.database and parsed.database != ":memory:":
                self.file = Path(parsed.database)
        if self._journal is not None:
            self.file = self._journal.path

    def run(self, work: Callable[[sql.Connection], T]) -> T:
        """The result of ``work`` in a transaction of its own, which is committed.

        Args:
            work: May be called again after it has been committed unnoticed.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: As the database says, after all patience where it is
                gone.
        """
        end = time.monotonic() + self._patience_s
        pause, next_word, conflicts = _FIRST_PAUSE_S, 0.0, 0
        while True:
            try:
                with self._transaction() as connection:
                    result = work(connection)
            except DBAPIError as error:
                conflicts += is_conflict(error)
                final = not self._is_gone(error) or time.monotonic() >= end
                if final if not is_conflict(error) else conflicts > _CONFLICTS:
                    raise
                if not is_conflict(error) and time.monotonic() >= next_word:
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
        return self._engine.begin() if self._journal is None else self._journal.transaction()

    def make_tables(self, work: Callable[[sql.Connection], T]) -> T:
        """As :meth:`run`, for making and changing tables: one driver after the other does it.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: As :meth:`run`.
        """

        def alone(connection: sql.Connection) -> T:
            if self.dialect == "postgresql":
                connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            return work(connection)

        for _ in range(_RACES):
            try:
                return self.run(alone)
            except DBAPIError as error:
                # SQLite has no such lock: another driver may be making the same tables.
                if not any(part in text_of(error) for part in _RACED):
                    raise
                time.sleep(0.05)
        return self.run(alone)

    def _is_gone(self, error: DBAPIError) -> bool:
        return self._has_answered and is_gone(error, self.dialect)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()
        if self._journal is not None:
            self._journal.close()


def is_conflict(error: DBAPIError) -> bool:
    """Whether a transaction lost against another one, so that it can be made again at once."""
    return getattr(error.orig, "sqlstate", None) in _CONFLICT_STATES


def is_gone(error: DBAPIError, dialect: str) -> bool:
    """Whether an error says that the database cannot be reached now, not that it refuses."""
    if error.connection_invalidated:
        return True
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    text = text_of(error)
    if dialect == "sqlite":
        return any(part in text for part in _SQLITE_GONE)
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return bool(state.startswith(_GONE_STATES))
    return not any(part in text for part in _FINAL_TEXTS)


def text_of(error: DBAPIError) -> str:
    """What the database said, in one line."""
    return str(error.orig).strip().partition("\n")[0]


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
