"""Storage of studies: one row per outer trial, written when it ends.

The database is also that of the measurements. SQLite is used in WAL mode, so that a killed process
loses at most what it had not committed; other databases go through SQLAlchemy as they are. What
several writers share (requests to stop, the running process) is a column of the study's row.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.files.plain import to_plain
from nest_tune.records.connection import Connection
from nest_tune.records.database import missing_driver
from nest_tune.records.storage_url import HINT, StorageUrl
from nest_tune.study.store.stored_document import (
    check_point,
    damaged,
    read_json,
    read_study_document,
)
from nest_tune.study.store.stored_study import Request, Status, StoredStudy
from nest_tune.study.trial import Outcome, OuterTrial

T = TypeVar("T")
SCHEMA_VERSION = 1

_TABLES = sql.MetaData()
_VERSION = sql.Table("study_schema", _TABLES, sql.Column("version", sql.Integer, primary_key=True))
_STUDIES = sql.Table(
    "study",
    _TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("name", sql.String(200), unique=True, nullable=False),
    sql.Column("created_s", sql.Float, nullable=False),
    sql.Column("status", sql.String(20), nullable=False),
    sql.Column("request", sql.String(20), nullable=False, default=""),
    sql.Column("owner", sql.String(200), nullable=False, default=""),
    sql.Column("beat_s", sql.Float, nullable=False, default=0.0),
    sql.Column("document", sql.Text, nullable=False),
)
_TRIALS = sql.Table(
    "study_trial",
    _TABLES,
    sql.Column("study", sql.ForeignKey("study.id", ondelete="CASCADE"), primary_key=True),
    sql.Column("number", sql.Integer, primary_key=True),
    sql.Column("outcome", sql.String(20), nullable=False),
    sql.Column("document", sql.Text, nullable=False),
)
_TASKS = sql.Table(
    "study_task",
    _TABLES,
    sql.Column("study", sql.ForeignKey("study.id", ondelete="CASCADE"), primary_key=True),
    sql.Column("task", sql.String(100), primary_key=True),
    sql.Column("document", sql.Text, nullable=False),
)
_RESULTS = sql.Table(
    "study_result",
    _TABLES,
    sql.Column("key", sql.String(64), primary_key=True),
    sql.Column("document", sql.Text, nullable=False),
)


class StudyStorage:
    """Studies in one database.

    Args:
        url: As SQLAlchemy reads it; secrets are never shown.
        create: Whether a database file may be made.

    Raises:
        InputError: The URL cannot be read, there is no such file, or what is there is of a newer
            version or no database.
        MissingDependencyError: Its driver is not installed, or it does not answer.
        ResourceError: Its disk is full.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        try:
            self.connection = Connection(url)
        except sql.exc.NoSuchModuleError as error:
            raise InputError(
                f"storage {url.partition(':')[0]}: {error}", hint="sqlite:///nest-tune.db"
            ) from error
        except sql.exc.ArgumentError as error:
            raise InputError("storage: not a database URL", hint=HINT) from error
        except ModuleNotFoundError as error:
            raise missing_driver(StorageUrl(url), error) from error
        self.url = self.connection.url
        self.shown = self.connection.shown
        file = self.connection.file
        if not create and file is not None and not file.is_file():
            raise InputError(
                f"storage {self.shown}: there is no file {file}",
                hint="nest-tune study start makes it; or give --storage",
            )
        if create and file is not None:
            with suppress(OSError):  # what is wrong then, opening the file says
                file.absolute().parent.mkdir(exist_ok=True)
        self._make_tables()

    def _make_tables(self) -> None:
        def work(connection: sql.Connection) -> int | None:
            _TABLES.create_all(connection)
            found: int | None = connection.execute(sql.select(_VERSION.c.version)).scalar()
            if found is None:
                connection.execute(_VERSION.insert().values(version=SCHEMA_VERSION))
            return found

        version = self._run(work, self.connection.make_tables)
        if version is not None and version > SCHEMA_VERSION:
            raise InputError(
                f"storage {self.shown}: studies of schema {version}; this nest-tune reads up "
                f"to {SCHEMA_VERSION}",
                hint="update nest-tune, or use another --storage",
            )

    def close(self) -> None:
        """Closes the connections."""
        self.connection.close()

    def _run(
        self,
        work: Callable[[sql.Connection], T],
        run: Callable[[Callable[[sql.Connection], T]], T] | None = None,
    ) -> T:
        """See :meth:`Connection.run <nest_tune.records.connection.Connection.run>`: what is done
        here stands being done twice."""
        return (run or self.connection.run)(work)

    def _execute(self, *statements: Any) -> None:
        self._run(lambda connection: [connection.execute(s) for s in statements])

    def _rows(self, query: sql.Select[Any]) -> Sequence[Any]:
        return self._run(lambda connection: connection.execute(query).all())

    # Studies.

    def create(self, name: str, document: Mapping[str, Any]) -> StoredStudy:
        """A new study.

        Raises:
            InputError: The name is taken.
        """
        values = {
            "name": name,
            "created_s": time.time(),
            "status": Status.NEW.value,
            "request": "",
            "owner": "",
            "beat_s": 0.0,
            "document": json.dumps(document),
        }
        try:
            self._execute(_STUDIES.insert().values(values))
        except IntegrityError as error:
            found = self.get(name)
            if found is not None and found.created_s == values["created_s"]:
                return found  # the first attempt had been committed
            raise InputError(
                f"study {name!r}: the name is taken in {self.shown}",
                hint=f"nest-tune study resume {name}, --if-exists replace, or another --name",
            ) from error
        return self.find(name)

    def studies(self) -> tuple[StoredStudy, ...]:
        """All studies, the oldest first."""
        return tuple(
            _study(row) for row in self._rows(sql.select(_STUDIES).order_by(_STUDIES.c.id))
        )

    def find(self, name: str) -> StoredStudy:
        """A study by name.

        Raises:
            InputError: There is none; names the nearest.
        """
        found = self.get(name)
        if found is None:
            names = [study.name for study in self.studies()]
            raise InputError(
                f"study {name!r}: not in {self.shown}; "
                + (f"it holds {', '.join(names[:10])}" if names else "it holds no study"),
                hint=did_you_mean(name, names) or "nest-tune study list",
            )
        return found

    def get(self, name: str) -> StoredStudy | None:
        """A study by name, ``None`` where there is none."""
        rows = self._rows(sql.select(_STUDIES).where(_STUDIES.c.name == name))
        return _study(rows[0]) if rows else None

    def delete(self, study: StoredStudy) -> None:
        """Removes a study with its trials; measurements stay."""
        self._execute(
            _TRIALS.delete().where(_TRIALS.c.study == study.key),
            _TASKS.delete().where(_TASKS.c.study == study.key),
            _STUDIES.delete().where(_STUDIES.c.id == study.key),
        )

    def update_document(self, study: StoredStudy, document: Mapping[str, Any]) -> None:
        """Replaces what was fixed at the start (budgets may grow)."""
        self._update(study, document=json.dumps(document))

    def take(self, study: StoredStudy) -> None:
        """Marks a study as run by this process.

        Raises:
            InputError: Another live process runs it.
        """
        owner = f"{socket.gethostname()}:{os.getpid()}"
        current = self.find(study.name)
        if current.is_running and current.owner != owner:
            raise InputError(
                f"study {study.name!r} is running in process {current.owner}",
                hint=f"nest-tune study stop {study.name}",
            )
        free = sql.and_(_STUDIES.c.id == study.key, _STUDIES.c.owner.in_([current.owner, owner]))
        values = {"status": "running", "owner": owner, "request": "", "beat_s": time.time()}
        taking = _STUDIES.update().where(free).values(values)
        if not self._run(lambda connection: connection.execute(taking).rowcount):
            raise InputError(f"study {study.name!r} has just been taken by another process")

    def release(self, study: StoredStudy, status: Status) -> None:
        """Ends this process's work on a study."""
        self._update(study, status=status.value, owner="", request="")

    def beat(self, study: StoredStudy) -> Request:
        """Shows that this process lives; what others ask of it."""

        def work(connection: sql.Connection) -> str | None:
            own = _STUDIES.c.id == study.key
            connection.execute(_STUDIES.update().where(own).values(beat_s=time.time()))
            return connection.execute(sql.select(_STUDIES.c.request).where(own)).scalar()

        return Request(self._run(work) or "")

    def ask(self, study: StoredStudy, request: Request) -> None:
        """Asks the process that runs a study for something."""
        self._update(study, request=request.value)

    def _update(self, study: StoredStudy, **values: Any) -> None:
        self._execute(_STUDIES.update().where(_STUDIES.c.id == study.key).values(values))

    # Trials.

    def add_trial(self, study: StoredStudy, trial: OuterTrial) -> None:
        """Stores a finished trial."""
        values = {
            "study": study.key,
            "number": trial.number,
            "outcome": trial.outcome.value,
            "document": json.dumps(to_plain(trial)),
        }
        try:
            self._execute(_TRIALS.insert().values(values))
        except IntegrityError:
            number = (_TRIALS.c.study == study.key, _TRIALS.c.number == trial.number)
            rows = self._rows(sql.select(_TRIALS.c.document).where(*number))
            if [row.document for row in rows] != [values["document"]]:
                raise  # else the first attempt had been committed

    def trials(self, study: StoredStudy) -> tuple[OuterTrial, ...]:
        """All finished trials by number."""
        query = (
            sql.select(_TRIALS.c.document)
            .where(_TRIALS.c.study == study.key)
            .order_by(_TRIALS.c.number)
        )
        where = f"study {study.name!r}: a stored trial"
        trials = tuple(_trial(row.document, where) for row in self._rows(query))
        for trial in trials:
            check_point(trial.point, study.document, where)
        return trials

    # Tuned tasks and results of pure functions.

    def add_tasks(self, study: StoredStudy, tasks: Mapping[str, Any]) -> None:
        """Stores what the tuning of tasks gave, by task id."""
        rows = [
            {"study": study.key, "task": name, "document": json.dumps(document)}
            for name, document in tasks.items()
        ]
        if rows:
            theirs = (_TASKS.c.study == study.key, _TASKS.c.task.in_(list(tasks)))
            self._execute(_TASKS.delete().where(*theirs), _TASKS.insert().values(rows))

    def tasks(self, study: StoredStudy) -> dict[str, Any]:
        """What :meth:`add_tasks` stored."""
        query = sql.select(_TASKS.c.task, _TASKS.c.document).where(_TASKS.c.study == study.key)
        where = f"study {study.name!r}: a tuned task"
        return {row.task: read_json(row.document, where) for row in self._rows(query)}

    def add_result(self, key: str, value: Any) -> None:
        """Stores what a pure function of the digest ``key`` gave."""
        document = json.dumps(value)
        try:
            self._execute(_RESULTS.insert().values(key=key, document=document))
        except IntegrityError:  # another study was faster, with the same result
            return

    def results(self, keys: Sequence[str]) -> dict[str, Any]:
        """Stored results by key."""
        query = sql.select(_RESULTS).where(_RESULTS.c.key.in_(keys))
        return {row.key: read_json(row.document, "a stored result") for row in self._rows(query)}


def _study(row: Any) -> StoredStudy:
    where = f"study {row.name!r}"
    document = read_study_document(row.document, where)
    known = {status.value: status for status in Status}
    numbers = (row.created_s, row.beat_s)
    if (
        row.status not in known
        or not all(isinstance(text, str) for text in (row.name, row.owner))
        or not all(isinstance(number, int | float) for number in numbers)
    ):
        raise damaged(where)
    return StoredStudy(
        row.id, row.name, row.created_s, known[row.status], row.owner, row.beat_s, document
    )


def _trial(text: str, where: str) -> OuterTrial:
    values = read_json(text, where)
    try:
        values["point"] = tuple(values["point"])
        values["outcome"] = Outcome(values["outcome"])
        trial = OuterTrial(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(where) from error
    if not isinstance(trial.metrics, dict):
        raise damaged(where)
    numbers = (trial.number, *trial.point, trial.accuracy_samples, trial.bound_ms, trial.wall_s)
    texts = (trial.hits, trial.message, trial.schedules, trial.scheme, trial.log)
    if (
        not all(isinstance(number, int | float) for number in (*numbers, *trial.metrics.values()))
        or not all(isinstance(part, str) for part in texts)
        or not all(type(index) is int for index in (trial.number, *trial.point))
        or not isinstance(trial.subset_accuracy, int | float | None)
        or not isinstance(trial.attributes, dict)
    ):
        raise damaged(where)
    return trial
