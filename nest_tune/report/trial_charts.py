"""Charts of a study's trials: fronts, and the best so far over trials and work."""

from __future__ import annotations

from collections.abc import Mapping, Set
from math import isfinite

from compiler_core.accuracy.metric import is_in_decibels, shown_name
from nest_tune.figures import figure
from nest_tune.report.charts import Dot, FrontChart, Limits, Line, ProgressChart
from nest_tune.report.data import label_of
from nest_tune.report.scale import short
from nest_tune.study.request.goals import Direction, Objective, TrialMetric
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import OuterTrial


def _limits(result: StudyResult, metric: str) -> Limits:
    """Limits of a metric; one on the accuracy drop bounds the accuracy, too."""
    for limit in result.settings.limits:
        if limit.metric.value == metric:
            return Limits(limit.low, limit.high)
    reference = float_accuracy(result)
    if metric == TrialMetric.ACCURACY.value and reference is not None:
        for limit in result.settings.limits:
            if limit.metric is TrialMetric.ACCURACY_DROP:
                low = reference - limit.high if isfinite(limit.high) else float("-inf")
                high = reference - limit.low if isfinite(limit.low) else float("inf")
                return Limits(low, high)
    return Limits()


def float_accuracy(result: StudyResult) -> float | None:
    """Accuracy that drops are counted from, by any trial that was measured on all samples: the
    float model's, in dB that of the default trial."""
    for trial in result.trials:
        if trial.settled and {"accuracy", "accuracy_drop"} <= set(trial.metrics):
            return trial.metrics["accuracy"] + trial.metrics["accuracy_drop"]
    return None


_MOST_TIPS = 600
"""Trials on a chart that name their values: each does so twice, for wide and for narrow pages."""


def _kind(trial: OuterTrial, front: Set[int], chosen: OuterTrial | None) -> str:
    if chosen is not None and trial.number == chosen.number:
        return "chosen"
    if trial.number == 0:
        return "default"
    if trial.number in front:
        return "front"
    return "feasible" if trial.is_feasible else "infeasible"


def _tip(trial: OuterTrial, names: tuple[str, ...], metric: str) -> str:
    known = {shown_name(n, metric): trial.metrics[n] for n in names if n in trial.metrics}
    parts = [f"{name} {figure(value, name)}" for name, value in known.items()]
    broken = f"; {trial.message}" if trial.message else ""
    return f"trial {trial.number}: {', '.join(parts)}{broken}"


def is_large(result: StudyResult) -> bool:
    """Whether a study has too many trials to name the values of each on its charts."""
    return len(result.trials) > _MOST_TIPS


def _named(result: StudyResult, chosen: OuterTrial | None) -> frozenset[int]:
    """Numbers of the trials that name their values: all, or of many the front's, evenly chosen."""
    if not is_large(result):
        return frozenset(trial.number for trial in result.trials)
    every = -(-len(result.front) // _MOST_TIPS)
    shown = {trial.number for trial in result.front[:: max(every, 1)]}
    return frozenset(shown | {0} | ({chosen.number} if chosen is not None else set()))


def front_charts(result: StudyResult, chosen: OuterTrial | None) -> tuple[FrontChart, ...]:
    """The first objective against each other one; with one alone against the accuracy."""
    goals = list(result.settings.objectives)
    if len(goals) == 1 and goals[0].metric is not TrialMetric.ACCURACY:
        goals.append(Objective(TrialMetric.ACCURACY, Direction.MAXIMIZE))
    first = goals[0]
    front, named = {trial.number for trial in result.front}, _named(result, chosen)
    charts = []
    for other in goals[1:]:
        names = first.metric.value, other.metric.value
        shown = [t for t in result.trials if all(n in t.metrics for n in names)]
        if len(shown) < 2:
            continue
        charts.append(
            FrontChart(
                label_of(names[0], result.settings.metric),
                label_of(names[1], result.settings.metric),
                tuple(
                    Dot(
                        t.metrics[names[0]],
                        t.metrics[names[1]],
                        _kind(t, front, chosen),
                        _tip(t, names, result.settings.metric) if t.number in named else "",
                    )
                    for t in shown
                ),
                _limits(result, names[0]),
                _limits(result, names[1]),
                first.direction is Direction.MINIMIZE,
            )
        )
    return tuple(charts)


def progress_charts(result: StudyResult, chosen: OuterTrial | None) -> tuple[ProgressChart, ...]:
    spent, clock = {}, 0.0
    for trial in result.trials:
        clock += trial.wall_s
        spent[trial.number] = clock
    charts = []
    for goal in result.settings.objectives:
        lines = _lines(result, goal, chosen)
        by_trial = {t.number: float(t.number) for t in result.trials}
        axes = [("trial", by_trial)]
        if goal == result.settings.objectives[0] and clock > 0:
            axes.append(("work of the runners, s", spent))
        for x_name, places in axes:
            chart = _progress_chart(result, goal, places, x_name, lines, _named(result, chosen))
            if chart is not None:
                charts.append(chart)
    return tuple(charts)


def _progress_chart(
    result: StudyResult,
    goal: Objective,
    places: Mapping[int, float],
    x_name: str,
    lines: tuple[Line, ...],
    named: Set[int],
) -> ProgressChart | None:
    name = goal.metric.value
    measured = [t for t in result.trials if name in t.metrics]
    if len(measured) < 2:
        return None
    best: list[tuple[float, float]] = []
    for trial in measured:
        if not (trial.is_feasible and trial.settled):
            continue
        value = trial.metrics[name]
        if not best or goal.loss(value) < goal.loss(best[-1][1]):
            best.append((places[trial.number], value))
    dots = tuple(
        Dot(
            places[t.number],
            t.metrics[name],
            "feasible" if t.is_feasible else "infeasible",
            _tip(t, (name,), result.settings.metric) if t.number in named else "",
        )
        for t in measured
    )
    return ProgressChart(x_name, label_of(name, result.settings.metric), dots, tuple(best), lines)


def _lines(result: StudyResult, goal: Objective, chosen: OuterTrial | None) -> tuple[Line, ...]:
    name, lines = goal.metric.value, []
    default = result.default
    if default is not None and name in default.metrics:
        value = default.metrics[name]
        lines.append(Line(value, f"default {short(value)}", "default"))
    if goal.metric is TrialMetric.LATENCY_MS and chosen is not None and chosen.bound_ms > 0:
        bound = chosen.bound_ms
        lines.append(Line(bound, f"bound of trial {chosen.number}: {short(bound)}", "bound"))
    reference = float_accuracy(result)
    in_decibels = is_in_decibels(result.settings.metric)
    if goal.metric is TrialMetric.ACCURACY and reference is not None and not in_decibels:
        lines.append(Line(reference, f"float model {short(reference)}", "float"))
    allowed = _limits(result, name)
    for bound in (allowed.low, allowed.high):
        if isfinite(bound):
            lines.append(Line(bound, f"limit {short(bound)}", "limit"))
    return tuple(lines)
