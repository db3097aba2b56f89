"""Results of pure functions by key, and tuned tasks of studies.

A result that is damaged counts as absent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from nest_tune.records.claims import Claims
from nest_tune.study.store.stored_document import damaged_part, read_json
from nest_tune.study.store.stored_study import StoredStudy
from nest_tune.study.store.study_rows import StudyRows
from nest_tune.study.store.tables import RESULTS, TASKS, digest_of


class ResultRows(StudyRows):
    """What studies have computed beside trials."""

    def add_tasks(self, study: StoredStudy, tasks: Mapping[str, Any]) -> None:
        """Stores what the tuning of tasks gave, by task id.

        Raises:
            LostStudyError: Another process has taken the study.
        """
        rows = [
            {"study": study.key, "task": name, "document": text, "digest": digest_of(name, text)}
            for name, text in ((name, json.dumps(value)) for name, value in tasks.items())
        ]
        theirs = (TASKS.c.study == study.key, TASKS.c.task.in_(list(tasks)))

        def work(connection: sql.Connection) -> None:
            connection.execute(TASKS.delete().where(*theirs))
            connection.execute(TASKS.insert().values(rows))

        if rows:
            self.write(study, work)

    def tasks(self, study: StoredStudy) -> dict[str, Any]:
        """What :meth:`add_tasks` stored.

        Raises:
            InputError: It is damaged.
        """
        found = {}
        for row in self._rows(sql.select(TASKS).where(TASKS.c.study == study.key)):
            where = f"study {study.name!r}: a tuned task"
            if row.digest != digest_of(row.task, row.document):
                raise damaged_part(where, study.name)
            found[row.task] = read_json(row.document, where)
        return found

    def add_result(self, key: str, value: Any, claims: Claims | None = None) -> None:
        """Stores what a pure function of the digest ``key`` gave.

        Args:
            key: Of the result.
            value: Plain.
            claims: Give the claim of that key back in the same transaction.
        """
        text = json.dumps(value)
        row = {"key": key, "document": text, "digest": digest_of(key, text)}

        def work(connection: sql.Connection) -> None:
            query = sql.select(RESULTS).where(RESULTS.c.key == key)
            found = connection.execute(query).one_or_none()
            if found is not None and not _is_sound(found):
                connection.execute(RESULTS.delete().where(RESULTS.c.key == key))
                found = None
            if found is None:
                connection.execute(RESULTS.insert().values(row))
            if claims is not None:
                claims.give(connection, [key])

        try:
            self.run(work)
        except IntegrityError:  # another study was faster, with the same result
            if claims is not None:
                claims.drop([key])
        if claims is not None:
            claims.forget([key])

    def results(self, keys: Sequence[str]) -> dict[str, Any]:
        """Stored results by key; one that is damaged is computed again."""
        return self.run(lambda connection: results_of(connection, keys))


def results_of(connection: sql.Connection, keys: Sequence[str]) -> dict[str, Any]:
    """As :meth:`ResultRows.results`, in a transaction."""
    rows = connection.execute(sql.select(RESULTS).where(RESULTS.c.key.in_(keys)))
    return {row.key: json.loads(row.document) for row in rows if _is_sound(row)}


def _is_sound(row: Any) -> bool:
    return bool(row.digest == digest_of(row.key, row.document))
