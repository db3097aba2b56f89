"""Rules by which one trial of a front is taken.

Where accuracy has a limit, what is wanted is the best that keeps it: without a rule the first
objective decides. Without such a limit objectives are weighed against one another: the knee.
Trials that repeats by the clock do not tell apart are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from compiler_core.accuracy.metric import shown_name
from compiler_core.errors import InputError
from compiler_core.sums import float_sum
from nest_tune.study.proposals.front import least, losses
from nest_tune.study.request.goals import (
    Direction,
    Limit,
    Objective,
    TrialMetric,
    check_metric_name,
    parse_metric,
)
from nest_tune.study.trial import OuterTrial

FASTEST, KNEE = "fastest", "knee"
PICKS = (FASTEST, KNEE, "min", "max", "lex")


def default_rule(limits: Sequence[Limit]) -> str:
    """The rule where none is asked for."""
    return FASTEST if any(limit.metric.needs_evaluation for limit in limits) else KNEE


@dataclass(frozen=True)
class Rule:
    """How one trial of a front is chosen.

    Attributes:
        kind: One of :data:`PICKS`.
        metrics: Compared, in this order; empty for ``fastest`` and ``knee``.
    """

    kind: str
    metrics: tuple[TrialMetric, ...] = ()


def parse_rule(text: str, accuracy: str = "", *, evaluated: bool = True) -> Rule:
    """``fastest``; ``knee``; ``min:METRIC`` or ``max:METRIC``; ``lex:METRIC,METRIC,…``.

    Args:
        text: As written.
        accuracy: What is measured as accuracy, by name; empty where that is not settled.
        evaluated: Whether accuracy is measured.

    Raises:
        InputError: It reads otherwise, or names what is not measured.
    """
    kind, _, names = text.partition(":")
    if kind in (FASTEST, KNEE) and not names:
        return Rule(kind)
    where = f"--pick {text}"
    if kind not in PICKS[2:] or not names:
        raise InputError(
            f"{where}: allowed are fastest, knee, min:METRIC, max:METRIC, lex:METRIC,METRIC",
            hint="--pick min:latency_ms",
        )
    written = [name.strip() for name in names.split(",")]
    metrics = tuple(parse_metric(name, where) for name in written)
    for name in written:
        check_metric_name(name, accuracy, where)
    if kind != "lex" and len(metrics) != 1:
        raise InputError(f"{where}: {kind} takes one metric", hint="--pick lex:accuracy,latency_ms")
    if not evaluated and any(metric.needs_evaluation for metric in metrics):
        raise InputError(
            f"{where}: no accuracy is measured without evaluation data",
            hint="--evaluation eval.npz, or --pick min:latency_ms",
        )
    return Rule(kind, metrics)


def pick(
    front: Sequence[OuterTrial], objectives: Sequence[Objective], text: str, accuracy: str = ""
) -> OuterTrial | None:
    """One trial of a front.

    Args:
        front: What to choose from.
        objectives: What the front is of.
        text: A rule, as :func:`parse_rule` reads it; ``fastest`` takes the best in the first
            objective, ``lex`` in the first metric, ties broken by the next one.
        accuracy: What was measured as accuracy, by name.

    Raises:
        InputError: The rule reads otherwise or names a metric that the trials lack.
    """
    rule = parse_rule(text, accuracy)
    if rule.kind == KNEE:
        return _knee(front, objectives)
    if rule.kind == FASTEST:
        return least(front, objectives)
    wanted = [Objective(m, _direction(rule.kind, m, objectives)) for m in rule.metrics]
    for trial in front:
        for metric in rule.metrics:
            if metric.value not in trial.metrics:
                name = shown_name(metric.value, accuracy)
                raise InputError(f"--pick {text}: trial {trial.number} has no {name}")
    return least(front, wanted)


def _direction(kind: str, metric: TrialMetric, objectives: Sequence[Objective]) -> Direction:
    if kind == "min":
        return Direction.MINIMIZE
    if kind == "max":
        return Direction.MAXIMIZE
    for objective in objectives:
        if objective.metric is metric:
            return objective.direction
    return Direction.MAXIMIZE if metric is TrialMetric.ACCURACY else Direction.MINIMIZE


def _knee(front: Sequence[OuterTrial], objectives: Sequence[Objective]) -> OuterTrial | None:
    """The trial nearest to the best of every objective, each scaled to the front's own range."""
    if not front:
        return None
    table = [losses(trial, objectives) for trial in front]
    columns = list(zip(*table, strict=True))
    ranges = [(min(column), max(column) - min(column) or 1.0) for column in columns]

    def distance(row: Sequence[float]) -> float:
        pairs = zip(row, ranges, strict=True)
        return sqrt(float_sum(((value - low) / span) ** 2 for value, (low, span) in pairs))

    best = min(range(len(front)), key=lambda i: (distance(table[i]), front[i].number))
    return front[best]
