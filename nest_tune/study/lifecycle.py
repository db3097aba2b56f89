"""From settings to a running study and its result: start, resume, and what may not change between.

Everything that trials depend on is taken down by digest at the start: the files, the target, the
space, and the version of the lowering. A resume checks it again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import compiler_core
from compiler_core.compile import CompiledModel
from compiler_core.errors import InputError, NestTuneError
from compiler_core.frontend import FloatModel, load_model, read_samples
from compiler_core.plain import to_plain
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.targets.vta.lowering_version import LOWERING_VERSION
from compiler_core.tensor.digest import digest
from nest_tune.measurers import load_measurer
from nest_tune.quantization.profile_store import stored_profile
from nest_tune.records.database import RecordDatabase
from nest_tune.records.record import core_digest
from nest_tune.records.sharing import SharedRecords
from nest_tune.runners.runner import RunnerOptions, Setup, make_runner
from nest_tune.study.calls import Calls
from nest_tune.study.engine import Engine
from nest_tune.study.front import pareto_front, pick
from nest_tune.study.inner import TunedTask, Tuner, Untuned, tuned_from_plain
from nest_tune.study.observer import Budget, Ended, Observer, status_after
from nest_tune.study.parts import make_space
from nest_tune.study.proposals import SearchProblem
from nest_tune.study.settings import (
    StudySettings,
    differences,
    read_settings_document,
    settings_document,
)
from nest_tune.study.shipping import files_of, needs_of
from nest_tune.study.storage import Status, StoredStudy, StudyStorage
from nest_tune.study.study_file import file_document
from nest_tune.study.tasks import RecordTuner, own_records
from nest_tune.study.trial import OuterTrial
from nest_tune.study.worker import Bench, Subjects
from nest_tune.tuning.measure import Measurer
from nest_tune.tuning.task_search import TaskSearch
from search_spaces.joint import JointSpace

SUBSET = 128
"""Samples of the first accuracy measurement."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What a study stands on.

    Attributes:
        settings: As asked for.
        model, target: Loaded.
        space: Joint.
        digests: Of everything that trials depend on, by name.
    """

    settings: StudySettings
    model: FloatModel
    target: Target
    space: JointSpace
    digests: Mapping[str, str]

    @property
    def context(self) -> str:
        """Digest of what results of workers depend on beside their arguments."""
        names = ("model", "target", "calibration", "evaluation", "metric", "measurer")
        known = [(name, self.digests[name]) for name in names if name in self.digests]
        return digest([*known, source_digest()], 32)

    @property
    def subjects(self) -> Subjects:
        """What workers load."""
        s = self.settings
        paths = [
            None if p is None else str(Path(p).resolve()) for p in (s.calibration, s.evaluation)
        ]
        target = str(Path(s.target).resolve()) if s.target.endswith(".toml") else s.target
        model = str(Path(s.model).resolve())
        return Subjects(
            model, target, paths[0], paths[1], s.shapes, s.metric, s.measurer, subset=SUBSET
        )

    @property
    def problem(self) -> SearchProblem:
        """What is searched for."""
        s = self.settings
        return SearchProblem(self.space, s.objectives, s.limits, s.sampler, s.seed, s.tiling)


@dataclass(frozen=True, eq=False)
class StudyResult:
    """What a study holds.

    Attributes:
        study: Its row.
        settings: What it was started with.
        trials: By number.
        tasks: Tuned tasks by id.
        front: Feasible trials that none dominates.
        ended: Why the last run ended; ``None`` where nothing ran now.
    """

    study: StoredStudy
    settings: StudySettings
    trials: tuple[OuterTrial, ...]
    tasks: Mapping[str, TunedTask]
    front: tuple[OuterTrial, ...]
    ended: Ended | None = None

    @property
    def default(self) -> OuterTrial | None:
        """Trial 0."""
        return next((trial for trial in self.trials if trial.number == 0), None)

    def chosen(self, rule: str = "knee") -> OuterTrial | None:
        """One trial of the front; ``None`` where nothing is feasible."""
        return pick(self.front, self.settings.objectives, rule)


def survey_ground(settings: StudySettings, study: StoredStudy | None = None) -> Ground:
    """Loads and checks what a study stands on.

    Args:
        settings: As asked for.
        study: Where it has been started before: what was found under a time limit then is taken
            from it.

    Raises:
        InputError: A file is wrong.
    """
    model = load_model(Path(settings.model), settings.shapes)
    target = load_target(settings.target)
    space = make_space(
        model.graph,
        target,
        quantization=settings.quantization,
        partition=settings.partition,
        plan=None if settings.plan is None else Path(settings.plan),
        guesses=None if study is None else study.document["guesses"],
    )
    digests = {
        "model": model.digest,
        "target": target.digest,
        "calibration": file_digest(settings.calibration),
        "evaluation": file_digest(settings.evaluation),
        "metric": f"{settings.metric}/{SUBSET}",
        "space": space.digest,
        "lowering": str(LOWERING_VERSION),
    }
    if settings.measurer:
        digests["measurer"] = load_measurer(settings.measurer).identity
    return Ground(settings, model, target, space, digests)


def file_digest(path: str | None) -> str:
    """SHA-256 of a file's bytes, empty for none.

    Raises:
        InputError: It cannot be read.
    """
    if path is None:
        return ""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def source_digest() -> str:
    """Digest of the compiler's source: results of another one are not believed."""
    folder = Path(compiler_core.__file__).parent
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".toml"):
            found.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def create_study(storage: StudyStorage, ground: Ground, if_exists: str) -> StoredStudy:
    """A new study, or the one of that name.

    Args:
        storage: Where.
        ground: What it stands on.
        if_exists: ``fail``, ``resume`` or ``replace``.

    Raises:
        InputError: The name is taken, or the study that has it is another one or is running.
    """
    found = storage.get(ground.settings.name)
    if found is not None and if_exists == "replace":
        if found.is_running:
            raise InputError(
                f"study {found.name!r} is running in process {found.owner}",
                hint=f"nest-tune study cancel {found.name}",
            )
        storage.delete(found)
        found = None
    if found is None or if_exists == "fail":
        return storage.create(ground.settings.name, _document(ground))
    check_unchanged(found, ground)
    storage.update_document(
        found, {**found.document, "settings": settings_document(ground.settings)}
    )
    return storage.find(found.name)


def _document(ground: Ground) -> dict[str, Any]:
    file = ground.settings.file
    return {
        "settings": settings_document(ground.settings),
        "digests": dict(ground.digests),
        "records": records_at_start(ground),
        "file": None if file is None else file_document(Path(file)),
        "guesses": {
            part.name: [list(point) for point in part.guesses()] for part in ground.space.parts
        },
        "parameters": [(p.name, to_plain(p.values)) for p in ground.space.parameters],
    }


def check_file(study: StoredStudy) -> None:
    """Refuses to go on where the study file says something else by now.

    Raises:
        InputError: Shows what differs.
    """
    path, old = stored_settings(study).file, study.document.get("file")
    if path is None or old is None or not Path(path).is_file():
        return
    new = file_document(Path(path))
    changed = [
        f"{name}: {old.get(name)!r} -> {new.get(name)!r}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if changed:
        raise InputError(
            f"{path} has changed since study {study.name!r} was started: {'; '.join(changed)}",
            hint="undo that, or start it under another name",
        )


def stored_settings(study: StoredStudy) -> StudySettings:
    """What a study was started with."""
    return read_settings_document(study.document["settings"])


def check_unchanged(study: StoredStudy, ground: Ground) -> None:
    """Refuses to go on with another search under the same name.

    Raises:
        InputError: Shows what differs.
    """
    changed = differences(stored_settings(study), ground.settings)
    stored = study.document["digests"]
    for name, now in ground.digests.items():
        if stored.get(name) != now:
            changed.append(f"{name}: digest {str(stored.get(name))[:16]} -> {now[:16]}")
    if changed:
        raise InputError(
            f"study {study.name!r} has changed since it was started: {'; '.join(changed)}",
            hint="start it under another --name, or with --if-exists replace to begin anew",
        )


def resumed_settings(
    study: StoredStudy, *, trials: str | None = None, **changes: Any
) -> StudySettings:
    """Settings of a resume: ``trials`` is a number, or ``+50`` for so many more.

    Raises:
        InputError: ``trials`` reads otherwise.
    """
    settings = stored_settings(study)
    if trials is not None:
        number = trials.removeprefix("+")
        if not number.isascii() or not number.isdigit() or not 0 < int(number) < 1_000_000:
            raise InputError(f"--trials {trials}: a number, or +N for N more, is needed")
        total = int(number) + (settings.trials if trials.startswith("+") else 0)
        settings = replace(settings, trials=total)
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(settings, **given)


def _gather_profile(ground: Ground) -> None:
    """Statistics of the calibration data, so that workers find them and none gathers its own."""
    settings, graph = ground.settings, ground.model.graph
    if settings.calibration is not None and settings.runner != "replay":
        stored_profile(graph, read_samples(Path(settings.calibration), graph))


@contextmanager
def working(
    ground: Ground, storage: StudyStorage, study: StoredStudy, observer: Observer
) -> Iterator[Engine]:
    """An engine with its workers; both end with the block, however it is left."""
    settings = ground.settings
    storage.take(study)
    status = Status.STOPPED
    opened = ExitStack()
    try:
        subjects = ground.subjects
        _gather_profile(ground)
        payload = {**vars(subjects), "shapes": {k: list(v) for k, v in subjects.shapes.items()}}
        runner = make_runner(
            settings.runner,
            Setup("nest_tune.study.worker:prepare", payload, files_of(subjects)),
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
        )
        holder.append(engine)
        yield engine
        status = Status.DONE
    except NestTuneError:
        status = Status.FAILED
        raise
    finally:
        opened.close()
        storage.release(study, status)


def make_tuner(
    ground: Ground,
    storage: StudyStorage,
    study: StoredStudy,
    progress: Callable[[TaskSearch], None] = lambda _search: None,
    poll: Callable[[], None] = lambda: None,
) -> Tuner:
    """What finds schedules for a study. On a cluster its workers measure them; on one machine this
    process does, which is done before workers would have started."""
    settings, core = ground.settings, ground.target.npu
    if not settings.tiling:
        return Untuned(ground.target)
    database = RecordDatabase(settings.storage)
    tuned = {name: tuned_from_plain(value) for name, value in storage.tasks(study).items()}
    target = core_digest(core)
    start = database.snapshot(target=target, until=study.document["records"]["newest"])
    own = own_records(database.snapshot(target=target), core, tuned)
    sampler = "xgb" if settings.sampler == "exhaustive" else settings.sampler
    workers = None
    replay = settings.runner == "replay"
    if settings.runner != "local" and not replay:
        options = RunnerOptions(settings.jobs, settings.ray_address)
        workers = partial(make_runner, settings.runner, options=options)
    shared = SharedRecords(database, poll=poll)
    measurer = Measurer(core, workers=workers, shared=shared, poll=poll, replay=replay)
    return RecordTuner(core, database, start, sampler, settings.seed, own, progress, measurer)


def records_at_start(ground: Ground) -> dict[str, Any]:
    """What the measurement database holds now: enough to see the same again later. A replay begins
    as if it held nothing: records stand for measurements and teach only when they are made."""
    database = RecordDatabase(ground.settings.storage)
    try:
        newest = 0 if ground.settings.runner == "replay" else database.newest()
        snapshot = database.snapshot(target=core_digest(ground.target.npu), until=newest)
        return {"newest": newest, "digest": snapshot.digest, "count": len(snapshot.records)}
    finally:
        database.close()


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
    if status_after(ended) is Status.STOPPED:
        storage.release(study, Status.STOPPED)
    return replace(load_result(storage, storage.find(study.name)), ended=ended)


def load_result(storage: StudyStorage, study: StoredStudy) -> StudyResult:
    """What a stored study holds."""
    settings = stored_settings(study)
    trials = storage.trials(study)
    tasks = {name: tuned_from_plain(v) for name, v in storage.tasks(study).items()}
    front = pareto_front(trials, settings.objectives)
    return StudyResult(study, settings, trials, tasks, front)


def compile_trial(ground: Ground, result: StudyResult, trial: OuterTrial) -> CompiledModel:
    """The final compile of a trial; its configuration holds the trial's accuracy, too.

    Raises:
        InputError: The trial was not measured.
    """
    if not trial.outcome.is_measured:
        raise InputError(
            f"trial {trial.number} of study {result.study.name!r} is {trial.outcome.value}: "
            f"{trial.message}; only measured trials can be compiled",
            hint=f"nest-tune study best {result.study.name}",
        )
    bench = Bench(ground.subjects)
    decisions = ground.space.decode(trial.point)
    schedules: dict[str, Any] = {}
    if trial.tuned:
        from compiler_core.compile import model_layers, model_tasks

        needed = model_tasks(model_layers(bench.quantized(decisions).quantized))
        schedules = {name: result.tasks[name].schedule for name in needed}
    compiled = bench.compiled(decisions, schedules)
    kept = {n: v for n, v in trial.metrics.items() if n.startswith("accuracy")}
    configuration = compiled.configuration
    measured = {**configuration.measured, **kept}
    return replace(compiled, configuration=replace(configuration, measured=measured))


def unix_time(seconds: float) -> str:
    """Local time for people."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
