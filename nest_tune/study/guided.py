"""The XGBoost-guided sampler of outer trials: evolution over the space, scored by a model.

For every batch a model of losses and limits is trained on the trials before it. Each proposal draws
weights for the objectives from its own random stream (a scalarization: the largest weighted loss,
plus a little of their sum), and takes the best of the neighbours, mutations and crossovers of the
front by an optimistic prediction. One in :data:`EXPLORE` is drawn at random instead.

Source of the scalarization: Knowles, ParEGO, IEEE Transactions on Evolutionary Computation, 2006.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cost_models.outer import OuterModel
from nest_tune.study.front import closest, losses, pareto_front
from nest_tune.study.goals import scale_of
from nest_tune.study.trial import OuterTrial, Point

if TYPE_CHECKING:
    from nest_tune.study.proposals import SearchProblem

EXPLORE = 8
"""One proposal in so many is random."""

_POOL = 384
_PARENTS = 12
_OPTIMISM = 1.0
_PENALTY = 10.0

Floats = npt.NDArray[np.float64]


class GuidedProposals:
    """Proposals of one batch.

    Args:
        problem: What is searched.
        history: Trials before the batch.
        seed: Of the model.
    """

    def __init__(self, problem: SearchProblem, history: Sequence[OuterTrial], seed: int) -> None:
        self._problem = problem
        self._space = problem.space
        default = history[0].metrics if history else {}
        measured = [trial for trial in history if trial.outcome.is_measured]
        self._objectives = len(problem.objectives)
        self._rows: dict[Point, Floats] = {}
        rows = [self._features(trial.point) for trial in measured]
        targets = []
        for trial in measured:
            slack = [
                limit.slack(trial.metrics[limit.metric.value], scale_of(limit, default))
                for limit in problem.limits
            ]
            targets.append([*losses(trial, problem.objectives), *slack])
        columns = self._objectives + len(problem.limits)
        self._targets = np.array(targets, np.float64).reshape(len(targets), columns)
        # Losses that are all positive by their logarithm: a tenth less is worth the same anywhere.
        self._logs = (self._targets > 0).all(axis=0) & (np.arange(columns) < self._objectives)
        self._targets[:, self._logs] = np.log(self._targets[:, self._logs])
        self._model: OuterModel | None = None
        if measured:
            self._model = OuterModel(np.stack(rows), self._targets, seed)
        front = pareto_front(measured, problem.objectives)
        near = closest(measured, problem.limits, history[0] if history else None, _PARENTS)
        parents = dict.fromkeys(trial.point for trial in (*front, *near))
        self._parents = list(parents)[: 2 * _PARENTS] or [self._space.default]
        self._near: dict[Point, None] = {}
        for parent in self._parents:
            self._near.update(dict.fromkeys(self._space.neighbours(parent)))

    def propose(
        self, number: int, seed: int, seen: set[Point]
    ) -> tuple[Point, dict[str, float]] | None:
        """One point that nobody has tried and what the model expects of its objectives, nothing
        where it was not asked; ``None`` where no point was found."""
        generator = np.random.default_rng(seed)
        pool = self._pool(generator, seen, explore=number % EXPLORE == 0)
        if not pool:
            return None
        if self._model is None or number % EXPLORE == 0:
            return pool[int(generator.integers(len(pool)))], {}
        predicted = self._model.predict(np.stack([self._features(point) for point in pool]))
        hopeful = predicted.mean - _OPTIMISM * predicted.spread
        low = self._targets.min(axis=0)
        span = np.where(np.ptp(self._targets, axis=0) > 0, np.ptp(self._targets, axis=0), 1.0)
        scaled = ((hopeful - low) / span)[:, : self._objectives]
        weights = generator.dirichlet(np.ones(self._objectives))
        score = (weights * scaled).max(axis=1) + 0.05 * (weights * scaled).sum(axis=1)
        broken = np.maximum(hopeful[:, self._objectives :], 0.0).sum(axis=1)
        best = int(np.argmin(score + _PENALTY * broken))
        return pool[best], self._expected(predicted.mean[best])

    def _expected(self, row: Floats) -> dict[str, float]:
        """Metrics that a row of predicted targets stands for."""
        values = np.where(self._logs, np.exp(np.where(self._logs, row, 0.0)), row)
        return {
            objective.metric.value: float(objective.loss(float(value)))
            for objective, value in zip(self._problem.objectives, values, strict=False)
        }

    def _pool(
        self, generator: np.random.Generator, seen: set[Point], *, explore: bool
    ) -> list[Point]:
        """Unseen legal points, always in the same order for the same stream."""
        found: dict[Point, None] = {} if explore else dict(self._near)
        lengths = [len(parameter) for parameter in self._space.parameters]
        for _ in range(_POOL if not explore else _POOL // 8):
            first, second = (
                np.array(self._parents[int(generator.integers(len(self._parents)))])
                for _ in range(2)
            )
            child = np.where(generator.random(len(lengths)) < 0.5, first, second)
            flips = generator.random(len(lengths)) < min(1.0, (6 if explore else 2) / len(lengths))
            child = np.where(flips, generator.integers(0, lengths), child)
            found[tuple(int(index) for index in child)] = None
        return [point for point in found if point not in seen and self._space.is_legal(point)]

    def _features(self, point: Point) -> Floats:
        """Indices of ordered parameters, indicators of the others, and what the parts estimate."""
        if point in self._rows:
            return self._rows[point]
        columns: list[float] = []
        for index, parameter in zip(point, self._space.parameters, strict=True):
            if parameter.ordered or len(parameter) == 2:
                columns.append(float(index))
            else:
                columns += [float(index == value) for value in range(len(parameter))]
        row = np.array([*columns, *self._space.estimates(point)], np.float64)
        self._rows[point] = row
        return row
