"""Rows of our tables as the operations of a journal: ``put`` and ``drop``, each checked.

Which rows a transaction has changed is noted by triggers on tables in memory. A row keeps its
number in every process, so that operations mean the same wherever they are replayed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sql

from compiler_core.errors import InternalError

_TABLES: dict[str, sql.Table] = {}
_LARGEST = 2**63 - 1
_NOTE = (
    'CREATE TEMP TRIGGER "{name}_{event}" AFTER {event} ON main."{name}" WHEN journal_notes() '
    "BEGIN INSERT INTO journal_change (name, row) VALUES ('{name}', {row}.rowid); END"
)


class RowError(ValueError):
    """A line of a journal that is none of its operations."""


def keep_in_journals(tables: sql.MetaData) -> sql.MetaData:
    """Makes tables known to journals, which hold rows of no others; returns them."""
    _TABLES.update(tables.tables)
    return tables


class Rows:
    """The tables of a journal in memory.

    Args:
        engine: Of an empty database; the tables known by now are made in it.
    """

    def __init__(self, engine: sql.Engine) -> None:
        self._known = dict(_TABLES)
        self._notes = False
        with engine.begin() as connection:
            raw: Any = connection.connection.driver_connection
            raw.create_function("journal_notes", 0, lambda: self._notes)
            connection.exec_driver_sql("CREATE TEMP TABLE journal_change (name TEXT, row INTEGER)")
            for name, table in self._known.items():
                table.create(connection)
                for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
                    connection.exec_driver_sql(_NOTE.format(name=name, event=event, row=row))

    @property
    def is_complete(self) -> bool:
        """Whether no table has become known since."""
        return len(self._known) == len(_TABLES)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Changed rows are noted meanwhile."""
        self._notes = True
        try:
            yield
        finally:
            self._notes = False

    def take_changes(self, connection: sql.Connection) -> list[Any]:
        """Operations that do again what was noted."""
        execute = connection.connection.cursor().execute  # several times per trial of a study
        made = execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if unknown := {name for (name,) in made} - set(self._known):
            raise InternalError(f"tables that no journal keeps: {', '.join(sorted(unknown))}")
        noted = execute(
            "SELECT DISTINCT name, row FROM journal_change ORDER BY name, row"
        ).fetchall()
        if not noted:
            return []
        execute("DELETE FROM journal_change")
        changes: list[Any] = []
        for name, row in noted:
            columns = self._known[name].c.keys()
            names = ", ".join(f'"{column}"' for column in columns)
            found = execute(f'SELECT {names} FROM "{name}" WHERE rowid = ?', (row,)).fetchone()
            if found is None:
                changes.append(["drop", name, row])
            else:
                changes.append(["put", name, row, dict(zip(columns, found, strict=True))])
        return changes

    def replay(self, connection: sql.Connection, operations: Any) -> None:
        """Does the operations of one line, all or none; those on tables that are not known here are
        passed over.

        Raises:
            RowError: One of them is none.
        """
        if not isinstance(operations, list):
            raise RowError("no list of operations")
        checked = [self._checked(operation) for operation in operations]
        try:
            self._do(connection, checked)
        except (sqlite3.Error, UnicodeError) as error:
            raise RowError(f"cannot be kept: {error}") from error

    def _do(
        self,
        connection: sql.Connection,
        checked: Sequence[tuple[str, int, Mapping[str, Any] | None]],
    ) -> None:
        execute = connection.connection.cursor().execute  # of thousands of lines at the start
        for name, row, values in checked:
            table = self._known.get(name)
            if table is None:
                continue
            execute(f'DELETE FROM "{name}" WHERE rowid = ?', (row,))
            if values is not None:
                numbered = {} if _is_numbered(table) else {"rowid": row}
                columns = [*numbered, *values]
                names = ", ".join(f'"{column}"' for column in columns)
                marks = ", ".join("?" for _ in columns)
                execute(
                    f'INSERT OR REPLACE INTO "{name}" ({names}) VALUES ({marks})',
                    (*numbered.values(), *values.values()),
                )

    def _checked(self, operation: Any) -> tuple[str, int, Mapping[str, Any] | None]:
        match operation:
            case ["drop", str(name), int(row)] if 0 < row <= _LARGEST:
                return name, row, None
            case ["put", str(name), int(row), dict(values)] if 0 < row <= _LARGEST:
                table = self._known.get(name)
                if table is None:
                    return name, row, values
                if set(values) != set(table.c.keys()):
                    raise RowError(f"columns of {name} are missing or not known")
                for column in table.c:
                    _check_value(column, values[column.name])
                return name, row, values
        raise RowError("an operation is neither put nor drop")


def _check_value(column: sql.Column[Any], value: Any) -> None:
    if value is None:
        fits = bool(column.nullable)
    elif isinstance(column.type, sql.Integer):
        fits = type(value) is int and abs(value) <= _LARGEST
    elif isinstance(column.type, sql.Float):
        fits = type(value) in (int, float)
    else:
        fits = isinstance(value, str)
    if not fits:
        raise RowError(f"{column.table.name}: {column.name} cannot be {str(value)[:40]!r}")


def _is_numbered(table: sql.Table) -> bool:
    """Whether a column is the number of the row."""
    keys = list(table.primary_key.columns)
    return len(keys) == 1 and isinstance(keys[0].type, sql.Integer)
