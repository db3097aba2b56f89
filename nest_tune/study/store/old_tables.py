"""Tables of older versions, whose trials were rows of a table of our own: read, never written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from compiler_core.errors import InputError
from nest_tune.study.store.stored_document import damaged, read_json, read_study_document
from nest_tune.study.store.trial_document import trial_of_values
from nest_tune.study.trial import OuterTrial

Query = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a query of an old database."""


@dataclass(frozen=True)
class OldStudy:
    """A study in old tables.

    Attributes:
        name: Of the study.
        status: As last written.
        created_s: Seconds since 1970.
        document: What was fixed at its start.
        trials: By number.
        tasks: Tuned ones by id.
    """

    name: str
    status: str
    created_s: float
    document: Mapping[str, Any]
    trials: tuple[OuterTrial, ...]
    tasks: Mapping[str, Any]


def old_names(connection: sql.Connection) -> tuple[str, ...]:
    """Names of the studies in old tables; empty where there are none."""
    if not sql.inspect(connection).has_table("study"):
        return ()
    rows = connection.execute(sql.text("SELECT name FROM study ORDER BY id")).scalars()
    return tuple(name for name in rows if isinstance(name, str))


def read_old_studies(query: Query) -> tuple[list[OldStudy], Mapping[str, InputError]]:
    """The sound studies of old tables, and what is wrong with the others, by name."""
    sound: list[OldStudy] = []
    wrong: dict[str, InputError] = {}
    rows = query("SELECT id, name, status, created_s, document FROM study ORDER BY id")
    for key, name, status, created_s, text in rows:
        try:
            sound.append(_old_study(query, int(key), str(name), (status, created_s), text))
        except InputError as error:
            wrong[str(name)] = error
    return sound, wrong


def _old_study(
    query: Query, key: int, name: str, when: tuple[object, object], text: str
) -> OldStudy:
    where = f"study {name!r}"
    status, created_s = when
    if not isinstance(status, str) or not isinstance(created_s, int | float):
        raise damaged(where)
    document = read_study_document(text, where)
    trials = [
        _old_trial(stored, f"{where}: trial {number}")
        for number, stored in query(
            f"SELECT number, document FROM study_trial WHERE study = {key} ORDER BY number"
        )
    ]
    tasks = {
        str(task): read_json(stored, f"{where}: task {task}")
        for task, stored in query(f"SELECT task, document FROM study_task WHERE study = {key}")
    }
    return OldStudy(name, status, float(created_s), document, tuple(trials), tasks)


def _old_trial(text: Any, where: str) -> OuterTrial:
    values = read_json(text, where)
    if not isinstance(values, dict):
        raise damaged(where)
    return trial_of_values(values, where)


def old_results(query: Query) -> dict[str, Any]:
    """Results of pure functions that old tables hold; those that are no JSON are left out."""
    found = {}
    for key, text in query("SELECT key, document FROM study_result"):
        try:
            found[str(key)] = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            continue
    return found
