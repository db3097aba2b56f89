"""The XGBoost-guided sampler of outer trials: evolution over the space, scored by a model.

A model of losses and limits is trained on what is known; anew whenever that has grown by an
eighth. What the parts estimate of a latency, an energy or a size is taken as known: the model
learns what the measured one is a multiple of.

Proposals of two kinds take turns. One kind is for the first objective alone: of the neighbours of
the best trials, and of all that differ in one part (its plan or its scheme) from the best one
within the limits or from a better one that just misses them, it takes the greatest expected
improvement, which is how much better a point is, times the probability that it keeps the limits.
The other kind is for the whole front: each draws weights for the objectives from its own random
stream (a scalarization: the largest weighted loss, plus a little of their sum), and takes the best
of the neighbours, mutations and crossovers of the front by an optimistic prediction. One in
:data:`EXPLORE` is drawn at random instead. What is in flight makes points like it worth less, so
that a window is diverse.

Sources: of the scalarization, Knowles, ParEGO, IEEE Transactions on Evolutionary Computation, 2006;
of the expected improvement within limits, Schonlau, Welch and Jones, Global versus Local Search in
Constrained Optimization of Computer Models, 1998; of the penalty around points in flight, González
et al., Batch Bayesian Optimization via Local Penalization, AISTATS, 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from cost_models.outer import OuterModel, Prediction
from nest_tune.study.proposals.coordinates import variations
from nest_tune.study.proposals.observed import Observed
from nest_tune.study.proposals.problem import SearchProblem, stream_seed
from nest_tune.study.request.goals import TrialMetric
from nest_tune.study.trial import Point

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

_GROWTH = 8
"""A model is trained anew when what is known has grown by such a part."""

_NEAR = 256
"""So many of the most promising points are held against what is in flight."""

_REMEMBERED = 4096

Floats = npt.NDArray[np.float64]


def lesson_size(known: int) -> int:
    """How many of the first ``known`` trials have trained the model."""
    size = 0
    while (following := size + max(1 + (size >= _GROWTH), size // _GROWTH)) <= known:
        size = following
    return size


class Lesson:
    """What the first trials teach: the model and the scales of its targets.

    Args:
        problem: What is searched.
        observed: These trials.
    """

    def __init__(self, problem: SearchProblem, observed: Observed) -> None:
        self._space, self._problem = problem.space, problem
        self.keys = observed.keys
        self._objectives = observed.objectives
        columns = observed.targets.shape[1]
        # Losses that are all positive by their logarithm: a tenth less is worth the same anywhere.
        self.logs = (observed.targets > 0).all(axis=0) & (np.arange(columns) < self._objectives)
        slack = np.abs(observed.targets[:, self._objectives :])
        usual = np.median(slack, axis=0) if slack.size else np.ones(columns - self._objectives)
        self._usual = np.where(usual > 0, usual, 1.0)
        self._seed = stream_seed(problem.seed, len(observed))
        self.model: OuterModel | None = None
        targets = self.transformed(observed.targets)
        if len(observed):
            rows, known = self.features(observed.points)
            self.model = OuterModel(rows, targets - known, self._seed)
            self.low, spans = targets.min(axis=0), np.ptp(targets, axis=0)
            self.span = np.where(spans > 0, spans, 1.0)
            self.doubt = np.maximum(_DOUBT * targets[:, self._objectives :].std(axis=0), 1e-9)
        self.parents = parents_of(problem, observed)

    def transformed(self, targets: Floats) -> Floats:
        """Losses by their logarithm where that can be; what matters of a limit is on which side a
        point lies: far from it by the logarithm, too."""
        found = targets.copy()
        found[:, self.logs] = np.log(np.maximum(targets[:, self.logs], 1e-300))
        at = slice(self._objectives, None)
        found[:, at] = np.arcsinh(targets[:, at] / self._usual)
        return found

    def predict(self, points: Sequence[Point]) -> Prediction:
        """Targets of points."""
        assert self.model is not None
        rows, known = self.features(points)
        predicted = self.model.predict(rows)
        return Prediction(predicted.mean + known, predicted.spread)

    def features(self, points: Sequence[Point]) -> tuple[Floats, Floats]:
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
        known = np.zeros((len(points), len(self.logs)))
        for at, objective in enumerate(self._problem.objectives):
            is_latency = objective.metric is TrialMetric.LATENCY_MS
            if is_latency and self.logs[at] and estimates.shape[1] == 1 and (estimates > 0).all():
                known[:, at] = np.log(estimates[:, 0])
            if is_latency or objective.metric.needs_evaluation:
                continue
            told = [self._space.price(point, objective.metric.value) for point in points]
            if all(price is not None for price in told):
                prices = np.array(told, np.float64)
                columns.append(prices[:, None])
                if self.logs[at] and (prices > 0).all():
                    known[:, at] = np.log(prices)
        return np.hstack([*columns, estimates]), known

    def around(self, starts: Sequence[Point]) -> tuple[list[Point], Prediction | None]:
        """What lies around the best trials, and what is expected of it."""
        generator = np.random.default_rng(self._seed)
        found: dict[Point, None] = {}
        for start in starts:
            found.update(dict.fromkeys(variations(self._space, start, self.parents, generator)))
        for parent in self.parents:
            found.update(dict.fromkeys(neighbours_of(self._problem, parent)))
        points = list(found)
        return points, self.predict(points) if points and self.model is not None else None


def parents_of(problem: SearchProblem, observed: Observed) -> list[Point]:
    """Points that are worth starting from: the front, and what breaks the limits least."""
    numbers = [*observed.front, *observed.ranked[:_PARENTS]]
    found = dict.fromkeys(problem.space.moved_inside(observed.points[n]) for n in numbers)
    return list(found)[: 2 * _PARENTS] or [problem.space.start]


def neighbours_of(problem: SearchProblem, point: Point) -> tuple[Point, ...]:
    """As the space gives them, remembered."""
    known: dict[Point, tuple[Point, ...]] = problem.memory.setdefault("neighbours", {})
    if point not in known:
        if len(known) >= _REMEMBERED:
            known.clear()
        known[point] = problem.space.neighbours(point)
    return known[point]


class GuidedProposals:
    """Proposals from what is known.

    Args:
        problem: What is searched.
        observed: Measured trials.
        pending: Points in flight.
    """

    def __init__(
        self, problem: SearchProblem, observed: Observed, pending: Sequence[Point] = ()
    ) -> None:
        self._problem, self._space, self._observed = problem, problem.space, observed
        self._pending = pending
        self._objectives = len(problem.objectives)
        self._lesson = self._learnt()
        front = observed.front
        self._parents = parents_of(problem, observed)
        self._best = front[0] if front else None
        self._around: list[Point] = []
        self._worth: Floats = np.zeros(0)
        self._shown: Floats = np.zeros((0, observed.targets.shape[1]))

    def _learnt(self) -> Lesson:
        count = lesson_size(len(self._observed))
        known: Lesson | None = self._problem.memory.get("lesson")
        if known is None or known.keys != self._observed.keys[:count]:
            known = Lesson(self._problem, self._observed.first(count))
            self._problem.memory["lesson"] = known
        return known

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
        lesson = self._lesson
        if lesson.model is None or explore:
            return pool[int(generator.integers(len(pool)))], {}
        predicted = lesson.predict(pool)
        hopeful = predicted.mean - _OPTIMISM * predicted.spread
        scaled = ((hopeful - lesson.low) / lesson.span)[:, : self._objectives]
        weights = generator.dirichlet(np.ones(self._objectives))
        score = (weights * scaled).max(axis=1) + 0.05 * (weights * scaled).sum(axis=1)
        broken = np.maximum(hopeful[:, self._objectives :], 0.0).sum(axis=1)
        best = int(np.argmin(score + _PENALTY * broken))
        return pool[best], self._expected(predicted.mean[best])

    def _starts(self) -> list[Point]:
        """The best trial, and of those that would be better if they kept the limits the one that
        is closest to that."""
        observed = self._observed
        first = observed.losses[:, 0]
        bound = np.inf if self._best is None else first[self._best]
        broken = np.any(observed.targets[:, self._objectives :] > 0, axis=1).tolist()
        better = (n for n in observed.ranked if broken[n] and first[n] < bound)
        found = [number for number in (self._best, next(better, None)) if number is not None]
        points = [self._space.moved_inside(observed.points[number]) for number in found]
        return points or self._parents[:1]

    def _judge(self) -> None:
        """Worth of what lies around the best trials: 0 where nothing is expected of it."""
        starts = self._starts()
        memory = self._problem.memory
        held = memory.get("around")
        if held is None or held[0] is not self._lesson or held[1] != starts:
            held = memory["around"] = self._lesson, starts, self._lesson.around(starts)
        self._around, predicted = held[2]
        if predicted is None:
            return
        self._shown = predicted.mean
        first = predicted.mean[:, 0]
        limit = float(first.max())
        if self._best is not None:
            row = self._observed.targets[self._best : self._best + 1]
            limit = float(self._lesson.transformed(row)[0, 0])
        slack = predicted.mean[:, self._objectives :]
        spread = np.hypot(predicted.spread[:, self._objectives :], self._lesson.doubt)
        self._worth = np.maximum(limit - first, 0.0) * _below_zero(slack / spread).prod(axis=1)

    def _improving(
        self, generator: np.random.Generator, seen: set[Point]
    ) -> tuple[Point, dict[str, float]] | None:
        """The unseen point around the best trials that is worth most."""
        if self._lesson.model is not None:
            self._judge()
        if not self._worth.any():
            return None
        worth = self._worth * np.exp(_TIES * generator.standard_normal(len(self._worth)))
        chosen: list[int] = []
        for at in np.argsort(-worth, kind="stable").tolist():
            if worth[at] <= 0 or len(chosen) == _NEAR:
                break
            if self._around[at] not in seen:
                chosen.append(at)
        if not chosen:
            return None
        left = worth[chosen] * self._novelty([self._around[at] for at in chosen])
        best = chosen[int(np.argmax(left))]
        return self._around[best], self._expected(self._shown[best])

    def _novelty(self, points: Sequence[Point]) -> Floats:
        """What being like something in flight leaves of a point's worth: half where one decision
        differs, three quarters where two do, and so on."""
        if not self._pending:
            return np.ones(len(points))
        flying = np.array(self._pending, np.int16)
        rows = np.array(points, np.int16)
        least = np.array([(flying != row).sum(axis=1).min() for row in rows], np.float64)
        return np.asarray(1.0 - 0.5**least, np.float64)

    def _expected(self, row: Floats) -> dict[str, float]:
        """Metrics that a row of predicted targets stands for."""
        logs = self._lesson.logs
        values = np.where(logs, np.exp(np.where(logs, row, 0.0)), row)
        return {
            objective.metric.value: float(objective.loss(float(value)))
            for objective, value in zip(self._problem.objectives, values, strict=False)
        }

    def _pool(
        self, generator: np.random.Generator, seen: set[Point], *, explore: bool
    ) -> list[Point]:
        """Unseen legal points, always in the same order for the same stream."""
        found: dict[Point, None] = {}
        if not explore:
            for near in map(partial(neighbours_of, self._problem), self._parents):
                found.update(dict.fromkeys(near))
        tables = self._space.admitted
        lengths = [len(table) for table in tables]
        parents = np.array(self._parents, np.int64).reshape(len(self._parents), len(lengths))
        shape = (_POOL if not explore else _POOL // 8, len(lengths))
        pairs = generator.integers(len(parents), size=(shape[0], 2))
        first, second = parents[pairs[:, 0]], parents[pairs[:, 1]]
        children = np.where(generator.random(shape) < 0.5, first, second)
        flips = generator.random(shape) < min(1.0, (6 if explore else 2) / max(1, len(lengths)))
        drawn = generator.integers(0, lengths, shape)
        for axis, table in enumerate(tables):
            drawn[:, axis] = np.array(table)[drawn[:, axis]]
        children = np.where(flips, drawn, children)
        found.update(dict.fromkeys(map(tuple, children.tolist())))
        return [point for point in found if point not in seen and self._space.is_legal(point)]


def _below_zero(standardized: Floats) -> Floats:
    """Probability of a normal variable of unit spread and these means to be at most 0."""
    from scipy.special import ndtr

    below: Floats = ndtr(-standardized)
    return below
