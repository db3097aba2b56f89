"""The XGBoost-guided sampler of outer trials: evolution over the space, scored by a model.

For every batch a model of losses and limits is trained on the trials before it. What the parts
estimate of a latency is taken as known: the model learns what the measured one is a multiple of.

Proposals of two kinds take turns. One kind is for the first objective alone: of the neighbours of
the best trials, and of all that differ in one part (its plan or its scheme) from the best one
within the limits or from a better one that just misses them, it takes the greatest expected
improvement, which is how much better a point is, times the probability that it keeps the limits.
The other kind is for the whole front: each draws weights for the objectives from its own random
stream (a scalarization: the largest weighted loss, plus a little of their sum), and takes the best
of the neighbours, mutations and crossovers of the front by an optimistic prediction. One in
:data:`EXPLORE` is drawn at random instead.

Sources: of the scalarization, Knowles, ParEGO, IEEE Transactions on Evolutionary Computation, 2006;
of the expected improvement within limits, Schonlau, Welch and Jones, Global versus Local Search in
Constrained Optimization of Computer Models, 1998.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cost_models.outer import OuterModel, Prediction
from nest_tune.study.proposals.coordinates import variations
from nest_tune.study.proposals.front import closest, losses, pareto_front
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.request.goals import Metric, scale_of
from nest_tune.study.trial import OuterTrial, Point

EXPLORE = 8
"""One proposal in so many is random."""

_POOL = 384
_PARENTS = 12
_OPTIMISM = 1.0
_PENALTY = 10.0

_DOUBT = 0.3
"""Standard deviation of a prediction of a limit at least, as a share of that of the data."""

_TIES = 0.2
"""Points of about equal worth take turns: standard deviation of the logarithm of a factor."""

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
                limit.slack(trial.judged[limit.metric.value], scale_of(limit, default))
                for limit in problem.limits
            ]
            targets.append([*losses(trial, problem.objectives), *slack])
        columns = self._objectives + len(problem.limits)
        self._targets = np.array(targets, np.float64).reshape(len(targets), columns)
        # Losses that are all positive by their logarithm: a tenth less is worth the same anywhere.
        self._logs = (self._targets > 0).all(axis=0) & (np.arange(columns) < self._objectives)
        self._targets[:, self._logs] = np.log(self._targets[:, self._logs])
        self._flatten_limits()
        self._model: OuterModel | None = None
        if measured:
            rows, known = self._features([trial.point for trial in measured])
            self._model = OuterModel(rows, self._targets - known, seed)
        front = pareto_front(measured, problem.objectives)
        ranked = closest(measured, problem.limits, history[0] if history else None, len(measured))
        parents = dict.fromkeys(trial.point for trial in (*front, *ranked[:_PARENTS]))
        self._parents = list(parents)[: 2 * _PARENTS] or [self._space.default]
        self._near: dict[Point, None] = {}
        for parent in self._parents:
            self._near.update(dict.fromkeys(self._space.neighbours(parent)))
        # The front is sorted by the first objective.
        self._best = front[0] if front else None
        self._starts = self._starts_of(ranked)
        self._around: list[Point] = []
        self._worth: Floats = np.zeros(0)
        self._shown: Floats = np.zeros((0, columns))
        if self._model is not None:
            self._judge(np.random.default_rng(seed))

    def _flatten_limits(self) -> None:
        """What matters of a limit is on which side a point lies: far from it by the logarithm."""
        slack = self._targets[:, self._objectives :]
        if slack.size:
            usual = np.median(np.abs(slack), axis=0)
            self._targets[:, self._objectives :] = np.arcsinh(slack / np.where(usual > 0, usual, 1))

    def propose(
        self, number: int, seed: int, seen: set[Point]
    ) -> tuple[Point, dict[str, float]] | None:
        """One point that nobody has tried and what the model expects of its objectives, nothing
        where it was not asked; ``None`` where no point was found."""
        generator = np.random.default_rng(seed)
        explore = number % EXPLORE == 0
        if number % 2 and (found := self._improving(generator, seen)) is not None:
            return found
        pool = self._pool(generator, seen, explore=explore)
        if not pool:
            return None
        if self._model is None or explore:
            return pool[int(generator.integers(len(pool)))], {}
        predicted = self._predict(pool)
        hopeful = predicted.mean - _OPTIMISM * predicted.spread
        low = self._targets.min(axis=0)
        span = np.where(np.ptp(self._targets, axis=0) > 0, np.ptp(self._targets, axis=0), 1.0)
        scaled = ((hopeful - low) / span)[:, : self._objectives]
        weights = generator.dirichlet(np.ones(self._objectives))
        score = (weights * scaled).max(axis=1) + 0.05 * (weights * scaled).sum(axis=1)
        broken = np.maximum(hopeful[:, self._objectives :], 0.0).sum(axis=1)
        best = int(np.argmin(score + _PENALTY * broken))
        return pool[best], self._expected(predicted.mean[best])

    def _starts_of(self, ranked: Sequence[OuterTrial]) -> list[Point]:
        """The best trial, and of those that would be better if they kept the limits the one that
        is closest to that."""
        objectives = self._problem.objectives
        bound = np.inf if self._best is None else losses(self._best, objectives)[0]
        better = (t for t in ranked if not t.is_feasible and losses(t, objectives)[0] < bound)
        found = [trial for trial in (self._best, next(better, None)) if trial is not None]
        return [trial.point for trial in found] or self._parents[:1]

    def _judge(self, generator: np.random.Generator) -> None:
        """Worth of what lies around the best trials: 0 where nothing is expected of it."""
        around: dict[Point, None] = {}
        for start in self._starts:
            around.update(dict.fromkeys(variations(self._space, start, self._parents, generator)))
        around.update(self._near)
        self._around = list(around)
        if not self._around:
            return
        predicted = self._predict(self._around)
        self._shown = predicted.mean
        first = predicted.mean[:, 0]
        limit = first.max()
        if self._best is not None:
            limit = self._best_loss()
        slack = predicted.mean[:, self._objectives :]
        doubt = _DOUBT * self._targets[:, self._objectives :].std(axis=0)
        spread = np.hypot(predicted.spread[:, self._objectives :], np.maximum(doubt, 1e-9))
        self._worth = np.maximum(limit - first, 0.0) * _below_zero(slack / spread).prod(axis=1)

    def _best_loss(self) -> float:
        assert self._best is not None
        loss = losses(self._best, self._problem.objectives)[0]
        return float(np.log(loss)) if self._logs[0] else loss

    def _improving(
        self, generator: np.random.Generator, seen: set[Point]
    ) -> tuple[Point, dict[str, float]] | None:
        """The unseen point around the best trials that is worth most."""
        if not self._worth.any():
            return None
        worth = self._worth * np.exp(_TIES * generator.standard_normal(len(self._worth)))
        for at in np.argsort(-worth, kind="stable").tolist():
            if worth[at] <= 0:
                return None
            if self._around[at] not in seen:
                return self._around[at], self._expected(self._shown[at])
        return None

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

    def _predict(self, points: Sequence[Point]) -> Prediction:
        """Targets of points."""
        assert self._model is not None
        rows, known = self._features(points)
        predicted = self._model.predict(rows)
        return Prediction(predicted.mean + known, predicted.spread)

    def _features(self, points: Sequence[Point]) -> tuple[Floats, Floats]:
        """A row per point: indices of ordered parameters, indicators of the others, and what the
        parts estimate; and what is known of its targets beside the model."""
        indices = np.array(points, np.int64).reshape(len(points), len(self._space.parameters))
        columns: list[Floats] = []
        for column, parameter in zip(indices.T, self._space.parameters, strict=True):
            if parameter.ordered or len(parameter) == 2:
                columns.append(column[:, None].astype(np.float64))
            else:
                columns.append((column[:, None] == np.arange(len(parameter))).astype(np.float64))
        estimates = np.array([self._space.estimates(point) for point in points], np.float64)
        estimates = estimates.reshape(len(points), -1)
        known = np.zeros((len(points), self._targets.shape[1]))
        for at, objective in enumerate(self._problem.objectives):
            latency = objective.metric is Metric.LATENCY_MS and self._logs[at]
            if latency and estimates.shape[1] == 1 and (estimates > 0).all():
                known[:, at] = np.log(estimates[:, 0])
        return np.hstack([*columns, estimates]), known


def _below_zero(standardized: Floats) -> Floats:
    """Probability of a normal variable of unit spread and these means to be at most 0."""
    from scipy.special import ndtr

    below: Floats = ndtr(-standardized)
    return below
