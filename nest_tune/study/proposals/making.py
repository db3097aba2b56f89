"""The proposer that stands behind the name of a sampler."""

from __future__ import annotations

from dataclasses import replace

from nest_tune.samplers.registry import DEFAULT_SAMPLER, load_configuration_sampler
from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.problem import Proposer, SearchProblem


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
    propose a trial, too. What others fail at with made-up results may be due to these.

    Raises:
        InputError: There is none of that name, or it does not take its arguments or the space.
        MissingDependencyError: It needs a package that is not installed.
    """
    if problem.sampler == DEFAULT_SAMPLER:
        return
    make, is_optuna = load_configuration_sampler(problem.sampler)
    if not is_optuna:
        return
    from nest_tune.study.proposals.optuna_making import make_sampler
    from nest_tune.study.proposals.sampler_traits import is_optunas, traits_of

    tried = replace(problem)
    if not traits_of(tried, make).keeps_state:
        made = make_sampler(tried, make, 0)
        if is_optunas(made) and problem.space.parameters:
            from nest_tune.study.proposals.sampler_rehearsal import rehearse_sampler

            rehearse_sampler(tried, make)
