"""Optuna's studies in a database: rows of its tables, some statements per trial.

What Optuna makes of them is the same as if it had written them, in one transaction each instead of
one per decision and attribute.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from math import isinf
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from nest_tune.study.store.optuna_side import (
    EndedTrial,
    NameTakenError,
    NewStudy,
    NewTrial,
    Stored,
    StudyKey,
    UnknownTrialError,
)
from nest_tune.study.store.optuna_tables import (
    DIRECTIONS,
    OF_STUDIES,
    OF_TRIALS,
    PARAMS,
    STUDIES,
    STUDY_SYSTEM,
    STUDY_USER,
    TRIAL_SYSTEM,
    TRIAL_USER,
    TRIALS,
    VALUES,
)
from nest_tune.study.store.trial_document import KEY

CONSTRAINT = "constraints:"
"""Beginning of the names of constraints among the attributes of Optuna's trials."""


class OptunaDatabase:
    """See :class:`~nest_tune.study.store.optuna_side.OptunaSide`."""

    def __init__(self) -> None:
        self._numbers: dict[StudyKey, dict[int, int]] = {}
        self._newest: dict[StudyKey, int] = {}

    def create(self, connection: sql.Connection, study: NewStudy) -> int:
        taken = sql.select(STUDIES.c.study_id).where(STUDIES.c.study_name == study.name)
        found = connection.execute(taken).scalar()
        if found is not None:
            if self.holds(connection, StudyKey(found, study.mark)):
                return int(found)  # the first attempt had been committed
            raise NameTakenError(study.name)
        try:
            number = inserted(connection, STUDIES.insert().values(study_name=study.name))
        except IntegrityError as error:
            raise NameTakenError(study.name) from error
        rows = [
            {"direction": direction.upper(), "study_id": number, "objective": index}
            for index, direction in enumerate(study.directions)
        ]
        connection.execute(DIRECTIONS.insert(), rows)
        for table, attributes in _shown(study).items():
            connection.execute(table.insert(), _attributes("study_id", number, attributes))
        return number

    def claim(self, connection: sql.Connection, key: StudyKey, study: NewStudy) -> None:
        for table, attributes in _shown(study).items():
            query = sql.select(table.c.key, table.c.value_json)
            mine = table.c.study_id == key.number
            found = connection.execute(query.where(mine)).all()
            there = {row.key: row.value_json for row in found}
            rows = [
                row
                for row in _attributes("study_id", key.number, attributes)
                if there.get(row["key"]) != row["value_json"]
            ]
            if rows:
                names = [row["key"] for row in rows]
                connection.execute(table.delete().where(mine, table.c.key.in_(names)))
                connection.execute(table.insert(), rows)

    def present(self, connection: sql.Connection) -> Mapping[StudyKey, str]:
        found: dict[int, tuple[str, str]] = {}
        for table in (STUDY_USER, STUDY_SYSTEM):  # the second one counts
            query = (
                sql.select(STUDIES.c.study_id, STUDIES.c.study_name, table.c.value_json)
                .join(table, table.c.study_id == STUDIES.c.study_id)
                .where(table.c.key == KEY)
            )
            for number, name, mark in connection.execute(query):
                if isinstance(mark, str) and isinstance(name, str):
                    found[number] = mark.strip('"'), name
        return {StudyKey(number, mark): name for number, (mark, name) in sorted(found.items())}

    def all_names(self, connection: sql.Connection) -> Sequence[str]:
        rows = connection.execute(sql.select(STUDIES.c.study_name)).scalars()
        return [name for name in rows if isinstance(name, str)]

    def holds(self, connection: sql.Connection, key: StudyKey) -> bool:
        for table in (STUDY_SYSTEM, STUDY_USER):
            mine = (table.c.study_id == key.number, table.c.key == KEY)
            mark = connection.execute(sql.select(table.c.value_json).where(*mine)).scalar()
            if mark is not None:
                return bool(mark == json.dumps(key.mark))
        return False

    def has_trials(self, connection: sql.Connection, name: str) -> bool:
        query = (
            sql.select(TRIALS.c.trial_id)
            .join(STUDIES, STUDIES.c.study_id == TRIALS.c.study_id)
            .join(TRIAL_SYSTEM, TRIAL_SYSTEM.c.trial_id == TRIALS.c.trial_id)
            .where(STUDIES.c.study_name == name, TRIAL_SYSTEM.c.key == KEY)
        )
        return connection.execute(query.limit(1)).first() is not None

    def delete(self, connection: sql.Connection, key: StudyKey) -> None:
        if not self.holds(connection, key):
            return
        theirs = sql.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == key.number)
        for table in OF_TRIALS:
            connection.execute(table.delete().where(table.c.trial_id.in_(theirs)))
        for table in (TRIALS, *OF_STUDIES, STUDIES):
            connection.execute(table.delete().where(table.c.study_id == key.number))
        self._forget(key)

    def rename(
        self, connection: sql.Connection, key: StudyKey, study: NewStudy, over: StudyKey | None
    ) -> int:
        if over is not None:
            self.delete(connection, over)
        mine = STUDIES.update().where(STUDIES.c.study_id == key.number)
        try:
            connection.execute(mine.values(study_name=study.name))
        except IntegrityError as error:
            raise NameTakenError(study.name) from error
        return key.number

    def propose(
        self, connection: sql.Connection, key: StudyKey, trials: Sequence[NewTrial]
    ) -> None:
        # The number of a trial counts those before it: Optuna locks the study for that, too.
        lock = sql.select(STUDIES.c.study_id).where(STUDIES.c.study_id == key.number)
        connection.execute(lock.with_for_update())
        known = self._known(connection, key)
        mine = TRIALS.c.study_id == key.number
        count = connection.execute(sql.select(sql.func.count()).where(mine)).scalar_one()
        params: list[dict[str, Any]] = []
        attributes: list[dict[str, Any]] = []
        for trial in trials:
            if (old := known.get(trial.number)) is not None:
                if self._is_running_so(connection, old, trial):
                    continue
                self._end(connection, old, "FAIL")
            row = {
                "number": count,
                "study_id": key.number,
                "state": "RUNNING",
                "datetime_start": _now(),
            }
            made = inserted(connection, TRIALS.insert().values(row))
            count += 1
            params += [
                {
                    "trial_id": made,
                    "param_name": name,
                    "param_value": float(index),
                    "distribution_json": distribution,
                }
                for name, (index, distribution) in trial.params.items()
            ]
            attributes.append({"trial_id": made, "key": KEY, "value_json": trial.document})
        if attributes:
            connection.execute(TRIAL_SYSTEM.insert(), attributes)
        if params:
            connection.execute(PARAMS.insert(), params)

    def finish(self, connection: sql.Connection, key: StudyKey, trial: EndedTrial) -> None:
        number = self._known(connection, key).get(trial.number, -1)
        if not self._end(connection, number, "FAIL" if trial.values is None else "COMPLETE"):
            self._forget(key)
            raise UnknownTrialError(trial.number)
        ours = [KEY, *(CONSTRAINT + name for name in trial.constraints)]
        connection.execute(VALUES.delete().where(VALUES.c.trial_id == number))
        for table, keys in ((TRIAL_USER, [KEY]), (TRIAL_SYSTEM, ours[1:])):
            if keys:
                is_ours = (table.c.trial_id == number, table.c.key.in_(keys))
                connection.execute(table.delete().where(*is_ours))
        document = {"trial_id": number, "key": KEY, "value_json": trial.document}
        connection.execute(TRIAL_USER.insert().values(document))
        limits = {CONSTRAINT + name: value for name, value in trial.constraints.items()}
        if limits:
            connection.execute(TRIAL_SYSTEM.insert(), _attributes("trial_id", number, limits))
        if trial.values:
            values = [_value(number, *value) for value in enumerate(trial.values)]
            connection.execute(VALUES.insert(), values)

    def finished(self, connection: sql.Connection, key: StudyKey) -> Sequence[Stored]:
        return self._documents(connection, key, TRIAL_USER)

    def half_ended(self, _connection: sql.Connection, _key: StudyKey) -> Sequence[Stored]:
        return ()  # a transaction is done or not

    def running(self, connection: sql.Connection, key: StudyKey) -> Sequence[Stored]:
        return self._documents(connection, key, TRIAL_SYSTEM, TRIALS.c.state == "RUNNING")

    def discard(
        self, connection: sql.Connection, key: StudyKey, is_sound: Callable[[Stored], bool]
    ) -> int:
        wrong: set[int] = set()
        for table in (TRIAL_USER, TRIAL_SYSTEM):
            query = (
                sql.select(TRIALS.c.trial_id, table.c.value_json)
                .join(TRIALS, TRIALS.c.trial_id == table.c.trial_id)
                .where(TRIALS.c.study_id == key.number, table.c.key == KEY)
            )
            rows = connection.execute(query).all()
            wrong.update(number for number, text in rows if not is_sound(str(text)))
        for number in sorted(wrong):
            for table in (TRIAL_USER, TRIAL_SYSTEM):
                ours = (table.c.trial_id == number, table.c.key == KEY)
                connection.execute(table.delete().where(*ours))
            self._end(connection, number, "FAIL")
        self._forget(key)
        return len(wrong)

    def foreign(self, connection: sql.Connection, key: StudyKey) -> int:
        mine = TRIALS.c.study_id == key.number
        every = connection.execute(sql.select(sql.func.count()).where(mine)).scalar_one()
        return int(every - len(self._documents(connection, key, TRIAL_SYSTEM)))

    def _documents(
        self, connection: sql.Connection, key: StudyKey, table: sql.Table, *more: Any
    ) -> Sequence[str]:
        query = (
            sql.select(table.c.value_json)
            .join(TRIALS, TRIALS.c.trial_id == table.c.trial_id)
            .where(TRIALS.c.study_id == key.number, table.c.key == KEY, *more)
            .order_by(TRIALS.c.trial_id)
        )
        return [str(text) for text in connection.execute(query).scalars()]

    def _known(self, connection: sql.Connection, key: StudyKey) -> dict[int, int]:
        """Optuna's key of each of our trials by its number; later ones of a number count. Only
        what has been committed is kept in mind."""
        known = self._numbers.setdefault(key, {})
        query = (
            sql.select(TRIALS.c.trial_id, TRIAL_SYSTEM.c.value_json)
            .join(TRIAL_SYSTEM, TRIALS.c.trial_id == TRIAL_SYSTEM.c.trial_id)
            .where(
                TRIALS.c.study_id == key.number,
                TRIALS.c.trial_id > self._newest.get(key, 0),
                TRIAL_SYSTEM.c.key == KEY,
            )
            .order_by(TRIALS.c.trial_id)
        )
        for number, text in connection.execute(query):
            if (proposal := number_of(text)) is not None:
                known[proposal] = self._newest[key] = number
        return known

    def _is_running_so(self, connection: sql.Connection, number: int, trial: NewTrial) -> bool:
        query = (
            sql.select(sql.cast(TRIALS.c.state, sql.String), TRIAL_SYSTEM.c.value_json)
            .join(TRIAL_SYSTEM, TRIALS.c.trial_id == TRIAL_SYSTEM.c.trial_id)
            .where(TRIALS.c.trial_id == number, TRIAL_SYSTEM.c.key == KEY)
        )
        return connection.execute(query).one_or_none() == ("RUNNING", trial.document)

    def _end(self, connection: sql.Connection, number: int, state: str) -> bool:
        row = TRIALS.update().where(TRIALS.c.trial_id == number)
        ended = connection.execute(row.values(state=state, datetime_complete=_now()))
        return bool(ended.rowcount)

    def _forget(self, key: StudyKey) -> None:
        self._numbers.pop(key, None)
        self._newest.pop(key, None)


def inserted(connection: sql.Connection, insert: sql.Insert) -> int:
    """Number of the row that an insertion makes."""
    key = connection.execute(insert).inserted_primary_key
    assert key is not None
    return int(key[0])


def number_of(stored: Any) -> int | None:
    """The number in a proposal's document; ``None`` where it has none."""
    try:
        document = json.loads(stored) if isinstance(stored, str) else stored
        number = document["number"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return number if type(number) is int else None


def _shown(study: NewStudy) -> dict[sql.Table, Mapping[str, Any]]:
    """Attributes of a study by the table that they stand in."""
    return {STUDY_SYSTEM: study.system, STUDY_USER: study.user}


def _attributes(owner: str, number: int, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {owner: number, "key": key, "value_json": json.dumps(value)}
        for key, value in values.items()
    ]


def _value(trial: int, objective: int, value: float) -> dict[str, Any]:
    kind = ("INF_POS" if value > 0 else "INF_NEG") if isinf(value) else "FINITE"
    return {
        "trial_id": trial,
        "objective": objective,
        "value": None if isinf(value) else value,
        "value_type": kind,
    }


def _now() -> datetime:
    """As Optuna keeps it: of the world's clock, without saying so."""
    return datetime.now(UTC).replace(tzinfo=None)
