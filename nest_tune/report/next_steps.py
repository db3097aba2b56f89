"""What to try next: what the study's own numbers say is left to gain, with the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from compiler_core.executable.report import LayerReport
from compiler_core.targets.load import load_target
from nest_tune.figures import change, percent
from nest_tune.records.storage_url import StorageUrl
from nest_tune.report.data import CompiledPart, NextStep, TaskRow
from nest_tune.report.shares import ABOVE, CONVERSION, HOST_WORK, LAUNCH
from nest_tune.study.request.settings import DEFAULT_STORAGE, StudySettings
from nest_tune.study.store.ended import Ended
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import Outcome, OuterTrial
from nest_tune.study_command import study_command

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
        *_shares(result, compiled, tasks, storage),
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
    more = best.metrics[name] / chosen.metrics[name] - 1
    if abs(more) < _WORTH_SAYING / 2:
        return
    beside = change(more)
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
    result: StudyResult, compiled: CompiledPart, tasks: Sequence[TaskRow], storage: str
) -> Iterator[NextStep]:
    of = {share.reason: share for share in compiled.shares}
    settings = result.settings
    shapes = [
        word
        for name, shape in settings.shapes.items()
        for word in ("--shape", f"{name}={','.join(map(str, shape))}")
    ]
    data = ["--calibration", settings.calibration] if settings.calibration else []
    model = [settings.model, "--target", settings.target, *shapes]
    for reason in sorted(of, key=lambda name: -of[name].share):
        share = of[reason]
        if share.share < _WORTH_SAYING:
            return
        part = f"{percent(share.share, 0)} of the latency"
        if reason == LAUNCH:
            yield NextStep(_launches(part, compiled.launches))
        elif reason == CONVERSION:
            yield NextStep(
                f"Conversions between units are {part}: the borders of the plan show where.",
                _line("plan", "best", *model),
            )
        elif reason == HOST_WORK and load_target(settings.target).by_clock:
            yield NextStep(
                "What each operator takes in float and in its number formats, and why it has the "
                "one that it has, is told by:",
                _line("plan", "show", *model, *data),
            )
        elif reason == HOST_WORK:
            yield NextStep(
                f"Operators on the CPU are {part}; those that no accelerator takes say why.",
                _line("plan", "show", *model),
            )
        elif reason == ABOVE:
            yield from _above(part, settings, compiled, tasks, [*model, *data], _place(storage))


def _launches(part: str, count: int) -> str:
    price = "what a launch costs is a number of the target that can be measured"
    if count > 1:
        return (
            f"{count:,} launches are {part}: programs that hold more layers need fewer of them, "
            f"and {price}."
        )
    return (
        f"The one launch is {part}: no schedule makes it shorter. {price.capitalize()}; a faster "
        "driver or a faster CPU makes it less, and samples of a batch share it."
    )


def _above(
    part: str,
    settings: StudySettings,
    compiled: CompiledPart,
    tasks: Sequence[TaskRow],
    model: Sequence[str],
    place: Sequence[str],
) -> Iterator[NextStep]:
    """The layer with the most cycles above its bound, by the numbers of the table of layers."""
    layers = [
        row.chosen
        for row in compiled.layers
        if row.chosen is not None and row.chosen.cycles > row.chosen.bound_cycles
    ]
    layers.sort(key=lambda layer: layer.bound_cycles - layer.cycles)
    tuned = {task.name: task for task in tasks}
    if not settings.tiling:
        yield NextStep(
            f"Programs are above their bounds for {part}, and this study searched no tilings: "
            "set tiling = true under [spaces]."
        )
        return
    if not layers:
        return
    first = layers[0]
    text = f"Programs are above their bounds for {part}; the most of it is {_excess(first)}"
    size = compiled.used_up.get(first.task)
    if size is not None:
        text += f": all {size:,} schedules of its task are measured"
    left = [x for x in layers if x.task in tuned and x.task not in compiled.used_up]
    if not left:
        yield NextStep(f"{text}.")
        return
    layer, known = left[0], tuned[left[0].task].measurements
    if layer is not first:
        text += f"; then comes {_excess(layer)}"
    target = settings.target
    tune = ("task", "tune", layer.task, "--target", target, "--trials", max(2 * known, 2))
    yield NextStep(
        f"{text}, of whose task {known:,} schedules are measured.",
        # A list makes the tasks of a model known.
        _line("task", "list", *model) + "\n" + _line(*tune, *place),
    )


def _excess(layer: LayerReport) -> str:
    return f"{layer.name}, {layer.cycles:,} cycles with a bound of {layer.bound_cycles:,}"


def _resume(result: StudyResult, storage: str) -> str:
    more = max(10, len(result.trials) // 2)
    return study_command("resume", result.study.name, "--trials", f"+{more}", *_place(storage))


def _place(storage: str) -> list[str]:
    return ["--storage", str(StorageUrl(storage))] if storage != DEFAULT_STORAGE else []


def _line(*words: object) -> str:
    return shlex.join(["nest-tune", *map(str, words)])
