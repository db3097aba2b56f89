"""Studies of older versions, taken over from their tables or their journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from compiler_core.errors import InputError
from nest_tune.records.connection import Connection
from nest_tune.records.database import RecordDatabase, record_of_fields
from nest_tune.records.journal import is_old
from nest_tune.records.old_journal import read_old_journal
from nest_tune.study.store.old_tables import OldStudy, Query, old_results, read_old_studies
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Status

_RECORDS = (
    "SELECT task, schedule, target, lowering, outcome, cycles, dram_bytes, workload_text, "
    "schedule_text, checksum FROM nest_tune_record"
)


@dataclass(frozen=True)
class Imported:
    """What an import took.

    Attributes:
        studies: Trials by study.
        skipped: Why a study was left, by name.
        records: Measurements of tasks; 0 where they are in the same database.
    """

    studies: Mapping[str, int]
    skipped: Mapping[str, str]
    records: int


def import_old(source: str, storage: StudyStorage) -> Imported:
    """Takes over the studies of an older version; what they were in stays as it is.

    Args:
        source: URL of a database, or path of an SQLite file or a journal.
        storage: Where to.

    Raises:
        InputError: It cannot be read, or holds no studies of an older version.
    """
    with _opened(source) as query:
        try:
            sound, wrong = read_old_studies(query)
            results = old_results(query)
        except (sqlite3.Error, SQLAlchemyError) as error:
            raise InputError(
                f"{_shown(source)}: no studies of an older version: {error}",
                hint="nest-tune study list shows those of this one",
            ) from error
        records = 0 if _is_same(source, storage) else _import_records(query, storage)
    taken: dict[str, int] = {}
    skipped = {name: error.message for name, error in wrong.items()}
    for study in sound:
        if storage.get(study.name) is not None:
            skipped[study.name] = f"the name is taken in {storage.shown}"
            continue
        _import_study(study, storage)
        taken[study.name] = len(study.trials)
    for key, value in results.items():
        storage.add_result(key, value)
    return Imported(taken, skipped, records)


def _import_study(study: OldStudy, storage: StudyStorage) -> None:
    made = storage.create(study.name, _moved(study.document), created_s=study.created_s)
    known = {status.value: status for status in Status}
    status = known.get(study.status, Status.STOPPED)
    storage.take(made)
    try:
        for trial in study.trials:
            storage.finish(made, trial)
        storage.add_tasks(made, study.tasks)
    except BaseException:
        storage.delete(made)
        raise
    interrupted = status in (Status.RUNNING, Status.NEW)
    storage.release(made, Status.STOPPED if interrupted else status)


def _import_records(query: Query, storage: StudyStorage) -> int:
    try:
        rows = query(_RECORDS)
    except (sqlite3.Error, SQLAlchemyError):  # none were measured
        return 0
    found = (record_of_fields(tuple(row)) for row in rows)
    with closing(RecordDatabase(storage.url)) as database:
        return database.add(r for r in found if r is not None and r.is_sound)


@contextmanager
def _opened(source: str) -> Iterator[Query]:
    """Runs queries of a source."""
    path = _path_of(source)
    if path is None:
        connection = Connection(source)

        def query(text: str) -> Sequence[Sequence[Any]]:
            return connection.run(lambda c: [tuple(row) for row in c.execute(sql.text(text))])

        try:
            yield query
        finally:
            connection.close()
        return
    with closing(_database(path)) as database:
        yield lambda text: database.execute(text).fetchall()


def _database(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file", hint="a database or a journal is needed")
    try:
        if is_old(path):
            return read_old_journal(path)
        return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _path_of(source: str) -> Path | None:
    """The file of a source; ``None`` of a server's database."""
    scheme, colon, rest = source.partition("://")
    if not colon:
        return Path(source)
    return Path(rest.removeprefix("/")) if scheme in ("sqlite", "journal") else None


def _is_same(source: str, storage: StudyStorage) -> bool:
    path = _path_of(source)
    if path is None:
        return source == storage.url.reveal()
    file = storage.connection.file
    return file is not None and file.exists() and path.exists() and path.samefile(file)


def _shown(source: str) -> str:
    path = _path_of(source)
    return "the source" if path is None else str(path)


def _moved(document: Mapping[str, Any]) -> dict[str, Any]:
    """A study's document elsewhere: records have other numbers there, so that which ones it began
    with is no longer known."""
    records = {**document.get("records", {}), "digest": ""}
    return {**document, "records": records} if "records" in document else dict(document)
