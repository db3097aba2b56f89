"""What a study holds, and the final compile of one of its trials."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from compiler_core.errors import InputError
from nest_tune.study.choice.chance import chosen_of
from nest_tune.study.proposals.front import pareto_front
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.closed import Closed, closed_of
from nest_tune.study.store.ended import Ended
from nest_tune.study.store.enqueued import enqueued
from nest_tune.study.store.resume import stored_settings
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import StoredStudy
from nest_tune.study.trial import OuterTrial, Point
from nest_tune.study.tuning.seam import TunedTask, tuned_from_plain
from nest_tune.study_command import study_command

if TYPE_CHECKING:
    from compiler_core.compile.compile import CompiledModel
    from compiler_core.precision.report import FormatsReport
    from nest_tune.study.store.ground import Ground


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
        asked_for: Points that somebody had it try.
        before: The trial that was chosen when the last run began; ``None`` where there was none, or
            nothing ran now.
    """

    study: StoredStudy
    settings: StudySettings
    trials: tuple[OuterTrial, ...]
    tasks: Mapping[str, TunedTask]
    front: tuple[OuterTrial, ...]
    ended: Ended | None = None
    asked_for: tuple[Point, ...] = ()
    before: OuterTrial | None = None

    @property
    def default(self) -> OuterTrial | None:
        """Trial 0."""
        return next((trial for trial in self.trials if trial.number == 0), None)

    @property
    def closed(self) -> Closed:
        """What was measured when the last run ended.

        Raises:
            InputError: It is damaged.
        """
        return closed_of(self.study.document, f"study {self.study.name!r}")

    @property
    def created(self) -> str:
        """When the study was started: local time for people."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.study.created_s))

    @property
    def first_failure(self) -> OuterTrial | None:
        """The first trial, where every one failed; else ``None``."""
        if any(trial.outcome.is_measured for trial in self.trials):
            return None
        return min(self.trials, key=lambda trial: trial.number, default=None)

    def chosen(self, rule: str | None = None) -> OuterTrial | None:
        """One trial of the front; ``None`` where nothing is feasible.

        Args:
            rule: How; by default as the study was asked to, or as its limits suggest.
        """
        s = self.settings
        asked = rule or s.pick
        return chosen_of(self.front, self.trials, s.objectives, s.limits, asked, s.metric)


def load_result(storage: StudyStorage, study: StoredStudy) -> StudyResult:
    """What a stored study holds."""
    settings = stored_settings(study)
    trials = storage.trials(study)
    tasks = {name: tuned_from_plain(v) for name, v in storage.tasks(study).items()}
    front = pareto_front(trials, settings.objectives)
    asked_for = enqueued(storage, study)
    return StudyResult(study, settings, trials, tasks, front, asked_for=asked_for)


def moved_result(result: StudyResult, moved: Mapping[str, str | None]) -> StudyResult:
    """A study whose files lie elsewhere by now.

    Args:
        result: The study.
        moved: Paths by setting, such as ``model``; ``None`` for what lies where it lay.
    """
    given: dict[str, Any] = {name: path for name, path in moved.items() if path is not None}
    return replace(result, settings=replace(result.settings, **given))


def compile_trial(ground: Ground, result: StudyResult, trial: OuterTrial) -> CompiledModel:
    """The final compile of a trial; its configuration holds the trial's accuracy, too.

    Raises:
        InputError: The trial was not measured.
    """
    require_measured(result, trial)
    # Loaded here: what only shows a study compiles nothing.
    from nest_tune.study.execution.candidates import Bench

    bench = Bench(ground.subjects)
    decisions = ground.space.decode(trial.point)
    schedules: dict[str, Any] = {}
    if trial.tuned:
        needed, _ = bench.tasks(decisions)
        schedules = {n: result.tasks[n].schedule for n in needed if n in result.tasks}
    compiled = bench.compiled(decisions, schedules)
    kept = {n: v for n, v in trial.metrics.items() if n.startswith("accuracy")}
    configuration = compiled.configuration
    measured = {**configuration.measured, **kept}
    return replace(compiled, configuration=replace(configuration, measured=measured))


def formats_of_trial(
    ground: Ground, compiled: CompiledModel, trial: OuterTrial
) -> FormatsReport | None:
    """Each operator with its number format and why, by the costs that the study began with.

    ``None`` where it had none.

    Args:
        ground: Of the study.
        compiled: The trial, compiled.
        trial: Which.
    """
    if ground.formats is None:
        return None
    from compiler_core.precision.report import trial_formats

    plan, name = compiled.configuration.plan, f"trial {trial.number}"
    return trial_formats(ground.model.graph, ground.formats, plan, name)


def require_measured(result: StudyResult, trial: OuterTrial) -> None:
    """Refuses a trial without numbers.

    Raises:
        InputError: It has none.
    """
    if not trial.outcome.is_measured:
        raise InputError(
            f"trial {trial.number} of study {result.study.name!r} is {trial.outcome.value}: "
            f"{trial.message}; only measured trials can be compiled",
            hint=study_command("best", result.study.name),
        )
