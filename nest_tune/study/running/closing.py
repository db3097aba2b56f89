"""The end of a run: what the chosen trial is compared with, and the accuracy that nobody chose by.

The float model is timed on the CPU of the target. Where part of the evaluation data only reports,
the front and the default are measured on it, beside the float model: here alone, and once each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nest_tune.runners.runner import Answer, Ending
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.running.cached_calls import Calls
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import OuterTrial

CLOSING = "closing"
"""Part of a study's document that this writes."""

_WORK = "nest_tune.study.execution.worker"


def closing_document(
    result: StudyResult, problem: SearchProblem, calls: Calls, *, reports: bool
) -> dict[str, Any]:
    """What is measured in the end, as plain values.

    Args:
        result: The study as it is now.
        problem: What was searched.
        calls: Workers.
        reports: Whether part of the evaluation data only reports.

    Returns:
        ``{"float": metrics, "holdout": {"float": score, "trials": {number: score}}}``; what could
        not be measured is left out.
    """
    found: dict[str, Any] = {}
    calls.start(f"{_WORK}:float_costs", {}, _taking(found, "float"))
    if reports:
        scores: dict[str, Any] = {}
        trials: dict[str, Any] = {}
        function = f"{_WORK}:reported_accuracy"
        calls.start(function, {"decisions": None}, _taking(scores, "float"))
        for trial in reported_trials(result):
            payload = {"decisions": problem.space.decode(trial.point)}
            key = {"scheme": trial.scheme}
            calls.start(function, payload, _taking(trials, str(trial.number)), key=key)
        calls.drain()
        if "float" in scores:
            found["holdout"] = {**scores, "trials": dict(sorted(trials.items(), key=_by_number))}
    calls.drain()
    return found


def reported_trials(result: StudyResult) -> Sequence[OuterTrial]:
    """The default, the front and the chosen trial, each once."""
    trials = {trial.number: trial for trial in result.front}
    chosen = result.chosen()
    if chosen is not None:
        trials[chosen.number] = chosen
    if result.default is not None and result.default.outcome.is_measured:
        trials[0] = result.default
    return [trials[number] for number in sorted(trials)]


def _by_number(item: tuple[str, Any]) -> int:
    return int(item[0])


def _taking(into: dict[str, Any], name: str) -> Any:
    def taken(answer: Answer) -> None:
        if answer.ending is Ending.DONE:
            into[name] = answer.value

    return taken
