"""From a stored study to everything that its report shows; what there are no data for is empty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compiler_core.accuracy.metric import is_in_decibels, shown_name
from compiler_core.compile.compile import CompiledModel
from compiler_core.errors import NestTuneError
from nest_tune.bundling import is_bundle_target
from nest_tune.figures import change as change_text
from nest_tune.figures import figure, figures
from nest_tune.report.data import (
    LABELS,
    CompiledPart,
    Failure,
    Predictions,
    ReportData,
    TaskRow,
    Tile,
    labels_of,
)
from nest_tune.report.effects import Effects
from nest_tune.report.next_steps import next_steps
from nest_tune.report.reproduce import commands_for, search_commands, search_note, versions
from nest_tune.report.shares import latency_shares
from nest_tune.report.trial_charts import float_accuracy, front_charts, is_large, progress_charts
from nest_tune.study.choice.gains import (
    accuracy_difference_text,
    doubts_of,
    gain_text,
    notes_of,
    warnings_of,
    within_noise,
)
from nest_tune.study.proposals.evidence import differs_by_chance, interval_text, trial_score
from nest_tune.study.proposals.front import closest
from nest_tune.study.request.goals import TrialMetric
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import Outcome, OuterTrial, outcome_counts, outcomes_text
from nest_tune.study.views.documents import (
    change_documents,
    front_with,
    goals_text,
    holdout_rows,
    limits_text,
    noise_of,
    study_status,
)

if TYPE_CHECKING:
    from nest_tune.study.store.results import ResultRows

__all__ = ["CompiledPart", "ReportData", "collect"]

Progress = Callable[[str], None]

_MOST_FAILURES = 20
_MOST_FRONT = 200


def collect(
    result: StudyResult,
    rule: str | None = None,
    *,
    storage: str | None = None,
    count: int | str | None = None,
    kept: ResultRows | None = None,
    progress: Progress = lambda _: None,
) -> ReportData:
    """What a report of a study shows.

    Who interrupts its measurements (``KeyboardInterrupt``) gets what was measured until then, and
    a note; :attr:`ReportData.interrupted` says so.

    Args:
        result: The study.
        rule: How the chosen trial is picked from the front.
        storage: URL of the database of its measurements; ``None`` for where it was started.
        count: How many decisions of the chosen trial are changed back and measured, as in
            :func:`nest_tune.report.explain.explain`.
        kept: Storage that keeps what is measured, and knows what was.
        progress: Told what is being done.

    Raises:
        InputError: The rule cannot be used.
    """
    from nest_tune.study.request.settings import settings_document
    from nest_tune.study.store.selection import decisions_of

    chosen = result.chosen(rule)
    notes: list[str] = []
    compiled = CompiledPart()
    if chosen is not None:
        compiled = _compiled(result, chosen, notes, progress, _Asked(count, kept))
    url = storage or result.settings.storage
    predictions = _predictions(result, url, notes, progress)
    tasks = _tasks(result, compiled)
    settings = settings_document(result.settings)
    return ReportData(
        name=result.study.name,
        status=study_status(result),
        created=result.created,
        model=Path(result.settings.model).name,
        target=result.settings.target,
        goals=tuple(goals_text(result.settings)),
        limits=tuple(limits_text(result.settings)),
        outcomes=outcome_counts(result.trials),
        ended=outcomes_text(result.trials),
        chosen=None if chosen is None else chosen.number,
        chosen_decisions={
            name: str(value)
            for name, value in ({} if chosen is None else decisions_of(result, chosen)).items()
        },
        front_trials=_shown_front(result, chosen),
        front_size=len(result.front),
        is_large=is_large(result),
        metric_names=tuple(n for n in LABELS if any(n in t.metrics for t in result.trials)),
        holdout=() if chosen is None else holdout_rows(result, chosen),
        holdout_samples=0
        if result.closed.float_reported is None
        else result.closed.float_reported.samples,
        clock=compiled.clock,
        interrupted=compiled.effects.interrupted,
        gains=() if chosen is None else _gains(result, chosen),
        tiles=() if chosen is None else _tiles(result, chosen),
        next_steps=() if chosen is None else next_steps(result, chosen, compiled, tasks, url),
        fronts=front_charts(result, chosen),
        progress=progress_charts(result, chosen),
        tasks=tasks,
        failures=_failures(result),
        closest=()
        if chosen is not None
        else closest(result.trials, result.settings.limits, result.default),
        compiled=compiled,
        predictions=predictions,
        notes=tuple(notes),
        again=() if chosen is None else commands_for(result, chosen, url),
        search_again=search_commands(result, chosen),
        search_note=search_note(result),
        labels=labels_of(result.settings.metric),
        metric=result.settings.metric,
        digests={k: str(v) for k, v in result.study.document.get("digests", {}).items() if v},
        settings={k: _shown(v) for k, v in settings.items() if v not in (None, [], {})},
        versions=versions(),
    )


def _shown_front(result: StudyResult, chosen: OuterTrial | None) -> tuple[OuterTrial, ...]:
    """Evenly many of a long front, from end to end, and the chosen trial."""
    front = front_with(result, chosen)
    every = -(-len(front) // _MOST_FRONT)
    return tuple(
        trial for index, trial in enumerate(front) if index % max(every, 1) == 0 or trial is chosen
    )


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(" ".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
    return str(value)


def _compiled(
    result: StudyResult,
    chosen: OuterTrial,
    notes: list[str],
    progress: Progress,
    asked: _Asked,
) -> CompiledPart:
    """Sections of the compiled model; where its files have changed or gone, a note instead."""
    from nest_tune.report.sources import source_part
    from nest_tune.study.store.dependencies import survey_ground
    from nest_tune.study.store.result import compile_trial, formats_of_trial
    from nest_tune.study.store.resume import check_unchanged

    try:
        ground = survey_ground(result.settings, result.study)
        check_unchanged(result.study, ground)
        progress(f"compiling trial {chosen.number}")
        if ground.are_sources:
            part = source_part(ground, result, chosen)
            found = _effects(ground, result, chosen, notes, progress, asked)
            return CompiledPart(sources=part, effects=found)
        best = compile_trial(ground, result, chosen)
        default: CompiledModel | None = None
        if result.default is not None and result.default.outcome.is_measured:
            progress("compiling the default")
            default = compile_trial(ground, result, result.default)
    except NestTuneError as error:
        notes.append(f"Everything that takes a compile is left out: {error.message}")
        return CompiledPart()
    from compiler_core.compile.sources import read_samples
    from compiler_core.graph.sampling import count_samples, take
    from nest_tune.report import compiled as parts
    from nest_tune.report.quantized import SQNR_SAMPLES, quantized_rows
    from nest_tune.report.spaces import used_up

    samples = None
    source = result.settings.evaluation or result.settings.calibration
    if source is not None:
        graph = ground.model.graph
        arrays = read_samples(Path(source), graph)
        samples = take(graph, arrays, 0, min(SQNR_SAMPLES, count_samples(graph, arrays)))
    progress("drawing")
    charts, without = parts.roofline_charts(default, best, ground.target)
    picture, clock = "", best.metrics.by_clock
    if clock is not None:
        notes += [f"Of the compile for this report: {warning}." for warning in clock.warnings]
    else:
        try:
            picture = parts.plan_picture(best, ground.target)
        except NestTuneError as error:
            notes.append(f"The partitioned graph is left out: {error.message}")
    quantized = quantized_rows(best, samples)
    formats = formats_of_trial(ground, best, chosen)
    alone = _alone(ground, best, chosen, notes, progress, asked)
    if alone is None:
        asked = replace(asked, count=0)
    found = _effects(ground, result, chosen, notes, progress, asked, best)
    return CompiledPart(
        parts.gantt(best, ground.target),
        charts,
        without,
        parts.layer_rows(default, best),
        picture,
        latency_shares(best),
        quantized,
        0 if samples is None else len(next(iter(samples.values()))),
        {row.name: alone[row.name] for row in quantized if row.name in alone} if alone else {},
        replace(found, interrupted=found.interrupted or alone is None),
        formats=() if formats is None else formats.operators,
        launches=best.metrics.launches,
        joint=any(parts.holds_several(one) for one in (best, default) if one is not None),
        used_up=used_up(best, result.tasks) if chosen.tuned else {},
        clock="" if clock is None or clock.machine is None else clock.machine.text,
    )


@dataclass(frozen=True)
class _Asked:
    """How many effects are measured, and where what is measured is kept."""

    count: int | str | None
    kept: ResultRows | None


def _alone(
    ground: Ground,
    best: CompiledModel,
    chosen: OuterTrial,
    notes: list[str],
    progress: Progress,
    asked: _Asked,
) -> dict[str, float] | None:
    """``None`` where somebody has interrupted it."""
    from nest_tune.report.kept import Kept
    from nest_tune.report.sensitivity import layers_alone

    kept = Kept(asked.kept, ground)
    key = kept.key("alone", {"decisions": ground.space.decode(chosen.point)})
    try:
        return dict(kept.get(key, lambda: layers_alone(ground, best, progress)))
    except NestTuneError as error:
        notes.append(f"The sensitivity of layers is left out: {error.message}")
        return {}
    except KeyboardInterrupt:
        notes.append("The sensitivity of layers is left out: it was interrupted.")
        return None


def _effects(
    ground: Ground,
    result: StudyResult,
    chosen: OuterTrial,
    notes: list[str],
    progress: Progress,
    asked: _Asked,
    best: CompiledModel | None = None,
) -> Effects:
    from nest_tune.report.effects import effects

    try:
        found = effects(
            ground, result, chosen, progress, count=asked.count, compiled=best, storage=asked.kept
        )
    except NestTuneError as error:
        notes.append(f"What matters is left out: {error.message}")
        return Effects()
    except KeyboardInterrupt:
        notes.append("What matters is left out: it was interrupted.")
        return Effects(interrupted=True)
    if found.interrupted:
        notes.append("What matters is not measured whole: it was interrupted.")
    return found


def _predictions(
    result: StudyResult, storage: str, notes: list[str], progress: Progress
) -> tuple[Predictions, ...]:
    if is_bundle_target(result.settings.target):  # small spaces, measured whole
        return ()
    if not any(task.measurements for task in result.tasks.values()):
        return ()
    from nest_tune.report.predictions import predictions

    try:
        progress("predicting what was measured")
        found = predictions(result, storage)
        if not found:
            notes.append(
                "Predicted against measured is left out: the database holds too few schedules "
                "that this study measured itself, rather than one before it."
            )
        return found
    except NestTuneError as error:
        notes.append(f"Predicted against measured is left out: {error.message}")
        return ()


def _tiles(result: StudyResult, chosen: OuterTrial) -> tuple[Tile, ...]:
    tiles = []
    default, metric = result.default, result.settings.metric
    floats = dict(result.closed.float_costs)
    reference = float_accuracy(result)
    if reference is not None and not is_in_decibels(metric):
        floats[TrialMetric.ACCURACY.value] = reference
    before = {} if default is None else default.metrics
    by_chance = default is not None and differs_by_chance(trial_score(chosen), trial_score(default))
    noise = () if default is None else within_noise(chosen, default)
    for name, label in labels_of(metric).items():
        if name not in chosen.metrics:
            continue
        value, change, better = chosen.metrics[name], "", None
        if name in before:
            difference = value - before[name]
            if name.startswith("accuracy"):
                change = accuracy_difference_text(difference, metric)
            elif before[name]:
                change = change_text(difference / before[name])
            if difference == 0:
                change = "no change"
            elif name.startswith("accuracy") and by_chance:
                change += ", within chance"
            elif name in noise:
                change += ", within noise"
            else:
                better = (difference > 0) == (name == TrialMetric.ACCURACY.value)
        interval = interval_text(chosen.intervals.get(name))
        plain = figure(floats[name], name) if floats.get(name) else ""
        beside = _beside_float(value, floats[name], name) if plain else ""
        own, was = figures((value, before.get(name)), shown_name(name, metric))
        was = was if name in before else ""
        tiles.append(Tile(label, own, was, change, better, interval, plain, beside))
    return tuple(tiles)


def _beside_float(value: float, floats: float, name: str) -> str:
    """A change against the float model: of an accuracy, a share, in points."""
    if name.startswith("accuracy"):
        return f"{100 * (value - floats):+.2f} points"
    return change_text(value / floats - 1)


_NAMES = {"default": "default", "float": "float model on the CPU"}


def _gains(result: StudyResult, chosen: OuterTrial) -> tuple[str, ...]:
    """What is gained, and what must not be left unsaid."""
    gains = [
        f"Against the {_NAMES[name]}: {gain_text(changes, noise_of(result, chosen, name))}."
        for name, changes in change_documents(result, chosen).items()
        if chosen.number or name != "default"
    ]
    goals = result.settings.objectives
    told = (*warnings_of(chosen, result.default, goals), *doubts_of(result.trials))
    told = (*told, *notes_of(chosen, result.default, goals))
    return (*gains, *(f"{text}." for text in told))


def _tasks(result: StudyResult, compiled: CompiledPart) -> tuple[TaskRow, ...]:
    from nest_tune.report.spaces import schedules_known

    if compiled.sources.rows:  # their operators say it
        return ()
    users: dict[str, list[str]] = {}
    for row in compiled.layers:
        if row.chosen is not None and row.chosen.task:
            users.setdefault(row.chosen.task, []).append(row.name)
    rows = [
        TaskRow(
            name,
            t.default_cycles,
            t.cycles,
            t.bound_cycles,
            schedules_known(t),
            tuple(users.get(name, ())),
        )
        for name, t in result.tasks.items()
    ]
    return tuple(sorted(rows, key=lambda r: (r.bound_cycles - r.cycles, r.name)))


def _failures(result: StudyResult) -> tuple[Failure, ...]:
    """Trials by outcome and message; those of rare messages of an outcome together, so that there
    are a few rows however many trials there are."""
    found: dict[tuple[str, str], list[int]] = {}
    for trial in result.trials:
        if trial.outcome is Outcome.COMPLETE:
            continue
        # Messages of broken limits hold the values of each trial; one stands for all.
        message = "" if trial.outcome is Outcome.CONSTRAINTS else trial.message
        found.setdefault((trial.outcome.value, message), []).append(trial.number)
    first = {t.number: t.message for t in result.trials}
    ranked = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = [
        Failure(outcome, len(numbers), tuple(numbers), message or first[numbers[0]])
        for (outcome, message), numbers in ranked[:_MOST_FAILURES]
    ]
    rest: dict[str, list[list[int]]] = {}
    for (outcome, _), numbers in ranked[_MOST_FAILURES:]:
        rest.setdefault(outcome, []).append(numbers)
    for outcome, groups in rest.items():
        together = sorted(number for numbers in groups for number in numbers)
        rows.append(
            Failure(outcome, len(together), tuple(together), first[together[0]], len(groups))
        )
    return tuple(rows)
