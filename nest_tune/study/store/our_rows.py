"""What is ours of a study, as rows: made, copied, read, removed, each within a transaction."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sql

from compiler_core.errors import InputError
from nest_tune.study.store.copies import Described
from nest_tune.study.store.optuna_database import inserted
from nest_tune.study.store.optuna_side import OptunaSide
from nest_tune.study.store.stored_document import damaged, read_study_document
from nest_tune.study.store.stored_study import Status, StoredStudy
from nest_tune.study.store.tables import RUNS, STUDIES, TASKS, digest_of
from nest_tune.study_command import study_command

_NOBODY = {
    "status": Status.NEW.value,
    "request": "",
    "token": "",
    "epoch": 0,
    "process": "",
    "beat_s": 0.0,
}


def insert_row(
    connection: sql.Connection,
    mark: str,
    number: int,
    created_s: float,
    document: str,
    status: Status = Status.NEW,
) -> int:
    """A new row of a study that nobody runs; its key."""
    values = {
        "mark": mark,
        "number": number,
        "created_s": created_s,
        "document": document,
        "digest": digest_of(mark, created_s, document),
    }
    key = inserted(connection, STUDIES.insert().values(values))
    run = _NOBODY | {"study": key, "status": status.value}
    connection.execute(RUNS.insert().values(run))
    return key


def copy_rows(connection: sql.Connection, study: StoredStudy, mark: str) -> None:
    """Describes a copy of a study by rows of its own, under another mark."""
    text = json.dumps(study.document)
    key = insert_row(connection, mark, study.number, study.created_s, text, study.status)
    tasks = sql.select(sql.literal(key), TASKS.c.task, TASKS.c.document, TASKS.c.digest)
    tasks = tasks.where(TASKS.c.study == study.key)
    for row in connection.execute(tasks).all():
        connection.execute(TASKS.insert().values(tuple(row)))


def drop_rows(connection: sql.Connection, optuna: OptunaSide, mark: str) -> None:
    """Removes what is ours of a study, unless a copy of it is there."""
    if any(key.mark == mark for key in optuna.present(connection)):
        return
    mine = sql.select(STUDIES.c.id).where(STUDIES.c.mark == mark)
    for key in connection.execute(mine).scalars().all():
        for table in (TASKS, RUNS):
            connection.execute(table.delete().where(table.c.study == key))
        connection.execute(STUDIES.delete().where(STUDIES.c.id == key))


def started_as(row: Any) -> str:
    """The name that a study was started with, as its row says; what cannot be read has none."""
    try:
        name = read_study_document(row.document, "")["settings"]["name"]
    except (InputError, KeyError, TypeError):
        return "nameless"
    return str(name)


def read_row(found: Described) -> StoredStudy:
    """A study from its row.

    Raises:
        InputError: It is damaged, or there is none.
    """
    row, where = found.row, f"study {found.name!r}"
    if row is None:
        raise InputError(
            f"{where}: its row is damaged or not in this storage, as where Optuna copied the study "
            "here from another one",
            hint="use the storage that it was copied from, or "
            + study_command("delete", found.name),
        )
    known = {status.value: status for status in Status}
    numbers = (row.created_s, row.beat_s, row.now_s)
    texts = (row.process, row.token, row.mark, row.document)
    if (
        row.status not in known
        or not all(isinstance(text, str) for text in texts)
        or not all(isinstance(number, int | float) for number in numbers)
        or type(row.epoch) is not int
        or row.digest != digest_of(row.mark, row.created_s, row.document)
    ):
        raise damaged(where)
    status = known[row.status]
    if found.is_copy and status is Status.RUNNING:  # what it was copied from runs
        status = Status.STOPPED
    return StoredStudy(
        row.id,
        found.name,
        row.created_s,
        status,
        row.process,
        row.now_s - row.beat_s,
        read_study_document(row.document, where),
        row.mark,
        found.key.number,
        (row.token, row.epoch),
        found.is_copy,
    )
