"""Samplers that learn nothing: uniform over the legal points, and all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from compiler_core.targets.vta.schedule_rows import Rows
from cost_models.features.schedule_bound import schedule_bounds
from nest_tune.samplers.sampler import Point, Problem


class RandomSampler:
    """Distinct legal points, each equally likely."""

    def __init__(self, problem: Problem) -> None:
        self._space = problem.space
        self._generator = np.random.default_rng([problem.seed, 0x7AD0])
        self._seen: set[Point] = set()

    def propose(self, count: int) -> list[Point]:
        chosen: list[Point] = []
        for attempt in range(8):
            for row in self._space.sample(self._generator, 2 * count << attempt).tolist():
                point = tuple(row)
                if point not in self._seen and len(chosen) < count:
                    self._seen.add(point)
                    chosen.append(point)
            if len(chosen) == count:
                break
        return chosen

    def observe(self, measured: list[tuple[Point, int | None]]) -> None:
        self._seen.update(point for point, _ in measured)

    def expected_gain(self) -> float:
        return math.inf


class ExhaustiveSampler:
    """All points in the order of what no program of theirs can beat; ends with a proof.

    Once the best measured cycles are not above the next point's bound, nothing that is left can be
    better: the best is the optimum of the space.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._seen: set[Point] = set()
        self._best = math.inf
        self._points: Iterator[tuple[Point, float]] | None = None
        self.proven = False
        """Whether the best that was observed is the optimum."""

    def propose(self, count: int) -> list[Point]:
        if self._points is None:
            self._points = self._in_order()
        chosen: list[Point] = []
        for point, bound in self._points:
            if bound >= self._best:
                break
            if point not in self._seen:
                self._seen.add(point)
                chosen.append(point)
            if len(chosen) == count:
                return chosen
        self.proven = not chosen
        return chosen

    def observe(self, measured: list[tuple[Point, int | None]]) -> None:
        for point, cycles in measured:
            self._seen.add(point)
            if cycles is not None:
                self._best = min(self._best, cycles)

    def expected_gain(self) -> float:
        return 0.0 if self.proven else math.inf

    def _in_order(self) -> Iterator[tuple[Point, float]]:
        points, bounds = [], []
        for chunk in self._problem.space.enumerate():
            of_chunk = self._bounds(self._problem.space.rows(chunk))
            kept = of_chunk < self._best
            points.append(chunk[kept].astype(np.int16))
            bounds.append(of_chunk[kept])
        if not points:
            return
        everything, limits = np.concatenate(points), np.concatenate(bounds)
        for number in np.argsort(limits, kind="stable").tolist():
            yield tuple(everything[number].tolist()), float(limits[number])

    def _bounds(self, rows: Rows) -> Rows:
        return schedule_bounds(self._problem.space.workload, rows, self._problem.core)
