"""Accuracy of the float model, which trials are compared with."""

from __future__ import annotations

from collections.abc import Callable

from compiler_core.accuracy.score import Score
from compiler_core.errors import InputError, NestTuneError, ResourceError
from nest_tune.runners.runner import Answer, Ending
from nest_tune.study.running.cached_calls import Calls

WORKER = "nest_tune.study.execution.worker"
MEASURE = f"{WORKER}:measure"
"""The module whose functions workers run."""


def require_resources(answer: Answer) -> None:
    """Ends a study whose workers have no room.

    Raises:
        ResourceError: They have none.
    """
    if answer.error == ResourceError.__name__:
        raise ResourceError(
            f"a worker: {answer.message}",
            hint="make room on the machine of the workers; what has been stored is kept",
        )


def measure_baseline(calls: Calls, noted: Callable[[str], None]) -> tuple[Score, Score] | None:
    """Accuracy on a subset of the samples and on all; ``None`` where none is measured.

    Args:
        calls: Workers.
        noted: Told what makes the data doubtful.

    Raises:
        InputError: A file is wrong.
        ResourceError: The worker has no room.
        NestTuneError: It failed, or took longer than a trial may.
    """
    answers: list[Answer] = []
    calls.start(f"{WORKER}:float_accuracy", {}, answers.append)
    calls.drain()
    (answer,) = answers
    require_resources(answer)
    if answer.ending is Ending.TIMEOUT:
        raise NestTuneError(
            f"accuracy of the float model: {answer.message}, the time of a trial",
            hint="--trial-timeout with more time",
        )
    if answer.ending is not Ending.DONE:
        kind = InputError if answer.error == "InputError" else NestTuneError
        hint = answer.hint or "nest-tune study start --dry-run checks all files"
        raise kind(answer.message, hint=hint)
    if answer.value is None:
        return None
    subset, full, notes = answer.value
    for note in notes:
        noted(note)
    return Score(**subset), Score(**full)
