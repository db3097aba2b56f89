"""Optuna's samplers on tilings, in memory: an in-memory study per task, rebuilt when needed.

What breaks a rule is told as a constraint and costs no measurement; a point that was measured
before answers with what it cost.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna

from nest_tune.samplers.schedules.sampler import Point, Problem

_ATTEMPTS = 24
"""Proposals without a legal new point, per point wanted, before random ones fill up."""


def make_tpe(problem: Problem) -> OptunaTilingSampler:
    """Tree-structured Parzen estimators, with every argument that matters given."""
    return OptunaTilingSampler(problem, tpe)


def make_nsga2(problem: Problem) -> OptunaTilingSampler:
    """NSGA-II, with every argument that matters given."""
    return OptunaTilingSampler(problem, nsga2)


def tpe(seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler; ``multivariate`` is told of as experimental."""
    return optuna.samplers.TPESampler(
        n_startup_trials=10,
        n_ei_candidates=24,
        seed=seed,
        multivariate=True,
        constant_liar=False,
    )


def nsga2(seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler."""
    return optuna.samplers.NSGAIISampler(
        population_size=16, mutation_prob=None, crossover_prob=0.9, swapping_prob=0.5, seed=seed
    )


class OptunaTilingSampler:
    """See :class:`~nest_tune.samplers.schedules.sampler.TilingSampler`.

    Args:
        problem: The task.
        sampler: Optuna's, from a seed.
    """

    def __init__(
        self, problem: Problem, sampler: Callable[[int], optuna.samplers.BaseSampler]
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = problem.space
        self._generator = np.random.default_rng([problem.seed, 0x0B71])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            made = sampler(problem.seed & 0x7FFFFFFF)
        self._study = optuna.create_study(sampler=made, direction="minimize")
        self._open: dict[Point, optuna.trial.Trial] = {}
        self._cost: dict[Point, float] = {}
        self._worst = 1.0

    def propose(self, count: int) -> list[Point]:
        chosen: list[Point] = []
        for _ in range(_ATTEMPTS * count):
            if len(chosen) == count:
                return chosen
            trial = self._study.ask()
            raw = np.array([_suggest(trial, self._space.parameters)], np.int64)
            if not self._space.legal(raw)[0]:
                self._tell(trial, self._worst, 1.0)
                continue
            point: Point = tuple(self._space.canonical(raw)[0].tolist())
            if point in self._cost:
                self._tell(trial, self._cost[point], 0.0)
            elif point in self._open:
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                self._open[point] = trial
                chosen.append(point)
        for row in self._space.sample(self._generator, 4 * count).tolist():
            point = tuple(row)
            if len(chosen) < count and point not in self._cost and point not in self._open:
                distributions = _distributions(self._space.parameters)
                self._study.enqueue_trial(dict(zip(distributions, point, strict=True)))
                trial = self._study.ask()
                _suggest(trial, self._space.parameters)
                self._open[point] = trial
                chosen.append(point)
        return chosen

    def observe(self, measured: list[tuple[Point, int | None]]) -> None:
        for point, cycles in measured:
            cost = self._worst if cycles is None else math.log(cycles)
            self._worst = max(self._worst, cost)
            self._cost[point] = cost
            trial = self._open.pop(point, None)
            if trial is not None:
                self._tell(trial, cost, 1.0 if cycles is None else 0.0)
            elif cycles is not None:
                names = _distributions(self._space.parameters)
                self._study.add_trial(
                    optuna.trial.create_trial(
                        params=dict(zip(names, point, strict=True)),
                        distributions=names,
                        value=cost,
                    )
                )

    def expected_gain(self) -> float:
        return math.inf

    def _tell(self, trial: optuna.trial.Trial, value: float, violation: float) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial.set_constraint("legal", violation)
        self._study.tell(trial, value)


def _distributions(parameters: Any) -> dict[str, optuna.distributions.BaseDistribution]:
    return {p.name: optuna.distributions.IntDistribution(0, len(p) - 1) for p in parameters}


def _suggest(trial: optuna.trial.Trial, parameters: Any) -> list[int]:
    return [trial.suggest_int(p.name, 0, len(p) - 1) for p in parameters]
