"""What each decision of the chosen trial is worth, as a report shows it: measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from compiler_core.errors import InputError
from compiler_core.quantize.sensitivity import layer_macs
from nest_tune.report.explain import (
    Effect,
    Explanation,
    Verdict,
    asked_metrics,
    changed_decisions,
    explain,
    limit_text,
    verdict,
)
from nest_tune.study.execution.benches import bench_of
from nest_tune.study.proposals.evidence import differs_by_chance, trial_score
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import OuterTrial

_MOST_WORK = 5e11
"""Multiplications of all accuracies together: a minute or two."""


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
    """

    names: tuple[str, ...] = ()
    rows: tuple[EffectRow, ...] = ()
    limits: tuple[str, ...] = ()
    better: tuple[str, ...] = ()


def effects(
    ground: Ground, result: StudyResult, trial: OuterTrial, progress: Callable[[str], None]
) -> Effects:
    """Changes each decision back and measures again.

    Raises:
        InputError: That would take long, or a file is wrong.
    """
    _require_quick(ground, result, trial)
    found = explain(ground, result, trial, progress=progress)
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
    )


def _require_quick(ground: Ground, result: StudyResult, trial: OuterTrial) -> None:
    if ground.settings.evaluation is None:
        return
    macs = sum(layer_macs(ground.model.graph).values())
    runs = len(changed_decisions(ground, result, trial)) * bench_of(ground.subjects).samples
    if macs * runs > _MOST_WORK:
        raise InputError(
            f"{runs:,} runs of a model of {macs:,} multiplications take long; "
            f"`nest-tune study explain {result.study.name}:{trial.number}` measures it"
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
