"""Records in a database: SQLite in WAL mode by default, PostgreSQL for teams.

Only the driver opens it. Rows are written in batches; a row whose checksum does not hold is
skipped and counted, never believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from compiler_core.errors import InputError, MissingDependencyError, NestTuneError
from nest_tune.records.record import Outcome, Record

SCHEMA_VERSION = 2
"""1: without ``dram_bytes``."""

_metadata = sa.MetaData()
_version = sa.Table(
    "nest_tune_record_schema", _metadata, sa.Column("version", sa.Integer, nullable=False)
)
_records = sa.Table(
    "nest_tune_record",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("task", sa.String(64), nullable=False),
    sa.Column("schedule", sa.String(64), nullable=False),
    sa.Column("target", sa.String(64), nullable=False),
    sa.Column("lowering", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("cycles", sa.BigInteger),
    sa.Column("dram_bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("workload_text", sa.Text, nullable=False),
    sa.Column("schedule_text", sa.Text, nullable=False),
    sa.Column("checksum", sa.String(16), nullable=False),
    sa.UniqueConstraint("task", "schedule", "target", "lowering", name="nest_tune_record_key"),
)
_FIELDS = [column for column in _records.c if column.name != "number"]
_BATCH = 500


@dataclass(frozen=True)
class Snapshot:
    """Sound records at one moment, in the order of their keys.

    Attributes:
        records: What was measured.
        corrupt: Rows that were skipped because their checksum does not hold.
        digest: Key of exactly these records.
    """

    records: tuple[Record, ...] = ()
    corrupt: int = 0

    @property
    def digest(self) -> str:
        total = hashlib.sha256()
        for record in self.records:
            total.update(f"{record.key}{record.checksum}".encode())
        return total.hexdigest()[:16]


class RecordDatabase:
    """The records behind a storage URL.

    Args:
        url: ``sqlite:///path`` or ``postgresql+psycopg://…``.

    Raises:
        InputError: The URL is none, or the database is of a newer schema or cannot be opened.
        MissingDependencyError: Its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise InputError(
                f"storage: {url.partition('://')[0]!r} is no database URL",
                hint="for example sqlite:///nest-tune.db",
            ) from error
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise InputError(
                f"storage {parsed.get_backend_name()!r}: records are kept in sqlite or postgresql",
                hint="for example sqlite:///nest-tune.db",
            )
        self.name = parsed.render_as_string(hide_password=True)
        try:
            self._engine = sa.create_engine(parsed)
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"storage {self.name}: the Python package {error.name!r} is not installed"
            ) from error
        if parsed.get_backend_name() == "sqlite":
            sa.event.listen(self._engine, "connect", _configure_sqlite)
        with self._translated():
            self._migrate()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            text = str(error.orig).strip().partition("\n")[0]
            if "full" in text or "disk I/O" in text:
                raise NestTuneError(
                    f"storage {self.name}: {text}", hint="free disk space"
                ) from error
            raise InputError(
                f"storage {self.name}: {text}", hint="check that it exists and can be written"
            ) from error

    def _migrate(self) -> None:
        with self._engine.begin() as connection:
            _metadata.create_all(connection, tables=[_version])
            found = connection.execute(sa.select(_version.c.version)).scalar()
            if found is None:
                _metadata.create_all(connection)
                connection.execute(_version.insert().values(version=SCHEMA_VERSION))
                return
            if found > SCHEMA_VERSION:
                raise InputError(
                    f"storage {self.name}: records of schema {found}; this version knows up to "
                    f"{SCHEMA_VERSION}",
                    hint="upgrade nest-tune, or use another storage",
                )
            if found < 2:
                add = "ALTER TABLE nest_tune_record ADD COLUMN dram_bytes BIGINT NOT NULL DEFAULT 0"
                connection.execute(sa.text(add))
                _reseal(connection)
            connection.execute(_version.update().values(version=SCHEMA_VERSION))

    def add(self, records: Iterable[Record]) -> int:
        """Stores records in batches; those of a key that is there replace it.

        Returns:
            How many were given.
        """
        rows = [_row(record) for record in records]
        insert: Any = (
            sqlite.insert if self._engine.dialect.name == "sqlite" else postgresql.insert
        )(_records)
        names = [column.name for column in _FIELDS]
        changed = {n: insert.excluded[n] for n in names[4:]}
        insert = insert.on_conflict_do_update(index_elements=names[:4], set_=changed)
        with self._translated(), self._engine.begin() as connection:
            for start in range(0, len(rows), _BATCH):
                connection.execute(insert, rows[start : start + _BATCH])
        return len(rows)

    def snapshot(
        self,
        *,
        target: str | None = None,
        lowering: int | None = None,
        task: str | None = None,
        until: int | None = None,
    ) -> Snapshot:
        """Reads all sound records, or those of a target, lowering or task, or those up to a number
        that :meth:`newest` has given."""
        query = sa.select(*_FIELDS).order_by(*_FIELDS[:4])
        for column, value in (("target", target), ("lowering", lowering), ("task", task)):
            if value is not None:
                query = query.where(_records.c[column] == value)
        if until is not None:
            query = query.where(_records.c.number <= until)
        sound, corrupt = [], 0
        with self._translated(), self._engine.connect() as connection:
            for row in connection.execute(query):
                record = _record(tuple(row))
                if record is None or not record.is_sound:
                    corrupt += 1
                else:
                    sound.append(record)
        return Snapshot(tuple(sound), corrupt)

    def newest(self) -> int:
        """Number of the newest record; 0 where there are none. A record keeps its number when it is
        measured again."""
        with self._translated(), self._engine.connect() as connection:
            found = connection.execute(sa.select(sa.func.max(_records.c.number))).scalar()
        return int(found or 0)

    def remove_corrupt(self) -> int:
        """Deletes rows whose checksum does not hold; returns how many."""
        bad = []
        with self._translated(), self._engine.begin() as connection:
            for number, *fields in connection.execute(sa.select(_records.c.number, *_FIELDS)):
                record = _record(tuple(fields))
                if record is None or not record.is_sound:
                    bad.append(number)
            for number in bad:
                connection.execute(_records.delete().where(_records.c.number == number))
        return len(bad)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def _row(record: Record) -> dict[str, Any]:
    row = {column.name: getattr(record, column.name) for column in _FIELDS}
    return {**row, "outcome": record.outcome.value}


def _record(fields: tuple[Any, ...]) -> Record | None:
    task, schedule, target, lowering, outcome, *rest = fields
    if outcome not in {member.value for member in Outcome}:
        return None
    return Record(task, schedule, target, lowering, Outcome(outcome), *rest)


def _reseal(connection: sa.Connection) -> None:
    """Checksums of schema 1 did not cover the new column."""
    for number, *fields in connection.execute(sa.select(_records.c.number, *_FIELDS)).all():
        record = _record(tuple(fields))
        if record is not None:
            connection.execute(
                _records.update()
                .where(_records.c.number == number)
                .values(checksum=record.expected_checksum())
            )
