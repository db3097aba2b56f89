"""Running a study: its workers, its tuner, its engine, and what it holds when they have ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from compiler_core.compile.sources import read_samples
from compiler_core.errors import NestTuneError
from compiler_core.targets.unit_tasks import of_unit, task_units
from nest_tune.records.database import RecordDatabase
from nest_tune.records.record import machine_digest
from nest_tune.records.sharing import SharedRecords
from nest_tune.runners.environment import passed
from nest_tune.runners.runner import RUNNERS, RunnerOptions, Setup, make_runner
from nest_tune.samplers.registry import sampler_of_tasks
from nest_tune.stores.profile_store import stored_profile
from nest_tune.study.execution.worker_files import files_of, needs_of
from nest_tune.study.running.cached_calls import Calls
from nest_tune.study.running.closing import CLOSING, closing_document
from nest_tune.study.running.engine import Engine
from nest_tune.study.running.heart import signs_of_life
from nest_tune.study.running.moves import Moves
from nest_tune.study.running.observer import Budget, Observer
from nest_tune.study.store.dependencies import Ground
from nest_tune.study.store.ended import Ended, status_after
from nest_tune.study.store.result import StudyResult, load_result
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Status, StoredStudy
from nest_tune.study.tuning.from_records import RecordTuner, own_records
from nest_tune.study.tuning.seam import Tuner, Untuned, tuned_from_plain
from nest_tune.study.tuning.unit_tuners import UnitTuners
from nest_tune.tuning.measure import Measurer
from nest_tune.tuning.task_search import TaskSearch


def _gather_profile(ground: Ground) -> None:
    """Statistics of the calibration data, so that workers find them and none gathers its own."""
    settings, graph = ground.settings, ground.model.graph
    if settings.calibration is not None and RUNNERS.get(settings.runner).computes:
        stored_profile(graph, read_samples(Path(settings.calibration), graph))


NOTHING_KEPT = "nothing of the study is kept: it can be started again under its name"
"""Note on what ended a new study before its first trial."""


@contextmanager
def working(
    ground: Ground, storage: StudyStorage, study: StoredStudy, observer: Observer
) -> Iterator[Engine]:
    """An engine with its workers; both end with the block, however it is left. A new study that
    fails before its first trial is deleted, so that it can be started again under its name."""
    settings = ground.settings
    variables = passed(settings.pass_env, os.environ)
    storage.take(study)
    status = Status.STOPPED
    opened = ExitStack()
    opened.enter_context(signs_of_life(storage, study))
    try:
        subjects = ground.subjects
        _gather_profile(ground)
        payload = {**vars(subjects), "shapes": {k: list(v) for k, v in subjects.shapes.items()}}
        runner = make_runner(
            settings.runner,
            Setup(
                "nest_tune.study.execution.worker:prepare",
                payload,
                files_of(subjects),
                variables,
            ),
            RunnerOptions(settings.jobs, settings.ray_address),
        )
        opened.callback(runner.close)
        holder: list[Engine] = []
        calls = Calls(
            runner,
            storage,
            ground.context,
            settings.trial_timeout_s,
            poll=lambda: holder[0].poll(),
            needs=needs_of(subjects),
        )
        opened.callback(calls.close)
        tuner = make_tuner(
            ground,
            storage,
            study,
            lambda search: holder[0].searching(search),
            lambda: holder[0].poll(),
        )
        opened.callback(tuner.close)
        engine = Engine(
            study,
            storage,
            ground.problem,
            calls,
            tuner,
            observer,
            settings.metric,
            Moves(ground, storage),
        )
        holder.append(engine)
        yield engine
        status = Status.DONE
    except NestTuneError:
        status = Status.FAILED
        raise
    finally:
        failure = sys.exception()
        has_failed = isinstance(failure, Exception)  # not interrupted: that is resumed
        try:
            opened.close()
        finally:
            try:
                if has_failed and study.status is Status.NEW and not storage.trials(study):
                    storage.delete(study)
                    if failure is not None:
                        failure.add_note(NOTHING_KEPT)
                else:
                    storage.release(study, status)
            except NestTuneError:  # of a study that was lost, which has been said
                if failure is None:
                    raise


def _close(ground: Ground, storage: StudyStorage, study: StoredStudy, engine: Engine) -> None:
    """Measures what is told in the end and keeps it with the study."""
    settings, current = ground.settings, storage.find(study.name)
    reports = bool(settings.holdout or settings.holdout_file)
    result = load_result(storage, current)
    closed = closing_document(result, ground.problem, engine.calls, reports=reports)
    storage.update_document(current, {**current.document, CLOSING: closed})


def make_tuner(
    ground: Ground,
    storage: StudyStorage,
    study: StoredStudy,
    progress: Callable[[TaskSearch], None] = lambda _search: None,
    poll: Callable[[], None] = lambda: None,
) -> Tuner:
    """What finds schedules for a study. On a cluster its workers measure them; on one machine this
    process does, which is done before workers would have started."""
    settings, chip = ground.settings, ground.target
    if not settings.tiling:
        return Untuned(chip)
    database = RecordDatabase(storage.url)
    tuned = {name: tuned_from_plain(value) for name, value in storage.tasks(study).items()}
    workers = None
    kind = RUNNERS.get(settings.runner)
    if kind.spreads:
        options = RunnerOptions(settings.jobs, settings.ray_address)
        workers = partial(make_runner, settings.runner, options=options)
    shared = SharedRecords(database, poll=poll)
    tuners: dict[str, Tuner] = {}
    for unit in task_units(chip):
        core, target = unit.machine, machine_digest(unit.machine)
        start = database.snapshot(target=target, until=study.fixed("records")["newest"])
        mine = of_unit(tuned, chip, unit.name)
        tuners[unit.name] = RecordTuner(
            chip,
            unit,
            database,
            start,
            sampler_of_tasks(settings.sampler),
            settings.seed,
            own_records(database.snapshot(target=target), core, mine),
            progress,
            Measurer(core, workers=workers, shared=shared, poll=poll, replay=not kind.computes),
        )
    return next(iter(tuners.values())) if len(tuners) == 1 else UnitTuners(chip, tuners)


def run_study(
    ground: Ground, storage: StudyStorage, study: StoredStudy, observer: Observer
) -> StudyResult:
    """Runs a study until its budget is spent.

    Raises:
        NestTuneError: The first trials all failed in the same way, or storage failed.
    """
    budget = Budget(ground.settings.trials, ground.settings.timeout_s)
    with working(ground, storage, study, observer) as engine:
        ended = engine.run(budget)
        if ended is not Ended.CANCELLED and engine.trials:
            _close(ground, storage, study, engine)
    if status_after(ended) is Status.STOPPED:
        storage.mark(study, Status.STOPPED)
    return replace(load_result(storage, storage.find(study.name)), ended=ended)
