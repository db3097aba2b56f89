"""Running a study: its workers, its tuner, its engine, and what it holds when they have ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from compiler_core.compile.sources import read_samples
from compiler_core.errors import NestTuneError
from compiler_core.files.plain import to_plain
from compiler_core.targets.source_kinds import candidates_for
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import of_unit, task_units
from nest_tune.records.database import RecordDatabase
from nest_tune.records.sources import StoredRecords
from nest_tune.runners.environment import passed
from nest_tune.runners.runner import RUNNERS, RunnerOptions, Setup, make_runner
from nest_tune.samplers.registry import sampler_of_tasks
from nest_tune.stores.profile_store import stored_profile
from nest_tune.study.execution.worker_files import files_of, needs_of
from nest_tune.study.request.goals import TrialMetric
from nest_tune.study.running.baseline import MEASURE
from nest_tune.study.running.cached_calls import Calls
from nest_tune.study.running.closing import CLOSING, closing_document
from nest_tune.study.running.engine import Engine
from nest_tune.study.running.following import followed_study, owners_of, sight_of
from nest_tune.study.running.heart import signs_of_life
from nest_tune.study.running.kernel_search import KERNELS_PER_TASK, KernelSearch, KernelTuner
from nest_tune.study.running.measurements import Measurements
from nest_tune.study.running.moves import Moves
from nest_tune.study.running.noises import Noises
from nest_tune.study.running.observer import Budget, Observer
from nest_tune.study.running.tunings import Tunings
from nest_tune.study.store.ended import Ended, status_after
from nest_tune.study.store.enqueued import enqueued
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult, load_result
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Status, StoredStudy
from nest_tune.study.tuning.from_records import RecordTuner, own_records
from nest_tune.study.tuning.seam import TaskSearches, TunedTask, Tuner, Untuned, tuned_from_plain
from nest_tune.study.tuning.unit_tuners import UnitTuners


def _gather_profile(ground: Ground) -> None:
    """Statistics of the calibration data, so that workers find them and none gathers its own."""
    settings, graph = ground.settings, ground.model.graph
    if settings.calibration is not None and RUNNERS.get(settings.runner).computes:
        stored_profile(graph, read_samples(Path(settings.calibration), graph))


NOTHING_KEPT = "nothing of the study is kept: it can be started again under its name"
"""Note on what ended a new study before its first trial."""
OLD_KEPT = "the study that it was to replace is as it was"
"""Note beside it."""


@contextmanager
def working(
    ground: Ground, storage: StudyStorage, study: StoredStudy, observer: Observer
) -> Iterator[Engine]:
    """An engine with its workers; both end with the block, however it is left. A new study that
    fails before its first trial is deleted, so that it can be started again under its name; so is
    one that was to replace another one, which is kept. One that was to go on and cannot is as it
    was."""
    settings = ground.settings
    followed = followed_study(settings, storage, study)
    sight = sight_of(settings, storage, study, followed)
    variables = passed(settings.pass_env, os.environ)
    storage.take(study)
    status = Status.STOPPED
    opened = ExitStack()
    opened.enter_context(signs_of_life(storage, study))
    holder: list[Engine] = []
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
        calls = Calls(
            runner,
            storage,
            ground.context,
            settings.trial_timeout_s,
            poll=lambda: holder[0].poll(),
            needs=needs_of(subjects),
        )
        opened.callback(calls.close)
        tunings, look = _tunings(
            ground,
            storage,
            study,
            calls,
            observer,
            holder,
            opened,
            owners_of(storage, followed),
        )
        engine = Engine(
            study,
            storage,
            ground.problem,
            calls,
            tunings,
            observer,
            settings.metric,
            moves=Moves(
                ground,
                Noises(calls, ground.space, observer.reckoning),
                lambda: holder[0].tasks,
            ),
            sight=sight,
            look=look,
            enqueued=lambda known: enqueued(storage, study, known),
        )
        if storage.find(study.name).document != study.document:  # asked otherwise than before
            storage.update_document(study, study.document)
        holder.append(engine)
        yield engine
        status = Status.DONE
    except NestTuneError:
        status = Status.FAILED if holder else _as_before(study)
        raise
    finally:
        failure = sys.exception()
        try:
            opened.close()
        finally:
            try:
                _let_go(storage, study, status, failure)
            except NestTuneError:  # of a study that was lost, which has been said
                if failure is None:
                    raise


def _as_before(study: StoredStudy) -> Status:
    """Status of a study that this process has not gone on with."""
    return Status.STOPPED if study.status is Status.RUNNING else study.status


def _let_go(
    storage: StudyStorage, study: StoredStudy, status: Status, failure: BaseException | None
) -> None:
    """Ends this process's work on a study; deletes it where it has not begun."""
    replaces = storage.is_beside(study)
    has_begun = not replaces
    if isinstance(failure, Exception) and study.status is Status.NEW:  # interrupts are resumed
        has_begun &= bool(storage.trials(study))
    if has_begun:
        storage.release(study, status)
        return
    storage.delete(study)
    if failure is not None:
        failure.add_note(NOTHING_KEPT)
        if replaces:
            failure.add_note(OLD_KEPT)


def _close(ground: Ground, storage: StudyStorage, study: StoredStudy, engine: Engine) -> None:
    """Measures what is told in the end and keeps it with the study."""
    settings, current = ground.settings, storage.find(study.name)
    reports = bool(settings.holdout or settings.holdout_file)
    result = load_result(storage, current)
    closed = closing_document(result, ground.problem, engine.calls, reports=reports)
    by_clock = any(TrialMetric.LATENCY_MS.value in trial.intervals for trial in result.trials)
    if by_clock and (earlier := result.closed.earlier + engine.calls.found[MEASURE]):
        closed["earlier"] = earlier
    storage.update_document(current, {**current.document, CLOSING: closed})


def _helped(study: StoredStudy, unit: str) -> list[str] | None:
    """Operators of a unit that what other networks teach helps; all in studies of older versions,
    which did not ask."""
    known = study.document.get("transfers")
    return None if known is None else known.get(unit, [])


def _tunings(
    ground: Ground,
    storage: StudyStorage,
    study: StoredStudy,
    calls: Calls,
    observer: Observer,
    holder: list[Engine],
    opened: ExitStack,
    followed: Mapping[str, int] | None = None,
) -> tuple[TaskSearches, Callable[[], None]]:
    """What finds schedules for a study, and what looks after it while it waits for others."""
    settings = ground.settings
    tuned = {name: tuned_from_plain(value) for name, value in storage.tasks(study).items()}

    def keep(found: Mapping[str, TunedTask]) -> None:
        storage.add_tasks(study, {name: to_plain(task) for name, task in found.items()})
        observer.tuned(holder[0].tasks)

    def tunings(tuner: Tuner, measurements: Measurements | None) -> Tunings:
        in_order = not settings.asynchronous
        return Tunings(
            tuner,
            measurements,
            tuned,
            keep,
            observer.tuning,
            in_order=in_order,
            owners=followed,
        )

    target = ground.task_target
    if ground.are_sources and (target is None or not settings.tiling):
        return _kernels(ground, calls, tuned, keep, observer, None), lambda: None
    if target is None or not settings.tiling:
        return tunings(Untuned(ground.target), None), lambda: None
    database = RecordDatabase(storage.url)
    opened.callback(database.close)
    replay = not RUNNERS.get(settings.runner).computes
    measurements = Measurements(calls, target, database, replay=replay)
    opened.callback(measurements.close)
    start = StoredRecords(database, study.fixed("records")["newest"])
    tuners: dict[str, Tuner] = {}
    for unit in task_units(target):
        tuners[unit.name] = RecordTuner(
            target.cpu if isinstance(target, Target) else None,
            unit,
            start,
            sampler_of_tasks(settings.sampler),
            settings.seed,
            own_records(
                database,
                unit.machine,
                of_unit(tuned, target, unit.name),
            ),
            lambda search: holder[0].searching(search),
            helped=_helped(study, unit.name),
            per_task=KERNELS_PER_TASK if ground.are_sources else None,
        )
    one = next(iter(tuners.values()))
    if ground.are_sources:
        searched = tunings(KernelTuner(one), measurements)
        return _kernels(ground, calls, tuned, keep, observer, searched), measurements.look
    tuner = one if len(tuners) == 1 else UnitTuners(ground.target, tuners)
    return tunings(tuner, measurements), measurements.look


def _kernels(
    ground: Ground,
    calls: Calls,
    tuned: Mapping[str, TunedTask],
    keep: Callable[[Mapping[str, TunedTask]], None],
    observer: Observer,
    tunings: Tunings | None,
) -> KernelSearch:
    """What finds kernels of generated sources."""
    target = ground.settings.target
    names = candidates_for(target).metrics(target)
    return KernelSearch(
        calls,
        f"{ground.digests['target']} {ground.digests['sources']}",
        tuned,
        keep,
        observer.tuning,
        is_measured=TrialMetric.LATENCY_MS.value in names
        or TrialMetric.INSTRUCTIONS.value in names,
        tunings=tunings,
    )


def _require_first(storage: StudyStorage, study: StoredStudy, engine: Engine) -> None:
    """Refuses a study that replaces another one and has no trial that is worth it.

    Raises:
        NestTuneError: Every trial failed, or there is none.
    """
    if storage.is_beside(study):
        trials = engine.trials
        why = f"every trial failed, the first: {trials[0].message}" if trials else "it ended before"
        raise NestTuneError(
            f"study {study.name!r} is kept as it was: of the one that was to replace it {why}",
            hint="another --name keeps both",
        )


def run_study(
    ground: Ground, storage: StudyStorage, study: StoredStudy, observer: Observer
) -> StudyResult:
    """Runs a study until its budget is spent.

    Raises:
        NestTuneError: The first trials all failed in the same way, or storage failed.
    """
    budget = Budget(ground.settings.trials, ground.settings.timeout_s)
    before = load_result(storage, study)
    with working(ground, storage, study, observer) as engine:
        ended = engine.run(budget)
        _require_first(storage, study, engine)
        if ended is not Ended.CANCELLED and engine.trials:
            _close(ground, storage, study, engine)
    if status_after(ended) is Status.STOPPED:
        storage.mark(study, Status.STOPPED)
    result = load_result(storage, storage.find(study.name))
    return replace(result, ended=ended, before=before.chosen())
