"""Records in a database: SQLite in WAL mode by default, PostgreSQL or MySQL for teams.

Only the driver opens it. Rows are written in batches; a row whose checksum does not hold is
skipped and counted, never believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from compiler_core.errors import InputError, MissingDependencyError
from nest_tune.records.connection import Connection
from nest_tune.records.dialects import DIALECTS, create_tables, dialect_of
from nest_tune.records.journal_rows import keep_in_journals
from nest_tune.records.record import MeasurementOutcome, Record
from nest_tune.records.storage_url import HINT, StorageUrl

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
_replaced = sa.Table(
    "nest_tune_record_replaced",
    _metadata,
    sa.Column("key", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("until", sa.Integer, nullable=False, index=True),
    *(sa.Column(c.name, c.type) for c in _records.c if c.name != "number"),
)
"""What records were before they were measured again or imported otherwise; ``until`` is the newest
number then, up to which snapshots see this."""
keep_in_journals(_metadata)
_FIELDS = [column for column in _records.c if column.name != "number"]
_BATCH = 500
_TEXTS = 1 << 14
"""Texts that are looked for among those that are held."""
T = TypeVar("T")
Key = tuple[str, str, str, int]
"""Task, schedule, target and lowering, as :attr:`Record.key`."""


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
        total = RecordTally()
        for record in self.records:
            total.add(record)
        return total.digest


class RecordTally:
    """Number and digest of records that are met one by one, as of a :class:`Snapshot` of them.

    Attributes:
        records: Sound ones so far.
        corrupt: Others.
    """

    def __init__(self) -> None:
        self.records = self.corrupt = 0
        self._total = hashlib.sha256()

    def add(self, record: Record | None) -> None:
        """Takes note of the next one; ``None`` stands for one that is not sound."""
        if record is None:
            self.corrupt += 1
            return
        self.records += 1
        self._total.update(f"{record.key}{record.checksum}".encode())

    @property
    def digest(self) -> str:
        """Key of exactly these records."""
        return self._total.hexdigest()[:16]


def tally_of(records: Iterable[Record | None]) -> RecordTally:
    """Number and digest of records."""
    found = RecordTally()
    for record in records:
        found.add(record)
    return found


class RecordDatabase:
    """The records behind a storage URL.

    Args:
        url: ``sqlite:///path``, ``postgresql+psycopg://…`` or ``mysql+pymysql://…``.

    Raises:
        InputError: The URL is none, or what is there is of a newer schema or no database.
        MissingDependencyError: Its driver is not installed, or it cannot be opened or written.
        ResourceError: Its disk is full.
    """

    def __init__(self, url: str) -> None:
        try:
            self.connection = Connection(url)
        except sa.exc.NoSuchModuleError as error:
            raise _unknown(url.partition(":")[0]) from error
        except sa.exc.ArgumentError as error:
            raise InputError(
                f"storage: {url.partition('://')[0]!r} is no kind of database", hint=HINT
            ) from error
        except ModuleNotFoundError as error:
            if url.partition("://")[0].partition("+")[0] not in DIALECTS:
                raise _unknown(url.partition(":")[0]) from error
            raise missing_driver(StorageUrl(url), error) from error
        if self.connection.dialect not in DIALECTS:
            raise _unknown(self.connection.dialect)
        self.name = self.connection.shown
        self.connection.make_tables(self._migrated)

    def _migrated(self, connection: sa.Connection) -> None:
        create_tables(connection, _metadata, [_version, _replaced])
        found = connection.execute(sa.select(_version.c.version)).scalar()
        if found is None:
            create_tables(connection, _metadata)
            connection.execute(_version.insert().values(version=SCHEMA_VERSION))
            return
        if type(found) is not int:  # SQLite keeps any value in any column
            raise InputError(
                f"storage {self.name}: records of schema {found!r}; a number is needed",
                hint="the database is damaged: restore it, or use another storage",
            )
        if found > SCHEMA_VERSION:
            raise InputError(
                f"storage {self.name}: records of schema {found}; this version knows up to "
                f"{SCHEMA_VERSION}",
                hint="upgrade nest-tune, or use another storage",
            )
        if found == SCHEMA_VERSION:
            return
        if found < 2:
            add = "ALTER TABLE nest_tune_record ADD COLUMN dram_bytes BIGINT NOT NULL DEFAULT 0"
            connection.execute(sa.text(add))
            _reseal(connection)
        connection.execute(_version.update().values(version=SCHEMA_VERSION))

    def add(self, records: Iterable[Record]) -> int:
        """Stores records in batches; those of a key that is there replace it.

        Returns:
            How many keys they have.
        """
        # The last of equal keys counts. All drivers lock rows in the same order: no deadlocks.
        newest = {record.key: record for record in records}
        rows = [_row(newest[key]) for key in sorted(newest)]
        names = [column.name for column in _FIELDS]
        insert = self.connection.rules.insert(_records, names[:4], names[4:])

        def work(connection: sa.Connection) -> None:
            for start in range(0, len(rows), _BATCH):
                batch = rows[start : start + _BATCH]
                _keep_replaced(connection, batch)
                connection.execute(insert, batch)

        if rows:
            self.connection.run(work)
        return len(rows)

    def find(self, keys: Sequence[Key]) -> dict[Key, Record]:
        """Sound records of these keys, of those that are there."""
        found: dict[Key, Record] = {}
        groups: dict[tuple[str, str, int], list[str]] = {}
        for task, schedule, target, lowering in keys:
            groups.setdefault((task, target, lowering), []).append(schedule)
        for (task, target, lowering), schedules in groups.items():
            where = (
                _records.c.task == task,
                _records.c.target == target,
                _records.c.lowering == lowering,
                _records.c.schedule.in_(schedules),
            )
            for row in self._rows(sa.select(*_FIELDS).where(*where)):
                record = record_of_fields(row)
                if record is not None and record.is_sound:
                    found[record.key] = record
        return found

    def _rows(self, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
        return self.connection.run(lambda c: [tuple(row) for row in c.execute(query)])

    def snapshot(
        self,
        *,
        target: str | None = None,
        lowering: int | None = None,
        task: str | None = None,
        until: int | None = None,
    ) -> Snapshot:
        """Reads all sound records, or those of a target, lowering or task, or those up to a number
        that :meth:`newest` has given, as they were when it was the newest."""

        def collected(records: Iterator[Record | None]) -> Snapshot:
            sound, corrupt = [], 0
            for record in records:
                if record is None:
                    corrupt += 1
                else:
                    sound.append(record)
            return Snapshot(tuple(sound), corrupt)

        return self.read(collected, target=target, lowering=lowering, task=task, until=until)

    def read(
        self,
        use: Callable[[Iterator[Record | None]], T],
        *,
        target: str | None = None,
        lowering: int | None = None,
        task: str | None = None,
        until: int | None = None,
    ) -> T:
        """What ``use`` makes of the records of one moment, which are read one by one in the order
        of their keys: ``None`` stands for one whose checksum does not hold. Where the database is
        lost meanwhile, ``use`` is called again from the beginning.

        Args:
            use: Called with the records.
            target, lowering, task, until: As of :meth:`snapshot`.
        """
        given = (("target", target), ("lowering", lowering), ("task", task))
        wanted = {name: value for name, value in given if value is not None}
        query = sa.select(*_FIELDS).order_by(*_FIELDS[:4])
        query = query.where(*(_records.c[name] == value for name, value in wanted.items()))
        old = sa.select(*(_replaced.c[c.name] for c in _FIELDS))
        if until is not None:
            query = query.where(_records.c.number <= until)
            old = old.where(_replaced.c.number <= until, _replaced.c.until >= until)
            old = old.where(*(_replaced.c[name] == value for name, value in wanted.items()))

        def work(connection: sa.Connection) -> T:
            before: dict[tuple[Any, ...], tuple[Any, ...]] = {}
            if until is not None:
                # The last of a key is what it was first after that moment.
                for row in connection.execute(old.order_by(_replaced.c.key.desc())):
                    before[tuple(row)[:4]] = tuple(row)
            rows = connection.execution_options(yield_per=_BATCH).execute(query)
            return use(_sound(map(tuple, rows), before))

        return self.connection.run(work)

    def newest(self) -> int:
        """Number of the newest record; 0 where there are none. A record keeps its number when it is
        measured again."""
        [(found,)] = self._rows(sa.select(sa.func.max(_records.c.number)))
        return int(found or 0)

    def count_tasks(self, target: str, lowering: int, until: int) -> int:
        """How many tasks records up to a number are of, on a machine."""
        query = sa.select(sa.func.count(sa.distinct(_records.c.task))).where(
            _records.c.target == target,
            _records.c.lowering == lowering,
            _records.c.number <= until,
        )
        [(found,)] = self._rows(query)
        return int(found)

    def remove_corrupt(self) -> int:
        """Deletes rows whose checksum does not hold; returns how many."""

        def work(connection: sa.Connection) -> int:
            removed = 0
            for number, record in _numbered(connection):
                if record is None or not record.is_sound:
                    connection.execute(_records.delete().where(_records.c.number == number))
                    removed += 1
            return removed

        return self.connection.run(work)

    def close(self) -> None:
        """Closes all connections."""
        self.connection.close()


def _unknown(kind: str) -> InputError:
    return InputError(
        f"storage {kind!r}: records are kept in sqlite, postgresql or mysql",
        hint="for example sqlite:///nest-tune.db",
    )


def missing_driver(url: StorageUrl, error: ModuleNotFoundError) -> MissingDependencyError:
    """What to install for a URL whose driver is not here."""
    extra = dialect_of(url.partition("://")[0].partition("+")[0]).extra
    package = f"'nest-tune[{extra}]'" if extra else error.name
    return MissingDependencyError(
        f"storage {url}: the Python package {error.name!r} is not installed",
        hint=f"pip install {package}",
    )


def _keep_replaced(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Keeps records that are about to be replaced by others of the same keys."""
    names = ("task", "target", "lowering")
    new = {(*(row[name] for name in names), row["schedule"]): row["checksum"] for row in rows}
    for subject in {key[:3] for key in new}:
        schedules = [key[3] for key in new if key[:3] == subject]
        here = [_records.c[name] == value for name, value in zip(names, subject, strict=True)]
        query = sa.select(_records).where(*here, _records.c.schedule.in_(schedules))
        changed = [
            dict(row)
            for row in connection.execute(query).mappings()
            if row["checksum"] != new[(*subject, row["schedule"])]
        ]
        if changed:
            newest = connection.execute(sa.select(sa.func.max(_records.c.number))).scalar()
            rows_then = [{**row, "until": newest} for row in changed]
            connection.execute(_replaced.insert(), rows_then)


def _row(record: Record) -> dict[str, Any]:
    row = {column.name: getattr(record, column.name) for column in _FIELDS}
    return {**row, "outcome": record.outcome.value}


def _sound(
    rows: Iterable[tuple[Any, ...]], before: Mapping[tuple[Any, ...], tuple[Any, ...]]
) -> Iterator[Record | None]:
    """Records of rows, as they were before where that is known; equal texts are held once."""
    texts: dict[Any, Any] = {}
    shared = [_FIELDS.index(_records.c[name]) for name in ("task", "target", "workload_text")]
    for row in rows:
        fields = list(before.get(row[:4], row))
        for at in shared:
            fields[at] = texts.setdefault(fields[at], fields[at])
        record = record_of_fields(tuple(fields))
        yield None if record is None or not record.is_sound else record
        if len(texts) > _TEXTS:
            texts.clear()


def record_of_fields(fields: tuple[Any, ...]) -> Record | None:
    """A record from its columns but the number; ``None`` where they are none."""
    task, schedule, target, lowering, outcome, *rest = fields
    if outcome not in {member.value for member in MeasurementOutcome}:
        return None
    return Record(task, schedule, target, lowering, MeasurementOutcome(outcome), *rest)


def _numbered(connection: sa.Connection) -> Iterator[tuple[int, Record | None]]:
    """All records by their numbers, some at a time: they may be changed meanwhile."""
    query = sa.select(_records.c.number, *_FIELDS).order_by(_records.c.number).limit(_BATCH)
    last = None
    while True:
        here = query if last is None else query.where(_records.c.number > last)
        rows = connection.execute(here).all()
        if not rows:
            return
        for number, *fields in rows:
            yield number, record_of_fields(tuple(fields))
        last = rows[-1].number


def _reseal(connection: sa.Connection) -> None:
    """Checksums of schema 1 did not cover the new column."""
    for number, record in _numbered(connection):
        if record is not None:
            connection.execute(
                _records.update()
                .where(_records.c.number == number)
                .values(checksum=record.expected_checksum())
            )
