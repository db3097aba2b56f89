"""Journals of the first schema, read once: their lines are statements, which nobody executes else.

They are replayed into a database in memory behind an authorizer: rows of the tables that such a
journal has may be written there, and nothing else can be done. No other file is opened, no function
called, nothing runs for long.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.exhausted import cannot_be_read
from nest_tune.records.journal import read_line
from nest_tune.records.journal_rows import RowError

TABLES = frozenset(
    {
        "study_schema",
        "study",
        "study_trial",
        "study_task",
        "study_result",
        "nest_tune_record_schema",
        "nest_tune_record",
        "nest_tune_claim",
    }
)
"""What a journal of the first schema holds."""

_ON_TABLES = (
    sqlite3.SQLITE_INSERT,
    sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_DELETE,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_CREATE_TABLE,
)
_BY_ITSELF = (sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SELECT)
_MASTER = ("sqlite_master", "sqlite_schema")
_STEPS = 2_000_000
"""Of SQLite's machine that a statement may take; one of ours takes some hundreds."""
_SCHEMA = "nest-tune/journal/1"


def read_old_journal(path: Path) -> sqlite3.Connection:
    """What a journal of the first schema holds, as a database in memory.

    Raises:
        InputError: It cannot be read, is none, or a line wants what no such journal does.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise cannot_be_read(f"journal {path}", error) from error
    database = sqlite3.connect(":memory:")
    database.set_authorizer(_authorized)
    lines = text[: text.rfind(b"\n") + 1].splitlines()
    for number, line in enumerate(lines, 1):
        where = f"journal {path}: line {number}"
        try:
            document = read_line(line)
            if number == 1:
                _check_head(document, where)
            else:
                _do(database, document)
        except (RowError, sqlite3.Error, ValueError, TypeError) as error:
            database.close()
            raise InputError(
                f"{where}: {error}", hint="a whole copy of the journal is needed"
            ) from error
    database.set_authorizer(None)
    database.set_progress_handler(None, 0)
    return database


def _check_head(document: Any, where: str) -> None:
    seen = document.get("schema") if isinstance(document, dict) else None
    if seen != _SCHEMA:
        raise InputError(f"{where}: schema {seen!r}; {_SCHEMA!r} is needed")


def _do(database: sqlite3.Connection, statements: Any) -> None:
    with database:
        for statement, rows, many in statements:
            database.set_progress_handler(_budget(), 1000)
            if many:
                database.executemany(str(statement), [tuple(row) for row in rows])
            else:
                database.execute(str(statement), tuple(rows))


def _budget() -> Callable[[], bool]:
    """Ends a statement that takes too many steps."""
    left = iter(range(_STEPS // 1000))
    return lambda: next(left, None) is None


def _authorized(action: int, first: str | None, *_: object) -> int:
    if action in _BY_ITSELF:
        return sqlite3.SQLITE_OK
    known = first in TABLES or first in _MASTER
    if action in _ON_TABLES and known:
        return sqlite3.SQLITE_OK
    # Indices that the uniqueness of columns makes.
    if action == sqlite3.SQLITE_CREATE_INDEX and str(first).startswith("sqlite_autoindex_"):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY
