"""What a chosen trial gains against a reference, in per cent, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler_core.accuracy.metric import is_in_decibels, shown_name
from nest_tune.figures import change as change_text
from nest_tune.figures import figures
from nest_tune.study.proposals.evidence import differs_by_chance, trial_score
from nest_tune.study.proposals.front import is_worse
from nest_tune.study.request.goals import Direction, Metrics, Objective, TrialMetric
from nest_tune.study.trial import OuterTrial

COSTS = tuple(metric for metric in TrialMetric if not metric.needs_evaluation)
"""What is told in per cent: accuracies are told in points."""

NOTED_PERCENT = 10.0
"""By how much a cost that nobody asked for may grow without a word."""


def changes_percent(metrics: Metrics, reference: Metrics) -> dict[str, float]:
    """Change of every cost that both know, in per cent of the reference: below 0 is less.

    Args:
        metrics: Of a trial.
        reference: Of what it is compared with; what is 0 there has no change in per cent.
    """
    found = {}
    for metric in COSTS:
        name = metric.value
        before = reference.get(name, 0.0)
        if name in metrics and before:
            found[name] = 100.0 * (metrics[name] - before) / before
    return found


def within_noise(trial: OuterTrial, reference: OuterTrial) -> tuple[str, ...]:
    """Costs in which repeats by the clock do not tell two trials apart."""
    goals = [Objective(metric, Direction.MINIMIZE) for metric in COSTS]
    names = [goal.metric.value for goal in goals]
    return tuple(
        name
        for name, goal in zip(names, goals, strict=True)
        if name in trial.intervals
        and name in reference.intervals
        and not is_worse(trial, reference, goal)
        and not is_worse(reference, trial, goal)
    )


def gain_text(changes: Mapping[str, float], noise: Sequence[str] = ()) -> str:
    """Changes for people; of those of ``noise`` no number is told."""
    return ", ".join(
        f"{name} within noise" if name in noise else f"{name} {change_text(value / 100)}"
        for name, value in changes.items()
    )


def accuracy_gain_text(trial: OuterTrial, reference: OuterTrial, metric: str) -> str:
    """Change of the accuracy for people, with its name; empty where one of two has none.

    Args:
        trial, reference: What is compared.
        metric: Of the accuracy, by name.
    """
    entry = TrialMetric.ACCURACY.value
    if entry not in trial.metrics or entry not in reference.metrics:
        return ""
    name = shown_name(entry, metric)
    difference = trial.metrics[entry] - reference.metrics[entry]
    if difference == 0:
        return f"{name} as it was"
    by_chance = differs_by_chance(trial_score(trial), trial_score(reference))
    text = accuracy_difference_text(difference, metric)
    return f"{name} {text}, within chance" if by_chance else f"{name} {text}"


def accuracy_difference_text(difference: float, metric: str) -> str:
    """A difference of two accuracies: in points, or in decibels where ``metric`` is in these."""
    return f"{difference:+.1f} dB" if is_in_decibels(metric) else f"{100 * difference:+.2f} points"


def doubts_of(trials: Sequence[OuterTrial]) -> tuple[str, ...]:
    """How many trials were timed on a machine that others used, or that did not come to rest."""
    found = [trial for trial in trials if trial.doubts]
    if not found:
        return ()
    first = found[0]
    return (
        f"{len(found)} of {len(trials)} trials were timed under doubt; trial {first.number}: "
        f"{'; '.join(first.doubts)}",
    )


def notes_of(
    chosen: OuterTrial | None, default: OuterTrial | None, objectives: Sequence[Objective]
) -> tuple[str, ...]:
    """Costs that the chosen trial pays for its gains: those that are no objective, and more than
    :data:`NOTED_PERCENT` above the untuned default's.

    Args:
        chosen: The trial that is taken.
        default: Trial 0.
        objectives: Of the study.
    """
    if chosen is None or default is None or not default.outcome.is_measured:
        return ()
    aims, noise = {goal.metric.value for goal in objectives}, within_noise(chosen, default)
    return tuple(
        f"{name} is {change_text(change / 100)} against the untuned default, "
        f"{' for '.join(figures((chosen.metrics[name], default.metrics[name]), name))}; a limit "
        "on it keeps it down"
        for name, change in changes_percent(chosen.metrics, default.metrics).items()
        if change > NOTED_PERCENT and name not in aims and name not in noise
    )


def warnings_of(
    chosen: OuterTrial | None, default: OuterTrial | None, objectives: Sequence[Objective]
) -> tuple[str, ...]:
    """What is never left unsaid: that the chosen trial is worse than the untuned default.

    Args:
        chosen: The trial that is taken.
        default: Trial 0.
        objectives: Of the study; the first one counts.
    """
    if chosen is None or default is None or not default.outcome.is_measured or not objectives:
        return ()
    goal = objectives[0]
    name = goal.metric.value
    own, before = chosen.metrics[name], default.metrics[name]
    if not is_worse(chosen, default, goal):
        return ()
    slower = "more" if goal.direction is Direction.MINIMIZE else "less"
    change = f" ({change_text((own - before) / before)})" if before else ""
    why = (
        "the default breaks a limit"
        if not default.is_feasible
        else "the default keeps all limits: --pick fastest takes the best in the first objective"
    )
    return (
        f"trial {chosen.number} has {slower} {name} than the untuned default, "
        f"{' for '.join(figures((own, before), name))}{change}; {why}",
    )
