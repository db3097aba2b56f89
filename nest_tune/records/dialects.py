"""What differs from database to database: one :class:`Dialect` each.

SQLite is what a journal is replayed into, too. MySQL stands for MariaDB as well: names are compared
letter by letter there as everywhere else, and transactions see what others have committed, as in
PostgreSQL.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

_SCHEMA_LOCK = 0x6E657374


@dataclass(frozen=True)
class Dialect:
    """One kind of database.

    Attributes:
        name: As SQLAlchemy calls it.
        extra: Of the package, that brings its driver.
        driver: Taken where a URL names none.
        arguments: Of every connection: a server that vanished without a word is noticed.
        options: Of the engine.
        gone: Whether an error that is no conflict says that it cannot be reached now.
        conflicts: Whether a transaction lost against another one and can be made again at once.
        now_s: The server's clock, or ours where there is no server: clocks of drivers may differ.
    """

    name: str
    extra: str = ""
    driver: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    gone: Callable[[DBAPIError], bool] = lambda _error: False
    conflicts: Callable[[DBAPIError], bool] = lambda _error: False
    now_s: Callable[[], Any] = lambda: sql.literal(time.time(), sql.Float(53))

    def insert(
        self, table: sql.Table, keys: Sequence[str], changed: Sequence[str] = ()
    ) -> sql.Insert:
        """An insertion, by which rows of keys that are there get new values, or stay as they are.

        Args:
            table: Into which.
            keys: Columns that no two rows have equal.
            changed: Columns that get new values; where there are none, rows stay.
        """
        if self.name == "mysql":
            from sqlalchemy.dialects import mysql  # loaded where used: it takes long

            theirs = mysql.insert(table)
            # Without anything to change, a key is set to itself: IGNORE would hide other errors.
            values = {n: theirs.inserted[n] for n in changed} or {keys[0]: table.c[keys[0]]}
            return theirs.on_duplicate_key_update(values)
        if self.name == "postgresql":
            from sqlalchemy.dialects import postgresql

            insert: Any = postgresql.insert(table)
        else:
            from sqlalchemy.dialects import sqlite

            insert = sqlite.insert(table)
        if not changed:
            kept: sql.Insert = insert.on_conflict_do_nothing(index_elements=list(keys))
            return kept
        values = {name: insert.excluded[name] for name in changed}
        updated: sql.Insert = insert.on_conflict_do_update(index_elements=list(keys), set_=values)
        return updated

    @contextmanager
    def alone(self, connection: sql.Connection) -> Iterator[None]:
        """While tables are made or changed: one driver after the other does it, where the database
        has such locks."""
        if self.name == "postgresql":
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        if self.name != "mysql":
            yield
            return
        # Making a table commits there, so that the lock is the connection's.
        lock = f"nest-tune-{_SCHEMA_LOCK}"
        connection.execute(sql.select(sql.func.get_lock(lock, 600))).all()
        try:
            yield
        finally:
            connection.execute(sql.select(sql.func.release_lock(lock))).all()


_BY_LETTER = {"charset": "utf8mb4", "collate": "utf8mb4_bin", "engine": "InnoDB"}


def create_tables(
    connection: sql.Connection, tables: sql.MetaData, only: Sequence[sql.Table] | None = None
) -> None:
    """Makes those tables that are missing. In MySQL names that differ in case differ in them, as
    elsewhere, and texts have any length: by its default they are compared without case, and hold
    64 KB.

    Args:
        connection: In a transaction.
        tables: All of them.
        only: Those that are made, where not all are.
    """
    if connection.dialect.name not in ("mysql", "mariadb"):
        tables.create_all(connection, tables=only)
        return
    copy = sql.MetaData()
    for table in tables.sorted_tables:
        made = table.to_metadata(copy)
        options = {f"{connection.dialect.name}_{key}": value for key, value in _BY_LETTER.items()}
        made.dialect_kwargs.update(options)
        for column in made.columns:
            if isinstance(column.type, sql.Text):
                column.type = sql.Text((1 << 32) - 1)
    chosen = None if only is None else [copy.tables[table.key] for table in only]
    copy.create_all(connection, tables=chosen)


_SQLITE_GONE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _sqlite_gone(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return (code is not None and code & 0xFF in _SQLITE_GONE) or "locked" in str(error.orig)


_STATES_GONE = ("08", "57P", "53300", "55P03")
"""Beginnings of SQL states: connection, operator intervention, too many connections, locked."""
_STATES_OF_CONFLICTS = ("40001", "40P01")
_FINAL_TEXTS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "role ")


def _postgresql_gone(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return bool(state.startswith(_STATES_GONE))
    text = str(error.orig).strip().partition("\n")[0]
    return not any(part in text for part in _FINAL_TEXTS)


_NUMBERS_GONE = frozenset({1040, 1053, 1077, 1079, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031})
"""Too many connections, shutting down, killed, not reached, gone, lost."""
_NUMBERS_OF_CONFLICTS = frozenset({1020, 1205, 1213})
"""Changed since it was read, waited too long for a lock, deadlock."""


def _number(error: DBAPIError) -> int | None:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


_SQLITE = Dialect("sqlite", gone=_sqlite_gone)
_POSTGRESQL = Dialect(
    "postgresql",
    "postgresql",
    "psycopg",
    {
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    },
    gone=_postgresql_gone,
    conflicts=lambda error: getattr(error.orig, "sqlstate", None) in _STATES_OF_CONFLICTS,
    now_s=lambda: sql.cast(sql.extract("epoch", sql.func.clock_timestamp()), sql.Float(53)),
)
_MYSQL = Dialect(
    "mysql",
    "mysql",
    "pymysql",
    {"connect_timeout": 10, "read_timeout": 600, "write_timeout": 60, "charset": "utf8mb4"},
    {"isolation_level": "READ COMMITTED"},
    gone=lambda error: _number(error) in _NUMBERS_GONE,
    conflicts=lambda error: _number(error) in _NUMBERS_OF_CONFLICTS,
    now_s=lambda: sql.literal_column("(UNIX_TIMESTAMP(SYSDATE(6)) + 0e0)"),
)
_KNOWN = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL, "mysql": _MYSQL, "mariadb": _MYSQL}
DIALECTS = tuple(_KNOWN)
"""Names of databases that hold records and studies, as URLs begin."""


def dialect_of(name: str) -> Dialect:
    """The dialect of a database; of one that is not known, nothing but its name."""
    return _KNOWN.get(name) or Dialect(name)


def is_conflict(error: DBAPIError, dialect: Dialect) -> bool:
    """Whether a transaction lost against another one, so that it can be made again at once."""
    return dialect.conflicts(error)


def is_gone(error: DBAPIError, dialect: Dialect) -> bool:
    """Whether an error says that the database cannot be reached now, not that it refuses."""
    if error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | InterfaceError) and dialect.gone(error)
