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
from nest_tune.study.store.copies import Described, described
from nest_tune.study.store.opened import OpenedStorage
from nest_tune.study.store.optuna_side import NameTakenError, NewStudy, StudyKey
from nest_tune.study.store.our_rows import (
    copy_rows,
    drop_rows,
    insert_row,
    read_row,
    started_as,
)
from nest_tune.study.store.stored_study import BESIDE, Request, Status, StoredStudy
from nest_tune.study.store.tables import RUNS, STUDIES, digest_of
from nest_tune.study_command import study_command

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
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
            insert_row(connection, mark, number, created_s, text)

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
        for found in self.run(self._described):
            try:
                sound.append(read_row(found))
            except InputError as error:
                wrong[found.name] = error
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
        if name in self.run(self.optuna.all_names):
            raise self._unmarked(name)
        sound, wrong = self.scan()
        names = sorted([*(study.name for study in sound), *wrong])
        for study in sound:
            if study.started_as == name and not study.name.endswith(BESIDE):
                raise InputError(
                    f"study {name!r}: renamed to {study.name!r} since it was started",
                    hint=study_command("show", study.name),
                )
        raise InputError(
            f"study {name!r}: not in {self.shown}; "
            + (f"it holds {', '.join(names[:10])}" if names else "it holds no study"),
            hint=did_you_mean(name, names) or self._hint_of_old(name) or "nest-tune study list",
        )

    def _unmarked(self, name: str) -> InputError:
        """What is wrong with a study of Optuna's that is not marked as ours."""

        def look(connection: sql.Connection) -> tuple[bool, list[str]]:
            marks = {key.mark for key in self.optuna.present(connection)}
            rows = connection.execute(self._query()).all()
            lost = [f"{row.mark} ({started_as(row)})" for row in rows if row.mark not in marks]
            return self.optuna.has_trials(connection, name), lost

        is_ours, lost = self.run(look)
        if not is_ours:
            return InputError(
                f"study {name!r}: not of nest-tune, but another one of Optuna",
                hint="optuna's own tools show it; give another name",
            )
        marks = f"marks without a study: {', '.join(lost)}" if lost else "no mark is left over"
        return InputError(
            f"study {name!r}: its trials are of nest-tune, but it was copied without the mark that "
            f"leads to its description; {marks}",
            hint=f"optuna.load_study(study_name={name!r}, storage=…)"
            '.set_user_attr("nest_tune", MARK) brings it back',
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
        every = self.run(self._described)
        return next((read_row(found) for found in every if found.name == name), None)

    def _described(self, connection: sql.Connection) -> list[Described]:
        rows = {row.mark: row for row in connection.execute(self._query())}
        return list(described(self.optuna.present(connection), rows))

    def own(self, study: StoredStudy) -> StoredStudy:
        """A study that is to run or to change, with the mark where Optuna's own tools keep it: a
        copy of another one gets a mark and a row of its own, what was renamed has its row."""
        mark, key = secrets.token_hex(16) if study.is_copy else study.mark, study_key(study)

        def work(connection: sql.Connection) -> None:
            if not self.optuna.holds(connection, key):
                return  # the first attempt had been committed, or another process was faster
            if study.is_copy:
                copy_rows(connection, study, mark)
            else:
                mine = STUDIES.update().where(STUDIES.c.id == study.key)
                mine = mine.where(STUDIES.c.number != study.number)
                connection.execute(mine.values(number=study.number))
            self.optuna.claim(connection, key, new_study(study.name, mark, study.document))

        self.run(work)
        return self.find(study.name)

    def delete(self, study: StoredStudy) -> None:
        """Removes a study with its trials; measurements stay.

        Raises:
            LostStudyError: Another process has taken it.
        """

        def work(connection: sql.Connection) -> None:
            if self.optuna.holds(connection, study_key(study)) and not study.is_copy:
                self._check_fence(connection, study)
            self.optuna.delete(connection, study_key(study))
            drop_rows(connection, self.optuna, study.mark)

        self.run(work)
        self._fences.pop(study.key, None)

    def drop(self, name: str) -> None:
        """Removes a study whose row is damaged or gone."""

        def work(connection: sql.Connection) -> None:
            for key, found in self.optuna.present(connection).items():
                if found == name:
                    self.optuna.delete(connection, key)
                    drop_rows(connection, self.optuna, key.mark)

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
                    hint=study_command("stop", study.name),
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
        if held and (renamed := self._renamed(connection, study)):
            raise StorageLostError(
                f"study {study.name!r} was renamed to {renamed!r} while it ran: that made another "
                "one of it",
                hint=study_command("resume", renamed),
            )
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
            hint=study_command("show", study.name),
        )

    def _renamed(self, connection: sql.Connection, study: StoredStudy) -> str | None:
        """By which name a study is found that is no longer there by its own."""
        present = self.optuna.present(connection).items()
        return next((name for key, name in present if key.mark == study.mark), None)

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
        row = connection.execute(query).one_or_none()
        return read_row(Described(study.name, study_key(study), row, False))

    def _query(self) -> sql.Select[Any]:
        both = STUDIES.join(RUNS, RUNS.c.study == STUDIES.c.id)
        return sql.select(STUDIES, RUNS, self._now().label("now_s")).select_from(both)

    def _now(self) -> Any:
        return self.connection.rules.now_s()


def study_key(study: StoredStudy) -> StudyKey:
    """How Optuna's side names a study."""
    return StudyKey(study.number, study.mark)


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
