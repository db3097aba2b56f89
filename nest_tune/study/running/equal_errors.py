"""Studies whose first trials all fail in the same way end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler_core.errors import NestTuneError
from nest_tune.study.trial import OuterTrial
from nest_tune.study_command import study_command

EQUAL_ERRORS = 10
"""So many equal errors at the start end a study."""


def equal_errors(
    history: Sequence[OuterTrial], first_trial: Callable[[], str | None]
) -> NestTuneError | None:
    """The error that ends a study, where its first trials all failed in the same way.

    Args:
        history: Finished trials, by number.
        first_trial: What ``study show`` takes to show the first of them, if it can.
    """
    start = history[:EQUAL_ERRORS]
    if len(start) < EQUAL_ERRORS or not all(trial.outcome.is_error for trial in start):
        return None
    if len({(trial.outcome, trial.message) for trial in start}) > 1:
        return None
    shown = first_trial()
    return NestTuneError(
        f"the first {EQUAL_ERRORS} trials all failed in the same way "
        f"({start[0].outcome.value}): {start[0].message}",
        hint=None if shown is None else study_command("show", shown),
    )
