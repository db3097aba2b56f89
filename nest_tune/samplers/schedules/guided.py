"""The model-guided sampler: evolution over the space, scored by a cost model that keeps learning.

A pool of scored candidates grows around what looks good. What other tasks taught (the base model)
corrects the coarse walk; what this task shows corrects both. The spread of the models' members
makes room for what is uncertain, and a share of every batch is drawn at random.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from cost_models.boosted import BoostedModel, Boosting
from cost_models.task_features import BoundDepth, task_features
from cost_models.training import TrainingSet
from nest_tune.samplers.schedules.sampler import Point, Problem
from search_spaces.parameter import Points
from search_spaces.task_space import Coarse, unique_points

_COARSE = 40_000
"""Coarse points of which each is estimated; of spaces with more, so many random ones."""
_KEPT = 250
"""Of them that start the pool, the best by estimate and bound."""
_SAMPLED = 64
"""Random points that start it too."""
_GENERATIONS = 8
_RESERVE = 64
"""Random points drawn at a time for exploration."""

_PARENTS = 12
"""Points that a generation descends from, each with other leading parameters."""
_CLOSE = 600
"""They are among so many of the best."""
_OWN = Boosting(members=3, trees=24, depth=4, learning_rate=0.25, minimum_weight=1.0)
_OPTIMISM = 1.0
"""Standard deviations by which a prediction is lowered."""
_EXPLORE_EVERY = 8
"""One of so many proposals is drawn at random."""
_ALIKE = 3
"""Most proposals of a batch with equal leading parameters and the one after."""
_LEARN_FROM = 6
"""Measurements of the task before it trains a model of its own."""
_LEARN_ALWAYS = 96
"""Measurements up to which every batch trains it anew."""
_LEARN_GROWTH = 1.25
"""Growth after which it is trained anew beyond that."""


class GuidedSampler:
    """See :class:`~nest_tune.samplers.schedules.sampler.TilingSampler`."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._space = problem.space
        self._leading = problem.space.tables.leading
        self._features = task_features(problem.machine)
        self._base = problem.base or BoostedModel()
        self._own = BoostedModel()
        self._generator = np.random.default_rng([problem.seed, 0x6D1D])
        self._told: list[tuple[Point, int | None]] = []
        self._index: dict[Point, int] = {}
        width = len(self._space.parameters)
        self._points: Points = np.zeros((0, width), np.int64)
        # One row per point of the pool, cycles NaN.
        self._training = TrainingSet.empty(len(self._features.columns))
        self._known = np.zeros(0)  # ln(walk) and the base model's correction
        self._doubt = np.zeros(0)
        self._taken = np.zeros(0, bool)
        self._cycles = np.zeros(0)
        self._stale = False
        self._learnt = 0
        self._own_mean = np.zeros(0)
        self._own_doubt = np.zeros(0)
        self._explored = 0
        self._expanded = np.zeros(0, bool)
        self._reserve: list[list[int]] = []

    def propose(self, count: int) -> list[Point]:
        self._begin()
        self._learn()
        self._grow()
        scores = self._scores()
        chosen: list[Point] = []
        alike: dict[Point, int] = {}
        exploring = self._exploring(count)
        for number in np.argsort(scores, kind="stable").tolist():
            if len(chosen) >= count - exploring:
                break
            if self._taken[number]:
                continue
            point: Point = tuple(self._points[number].tolist())
            shape = point[: self._leading + 1]
            if alike.get(shape, 0) < _ALIKE:
                alike[shape] = alike.get(shape, 0) + 1
                chosen.append(point)
                self._taken[number] = True
        chosen += self._explore(count - len(chosen))
        return chosen

    def observe(self, measured: list[tuple[Point, int | None]]) -> None:
        self._told += measured
        if self._index:  # before the first proposal nobody needs the pool
            self._take_in()

    def _take_in(self) -> None:
        measured, self._told = self._told, []
        new = [point for point, _ in measured if point not in self._index]
        if new:
            self._add(np.array(new, np.int64))
        for point, cycles in measured:
            number = self._index[point]
            self._taken[number] = True
            self._cycles[number] = np.nan if cycles is None else cycles
        self._stale = True

    def expected_gain(self) -> float:
        self._begin()
        measured = np.isfinite(self._cycles)
        if not measured.any():
            return math.inf
        self._learn()
        open_ones = ~self._taken
        if not open_ones.any():
            return 0.0
        return max(0.0, float(np.nanmin(self._cycles) - np.exp(self._scores()[open_ones].min())))

    def expected_cycles(self, points: list[Point]) -> npt.NDArray[np.float64]:
        """What the models expect of points that were proposed."""
        numbers = [self._index[point] for point in points]
        return np.asarray(np.exp(self._known[numbers] + self._own_mean[numbers]), np.float64)

    def _begin(self) -> None:
        """Fills the pool: the default, random points, the best coarse ones, and their
        descendants."""
        if self._index:
            return
        self._add(np.array([self._problem.default], np.int64))
        self._add(self._space.sample(self._generator, _SAMPLED))
        if self._space.tables.coarse is not None:
            self._add(self._best_coarse(self._space.tables.coarse))
        for _ in range(_GENERATIONS):
            self._grow()
        self._take_in()

    def _best_coarse(self, coarse: Coarse) -> Points:
        """All coarse points, thinned out by what needs no walk."""
        lengths = np.array([len(parameter) for parameter in self._space.parameters])
        axes = list(coarse.axes)
        shape = lengths[axes]
        count = math.prod(shape.tolist())
        numbers = np.arange(count)
        if count > _COARSE:
            numbers = self._generator.integers(0, count, _COARSE)
        product = np.zeros((len(numbers), len(lengths)), np.int64)
        product[:, axes] = np.stack(np.unravel_index(numbers, shape), axis=1)
        variants = []
        for indices in coarse.variants:
            variant = product.copy()
            variant[:, list(indices)] = list(indices.values())
            variants.append(variant)
        points = np.concatenate(variants)
        points = points[self._space.legal(points)]
        subject = (self._space.workload, self._space.rows(points), self._problem.machine)
        estimate = self._features.estimate(*subject)
        cycles = np.maximum(estimate, self._features.bounds(*subject, BoundDepth.CLOSED))
        best = self._first_of_leading(points, np.argsort(cycles, kind="stable"))
        return unique_points(self._space.canonical(points[best[:_KEPT]]))

    def _grow(self) -> None:
        """Adds the neighbours of the best measured and the best predicted points."""
        scores = self._scores()
        seen = np.where(np.isfinite(self._cycles), np.log(np.fmax(self._cycles, 1)), scores)
        order = np.argsort(seen, kind="stable")
        parents = order[~self._expanded[order]]
        parents = self._first_of_leading(self._points, parents[:_CLOSE])[:_PARENTS]
        self._expanded[parents] = True
        if len(parents):
            self._add(self._space.around(self._points[parents]))

    def _add(self, points: Points) -> None:
        fresh: list[list[int]] = []
        for row in points.tolist():
            point = tuple(row)
            if point not in self._index:
                self._index[point] = len(self._points) + len(fresh)
                fresh.append(row)
        if not fresh:
            return
        added = np.array(fresh, np.int64)
        rows = self._space.rows(added)
        features = self._features.features(self._space.workload, rows, self._problem.machine)
        mean, doubt = self._base.correction(features.values)
        missing = np.full(len(added), np.nan)
        self._points = np.concatenate([self._points, added])
        self._training = TrainingSet.join([self._training, TrainingSet.of(features, missing)])
        self._known = np.concatenate([self._known, np.log(features.walk_cycles) + mean])
        self._doubt = np.concatenate([self._doubt, doubt])
        self._taken = np.concatenate([self._taken, np.zeros(len(added), bool)])
        self._expanded = np.concatenate([self._expanded, np.zeros(len(added), bool)])
        self._cycles = np.concatenate([self._cycles, missing])
        own_mean, own_doubt = self._own.correction(features.values)
        self._own_mean = np.concatenate([self._own_mean, own_mean])
        self._own_doubt = np.concatenate([self._own_doubt, own_doubt])

    def _learn(self) -> None:
        if not self._stale:
            return
        self._stale = False
        measured = np.isfinite(self._cycles)
        count = int(measured.sum())
        wait = _LEARN_FROM if count <= _LEARN_ALWAYS else self._learnt * _LEARN_GROWTH
        if count < wait:
            return
        self._learnt = count
        chosen = self._training.only(measured)
        data = TrainingSet(chosen.values, chosen.walk_cycles, self._cycles[measured], chosen.task)
        base = self._known[measured] - np.log(chosen.walk_cycles)
        seed = int(self._generator.integers(1 << 31))
        self._own = BoostedModel.train(data, seed, _OWN, base)
        self._own_mean, self._own_doubt = self._own.correction(self._training.values)

    def _scores(self) -> npt.NDArray[np.float64]:
        """ln of cycles that a point may well have."""
        doubt = np.hypot(self._doubt, self._own_doubt)
        return np.asarray(self._known + self._own_mean - _OPTIMISM * doubt, np.float64)

    def _exploring(self, count: int) -> int:
        self._explored += count
        share, self._explored = divmod(self._explored, _EXPLORE_EVERY)
        return min(share, count)

    def _explore(self, count: int) -> list[Point]:
        chosen: list[Point] = []
        draws = 0
        while len(chosen) < count:
            if not self._reserve:
                if draws == 6:
                    break
                drawn = self._space.sample(self._generator, _RESERVE << draws)
                self._reserve = drawn[::-1].tolist()
                draws += 1
            row = self._reserve.pop()
            point: Point = tuple(row)
            if point not in self._index:
                self._add(np.array([row], np.int64))
            number = self._index[point]
            if not self._taken[number]:
                self._taken[number] = True
                chosen.append(point)
        return chosen

    def _first_of_leading(
        self, points: Points, order: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Of numbers of points, the first one of those with equal leading parameters, in order."""
        _, first = np.unique(points[order, : self._leading], axis=0, return_index=True)
        return np.asarray(order[np.sort(first)], np.int64)
