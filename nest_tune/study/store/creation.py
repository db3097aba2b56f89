"""New studies, and those that are taken up again: what is taken down at their start, so that a
resume can tell what has changed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from compiler_core.configuration.runtime import RUNTIME
from compiler_core.errors import InputError
from compiler_core.files.plain import to_plain
from compiler_core.quantize.scheme import scheme_document
from compiler_core.targets.unit_tasks import task_units
from compiler_core.tensor.digest import digest
from nest_tune.named import require_files
from nest_tune.records.database import RecordDatabase, tally_of
from nest_tune.records.record import machine_digest
from nest_tune.runners.runner import RUNNERS
from nest_tune.samplers.registry import SAMPLERS, sampler_of_tasks
from nest_tune.study.proposals.making import require_sampler
from nest_tune.study.request.settings import settings_document
from nest_tune.study.request.study_file import file_document
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.marks import marks_of
from nest_tune.study.store.naming import named
from nest_tune.study.store.networks import helped_operators
from nest_tune.study.store.result import load_result
from nest_tune.study.store.resume import (
    check_file,
    check_unchanged,
    resumed_settings,
    stored_settings,
)
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import BESIDE, StoredStudy
from nest_tune.study_command import study_command
from nest_tune.user_modules import working_folder


def create_study(
    storage: StudyStorage, ground: Ground, if_exists: str, *, numbered: bool = False
) -> StoredStudy:
    """A new study, or the one of that name. One that replaces another does so with its first trial;
    what is asked otherwise of one that goes on is stored once it does.

    Args:
        storage: Where.
        ground: What it stands on.
        if_exists: ``fail``, ``resume`` or ``replace``.
        numbered: Whether the name was made here, so that another number does as well where somebody
            else was faster.

    Raises:
        InputError: The name is taken, or the study that has it is another one or is running.
    """
    found = storage.get(ground.settings.name)
    if found is not None and if_exists != "fail" and found.is_running:
        raise InputError(
            f"study {found.name!r} is running in process {found.owner}",
            hint=study_command("stop", found.name),
        )
    require_sampler(ground.problem)
    if found is not None and if_exists == "replace":
        return storage.create_beside(found, _document(storage, ground))
    if found is None or if_exists == "fail":
        return _created(storage, ground, again=_RETRIES if numbered else 0)
    check_unchanged(found, ground)
    found = storage.own(found)
    _check_records(storage, ground, found)
    before = stored_settings(found)
    settings = replace(
        ground.settings,
        pick=ground.settings.pick or before.pick,
        output=ground.settings.output or before.output,
    )
    asked = {"settings": settings_document(settings), "folder": working_folder()}
    return replace(found, document={**found.document, **asked})


_RETRIES = 32


def _created(storage: StudyStorage, ground: Ground, *, again: int) -> StoredStudy:
    try:
        return storage.create(ground.settings.name, _document(storage, ground))
    except InputError:
        if not again or storage.get(ground.settings.name) is None:
            raise
    settings = named(storage, replace(ground.settings, name=""), "fail")
    return _created(storage, replace(ground, settings=settings), again=again - 1)


def take_up(
    storage: StudyStorage,
    name: str,
    *,
    progress: Callable[[str], None] = lambda _: None,
    **asked: Any,
) -> tuple[StoredStudy, Ground]:
    """A study that goes on, and what it stands on, checked to be what it was.

    Args:
        storage: Where it is.
        name: Of the study.
        progress: Told what is being done.
        asked: As for :func:`~nest_tune.study.store.resume.resumed_settings`: budgets, workers, and
            files by their kind where they lie elsewhere by now.

    Raises:
        InputError: There is none of that name, it is running, or a file or an argument has changed
            what a trial is.
    """
    study = storage.find(name)
    if name.endswith(BESIDE):
        old = name.removesuffix(BESIDE)
        raise InputError(
            f"study {name!r} was to replace {old!r} and ended before its first trial",
            hint=f"nest-tune study start --name {old} --if-exists replace, as before",
        )
    check_file(study)
    settings = resumed_settings(study, storage.url, **asked)
    progress(f"importing {settings.model}")
    require_files(replace(load_result(storage, study), settings=settings))
    ground = survey_ground(settings, study)
    return create_study(storage, ground, "resume"), ground


def _document(storage: StudyStorage, ground: Ground) -> dict[str, Any]:
    file = ground.settings.file
    records = _records_at_start(storage, ground)
    return {
        "settings": settings_document(ground.settings),
        "folder": working_folder(),
        "marks": list(marks_of(ground.settings, ground.problem)),
        "digests": dict(ground.digests),
        "records": records,
        "transfers": _transfers(storage, ground, records["newest"]),
        "file": None if file is None else file_document(Path(file)),
        "default_scheme": scheme_document(ground.default),
        "guesses": {
            part.name: [list(point) for point in part.guesses()] for part in ground.space.parts
        },
        **({} if ground.formats is None else {"formats": to_plain(ground.formats)}),
        **({} if ground.runtime is None else {RUNTIME: to_plain(ground.runtime)}),
        "parameters": [(p.name, to_plain(p.values)) for p in ground.space.parameters],
    }


def _transfers(storage: StudyStorage, ground: Ground, newest: int) -> dict[str, list[str]]:
    """Operators, by unit, whose tasks profit from what other networks' records teach."""
    s = ground.settings
    if not s.tiling or ground.are_sources or not SAMPLERS.get(sampler_of_tasks(s.sampler)).learns:
        return {}
    model = ground.digests["model"]
    return helped_operators(storage, ground.target, model, newest)


def _check_records(storage: StudyStorage, ground: Ground, study: StoredStudy) -> None:
    """Refuses to go on where the records that a study was started with are no longer there.

    Raises:
        InputError: Their digest is another one by now.
    """
    stored = study.fixed("records")
    if not ground.settings.tiling or not stored["newest"] or not stored.get("digest"):
        return
    found = _records_until(storage, ground, stored["newest"])
    if found["digest"] != stored.get("digest"):
        raise InputError(
            f"study {study.name!r} was started with {stored['count']} measured schedules in the "
            f"database; they have changed since, or are gone: {found['count']} are there, digest "
            f"{str(stored.get('digest'))[:16]} -> {found['digest'][:16]}",
            hint="restore the database, or start it under another --name",
        )


def _records_at_start(storage: StudyStorage, ground: Ground) -> dict[str, Any]:
    """What the measurement database holds now: enough to see the same again later. A replay begins
    as if it held nothing: records stand for measurements and teach only when they are made."""
    if ground.task_target is None:  # measurements of sources are results of calls
        return {"newest": 0, "digest": "", "count": 0}
    newest = 0
    if RUNNERS.get(ground.settings.runner).computes:
        with closing(RecordDatabase(storage.url)) as database:
            newest = database.newest()
    return _records_until(storage, ground, newest)


def _records_until(storage: StudyStorage, ground: Ground, newest: int) -> dict[str, Any]:
    """Number and digest of the records of a target's units, as they were at a moment."""
    target = ground.task_target or ground.target
    with closing(RecordDatabase(storage.url)) as database:
        tallies = [
            database.read(tally_of, target=machine_digest(unit.machine), until=newest)
            for unit in task_units(target)
        ]
    digests = [tally.digest for tally in tallies]
    count = sum(tally.records for tally in tallies)
    found = digests[0] if len(digests) == 1 else digest(digests, 64)
    return {"newest": newest, "digest": found, "count": count}
