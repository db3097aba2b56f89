"""The model-guided sampler as an Optuna ``BaseSampler``: for a study of tilings of one task.

The study's parameters are those of the tiling space, each an index into its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from nest_tune.samplers.schedules.guided import GuidedSampler
from nest_tune.samplers.schedules.sampler import Point, Problem


class XgbScheduleSampler(optuna.samplers.BaseSampler):
    """Proposes tilings one by one, in batches within.

    Args:
        problem: The task; a study's objective returns cycles of the point that a trial's
            parameters name.
        batch: Proposals between two trainings of the model.
    """

    def __init__(self, problem: Problem, batch: int = 8) -> None:
        self._problem, self._batch = problem, batch
        self._guided = GuidedSampler(problem)
        self._waiting: list[Point] = []
        self._told: set[int] = set()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        del study, trial
        return {p.name: IntDistribution(0, len(p) - 1) for p in self._problem.space.parameters}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        del trial
        if not self._waiting:
            self._observe(study)
            self._waiting = self._guided.propose(self._batch)
        if not self._waiting:  # the space has no more
            return dict(zip(search_space, self._problem.default, strict=True))
        return dict(zip(search_space, self._waiting.pop(0), strict=True))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        del study, trial, param_distribution
        raise ValueError(f"{param_name} is no parameter of the tiling space")

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Nothing to do: trials are read in number order before the next batch."""

    def _observe(self, study: optuna.Study) -> None:
        names = [p.name for p in self._problem.space.parameters]
        found: list[tuple[Point, int | None]] = []
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if trial.number not in self._told and set(names) <= set(trial.params):
                self._told.add(trial.number)
                point: Point = tuple(int(trial.params[name]) for name in names)
                found.append((point, round(trial.values[0])))
        if found:
            self._guided.observe(found)
