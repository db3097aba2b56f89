"""Which trial of a study is meant, and what it decides."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

from compiler_core.errors import InfeasibleError, InputError
from nest_tune.named import require_files
from nest_tune.study.store.result import StudyResult
from nest_tune.study.store.resume import check_unchanged
from nest_tune.study.store.stored_study import StoredStudy
from nest_tune.study.trial import OuterTrial
from nest_tune.study_command import study_command

if TYPE_CHECKING:
    from nest_tune.study.store.ground import Ground


def trial_of(result: StudyResult, number: int) -> OuterTrial:
    """A trial by number.

    Raises:
        InputError: There is none.
    """
    for trial in result.trials:
        if trial.number == number:
            return trial
    raise InputError(
        f"study {result.study.name!r} has no trial {number}; it has {len(result.trials)}",
        hint=study_command("trials", result.study.name),
    )


def selected(result: StudyResult, number: int | None, rule: str | None = None) -> OuterTrial:
    """A trial by number, else the pick of the front.

    Raises:
        InputError: There is no such trial, or the rule cannot be used.
        InfeasibleError: No trial is feasible.
    """
    if number is not None:
        return trial_of(result, number)
    chosen = result.chosen(rule)
    if chosen is None:
        name = result.study.name
        raise InfeasibleError(
            f"study {result.study.name!r}: none of {len(result.trials)} trials is feasible",
            hint=study_command("best", name)
            + f" shows the closest; {quote(f'{name}:NUMBER')} names a trial",
        )
    return chosen


def decisions_of(result: StudyResult, trial: OuterTrial) -> dict[str, Any]:
    """Value of each parameter that a trial sets otherwise than the default trial."""
    default = result.default
    found: dict[str, Any] = {}
    for index, (name, values) in enumerate(result.study.document.get("parameters", [])):
        if default is None or trial.point[index] != default.point[index]:
            found[name] = values[trial.point[index]]
    if trial.tuned:
        found["tiling"] = "tuned"
    return found


def ground_of(result: StudyResult) -> Ground:
    """What a study stands on, loaded again.

    Raises:
        InputError: A file is wrong, or has changed since the study was started.
    """
    from nest_tune.study.store.dependencies import survey_ground  # what only shows loads none

    require_files(result)
    ground = survey_ground(result.settings, result.study)
    check_unchanged(result.study, ground)
    return ground


def require_running(study: StoredStudy) -> StoredStudy:
    """The study, where a process works on it.

    Raises:
        InputError: None does.
    """
    if not study.is_running:
        raise InputError(
            f"study {study.name!r} is not running (status {study.status.value})",
            hint=study_command("show", study.name),
        )
    return study


def require_idle(study: StoredStudy) -> StoredStudy:
    """The study, where no process works on it.

    Raises:
        InputError: It is running.
    """
    if study.is_running:
        raise InputError(
            f"study {study.name!r} is running in process {study.owner}",
            hint=study_command("stop", study.name),
        )
    return study
