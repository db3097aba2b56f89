"""One of Optuna's samplers tried on made-up results before a study starts.

They import what they need, and refuse what they do not support, when they first use their results:
after ten trials or more.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

from compiler_core.errors import InputError, MissingDependencyError, NestTuneError
from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.made_up import made_up_trials
from nest_tune.study.proposals.optuna_proposer import OptunaProposer
from nest_tune.study.proposals.problem import SearchProblem

_STARTUP, _MOST = "n_startup_trials", 64
_USUAL = 10


def rehearse_sampler(problem: SearchProblem, make: Any) -> None:
    """Has a sampler propose a trial after so many that it uses their results.

    Args:
        problem: What is to be searched; nothing of it is changed.
        make: What makes the sampler.

    Raises:
        InputError: It refuses the space, the objectives or its arguments.
        MissingDependencyError: It needs a package that is not installed.
    """
    count = _startup(problem, make) + 2
    if count > _MOST:
        return
    trials = made_up_trials(problem, count)
    try:
        OptunaProposer(replace(problem), History(trials), make).ask(count, set())
    except (InputError, MissingDependencyError):
        raise
    except NestTuneError as error:
        said = error.message.replace(f"trial {count}: ", "", 1)
        raise InputError(said, hint=error.hint) from error


def _startup(problem: SearchProblem, make: Any) -> int:
    given = problem.arguments.get(_STARTUP)
    if given is None:
        parameter = inspect.signature(make).parameters.get(_STARTUP)
        given = _USUAL if parameter is None else parameter.default
    return given if isinstance(given, int) and given >= 0 else _USUAL
