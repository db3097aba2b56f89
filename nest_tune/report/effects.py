"""What each decision of the chosen trial is worth, as a report shows it: measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nest_tune.report.changes import Effect
from nest_tune.report.explain import (
    Explanation,
    Verdict,
    asked_metrics,
    explain,
    left_out_text,
    limit_text,
    verdict,
)
from nest_tune.study.proposals.evidence import differs_by_chance, trial_score
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import OuterTrial
from nest_tune.study_command import study_command

if TYPE_CHECKING:
    from compiler_core.compile.compile import CompiledModel
    from nest_tune.study.store.results import ResultRows


@dataclass(frozen=True)
class EffectRow:
    """One decision changed back to the default, everything else kept.

    Attributes:
        decision, value, default: Its name, what the trial and what the default decides.
        changes: Of the metrics against the trial, by name; empty where nothing was measured.
        better: By metric whether its change is for the better; ``None`` for none.
        verdict: What that does to the objectives.
        note: Why nothing was measured, or what to keep in mind.
    """

    decision: str
    value: str
    default: str
    changes: Mapping[str, float]
    better: Mapping[str, bool | None]
    verdict: str
    note: str


@dataclass(frozen=True)
class Effects:
    """What the decisions and the limits of a trial are worth.

    Attributes:
        names: Metrics that objectives or limits are about.
        rows: One per decision that is not the default's, those with the largest change of the first
            objective first.
        limits: One sentence for each.
        better: Decisions that would be better as in the default.
        left_out: How many decisions are not measured, and what measures them.
        interrupted: Whether somebody broke the measurements off.
    """

    names: tuple[str, ...] = ()
    rows: tuple[EffectRow, ...] = ()
    limits: tuple[str, ...] = ()
    better: tuple[str, ...] = ()
    left_out: str = ""
    interrupted: bool = False


def effects(
    ground: Ground,
    result: StudyResult,
    trial: OuterTrial,
    progress: Callable[[str], None],
    *,
    count: int | str | None = None,
    compiled: CompiledModel | None = None,
    storage: ResultRows | None = None,
) -> Effects:
    """Changes decisions back and measures again, as :func:`nest_tune.report.explain.explain`.

    Raises:
        InputError: A file is wrong.
    """
    found = explain(
        ground, result, trial, count=count, compiled=compiled, storage=storage, progress=progress
    )
    settings = result.settings
    names = dict.fromkeys(asked_metrics(settings))
    first = settings.objectives[0].metric.value
    rows = [_row(effect, found, result) for effect in found.effects]
    rows.sort(key=lambda row: -abs(row.changes.get(first, 0.0)))
    return Effects(
        tuple(name for name in names if name in trial.metrics),
        tuple(rows),
        tuple(limit_text(binding, result) for binding in found.bindings),
        tuple(row.decision for row in rows if row.verdict == Verdict.BETTER.value),
        left_out_text(found.effects, study_command("explain", result.study.name)),
        found.interrupted,
    )


def _is_noise(effect: Effect, trial: OuterTrial, name: str, *, by_chance: bool) -> bool:
    """Whether samples, or repeats by the clock, do not tell what was measured from the trial."""
    if name.startswith("accuracy"):
        return by_chance
    ours, theirs = effect.intervals.get(name), trial.intervals.get(name)
    if ours is None or theirs is None:
        return False
    return ours[0] <= theirs[1] and theirs[0] <= ours[1]


def _row(effect: Effect, found: Explanation, result: StudyResult) -> EffectRow:
    trial = found.trial
    names = [name for name in effect.metrics if name in trial.metrics]
    changes = {name: effect.metrics[name] - trial.metrics[name] for name in names}
    by_chance = differs_by_chance(effect.score, trial_score(trial))
    better: dict[str, bool | None] = {
        name: None
        if not change or _is_noise(effect, trial, name, by_chance=by_chance)
        else (change > 0) == (name == "accuracy")
        for name, change in changes.items()
    }
    notes = [effect.message, *(f"breaks {limit}" for limit in effect.breaks)]
    if effect.untuned:
        notes.append(f"{effect.untuned} task{'s' if effect.untuned > 1 else ''} untuned")
    return EffectRow(
        effect.decision,
        effect.value,
        effect.default,
        changes,
        better,
        verdict(effect, trial, result).value,
        ", ".join(note for note in notes if note),
    )
