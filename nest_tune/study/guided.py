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
            rows = self._features([trial.point for trial in measured])
            self._model = OuterModel(rows, self._targets, seed)
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
        predicted = self._model.predict(self._features(pool))
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
        parents = np.array(self._parents, np.int64).reshape(len(self._parents), len(lengths))
        shape = (_POOL if not explore else _POOL // 8, len(lengths))
        pairs = generator.integers(len(parents), size=(shape[0], 2))
        first, second = parents[pairs[:, 0]], parents[pairs[:, 1]]
        children = np.where(generator.random(shape) < 0.5, first, second)
        flips = generator.random(shape) < min(1.0, (6 if explore else 2) / max(1, len(lengths)))
        children = np.where(flips, generator.integers(0, lengths, shape), children)
        found.update(dict.fromkeys(map(tuple, children.tolist())))
        return [point for point in found if point not in seen and self._space.is_legal(point)]

    def _features(self, points: Sequence[Point]) -> Floats:
        """A row per point: indices of ordered parameters, indicators of the others, and what the
        parts estimate."""
        indices = np.array(points, np.int64).reshape(len(points), len(self._space.parameters))
        columns: list[Floats] = []
        for column, parameter in zip(indices.T, self._space.parameters, strict=True):
            if parameter.ordered or len(parameter) == 2:
                columns.append(column[:, None].astype(np.float64))
            else:
                columns.append((column[:, None] == np.arange(len(parameter))).astype(np.float64))
        estimates = [self._space.estimates(point) for point in points]
        return np.hstack([*columns, np.array(estimates, np.float64).reshape(len(points), -1)])
