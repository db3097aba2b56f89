"""The proposer that stands behind the name of a sampler."""

from __future__ import annotations

from nest_tune.samplers.registry import DEFAULT_SAMPLER, load_configuration_sampler
from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.problem import Proposer, SearchProblem

_OPTUNA = "optuna"


def make_proposer(problem: SearchProblem, history: History) -> Proposer:
    """A sampler of a study's configurations, for one trial.

    Raises:
        InputError: There is no such sampler, or it cannot be loaded.
    """
    make, is_optuna = load_configuration_sampler(problem.sampler)
    if is_optuna:
        from nest_tune.study.proposals.optuna_proposer import OptunaProposer

        return OptunaProposer(problem, history, make)
    made: Proposer = make(problem, history)
    return made


def require_sampler(problem: SearchProblem) -> None:
    """Refuses a sampler that cannot be made for a problem, before any trial has run; Optuna's own
    propose a trial, too. One that keeps a state is not tried: it is made once.

    Raises:
        InputError: There is none of that name, or it does not take its arguments or the space.
        MissingDependencyError: It needs a package that is not installed.
    """
    if problem.sampler == DEFAULT_SAMPLER:
        return
    make, is_optuna = load_configuration_sampler(problem.sampler)
    if is_optuna:
        from nest_tune.study.proposals.optuna_proposer import keeps_state, make_sampler

        if keeps_state(make):
            return
        made = make_sampler(problem, make, 0)
        if type(made).__module__.partition(".")[0] == _OPTUNA and problem.space.parameters:
            from nest_tune.study.proposals.sampler_rehearsal import rehearse_sampler

            rehearse_sampler(problem, make)
