"""Names and units of goals: what they mean depends on the metric of accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from compiler_core.accuracy.metric import is_in_decibels, is_own, shown_name
from compiler_core.boards.address import is_address
from compiler_core.errors import InputError
from compiler_core.targets.this_machine import HOST
from nest_tune.study.request.goals import Limit, Objective, check_metric_name
from nest_tune.study.request.goals import TrialMetric as Measured

_LEAST_DB = "--constraint 'sqnr_db>=20dB' asks for a least one"


def check_goals(
    objectives: Sequence[Objective], limits: Sequence[Limit], metric: str, target: str = ""
) -> None:
    """Refuses goals that do not fit the metric.

    Args:
        objectives, limits: Of a study.
        metric: Of accuracy, by name; empty where it is not settled yet.
        target: Of the study, as it was given: hints differ.

    Raises:
        InputError: One has the name of another metric, or as :func:`check_units`.
    """
    for objective in objectives:
        check_metric_name(objective.name, metric, "objectives")
    for limit in limits:
        check_metric_name(limit.name, metric, "constraints")
    check_units(limits, metric, target)


def check_units(limits: Sequence[Limit], metric: str, target: str = "") -> None:
    """Refuses bounds on accuracy whose unit is not that of the metric, or could be two.

    Args:
        limits: Of a study.
        metric: Of accuracy, by name; empty where it is not settled yet.
        target: Of the study, as it was given.

    Raises:
        InputError: A bound in dB for a metric that is a share or the other way round, one of more
            than 100 %, or a drop of 1 or more without a unit, which may mean percent.
    """
    if is_own(metric):
        return
    in_decibels = is_in_decibels(metric)
    # What is timed by the clock is float untuned: from there every integer loses all of its dB.
    from_float = target == HOST or is_address(target)
    for limit in limits:
        if not limit.metric.needs_evaluation:
            continue
        name = f"{shown_name(limit.metric.value, metric)} {limit.text}"
        bounds = [abs(bound) for bound in (limit.low, limit.high) if isfinite(bound)]
        is_drop = limit.metric is Measured.ACCURACY_DROP
        if in_decibels:
            if limit.unit == "%" or (is_drop and limit.unit != "dB"):
                raise InputError(
                    f"{name}: metric {metric} is in dB, and so are its limits",
                    hint=_LEAST_DB
                    if from_float
                    else f"{_LEAST_DB}; --max-accuracy-drop 1dB counts from the untuned default",
                )
            continue
        if limit.unit == "dB" and metric:
            raise InputError(
                f"{name}: metric {metric} is a share, and its limits are none of dB",
                hint="--max-accuracy-drop 1%, or --metric sqnr_db",
            )
        if limit.unit == "%" and any(bound > 1 for bound in bounds):
            raise InputError(f"{name}: it is a share, and no share is more than 100 %")
        if not limit.unit and any(bound >= 1 if is_drop else bound > 1 for bound in bounds):
            raise InputError(
                f"{name} is ambiguous: it may mean percent, or all of them",
                hint="--max-accuracy-drop 1% or 0.01 for one of a hundred"
                + ("" if from_float else ", 1dB for sqnr_db"),
            )
