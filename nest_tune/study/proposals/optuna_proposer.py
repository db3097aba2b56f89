"""Configurations from Optuna's samplers: an Optuna study in memory is rebuilt for every batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nest_tune.study.proposals.problem import ATTEMPTS, Asked, SearchProblem, stream_seed
from nest_tune.study.request.goals import scale_of
from nest_tune.study.trial import OuterTrial, Point
from search_spaces.joint import JointSpace

optuna.logging.set_verbosity(optuna.logging.ERROR)

Sampler = Callable[[int], optuna.samplers.BaseSampler]
"""A sampler from a seed."""

_INFEASIBLE = 1e6
_STARTUP = 10


def make_tpe(problem: SearchProblem, history: Sequence[OuterTrial]) -> OptunaProposer:
    """Tree-structured Parzen estimators."""
    return OptunaProposer(problem, history, _tpe)


def make_nsga2(problem: SearchProblem, history: Sequence[OuterTrial]) -> OptunaProposer:
    """NSGA-II."""
    return OptunaProposer(problem, history, _nsga2)


def make_random(problem: SearchProblem, history: Sequence[OuterTrial]) -> OptunaProposer:
    """Uniformly at random."""
    return OptunaProposer(problem, history, _random)


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(
        n_startup_trials=_STARTUP,
        n_ei_candidates=24,
        seed=seed,
        multivariate=True,
        group=False,
        constant_liar=True,
    )


def _nsga2(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(
        population_size=24, crossover_prob=0.9, swapping_prob=0.5, seed=seed
    )


def _random(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


class OptunaProposer:
    """See :class:`~nest_tune.study.proposals.problem.Proposer`.

    Args:
        problem: What is searched.
        history: Trials before the batch: what the study in memory holds.
        sampler: Optuna's, made anew for every trial.
    """

    def __init__(
        self, problem: SearchProblem, history: Sequence[OuterTrial], sampler: Sampler
    ) -> None:
        self._problem = problem
        self._make = sampler
        self._distributions = distributions(problem.space)
        self._study = optuna.create_study(
            directions=[o.direction.value for o in problem.objectives],
            sampler=_random(problem.seed),
        )
        default = history[0].metrics if history else {}
        for trial in history:
            self._study.add_trial(frozen_trial(problem, self._distributions, trial, default))

    def ask(self, number: int, seen: set[Point]) -> Asked | None:
        for attempt in range(ATTEMPTS):
            self._study.sampler = self._make(stream_seed(self._problem.seed, number, attempt))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                trial = self._study.ask(fixed_distributions=self._distributions)
            point = tuple(int(trial.params[name]) for name in self._distributions)
            if point not in seen and self._problem.space.is_legal(point):
                stored = self._study.trials[trial.number].system_attrs
                return point, {key: value for key, value in stored.items() if "nsga" in key}
        return None


def distributions(space: JointSpace) -> dict[str, BaseDistribution]:
    """Optuna's view of the parameters: indices; categories where the order means nothing."""
    return {
        p.name: IntDistribution(0, len(p) - 1)
        if p.ordered
        else CategoricalDistribution(tuple(range(len(p))))
        for p in space.parameters
    }


def frozen_trial(
    problem: SearchProblem,
    spread: Mapping[str, BaseDistribution],
    trial: OuterTrial,
    default: Mapping[str, float],
) -> FrozenTrial:
    """A finished trial as Optuna sees it.

    Infeasible ones are complete ones that exceed a limit by far; those that broke are failed, which
    samplers pass over.
    """
    params = dict(zip(spread, trial.point, strict=True))
    metrics = trial.metrics if trial.outcome.is_measured else default
    names = [o.metric.value for o in problem.objectives]
    values = [metrics[name] for name in names if name in metrics]
    if trial.outcome.is_error or len(values) < len(names):
        return create_trial(state=TrialState.FAIL, params=params, distributions=dict(spread))
    if trial.outcome.is_measured:
        constraints = {
            limit.metric.value: limit.slack(
                trial.metrics[limit.metric.value], scale_of(limit, default)
            )
            for limit in problem.limits
        }
    else:
        constraints = {"feasible": _INFEASIBLE}
    if problem.limits and not trial.outcome.is_measured:
        constraints |= {limit.metric.value: _INFEASIBLE for limit in problem.limits}
    return create_trial(
        params=params,
        distributions=dict(spread),
        values=values,
        constraints=constraints,
        system_attrs=dict(trial.attributes),
    )
