"""The project's own samplers of configurations as Optuna's: for a plain ``study.optimize``.

The parameters of such a study are the decisions of a :class:`SearchProblem` by name, which
:func:`suggest` asks a trial for; values are those of its objectives in their order, constraints
(``trial.set_constraint``) are called by the metrics of its limits.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from nest_tune.study.proposals.guided import GuidedProposals
from nest_tune.study.proposals.observed import Observed
from nest_tune.study.proposals.offered import distributions_of, domain_of
from nest_tune.study.proposals.problem import SearchProblem, stream_seed
from nest_tune.study.trial import Point


def suggest(problem: SearchProblem, trial: optuna.Trial) -> Point:
    """The point of a problem's space that a trial is to try.

    Args:
        problem: What is searched.
        trial: Of a study of Optuna's; it is asked for every decision by name.

    Raises:
        TrialPruned: The decisions do not go together, as where some were enqueued: an optimization
            goes on with the next trial.
        ValueError: The trial has tried another space before.
    """
    spread = distributions_of(problem.space)
    found = {name: trial.suggest_categorical(name, d.choices) for name, d in spread.items()}
    point = domain_of(problem.space).point(found)
    if not problem.space.is_legal(point):
        raise optuna.TrialPruned("the decisions of this trial do not go together")
    return point


_PROPOSED = "nest_tune:point"
"""System attribute of a trial: its point, from before it is asked for its decisions one by one."""


class _PointSampler(optuna.samplers.BaseSampler):
    """Chooses all decisions of a trial together; trials that run side by side get different ones.

    Args:
        problem: What is searched.
        seed: Instead of the problem's own.
    """

    def __init__(self, problem: SearchProblem, seed: int | None = None) -> None:
        self._problem = replace(problem, seed=problem.seed if seed is None else seed)
        self._domain = domain_of(problem.space)
        self._distributions: dict[str, BaseDistribution] = dict(distributions_of(problem.space))
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        del study, trial
        return dict(self._distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        del search_space
        with self._lock:
            point = self._point(study, trial)
            text = json.dumps(point)
            study._storage.set_trial_system_attr(trial._trial_id, _PROPOSED, text)
        return self._domain.params(point)

    def _point(self, study: optuna.Study, trial: FrozenTrial) -> Point:
        others = [
            other
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and self._point_of(other) is not None
        ]
        space = self._problem.space
        seen = {self._known_point(other) for other in others}
        first = next((p for p in (space.start, *space.known_guesses) if p not in seen), None)
        point = first or self._choose(study, others, trial.number, seen)
        if point is None:  # nothing is left
            study.stop()
            point = space.start
        return point

    def _point_of(self, trial: FrozenTrial) -> Point | None:
        """The point of a trial: of all its decisions, or what it is going to be given."""
        if self._distributions.keys() <= trial.params.keys():
            return self._domain.point(trial.params)
        text = trial.system_attrs.get(_PROPOSED)
        return None if text is None else tuple(json.loads(text))

    def _known_point(self, trial: FrozenTrial) -> Point:
        point = self._point_of(trial)
        assert point is not None
        return point

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        del study, trial, param_distribution
        raise ValueError(f"{param_name} is no decision of the problem")

    def _choose(
        self, study: optuna.Study, others: Sequence[FrozenTrial], number: int, seen: set[Point]
    ) -> Point | None:
        raise NotImplementedError


class XgbSampler(_PointSampler):
    """The guided sampler of studies: evolution, scored by an XGBoost model of what was measured.

    Args:
        problem: What is searched, see :func:`nest_tune.search_problem`.
        seed: Instead of the problem's own.

    Example:
        >>> problem = nest_tune.search_problem("study.toml")  # doctest: +SKIP
        >>> directions = [goal.direction.value for goal in problem.objectives]  # doctest: +SKIP
        >>> study = optuna.create_study(  # doctest: +SKIP
        ...     directions=directions, sampler=nest_tune.XgbSampler(problem)
        ... )
        >>> study.optimize(lambda trial: cost(suggest(problem, trial)), 50)  # doctest: +SKIP
    """

    def _choose(
        self, study: optuna.Study, others: Sequence[FrozenTrial], number: int, seen: set[Point]
    ) -> Point | None:
        done = [other for other in others if other.state is TrialState.COMPLETE]
        flying = [o for o in others if o.state is TrialState.RUNNING]
        pending = [self._known_point(other) for other in flying]
        guided = GuidedProposals(self._problem, self._observed(study, done), pending)
        found = guided.propose(number, stream_seed(self._problem.seed, number), seen)
        if found is not None:
            return found[0]
        generator = np.random.default_rng(stream_seed(self._problem.seed, number, 1))
        drawn = (self._problem.space.sample(generator) for _ in range(256))
        return next((point for point in drawn if point not in seen), None)

    def _observed(self, study: optuna.Study, done: Sequence[FrozenTrial]) -> Observed:
        objectives, limits = self._problem.objectives, self._problem.limits
        rows = []
        for trial in done:
            values = zip(objectives, trial.values, strict=True)
            told = trial.constraints
            rows.append(
                [
                    *(objective.loss(value) for objective, value in values),
                    *(told.get(limit.metric.value, 0.0) for limit in limits),
                ]
            )
        columns = len(objectives) + len(limits)
        return Observed(
            tuple((study.study_name, trial.number, tuple(trial.values)) for trial in done),
            tuple(self._known_point(trial) for trial in done),
            np.array(rows, np.float64).reshape(len(rows), columns),
            np.array([all(v <= 0 for v in t.constraints.values()) for t in done], np.bool_),
            len(objectives),
        )


class ExhaustiveSampler(_PointSampler):
    """All points of a space in its order; ends the study after the last.

    Args:
        problem: What is searched.
        seed: Of no meaning here.
    """

    def _choose(
        self, study: optuna.Study, others: Sequence[FrozenTrial], number: int, seen: set[Point]
    ) -> Point | None:
        del study, others, number
        return next((p for p in self._problem.space.enumerate() if p not in seen), None)
