"""What to try next: batches of proposals from Optuna's samplers.

Proposals are a pure function of (seed, space, trials before the batch): an Optuna study in memory
is rebuilt from them for every batch, and the random stream of each trial derives from (study seed,
trial number). So the number of workers, a kill or a resume cannot change them. No point is proposed
twice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nest_tune.study.proposals.front import pareto_front
from nest_tune.study.proposals.guided import GuidedProposals
from nest_tune.study.request.goals import Limit, Objective, scale_of
from nest_tune.study.trial import OuterTrial, Point, Proposal
from search_spaces.joint import JointSpace

optuna.logging.set_verbosity(optuna.logging.ERROR)

_ATTEMPTS = 6
"""Times that a sampler is asked for a point that nobody has tried."""

_INFEASIBLE = 1e6
_STARTUP = 10


@dataclass(frozen=True)
class SearchProblem:
    """What proposals depend on beside the trials.

    Attributes:
        space: Where to search.
        objectives, limits: What for.
        sampler: Name in :data:`SAMPLERS`.
        seed: Of the study.
        tuned: Whether trials have tuned schedules: then the default point is tried a second time,
            tuned.
    """

    space: JointSpace
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    sampler: str
    seed: int
    tuned: bool


Sampler = Callable[[int], optuna.samplers.BaseSampler]
"""A sampler from a seed."""


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


SAMPLERS: dict[str, Sampler] = {"tpe": _tpe, "nsga2": _nsga2, "random": _random}
EXHAUSTIVE = "exhaustive"
GUIDED = "xgb"
PREDICTED = "predicted"
"""Attribute of a trial: what the model expected of its objectives, by metric."""


def stream_seed(seed: int, number: int, attempt: int = 0) -> int:
    """Seed of one trial's random stream."""
    return int(np.random.SeedSequence([seed, number, attempt]).generate_state(1)[0])


def propose(
    problem: SearchProblem, history: Sequence[OuterTrial], first: int, count: int
) -> tuple[Proposal, ...]:
    """The next batch; fewer where the space is exhausted, none where nothing is left.

    Args:
        problem: What is searched.
        history: All trials before ``first``, by number.
        first: Number of the first trial of the batch.
        count: Wanted proposals.
    """
    space = problem.space
    if first == 0:
        return (Proposal(0, space.default, tuned=False),)
    seen = {trial.point for trial in history if trial.tuned == problem.tuned}
    batch: list[Proposal] = []

    def take(point: Point, attributes: Mapping[str, Any] | None = None) -> None:
        seen.add(point)
        batch.append(Proposal(first + len(batch), point, problem.tuned, attributes or {}))

    for point in (space.default, *space.guesses()):
        if point not in seen and len(batch) < count:
            take(point)
    if problem.sampler == EXHAUSTIVE:
        for point in space.enumerate():
            if len(batch) == count:
                break
            if point not in seen:
                take(point)
        return tuple(batch)
    if len(batch) < count and len(seen) < space.product_size and space.parameters:
        asked = _Guided(problem, history) if problem.sampler == GUIDED else _Asker(problem, history)
        while len(batch) < count:
            number = first + len(batch)
            found = asked.ask(number, seen) or _unseen(problem, history, number, seen)
            if found is None:
                break
            take(*found)
    return tuple(batch)


Asked = tuple[Point, Mapping[str, Any]]
"""A point, and what its sampler wants to see again."""


class _Asker:
    """An Optuna study in memory that holds the history."""

    def __init__(self, problem: SearchProblem, history: Sequence[OuterTrial]) -> None:
        self._problem = problem
        self._distributions = distributions(problem.space)
        self._study = optuna.create_study(
            directions=[o.direction.value for o in problem.objectives],
            sampler=_random(problem.seed),
        )
        default = history[0].metrics if history else {}
        for trial in history:
            self._study.add_trial(frozen_trial(problem, self._distributions, trial, default))

    def ask(self, number: int, seen: set[Point]) -> Asked | None:
        for attempt in range(_ATTEMPTS):
            make = SAMPLERS[self._problem.sampler]
            self._study.sampler = make(stream_seed(self._problem.seed, number, attempt))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                trial = self._study.ask(fixed_distributions=self._distributions)
            point = tuple(int(trial.params[name]) for name in self._distributions)
            if point not in seen and self._problem.space.is_legal(point):
                stored = self._study.trials[trial.number].system_attrs
                return point, {key: value for key, value in stored.items() if "nsga" in key}
        return None


class _Guided:
    """The guided sampler."""

    def __init__(self, problem: SearchProblem, history: Sequence[OuterTrial]) -> None:
        self._seed = problem.seed
        self._guided = GuidedProposals(problem, history, stream_seed(problem.seed, len(history)))

    def ask(self, number: int, seen: set[Point]) -> Asked | None:
        found = self._guided.propose(number, stream_seed(self._seed, number), seen)
        if found is None:
            return None
        point, expected = found
        return point, {PREDICTED: expected} if expected else {}


def _unseen(
    problem: SearchProblem, history: Sequence[OuterTrial], number: int, seen: set[Point]
) -> Asked | None:
    """A point that nobody has tried: near the front first, then anywhere."""
    space = problem.space
    generator = np.random.default_rng(stream_seed(problem.seed, number, _ATTEMPTS))
    starts = [trial.point for trial in pareto_front(history, problem.objectives)]
    near = sorted({n for start in starts for n in space.neighbours(start)} - seen)
    if near:
        return near[int(generator.integers(len(near)))], {}
    for _ in range(256):
        point = space.sample(generator)
        if point not in seen:
            return point, {}
    if space.product_size <= 1 << 16:
        left = [point for point in space.enumerate() if point not in seen]
        if left:
            return left[int(generator.integers(len(left)))], {}
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
