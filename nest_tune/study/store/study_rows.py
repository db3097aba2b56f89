"""The rows of studies: made, found, taken by one process at a time, asked to end.

Whoever runs a study holds its fence: a random token, and how often the study was taken. Every
write to a study checks in its own transaction that the fence is still the one that the writer
knows, so that a process that was believed dead, slept or lost its network changes nothing once
another one has taken over.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sql

from compiler_core.accuracy.metric import shown_name
from compiler_core.errors import InputError, NestTuneError, StorageLostError
from compiler_core.files.nearest import did_you_mean
from nest_tune.records.owner import this_process
from nest_tune.study.store.opened import OpenedStorage
from nest_tune.study.store.optuna_database import inserted
from nest_tune.study.store.optuna_side import NameTakenError, NewStudy, StudyKey
from nest_tune.study.store.stored_document import damaged, read_study_document
from nest_tune.study.store.stored_study import Request, Status, StoredStudy
from nest_tune.study.store.tables import RUNS, STUDIES, TASKS, digest_of

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_NOBODY = {
    "status": Status.NEW.value,
    "request": "",
    "token": "",
    "epoch": 0,
    "process": "",
    "beat_s": 0.0,
}
_WRITE_EVERY_S = 5.0
"""Signs of life are written; between them a beat only reads."""
_FACTS = ("model", "target", "sampler", "seed")
_DEFAULT_GOALS = [["latency_ms", "minimize"]]


class LostStudyError(NestTuneError):
    """Another process runs the study by now: this one must end."""


class StudyRows(OpenedStorage):
    """Studies of a storage."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        super().__init__(url, create=create)
        self._fences: dict[int, tuple[str, int]] = {}
        self._next_write: dict[int, float] = {}

    def create(
        self, name: str, document: Mapping[str, Any], *, created_s: float | None = None
    ) -> StoredStudy:
        """A new study.

        Args:
            name: Of it.
            document: What is fixed at its start.
            created_s: Seconds since 1970; now without.

        Raises:
            InputError: The name is taken.
        """
        mark, text = secrets.token_hex(16), json.dumps(document)
        created_s = time.time() if created_s is None else created_s
        study = new_study(name, mark, document)

        def work(connection: sql.Connection) -> None:
            number = self.optuna.create(connection, study)
            if connection.execute(sql.select(STUDIES.c.id).where(STUDIES.c.mark == mark)).first():
                return  # the first attempt had been committed
            values = {
                "mark": mark,
                "number": number,
                "created_s": created_s,
                "document": text,
                "digest": digest_of(mark, created_s, text),
            }
            key = inserted(connection, STUDIES.insert().values(values))
            connection.execute(RUNS.insert().values({"study": key, **_NOBODY}))

        try:
            self.run(work)
        except NameTakenError as error:
            raise InputError(
                f"study {name!r}: the name is taken in {self.shown}",
                hint=f"nest-tune study resume {name}, --if-exists replace, or another --name",
            ) from error
        return self.find(name)

    def scan(self) -> tuple[tuple[StoredStudy, ...], Mapping[str, InputError]]:
        """All studies that are sound, the oldest first, and what is wrong with the others, by
        name."""
        sound: list[StoredStudy] = []
        wrong: dict[str, InputError] = {}
        present, rows = self.run(self._all_rows)
        for key, name in present.items():
            try:
                sound.append(_study(rows.get(key.mark), name, key.number))
            except InputError as error:
                wrong[name] = error
        return tuple(sorted(sound, key=lambda study: study.key)), wrong

    def studies(self) -> tuple[StoredStudy, ...]:
        """All studies that are sound, the oldest first; others are named as a warning."""
        sound, wrong = self.scan()
        for error in wrong.values():
            _LOG.warning("%s", error.message)
        return sound

    def find(self, name: str) -> StoredStudy:
        """A study by name.

        Raises:
            InputError: There is none, which names the nearest; or it is damaged.
        """
        found = self.get(name)
        if found is not None:
            return found
        names = sorted(self.run(self._all_rows)[0].values())
        if name in self.run(self.optuna.all_names):
            raise InputError(
                f"study {name!r}: not of nest-tune, but another one of Optuna",
                hint="optuna's own tools show it; give another name",
            )
        raise InputError(
            f"study {name!r}: not in {self.shown}; "
            + (f"it holds {', '.join(names[:10])}" if names else "it holds no study"),
            hint=did_you_mean(name, names) or self._hint_of_old(name) or "nest-tune study list",
        )

    def _hint_of_old(self, name: str) -> str | None:
        """How to get a study out of tables of an older version, where there is one."""
        return f"nest-tune study import {self.shown}" if name in self.old_names() else None

    def old_names(self) -> tuple[str, ...]:
        """Names of studies in tables of an older version."""
        from nest_tune.study.store.old_tables import old_names

        return () if self.connection.optuna_journal is not None else self.run(old_names)

    def get(self, name: str) -> StoredStudy | None:
        """A study by name, ``None`` where there is none.

        Raises:
            InputError: It is damaged.
        """
        present, rows = self.run(self._all_rows)
        for key, found in present.items():
            if found == name:
                return _study(rows.get(key.mark), name, key.number)
        return None

    def _all_rows(
        self, connection: sql.Connection
    ) -> tuple[Mapping[StudyKey, str], Mapping[str, Any]]:
        rows = {row.mark: row for row in connection.execute(self._query())}
        return self.optuna.present(connection), rows

    def delete(self, study: StoredStudy) -> None:
        """Removes a study with its trials; measurements stay.

        Raises:
            LostStudyError: Another process has taken it.
        """

        def work(connection: sql.Connection) -> None:
            if self.optuna.holds(connection, study_key(study)):
                self._check_fence(connection, study)
            self.optuna.delete(connection, study_key(study))
            delete_rows(connection, study.key)

        self.run(work)
        self._fences.pop(study.key, None)

    def drop(self, name: str) -> None:
        """Removes a study whose row is damaged or gone."""

        def work(connection: sql.Connection) -> None:
            for key, found in self.optuna.present(connection).items():
                if found == name:
                    self.optuna.delete(connection, key)
                    mine = sql.select(STUDIES.c.id).where(STUDIES.c.mark == key.mark)
                    for number in connection.execute(mine).scalars().all():
                        delete_rows(connection, number)

        self.run(work)

    def update_document(self, study: StoredStudy, document: Mapping[str, Any]) -> None:
        """Replaces what was fixed at the start (budgets may grow).

        Raises:
            LostStudyError: Another process has taken it.
        """
        text = json.dumps(document)
        digest = digest_of(study.mark, study.created_s, text)
        changed = STUDIES.update().where(STUDIES.c.id == study.key)
        changed = changed.values(document=text, digest=digest)
        self.write(study, lambda connection: connection.execute(changed))

    def take(self, study: StoredStudy) -> None:
        """Marks a study as run by this process, whose writes go on from now on.

        Raises:
            InputError: Another live process runs it.
        """
        token, process = secrets.token_hex(16), this_process().text
        if self._fences.get(study.key) is not None:
            return

        def work(connection: sql.Connection) -> int:
            current = self._current(connection, study)
            if current.fence[0] == token:
                return current.fence[1]  # the first attempt had been committed
            if current.is_running:
                raise InputError(
                    f"study {study.name!r} is running in process {current.owner}",
                    hint=f"nest-tune study stop {study.name}",
                )
            epoch = current.fence[1] + 1
            values = {"token": token, "epoch": epoch, "process": process, "request": ""}
            taking = _update(study, **values, status=Status.RUNNING.value, beat_s=self._now())
            taking = taking.where(
                RUNS.c.token == current.fence[0], RUNS.c.epoch == current.fence[1]
            )
            if not connection.execute(taking).rowcount:
                raise InputError(f"study {study.name!r} has just been taken by another process")
            return epoch

        self._fences[study.key] = (token, self.run(work))

    def release(self, study: StoredStudy, status: Status) -> None:
        """Ends this process's work on a study.

        Raises:
            LostStudyError: Another process has taken it meanwhile.
        """
        end = {"status": status.value, "token": "", "process": "", "request": ""}
        try:
            self.write(study, lambda c: c.execute(_update(study, **end)))
        finally:
            self._fences.pop(study.key, None)

    def mark(self, study: StoredStudy, status: Status) -> None:
        """What a study that this process has released is said to have come to."""
        free = _update(study, status=status.value).where(RUNS.c.token == "")
        self.run(lambda connection: connection.execute(free))

    def beat(self, study: StoredStudy) -> Request:
        """Shows that this process lives; what others ask of it.

        Raises:
            LostStudyError: Another process has taken it.
            StorageLostError: It has been deleted.
        """

        fence = self._fences.get(study.key, study.fence)
        query = sql.select(RUNS.c.token, RUNS.c.epoch, RUNS.c.request)
        query = query.where(RUNS.c.study == study.key)

        def read(connection: sql.Connection) -> Any:
            row = connection.execute(query).one_or_none()
            return row if self.optuna.holds(connection, study_key(study)) else None

        is_early = time.monotonic() < self._next_write.get(study.key, 0.0)
        row = self.run(read) if is_early else None
        if row is None or (row.token, row.epoch) != fence:
            row = self.write(study, read)
        text = row.request
        known = {request.value for request in Request}
        return Request(text) if text in known else Request.NONE

    def ask(self, study: StoredStudy, request: Request) -> None:
        """Asks the process that runs a study for something."""
        asking = _update(study, request=request.value)
        self.run(lambda connection: connection.execute(asking))

    # The fence.

    def write(self, study: StoredStudy, work: Callable[[sql.Connection], T]) -> T:
        """Does ``work`` in a transaction in which this process still holds the study.

        Raises:
            LostStudyError: It does not.
            StorageLostError: The study has been deleted.
        """

        def fenced(connection: sql.Connection) -> T:
            self._check_fence(connection, study)
            return work(connection)

        return self.run(fenced)

    def _check_fence(self, connection: sql.Connection, study: StoredStudy) -> None:
        held = self._holds(connection, study)
        if held and self.optuna.holds(connection, study_key(study)):
            return
        query = sql.select(RUNS.c.process).where(RUNS.c.study == study.key)
        row = connection.execute(query).one_or_none()
        if held or row is None:
            raise StorageLostError(
                f"study {study.name!r} was deleted from {self.shown} while it ran",
                hint="start it again under its name, or under another one",
            )
        current = self._current(connection, study)
        by = f"process {current.owner}" if current.owner else "another process"
        raise LostStudyError(
            f"study {study.name!r} was taken over by {by}: this one had shown no sign of life, "
            "and nothing more of it is stored",
            hint=f"nest-tune study show {study.name}",
        )

    def _holds(self, connection: sql.Connection, study: StoredStudy) -> bool:
        token, epoch = self._fences.get(study.key, study.fence)
        is_known = (RUNS.c.study == study.key, RUNS.c.token == token, RUNS.c.epoch == epoch)
        is_taken = study.key in self._fences
        is_early = time.monotonic() < self._next_write.get(study.key, 0.0)
        if self.connection.optuna_journal is not None and is_early:
            # The file is this process's until the end of the transaction: no line is needed.
            return connection.execute(sql.select(RUNS.c.study).where(*is_known)).first() is not None
        # A write, so that the row stays this transaction's until its end.
        sign = {"beat_s": self._now()} if is_taken else {"epoch": epoch}
        held = connection.execute(RUNS.update().where(*is_known).values(sign)).rowcount
        if is_taken:
            self._next_write[study.key] = time.monotonic() + _WRITE_EVERY_S
        return bool(held)

    def _current(self, connection: sql.Connection, study: StoredStudy) -> StoredStudy:
        query = self._query().where(STUDIES.c.id == study.key)
        return _study(connection.execute(query).one_or_none(), study.name)

    def _query(self) -> sql.Select[Any]:
        both = STUDIES.join(RUNS, RUNS.c.study == STUDIES.c.id)
        return sql.select(STUDIES, RUNS, self._now().label("now_s")).select_from(both)

    def _now(self) -> Any:
        return self.connection.rules.now_s()


def study_key(study: StoredStudy) -> StudyKey:
    """How Optuna's side names a study."""
    return StudyKey(study.number, study.mark)


def delete_rows(connection: sql.Connection, key: int) -> None:
    """Removes what is ours of a study."""
    for table in (TASKS, RUNS):
        connection.execute(table.delete().where(table.c.study == key))
    connection.execute(STUDIES.delete().where(STUDIES.c.id == key))


def _update(study: StoredStudy, **values: Any) -> sql.Update:
    return RUNS.update().where(RUNS.c.study == study.key).values(values)


def new_study(name: str, mark: str, document: Mapping[str, Any]) -> NewStudy:
    """What Optuna's side is told of a study."""
    settings = document.get("settings") or {}
    goals = settings.get("objectives") or _DEFAULT_GOALS
    metric = settings.get("metric") or "accuracy"
    facts = {key: settings[key] for key in _FACTS if key in settings}
    names = [shown_name(name, metric) for name, _ in goals]
    return NewStudy(name, mark, [direction for _, direction in goals], names, facts)


def _study(row: Any, name: str, number: int | None = None) -> StoredStudy:
    where = f"study {name!r}"
    if row is None:
        raise damaged(f"{where}: its row")
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
    return StoredStudy(
        row.id,
        name,
        row.created_s,
        known[row.status],
        row.process,
        row.now_s - row.beat_s,
        read_study_document(row.document, where),
        row.mark,
        row.number if number is None else number,
        (row.token, row.epoch),
    )
