"""Whether what is stored of studies is what was written, and letting go of what is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sql

from compiler_core.errors import InputError
from nest_tune.study.store.optuna_check import shown_otherwise
from nest_tune.study.store.optuna_database import number_of
from nest_tune.study.store.optuna_journal import OptunaJournal
from nest_tune.study.store.optuna_side import Stored
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_document import check_point
from nest_tune.study.store.stored_study import StoredStudy
from nest_tune.study.store.study_rows import study_key
from nest_tune.study.store.tables import RESULTS, TASKS, digest_of
from nest_tune.study.store.trial_document import read_sealed
from nest_tune.study.trial import Outcome
from nest_tune.study_command import study_command

_CHECK = "the database's own check"


@dataclass(frozen=True)
class Verified:
    """What a check found.

    Attributes:
        storage: Its name, without secrets.
        studies: Number of sound trials of each that could be read.
        damage: What is wrong, by study; the storage's own under an empty name.
        repaired: Whether all of it was let go of.
    """

    storage: str
    studies: Mapping[str, int]
    damage: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    repaired: bool = False


def verify_studies(storage: StudyStorage, name: str | None = None, *, repair: bool) -> Verified:
    """Checks every document of studies.

    Args:
        storage: Where they are.
        name: Of one study; all without.
        repair: Let go of damaged trials (they run again when the study is resumed), tuned tasks
            (they are tuned again from their records) and results. A study whose row is damaged can
            only be deleted.

    Raises:
        InputError: There is no study of that name, or one that is to be repaired is running.
    """
    sound, wrong = storage.scan()
    if name is not None and name not in wrong:
        sound = tuple(study for study in sound if study.name == name) or (storage.find(name),)
    damage: dict[str, tuple[str, ...]] = {
        other: (error.message,) for other, error in wrong.items() if name in (None, other)
    }
    whole = not damage
    counts = {}
    for study in sound if name not in damage else ():
        try:
            found, counts[study.name] = _check(storage, study)
            shown, other = _shown(storage, study)
        except InputError as error:  # the file itself is damaged there
            damage[study.name] = (error.message,)
            whole = False
            continue
        if found or shown:
            damage[study.name] = (*found, *shown)
        if (found or other) and repair:
            _repair(storage, study, other)
        whole = whole and bool(other) == bool(shown)
    own: list[str] = []
    can_be_read = True
    try:
        own += _storage_damage(storage, repair=repair)
    except InputError as error:
        own, can_be_read = [error.message], False
    if own:
        damage[""] = tuple(own)
        whole = whole and can_be_read and not any(text.startswith(_CHECK) for text in own)
    return Verified(storage.shown, counts, damage, repair and whole)


def _check(storage: StudyStorage, study: StoredStudy) -> tuple[list[str], int]:
    key, found, trials = study_key(study), [], 0
    ended = storage.run(lambda c: storage.optuna.finished(c, key))
    running = storage.run(lambda c: storage.optuna.running(c, key))
    for kind, documents in (("trial", ended), ("proposal", running)):
        wrong = sum(not _is_sound(document, study) for document in documents)
        if wrong:
            found.append(f"{wrong} of {len(documents)} {kind}s are damaged")
        if kind == "trial":
            trials = len(documents) - wrong
    tasks = storage.run(lambda c: c.execute(_tasks(study)).all())
    if wrong := sum(row.digest != digest_of(row.task, row.document) for row in tasks):
        found.append(f"{wrong} of {len(tasks)} tuned tasks are damaged")
    return found, trials


def _shown(storage: StudyStorage, study: StoredStudy) -> tuple[list[str], frozenset[int]]:
    """What is wrong with what Optuna shows, and the numbers of the trials that it is wrong with."""
    journal = storage.optuna if isinstance(storage.optuna, OptunaJournal) else None
    if journal is not None and journal.damaged:
        return [], frozenset()  # Optuna stops at such a line: that is told
    try:
        numbers = shown_otherwise(storage, study)
    except InputError as error:
        return [error.message], frozenset()
    told = ", ".join(map(str, sorted(numbers)[:10])) + (", …" if len(numbers) > 10 else "")
    return [f"Optuna shows what was never written of trials {told}"] if numbers else [], numbers


def _is_sound(document: Stored, study: StoredStudy) -> bool:
    try:
        values = read_sealed(document, "")
        check_point(values["point"], study.document, "")
        return "outcome" not in values or values["outcome"] in {o.value for o in Outcome}
    except (InputError, KeyError, TypeError):
        return False


def _repair(storage: StudyStorage, study: StoredStudy, other: frozenset[int]) -> None:
    if study.is_running:
        raise InputError(
            f"study {study.name!r} is running in process {study.owner}",
            hint=study_command("stop", study.name),
        )
    study = storage.own(study)
    key = study_key(study)

    def is_right(document: Stored) -> bool:
        return number_of(document) not in other and _is_sound(document, study)

    def work(connection: sql.Connection) -> None:
        storage.optuna.discard(connection, key, is_right)
        for row in connection.execute(_tasks(study)).all():
            if row.digest != digest_of(row.task, row.document):
                this = (TASKS.c.study == study.key, TASKS.c.task == row.task)
                connection.execute(TASKS.delete().where(*this))

    storage.write(study, work)


def _storage_damage(storage: StudyStorage, *, repair: bool) -> Iterator[str]:
    """What is wrong beside studies: of the file, of lines of a journal, of results."""
    for number, said in storage.connection.damaged.items():
        yield f"line {number} of {storage.connection.file}: {said}"
    if isinstance(storage.optuna, OptunaJournal):
        for number in storage.optuna.damaged:
            yield f"line {number} of {storage.connection.optuna_journal}: no operation of Optuna's"
    if storage.connection.dialect == "sqlite" and storage.connection.optuna_journal is None:
        told = storage.run(lambda c: c.exec_driver_sql("PRAGMA quick_check(3)").scalars().all())
        yield from (f"{_CHECK}: {text}" for text in told if text != "ok")
    bad = storage.run(_bad_results)
    if bad:
        yield f"{len(bad)} results are damaged; they are computed again when they are needed"
    if repair:
        storage.connection.drop_damaged()
    if repair and isinstance(storage.optuna, OptunaJournal) and storage.optuna.damaged:
        storage.optuna.drop_damaged()
    if bad and repair:
        storage.run(lambda c: c.execute(RESULTS.delete().where(RESULTS.c.key.in_(bad))))


def _bad_results(connection: sql.Connection) -> list[Any]:
    rows = connection.execute(sql.select(RESULTS))
    return [row.key for row in rows if row.digest != digest_of(row.key, row.document)]


def _tasks(study: StoredStudy) -> sql.Select[Any]:
    return sql.select(TASKS).where(TASKS.c.study == study.key)
