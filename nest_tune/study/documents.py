"""Studies and trials as JSON documents that scripts rely on."""

from __future__ import annotations

from typing import Any

from nest_tune.study.engine import outcome_counts
from nest_tune.study.front import closest
from nest_tune.study.lifecycle import StudyResult
from nest_tune.study.storage import Status
from nest_tune.study.trial import OuterTrial


def trial_document(trial: OuterTrial) -> dict[str, Any]:
    """One trial."""
    return {
        "number": trial.number,
        "outcome": trial.outcome.value,
        "metrics": dict(trial.metrics),
        "accuracy_samples": trial.accuracy_samples,
        "message": trial.message,
    }


def result_document(
    result: StudyResult, chosen: OuterTrial | None, package: str | None
) -> dict[str, Any]:
    """What ``study start`` and ``study best`` print."""
    default = result.default
    document: dict[str, Any] = {
        "study": result.study.name,
        "trials": len(result.trials),
        "chosen": None if chosen is None else trial_document(chosen),
        "default": None if default is None else trial_document(default),
        "front": [trial_document(trial) for trial in result.front],
        "package": package,
        "outcomes": outcome_counts(result.trials),
        "ended": None if result.ended is None else result.ended.value,
        "tasks": len(result.tasks),
        "measurements": sum(task.measurements for task in result.tasks.values()),
    }
    if chosen is None:
        near = closest(result.trials, result.settings.limits, default)
        document["closest"] = [trial_document(trial) for trial in near]
    return document


def study_status(result: StudyResult) -> str:
    """Status for people: a study whose process has died is interrupted."""
    study = result.study
    if study.status is Status.RUNNING and not study.is_running:
        return "interrupted"
    return study.status.value


def decisions_text(decisions: dict[str, Any]) -> str:
    """What a trial decides, in one line; empty for nothing beyond the default."""
    parts = []
    for name, values in decisions.items():
        if isinstance(values, dict) and values:
            text = ", ".join(f"{key}={value}" for key, value in values.items())
            parts.append(f"{name}: {text}")
    return "; ".join(parts)
