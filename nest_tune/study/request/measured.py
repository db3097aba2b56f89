"""What is measured of candidates on a target, and what is asked for where nobody says it."""

from __future__ import annotations

from collections.abc import Sequence

from compiler_core.errors import InputError
from compiler_core.executable.report import COSTS_BY_CLOCK
from compiler_core.targets.load import load_target
from compiler_core.targets.source_kinds import candidates_for
from nest_tune.bundling import is_bundle_target
from nest_tune.study.request.goals import (
    Direction,
    Limit,
    Objective,
    TrialMetric,
    UnknownMetricError,
)

_OF_SOURCES = (
    TrialMetric.INSTRUCTIONS,
    TrialMetric.CYCLES,
    TrialMetric.FLASH_BYTES,
    TrialMetric.CONSTANT_BYTES,
    TrialMetric.RAM_PEAK_BYTES,
)
"""Metrics of generated sources alone."""


def measured_metrics(target: str, measurer: str = "") -> tuple[TrialMetric, ...]:
    """What is measured on a target, what objectives are likeliest about first.

    Args:
        target: Name or file.
        measurer: Your own, which may know what a clock does not.

    Raises:
        InputError: There is no such target, or its file is wrong.
    """
    accuracy = (TrialMetric.ACCURACY, TrialMetric.ACCURACY_DROP)
    if not is_bundle_target(target):
        if not measurer and load_target(target).by_clock:
            return (*map(TrialMetric, COSTS_BY_CLOCK), *accuracy)
        return (*(m for m in TrialMetric if m not in _OF_SOURCES and m not in accuracy), *accuracy)
    names = candidates_for(target).metrics(target)
    return (*map(TrialMetric, names), *accuracy)


def default_objectives(target: str, evaluation: str | None) -> tuple[Objective, ...]:
    """What is wanted where nobody says it: the first metric, and accuracy where it can be known."""
    first = Objective(measured_metrics(target)[0], Direction.MINIMIZE)
    accuracy = Objective(TrialMetric.ACCURACY, Direction.MAXIMIZE)
    return (first,) if evaluation is None else (first, accuracy)


def require_measured(
    target: str, objectives: Sequence[Objective], limits: Sequence[Limit], measurer: str = ""
) -> None:
    """Refuses goals about what is not measured on a target.

    Raises:
        InputError: Names what is.
    """
    known = measured_metrics(target, measurer)
    asked = [("objective", goal.metric, goal.name) for goal in objectives]
    asked += [("limit", limit.metric, limit.name) for limit in limits]
    for what, metric, name in asked:
        if metric not in known:
            raise InputError(
                f"{what} {name or metric.value}: it is not measured on target "
                f"{target!r}; known there are {', '.join(metric.value for metric in known)}",
                hint=f"--objective {known[0].value}:min",
            )


def on_target(error: UnknownMetricError, target: str, measurer: str = "") -> InputError:
    """The same error with the metrics that are measured on a target, and no others.

    Raises:
        InputError: There is no such target, or its file is wrong.
    """
    return error.among(measured_metrics(target, measurer))
