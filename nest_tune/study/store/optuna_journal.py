"""Optuna's studies in its journal file: lines of its operations, read without their decisions.

Our drivers exclude one another by the lock of the file beside it. Optuna's own writers hold another
one, which a process that is killed leaves behind: it is taken only to cut off an unfinished line,
for each of our additions is one write to the end of the file, which no other can divide.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import OperationalError

from compiler_core.errors import StorageLostError
from compiler_core.files.whole_file import write_atomically
from nest_tune.study.store.optuna_database import CONSTRAINT, number_of
from nest_tune.study.store.optuna_lines import (
    Operation,
    add_whole,
    has_unfinished,
    moved_lines,
)
from nest_tune.study.store.optuna_side import (
    EndedTrial,
    NameTakenError,
    NewStudy,
    NewTrial,
    Stored,
    StudyKey,
    UnknownTrialError,
)
from nest_tune.study.store.optuna_tables import STATES
from nest_tune.study.store.trial_document import KEY

_RUNNING, _COMPLETE, _FAIL = (STATES.index(name) for name in ("RUNNING", "COMPLETE", "FAIL"))
_DIRECTIONS = {"minimize": 1, "maximize": 2}


_TRIAL_ATTRIBUTES = {
    "user": Operation.SET_TRIAL_USER_ATTR,
    "system": Operation.SET_TRIAL_SYSTEM_ATTR,
}


@dataclass
class _Trial:
    state: int
    proposal: Any = None
    document: Any = None


@dataclass
class _Study:
    name: str
    system: dict[str, Any] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)
    trials: list[int] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)

    @property
    def mark(self) -> Any:
        return self.system.get(KEY, self.user.get(KEY))


class OptunaJournal:
    """See :class:`~nest_tune.study.store.optuna_side.OptunaSide`.

    Args:
        path: Of the journal.

    Attributes:
        damaged: Numbers of lines that are none; Optuna itself stops at the first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._worker = f"{uuid.uuid4()}-0"
        self._identity: tuple[int, int] | None = None
        self._moved: dict[StudyKey, int] = {}
        self._forget()

    def _forget(self) -> None:
        self._end = self._lines = self._next_study = 0
        self._studies: dict[int, _Study] = {}
        self._trials: list[_Trial] = []
        self.damaged: list[int] = []

    def create(self, _connection: sql.Connection, study: NewStudy) -> int:
        for number, old in self._read().items():
            if old.name == study.name:
                if old.mark == study.mark:
                    return number
                raise NameTakenError(study.name)
        number = self._next_study
        directions = [_DIRECTIONS[name] for name in study.directions]
        made = self._line(Operation.CREATE_STUDY, study_name=study.name, directions=directions)
        self._append([made, *self._attributes(number, _Study(study.name), study)])
        return number

    def claim(self, _connection: sql.Connection, key: StudyKey, study: NewStudy) -> None:
        number, there = self._study(key)
        if lines := self._attributes(number, there, study):
            self._append(lines)

    def _attributes(self, number: int, there: _Study, study: NewStudy) -> list[dict[str, Any]]:
        """Lines of the attributes that a study has otherwise, or not."""
        return [
            self._of_study(number, kind, name, value)
            for kind, known, wanted in (
                ("system", there.system, study.system),
                ("user", there.user, study.user),
            )
            for name, value in wanted.items()
            if known.get(name) != value
        ]

    def present(self, _connection: sql.Connection) -> Mapping[StudyKey, str]:
        return {
            StudyKey(number, study.mark): study.name
            for number, study in self._read().items()
            if isinstance(study.mark, str)
        }

    def all_names(self, _connection: sql.Connection) -> Sequence[str]:
        return [study.name for study in self._read().values()]

    def holds(self, _connection: sql.Connection, key: StudyKey) -> bool:
        return self._number(key) is not None

    def has_trials(self, _connection: sql.Connection, name: str) -> bool:
        return any(s.name == name and s.numbers for s in self._read().values())

    def _number(self, key: StudyKey) -> int | None:
        """Number of a study by now: one that was renamed here has another one."""
        studies = self._read()
        for number in (self._moved.get(key, key.number), key.number):
            if number in studies and studies[number].mark == key.mark:
                return number
        return None

    def _study(self, key: StudyKey) -> tuple[int, _Study]:
        number = self._number(key)
        if number is None:
            raise KeyError(key)
        return number, self._studies[number]

    def delete(self, _connection: sql.Connection, key: StudyKey) -> None:
        if (number := self._number(key)) is not None:
            self._append([self._line(Operation.DELETE_STUDY, study_id=number)])

    def rename(
        self, _connection: sql.Connection, key: StudyKey, study: NewStudy, over: StudyKey | None
    ) -> int:
        number, own = self._study(key)
        if own.name == study.name:
            return number  # the first attempt had been committed
        old = [n for n, other in self._studies.items() if other.name == study.name]
        if any(over is None or self._studies[n].mark != over.mark for n in old):
            raise NameTakenError(study.name)
        fresh = self._next_study
        trials = {trial: len(self._trials) + at for at, trial in enumerate(own.trials)}
        directions = [_DIRECTIONS[name] for name in study.directions]
        made = self._line(Operation.CREATE_STUDY, study_name=study.name, directions=directions)
        deleted = [self._line(Operation.DELETE_STUDY, study_id=n) for n in (*old, number)]
        lines = moved_lines(self._path, {number: fresh}, trials)
        self._moved[key] = fresh
        self._append([*deleted, made, *({**line, "worker_id": self._worker} for line in lines)])
        return fresh

    def propose(
        self, _connection: sql.Connection, key: StudyKey, trials: Sequence[NewTrial]
    ) -> None:
        study_number, study = self._study(key)
        lines = []
        for trial in trials:
            document = json.loads(trial.document)
            if (old := study.numbers.get(trial.number)) is not None:
                if (self._trials[old].state, self._trials[old].proposal) == (_RUNNING, document):
                    continue
                lines.append(self._ended(old, _FAIL, None))
            lines.append(
                self._line(
                    Operation.CREATE_TRIAL,
                    study_id=study_number,
                    datetime_start=_now(),
                    state=_RUNNING,
                    value=None,
                    values=None,
                    distributions={name: text for name, (_, text) in trial.params.items()},
                    params={name: float(index) for name, (index, _) in trial.params.items()},
                    user_attrs={},
                    system_attrs={KEY: document},
                    intermediate_values={},
                )
            )
        if lines:
            self._append(lines)

    def finish(self, _connection: sql.Connection, key: StudyKey, trial: EndedTrial) -> None:
        number = self._study(key)[1].numbers.get(trial.number)
        if number is None:
            raise UnknownTrialError(trial.number)
        limits = {CONSTRAINT + name: value for name, value in trial.constraints.items()}
        state = _FAIL if trial.values is None else _COMPLETE
        self._append(
            [
                self._line(
                    Operation.SET_TRIAL_USER_ATTR,
                    trial_id=number,
                    user_attr={KEY: json.loads(trial.document)},
                ),
                *(
                    self._line(
                        Operation.SET_TRIAL_SYSTEM_ATTR, trial_id=number, system_attr={name: value}
                    )
                    for name, value in limits.items()
                ),
                self._ended(number, state, trial.values),
            ]
        )

    def finished(self, _connection: sql.Connection, key: StudyKey) -> Sequence[Stored]:
        trials = (self._trials[number] for number in self._study(key)[1].trials)
        return [trial.document for trial in trials if trial.document is not None]

    def half_ended(self, _connection: sql.Connection, key: StudyKey) -> Sequence[Stored]:
        trials = (self._trials[number] for number in self._study(key)[1].trials)
        return [t.document for t in trials if t.state == _RUNNING and t.document is not None]

    def running(self, _connection: sql.Connection, key: StudyKey) -> Sequence[Stored]:
        trials = (self._trials[number] for number in self._study(key)[1].trials)
        return [
            trial.proposal
            for trial in trials
            if trial.state == _RUNNING and trial.document is None and trial.proposal is not None
        ]

    def discard(
        self, _connection: sql.Connection, key: StudyKey, is_sound: Callable[[Stored], bool]
    ) -> int:
        _, study = self._study(key)
        wrong = [
            number
            for number in study.trials
            if not all(
                document is None or is_sound(document)
                for document in (self._trials[number].proposal, self._trials[number].document)
            )
        ]
        lines = []
        for number in wrong:
            for kind, operation in _TRIAL_ATTRIBUTES.items():
                nothing = {f"{kind}_attr": {KEY: None}}
                lines.append(self._line(operation, trial_id=number, **nothing))
            lines.append(self._ended(number, _FAIL, None))
        if lines:
            self._append(lines)
        return len(wrong)

    def foreign(self, _connection: sql.Connection, key: StudyKey) -> int:
        trials = (self._trials[number] for number in self._study(key)[1].trials)
        return sum(trial.proposal is None for trial in trials)

    def drop_damaged(self) -> None:
        """Writes the file anew without lines that are none; Optuna itself can read it then."""
        from optuna.storages.journal import JournalFileSymlinkLock

        self._read()
        lock = JournalFileSymlinkLock(str(self._path))
        lock.acquire()
        try:
            lines = self._path.read_bytes().splitlines(keepends=True)
            kept = [line for number, line in enumerate(lines, 1) if number not in self.damaged]
            write_atomically(self._path, lambda stream: stream.write(b"".join(kept)))
        finally:
            lock.release()
        self._identity = None
        self._forget()

    # Lines.

    def _line(self, operation: Operation, **fields: Any) -> dict[str, Any]:
        return {"op_code": int(operation), "worker_id": self._worker, **fields}

    def _of_study(self, number: int, kind: str, name: str, value: Any) -> dict[str, Any]:
        operation = {
            "user": Operation.SET_STUDY_USER_ATTR,
            "system": Operation.SET_STUDY_SYSTEM_ATTR,
        }[kind]
        return self._line(operation, study_id=number, **{f"{kind}_attr": {name: value}})

    def _ended(self, number: int, state: int, values: Sequence[float] | None) -> dict[str, Any]:
        return self._line(
            Operation.SET_TRIAL_STATE_VALUES,
            trial_id=number,
            state=state,
            values=None if values is None else list(values),
            datetime_complete=_now(),
        )

    def _append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        try:
            self._cut_unfinished()
            add_whole(self._path, text.encode())
        except OSError as error:
            raise OperationalError("write", None, error) from error

    def _cut_unfinished(self) -> None:
        """Removes a line without end, of a process that died while it wrote."""
        from optuna.storages.journal import JournalFileSymlinkLock

        if not has_unfinished(self._path):
            return
        lock = JournalFileSymlinkLock(str(self._path))
        lock.acquire()
        try:
            if has_unfinished(self._path):  # not of one that was writing still
                text = self._path.read_bytes()
                os.truncate(self._path, text.rfind(b"\n") + 1)
        finally:
            lock.release()

    def _read(self) -> dict[int, _Study]:
        """Does what has been added since."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if self._identity not in (None, identity):
                    raise self._lost("has been replaced by another one")
                self._identity = identity
                if status.st_size < self._end:  # an unfinished line was cut off
                    self._forget()
                file.seek(self._end)
                text = file.read()
        except FileNotFoundError:
            if self._identity is not None:
                raise self._lost("is gone") from None
            return self._studies
        except OSError as error:
            raise OperationalError("read", None, error) from error
        whole = text[: text.rfind(b"\n") + 1]
        for line in whole.splitlines():
            self._lines += 1
            try:
                self._replay(json.loads(line))
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
                self.damaged.append(self._lines)
        self._end += len(whole)
        return self._studies

    def _lost(self, what: str) -> StorageLostError:
        return StorageLostError(
            f"storage journal {self._path}: the file {what}",
            hint="bring it back from a copy, or begin again elsewhere",
        )

    def _replay(self, line: Mapping[str, Any]) -> None:
        operation = line["op_code"]
        if operation == Operation.CREATE_STUDY:
            name = str(line["study_name"])
            if all(study.name != name for study in self._studies.values()):
                self._studies[self._next_study] = _Study(name)
                self._next_study += 1
        elif operation == Operation.DELETE_STUDY:
            self._studies.pop(line["study_id"], None)
        elif operation == Operation.SET_STUDY_SYSTEM_ATTR:
            if (study := self._studies.get(line["study_id"])) is not None:
                study.system.update(line["system_attr"])
        elif operation == Operation.SET_STUDY_USER_ATTR:
            if (study := self._studies.get(line["study_id"])) is not None:
                study.user.update(line["user_attr"])
        elif operation == Operation.CREATE_TRIAL:
            self._create(line)
        elif operation == Operation.SET_TRIAL_STATE_VALUES:
            trial = self._trial(line)
            if trial.state in (_RUNNING, STATES.index("WAITING")):
                trial.state = int(line["state"])
        elif operation == Operation.SET_TRIAL_USER_ATTR and KEY in line["user_attr"]:
            self._trial(line).document = line["user_attr"][KEY]
        elif operation == Operation.SET_TRIAL_SYSTEM_ATTR and KEY in line["system_attr"]:
            self._trial(line).proposal = line["system_attr"][KEY]

    def _trial(self, line: Mapping[str, Any]) -> _Trial:
        number = line["trial_id"]
        if type(number) is not int or number < 0:
            raise ValueError("no number of a trial")
        return self._trials[number]

    def _create(self, line: Mapping[str, Any]) -> None:
        study = self._studies.get(line["study_id"])
        if study is None:
            return
        proposal = line.get("system_attrs", {}).get(KEY)
        document = line.get("user_attrs", {}).get(KEY)
        number = len(self._trials)
        self._trials.append(_Trial(int(line.get("state", _RUNNING)), proposal, document))
        study.trials.append(number)
        if (proposed := number_of(proposal)) is not None:
            study.numbers[proposed] = number


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
