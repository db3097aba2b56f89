"""What to try next: what the study's own numbers say is left to gain, with the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from nest_tune.figures import percent
from nest_tune.records.storage_url import StorageUrl
from nest_tune.report.data import CompiledPart, NextStep, TaskRow
from nest_tune.report.shares import ABOVE, CONVERSION, HOST_WORK, LAUNCH, Share
from nest_tune.study.request.settings import DEFAULT_STORAGE, StudySettings
from nest_tune.study.store.ended import Ended
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import Outcome, OuterTrial

_MOST = 5
_WORTH_SAYING = 0.1
_LATE = 0.8
"""A best trial behind this part of the trials: the search was still finding."""


def next_steps(
    result: StudyResult,
    chosen: OuterTrial,
    compiled: CompiledPart,
    tasks: Sequence[TaskRow],
    storage: str,
) -> tuple[NextStep, ...]:
    """Suggestions for a study, those whose gain is known first.

    Args:
        result: The study.
        chosen: Its chosen trial.
        compiled: Of that trial.
        tasks: Tuned ones.
        storage: URL of its database.
    """
    found = [
        *_measured(result, compiled, storage),
        *_beyond_limits(result, chosen),
        *_late(result, chosen, storage),
        *_shares(result, compiled.shares, tasks, storage),
    ]
    return tuple(found[:_MOST])


def _measured(result: StudyResult, compiled: CompiledPart, storage: str) -> Iterator[NextStep]:
    if compiled.effects.better:
        names = ", ".join(compiled.effects.better)
        yield NextStep(
            f"As in the default, {names} would be better than what is chosen: let the study go on.",
            _resume(result, storage),
        )


def _beyond_limits(result: StudyResult, chosen: OuterTrial) -> Iterator[NextStep]:
    """The fastest trial that one limit alone keeps from being chosen."""
    first = result.settings.objectives[0]
    name = first.metric.value
    if name not in chosen.metrics or not result.settings.limits:
        return
    ours = first.loss(chosen.metrics[name])
    broken = [
        trial
        for trial in result.trials
        if trial.outcome is Outcome.CONSTRAINTS and first.loss(trial.metrics[name]) < ours
    ]
    if not broken or not chosen.metrics[name]:
        return
    best = min(broken, key=lambda trial: first.loss(trial.metrics[name]))
    change = best.metrics[name] / chosen.metrics[name] - 1
    if abs(change) < _WORTH_SAYING / 2:
        return
    beside = percent(change, signed=True)
    yield NextStep(
        f"Trial {best.number} has a {name} {beside} of the chosen one's and is out by a limit "
        f"alone: {best.message}. Where the limit may be wider, a study with it finds more."
    )


def _late(result: StudyResult, chosen: OuterTrial, storage: str) -> Iterator[NextStep]:
    count = len(result.trials)
    if result.ended in (Ended.EXHAUSTED, Ended.IDEAL) or count < 10:
        return
    if chosen.number >= _LATE * count:
        yield NextStep(
            f"The chosen trial came late, as number {chosen.number} of {count}: the search was "
            "still finding better ones.",
            _resume(result, storage),
        )


def _shares(
    result: StudyResult, shares: Sequence[Share], tasks: Sequence[TaskRow], storage: str
) -> Iterator[NextStep]:
    of = {share.reason: share for share in shares}
    settings = result.settings
    shapes = [
        word
        for name, shape in settings.shapes.items()
        for word in ("--shape", f"{name}={','.join(map(str, shape))}")
    ]
    model = [settings.model, "--target", settings.target, *shapes]
    for reason in sorted(of, key=lambda name: -of[name].share):
        share = of[reason]
        if share.share < _WORTH_SAYING:
            return
        part = f"{percent(share.share, 0)} of the latency"
        if reason == LAUNCH:
            yield NextStep(
                f"Launches are {part}: larger programs need fewer of them, and what a launch costs "
                "is a number of the target that can be measured."
            )
        elif reason == CONVERSION:
            yield NextStep(
                f"Conversions between units are {part}: the borders of the plan show where.",
                _line("plan", "best", *model),
            )
        elif reason == HOST_WORK:
            yield NextStep(
                f"Operators on the CPU are {part}; those that no accelerator takes say why.",
                _line("plan", "show", *model),
            )
        elif reason == ABOVE:
            yield from _above(part, settings, tasks, model, _place(storage))


def _above(
    part: str,
    settings: StudySettings,
    tasks: Sequence[TaskRow],
    model: Sequence[str],
    place: Sequence[str],
) -> Iterator[NextStep]:
    open_tasks = [task for task in tasks if task.layers and task.cycles > task.bound_cycles]
    if not settings.tiling:
        yield NextStep(
            f"Programs are above their bounds for {part}, and this study searched no tilings: "
            "set tiling = true under [spaces]."
        )
    elif open_tasks:
        task = max(open_tasks, key=lambda task: task.cycles - task.bound_cycles)
        yield NextStep(
            f"Programs are above their bounds for {part}; most of that is {task.layers[0]}, "
            f"{task.cycles:,} cycles with a bound of {task.bound_cycles:,} after "
            f"{task.measurements:,} measurements.",
            # A list makes the tasks of a model known.
            _line("task", "list", *model)
            + "\n"
            + _line(
                "task",
                "tune",
                task.name,
                "--target",
                settings.target,
                "--trials",
                2 * task.measurements,
                *place,
            ),
        )


def _resume(result: StudyResult, storage: str) -> str:
    more = max(10, len(result.trials) // 2)
    return _line("study", "resume", result.study.name, "--trials", f"+{more}", *_place(storage))


def _place(storage: str) -> list[str]:
    return ["--storage", str(StorageUrl(storage))] if storage != DEFAULT_STORAGE else []


def _line(*words: object) -> str:
    return shlex.join(["nest-tune", *map(str, words)])
